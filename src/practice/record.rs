//! A user or a group as the practice tenant keeps it, and how it is shown and read. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::path::ENTERPRISE;
use crate::model::Timestamp;

/// The id of a user or a group; cheap to clone.
pub(super) type Id = Arc<str>;

/// The attribute of a user that holds a value for each key.
pub(super) const CUSTOM: &str = "customAttributes";

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

impl Kind {
    /// Both, in the order in which they are listed.
    pub(super) const ALL: [Self; 2] = [Self::User, Self::Group];

    /// The name of the resource type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// The path of the collection, without a slash.
    pub(super) const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// The core schema.
    pub(super) const fn schema(self) -> &'static str {
        match self {
            Self::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            Self::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }

    /// The attribute that says who belongs together: a user's teams, a group's members.
    pub(super) const fn link(self) -> &'static str {
        match self {
            Self::User => "teams",
            Self::Group => "members",
        }
    }

    /// The attribute that a resource cannot do without.
    pub(super) const fn required(self) -> &'static str {
        match self {
            Self::User => "userName",
            Self::Group => "displayName",
        }
    }

    /// The attributes by which one resource is found without a look at all of them.
    pub(super) const fn indexed(self) -> &'static [&'static str] {
        match self {
            Self::User => &["id", "externalId", "userName"],
            Self::Group => &["id", "externalId"],
        }
    }

    /// The other side of a membership.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::User => Self::Group,
            Self::Group => Self::User,
        }
    }
}

/// Under which base the tenant is looked at: `http://127.0.0.1:PORT/api/v2/scim/v2`.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) base: String,
    /// Whether resources carry a version.
    pub(super) etag: bool,
}

impl View {
    /// The address of a resource.
    pub(super) fn location(&self, kind: Kind, id: &str) -> String {
        format!("{}/{}/{id}", self.base, kind.endpoint())
    }
}

/// One stored resource.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: Id,
    /// All attributes but `id`, `meta` and the links.
    pub(super) attributes: Map<String, Value>,
    /// The teams of a user, the members of a group.
    pub(super) links: BTreeSet<Id>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// 1 at first, one more with each change.
    pub(super) version: u64,
    /// Where it stands in the list.
    pub(super) place: i64,
}

impl Record {
    /// The entity tag (RFC 9110 §8.8.3), a weak one.
    pub(super) fn tag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }

    /// The resource as a client sees it.
    pub(super) fn render(&self, kind: Kind, view: &View) -> Value {
        let mut shown = self.attributes.clone();
        shown.insert("id".to_owned(), Value::from(&*self.id));
        shown.insert(kind.link().to_owned(), self.render_links(kind, view));
        shown.insert("meta".to_owned(), self.render_meta(kind, view));
        Value::Object(shown)
    }

    fn render_links(&self, kind: Kind, view: &View) -> Value {
        let other = kind.other();
        let link = |id: &Id| {
            let mut link = json!({ "value": &**id, "$ref": view.location(other, id) });
            if kind == Kind::Group {
                link["type"] = other.name().into();
            }
            link
        };
        self.links.iter().map(link).collect()
    }

    fn render_meta(&self, kind: Kind, view: &View) -> Value {
        let mut meta = json!({
            "resourceType": kind.name(),
            "created": self.created.to_string(),
            "lastModified": self.modified.to_string(),
            "location": view.location(kind, &self.id),
        });
        if view.etag {
            meta["version"] = self.tag().into();
        }
        meta
    }

    /// One attribute for a filter; links and `meta` are made up when they are asked for.
    pub(super) fn attribute(&self, kind: Kind, name: &str) -> Option<Cow<'_, Value>> {
        match name {
            "id" => Some(Cow::Owned(Value::from(&*self.id))),
            "meta" => Some(Cow::Owned(json!({
                "resourceType": kind.name(),
                "created": self.created.to_string(),
                "lastModified": self.modified.to_string(),
                "version": self.tag(),
            }))),
            name if name == kind.link() => {
                Some(Cow::Owned(self.links.iter().map(|id| json!({ "value": &**id })).collect()))
            }
            name => self.attributes.get(name).map(Cow::Borrowed),
        }
    }

    /// The resource as a PATCH works on it.
    pub(super) fn draft(&self, kind: Kind) -> Map<String, Value> {
        let mut draft = self.attributes.clone();
        let links: Vec<Value> = self.links.iter().map(|id| json!({ "value": &**id })).collect();
        if !links.is_empty() {
            draft.insert(kind.link().to_owned(), links.into());
        }
        draft
    }
}

/// What a resource is to become: attributes and links, taken apart and checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) attributes: Map<String, Value>,
    pub(super) links: BTreeSet<Id>,
}

impl Draft {
    /// Takes the body of a POST or PUT, or what a PATCH made of a record.
    ///
    /// What only the tenant may say is left out; a password is not kept.
    pub(super) fn read(kind: Kind, mut body: Map<String, Value>) -> Result<Self, Refusal> {
        for name in ["id", "meta", "password", "groups"] {
            body.remove(name);
        }
        body.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        let links = match body.remove(kind.link()) {
            None => BTreeSet::new(),
            Some(links) => read_links(kind, &links)?,
        };
        check(kind, &body)?;
        name_schemas(kind, &mut body);
        Ok(Self { attributes: body, links })
    }
}

