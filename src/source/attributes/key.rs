//! How a file names a user. Pure.

use crate::model::{UserId, UserKey};

/// By which of his names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Id,
    UserName,
    ExternalId,
}

impl Named {
    /// By the column, whatever its case.
    pub(super) fn by(column: &str) -> Option<Self> {
        let all = [Self::Id, Self::UserName, Self::ExternalId];
        all.into_iter().find(|named| named.column().eq_ignore_ascii_case(column.trim()))
    }

    pub(super) const fn of(key: &UserKey) -> Self {
        match key {
            UserKey::Id(_) => Self::Id,
            UserKey::UserName(_) => Self::UserName,
            UserKey::ExternalId(_) => Self::ExternalId,
        }
    }

    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::UserName => "userName",
            Self::ExternalId => "externalId",
        }
    }

    /// The user of that name.
    pub(super) fn key(self, text: &str) -> Result<UserKey, String> {
        const LONGEST: usize = 1024;
        let text = text.trim();
        if text.is_empty() {
            return Err("is missing: say whose attributes they are".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character".to_owned());
        }
        if text.chars().nth(LONGEST).is_some() {
            return Err(format!("is longer than {LONGEST} characters"));
        }
        Ok(match self {
            Self::Id => UserKey::Id(UserId::from(text)),
            Self::UserName => UserKey::UserName(text.to_owned()),
            Self::ExternalId => UserKey::ExternalId(text.to_owned()),
        })
    }

    /// Text that is equal for equal users.
    pub(super) fn told_apart(self, key: &UserKey) -> String {
        let name = match key {
            UserKey::Id(id) => id.as_str().to_owned(),
            UserKey::UserName(name) => name.to_lowercase(),
            UserKey::ExternalId(id) => id.clone(),
        };
        format!("{}:{name}", self.column())
    }
}
