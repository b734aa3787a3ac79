//! The body of a PATCH (RFC 7644 §3.5.2).

use serde_json::{Value, json};

use crate::model::{Payload, TeamId, TeamPatch, TeamsPayload};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// Where the documents' `$ref` of a team points, relative to the host.
const GROUPS: &str = "/api/v2/scim/v2/Groups/";

/// The PATCH body that carries out `payload`.
#[must_use]
pub fn patch_body(payload: &Payload) -> Vec<u8> {
    let operations = match payload {
        Payload::Teams(teams) => match teams.patch {
            TeamPatch::Replace => replace(teams),
            TeamPatch::AddRemove => add_remove(teams),
        },
    };
    json!({ "schemas": [PATCH_OP], "Operations": operations }).to_string().into_bytes()
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
        serde_json::from_slice(&patch_body(&Payload::Teams(payload))).unwrap()
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
}
