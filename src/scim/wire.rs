//! SCIM on the wire (RFC 7643 §3, §4.1; RFC 7644 §3.4.2): typed structs, one user at a time.
//!
//! A user who cannot be read properly is not read at all: he is reported with his place, and nothing is
//! decided from him. No text of a record goes into a message, because it may be personal.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::{Role, TeamId, Timestamp, User, UserId};

/// Which attribute of a user holds the HR roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleAttribute {
    /// `roles[].value`.
    Roles,
    /// `teams[].value`.
    Teams,
}

/// One page of a list of users; the users are still text.
#[derive(Debug)]
pub struct Page {
    /// How many users the whole list has, as of this page.
    pub total: u64,
    /// `Date` of the answer.
    pub date: Option<Timestamp>,
    /// The records, in the order of the page.
    pub resources: Vec<Box<RawValue>>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose it is, if at least that could be read.
    pub id: Option<UserId>,
    /// Where in the record, and what is wrong there.
    pub reason: String,
}

#[derive(Deserialize)]
struct WirePage {
    #[serde(rename = "totalResults")]
    total_results: Option<u64>,
    #[serde(rename = "Resources", default)]
    resources: Option<AtMost<Box<RawValue>, MOST_RECORDS>>,
}

/// No page holds more records, whatever was asked for.
const MOST_RECORDS: usize = 10_000;

/// No user has more roles, nor more teams: a few bytes of JSON become many times as many in memory.
const MOST_VALUES: usize = 10_000;

/// A list, read no further than `MOST` elements.
struct AtMost<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AtMostVisitor(PhantomData))
    }
}

struct AtMostVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for AtMostVisitor<T, MOST> {
    type Value = AtMost<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(element) = elements.next_element()? {
            if read.len() == MOST {
                return Err(serde::de::Error::invalid_length(MOST + 1, &self));
            }
            read.push(element);
        }
        Ok(AtMost(read))
    }
}

impl Page {
    /// Reads a page. A list without `Resources` is only a list when it says that it is empty.
    ///
    /// # Errors
    /// With the reason, when it is no list (RFC 7644 §3.4.2), or has more than 10,000 records.
    pub fn read(body: &[u8], date: Option<Timestamp>) -> Result<Self, String> {
        let page: WirePage = parse(body).map_err(|why| format!("the answer is no SCIM list: {why}"))?;
        let total = page.total_results.ok_or("the answer is no SCIM list: totalResults is missing")?;
        let resources = match page.resources {
            Some(AtMost(records)) => records,
            None if total == 0 => Vec::new(),
            None => return Err(format!("the list has no Resources, though totalResults is {total}")),
        };
        Ok(Self { total, date, resources })
    }
}

/// Reads whether a `ServiceProviderConfig` offers entity tags; what cannot be read does not.
pub(super) fn etag_supported(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Config {
        etag: Supported,
    }
    #[derive(Deserialize)]
    struct Supported {
        supported: bool,
    }
    serde_json::from_slice::<Config>(body).is_ok_and(|config| config.etag.supported)
}

#[derive(Deserialize)]
struct WireUser {
    id: String,
    active: Option<bool>,
    roles: Option<AtMost<Element, MOST_VALUES>>,
    teams: Option<AtMost<Element, MOST_VALUES>>,
    meta: Option<Meta>,
}

/// An element of a multi-valued attribute, of which only the value counts.
#[derive(Deserialize)]
struct Element {
    value: String,
}

#[derive(Deserialize)]
struct Meta {
    version: Option<String>,
    #[serde(rename = "lastModified")]
    last_modified: Option<String>,
}

/// Reads one user.
///
/// # Errors
/// With the place, when the record has no `id` or an attribute that we need is not of its type.
pub fn read_user(record: &[u8], role_attribute: RoleAttribute) -> Result<User, Unreadable> {
    let wire: WireUser = parse(record).map_err(|reason| Unreadable { id: id_of(record), reason })?;
    if !addressable(&wire.id) {
        return Err(Unreadable {
            id: None,
            reason: "id is empty, too long, or cannot stand in an address".to_owned(),
        });
    }
    let teams = values(wire.teams);
    let roles = match role_attribute {
        RoleAttribute::Roles => values(wire.roles),
        RoleAttribute::Teams => teams.clone(),
    };
    let (version, last_modified) = wire.meta.map_or((None, None), |meta| (meta.version, meta.last_modified));
    Ok(User {
        id: UserId::from(wire.id),
        active: wire.active.unwrap_or(true),
        roles: roles.into_iter().map(Role::from).collect(),
        teams: teams.into_iter().map(TeamId::from).collect::<BTreeSet<_>>(),
        version,
        last_modified: last_modified.as_deref().and_then(Timestamp::parse),
    })
}

fn values(elements: Option<AtMost<Element, MOST_VALUES>>) -> Vec<String> {
    elements.into_iter().flat_map(|AtMost(elements)| elements).map(|element| element.value).collect()
}

/// A user's record, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// His id.
    pub id: UserId,
    /// By which HR knows him.
    pub external_id: Option<String>,
    /// In small letters; empty when the record does not say.
    pub user_name: String,
    /// `meta.version`, the entity tag.
    pub version: Option<String>,
    /// All of it.
    pub attributes: Map<String, Value>,
}

/// Reads a whole record.
///
/// # Errors
/// With what is wrong, when it is no object or has no `id` that can stand in an address.
pub fn read_record(record: &[u8]) -> Result<Record, String> {
    let attributes: Map<String, Value> =
        serde_json::from_slice(record).map_err(|_| "the record is no JSON object".to_owned())?;
    let text = |key: &str| attributes.get(key).and_then(Value::as_str);
    let id =
        text("id").filter(|id| addressable(id)).ok_or("the record has no id that can stand in an address")?;
    let version = attributes.get("meta").and_then(|meta| meta["version"].as_str());
    Ok(Record {
        id: UserId::from(id),
        external_id: text("externalId").map(str::to_owned),
        user_name: text("userName").unwrap_or_default().to_lowercase(),
        version: version.map(str::to_owned),
        attributes,
    })
}