fn read_links(kind: Kind, links: &Value) -> Result<BTreeSet<Id>, Refusal> {
    let name = kind.link();
    let id = |link: &Value| {
        let reference = || link.get("$ref")?.as_str()?.rsplit('/').next();
        link.get("value").and_then(Value::as_str).or_else(reference).filter(|id| !id.is_empty()).map(Id::from)
    };
    let list = links.as_array().ok_or_else(|| wrong(name, "a list"))?;
    list.iter().map(|link| id(link).ok_or_else(|| wrong(name, "a list of objects with a value"))).collect()
}

/// A resource says which schemas it has attributes of (RFC 7643 §3.3), whatever the client said.
fn name_schemas(kind: Kind, body: &mut Map<String, Value>) {
    let extended = body.contains_key(ENTERPRISE);
    let schemas = body.entry("schemas").or_insert_with(|| json!([kind.schema()]));
    if let Value::Array(schemas) = schemas {
        schemas.retain(|schema| schema != ENTERPRISE);
        if schemas.is_empty() {
            schemas.push(kind.schema().into());
        }
        if extended {
            schemas.push(ENTERPRISE.into());
        }
    }
}

fn check(kind: Kind, body: &Map<String, Value>) -> Result<(), Refusal> {
    let required = kind.required();
    if body.get(required).and_then(Value::as_str).is_none_or(|name| name.trim().is_empty()) {
        return Err(wrong(required, "a text that is not empty"));
    }
    if body.get("active").is_some_and(|active| !active.is_boolean()) {
        return Err(wrong("active", "true or false"));
    }
    if body.get("externalId").is_some_and(|id| !id.is_string()) {
        return Err(wrong("externalId", "a text"));
    }
    for name in ["name", CUSTOM, ENTERPRISE] {
        if body.get(name).is_some_and(|value| !value.is_object()) {
            return Err(wrong(name, "an object"));
        }
    }
    let has_value = |role: &Value| role.get("value").is_some_and(Value::is_string);
    let roles =
        body.get("roles").map(|roles| roles.as_array().is_some_and(|list| list.iter().all(has_value)));
    if roles == Some(false) {
        return Err(wrong("roles", "a list of objects with a value"));
    }
    Ok(())
}

fn wrong(attribute: &str, wanted: &str) -> Refusal {
    Refusal::bad("invalidValue", format!("{attribute} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Draft, Refusal> {
        Draft::read(Kind::User, serde_json::from_value(body).expect("an object"))
    }

    #[test]
    fn links_are_read_from_value_or_reference() {
        let teams = json!([{"value": "t1", "$ref": "/api/v2/scim/v2/Groups/t1"}, {"$ref": "/x/Groups/t2"}]);
        let draft = read(json!({"userName": "u", "teams": teams})).expect("legal");
        assert_eq!(draft.links, ["t1", "t2"].map(Id::from).into());
        assert!(!draft.attributes.contains_key("teams"));
    }

    #[test]
    fn what_the_tenant_decides_and_secrets_are_left_out() {
        let draft = read(json!({"userName": "u", "id": "1", "meta": {}, "password": "p"})).expect("legal");
        let names: Vec<_> = draft.attributes.keys().map(String::as_str).collect();
        assert_eq!(names, ["schemas", "userName"]);
    }

    #[test]
    fn a_user_names_the_schemas_that_it_has_attributes_of() {
        let core = Kind::User.schema();
        for (schemas, extension, named) in [
            (json!(null), json!(null), json!([core])),
            (json!([core]), json!({"department": "d"}), json!([core, ENTERPRISE])),
            (json!([ENTERPRISE, core]), json!({"department": "d"}), json!([core, ENTERPRISE])),
            (json!([core, ENTERPRISE]), json!(null), json!([core])),
            (json!([ENTERPRISE]), json!(null), json!([core])),
        ] {
            let body = json!({"userName": "u", "schemas": schemas, ENTERPRISE: extension});
            assert_eq!(read(body.clone()).expect("legal").attributes["schemas"], named, "{body}");
        }
    }

    #[test]
    fn wrong_types_are_refused() {
        for body in [
            json!({}),
            json!({"userName": " "}),
            json!({"userName": 1}),
            json!({"userName": "u", "active": "true"}),
            json!({"userName": "u", "externalId": 1}),
            json!({"userName": "u", "name": "User 1"}),
            json!({"userName": "u", "customAttributes": ["a"]}),
            json!({"userName": "u", ENTERPRISE: "d"}),
            json!({"userName": "u", "roles": ["HR"]}),
            json!({"userName": "u", "roles": {"value": "HR"}}),
            json!({"userName": "u", "teams": ["t"]}),
            json!({"userName": "u", "teams": [{"value": ""}]}),
        ] {
            let refusal = read(body.clone()).expect_err(&body.to_string());
            assert_eq!(refusal.scim_type, Some("invalidValue"), "{body}");
        }
    }
}
