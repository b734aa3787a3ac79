//! `plan`: what a sync would do, and nothing else.

use std::collections::BTreeSet;

use rosterd::model::TeamId;
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
            "added": should.difference(has).collect::<Vec<_>>(),
            "removed": has.difference(should).collect::<Vec<_>>(),
        })
    };
    rig.misplaced().iter().map(change).collect()
}

#[test]
fn a_plan_names_every_change_and_makes_none() {
    let rig = Rig::still(users(80));
    let (before, expected) = (rig.teams(), expected(&rig));
    assert!(expected.len() > 20);
    let plan = rig.run(&["plan", "--json"]).ended(2).json();
    assert_eq!(
        plan,
        json!({ "tenants": [{
            "tenant": TENANT, "kind": "sweep", "since": null, "users_read": 80, "unreadable": 0, "complete": true,
            "changes": expected,
        }]})
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
        let plan = rig.run(&["plan", "--json"]).ended(2).json();
        assert_eq!(plan["tenants"][0]["changes"], json!(expected(&rig)));
    }
    assert_eq!((rig.status(), rig.patches()), (status, patches));
}
