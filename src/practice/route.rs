//! Which resource a path means. Pure; the one place that knows the tenant's paths.

use percent_encoding::percent_decode_str;

use super::record::Kind;

/// The SCIM base of the documents.
pub(super) const VIEW_V2: &str = "/api/v2/scim/v2";
/// The base that the first document writes to: another view of the same resources.
pub(super) const VIEW: &str = "/api/v2/scim";
/// Where tokens come from.
pub(super) const TOKEN: &str = "/oauth/token";

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The token endpoint.
    Token,
    /// A control of the practice tenant: what follows `/practice/`.
    Control(String),
    /// Something under one of the two SCIM bases.
    Scim(&'static str, Target),
    /// Nothing that the tenant has.
    Unknown,
}

/// A resource under a SCIM base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `/Users` or `/Groups`.
    Collection(Kind),
    /// One user or group, by id.
    Resource(Kind, String),
    /// `/.search` at the base or under a collection.
    Search(Option<Kind>),
    /// `/Bulk`.
    Bulk,
    /// One bulk job, by id.
    BulkJob(String),
    /// `/ServiceProviderConfig`.
    ServiceProviderConfig,
    /// `/Schemas`, or one of them.
    Schemas(Option<String>),
    /// `/ResourceTypes`, or one of them.
    ResourceTypes(Option<String>),
    /// Nothing that the tenant has.
    Unknown,
}

impl Route {
    /// Reads a path, percent-encoded as it came.
    pub(super) fn parse(path: &str) -> Self {
        if path == TOKEN {
            return Self::Token;
        }
        if let Some(rest) = path.strip_prefix("/practice/") {
            return Self::Control(rest.to_owned());
        }
        for view in [VIEW_V2, VIEW] {
            if let Some(rest) = path.strip_prefix(view).and_then(|rest| rest.strip_prefix('/')) {
                return Self::Scim(view, Target::parse(rest));
            }
        }
        Self::Unknown
    }

    /// The class of the call in the statistics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Token => TOKEN,
            Self::Control(_) => "/practice",
            Self::Scim(_, target) => target.label(),
            Self::Unknown => "unknown",
        }
    }
}

impl Target {
    /// Reads what follows the base and its slash.
    pub(super) fn parse(path: &str) -> Self {
        let decoded: Vec<String> = path
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.endpoint() == name);
        match segments.as_slice() {
            [".search"] => Self::Search(None),
            ["ServiceProviderConfig"] => Self::ServiceProviderConfig,
            ["Bulk"] => Self::Bulk,
            ["Bulk", id] if !id.is_empty() => Self::BulkJob((*id).to_owned()),
            ["Schemas"] => Self::Schemas(None),
            ["Schemas", id] => Self::Schemas(Some((*id).to_owned())),
            ["ResourceTypes"] => Self::ResourceTypes(None),
            ["ResourceTypes", id] => Self::ResourceTypes(Some((*id).to_owned())),
            [name] => kind(name).map_or(Self::Unknown, Self::Collection),
            [name, ".search"] => kind(name).map_or(Self::Unknown, |kind| Self::Search(Some(kind))),
            [name, id] if !id.is_empty() => {
                kind(name).map_or(Self::Unknown, |kind| Self::Resource(kind, (*id).to_owned()))
            }
            _ => Self::Unknown,
        }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::Collection(Kind::User) => "/Users",
            Self::Collection(Kind::Group) => "/Groups",
            Self::Resource(Kind::User, _) => "/Users/{id}",
            Self::Resource(Kind::Group, _) => "/Groups/{id}",
            Self::Search(_) => "/.search",
            Self::Bulk => "/Bulk",
            Self::BulkJob(_) => "/Bulk/{jobId}",
            Self::ServiceProviderConfig => "/ServiceProviderConfig",
            Self::Schemas(_) => "/Schemas",
            Self::ResourceTypes(_) => "/ResourceTypes",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let user = |id: &str| Target::Resource(Kind::User, id.to_owned());
        for (path, route) in [
            ("/oauth/token", Route::Token),
            ("/practice/stats", Route::Control("stats".to_owned())),
            ("/api/v2/scim/v2/Users", Route::Scim(VIEW_V2, Target::Collection(Kind::User))),
            ("/api/v2/scim/Users", Route::Scim(VIEW, Target::Collection(Kind::User))),
            ("/api/v2/scim/Users/a%20b%2Fc", Route::Scim(VIEW, user("a b/c"))),
            ("/api/v2/scim/v2/Groups/.search", Route::Scim(VIEW_V2, Target::Search(Some(Kind::Group)))),
            ("/api/v2/scim/v2/.search", Route::Scim(VIEW_V2, Target::Search(None))),
            (
                "/api/v2/scim/v2/Schemas/urn%3Aa:b",
                Route::Scim(VIEW_V2, Target::Schemas(Some("urn:a:b".to_owned()))),
            ),
            ("/api/v2/scim/Bulk", Route::Scim(VIEW, Target::Bulk)),
            ("/api/v2/scim/v2/Bulk/j-1", Route::Scim(VIEW_V2, Target::BulkJob("j-1".to_owned()))),
            ("/api/v2/scim/v2/Bulk/", Route::Scim(VIEW_V2, Target::Unknown)),
            ("/api/v2/scim/v2/Users/", Route::Scim(VIEW_V2, Target::Unknown)),
            ("/api/v2/scim/v2/Users/1/2", Route::Scim(VIEW_V2, Target::Unknown)),
            ("/api/v2/scimUsers", Route::Unknown),
            ("/", Route::Unknown),
        ] {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }
}
