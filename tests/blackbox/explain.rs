//! `explain`: why somebody is in his teams, or is not.

use rosterd::model::{TeamId, UserId};
use rosterd::practice::Faults;
use serde_json::{Value, json};

use crate::home::{Home, TENANT};
use crate::rig::{Rig, users};
use crate::scripted::{Scripted, list, parameter, user};

fn explain(home: &Home, who: &str) -> Value {
    home.run(&["explain", who, "--json"]).ended(0).json()["tenants"][0].take()
}

fn in_sales(rig: &Rig) -> UserId {
    rig.some(|user| user.active && user.teams.contains(&TeamId::from("team-sales"))).id
}

#[test]
fn a_known_user_is_explained_without_a_call() {
    let rig = Rig::still(users(40));
    rig.sync();
    let id = in_sales(&rig);
    rig.tenant().set_teams(&id, ["team-finance", "team-chess"].map(TeamId::from)).unwrap();
    rig.set_roles(&id, &["HR_SALES", "HR_GUEST"]);
    rig.advance(60);
    rig.run(&["sync", "--full"]).ended(0);
    let calls = rig.stats().requests.len();
    let answer = explain(&rig, id.as_str());
    assert_eq!(rig.stats().requests.len(), calls);
    assert_eq!(
        json!({
            "standing": answer["standing"], "answer": answer["answer"], "active": answer["active"],
            "roles": answer["roles"], "cause": answer["cause"], "desired": answer["desired"],
            "current": answer["current"], "kept": answer["kept"], "granted": answer["granted"],
            "open": answer["open"], "read_again_at": answer["read_again_at"],
        }),
        json!({
            "standing": "right", "answer": "is in the right teams", "active": true,
            "roles": ["HR_GUEST", "HR_SALES"], "cause": "mapped", "desired": ["team-sales"],
            "current": ["team-sales"], "kept": ["team-chess"], "granted": ["team-sales"],
            "open": null, "read_again_at": null,
        })
    );
    let hits: Vec<&Value> =
        answer["rules"].as_array().unwrap().iter().filter(|rule| rule["hit"] == true).collect();
    assert_eq!(hits, [&json!({ "role": "HR_SALES", "teams": ["team-sales"], "hit": true })]);
    let sent = &answer["history"][0];
    assert_eq!(
        (&sent["pass"], &sent["state"], &sent["added"], &sent["removed"], &sent["roles"]),
        (&json!(2), &json!("done"), &json!(["team-sales"]), &json!(["team-finance"]), &json!(["HR_SALES"]))
    );
    rig.run(&["explain", id.as_str()])
        .ended(0)
        .says(&format!("user {id} of tenant {TENANT}: is in the right teams\n"))
        .says("HR_SALES → team-sales")
        .says("rules not hit  HR_ENGINEER, HR_FINANCE, HR_SUPPORT")
        .says("roles unmapped HR_GUEST")
        .says("pass 2 (mapped, HR_SALES) decided: gain team-sales and lose team-finance; was done at ");
}

#[test]
fn what_keeps_a_user_from_his_teams_is_the_first_line() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.advance(60);
    let id = in_sales(&rig);
    rig.set_roles(&id, &["HR_FINANCE"]);
    rig.advance(60);
    let standing = |rig: &Rig| {
        let answer = explain(rig, id.as_str());
        (answer["standing"].as_str().unwrap().to_owned(), answer["answer"].as_str().unwrap().to_owned())
    };

    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    rig.run(&["sync"]).ended(3);
    let (word, text) = standing(&rig);
    assert_eq!(word, "dead letter");
    assert!(
        text.starts_with(
            "should gain team-finance and lose team-sales: its operation is a dead letter since "
        ),
        "{text}"
    );
    assert!(text.contains("400 this user fails on command; see `rosterd dead-letters show "), "{text}");

    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    let (word, text) = standing(&rig);
    assert_eq!(word, "read again", "{text}");
    rig.faults(Faults::default());
    rig.sync();
    assert_eq!(standing(&rig).0, "right");

    rig.advance(60);
    rig.set_roles(&id, &["HR_SALES"]);
    rig.advance(60);
    assert_eq!(standing(&rig).0, "right", "as last read");
    let live = rig.run(&["explain", id.as_str(), "--live"]).ended(0);
    live.says("should gain team-sales and lose team-finance: no pass has decided that yet")
        .says("read from the tenant at");

    rig.set("guard.max_removals = 0");
    rig.run(&["sync"]).ended(3);
    let (word, text) = standing(&rig);
    let digest = rig.status()["holds"][0]["digest"].take();
    let digest = &digest.as_str().unwrap()[..12];
    assert_eq!(
        (word.as_str(), text.contains(&format!("held until `rosterd approve {digest}`"))),
        ("held", true),
        "{text}"
    );
}

#[test]
fn a_user_whom_no_pass_has_seen_is_asked_for() {
    let rig = Rig::still(users(20));
    let id = rig.tenant().users()[2].id.clone();
    let by_id = rig.run(&["explain", id.as_str(), "--json"]).ended(0);
    let answer = by_id.json()["tenants"][0].take();
    assert_eq!(
        (&answer["user"], &answer["record"]["seen"], &answer["history"]),
        (&json!(id), &json!(false), &json!([]))
    );
    assert!(!rig.database().exists());

    // The third user of the practice tenant, by his name in another case.
    let by_name =
        rig.run(&["explain", "USER-0003@practice.example"]).ended(0).says("no pass has seen this user yet");
    assert!(!by_name.stdout.contains('@'), "{}", by_name.stdout);
    assert!(!by_name.stderr.contains('@'), "{}", by_name.stderr);
    rig.sync();
    rig.run(&["explain", "user-0003@practice.example"]).ended(0).says("a pass read it at");
    for nobody in ["no-such-id", "nobody@practice.example"] {
        rig.run(&["explain", nobody]).ended(1).complains(&format!("no user {nobody:?}"));
    }
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    rig.run(&["explain", "nobody@practice.example"]).ended(77).complains("credentials are wrong");
}

/// A name is data: it cannot become a part of the filter, and a tenant that ignores the filter shows others.
#[test]
fn a_name_is_quoted_and_others_are_not_taken_for_him() {
    let tenant = Scripted::new(|name, _| {
        (name == "GET /Users").then(|| list(&[user("u-1", &["HR_SALES"], &[]), user("u-2", &[], &[])]))
    });
    let name = r#"x@y" or active eq true or userName eq "\z"#;
    tenant.run(&["explain", name]).ended(1);
    let call = &tenant.named("GET /Users")[0];
    assert_eq!(
        parameter(call, "filter").as_deref(),
        Some(r#"userName eq "x@y\" or active eq true or userName eq \"\\z""#)
    );
    let found = tenant.run(&["explain", "U-2@practice.example", "--json"]).ended(0).json();
    assert_eq!(found["tenants"][0]["user"], "u-2");
}
