//! `sync`: one pass, delivered to the end.

use std::collections::BTreeSet;

use rosterd::model::{Role, TeamId, UserId};
use rosterd::practice::{self, Faults};
use serde_json::json;

use crate::home::{Home, RULES, TENANT};
use crate::rig::{Rig, runtime, users, wanted};

#[test]
fn one_sync_puts_every_user_where_his_roles_ask_for() {
    let rig = Rig::still(users(300));
    let (wanted, misplaced) = (rig.wanted(), rig.misplaced());
    let unmanaged = |rig: &Rig| -> Vec<(UserId, TeamId)> {
        let ours: BTreeSet<&str> = RULES.iter().flat_map(|(_, teams)| *teams).copied().collect();
        let all = rig
            .teams()
            .into_iter()
            .flat_map(|(id, teams)| teams.into_iter().map(move |team| (id.clone(), team)));
        all.filter(|(_, team)| !ours.contains(team.as_str())).collect()
    };
    let others = unmanaged(&rig);
    assert!(!others.is_empty() && misplaced.len() > 100);

    let count = misplaced.len();
    rig.run(&["sync"]).ended(0).says(&format!(
        "acme: sweep pass 1 ok: 300 users read, {count} planned; {count} delivered, 0 still waiting, 0 dead letters\n"
    ));
    assert_eq!(rig.teams(), wanted);
    assert_eq!(unmanaged(&rig), others);
    let stats = rig.stats();
    assert_eq!((rig.patches(), stats.patches_without_effect), (count as u64, 0));

    rig.advance(60);
    rig.run(&["sync"]).ended(0).says("acme: delta pass 2 ok: 0 users read, 0 planned; 0 delivered");
    // One more: after a sweep the tenant is asked for one user since the epoch.
    assert_eq!((rig.patches(), rig.stats().users_listed), (count as u64, 301));
}

#[test]
fn after_some_changes_a_sync_reads_those_users_only_and_patches_no_others() {
    let rig = Rig::still(users(150));
    rig.sync();
    let (patches, listed) = (rig.patches(), rig.stats().users_listed);
    rig.advance(60);
    let others =
        rig.tenant().users().into_iter().filter(|user| user.roles != [Role::from("HR_SALES")].into());
    let changed: Vec<UserId> = others.step_by(15).map(|user| user.id).collect();
    for id in &changed {
        rig.set_roles(id, &["HR_SALES"]);
    }
    let misplaced = rig.misplaced();
    assert!(!misplaced.is_empty() && misplaced.iter().all(|id| changed.contains(id)));

    rig.advance(60);
    rig.sync();
    rig.assert_right();
    assert_eq!(rig.patches() - patches, misplaced.len() as u64);
    assert_eq!(rig.stats().users_listed - listed, changed.len() as u64);
    assert_eq!(rig.stats().patches_without_effect, 0);
}

#[test]
fn a_full_sync_undoes_what_a_delta_cannot_see() {
    let rig = Rig::still(users(40));
    rig.sync();
    // At the very moment of the watermark, which a delta pass asks for what is later than.
    let user = rig.some(|user| user.active && user.teams.contains(&TeamId::from("team-sales")));
    rig.tenant().set_teams(&user.id, ["team-first-aid"].map(TeamId::from)).unwrap();
    rig.advance(60);
    rig.sync();
    assert_eq!(rig.misplaced(), std::slice::from_ref(&user.id));
    rig.run(&["sync", "--full"])
        .ended(0)
        .says("acme: sweep pass 3 ok: 40 users read, 1 planned; 1 delivered");
    rig.assert_right();
    assert!(rig.teams()[&user.id].contains(&TeamId::from("team-first-aid")));
}

#[test]
fn json_says_what_was_done() {
    let rig = Rig::still(users(30));
    let misplaced = rig.misplaced().len();
    let answer = rig.run(&["sync", "--json"]).ended(0).json();
    assert_eq!(
        answer,
        json!({ "tenants": [{
            "tenant": TENANT, "exit_code": 0, "pass": 1, "kind": "sweep", "result": "ok", "users_read": 30, "pages": 1,
            "planned": misplaced, "skipped": 30 - misplaced, "unreadable": 0, "delivered": misplaced, "waiting": 0,
            "held": 0, "dead_letters": 0, "trouble": null, "reason": null, "digest": null, "remap": null,
            "unfinished_runs": [],
        }]})
    );
}

#[test]
fn what_is_not_delivered_in_time_waits_for_the_next_sync() {
    let rig = Rig::still(users(60));
    let misplaced = rig.misplaced().len();
    let answer = rig.run(&["sync", "--wait", "0s", "--json"]).ended(3).json();
    let (delivered, waiting) = (&answer["tenants"][0]["delivered"], &answer["tenants"][0]["waiting"]);
    assert_eq!(delivered.as_u64().unwrap() + waiting.as_u64().unwrap(), misplaced as u64);
    assert!(waiting.as_u64().unwrap() > 0, "{answer:#}");
    rig.advance(60);
    rig.sync();
    rig.assert_right();
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (misplaced as u64, 0));
}

