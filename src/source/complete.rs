//! Was the list read completely? Pure.
//!
//! A list moves while it is read, so one run through its pages proves little: it is complete when the
//! distinct users reach the latest `totalResults`. Otherwise it is read again, three times at most. Two
//! runs that stop short with the same users are believed, and the reading counts as degraded.
//!
//! A total that is smaller than what is shown does not end a run: an empty page does, or one with nobody new. Some
//! servers give the number of users on the page for a total, so a full first page that is all there is gets no belief
//! either.

use std::collections::BTreeSet;

use crate::model::UserId;

/// More runs than this through one list are not made.
const MOST_RUNS: u32 = 3;
/// A list with more records is refused, because it may have no end. Far above any tenant.
pub(super) const MOST_USERS: u64 = 10_000_000;
/// So many users whose record cannot be read are told apart in a run. No pass that sees as many believes that it has read all.
const MOST_NAMED: usize = 100;

/// What is known of a list after a run through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Every user was read.
    Complete,
    /// The list says that it has more users than it shows, twice the same ones.
    Short,
    /// The list has to be read again.
    Again,
    /// Users may have been missed.
    Incomplete,
}

/// Counts runs and users.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    distinct: u64,
    runs: u32,
    run: Run,
    last: Option<Run>,
}

#[derive(Clone, Debug, Default)]
struct Run {
    records: u64,
    new: u64,
    /// Whose records could not be read, unless they could elsewhere; and how many more there were.
    unreadable: (BTreeSet<UserId>, u64),
    total: u64,
    /// The last page showed nothing.
    empty: bool,
    /// As many records as the last page's total have been shown.
    shown: bool,
    /// More than that, or as many as fit on a first page.
    understated: bool,
}

impl Tally {
    /// A page came; `asked` records were asked for.
    pub(super) fn page(&mut self, asked: u32, records: u64, total: u64) {
        self.run.understated |=
            self.run.records + records > total || (records == total && records == u64::from(asked));
        self.run.records += records;
        self.run.empty = records == 0;
        self.run.shown = self.run.records >= total;
        // A list that shrinks moves users to pages that have been read: who was seen before it shrank does not
        // make up for them.
        self.run.total = self.run.total.max(total);
    }

    /// A record of it cannot be read; whose it is, if at least that is known.
    pub(super) fn unreadable(&mut self, id: Option<&UserId>) {
        let (named, others) = &mut self.run.unreadable;
        match id {
            Some(id) if named.len() < MOST_NAMED => _ = named.insert(id.clone()),
            _ => *others += 1,
        }
    }

    /// A record of this user was read, on this page or another: where he could not be read, too, he is nobody else.
    pub(super) fn read(&mut self, id: &UserId) {
        self.run.unreadable.0.remove(id);
    }

    /// So many of its users had not been read before; whether the run is over.
    pub(super) fn new_users(&mut self, asked: u32, new: u64) -> bool {
        self.run.new += new;
        self.distinct += new;
        self.run.empty
            || (self.run.shown && (!self.run.understated || new == 0))
            || self.endless(u64::from(asked))
    }

    /// Records in this run so far.
    pub(super) const fn records(&self) -> u64 {
        self.run.records
    }

    /// No tenant has so many users.
    pub(super) const fn too_many(&self) -> bool {
        self.run.records > MOST_USERS
    }

    /// The run has shown far more records than there are users: its total cannot be believed.
    const fn endless(&self, page_size: u64) -> bool {
        self.run.records > 2 * self.distinct + 10 * page_size
    }

