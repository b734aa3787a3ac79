//! Why a tenant said no, out of the five shapes that errors come in: SCIM (RFC 7644 §3.12), the
//! platform's, OAuth's (RFC 6749 §5.2), the documents' `errors` list, and a gateway's page. Pure.

use serde_json::Value;

/// Text that a tenant sends is kept up to this many bytes.
const KEPT: usize = 2048;

/// What could be learned from an error answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reason {
    /// For a person; never empty once read from an answer.
    pub(super) text: String,
    /// `scimType`, the platform's `code`, or OAuth's `error`.
    pub(super) code: Option<String>,
    /// The platform's `contextId`.
    pub(super) context_id: Option<String>,
    /// The answer was a SCIM error: its `schemas` say so, or it has the form of the documents.
    pub(super) scim: bool,
}

const SCIM_ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// Reads an error answer of any shape.
pub(super) fn reason(status: u16, body: &[u8]) -> Reason {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => from_object(status, &value),
        _ => Reason { text: plain(status, body), ..Reason::default() },
    }
}

fn from_object(status: u16, error: &Value) -> Reason {
    let list = |key: &str| error[key].as_array().into_iter().flatten();
    // The documents' own form: a list whose elements have SCIM's two fields.
    let documents = list("errors").any(|error| error["detail"].is_string() && !error["status"].is_null());
    let first = list("errors").find_map(|error| text(error, "detail").or_else(|| text(error, "message")));
    let code = text(error, "scimType").or_else(|| text(error, "code")).or_else(|| text(error, "error"));
    let said =
        ["detail", "message", "error_description", "description"].iter().find_map(|key| text(error, key));
    Reason {
        text: cut(&said.or(first).or_else(|| code.clone()).unwrap_or_else(|| nothing_said(status))),
        code,
        context_id: text(error, "contextId"),
        scim: documents || list("schemas").any(|schema| schema == SCIM_ERROR),
    }
}

/// What stands under a key, if it says something.
fn text(error: &Value, key: &str) -> Option<String> {
    match &error[key] {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An answer that is no JSON: a gateway's page, or nothing.
fn plain(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(KEPT)]);
    let words = without_tags(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { nothing_said(status) } else { cut(&words) }
}

/// How an answer begins that is no JSON, for a person: a login page, a gateway's. `None` when it is JSON, or says nothing.
pub(super) fn beginning(body: &[u8]) -> Option<String> {
    const SHOWN: usize = 80;
    if body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(KEPT)]);
    let words = without_tags(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    let begin: String = words.chars().take(SHOWN).collect();
    (!begin.is_empty()).then_some(begin)
}

fn without_tags(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .filter_map(|c| match c {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' if inside => {
                inside = false;
                None
            }
            c => (!inside).then_some(c),
        })
        .collect()
}

fn nothing_said(status: u16) -> String {
    match reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()) {
        Some(words) => format!("{status} {words}, without a reason"),
        None => format!("{status}, without a reason"),
    }
}

/// The start of an answer, for the record.
pub(super) fn excerpt(body: &[u8]) -> String {
    cut(&String::from_utf8_lossy(&body[..body.len().min(KEPT)]))
}

/// At most [`KEPT`] bytes of a text, cut between characters.
fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= KEPT).last();
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (String, Option<String>, bool) {
        let reason = reason(409, body.as_bytes());
        (reason.text, reason.code, reason.scim)
    }

    #[test]
    fn all_shapes_give_a_reason() {
        let code = |code: &str| Some(code.to_owned());
        for (body, text, expected_code, scim) in [
            (
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","scimType":"uniqueness","detail":"taken"}"#,
                "taken",
                code("uniqueness"),
                true,
            ),
            (
                r#"{"message":"no such team","code":"not.found","status":404,"contextId":"c-1","details":[],"errors":[]}"#,
                "no such team",
                code("not.found"),
                false,
            ),
            (
                r#"{"error":"invalid_client","error_description":"unknown client"}"#,
                "unknown client",
                code("invalid_client"),
                false,
            ),
            (
                r#"{"error":"invalid_request","description":"rate limit exceeded"}"#,
                "rate limit exceeded",
                code("invalid_request"),
                false,
            ),
            (
                r#"{"errors":[{"detail":"path does not exist","status":"400"}]}"#,
                "path does not exist",
                None,
                true,
            ),
            ("<html><body><h1>502 Bad\nGateway</h1></body></html>", "502 Bad Gateway", None, false),
            ("", "409 Conflict, without a reason", None, false),
            ("{}", "409 Conflict, without a reason", None, false),
            // A web framework's answer for an unknown address is no SCIM error.
            (r#"{"detail":"Not Found"}"#, "Not Found", None, false),
            (r#"{"message":"no","code":17,"errors":null}"#, "no", code("17"), false),
        ] {
            assert_eq!(read(body), (text.to_owned(), expected_code, scim), "{body}");
        }
    }

    #[test]
    fn a_page_is_told_by_its_words_and_json_is_not() {
        let page = beginning(b"<html><h1>Sign\n in</h1></html>");
        assert_eq!(page.as_deref(), Some("Sign in"));
        assert_eq!(beginning("ä".repeat(3000).as_bytes()).map(|text| text.chars().count()), Some(80));
        for body in [&b" {\"a\": 1}"[..], b"[1]", b"", b"<br>"] {
            assert_eq!(beginning(body), None);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = reason(500, "ä".repeat(5000).as_bytes()).text;
        assert!(text.len() <= KEPT && text.starts_with('ä'), "{}", text.len());
    }
}
