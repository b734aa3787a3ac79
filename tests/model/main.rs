//! Whatever happens between any two steps, in the end every user is in exactly the teams that he should be in,
//! nobody else's membership was touched, and the watermark never passed a change that was not read.
//!
//! The daemon's own passes, store and delivery run against a small tenant in memory, on a clock that the test drives. What happens
//! is drawn at random: edits by HR and by hand, moving lists, failing calls, lost and late answers, clocks that are
//! set, another mapping, reloads, and kills at any point.
//!
//! A usual run draws the same cases each time, so that it says the same of the same sources; to look for others is what
//! `make soak` is for, which draws anew.

#![allow(clippy::unwrap_used, reason = "what a test sets up must be there")]

mod found;
mod gate;
mod house;
mod steps;
mod tenant;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// In a usual run; `PROPTEST_CASES` says otherwise, and has them drawn anew.
const CASES: u32 = 350;
/// From which the cases of a usual run are drawn.
const SEED: u64 = 1;

fn cases() -> ProptestConfig {
    let drawn = ProptestConfig::default();
    let kept = FileFailurePersistence::Direct("tests/model/regressions.txt");
    let drawn = ProptestConfig { failure_persistence: Some(Box::new(kept)), ..drawn };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return drawn;
    }
    ProptestConfig { cases: CASES, rng_seed: RngSeed::Fixed(SEED), ..drawn }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn with_versions(case in steps::case(true, false)) {
        world::run(&case);
    }

    #[test]
    fn without_versions(case in steps::case(false, false)) {
        world::run(&case);
    }

    #[test]
    fn with_a_guard(case in any::<bool>().prop_flat_map(|etag| steps::case(etag, true))) {
        world::run(&case);
    }
}
