//! What goes wrong on command, and the dice that say when.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The faults of a practice tenant; all are off by default.
///
/// Rates are probabilities from 0 to 1, drawn anew for each call from the tenant's seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each fault is there or not, independently of the others")]
pub struct Faults {
    /// Calls that are answered with `error_status` and have no effect.
    pub error_rate: f64,
    /// The status of `error_rate`; 503 by default.
    pub error_status: u16,
    /// Calls that are never answered and have no effect: the client has to give up, or the tenant stops.
    pub timeout_rate: f64,
    /// Writes that are applied and then answered with a gateway's 504.
    pub lost_answer_rate: f64,
    /// Answers whose connection is cut in the middle of the body.
    pub cut_body_rate: f64,
    /// Successful answers with JSON that breaks off.
    pub garbled_rate: f64,
    /// Calls whose TCP connection is reset without an answer, without effect.
    pub reset_rate: f64,
    /// When it is set, all tokens that were ever given out become invalid, once.
    pub revoke_tokens: bool,
    /// Every call is answered with 503, tokens included.
    pub outage: bool,
    /// Lists move while they are read: users who were written go to the front, and after each page
    /// that is not the last one, the last user of the list does too. So one user is seen twice, and one is missed.
    pub moving_list: bool,
    /// Lists leave out users who are not active; they can still be read by id.
    pub hide_inactive: bool,
    /// Lists show this share of the users in percent, 0 to 100, and a `totalResults` to match.
    pub listed_percent: u8,
    /// `since` is ignored, as if the tenant had understood.
    pub ignore_since: bool,
    /// Writes to these users (by id) are always answered with this status, without effect.
    pub fail_users: BTreeMap<String, u16>,
    /// Creates of users with these `externalId`s, single or in bulk, are always answered with this status, without effect.
    pub fail_external_ids: BTreeMap<String, u16>,
    /// The next so many bulk jobs end as `failed` after half of their operations.
    pub bulk_job_fails: u32,
    /// The next so many bulk jobs end as `canceled` after half of their operations.
    pub bulk_job_canceled: u32,
    /// The next so many bulk jobs carry out their operations, and stay `running` for ever.
    pub bulk_job_stalls: u32,
    /// The next so many bulk jobs carry out their operations at once, and are not known when they are asked for.
    pub bulk_job_forgotten: u32,
    /// Operations in bulk requests that are answered with 429 or 500, one as often as the other, and have no effect.
    pub bulk_operation_error_rate: f64,
    /// The next so many messages to `/practice/webhook` are answered 503.
    pub webhook_fails: u32,
    /// The token endpoint refuses all credentials.
    pub reject_token_credentials: bool,
    /// The next so many token calls are answered 400 `invalid_request`, "rate limit exceeded".
    pub token_rate_limited: u32,
    /// The next so many lists of users come without `Resources`.
    pub page_without_resources: u32,
    /// In the next so many lists of users the first one has no `id`.
    pub user_without_id: u32,
    /// In the next so many lists of users the first one has a role that is a number.
    pub role_not_a_string: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            error_status: 503,
            timeout_rate: 0.0,
            lost_answer_rate: 0.0,
            cut_body_rate: 0.0,
            garbled_rate: 0.0,
            reset_rate: 0.0,
            revoke_tokens: false,
            outage: false,
            moving_list: false,
            hide_inactive: false,
            listed_percent: 100,
            ignore_since: false,
            fail_users: BTreeMap::new(),
            fail_external_ids: BTreeMap::new(),
            bulk_job_fails: 0,
            bulk_job_canceled: 0,
            bulk_job_stalls: 0,
            bulk_job_forgotten: 0,
            bulk_operation_error_rate: 0.0,
            webhook_fails: 0,
            reject_token_credentials: false,
            token_rate_limited: 0,
            page_without_resources: 0,
            user_without_id: 0,
            role_not_a_string: 0,
        }
    }
}

/// A fault that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongFault {
    /// A rate outside of 0 to 1.
    #[error("{0} must be between 0 and 1")]
    Rate(&'static str),
    /// A share above 100.
    #[error("listed_percent must be between 0 and 100")]
    Percent,
    /// A status that is no error.
    #[error("{0} must be a status between 400 and 599")]
    Status(String),
}

