//! A tenant that answers 200 and does nothing is caught by reading back what was written.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rosterd::chance::Chance;
use rosterd::clock::Clock;
use rosterd::daemon::{self, Parts, Tenant};
use rosterd::model::TenantId;
use rosterd::store::Store;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wiremock::{Request, ResponseTemplate};

use crate::home::TENANT;
use crate::rig::{Rig, runtime, tls, users};
use crate::scripted::{Scripted, list, refusal, user};

/// A tenant of `count` salespeople in no team. A write is always answered 204, and done if `works` says so.
fn tenant_of(count: usize, works: impl Fn(&str) -> bool + Send + Sync + 'static) -> Scripted {
    let id = |at: usize| format!("u-{at:02}");
    let people: BTreeMap<String, Value> =
        (0..count).map(|at| (id(at), user(&id(at), &["HR_SALES"], &[]))).collect();
    let people = Mutex::new(people);
    Scripted::new(move |name, request: &Request| {
        let mut people = people.lock().unwrap();
        let id = name.rsplit('/').next().unwrap_or_default();
        match name {
            "GET /Users" => Some(list(&people.values().cloned().collect::<Vec<_>>())),
            _ if name.starts_with("GET /Users/") => {
                Some(ResponseTemplate::new(200).set_body_json(&people[id]))
            }
            _ if name.starts_with("PATCH /Users/") => {
                if works(id) {
                    let body: Value = serde_json::from_slice(&request.body).unwrap();
                    people.get_mut(id).unwrap()["teams"] = body["Operations"][0]["value"].clone();
                }
                Some(ResponseTemplate::new(204))
            }
            _ => None,
        }
    })
}

fn reads(tenant: &Scripted) -> usize {
    tenant.names().iter().filter(|name| name.starts_with("GET /Users/")).count()
}

#[test]
fn what_is_done_is_seen_to_be_done() {
    let rig = Rig::still(users(30));
    rig.set("delivery.verify_percent = 100");
    let misplaced = rig.misplaced().len();
    let ran = rig.run(&["--log-format", "json", "sync"]).ended(0);
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let delivered: Vec<_> = lines.iter().filter(|line| line["message"] == "operation delivered").collect();
    assert_eq!(delivered.len(), misplaced);
    for line in delivered {
        assert!(line["verified"] == true && line["correlation_id"].is_string(), "{line}");
    }
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (misplaced as u64, 0));
}

#[test]
fn a_user_whose_writes_are_ignored_is_a_dead_letter_and_all_others_are_done() {
    let tenant = tenant_of(5, |id| id != "u-03");
    tenant.set("delivery.verify_percent = 100\ndelivery.max_attempts = 2");
    tenant
        .run(&["sync"])
        .ended(3)
        .says("4 delivered, 0 still waiting, 1 dead letter")
        .complains("write was ignored");
    let letters = tenant.run(&["dead-letters", "list", "--json"]).ended(0).json();
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["user"], &letter["attempts"]), (&"u-03".into(), &2.into()));
    assert_eq!(letter["reason"], "answered 2xx and changed nothing: he is not in team-sales");
}

#[test]
fn a_tenant_that_ignores_all_writes_is_quarantined_and_its_queue_is_kept() {
    let works = Arc::new(AtomicBool::new(false));
    let tenant = tenant_of(15, {
        let works = works.clone();
        move |_| works.load(Ordering::SeqCst)
    });
    tenant.set("delivery.verify_percent = 100");
    tenant
        .run(&["sync"])
        .ended(3)
        .says("0 delivered, 15 still waiting, 0 dead letters (writes ignored)")
        .complains("tenant quarantined");
    works.store(true, Ordering::SeqCst);
    tenant.run(&["sync"]).ended(0).says("15 delivered, 0 still waiting");
}

/// Reads fail, or say nothing, after every write.
#[test]
fn what_cannot_be_read_back_counts_as_done() {
    for answer in [
        || refusal(503, "down"),
        || refusal(404, "no such user"),
        || ResponseTemplate::new(200).set_body_string("{"),
        || ResponseTemplate::new(200).set_body_json(user("somebody-else", &[], &[])),
    ] {
        let tenant = Scripted::new(move |name, _| match name {
            "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
            "GET /Users/u-1" => Some(answer()),
            "PATCH /Users/u-1" => Some(ResponseTemplate::new(204)),
            _ => None,
        });
        tenant.set("delivery.verify_percent = 100");
        tenant.run(&["sync"]).ended(0).says("1 delivered, 0 still waiting, 0 dead letters");
        assert_eq!((tenant.writes(), reads(&tenant)), (1, 1));
    }
}

/// A tenant that shows a write only a moment later.
#[test]
fn a_tenant_may_take_a_moment() {
    let reads = AtomicUsize::new(0);
    let tenant = Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
        "GET /Users/u-1" => {
            let teams: &[&str] =
                if reads.fetch_add(1, Ordering::SeqCst) == 0 { &[] } else { &["team-sales"] };
            Some(ResponseTemplate::new(200).set_body_json(user("u-1", &["HR_SALES"], teams)))
        }
        "PATCH /Users/u-1" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.set("delivery.verify_percent = 100");
    tenant.run(&["sync"]).ended(0).says("1 delivered");
    assert_eq!(tenant.writes(), 1);
}

fn sync_with(tenant: &Scripted, draw: f64) -> u64 {
    tls();
    let parts = Parts { clock: Clock::system(), chance: Chance::fixed(draw), ..Parts::default() };
    runtime().block_on(async {
        let store = Store::own(&tenant.database(), parts.clock.now()).await.unwrap();
        let mut settings = tenant.settings();
        let audit = daemon::open_audit(&settings.audit, &store, parts.clock.now()).await.unwrap();
        let acme = settings.tenants.remove(&TenantId::from(TENANT)).unwrap();
        let mut acme = Tenant::new(acme, &store, &audit, &parts).unwrap();
        let (wait, stop) = (Duration::from_mins(2), CancellationToken::new());
        let end = daemon::sync(&mut acme, &store, &parts.clock, false, wait, &stop).await.unwrap();
        store.close().await;
        end.delivered
    })
}

/// One write in a hundred is looked at; one that was ignored brings all others into doubt.
#[test]
fn the_default_sample_is_one_in_a_hundred() {
    for (draw, looked_at) in [(0.0099, 3), (0.01, 0)] {
        let tenant = tenant_of(3, |_| true);
        tenant.set("delivery.verify_percent = 1");
        assert_eq!((sync_with(&tenant, draw), reads(&tenant)), (3, looked_at), "{draw}");
    }
}
