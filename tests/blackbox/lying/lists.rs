//! Lists of users that are not what they seem.

use std::collections::BTreeSet;

use rosterd::model::{Role, UserId};
use rosterd::practice::Options;
use serde_json::{Value, json};

use super::ended_well;
use crate::home::RULES;
use crate::liar::{Answer, Liar, Told, resources};
use crate::process::{Daemon, until};
use crate::rig::users;

/// No lie about a list may cost more calls than this: three runs of a dozen pages, and then some.
const MOST_LISTS: usize = 60;
/// Of a daemon that reads pages without end, in KiB.
const MOST_MEMORY: u64 = 96 * 1024;

/// Half of the users are put right at the start; that is not what is tested here.
const UNGUARDED: &str = "guard.max_removals_percent = 100\nguard.max_changes_percent = 100";

/// A tenant with all its users on one page, where they should be, and known.
fn settled(many: usize) -> Liar {
    paged(many, 1000)
}

fn paged(many: usize, page: usize) -> Liar {
    let liar = Liar::new(Options { page_cap: page, ..users(many) });
    liar.set(&format!("page_size = {page}\n{UNGUARDED}"));
    liar.run(&["sync"]).ended(0);
    liar.rig.assert_right();
    liar
}

/// Twists every page of a list of users; `twist` gets it with the position that it begins at.
fn pages(
    twist: impl Fn(usize, &mut Value) + Send + Clone + 'static,
) -> impl FnMut(&crate::liar::Call) -> Told {
    move |call| {
        if !call.lists_users() {
            return Told::Truth;
        }
        let (twist, start) = (twist.clone(), call.parameter("startIndex").unwrap().parse().unwrap());
        Told::Twisted(Box::new(move |answer| answer.edited(|page| twist(start, page))))
    }
}

/// Gives an active user another role.
fn change_role(liar: &Liar, which: usize) -> UserId {
    let user = liar.rig.tenant().users().into_iter().filter(|user| user.active).nth(which).unwrap();
    let (other, _) = RULES.iter().find(|(role, _)| !user.roles.contains(&Role::from(*role))).unwrap();
    liar.rig.set_roles(&user.id, &[other]);
    user.id
}

/// The tenant tells the truth again: another change and a sweep later all is right.
#[track_caller]
fn whole_again(liar: &Liar) {
    liar.honest();
    change_role(liar, 1);
    ended_well(liar.run(&["sync", "--full"]));
    liar.rig.assert_right();
}

/// Expected: not one PATCH, all users stay known, and each of them is served as before once the list is whole again.
#[test]
fn an_empty_list_takes_no_team_from_anybody() {
    for many in [30, 120] {
        let liar = settled(many);
        let (before, patches) = (liar.rig.teams(), liar.rig.patches());
        liar.tells(pages(|_, page| *page = json!({ "totalResults": 0, "Resources": [] })));
        for command in [&["sync"][..], &["sync", "--full"]] {
            ended_well(liar.run(command));
        }
        assert_eq!((liar.rig.teams(), liar.rig.patches()), (before, patches), "of {many}");
        assert_eq!(liar.status()["users"], many);
        whole_again(&liar);
    }
}

/// Expected: those who are missing keep their teams and stay known. Where the guard has no percentage to go by (fewer
/// than fifty users), those who are still there are served meanwhile; with more the sweep may be held.
#[test]
fn half_of_the_users_gone_takes_no_team_from_anybody() {
    for many in [40, 120] {
        let liar = settled(many);
        let often = "schedule = \"* * * * * *\"\nsweep_schedule = \"*/2 * * * * *\"";
        liar.set(&format!("page_size = 1000\n{often}\n{UNGUARDED}"));
        let before = liar.rig.teams();
        let there = liar.rig.some(|user| user.active).id;
        if many < 50 {
            change_role(&liar, 0);
        }
        liar.tells(pages({
            let there = json!(there);
            move |_, page| {
                let mut at = 0;
                resources(page).retain(|user| {
                    at += 1;
                    user["id"] == there || at % 2 == 0
                });
                page["totalResults"] = json!(resources(page).len());
            }
        }));
        let daemon = Daemon::start(&liar);
        let sweeps = || {
            let lines = daemon.lines();
            let finished = lines.iter().filter(|line| line["message"] == "pass finished");
            finished.filter(|line| line["kind"] == "sweep").count()
        };
        until("three sweeps have seen the half", || sweeps() >= 3);
        until("he who is there is served", || liar.rig.misplaced().is_empty());
        for (id, teams) in liar.rig.teams() {
            assert!(id == there || teams == before[&id], "{id} of {many}");
        }
        liar.honest();
        let before = sweeps();
        until("a sweep has begun and ended since", || sweeps() >= before + 2);
        change_role(&liar, 2);
        until("all is right", || liar.rig.misplaced().is_empty());
        daemon.stop().with(0);
        assert_eq!(liar.status()["users"], many);
        whole_again(&liar);
    }
}

