//! How an HRIS export names what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::attribute_path;

/// Names of columns that differ from those of the attributes. Names count whatever their case, blanks around them do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// By the path of the attribute, the column that it stands in. One column may stand for several attributes.
    pub named: BTreeMap<String, String>,
    /// Columns that are not read.
    pub ignored: BTreeSet<String>,
}

/// What a column is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For these attributes, by their paths.
    Attributes(Vec<String>),
    /// For nothing, because somebody said so.
    Ignored,
    /// Nobody knows.
    Unknown,
}

impl Columns {
    /// What the column `header` is for. A column that is named for an attribute is for no other, whatever it is called,
    /// and an attribute that has a column of its own is in no other.
    #[must_use]
    pub fn purpose(&self, header: &str) -> Purpose {
        let same = |other: &str| other.trim().to_lowercase() == header.trim().to_lowercase();
        let named = self.named.iter().filter(|(_, column)| same(column)).map(|(path, _)| path.clone());
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            return Purpose::Attributes(named);
        }
        if self.ignored.iter().any(|ignored| same(ignored)) {
            return Purpose::Ignored;
        }
        match attribute_path(header) {
            Some(path) if !self.named.contains_key(&path) => Purpose::Attributes(vec![path]),
            _ => Purpose::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_for_what_it_is_named_for_first() {
        let named = [("userName", "E-Mail"), ("email", "E-Mail"), ("externalId", "EmployeeID")];
        let columns = Columns {
            named: named.map(|(path, column)| (path.to_owned(), column.to_owned())).into(),
            ignored: ["Salary".to_owned(), "title".to_owned()].into(),
        };
        let attributes =
            |paths: &[&str]| Purpose::Attributes(paths.iter().map(|path| (*path).to_owned()).collect());
        for (header, purpose) in [
            (" e-mail ", attributes(&["email", "userName"])),
            ("employeeid", attributes(&["externalId"])),
            ("givenName", attributes(&["name.givenName"])),
            ("SALARY", Purpose::Ignored),
            ("Title", Purpose::Ignored),
            ("externalId", Purpose::Unknown),
            ("wage", Purpose::Unknown),
        ] {
            assert_eq!(columns.purpose(header), purpose, "{header}");
        }
    }
}
