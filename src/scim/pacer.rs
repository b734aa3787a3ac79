//! When the next call may go. Pure: time is an argument, in seconds since the pacer was made.
//!
//! Calls are spaced evenly at the rate that the tenant allows; what a quiet time saves up may go at once,
//! up to the burst. A 429 pauses everything and lowers the pace to what the tenant was seen to accept;
//! from there the pace climbs back, quickly at first, hardly at all near the rate that was too much, and
//! faster again once that has proved to be no limit any more. Where a low pace is refused as a high one was, the
//! pace is not to blame: then a 429 costs its pause and no pace.

use std::time::Duration;

/// We stay a hair under the rate that the tenant allows, because its clock is not ours.
const SHARE_OF_RATE: f64 = 0.995;
/// And this many calls under its burst, because calls bunch on the way.
const SPARE_BURST: u32 = 2;
/// A call that is late by less than this many seconds is made up for, or coarse timers would cost part of the rate.
const TIMER_SLACK: f64 = 0.002;
/// The pause after a 429 that names none.
const USUAL_PAUSE: f64 = 1.0;
/// The least pause after a 429, whatever it says; doubled with each one after which nothing was accepted.
const LEAST_PAUSE: f64 = 0.1;
/// And up to this: a tenant that says nothing but 429 is asked about every ten seconds.
const LONGEST_LEAST_PAUSE: f64 = 10.0;
/// A 429 sooner than this many seconds after the last pause says little about the rate: it met a burst.
const TELLING: f64 = 1.0;
/// A search doubles the pace in this many seconds.
const DOUBLING: f64 = 2.0;
/// Late calls that are made up for at once after a 429, until that proves too many.
const CATCH_UP: f64 = 3.0;
/// By which share the pace has risen [`PLATEAU`] seconds after the flat part.
const PROBING: f64 = 0.4;
/// Seconds from a 429 to the flat part of the climb.
const PLATEAU: f64 = 15.0;
/// Windows shorter than this are left to the even pace: their headers have whole seconds.
const LEAST_WINDOW: Duration = Duration::from_secs(2);
/// What a tenant was seen to accept, pauses counted in, it accepts again for this many seconds.
const REMEMBERED: f64 = 60.0;
/// A 429 at less than this share of what the tenant was seen to accept is not for the pace. (A window that is half
/// over when calls begin lets twice its rate pass.)
const BLAMELESS: f64 = 0.4;
/// For how many seconds the pace is then left alone; doubled each time that it proves blameless again.
const LEFT_ALONE: f64 = 60.0;
const LONGEST_LEFT_ALONE: f64 = 900.0;
/// The pace never falls below one call in a minute.
const LEAST_RATE: f64 = 1.0 / 60.0;

/// Decides when calls go.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    ceiling: f64,
    burst: f64,
    timer_slack: f64,
    /// Calls that may go at once, as of `counted`; a fraction is a call that is not due yet.
    credit: f64,
    counted: f64,
    paused_until: f64,
    climb: Option<Climb>,
    window: Option<(f64, f64)>,
    since_pause: SincePause,
    /// Calls at once that a tenant which has objected is asked for, so that late ones are made up for.
    catch_up: f64,
    /// Calls a second, pauses counted in, and until when that is remembered.
    seen_to_accept: (f64, f64),
    blameless: Blameless,
}

/// Until when a 429 pauses and does not lower the pace, and for how many seconds the next time.
#[derive(Clone, Copy, Debug)]
struct Blameless {
    until: f64,
    next: f64,
}

/// What happened since the last pause.
#[derive(Clone, Copy, Debug, Default)]
struct SincePause {
    began: f64,
    pause: f64,
    accepted: f64,
    /// Pauses in a row between which nothing was accepted, this one included.
    in_vain: u32,
}

/// The way back up after a 429.
#[derive(Clone, Copy, Debug)]
enum Climb {
    /// The tenant's rate is anybody's guess: doubling until the next 429 shows it.
    Search { began: f64, from: f64 },
    /// It is known roughly: a cubic that is flat at `knee`, [`PLATEAU`] after `began`.
    Settle { began: f64, knee: f64, depth: f64 },
}

