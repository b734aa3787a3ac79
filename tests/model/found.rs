//! Runs in which something was found once, each told by what went wrong.

use crate::steps::{Case, Step};
use crate::tenant::{Call, Fault, Nature, Understands};
use crate::world::run;

/// One user without roles and teams, on a tenant that does all it should.
fn case(steps: Vec<Step>) -> Case {
    Case {
        nature: Nature { etag: true, date: true, lists_inactive: true, since: Understands::It },
        add_remove: false,
        guard: false,
        overlap: 0,
        people: vec![(0, 0)],
        mappings: vec![[0, 0, 0]; 3],
        steps,
    }
}

/// Its users were all to be read again, so it held nothing; and the new mapping waited for its approval for ever.
#[test]
fn a_held_remap_that_holds_nothing_is_tried_again() {
    run(&Case {
        guard: true,
        nature: Nature { etag: false, date: false, lists_inactive: false, since: Understands::It },
        people: vec![(4, 8)],
        mappings: vec![[0, 0, 1], [0, 0, 0], [0, 8, 0]],
        ..case(vec![
            Step::Fail { call: Call::Patch, fault: Fault::Throttled, times: 1 },
            Step::Sweep,
            Step::Pass { calls: 2 },
            Step::Pass { calls: 3 },
            Step::Put { user: 0, team: 1 },
            Step::Pass { calls: 1 },
            Step::Mapping { which: 1 },
            Step::Pass { calls: 3 },
            Step::Decide { approve: true },
        ])
    });
}

/// Somebody was faster than the daemon, whose write was refused; later the daemon took the membership for its own.
#[test]
fn a_write_that_was_refused_has_granted_nothing() {
    run(&Case {
        people: vec![(1, 0)],
        mappings: vec![[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        ..case(vec![
            Step::Sweep,
            Step::Pass { calls: 1 },
            Step::Put { user: 0, team: 0 },
            Step::Go,
            Step::Mapping { which: 1 },
            Step::Go,
        ])
    });
}

/// A user whose operation was stale got the decision of a held pass, and it was sent without being approved.
#[test]
fn a_held_pass_sends_nothing_for_a_user_who_was_stale() {
    run(&Case {
        guard: true,
        people: vec![(0, 56), (0, 0), (1, 0), (0, 9)],
        mappings: vec![[8, 10, 0], [1, 0, 12], [0, 0, 0]],
        nature: Nature { etag: true, date: false, lists_inactive: false, since: Understands::Nothing },
        ..case(vec![
            Step::Go,
            Step::Mapping { which: 1 },
            Step::Roles { user: 12, roles: 6 },
            Step::Pass { calls: 2 },
            Step::Put { user: 128, team: 2 },
            Step::OurClock { by: -1 },
            Step::Roles { user: 91, roles: 0 },
            Step::Go,
        ])
    });
}

/// The newest change that a list showed was taken for the tenant's clock; an older one, on a page that had been read
/// by then, was passed by.
#[test]
fn a_change_while_a_list_is_read_is_not_the_tenants_clock() {
    run(&Case {
        nature: Nature { etag: true, date: false, lists_inactive: false, since: Understands::It },
        people: vec![(0, 0), (0, 0), (0, 1), (0, 0)],
        mappings: vec![[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        ..case(vec![
            Step::OurClock { by: 1 },
            Step::Go,
            Step::Create { roles: 0, teams: 0, place: 0 },
            Step::Delete { user: 0 },
            Step::Pass { calls: 1 },
            Step::Roles { user: 123, roles: 1 },
            Step::Roles { user: 5, roles: 0 },
            Step::Pass { calls: 3 },
        ])
    });
}

/// Three users on two pages, of whom the second one changes his place when the first page has been read.
fn one_moves(before: Option<Step>, after: Option<Step>) {
    let steps = [
        before,
        Some(Step::Pass { calls: 1 }),
        after,
        Some(Step::Move { user: 1, place: 2 }),
        Some(Step::Go),
        Some(Step::Roles { user: 0, roles: 0 }),
    ];
    run(&Case {
        nature: Nature { etag: false, date: true, lists_inactive: false, since: Understands::It },
        people: vec![(0, 0); 3],
        ..case(steps.into_iter().flatten().collect())
    });
}

/// He was counted twice, once as a record that could not be read, so the list seemed complete; it had not shown the
/// third user, and the watermark passed him by.
#[test]
fn a_user_whose_record_can_be_read_in_one_place_only_hides_nobody() {
    let garble = || Some(Step::Garble { user: 1, times: 1 });
    one_moves(garble(), None);
    one_moves(None, garble());
}

/// It was not asked what it makes of `since`, because nobody could be read; then it was believed that nobody had changed.
#[test]
fn a_tenant_whose_only_record_cannot_be_read_is_asked_what_it_makes_of_since() {
    run(&Case {
        nature: Nature { etag: false, date: true, lists_inactive: false, since: Understands::Wrong },
        ..case(vec![
            Step::Garble { user: 0, times: 1 },
            Step::Pass { calls: 2 },
            Step::Create { roles: 0, teams: 0, place: 0 },
            Step::Pass { calls: 2 },
            Step::Go,
        ])
    });
}

/// It had no users when it could have been asked what it makes of `since`; then it was believed that nobody had changed.
#[test]
fn a_tenant_that_was_empty_is_asked_what_it_makes_of_since() {
    run(&Case {
        nature: Nature { etag: false, date: true, lists_inactive: false, since: Understands::Wrong },
        ..case(vec![
            Step::Delete { user: 0 },
            Step::Go,
            Step::Create { roles: 11, teams: 48, place: 93 },
            Step::Pass { calls: 2 },
            Step::Go,
        ])
    });
}

/// A list showed what somebody had done by hand while a write for that user was in flight, which failed: before he was read again
/// it went out once more, with the teams that he had been in before, and nobody knew who had put him there.
#[test]
fn a_write_that_failed_waits_until_its_user_is_read_again() {
    run(&Case {
        guard: true,
        nature: Nature { etag: false, date: false, lists_inactive: false, since: Understands::It },
        people: vec![(0, 0), (4, 27), (0, 0)],
        mappings: vec![[2, 0, 5], [0, 0, 0], [6, 2, 14]],
        ..case(vec![
            Step::Fail { call: Call::Patch, fault: Fault::Unavailable, times: 1 },
            Step::Active { user: 14, active: false },
            Step::Create { roles: 0, teams: 0, place: 0 },
            Step::Go,
            Step::Decide { approve: true },
            Step::TakeOut { user: 9, team: 0 },
            Step::Go,
            Step::Mapping { which: 1 },
        ])
    });
}
