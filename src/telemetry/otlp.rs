//! Spans and metrics over OTLP: the exporters, what stands in front of them, and their end.
//!
//! A full queue drops spans and a slow collector holds up a thread of its own for each signal: the daemon
//! waits for neither.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

use super::TelemetryError;
use super::environment::Protocol;
use super::export::{Counted, Tally, Watched, WatchedMetrics};
use super::metrics::Gauges;

/// How long a stop waits for what is still to be sent. The SDK has the same limit for metrics, whatever it is told.
pub(super) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

const HTTP: opentelemetry_otlp::Protocol = opentelemetry_otlp::Protocol::HttpBinary;

/// The running export of traces.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    /// gRPC's connection lives here, so that it outlasts the daemon's own runtime.
    runtime: Option<Runtime>,
}

impl Traces {
    /// Starts the export. Nothing is connected yet: a collector that is down is no error.
    pub(super) fn start(protocol: Protocol, resource: Resource) -> Result<Self, TelemetryError> {
        let (exporter, runtime) = match protocol {
            Protocol::HttpProtobuf => {
                (SpanExporter::builder().with_http().with_protocol(HTTP).build()?, None)
            }
            Protocol::Grpc { tls: true } => {
                inside_a_runtime(|| SpanExporter::builder().with_tonic().with_tls_config(trusting()).build())?
            }
            Protocol::Grpc { tls: false } => {
                inside_a_runtime(|| SpanExporter::builder().with_tonic().build())?
            }
        };
        let tally = Arc::new(Tally::default());
        let processor = BatchSpanProcessor::builder(Watched::new(exporter, Arc::clone(&tally))).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(Counted::new(processor, Arc::clone(&tally)))
            .build();
        Ok(Self { provider, tally, runtime })
    }

    /// What turns our spans into OpenTelemetry's.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer_with_scope(scope())
    }

    /// Sends what is waiting, for at most `limit`, and says how much was lost since the start.
    pub(super) fn stop(self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            warn!(reason = %error, "traces were not flushed");
        }
        let lost = self.tally.lost();
        if lost > 0 {
            warn!(spans = lost, "spans were lost");
        }
        if let Some(runtime) = self.runtime {
            runtime.shutdown_background();
        }
    }
}

/// The running export of metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    provider: SdkMeterProvider,
    gauges: Gauges,
    /// As for [`Traces`].
    runtime: Option<Runtime>,
}

impl Metrics {
    /// Starts the export. Nothing is connected yet, and nothing is sent before something is measured.
    pub(super) fn start(protocol: Protocol, resource: Resource) -> Result<Self, TelemetryError> {
        // What is not measured any more, as of a tenant that was taken out, is not sent again and again.
        let builder = || MetricExporter::builder().with_temporality(Temporality::Delta);
        let (exporter, runtime) = match protocol {
            Protocol::HttpProtobuf => (builder().with_http().with_protocol(HTTP).build()?, None),
            Protocol::Grpc { tls: true } => {
                inside_a_runtime(|| builder().with_tonic().with_tls_config(trusting()).build())?
            }
            Protocol::Grpc { tls: false } => inside_a_runtime(|| builder().with_tonic().build())?,
        };
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(PeriodicReader::builder(WatchedMetrics::new(exporter)).build())
            .build();
        let gauges = Gauges::new(&provider.meter_with_scope(scope()));
        Ok(Self { provider, gauges, runtime })
    }

    /// What is measured.
    pub(super) fn gauges(&self) -> Gauges {
        self.gauges.clone()
    }

    /// Sends what was measured last, for at most `limit`.
    pub(super) fn stop(self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            warn!(reason = %error, "metrics were not flushed");
        }
        if let Some(runtime) = self.runtime {
            runtime.shutdown_background();
        }
    }
}

/// Who we are, for both signals.
pub(super) fn resource(attributes: Vec<KeyValue>) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// By itself an exporter trusts no certificate at all.
fn trusting() -> ClientTlsConfig {
    ClientTlsConfig::new().with_enabled_roots()
}

/// Builds a gRPC exporter, and the runtime that its connection lives in.
fn inside_a_runtime<E>(
    build: impl FnOnce() -> Result<E, ExporterBuildError>,
) -> Result<(E, Option<Runtime>), TelemetryError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("rosterd-otlp")
        .enable_all()
        .build()
        .map_err(TelemetryError::Runtime)?;
    let outcome = {
        let _inside = runtime.enter();
        build()
    };
    match outcome {
        Ok(exporter) => Ok((exporter, Some(runtime))),
        Err(error) => {
            // Dropping a runtime is not allowed where we may be: inside another one.
            runtime.shutdown_background();
            Err(error.into())
        }
    }
}
