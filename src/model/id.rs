//! Identifiers, each a type of its own, so that a team can never be sent where a user is meant.
//!
//! They hold what the tenant said, byte for byte: no trimming, no change of case.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes the identifier as it is.
            pub fn new(id: impl Into<Box<str>>) -> Self {
                Self(id.into())
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }
    };
}

id! {
    /// The name of a tenant in the configuration: `[tenants.NAME]`.
    TenantId
}
id! {
    /// A user's SCIM `id` (RFC 7643 §3.1), given by the tenant.
    UserId
}
id! {
    /// A team's id, which is also the id of its SCIM Group.
    TeamId
}
id! {
    /// An HR role as the tenant spells it; the left side of a rule.
    Role
}