/// Whether a record has this `userName`, whatever its case.
pub(super) fn is_named(record: &[u8], user_name: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "userName")]
        user_name: String,
    }
    serde_json::from_slice::<Named>(record)
        .is_ok_and(|named| named.user_name.to_lowercase() == user_name.to_lowercase())
}

/// Whether an id can be the last part of an address. Dots alone and control characters are dropped or resolved
/// there, and would make it the address of somebody else.
pub(super) fn addressable(id: &str) -> bool {
    /// Far above any id that was ever seen.
    const LONGEST: usize = 512;
    let bare = id.trim();
    !bare.is_empty()
        && id.len() <= LONGEST
        && !matches!(bare, "." | "..")
        && !id.chars().any(char::is_control)
}

fn id_of(record: &[u8]) -> Option<UserId> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(record).ok().filter(|it| addressable(&it.id)).map(|it| UserId::from(it.id))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let what = without_values(&error.into_inner().to_string());
        if path == "." { what } else { format!("{path}: {what}") }
    })?;
    deserializer.end().map_err(|_| "something follows the JSON value".to_owned())?;
    Ok(value)
}

/// serde quotes the value that it did not expect; a record's values are nobody's business. Marks around names
/// are dropped, because what stands between marks is taken for a name of a person further on.
fn without_values(message: &str) -> String {
    let Some(rest) =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))
    else {
        return message.replace('`', "");
    };
    let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
    let found = rest.split(['"', '`', ',']).next().unwrap_or_default().trim();
    format!("found {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(json: &str) -> Result<User, Unreadable> {
        read_user(json.as_bytes(), RoleAttribute::Roles)
    }

    #[test]
    fn a_record_is_read_with_what_it_leaves_out() {
        let user =
            user(r#"{"id":"u1","displayName":"x","roles":null,"meta":{"version":"W/\"3\""}}"#).unwrap();
        assert!(user.active && user.roles.is_empty() && user.teams.is_empty());
        assert_eq!(user.version.as_deref(), Some("W/\"3\""));
    }

    #[test]
    fn the_role_attribute_is_selectable() {
        let record = br#"{"id":"u1","teams":[{"value":"t"}],"roles":[{"value":"r"}]}"#;
        let roles = |attribute| read_user(record, attribute).unwrap().roles;
        assert_eq!(roles(RoleAttribute::Roles), ["r"].map(Role::from).into());
        assert_eq!(roles(RoleAttribute::Teams), ["t"].map(Role::from).into());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_without_its_value() {
        for (record, id, reason) in [
            (r#"{"userName":"secret@example.com"}"#, None, "missing field id at line 1 column 33"),
            (r#"{"id":""}"#, None, "id is empty, too long, or cannot stand in an address"),
            (r#"{"id":".."}"#, None, "id is empty, too long, or cannot stand in an address"),
            (r#"{"id":"x\ty"}"#, None, "id is empty, too long, or cannot stand in an address"),
            (r#"{"id":7}"#, None, "id: found integer, expected a string at line 1 column 7"),
            (
                r#"{"id":"u1","roles":[{"value":"a"},{"value":5}]}"#,
                Some("u1"),
                "roles[1].value: found integer, expected a string at line 1 column 44",
            ),
            (
                r#"{"id":"u1","active":"Jo, expected \"Ann\""}"#,
                Some("u1"),
                "active: found string, expected a boolean at line 1 column 42",
            ),
            (r#"{"id":"u1","teams":[{}]}"#, Some("u1"), "teams[0]: missing field value at line 1 column 22"),
        ] {
            let expected = Unreadable { id: id.map(UserId::from), reason: reason.to_owned() };
            assert_eq!(user(record), Err(expected), "{record}");
        }
    }

    #[test]
    fn a_user_with_too_many_values_is_not_read() {
        let list = |values: usize| format!("[{}]", vec![r#"{"value":"a"}"#; values].join(","));
        for key in ["roles", "teams"] {
            let read = |values| user(&format!(r#"{{"id":"u1","{key}":{}}}"#, list(values)));
            assert!(read(MOST_VALUES).is_ok());
            let unreadable = read(MOST_VALUES + 1).unwrap_err();
            assert_eq!(unreadable.id, Some(UserId::from("u1")));
            assert!(unreadable.reason.contains("at most 10000 elements"), "{}", unreadable.reason);
        }
    }

    #[test]
    fn a_page_with_too_many_records_is_refused() {
        let list =
            |records: usize| format!(r#"{{"totalResults":1,"Resources":[{}1]}}"#, "1,".repeat(records - 1));
        assert!(Page::read(list(MOST_RECORDS).as_bytes(), None).is_ok());
        assert!(Page::read(list(MOST_RECORDS + 1).as_bytes(), None).is_err());
    }

    #[test]
    fn an_error_is_never_an_empty_list() {
        let read =
            |body: &str| Page::read(body.as_bytes(), None).map(|page| (page.total, page.resources.len()));
        assert_eq!(read(r#"{"totalResults":0}"#), Ok((0, 0)));
        assert_eq!(read(r#"{"totalResults":3,"Resources":[{},{}]}"#), Ok((3, 2)));
        for broken in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"Resources":[]}"#,
            r#"{"totalResults":2}"#,
            r#"{"totalResults":2,"Resources":null}"#,
            r#"{"totalResults":2,"Resources":[{}"#,
            r#"{"totalResults":0,"Resources":[]} trailing"#,
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
