//! Bulk requests (RFC 7644 §3.7), and the documents' jobs: what is submitted, and what comes back. Pure.
//!
//! Both forms of answer are read by one reader: results at once, or a name to ask by later. What an operation's own answer
//! means is said by the same table as for a single call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Value, json};

use super::patch::Write;
use super::reason::{excerpt, reason};
use super::verdict::{Failure, Verdict, verdict};
use super::wire::addressable;
use crate::model::UserId;

const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// One operation of a bulk request.
#[derive(Clone, Debug)]
pub struct BulkOperation<'a> {
    /// By which its result is known; unique within the request.
    pub id: String,
    /// How it is sent.
    pub write: Write,
    /// Whom it changes; he who is created has no id yet.
    pub user: &'a UserId,
    /// What is sent.
    pub data: Value,
    /// The version it was decided from, where that counts.
    pub version: Option<&'a str>,
}

/// What a tenant can do with bulk requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkSupport {
    /// It takes them; `None` if it does not say.
    pub supported: Option<bool>,
    /// Operations in one, at most.
    pub operations: Option<usize>,
    /// Bytes of one, at most.
    pub bytes: Option<usize>,
}

/// How far the tenant is with a bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkState {
    /// At work; it is to be asked about by this name.
    Running(Option<String>),
    /// All that it will do is done.
    Ended,
    /// It was given up: `failed`, `canceled`. What of it was done the results may tell.
    Broken(String),
}

/// The answer to a bulk request, or to a question about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkAnswer {
    /// How far it is.
    pub state: BulkState,
    /// What became of its operations, as far as it tells.
    pub results: Vec<BulkResult>,
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkResult {
    /// Its id in the request.
    pub id: String,
    /// Whom it has created or changed, or why not.
    pub result: Result<Option<UserId>, Failure>,
}

/// The body of a bulk request. `fail_on_errors` is spelled out where the documents do: all operations are tried either way.
#[must_use]
pub fn bulk_body(operations: &[BulkOperation<'_>], fail_on_errors: bool) -> Vec<u8> {
    let operations: Vec<Value> = operations.iter().map(operation).collect();
    let mut body = json!({ "schemas": [BULK_REQUEST], "Operations": operations });
    if fail_on_errors {
        body["failOnErrors"] = json!(false);
    }
    body.to_string().into_bytes()
}

fn operation(operation: &BulkOperation<'_>) -> Value {
    let (method, path) = match operation.write {
        Write::Create => ("POST", "/Users".to_owned()),
        Write::Replace => ("PUT", format!("/Users/{}", operation.user)),
        Write::Patch => ("PATCH", format!("/Users/{}", operation.user)),
    };
    let mut value = json!({ "method": method, "path": path, "bulkId": operation.id, "data": operation.data });
    if let Some(version) = operation.version {
        value["version"] = json!(version);
    }
    value
}

/// Reads an answer.
///
/// # Errors
/// With the reason, when it is none.
pub(super) fn read(body: &[u8], correlation_id: Option<String>) -> Result<BulkAnswer, String> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let name = ["jobId", "id"].iter().find_map(|key| text(&answer[*key])).filter(|name| addressable(name));
    let operations = answer["Operations"].as_array();
    let results = agreed(operations.into_iter().flatten().filter_map(result));
    let status = text(&answer["status"]).unwrap_or_default().to_ascii_lowercase();
    let state = match status.as_str() {
        "completed" | "complete" | "done" | "succeeded" => BulkState::Ended,
        "failed" | "canceled" | "cancelled" => BulkState::Broken(status),
        "" if operations.is_some() => BulkState::Ended,
        "" if name.is_none() => return Err("the answer names no job, and no results".to_owned()),
        _ => BulkState::Running(name),
    };
    Ok(BulkAnswer { state, results, correlation_id })
}

/// One result for each operation. Of one that is said to have come to different ends nobody knows what it came to.
fn agreed(results: impl Iterator<Item = BulkResult>) -> Vec<BulkResult> {
    let (mut agreed, mut places): (Vec<BulkResult>, HashMap<String, usize>) = Default::default();
    for result in results {
        match places.entry(result.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(agreed.len());
                agreed.push(result);
            }
            Entry::Occupied(place) => {
                let known = &mut agreed[*place.get()].result;
                *known = both(known, result.result);
            }
        }
    }
    agreed
}