    /// The run is over.
    pub(super) fn end_run(&mut self) -> Reading {
        let run = std::mem::take(&mut self.run);
        let (new, records) = (run.new, run.records);
        let (named, others) = &run.unreadable;
        let unreadable = others + u64::try_from(named.len()).unwrap_or(u64::MAX);
        let complete = self.distinct + unreadable >= run.total;
        let last = self.last.replace(run);
        self.runs += 1;
        if complete {
            Reading::Complete
        } else if last.is_some_and(|last| new == 0 && records == last.records) {
            Reading::Short
        } else if self.runs < MOST_RUNS {
            Reading::Again
        } else {
            Reading::Incomplete
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: u32 = 100;

    /// (records, new, total) of each run → how the last one ended.
    fn end(runs: &[(u64, u64, u64)]) -> Reading {
        let mut tally = Tally::default();
        let mut end = Reading::Again;
        for &(records, new, total) in runs {
            assert_eq!(end, Reading::Again, "read on after the end");
            tally.page(ASKED, records, total);
            tally.new_users(ASKED, new);
            end = tally.end_run();
        }
        end
    }

    /// (records, new, total) of each page of a run → after which of them it was over.
    fn over(pages: &[(u64, u64, u64)]) -> Option<usize> {
        let mut tally = Tally::default();
        pages.iter().position(|&(records, new, total)| {
            tally.page(ASKED, records, total);
            tally.new_users(ASKED, new)
        })
    }

    #[test]
    fn a_run_is_over_when_as_many_were_shown_as_there_are() {
        assert_eq!(over(&[(0, 0, 0)]), Some(0));
        assert_eq!(over(&[(99, 99, 99)]), Some(0));
        assert_eq!(over(&[(100, 100, 150), (50, 50, 150)]), Some(1));
        assert_eq!(over(&[(100, 100, 150), (0, 0, 150)]), Some(1), "it stops short");
    }

    #[test]
    fn a_total_that_is_too_low_does_not_end_a_run() {
        for total in [0, 7, 99] {
            let lie = [(100, 100, total), (100, 100, total), (30, 30, total), (0, 0, total)];
            assert_eq!(over(&lie), Some(3), "{total}");
            assert_eq!(over(&[(100, 100, total), (100, 0, total)]), Some(1), "the same page again: {total}");
        }
        let of_the_page = [(100, 100, 100), (100, 100, 100), (30, 30, 30), (0, 0, 0)];
        assert_eq!(over(&of_the_page), Some(3));
        assert_eq!(over(&[(100, 100, 100), (0, 0, 100)]), Some(1), "it was the truth");
    }

    #[test]
    fn a_list_is_complete_when_its_users_reach_its_total() {
        assert_eq!(end(&[(10, 10, 10)]), Reading::Complete);
        assert_eq!(end(&[(0, 0, 0)]), Reading::Complete);
        assert_eq!(end(&[(10, 9, 9)]), Reading::Complete, "one came twice");
    }

    #[test]
    fn a_list_that_shrank_while_it_was_read_is_read_again() {
        let mut tally = Tally::default();
        tally.page(ASKED, 100, 200);
        tally.page(ASKED, 99, 199);
        tally.new_users(ASKED, 199);
        assert_eq!(tally.end_run(), Reading::Again);
        tally.page(ASKED, 199, 199);
        tally.new_users(ASKED, 1);
        assert_eq!(tally.end_run(), Reading::Complete);
    }

    #[test]
    fn a_list_without_end_ends() {
        let mut tally = Tally::default();
        tally.page(5, 5, 1_000_000);
        assert!(!tally.new_users(5, 5));
        let more = (1..100).find(|_| {
            tally.page(5, 5, 1_000_000);
            tally.new_users(5, 0)
        });
        assert_eq!(more, Some(12));
    }

    #[test]
    fn a_list_of_ever_more_users_is_refused() {
        let mut tally = Tally::default();
        tally.page(ASKED, MOST_USERS, u64::MAX);
        assert!(!tally.new_users(ASKED, MOST_USERS) && !tally.too_many());
        tally.page(ASKED, 1, u64::MAX);
        assert!(tally.too_many());
    }

    #[test]
    fn a_list_that_moved_is_read_again_and_runs_add_up() {
        assert_eq!(end(&[(10, 9, 10)]), Reading::Again);
        assert_eq!(end(&[(10, 9, 10), (10, 1, 10)]), Reading::Complete);
        assert_eq!(end(&[(10, 7, 10), (10, 1, 10), (10, 1, 10)]), Reading::Incomplete);
    }

    #[test]
    fn a_list_that_stops_short_twice_in_the_same_place_is_believed() {
        assert_eq!(end(&[(8, 8, 10), (8, 0, 10)]), Reading::Short);
        assert_eq!(end(&[(8, 8, 10), (5, 0, 10)]), Reading::Again, "fewer than before");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_not_missing() {
        let mut tally = Tally::default();
        tally.page(ASKED, 10, 10);
        tally.unreadable(None);
        tally.new_users(ASKED, 9);
        assert_eq!(tally.end_run(), Reading::Complete);
    }

    /// He changes his place while the list is read, and somebody else comes to one that has been read.
    #[test]
    fn a_user_who_cannot_be_read_in_one_place_and_can_in_another_is_one() {
        let (moves, other) = (UserId::from("moves"), UserId::from("other"));
        for read in [None, Some(&moves), Some(&other)] {
            let mut tally = Tally::default();
            tally.page(ASKED, 10, 10);
            tally.unreadable(Some(&moves));
            tally.unreadable(Some(&moves));
            if let Some(read) = read {
                tally.read(read);
            }
            tally.new_users(ASKED, 9);
            let ended = if read == Some(&moves) { Reading::Again } else { Reading::Complete };
            assert_eq!(tally.end_run(), ended, "{read:?}");
        }
    }
}
