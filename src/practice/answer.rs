//! What the tenant says: an answer with a body in SCIM's form, or a refusal (RFC 7644 §3.12).

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// The schema of an error body.
const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// None at all.
    Empty,
    /// A SCIM resource, list or error.
    Scim(Value),
    /// Plain JSON: OAuth and the controls of the practice tenant.
    Json(Value),
    /// What a gateway in front of a tenant says.
    Html(String),
}

/// One answer, before it is put on the wire.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) content: Content,
}

impl Answer {
    /// An answer without headers of its own.
    pub(super) const fn new(status: StatusCode, content: Content) -> Self {
        Self { status, headers: Vec::new(), content }
    }

    /// A 200 with a SCIM body.
    pub(super) const fn scim(body: Value) -> Self {
        Self::new(StatusCode::OK, Content::Scim(body))
    }

    /// What a gateway says when the tenant behind it kept silent.
    pub(super) fn gateway_timeout() -> Self {
        let page = "<html><body><h1>504 Gateway Time-out</h1></body></html>";
        Self::new(StatusCode::GATEWAY_TIMEOUT, Content::Html(page.to_owned()))
    }

    /// The same answer with one more header.
    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The body as bytes, with its media type; `None` when there is none.
    pub(super) fn encode(&self) -> Option<(HeaderValue, Vec<u8>)> {
        let json = |body: &Value| body.to_string().into_bytes();
        match &self.content {
            Content::Empty => None,
            Content::Scim(body) => Some((HeaderValue::from_static("application/scim+json"), json(body))),
            Content::Json(body) => Some((HeaderValue::from_static("application/json"), json(body))),
            Content::Html(page) => Some((HeaderValue::from_static("text/html"), page.clone().into_bytes())),
        }
    }
}

/// How the body of a refusal looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 7644 §3.12.
    Scim,
    /// A list of `errors`, as the documents have it.
    Errors,
}

/// A call that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {detail}")]
pub(super) struct Refusal {
    pub(super) form: Form,
    pub(super) status: StatusCode,
    /// One of the words of RFC 7644 table 9.
    pub(super) scim_type: Option<&'static str>,
    pub(super) detail: String,
}

impl Refusal {
    /// A refusal without a `scimType`.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { form: Form::Scim, status, scim_type: None, detail: detail.into() }
    }

    /// A 400 with a `scimType`.
    pub(super) fn bad(scim_type: &'static str, detail: impl Into<String>) -> Self {
        Self { scim_type: Some(scim_type), ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// 400 for the path of a PATCH that leads nowhere, in the form of the documents.
    pub(super) fn no_such_path(path: &str) -> Self {
        let detail = format!("Invalid SCIM patch operation: path '{path}' does not exist.");
        Self { form: Form::Errors, ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// 409 for a name that is taken.
    pub(super) fn taken(attribute: &str) -> Self {
        let detail = format!("{attribute} is already in use by another resource");
        Self { scim_type: Some("uniqueness"), ..Self::new(StatusCode::CONFLICT, detail) }
    }

    /// 404 for a resource that is not there.
    pub(super) fn missing(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} {id} not found"))
    }

    /// 401, with the challenge that RFC 6750 §3 asks for.
    pub(super) fn unauthorized() -> Answer {
        Answer::from(Self::new(StatusCode::UNAUTHORIZED, "the access token is missing, unknown or expired"))
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"practice\", error=\"invalid_token\"")
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        if refusal.form == Form::Errors {
            let error = json!({ "detail": refusal.detail, "status": refusal.status.as_str() });
            return Self::new(refusal.status, Content::Json(json!({ "errors": [error] })));
        }
        let mut body = json!({
            "schemas": [ERROR_SCHEMA],
            "status": refusal.status.as_str(),
            "detail": refusal.detail,
        });
        if let Some(scim_type) = refusal.scim_type {
            body["scimType"] = scim_type.into();
        }
        Self::new(refusal.status, Content::Scim(body))
    }
}
