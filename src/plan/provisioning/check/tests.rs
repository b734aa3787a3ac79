use serde_json::{Value, json};

use super::*;
use crate::model::ENTERPRISE_USER;

const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn cells(line: u64, fields: &[(&str, &str)]) -> RawRow {
    let field = |(path, text): &(&str, &str)| ((*path).to_owned(), RawValue::Text((*text).to_owned()));
    RawRow { line, fields: fields.iter().map(field).collect() }
}

/// A row that is right, with these fields in place of its own or besides them.
fn right(line: u64, over: &[(&str, &str)]) -> RawRow {
    let (id, name) = (format!("e{line}"), format!("user-{line}@example.com"));
    let own = [("externalId", id.as_str()), ("userName", &name), ("name.givenName", "A"), ("email", &name)];
    let kept = own.into_iter().filter(|(path, _)| over.iter().all(|(other, _)| other != path));
    cells(line, &kept.chain(over.iter().copied()).collect::<Vec<_>>())
}

fn with_json(path: &str, value: Value) -> RawRow {
    let mut row = right(2, &[]);
    row.fields.retain(|(other, _)| other != path);
    row.fields.push((path.to_owned(), RawValue::Json(value)));
    row
}

fn checker() -> Checker {
    Checker::new(Rules::default())
}

fn user(row: RawRow) -> Value {
    checker().check(row).unwrap_or_else(|row| panic!("{row:?}")).user.into()
}

/// The faults: attribute, what is shown, reason.
fn faults(row: RawRow) -> Vec<(String, Option<String>, String)> {
    let rejected = checker().check(row).expect_err("the row is taken");
    rejected.faults.into_iter().map(|fault| (fault.field, fault.value, fault.reason)).collect()
}

#[test]
fn a_row_becomes_the_user_that_it_names_and_nothing_else() {
    let wanted = checker().check(right(2, &[])).unwrap();
    assert_eq!((wanted.line, wanted.external_id.as_str()), (2, "e2"));
    assert_eq!(wanted.user_name, "user-2@example.com");
    let expected = json!({
        "schemas": [CORE],
        "externalId": "e2",
        "userName": "user-2@example.com",
        "name": {"givenName": "A"},
        "emails": [{"value": "user-2@example.com", "type": "work", "primary": true}],
    });
    assert_eq!(Value::from(wanted.user), expected);
    let department = format!("{ENTERPRISE_USER}:department");
    let manager = format!("{ENTERPRISE_USER}:manager");
    let all = [
        ("externalId", " e1 "),
        ("userName", "a@example.com"),
        ("email", "b@example.com"),
        ("emails", "c@example.com; B@example.com;;d@example.com"),
        ("name.givenName", " Änn\u{200d}e "),
        ("name.familyName", "D"),
        ("displayName", "   "),
        ("active", "FALSE"),
        ("roles", "SALES; SUPPORT;SALES"),
        ("title", "T"),
        (&department, "Sales"),
        (&manager, "m1"),
        ("urn:example:hr:2.0:User:badge", "7"),
        ("password", " Abcdef1"),
    ];
    let expected = json!({
        "schemas": [CORE, "urn:example:hr:2.0:User", ENTERPRISE_USER],
        "externalId": "e1",
        "userName": "a@example.com",
        "name": {"givenName": "Änn\u{200d}e", "familyName": "D"},
        "active": false,
        "emails": [
            {"value": "B@example.com", "type": "work", "primary": true},
            {"value": "c@example.com", "type": "other"},
            {"value": "d@example.com", "type": "other"},
        ],
        "roles": [{"value": "SALES"}, {"value": "SUPPORT"}],
        "title": "T",
        ENTERPRISE_USER: {"department": "Sales", "manager": {"value": "m1"}},
        "urn:example:hr:2.0:User": {"badge": "7"},
        "password": " Abcdef1",
    });
    assert_eq!(user(cells(2, &all)), expected);
}

