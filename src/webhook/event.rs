//! What is told, as a message: the three fields of the vendor's integration documents (`status`, `details`,
//! `timestamp`), and ours beside them.
//!
//! Nothing personal goes out but ids: what others wrote passes the redaction of the log.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::model::{TenantId, Timestamp, UserId};
use crate::store::NewWebhook;
use crate::telemetry;

/// Something that has happened in a provisioning run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub tenant: TenantId,
    /// The run's number.
    pub run: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub news: News,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The tenant has somebody else with the user name or the external id of a row (409).
    Conflict(RowNews),
    /// A row was not carried out and is not tried again.
    RowFailed(RowNews),
    /// The run is over.
    Finished {
        /// How it ended, for a person; it may hold what the tenant said.
        details: String,
        /// Rows, by what became of them.
        counts: BTreeMap<&'static str, u64>,
    },
}

/// What has happened to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowNews {
    /// Where it stands in the file, from 1.
    pub line: u64,
    /// By which HR knows the user.
    pub external_id: Option<String>,
    /// By which the tenant knows him, if it does.
    pub user: Option<UserId>,
    /// Why, for a person; it may hold what the tenant said.
    pub details: String,
}

impl Event {
    /// The message. Its key is the same whenever the same is told again, so only the first is kept; its id is drawn
    /// from the key, the tenant and the moment, because a database that was begun anew counts its runs anew.
    #[must_use]
    pub fn message(&self) -> NewWebhook {
        let run = self.run;
        let (status, kind, key) = match &self.news {
            News::Conflict(row) => {
                ("conflict", "provision.conflict", format!("run-{run}-line-{}-conflict", row.line))
            }
            News::RowFailed(row) => {
                ("failed", "provision.row_failed", format!("run-{run}-line-{}-failed", row.line))
            }
            News::Finished { .. } => ("finished", "provision.finished", format!("run-{run}-finished")),
        };
        let mut body = json!({
            "status": status,
            "timestamp": self.at.to_string(),
            "type": kind,
            "tenant": self.tenant,
            "run": run,
        });
        match &self.news {
            News::Conflict(row) | News::RowFailed(row) => {
                let external_id = row.external_id.as_deref();
                let user = row.user.as_ref().map(UserId::as_str);
                let ids: Vec<&str> = [external_id, user].into_iter().flatten().collect();
                body["details"] = json!(telemetry::redact::text_about(&row.details, &ids));
                body["line"] = json!(row.line);
                for (name, id) in [("external_id", external_id), ("user", user)] {
                    if let Some(id) = id {
                        body[name] = json!(id);
                    }
                }
            }
            News::Finished { details, counts } => {
                body["details"] = json!(telemetry::redact::text(details));
                body["counts"] = json!(counts);
            }
        }
        NewWebhook { id: id(&self.tenant, &key, self.at), key, kind: kind.to_owned(), body: body.to_string() }
    }
}

/// `msg_` and 32 hexadecimal digits; a dot would be ambiguous in what is signed.
fn id(tenant: &TenantId, key: &str, at: Timestamp) -> String {
    let hash = Sha256::digest(format!("{tenant}\n{key}\n{}", at.millis()));
    let number = hash.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("msg_{number:032x}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(news: News) -> Event {
        Event { tenant: TenantId::from("acme"), run: 12, at: Timestamp::EPOCH, news }
    }

    fn row(details: &str) -> RowNews {
        RowNews {
            line: 7,
            external_id: Some("HRIS-0001".into()),
            user: Some(UserId::from("user-0001")),
            details: details.into(),
        }
    }

    fn body(news: News) -> Value {
        serde_json::from_str(&event(news).message().body).unwrap()
    }

    #[test]
    fn a_row_is_told_with_the_fields_of_the_documents_and_with_ours() {
        let expected = json!({
            "status": "conflict",
            "details": "externalId HRIS-0001 is \"in use\"\n",
            "timestamp": "1970-01-01T00:00:00.000Z",
            "type": "provision.conflict",
            "tenant": "acme",
            "run": 12,
            "line": 7,
            "external_id": "HRIS-0001",
            "user": "user-0001",
        });
        assert_eq!(body(News::Conflict(row("externalId HRIS-0001 is \"in use\"\n"))), expected);
        let failed = body(News::RowFailed(RowNews { external_id: None, user: None, ..row("no") }));
        assert_eq!((&failed["status"], &failed["type"]), (&json!("failed"), &json!("provision.row_failed")));
        assert!(!failed.as_object().unwrap().contains_key("user"), "{failed}");
    }

    #[test]
    fn the_end_of_a_run_is_told_with_its_counts() {
        let told = body(News::Finished {
            details: "2 rows failed".into(),
            counts: BTreeMap::from([("created", 40), ("failed", 2)]),
        });
        assert_eq!((&told["status"], &told["type"]), (&json!("finished"), &json!("provision.finished")));
        assert_eq!(told["counts"], json!({ "created": 40, "failed": 2 }));
    }

    #[test]
    fn whoever_the_tenant_talks_of_is_not_named() {
        let gossip = "user 'Firstname Lastname' <user-0001@example.com> has HRIS-0001, as HRIS-0002 says";
        for news in [
            News::Conflict(row(gossip)),
            News::RowFailed(row(gossip)),
            News::Finished { details: gossip.into(), counts: BTreeMap::new() },
        ] {
            let message = event(news).message();
            for personal in ["Firstname", "Lastname", "@example"] {
                assert!(!message.body.contains(personal), "{}", message.body);
            }
        }
    }

    #[test]
    fn a_key_says_what_is_told_and_an_id_is_nobody_elses() {
        let message = event(News::Conflict(row("first"))).message();
        let again = event(News::Conflict(row("second"))).message();
        assert_eq!((&message.key[..], &message.id), ("run-12-line-7-conflict", &again.id));
        assert_eq!(message.id.len(), "msg_".len() + 32);
        let finished = News::Finished { details: String::new(), counts: BTreeMap::new() };
        let others = [
            event(News::RowFailed(row("first"))),
            event(finished),
            Event { tenant: TenantId::from("other"), ..event(News::Conflict(row("first"))) },
            Event { at: Timestamp::from_millis(1), ..event(News::Conflict(row("first"))) },
        ];
        for other in others {
            assert_ne!(other.message().id, message.id, "{other:?}");
        }
    }
}
