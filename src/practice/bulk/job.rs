//! Bulk jobs, and how they get on each time somebody asks for them. Pure.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::super::faults::Fault;
use super::super::record::View;
use super::request::Work;
use super::{Outcome, RESPONSE_SCHEMA};
use crate::model::Timestamp;

/// So many jobs are kept; the oldest ones are forgotten.
const KEPT: usize = 1000;

/// Where a job stands, in the words of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Queued,
    Running,
    Completed,
    Failed,
    Canceled,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// One job.
#[derive(Debug)]
pub(in super::super) struct Job {
    id: String,
    /// Where it was submitted: its results are located there.
    view: View,
    /// How it goes wrong, if it does.
    fate: Option<Fault>,
    work: Work,
    status: Status,
    /// How many steps it takes, at least 1.
    steps: u32,
    taken: u32,
    start: Timestamp,
    end: Option<Timestamp>,
}

impl Job {
    pub(super) const fn new(
        id: String,
        view: View,
        fate: Option<Fault>,
        work: Work,
        steps: u32,
        now: Timestamp,
    ) -> Self {
        Self { id, view, fate, work, status: Status::Queued, steps, taken: 0, start: now, end: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// One step further: an equal share of the operations, the last step the rest.
    ///
    /// A job that fails or is canceled gets no further than half of its operations; one that stalls gets through
    /// all of them and never says so.
    pub(super) fn step(&mut self, now: Timestamp, carry_out: &mut dyn FnMut(&Value) -> Outcome) {
        if self.end.is_some() {
            return;
        }
        self.taken = self.taken.saturating_add(1).min(self.steps);
        let all = match self.fate {
            Some(Fault::BulkJobFails | Fault::BulkJobCanceled) => self.work.len() / 2,
            _ => self.work.len(),
        };
        let share = |part: u32| usize::try_from(part).unwrap_or(usize::MAX);
        self.work.advance(all.saturating_mul(share(self.taken)) / share(self.steps).max(1), carry_out);
        self.status = match self.fate {
            Some(Fault::BulkJobStalls) => Status::Running,
            _ if self.work.broken_off() => Status::Failed,
            _ if self.taken < self.steps => Status::Running,
            Some(Fault::BulkJobFails) => Status::Failed,
            Some(Fault::BulkJobCanceled) => Status::Canceled,
            _ => Status::Completed,
        };
        self.end = (self.status != Status::Running).then_some(now);
    }

    /// All steps that are left at once.
    pub(super) fn finish(&mut self, now: Timestamp, carry_out: &mut dyn FnMut(&Value) -> Outcome) {
        self.taken = self.steps.saturating_sub(1);
        self.step(now, carry_out);
    }

    /// The job as a client sees it; `progress` is in percent of the operations.
    pub(super) fn show(&self) -> Value {
        let mut shown = json!({
            "schemas": [RESPONSE_SCHEMA],
            "jobId": self.id,
            "status": self.status.name(),
            "startTime": self.start.to_string(),
            "progress": self.work.results().len() * 100 / self.work.len().max(1),
        });
        if let Some(end) = self.end {
            shown["endTime"] = end.to_string().into();
        }
        if self.status != Status::Queued {
            shown["Operations"] = self.work.results().into();
        }
        shown
    }
}

/// The jobs of a tenant.
#[derive(Debug, Default)]
pub(in super::super) struct Jobs {
    kept: VecDeque<Job>,
    /// How many ids were given out.
    ids: u64,
}

impl Jobs {
    pub(super) fn next_id(&mut self) -> String {
        self.ids += 1;
        uuid::Builder::from_random_bytes(u128::from(self.ids).to_be_bytes()).into_uuid().to_string()
    }

    pub(super) fn keep(&mut self, job: Job) {
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(job);
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Job> {
        self.kept.iter_mut().find(|job| job.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn job(fate: Option<Fault>, steps: u32, body: &Value) -> Job {
        let request = Request::read(body.as_object().expect("an object"), 100).expect("legal");
        let view = View { base: String::new(), etag: false };
        Job::new("j".to_owned(), view, fate, Work::new(request), steps, NOW)
    }

    fn five() -> Value {
        json!({ "Operations": [{}, {}, {}, {}, {}] })
    }

    /// Status and number of results after each of four steps.
    fn course(mut job: Job, failed: bool) -> Vec<(String, usize)> {
        let look = |job: &Job| {
            let shown = job.show();
            let ended = ["completed", "failed", "canceled"].contains(&job.status.name());
            assert_eq!(shown.get("endTime").is_some(), ended, "{shown}");
            (job.status.name().to_owned(), shown["Operations"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(look(&job), ("queued".to_owned(), 0));
        let mut carry_out = |_: &Value| Outcome { shown: Value::Null, failed };
        (0..4)
            .map(|_| {
                job.step(NOW, &mut carry_out);
                look(&job)
            })
            .collect()
    }

    #[test]
    fn a_job_takes_its_steps_and_ends_as_it_is_to_end() {
        for (fate, steps, expected) in [
            (None, 1, [("completed", 5); 4]),
            (None, 3, [("running", 1), ("running", 3), ("completed", 5), ("completed", 5)]),
            (Some(Fault::BulkJobFails), 1, [("failed", 2); 4]),
            (
                Some(Fault::BulkJobCanceled),
                2,
                [("running", 1), ("canceled", 2), ("canceled", 2), ("canceled", 2)],
            ),
            (Some(Fault::BulkJobStalls), 1, [("running", 5); 4]),
        ] {
            let expected = expected.map(|(status, done)| (status.to_owned(), done));
            assert_eq!(course(job(fate, steps, &five()), false), expected, "{fate:?} {steps}");
        }
    }

    #[test]
    fn a_job_that_bears_no_more_errors_fails() {
        let mut body = five();
        body["failOnErrors"] = 2.into();
        assert_eq!(course(job(None, 1, &body), true)[0], ("failed".to_owned(), 2));
        assert_eq!(
            course(job(None, 1, &five()), true)[0],
            ("completed".to_owned(), 5),
            "it bears all errors"
        );
    }

    #[test]
    fn only_the_latest_jobs_are_kept() {
        let mut jobs = Jobs::default();
        let ids: Vec<String> = (0..=KEPT).map(|_| jobs.next_id()).collect();
        for id in &ids {
            let mut job = job(None, 1, &five());
            job.id.clone_from(id);
            jobs.keep(job);
        }
        assert!(jobs.get_mut(&ids[0]).is_none() && jobs.get_mut(&ids[1]).is_some());
        assert!(jobs.get_mut(&ids[KEPT]).is_some());
    }
}
