//! The controls of the practice tenant, under `/practice/`: no token, no rate limit, no faults.
//!
//! `GET stats` · `GET`, `POST`, `DELETE faults` · `POST users/{id}/roles` with a list of role names.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Content, Refusal};
use super::faults::Faults;
use super::resources::Call;
use super::tenant::Tenant;
use crate::model::{Role, UserId};

/// Answers a call to `/practice/{path}`.
pub(super) fn answer(tenant: &Tenant, path: &str, call: &Call<'_>) -> Answer {
    serve(tenant, path, call).unwrap_or_else(Answer::from)
}

fn serve(tenant: &Tenant, path: &str, call: &Call<'_>) -> Result<Answer, Refusal> {
    let parts: Vec<&str> = path.split('/').collect();
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["stats"]) => show(&tenant.stats()),
        ("GET", ["faults"]) => show(&tenant.faults()),
        ("POST", ["faults"]) => {
            let faults: Faults = serde_json::from_slice(call.body).map_err(|why| bad(&why.to_string()))?;
            set(tenant, faults)
        }
        ("DELETE", ["faults"]) => set(tenant, Faults::default()),
        ("POST", ["users", id, "roles"]) => {
            let roles: Vec<Role> = serde_json::from_slice(call.body)
                .map_err(|_| bad("the body must be a list of role names: [\"HR_SALES\"]"))?;
            let missing = |_| Refusal::missing("User", id);
            tenant.set_roles(&UserId::from(*id), roles).map_err(missing)?;
            Ok(Answer::new(StatusCode::NO_CONTENT, Content::Empty))
        }
        (_, ["stats" | "faults"] | ["users", _, "roles"]) => {
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this control does not know this method"))
        }
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "controls are stats, faults and users/{id}/roles")),
    }
}

fn set(tenant: &Tenant, faults: Faults) -> Result<Answer, Refusal> {
    tenant.set_faults(faults).map_err(|why| bad(&why.to_string()))?;
    show(&tenant.faults())
}

fn show(what: &impl Serialize) -> Result<Answer, Refusal> {
    let body: Value = serde_json::to_value(what)
        .map_err(|why| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))?;
    Ok(Answer::new(StatusCode::OK, Content::Json(body)))
}

fn bad(why: &str) -> Refusal {
    Refusal::bad("invalidValue", why)
}
