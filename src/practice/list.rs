//! Lists (RFC 7644 §3.4.2): which resources a query means, and the page of them that is shown.

use std::collections::HashMap;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::Refusal;
use super::directory::Directory;
use super::filter::Filter;
use super::projection::Projection;
use super::record::{Kind, Record, View};
use super::schema;
use crate::model::Timestamp;

const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const SEARCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What a client asks of a list.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Query {
    filter: Option<String>,
    since: Option<Timestamp>,
    /// 1 for the first resource.
    start: usize,
    count: Option<usize>,
    pub(super) projection: Projection,
    /// Users who are not active are left out.
    hide_inactive: bool,
    /// So many percent of the users are left out.
    withheld_percent: u8,
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) body: Value,
    /// How many resources are on it.
    pub(super) len: usize,
    /// The last resource of the whole list, when it is not on this page.
    pub(super) last: Option<String>,
}

impl Query {
    /// From the query string of a GET. `filter` and `_queryFilter` mean the same, and both must pass.
    pub(super) fn from_url(query: &str) -> Result<Self, Refusal> {
        let pairs: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let get = |name: &str| pairs.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let filter = match (get("filter"), get("_queryFilter")) {
            (Some(a), Some(b)) => Some(format!("({a}) and ({b})")),
            (a, b) => a.or(b).map(str::to_owned),
        };
        let since = get("since")
            .map(|text| Timestamp::parse(text).ok_or_else(|| bad("since must be an RFC 3339 date-time")));
        let names = |name: &str| get(name).map(|text| text.split(',').map(|s| s.trim().to_owned()).collect());
        Ok(Self {
            filter,
            since: since.transpose()?,
            start: number(get("startIndex"), "startIndex")?.unwrap_or(1).max(1),
            count: number(get("count"), "count")?,
            projection: Projection::new(
                names("attributes").unwrap_or_default(),
                names("excludedAttributes").unwrap_or_default(),
            ),
            ..Self::default()
        })
    }

    /// From the body of a POST to `/.search` (RFC 7644 §3.4.3).
    pub(super) fn from_search(body: &Value) -> Result<Self, Refusal> {
        let schemas = body["schemas"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !schemas.iter().any(|schema| schema == SEARCH_SCHEMA) {
            return Err(Refusal::bad("invalidSyntax", format!("schemas must contain {SEARCH_SCHEMA}")));
        }
        let names = |name: &str| -> Vec<String> {
            let list = body[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let digits = |name: &str| body.get(name).filter(|value| !value.is_null()).map(Value::to_string);
        Ok(Self {
            filter: body["filter"].as_str().map(str::to_owned),
            since: None,
            start: number(digits("startIndex").as_deref(), "startIndex")?.unwrap_or(1).max(1),
            count: number(digits("count").as_deref(), "count")?,
            projection: Projection::new(names("attributes"), names("excludedAttributes")),
            ..Self::default()
        })
    }

    /// The same query without `since`.
    pub(super) fn without_since(mut self) -> Self {
        self.since = None;
        self
    }

    /// The same query, with users left out.
    pub(super) fn hiding(mut self, inactive: bool, percent: u8) -> Self {
        (self.hide_inactive, self.withheld_percent) = (inactive, percent);
        self
    }

    /// Runs the query over one kind of resource, or over both.
    pub(super) fn run(
        &self,
        directory: &Directory,
        kinds: &[Kind],
        view: &View,
        page_cap: usize,
    ) -> Result<Page, Refusal> {
        let mut found = Vec::new();
        for kind in kinds {
            found.extend(self.matching(directory, *kind)?.into_iter().map(|record| (*kind, record)));
        }
        let count = self.count.unwrap_or(page_cap).min(page_cap);
        let from = (self.start - 1).min(found.len());
        let to = from.saturating_add(count).min(found.len());
        let shown: Vec<Value> = found[from..to]
            .iter()
            .map(|(kind, record)| self.projection.show(record.render(*kind, view)))
            .collect();
        let rest = &found[to..];
        Ok(Page {
            len: shown.len(),
            last: rest.last().map(|(_, record)| record.id.to_string()),
            body: list(&shown, found.len(), self.start),
        })
    }

    fn matching<'a>(&self, directory: &'a Directory, kind: Kind) -> Result<Vec<&'a Record>, Refusal> {
        let all = directory.shelf(kind);
        let filter = self.filter.as_deref().map(|text| known_filter(kind, text)).transpose()?;
        let lookups = filter.as_ref().and_then(|filter| filter.lookups(kind.indexed()));
        let mut found = match (lookups, self.since) {
            (Some(lookups), since) => {
                let mut found: Vec<&Record> = lookups
                    .into_iter()
                    .filter_map(|(attribute, value)| all.look_up(attribute, value))
                    .filter(|record| since.is_none_or(|since| record.modified > since))
                    .collect();
                found.sort_unstable_by_key(|record| record.place);
                found.dedup_by_key(|record| record.place);
                found
            }
            (None, Some(since)) => all.changed_since(since),
            (None, None) => all.all().collect(),
        };
        if let Some(filter) = filter {
            found.retain(|record| filter.matches(&|name| record.attribute(kind, name)));
        }
        if kind == Kind::User {
            found.retain(|record| {
                !self.hide_inactive || record.attributes.get("active") != Some(&json!(false))
            });
            found.truncate(found.len() * usize::from(100 - self.withheld_percent.min(100)) / 100);
        }
        Ok(found)
    }
}

/// A filter whose attributes are all in the schema, and spelled as they are there.
fn known_filter(kind: Kind, text: &str) -> Result<Filter, Refusal> {
    let mut filter = Filter::parse(text)?;
    filter.each_attribute(&mut |attribute| {
        let Some(info) = schema::info(kind, &attribute.name) else {
            let why = format!("{} is no attribute of a {}", attribute.name, kind.name());
            return Err(Refusal::bad("invalidFilter", why));
        };
        attribute.name.clone_from(&info.name);
        Ok(())
    })?;
    Ok(filter)
}

/// A `ListResponse`.
pub(super) fn list(resources: &[Value], total: usize, start: usize) -> Value {
    json!({
        "schemas": [LIST_SCHEMA],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// A number in a query; a negative one counts as 0 (RFC 7644 §3.4.2.4).
fn number(text: Option<&str>, name: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| bad(&format!("{name} must be a whole number")))?;
    Ok(Some(usize::try_from(number.max(0)).unwrap_or(usize::MAX)))
}

fn bad(why: &str) -> Refusal {
    Refusal::bad("invalidValue", why)
}
