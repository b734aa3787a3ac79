//! What goes over the wire, byte for byte, and what answers lead to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rosterd::model::Timestamp;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::database::execute;
use crate::process::{Daemon, until};
use crate::scripted::{Scripted, etags, header, list, parameter, refusal, user};

/// A tenant with these users that takes every PATCH.
fn tenant_of(users: Vec<Value>) -> Scripted {
    Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&users)),
        _ if name.starts_with("PATCH /Users/") => Some(ResponseTemplate::new(204)),
        _ => None,
    })
}

#[test]
fn a_patch_is_what_the_documents_print() {
    let tenant = tenant_of(vec![user("u-1", &["HR_SUPPORT"], &["team-finance", "team-social"])]);
    tenant.run(&["sync"]).ended(0);
    let calls = tenant.named("PATCH /Users/u-1");
    assert_eq!(calls.len(), 1);
    let reference = |id: &str| json!({ "value": id, "$ref": format!("/api/v2/scim/v2/Groups/{id}") });
    assert_eq!(
        serde_json::from_slice::<Value>(&calls[0].body).unwrap(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{
                "op": "replace",
                "path": "teams",
                "value": [reference("team-service-desk"), reference("team-social"), reference("team-support")],
            }],
        })
    );
    let sent = |name| header(&calls[0], name);
    assert_eq!(sent("content-type").as_deref(), Some("application/json"));
    assert_eq!(sent("accept").as_deref(), Some("application/scim+json, application/json"));
    assert_eq!(sent("authorization").as_deref(), Some("Bearer token-1"));
    assert_eq!(sent("user-agent").unwrap(), format!("rosterd/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sent("if-match"), None, "the record carried no version");
}

#[test]
fn a_list_is_asked_for_as_in_the_documents() {
    let tenant = tenant_of(vec![]);
    tenant.run(&["sync"]).ended(0);
    tenant.run(&["sync"]).ended(0);
    let calls = tenant.named("GET /Users");
    let asked = |at: usize, name| parameter(&calls[at], name);
    for at in 0..2 {
        assert_eq!(asked(at, "_queryFilter").as_deref(), Some("userName ne ''"));
        assert_eq!(
            (asked(at, "startIndex").as_deref(), asked(at, "count").as_deref()),
            (Some("1"), Some("100"))
        );
    }
    assert_eq!(asked(0, "since"), None);
    let since = asked(1, "since").unwrap();
    assert!(Timestamp::parse(&since).is_some_and(|at| at.millis() % 1000 == 0), "{since}");
}

#[test]
fn a_token_is_asked_for_with_basic_or_in_the_form() {
    for (keys, basic, form) in [
        ("", true, "grant_type=client_credentials"),
        (
            "token_auth = \"form\"\nscope = \"scim\"",
            false,
            "grant_type=client_credentials&scope=scim&client_id=id-that-nobody-may-see&client_secret=secret-that-nobody-may-see",
        ),
    ] {
        let tenant = tenant_of(vec![]);
        tenant.set(keys);
        tenant.run(&["sync"]).ended(0);
        let calls = tenant.named("POST /oauth/token");
        assert_eq!(String::from_utf8_lossy(&calls[0].body), form);
        assert_eq!(header(&calls[0], "authorization").is_some_and(|sent| sent.starts_with("Basic ")), basic);
    }
}

#[test]
fn ids_with_odd_characters_reach_the_right_user() {
    let tenant = tenant_of(vec![user("a b/../c?d#e%", &["HR_SALES"], &[])]);
    tenant.run(&["sync"]).ended(0).says("1 delivered");
    let paths: Vec<String> = tenant.calls().iter().map(|call| call.url.path().to_owned()).collect();
    assert!(paths.contains(&"/scim/v2/Users/a%20b%2F..%2Fc%3Fd%23e%25".to_owned()), "{paths:?}");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = tenant_of(vec![user("u-1", &["HR_SALES"], &[])]);
    let there = elsewhere.uri();
    let tenant = Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
        "PATCH /Users/u-1" => {
            let location = format!("{there}/scim/v2/Users/u-1");
            Some(ResponseTemplate::new(307).insert_header("Location", location))
        }
        _ => None,
    });
    tenant.run(&["sync"]).ended(3).says("1 dead letter");
    let there = elsewhere.uri();
    let lists = Scripted::new(move |name, _| {
        let location = format!("{there}/scim/v2/Users");
        (name == "GET /Users").then(|| ResponseTemplate::new(302).insert_header("Location", location))
    });
    lists.run(&["sync"]).ended(1).complains("302");
    assert_eq!(elsewhere.names(), Vec::<String>::new(), "the token went nowhere else");
}

