//! Bulk requests (RFC 7644 §3.7): carried out at once, or as jobs that are asked for, as the documents have it.
//!
//! A job gets on only when somebody asks for it, so that every run is the same. One whose submission was not answered
//! properly is worked off at once: nobody knows its id. Operations cannot refer to one another by `bulkId`.

mod job;
mod operation;
mod request;

use std::str::FromStr;

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::answer::{Answer, Content, Refusal};
use super::faults::Fault;
use super::record::View;
use super::resources::Call;
use super::tenant::Tenant;
use job::Job;
pub(super) use job::Jobs;
use request::{Request, Work};

/// The schema of an answer (RFC 7644 §3.7.3).
const RESPONSE_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// How bulk requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// With the id of a job, to be asked for at `/Bulk/{jobId}`: the way of the documents.
    Jobs,
    /// With all results at once: the way of RFC 7644 §3.7.
    Rfc7644,
    /// Not at all: 501.
    Off,
}

impl FromStr for BulkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jobs" => Ok(Self::Jobs),
            "rfc7644" => Ok(Self::Rfc7644),
            "off" => Ok(Self::Off),
            _ => Err("must be jobs, rfc7644 or off".to_owned()),
        }
    }
}

/// Answers `POST /Bulk`.
pub(super) fn submit(tenant: &Tenant, view: &View, call: &Call<'_>) -> Result<Answer, Refusal> {
    let options = tenant.options();
    if options.bulk == BulkMode::Off {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "bulk requests are not supported"));
    }
    let mut work = Work::new(Request::read(&call.object()?, options.bulk_max_operations)?);
    tenant.book().bulk.jobs += 1;
    if options.bulk == BulkMode::Rfc7644 {
        work.advance(usize::MAX, &mut |operation| operation::carry_out(tenant, view, operation));
        let body = json!({ "schemas": [RESPONSE_SCHEMA], "Operations": work.results() });
        return Ok(Answer::scim(body));
    }
    let fate = tenant.dice().bulk_job();
    let mut jobs = tenant.jobs();
    let mut job = Job::new(jobs.next_id(), view.clone(), fate, work, options.bulk_polls, tenant.now());
    let body = job.show();
    let location = format!("{}/Bulk/{}", view.base, job.id());
    if let Some(fault) = fate {
        tenant.book().befell(fault);
    }
    if fate == Some(Fault::BulkJobForgotten) {
        finish(tenant, &mut job);
    } else {
        jobs.keep(job);
    }
    Ok(Answer::new(StatusCode::ACCEPTED, Content::Scim(body)).with(header::LOCATION, location))
}

/// Answers `GET /Bulk/{jobId}`, after the job got on by one step.
pub(super) fn ask(tenant: &Tenant, id: &str) -> Result<Answer, Refusal> {
    let mut jobs = tenant.jobs();
    let job = jobs.get_mut(id).ok_or_else(|| Refusal::missing("Bulk job", id))?;
    let view = job.view().clone();
    job.step(tenant.now(), &mut |operation| operation::carry_out(tenant, &view, operation));
    Ok(Answer::scim(job.show()))
}

/// Works off the job of a submission whose answer went wrong.
pub(super) fn orphan(tenant: &Tenant, answer: &Answer) {
    let Content::Scim(body) = &answer.content else { return };
    let mut jobs = tenant.jobs();
    if let Some(job) = body["jobId"].as_str().and_then(|id| jobs.get_mut(id)) {
        finish(tenant, job);
    }
}

fn finish(tenant: &Tenant, job: &mut Job) {
    let view = job.view().clone();
    job.finish(tenant.now(), &mut |operation| operation::carry_out(tenant, &view, operation));
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    /// As it stands in an answer.
    shown: Value,
    failed: bool,
}
