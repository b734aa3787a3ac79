//! Was the list read completely? Pure.
//!
//! A list moves while it is read, so one run through its pages proves little: it is complete when the
//! distinct users reach the latest `totalResults`. Otherwise it is read again, three times at most. Two
//! runs that stop short with the same users are believed, and the reading counts as degraded.

/// More runs than this through one list are not made.
const MOST_RUNS: u32 = 3;

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

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    records: u64,
    new: u64,
    unreadable: u64,
    total: u64,
}

impl Tally {
    /// A page came.
    pub(super) fn page(&mut self, records: u64, unreadable: u64, total: u64) {
        self.run.records += records;
        self.run.unreadable += unreadable;
        // A list that shrinks moves users to pages that have been read: who was seen before it shrank does not
        // make up for them.
        self.run.total = self.run.total.max(total);
    }

    /// So many of its users had not been read before.
    pub(super) fn new_users(&mut self, new: u64) {
        self.run.new += new;
        self.distinct += new;
    }

    /// Records in this run so far.
    pub(super) const fn records(&self) -> u64 {
        self.run.records
    }

    /// The run has shown far more records than there are users: its total cannot be believed.
    pub(super) const fn endless(&self, page_size: u64) -> bool {
        self.run.records > 2 * self.distinct + 10 * page_size
    }

    /// The run is over.
    pub(super) fn end_run(&mut self) -> Reading {
        let run = std::mem::take(&mut self.run);
        let last = self.last.replace(run);
        self.runs += 1;
        if self.distinct + run.unreadable >= run.total {
            Reading::Complete
        } else if last.is_some_and(|last| run.new == 0 && run.records == last.records) {
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

    /// (records, new, total) of each run → how the last one ended.
    fn end(runs: &[(u64, u64, u64)]) -> Reading {
        let mut tally = Tally::default();
        let mut end = Reading::Again;
        for &(records, new, total) in runs {
            assert_eq!(end, Reading::Again, "read on after the end");
            tally.page(records, 0, total);
            tally.new_users(new);
            end = tally.end_run();
        }
        end
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
        tally.page(100, 0, 200);
        tally.page(99, 0, 199);
        tally.new_users(199);
        assert_eq!(tally.end_run(), Reading::Again);
        tally.page(199, 0, 199);
        tally.new_users(1);
        assert_eq!(tally.end_run(), Reading::Complete);
    }

    #[test]
    fn a_list_without_end_ends() {
        let mut tally = Tally::default();
        tally.page(5, 0, 1_000_000);
        tally.new_users(5);
        assert!(!tally.endless(5));
        (0..12).for_each(|_| tally.page(5, 0, 1_000_000));
        assert!(tally.endless(5));
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
        tally.page(10, 1, 10);
        tally.new_users(9);
        assert_eq!(tally.end_run(), Reading::Complete);
    }
}
