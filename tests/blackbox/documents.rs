//! The faults of the documents' sample code, by their numbers in the tenant's contract: each has a test that
//! fails when the fault comes back.
//!
//! Fault 10 (the audit record) has files of its own, `audit.rs` and `audited.rs`, and so has fault 11 (the webhook),
//! `webhook.rs`. Of fault 9 the part about bulk belongs to provisioning.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rosterd::clock::Clock;
use rosterd::model::{TeamId, Timestamp};
use rosterd::practice::{self, Faults};
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::ResponseTemplate;

use crate::rig::{Rig, users};
use crate::scripted::{Scripted, header, list, page, parameter, refusal, token, user};

pub(crate) fn http_date(at: Timestamp) -> String {
    at.to_utc().unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A user of a scripted list with the moment of his last change.
fn changed_at(mut user: Value, at: Timestamp) -> Value {
    user["meta"] = json!({ "lastModified": at.to_string() });
    user
}

/// The list is slow: it takes half a minute of the tenant's time. Ten seconds after it began, a user whose
/// page has been read already gets another role.
#[test]
fn fault_1_what_changes_while_a_pass_runs_is_found_by_the_next() {
    let began =
        Timestamp::from_millis(Clock::system().now().minus(Duration::from_hours(1)).millis() / 1000 * 1000);
    let after = move |seconds| began.plus(Duration::from_secs(seconds));
    let people = Arc::new(Mutex::new([
        changed_at(user("u-1", &["HR_SALES"], &["team-sales"]), began.minus(Duration::from_hours(1))),
        changed_at(user("u-2", &["HR_SALES"], &["team-sales"]), began.minus(Duration::from_hours(1))),
    ]));
    let tenant = Scripted::new(move |name, request| {
        let mut people = people.lock().unwrap();
        match (name, parameter(request, "since"), parameter(request, "startIndex").as_deref()) {
            ("GET /Users", None, Some("1")) => {
                Some(page(&people[..1], 2).insert_header("Date", http_date(began)))
            }
            ("GET /Users", None, _) => {
                people[0] = changed_at(user("u-1", &["HR_FINANCE"], &["team-sales"]), after(10));
                Some(page(&people[1..], 2).insert_header("Date", http_date(after(30))))
            }
            ("GET /Users", Some(since), _) => {
                let since = Timestamp::parse(&since).unwrap();
                let later = |user: &&Value| {
                    Timestamp::parse(user["meta"]["lastModified"].as_str().unwrap()).unwrap() > since
                };
                let found: Vec<Value> = people.iter().filter(later).cloned().collect();
                Some(list(&found).insert_header("Date", http_date(after(40))))
            }
            ("PATCH /Users/u-1", ..) => Some(ResponseTemplate::new(204)),
            _ => None,
        }
    });
    tenant.set("page_size = 1");
    tenant.run(&["sync"]).ended(0).says("2 users read, 0 planned");
    tenant.run(&["sync"]).ended(0).says("1 user read, 1 planned; 1 delivered");
    let since = tenant.named("GET /Users").last().and_then(|request| parameter(request, "since"));
    assert_eq!(since, Some(began.to_string()), "the tenant's own clock at the start of the pass");
    assert_eq!(tenant.named("PATCH /Users/u-1").len(), 1);
}

#[test]
fn fault_2_the_watermark_does_not_leave_a_failed_user_behind() {
    let rig = Rig::still(users(30));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 503)].into(), ..Faults::default() });
    rig.run(&["sync", "--wait", "1s"]).ended(3).says("1 still waiting, 0 dead letters");
    assert_eq!(rig.misplaced(), [id]);
    rig.faults(Faults::default());
    rig.advance(60);
    rig.run(&["sync"]).ended(0).says("0 users read, 0 planned; 1 delivered, 0 still waiting");
    rig.assert_right();
}

#[test]
fn fault_2_the_watermark_does_not_leave_an_unreadable_user_behind() {
    let rig = Rig::still(users(30));
    rig.faults(Faults { user_without_id: 1, ..Faults::default() });
    rig.run(&["sync"]).ended(3).says("sweep pass 1 degraded: 29 users read").says("1 record unreadable");
    assert_eq!(rig.status()["watermark"], Value::Null);
    rig.advance(60);
    rig.sync();
    rig.assert_right();
    assert!(rig.status()["watermark"].is_string());
}

