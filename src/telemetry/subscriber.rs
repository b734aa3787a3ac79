//! From events to lines: the layer that writes the log, and the stack of layers as a whole.
//!
//! It neither panics nor reports when a line cannot be written: there is nowhere left to say so.

use std::io::Write as _;
use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::dispatcher::{Dispatch, WeakDispatch};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter as _;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::filter::{self, LogFilter};
use super::line::{Fields, Line, Style, Value};
use super::{field, redact};
use crate::clock::Clock;

/// Puts the layers together. Without a tracer there is no OpenTelemetry layer at all.
pub(super) fn build(lines: Lines, filter: LogFilter, tracer: Option<SdkTracer>) -> Dispatch {
    let most = filter.most();
    let log_filter = filter_fn(move |metadata| filter.passes(metadata)).with_max_level_hint(most);
    let Some(tracer) = tracer else {
        return tracing_subscriber::registry().with(lines.with_filter(log_filter)).into();
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(filter::is_traced));
    tracing_subscriber::registry().with(spans).with(lines.with_filter(log_filter)).into()
}

/// Writes one line for each event.
pub(super) struct Lines {
    writer: BoxMakeWriter,
    style: Style,
    clock: Clock,
    /// The stack that it is part of; it knows which OpenTelemetry span belongs to which of ours.
    stack: OnceLock<WeakDispatch>,
}

/// What a span hands down to the lines inside it, under the names that lines use.
struct Inherited(Fields);

impl Lines {
    pub(super) fn new(writer: BoxMakeWriter, style: Style, clock: Clock) -> Self {
        Self { writer, style, clock, stack: OnceLock::new() }
    }

    fn span_context(&self, id: &Id) -> Option<SpanContext> {
        let stack = self.stack.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(id, &stack)?;
        Some(context.span().span_context().clone()).filter(|span| span.is_valid() && span.is_sampled())
    }
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, stack: &Dispatch) {
        // A second call would come with the same stack.
        let _ = self.stack.set(stack.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        hand_down(context.span(id), fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        hand_down(context.span(id), fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = event.metadata().target();
        if !filter::is_own(target) {
            hide(&mut fields);
        }
        let message = match fields.take("message") {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Inherited(outer)) = span.extensions().get() {
                fields.inherit(outer);
            }
        }
        let span = context.event_span(event).and_then(|span| self.span_context(&span.id()));
        let line = Line {
            at: self.clock.now(),
            level: *event.metadata().level(),
            target,
            message: &message,
            fields: &fields,
            span: span.as_ref(),
        };
        // A closed or full stdout must not stop the daemon.
        let _ = self.writer.make_writer().write_all(&line.render(self.style));
    }
}

/// Keeps of a span's fields those that its lines carry.
fn hand_down<S: for<'span> LookupSpan<'span>>(span: Option<SpanRef<'_, S>>, fields: Fields) {
    let Some(span) = span else { return };
    let mut extensions = span.extensions_mut();
    for (name, value) in fields.0 {
        let Some((_, short)) = field::INHERITED.iter().find(|(long, _)| *long == name) else { continue };
        match extensions.get_mut::<Inherited>() {
            Some(Inherited(known)) => known.set(*short, value),
            None => extensions.insert(Inherited(Fields(vec![((*short).into(), value)]))),
        }
    }
}

/// What another crate says is not of our writing: nothing personal may slip through.
fn hide(fields: &mut Fields) {
    for (_, value) in &mut fields.0 {
        if let Value::Text(text) = value {
            *text = redact::text(text).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::{debug, error_span, info, info_span, trace, warn};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(level: &str, tracer: Option<SdkTracer>, work: impl FnOnce()) -> Vec<serde_json::Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = Lines::new(
            BoxMakeWriter::new(move || writer.clone()),
            Style::Json,
            Clock::manual(Timestamp::from_millis(1)),
        );
        let stack = build(lines, filter::parse(level).unwrap(), tracer);
        tracing::dispatcher::with_default(&stack, work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_carry_the_fields_of_their_spans_and_keep_their_own() {
        let lines = lines_of("warn", None, || {
            let pass = info_span!("pass", tenant = "acme", pass.id = "p-1", pass.kind = "delta");
            let operation = info_span!(parent: &pass, "operation", user.id = "user-0001", operation.id = tracing::field::Empty);
            operation.record("operation.id", 7_u64);
            operation.in_scope(|| warn!(tenant = "other", status = 503, "attempt failed"));
            warn!(parent: &pass, "incomplete");
            info!("below the level");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            lines[0],
            serde_json::json!({
                "timestamp": "1970-01-01T00:00:00.001Z", "level": "WARN", "target": module_path!(),
                "message": "attempt failed", "tenant": "other", "status": 503,
                "user": "user-0001", "operation": 7, "pass": "p-1",
            })
        );
        assert_eq!(lines[1]["tenant"], "acme");
        assert!(lines[1].get("trace_id").is_none(), "tracing is off");
    }

    #[test]
    fn lines_inside_a_sampled_span_carry_its_ids() {
        let provider = SdkTracerProvider::builder().build();
        let mut expected = None;
        let lines = lines_of("info", Some(provider.tracer("test")), || {
            info!("outside");
            let span = info_span!("pass", tenant = "acme");
            span.in_scope(|| {
                expected = super::super::context::traceparent();
                info!("inside");
            });
            info!(parent: &span, "by hand");
        });
        assert!(lines[0].get("trace_id").is_none());
        for line in &lines[1..] {
            let ids =
                format!("00-{}-{}-01", line["trace_id"].as_str().unwrap(), line["span_id"].as_str().unwrap());
            assert_eq!(Some(ids), expected);
        }
    }

    #[test]
    fn lines_inside_a_span_that_is_not_sampled_carry_no_ids() {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        let lines = lines_of("info", Some(provider.tracer("test")), || {
            info_span!("pass").in_scope(|| info!("inside"));
        });
        assert!(lines[0].get("trace_id").is_none(), "{lines:?}");
    }

    #[test]
    fn other_crates_are_held_at_warnings_and_stripped_of_what_is_personal() {
        let lines = lines_of("trace", None, || {
            let foreign = error_span!(target: "hyper", "connection", tenant = "theirs");
            let _entered = foreign.enter();
            trace!(target: "hyper::proto", "Authorization: Bearer abc");
            debug!(target: "h2", "frame");
            info!(target: "sqlx::query", "SELECT");
            warn!(target: "sqlx::query", from = "user-0001@example.com", "slow: Bearer abcdefgh");
            trace!("our own");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0]["from"], "[mail]");
        assert_eq!(lines[0]["message"], "slow: Bearer [token]");
        assert!(lines[1].get("tenant").is_none(), "a foreign span hands nothing down");
    }

    #[test]
    fn a_writer_that_fails_stops_nothing() {
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let lines = Lines::new(BoxMakeWriter::new(|| Closed), Style::Json, Clock::system());
        let stack = build(lines, filter::parse("info").unwrap(), None);
        let went_on = tracing::dispatcher::with_default(&stack, || {
            warn!("nobody reads this");
            true
        });
        assert!(went_on);
    }
}
