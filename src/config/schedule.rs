//! Cron lines: six fields, seconds first, read exactly as the scheduler reads them.
//!
//! The scheduler takes a line that never comes due without a word; here it is refused.

use chrono::{DateTime, Timelike as _};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use super::reader::Judged;
use crate::model::Timestamp;

fn parse(line: &str) -> Result<Cron, CronError> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(true)
        .build()
        .parse(line)
}

/// A line with six fields; five get the second 0.
pub(super) fn line(text: &str) -> Judged<String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let line = match fields.len() {
        5 => format!("0 {}", fields.join(" ")),
        6 => fields.join(" "),
        count => {
            return Err(format!("has {count} fields, not six: second minute hour day month weekday"));
        }
    };
    let cron = parse(&line).map_err(|error| format!("is no cron line: {error}"))?;
    // Without a year field the answer does not depend on when one asks.
    let any = Timestamp::EPOCH.to_utc().ok_or("cannot be tried")?;
    match cron.find_next_occurrence(&any, false) {
        Ok(_) => Ok(line),
        Err(_) => Err("never runs: there is no such date".to_owned()),
    }
}

/// An IANA time zone.
pub(super) fn zone(text: &str) -> Judged<Tz> {
    text.parse().map_err(|_| "is no IANA time zone such as \"UTC\" or \"Europe/Berlin\"".to_owned())
}

/// The next `count` runs of a validated six-field line after a moment, in `zone`, across its changes of the clock.
#[must_use]
pub fn next_runs(line: &str, zone: Tz, after: Timestamp, count: usize) -> Vec<DateTime<Tz>> {
    let start = after.to_utc().and_then(|at| at.with_timezone(&zone).with_nanosecond(0));
    match (parse(line), start) {
        (Ok(cron), Some(start)) => cron.iter_after(start).take(count).collect(),
        _ => Vec::new(),
    }
}

/// The last run that a validated six-field line asked for, up to and including `now`.
#[must_use]
pub fn last_run(line: &str, zone: Tz, now: Timestamp) -> Option<Timestamp> {
    let now = now.to_utc()?.with_timezone(&zone);
    let run: Timestamp = parse(line).ok()?.find_previous_occurrence(&now, true).ok()?.to_utc().into();
    // The fraction of a second is that of `now`.
    Some(Timestamp::from_millis(run.millis() / 1000 * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_was_at_a_whole_second() {
        let now = Timestamp::parse("2026-01-01T00:00:20.049Z").unwrap();
        let run = last_run("*/6 * * * * *", Tz::UTC, now).unwrap();
        assert_eq!(
            run.to_string(),
            "2026-01-01T00:00:18.000Z",
            "or a sweep that began then would be due again"
        );
    }
}
