//! A tenant that refuses us is left alone, says why, and heals by itself; others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rosterd::model::Timestamp;
use rosterd::practice::Faults;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::home::Home;
use crate::process::{Daemon, until};
use crate::rig::{Rig, users, wanted};
use crate::scripted::{Scripted, list, refusal, user};

const EVERY_SECOND: &str = "schedule = \"* * * * * *\"";

fn refused() -> Faults {
    Faults { reject_token_credentials: true, ..Faults::default() }
}

/// The first line with this message.
fn line(daemon: &Daemon, message: &str) -> Value {
    daemon.until_said(message);
    daemon.lines().into_iter().find(|line| line["message"] == message).unwrap()
}

/// The waits between a pass and the next, oldest first.
fn between_passes(home: &Home) -> Vec<Duration> {
    let at = |time: &Value| Timestamp::parse(time.as_str().unwrap()).unwrap();
    let mut passes: Vec<Value> = serde_json::from_value(home.status()["passes"].take()).unwrap();
    passes.reverse();
    passes.windows(2).map(|pair| at(&pair[1]["started_at"]).since(at(&pair[0]["finished_at"]))).collect()
}

#[test]
fn wrong_credentials_quarantine_a_tenant_and_it_heals_by_itself() {
    let rig = Rig::live(users(20));
    rig.set(EVERY_SECOND);
    rig.faults(refused());
    let daemon = Daemon::start(&rig);
    let began = line(&daemon, "tenant quarantined");
    assert_eq!((&began["part"], &began["trouble"]), (&json!("reading"), &json!("credentials refused")));
    assert!(began["retry_at"].is_string() && began["reason"].as_str().unwrap().contains("token endpoint"));
    until("status knows", || rig.status()["troubles"].as_array().is_some_and(|all| !all.is_empty()));
    let trouble = rig.status()["troubles"][0].take();
    assert_eq!((&trouble["part"], &trouble["trouble"]), (&json!("reading"), &json!("credentials refused")));
    assert_eq!(trouble["until"], began["retry_at"]);
    rig.run(&["status"])
        .ended(0)
        .says("reading        quarantined (credentials refused) since ")
        .says(" because token endpoint: ")
        .says("; next try ");

    rig.faults(Faults::default());
    until("every user is right", || rig.misplaced().is_empty());
    let healed = line(&daemon, "tenant answers again");
    assert_eq!((&healed["part"], daemon.said("tenant quarantined")), (&json!("reading"), 1));
    until("status knows", || rig.status()["troubles"] == json!([]));
    let wait = between_passes(&rig)[0];
    assert!(wait >= Duration::from_secs(5), "with a tick each second the second pass came after {wait:?}");
    daemon.stop().with(0);
}

/// What is wrong is said as long as somebody tries.
#[test]
fn a_quarantine_is_no_news_after_the_end() {
    let rig = Rig::live(users(5));
    rig.faults(refused());
    rig.run(&["sync"]).ended(77);
    assert_eq!(rig.status()["troubles"], json!([]));
    let daemon = Daemon::start(&rig);
    daemon.until_said("tenant quarantined");
    until("status knows", || rig.status()["troubles"] != json!([]));
    daemon.kill();
    assert_ne!(rig.status()["troubles"], json!([]), "nobody could take it back");
    rig.faults(Faults::default());
    rig.sync();
    assert_eq!(rig.status()["troubles"], json!([]));
}

/// Lists are refused while delivery is under way.
#[test]
fn a_list_that_is_refused_stops_delivery_and_leaves_its_queue_untouched() {
    const USERS: usize = 300;
    let refuses = Arc::new(AtomicBool::new(false));
    let tenant = Scripted::new({
        let refuses = refuses.clone();
        move |name, _| match name {
            "GET /Users" if refuses.load(Ordering::SeqCst) => Some(refusal(403, "missing permission")),
            "GET /Users" => Some(list(
                &(0..USERS).map(|at| user(&format!("u-{at}"), &["HR_SALES"], &[])).collect::<Vec<_>>(),
            )),
            _ if name.starts_with("PATCH") => {
                Some(ResponseTemplate::new(204).set_delay(Duration::from_millis(20)))
            }
            _ => None,
        }
    });
    tenant.set(&format!("{EVERY_SECOND}\ndelivery.workers = 1"));
    let daemon = Daemon::start(&tenant);
    until("delivery is under way", || tenant.writes() > 3);
    refuses.store(true, Ordering::SeqCst);
    let began = line(&daemon, "tenant quarantined");
    assert_eq!((&began["part"], &began["trouble"]), (&json!("reading"), &json!("permission missing")));
    let untouched = || {
        let operations = &tenant.status()["operations"];
        operations["in_flight"] == 0
            && operations["dead_letters"] == 0
            && operations["ready"].as_u64() > Some(0)
    };
    until("nothing is in flight", untouched);
    let writes = tenant.writes();
    let failed = || daemon.lines().iter().filter(|line| line["result"] == "failed").count();
    until("the probe has failed, too", || failed() >= 2);
    assert_eq!((tenant.writes(), untouched()), (writes, true));

    refuses.store(false, Ordering::SeqCst);
    until("the rest is delivered", || {
        let names = tenant.names().into_iter().filter(|name| name.starts_with("PATCH"));
        names.collect::<BTreeSet<_>>().len() == USERS
    });
    daemon.stop().with(0);
}

#[test]
fn others_go_on_while_one_is_in_quarantine() {
    let (rig, other) = (Rig::live(users(20)), Rig::live(users(10)));
    other.faults(refused());
    rig.and_other(
        &other.practice().base_url(),
        &other.practice().token_url(),
        &format!("{EVERY_SECOND}\nmapping.HR_SALES = \"team-sales\"\n[tenants.acme]\n{EVERY_SECOND}"),
    );
    let daemon = Daemon::start(&rig);
    until("one is in quarantine", || {
        rig.run(&["status"]).stdout.contains("quarantined (credentials refused)")
    });
    until("the other is right", || rig.misplaced().is_empty());
    assert_eq!(rig.status()["troubles"], json!([]));
    assert_eq!(rig.status_of("other")["troubles"][0]["trouble"], "credentials refused");
    other.faults(Faults::default());
    until("it has healed", || {
        let rules = [("HR_SALES", &["team-sales"][..])];
        other.tenant().users().iter().all(|user| user.teams == wanted(user, &rules))
    });
    daemon.stop().with(0);
}

/// It is tried again by itself, though its schedule asks for a pass once a day only.
#[test]
fn a_nightly_schedule_does_not_wait_a_day_for_a_tenant_that_was_away() {
    let rig = Rig::live(users(10));
    rig.set("schedule = \"0 0 3 * * *\"");
    rig.faults(refused());
    let daemon = Daemon::start(&rig);
    daemon.until_said("tenant quarantined");
    rig.faults(Faults::default());
    until("every user is right", || rig.misplaced().is_empty());
    daemon.stop().with(0);
}
