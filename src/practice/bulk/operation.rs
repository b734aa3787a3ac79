//! One operation of a bulk request: the same call that a client could make by itself.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::super::answer::{Answer, Content, Refusal};
use super::super::faults::Fault;
use super::super::record::View;
use super::super::resources::{self, Call};
use super::super::route::Target;
use super::super::tenant::Tenant;
use super::Outcome;

/// The call that an operation stands for.
#[derive(Debug, PartialEq)]
struct Order {
    method: Method,
    target: Target,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Carries an operation out, unless it is to go wrong, and says what became of it.
pub(super) fn carry_out(tenant: &Tenant, view: &View, operation: &Value) -> Outcome {
    let fault = tenant.dice().bulk_operation();
    let answer = match (fault, Order::read(operation)) {
        (Some(status), _) => {
            tenant.book().befell(Fault::BulkOperationError);
            Refusal::new(status, "an error on command").into()
        }
        (None, Err(refusal)) => refusal.into(),
        (None, Ok(order)) => {
            tenant.book().bulk.operations += 1;
            let Order { method, target, headers, body } = &order;
            resources::scim(tenant, view, target, &Call { method, query: "", headers, body })
        }
    };
    Outcome { failed: !answer.status.is_success(), shown: show(view, operation, &answer) }
}

impl Order {
    fn read(operation: &Value) -> Result<Self, Refusal> {
        let method = match operation["method"].as_str() {
            Some("POST") => Method::POST,
            Some("PUT") => Method::PUT,
            Some("PATCH") => Method::PATCH,
            Some("DELETE") => Method::DELETE,
            _ => return Err(Refusal::bad("invalidSyntax", "method must be POST, PUT, PATCH or DELETE")),
        };
        if method == Method::POST && operation["bulkId"].as_str().is_none_or(str::is_empty) {
            return Err(Refusal::bad("invalidSyntax", "a POST needs a bulkId"));
        }
        let target = operation["path"].as_str().and_then(|path| path.strip_prefix('/')).map(Target::parse);
        let target = target
            .filter(|target| matches!(target, Target::Collection(_) | Target::Resource(..)))
            .ok_or_else(|| {
            Refusal::bad("invalidPath", "path must lead to a user or a group, or to all of them")
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        if let Some(version) = operation["version"].as_str() {
            let version = HeaderValue::from_str(version);
            let version = version.map_err(|_| Refusal::bad("invalidValue", "version is no entity tag"))?;
            headers.insert(header::IF_MATCH, version);
        }
        let body = operation.get("data").map(|data| data.to_string().into_bytes()).unwrap_or_default();
        Ok(Self { method, target, headers, body })
    }
}

/// The result of an operation (RFC 7644 §3.7.3): only what failed carries a response.
fn show(view: &View, operation: &Value, answer: &Answer) -> Value {
    let mut shown = json!({ "method": operation["method"], "status": answer.status.as_str() });
    if let Some(id) = operation.get("bulkId") {
        shown["bulkId"] = id.clone();
    }
    let header = |name| answer.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone());
    let path = operation["path"].as_str().filter(|_| operation["method"] != "POST");
    let location = header(header::LOCATION).or_else(|| Some(format!("{}{}", view.base, path?)));
    for (name, value) in [("location", location), ("version", header(header::ETAG))] {
        if let Some(value) = value {
            shown[name] = value.into();
        }
    }
    if answer.status >= StatusCode::BAD_REQUEST
        && let Content::Scim(body) | Content::Json(body) = &answer.content
    {
        shown["response"] = body.clone();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Kind;
    use super::*;

    #[test]
    fn an_operation_is_a_call() {
        let order = Order::read(&json!({
            "method": "PATCH", "path": "/Users/a%20b", "version": "W/\"3\"", "data": {"Operations": []},
        }));
        let order = order.expect("legal");
        assert_eq!(order.method, Method::PATCH);
        assert_eq!(order.target, Target::Resource(Kind::User, "a b".to_owned()));
        assert_eq!(order.headers["if-match"], "W/\"3\"");
        assert_eq!(order.body, br#"{"Operations":[]}"#);
    }

    #[test]
    fn what_is_no_operation_is_refused_with_the_word_for_it() {
        for (operation, word) in [
            (json!({"path": "/Users"}), "invalidSyntax"),
            (json!({"method": "GET", "path": "/Users/1"}), "invalidSyntax"),
            (json!({"method": "POST", "path": "/Users", "data": {}}), "invalidSyntax"),
            (json!({"method": "POST", "path": "/Users", "bulkId": "", "data": {}}), "invalidSyntax"),
            (json!({"method": "DELETE"}), "invalidPath"),
            (json!({"method": "DELETE", "path": "Users/1"}), "invalidPath"),
            (json!({"method": "POST", "path": "/Bulk", "bulkId": "a"}), "invalidPath"),
            (json!({"method": "DELETE", "path": "/Users/1", "version": "\n"}), "invalidValue"),
        ] {
            let refusal = Order::read(&operation).expect_err(&operation.to_string());
            assert_eq!(refusal.scim_type, Some(word), "{operation}");
        }
    }
}
