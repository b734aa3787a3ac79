//! Keeps count of the spans on their way out, and says once when they, or the metrics, no longer arrive.
//!
//! The SDK would report each batch that fails; a collector that is down for a night is one line here, and
//! another one when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tracing::{info, warn};

/// What became of the spans since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ended: AtomicU64,
    arrived: AtomicU64,
    failing: AtomicBool,
}

impl Tally {
    /// Spans that ended and have not arrived: what the queue had no room for, what the collector did not
    /// take, and what is still waiting.
    pub(super) fn lost(&self) -> u64 {
        self.ended.load(Ordering::Relaxed).saturating_sub(self.arrived.load(Ordering::Relaxed))
    }
}

/// Counts spans as they end.
#[derive(Debug)]
pub(super) struct Counted<P> {
    inner: P,
    tally: Arc<Tally>,
}

impl<P> Counted<P> {
    pub(super) fn new(inner: P, tally: Arc<Tally>) -> Self {
        Self { inner, tally }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.tally.ended.fetch_add(1, Ordering::Relaxed);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(limit)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts spans as they arrive.
#[derive(Debug)]
pub(super) struct Watched<E> {
    inner: E,
    tally: Arc<Tally>,
}

impl<E> Watched<E> {
    pub(super) fn new(inner: E, tally: Arc<Tally>) -> Self {
        Self { inner, tally }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = self.inner.export(batch).await;
        match &result {
            Ok(()) => {
                self.tally.arrived.fetch_add(spans, Ordering::Relaxed);
                if self.tally.failing.swap(false, Ordering::Relaxed) {
                    info!("collector answers again");
                }
            }
            Err(error) => {
                if !self.tally.failing.swap(true, Ordering::Relaxed) {
                    warn!(reason = %error, "collector does not answer, spans are lost");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(limit)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Watches whether metrics arrive. What did not is measured anew the next time.
#[derive(Debug)]
pub(super) struct WatchedMetrics<E> {
    inner: E,
    failing: AtomicBool,
}

impl<E> WatchedMetrics<E> {
    pub(super) fn new(inner: E) -> Self {
        Self { inner, failing: AtomicBool::new(false) }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for WatchedMetrics<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        match &result {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    info!("collector takes metrics again");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!(reason = %error, "collector takes no metrics");
                }
            }
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(limit)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
