//! Times that are untrue: of a user's last change, and of the tenant itself.

use std::time::Duration;

use rosterd::clock::Clock;
use rosterd::model::{Role, Timestamp};
use serde_json::{Value, json};

use crate::documents::http_date;
use crate::home::RULES;
use crate::liar::{Answer, Liar, Told, resources};
use crate::rig::users;

const HOUR: Duration = Duration::from_hours(1);

/// A tenant of 30 users, all of whose answers are twisted.
fn twisting(twist: impl Fn(Answer) -> Answer + Send + Clone + 'static) -> Liar {
    let liar = Liar::new(users(30));
    twisted(&liar, twist);
    liar
}

fn twisted(liar: &Liar, twist: impl Fn(Answer) -> Answer + Send + Clone + 'static) {
    liar.tells(move |_| Told::Twisted(Box::new(twist.clone())));
}

/// Every user of a list, or the one user, was last modified then.
fn modified(answer: Answer, at: &Value) -> Answer {
    if answer.body.is_empty() {
        return answer;
    }
    answer.edited(|json| {
        let users = if json["Resources"].is_array() { resources(json) } else { std::slice::from_mut(json) };
        for user in users.iter_mut().filter(|user| user["meta"].is_object()) {
            user["meta"]["lastModified"] = at.clone();
        }
    })
}

fn date(answer: Answer, at: Timestamp) -> Answer {
    answer.header("date", &http_date(at))
}

fn watermark(liar: &Liar) -> Option<Timestamp> {
    liar.status()["watermark"].as_str().map(|text| Timestamp::parse(text).unwrap())
}

/// A user gets another role, a delta pass or what stands in for it runs, and he is where he belongs.
#[track_caller]
fn a_change_is_found(liar: &Liar) {
    let user = liar.rig.some(|user| user.active);
    let (other, _) = RULES.iter().find(|(role, _)| !user.roles.contains(&Role::from(*role))).unwrap();
    liar.rig.set_roles(&user.id, &[other]);
    liar.run(&["sync"]).ended(0);
    liar.rig.assert_right();
}

/// Expected: all four are read; what is finer than a millisecond is cut off, never rounded up, or the watermark would
/// pass a change by.
#[test]
fn last_modified_may_have_0_3_6_or_9_digits() {
    for (fraction, cut) in [("", ".000"), (".123", ".123"), (".999999", ".999"), (".123999999", ".123")] {
        let at = json!(format!("2026-01-01T00:00:07{fraction}Z"));
        let liar = twisting(move |answer| modified(answer.without("date"), &at));
        liar.run(&["sync"]).ended(0);
        liar.rig.assert_right();
        assert_eq!(liar.status()["watermark"], format!("2026-01-01T00:00:07{cut}Z"));
        a_change_is_found(&liar);
    }
}

/// Expected: the watermark is never later than our own clock, and what changes now is found.
#[test]
fn last_modified_in_the_future_does_not_pass_the_present_by() {
    for with_date in [true, false] {
        for ahead in ["2999-12-31T23:59:59Z", "2099-01-01T00:00:00.000000001+14:00"] {
            let liar = twisting(move |answer| {
                let answer = modified(answer, &json!(ahead));
                if with_date { answer } else { answer.without("date") }
            });
            liar.run(&["sync"]).ended(0);
            liar.rig.assert_right();
            let now = Clock::system().now();
            assert!(watermark(&liar).is_some_and(|at| at <= now), "{:?}", liar.status()["watermark"]);
            a_change_is_found(&liar);
            liar.honest();
            a_change_is_found(&liar);
        }
    }
}

/// Expected: with a `Date` it is not needed. Without one nothing says how far we have read: there is no watermark, and
/// every pass is a sweep.
#[test]
fn last_modified_that_is_missing_or_no_time_is_done_without() {
    for nothing in [Value::Null, json!("yesterday"), json!("")] {
        let liar = twisting({
            let nothing = nothing.clone();
            move |answer| modified(answer, &nothing)
        });
        liar.run(&["sync"]).ended(0);
        assert!(watermark(&liar).is_some(), "{nothing}");
        a_change_is_found(&liar);

        let liar = twisting(move |answer| modified(answer.without("date"), &nothing));
        liar.run(&["sync"]).ended(0);
        a_change_is_found(&liar);
        assert_eq!((watermark(&liar), &liar.status()["passes"][0]["kind"]), (None, &json!("sweep")));
    }
}

/// Expected: our own clock counts, because the smaller of both does.
#[test]
fn a_date_an_hour_ahead_does_not_pass_the_present_by() {
    let liar = twisting(|answer| date(answer, Clock::system().now().plus(HOUR)));
    liar.run(&["sync"]).ended(0);
    assert!(watermark(&liar).is_some_and(|at| at <= Clock::system().now()));
    a_change_is_found(&liar);
    liar.honest();
    a_change_is_found(&liar);
}

/// Expected: the tenant's clock counts; that costs an hour of users who are read again, and nothing else.
#[test]
fn a_date_an_hour_behind_is_followed() {
    let liar = twisting(|answer| date(answer, Clock::system().now().minus(HOUR)));
    liar.run(&["sync"]).ended(0);
    assert!(watermark(&liar).is_some_and(|at| at <= Clock::system().now().minus(HOUR)));
    a_change_is_found(&liar);
    liar.honest();
    a_change_is_found(&liar);
}

/// Expected: the watermark that was written before is ahead of what the tenant says now. That is said, it is taken back,
/// and a sweep follows.
#[test]
fn a_date_that_falls_back_an_hour_is_followed_by_a_sweep() {
    let liar = Liar::new(users(30));
    liar.run(&["sync"]).ended(0);
    twisted(&liar, |answer| date(answer, Clock::system().now().minus(HOUR)));
    liar.run(&["sync"]).ended(0).complains("watermark is ahead of the tenant's clock");
    assert!(watermark(&liar).is_some_and(|at| at <= Clock::system().now().minus(HOUR)));
    liar.honest();
    a_change_is_found(&liar);
    assert_eq!(liar.status()["passes"][0]["kind"], "sweep");
    a_change_is_found(&liar);
    assert_eq!(liar.status()["passes"][0]["kind"], "delta");
}

/// Expected: as if it were missing.
#[test]
fn a_date_that_is_none_is_done_without() {
    for nonsense in ["yesterday", "Thu, 99 Foo 2026 99:99:99 GMT", "0"] {
        let liar = twisting(move |answer| answer.header("date", nonsense));
        liar.run(&["sync"]).ended(0);
        assert!(watermark(&liar).is_some_and(|at| at <= Clock::system().now()), "{nonsense}");
        a_change_is_found(&liar);
    }
}
