//! What reaches the log, and what reaches the traces.
//!
//! Only rosterd's own targets can be turned up. HTTP and database libraries print headers, tokens and
//! statements at their debug and trace levels, so other crates are held at warnings whatever is asked
//! for, and never reach the traces at all.

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::TelemetryError;

/// The root of our own targets.
const OWN: &str = "rosterd";

/// The most that other crates log.
const FOREIGN_LIMIT: LevelFilter = LevelFilter::WARN;

/// The crates of the exporter repeat themselves with each batch that fails; `export` says it once.
const EXPORTER: &str = "opentelemetry";

/// Which events are logged.
#[derive(Clone, Debug)]
pub(super) struct LogFilter {
    events: Targets,
    most: LevelFilter,
}

/// Reads `LEVEL` and `TARGET=LEVEL`, separated by commas. Without a bare level the rest logs at `info`.
pub(super) fn parse(text: &str) -> Result<LogFilter, TelemetryError> {
    let mut default = LevelFilter::INFO;
    let mut targets = Vec::new();
    for directive in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || TelemetryError::Level { directive: directive.to_owned() };
        match directive.split_once('=') {
            None => default = level(directive).ok_or_else(wrong)?,
            Some((target, text)) => {
                let target = target.trim();
                let known = !target.is_empty() && target.chars().all(is_target);
                targets.push((target.to_owned(), level(text.trim()).filter(|_| known).ok_or_else(wrong)?));
            }
        }
    }
    let most = targets.iter().map(|(_, level)| *level).chain([default, FOREIGN_LIMIT]).max();
    let events = Targets::new()
        .with_default(default.min(FOREIGN_LIMIT))
        .with_target(OWN, default)
        .with_targets(targets.into_iter().map(|(target, level)| {
            let level = if is_own(&target) { level } else { level.min(FOREIGN_LIMIT) };
            (target, level)
        }))
        .with_target(EXPORTER, LevelFilter::OFF);
    Ok(LogFilter { events, most: most.unwrap_or(default) })
}

impl LogFilter {
    /// Our spans pass whatever the level: a warning needs the tenant of the span around it.
    pub(super) fn passes(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            return is_own(metadata.target()) && *metadata.level() <= LevelFilter::INFO;
        }
        self.events.would_enable(metadata.target(), metadata.level())
    }

    /// The most detailed level that can pass.
    pub(super) fn most(&self) -> LevelFilter {
        self.most.max(LevelFilter::INFO)
    }
}

/// Traces get our spans, and of our events those that explain a failure.
pub(super) fn is_traced(metadata: &Metadata<'_>) -> bool {
    let limit = if metadata.is_span() { LevelFilter::INFO } else { LevelFilter::WARN };
    is_own(metadata.target()) && *metadata.level() <= limit
}

/// Whether a target is ours.
pub(super) fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn level(text: &str) -> Option<LevelFilter> {
    // Numbers are levels for `tracing`, and a mystery for everybody else.
    text.parse().ok().filter(|_| text.chars().all(|c| c.is_ascii_alphabetic()))
}

fn is_target(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn enabled(text: &str, target: &str, level: Level) -> bool {
        parse(text).unwrap().events.would_enable(target, &level)
    }

    #[test]
    fn only_our_own_targets_can_be_turned_up() {
        for (text, target, most) in [
            ("", "rosterd::deliver", LevelFilter::INFO),
            ("trace", "rosterd", LevelFilter::TRACE),
            ("trace", "hyper::proto", LevelFilter::WARN),
            ("error", "hyper::proto", LevelFilter::ERROR),
            ("off", "rosterd", LevelFilter::OFF),
            ("rosterd::deliver=debug", "rosterd::deliver::pool", LevelFilter::DEBUG),
            ("rosterd::deliver=debug", "rosterd::store", LevelFilter::INFO),
            ("warn, rosterd::deliver = debug", "rosterd::store", LevelFilter::WARN),
            ("rosterd=trace,reqwest=trace", "reqwest::connect", LevelFilter::WARN),
            ("hyper=error", "hyper::proto", LevelFilter::ERROR),
            ("rosterdx=trace", "rosterdx", LevelFilter::WARN),
            ("ros=trace", "rosterd", LevelFilter::INFO),
            ("trace,opentelemetry=trace", "opentelemetry_sdk", LevelFilter::OFF),
        ] {
            for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(enabled(text, target, level), level <= most, "{text:?} {target} {level}");
            }
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (text, part) in [
            ("inof", "inof"),
            ("info,rosterd::deliver=loud", "rosterd::deliver=loud"),
            ("info,=debug", "=debug"),
            ("[pass]=debug", "[pass]=debug"),
            ("3", "3"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(&format!("{part:?}")), "{fault}");
        }
    }
}
