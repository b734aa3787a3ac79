//! The people of a practice tenant: made up from a seed, plainly synthetic, and the table that fits them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::directory::Directory;
use super::record::{Draft, Id, Kind};
use crate::model::{Role, TeamId, Timestamp};
use crate::plan::Mapping;

/// HR roles and the teams that they ask for.
const RULES: [(&str, &[&str]); 4] = [
    ("HR_ENGINEER", &["team-engineering"]),
    ("HR_FINANCE", &["team-finance"]),
    ("HR_SALES", &["team-sales"]),
    ("HR_SUPPORT", &["team-service-desk", "team-support"]),
];

/// A role that no rule names.
const UNMAPPED: &str = "HR_GUEST";

/// Teams that no rule names: people join them by hand.
const UNMANAGED: [&str; 2] = ["team-first-aid", "team-social"];

/// Users were last changed at some time in this many seconds before the start: 30 days.
const PAST_SECONDS: u64 = 30 * 24 * 3600;

/// The rules that fit the population.
#[must_use]
pub fn mapping() -> Mapping {
    let teams = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect();
    Mapping::new(RULES.iter().map(|(role, ids)| (Role::from(*role), teams(ids))).collect())
}

/// Every role that a user of the population may have, the unmapped one included.
#[must_use]
pub fn roles() -> Vec<Role> {
    RULES.iter().map(|(role, _)| *role).chain([UNMAPPED]).map(Role::from).collect()
}

/// Fills an empty directory with teams and `users` users.
pub(super) fn fill(
    directory: &mut Directory,
    users: usize,
    seed: u64,
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = now.minus(Duration::from_secs(PAST_SECONDS));
    for team in managed().iter().chain(&UNMANAGED) {
        let draft = Draft::read(Kind::Group, Map::from_iter([("displayName".to_owned(), json!(team))]))?;
        directory.create_as(Kind::Group, Id::from(*team), draft, start)?;
    }
    for number in 1..=users {
        let active = !rng.random_bool(0.02);
        let roles = some_roles(&mut rng);
        let teams = some_teams(&mut rng, &roles);
        let at = start.plus(Duration::from_secs(rng.random_range(0..PAST_SECONDS)));
        directory.create(Kind::User, draft(number, active, &roles, &teams)?, at)?;
    }
    Ok(())
}

/// The user with this number, with roles and teams.
pub(super) fn draft<R: AsRef<str>, T: AsRef<str>>(
    number: usize,
    active: bool,
    roles: &[R],
    teams: &[T],
) -> Result<Draft, Refusal> {
    let address = format!("user-{number:04}@practice.example");
    let values = |list: Vec<&str>| list.into_iter().map(|value| json!({ "value": value })).collect::<Value>();
    let body = Map::from_iter([
        ("schemas".to_owned(), json!([Kind::User.schema()])),
        ("userName".to_owned(), json!(address)),
        ("externalId".to_owned(), json!(format!("E-{number:04}"))),
        ("displayName".to_owned(), json!(format!("User {number:04}"))),
        ("name".to_owned(), json!({ "givenName": "User", "familyName": format!("{number:04}") })),
        ("emails".to_owned(), json!([{ "value": address, "type": "work", "primary": true }])),
        ("active".to_owned(), json!(active)),
        ("roles".to_owned(), values(roles.iter().map(AsRef::as_ref).collect())),
        ("teams".to_owned(), values(teams.iter().map(AsRef::as_ref).collect())),
    ]);
    Draft::read(Kind::User, body)
}

fn managed() -> Vec<&'static str> {
    RULES.iter().flat_map(|(_, teams)| teams.iter().copied()).collect()
}

/// One role, or two for a quarter of the users; one in twenty has only the unmapped one.
fn some_roles(rng: &mut StdRng) -> Vec<&'static str> {
    if rng.random_bool(0.05) {
        return vec![UNMAPPED];
    }
    let count = if rng.random_bool(0.25) { 2 } else { 1 };
    RULES.iter().map(|(role, _)| *role).choose_multiple(rng, count)
}

/// The right teams for five in ten, none for four, wrong ones for one: no more than a guard lets pass; and for a
/// quarter of all a team that is not ours.
fn some_teams(rng: &mut StdRng, roles: &[&str]) -> Vec<&'static str> {
    let asked: BTreeMap<&str, &[&'static str]> = RULES.into_iter().collect();
    let right: BTreeSet<&'static str> =
        roles.iter().filter_map(|role| asked.get(role)).copied().flatten().copied().collect();
    let mut teams: Vec<&'static str> = match rng.random_range(0..10) {
        0..5 => right.into_iter().collect(),
        5..9 => Vec::new(),
        _ => managed().into_iter().filter(|team| !right.contains(team)).choose_multiple(rng, 2),
    };
    if rng.random_bool(0.25) {
        teams.extend(UNMANAGED.choose(rng));
    }
    teams
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn filled(seed: u64) -> Directory {
        let mut directory = Directory::new(seed);
        fill(&mut directory, 500, seed, NOW).expect("the population is legal");
        directory
    }

    #[test]
    fn a_seed_always_makes_the_same_people() {
        let shown = |directory: &Directory| {
            let users = directory.shelf(Kind::User).all();
            users
                .map(|user| (user.id.clone(), user.attributes.clone(), user.links.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&filled(1)), shown(&filled(1)));
        assert_ne!(shown(&filled(1)), shown(&filled(2)));
    }

    #[test]
    fn there_is_something_of_everything() {
        let directory = filled(1);
        let (mapping, users) = (mapping(), directory.shelf(Kind::User).all().collect::<Vec<_>>());
        assert_eq!(users.len(), 500);
        let inactive = users.iter().filter(|user| user.attributes["active"] == false).count();
        assert!((1..40).contains(&inactive), "{inactive} inactive");
        let unmapped = users.iter().filter(|user| user.attributes["roles"][0]["value"] == UNMAPPED).count();
        assert!((5..60).contains(&unmapped), "{unmapped} unmapped");
        let unmanaged = users.iter().filter(|user| UNMANAGED.iter().any(|team| user.links.contains(*team)));
        assert!(unmanaged.count() > 50);
        let right = users.iter().filter(|user| {
            let roles = user.attributes["roles"].as_array().into_iter().flatten();
            let roles = roles.filter_map(|role| role["value"].as_str()).map(Role::from).collect();
            let wanted = mapping.teams_for(&roles).unwrap_or_default();
            let has =
                user.links.iter().map(|id| TeamId::from(&**id)).filter(|id| mapping.managed().contains(id));
            has.collect::<BTreeSet<_>>() == wanted
        });
        assert!((150..350).contains(&right.count()));
        assert!(users.iter().all(|user| user.modified < NOW));
    }
}
