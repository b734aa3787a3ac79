//! One thin file for each thing that an operator can ask for. No decisions here.

pub mod apply;
pub mod audit;
pub mod config;
pub mod dead_letters;
pub mod demo;
mod error;
mod exit;
pub mod plan;
pub mod practice_tenant;
pub mod run;
pub mod select;
pub mod status;
pub mod sync;

use std::io::{self, Write as _};

pub use error::CommandError;
pub use exit::Exit;

/// Writes the answer of a command. A reader that has gone away has seen enough.
fn answer(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Says on stderr what is wrong. If even that is gone, the exit code has to do.
pub fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "rosterd: {text}"));
}