/// What two results of one operation come to.
fn both(
    known: &Result<Option<UserId>, Failure>,
    other: Result<Option<UserId>, Failure>,
) -> Result<Option<UserId>, Failure> {
    match (known, other) {
        (Ok(known), Ok(other)) if known.is_none() || other.is_none() || *known == other => {
            Ok(known.clone().or(other))
        }
        (Err(known), Err(other)) if known.verdict == other.verdict => Err(known.clone()),
        _ => Err(Failure {
            verdict: Verdict::Unavailable { wait: None },
            status: None,
            reason: "the answer contradicts itself about what became of it".to_owned(),
            correlation_id: None,
            answer: None,
            unclear: true,
        }),
    }
}

fn result(operation: &Value) -> Option<BulkResult> {
    let id = text(&operation["bulkId"])?;
    // A number, a text, or an object with a code: all three are seen.
    let status =
        text(&operation["status"]).or_else(|| text(&operation["status"]["code"]))?.parse::<u16>().ok()?;
    let location = text(&operation["location"]);
    let response = &operation["response"];
    if matches!(status, 200..=299) {
        let from_location =
            || location.as_deref().and_then(|location| location.rsplit('/').next()).map(str::to_owned);
        let user = text(&response["id"]).or_else(from_location).filter(|id| addressable(id));
        return Some(BulkResult { id, result: Ok(user.map(UserId::from)) });
    }
    let body = if response.is_null() { String::new() } else { response.to_string() };
    let why = reason(status, body.as_bytes());
    // One operation's answer says nothing about the pace, nor about who we are.
    let meaning = match verdict(status, &why, None) {
        Verdict::Throttled { .. } | Verdict::Unauthorized => Verdict::Unavailable { wait: None },
        other => other,
    };
    let answer = (!body.is_empty()).then(|| excerpt(body.as_bytes()));
    let failure = Failure {
        unclear: false,
        verdict: meaning,
        status: Some(status),
        reason: why.text,
        correlation_id: why.context_id,
        answer,
    };
    Some(BulkResult { id, result: Err(failure) })
}