/// Somebody puts the user into a team by hand between our reading and our writing.
#[test]
fn a_user_who_changed_meanwhile_is_read_again_and_decided_anew() {
    let versioned = |teams: &[&str], version: &str| {
        let mut user = user("u-1", &["HR_SALES"], teams);
        user["meta"] = json!({ "version": version });
        user
    };
    let tenant = Scripted::new(move |name, request| match name {
        "GET /ServiceProviderConfig" => Some(etags(true)),
        "GET /Users" => Some(list(&[versioned(&[], "W/\"1\"")])),
        "GET /Users/u-1" => {
            Some(ResponseTemplate::new(200).set_body_json(versioned(&["team-by-hand"], "W/\"2\"")))
        }
        "PATCH /Users/u-1" => {
            let current = header(request, "if-match").as_deref() == Some("W/\"2\"");
            Some(if current { ResponseTemplate::new(204) } else { refusal(412, "changed meanwhile") })
        }
        _ => None,
    });
    tenant.run(&["sync"]).ended(0).says("1 delivered, 0 still waiting, 0 dead letters");
    let patches = tenant.named("PATCH /Users/u-1");
    let versions: Vec<_> = patches.iter().map(|call| header(call, "if-match").unwrap()).collect();
    assert_eq!(versions, ["W/\"1\"", "W/\"2\""]);
    let sent: Value = serde_json::from_slice(&patches[1].body).unwrap();
    let teams: Vec<&Value> =
        sent["Operations"][0]["value"].as_array().unwrap().iter().map(|team| &team["value"]).collect();
    assert_eq!(teams, ["team-by-hand", "team-sales"]);
}

/// The write of the one succeeds once the other, who changed meanwhile, has been written.
#[test]
fn nobody_waits_to_be_read_again_for_somebody_elses_backoff() {
    let written = Arc::new(Mutex::new(0));
    let versioned = |id: &str, version: &str| {
        let mut user = user(id, &["HR_SALES"], &[]);
        user["meta"] = json!({ "version": version });
        user
    };
    let tenant = Scripted::new(move |name, _| {
        let mut written = written.lock().unwrap();
        match name {
            "GET /ServiceProviderConfig" => Some(etags(true)),
            "GET /Users" => Some(list(&["u-1", "u-2"].map(|id| versioned(id, "W/\"1\"")))),
            "GET /Users/u-2" => Some(ResponseTemplate::new(200).set_body_json(versioned("u-2", "W/\"2\""))),
            "GET /Users/u-1" => Some(ResponseTemplate::new(200).set_body_json(versioned("u-1", "W/\"1\""))),
            "PATCH /Users/u-1" if *written < 2 => Some(refusal(503, "not now")),
            "PATCH /Users/u-2" => {
                *written += 1;
                Some(if *written == 1 {
                    refusal(412, "changed meanwhile")
                } else {
                    ResponseTemplate::new(204)
                })
            }
            "PATCH /Users/u-1" => Some(ResponseTemplate::new(204)),
            _ => None,
        }
    });
    tenant.set("delivery.max_attempts = 4");
    tenant.run(&["sync"]).ended(0).says("2 delivered, 0 still waiting, 0 dead letters");
}

#[test]
fn a_user_who_is_gone_is_forgotten() {
    let tenant = Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&["u-1", "u-2"].map(|id| user(id, &["HR_SALES"], &[])))),
        "PATCH /Users/u-1" => Some(refusal(404, "no such user")),
        "PATCH /Users/u-2" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant
        .run(&["sync"])
        .ended(0)
        .says("1 delivered, 0 still waiting, 0 dead letters")
        .complains("user is gone");
    assert_eq!(tenant.status()["users"], json!(1));
}

