//! The standard `OTEL_*` variables, read and checked: which signals are exported, and how.
//!
//! The exporter reads some of them again by itself (endpoint, headers, time-out, compression, batching),
//! and so does the SDK (sampler, limits). Where those would pass over a mistake in silence, it is named here.

use std::ffi::OsString;

use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use percent_encoding::percent_decode_str;
use url::Url;

use super::TelemetryError;

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// How a signal travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP/gRPC; `tls` as the endpoint asks for it.
    Grpc { tls: bool },
    /// OTLP/HTTP with protobuf bodies.
    HttpProtobuf,
}

/// What the export needs and the exporters do not read by themselves. At least one signal is on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExportSettings {
    /// `None`: no traces.
    pub(super) traces: Option<Protocol>,
    /// `None`: no metrics.
    pub(super) metrics: Option<Protocol>,
    /// Who we are, later entries winning; the same for both signals.
    pub(super) resource: Vec<KeyValue>,
}

/// The variables of one signal. Of two names the first is the signal's own, and wins.
struct Signal {
    /// In words.
    word: &'static str,
    exporter: &'static str,
    endpoints: [&'static str; 2],
    protocols: [&'static str; 2],
    insecure: [&'static str; 2],
    compressions: [&'static str; 2],
    /// Whole numbers above 0.
    numbers: &'static [&'static str],
    certificates: [&'static str; 6],
}

const TRACES: Signal = Signal {
    word: "traces",
    exporter: "OTEL_TRACES_EXPORTER",
    endpoints: ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    protocols: ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
    insecure: ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"],
    compressions: ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
    numbers: &[
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    ],
    certificates: [
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ],
};

const METRICS: Signal = Signal {
    word: "metrics",
    exporter: "OTEL_METRICS_EXPORTER",
    endpoints: ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    protocols: ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
    insecure: ["OTEL_EXPORTER_OTLP_METRICS_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"],
    compressions: ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
    numbers: &[
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_METRIC_EXPORT_INTERVAL",
    ],
    certificates: [
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ],
};

const RATIO_SAMPLERS: [&str; 2] = ["traceidratio", "parentbased_traceidratio"];
const SAMPLERS: [&str; 4] = ["always_on", "always_off", "parentbased_always_on", "parentbased_always_off"];

/// The settings of both signals; `None` when both are off.
pub(super) fn read(lookup: Lookup<'_>) -> Result<Option<ExportSettings>, TelemetryError> {
    if value(lookup, "OTEL_SDK_DISABLED")?.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let traces = signal(lookup, &TRACES)?;
    if traces.is_some() {
        check_sampler(lookup)?;
    }
    let metrics = signal(lookup, &METRICS)?;
    if traces.is_none() && metrics.is_none() {
        return Ok(None);
    }
    Ok(Some(ExportSettings { traces, metrics, resource: resource(lookup)? }))
}

/// How a signal travels; `None` when it is off.
fn signal(lookup: Lookup<'_>, signal: &Signal) -> Result<Option<Protocol>, TelemetryError> {
    match value(lookup, signal.exporter)?.as_deref() {
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(_) => return Err(fault(signal.exporter, "has to be otlp or none")),
    }
    let Some((name, endpoint)) = first(lookup, &signal.endpoints)? else { return Ok(None) };
    let protocol = protocol(lookup, signal, name, &endpoint)?;
    check_export(lookup, signal)?;
    Ok(Some(protocol))
}

fn protocol(
    lookup: Lookup<'_>,
    signal: &Signal,
    name: &'static str,
    endpoint: &str,
) -> Result<Protocol, TelemetryError> {
    let grpc = match first(lookup, &signal.protocols)? {
        None => false,
        Some((name, text)) => match text.as_str() {
            "grpc" => true,
            "http/protobuf" => false,
            _ => return Err(fault(name, "has to be grpc or http/protobuf (the default)")),
        },
    };
    // gRPC endpoints may be HOST:PORT alone.
    let complete = if grpc && !endpoint.contains("://") {
        let insecure =
            first(lookup, &signal.insecure)?.is_some_and(|(_, text)| text.eq_ignore_ascii_case("true"));
        format!("{}://{endpoint}", if insecure { "http" } else { "https" })
    } else {
        endpoint.to_owned()
    };
    let url =
        Url::parse(&complete).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| fault(name, &no_url(signal, grpc)))?;
    Ok(if grpc { Protocol::Grpc { tls: url.scheme() == "https" } } else { Protocol::HttpProtobuf })
}

/// The specification asks for a URL; gRPC endpoints may also be what a gRPC client takes.
fn no_url(signal: &Signal, grpc: bool) -> String {
    let (word, [protocol, _], exporter) = (signal.word, signal.protocols, signal.exporter);
    if grpc {
        return format!("has to be a URL, such as http://collector:4317, or HOST:PORT, for {word}");
    }
    format!(
        "has to be a URL, such as http://collector:4318, because {word} go there over http/protobuf; HOST:PORT is enough for \
         grpc, which {protocol}=grpc asks for, and {exporter}=none leaves {word} out"
    )
}

fn check_export(lookup: Lookup<'_>, signal: &Signal) -> Result<(), TelemetryError> {
    if let Some((name, text)) = first(lookup, &signal.compressions)?
        && !matches!(text.to_ascii_lowercase().as_str(), "none" | "gzip")
    {
        return Err(fault(name, "has to be gzip or none"));
    }
    for name in signal.numbers {
        if value(lookup, name)?.is_some_and(|text| !text.parse::<u32>().is_ok_and(|number| number > 0)) {
            return Err(fault(name, "has to be a whole number above 0 (times are in milliseconds)"));
        }
    }
    for name in signal.certificates {
        if value(lookup, name)?.is_some() {
            return Err(fault(name, "is not supported; SSL_CERT_FILE names a file of trusted certificates"));
        }
    }
    Ok(())
}

fn check_sampler(lookup: Lookup<'_>) -> Result<(), TelemetryError> {
    let Some(sampler) = value(lookup, "OTEL_TRACES_SAMPLER")? else { return Ok(()) };
    if RATIO_SAMPLERS.contains(&sampler.as_str()) {
        let ratio = value(lookup, "OTEL_TRACES_SAMPLER_ARG")?.and_then(|text| text.parse::<f64>().ok());
        return match ratio {
            Some(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
            _ => Err(fault("OTEL_TRACES_SAMPLER_ARG", "has to be a number from 0 to 1 for that sampler")),
        };
    }
    if SAMPLERS.contains(&sampler.as_str()) {
        return Ok(());
    }
    let known = [SAMPLERS.as_slice(), &RATIO_SAMPLERS].concat().join(", ");
    Err(fault("OTEL_TRACES_SAMPLER", &format!("has to be one of {known}")))
}

/// Ours first, so that `OTEL_RESOURCE_ATTRIBUTES` wins over it, and `OTEL_SERVICE_NAME` over both.
fn resource(lookup: Lookup<'_>) -> Result<Vec<KeyValue>, TelemetryError> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let instance = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let mut attributes = vec![
        KeyValue::new(SERVICE_NAME, env!("CARGO_PKG_NAME")),
        KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        KeyValue::new(SERVICE_INSTANCE_ID, instance.to_string()),
    ];
    let text = value(lookup, NAME)?.unwrap_or_default();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let wrong = || fault(NAME, "has to be key=value pairs with commas between, percent-encoded");
        let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
        let key = key.trim();
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| wrong())?;
        if key.is_empty() {
            return Err(wrong());
        }
        attributes.push(KeyValue::new(key.to_owned(), value.into_owned()));
    }
    if let Some(name) = value(lookup, "OTEL_SERVICE_NAME")? {
        attributes.push(KeyValue::new(SERVICE_NAME, name));
    }
    Ok(attributes)
}

/// The first of some variables that is set, with its name.
fn first(
    lookup: Lookup<'_>,
    names: &[&'static str],
) -> Result<Option<(&'static str, String)>, TelemetryError> {
    for name in names {
        if let Some(text) = value(lookup, name)? {
            return Ok(Some((name, text)));
        }
    }
    Ok(None)
}

/// A variable; an empty one counts as unset, as the specification has it.
fn value(lookup: Lookup<'_>, name: &'static str) -> Result<Option<String>, TelemetryError> {
    let Some(raw) = lookup(name) else { return Ok(None) };
    let text = raw.into_string().map_err(|_| fault(name, "is not valid UTF-8"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn fault(name: &'static str, reason: &str) -> TelemetryError {
    TelemetryError::Variable { name, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn read_with(variables: &[(&str, &str)]) -> Result<Option<ExportSettings>, TelemetryError> {
        read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| text.into()))
    }

    #[test]
    fn both_signals_are_off_unless_an_endpoint_is_set() {
        for variables in [
            vec![],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            vec![ON, ("OTEL_SDK_DISABLED", "TRUE")],
            vec![ON, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
        ] {
            assert_eq!(read_with(&variables).unwrap(), None, "{variables:?}");
        }
    }

    #[test]
    fn each_signal_is_on_for_itself() {
        let on = |variables: &[_]| {
            read_with(variables).unwrap().map(|read| (read.traces.is_some(), read.metrics.is_some()))
        };
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:4318/v1/traces");
        let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://[::1]:4318/v1/metrics");
        assert_eq!(on(&[ON]), Some((true, true)));
        assert_eq!(on(&[traces]), Some((true, false)));
        assert_eq!(on(&[metrics]), Some((false, true)));
        assert_eq!(on(&[traces, metrics]), Some((true, true)));
        assert_eq!(on(&[ON, ("OTEL_TRACES_EXPORTER", "none")]), Some((false, true)));
        assert_eq!(on(&[ON, ("OTEL_METRICS_EXPORTER", "none")]), Some((true, false)));
        // What is off is not looked at.
        assert_eq!(on(&[traces, ("OTEL_METRIC_EXPORT_INTERVAL", "often")]), Some((true, false)));
        assert_eq!(on(&[metrics, ("OTEL_TRACES_SAMPLER", "sometimes")]), Some((false, true)));
    }

    #[test]
    fn the_protocol_is_http_unless_grpc_is_asked_for() {
        let protocol = |variables: &[_]| read_with(variables).unwrap().unwrap().traces.unwrap();
        assert_eq!(protocol(&[ON]), Protocol::HttpProtobuf);
        assert_eq!(protocol(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Protocol::Grpc { tls: false });
        assert_eq!(
            protocol(&[
                ON,
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
            ]),
            Protocol::HttpProtobuf
        );
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(protocol(&[bare, grpc]), Protocol::Grpc { tls: true });
        assert_eq!(
            protocol(&[bare, grpc, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]),
            Protocol::Grpc { tls: false }
        );
        let own = [
            ON,
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true"),
        ];
        let read = read_with(&own).unwrap().unwrap();
        assert_eq!(read.traces, Some(Protocol::Grpc { tls: false }));
        assert_eq!(read.metrics, Some(Protocol::HttpProtobuf), "the traces' own variable is not its own");
    }

    #[test]
    fn a_mistake_names_its_variable_and_keeps_the_value_to_itself() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "udp"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hunter2://collector"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "udp"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "hunter2://collector"),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/etc/key.pem"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_RESOURCE_ATTRIBUTES", "nonsense"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
        ] {
            let fault = read_with(&[ON, (name, text)]).unwrap_err().to_string();
            assert!(fault.contains(&format!("{name}:")), "{fault}");
            assert!(!fault.contains(&format!(": {text}")), "{fault}");
        }
        let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
        for argument in ["", "1.5", "NaN", "half"] {
            let fault = read_with(&[ON, ratio, ("OTEL_TRACES_SAMPLER_ARG", argument)]).unwrap_err();
            assert!(fault.to_string().contains("OTEL_TRACES_SAMPLER_ARG"), "{fault}");
        }
        assert!(read_with(&[ON, ratio, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]).unwrap().is_some());
    }

    #[test]
    fn an_endpoint_that_one_signal_cannot_use_names_the_ways_out() {
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
        let fault = read_with(&[bare, traces]).unwrap_err().to_string();
        let ways = [
            "metrics",
            "http://collector:4318",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc",
            "OTEL_METRICS_EXPORTER=none",
        ];
        assert!(ways.iter().all(|way| fault.contains(way)), "{fault}");
        for way in [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"), ("OTEL_METRICS_EXPORTER", "none")] {
            assert!(read_with(&[bare, traces, way]).is_ok(), "{way:?}");
        }
    }

    #[test]
    fn the_resource_says_who_we_are() {
        let last = |variables: &[(&str, &str)], key: &str| {
            let resource = read_with(variables).unwrap().unwrap().resource;
            resource.iter().rev().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
        };
        assert_eq!(last(&[ON], "service.name").unwrap(), "rosterd");
        assert_eq!(last(&[ON], "service.version").unwrap(), env!("CARGO_PKG_VERSION"));
        assert_eq!(last(&[ON], "service.instance.id").unwrap().len(), 36);
        let attributes =
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a, deployment.environment.name=test%2C%20eu");
        assert_eq!(last(&[ON, attributes], "service.name").unwrap(), "a");
        assert_eq!(last(&[ON, attributes], "deployment.environment.name").unwrap(), "test, eu");
        assert_eq!(last(&[ON, attributes, ("OTEL_SERVICE_NAME", "b")], "service.name").unwrap(), "b");
    }
}