/// A change that was seen while the list was half, and whose sweep was held for that.
///
/// Expected: once a whole list says the same of him, nothing speaks against his change any more, and he is served without
/// anybody's approval.
#[test]
fn what_was_held_for_missing_users_goes_once_the_list_is_whole() {
    let liar = settled(120);
    change_role(&liar, 0);
    liar.tells(pages(|_, page| {
        resources(page).truncate(60);
        page["totalResults"] = json!(60);
    }));
    ended_well(liar.run(&["sync", "--full"]));
    liar.honest();
    liar.run(&["sync", "--full"]).ended(0);
    liar.rig.assert_right();
}

/// Expected: the users who are shown are believed and served, the pass is degraded, and it ends.
#[test]
fn a_total_that_is_too_high_ends_with_those_who_are_there() {
    for lie in [json!(31), json!(5000), json!(u64::MAX)] {
        let liar = paged(30, 20);
        change_role(&liar, 0);
        let before = liar.count("GET /Users");
        liar.tells(pages({
            let lie = lie.clone();
            move |_, page| page["totalResults"] = lie.clone()
        }));
        liar.run(&["sync", "--full"]).ended(3).says("degraded: 30 users read, 1 planned; 1 delivered");
        liar.rig.assert_right();
        assert!(liar.count("GET /Users") - before <= MOST_LISTS, "{lie}");
        liar.honest();
        liar.run(&["sync", "--full"]).ended(0).says("sweep pass 3 ok: 30 users read, 0 planned");
    }
}

/// A total that is smaller than what is shown, or that counts the page and not the list, as careless servers do.
///
/// Expected: it does not end the list; everybody is read and served.
#[test]
fn a_total_that_is_too_low_hides_nobody() {
    let none = |_: &mut Value| 0;
    let fewer = |_: &mut Value| 7;
    let of_the_page = |page: &mut Value| resources(page).len();
    let lies: [fn(&mut Value) -> usize; 3] = [none, fewer, of_the_page];
    for (what, lie) in ["none", "fewer", "of the page"].into_iter().zip(lies) {
        let liar = paged(90, 20);
        let last = change_role(&liar, 70);
        let before = liar.count("GET /Users");
        liar.tells(pages(move |_, page| page["totalResults"] = json!(lie(page))));
        ended_well(liar.run(&["sync", "--full"])).says("90 users read, 1 planned; 1 delivered");
        assert!(!liar.rig.misplaced().contains(&last), "{what}");
        assert!(liar.count("GET /Users") - before <= MOST_LISTS, "{what}");
        whole_again(&liar);
    }
}

/// Expected: such an answer is no list; it is asked for again.
#[test]
fn a_total_that_is_no_count_is_asked_for_again() {
    for lie in [json!(-1), json!(30.5), json!("thirty"), Value::Null] {
        let liar = settled(30);
        change_role(&liar, 0);
        liar.answers_next(1, "GET /Users", move || {
            Answer::new(200, json!({ "totalResults": lie, "Resources": [] }).to_string())
        });
        let ran = liar.run(&["sync", "--full"]).ended(0).says("30 users read, 1 planned; 1 delivered");
        ran.complains("the answer is no SCIM list: totalResults");
        liar.rig.assert_right();
    }
}