#[test]
fn fault_3_the_patch_goes_to_the_user_and_not_to_his_first_team() {
    let tenant = Scripted::new(|name, _| match name {
        "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &["team-first-aid", "team-finance"])])),
        "PATCH /Users/u-1" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.run(&["sync"]).ended(0).says("1 delivered");
    assert_eq!((tenant.writes(), tenant.named("PATCH /Users/u-1").len()), (1, 1));
}

#[test]
fn fault_4_all_pages_are_read_however_small_the_tenant_makes_them() {
    let rig = Rig::still(practice::Options { page_cap: 7, ..users(50) });
    let answer = rig.run(&["sync", "--json"]).ended(0).json();
    assert_eq!(
        (&answer["tenants"][0]["users_read"], &answer["tenants"][0]["pages"]),
        (&json!(50), &json!(8))
    );
    rig.assert_right();
}

#[test]
fn fault_5_a_user_whose_roles_ask_for_nothing_leaves_the_managed_teams() {
    let rig = Rig::still(users(40));
    rig.sync();
    rig.advance(60);
    let in_teams = rig.tenant().users().into_iter().filter(|user| user.active && user.teams.len() > 1);
    let [guest, nobody] = in_teams.take(2).collect::<Vec<_>>().try_into().unwrap();
    rig.set_roles(&guest.id, &["HR_GUEST"]);
    rig.set_roles(&nobody.id, &[]);
    rig.advance(60);
    rig.run(&["sync"]).ended(0).says("2 delivered");
    rig.assert_right();
    for id in [guest.id, nobody.id] {
        let ours = |team: &&TeamId| !["team-first-aid", "team-social"].contains(&team.as_str());
        assert_eq!(rig.teams()[&id].iter().filter(ours).count(), 0);
    }
}

#[test]
fn fault_6_teams_that_a_person_assigned_by_hand_are_kept() {
    let rig = Rig::still(users(1));
    let id = rig.tenant().users()[0].id.clone();
    rig.tenant().set_active(&id, true).unwrap();
    for (roles, ours) in
        [(&["HR_SALES"][..], &["team-sales"][..]), (&["HR_FINANCE"], &["team-finance"]), (&[], &[])]
    {
        let by_hand = ["a-team", "team-first-aid", "z-team"];
        let has = rig.teams()[&id].clone().into_iter().chain(by_hand.map(TeamId::from));
        rig.tenant().set_teams(&id, has).unwrap();
        rig.set_roles(&id, roles);
        rig.run(&["sync", "--full"]).ended(0);
        let expected = by_hand.iter().chain(ours).map(|team| TeamId::from(*team)).collect();
        assert_eq!(rig.teams()[&id], expected, "{roles:?}");
    }
}

#[test]
fn fault_7_the_echo_of_our_own_patches_is_not_answered() {
    let rig = Rig::still(users(60));
    rig.set("overlap = \"5m\"");
    rig.sync();
    let patches = rig.patches();
    let echo = patches;
    for pass in 2..4 {
        rig.advance(60);
        let listed = rig.stats().users_listed;
        rig.run(&["sync"]).ended(0).says(&format!("delta pass {pass} ok")).says("0 planned; 0 delivered");
        assert!(rig.stats().users_listed - listed >= echo, "the tenant does return them");
    }
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (patches, 0));
}

#[test]
fn fault_8_roles_are_read_from_roles_and_from_teams_only_when_asked_for() {
    let rig = Rig::still(users(1));
    let id = rig.tenant().users()[0].id.clone();
    rig.tenant().set_active(&id, true).unwrap();
    rig.set_roles(&id, &["HR_FINANCE"]);
    rig.tenant().set_teams(&id, ["HR_SALES"].map(TeamId::from)).unwrap();
    rig.sync();
    assert_eq!(rig.teams()[&id], ["HR_SALES", "team-finance"].map(TeamId::from).into());
    rig.set("role_attribute = \"teams\"");
    rig.run(&["sync", "--full"]).ended(0);
    assert_eq!(rig.teams()[&id], ["HR_SALES", "team-sales"].map(TeamId::from).into());
}

/// Three users; the first write is answered 429, without the number anywhere in its text.
#[test]
fn fault_9_a_429_is_known_by_its_status_and_its_retry_after_holds_for_the_whole_tenant() {
    const RETRY_AFTER: Duration = Duration::from_secs(2);
    let clock = Clock::system();
    let refused: Arc<Mutex<Option<Instant>>> = Arc::default();
    let next: Arc<Mutex<Option<Instant>>> = Arc::default();
    let tenant = Scripted::new({
        let next = next.clone();
        let refused = refused.clone();
        move |name, _| {
            let mut refused = refused.lock().unwrap();
            match name {
                "GET /Users" => {
                    let users = ["u-1", "u-2", "u-3"].map(|id| user(id, &["HR_SALES"], &[]));
                    Some(list(&users))
                }
                _ if name.starts_with("PATCH") && refused.is_none() => {
                    *refused = Some(clock.instant());
                    let body = ResponseTemplate::new(429).set_body_string("please come back in a while");
                    Some(body.insert_header("Retry-After", RETRY_AFTER.as_secs().to_string()))
                }
                _ if name.starts_with("PATCH") => {
                    next.lock().unwrap().get_or_insert_with(|| clock.instant());
                    Some(ResponseTemplate::new(204))
                }
                _ => None,
            }
        }
    });
    // Calls go half a second apart, so the second user's call is not on its way yet when the first is refused.
    tenant.set("delivery.rate_per_second = 2\ndelivery.burst = 1");
    tenant.run(&["sync"]).ended(0).says("3 delivered").complains("tenant paused");
    let pause = next.lock().unwrap().unwrap() - refused.lock().unwrap().unwrap();
    assert!(pause >= RETRY_AFTER, "another call came {pause:?} after the 429");
    let writes: Vec<usize> =
        ["u-1", "u-2", "u-3"].map(|id| tenant.named(&format!("PATCH /Users/{id}")).len()).into();
    assert_eq!(writes.iter().sum::<usize>(), 4, "only the refused call is repeated: {writes:?}");
}

#[test]
fn fault_9_a_list_that_is_answered_429_is_asked_for_again_after_its_time() {
    const RETRY_AFTER: Duration = Duration::from_secs(1);
    let clock = Clock::system();
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let tenant = Scripted::new({
        let times = times.clone();
        move |name, _| {
            (name == "GET /Users").then(|| {
                let mut times = times.lock().unwrap();
                times.push(clock.instant());
                match times.len() {
                    1 => ResponseTemplate::new(429)
                        .insert_header("Retry-After", RETRY_AFTER.as_secs().to_string()),
                    _ => list(&[]),
                }
            })
        }
    });
    tenant.run(&["sync"]).ended(0).says("0 users read");
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= RETRY_AFTER);
}