#[test]
fn a_gateways_404_is_tried_again() {
    let calls = AtomicUsize::new(0);
    let tenant = Scripted::new(move |name, _| match name {
        "GET /Users" => Some(list(&[user("u-1", &["HR_SALES"], &[])])),
        "GET /Users/u-1" => Some(ResponseTemplate::new(200).set_body_json(user("u-1", &["HR_SALES"], &[]))),
        "PATCH /Users/u-1" if calls.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(ResponseTemplate::new(404).set_body_raw("<html><h1>404</h1></html>", "text/html"))
        }
        "PATCH /Users/u-1" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.run(&["sync"]).ended(0).says("1 delivered");
    assert_eq!(tenant.named("PATCH /Users/u-1").len(), 2);
}

/// Ten users in a row with the same refusal: the configuration is wrong, and all are left alone, these ten and what was in
/// flight at that moment included.
#[test]
fn a_wrong_configuration_is_noticed_before_all_users_are_dead_letters() {
    for workers in [1, 10] {
        let tenant = Scripted::new(move |name, _| match name {
            "GET /Users" => {
                let users: Vec<Value> =
                    (0..40).map(|number| user(&format!("u-{number}"), &["HR_SALES"], &[])).collect();
                Some(list(&users))
            }
            _ if name.starts_with("PATCH") => Some(refusal(400, "team 'team-sales' does not exist")),
            _ => None,
        });
        tenant.set(&format!("delivery.workers = {workers}"));
        tenant.run(&["sync"]).ended(3).says("(operations rejected)").complains("tenant quarantined");
        let operations = &tenant.status()["operations"];
        assert!(tenant.writes() < 10 + workers, "{workers} workers");
        assert_eq!(operations["dead_letters"], 0, "{workers} workers: {operations}");
        assert_eq!(operations["ready"], 40, "{workers} workers: {operations}");
    }
}

/// What waits is sent once a list has been read, not once a single user has: the others' lists may be old.
#[test]
fn users_who_are_read_again_do_not_let_old_operations_go() {
    let refuses = Arc::new(AtomicBool::new(false));
    let tenant = Scripted::new({
        let refuses = refuses.clone();
        move |name, _| match name {
            "GET /Users" if refuses.load(Ordering::SeqCst) => Some(refusal(400, "not now")),
            "GET /Users" => {
                let users: Vec<Value> =
                    (0..5).map(|number| user(&format!("u-{number}"), &["HR_SALES"], &[])).collect();
                Some(list(&users))
            }
            "GET /Users/u-0" => Some(ResponseTemplate::new(200).set_body_json(user("u-0", &[], &[]))),
            _ if name.starts_with("PATCH") => Some(ResponseTemplate::new(204)),
            _ => None,
        }
    });
    tenant.set("schedule = \"* * * * * *\"");
    tenant.run(&["sync", "--wait", "0s"]).ended(3);
    let before = tenant.writes();
    refuses.store(true, Ordering::SeqCst);
    execute(&tenant.database(), "INSERT INTO rereads (tenant, user_id) VALUES ('acme', 'u-0')");
    let daemon = Daemon::start(&tenant);
    until("a pass has read him again", || {
        daemon.lines().iter().any(|line| line["kind"] == "reread" && line["result"] == "ok")
    });
    // Two more passes that fail: time enough for whoever delivers too early.
    let lists = tenant.named("GET /Users").len();
    until("lists are refused again", || tenant.named("GET /Users").len() > lists + 1);
    daemon.stop().with(0);
    assert_eq!(tenant.writes(), before, "lists that may be old were sent");
}

#[test]
fn a_missing_permission_ends_with_77() {
    let tenant =
        Scripted::new(|name, _| (name == "GET /Users").then(|| refusal(403, "missing permission scim:read")));
    for command in ["sync", "plan"] {
        tenant.run(&[command]).ended(77).complains("missing permission scim:read");
    }
    assert_eq!(tenant.writes(), 0);
}

#[test]
fn a_permission_that_is_missing_for_all_who_wait_ends_with_77() {
    let tenant = Scripted::new(|name, _| match name {
        "GET /Users" => {
            let users: Vec<Value> =
                (0..10).map(|number| user(&format!("u-{number}"), &["HR_SALES"], &[])).collect();
            Some(list(&users))
        }
        _ if name.starts_with("PATCH") => Some(refusal(403, "missing permission scim:write")),
        _ => None,
    });
    tenant.run(&["sync"]).ended(77).says("10 still waiting, 0 dead letters").says("permission missing");
}

/// The token endpoint tells its own rate limit as a 400.
#[test]
fn a_token_endpoint_that_is_told_too_often_is_asked_again() {
    let calls = Arc::new(Mutex::new(0));
    let tenant = Scripted::new(move |name, _| {
        let mut calls = calls.lock().unwrap();
        *calls += u32::from(name == "POST /oauth/token");
        let limited = json!({ "error": "invalid_request", "description": "rate limit exceeded" });
        match name {
            "POST /oauth/token" if *calls == 1 => Some(ResponseTemplate::new(400).set_body_json(limited)),
            "GET /Users" => Some(list(&[])),
            _ => None,
        }
    });
    tenant.run(&["sync"]).ended(0);
    assert_eq!(tenant.named("POST /oauth/token").len(), 2);
}
