//! How often a create came in and was carried out for each `externalId`: a client that repeats one blindly is found out.
//!
//! A create may be repeated after a refusal (400, 429, 5xx …), because it had no effect, and after the user was
//! deleted. It may not after an answer that was lost, or after a 409 that says that the user is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::Kind;
use super::route::Target;

/// The creates of one `externalId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Creates {
    /// Those that came in, single or in bulk, whatever became of them.
    pub received: u64,
    /// Those after which the user was there: they made him, or met him (409). Counted anew once he is deleted.
    pub executed: u64,
    /// Those that made the user.
    pub created: u64,
    /// Whether `executed` was ever above 1.
    pub repeated: bool,
}

/// The creates of all.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Creates>);

impl Ledger {
    /// Notes that a create came in.
    pub(super) fn received(&mut self, external_id: String) {
        self.0.entry(external_id).or_default().received += 1;
    }

    /// Notes that a create was carried out; true when this is the first time that it should not have been.
    pub(super) fn executed(&mut self, external_id: &str, created: bool) -> bool {
        let own = self.0.entry(external_id.to_owned()).or_default();
        own.executed += 1;
        own.created += u64::from(created);
        let first = own.executed > 1 && !own.repeated;
        own.repeated |= first;
        first
    }

    /// Notes that the user was deleted: to create him is legitimate again.
    pub(super) fn deleted(&mut self, external_id: &str) {
        if let Some(own) = self.0.get_mut(external_id) {
            own.executed = 0;
        }
    }

    /// What is known, by `externalId`.
    pub(super) const fn all(&self) -> &BTreeMap<String, Creates> {
        &self.0
    }
}

/// The part of a user that is counted by.
#[derive(Deserialize)]
struct Person {
    #[serde(rename = "externalId")]
    external_id: Option<Value>,
}

#[derive(Deserialize)]
struct Operation {
    method: Option<Value>,
    path: Option<Value>,
    data: Option<Person>,
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(rename = "Operations")]
    operations: Vec<Operation>,
}

/// Whom the body of a POST asks to create; nobody when it cannot be read.
pub(super) fn named(target: &Target, body: &[u8]) -> Vec<String> {
    let people = match target {
        Target::Collection(Kind::User) => serde_json::from_slice(body).map(|person| vec![person]),
        Target::Bulk => serde_json::from_slice(body).map(|bulk: Bulk| {
            let creates = |operation: &Operation| {
                operation.method == Some("POST".into()) && operation.path == Some("/Users".into())
            };
            bulk.operations.into_iter().filter(creates).filter_map(|operation| operation.data).collect()
        }),
        _ => return Vec::new(),
    };
    let external_id = |person: Person| Some(person.external_id?.as_str()?.to_owned());
    people.unwrap_or_default().into_iter().filter_map(external_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_is_repeated_when_the_user_was_there_already() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.received("E-1".to_owned());
        }
        assert!(!ledger.executed("E-1", true));
        assert!(ledger.executed("E-1", false), "the first repetition is told");
        assert!(!ledger.executed("E-1", false), "the others are not told again");
        assert!(!ledger.executed("E-2", false), "who meets somebody once has repeated nothing");
        let own = Creates { received: 3, executed: 3, created: 1, repeated: true };
        assert_eq!(ledger.all().get("E-1"), Some(&own));
    }

    #[test]
    fn who_was_deleted_may_be_created_again() {
        let mut ledger = Ledger::default();
        ledger.deleted("E-1");
        assert!(!ledger.executed("E-1", true));
        ledger.deleted("E-1");
        assert!(!ledger.executed("E-1", true));
        let own = Creates { received: 0, executed: 1, created: 2, repeated: false };
        assert_eq!(ledger.all().get("E-1"), Some(&own));
    }

    #[test]
    fn creates_are_seen_single_and_in_bulk() {
        let users = Target::Collection(Kind::User);
        let bulk = r#"{"failOnErrors": false, "Operations": [
            {"method": "POST", "path": "/Users", "data": {"externalId": "a", "active": true}},
            {"method": "PATCH", "path": "/Users/1", "data": {"externalId": "b"}},
            {"method": "POST", "path": "/Groups", "data": {"externalId": "c"}},
            {"method": "POST", "path": "/Users"},
            {"method": "POST", "path": "/Users", "data": {"externalId": "d"}}
        ]}"#;
        for (target, body, expected) in [
            (&users, r#"{"externalId": "a"}"#, &["a"][..]),
            (&users, r#"{"userName": "a"}"#, &[]),
            (&users, r#"{"externalId": 7}"#, &[]),
            (&users, "no", &[]),
            (&Target::Collection(Kind::Group), r#"{"externalId": "a"}"#, &[]),
            (&Target::Bulk, bulk, &["a", "d"]),
            (&Target::Bulk, "{}", &[]),
        ] {
            assert_eq!(named(target, body.as_bytes()), expected, "{body}");
        }
    }
}
