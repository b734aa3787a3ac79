//! A tenant that answers as a test dictates, and remembers every call byte for byte.

use std::ops::Deref;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::home::Home;
use crate::rig::runtime;

const BASE: &str = "/scim/v2";

/// A scripted tenant, and a rosterd that is configured for it.
pub(crate) struct Scripted {
    server: MockServer,
    home: Home,
    runtime: Runtime,
}

impl Deref for Scripted {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Scripted {
    /// `answer` gets every call with its name, such as `PATCH /Users/u-1`; what it leaves open is answered with a
    /// token that lives an hour, with a provider that offers nothing, or with a gateway's 404.
    pub(crate) fn new(
        answer: impl Fn(&str, &Request) -> Option<ResponseTemplate> + Send + Sync + 'static,
    ) -> Self {
        let runtime = runtime();
        let server = runtime.block_on(MockServer::start());
        let respond = move |request: &Request| {
            let name = name(request);
            answer(&name, request).unwrap_or_else(|| default(&name))
        };
        runtime.block_on(Mock::given(any()).respond_with(respond).mount(&server));
        let home = Home::new(&format!("{}{BASE}", server.uri()), &format!("{}/oauth/token", server.uri()));
        Self { server, home, runtime }
    }

    pub(crate) fn uri(&self) -> String {
        self.server.uri()
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Request> {
        self.runtime.block_on(self.server.received_requests()).unwrap()
    }

    /// The names of the calls so far.
    pub(crate) fn names(&self) -> Vec<String> {
        self.calls().iter().map(name).collect()
    }

    /// Calls with this name.
    pub(crate) fn named(&self, wanted: &str) -> Vec<Request> {
        self.calls().into_iter().filter(|call| name(call) == wanted).collect()
    }

    /// How many calls change something.
    pub(crate) fn writes(&self) -> usize {
        self.calls()
            .iter()
            .filter(|call| call.method.as_str() != "GET" && call.url.path() != "/oauth/token")
            .count()
    }
}

/// Method and path below the SCIM base.
pub(crate) fn name(request: &Request) -> String {
    let path = request.url.path();
    format!("{} {}", request.method, path.strip_prefix(BASE).unwrap_or(path))
}

fn default(name: &str) -> ResponseTemplate {
    match name {
        "POST /oauth/token" => token("token-1"),
        "GET /ServiceProviderConfig" => etags(false),
        _ => ResponseTemplate::new(404),
    }
}

pub(crate) fn token(value: &str) -> ResponseTemplate {
    let body = json!({ "access_token": value, "token_type": "bearer", "expires_in": 3600 });
    ResponseTemplate::new(200).set_body_json(body)
}

pub(crate) fn etags(supported: bool) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "etag": { "supported": supported } }))
}

/// A whole list on one page.
pub(crate) fn list(users: &[Value]) -> ResponseTemplate {
    page(users, users.len())
}

/// A page of a list with `total` users.
pub(crate) fn page(users: &[Value], total: usize) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "itemsPerPage": users.len(),
        "Resources": users,
    }))
}

pub(crate) fn user(id: &str, roles: &[&str], teams: &[&str]) -> Value {
    let values = |list: &[&str]| list.iter().map(|value| json!({ "value": value })).collect::<Value>();
    json!({ "id": id, "userName": format!("{id}@practice.example"), "active": true,
        "roles": values(roles), "teams": values(teams) })
}

/// A parameter of a call's query.
pub(crate) fn parameter(request: &Request, name: &str) -> Option<String> {
    request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

pub(crate) fn header(request: &Request, name: &str) -> Option<String> {
    request.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// A SCIM error.
pub(crate) fn refusal(status: u16, detail: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.to_string(),
        "detail": detail,
    }))
}
