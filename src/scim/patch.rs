//! The bodies of writes: PATCH (RFC 7644 §3.5.2), and the whole user of a POST (§3.3) or a PUT (§3.5.1).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::model::{
    AttributesPayload, Change, Payload, ProfilePayload, READ_ONLY, TeamId, TeamPatch, TeamsPayload,
};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// Where the documents' `$ref` of a team points, relative to the host.
const GROUPS: &str = "/api/v2/scim/v2/Groups/";

/// How a payload is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// POST to the users.
    Create,
    /// PUT to the user.
    Replace,
    /// PATCH to the user.
    Patch,
}

/// How `payload` is sent, and with which body.
#[must_use]
pub fn write_of(payload: &Payload) -> (Write, Value) {
    let operations = match payload {
        Payload::Teams(teams) => match teams.patch {
            TeamPatch::Replace => replace(teams),
            TeamPatch::AddRemove => add_remove(teams),
        },
        Payload::Profile(ProfilePayload::Create { user }) => return (Write::Create, json!(user)),
        Payload::Profile(ProfilePayload::Replace { user, .. }) => return (Write::Replace, json!(user)),
        Payload::Profile(ProfilePayload::Update { changes }) => {
            let replace =
                |change: &Change| json!({ "op": "replace", "path": change.path, "value": change.value });
            changes.iter().map(replace).collect()
        }
        Payload::Attributes(attributes) => custom_attributes(attributes),
    };
    (Write::Patch, json!({ "schemas": [PATCH_OP], "Operations": operations }))
}

/// The user who is written in the place of `now`: what `paths` name is as `user` has it, and all else as it is now.
#[must_use]
pub fn replacement(
    now: &Map<String, Value>,
    user: &Map<String, Value>,
    paths: &BTreeSet<String>,
) -> Map<String, Value> {
    let mut whole = now.clone();
    whole.retain(|key, _| !READ_ONLY.contains(&key.as_str()));
    let within = |rest: &str| rest.is_empty() || rest.starts_with(['.', ':']);
    let differs = |key: &str| paths.iter().any(|path| path.strip_prefix(key).is_some_and(within));
    let changed = user.iter().filter(|(key, _)| differs(key) || *key == "schemas");
    whole.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
    whole
}

/// The documents' way of naming a custom attribute: its key in brackets, as a JSON string.
fn custom_attributes(attributes: &AttributesPayload) -> Vec<Value> {
    let path = |key: &str| format!("customAttributes[{}]", Value::from(key));
    let set = attributes.set.iter();
    let set = set.map(|(key, value)| json!({ "op": "replace", "path": path(key), "value": value }));
    let remove = attributes.remove.iter().map(|key| json!({ "op": "remove", "path": path(key) }));
    set.chain(remove).collect()
}

fn replace(teams: &TeamsPayload) -> Vec<Value> {
    let value: Vec<Value> = teams.teams.iter().map(reference).collect();
    vec![json!({ "op": "replace", "path": "teams", "value": value })]
}

fn add_remove(teams: &TeamsPayload) -> Vec<Value> {
    let add: Vec<Value> = teams.added.iter().map(reference).collect();
    let add = (!add.is_empty()).then(|| json!({ "op": "add", "path": "teams", "value": add }));
    let remove = teams.removed.iter().map(|team| {
        let id = team.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        json!({ "op": "remove", "path": format!("teams[value eq \"{id}\"]") })
    });
    add.into_iter().chain(remove).collect()
}

fn reference(team: &TeamId) -> Value {
    json!({ "value": team, "$ref": format!("{GROUPS}{team}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(patch: TeamPatch) -> Value {
        let teams = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect();
        let payload = TeamsPayload {
            roles: [].into(),
            teams: teams(&["a", "x"]),
            added: teams(&["a"]),
            removed: teams(&["b\"c"]),
            patch,
        };
        write_of(&Payload::Teams(payload)).1
    }

    #[test]
    fn keys_of_custom_attributes_are_quoted() {
        let attributes = AttributesPayload {
            set: [("costCenter".to_owned(), json!("CC-4092"))].into(),
            remove: [r#"a"b\c"#.to_owned()].into(),
        };
        let (write, body) = write_of(&Payload::Attributes(attributes));
        assert_eq!(write, Write::Patch);
        assert_eq!(
            body["Operations"],
            json!([
                { "op": "replace", "path": "customAttributes[\"costCenter\"]", "value": "CC-4092" },
                { "op": "remove", "path": r#"customAttributes["a\"b\\c"]"# },
            ])
        );
    }

    #[test]
    fn replace_carries_the_complete_list_as_the_documents_print_it() {
        assert_eq!(
            body(TeamPatch::Replace),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{ "op": "replace", "path": "teams", "value": [
                    { "value": "a", "$ref": "/api/v2/scim/v2/Groups/a" },
                    { "value": "x", "$ref": "/api/v2/scim/v2/Groups/x" },
                ]}],
            })
        );
    }

    #[test]
    fn add_and_remove_carry_the_difference() {
        assert_eq!(
            body(TeamPatch::AddRemove)["Operations"],
            json!([
                { "op": "add", "path": "teams", "value": [{ "value": "a", "$ref": "/api/v2/scim/v2/Groups/a" }] },
                { "op": "remove", "path": "teams[value eq \"b\\\"c\"]" },
            ])
        );
    }

    #[test]
    fn who_is_replaced_keeps_what_others_have_written_meanwhile() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let user = map(json!({ "schemas": ["core", urn], "title": "Lead", "teams": [{ "value": "old" }],
            "name": { "givenName": "New" }, urn: { "division": "North" } }));
        let now =
            map(json!({ "schemas": ["core"], "title": "Clerk", "teams": [{ "value": "new" }], "meta": {},
            "name": { "givenName": "Old" }, "nickName": "N" }));
        let paths = ["title".to_owned(), "name.givenName".to_owned(), format!("{urn}:division")].into();
        let expected = json!({ "schemas": ["core", urn], "title": "Lead", "teams": [{ "value": "new" }],
            "name": { "givenName": "New" }, "nickName": "N", urn: { "division": "North" } });
        assert_eq!(replacement(&now, &user, &paths), map(expected));
    }
}
