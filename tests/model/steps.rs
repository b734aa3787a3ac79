//! What can happen, and how it is drawn.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::tenant::{Call, Fault, Nature, Understands};

/// Roles; the last is in no mapping.
pub(crate) const ROLES: [&str; 4] = ["role-1", "role-2", "role-3", "role-unmapped"];
/// Teams that a mapping may name, and then those that none ever does.
pub(crate) const TEAMS: [&str; 6] =
    ["team-a", "team-b", "team-c", "team-d", "team-theirs-1", "team-theirs-2"];
/// How many of them a mapping may name.
pub(crate) const MANAGEABLE: u32 = 4;

/// Which teams each role asks for, as bits.
pub(crate) type Rules = [u8; 3];

/// One run: what there is at the start, and what happens.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) nature: Nature,
    /// Operations add and remove instead of replacing the list.
    pub(crate) add_remove: bool,
    /// Limits are in force.
    pub(crate) guard: bool,
    /// In seconds.
    pub(crate) overlap: u8,
    /// Roles and teams of each user at the start, as bits.
    pub(crate) people: Vec<(u8, u8)>,
    pub(crate) mappings: Vec<Rules>,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens. Users are counted among those who are there.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Roles {
        user: u8,
        roles: u8,
    },
    Active {
        user: u8,
        active: bool,
    },
    Create {
        roles: u8,
        teams: u8,
        place: u8,
    },
    Delete {
        user: u8,
    },
    Put {
        user: u8,
        team: u8,
    },
    TakeOut {
        user: u8,
        team: u8,
    },
    Move {
        user: u8,
        place: u8,
    },
    Garble {
        user: u8,
        times: u8,
    },
    Fail {
        call: Call,
        fault: Fault,
        times: u8,
    },
    /// What was given up arrives.
    Land,
    /// Clocks are set, by seconds.
    OurClock {
        by: i16,
    },
    TheirClock {
        by: i16,
    },
    /// Seconds.
    Elapse {
        by: u16,
    },
    /// Another mapping is configured.
    Mapping {
        which: u8,
    },
    Reload,
    Crash {
        arrives: bool,
    },
    /// Everything goes on freely for so many steps of the machinery, then it is killed.
    CrashIn {
        steps: u8,
        arrives: bool,
    },
    Sweep,
    Delta,
    /// The pass goes on by so many calls.
    Pass {
        calls: u8,
    },
    /// Delivery does.
    Deliver {
        calls: u8,
    },
    /// Everything goes on for a while.
    Go,
    Decide {
        approve: bool,
    },
    Replay,
}

fn fault() -> impl Strategy<Value = (Call, Fault)> {
    let write = prop_oneof![
        3 => Just(Fault::Unavailable),
        1 => Just(Fault::Busy),
        2 => Just(Fault::Throttled),
        1 => Just(Fault::Unauthorized),
        1 => Just(Fault::Forbidden),
        1 => Just(Fault::Rejected),
        4 => Just(Fault::Lost),
        3 => Just(Fault::Late),
        3 => Just(Fault::Conflict),
    ];
    let read = prop_oneof![
        4 => Just(Fault::Unavailable),
        1 => Just(Fault::Busy),
        2 => Just(Fault::Throttled),
        1 => Just(Fault::Unauthorized),
        1 => Just(Fault::Rejected),
    ];
    prop_oneof![
        3 => write.prop_map(|fault| (Call::Patch, fault)),
        1 => read.clone().prop_map(|fault| (Call::List, fault)),
        1 => read.prop_map(|fault| (Call::Get, fault)),
    ]
}

fn step(guard: bool) -> impl Strategy<Value = Step> {
    let (user, team) = (any::<u8>(), 0..6_u8);
    let changes = prop_oneof![
        6 => (user, 0..16_u8).prop_map(|(user, roles)| Step::Roles { user, roles }),
        2 => (user, any::<bool>()).prop_map(|(user, active)| Step::Active { user, active }),
        1 => (0..16_u8, 0..64_u8, any::<u8>()).prop_map(|(roles, teams, place)| Step::Create { roles, teams, place }),
        1 => user.prop_map(|user| Step::Delete { user }),
        4 => (user, team.clone()).prop_map(|(user, team)| Step::Put { user, team }),
        3 => (user, team).prop_map(|(user, team)| Step::TakeOut { user, team }),
        2 => (user, any::<u8>()).prop_map(|(user, place)| Step::Move { user, place }),
        1 => (user, 1..9_u8).prop_map(|(user, times)| Step::Garble { user, times }),
        2 => (0..3_u8).prop_map(|which| Step::Mapping { which }),
    ];
    let mishaps = prop_oneof![
        6 => (fault(), 1..9_u8).prop_map(|((call, fault), times)| Step::Fail { call, fault, times }),
        1 => Just(Step::Land),
        1 => (-4000..4000_i16).prop_map(|by| Step::OurClock { by }),
        1 => (-4000..4000_i16).prop_map(|by| Step::TheirClock { by }),
        2 => (1..2000_u16).prop_map(|by| Step::Elapse { by }),
        1 => Just(Step::Reload),
        2 => any::<bool>().prop_map(|arrives| Step::Crash { arrives }),
        3 => (0..120_u8, any::<bool>()).prop_map(|(steps, arrives)| Step::CrashIn { steps, arrives }),
    ];
    let goes_on = prop_oneof![
        1 => Just(Step::Sweep),
        1 => Just(Step::Delta),
        6 => (1..7_u8).prop_map(|calls| Step::Pass { calls }),
        6 => (1..7_u8).prop_map(|calls| Step::Deliver { calls }),
        3 => Just(Step::Go),
        1 => Just(Step::Replay),
    ];
    let decides = any::<bool>().prop_map(|approve| Step::Decide { approve });
    prop_oneof![
        8 => changes,
        4 => mishaps,
        8 => goes_on,
        if guard { 2 } else { 0 } => decides,
    ]
}

fn nature(etag: bool) -> impl Strategy<Value = Nature> {
    let since = prop_oneof![
        8 => Just(Understands::It),
        1 => Just(Understands::Nothing),
        1 => Just(Understands::Wrong),
    ];
    (any::<bool>(), any::<bool>(), since).prop_map(move |(date, lists_inactive, since)| Nature {
        etag,
        date,
        lists_inactive,
        since,
    })
}

/// Cases on tenants that honour versions, or do not, with limits in force or not.
pub(crate) fn case(etag: bool, guard: bool) -> impl Strategy<Value = Case> {
    (
        nature(etag),
        proptest::bool::weighted(0.25),
        prop_oneof![Just(0_u8), Just(2_u8), Just(120_u8)],
        vec((0..16_u8, 0..64_u8), 1..6),
        vec([0..16_u8, 0..16_u8, 0..16_u8], 3),
        vec(step(guard), 5..36),
    )
        .prop_map(move |(nature, add_remove, overlap, people, mappings, steps)| Case {
            nature,
            add_remove,
            guard,
            overlap,
            people,
            mappings,
            steps,
        })
}
