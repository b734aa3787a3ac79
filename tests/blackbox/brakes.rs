//! The guard through the binary: too much at once is held and nobody loses a team by it, later passes go on, and an
//! operator says what becomes of it.

use rosterd::model::{Role, TeamId, Timestamp, User, UserId};
use rosterd::practice::Faults;
use serde_json::{Value, json};

use crate::home::RULES;
use crate::process::{Daemon, until};
use crate::rig::{Rig, users, wanted};
use crate::scripted::{Scripted, list, user};

pub(crate) const LIMITS: &str = "guard.max_removals_percent = 20\nguard.max_changes_percent = 50";

/// A tenant of a hundred users who are all where they should be, and a guard that has counted nothing yet.
pub(crate) fn settled(keys: &str) -> Rig {
    let rig = Rig::still(users(100));
    rig.sync();
    rig.advance(60);
    rig.run(&["sync", "--full"]).ended(0).says(" 0 planned");
    rig.run(&["state", "reset", "guard", "--tenant", "acme"]).ended(0);
    rig.set(keys);
    rig.advance(60);
    rig
}

/// The first users whose roles give them teams.
pub(crate) fn members(rig: &Rig, count: usize) -> Vec<UserId> {
    let placed = rig.tenant().users().into_iter().filter(|user| user.active && !wanted_of(user).is_empty());
    let mut ids: Vec<UserId> = placed.map(|user| user.id).take(count).collect();
    ids.sort();
    assert_eq!(ids.len(), count);
    ids
}

/// The teams that the user's roles ask for.
fn wanted_of(user: &User) -> Vec<&'static str> {
    let asked = RULES.iter().filter(|(role, _)| user.roles.contains(&Role::from(*role)));
    asked.flat_map(|(_, teams)| teams.iter().copied()).collect()
}

/// HR takes all roles from these users.
pub(crate) fn dismiss(rig: &Rig, ids: &[UserId]) {
    for id in ids {
        rig.set_roles(id, &[]);
    }
}

/// What the log says about the pass that is held.
pub(crate) fn held(ran: &str) -> Value {
    let lines = ran.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let held =
        lines.into_iter().find(|line| line["message"] == "pass is held until it is approved or discarded");
    held.unwrap_or_else(|| panic!("nothing is held: {ran}"))
}

