//! The log as a process writes it: lines of JSON, whatever the values hold and whoever reads them.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it the same way")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use rosterd::telemetry::{self, LogFormat, Options, TelemetryError, context, span};
use tracing::{info, trace, warn};

const CHILD: &str = "ROSTERD_TEST_CHILD";

/// Events of a test binary are foreign by themselves.
const OWN: &str = "rosterd::deliver";

fn options(format: Option<LogFormat>) -> Options {
    Options { format, level: "trace".into(), stderr: true }
}

/// The test `name` again, in a process of its own without telemetry variables.
fn child(name: &str) -> Option<Command> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (inherited, _) in std::env::vars_os() {
        if inherited.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(inherited);
        }
    }
    command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    Some(command)
}

#[test]
fn a_pipe_gets_one_object_a_line() {
    let Some(mut command) = child("a_pipe_gets_one_object_a_line") else {
        let telemetry = telemetry::init(&options(None)).unwrap();
        let pass = span::pass(&"acme".into(), rosterd::model::PassKind::Sweep, "p-1");
        pass.in_scope(|| {
            assert_eq!(context::traceparent(), None, "tracing is off");
            info!(target: OWN, users_read = 500, result = "ok", "pass finished");
        });
        warn!(target: OWN, reason = "one\ntwo\u{2028}\u{1b}[31m", "attempt failed");
        trace!(target: "hyper::proto", "authorization: Bearer abc");
        trace!(target: OWN, "the finest");
        assert!(matches!(telemetry::init(&options(None)), Err(TelemetryError::Installed)));
        return telemetry.shutdown();
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["pass finished", "attempt failed", "the finest"]);
    assert_eq!(lines[0]["tenant"], "acme");
    assert_eq!(lines[0]["pass"], "p-1");
    assert_eq!(lines[0]["users_read"], 500);
    assert_eq!(lines[1]["reason"], "one\ntwo\u{2028}\u{1b}[31m");
    assert!(lines.iter().all(|line| line.get("trace_id").is_none()));
    let at = lines[0]["timestamp"].as_str().unwrap();
    assert!(at.len() == 24 && at.ends_with('Z') && rosterd::model::Timestamp::parse(at).is_some(), "{at}");
}

#[test]
fn text_in_a_pipe_has_no_colour() {
    let Some(mut command) = child("text_in_a_pipe_has_no_colour") else {
        let telemetry = telemetry::init(&options(Some(LogFormat::Text))).unwrap();
        info!(target: OWN, user = "user-0001", "operation delivered");
        return telemetry.shutdown();
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.ends_with("Z  INFO rosterd::deliver: operation delivered user=user-0001\n"), "{text:?}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_reader_that_is_gone_stops_nothing() {
    let Some(mut command) = child("a_reader_that_is_gone_stops_nothing") else {
        let telemetry = telemetry::init(&options(None)).unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
        for _ in 0..1_000 {
            info!(target: OWN, "nobody reads this");
        }
        return telemetry.shutdown();
    };
    let mut process = command.spawn().unwrap();
    drop(process.stderr.take());
    process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_mistake_in_the_variables_is_named() {
    let Some(mut command) = child("a_mistake_in_the_variables_is_named") else {
        let fault = telemetry::init(&options(None)).unwrap_err().to_string();
        assert!(fault.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{fault}");
        return;
    };
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
