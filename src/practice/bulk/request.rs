//! What a bulk request asks for (RFC 7644 §3.7), and how far the work on it has got. Pure.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::super::answer::Refusal;
use super::Outcome;

const REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// A bulk request, its operations unread: one that is wrong does not spoil the others.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// After so many errors the rest is left undone.
    fail_on_errors: Option<u64>,
    operations: Vec<Value>,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// `schemas` may be missing, and `failOnErrors` may be false: the documents have it so.
    pub(super) fn read(body: &Map<String, Value>, max_operations: usize) -> Result<Self, Refusal> {
        let schemas = body.get("schemas").and_then(Value::as_array);
        if schemas.is_some_and(|schemas| !schemas.iter().any(|schema| schema == REQUEST_SCHEMA)) {
            return Err(Refusal::bad("invalidSyntax", format!("schemas must contain {REQUEST_SCHEMA}")));
        }
        let fail_on_errors = match body.get("failOnErrors") {
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(1),
            Some(number) => Some(number.as_u64().filter(|number| *number > 0).ok_or_else(|| {
                Refusal::bad("invalidValue", "failOnErrors must be a number above 0, or false")
            })?),
        };
        let operations = body.get("Operations").and_then(Value::as_array).filter(|list| !list.is_empty());
        let operations = operations.ok_or_else(|| Refusal::bad("invalidSyntax", "Operations are missing"))?;
        if operations.len() > max_operations {
            let why = format!("The number of operations exceeds the maxOperations ({max_operations}).");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let mut ids = BTreeSet::new();
        for operation in operations {
            if !operation.is_object() {
                return Err(Refusal::bad("invalidSyntax", "Operations must be objects"));
            }
            if let Some(id) = operation["bulkId"].as_str().filter(|id| !ids.insert(*id)) {
                return Err(Refusal::bad("invalidValue", format!("the bulkId {id} is there twice")));
            }
        }
        Ok(Self { fail_on_errors, operations: operations.clone() })
    }
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Work {
    request: Request,
    results: Vec<Value>,
    errors: u64,
}

impl Work {
    pub(super) const fn new(request: Request) -> Self {
        Self { request, results: Vec::new(), errors: 0 }
    }

    /// Carries operations out until `goal` of them are done, or as many failed as the client bears.
    pub(super) fn advance(&mut self, goal: usize, carry_out: &mut dyn FnMut(&Value) -> Outcome) {
        let goal = goal.min(self.len());
        while self.results.len() < goal && !self.broken_off() {
            let outcome = carry_out(&self.request.operations[self.results.len()]);
            self.errors += u64::from(outcome.failed);
            self.results.push(outcome.shown);
        }
    }

    /// How many operations there are.
    pub(super) const fn len(&self) -> usize {
        self.request.operations.len()
    }

    /// Of the operations that were carried out, in their order.
    pub(super) fn results(&self) -> &[Value] {
        &self.results
    }

    /// Whether as many operations failed as the client bears.
    pub(super) fn broken_off(&self) -> bool {
        self.request.fail_on_errors.is_some_and(|limit| self.errors >= limit)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Request, Refusal> {
        Request::read(body.as_object().expect("an object"), 3)
    }

    #[test]
    fn requests_of_the_rfc_and_of_the_documents_are_read() {
        let one = json!([{"method": "DELETE", "path": "/Users/1"}]);
        for (body, limit) in [
            (json!({"schemas": [REQUEST_SCHEMA], "failOnErrors": 2, "Operations": one}), Some(2)),
            (json!({"failOnErrors": false, "Operations": one}), None),
            (json!({"failOnErrors": true, "Operations": one}), Some(1)),
            (json!({"Operations": one}), None),
        ] {
            assert_eq!(read(&body).map(|request| request.fail_on_errors), Ok(limit), "{body}");
        }
    }

    #[test]
    fn what_is_no_bulk_request_is_refused_whole() {
        let one = json!([{"method": "DELETE", "path": "/Users/1"}]);
        for (body, status, word) in [
            (json!({}), 400, Some("invalidSyntax")),
            (json!({"Operations": []}), 400, Some("invalidSyntax")),
            (json!({"Operations": ["x"]}), 400, Some("invalidSyntax")),
            (json!({"Operations": [{"bulkId": "a"}, {"bulkId": "a"}]}), 400, Some("invalidValue")),
            (json!({"schemas": ["x"], "Operations": one}), 400, Some("invalidSyntax")),
            (json!({"failOnErrors": 0, "Operations": one}), 400, Some("invalidValue")),
            (json!({"failOnErrors": "1", "Operations": one}), 400, Some("invalidValue")),
            (json!({"Operations": [{}, {}, {}, {}]}), 413, None),
        ] {
            let refusal = read(&body).expect_err(&body.to_string());
            assert_eq!((refusal.status.as_u16(), refusal.scim_type), (status, word), "{body}");
        }
    }

    #[test]
    fn work_stops_at_the_goal_or_at_the_last_error_that_is_borne() {
        for (limit, goal, done) in
            [(json!(null), 2, 2), (json!(null), 9, 3), (json!(1), 9, 2), (json!(2), 9, 3)]
        {
            let body = json!({"failOnErrors": limit, "Operations": [{"n": 1}, {"n": 2}, {"n": 3}]});
            let mut work = Work::new(read(&body).expect("legal"));
            // All but the first one fail.
            let mut carry_out =
                |operation: &Value| Outcome { shown: operation["n"].clone(), failed: operation["n"] != 1 };
            work.advance(goal, &mut carry_out);
            assert_eq!(work.results(), &[json!(1), json!(2), json!(3)][..done], "{body}");
        }
    }
}