#[test]
fn users_without_a_rule_and_leavers_keep_their_teams_when_told_so() {
    for (keys, keeps) in
        [("when_unmapped = \"keep\"", [true, false]), ("when_inactive = \"keep\"", [false, true])]
    {
        let rig = Rig::still(users(20));
        let in_sales = ["team-sales", "team-social"].map(TeamId::from);
        let [guest, leaver] = [0, 1].map(|at| rig.tenant().users()[at].id.clone());
        rig.set_roles(&guest, &["HR_GUEST"]);
        rig.tenant().set_active(&guest, true).unwrap();
        rig.tenant().set_active(&leaver, false).unwrap();
        for id in [&guest, &leaver] {
            rig.tenant().set_teams(id, in_sales.clone()).unwrap();
        }
        rig.set(keys);
        rig.sync();
        for (id, keeps) in [&guest, &leaver].into_iter().zip(keeps) {
            let expected = if keeps { in_sales.clone().into() } else { [TeamId::from("team-social")].into() };
            assert_eq!(rig.teams()[id], expected, "{keys}");
        }
    }
}

#[test]
fn add_and_remove_lead_to_the_same_end() {
    let rig = Rig::still(users(120));
    rig.set("team_patch = \"add-remove\"");
    let (wanted, misplaced) = (rig.wanted(), rig.misplaced().len());
    rig.sync();
    assert_eq!(rig.teams(), wanted);
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (misplaced as u64, 0));
}

#[test]
fn several_tenants_are_kept_apart() {
    let (rig, other) = (Rig::still(users(40)), Rig::still(practice::Options { seed: 2, ..users(60) }));
    let rules = "[tenants.other.mapping]\nHR_SALES = \"team-sales\"\n";
    let urls = format!(
        "base_url = {:?}\ntoken_url = {:?}",
        other.practice().base_url(),
        other.practice().token_url()
    );
    let secrets = "client_id = { env = \"CLIENT_ID\" }\nclient_secret = { env = \"CLIENT_SECRET\" }";
    rig.write("more.toml", &format!("[tenants.other]\n{urls}\n{secrets}\n{rules}"));

    let before = other.teams();
    rig.run(&["sync", "--tenant", TENANT]).ended(0);
    rig.assert_right();
    assert_eq!(other.teams(), before);
    rig.run(&["sync", "--tenant", "nobody"]).ended(64).complains("there is acme, other");

    rig.run(&["sync"]).ended(0).says("other: sweep pass ").says(" ok: 60 users read");
    for user in other.tenant().users() {
        assert_eq!(user.teams, wanted(&user, &[("HR_SALES", &["team-sales"])]));
    }
}

#[test]
fn the_worst_end_of_several_tenants_is_the_exit_code() {
    let (rig, other) = (Rig::still(users(10)), Rig::still(users(10)));
    other.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    let urls = format!(
        "base_url = {:?}\ntoken_url = {:?}",
        other.practice().base_url(),
        other.practice().token_url()
    );
    let rest =
        "client_id = { env = \"CLIENT_ID\" }\nclient_secret = { env = \"CLIENT_SECRET\" }\nmapping.A = \"a\"";
    rig.write("more.toml", &format!("[tenants.other]\n{urls}\n{rest}\n"));
    let ran = rig.run(&["sync", "--json"]).ended(77);
    let codes: Vec<_> =
        ran.json()["tenants"].as_array().unwrap().iter().map(|end| end["exit_code"].clone()).collect();
    assert_eq!(codes, [json!(0), json!(77)]);
    rig.assert_right();
}

#[test]
fn a_tenant_that_ignores_since_is_read_whole_with_one_warning_and_no_needless_patch() {
    let rig = Rig::still(users(30));
    rig.faults(Faults { ignore_since: true, ..Faults::default() });
    let ran = rig.run(&["sync"]).ended(0);
    assert_eq!(ran.stderr.matches("does not understand the parameter since").count(), 1, "{}", ran.stderr);
    let patches = rig.patches();
    rig.advance(60);
    let user = rig.some(|user| user.active);
    rig.set_roles(&user.id, &["HR_GUEST"]);
    let ran = rig.run(&["sync"]).ended(0).says("delta pass 2 ok: 30 users read");
    assert!(!ran.stderr.contains("does not understand"), "{}", ran.stderr);
    rig.assert_right();
    assert_eq!(rig.patches(), patches + u64::from(!user.teams.is_empty()));
}

#[test]
fn the_database_is_for_its_owner_only_and_holds_no_personal_data() {
    use std::os::unix::fs::PermissionsExt as _;

    let rig = Rig::still(users(50));
    rig.sync();
    let mode = std::fs::metadata(rig.database()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(rig.database()).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(rig.tenant().users()[0].id.as_str()));
    assert!(!holds("@practice.example") && !holds("User 0001"));
}

/// Two daemons on one database: one of them works, the other one says who does.
#[test]
fn a_second_owner_is_turned_away() {
    let rig = Rig::still(users(20));
    let store = runtime()
        .block_on(rosterd::store::Store::own(&rig.database(), rosterd::clock::Clock::system().now()));
    let _owner = store.unwrap();
    let home: &Home = &rig;
    home.run(&["run"])
        .ended(1)
        .complains(&format!("another rosterd owns this database (process {})", std::process::id()));
    assert_eq!(rig.stats().requests.len(), 0, "the tenant was left alone");
}
