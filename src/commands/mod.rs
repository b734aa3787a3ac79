//! One thin file for each thing that an operator can ask for. No decisions here.

pub mod config;
pub mod dead_letters;
pub mod demo;
mod exit;
pub mod failure;
pub mod plan;
pub mod practice_tenant;
pub mod run;
pub mod select;
pub mod status;
pub mod sync;

use std::io::{self, Write as _};

use crate::config::{Settings, Sources};
pub use exit::Exit;

/// The settings, or the exit code after every fault has been named on stderr.
fn settings(sources: &Sources) -> Result<Settings, Exit> {
    crate::config::load(sources).map_err(|faults| {
        complain(&faults.to_string());
        Exit::Config
    })
}

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