impl Climb {
    fn rate(&self, now: f64) -> f64 {
        match *self {
            Self::Search { began, from } => from * ((now - began).max(0.0) / DOUBLING).exp2(),
            Self::Settle { began, knee, depth } => {
                let x = (now - began).max(0.0) / PLATEAU - 1.0;
                if x < 0.0 { knee + depth * x * x * x } else { knee * (1.0 + PROBING * x * x) }
            }
        }
    }
}

impl Pacer {
    /// For a tenant that allows `rate` calls a second and `burst` at once. It starts without a burst:
    /// whoever called a moment ago may have used it.
    pub(super) fn new(rate: f64, burst: u32) -> Self {
        let ceiling = (rate * SHARE_OF_RATE).max(LEAST_RATE);
        let timer_slack = if burst > 1 { TIMER_SLACK } else { 0.0 };
        let burst = f64::from(burst.saturating_sub(SPARE_BURST).max(1));
        Self {
            ceiling,
            burst,
            timer_slack,
            credit: 1.0,
            counted: 0.0,
            paused_until: 0.0,
            climb: None,
            window: None,
            since_pause: SincePause::default(),
            catch_up: CATCH_UP,
            seen_to_accept: (0.0, 0.0),
            blameless: Blameless { until: 0.0, next: LEFT_ALONE },
        }
    }

    /// Calls a second at `now`.
    pub(super) fn rate(&self, now: f64) -> f64 {
        let climb = self.climb.map_or(f64::INFINITY, |climb| climb.rate(now));
        let window = self.window.filter(|(_, until)| now < *until).map_or(f64::INFINITY, |(rate, _)| rate);
        self.ceiling.min(climb).min(window).max(LEAST_RATE)
    }

    /// The earliest moment for the next call, which may lie in the past.
    pub(super) fn next(&self, now: f64) -> f64 {
        let missing = 1.0 - self.credit_at(now);
        let due = if missing > 0.0 { now.max(self.counted) + missing / self.rate(now) } else { now };
        self.paused_until.max(due)
    }

    /// Until when no call goes, whatever the pace.
    pub(super) const fn paused_until(&self) -> f64 {
        self.paused_until
    }

    /// A call goes now.
    pub(super) fn take(&mut self, now: f64) {
        self.credit = self.credit_at(now) - 1.0;
        self.counted = self.counted.max(now);
    }

    /// What has come together since it was last counted, at the rate of the moment.
    fn credit_at(&self, now: f64) -> f64 {
        let rate = self.rate(now);
        let burst = if self.climb.is_some() { self.burst.min(self.catch_up) } else { self.burst };
        let most = burst.max(1.0 + self.timer_slack * rate);
        (self.credit + (now - self.counted).max(0.0) * rate).min(most)
    }

    /// A call that went at `sent` was accepted.
    pub(super) fn accepted(&mut self, sent: f64, now: f64) {
        if sent >= self.since_pause.began {
            self.since_pause.accepted += 1.0;
        }
        if self.climb.is_some_and(|climb| climb.rate(now) >= self.ceiling) {
            (self.climb, self.catch_up) = (None, CATCH_UP);
        }
    }

    /// A call that went at `sent` was one too many; the tenant may have said how long to wait.
    pub(super) fn throttled(&mut self, sent: f64, now: f64, wait: Option<Duration>) {
        let unnamed = if now < self.blameless.until { LEAST_PAUSE } else { USUAL_PAUSE };
        let mut pause = wait.map_or(unnamed, |wait| wait.as_secs_f64().max(LEAST_PAUSE));
        if sent >= self.since_pause.began {
            let in_vain = if self.since_pause.accepted > 0.0 { 0 } else { self.since_pause.in_vain };
            pause = pause.max((LEAST_PAUSE * f64::from(in_vain).exp2()).min(LONGEST_LEAST_PAUSE));
            self.climb = self.after_refusal(now, now + pause);
            self.since_pause = SincePause { began: now + pause, pause, accepted: 0.0, in_vain: in_vain + 1 };
        }
        self.pause_until(now + pause);
    }