impl Faults {
    /// Checks rates and statuses.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), WrongFault> {
        let rates = [
            ("error_rate", self.error_rate),
            ("timeout_rate", self.timeout_rate),
            ("lost_answer_rate", self.lost_answer_rate),
            ("cut_body_rate", self.cut_body_rate),
            ("garbled_rate", self.garbled_rate),
            ("reset_rate", self.reset_rate),
            ("bulk_operation_error_rate", self.bulk_operation_error_rate),
        ];
        if let Some((name, _)) = rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(WrongFault::Rate(name));
        }
        if self.listed_percent > 100 {
            return Err(WrongFault::Percent);
        }
        let chosen = [("fail_users", &self.fail_users), ("fail_external_ids", &self.fail_external_ids)];
        let chosen = chosen.into_iter().flat_map(|(fault, people)| {
            people.iter().map(move |(id, status)| (format!("{fault}.{id}"), *status))
        });
        let mut statuses = std::iter::once(("error_status".to_owned(), self.error_status)).chain(chosen);
        match statuses.find(|(_, status)| !(400..=599).contains(status)) {
            Some((name, _)) => Err(WrongFault::Status(name)),
            None => Ok(()),
        }
    }
}

/// What happens to one call instead of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 503 for all.
    Outage,
    /// No answer at all.
    Timeout,
    /// The connection is reset.
    Reset,
    /// `error_status`.
    Error,
    /// The write is applied, then 504.
    LostAnswer,
    /// The connection is cut in the middle of the body.
    CutBody,
    /// JSON that breaks off.
    Garbled,
    /// A write to one of `fail_users`.
    FailUser,
    /// A create of one of `fail_external_ids`.
    FailExternalId,
    /// A bulk job that fails.
    BulkJobFails,
    /// A bulk job that is canceled.
    BulkJobCanceled,
    /// A bulk job that never ends.
    BulkJobStalls,
    /// A bulk job that is not known.
    BulkJobForgotten,
    /// An operation in a bulk request that is not carried out.
    BulkOperationError,
    /// A message to `/practice/webhook` that is not taken.
    WebhookFails,
    /// A token call that is told off.
    TokenRateLimited,
    /// A list without `Resources`.
    PageWithoutResources,
    /// A user without `id`.
    UserWithoutId,
    /// A role that is a number.
    RoleNotAString,
}

/// Faults and dice together.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) faults: Faults,
    rng: StdRng,
}

impl Dice {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, rng: StdRng::seed_from_u64(seed) }
    }

    fn hits(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.rng.random_bool(rate.min(1.0))
    }

    /// What befalls a call before it has any effect.
    pub(super) fn before(&mut self) -> Option<Fault> {
        if self.faults.outage {
            return Some(Fault::Outage);
        }
        [
            (Fault::Timeout, self.faults.timeout_rate),
            (Fault::Reset, self.faults.reset_rate),
            (Fault::Error, self.faults.error_rate),
        ]
        .into_iter()
        .find_map(|(fault, rate)| self.hits(rate).then_some(fault))
    }

    /// What befalls the answer of a successful call.
    pub(super) fn after(&mut self, is_write: bool) -> Option<Fault> {
        let lost = if is_write { self.faults.lost_answer_rate } else { 0.0 };
        [
            (Fault::LostAnswer, lost),
            (Fault::CutBody, self.faults.cut_body_rate),
            (Fault::Garbled, self.faults.garbled_rate),
        ]
        .into_iter()
        .find_map(|(fault, rate)| self.hits(rate).then_some(fault))
    }

    /// What is wrong with a page that has users in it; counts it down.
    pub(super) fn malformed_page(&mut self) -> Option<Fault> {
        [
            (&mut self.faults.page_without_resources, Fault::PageWithoutResources),
            (&mut self.faults.user_without_id, Fault::UserWithoutId),
            (&mut self.faults.role_not_a_string, Fault::RoleNotAString),
        ]
        .into_iter()
        .find_map(|(left, fault)| count_down(left).then_some(fault))
    }

    /// How the next bulk job goes wrong; counts it down.
    pub(super) fn bulk_job(&mut self) -> Option<Fault> {
        [
            (&mut self.faults.bulk_job_fails, Fault::BulkJobFails),
            (&mut self.faults.bulk_job_canceled, Fault::BulkJobCanceled),
            (&mut self.faults.bulk_job_stalls, Fault::BulkJobStalls),
            (&mut self.faults.bulk_job_forgotten, Fault::BulkJobForgotten),
        ]
        .into_iter()
        .find_map(|(left, fault)| count_down(left).then_some(fault))
    }

    /// The status of an operation in a bulk request that is not carried out.
    pub(super) fn bulk_operation(&mut self) -> Option<StatusCode> {
        if !self.hits(self.faults.bulk_operation_error_rate) {
            return None;
        }
        let busy = self.rng.random_bool(0.5);
        Some(if busy { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::INTERNAL_SERVER_ERROR })
    }

    /// Whether this message to the webhook is not taken; counts it down.
    pub(super) fn webhook_fails(&mut self) -> bool {
        count_down(&mut self.faults.webhook_fails)
    }

    /// Whether this token call is told off; counts it down.
    pub(super) fn token_rate_limited(&mut self) -> bool {
        count_down(&mut self.faults.token_rate_limited)
    }
}

