//! The controls of the practice tenant, under `/practice/`: no token, no rate limit, no faults.
//!
//! `GET stats` · `GET creates` · `GET`, `POST`, `DELETE faults` · `POST users/{id}/roles` with a list of role names ·
//! `POST webhook` · `GET`, `DELETE webhooks`.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Content, Refusal};
use super::faults::{Fault, Faults};
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
        ("GET", ["creates"]) => show(tenant.creates().all()),
        ("POST", ["webhook"]) => Ok(receive(tenant, call)),
        ("GET", ["webhooks"]) => show(&tenant.webhooks()),
        ("DELETE", ["webhooks"]) => {
            tenant.inbox().clear();
            Ok(Answer::new(StatusCode::NO_CONTENT, Content::Empty))
        }
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
        (_, ["stats" | "creates" | "faults" | "webhook" | "webhooks"] | ["users", _, "roles"]) => {
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this control does not know this method"))
        }
        _ => {
            let all = "controls are stats, creates, faults, users/{id}/roles, webhook and webhooks";
            Err(Refusal::new(StatusCode::NOT_FOUND, all))
        }
    }
}

/// Takes a message, or does not, on command.
fn receive(tenant: &Tenant, call: &Call<'_>) -> Answer {
    let fails = tenant.dice().webhook_fails();
    let answer = if fails {
        tenant.book().befell(Fault::WebhookFails);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "an error on command").into()
    } else {
        Answer::new(StatusCode::NO_CONTENT, Content::Empty)
    };
    tenant.inbox().take(call.headers, call.body, answer.status.as_u16(), tenant.now());
    answer
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
