//! After a long silence of the tenant nothing is written from old lists. The clock moves as fast as it is waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use rosterd::chance::Chance;
use rosterd::clock::Clock;
use rosterd::daemon::{self, Ended, Parts, Signals, Tenant};
use rosterd::model::{TenantId, Timestamp};
use rosterd::store::Store;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wiremock::ResponseTemplate;

use crate::home::TENANT;
use crate::process::until;
use crate::rig::{runtime, tls};
use crate::scripted::{Scripted, list, parameter, refusal, user};

/// More calls than can fail within the first minute of a silence: a probe by writing takes two, and there are ten
/// of them. So the last ones found it old.
const UNANSWERED: usize = 40;

/// Three users wait to be written. The first write meets silence; while it lasts, a person puts one of them into a
/// team by hand.
fn silent_for_long() -> Scripted {
    let unanswered = AtomicUsize::new(0);
    Scripted::new(move |name, request| {
        let by_hand = unanswered.load(Ordering::SeqCst) > 0;
        let person = |id: &str| {
            let teams: &[&str] = if by_hand && id == "u-2" { &["team-by-hand"] } else { &[] };
            user(id, &["HR_SALES"], teams)
        };
        let people = |changed: bool| -> Vec<Value> {
            let all = ["u-1", "u-2", "u-3"].map(person);
            all.into_iter().filter(|it| !changed || it["id"] == "u-2" && by_hand).collect()
        };
        let silent = unanswered.load(Ordering::SeqCst) < UNANSWERED;
        match name {
            "GET /Users" => {
                Some(list(&people(parameter(request, "since").is_some_and(|it| !it.starts_with("1970")))))
            }
            _ if name.contains("/Users/") && silent => {
                unanswered.fetch_add(1, Ordering::SeqCst);
                Some(refusal(503, "down"))
            }
            _ if name.starts_with("PATCH /Users/") => Some(ResponseTemplate::new(204)),
            _ if name.starts_with("GET /Users/") => {
                let id = name.rsplit('/').next().unwrap_or_default();
                Some(ResponseTemplate::new(200).set_body_json(person(id)))
            }
            _ => None,
        }
    })
}

fn parts() -> Parts {
    tls();
    let clock = Clock::manual(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
    Parts { clock, chance: Chance::fixed(0.5), ..Parts::default() }
}

/// What was asked for once the tenant answered again: a user, then a list, and only then it was written; and what a
/// person did meanwhile was kept.
fn assert_read_before_written(tenant: &Scripted) {
    let calls = tenant.names();
    let about_users = calls.iter().enumerate().filter(|(_, name)| name.contains("/Users/"));
    let (last_unanswered, _) = about_users.clone().nth(UNANSWERED - 1).unwrap();
    let old: Vec<_> = about_users.take(UNANSWERED).skip(UNANSWERED / 2).map(|(_, name)| name).collect();
    assert!(
        old.iter().all(|name| name.starts_with("GET ")),
        "nothing is written into an old silence: {old:?}"
    );

    let after: Vec<&str> = calls[last_unanswered + 1..].iter().map(String::as_str).collect();
    assert!(after[0].starts_with("GET /Users/"), "{after:?}");
    assert_eq!(after[1], "GET /Users", "{after:?}");
    let mut written: Vec<&str> =
        after[2..].iter().copied().filter(|name| name.starts_with("PATCH")).collect();
    written.sort_unstable();
    assert_eq!(written, ["PATCH /Users/u-1", "PATCH /Users/u-2", "PATCH /Users/u-3"], "{after:?}");
    let body = String::from_utf8(tenant.named("PATCH /Users/u-2").pop().unwrap().body).unwrap();
    assert!(body.contains("team-by-hand"), "{body}");
}

#[test]
fn a_sync_reads_a_list_before_it_goes_on() {
    let tenant = silent_for_long();
    tenant.set("delivery.workers = 1");
    let parts = parts();
    runtime().block_on(async {
        let store = Store::own(&tenant.database(), parts.clock.now()).await.unwrap();
        let mut settings = tenant.settings();
        let audit = daemon::open_audit(&settings.audit, &store, parts.clock.now()).await.unwrap();
        let acme = settings.tenants.remove(&TenantId::from(TENANT)).unwrap();
        let mut acme = Tenant::new(acme, &store, &audit, &parts).unwrap();
        // The clock runs ahead while the tenant thinks.
        let (wait, stop) = (std::time::Duration::from_hours(24), CancellationToken::new());
        let end = daemon::sync(&mut acme, &store, &parts.clock, false, wait, &stop).await.unwrap();
        assert_eq!((end.delivered, end.open, end.operations.dead, end.trouble), (3, 0, 0, None));
    });
    assert_read_before_written(&tenant);
}

/// The schedule asks for nothing: what is read is read because delivery waits for it.
#[test]
fn the_daemon_reads_a_list_before_it_goes_on() {
    let tenant = silent_for_long();
    tenant.set("delivery.workers = 1\nschedule = \"0 0 0 1 1 *\"\nsweep_schedule = \"0 0 0 1 1 *\"");
    let (parts, stop) = (parts(), CancellationToken::new());
    let running = std::thread::spawn({
        let (settings, parts, stop) = (tenant.settings(), parts.clone(), stop.clone());
        move || {
            let reload = || Err("nobody asks for it".to_owned());
            runtime().block_on(daemon::run(settings, &reload, Signals::only(stop), &parts)).unwrap()
        }
    });
    until("all is delivered", || {
        let vitals = parts.watch.tenant(&TenantId::from(TENANT)).map(|acme| acme.vitals);
        vitals.is_some_and(|vitals| vitals.delivered.get() == 3)
    });
    stop.cancel();
    assert_eq!(running.join().unwrap(), Ended::Stopped);
    assert_read_before_written(&tenant);
}
