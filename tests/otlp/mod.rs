//! What the two OTLP tests share: work that makes spans and gauges in a process of its own, and what a collector must
//! have received afterwards.
//!
//! A test starts itself again with the `OTEL_*` variables of a collector: variables cannot be set safely
//! inside a running process, and a global subscriber is installed once in a process.

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, span::SpanKind, status::StatusCode};
use rosterd::model::{Kind, PassKind, TenantId, UserId};
use rosterd::telemetry::metrics::Measured;
use rosterd::telemetry::{self, LogFormat, Options, Telemetry, context, span};
use tracing::{Instrument as _, info, warn};

const CHILD: &str = "ROSTERD_TEST_CHILD";

/// A change that was decided before a restart, as it stands on the operation's row.
pub(crate) const STORED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Events of a test binary are foreign by themselves.
const OWN: &str = "rosterd::deliver";

/// Whether this process is the one that makes spans.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Starts the test `name` again as the process that makes spans, and waits for its end.
pub(crate) fn run_child(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (inherited, _) in std::env::vars_os() {
        let text = inherited.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("OTEL_") || text.ends_with("_PROXY") {
            command.env_remove(inherited);
        }
    }
    command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").envs(variables.iter().copied());
    command.stdin(Stdio::null()).output().unwrap()
}

/// A port of ours that refuses every connection for as long as it lives.
pub(crate) fn port_without_listener() -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

fn start() -> Telemetry {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options { format: Some(LogFormat::Json), level: "trace".into(), stderr: true };
    telemetry::init(&options).unwrap()
}

/// Measures two tenants, one of them twice, and stops. Without an export of metrics it measures nothing.
pub(crate) fn measure() {
    let telemetry = start();
    if let Some(gauges) = telemetry.gauges() {
        let (acme, globex) = (TenantId::from("acme"), TenantId::from("globex"));
        gauges.record(&acme, &Measured { ready: 9, ..Measured::default() });
        let measured = Measured {
            ready: 1,
            leased: 2,
            stale: 3,
            held: 4,
            dead: 5,
            holds: 6,
            rereads: 7,
            change_age: Duration::from_millis(8500),
            read_age: Some(Duration::from_secs(90)),
            reading_trouble: false,
            delivery_trouble: true,
        };
        gauges.record(&acme, &measured);
        gauges.record(&globex, &Measured::default());
        info!(target: OWN, "measured");
    }
    telemetry.shutdown();
}

/// Makes the spans of a pass and of an operation, and logs inside and outside of them.
pub(crate) fn work() {
    let telemetry = start();
    // The daemon's runtime is gone before the spans are flushed.
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(spans());
    info!(target: OWN, "outside");
    telemetry.shutdown();
}

async fn spans() {
    let (tenant, user) = (TenantId::from("acme"), UserId::from("user-0001"));
    async {
        async { info!(target: OWN, "read") }.instrument(span::page(1, 100)).await;
        span::plan().in_scope(|| ());
        span::commit().in_scope(|| ());
        tracing::info_span!(target: "hyper", "foreign").in_scope(|| ());
    }
    .instrument(span::pass(&tenant, PassKind::Delta, "pass-1"))
    .await;

    let operation = span::operation(&tenant, &user, 7, Kind::Teams, "mapped", Some(STORED));
    context::link(&operation, "00-11111111111111111111111111111111-2222222222222222-01");
    let attempt = operation.in_scope(|| span::attempt(2));
    let http = attempt.in_scope(|| span::http("PATCH", "/Users/{id}", "api.example.com"));
    span::http_answered(&http, 503);
    attempt.in_scope(|| warn!(target: OWN, status = 503, "attempt failed"));
    async { info!(target: OWN, "operation delivered") }.instrument(operation).await;
}