#[test]
fn json_is_taken_for_what_it_is() {
    let emails = json!([
        {"value": "a@example.com", "type": "home"},
        {"value": "b@example.com", "primary": true, "display": "B"},
        "A@example.com",
    ]);
    let mut row = with_json("emails", emails);
    row.fields.retain(|(path, _)| path != "email");
    let expected = json!([
        {"value": "b@example.com", "type": "work", "primary": true, "display": "B"},
        {"value": "a@example.com", "type": "home"},
    ]);
    assert_eq!(user(row)["emails"], expected);
    assert_eq!(user(with_json("externalId", json!(1001)))["externalId"], json!("1001"));
    assert_eq!(user(with_json("active", json!(1)))["active"], json!(true));
    assert_eq!(
        user(with_json("roles", json!([{"value": "A"}, "B;C"])))["roles"],
        json!([{"value": "A"}, {"value": "B;C"}])
    );
    let manager = format!("{ENTERPRISE_USER}:manager");
    assert_eq!(
        user(with_json(&manager, json!({"value": 7})))[ENTERPRISE_USER],
        json!({"manager": {"value": "7"}})
    );
    let badge = "urn:example:hr:2.0:User:badge";
    assert_eq!(
        user(with_json(badge, json!({"no": [7]})))["urn:example:hr:2.0:User"],
        json!({"badge": {"no": [7]}})
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_shows_nobody() {
    let row = cells(
        7,
        &[
            ("externalId", "e7"),
            ("userName", "jane.doe.example.com"),
            ("email", "Jane Doe <jane@doe.com>"),
            ("emails", "jane@example.com;jane @example.com"),
            ("name.familyName", "Do\u{7}e"),
            ("active", "yes"),
            ("password", "jane"),
            ("title", "x\u{7}y"),
        ],
    );
    let rejected = checker().check(row).unwrap_err();
    assert_eq!((rejected.line, rejected.external_id.as_deref()), (7, Some("e7")));
    let said: Vec<_> =
        rejected.faults.iter().map(|fault| (fault.field.as_str(), fault.value.as_deref())).collect();
    let expected = [
        ("userName", Some("***")),
        ("email", Some("***")),
        ("emails", Some("j***@***")),
        ("name.familyName", Some("***")),
        ("active", Some("yes")),
        ("password", Some("***")),
        ("title", Some("***")),
        ("name.givenName", None),
    ];
    assert_eq!(said, expected);
    let all = format!("{rejected:?}").to_lowercase();
    assert!(!all.contains("jane") && !all.contains("doe") && !all.contains("x\\u{7}y"), "{all}");
    assert_eq!(rejected.faults[7].reason, "is missing");
}

#[test]
fn each_value_is_refused_for_its_own_reason() {
    let long = "x".repeat(1025);
    let badge = "urn:example:hr:2.0:User:badge";
    let manager = format!("{ENTERPRISE_USER}:manager");
    let department = format!("{ENTERPRISE_USER}:department");
    for (row, field, says) in [
        (right(2, &[("externalId", "a\u{200b}b")]), "externalId", "invisible"),
        (right(2, &[("externalId", &long)]), "externalId", "longer than 1024"),
        (right(2, &[("displayName", &long)]), "displayName", "longer than 1024"),
        (right(2, &[("userName", " ")]), "userName", "is missing"),
        (right(2, &[("email", "")]), "emails", "is missing"),
        (right(2, &[("roles", "A;B\u{7}")]), "roles", "control character"),
        (right(2, &[("nickName", "x")]), "nickName", "no attribute"),
        (with_json("title", json!(true)), "title", "is no text"),
        (with_json("externalId", json!(1.5)), "externalId", "is no text"),
        (with_json("roles", json!([{"display": "A"}])), "roles", "has no value"),
        (with_json("roles", json!([["A"]])), "roles", "is no text"),
        (with_json("emails", json!([{"value": "a@b.c", "x": 1}])), "emails", "holds more than"),
        (
            with_json(
                "emails",
                json!([{"value": "a@b", "primary": true}, {"value": "c@d", "primary": true}]),
            ),
            "emails",
            "more than once",
        ),
        (with_json(&manager, json!({"displayName": "Doe"})), &manager, "neither an id"),
        (with_json(&department, json!(["x"])), &department, "is no text"),
        (with_json(badge, json!([{"a": "\u{7}"}])), badge, "control character"),
    ] {
        let faults = faults(row);
        let [(path, shown, reason)] = faults.as_slice() else { panic!("{field}: {faults:?}") };
        assert!(path == field && reason.contains(says), "{path} ({shown:?}): {reason}");
    }
}

#[test]
fn who_is_there_already_is_rejected_with_the_line_of_the_first() {
    let mut checker = checker();
    assert!(checker.check(right(2, &[("userName", "A@example.com")])).is_ok());
    // Rejected, and yet it has its names.
    assert!(checker.check(right(3, &[("name.givenName", "")])).is_err());
    for (row, field, shown, line) in [
        (right(4, &[("userName", "a@EXAMPLE.com")]), "userName", "***@***", "line 2,"),
        (right(5, &[("externalId", "e2")]), "externalId", "e2", "line 2,"),
        (right(6, &[("externalId", "e3")]), "externalId", "e3", "line 3,"),
        (right(7, &[("userName", "user-3@example.com")]), "userName", "u***@***", "line 3,"),
        (right(8, &[("externalId", "e2")]), "externalId", "e2", "line 2,"),
    ] {
        let rejected = checker.check(row).unwrap_err();
        let [fault] = rejected.faults.as_slice() else { panic!("{rejected:?}") };
        assert_eq!((fault.field.as_str(), fault.value.as_deref()), (field, Some(shown)));
        assert!(fault.reason.contains(line), "{}", fault.reason);
    }
    assert!(checker.check(right(9, &[("externalId", "E2")])).is_ok(), "externalId is told apart by case");
}

#[test]
fn the_rules_say_what_is_required_and_which_roles_there_are() {
    let rules = Rules {
        required: ["title".to_owned()].into(),
        roles: Some(["HR_SALES", "HR_SUPPORT"].map(str::to_owned).into()),
    };
    let mut checker = Checker::new(rules);
    let rejected = checker.check(cells(2, &[("roles", "HR_SALE;x;HR_SUPPORT")])).unwrap_err();
    let said: Vec<_> = rejected
        .faults
        .iter()
        .map(|fault| format!("{} {} {}", fault.field, fault.value.as_deref().unwrap_or("-"), fault.reason))
        .collect();
    let expected = [
        "roles HR_SALE is no role that is known; did you mean HR_SALES?",
        "roles x is no role that is known: see provision.roles",
        "externalId - is missing",
        "title - is missing",
        "userName - is missing",
    ];
    assert_eq!(said, expected);
    let row = [("externalId", "e"), ("userName", "u@example.com"), ("title", "T"), ("roles", "HR_SALES")];
    assert!(checker.check(cells(3, &row)).is_ok());
}
