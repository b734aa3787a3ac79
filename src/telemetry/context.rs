//! The trace context as it is kept on an operation's row: W3C `traceparent` text
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).
//!
//! All of it does nothing while tracing is off.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, debug};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};

const HEADER: &str = "traceparent";

/// The context of the current span; `None` outside a span and while tracing is off.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags()))
}

/// Makes `span` a child of a stored context. It has to come before the span is entered for the first time.
/// Text that is no `traceparent` is passed over: the span then keeps the parent it was made with.
pub fn set_parent(span: &Span, traceparent: &str) {
    let Some(parent) = parse(traceparent) else { return };
    match span.set_parent(Context::new().with_remote_span_context(parent)) {
        Ok(()) | Err(SetParentError::LayerNotFound | SetParentError::SpanDisabled) => {}
        Err(SetParentError::AlreadyStarted) => debug!("span has started already and keeps its parent"),
    }
}

/// Names a stored context as related to `span`, without making it the parent.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(other) = parse(traceparent) {
        span.add_link(other);
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    struct OneHeader<'a>(&'a str);
    impl Extractor for OneHeader<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            (key == HEADER).then_some(self.0)
        }

        fn keys(&self) -> Vec<&str> {
            vec![HEADER]
        }
    }
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &OneHeader(traceparent));
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_contexts_are_taken() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = parse(text).unwrap();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.span_id().to_string(), "b7ad6b7169203331");
        assert!(span.is_sampled() && span.is_remote());
        for text in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "é"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn nothing_happens_while_tracing_is_off() {
        let span = tracing::info_span!("operation");
        set_parent(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        link(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(span.in_scope(traceparent), None);
    }
}