    /// The tenant's headers say that `remaining` calls are left until its window ends.
    pub(super) fn window(&mut self, now: f64, remaining: u64, reset: Duration) {
        if reset < LEAST_WINDOW {
            return;
        }
        let seconds = reset.as_secs_f64();
        if remaining == 0 {
            self.pause_until(now + seconds);
        } else {
            #[allow(clippy::cast_precision_loss, reason = "a count of calls")]
            let rate = remaining as f64 / seconds;
            self.window = Some((rate, now + seconds));
        }
    }

    /// Nothing is saved up during a pause.
    fn pause_until(&mut self, until: f64) {
        if until > self.paused_until {
            (self.paused_until, self.counted, self.credit) = (until, until, 1.0);
        }
    }

    /// A limit on the pace refuses what is above it. A tenant that refuses calls at a pace far below what it
    /// accepted, pauses counted in, refuses them for another reason: because its quota is shared, or by chance.
    /// Lowering the pace ever more would stop the work and spare nobody a 429.
    fn after_refusal(&mut self, now: f64, resume: f64) -> Option<Climb> {
        if now < self.blameless.until {
            return self.climb;
        }
        let pace = self.rate(now);
        let (accepted, until) = self.seen_to_accept;
        if now < until && pace < BLAMELESS * accepted {
            self.blameless.until = resume + self.blameless.next;
            self.blameless.next = (2.0 * self.blameless.next).min(LONGEST_LEFT_ALONE);
            return Some(Climb::Search { began: resume, from: accepted });
        }
        let seconds = now - self.since_pause.began + self.since_pause.pause;
        let average = self.since_pause.accepted / seconds.max(1.0);
        if now >= until || average > accepted {
            self.seen_to_accept = (average, now + REMEMBERED);
        }
        Some(self.lower(now, resume))
    }

    /// The pace after a 429, from `resume` on. What was accepted bounds the tenant's rate from both
    /// sides: over the time since the last pause it is too much by the burst, and with the pause
    /// counted in it is too little.
    fn lower(&mut self, now: f64, resume: f64) -> Climb {
        let too_much = self.rate(now);
        let active = (now - self.since_pause.began).max(1e-3);
        let accepted = self.since_pause.accepted.max(1.0);
        let most = (accepted / active).min(too_much);
        let least = (accepted / (active + self.since_pause.pause)).min(most);
        let between = (least * most).sqrt();
        match self.climb {
            _ if active >= TELLING && most >= too_much / 2.0 && !self.searching() => {
                settle(resume, between.min(0.95 * too_much), 0.97 * most)
            }
            // Not long after a pause, at a rate that was known to be right: the tenant does not take two calls
            // at once.
            Some(Climb::Settle { .. }) if self.catch_up > 1.0 => {
                self.catch_up = 1.0;
                settle(resume, 0.85 * too_much, 0.95 * too_much)
            }
            Some(Climb::Settle { .. }) => settle(resume, 0.8 * too_much, 0.9 * too_much),
            Some(Climb::Search { .. }) if active >= TELLING / 2.0 => {
                settle(resume, 0.78 * too_much, 0.9 * too_much)
            }
            _ => Climb::Search { began: resume, from: between.clamp(too_much / 6.0, too_much / 2.0) },
        }
    }

    const fn searching(&self) -> bool {
        matches!(self.climb, Some(Climb::Search { .. }))
    }
}

