//! Sweeps that do not show users who are known: what is held because of it, and what becomes of that.

use rosterd::practice::Faults;
use serde_json::json;

use crate::brakes::{LIMITS, dismiss, members, settled, sync_held};
use crate::database::{execute, number};
use crate::rig::{Rig, users};

/// Lists show so many of a hundred users.
fn lists_show(rig: &Rig, percent: u8) {
    rig.faults(Faults { listed_percent: percent, ..Faults::default() });
}

#[test]
fn what_is_held_stays_held_when_the_sweep_that_would_decide_it_anew_cannot_be_committed() {
    let rig = settled(LIMITS);
    lists_show(&rig, 60);
    dismiss(&rig, &members(&rig, 10));
    let digest = sync_held(&rig, &["sync", "--full"], "known users are missing from the list");
    let before = rig.status()["operations"]["held"].clone();
    assert_ne!(before, json!(0));

    lists_show(&rig, 100);
    let no = "CREATE TRIGGER no BEFORE UPDATE OF watermark ON tenants BEGIN SELECT raise(ABORT, 'no'); END";
    execute(&rig.database(), no);
    rig.run(&["sync", "--full"]).ended(1);
    let status = rig.status();
    assert_eq!((&status["holds"][0]["digest"], &status["operations"]["held"]), (&json!(digest), &before));

    execute(&rig.database(), "DROP TRIGGER no");
    rig.run(&["sync", "--full"]).ended(0);
    assert_eq!(rig.status()["holds"], json!([]));
    rig.assert_right();
}

#[test]
fn what_is_decided_anew_by_a_whole_list_counts_as_if_it_had_never_been_held() {
    let rig = settled(LIMITS);
    let (leavers, before) = (members(&rig, 40), rig.patches());
    dismiss(&rig, &leavers);
    lists_show(&rig, 60);
    sync_held(&rig, &["sync", "--full"], "known users are missing from the list");
    assert!(rig.status()["operations"]["held"].as_u64().unwrap() > 20);

    lists_show(&rig, 100);
    sync_held(&rig, &["sync", "--full"], "40 of 100 users lose a managed team");
    let status = rig.status();
    assert_eq!((&status["operations"]["held"], &status["operations"]["ready"]), (&json!(40), &json!(0)));
    assert_eq!((status["holds"].as_array().unwrap().len(), rig.patches()), (1, before));
    assert_eq!(rig.misplaced(), leavers);
}

#[test]
fn a_newer_sweep_that_misses_users_takes_the_place_of_an_earlier_one() {
    let rig = settled(LIMITS);
    lists_show(&rig, 60);
    dismiss(&rig, &members(&rig, 10));
    let first = sync_held(&rig, &["sync", "--full"], "known users are missing from the list");
    lists_show(&rig, 40);
    let second = sync_held(&rig, &["sync", "--full"], "known users are missing from the list");
    assert_ne!(first, second);
    let holds = rig.status()["holds"].take();
    assert_eq!((holds.as_array().unwrap().len(), &holds[0]["digest"]), (1, &json!(second)));
    let missing = holds[0]["missing"].as_u64().unwrap();
    assert_eq!(number(&rig.database(), "SELECT count(*) FROM hold_missing"), missing);
    assert_eq!(holds[0]["held"], rig.status()["operations"]["held"], "and nothing is held beside it");

    // The very same again is no news.
    let again = rig.run(&["sync", "--full"]).ended(3).complains("pass holds what is held already");
    assert!(!again.stderr.contains("pass is held until"), "{}", again.stderr);
    assert_eq!(rig.status()["holds"], holds);
}

/// Nothing else is served while a sweep asks for users one by one: it asks for some, and the others follow.
#[test]
fn of_many_missing_users_a_sweep_asks_for_some_and_the_others_are_read_after_it() {
    let rig = Rig::still(users(1200));
    rig.sync();
    rig.advance(60);
    rig.set("guard.max_missing_percent = 100");
    let leaver = rig.some(|user| user.active && !user.roles.is_empty() && !user.teams.is_empty()).id;
    lists_show(&rig, 50);
    rig.tenant().set_active(&leaver, false).unwrap();
    let ids = |rig: &Rig| rig.stats().count("GET /Users/{id}");
    let before = (ids(&rig), rig.status()["watermark"].clone());
    rig.run(&["sync", "--full", "--wait", "0s"]);
    let status = rig.status();
    let missing = 1200 - status["passes"][0]["users_read"].as_u64().unwrap() + 500;
    assert!(missing > 550, "{missing}");
    assert_eq!(ids(&rig) - before.0, 500);
    assert_eq!(status["rereads"], missing - 500, "nobody is forgotten");
    assert_ne!(status["watermark"], before.1);

    rig.run(&["sync"]).ended(0);
    assert_eq!((ids(&rig) - before.0, &rig.status()["rereads"]), (missing, &json!(0)));
    rig.assert_right();
    let ran = rig.run(&["sync", "--full"]).ended(0);
    assert!(!ran.stderr.contains("\"kind\":\"reread\""), "they are not missing again: {}", ran.stderr);
}
