use std::fs;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::super::input::behind_mark;
use super::*;
use crate::model::ENTERPRISE_USER;

fn required() -> BTreeSet<String> {
    ["externalId", "userName", "emails"].map(str::to_owned).into()
}

fn columns(named: &[(&str, &str)], ignored: &[&str]) -> Columns {
    let named = named.iter().map(|(path, column)| ((*path).to_owned(), (*column).to_owned()));
    Columns { named: named.collect(), ignored: ignored.iter().map(|name| (*name).to_owned()).collect() }
}

fn export(text: impl AsRef<[u8]>, form: Form, columns: &Columns) -> Result<Export, InputError> {
    Export::from_bytes(text.as_ref().to_vec(), form, columns, &required())
}

/// Each row as its line and `path=value …`, or as its line and its reasons.
fn shown(rows: Export) -> Vec<(u64, String)> {
    let show = |row: Result<RawRow, RejectedRow>| match row {
        Ok(row) => {
            let field = |(path, value)| match value {
                RawValue::Text(text) => format!("{path}={text}"),
                RawValue::Json(value) => format!("{path}={value}"),
            };
            (row.line, row.fields.into_iter().map(field).collect::<Vec<_>>().join(" "))
        }
        Err(row) => {
            let fault = |fault: RowFault| format!("!{}: {}", fault.field, fault.reason);
            (row.line, row.faults.into_iter().map(fault).collect::<Vec<_>>().join(" "))
        }
    };
    rows.map(|row| show(row.unwrap())).collect()
}

fn header_faults(text: &str, columns: &Columns) -> String {
    let error = export(text, Form::Csv, columns).err().expect("the header is accepted");
    assert!(matches!(error.trouble, Trouble::Header(_)));
    error.to_string()
}

const HEAD: &str = "externalId,userName,email";

#[test]
fn a_csv_row_says_what_its_cells_say() {
    let text = format!(
        "\u{feff}{HEAD},GivenName , Department,urn:example:hr:2.0:User:badge\r\n\
         e1,user-0001@example.com,,\"A, \"\"B\"\"\nC\",Sales,7\r\n\
         ,,,,,\r\n\
         e2,u2,a@example.com,,,\r\n"
    );
    let rows = shown(export(text, Form::Csv, &Columns::default()).unwrap());
    let first = format!(
        "externalId=e1 userName=user-0001@example.com name.givenName=A, \"B\"\nC {ENTERPRISE_USER}:department=Sales \
         urn:example:hr:2.0:User:badge=7"
    );
    let second = "externalId=e2 userName=u2 email=a@example.com".to_owned();
    assert_eq!(rows, [(2, first), (5, second)]);
}

#[test]
fn a_broken_row_is_rejected_with_its_line_and_reading_goes_on() {
    let text =
        [HEAD.as_bytes(), b"\ne1,u1\ne2,u2,m,x\n\"e3\n\n\",u3\ne4,\xff,m\ne5,u\x005,m\ne6,u6,m"].concat();
    let rows = shown(export(text, Form::Csv, &Columns::default()).unwrap());
    let says = [
        (2, "has 2 cells, and the header has 3: a comma"),
        (3, "has 4 cells, and the header has 3"),
        (4, "over lines 4 to 6: is a quote left open?"),
        (7, "cell 2 is not UTF-8"),
        (8, "holds a NUL byte"),
        (9, "externalId=e6"),
    ];
    assert_eq!(rows.len(), says.len(), "{rows:?}");
    for ((line, row), (expected, says)) in rows.into_iter().zip(says) {
        assert!(line == expected && row.contains(says), "{line}: {row}");
    }
}

#[test]
fn an_open_quote_takes_what_is_behind_it_and_nothing_before() {
    let mut rows =
        export(format!("{HEAD}\ne1,u1,m\ne2,\"u2,m\ne3,u3,m\n"), Form::Csv, &Columns::default()).unwrap();
    assert!(rows.next().unwrap().is_ok());
    let rejected = rows.next().unwrap().unwrap().unwrap_err();
    assert_eq!(rejected.line, 3);
    assert!(rejected.faults[0].reason.starts_with("a quote is opened and never closed"), "{rejected:?}");
    assert!(rows.next().is_none());
}

