//! Traces and metrics over OTLP/HTTP: a real receiver, a process that makes spans and gauges, and collectors that fail.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it the same way")]

mod otlp;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::runtime::Runtime;

type Received<T> = Arc<Mutex<Vec<T>>>;

/// A collector at `path` of a free port, which knows its senders by a key and keeps what `kept` finds in a request; its
/// address comes first.
fn collector<R: prost::Message + Default + 'static, T: Send + 'static>(
    runtime: &Runtime,
    path: &str,
    kept: fn(R) -> Vec<T>,
) -> (String, Received<T>) {
    let received = Received::default();
    let to = Arc::clone(&received);
    let receive = async move |headers: HeaderMap, body: Bytes| {
        if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf")
            || headers.get("x-collector-key").is_none_or(|key| key != "a b")
        {
            return StatusCode::UNAUTHORIZED;
        }
        match R::decode(body) {
            Ok(request) => {
                to.lock().unwrap().extend(kept(request));
                StatusCode::OK
            }
            Err(_) => StatusCode::BAD_REQUEST,
        }
    };
    let router = Router::new().route(path, post(receive));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

fn span_collector(runtime: &Runtime) -> (String, Received<ResourceSpans>) {
    collector(runtime, "/v1/traces", |request: ExportTraceServiceRequest| request.resource_spans)
}

fn metrics_collector(runtime: &Runtime) -> (String, Received<ResourceMetrics>) {
    collector(runtime, "/v1/metrics", |request: ExportMetricsServiceRequest| request.resource_metrics)
}

/// What the child that runs `test` logs while its collector accepts and never answers. The exporter itself would wait for an
/// hour: only the limit of the shutdown can end this.
fn lines_without_answer(test: &str) -> Vec<serde_json::Value> {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")];
    let output = otlp::run_child(test, &variables);
    silent.accept().unwrap();
    otlp::lines(&output)
}

#[test]
fn spans_arrive_over_http() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = Runtime::new().unwrap();
    let (address, received) = span_collector(&runtime);
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

#[test]
fn gauges_arrive_over_http() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let runtime = Runtime::new().unwrap();
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
    let runtime = Runtime::new().unwrap();
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
    let runtime = Runtime::new().unwrap();
    let (address, received) = metrics_collector(&runtime);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str())];
    let output = otlp::run_child("a_collector_that_refuses_metrics_is_named", &variables);
    let lines = otlp::lines(&output);
    let said: Vec<_> = lines.iter().filter(|line| line["message"] == "collector takes no metrics").collect();
    assert_eq!(said.len(), 1, "{lines:?}");
    assert!(said[0]["reason"].as_str().unwrap().contains("401"), "{said:?}");
    assert!(received.lock().unwrap().is_empty());
}

#[test]
fn a_collector_that_never_answers_metrics_does_not_hold_up_the_stop() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let lines = lines_without_answer("a_collector_that_never_answers_metrics_does_not_hold_up_the_stop");
    assert!(lines.iter().any(|line| line["message"] == "metrics were not flushed"), "{lines:?}");
}

#[test]
fn a_sampler_that_takes_nothing_sends_nothing() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = Runtime::new().unwrap();
    let (address, received) = span_collector(&runtime);
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
    let runtime = Runtime::new().unwrap();
    let (address, received) = span_collector(&runtime);
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

#[test]
fn a_collector_that_never_answers_does_not_hold_up_the_stop() {
    if otlp::is_child() {
        return otlp::work();
    }
    let lines = lines_without_answer("a_collector_that_never_answers_does_not_hold_up_the_stop");
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
