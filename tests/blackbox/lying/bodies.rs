//! Bodies that are far too large, too deep, too slow, or broken off.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::ended_well;
use crate::liar::{Answer, Liar, Manner, Told, resources};
use crate::process::{Daemon, Ended, until};
use crate::rig::users;

const MIB: usize = 1024 * 1024;

/// What a daemon may hold at its peak while it is lied to, in KiB. A page of a list is read up to 32 MiB; it stands in
/// memory once as bytes and once as records, and users take several times the room of their JSON. A daemon at rest holds a
/// fifth of this.
const MOST_MEMORY: u64 = 160 * 1024;

/// Runs the daemon until all users are right, and holds it to [`MOST_MEMORY`].
#[track_caller]
fn right_in_bounded_memory(liar: &Liar, what: &str) -> Ended {
    let daemon = Daemon::start(liar);
    until("every user is where he belongs", || liar.rig.misplaced().is_empty());
    let peak = daemon.peak_memory();
    assert!(peak < MOST_MEMORY, "{what}: {peak} KiB");
    daemon.stop().with(0)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// 100 MB: with the length announced, without, and packed into a hundred kilobytes.
fn enormous(status: u16, sort: &str) -> Answer {
    let blank = vec![b' '; MIB];
    match sort {
        "announced" => Answer::new(status, blank).sent(Manner::Times(100)),
        "in chunks" => Answer::new(status, blank).sent(Manner::Chunks(100)),
        _ => Answer::new(status, gzip(&blank.repeat(100))).header("content-encoding", "gzip"),
    }
    .header("content-type", "application/json")
}

const SORTS: [&str; 3] = ["announced", "in chunks", "packed"];

/// Expected: it is read no further than any list may be long, and asked for again.
#[test]
fn a_list_of_100_mb_is_cut_off_and_asked_for_again() {
    for sort in SORTS {
        let liar = Liar::new(users(20));
        liar.answers_next(1, "GET /Users", move || enormous(200, sort));
        let ended = right_in_bounded_memory(&liar, sort);
        let lines = ended.out.concat();
        assert!(lines.contains("the answer is larger than 33554432 bytes"), "{sort}: {lines}");
    }
}

/// Expected: what a PATCH is answered with does not matter, as long as its status says success; of an error only the
/// start is read, and it means what its status says.
#[test]
fn answers_of_100_mb_to_a_write_mean_what_their_status_says() {
    for (status, waiting, dead) in [(200, 0, 0), (503, 0, 0), (400, 0, 1)] {
        for sort in SORTS {
            let liar = Liar::new(users(20));
            let victim = liar.rig.misplaced()[0].clone();
            let name = format!("PATCH /Users/{victim}");
            let mut left = 1;
            liar.tells(move |call| {
                if call.name != name || left == 0 {
                    return Told::Truth;
                }
                left -= 1;
                let lie = enormous(status, sort);
                if status == 200 { Told::Twisted(Box::new(|_| lie)) } else { Told::Instead(lie) }
            });
            let daemon = Daemon::start(&liar);
            let there = |count: usize| liar.rig.misplaced().len() == count;
            until("all but a dead letter are right", || there(dead));
            until("delivery is over", || {
                daemon.said("operation delivered") + daemon.said("operation is a dead letter") > 0
                    && liar.status()["operations"]["in_flight"] == 0
            });
            assert!(daemon.peak_memory() < MOST_MEMORY, "{status} {sort}: {} KiB", daemon.peak_memory());
            daemon.stop().with(0);
            let operations = liar.status()["operations"].take();
            assert_eq!((&operations["ready"], &operations["dead_letters"]), (&json!(waiting), &json!(dead)));
        }
    }
}

/// Expected: such a token is none; another is asked for.
#[test]
fn a_token_of_100_mb_is_cut_off_and_asked_for_again() {
    for sort in SORTS {
        let liar = Liar::new(users(20));
        liar.answers_next(1, "POST /oauth/token", move || enormous(200, sort));
        right_in_bounded_memory(&liar, sort);
    }
}

/// A user with this many roles, each as short as can be.
fn stuffed(id: usize, roles: usize) -> String {
    let roles: Vec<String> = (0..roles).map(|at| format!("{{\"value\":\"{at:x}\"}}")).collect();
    format!("{{\"id\":\"made-up-{id}\",\"roles\":[{}]}}", roles.join(","))
}

/// A page as large as a page may be, full of what takes most room in memory: roles without end of one user, or as many
/// users as fit, each with many roles.
///
/// Expected: a record with more than ten thousand roles is not read, like any other broken one; all other users are.
#[test]
fn a_page_that_is_stuffed_with_roles_is_read_in_bounded_memory() {
    let one = stuffed(0, 1_600_000);
    let many: Vec<String> = (0..2000).map(|id| stuffed(id, 1000)).collect();
    for (what, more) in [("one user", one), ("many users", many.join(","))] {
        let liar = Liar::new(users(20));
        let mut more = Some(more);
        liar.tells(move |call| match more.take_if(|_| call.name == "GET /Users") {
            None => Told::Truth,
            Some(more) => Told::Twisted(Box::new(move |answer| {
                let page = String::from_utf8(answer.body).unwrap();
                Answer::new(200, page.replace("\"Resources\":[", &format!("\"Resources\":[{more},")))
            })),
        });
        let ended = right_in_bounded_memory(&liar, what);
        assert_eq!(ended.said("record cannot be read") > 0, what == "one user");
    }
}

fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(10_000), close.repeat(10_000))
}

