//! The guard: what is too much to be done without asking. Pure.

use std::time::Duration;

use crate::model::{Deactivations, Finding, Tally, TeamId};

/// What may change within the window. A limit trips when it is exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Users who lose a managed team.
    pub removals: Limit,
    /// Users who are changed.
    pub changes: Limit,
    /// Users who lose the same team.
    pub team_removals: Limit,
    /// Users who gain or lose the same team.
    pub team_changes: Limit,
    /// Known users who are missing from a sweep, in percent.
    pub missing_percent: f64,
    /// Below this many known users percentages do not apply.
    pub min_users: u64,
}

/// One limit: a share, a number, both or none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limit {
    /// Percent, 0 to 100.
    pub percent: Option<f64>,
    /// Users.
    pub users: Option<u64>,
}

impl Limits {
    /// There are limits for single teams.
    #[must_use]
    pub fn of_teams(&self) -> bool {
        self.team_removals != Limit::default() || self.team_changes != Limit::default()
    }
}

/// What the guard objects to when users are to be made inactive because no row names them.
///
/// Percentages are of those who were known when the window began: whom a wrong export brings does not make those many who
/// are missing from it. A tenant that knew nobody worth mentioning then is measured by whom it knew before the run. Whether
/// percentages apply at all is decided by the size of the tenant, of which exports may name a part only.
#[must_use]
pub fn examine_deactivations(tally: &Deactivations, limits: &Limits, window: Duration) -> Vec<Finding> {
    let Deactivations { found, known, known_before, tenant } = *tally;
    let known = if known_before >= limits.min_users { known_before } else { known };
    let tally = Tally { known, read: known, removals: found, ..Tally::default() };
    let min_users = if tenant >= limits.min_users { 0 } else { limits.min_users };
    let mut findings = examine(&tally, &Limits { min_users, ..*limits }, window);
    for finding in &mut findings {
        finding.deactivations = true;
    }
    findings
}

/// What the guard objects to; nothing, most of the time.
///
/// Percentages are of the greater of users known and users read; of a team, of its members. The first pass of a tenant
/// is exempt from the limits on changes, because it changes everybody. `window` is how far back the tally goes.
#[must_use]
pub fn examine(tally: &Tally, limits: &Limits, window: Duration) -> Vec<Finding> {
    let window_seconds = Some(window.as_secs());
    let users = tally.known.max(tally.read);
    let percents = users >= limits.min_users;
    let mut findings = Vec::new();
    let mut look = |limit: Limit, name: &str, found: u64, of: u64, team: Option<&TeamId>| {
        let percent = limit.percent.filter(|percent| percents && exceeds(found, of, *percent));
        let number = limit.users.filter(|most| found > *most);
        let finding = |limit: String, allowed: f64| Finding {
            limit,
            team: team.cloned(),
            found,
            of,
            allowed,
            window_seconds,
            deactivations: false,
        };
        findings.extend(percent.map(|percent| finding(format!("max_{name}_percent"), percent)));
        #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
        findings.extend(number.map(|most| finding(format!("max_{name}"), most as f64)));
    };
    look(limits.removals, "removals", tally.removals, users, None);
    if !tally.first {
        look(limits.changes, "changes", tally.changes, users, None);
    }
    for (team, own) in &tally.teams {
        look(limits.team_removals, "team_removals", own.removals, own.members, Some(team));
        if !tally.first {
            look(limits.team_changes, "team_changes", own.changes, own.members, Some(team));
        }
    }
    findings
}

/// The objection to a sweep that did not show `missing` of `known` users.
#[must_use]
pub fn examine_missing(missing: u64, known: u64, limits: &Limits) -> Option<Finding> {
    let trips = known >= limits.min_users && exceeds(missing, known, limits.missing_percent);
    trips.then(|| Finding {
        limit: "max_missing_percent".to_owned(),
        team: None,
        found: missing,
        of: known,
        allowed: limits.missing_percent,
        window_seconds: None,
        deactivations: false,
    })
}

