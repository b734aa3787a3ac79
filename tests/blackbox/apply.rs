//! `plan --out` and `apply`: what somebody has reviewed, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rosterd::model::{TeamId, UserId};
use rosterd::practice::{Faults, Options};
use serde_json::{Value, json};

use crate::home::TENANT;
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};

const FILE: &str = "plan.json";

/// A tenant with nothing to do, then some users in other roles, and a plan for these.
fn reviewed(options: Options) -> (Rig, Vec<UserId>) {
    let rig = Rig::still(options);
    rig.sync();
    rig.advance(60);
    let users = rig.tenant().users().into_iter();
    let in_sales = users.filter(|user| user.active && user.teams.contains(&TeamId::from("team-sales")));
    in_sales.take(6).for_each(|user| rig.set_roles(&user.id, &["HR_FINANCE"]));
    let changed = rig.misplaced();
    rig.advance(60);
    rig.run(&["plan", "--out", FILE]).ended(2).says("saved; `rosterd apply plan.json` changes 6 users");
    (rig, changed)
}

/// Somebody who is not in the plan now needs something else.
fn change_another(rig: &Rig, changed: &[UserId]) -> UserId {
    let id = rig
        .some(|user| !changed.contains(&user.id) && user.teams.contains(&TeamId::from("team-engineering")))
        .id;
    rig.set_roles(&id, &["HR_GUEST"]);
    id
}

fn refused(answer: &Value) -> Vec<&Value> {
    answer["refused"].as_array().unwrap().iter().map(|refused| &refused["user"]).collect()
}

#[test]
fn a_reviewed_plan_is_sent_as_it_stands_in_the_file() {
    let (rig, changed) = reviewed(users(60));
    let (patches, file) = (rig.patches(), rig.path(FILE));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();

    // Decided after the review: not in the file, and not sent.
    let later = change_another(&rig, &changed);
    let answer = rig.run(&["apply", FILE, "--json"]).ended(0).json();
    assert_eq!(
        answer,
        json!({
            "tenant": TENANT, "exit_code": 0, "pass": 2, "result": "ok", "applied": changed, "already": [],
            "refused": [], "delivered": 6, "left": [], "trouble": null,
        })
    );
    assert_eq!((rig.misplaced(), rig.patches() - patches), (vec![later], 6));
    let (status, watermark) = (rig.status(), &rig.status()["passes"][1]["id"]);
    assert_eq!((&status["passes"][0]["kind"], watermark), (&json!("apply"), &json!(1)));

    rig.run(&["plan", "--out", FILE]).ended(64).complains("is there already; --force writes over it");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    rig.run(&["plan", "--out", FILE, "--force"]).ended(2).says("changes 1 user as");
    rig.run(&["apply", FILE])
        .ended(0)
        .says("acme: apply pass 3 ok: 1 applied, 0 refused; 1 delivered, 0 left\n");
    rig.assert_right();
}

#[test]
fn whoever_has_changed_since_is_left_alone_and_named() {
    for etag in [true, false] {
        let (rig, changed) = reviewed(Options { etag, ..users(60) });
        let [moved, gone, rest @ ..] = &changed[..] else { panic!("too few") };
        rig.tenant().set_teams(moved, ["team-support"].map(TeamId::from)).unwrap();
        rig.tenant().delete_user(gone).unwrap();
        let patches = rig.patches();
        let ran = rig.run(&["apply", FILE, "--json"]).ended(3);
        let answer = ran.json();
        assert_eq!(answer["applied"], json!(rest));
        let mut named = [moved, gone];
        named.sort();
        assert_eq!(refused(&answer), named.map(|id| json!(id)).iter().collect::<Vec<_>>());
        let why = |id: &UserId| {
            let all = answer["refused"].as_array().unwrap();
            all.iter().find(|refused| refused["user"] == json!(id)).unwrap()["reason"].as_str().unwrap()
        };
        assert!(why(moved).contains("his teams"), "{answer:#}");
        assert!(why(gone).contains("knows him no more"), "{answer:#}");
        assert_eq!(rig.patches() - patches, rest.len() as u64);
        assert_eq!(rig.teams()[moved], ["team-support"].map(TeamId::from).into());

        rig.advance(60);
        rig.sync();
        rig.assert_right();
    }
}

