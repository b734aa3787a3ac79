//! Traces and metrics of the real program: a change keeps its trace from the pass that decided it to the PATCH that
//! carried it out, even when another process sends it; the daemon measures what waits.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it the same way")]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rosterd::clock::Clock;
use rosterd::model::{Role, UserId};
use rosterd::practice::{self, Faults, Options, Practice};
use tokio::task::JoinSet;

type Received = Arc<Mutex<Vec<Span>>>;

async fn receive(State(received): State<Received>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    received.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
}

async fn collector(tasks: &mut JoinSet<std::io::Result<()>>) -> (String, Received) {
    let received = Received::default();
    let router = Router::new().route("/v1/traces", post(receive)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

/// A tenant whose one user is to be in a team, and cannot be changed.
async fn failing_practice() -> Practice {
    let practice =
        practice::start(Options { users: 1, ..Options::default() }, Clock::system()).await.unwrap();
    let user: UserId = practice.tenant().users()[0].id.clone();
    practice.tenant().set_active(&user, true).unwrap();
    practice.tenant().set_teams(&user, []).unwrap();
    practice.tenant().set_roles(&user, [Role::from("HR_SALES")]).unwrap();
    let broken = Faults { fail_users: [(user.to_string(), 503)].into(), ..Faults::default() };
    practice.tenant().set_faults(broken).unwrap();
    practice
}

fn configuration(folder: &Path, practice: &Practice) {
    let toml = format!(
        r#"
        [store]
        url = "sqlite://{folder}/rosterd.db"
        [audit]
        path = "{folder}/audit.jsonl"
        [tenants.acme]
        base_url = "{}"
        token_url = "{}"
        client_id = {{ env = "CLIENT" }}
        client_secret = {{ env = "CLIENT" }}
        overlap = "0s"
        delivery = {{ rate_per_second = 1000, burst = 100 }}
        [tenants.acme.mapping]
        HR_SALES = "team-sales"
        "#,
        practice.base_url(),
        practice.token_url(),
        folder = folder.display(),
    );
    std::fs::write(folder.join("rosterd.toml"), toml).unwrap();
}

async fn sync(folder: &Path, collector: &str, wait: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosterd"));
    command
        .args(["sync", "--wait", wait, "--config"])
        .arg(folder.join("rosterd.toml"))
        .env("CLIENT", practice::CLIENT)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_sent_after_a_restart_belongs_to_the_change_that_caused_it() {
    let folder = tempfile::tempdir().unwrap();
    let practice = failing_practice().await;
    configuration(folder.path(), &practice);
    let mut tasks = JoinSet::new();
    let (address, received) = collector(&mut tasks).await;

    let first = sync(folder.path(), &address, "1s").await;
    assert_eq!(first.status.code(), Some(3), "{first:?}");
    let first: Vec<Span> = std::mem::take(&mut *received.lock().unwrap());

    practice.tenant().set_faults(Faults::default()).unwrap();
    let second = sync(folder.path(), &address, "1m").await;
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    let second: Vec<Span> = std::mem::take(&mut *received.lock().unwrap());
    practice.stop().await;

    let [pass] = named(&first, "pass")[..] else { panic!("{first:?}") };
    for name in ["page", "plan", "commit"] {
        let [child] = named(&first, name)[..] else { panic!("{name}: {first:?}") };
        assert_eq!(child.parent_span_id, pass.span_id, "{name}");
    }
    let [operation] = named(&second, "operation")[..] else { panic!("{second:?}") };
    assert_eq!(operation.trace_id, pass.trace_id, "the trace of the pass of the first process");
    let [attempt] = named(&second, "attempt")[..] else { panic!("{second:?}") };
    assert_eq!(attempt.parent_span_id, operation.span_id);
    let patch = named(&second, "PATCH /Users/{id}");
    assert_eq!(patch.len(), 1);
    assert_eq!(patch[0].parent_span_id, attempt.span_id);
    let later = named(&second, "pass")[0];
    assert_ne!(later.trace_id, pass.trace_id, "the second process made a pass of its own");
}

async fn metrics_collector(
    tasks: &mut JoinSet<std::io::Result<()>>,
) -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<Metric>>) {
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    let receive = async move |body: Bytes| {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        sender.send(scopes.flat_map(|scope| scope.metrics).collect()).unwrap();
    };
    let router = Router::new().route("/v1/metrics", post(receive));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

fn points<'a>(metrics: &'a [Metric], name: &str) -> &'a [NumberDataPoint] {
    match metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.as_ref()) {
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        other => panic!("{name}: {other:?}"),
    }
}

fn total(points: &[NumberDataPoint]) -> i64 {
    points
        .iter()
        .map(|point| match point.value.as_ref().unwrap() {
            number_data_point::Value::AsInt(value) => *value,
            number_data_point::Value::AsDouble(value) => panic!("{value}"),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_measures_what_an_earlier_process_left() {
    let folder = tempfile::tempdir().unwrap();
    let practice = failing_practice().await;
    configuration(folder.path(), &practice);
    let mut tasks = JoinSet::new();
    let (traces, _) = collector(&mut tasks).await;
    let left = sync(folder.path(), &traces, "1s").await;
    assert_eq!(left.status.code(), Some(3), "{left:?}");

    let (address, mut received) = metrics_collector(&mut tasks).await;
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_rosterd"))
        .args(["run", "--config"])
        .arg(folder.path().join("rosterd.toml"))
        .env("CLIENT", practice::CLIENT)
        .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &address)
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let metrics = received.recv().await.unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    practice.stop().await;

    // Waiting, in flight or tried again: it is one operation.
    assert_eq!(points(&metrics, "rosterd.operations").len(), 5);
    assert_eq!(total(points(&metrics, "rosterd.operations")), 1);
    assert_eq!(total(points(&metrics, "rosterd.holds")), 0);
    assert_eq!(points(&metrics, "rosterd.trouble").len(), 2);
    for age in ["rosterd.change.age", "rosterd.read.age"] {
        let [point] = points(&metrics, age) else { panic!("{metrics:?}") };
        let Some(number_data_point::Value::AsDouble(seconds)) = point.value else { panic!("{point:?}") };
        assert!(seconds > 0.0, "{age}");
    }
}
