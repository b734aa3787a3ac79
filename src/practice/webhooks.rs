//! What came in at `/practice/webhook`: a receiver for tests of whatever sends messages to others.

use std::collections::{BTreeMap, VecDeque};

use axum::http::HeaderMap;
use serde::Serialize;

use crate::model::Timestamp;

/// So many messages are kept, the latest ones; each is at most as long as any body that the tenant reads.
const KEPT: usize = 200;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// When it came, in RFC 3339.
    pub received_at: String,
    /// Its headers, names in lower case; several of a name are joined by commas.
    pub headers: BTreeMap<String, String>,
    /// Its body; what is not UTF-8 is replaced.
    pub body: String,
    /// The status that it was answered with.
    pub status: u16,
}

/// All messages that are kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Inbox(VecDeque<Webhook>);

impl Inbox {
    pub(super) fn take(&mut self, headers: &HeaderMap, body: &[u8], status: u16, now: Timestamp) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            named
                .entry(name.to_string())
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(&value);
                })
                .or_insert_with(|| value.clone().into_owned());
        }
        self.0.push_back(Webhook {
            received_at: now.to_string(),
            headers: named,
            body: String::from_utf8_lossy(body).into_owned(),
            status,
        });
    }

    pub(super) fn all(&self) -> Vec<Webhook> {
        self.0.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_latest_messages_are_kept_as_they_came() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        let mut inbox = Inbox::default();
        for number in 0..=KEPT {
            inbox.take(&headers, number.to_string().as_bytes(), 204, Timestamp::from_millis(0));
        }
        let kept = inbox.all();
        assert_eq!((kept.len(), kept[0].body.as_str(), kept[KEPT - 1].body.as_str()), (KEPT, "1", "200"));
        assert_eq!(kept[0].headers, BTreeMap::from([("x-a".to_owned(), "1, 2".to_owned())]));
        inbox.clear();
        assert!(inbox.all().is_empty());
    }
}
