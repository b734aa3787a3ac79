//! What the tenant answers to each call, once it has been let in.

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value};

use super::answer::{Answer, Content, Refusal};
use super::attribute_keys;
use super::bulk;
use super::faults::Fault;
use super::list::{Query, list};
use super::oauth;
use super::patch;
use super::record::{Draft, Id, Kind, Record, View};
use super::route::{Route, Target};
use super::schema;
use super::tenant::{Tenant, commit};

/// One call, read completely.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Call<'_> {
    /// The body, which must be a JSON object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Refusal> {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media.is_some_and(|media| media.to_ascii_lowercase().contains("json")) {
            let why = "the content type must be application/scim+json or application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        serde_json::from_slice(self.body)
            .map_err(|_| Refusal::bad("invalidSyntax", "the body is no JSON object"))
    }

    /// RFC 9110 §13.1.1, weakly compared: SCIM's entity tags are versions, not bytes.
    fn check_version(&self, record: &Record) -> Result<(), Refusal> {
        let Some(wanted) = self.headers.get(header::IF_MATCH) else { return Ok(()) };
        let wanted = wanted.to_str().unwrap_or_default();
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let current = opaque(&record.tag());
        if wanted.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == current) {
            return Ok(());
        }
        let why = format!("the version of {} is {}, not the one in If-Match", record.id, record.tag());
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, why))
    }
}

/// Answers a call.
pub(super) fn answer(tenant: &Tenant, route: &Route, call: &Call<'_>) -> Answer {
    match route {
        Route::Token if call.method == Method::POST => token(tenant, call),
        Route::Token => not_allowed().into(),
        Route::Scim(base, target) => {
            if !tenant.tokens().admits(call.headers, tenant.now()) {
                return Refusal::unauthorized();
            }
            scim(tenant, &tenant.view(base), target, call)
        }
        Route::Control(_) | Route::Unknown => unknown().into(),
    }
}

/// Answers a SCIM call that has been let in, or one that stands in a bulk request.
pub(super) fn scim(tenant: &Tenant, view: &View, target: &Target, call: &Call<'_>) -> Answer {
    Desk { tenant, view, call }.serve(target).unwrap_or_else(Answer::from)
}

fn token(tenant: &Tenant, call: &Call<'_>) -> Answer {
    let (limited, reject) = {
        let mut dice = tenant.dice();
        (dice.token_rate_limited(), dice.faults.reject_token_credentials)
    };
    if limited {
        tenant.book().befell(Fault::TokenRateLimited);
        return oauth::rate_limited();
    }
    let options = tenant.options();
    let client = oauth::Client {
        id: &options.client_id,
        secret: &options.client_secret,
        lifetime: options.token_lifetime,
        reject,
    };
    oauth::token(&mut tenant.tokens(), &client, call.headers, call.body, tenant.now())
}

fn not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this resource does not know this method")
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// Where one SCIM call is worked on.
struct Desk<'a> {
    tenant: &'a Tenant,
    view: &'a View,
    call: &'a Call<'a>,
}