#[test]
fn a_file_that_is_not_what_was_reviewed_is_refused() {
    let (rig, changed) = reviewed(users(60));
    let text = fs::read_to_string(rig.path(FILE)).unwrap();
    let patches = rig.patches();
    for (name, text, complaint) in [
        (
            "edited",
            text.replacen("team-finance", "team-engineering", 1),
            "was changed after it had been made",
        ),
        ("user", text.replace(changed[0].as_str(), "somebody"), "was changed after it had been made"),
        ("later", text.replace("\"rosterd_plan\": 1", "\"rosterd_plan\": 9"), "plan of form 9"),
        ("other", "{}".to_owned(), "is no saved plan"),
    ] {
        rig.write(name, &text);
        rig.run(&["apply", name]).ended(64).complains(complaint);
    }
    rig.run(&["apply", "missing.json"]).ended(64).complains("missing.json: No such file");
    let other = Rig::still(users(5));
    other.write(FILE, &text);
    other.run(&["apply", FILE]).ended(64).complains("was made for acme at another base_url");
    rig.set(
        "[tenants.other]\nregion = \"mypurecloud.com\"\nclient_id = { env = \"CLIENT_ID\" }\n\
             client_secret = { env = \"CLIENT_SECRET\" }\nmapping.A = \"a\"",
    );
    rig.run(&["plan", "--out", "two.json"]).ended(64).complains("say which with --tenant");
    assert_eq!(rig.patches(), patches);
}

#[test]
fn who_is_as_the_plan_has_it_is_told_to_be_so_already() {
    let (rig, changed) = reviewed(users(60));
    rig.run(&["apply", FILE]).ended(0).says("6 applied, 0 refused; 6 delivered, 0 left");
    let patches = rig.patches();
    let answer = rig.run(&["apply", FILE, "--json"]).ended(0).json();
    assert_eq!(
        (&answer["applied"], &answer["already"], &answer["refused"]),
        (&json!([]), &json!(changed), &json!([]))
    );
    let text = rig
        .run(&["apply", FILE])
        .ended(0)
        .says("0 applied, 0 refused, 6 are so already; 0 delivered, 0 left");
    assert!(text.stdout.contains(&format!("{}: is so already", changed[0])), "{}", text.stdout);
    assert_eq!(rig.patches(), patches);
    rig.run(&["status"]).ended(0).says("apply ok, began ").says(", 6 changes taken from the plan\n");

    // Moved on since: he is not what the plan would make of him.
    rig.set_roles(&changed[0], &["HR_SALES"]);
    let answer = rig.run(&["apply", FILE, "--json"]).ended(3).json();
    assert_eq!(
        (refused(&answer), answer["already"].as_array().unwrap().len()),
        (vec![&json!(changed[0])], 5)
    );
}

#[test]
fn what_can_be_no_plan_is_not_read_at_all() {
    let rig = Rig::still(users(5));
    rig.run(&["apply", "missing.json"])
        .ended(64)
        .complains("No such file")
        .complains("`rosterd plan --out FILE` writes one");
    let made = Command::new("mkfifo").arg(rig.path("pipe")).status().unwrap();
    assert!(made.success());
    rig.run(&["apply", "pipe"]).ended(64).complains("pipe: is no regular file");
    rig.run(&["apply", "."]).ended(64).complains(".: is no regular file");
    fs::File::create(rig.path("huge")).unwrap().set_len((1 << 30) + 1).unwrap();
    rig.run(&["apply", "huge"]).ended(64).complains("huge: is larger than 1 GiB");
}

/// The guard asks whether somebody has looked at it; of a reviewed plan somebody has.
#[test]
fn a_reviewed_plan_is_not_held_and_takes_what_is_held_along() {
    let (rig, changed) = reviewed(users(60));
    rig.set("guard.max_removals_percent = 1");
    rig.run(&["sync"]).ended(3).complains("pass is held until it is approved or discarded");
    assert_eq!(rig.status()["operations"]["held"], json!(changed.len()));
    rig.run(&["apply", FILE]).ended(0).says("6 applied, 0 refused; 6 delivered, 0 left");
    rig.assert_right();
    assert_eq!(rig.status()["operations"]["held"], json!(0));
}