fn count_down(left: &mut u32) -> bool {
    let hit = *left > 0;
    *left = left.saturating_sub(1);
    hit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let run = |seed| {
            let faults = Faults { error_rate: 0.3, reset_rate: 0.1, ..Faults::default() };
            let mut dice = Dice::new(faults, seed);
            (0..200).map(|_| dice.before()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let errors = run(7).iter().filter(|fault| **fault == Some(Fault::Error)).count();
        assert!((30..80).contains(&errors), "{errors} of 200");
    }

    #[test]
    fn nothing_goes_wrong_by_default() {
        let mut dice = Dice::new(Faults::default(), 1);
        assert_eq!((dice.before(), dice.after(true), dice.malformed_page()), (None, None, None));
        assert!(!dice.token_rate_limited() && !dice.webhook_fails());
        assert_eq!((dice.bulk_job(), dice.bulk_operation()), (None, None));
    }

    #[test]
    fn only_writes_lose_their_answer() {
        let mut dice = Dice::new(Faults { lost_answer_rate: 1.0, ..Faults::default() }, 1);
        assert_eq!((dice.after(false), dice.after(true)), (None, Some(Fault::LostAnswer)));
    }

    #[test]
    fn jobs_go_wrong_as_often_as_asked_and_operations_in_both_ways() {
        let faults = Faults {
            bulk_job_fails: 2,
            bulk_job_forgotten: 1,
            bulk_operation_error_rate: 0.5,
            ..Faults::default()
        };
        let mut dice = Dice::new(faults, 1);
        let jobs: Vec<_> = (0..4).map(|_| dice.bulk_job()).collect();
        let (fails, forgotten) = (Some(Fault::BulkJobFails), Some(Fault::BulkJobForgotten));
        assert_eq!(jobs, [fails, fails, forgotten, None]);
        let operations: Vec<_> =
            (0..200).map(|_| dice.bulk_operation().map(|status| status.as_u16())).collect();
        for (outcome, share) in [(None, 70..130), (Some(429), 30..70), (Some(500), 30..70)] {
            let count = operations.iter().filter(|status| **status == outcome).count();
            assert!(share.contains(&count), "{outcome:?}: {count} of 200");
        }
    }

    #[test]
    fn a_fault_that_cannot_be_is_named() {
        let check = |json: &str| serde_json::from_str::<Faults>(json).expect(json).check();
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"reset_rate": 1.5}"#), Err(WrongFault::Rate("reset_rate")));
        assert_eq!(check(r#"{"error_status": 200}"#), Err(WrongFault::Status("error_status".to_owned())));
        assert!(check(r#"{"fail_users": {"a": 42}}"#).is_err());
        let status = Err(WrongFault::Status("fail_external_ids.a".to_owned()));
        assert_eq!(check(r#"{"fail_external_ids": {"a": 201}}"#), status);
        assert_eq!(
            check(r#"{"bulk_operation_error_rate": -1}"#),
            Err(WrongFault::Rate("bulk_operation_error_rate"))
        );
        assert!(serde_json::from_str::<Faults>(r#"{"error_rat": 1}"#).is_err());
    }
}