#[test]
fn fault_9_the_text_of_an_answer_is_no_429() {
    let text = "429 Too Many Requests: rate limit exceeded. Retry the request in [13] seconds";
    let tenant = Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&["u-1", "u-2"].map(|id| user(id, &["HR_SALES"], &[])))),
        "PATCH /Users/u-1" => Some(ResponseTemplate::new(200).set_body_json(json!({ "message": text }))),
        "PATCH /Users/u-2" => Some(refusal(400, text)),
        _ => None,
    });
    let ran = tenant.run(&["sync"]).ended(3).says("1 delivered, 0 still waiting, 1 dead letter");
    assert!(!ran.stderr.contains("tenant paused"), "{}", ran.stderr);
    assert_eq!(tenant.writes(), 2, "neither is repeated");
}

#[test]
fn fault_12_one_token_serves_many_calls() {
    let rig = Rig::still(users(120));
    rig.sync();
    assert!(rig.patches() > 50);
    assert_eq!(rig.stats().count("POST /oauth/token"), 1);
}

#[test]
fn fault_12_a_401_is_answered_with_a_fresh_token_and_one_more_try() {
    let tokens = AtomicUsize::new(0);
    let tenant = Scripted::new(move |name, request| match name {
        "POST /oauth/token" => Some(token(&format!("token-{}", tokens.fetch_add(1, Ordering::SeqCst) + 1))),
        "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
        "PATCH /Users/u-1" => {
            let fresh = header(request, "authorization").as_deref() == Some("Bearer token-2");
            Some(ResponseTemplate::new(if fresh { 204 } else { 401 }))
        }
        _ => None,
    });
    tenant.run(&["sync"]).ended(0).says("1 delivered");
    let sent: Vec<_> =
        tenant.named("PATCH /Users/u-1").iter().map(|call| header(call, "authorization").unwrap()).collect();
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2"]);
    assert_eq!(tenant.named("POST /oauth/token").len(), 2);
}

#[test]
fn fault_12_a_second_401_ends_it_and_nothing_is_lost() {
    let refuses = Arc::new(AtomicBool::new(true));
    let tenant = Scripted::new({
        let refuses = refuses.clone();
        move |name, _| match name {
            "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
            "PATCH /Users/u-1" => {
                Some(ResponseTemplate::new(if refuses.load(Ordering::SeqCst) { 401 } else { 204 }))
            }
            _ => None,
        }
    });
    tenant.run(&["sync"]).ended(77).says("1 still waiting, 0 dead letters (credentials refused)");
    assert_eq!((tenant.writes(), tenant.named("POST /oauth/token").len()), (2, 2));
    refuses.store(false, Ordering::SeqCst);
    tenant.run(&["sync"]).ended(0).says("1 delivered, 0 still waiting");
}
