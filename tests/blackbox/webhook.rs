//! Webhooks as their receiver sees them: signed, repeated until they were heard, and never twice as something new.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rosterd::chance::Chance;
use rosterd::clock::Clock;
use rosterd::model::{TenantId, Timestamp, UserId};
use rosterd::store::{NewWebhook, Store, WebhookCounts};
use rosterd::webhook::{Event, News, RowNews, Sender};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::home::{CLIENT_SECRET, TENANT};
use crate::process::{Daemon, until};
use crate::rig::{Rig, runtime, tls, users};
use crate::scripted::header;

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const KEY: &[u8] = b"a key of twenty-four byte";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// HMAC-SHA256 by its definition (RFC 2104 §2), for keys no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// What a receiver does before it believes a message.
#[track_caller]
fn assert_signed(request: &Request, key: &[u8]) {
    let text = |name| header(request, name).unwrap();
    let mut signed = format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&request.body);
    assert_eq!(text("webhook-signature"), format!("v1,{}", STANDARD.encode(hmac(key, &signed))));
}

fn id(request: &Request) -> String {
    header(request, "webhook-id").unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn conflict(line: u64, details: &str) -> NewWebhook {
    let news = News::Conflict(RowNews {
        line,
        external_id: Some(format!("HRIS-{line:04}")),
        user: Some(UserId::from("user-0001")),
        details: details.to_owned(),
    });
    Event { tenant: TenantId::from(TENANT), run: 12, at: START, news }.message()
}

fn finished() -> NewWebhook {
    let news = News::Finished { details: "1 conflict".into(), counts: BTreeMap::from([("conflicts", 1)]) };
    Event { tenant: TenantId::from(TENANT), run: 12, at: START, news }.message()
}

/// A receiver, a database, and a clock on which waiting costs nothing.
struct Bench {
    runtime: Runtime,
    receiver: MockServer,
    folder: TempDir,
    clock: Clock,
    tenant: TenantId,
}

impl Bench {
    /// The receiver gives these answers one after the other, then it takes everything.
    fn new(answers: Vec<ResponseTemplate>) -> Self {
        tls();
        let runtime = runtime();
        let receiver = runtime.block_on(MockServer::start());
        let answers = Mutex::new(answers.into_iter());
        let respond = move |_: &Request| answers.lock().unwrap().next().unwrap_or(ResponseTemplate::new(204));
        runtime.block_on(Mock::given(any()).respond_with(respond).mount(&receiver));
        let folder = tempfile::tempdir().unwrap();
        Self { runtime, receiver, folder, clock: Clock::manual(START), tenant: TenantId::from(TENANT) }
    }

    fn store(&self) -> Store {
        let path = self.folder.path().join("rosterd.db");
        self.runtime.block_on(Store::own(&path, self.clock.now())).unwrap()
    }

    fn enqueue(&self, store: &Store, messages: &[NewWebhook]) -> u64 {
        let now = self.clock.now();
        self.runtime.block_on(store.enqueue_webhooks(&self.tenant, messages, now)).unwrap()
    }

    fn sender(&self, store: &Store, secret: Option<&str>) -> Sender {
        let url = Url::parse(&format!("{}/hook/?sig=of-its-own", self.receiver.uri())).unwrap();
        let secret = secret.map(SecretString::from);
        let when = (self.clock.clone(), Chance::fixed(0.0));
        Sender::new(self.tenant.clone(), store.clone(), url, secret.as_ref(), when).unwrap()
    }

    /// Sends whatever is due within the next minute, or within four days.
    fn drain(&self, store: &Store, secret: Option<&str>, most: Duration) -> WebhookCounts {
        let deadline = self.clock.instant() + most;
        let stop = CancellationToken::new();
        let mut sender = self.sender(store, secret);
        self.runtime.block_on(sender.drain(deadline, &stop)).unwrap()
    }

    fn heard(&self) -> Vec<Request> {
        self.runtime.block_on(self.receiver.received_requests()).unwrap()
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const LONG: Duration = Duration::from_hours(96);

#[test]
fn a_message_is_what_the_documents_print_signed_and_sent_once() {
    let bench = Bench::new(vec![]);
    let store = bench.store();
    let details = "externalId HRIS-0007 is \"in use\"\r\nby user-0001";
    assert_eq!(bench.enqueue(&store, &[conflict(7, details), finished()]), 2);
    assert_eq!(bench.drain(&store, Some(&secret()), MINUTE), WebhookCounts::default());
    assert_eq!(bench.drain(&store, Some(&secret()), MINUTE), WebhookCounts::default());

    let heard = bench.heard();
    assert_eq!(heard.len(), 2);
    for request in &heard {
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!((request.url.path(), request.url.query()), ("/hook/", Some("sig=of-its-own")));
        assert_eq!(header(request, "content-type").as_deref(), Some("application/json"));
        assert_eq!(header(request, "webhook-timestamp").as_deref(), Some("1767225600"));
        assert_signed(request, KEY);
    }
    let told = body(&heard[0]);
    assert_eq!(
        (&told["status"], &told["details"], &told["timestamp"]),
        (&json!("conflict"), &json!(details), &json!("2026-01-01T00:00:00.000Z"))
    );
    assert_eq!((&told["line"], &told["external_id"]), (&json!(7), &json!("HRIS-0007")));
    assert_eq!(body(&heard[1])["counts"], json!({ "conflicts": 1 }));
}

#[test]
fn a_secret_may_be_text_and_without_one_nothing_is_signed() {
    let bench = Bench::new(vec![]);
    let store = bench.store();
    bench.enqueue(&store, &[conflict(1, "taken")]);
    bench.drain(&store, Some("as it is"), MINUTE);
    bench.enqueue(&store, &[conflict(2, "taken")]);
    bench.drain(&store, None, MINUTE);
    let heard = bench.heard();
    assert_signed(&heard[0], b"as it is");
    assert_eq!(header(&heard[1], "webhook-signature"), None);
    assert!(header(&heard[1], "webhook-id").is_some());
}

#[test]
fn what_was_not_taken_is_sent_again_as_the_same_message_after_those_behind_it() {
    let unavailable = ResponseTemplate::new(503);
    let bench = Bench::new(vec![unavailable]);
    let store = bench.store();
    bench.enqueue(&store, &[conflict(1, "taken"), finished()]);
    assert_eq!(bench.drain(&store, Some(&secret()), MINUTE), WebhookCounts::default());
    let heard = bench.heard();
    assert_eq!(heard.len(), 3);
    assert_eq!(id(&heard[0]), id(&heard[2]), "the same message");
    assert_ne!(id(&heard[0]), id(&heard[1]), "the next one did not wait for it");
    assert_eq!(body(&heard[0]), body(&heard[2]));
    for request in &heard {
        assert_signed(request, KEY);
    }
    let sent = |at: usize| header(&heard[at], "webhook-timestamp").unwrap().parse::<u64>().unwrap();
    assert!(sent(2) >= sent(0) + 5, "the attempt has its own moment");
}

#[test]
fn the_receiver_is_given_the_time_that_it_asks_for() {
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "600");
    let bench = Bench::new(vec![busy]);
    let store = bench.store();
    bench.enqueue(&store, &[conflict(1, "taken"), finished()]);
    let left = bench.drain(&store, None, MINUTE);
    assert_eq!((left, bench.heard().len()), (WebhookCounts { waiting: 2, dead: 0 }, 1));
    bench.clock.set(START.plus(10 * MINUTE));
    assert_eq!(bench.drain(&store, None, MINUTE), WebhookCounts::default());
}

/// The process dies after an answer that said later, and after whatever told of the run has told it again.
#[test]
fn a_restart_loses_nothing_and_tells_nothing_twice() {
    let bench = Bench::new(vec![ResponseTemplate::new(500)]);
    let store = bench.store();
    bench.enqueue(&store, &[conflict(1, "taken")]);
    assert_eq!(bench.drain(&store, None, Duration::ZERO).waiting, 1);
    drop(store);

    bench.clock.set(START.plus(MINUTE));
    let store = bench.store();
    let again = NewWebhook { id: "msg_another".into(), body: "{}".into(), ..conflict(1, "") };
    assert_eq!(bench.enqueue(&store, &[again, finished()]), 1);
    assert_eq!(bench.drain(&store, None, MINUTE), WebhookCounts::default());
    assert_eq!(bench.enqueue(&store, &[conflict(1, "taken"), finished()]), 0);
    assert_eq!(bench.drain(&store, None, MINUTE), WebhookCounts::default());
    let heard = bench.heard();
    let ids: Vec<String> = heard.iter().map(id).collect();
    assert_eq!(ids, [conflict(1, "").id, conflict(1, "").id, finished().id]);
    assert_eq!(body(&heard[0]), body(&heard[1]));
}

#[test]
fn whoever_is_gone_is_told_once_and_whoever_refuses_ten_times() {
    let bench = Bench::new(vec![ResponseTemplate::new(410)]);
    let store = bench.store();
    bench.enqueue(&store, &[conflict(1, "taken"), finished()]);
    assert_eq!(bench.drain(&store, None, LONG), WebhookCounts { waiting: 0, dead: 1 });
    let ids: Vec<String> = bench.heard().iter().map(id).collect();
    assert_eq!(ids, [conflict(1, "").id, finished().id], "the next one is not its fault");

    let bench = Bench::new(vec![ResponseTemplate::new(400); 20]);
    let store = bench.store();
    bench.enqueue(&store, &[finished()]);
    assert_eq!(bench.drain(&store, None, LONG), WebhookCounts { waiting: 0, dead: 1 });
    assert_eq!(bench.heard().len(), 10);
    assert!(bench.clock.now().since(START) > Duration::from_hours(72));
    let week = bench.clock.now().plus(Duration::from_hours(169));
    bench.runtime.block_on(store.prune(week)).unwrap();
    assert_eq!(bench.drain(&store, None, LONG), WebhookCounts::default());
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Bench::new(vec![]);
    let there = ResponseTemplate::new(307).insert_header("Location", elsewhere.receiver.uri());
    let bench = Bench::new(vec![there]);
    let store = bench.store();
    bench.enqueue(&store, &[finished()]);
    assert_eq!(bench.drain(&store, None, Duration::ZERO).waiting, 1);
    assert_eq!(elsewhere.heard().len(), 0);
}

#[test]
fn nothing_is_sent_after_a_stop() {
    let bench = Bench::new(vec![]);
    let store = bench.store();
    bench.enqueue(&store, &[finished()]);
    let stop = CancellationToken::new();
    stop.cancel();
    let mut sender = bench.sender(&store, None);
    bench.runtime.block_on(sender.run(&stop));
    let left = bench.runtime.block_on(sender.drain(bench.clock.instant() + MINUTE, &stop)).unwrap();
    assert_eq!((left.waiting, bench.heard().len()), (1, 0));
    assert!(!format!("{sender:?}").contains("of-its-own"), "an address may be a secret");
}

#[test]
fn the_daemon_tells_and_status_counts_what_it_could_not() {
    let bench = Bench::new(vec![ResponseTemplate::new(410)]);
    let rig = Rig::live(users(5));
    let keys = "webhook.secret = { env = \"CLIENT_SECRET\" }";
    rig.set(&format!("webhook.url = \"{}/hook\"\n{keys}", bench.receiver.uri()));
    bench.runtime.block_on(async {
        let now = Clock::system().now();
        let store = Store::own(&rig.database(), now).await.unwrap();
        let messages = [conflict(1, "taken"), finished()];
        store.enqueue_webhooks(&bench.tenant, &messages, now).await.unwrap();
        store.close().await;
    });
    assert_eq!(rig.status()["webhooks"], json!({ "waiting": 2, "dead": 0 }));
    rig.run(&["status"]).ended(0).says("webhooks       2 waiting, 0 dead");

    let daemon = Daemon::start(&rig);
    daemon.until_said("webhook is dead");
    until("both were sent", || bench.heard().len() == 2);
    let dead = daemon.lines().into_iter().find(|line| line["message"] == "webhook is dead").unwrap();
    assert_eq!(
        (&dead["level"], &dead["status"], &dead["kind"], &dead["webhook"]),
        (&json!("ERROR"), &json!(410), &json!("provision.conflict"), &json!(conflict(1, "").id))
    );
    let ended = daemon.stop().with(0);
    assert!(!ended.out.concat().contains("/hook"), "{:#?}", ended.out);
    assert_signed(&bench.heard()[1], CLIENT_SECRET.as_bytes());
    assert_eq!(rig.status()["webhooks"], json!({ "waiting": 0, "dead": 1 }));
}
