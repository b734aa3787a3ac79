//! The table of a tenant's health: what it is told, what it allows.

use super::*;

const DOWN: Verdict = Verdict::Unavailable { wait: None };
const DONE: Seen<'_> = Seen::Done { verified: true };

fn failed(verdict: &Verdict, reason: &str) -> Failure {
    let (verdict, reason) = (verdict.clone(), reason.to_owned());
    Failure { verdict, status: None, reason, correlation_id: None, answer: None, unclear: false }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

fn user(number: usize) -> UserId {
    UserId::from(format!("user-{number:04}"))
}

/// Of a tenant whose list has been read at 0.
fn listed() -> Health {
    let mut health = Health::default();
    health.list_read(at(0));
    health
}

fn fails(health: &mut Health, number: usize, verdict: &Verdict, alone: bool, now: u64) -> Change {
    let failure = failed(verdict, "same");
    health.observe(&user(number), Seen::Failed { failure: &failure, alone }, at(now))
}

/// Ten users in a row fail at `now`.
fn streak(health: &mut Health, verdict: &Verdict, now: u64) {
    for number in 0..STREAK {
        fails(health, number, verdict, false, now);
    }
    assert!(health.trouble().is_some());
}

fn pass_fails(health: &mut Health, verdict: &Verdict, now: u64) -> Change {
    health.read_failed(Some(&failed(verdict, "why")), at(now))
}

const NEWS: Change = Change::Down { news: true };
const NO_NEWS: Change = Change::Down { news: false };

#[test]
fn a_failure_that_stands_alone_is_the_tenants() {
    let mut health = listed();
    assert_eq!(fails(&mut health, 1, &DOWN, false, 0), Change::None);
    assert_eq!(health.allowance(10, at(0)), Allowance::Write(10));
    assert_eq!(fails(&mut health, 1, &DOWN, true, 0), NEWS);
    assert_eq!(health.trouble(), Some(Trouble::Outage));
    assert_eq!(health.allowance(10, at(0)), Allowance::Wait(at(1)));
    assert_eq!(health.allowance(10, at(1)), Allowance::Probe);
    assert_eq!(fails(&mut health, 2, &DOWN, true, 0), Change::None, "it was in flight already");
    assert_eq!(fails(&mut health, 2, &DOWN, true, 1), NO_NEWS);
    assert_eq!(fails(&mut health, 2, &Verdict::Unauthorized, false, 3), NEWS, "it is another trouble now");
    assert_eq!(health.observe(&user(3), DONE, at(8)), Change::Up { since: at(0) });
    assert_eq!(health.allowance(10, at(8)), Allowance::Write(10));
}

#[test]
fn ten_users_in_a_row_are_no_coincidence_and_one_success_ends_it() {
    for (verdict, trouble) in [
        (DOWN, Trouble::Outage),
        (Verdict::Forbidden, Trouble::Forbidden),
        (Verdict::Rejected, Trouble::Rejected),
        (Verdict::Gone, Trouble::Gone),
        (Verdict::Ignored, Trouble::Ignored),
    ] {
        let mut health = listed();
        for number in 0..9 {
            for _ in 0..2 {
                assert_eq!(fails(&mut health, number, &verdict, false, 0), Change::None, "{verdict:?}");
            }
        }
        assert_eq!(fails(&mut health, 9, &verdict, false, 0), NEWS);
        assert_eq!(health.trouble(), Some(trouble));
        assert_eq!(health.observe(&user(10), DONE, at(7)), Change::Up { since: at(0) });
        assert_eq!(health.allowance(10, at(7)), Allowance::Write(10));
    }
}

#[test]
fn rejections_for_different_reasons_are_the_users_own() {
    let mut health = listed();
    for number in 0..20 {
        let rejected = failed(&Verdict::Rejected, &format!("reason {number}"));
        let seen = Seen::Failed { failure: &rejected, alone: false };
        assert_eq!(health.observe(&user(number), seen, at(0)), Change::None);
    }
}

#[test]
fn a_reason_that_names_the_user_is_the_same_for_all() {
    let mut health = listed();
    for number in 0..STREAK {
        let rejected = failed(&Verdict::Rejected, &format!("team of {} does not exist", user(number)));
        health.observe(&user(number), Seen::Failed { failure: &rejected, alone: false }, at(0));
    }
    assert_eq!(health.trouble(), Some(Trouble::Rejected));
}

#[test]
fn a_success_in_between_breaks_the_row() {
    let mut health = listed();
    for number in 0..9 {
        fails(&mut health, number, &Verdict::Rejected, false, 0);
    }
    health.observe(&user(100), DONE, at(0));
    assert_eq!(fails(&mut health, 9, &Verdict::Rejected, false, 0), Change::None);
}

#[test]
fn what_was_not_read_back_does_not_clear_a_tenant_that_ignores_writes() {
    const UNPROVEN: Seen<'_> = Seen::Done { verified: false };
    let mut health = listed();
    for number in 0..9 {
        fails(&mut health, number, &Verdict::Ignored, false, 0);
        health.observe(&user(100 + number), UNPROVEN, at(0));
    }
    assert_eq!(fails(&mut health, 9, &Verdict::Ignored, false, 0), NEWS);
    assert_eq!(health.observe(&user(10), UNPROVEN, at(5)), NO_NEWS);
    assert_eq!(health.allowance(10, at(5)), Allowance::Wait(at(15)), "the probe has proved nothing");
    assert_eq!(health.observe(&user(10), DONE, at(15)), Change::Up { since: at(0) });
}

#[test]
fn a_429_says_nothing_about_health() {
    let mut health = listed();
    fails(&mut health, 1, &DOWN, true, 0);
    let throttled = Verdict::Throttled { wait: None };
    assert_eq!(fails(&mut health, 1, &throttled, false, 1), Change::None);
    assert_eq!(pass_fails(&mut health, &throttled, 1), Change::None);
    assert_eq!((health.trouble(), health.left_alone_until(at(1))), (Some(Trouble::Outage), None));
}

#[test]
fn a_tenant_that_refuses_to_be_read_is_left_alone_until_it_can_be() {
    for verdict in [Verdict::Unauthorized, Verdict::Forbidden] {
        let mut health = listed();
        assert_eq!(pass_fails(&mut health, &verdict, 100), NEWS);
        for (now, until) in [(100, 105), (104, 105), (105, 105)] {
            assert_eq!(health.left_alone_until(at(now)), Some(at(until)), "{now}");
            assert_eq!(health.allowance(10, at(now)), Allowance::Wait(at(105)), "{now}");
        }
        assert_eq!(pass_fails(&mut health, &verdict, 105), NO_NEWS);
        assert_eq!(health.left_alone_until(at(105)), Some(at(115)), "it doubles");
        assert_eq!(health.list_read(at(115)), [Change::Up { since: at(100) }, Change::None]);
        assert_eq!(health.left_alone_until(at(115)), None);
        assert_eq!(health.allowance(10, at(115)), Allowance::Write(10));
    }
}

#[test]
fn a_list_that_does_not_come_does_not_stop_delivery() {
    let mut health = listed();
    assert_eq!(pass_fails(&mut health, &DOWN, 100), NEWS);
    assert_eq!(health.left_alone_until(at(100)), Some(at(101)));
    assert_eq!(health.allowance(10, at(100)), Allowance::Write(10));
}

#[test]
fn a_pass_that_fails_for_other_reasons_is_left_to_the_schedule() {
    let mut health = listed();
    assert_eq!(pass_fails(&mut health, &Verdict::Rejected, 100), Change::None);
    assert_eq!(health.read_failed(None, at(100)), Change::None);
    assert_eq!(health.left_alone_until(at(100)), None);
}

#[test]
fn what_delivery_finds_out_hastens_reading_once() {
    for (verdict, hastens) in [(DOWN, true), (Verdict::Unauthorized, true), (Verdict::Forbidden, false)] {
        let mut health = listed();
        pass_fails(&mut health, &verdict, 100);
        let waits = health.left_alone_until(at(100));
        health.observe(&user(1), DONE, at(100));
        let hastened = if hastens { Some(at(100)) } else { waits };
        assert_eq!(health.left_alone_until(at(100)), hastened, "{verdict:?}");
        pass_fails(&mut health, &verdict, 100);
        let waits = health.left_alone_until(at(100));
        health.observe(&user(2), DONE, at(100));
        assert_eq!(health.left_alone_until(at(100)), waits, "{verdict:?}: writes go, lists do not");
    }
}

#[test]
fn what_reading_finds_out_ends_a_silence_but_not_a_refusal_to_be_written() {
    for (verdict, alone, ends) in [
        (DOWN, true, true),
        (Verdict::Unauthorized, false, true),
        (DOWN, false, false),
        (Verdict::Forbidden, false, false),
    ] {
        let mut health = listed();
        if alone || verdict == Verdict::Unauthorized {
            fails(&mut health, 1, &verdict, alone, 10);
        } else {
            streak(&mut health, &verdict, 10);
        }
        let change = health.list_read(at(500));
        assert_eq!(change[1] == Change::Up { since: at(10) }, ends, "{verdict:?} {alone}");
        assert_eq!(health.trouble().is_none(), ends);
    }
}

#[test]
fn at_the_start_nothing_is_sent_before_a_list_was_read() {
    let mut health = Health::default();
    assert_eq!(health.allowance(10, at(0)), Allowance::Unlisted);
    assert_eq!((health.want_list(at(0)), health.want_list(at(1))), (true, false));
    assert_eq!(health.list_due(), Some(at(0)));
    pass_fails(&mut health, &Verdict::Rejected, 2);
    assert_eq!(health.list_due(), Some(at(62)), "not at once, or it would go on without end");
    assert_eq!((health.allowance(10, at(62)), health.want_list(at(62))), (Allowance::Unlisted, false));
    health.list_read(at(63));
    assert_eq!((health.allowance(10, at(63)), health.list_due()), (Allowance::Write(10), None));
    assert_eq!(
        (health.want_list(at(63)), health.list_due()),
        (false, None),
        "who asks too late gets no second one"
    );
}

#[test]
fn after_a_short_silence_delivery_just_goes_on() {
    let mut health = listed();
    fails(&mut health, 1, &DOWN, true, 100);
    assert_eq!(health.allowance(10, at(160)), Allowance::Probe);
    health.observe(&user(1), DONE, at(160));
    assert_eq!(health.allowance(10, at(160)), Allowance::Write(10));
}

#[test]
fn after_a_long_silence_a_user_is_read_then_a_list_and_only_then_written() {
    for (verdict, alone) in [(DOWN, true), (Verdict::Unauthorized, false)] {
        let mut health = listed();
        fails(&mut health, 1, &verdict, alone, 100);
        assert_eq!(health.allowance(10, at(161)), Allowance::ProbeByReading);
        assert_eq!(health.observe(&user(1), Seen::Read, at(161)), Change::Up { since: at(100) });
        assert_eq!(health.allowance(10, at(161)), Allowance::Unlisted);
        health.list_read(at(162));
        assert_eq!(health.allowance(10, at(9999)), Allowance::Write(10), "{verdict:?}");
    }
}

#[test]
fn a_late_success_of_what_was_in_flight_does_not_let_old_lists_go() {
    let mut health = listed();
    fails(&mut health, 1, &DOWN, true, 100);
    health.observe(&user(2), DONE, at(161));
    assert_eq!(health.allowance(10, at(161)), Allowance::Unlisted);
    fails(&mut health, 1, &DOWN, true, 162);
    assert_eq!(health.allowance(10, at(163)), Allowance::ProbeByReading, "nor does a new silence");
}

/// The tenant can be read, but not written: each probe is a write, and its list must not be old.
#[test]
fn a_long_refusal_to_be_written_is_probed_after_a_list() {
    for verdict in [DOWN, Verdict::Forbidden, Verdict::Ignored] {
        let mut health = listed();
        streak(&mut health, &verdict, 100);
        assert_eq!(health.allowance(10, at(110)), Allowance::Probe, "{verdict:?}");
        assert_eq!(health.allowance(10, at(170)), Allowance::Unlisted);
        health.list_read(at(171));
        assert_eq!(health.allowance(10, at(171)), Allowance::Probe);
        fails(&mut health, 1, &verdict, false, 171);
        assert!(matches!(health.allowance(10, at(171)), Allowance::Wait(_)));
        assert_eq!(health.allowance(10, at(232)), Allowance::Unlisted, "a minute later it is old again");
        health.list_read(at(233));
        assert_eq!(health.observe(&user(1), DONE, at(234)), Change::Up { since: at(100) });
        assert_eq!(health.allowance(10, at(999)), Allowance::Write(10));
    }
}
