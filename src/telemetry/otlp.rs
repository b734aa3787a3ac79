//! Spans over OTLP: the exporter, the queue in front of it, and its end.
//!
//! A full queue drops spans and a slow collector holds up one thread of its own: the daemon waits for
//! neither.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

use super::TelemetryError;
use super::environment::{Protocol, TraceSettings};
use super::export::{Counted, Tally, Watched};

/// How long a stop waits for the spans that are still to be sent.
pub(super) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// The running export.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    /// gRPC's connection lives here, so that it outlasts the daemon's own runtime.
    runtime: Option<Runtime>,
}

impl Traces {
    /// Starts the export. Nothing is connected yet: a collector that is down is no error.
    pub(super) fn start(settings: TraceSettings) -> Result<Self, TelemetryError> {
        let (exporter, runtime) = match settings.protocol {
            Protocol::HttpProtobuf => (over_http()?, None),
            Protocol::Grpc { tls } => over_grpc(tls).map(|(exporter, runtime)| (exporter, Some(runtime)))?,
        };
        let tally = Arc::new(Tally::default());
        let processor = BatchSpanProcessor::builder(Watched::new(exporter, Arc::clone(&tally))).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(
                Resource::builder_empty()
                    .with_detector(Box::new(TelemetryResourceDetector))
                    .with_attributes(settings.resource)
                    .build(),
            )
            .with_span_processor(Counted::new(processor, Arc::clone(&tally)))
            .build();
        Ok(Self { provider, tally, runtime })
    }

    /// What turns our spans into OpenTelemetry's.
    pub(super) fn tracer(&self) -> SdkTracer {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        self.provider.tracer_with_scope(scope)
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

fn over_http() -> Result<SpanExporter, TelemetryError> {
    let protocol = opentelemetry_otlp::Protocol::HttpBinary;
    Ok(SpanExporter::builder().with_http().with_protocol(protocol).build()?)
}

fn over_grpc(tls: bool) -> Result<(SpanExporter, Runtime), TelemetryError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("rosterd-otlp")
        .enable_all()
        .build()
        .map_err(TelemetryError::Runtime)?;
    let built = {
        let _inside = runtime.enter();
        let builder = SpanExporter::builder().with_tonic();
        // By itself the exporter trusts no certificate at all.
        if tls {
            builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()).build()
        } else {
            builder.build()
        }
    };
    match built {
        Ok(exporter) => Ok((exporter, runtime)),
        Err(error) => {
            // Dropping a runtime is not allowed where we may be: inside another one.
            runtime.shutdown_background();
            Err(error.into())
        }
    }
}
