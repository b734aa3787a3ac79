//! `status`: how fresh the rosters are, what is held, and what a pass did.

use std::fs;

use rosterd::practice::Faults;
use rosterd::store::Store;
use serde_json::{Value, json};

use crate::rig::{Rig, runtime, users};

/// Takes HR's roles from so many users that the guard of the next pass objects.
fn too_many_leave(rig: &Rig) -> usize {
    rig.set("guard.max_removals_percent = 5");
    for user in rig.tenant().users().into_iter().filter(|user| user.teams.len() > 1).take(20) {
        rig.tenant().set_active(&user.id, false).unwrap();
    }
    rig.advance(60);
    rig.misplaced().len()
}

#[test]
fn a_pass_tells_what_it_decided_and_what_became_of_it() {
    let rig = Rig::still(users(40));
    let misplaced = rig.misplaced();
    let planned = rig.run(&["plan", "--json"]).ended(2).json()["tenants"][0].take();
    rig.faults(Faults { fail_users: [(misplaced[0].to_string(), 400)].into(), ..Faults::default() });
    rig.run(&["sync"]).ended(3);

    let mut shown = rig.run(&["status", "--pass", "1", "--json"]).ended(0).json();
    let pass = shown["pass"].take();
    assert_eq!(
        (&pass["kind"], &pass["result"], &pass["users_read"], &pass["planned"], &pass["watermark_before"]),
        (&json!("sweep"), &json!("ok"), &json!(40), &json!(misplaced.len()), &Value::Null)
    );
    assert_eq!((&pass["digest"], &pass["mapping_digest"]), (&planned["digest"], &planned["mapping_digest"]));
    let changes = shown["plan"]["changes"].as_array().unwrap();
    for (change, planned) in changes.iter().zip(planned["changes"].as_array().unwrap()) {
        for key in ["user", "cause", "roles", "added", "removed", "teams", "version", "content"] {
            assert_eq!(change[key], planned[key], "{key}");
        }
    }
    let (dead, done) = changes.split_first().unwrap();
    assert_eq!(
        (&dead["operation"]["state"], &dead["operation"]["status"], &dead["operation"]["attempts"]),
        (&json!("dead"), &json!(400), &json!(1))
    );
    assert!(done.iter().all(|change| change["operation"]["state"] == "done"), "{done:?}");
    assert_eq!(changes.len(), misplaced.len());

    let text = rig.run(&["status", "--pass", "1"]).ended(0);
    let line = text.stdout.lines().find(|line| line.starts_with(misplaced[0].as_str())).unwrap();
    assert!(
        line.contains("is a dead letter since") && line.contains("400 this user fails on command"),
        "{line}"
    );
    assert_eq!(text.stdout.matches("was done at").count(), misplaced.len() - 1);
    rig.run(&["status", "--pass", "99"]).ended(1).complains("pass 99 is not known (any more)");
}

#[test]
fn what_is_held_is_loud_and_can_be_looked_at() {
    let rig = Rig::still(users(60));
    rig.sync();
    let before = rig.status();
    assert_eq!((&before["holds"], &before["mapping"]["not_in_force"]), (&json!([]), &Value::Null));
    rig.advance(60);
    let leavers = too_many_leave(&rig);
    let text = rig.run(&["sync"]).ended(3).stdout;

    let hold = rig.status()["holds"][0].take();
    assert_eq!(
        (&hold["pass"], &hold["operations"], &hold["held"]),
        (&json!(2), &json!(leavers), &json!(leavers))
    );
    let finding = hold["findings"][0]["text"].as_str().unwrap();
    assert!(finding.contains("users lose a managed team: more than 5 %"), "{finding}");
    let digest = hold["digest"].as_str().unwrap();
    let short = &digest[..12];
    assert!(text.contains(finding), "{text}");
    assert!(
        text.contains(&format!("; `rosterd approve {short}` or `rosterd discard {short}` ends it\n")),
        "{text}"
    );
    let ways = format!("`rosterd approve {short}` or `rosterd discard {short}` ends it");
    rig.run(&["status"])
        .ended(0)
        .says(&format!("HELD PLAN {short} of pass 2, since "))
        .says(finding)
        .says(&ways);

    let shown = rig.run(&["status", "--held", short, "--json"]).ended(0).json();
    assert_eq!(shown["plan"]["digest"], json!(digest));
    let changes: Vec<Value> =
        shown["plan"]["changes"].as_array().unwrap().iter().map(|change| change["user"].clone()).collect();
    assert_eq!(json!(changes), json!(rig.misplaced()));
    let line = format!("{} (inactive): -", rig.misplaced()[0]);
    rig.run(&["status", "--held", short]).ended(0).says(&line).says(finding).says(&ways);
    rig.run(&["status", "--held", "c0ffee"]).ended(1).complains("nothing is held with the digest c0ffee");
    rig.run(&["status", "--pass", "2"])
        .ended(0)
        .says("is held until its plan is approved or discarded")
        .says(&ways);
}

