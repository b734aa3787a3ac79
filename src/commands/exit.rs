//! The exit codes. Others script against them: add to them, never change them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is done.
    Done = 0,
    /// It failed, and none of the other codes says why.
    Failed = 1,
    /// `plan` found changes.
    Changes = 2,
    /// Done, but something is left: rejected rows, dead letters, held or still waiting operations.
    Left = 3,
    /// Wrong usage (`EX_USAGE` of sysexits.h).
    Usage = 64,
    /// The tenant cannot be reached (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The tenant refuses us (`EX_NOPERM`).
    Refused = 77,
    /// The configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Of the ends of two tenants the worse: refused, unreachable, failed, something left, changes, done.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::Changes => 1,
            Self::Left => 2,
            Self::Failed => 3,
            Self::Unavailable => 4,
            Self::Refused | Self::Usage | Self::Config => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
