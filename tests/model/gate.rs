//! Gates in the way of each call, so that a test says what happens between any two of them.
//!
//! The calls of passes and those of delivery wait in lanes of their own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Whose calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Passes,
    Delivery,
}

/// One gate for each lane; closed at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates(Arc<Mutex<[Queue; 2]>>);

#[derive(Debug, Default)]
struct Queue {
    open: bool,
    next: u64,
    waiting: BTreeMap<u64, Option<Waker>>,
}

impl Gates {
    fn queues(&self) -> MutexGuard<'_, [Queue; 2]> {
        self.0.lock().unwrap()
    }

    /// Waits until the gate of this lane is open, or this one is let through.
    pub(crate) fn pass(&self, lane: Lane) -> Waiting {
        let queue = &mut self.queues()[lane as usize];
        let ticket = queue.next;
        queue.next += 1;
        if !queue.open {
            queue.waiting.insert(ticket, None);
        }
        Waiting { gates: self.clone(), lane, ticket }
    }

    /// How many wait.
    pub(crate) fn waiting(&self, lane: Lane) -> usize {
        self.queues()[lane as usize].waiting.len()
    }

    /// Lets through who came first. Passes read several users at once: these go together.
    pub(crate) fn let_through(&self, lane: Lane) {
        let queue = &mut self.queues()[lane as usize];
        let most = if lane == Lane::Passes { usize::MAX } else { 1 };
        for _ in 0..most {
            let Some((_, waker)) = queue.waiting.pop_first() else { return };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Opens or closes both.
    pub(crate) fn set_open(&self, open: bool) {
        for queue in &mut *self.queues() {
            queue.open = open;
            if open {
                std::mem::take(&mut queue.waiting).into_values().flatten().for_each(Waker::wake);
            }
        }
    }
}

/// Somebody at a gate.
#[derive(Debug)]
pub(crate) struct Waiting {
    gates: Gates,
    lane: Lane,
    ticket: u64,
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.gates.queues()[self.lane as usize].waiting.get_mut(&self.ticket) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gates.queues()[self.lane as usize].waiting.remove(&self.ticket);
    }
}
