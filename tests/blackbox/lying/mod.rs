//! A tenant that lies: what it says is untrue, absurd or without end, and what is expected then.
//!
//! Three things hold for every lie. Nobody loses a team by it, nothing is lost for good (once the tenant tells the truth
//! again, all users end where their roles ask for), and memory stays bounded. What each lie costs beyond that is said
//! by its test.

use crate::home::Ran;

mod bodies;
mod clocks;
mod lists;
mod pace;

/// It is done, perhaps with something left that somebody should look at.
#[track_caller]
fn ended_well(ran: Ran) -> Ran {
    assert!([0, 3].contains(&ran.code), "{}: {}\n{}", ran.code, ran.stdout, ran.stderr);
    ran
}
