//! Everything that can go wrong on the way goes wrong, all at once: one sync still reaches the end.

use std::time::Duration;

use rosterd::practice::{Fault, Faults, Options};

use crate::rig::{Rig, users};

fn survives(etag: bool, seed: u64) {
    let faults = Faults {
        error_rate: 0.1,
        lost_answer_rate: 0.05,
        cut_body_rate: 0.03,
        garbled_rate: 0.03,
        reset_rate: 0.03,
        moving_list: true,
        ..Faults::default()
    };
    let rig = Rig::live(Options {
        etag,
        seed,
        page_cap: 40,
        token_lifetime: Duration::from_secs(2),
        faults,
        ..users(150)
    });
    let wanted = rig.wanted();
    rig.run(&["sync"]).ended(0).says("150 users read").says("0 still waiting, 0 dead letters");
    assert_eq!(rig.teams(), wanted);
    let stats = rig.stats();
    for fault in [Fault::Error, Fault::LostAnswer, Fault::Reset] {
        assert!(stats.faults.get(&fault).is_some_and(|times| *times > 0), "{fault:?}: {:?}", stats.faults);
    }
    rig.faults(Faults::default());
    let patches = rig.patches();
    rig.run(&["sync", "--full"]).ended(0).says("0 planned");
    assert_eq!(rig.patches(), patches);
}

#[test]
fn one_sync_survives_a_bad_day_with_versions() {
    survives(true, 1);
}

#[test]
fn one_sync_survives_a_bad_day_without_versions() {
    survives(false, 2);
}

/// The tenant allows far less than the daemon was told.
#[test]
fn a_limit_that_is_lower_than_configured_costs_time_and_nothing_else() {
    let rig = Rig::live(Options { rate_per_second: Some(40.0), burst: 5, ..users(60) });
    let misplaced = rig.misplaced().len() as u64;
    rig.sync();
    rig.assert_right();
    let stats = rig.stats();
    assert!(stats.rate_limited > 0, "the limit was met");
    assert_eq!((rig.patches() - stats.status(429), stats.patches_without_effect), (misplaced, 0));
}
