//! The attributes of a SCIM User (RFC 7643 §4.1, §4.3) that a file may name, and how it may write them.

use super::words::nearest;

/// The schema of a User (RFC 7643 §4.1).
pub const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of the enterprise extension (RFC 7643 §4.3).
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Name in a file, and path. `email` is one address, the first of `emails`.
const CORE: [(&str, &str); 11] = [
    ("externalId", "externalId"),
    ("userName", "userName"),
    ("email", "email"),
    ("emails", "emails"),
    ("givenName", "name.givenName"),
    ("familyName", "name.familyName"),
    ("displayName", "displayName"),
    ("active", "active"),
    ("roles", "roles"),
    ("title", "title"),
    ("password", "password"),
];
/// Of the enterprise extension; these stand in a file by their bare names, too.
const ENTERPRISE: [&str; 4] = ["department", "division", "employeeNumber", "manager"];
/// Of the enterprise extension, only with its URN.
const ENTERPRISE_BY_URN: [&str; 2] = ["costCenter", "organization"];

/// The path of an attribute by any of its names, whatever their case: `givenName` and `name.givenName` are
/// `name.givenName`, `department` is the full URN path. An attribute of another extension is its URN path as it is
/// written. `None` for what is no attribute that a file may name.
#[must_use]
pub fn attribute_path(name: &str) -> Option<String> {
    let name = name.trim();
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    if let Some((_, path)) = CORE.iter().find(|(short, path)| same(short) || same(path)) {
        return Some((*path).to_owned());
    }
    if let Some(short) = ENTERPRISE.iter().find(|short| same(short)) {
        return Some(format!("{ENTERPRISE_USER}:{short}"));
    }
    let (schema, attribute) = split_urn(name)?;
    if schema.eq_ignore_ascii_case(CORE_USER) {
        return CORE
            .iter()
            .find(|(_, path)| path.eq_ignore_ascii_case(attribute))
            .map(|(_, path)| (*path).to_owned());
    }
    if schema.eq_ignore_ascii_case(ENTERPRISE_USER) {
        let attribute = if attribute.eq_ignore_ascii_case("manager.value") { "manager" } else { attribute };
        let mut known = ENTERPRISE.iter().chain(&ENTERPRISE_BY_URN);
        let known = known.find(|known| known.eq_ignore_ascii_case(attribute))?;
        return Some(format!("{ENTERPRISE_USER}:{known}"));
    }
    let named = |c: char| c.is_ascii_alphanumeric() || "_$-".contains(c);
    (!attribute.is_empty() && attribute.chars().all(named)).then(|| name.to_owned())
}

/// The schema and the attribute of a URN path: `urn:…:User:costCenter`.
#[must_use]
pub fn split_urn(path: &str) -> Option<(&str, &str)> {
    let urn = path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
    // `urn:`, a namespace, and something in it (RFC 8141 §2).
    path.rsplit_once(':').filter(|(schema, _)| urn && schema.split(':').count() > 2)
}

/// The name of an attribute that was probably meant.
#[must_use]
pub fn nearest_attribute(name: &str) -> Option<&'static str> {
    let known: Vec<&str> = CORE.iter().map(|(short, _)| *short).chain(ENTERPRISE).collect();
    let lower: Vec<String> = known.iter().map(|known| known.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let near = nearest(&name.trim().to_ascii_lowercase(), &lower)?;
    known.into_iter().find(|known| known.eq_ignore_ascii_case(near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_has_one_path_and_several_names() {
        let department = format!("{ENTERPRISE_USER}:department");
        let manager = format!("{ENTERPRISE_USER}:manager");
        let cost_center = format!("{ENTERPRISE_USER}:costCenter");
        for (name, path) in [
            (" GIVENNAME ", Some("name.givenName")),
            ("name.givenName", Some("name.givenName")),
            ("email", Some("email")),
            ("Department", Some(department.as_str())),
            (&department.to_uppercase(), Some(department.as_str())),
            (&format!("{manager}.value"), Some(manager.as_str())),
            (&cost_center.to_lowercase(), Some(cost_center.as_str())),
            (&format!("{ENTERPRISE_USER}:desk"), None),
            (&format!("{CORE_USER}:name.familyName"), Some("name.familyName")),
            (&format!("{CORE_USER}:id"), None),
            ("urn:example:hr:2.0:User:badge", Some("urn:example:hr:2.0:User:badge")),
            ("urn:example:hr:2.0:User:", None),
            ("urn:example", None),
            ("urn:example:x", None),
            ("costCenter", None),
            ("ürn:a:b:c", None),
            ("", None),
        ] {
            assert_eq!(attribute_path(name).as_deref(), path, "{name}");
        }
        assert_eq!(nearest_attribute("usernam"), Some("userName"));
        assert_eq!(nearest_attribute("salary"), None);
    }
}