/// Expected: whoever is on the page is served, the others keep their teams and stay known, and the pass ends after a
/// bounded number of calls.
#[test]
fn pages_that_repeat_come_to_an_end() {
    let liar = paged(40, 20);
    let shown = change_role(&liar, 0);
    let first = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let before = liar.count("GET /Users");
    liar.tells(pages(move |start, page| {
        let mut first = first.lock().unwrap();
        if start == 1 {
            *first = page.clone();
        }
        *page = first.clone();
    }));
    ended_well(liar.run(&["sync", "--full"]));
    assert!(!liar.rig.misplaced().contains(&shown));
    assert!(liar.count("GET /Users") - before <= MOST_LISTS, "{}", liar.count("GET /Users"));
    assert_eq!(liar.status()["users"], 40);
    whole_again(&liar);
}

/// Each page brings a thousand users whom nobody has seen before, and the total is always a page ahead.
///
/// Expected: memory does not grow with the pages, nothing is sent meanwhile, a signal ends it, and nothing of it counts.
/// (A list of more than ten million users is refused; `source/complete.rs` tests that.)
#[test]
fn pages_that_never_end_are_read_in_bounded_memory_until_a_signal() {
    let liar = settled(30);
    liar.run(&["sync"]).ended(0);
    let patches = liar.rig.patches();
    liar.tells(|call| {
        if !call.lists_users() {
            return Told::Truth;
        }
        let start: usize = call.parameter("startIndex").unwrap().parse().unwrap();
        let user = |at| json!({ "id": format!("made-up-{at}"), "roles": [{ "value": "HR_SALES" }] });
        let users: Value = (start..start + 1000).map(user).collect();
        Told::Instead(Answer::new(
            200,
            json!({ "totalResults": start + 1999, "Resources": users }).to_string(),
        ))
    });
    let before = liar.count("GET /Users");
    let daemon = Daemon::start(&liar);
    until("it has read fifty pages", || liar.count("GET /Users") >= before + 50);
    assert!(daemon.peak_memory() < MOST_MEMORY, "{} KiB", daemon.peak_memory());
    let ended = daemon.stop().with(0);
    assert_eq!((ended.said("pass broken off"), ended.said("pass finished")), (1, 0));
    assert_eq!((liar.rig.patches(), &liar.status()["users"]), (patches, &json!(30)));
    whole_again(&liar);
}

/// One page holds two records of a user: his own, and one from before his role changed.
///
/// Expected: the one that was modified later counts, wherever it stands. Where neither says so, he is asked for by id.
#[test]
fn the_same_user_twice_with_different_data_is_taken_from_his_newest_record() {
    for (dated, older_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let liar = settled(30);
        let id = change_role(&liar, 0);
        liar.tells(pages({
            let id = json!(id);
            move |_, page| {
                let users = resources(page);
                let Some(at) = users.iter().position(|user| user["id"] == id) else { return };
                let mut older = users[at].clone();
                older["roles"] = json!([]);
                older["meta"]["lastModified"] = json!("2020-01-01T00:00:00Z");
                users.insert(if older_first { at } else { at + 1 }, older);
                for user in users.iter_mut().filter(|_| !dated) {
                    user["meta"]["lastModified"].take();
                }
            }
        }));
        let patches = liar.rig.patches();
        let ran = ended_well(liar.run(&["sync", "--full"])).says("1 delivered");
        assert_eq!(ran.stderr.contains("two records of this user differ"), !dated, "{}", ran.stderr);
        liar.rig.assert_right();
        assert_eq!(liar.rig.patches(), patches + 1, "dated: {dated}, older first: {older_first}");
        whole_again(&liar);
    }
}

/// Expected: a second record that says the same is nothing.
#[test]
fn the_same_user_twice_with_the_same_data_is_one_user() {
    let liar = settled(30);
    change_role(&liar, 0);
    liar.tells(pages(|_, page| {
        let twice = resources(page).clone();
        resources(page).extend(twice);
    }));
    ended_well(liar.run(&["sync", "--full"])).says("30 users read, 1 planned; 1 delivered");
    liar.rig.assert_right();
    let read: BTreeSet<UserId> = liar.rig.teams().into_keys().collect();
    assert_eq!(liar.status()["users"], read.len());
}
