//! The schemas that the tenant publishes (RFC 7643 §7), and what the other files ask them.
//!
//! The JSON files beside this one are the only place where attributes are described.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Options;
use super::bulk::BulkMode;
use super::path::ENTERPRISE;
use super::record::{Kind, View};

static SCHEMAS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    [
        include_str!("schemas/user.json"),
        include_str!("schemas/enterprise.json"),
        include_str!("schemas/group.json"),
        include_str!("schemas/discovery.json"),
    ]
    .into_iter()
    .flat_map(|text| match serde_json::from_str(text).expect("the schemas in the source are valid JSON") {
        Value::Array(schemas) => schemas,
        schema => vec![schema],
    })
    .collect()
});

/// What the tenant knows about an attribute.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    /// As it is spelled.
    pub(super) name: String,
    /// Whether it is a list.
    pub(super) multi_valued: bool,
}

static USER: LazyLock<Vec<Info>> = LazyLock::new(|| infos(Kind::User));
static GROUP: LazyLock<Vec<Info>> = LazyLock::new(|| infos(Kind::Group));

fn infos(kind: Kind) -> Vec<Info> {
    let schema = SCHEMAS.iter().find(|schema| schema["id"] == kind.schema());
    let own = schema.map(|schema| schema["attributes"].clone()).unwrap_or_default();
    let mut infos: Vec<Info> = serde_json::from_value(own).expect("the schemas in the source are complete");
    // The attributes that every resource has (RFC 7643 §3.1).
    let common = [("id", false), ("externalId", false), ("meta", false), ("schemas", true)];
    let extension = (kind == Kind::User).then_some((ENTERPRISE, false));
    let more = common.into_iter().chain(extension);
    infos.extend(more.map(|(name, multi_valued)| Info { name: name.to_owned(), multi_valued }));
    infos
}

/// What the tenant knows about an attribute of a kind of resource; names ignore case.
pub(super) fn info(kind: Kind, name: &str) -> Option<&'static Info> {
    let infos: &'static [Info] = match kind {
        Kind::User => &USER,
        Kind::Group => &GROUP,
    };
    infos.iter().find(|info| info.name.eq_ignore_ascii_case(name))
}

/// The schemas as resources.
pub(super) fn schemas(view: &View) -> Vec<Value> {
    let located = |schema: &Value| {
        let mut schema = schema.clone();
        let location = format!("{}/Schemas/{}", view.base, schema["id"].as_str().unwrap_or_default());
        schema["meta"] = json!({ "resourceType": "Schema", "location": location });
        schema
    };
    SCHEMAS.iter().map(located).collect()
}

/// The resource types (RFC 7643 §6).
pub(super) fn resource_types(view: &View) -> Vec<Value> {
    let describe = |kind: Kind| {
        let extensions = if kind == Kind::User { vec![ENTERPRISE] } else { Vec::new() };
        let extension = |schema| json!({ "schema": schema, "required": false });
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": kind.name(),
            "name": kind.name(),
            "description": if kind == Kind::User { "Agents" } else { "Teams" },
            "endpoint": format!("/{}", kind.endpoint()),
            "schema": kind.schema(),
            "schemaExtensions": extensions.into_iter().map(extension).collect::<Value>(),
            "meta": {
                "resourceType": "ResourceType",
                "location": format!("{}/ResourceTypes/{}", view.base, kind.name()),
            },
        })
    };
    Kind::ALL.map(describe).into()
}

/// What the tenant can do (RFC 7643 §5).
pub(super) fn service_provider_config(view: &View, options: &Options) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": {
            "supported": options.bulk != BulkMode::Off,
            "maxOperations": options.bulk_max_operations,
            "maxPayloadSize": options.bulk_max_payload,
        },
        "filter": { "supported": true, "maxResults": options.page_cap },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": view.etag },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "OAuth Bearer Token",
            "description": "A token from the client credentials grant",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{}/ServiceProviderConfig", view.base),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_schema_and_its_attributes() {
        for (kind, name, multi) in [
            (Kind::User, "USERNAME", false),
            (Kind::User, "teams", true),
            (Kind::User, "externalid", false),
            (Kind::Group, "members", true),
        ] {
            assert_eq!(info(kind, name).map(|info| info.multi_valued), Some(multi), "{name}");
        }
        assert!(info(Kind::Group, "userName").is_none());
    }
}
