//! Traces and metrics over OTLP/HTTP: a real receiver, a process that makes spans and gauges, and collectors that fail.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it the same way")]

mod otlp;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

async fn receive(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf")
        || headers.get("x-collector-key").is_none_or(|key| key != "a b")
    {
        return StatusCode::UNAUTHORIZED;
    }
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            received.lock().unwrap().extend(request.resource_spans);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// A collector on a free port, and its address.
fn collector(runtime: &tokio::runtime::Runtime) -> (String, Received) {
    let received = Received::default();
    let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&received));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

#[test]
fn spans_arrive_over_http() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = collector(&runtime);
    let output = otlp::run_child(
        "spans_arrive_over_http",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test%2C%20eu"),
        ],
    );
    otlp::assert_arrived(&received.lock().unwrap(), &otlp::lines(&output));
}

/// A collector of metrics on a free port, and its address.
fn metrics_collector(runtime: &tokio::runtime::Runtime) -> (String, Arc<Mutex<Vec<ResourceMetrics>>>) {
    let received = Arc::<Mutex<Vec<ResourceMetrics>>>::default();
    let to = Arc::clone(&received);
    let receive = async move |headers: HeaderMap, body: Bytes| {
        if headers.get("x-collector-key").is_none_or(|key| key != "a b") {
            return StatusCode::UNAUTHORIZED;
        }
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        to.lock().unwrap().extend(request.resource_metrics);
        StatusCode::OK
    };
    let router = Router::new().route("/v1/metrics", post(receive));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

#[test]
fn gauges_arrive_over_http() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = metrics_collector(&runtime);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20b"),
    ];
    let output = otlp::run_child("gauges_arrive_over_http", &variables);
    let lines = otlp::lines(&output);
    assert_eq!(lines.len(), 1, "nothing went wrong: {lines:?}");
    otlp::assert_measured(&received.lock().unwrap());
}

#[test]
fn metrics_that_are_off_are_not_measured() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = metrics_collector(&runtime);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20b"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let output = otlp::run_child("metrics_that_are_off_are_not_measured", &variables);
    assert!(otlp::lines(&output).is_empty(), "{output:?}");
    assert!(received.lock().unwrap().is_empty());
}

#[test]
fn a_collector_that_refuses_metrics_is_named() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = metrics_collector(&runtime);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str())];
    let output = otlp::run_child("a_collector_that_refuses_metrics_is_named", &variables);
    let lines = otlp::lines(&output);
    let said: Vec<_> = lines.iter().filter(|line| line["message"] == "collector takes no metrics").collect();
    assert_eq!(said.len(), 1, "{lines:?}");
    assert!(said[0]["reason"].as_str().unwrap().contains("401"), "{said:?}");
    assert!(received.lock().unwrap().is_empty());
}

/// As for spans, only the limit of the shutdown can end this.
#[test]
fn a_collector_that_never_answers_metrics_does_not_hold_up_the_stop() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let output = otlp::run_child(
        "a_collector_that_never_answers_metrics_does_not_hold_up_the_stop",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")],
    );
    silent.accept().unwrap();
    let lines = otlp::lines(&output);
    assert!(lines.iter().any(|line| line["message"] == "metrics were not flushed"), "{lines:?}");
}

#[test]
fn a_sampler_that_takes_nothing_sends_nothing() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = collector(&runtime);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20b"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let output = otlp::run_child("a_sampler_that_takes_nothing_sends_nothing", &variables);
    assert!(otlp::lines(&output).iter().all(|line| line.get("trace_id").is_none()));
    assert!(received.lock().unwrap().is_empty());
}

#[test]
fn a_collector_that_refuses_us_is_said_once() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = collector(&runtime);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")];
    let output = otlp::run_child("a_collector_that_refuses_us_is_said_once", &variables);
    assert!(received.lock().unwrap().is_empty());
    assert_lost(&otlp::lines(&output), "401");
}

#[test]
fn a_collector_that_is_down_costs_nothing() {
    if otlp::is_child() {
        return otlp::work();
    }
    let taken = otlp::port_without_listener();
    let address = format!("http://{}", taken.local_addr().unwrap());
    let output = otlp::run_child(
        "a_collector_that_is_down_costs_nothing",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)],
    );
    assert_lost(&otlp::lines(&output), "network error");
}

/// The exporter itself would wait for an hour: only the limit of the shutdown can end this.
#[test]
fn a_collector_that_never_answers_does_not_hold_up_the_stop() {
    if otlp::is_child() {
        return otlp::work();
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let output = otlp::run_child(
        "a_collector_that_never_answers_does_not_hold_up_the_stop",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")],
    );
    silent.accept().unwrap();
    let lines = otlp::lines(&output);
    assert!(lines.iter().any(|line| line["message"] == "traces were not flushed"), "{lines:?}");
    assert!(lines.iter().any(|line| line["message"] == "spans were lost" && line["spans"] == 7), "{lines:?}");
}

fn assert_lost(lines: &[serde_json::Value], reason: &str) {
    let said: Vec<_> =
        lines.iter().filter(|line| line["message"] == "collector does not answer, spans are lost").collect();
    assert_eq!(said.len(), 1, "{lines:?}");
    assert!(said[0]["reason"].as_str().unwrap().contains(reason), "{said:?}");
    assert!(lines.iter().any(|line| line["message"] == "spans were lost" && line["spans"] == 7), "{lines:?}");
}