#[test]
fn a_header_says_all_that_is_wrong_with_it() {
    let none = Columns::default();
    for (text, columns, says) in [
        (
            "externalId,usrName,wage\n",
            &none,
            &[
                "\"usrName\", is not known; did you mean userName?",
                "\"wage\", is not known: name the attribute",
                "provision.ignore_columns",
                "no column userName",
                "no column emails",
            ][..],
        ),
        (
            "externalId,userName,email,givenName,NAME.givenname",
            &none,
            &["columns 4 and 5 are both for givenName"],
        ),
        ("externalId,userName,email,", &none, &["column 4 has no name"]),
        ("externalId;userName;email", &none, &["separated by ';'"]),
        ("externalId\tuserName", &none, &["separated by '\\t'"]),
        (
            "externalId,userName,email",
            &columns(&[("externalId", "EmployeeID")], &[]),
            &["column 1, \"externalId\", is not known", "there is no column externalId"],
        ),
    ] {
        let faults = header_faults(text, columns);
        assert!(says.iter().all(|says| faults.contains(says)), "{faults}");
    }
}

#[test]
fn a_row_that_stands_for_a_header_is_not_quoted() {
    let faults = header_faults("e1,jane.doe@example.com,Jane\n", &Columns::default());
    assert!(faults.contains("none of its 3 columns is known") && !faults.contains("ane"), "{faults}");
}

#[test]
fn columns_have_the_names_that_the_configuration_gives_them() {
    let columns =
        columns(&[("externalId", "EmployeeID"), ("userName", "Mail"), ("email", "Mail")], &["Salary"]);
    let rows = shown(export("salary, employeeid,MAIL\n9,e1,a@example.com\n", Form::Csv, &columns).unwrap());
    assert_eq!(rows, [(2, "externalId=e1 email=a@example.com userName=a@example.com".to_owned())]);
    let text = r#"{"Salary":9,"EmployeeID":"e1","Mail":"a@example.com"}"#;
    let rows = shown(export(text, Form::Jsonl, &columns).unwrap());
    assert_eq!(
        rows,
        [(1, "externalId=\"e1\" email=\"a@example.com\" userName=\"a@example.com\"".to_owned())]
    );
}

#[test]
fn nothing_at_all_has_no_rows() {
    for text in ["", "\u{feff}", "\n\n", HEAD, &format!("{HEAD}\n")] {
        assert_eq!(shown(export(text, Form::Csv, &Columns::default()).unwrap()), []);
    }
    for text in ["", " \n\n"] {
        assert_eq!(shown(export(text, Form::Jsonl, &Columns::default()).unwrap()), []);
    }
}

/// The fields of the one row that a line says.
fn fields(line: &Value) -> Vec<(String, Value)> {
    let mut rows = export(line.to_string(), Form::Jsonl, &Columns::default()).unwrap();
    let row = rows.next().unwrap().unwrap().unwrap_or_else(|row| panic!("{row:?}"));
    let value = |value| match value {
        RawValue::Json(value) => value,
        RawValue::Text(text) => panic!("{text} is no JSON"),
    };
    row.fields.into_iter().map(|(path, raw)| (path, value(raw))).collect()
}

#[test]
fn a_line_is_flat_or_a_scim_user() {
    let flat = json!({"externalId": "e1", "givenName": "A", "active": true, "department": "Sales", "title": null, "roles": []});
    let expected = [
        ("active".to_owned(), json!(true)),
        (format!("{ENTERPRISE_USER}:department"), json!("Sales")),
        ("externalId".to_owned(), json!("e1")),
        ("name.givenName".to_owned(), json!("A")),
    ];
    assert_eq!(fields(&flat), expected);
    let user = json!({
        "schemas": ["x"], "id": "1", "meta": {},
        "name": {"givenName": "A", "familyName": ""},
        "emails": [{"value": "a@example.com"}],
        ENTERPRISE_USER: {"manager": {"value": "m"}, "costCenter": "4"},
        "urn:example:hr:2.0:User": {"badge": 7},
        format!("{ENTERPRISE_USER}:division"): "D",
    });
    let expected = [
        ("emails".to_owned(), json!([{"value": "a@example.com"}])),
        ("name.givenName".to_owned(), json!("A")),
        ("urn:example:hr:2.0:User:badge".to_owned(), json!(7)),
        (format!("{ENTERPRISE_USER}:costCenter"), json!("4")),
        (format!("{ENTERPRISE_USER}:manager"), json!({"value": "m"})),
        (format!("{ENTERPRISE_USER}:division"), json!("D")),
    ];
    assert_eq!(fields(&user), expected);
}

