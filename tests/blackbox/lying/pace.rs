//! 429 with an advice that is missing or absurd.

use rosterd::model::Timestamp;
use serde_json::Value;

use crate::liar::{Answer, Liar, Told};
use crate::process::{Daemon, until};
use crate::rig::users;

const ABSURD: [Option<&str>; 6] =
    [None, Some("-5"), Some("Thu, 01 Jan 1970 00:00:00 GMT"), Some("soon"), Some(""), Some("0")];

fn too_many(advice: Option<&str>) -> Answer {
    let answer = Answer::refusal(429);
    match advice {
        Some(value) => answer.header("retry-after", value),
        None => answer,
    }
}

/// Expected: all calls pause, if only for a moment, the call that was refused is made again, and no attempt is counted.
#[test]
fn a_429_with_no_advice_or_an_absurd_one_costs_a_pause_and_nothing_else() {
    for advice in ABSURD {
        let liar = Liar::new(users(20));
        liar.set("delivery.workers = 1\ndelivery.max_attempts = 1");
        let misplaced = liar.rig.misplaced().len() as u64;
        let (mut lists, mut tokens, mut patches) = (1, 1, 1);
        liar.tells(move |call| {
            let left = match call.name.as_str() {
                "GET /Users" => &mut lists,
                name if name.starts_with("PATCH") => &mut patches,
                name if name.starts_with("POST") => &mut tokens,
                _ => return Told::Truth,
            };
            if *left == 0 {
                return Told::Truth;
            }
            *left -= 1;
            Told::Instead(too_many(advice))
        });
        let ran = liar.run(&["sync"]).ended(0).says("0 still waiting, 0 dead letters");
        liar.rig.assert_right();
        assert_eq!(liar.rig.patches(), misplaced, "{advice:?}");
        assert_eq!(ran.stderr.matches("\"tenant paused\"").count(), 3, "{advice:?}: {}", ran.stderr);
    }
}

/// How far ahead of a line of the log its `retry_at` is, in seconds.
fn ahead(line: &Value) -> u64 {
    let at = |key: &str| Timestamp::parse(line[key].as_str().unwrap()).unwrap();
    at("retry_at").since(at("timestamp")).as_secs()
}

/// A day, or more seconds than anybody can count.
///
/// Expected: an hour of silence, then one call asks again. A proxy's nonsense would otherwise stop all changes for days
/// without a sound, and one call an hour harms nobody who means it. The log tells until when, no other call goes
/// meanwhile, and a signal still stops the daemon at once.
#[test]
fn a_429_that_asks_for_a_day_is_an_hour_of_silence_that_a_signal_ends() {
    for day in ["86400", "99999999999999999999", "Tue, 31 Dec 2999 23:59:59 GMT"] {
        let liar = Liar::new(users(20));
        liar.set("schedule = \"* * * * * *\"\ndelivery.workers = 1");
        liar.tells(move |call| {
            if call.name.starts_with("PATCH") { Told::Instead(too_many(Some(day))) } else { Told::Truth }
        });
        let daemon = Daemon::start(&liar);
        daemon.until_said("tenant paused");
        let line = daemon.lines().into_iter().find(|line| line["message"] == "tenant paused").unwrap();
        assert!((3590..=3600).contains(&ahead(&line)), "{line}");
        let patches = || {
            liar.rig
                .tenant()
                .users()
                .iter()
                .map(|user| format!("PATCH /Users/{}", user.id))
                .fold(0, |sum, name| sum + liar.count(&name))
        };
        assert_eq!(patches(), 1);
        let ended = daemon.stop().with(0);
        assert_eq!((ended.said("stopped"), ended.said("stopped with operations in flight")), (1, 0));
        assert_eq!(patches(), 1);
        assert_eq!(liar.status()["operations"]["dead_letters"], 0);
        liar.honest();
        liar.run(&["sync"]).ended(0);
        liar.rig.assert_right();
    }
}

/// The same advice with a 503, on a list.
///
/// Expected: the pass waits an hour before it asks again, and a signal ends it at once.
#[test]
fn a_503_that_asks_for_a_day_holds_a_pass_up_for_an_hour_and_a_signal_ends_it() {
    let liar = Liar::new(users(20));
    liar.answers_next(1, "GET /Users", || Answer::refusal(503).header("retry-after", "86400"));
    let daemon = Daemon::start(&liar);
    daemon.until_said("read failed");
    let line = daemon.lines().into_iter().find(|line| line["message"] == "read failed").unwrap();
    assert!((3590..=3600).contains(&ahead(&line)), "{line}");
    let ended = daemon.stop().with(0);
    assert_eq!((ended.said("pass broken off"), liar.count("GET /Users")), (1, 1));
    liar.run(&["sync"]).ended(0);
    liar.rig.assert_right();
}

/// A tenant that says nothing but 429, and that we need not wait.
///
/// Expected: the pauses grow by themselves, and each line of the log tells the truth about the next call.
#[test]
fn a_tenant_that_only_says_429_is_asked_ever_more_rarely() {
    let liar = Liar::new(users(20));
    liar.set("schedule = \"0 0 0 1 1 *\"");
    liar.tells(
        |call| {
            if call.name == "GET /Users" { Told::Instead(too_many(Some("0"))) } else { Told::Truth }
        },
    );
    let daemon = Daemon::start(&liar);
    until("it has been told off six times", || daemon.said("tenant paused") >= 6);
    let lines = daemon.lines();
    let pauses: Vec<u64> = lines
        .iter()
        .filter(|line| line["message"] == "tenant paused")
        .map(|line| {
            let at = |key: &str| Timestamp::parse(line[key].as_str().unwrap()).unwrap().millis();
            u64::try_from(at("retry_at") - at("timestamp")).unwrap()
        })
        .collect();
    assert!(pauses.windows(2).take(5).all(|pair| pair[1] > pair[0]), "{pauses:?}");
    assert!(pauses[5] >= 3000, "{pauses:?}");
    daemon.stop().with(0);
}