#[test]
fn what_the_tenant_refuses_is_told() {
    let (rig, changed) = reviewed(users(60));
    rig.faults(Faults { fail_users: [(changed[2].to_string(), 400)].into(), ..Faults::default() });
    let answer = rig.run(&["apply", FILE, "--json"]).ended(3).json();
    assert_eq!((answer["delivered"].as_u64(), answer["left"][0]["state"].as_str()), (Some(5), Some("dead")));
    assert_eq!(answer["left"][0]["user"], json!(changed[2]));
    rig.run(&["apply", FILE]).ended(3).says("it is a dead letter: replay or discard that");
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    rig.run(&["apply", FILE]).ended(77).complains("credentials are wrong");
}

/// What waits from before was decided from lists that may be old: nobody has looked at those users.
#[test]
fn what_waits_from_elsewhere_is_not_sent() {
    let (rig, changed) = reviewed(users(60));
    let other = change_another(&rig, &changed);
    rig.faults(Faults { fail_users: [(other.to_string(), 400)].into(), ..Faults::default() });
    rig.advance(60);
    rig.run(&["sync"]).ended(3);
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    let patches = rig.patches();
    rig.run(&["apply", FILE]).ended(0).says("0 applied, 0 refused, 6 are so already; 0 delivered");
    assert_eq!((rig.patches(), rig.misplaced()), (patches, vec![other]));
}

#[test]
fn a_plan_by_another_mapping_is_refused_and_one_by_the_new_mapping_brings_it_into_force() {
    let (rig, _) = reviewed(users(60));
    rig.run(&["sync"]).ended(0);
    let toml = fs::read_to_string(rig.path("rosterd.toml")).unwrap();
    rig.write("rosterd.toml", &toml.replace("[\"team-sales\"]", "[\"team-sales\", \"team-bonus\"]"));
    rig.run(&["apply", FILE]).ended(0).says("0 applied, 0 refused, 6 are so already");
    rig.run(&["plan", "--out", "new.json"]).ended(2).says("acme: remap since");
    // At the very moment of the watermark: no delta pass sees it.
    let odd = rig.some(|user| user.active && user.teams.contains(&TeamId::from("team-sales"))).id;
    rig.tenant().set_teams(&odd, ["team-sales", "team-chess"].map(TeamId::from)).unwrap();
    rig.run(&["apply", "new.json"]).ended(3).says(", 1 refused; ");
    let bonus = |rig: &Rig| {
        let users = rig.tenant().users().into_iter();
        users.filter(|user| user.teams.contains(&TeamId::from("team-bonus"))).count()
    };
    let given = bonus(&rig);
    assert!(given > 0);
    rig.run(&["apply", FILE]).ended(64).complains("was made by another mapping than the one in force");
    rig.advance(60);
    rig.run(&["sync"]).ended(0).says("1 delivered");
    assert_eq!(bonus(&rig), given + 1, "who was refused is decided by the remap");
}

#[test]
fn beside_a_daemon_the_daemon_applies_it() {
    let rig = Rig::live(users(60));
    rig.set("schedule = \"0 0 0 1 1 *\"\nsweep_schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    daemon.until_said("pass finished");
    until("all is delivered", || rig.misplaced().is_empty() && rig.status()["operations"]["in_flight"] == 0);
    let sales =
        rig.tenant().users().into_iter().filter(|user| user.teams.contains(&TeamId::from("team-sales")));
    sales.take(3).for_each(|user| rig.set_roles(&user.id, &["HR_FINANCE"]));
    let changed = rig.misplaced();
    rig.run(&["plan", "--out", FILE]).ended(2).says("changes 3 users");
    rig.tenant().set_teams(&changed[0], []).unwrap();

    let ran = rig.run(&["apply", FILE, "--json"]).ended(3).complains("it was asked to do this");
    let answer = ran.json();
    assert_eq!((&answer["applied"], &answer["delivered"]), (&json!(changed[1..]), &json!(2)));
    assert_eq!((refused(&answer), rig.misplaced()), (vec![&json!(changed[0])], vec![changed[0].clone()]));
    daemon.stop().with(0);
}