/// Expected: no list is made of that; it is asked for again, and nothing overflows.
#[test]
fn a_list_nested_10000_deep_is_no_list() {
    for (open, close) in [("[", "]"), ("{\"Resources\":", "}"), ("{\"Resources\":[", "]}"), ("[", "")] {
        let liar = Liar::new(users(20));
        liar.answers_next(1, "GET /Users", move || Answer::new(200, nested(open, close)));
        let ended = right_in_bounded_memory(&liar, open);
        assert_eq!(ended.said("read failed"), 1, "{:?}", ended.out);
    }
}

/// Expected: what we do not need is not looked into, however deep it is; where we need a name, the record is broken, and
/// the others are served.
#[test]
fn a_record_nested_10000_deep_holds_up_nobody_else() {
    for (key, broken) in
        [("nickName", false), ("roles", true), ("teams", true), ("active", true), ("meta", true)]
    {
        let liar = Liar::new(users(20));
        let before = liar.rig.misplaced();
        let victim = before[0].clone();
        let record = Value::from(victim.as_str());
        let mut left = 1;
        liar.tells(move |call| {
            if left == 0 || call.name != "GET /Users" {
                return Told::Truth;
            }
            left -= 1;
            let record = record.clone();
            Told::Twisted(Box::new(move |mut answer| {
                // A tree so deep cannot be made, only written.
                answer = answer.edited(|page| {
                    let user = resources(page).iter_mut().find(|user| user["id"] == record).unwrap();
                    user[key] = json!("deep");
                });
                let text = String::from_utf8(answer.body).unwrap();
                answer.body = text.replace("\"deep\"", &nested("[", "]")).into_bytes();
                answer
            }))
        });
        let ran = ended_well(liar.run(&["sync"]));
        assert_eq!(ran.stderr.contains("record cannot be read"), broken, "{key}: {}", ran.stderr);
        liar.rig.assert_right();
    }
}

/// Expected: an error means what its status says, and a token that holds no token is asked for again.
#[test]
fn errors_and_tokens_nested_10000_deep_are_read_like_any_nonsense() {
    let liar = Liar::new(users(20));
    let mut asked = std::collections::BTreeSet::new();
    liar.tells(move |call| {
        let sort = call.name.split('/').nth(1).unwrap_or_default().to_owned() + &call.name[..4];
        if !asked.insert(sort) {
            return Told::Truth;
        }
        let status = if call.name.starts_with("POST") { 200 } else { 503 };
        Told::Instead(Answer::new(status, nested("{\"detail\":[", "]}")))
    });
    right_in_bounded_memory(&liar, "errors");
}

/// Every kind of call once; an answer that never comes to its end.
///
/// Expected: a call takes no longer than `request_timeout`, however lively the drip, and is made again.
#[test]
fn an_answer_that_drips_is_given_up_after_the_time_out() {
    let liar = Liar::new(users(20));
    liar.set("request_timeout = \"300ms\"");
    let mut asked = std::collections::BTreeSet::new();
    liar.tells(move |call| {
        if !asked.insert(call.name.split("Users/").next().unwrap().to_owned()) {
            return Told::Truth;
        }
        Told::Twisted(Box::new(|answer| {
            let body = if answer.body.is_empty() { vec![b' '; 4096] } else { answer.body.clone() };
            Answer { body, status: 200, ..answer }.sent(Manner::Drip)
        }))
    });
    let ran = liar.run(&["sync"]).ended(0).complains("no answer within the time-out");
    ran.says("0 still waiting, 0 dead letters");
    liar.rig.assert_right();
}

/// Every kind of call once; the connection is reset in the middle of the body.
///
/// Expected: half a list is no list, and it is asked for again. A write whose status was read has been made.
#[test]
fn an_answer_that_is_reset_in_the_middle_is_asked_for_again() {
    let liar = Liar::new(users(20));
    let mut asked = std::collections::BTreeSet::new();
    liar.tells(move |call| {
        if !asked.insert(call.name.split("Users/").next().unwrap().to_owned()) {
            return Told::Truth;
        }
        Told::Twisted(Box::new(|answer| {
            let body = if answer.body.is_empty() { vec![b' '; 4096] } else { answer.body.clone() };
            Answer { body, status: 200, ..answer }.sent(Manner::Reset)
        }))
    });
    let ran = liar.run(&["sync"]).ended(0).complains("the answer broke off");
    ran.says("20 users read").says("0 still waiting, 0 dead letters");
    liar.rig.assert_right();
}
