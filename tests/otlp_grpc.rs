//! Traces and metrics over OTLP/gRPC: a real receiver, a process that makes spans and gauges, and collectors that fail.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it the same way")]

mod otlp;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let metadata = request.metadata();
        if metadata.get("x-collector-key").is_none_or(|key| key != "a b") {
            return Err(Status::unauthenticated("no key"));
        }
        if metadata.get("grpc-encoding").is_none_or(|encoding| encoding != "gzip") {
            return Err(Status::invalid_argument("not compressed"));
        }
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_arrive_over_grpc() {
    if otlp::is_child() {
        return otlp::work();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let collector = Collector::default();
    let incoming = runtime.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()) }).unwrap();
    // Without a scheme, as gRPC endpoints are often written.
    let address = incoming.local_addr().unwrap().to_string();
    let service = TraceServiceServer::new(collector.clone()).accept_compressed(CompressionEncoding::Gzip);
    runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let output = otlp::run_child(
        "spans_arrive_over_grpc",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            // Theirs would be HTTP, for which that address is none.
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test%2C%20eu"),
        ],
    );
    let lines = otlp::lines(&output);
    let received = collector.0.lock().unwrap();
    assert!(!received.is_empty(), "{lines:?}");
    otlp::assert_arrived(&received, &lines);
}

#[derive(Clone, Default)]
struct MetricsCollector(Arc<Mutex<Vec<ResourceMetrics>>>);

#[tonic::async_trait]
impl MetricsService for MetricsCollector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_metrics);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[test]
fn gauges_arrive_over_grpc() {
    if otlp::is_child() {
        return otlp::measure();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let collector = MetricsCollector::default();
    let incoming = runtime.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()) }).unwrap();
    let address = format!("http://{}", incoming.local_addr().unwrap());
    let service = MetricsServiceServer::new(collector.clone());
    runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let variables = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ];
    let lines = otlp::lines(&otlp::run_child("gauges_arrive_over_grpc", &variables));
    assert_eq!(lines.len(), 1, "nothing went wrong: {lines:?}");
    otlp::assert_measured(&collector.0.lock().unwrap());
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
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    );
    let lines = otlp::lines(&output);
    let lost = lines.iter().find(|line| line["message"] == "spans were lost").unwrap();
    assert_eq!(lost["spans"], 7, "{lines:?}");
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
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
        ],
    );
    silent.accept().unwrap();
    let lines = otlp::lines(&output);
    assert!(lines.iter().any(|line| line["message"] == "traces were not flushed"), "{lines:?}");
}
