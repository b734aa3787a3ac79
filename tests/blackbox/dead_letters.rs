//! `dead-letters`: what was given up, and what can be done about it.

use rosterd::model::{TeamId, UserId};
use rosterd::practice::{Faults, Options};
use serde_json::{Value, json};

use crate::process::{Daemon, until};
use crate::rig::{Rig, users};

/// A tenant that refuses every write to one user who needs one.
fn with_one_refused(status: u16) -> (Rig, UserId) {
    let rig = Rig::still(users(40));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), status)].into(), ..Faults::default() });
    (rig, id)
}

fn list(rig: &Rig) -> Vec<Value> {
    let mut letters = rig.run(&["dead-letters", "list", "--json"]).ended(0).json();
    serde_json::from_value(letters["dead_letters"].take()).unwrap()
}

#[test]
fn a_refused_user_becomes_a_letter_and_no_other_user_suffers() {
    let (rig, id) = with_one_refused(400);
    let wanted = rig.wanted();
    rig.run(&["sync"]).ended(3).says("0 still waiting, 1 dead letter");
    assert_eq!(rig.misplaced(), std::slice::from_ref(&id));

    let letters = list(&rig);
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(
        (&letter["user"], &letter["status"], &letter["attempts"]),
        (&json!(id), &json!(400), &json!(1))
    );
    assert_eq!(letter["reason"], "this user fails on command");
    let asked: Vec<&TeamId> = wanted[&id].iter().collect();
    let sent: Vec<&Value> = letter["request"]["body"]["Operations"][0]["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|team| &team["value"])
        .collect();
    assert_eq!(json!(sent), json!(asked), "the request is kept");
    assert!(
        letter["answer"].as_str().unwrap().contains("\"status\":\"400\""),
        "the answer is kept: {letter:#}"
    );
    assert!(letter["correlation_id"].is_string());

    let number = letter["id"].to_string();
    rig.run(&["dead-letters", "list"]).ended(0).says(id.as_str()).says("this user fails on command");
    let shown = rig.run(&["dead-letters", "show", &number]).ended(0);
    shown.says(&format!("PATCH /Users/{id}")).says("\"path\": \"teams\"").says("this user fails on command");
    assert_eq!(rig.run(&["dead-letters", "show", &number, "--json"]).ended(0).json(), *letter);
    rig.run(&["dead-letters", "show", "999"]).ended(1).complains("no dead letter 999");
}

#[test]
fn a_replayed_letter_is_delivered_once_the_fault_is_gone() {
    let (rig, id) = with_one_refused(422);
    rig.run(&["sync"]).ended(3);
    let number = list(&rig)[0]["id"].to_string();
    rig.advance(60);

    rig.run(&["sync"]).ended(3).says("0 users read");
    rig.run(&["dead-letters", "replay", &number]).ended(0).says("1 dead letter will be sent again");
    rig.run(&["sync"]).ended(3).says("1 dead letter");
    assert_eq!(rig.misplaced(), [id]);

    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0).says("1 dead letter");
    rig.sync();
    rig.assert_right();
    rig.run(&["dead-letters", "list"]).ended(0).says("no dead letters");
    let ran = rig.run(&["dead-letters", "replay", &number]).ended(1).complains("no dead letter");
    assert_eq!(ran.stdout, "", "nothing was done, and nothing is said to be");
}

#[test]
fn what_was_moved_is_told_in_json_beside_what_is_not_there() {
    let (rig, _) = with_one_refused(400);
    rig.run(&["sync"]).ended(3);
    let id = list(&rig)[0]["id"].take();
    let answer = rig.run(&["dead-letters", "replay", &id.to_string(), "9999", "--json"]).ended(1).json();
    assert_eq!((&answer["replayed"], &answer["error"]["exit_code"]), (&json!([id]), &json!(1)));
    rig.run(&["sync"]).ended(3);
    let answer = rig.run(&["dead-letters", "discard", "--all", "--json"]).ended(0).json();
    assert_eq!(answer, json!({ "discarded": [id] }));
}

#[test]
fn a_discarded_letter_is_gone_until_something_is_decided_anew() {
    let (rig, id) = with_one_refused(400);
    rig.run(&["sync"]).ended(3);
    rig.run(&["dead-letters", "discard", "--all"]).ended(0).says("1 dead letter given up for good");
    assert_eq!(list(&rig).len(), 0);
    rig.faults(Faults::default());
    rig.advance(60);
    rig.sync();
    assert_eq!(rig.misplaced(), [id]);
    rig.run(&["sync", "--full"]).ended(0).says("1 delivered");
    rig.assert_right();
}

#[test]
fn a_letter_whose_user_has_changed_is_overtaken_by_the_new_decision() {
    let (rig, id) = with_one_refused(400);
    rig.run(&["sync"]).ended(3);
    rig.faults(Faults::default());
    rig.advance(60);
    rig.tenant().set_active(&id, true).unwrap();
    rig.set_roles(&id, &["HR_ENGINEER", "HR_FINANCE", "HR_SALES", "HR_SUPPORT"]);
    rig.run(&["sync"]).ended(0).says("1 planned; 1 delivered, 0 still waiting, 0 dead letters");
    rig.assert_right();
}

#[test]
fn a_letter_is_not_written_twice() {
    let (rig, _) = with_one_refused(400);
    rig.run(&["sync"]).ended(3);
    let patches = rig.patches();
    rig.run(&["sync", "--full"]).ended(3).says("0 planned; 0 delivered, 0 still waiting, 1 dead letter");
    assert_eq!((list(&rig).len(), rig.patches()), (1, patches));
}

#[test]
fn a_failure_that_may_pass_is_tried_as_often_as_configured() {
    let (rig, id) = with_one_refused(503);
    rig.set("delivery.max_attempts = 2");
    rig.run(&["sync"]).ended(3).complains("attempt failed").complains("operation is a dead letter");
    let letters = list(&rig);
    assert_eq!((&letters[0]["user"], &letters[0]["attempts"]), (&json!(id), &json!(2)));
}

/// The list that was given up is complete, and older than what somebody has done meanwhile; no pass comes by itself.
#[test]
fn a_replayed_list_takes_no_team_that_was_given_by_hand() {
    let rig = Rig::live(Options { etag: false, ..users(40) });
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    let daemon = Daemon::start(&rig);
    until("his is the only one left", || {
        let operations = rig.status()["operations"].take();
        operations["dead_letters"] == 1 && operations["ready"] == 0 && operations["in_flight"] == 0
    });
    let mut teams = rig.tenant().user(&id).unwrap().teams;
    teams.insert(TeamId::from("team-by-hand"));
    rig.tenant().set_teams(&id, teams).unwrap();
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0).says("1 dead letter");
    until("he is where he belongs", || rig.misplaced().is_empty());
    assert!(rig.tenant().user(&id).unwrap().teams.contains(&TeamId::from("team-by-hand")));
    daemon.stop().with(0);
}