#[test]
fn freshness_is_a_number() {
    let rig = Rig::still(users(60));
    let ages = |rig: &Rig| {
        let status = rig.run(&["status", "--json"]).ended(0).json()["tenants"][0].take();
        ["oldest_change_not_applied_seconds", "last_complete_read_seconds"].map(|key| status[key].as_u64())
    };
    rig.sync();
    let [unapplied, read] = ages(&rig);
    assert_eq!((unapplied, read.is_some()), (None, true));
    rig.run(&["status"]).ended(0).says("nothing: all that is known is in the tenant");
    rig.advance(60);
    too_many_leave(&rig);
    rig.run(&["sync"]).ended(3);
    assert!(ages(&rig)[0].is_some(), "what is held is not applied");
    rig.run(&["status"]).ended(0).says("the oldest change is ");
    let digest = rig.status()["holds"][0]["digest"].as_str().unwrap().to_owned();
    rig.run(&["discard", &digest]).ended(0);
    let discarded = rig.status()["operations"]["discarded"].as_u64().unwrap();
    assert!(discarded > 0);
    rig.run(&["status"]).ended(0).says(&format!(
        "not applied    {discarded} discarded operations whose users no pass has read since\n"
    ));
    rig.set("guard.max_removals_percent = 100");
    rig.advance(60);
    rig.run(&["sync", "--full"]).ended(0);
    assert_eq!(rig.status()["operations"]["discarded"], json!(0));
    rig.run(&["status"]).ended(0).says("nothing: all that is known is in the tenant");

    let unread = Rig::still(users(20));
    unread.sync();
    let id = unread.some(|user| !user.teams.contains(&"team-sales".into())).id;
    unread.advance(60);
    unread.set_roles(&id, &["HR_SALES"]);
    unread.advance(60);
    unread.faults(Faults { role_not_a_string: 99, ..Faults::default() });
    unread.run(&["sync", "--wait", "0s"]).ended(3);
    assert!(ages(&unread)[0].is_some(), "a record that cannot be read may hide a change");
}

#[test]
fn what_waits_in_a_run_of_a_file_is_not_in_the_tenant() {
    let rig = Rig::still(users(3));
    rig.sync();
    rig.set("provision.required = [\"externalId\", \"userName\"]");
    rig.write("hr.csv", "externalId,userName\nHR-1,user-0101@example.com\n");
    rig.faults(Faults { outage: true, ..Faults::default() });
    rig.run(&["provision", "hr.csv", "--wait", "0s"]).ended(69);
    let oldest = || {
        let status = rig.run(&["status", "--json"]).ended(0).json();
        status["tenants"][0]["oldest_change_not_applied_seconds"].clone()
    };
    assert_eq!(rig.status()["operations"]["ready"], json!(0), "no operation says so");
    assert!(oldest().is_u64(), "{}", oldest());
    rig.run(&["status"]).ended(0).says("not applied    the oldest change is ");
    let backlog = runtime().block_on(async {
        let store = Store::beside(&rig.path("rosterd.db")).await.unwrap();
        store.backlog(&"acme".into()).await.unwrap()
    });
    assert!(backlog.oldest_unapplied.is_some(), "{backlog:?}");
    rig.faults(Faults::default());
    rig.run(&["provision", "hr.csv"]).ended(0);
    assert_eq!(oldest(), Value::Null);
}

#[test]
fn a_dead_letter_is_not_in_the_tenant() {
    let rig = Rig::still(users(40));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    rig.run(&["sync"]).ended(3);
    rig.run(&["status"]).ended(0).says("not applied    1 dead letter\n");
    rig.run(&["dead-letters", "discard", "--all"]).ended(0);
    rig.run(&["status"])
        .ended(0)
        .says("not applied    1 discarded operation whose user no pass has read since\n");
}

#[test]
fn each_pass_says_its_own_reason_and_what_is_held_is_said_once() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.advance(60);
    too_many_leave(&rig);
    rig.run(&["sync"]).ended(3);
    let status = rig.run(&["status"]).ended(0).says("(held as ");
    assert_eq!(status.stdout.matches("users lose a managed team").count(), 1, "{}", status.stdout);
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    for _ in 0..2 {
        let ran = rig.run(&["sync"]).ended(77);
        assert!(!ran.stderr.contains("retry_at"), "nobody tries again: {}", ran.stderr);
    }
    let status = rig.run(&["status"]).ended(0);
    assert_eq!(status.stdout.matches("credentials are wrong").count(), 2, "{}", status.stdout);
}

#[test]
fn a_configured_mapping_that_is_not_in_force_says_why() {
    let rig = Rig::still(users(60));
    rig.sync();
    let toml = fs::read_to_string(rig.path("rosterd.toml")).unwrap();
    rig.write("rosterd.toml", &toml.replace("[\"team-sales\"]", "[\"team-other\"]"));
    let mapping = || rig.status()["mapping"].take();
    let due = mapping();
    assert_eq!(due["not_in_force"], "remap due");
    assert_ne!(due["in_force"], due["configured"]);
    rig.set("guard.max_removals_percent = 0");
    rig.advance(60);
    let mut synced = rig.run(&["sync", "--json"]).ended(3).json()["tenants"][0].take();
    assert_eq!(mapping()["not_in_force"], "held");
    let (remap, hold) = (synced["remap"].take(), rig.status()["holds"][0].take());
    assert_eq!(
        (&synced["digest"], &remap["kind"], &remap["result"], &remap["digest"], &remap["pass"]),
        (&Value::Null, &json!("remap"), &json!("degraded"), &hold["digest"], &hold["pass"])
    );
    assert!(
        remap["reason"].as_str().unwrap().contains("0 % in the last 1h (max_removals_percent)"),
        "{remap}"
    );
    rig.run(&["status"]).ended(0).says("the configured mapping comes into force with its approval");
}

#[test]
fn what_a_sweep_found_is_told() {
    let rig = Rig::still(users(40));
    rig.sync();
    let user = rig.some(|user| user.active && user.teams.len() > 1);
    rig.tenant().set_teams(&user.id, []).unwrap();
    rig.advance(60);
    rig.run(&["sync", "--full"]).ended(0);
    assert_eq!(rig.status()["drift"], json!({ "deleted": 0, "edited": 1, "missed": 0 }));
    rig.run(&["status"])
        .ended(0)
        .says("0 users deleted, 1 edited by others, 0 changes missed by delta passes");
}
