//! A run: a file that is carried out row by row.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in the database, in logs and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What a word stands for.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a file is about.
    RunKind {
        /// Users as HR wants them.
        Provision = "provision",
        /// Custom attributes.
        Attributes = "attributes",
    }
}

words! {
    /// How far a run is.
    RunState {
        /// Its file is being read; nothing is done yet.
        Reading = "reading",
        /// Its rows are carried out.
        Open = "open",
        /// It was stopped, because all that it sends is refused; the rest is held.
        Stopped = "stopped",
        /// Each row has an outcome.
        Finished = "finished",
        /// A newer file took its place.
        Superseded = "superseded",
    }
}

words! {
    /// What is done for a row.
    Action {
        /// A user is created.
        Create = "create",
        /// What differs is changed.
        Update = "update",
        /// He is made active again, and what else differs is changed.
        Reactivate = "reactivate",
        /// He is made inactive: no row names him any more.
        Deactivate = "deactivate",
        /// His custom attributes are changed.
        Attributes = "attributes",
    }
}

impl Action {
    /// What has become of a row once it is done.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Create => Outcome::Created,
            Self::Update | Self::Attributes => Outcome::Updated,
            Self::Reactivate => Outcome::Reactivated,
            Self::Deactivate => Outcome::Deactivated,
        }
    }
}

words! {
    /// What has become of a row.
    Outcome {
        /// The user was created.
        Created = "created",
        /// What differed was changed.
        Updated = "updated",
        /// He was inactive, and is active again.
        Reactivated = "reactivated",
        /// He was made inactive, because no row names him.
        Deactivated = "deactivated",
        /// He was as the row wants him.
        Unchanged = "unchanged",
        /// He is there already, and such users are to be left alone.
        Skipped = "skipped",
        /// The row is wrong; nothing was sent for it.
        Rejected = "rejected",
        /// Nobody knows whom it means.
        Unresolved = "unresolved",
        /// The tenant did not take it.
        Failed = "failed",
        /// It waits for an approval.
        Held = "held",
        /// A newer decision took its place.
        Superseded = "superseded",
        /// An operator has dropped it.
        Discarded = "discarded",
    }
}

impl Outcome {
    /// Somebody has to look at it.
    #[must_use]
    pub const fn left(self) -> bool {
        matches!(self, Self::Rejected | Self::Unresolved | Self::Failed | Self::Held | Self::Discarded)
    }
}

words! {
    /// Why a user is looked up.
    Met {
        /// Nothing was sent for him yet.
        Nothing = "nothing",
        /// The tenant says that he is there already.
        Conflict = "conflict",
        /// A creation was not answered: it may have been done.
        Unclear = "unclear",
        /// He has changed since he was read.
        Changed = "changed",
    }
}