fn settle(began: f64, from: f64, knee: f64) -> Climb {
    Climb::Settle { began, knee: knee.max(from), depth: (knee - from).max(0.02 * knee) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a simulated tenant counts.
    #[derive(Clone, Copy, Debug)]
    enum Allows {
        Bucket {
            rate: f64,
            burst: f64,
        },
        FixedWindow {
            calls: u32,
        },
        /// It refuses this share of the calls, by chance.
        Chance {
            refused: f64,
        },
    }

    struct Tenant {
        allows: Allows,
        tokens: f64,
        at: f64,
        window: f64,
        used: u32,
        dice: u64,
    }

    impl Tenant {
        fn new(allows: Allows) -> Self {
            let tokens = if let Allows::Bucket { burst, .. } = allows { burst } else { 0.0 };
            Self { allows, tokens, at: 0.0, window: -1.0, used: 0, dice: 1 }
        }

        fn accepts(&mut self, now: f64) -> bool {
            match self.allows {
                Allows::Bucket { rate, burst } => {
                    self.tokens = (self.tokens + (now - self.at) * rate).min(burst);
                    self.at = now;
                    let yes = self.tokens >= 1.0;
                    self.tokens -= if yes { 1.0 } else { 0.0 };
                    yes
                }
                Allows::FixedWindow { calls } => {
                    if now.floor() > self.window {
                        (self.window, self.used) = (now.floor(), 0);
                    }
                    let yes = self.used < calls;
                    self.used += u32::from(yes);
                    yes
                }
                Allows::Chance { refused } => {
                    // Knuth's linear congruential generator: the same draws each time.
                    self.dice = self
                        .dice
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    f64::from(u32::try_from(self.dice >> 32).unwrap()) / f64::from(u32::MAX) >= refused
                }
            }
        }
    }

    /// Ten callers who always have work, for `seconds`: (accepted, throttled).
    fn simulate(pacer: Pacer, allows: Allows, latency: f64, seconds: f64) -> (f64, f64) {
        simulate_with(pacer, allows, None, 10, latency, seconds)
    }

    /// The same, with `workers` callers; a 429 says to `wait`.
    fn simulate_with(
        mut pacer: Pacer,
        allows: Allows,
        wait: Option<Duration>,
        workers: usize,
        latency: f64,
        seconds: f64,
    ) -> (f64, f64) {
        let mut tenant = Tenant::new(allows);
        let (mut accepted, mut throttled) = (0.0, 0.0);
        // (answered at, sent at, accepted)
        let mut flying: Vec<(f64, f64, bool)> = Vec::new();
        let mut now = 0.0;
        while now < seconds {
            let go = if flying.len() < workers { pacer.next(now).max(now) } else { f64::INFINITY };
            let land = flying.iter().map(|call| call.0).fold(f64::INFINITY, f64::min);
            if go <= land {
                // timers fire on whole milliseconds
                now = if go > now { ((go * 1000.0).floor() + 1.0) / 1000.0 } else { now };
                if now > land || pacer.next(now) > now {
                    now = now.min(land);
                    continue;
                }
                pacer.take(now);
                flying.push((now + latency, now, tenant.accepts(now + latency / 2.0)));
            } else {
                now = land;
                let at = flying.iter().position(|call| call.0 <= land).unwrap();
                let (_, sent, ok) = flying.swap_remove(at);
                if ok {
                    accepted += 1.0;
                    pacer.accepted(sent, now);
                } else {
                    throttled += 1.0;
                    pacer.throttled(sent, now, wait);
                }
            }
        }
        (accepted, throttled)
    }

    #[test]
    fn a_known_limit_is_used_without_a_429() {
        for (rate, burst) in [(50.0, 10), (50.0, 1), (4.0, 10), (200.0, 20), (1000.0, 50)] {
            for latency in [0.001, 0.008] {
                let allows = Allows::Bucket { rate, burst: f64::from(burst) };
                let (accepted, throttled) = simulate(Pacer::new(rate, burst), allows, latency, 60.0);
                assert!(throttled < 1.0, "{rate}/s, burst {burst}: {throttled} times 429");
                let least = if burst > 1 { 0.99 } else { 0.95 };
                assert!(accepted >= rate * 60.0 * least, "{rate}/s, burst {burst}: {accepted} accepted");
            }
        }
    }

    #[test]
    fn a_limit_that_we_were_told_wrongly_is_found() {
        // A tenant without any burst answers 429 to calls that bunch on the way, whatever their pace.
        for (least, allows) in [
            (0.70, Allows::Bucket { rate: 100.0, burst: 1.0 }),
            (0.81, Allows::Bucket { rate: 100.0, burst: 5.0 }),
            (0.82, Allows::Bucket { rate: 100.0, burst: 10.0 }),
            (0.88, Allows::Bucket { rate: 100.0, burst: 50.0 }),
            (0.95, Allows::Bucket { rate: 100.0, burst: 100.0 }),
            (0.80, Allows::FixedWindow { calls: 100 }),
        ] {
            for latency in [0.001, 0.005, 0.02] {
                for (told, burst) in [(1000.0, 10), (1000.0, 100), (300.0, 10), (150.0, 100)] {
                    let (accepted, throttled) = simulate(Pacer::new(told, burst), allows, latency, 40.0);
                    let (used, refused) = (accepted / 4000.0, throttled / (accepted + throttled));
                    assert!(used >= least, "told {told}, {allows:?}, latency {latency}: {used} used");
                    assert!(refused <= 0.02, "told {told}, {allows:?}, latency {latency}: {refused} refused");
                }
            }
        }
    }

    #[test]
    fn refusals_by_chance_cost_their_pauses_and_no_pace() {
        // A tenth of the calls refused: nine go between two pauses, whatever the pace.
        for (told, wait, least) in [
            (1000.0, Some(1.0), 0.9 * 9.0),
            (1000.0, None, 3.0 * 9.0),
            (50.0, Some(1.0), 0.7 * 9.0),
            (50.0, None, 1.5 * 9.0),
        ] {
            let (allows, wait) = (Allows::Chance { refused: 0.1 }, wait.map(Duration::from_secs_f64));
            for seconds in [120.0, 1200.0] {
                let (accepted, _) = simulate_with(Pacer::new(told, 20), allows, wait, 10, 0.005, seconds);
                let rate = accepted / seconds;
                assert!(rate >= least, "told {told}, wait {wait:?}: {rate}/s in {seconds} s");
            }
        }
    }

    #[test]
    fn a_pause_holds_for_calls_that_were_due_before_it() {
        let mut pacer = Pacer::new(100.0, 10);
        pacer.take(0.0);
        pacer.throttled(0.0, 0.5, Some(Duration::from_secs(7)));
        assert!(pacer.next(1.0) >= 7.5);
        // an answer from before the pause does not shorten it, nor lower the pace again
        let rate = pacer.rate(8.0);
        pacer.throttled(0.1, 0.6, None);
        assert!(pacer.next(1.0) >= 7.5 && (pacer.rate(8.0) - rate).abs() < 1e-9);
    }

    #[test]
    fn the_pace_comes_back_when_the_tenant_stops_objecting() {
        let mut pacer = Pacer::new(100.0, 10);
        pacer.take(0.0);
        pacer.throttled(0.0, 0.0, None);
        assert!(pacer.rate(1.0) < 60.0);
        assert!(pacer.rate(120.0) > 99.0);
    }

    #[test]
    fn a_tenant_that_only_says_429_is_asked_ever_more_rarely() {
        let (mut pacer, mut now, mut calls) = (Pacer::new(1000.0, 10), 0.0, 0);
        while now < 3600.0 {
            now = pacer.next(now).max(now) + 0.001;
            pacer.take(now);
            pacer.throttled(now, now, Some(Duration::ZERO));
            calls += 1;
        }
        assert!((300..400).contains(&calls), "{calls} calls in an hour");
        // The first call that is accepted ends it.
        now = pacer.next(now);
        pacer.take(now);
        pacer.accepted(now, now);
        pacer.throttled(now, now, Some(Duration::ZERO));
        assert!(pacer.paused_until() - now < 0.2);
    }

    #[test]
    fn headers_of_a_long_window_spread_the_calls_over_it() {
        let mut pacer = Pacer::new(50.0, 10);
        pacer.window(0.0, 240, Duration::from_mins(1));
        assert!((pacer.rate(1.0) - 4.0).abs() < 1e-9);
        assert!(pacer.rate(61.0) > 49.0);
        pacer.window(61.0, 0, Duration::from_secs(10));
        assert!(pacer.next(62.0) >= 71.0);
        pacer.window(80.0, 1, Duration::from_secs(1));
        assert!(pacer.rate(80.5) > 49.0, "a window of a second is left to the even pace");
    }
}