impl Desk<'_> {
    fn serve(&self, target: &Target) -> Result<Answer, Refusal> {
        match (self.call.method.as_str(), target) {
            ("GET", Target::Collection(kind)) => self.list(Query::from_url(self.call.query)?, &[*kind]),
            ("POST", Target::Collection(kind)) => self.create(*kind),
            ("POST", Target::Search(kind)) => self.search(*kind),
            ("GET", Target::Resource(kind, id)) => self.read(*kind, id),
            ("PUT" | "PATCH" | "DELETE", Target::Resource(kind, id)) => self.write(*kind, id),
            ("POST", Target::Bulk) => bulk::submit(self.tenant, self.view, self.call),
            ("GET", Target::BulkJob(id)) => bulk::ask(self.tenant, id),
            ("GET", Target::ServiceProviderConfig) => {
                Ok(Answer::scim(schema::service_provider_config(self.view, self.tenant.options())))
            }
            ("GET", Target::Schemas(id)) => described(&schema::schemas(self.view), id.as_deref()),
            ("GET", Target::ResourceTypes(id)) => {
                described(&schema::resource_types(self.view), id.as_deref())
            }
            (_, Target::Unknown) => Err(unknown()),
            _ => Err(not_allowed()),
        }
    }

    fn search(&self, kind: Option<Kind>) -> Result<Answer, Refusal> {
        let query = Query::from_search(&Value::Object(self.call.object()?))?;
        self.list(query, kind.as_ref().map_or(&Kind::ALL, std::slice::from_ref))
    }

    fn list(&self, query: Query, kinds: &[Kind]) -> Result<Answer, Refusal> {
        let faults = self.tenant.faults();
        let query = if faults.ignore_since { query.without_since() } else { query };
        let query = query.hiding(faults.hide_inactive, 100 - faults.listed_percent);
        let mut page = {
            let mut directory = self.tenant.directory();
            let page = query.run(&directory, kinds, self.view, self.tenant.options().page_cap)?;
            if let (true, [kind], Some(last)) = (faults.moving_list, kinds, &page.last) {
                directory.shelf_mut(*kind).move_to_front(last);
            }
            page
        };
        if kinds == [Kind::User] {
            self.tenant.book().users_listed += u64::try_from(page.len).unwrap_or(u64::MAX);
            if page.len > 0 {
                self.spoil(&mut page.body);
            }
        }
        Ok(Answer::scim(page.body))
    }

    /// Applies the faults that make a page of users malformed.
    fn spoil(&self, body: &mut Value) {
        let Some(fault) = self.tenant.dice().malformed_page() else { return };
        let first = body["Resources"].get_mut(0).and_then(Value::as_object_mut);
        match (fault, first) {
            (Fault::UserWithoutId, Some(user)) => {
                user.remove("id");
            }
            (Fault::RoleNotAString, Some(user)) => {
                user.insert("roles".to_owned(), serde_json::json!([{ "value": 7 }]));
            }
            (Fault::PageWithoutResources, _) => {
                body.as_object_mut().map(|page| page.remove("Resources"));
            }
            _ => return,
        }
        self.tenant.book().befell(fault);
    }

    fn read(&self, kind: Kind, id: &str) -> Result<Answer, Refusal> {
        let directory = self.tenant.directory();
        self.show(kind, directory.get(kind, id)?, StatusCode::OK)
    }

    fn create(&self, kind: Kind) -> Result<Answer, Refusal> {
        let mut body = self.call.object()?;
        if kind == Kind::User {
            body.entry("active").or_insert(Value::Bool(true));
        }
        attribute_keys::check_body(&self.tenant.options().attribute_keys, &body)?;
        let draft = Draft::read(kind, body)?;
        let external_id = external_id(kind, &draft.attributes).map(str::to_owned);
        let faults = self.tenant.faults();
        if let Some(status) = external_id.as_ref().and_then(|id| faults.fail_external_ids.get(id)) {
            return Err(self.fails_on_command(Fault::FailExternalId, *status));
        }
        let mut directory = self.tenant.directory();
        let made: Result<Id, Refusal> = directory.create(kind, draft, self.tenant.now());
        if let Some(id) = external_id.filter(|id| directory.shelf(kind).look_up("externalId", id).is_some())
            && self.tenant.creates().executed(&id, made.is_ok())
        {
            self.tenant.book().creates_repeated += 1;
        }
        let id = made?;
        let answer = self.show(kind, directory.get(kind, &id)?, StatusCode::CREATED)?;
        Ok(answer.with(header::LOCATION, self.view.location(kind, &id)))
    }

    fn write(&self, kind: Kind, id: &str) -> Result<Answer, Refusal> {
        let faults = self.tenant.faults();
        if let (Kind::User, Some(status)) = (kind, faults.fail_users.get(id)) {
            return Err(self.fails_on_command(Fault::FailUser, *status));
        }
        let mut directory = self.tenant.directory();
        let record = directory.get(kind, id)?;
        if self.view.etag {
            self.call.check_version(record)?;
        }
        let now = self.tenant.now();
        if self.call.method == Method::DELETE {
            if let Some(external_id) = external_id(kind, &record.attributes) {
                self.tenant.creates().deleted(external_id);
            }
            directory.delete(kind, id, now)?;
            return Ok(Answer::new(StatusCode::NO_CONTENT, Content::Empty));
        }
        let is_patch = self.call.method == Method::PATCH;
        let body = self.call.object()?;
        let known = &self.tenant.options().attribute_keys;
        let body = if is_patch {
            attribute_keys::check_patch(known, &body)?;
            patch::apply(kind, record.draft(kind), &Value::Object(body))?
        } else {
            attribute_keys::check_body(known, &body)?;
            body
        };
        let draft = Draft::read(kind, body)?;
        let changed = commit(&mut directory, kind, id, draft, now, faults.moving_list)?;
        if is_patch && !changed {
            self.tenant.book().patches_without_effect += 1;
        }
        self.show(kind, directory.get(kind, id)?, StatusCode::OK)
    }

    fn fails_on_command(&self, fault: Fault, status: u16) -> Refusal {
        self.tenant.book().befell(fault);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal::new(status, "this user fails on command")
    }

    fn show(&self, kind: Kind, record: &Record, status: StatusCode) -> Result<Answer, Refusal> {
        let projection = Query::from_url(self.call.query)?.projection;
        let body = projection.show(record.render(kind, self.view));
        let answer = Answer::new(status, Content::Scim(body));
        Ok(if self.view.etag { answer.with(header::ETAG, record.tag()) } else { answer })
    }
}

/// What creates are counted by.
fn external_id(kind: Kind, attributes: &Map<String, Value>) -> Option<&str> {
    attributes.get("externalId").filter(|_| kind == Kind::User)?.as_str()
}

/// All of a list of descriptions, or the one with this id.
fn described(all: &[Value], id: Option<&str>) -> Result<Answer, Refusal> {
    let Some(id) = id else { return Ok(Answer::scim(list(all, all.len(), 1))) };
    let one = all.iter().find(|one| one["id"] == id);
    one.cloned().map(Answer::scim).ok_or_else(unknown)
}
