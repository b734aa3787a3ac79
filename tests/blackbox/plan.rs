//! `plan`: what a sync would do, and nothing else.

use std::collections::BTreeSet;

use rosterd::model::TeamId;
use rosterd::practice::Faults;
use serde_json::{Value, json};

use crate::home::TENANT;
use crate::rig::{Rig, users};

/// What should be in the plan, worked out without the program.
fn expected(rig: &Rig) -> Vec<Value> {
    let (teams, wanted) = (rig.teams(), rig.wanted());
    let change = |id| {
        let user = rig.tenant().user(id).unwrap();
        let mapped = user.roles.iter().any(|role| role.as_str() != "HR_GUEST");
        let cause = if !user.active {
            "inactive"
        } else if mapped {
            "mapped"
        } else {
            "unmapped"
        };
        let (has, should): (&BTreeSet<TeamId>, &BTreeSet<TeamId>) = (&teams[id], &wanted[id]);
        json!({
            "user": id,
            "cause": cause,
            "roles": user.roles.iter().filter(|role| role.as_str() != "HR_GUEST").collect::<Vec<_>>(),
            "added": should.difference(has).collect::<Vec<_>>(),
            "removed": has.difference(should).collect::<Vec<_>>(),
            "teams": should,
            "patch": "replace",
            "version": user.version,
            "already": null,
        })
    };
    rig.misplaced().iter().map(change).collect()
}

/// The plan of the one tenant, without the digests of each user, which are 64 digits.
fn plan(rig: &Rig, args: &[&str]) -> Value {
    let args: Vec<&str> = ["plan", "--json"].iter().chain(args).copied().collect();
    let mut plan = rig.run(&args).ended(2).json()["tenants"][0].take();
    for change in plan["changes"].as_array_mut().unwrap() {
        let content = change.as_object_mut().unwrap().remove("content").unwrap();
        assert_eq!(content.as_str().unwrap().len(), 64);
    }
    plan
}

#[test]
fn a_plan_names_every_change_and_makes_none() {
    let rig = Rig::still(users(80));
    let (before, expected) = (rig.teams(), expected(&rig));
    assert!(expected.len() > 20);
    let mut plan = plan(&rig, &[]);
    let texts = ["made_at", "digest", "mapping_digest"].map(|key| plan[key].take());
    assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| text.len() >= 24)), "{texts:?}");
    assert_eq!(
        plan,
        json!({
            "tenant": TENANT, "kind": "sweep", "made_at": null, "since": null, "mapping_digest": null,
            "digest": null, "users_read": 80, "unreadable": 0, "missing": 0, "complete": true, "findings": [],
            "changes": expected,
        })
    );
    assert_eq!((rig.teams(), rig.patches()), (before, 0));
    assert!(!rig.database().exists());

    let first = &expected[0];
    let line = format!("{} ({}):", first["user"].as_str().unwrap(), first["cause"].as_str().unwrap());
    let sum = format!("acme: sweep, 80 users read, {} to change", expected.len());
    rig.run(&["plan"]).ended(2).says(&line).says(&sum);
    assert!(!rig.database().exists());

    rig.run(&["sync"]).ended(0).says(&format!("{} planned", expected.len()));
    rig.assert_right();
}

#[test]
fn a_plan_with_nothing_in_it_ends_with_0_and_moves_nothing() {
    let rig = Rig::still(users(40));
    rig.sync();
    rig.advance(60);
    let (status, patches) = (rig.status(), rig.patches());
    rig.run(&["plan"]).ended(0).says("acme: delta since").says("0 users read, 0 to change");
    rig.run(&["plan", "--full"]).ended(0).says("acme: sweep, 40 users read, 0 to change");

    let user = rig.some(|user| user.active && user.teams.contains(&TeamId::from("team-sales")));
    rig.set_roles(&user.id, &["HR_FINANCE"]);
    for _ in 0..2 {
        assert_eq!(plan(&rig, &[])["changes"], json!(expected(&rig)));
    }
    assert_eq!((rig.status(), rig.patches()), (status, patches));
}

/// What the daemon would hold can be approved by the digest that the plan tells.
#[test]
fn a_plan_that_is_too_much_says_so_and_has_the_digest_of_the_hold() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.advance(60);
    rig.set("guard.max_removals_percent = 5");
    for leaver in rig.tenant().users().into_iter().filter(|user| user.teams.len() > 1).take(20) {
        rig.tenant().set_active(&leaver.id, false).unwrap();
    }
    rig.advance(60);
    let text = rig
        .run(&["plan"])
        .ended(2)
        .says("the guard holds it: ")
        .says("users lose a managed team: more than 5 %");
    let planned = plan(&rig, &[]);
    assert_eq!(planned["findings"][0]["limit"], "max_removals_percent");
    let digest = planned["digest"].as_str().unwrap();
    assert!(text.stdout.contains(digest));
    let held = rig.run(&["sync"]).ended(3);
    assert!(held.stderr.contains(&format!("\"digest\":\"{digest}\"")), "{digest}: {}", held.stderr);
    assert!(rig.run(&["plan", "--full"]).ended(3).stdout.contains("[held]"), "what is held stays so");
}

#[test]
fn what_waits_is_in_the_plan_and_a_dead_letter_does_not_count() {
    let rig = Rig::still(users(40));
    let [dead, ..] = &rig.misplaced()[..] else { panic!("nobody to place") };
    rig.faults(Faults { fail_users: [(dead.to_string(), 400)].into(), ..Faults::default() });
    rig.run(&["sync"]).ended(3);
    rig.advance(60);
    let text =
        rig.run(&["plan"]).ended(3).says("0 to change").says("1 more is held or a dead letter, and stays so");
    assert!(
        text.stdout.lines().any(|line| line.starts_with(dead.as_str()) && line.ends_with(" [dead letter]"))
    );

    let waiting = Rig::still(users(40));
    let misplaced = waiting.misplaced().len();
    waiting.run(&["sync", "--wait", "0s"]).ended(3);
    waiting.advance(60);
    let left = misplaced - usize::try_from(waiting.patches()).unwrap();
    let planned = plan(&waiting, &[]);
    let already: Vec<&Value> =
        planned["changes"].as_array().unwrap().iter().map(|change| &change["already"]).collect();
    assert_eq!((left > 0, already), (true, vec![&json!("waiting"); left]));
}

/// A known user whom the list does not show is asked for by id, as in a sweep, and a team that has left the mapping
/// is taken from those who were given it.
#[test]
fn a_plan_reads_and_decides_like_the_pass_that_follows() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.advance(60);
    let given = rig.some(|user| user.teams.contains(&TeamId::from("team-finance")));
    rig.write(
        "rosterd.toml",
        &std::fs::read_to_string(rig.path("rosterd.toml"))
            .unwrap()
            .replace("HR_FINANCE = [\"team-finance\"]\n", ""),
    );
    let gone = rig.some(|user| user.id != given.id).id;
    rig.tenant().delete_user(&gone).unwrap();
    let calls = || rig.stats().count("GET /Users/{id}");
    let before = (rig.status(), calls());
    let planned = plan(&rig, &["--full"]);
    assert_eq!((planned["kind"].as_str(), planned["missing"].as_u64()), (Some("remap"), Some(1)));
    assert_eq!((rig.status(), calls()), (before.0, before.1 + 1));
    let done = rig.run(&["sync", "--full", "--json"]).ended(0).json();
    assert_eq!(done["tenants"][0]["delivered"], planned["changes"].as_array().unwrap().len());
}
