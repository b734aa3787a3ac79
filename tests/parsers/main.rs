//! Parsers of what others write, fed with nonsense: the quick form of the fuzz targets in `fuzz/`, which `make soak` runs
//! for longer. They never panic, and never give more than there can be.

#![allow(clippy::unwrap_used, reason = "what a test sets up must be there")]

mod claims;

use std::time::Duration;

use proptest::prelude::*;
use rosterd::config::{RulesForm, read_rules};
use rosterd::model::{Columns, UserId};
use rosterd::plan::{Checker, Rules};
use rosterd::scim::{Page, RoleAttribute, read_user, retry_after};
use rosterd::source::{Export, Form};

use claims::NOW;

/// Text out of the words of a format, in any order: far nearer to it than any bytes are.
fn jumbled(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

const LIST: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "1e9",
    "\"id\"",
    "\"u-1\"",
    "\"Resources\":[",
    "\"totalResults\":",
    "{\"id\":\"u-1\",",
    "\"roles\":[",
    "{\"value\":\"r\"}",
    "\"teams\":",
    "\"active\":",
    "\"meta\":{",
    "\"lastModified\":\"2026-01-01T00:00:00Z\"",
    "]}",
];
const RULES: &[&str] = &[
    "role,team\n",
    "HR_SALES",
    ",",
    ";",
    "\n",
    "\r\n",
    "\"",
    "team-a",
    " ",
    "\u{feff}",
    "{",
    "}",
    "[",
    "]",
    ":",
    "\"A\"",
];
const ROWS: &[&str] = &[
    "externalId,userName,givenName,email\n",
    "e1,a@example.com,A,a@example.com",
    "e2",
    "b@example.com",
    ",",
    ";",
    "\n",
    "\r\n",
    "\"",
    " ",
    "\u{feff}",
    "\0",
    "{\"externalId\":\"e1\",\"userName\":\"a@example.com\",\"givenName\":\"A\",\"email\":\"a@example.com\"}",
    "{\"externalId\":",
    "\"roles\":[{\"value\":",
    "\"attributes\":{",
    "\"urn:a:b:User\":{\"c\":1}",
    "null",
    "}",
    "]",
    "id,desk\n",
    "userName\n",
];
const ADVICE: &[&str] = &[
    "Thu",
    "Thursday",
    ", ",
    "01",
    "-",
    " ",
    "Jan",
    "2026",
    "99",
    "00:00:30",
    ":",
    "GMT",
    "+",
    ".",
    "86400",
    "Thu, 01 Jan 2026 00:00:30 GMT",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_list_of_any_bytes_is_a_page_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        claims::list(&bytes);
    }

    #[test]
    fn a_list_of_any_json_is_a_page_or_a_reason(text in jumbled(LIST)) {
        claims::list(text.as_bytes());
        claims::list(format!("{{\"totalResults\":1,\"Resources\":[{{\"id\":\"u-1\",{text}}}]}}").as_bytes());
    }

    #[test]
    fn a_mapping_of_any_text_is_rules_or_reasons(any in "\\PC{0,100}", words in jumbled(RULES)) {
        claims::mapping(&any);
        claims::mapping(&words);
        claims::mapping(&format!("role,team\n{words}"));
    }

    #[test]
    fn an_export_of_any_bytes_is_rows_or_reasons(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        words in jumbled(ROWS),
    ) {
        let header = ROWS[0].as_bytes();
        for bytes in [&bytes, words.as_bytes()] {
            claims::export(bytes);
            claims::export(&[header, bytes].concat());
        }
    }

    #[test]
    fn attributes_of_any_bytes_are_rows_or_reasons(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        words in jumbled(ROWS),
    ) {
        for bytes in [&bytes, words.as_bytes()] {
            claims::attributes(bytes);
            claims::attributes(&[b"id,desk\n", bytes].concat());
        }
    }

    #[test]
    fn any_advice_to_wait_is_an_hour_at_most(any in "\\PC{0,40}", words in jumbled(ADVICE), number: i128) {
        claims::retry_after(&any);
        claims::retry_after(&words);
        claims::retry_after(&number.to_string());
    }
}

#[test]
fn what_is_right_is_read() {
    let page = Page::read(br#"{"totalResults":1,"Resources":[{"id":"u-1"}]}"#, Some(NOW)).unwrap();
    assert_eq!((page.total, page.date, page.resources.len()), (1, Some(NOW), 1));
    let user = read_user(page.resources[0].get().as_bytes(), RoleAttribute::Roles).unwrap();
    assert_eq!(user.id, UserId::from("u-1"));
    for (text, form) in [("role,team\nA,t;u\n", RulesForm::Csv), (r#"{"A":["t","u"]}"#, RulesForm::Json)] {
        assert_eq!(read_rules(text, form).unwrap().managed().len(), 2);
    }
    let required = Rules::default().required;
    for (text, form) in [(format!("{}{}", ROWS[0], ROWS[1]), Form::Csv), (ROWS[12].to_owned(), Form::Jsonl)] {
        let rows = Export::from_bytes(text.into_bytes(), form, &Columns::default(), &required).unwrap();
        let mut checker = Checker::new(Rules::default());
        assert!(rows.map(|row| checker.check(row.unwrap().unwrap()).unwrap()).count() == 1);
    }
    assert_eq!(retry_after("Thu, 01 Jan 2026 00:00:30 GMT", NOW), Some(Duration::from_secs(30)));
}