#[test]
fn a_broken_line_is_rejected_and_reading_goes_on() {
    let text = "{\"externalId\":\"e1\",\"usrName\":1,\"name\":{\"nick\":2}}\n{\"a\":\n\n[]\n{\"givenName\":\"A\",\"name\":{\"givenName\":\"B\"}}\n{\"externalId\":\"e6\"}";
    let rows = shown(export(text, Form::Jsonl, &Columns::default()).unwrap());
    let says = [
        (1, "!\"usrName\": is not known; did you mean userName?"),
        (2, "column 5: EOF"),
        (4, "is no JSON object"),
        (5, "!name.givenName: is there twice"),
        (6, "externalId=\"e6\""),
    ];
    assert_eq!(rows.len(), says.len(), "{rows:?}");
    for ((line, row), (expected, says)) in rows.iter().zip(says) {
        assert!(*line == expected && row.contains(says), "{line}: {row}");
    }
    assert!(rows[0].1.contains("!\"name.nick\""), "{}", rows[0].1);
    let mut rows = export(text, Form::Jsonl, &Columns::default()).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().unwrap_err().external_id.as_deref(), Some("e1"));
}

/// An export of that many users that is made while it is read, and tells how much of it was.
struct Endless {
    users: std::ops::Range<u32>,
    pending: Vec<u8>,
    given: Arc<AtomicUsize>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty()
            && let Some(user) = self.users.next()
        {
            self.pending = if user == 0 {
                format!("{HEAD}\n").into_bytes()
            } else {
                format!("e{user},user-{user}@example.com,user-{user}@example.com\n").into_bytes()
            };
        }
        let length = self.pending.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.pending[..length]);
        self.pending.drain(..length);
        self.given.fetch_add(length, Ordering::Relaxed);
        Ok(length)
    }
}

#[test]
fn no_more_of_a_file_is_read_than_its_next_row_needs() {
    const BUFFER: usize = 4096;
    let given = Arc::new(AtomicUsize::new(0));
    let endless = Endless { users: 0..50_001, pending: Vec::new(), given: Arc::clone(&given) };
    let input = behind_mark(BufReader::with_capacity(BUFFER, endless)).unwrap();
    let rows = Export::read(Path::new("hr.csv"), input, Form::Csv, &Columns::default(), &required()).unwrap();
    let (mut count, mut said) = (0_u64, HEAD.len() + 1);
    for row in rows {
        let row = row.unwrap().unwrap();
        count += 1;
        assert_eq!(row.line, count + 1);
        let length = |(_, value): &(String, RawValue)| match value {
            RawValue::Text(text) => text.len() + 1,
            RawValue::Json(_) => 0,
        };
        said += row.fields.iter().map(length).sum::<usize>();
        assert!(given.load(Ordering::Relaxed) <= said + BUFFER, "line {}", row.line);
    }
    assert_eq!(count, 50_000);
}

#[test]
fn a_file_is_opened_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hr.CSV");
    fs::write(&path, format!("{HEAD}\ne1,u1,a@example.com\n")).unwrap();
    assert_eq!(Export::open(&path, &Columns::default(), &required()).unwrap().count(), 1);
    let other = folder.path().join("hr.xlsx");
    let error = Export::open(&other, &Columns::default(), &required()).err().unwrap().to_string();
    assert!(error.contains("hr.xlsx: is neither .csv nor .jsonl"), "{error}");
}
