//! Whose the database is when a command wants to change something: ours, a daemon's, which can be asked, or another
//! command's, whose end is waited for.

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{Occupant, Store, StoreError};

/// Between two looks whether another command has ended.
const LOOK: Duration = Duration::from_millis(100);
/// An owner that is no daemon after so many looks is a command.
const LOOKS: u32 = 5;

/// Who does what is to be done.
#[derive(Debug)]
pub enum Ownership {
    /// We: the database is ours.
    Ours(Store),
    /// A daemon, which carries out what it is asked for.
    Daemon(Occupant),
    /// Nobody: we were told to stop while another command was at work.
    Stopped,
}

/// Becomes the owner of the database unless a daemon is. `waiting` is told once of another command whose end is waited for.
///
/// # Errors
/// When the database cannot be used.
pub async fn own_or_ask(
    database: &Path,
    clock: &Clock,
    stop: &CancellationToken,
    waiting: &(dyn Fn(&Occupant) + Sync),
) -> Result<Ownership, StoreError> {
    let mut looks = 0;
    loop {
        match Store::own(database, clock.now()).await {
            Ok(store) => return Ok(Ownership::Ours(store)),
            Err(StoreError::Owned { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(owner) = Store::occupant(database)? {
            if owner.daemon {
                return Ok(Ownership::Daemon(owner));
            }
            looks += 1;
            if looks == LOOKS {
                waiting(&owner);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Ownership::Stopped),
            () = clock.sleep(LOOK) => {}
        }
    }
}
