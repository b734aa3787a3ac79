//! Does the tenant understand `since`? One that does not may answer as if it did.
//!
//! Two lists tell: one from a year to come, which must be empty, and one from the epoch, which must not be.

use super::users::{ListSettings, ReadError, repeat};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Since, Timestamp};
use crate::scim::{ListQuery, ServiceProvider};

/// 1 January 2099.
const TO_COME: Timestamp = Timestamp::from_millis(4_070_908_800_000);

/// Asks a tenant that is known to have users.
///
/// # Errors
/// When it cannot be asked.
pub async fn probe_since(
    provider: &impl ServiceProvider,
    settings: &ListSettings,
    clock: &Clock,
    chance: Chance,
) -> Result<Since, ReadError> {
    let total = async |since: Timestamp| {
        let query =
            ListQuery { since: Some(since), filter: settings.filter.clone(), start_index: 1, count: 1 };
        let page = repeat(clock, chance, || provider.list_users(&query)).await;
        let place = || format!("users since {since}");
        page.map(|page| page.total).map_err(|failure| ReadError { place: place(), failure })
    };
    Ok(if total(TO_COME).await? > 0 {
        Since::Ignored
    } else if total(Timestamp::EPOCH).await? == 0 {
        Since::Broken
    } else {
        Since::Works
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