#[expect(clippy::cast_precision_loss, reason = "users are far below 2^52")]
fn exceeds(found: u64, of: u64, percent: f64) -> bool {
    found > 0 && found as f64 * 100.0 > of as f64 * percent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TeamTally;

    const HOUR: Duration = Duration::from_hours(1);

    fn limits() -> Limits {
        Limits {
            removals: Limit { percent: Some(20.0), users: None },
            changes: Limit { percent: Some(50.0), users: None },
            missing_percent: 20.0,
            min_users: 50,
            ..Limits::default()
        }
    }

    fn tally(known: u64, changes: u64, removals: u64) -> Tally {
        Tally { known, read: known, changes, removals, ..Tally::default() }
    }

    fn tripped(tally: &Tally, limits: &Limits) -> Vec<String> {
        examine(tally, limits, HOUR).into_iter().map(|finding| finding.limit).collect()
    }

    #[test]
    fn a_limit_trips_when_it_is_exceeded_and_not_when_it_is_reached() {
        assert!(tripped(&tally(100, 50, 20), &limits()).is_empty());
        assert_eq!(tripped(&tally(100, 50, 21), &limits()), ["max_removals_percent"]);
        assert_eq!(tripped(&tally(100, 51, 0), &limits()), ["max_changes_percent"]);
        assert_eq!(tripped(&tally(100, 51, 21), &limits()), ["max_removals_percent", "max_changes_percent"]);
    }

    #[test]
    fn deactivations_are_measured_by_the_users_whom_exports_named() {
        let examined = |found, known_before, known, tenant| {
            examine_deactivations(&Deactivations { found, known, known_before, tenant }, &limits(), HOUR)
        };
        for (found, known_before, known, tenant, of) in [
            (20, 100, 100, 100, None),
            (21, 100, 100, 100, Some(100)),
            (49, 49, 49, 49, None),
            // The tenant has far more users than exports have named.
            (48, 49, 49, 549, Some(49)),
            (10, 49, 49, 50, Some(49)),
            (9, 49, 49, 50, None),
            // A wrong export has named many others since.
            (21, 100, 1000, 1000, Some(100)),
            // All that is known came within the window.
            (200, 0, 1000, 1000, None),
            (201, 0, 1000, 1000, Some(1000)),
            (201, 49, 1000, 1000, Some(1000)),
        ] {
            let findings = examined(found, known_before, known, tenant);
            assert_eq!(
                findings.first().map(|finding| finding.of),
                of,
                "{found} {known_before} {known} {tenant}"
            );
        }
        let findings = examined(21, 100, 100, 100);
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let expected = "21 of 100 users whom earlier exports named are to be made inactive: more than 20 % in the last \
                        1h (max_removals_percent)";
        assert_eq!(said, [expected]);
        assert_eq!(findings[0].limit, "max_removals_percent", "the key as it is configured");
    }

    #[test]
    fn few_users_have_no_percentages_but_numbers() {
        assert!(tripped(&tally(49, 49, 49), &limits()).is_empty());
        let numbers = Limits { removals: Limit { percent: Some(20.0), users: Some(3) }, ..limits() };
        assert!(tripped(&tally(49, 49, 3), &numbers).is_empty());
        assert_eq!(tripped(&tally(49, 49, 4), &numbers), ["max_removals"]);
    }

    #[test]
    fn percentages_are_of_the_greater_of_known_and_read() {
        assert!(tripped(&Tally { known: 50, read: 200, ..tally(50, 60, 40) }, &limits()).is_empty());
        assert!(tripped(&Tally { known: 200, read: 3, ..tally(200, 60, 40) }, &limits()).is_empty());
    }

    #[test]
    fn the_first_pass_may_change_everybody_but_not_empty_the_teams() {
        let first = |removals| Tally { first: true, known: 0, ..tally(100, 100, removals) };
        assert!(tripped(&first(20), &limits()).is_empty());
        assert_eq!(tripped(&Tally { read: 100, ..first(21) }, &limits()), ["max_removals_percent"]);
    }

    #[test]
    fn a_single_team_has_limits_of_its_own() {
        let team = TeamTally { members: 10, changes: 6, removals: 4 };
        let of_a_team = Tally { teams: [(TeamId::from("team-a"), team)].into(), ..tally(1000, 6, 4) };
        assert!(tripped(&of_a_team, &limits()).is_empty(), "unset");
        let set = Limits {
            team_removals: Limit { percent: Some(30.0), users: Some(4) },
            team_changes: Limit { percent: None, users: Some(5) },
            ..limits()
        };
        assert_eq!(tripped(&of_a_team, &set), ["max_team_removals_percent", "max_team_changes"]);
        insta::assert_snapshot!(
            examine(&of_a_team, &set, HOUR).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @"
        4 of 10 users lose team team-a: more than 30 % in the last 1h (max_team_removals_percent)
        6 of 10 users are changed in team team-a: more than 5 in the last 1h (max_team_changes)
        ");
    }

    #[test]
    fn too_many_missing_users_are_an_objection() {
        assert_eq!(examine_missing(20, 100, &limits()), None);
        assert_eq!(
            examine_missing(21, 100, &limits()).map(|finding| finding.to_string()).as_deref(),
            Some("21 of 100 known users are missing from the list: more than 20 % (max_missing_percent)")
        );
        assert_eq!(examine_missing(49, 49, &limits()), None);
    }
}
