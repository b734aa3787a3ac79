use serde_json::json;

use super::*;

const MARKER: &str = "<remove>";

type Row = Result<Result<WantedAttributes, RejectedRow>, InputError>;

/// Each row: `line user set remove`, or `line !field: reason …`.
fn shown(rows: impl Iterator<Item = Row>) -> Vec<String> {
    let show = |row: Row| match row.unwrap() {
        Ok(row) => {
            let user = serde_json::to_value(&row.user).unwrap();
            format!("{} {user} {} {:?}", row.line, json!(row.set), row.remove)
        }
        Err(row) => {
            assert!(!row.faults.is_empty());
            let fault = |fault: &RowFault| format!("!{}: {}", fault.field, fault.reason);
            format!("{} {}", row.line, row.faults.iter().map(fault).collect::<Vec<_>>().join(" "))
        }
    };
    rows.map(show).collect()
}

fn csv(text: &str) -> Result<AttributeFile, InputError> {
    AttributeFile::from_bytes(text.as_bytes().to_vec(), Form::Csv, MARKER)
}

fn jsonl(text: &str) -> Vec<String> {
    shown(AttributeFile::from_bytes(text.as_bytes().to_vec(), Form::Jsonl, MARKER).unwrap())
}

#[track_caller]
fn assert_rows(rows: &[String], expected: &[&str]) {
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.contains(expected), "{row}\ndoes not hold: {expected}");
    }
}

#[test]
fn a_table_sets_removes_and_leaves_alone() {
    let rows = shown(
        csv("\u{feff}USERNAME, Cost \"Center\" ,desk\nU1, 7 ,<remove>\n\nu2,,\nu3,\"two\nlines\",x\n")
            .unwrap(),
    );
    let expected = [
        r#"2 {"userName":"U1"} {"Cost \"Center\"":"7"} {"desk"}"#,
        r#"4 {"userName":"u2"} {} {}"#,
        r#"5 {"userName":"u3"} {"Cost \"Center\"":"two\nlines","desk":"x"} {}"#,
    ];
    assert_rows(&rows, &expected);
}

#[test]
fn a_user_who_is_named_twice_is_rejected_the_second_time() {
    let rows = shown(csv("userName,desk\nu1,1\nU1,2\nu2,3\n").unwrap());
    assert_rows(&rows, &["2 {\"userName\"", "3 !userName: line 2 is about the same user", "4 {\"userName\""]);
    let rows = jsonl(
        "{\"id\":\"a\",\"attributes\":{}}\n{\"externalId\":\"a\",\"attributes\":{}}\n{\"id\":\"a\",\"attributes\":{}}",
    );
    assert_rows(&rows, &["1 {\"id\"", "2 {\"externalId\"", "3 !id: line 1"]);
}

#[test]
fn a_header_that_cannot_be_understood_is_refused() {
    for (text, says) in [
        ("name,desk\n", "first column must be id, userName or externalId"),
        ("id,desk,,desk\n", "column 3: a key is empty; columns 2 and 4 are both for \"desk\""),
        ("id\n", "has no column for an attribute"),
        ("id,a\0\n", "NUL"),
    ] {
        let error = csv(text).err().expect("the header is accepted").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(csv("").unwrap().count(), 0);
}

#[test]
fn a_broken_row_is_rejected_and_its_values_stay_hidden() {
    let long = "s3cret".repeat(LONGEST_VALUE);
    let text = format!("externalId,desk\ne1\n,s3cret\ne3,s3cret\u{7}\ne4,{long}\ne5,1\n");
    let rows = shown(csv(&text).unwrap());
    let expected = [
        "2 !row: has 1 cell, and the header has 2",
        "3 !externalId: is missing",
        "4 !desk: holds a control character",
        "5 !desk: is longer than 8192 characters",
        "6 {\"externalId\":\"e5\"}",
    ];
    assert_rows(&rows, &expected);
    let rejected: Vec<_> = csv(&text).unwrap().filter_map(|row| row.unwrap().err()).collect();
    assert_eq!(rejected[2].external_id.as_deref(), Some("e3"));
    assert!(!format!("{rejected:?}").contains("s3cret"));
}

#[test]
fn a_line_sets_any_scalar_and_null_removes() {
    let rows = jsonl(concat!(
        "{\"id\":\"u1\",\"attributes\":{\"a\":\" x \",\"b\":1.5,\"c\":false,\"d\":null}}\n\n",
        "{\"ExternalId\":17,\"attributes\":{\"a\":[1],\"b\":{}}}\n",
        "{\"attributes\":{\"a\":1}}\n",
        "{\"id\":\"u\",\"userName\":\"u\",\"attributes\":{\"\":1}}\n",
        "{\"id\":\"u\",\"desk\":1}\n",
        "{\"id\":true,\"attributes\":5}\n",
        "{\"id\":\"u\",\"id\":\"v\"}\n",
    ));
    let expected = [
        r#"1 {"id":"u1"} {"a":" x ","b":1.5,"c":false} {"d"}"#,
        "3 !a: is no single value: write text, a number, true or false; null removes !b: is no single",
        "4 !row: says not once whose",
        "5 !attributes: a key is empty !row: says not once",
        "6 !\"desk\": is not known",
        "7 !attributes: is no object",
        "8 !row: is no JSON object, column 19: the key \"id\" is there twice",
    ];
    assert_rows(&rows, &expected);
    assert!(rows[5].contains("!id: is no text"), "{}", rows[5]);
}

#[test]
fn assignments_are_read_all_or_not() {
    let parse = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Assignments::parse(&texts, MARKER)
    };
    let expected =
        Assignments { set: [("a".to_owned(), json!("b=c"))].into(), remove: ["x y".to_owned()].into() };
    assert_eq!(parse(&[" a = b=c ", "x y=<remove>"]), Ok(expected));
    let reasons = parse(&["a", "=1", "b=", "c=1", "c=2", "d=s3cret\u{7}"]).unwrap_err();
    let says = [
        "assignment 1: has no `=`",
        "assignment 2: a key is empty",
        "assignment 3: \"b\" has no value: to remove it, write 'b=<remove>'",
        "assignment 5: \"c\" is there twice",
        "assignment 6: the value of \"d\" holds a control",
    ];
    assert_rows(&reasons, &says);
    assert!(!reasons.join("").contains("s3cret"));
    assert_eq!(parse(&[]).unwrap_err().len(), 1);
}

#[test]
fn a_list_of_users_has_a_header_or_is_of_ids() {
    let rows = |text: &str| {
        let assignments = Assignments::parse(&["a=1".to_owned()], MARKER).unwrap();
        shown(UserFile::from_bytes(text.as_bytes().to_vec(), assignments).unwrap())
    };
    assert_rows(
        &rows("userName\r\nu1\r\n\r\nU1\r\nu2,x\r\n"),
        &["2 {\"userName\":\"u1\"} {\"a\":\"1\"} {}", "4 !userName: line 2", "5 !row: is more than one cell"],
    );
    assert_rows(&rows("\n u1 \n \nu2"), &["2 {\"id\":\"u1\"}", "4 {\"id\":\"u2\"}"]);
    assert_rows(&rows(""), &[]);
}
