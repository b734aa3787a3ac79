//! Does the tenant understand `since`? One that does not may answer as if it did.
//!
//! Two lists tell: one from a year to come, which must be empty, and one from the epoch, which must not be. A tenant without
//! users tells nothing.

use super::users::{ListSettings, ReadError, repeat};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Since, Timestamp};
use crate::scim::{ListQuery, ServiceProvider};

/// 1 January 2099.
const TO_COME: Timestamp = Timestamp::from_millis(4_070_908_800_000);

/// Asks a tenant; `None` when it has no users.
///
/// # Errors
/// When it cannot be asked.
pub async fn probe_since(
    provider: &impl ServiceProvider,
    settings: &ListSettings,
    clock: &Clock,
    chance: Chance,
) -> Result<Option<Since>, ReadError> {
    let total = async |since: Option<Timestamp>| {
        let query = ListQuery { since, filter: settings.filter.clone(), start_index: 1, count: 1 };
        let page = repeat(clock, chance, || provider.list_users(&query)).await;
        let place = || since.map_or_else(|| "users".to_owned(), |since| format!("users since {since}"));
        page.map(|page| page.total).map_err(|failure| ReadError { place: place(), failure })
    };
    Ok(if total(Some(TO_COME)).await? > 0 {
        Some(Since::Ignored)
    } else if total(Some(Timestamp::EPOCH)).await? > 0 {
        Some(Since::Works)
    } else {
        (total(None).await? > 0).then_some(Since::Broken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_to_come_is_to_come() {
        assert_eq!(TO_COME.to_string(), "2099-01-01T00:00:00.000Z");
    }
}