/// A sync whose pass is held; its digest.
#[track_caller]
pub(crate) fn sync_held(rig: &Rig, args: &[&str], reason: &str) -> String {
    let ran = rig.run(args).ended(3);
    let line = held(&ran.stderr);
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    line["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_mass_removal_is_held_and_what_is_left_of_it_is_sent_when_it_is_approved() {
    let rig = settled(LIMITS);
    let (before, watermark) = (rig.patches(), rig.status()["watermark"].clone());
    let leavers = members(&rig, 30);
    dismiss(&rig, &leavers);
    let limit = "30 of 100 users lose a managed team: more than 20 % in the last 1h (max_removals_percent)";
    let digest = sync_held(&rig, &["sync"], limit);
    assert_eq!(rig.patches(), before, "nothing is sent");
    assert_eq!(rig.misplaced(), leavers);
    let status = rig.status();
    assert_eq!((&status["operations"]["held"], &status["operations"]["ready"]), (&json!(30), &json!(0)));
    let moved = |status: &Value| Timestamp::parse(status["watermark"].as_str().unwrap());
    assert!(moved(&status) > moved(&json!({ "watermark": watermark })), "the watermark moves");

    // Later passes go on, and a newer decision takes two users out of the plan.
    rig.advance(60);
    let other = rig.some(|user| user.active && !leavers.contains(&user.id));
    rig.set_roles(&other.id, &["HR_ENGINEER", "HR_FINANCE", "HR_SALES", "HR_SUPPORT"]);
    rig.tenant().set_teams(&leavers[0], []).unwrap();
    let (id, teams) = (&leavers[1], rig.tenant().user(&leavers[1]).unwrap().teams);
    let role =
        RULES.iter().find(|(_, ours)| ours.iter().any(|team| teams.contains(&(*team).into()))).unwrap();
    rig.set_roles(id, &[role.0]);
    rig.run(&["sync"]).ended(3).says("3 users read").says(" held");
    let held = rig.status()["operations"]["held"].as_u64().unwrap();
    assert!(held < 30, "{held} are still held");
    assert!(rig.misplaced().iter().all(|id| leavers[1..].contains(id)));

    let sent = rig.patches();
    let left = 30 - held;
    rig.run(&["approve", &digest[..6]])
        .ended(0)
        .says(&format!("approved: {held} operations are ready, {left} users have left the plan since"));
    rig.sync();
    rig.assert_right();
    assert_eq!(rig.patches() - sent, held, "exactly the rest was sent");
    rig.run(&["approve", &digest]).ended(1).complains("nothing is held at all");
}

#[test]
fn a_discarded_plan_is_dropped_and_decided_again_by_the_next_sweep() {
    let rig = settled(LIMITS);
    let (before, leavers) = (rig.patches(), members(&rig, 25));
    dismiss(&rig, &leavers);
    let digest = sync_held(&rig, &["sync"], "25 of 100");
    let discarded = rig.run(&["discard", &digest, "--json"]).ended(0).json();
    assert_eq!(
        (&discarded["decision"], &discarded["operations"], &discarded["left"], &discarded["digest"]),
        (&json!("discarded"), &json!(25), &json!(0), &json!(digest))
    );
    rig.run(&["status"]).ended(0).says("(was held: discarded since)");
    rig.advance(60);
    rig.run(&["sync"]).ended(0);
    assert_eq!((rig.patches(), rig.status()["operations"]["held"].clone()), (before, json!(0)));
    let again = sync_held(&rig, &["sync", "--full"], "25 of 100");
    assert_eq!(again, digest, "the same plan has the same digest");
}

#[test]
fn the_first_pass_may_change_everybody_but_not_empty_the_teams() {
    let rig = Rig::still(users(100));
    rig.set("guard.max_changes_percent = 1");
    rig.sync();
    rig.assert_right();

    let rig = Rig::still(users(100));
    rig.set("guard.max_removals_percent = 1");
    let digest = sync_held(&rig, &["sync"], "(max_removals_percent)");
    assert_eq!(rig.patches(), 0);
    rig.run(&["approve", &digest]).ended(0);
    rig.sync();
    rig.assert_right();
}

#[test]
fn small_passes_within_the_window_count_together() {
    let rig = settled(LIMITS);
    let leavers = members(&rig, 24);
    for some in leavers[..18].chunks(6) {
        dismiss(&rig, some);
        rig.sync();
        rig.assert_right();
        rig.advance(60);
    }
    dismiss(&rig, &leavers[18..]);
    let digest = sync_held(&rig, &["sync"], "24 of 100 users lose a managed team");
    assert_eq!(rig.misplaced(), leavers[18..], "only the last pass is held");
    rig.run(&["approve", &digest])
        .ended(0)
        .says("no daemon is at work: nothing is sent before")
        .says("6 operations are ready");
    rig.sync();
    rig.assert_right();
}

#[test]
fn a_wrong_digest_is_answered_with_what_is_held() {
    let rig = settled(LIMITS);
    dismiss(&rig, &members(&rig, 30));
    let digest = sync_held(&rig, &["sync"], "30 of 100");
    let what = format!("held: {} (tenant acme, pass 3, 30 operations)", &digest[..12]);
    for command in ["approve", "discard"] {
        let wrong = if digest.starts_with("000000") { "111111" } else { "000000" };
        rig.run(&[command, wrong]).ended(1).complains("nothing is held with the digest").complains(&what);
        for malformed in [&digest[..5], "no-digest"] {
            rig.run(&[command, malformed]).ended(64).complains("at least 6 of them");
        }
        rig.run(&[command, &digest, "--tenant", "nobody"]).ended(64).complains("no tenant \"nobody\"");
    }
    assert_eq!(rig.status()["operations"]["held"], 30);
}

#[test]
fn numbers_and_single_teams_have_limits_of_their_own() {
    let rig = settled("guard.max_removals = 3\nguard.min_users = 1000");
    let leavers = members(&rig, 4);
    dismiss(&rig, &leavers);
    sync_held(
        &rig,
        &["sync"],
        "4 of 100 users lose a managed team: more than 3 in the last 1h (max_removals)",
    );
    assert_eq!(rig.misplaced(), leavers);

    let rig = settled("guard.max_team_removals = 1");
    let sales = |user: &User| user.active && user.teams.contains(&"team-sales".into());
    let mut leavers: Vec<UserId> =
        rig.tenant().users().into_iter().filter(sales).map(|user| user.id).take(2).collect();
    leavers.sort();
    dismiss(&rig, &leavers);
    let limit = "users lose team team-sales: more than 1 in the last 1h (max_team_removals)";
    sync_held(&rig, &["sync"], limit);
    assert_eq!(rig.misplaced(), leavers);
}

#[test]
fn a_list_that_has_lost_many_users_asks_for_nobody_until_that_is_approved() {
    let rig = settled(LIMITS);
    let (gone, watermark) = (members(&rig, 25), rig.status()["watermark"].clone());
    for id in &gone {
        rig.tenant().delete_user(id).unwrap();
    }
    let single = rig.stats().count("GET /Users/{id}");
    let limit = "25 of 100 known users are missing from the list: more than 20 % (max_missing_percent)";
    let digest = sync_held(&rig, &["sync", "--full"], limit);
    assert_eq!(rig.stats().count("GET /Users/{id}"), single, "nobody is asked for");
    let status = rig.status();
    assert_eq!((&status["users"], &status["watermark"]), (&json!(100), &watermark));

    rig.run(&["approve", &digest])
        .ended(0)
        .says("0 operations are ready")
        .says("25 missing users are asked for by id");
    rig.sync();
    assert_eq!(rig.status()["users"], 75, "the new baseline");
    rig.run(&["sync", "--full"]).ended(0).says("75 users read");
}

#[test]
fn a_changed_mapping_that_is_held_leaves_the_old_one_in_force() {
    let rig = settled(LIMITS);
    let moved =
        format!("{LIMITS}\nmapping.HR_SALES = \"team-finance\"\nmapping.HR_SUPPORT = \"team-finance\"");
    rig.set(&moved);
    let digest = sync_held(&rig, &["sync"], "(max_removals_percent)");
    rig.assert_right();

    // Somebody who comes meanwhile is placed by the old rules.
    rig.advance(60);
    let new = rig.some(|user| user.active && wanted_of(user).is_empty());
    rig.set_roles(&new.id, &["HR_SALES"]);
    rig.run(&["sync"]).ended(3).says("1 delivered");
    rig.assert_right();

    let (at_first, before) = (Rig::still(users(100)).teams(), rig.teams());
    rig.run(&["approve", &digest]).ended(0);
    rig.sync();
    let rules = [
        ("HR_ENGINEER", &["team-engineering"][..]),
        ("HR_FINANCE", &["team-finance"]),
        ("HR_SALES", &["team-finance"]),
        ("HR_SUPPORT", &["team-finance"]),
    ];
    // Teams that no rule names any more lose whom the daemon had put there, and nobody else.
    let orphans = ["team-sales", "team-service-desk", "team-support"];
    let ours = |id: &UserId, team: &TeamId| orphans.contains(&team.as_str()) && !at_first[id].contains(team);
    assert!(before.iter().any(|(id, teams)| teams.iter().any(|team| ours(id, team))));
    for user in rig.tenant().users() {
        let mut expected = wanted(&user, &rules);
        expected.extend(before[&user.id].iter().filter(|team| orphans.contains(&team.as_str())).cloned());
        expected.retain(|team| !ours(&user.id, team));
        assert_eq!(user.teams, expected, "{}", user.id);
    }
}

/// The same with a daemon: it holds, is asked to approve, and sends.
#[test]
fn a_daemon_that_holds_a_plan_sends_it_when_it_is_told_to() {
    let rig = Rig::live(users(100));
    rig.set("schedule = \"* * * * * *\"\noverlap = \"2m\"");
    let daemon = Daemon::start(&rig);
    until("everybody is placed", || rig.misplaced().is_empty());
    until("and that is known", || rig.status()["operations"]["ready"] == 0);
    rig.run(&["state", "reset", "guard", "--tenant", "acme"])
        .ended(0)
        .complains("a daemon owns the database");
    rig.set(&format!("schedule = \"* * * * * *\"\noverlap = \"2m\"\n{LIMITS}"));
    daemon.signal("HUP");
    daemon.until_said("configuration reloaded");
    let leavers = members(&rig, 30);
    dismiss(&rig, &leavers);
    daemon.until_said("pass is held until it is approved or discarded");
    until("all of it is held", || rig.status()["operations"]["held"] == 30);
    let lines = daemon.lines();
    let digest = lines.iter().filter_map(|line| line["digest"].as_str()).next_back().unwrap();
    rig.run(&["approve", digest])
        .ended(0)
        .complains("a daemon owns the database")
        .says("operations are ready");
    until("they have left", || rig.misplaced().is_empty());
    daemon.stop().with(0);
}

/// A plan that is approved is sent as it was held, but for those who were decided otherwise: HR has changed its mind
/// about one of them just before.
#[test]
fn an_approval_reads_first_what_has_changed() {
    let rig = settled(LIMITS);
    let leavers = members(&rig, 30);
    let roles = rig.tenant().user(&leavers[0]).unwrap().roles;
    dismiss(&rig, &leavers);
    let digest = sync_held(&rig, &["sync"], "30 of 100");
    rig.advance(60);
    rig.tenant().set_roles(&leavers[0], roles).unwrap();
    rig.run(&["approve", &digest]).ended(0).says("29 operations are ready, 1 user has left the plan since");
    rig.sync();
    rig.assert_right();
}

#[test]
fn nothing_is_approved_while_nobody_can_be_read() {
    let held_back = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(0));
    let tenant = Scripted::new({
        let state = held_back.clone();
        move |name, _| match (name, state.load(std::sync::atomic::Ordering::SeqCst)) {
            ("GET /Users", 2) => Some(crate::scripted::refusal(403, "missing permission")),
            ("GET /Users", gone) => {
                let roles: &[&str] = if gone == 0 { &["HR_SALES"] } else { &[] };
                let of = |number| user(&format!("u-{number:03}"), roles, &["team-sales"]);
                let mut users: Vec<Value> = (0..60).map(of).collect();
                // Whose record this is nobody knows.
                users.extend((gone == 3).then(|| json!({ "userName": "user-0061@practice.example" })));
                Some(list(&users))
            }
            _ => None,
        }
    });
    tenant.set(LIMITS);
    tenant.run(&["sync"]).ended(0);
    held_back.store(1, std::sync::atomic::Ordering::SeqCst);
    let ran = tenant.run(&["sync", "--full"]).ended(3);
    let digest = held(&ran.stderr)["digest"].as_str().unwrap().to_owned();
    for (state, code, why) in
        [(2, 77, "missing permission"), (3, 1, "the list could not be read completely (")]
    {
        held_back.store(state, std::sync::atomic::Ordering::SeqCst);
        tenant.run(&["approve", &digest]).ended(code).complains(why);
        assert_eq!((tenant.writes(), tenant.status()["operations"]["held"].clone()), (0, json!(60)));
    }
    held_back.store(1, std::sync::atomic::Ordering::SeqCst);
    tenant.run(&["approve", &digest]).ended(0).says("60 operations are ready");
}

/// A list that is broken does not say whose roles have changed; nor is a plan made from it.
#[test]
fn a_changed_mapping_waits_for_a_list_that_was_read_completely() {
    let rig = settled("");
    rig.set("mapping.HR_SALES = \"team-finance\"");
    let broken = Faults { user_without_id: 1, ..Faults::default() };
    rig.faults(broken.clone());
    rig.run(&["plan", "--full"]).ended(3).says("0 to change").says("there may be more to change");
    rig.faults(broken);
    rig.run(&["sync", "--full"]).ended(3);
    let kinds = |rig: &Rig| {
        let passes = rig.status()["passes"].take();
        passes
            .as_array()
            .unwrap()
            .iter()
            .map(|pass| pass["kind"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(!kinds(&rig).contains(&"remap".to_owned()), "{:?}", kinds(&rig));
    rig.run(&["plan"]).ended(2).says("team-finance");
    rig.run(&["sync"]).ended(0);
    assert_eq!(kinds(&rig)[..2], ["remap", "sweep"]);
}