/// Reads what a `ServiceProviderConfig` (RFC 7643 §5) says of bulk requests.
pub(super) fn support(body: &[u8]) -> BulkSupport {
    let config: Value = serde_json::from_slice(body).unwrap_or_default();
    let bulk = &config["bulk"];
    let number = |value: &Value| {
        value.as_u64().and_then(|value| usize::try_from(value).ok()).filter(|value| *value > 0)
    };
    BulkSupport {
        supported: bulk["supported"].as_bool(),
        operations: number(&bulk["maxOperations"]),
        bytes: number(&bulk["maxPayloadSize"]),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(value: &Value) -> BulkAnswer {
        read(value.to_string().as_bytes(), None).unwrap()
    }

    #[test]
    fn a_request_is_written_as_the_documents_print_it() {
        let user = UserId::from("u-1");
        let operation = |id: &str, write, data| BulkOperation {
            id: id.to_owned(),
            write,
            user: &user,
            data,
            version: None,
        };
        let operations = [
            operation("1", Write::Create, json!({"userName": "user-0001@example.com"})),
            operation("2", Write::Patch, json!({"Operations": []})),
            BulkOperation { version: Some("W/\"1\""), ..operation("3", Write::Replace, json!({})) },
        ];
        let body: Value = serde_json::from_slice(&bulk_body(&operations, true)).unwrap();
        assert_eq!(
            body,
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "failOnErrors": false,
                "Operations": [
                    {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": "user-0001@example.com"}},
                    {"method": "PATCH", "path": "/Users/u-1", "bulkId": "2", "data": {"Operations": []}},
                    {"method": "PUT", "path": "/Users/u-1", "bulkId": "3", "data": {}, "version": "W/\"1\""},
                ],
            })
        );
        let body: Value = serde_json::from_slice(&bulk_body(&[], false)).unwrap();
        assert_eq!(body.get("failOnErrors"), None);
    }

    #[test]
    fn both_forms_of_answer_are_read() {
        let job = |name: &str| BulkState::Running(Some(name.to_owned()));
        for (answer, state) in [
            (json!({"jobId": "j-1"}), job("j-1")),
            (json!({"jobId": 7, "status": "queued"}), job("7")),
            (json!({"id": "j-1", "status": "RUNNING", "Operations": []}), job("j-1")),
            (json!({"jobId": "j-1", "status": "completed"}), BulkState::Ended),
            (json!({"status": "failed"}), BulkState::Broken("failed".to_owned())),
            (json!({"status": "canceled"}), BulkState::Broken("canceled".to_owned())),
            (json!({"status": "running"}), BulkState::Running(None)),
            (json!({"Operations": []}), BulkState::Ended),
        ] {
            assert_eq!(read_json(&answer).state, state, "{answer}");
        }
        assert!(read(b"{}", None).is_err());
        assert!(read(b"<html>", None).is_err());
    }

    #[test]
    fn each_operation_has_a_verdict_of_its_own() {
        let answer = json!({"Operations": [
            {"method": "POST", "bulkId": "1", "status": "201", "location": "https://x.example.com/Users/u-1"},
            {"method": "POST", "bulkId": "2", "status": 200, "response": {"id": "u-2"}},
            {"method": "POST", "bulkId": "3", "status": {"code": "409"},
             "response": {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "scimType": "uniqueness",
                          "detail": "taken", "status": "409"}},
            {"method": "POST", "bulkId": "4", "status": "429"},
            {"method": "POST", "bulkId": "5", "status": "400", "response": {"detail": "no"}},
            {"method": "POST", "status": "201"},
            {"method": "POST", "bulkId": "6"},
        ]});
        let results = read_json(&answer).results;
        let seen: Vec<(&str, Result<Option<&str>, &str>)> = results
            .iter()
            .map(|result| {
                let ended = result.result.as_ref().map(|user| user.as_ref().map(UserId::as_str));
                (result.id.as_str(), ended.map_err(|failure| failure.verdict.as_str()))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("1", Ok(Some("u-1"))),
                ("2", Ok(Some("u-2"))),
                ("3", Err("exists")),
                ("4", Err("unavailable")),
                ("5", Err("rejected")),
            ]
        );
    }

    #[test]
    fn of_results_that_contradict_each_other_none_counts() {
        let (done, other, nameless, refused, worse, there) = (
            json!({"bulkId": "1", "status": "201", "response": {"id": "u-1"}}),
            json!({"bulkId": "1", "status": "201", "response": {"id": "u-2"}}),
            json!({"bulkId": "1", "status": "200"}),
            json!({"bulkId": "1", "status": "400", "response": {"detail": "no"}}),
            json!({"bulkId": "1", "status": "422"}),
            json!({"bulkId": "1", "status": "409"}),
        );
        for (results, expected) in [
            (vec![&done, &done], Ok(Some("u-1"))),
            (vec![&nameless, &done], Ok(Some("u-1"))),
            (vec![&refused, &worse], Err("rejected")),
            (vec![&done, &refused], Err("unavailable")),
            (vec![&refused, &done], Err("unavailable")),
            (vec![&done, &refused, &done], Err("unavailable")),
            (vec![&done, &other], Err("unavailable")),
            (vec![&refused, &there], Err("unavailable")),
        ] {
            let results = read_json(&json!({ "Operations": results })).results;
            assert_eq!(results.len(), 1);
            let ended = results[0].result.as_ref().map(|user| user.as_ref().map(UserId::as_str));
            assert_eq!(ended.map_err(|failure| failure.verdict.as_str()), expected);
        }
    }

    #[test]
    fn what_a_tenant_can_do_is_read() {
        let said = json!({"bulk": {"supported": true, "maxOperations": 100, "maxPayloadSize": 1_048_576}});
        let support = |value: Value| support(value.to_string().as_bytes());
        assert_eq!(
            support(said),
            BulkSupport { supported: Some(true), operations: Some(100), bytes: Some(1_048_576) }
        );
        let nothing = BulkSupport { supported: None, operations: None, bytes: None };
        assert_eq!(support(json!({"bulk": {"maxOperations": 0}})), nothing);
    }
}