/// The lines that the child logged.
pub(crate) fn lines(output: &Output) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// Asserts that what arrived is what [`work`] made, and that the log lines point at it.
pub(crate) fn assert_arrived(received: &[ResourceSpans], log: &[serde_json::Value]) {
    let resource = received[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "rosterd");
    assert_eq!(text(&resource.attributes, "service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&resource.attributes, "deployment.environment.name"), "test, eu");
    assert_eq!(text(&resource.attributes, "service.instance.id").len(), 36);

    let spans: Vec<&Span> = received
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .inspect(|scope| assert_eq!(scope.scope.as_ref().unwrap().name, "rosterd"))
        .flat_map(|scope| &scope.spans)
        .collect();
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["PATCH /Users/{id}", "attempt", "commit", "operation", "page", "pass", "plan"]);
    let span = |name: &str| *spans.iter().find(|span| span.name == name).unwrap();

    let pass = span("pass");
    assert!(pass.parent_span_id.is_empty());
    assert_eq!(text(&pass.attributes, "tenant"), "acme");
    assert_eq!(text(&pass.attributes, "pass.kind"), "delta");
    assert_eq!(text(&pass.attributes, "pass.id"), "pass-1");
    for name in ["page", "plan", "commit"] {
        assert_child(span(name), pass);
    }
    assert_eq!(number(&span("page").attributes, "start_index"), 1);

    let operation = span("operation");
    assert_eq!(hex(&operation.trace_id), STORED[3..35], "it belongs to the change that caused it");
    assert_eq!(hex(&operation.parent_span_id), STORED[36..52]);
    assert_eq!(hex(&operation.links[0].span_id), "2222222222222222");
    assert_eq!(text(&operation.attributes, "user.id"), "user-0001");
    assert_eq!(text(&operation.attributes, "operation.id"), "7");
    assert_eq!(text(&operation.attributes, "cause"), "mapped");
    let attempt = span("attempt");
    assert_child(attempt, operation);
    assert_eq!(number(&attempt.attributes, "attempt"), 2);
    assert_eq!(attempt.events.len(), 1, "of the events only those that explain a failure");
    assert_eq!(number(&attempt.events[0].attributes, "status"), 503);

    let http = span("PATCH /Users/{id}");
    assert_child(http, attempt);
    assert_eq!(http.kind, i32::from(SpanKind::Client as i16));
    assert_eq!(http.status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_eq!(text(&http.attributes, "http.request.method"), "PATCH");
    assert_eq!(text(&http.attributes, "url.template"), "/Users/{id}");
    assert_eq!(text(&http.attributes, "server.address"), "api.example.com");
    assert_eq!(text(&http.attributes, "error.type"), "503");
    assert_eq!(number(&http.attributes, "http.response.status_code"), 503);

    let ids = |message: &str| {
        let line = log.iter().find(|line| line["message"] == message).unwrap();
        (line["trace_id"].as_str().map(str::to_owned), line["span_id"].as_str().map(str::to_owned))
    };
    for (message, span) in
        [("read", span("page")), ("operation delivered", operation), ("attempt failed", attempt)]
    {
        assert_eq!(ids(message), (Some(hex(&span.trace_id)), Some(hex(&span.span_id))), "{message}");
    }
    assert_eq!(ids("outside"), (None, None));
}

/// Asserts that what arrived is what [`measure`] recorded last.
pub(crate) fn assert_measured(received: &[ResourceMetrics]) {
    let resource = received[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "rosterd");
    let mut acme = points(received, "acme");
    acme.sort();
    assert_eq!(
        acme,
        [
            "rosterd.change.age{} 8.5 s",
            "rosterd.holds{} 6 {hold}",
            "rosterd.operations{state=dead} 5 {operation}",
            "rosterd.operations{state=held} 4 {operation}",
            "rosterd.operations{state=leased} 2 {operation}",
            "rosterd.operations{state=ready} 1 {operation}",
            "rosterd.operations{state=stale} 3 {operation}",
            "rosterd.read.age{} 90 s",
            "rosterd.rereads{} 7 {user}",
            "rosterd.trouble{part=delivery} 1 1",
            "rosterd.trouble{part=reading} 0 1",
        ]
    );
    let globex = points(received, "globex");
    assert_eq!(globex.len(), 10, "{globex:?}");
    assert!(globex.contains(&"rosterd.change.age{} 0 s".to_owned()), "{globex:?}");
    assert!(
        !globex.iter().any(|point| point.starts_with("rosterd.read.age")),
        "it was never read: {globex:?}"
    );
}

/// All points of a tenant as `name{attribute=word} value unit`.
fn points(received: &[ResourceMetrics], tenant: &str) -> Vec<String> {
    let scopes = received.iter().flat_map(|resource| &resource.scope_metrics);
    let mut points = Vec::new();
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
        for point in gauge.data_points.iter().filter(|point| text(&point.attributes, "tenant") == tenant) {
            let others: Vec<String> = (point.attributes.iter().filter(|pair| pair.key != "tenant"))
                .map(|pair| format!("{}={}", pair.key, text(&point.attributes, &pair.key)))
                .collect();
            let value = match point.value.as_ref().unwrap() {
                number_data_point::Value::AsInt(value) => value.to_string(),
                number_data_point::Value::AsDouble(value) => value.to_string(),
            };
            points.push(format!("{}{{{}}} {value} {}", metric.name, others.join(","), metric.unit));
        }
    }
    points
}

fn assert_child(span: &Span, parent: &Span) {
    assert_eq!(span.trace_id, parent.trace_id, "{} and {}", span.name, parent.name);
    assert_eq!(span.parent_span_id, parent.span_id, "{} and {}", span.name, parent.name);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.and_then(|found| found.value.as_ref()?.value.as_ref()).unwrap_or_else(|| panic!("no {key}"))
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Value::StringValue(text) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Value::IntValue(number) => *number,
        other => panic!("{key} is {other:?}"),
    }
}
