//! What the columns of an export are for. All that is wrong with them, at once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Columns, Purpose, nearest_attribute, quoted, split_urn};

/// By column, the paths of the attributes that it is for.
pub(super) fn read(
    headers: &[String],
    columns: &Columns,
    required: &BTreeSet<String>,
) -> Result<Vec<Vec<String>>, Vec<String>> {
    if let [only] = headers
        && let Some(separator) = [';', '\t'].into_iter().find(|separator| only.contains(*separator))
    {
        return Err(vec![format!("its cells are separated by {separator:?}: save it with commas")]);
    }
    let purposes: Vec<Purpose> = headers.iter().map(|header| columns.purpose(header)).collect();
    if !purposes.iter().any(|purpose| matches!(purpose, Purpose::Attributes(_))) {
        // It may be a row of data, and so is not quoted.
        return Err(vec![format!(
            "none of its {} columns is known: its first line must be a header such as \
             externalId,userName,givenName,email",
            headers.len()
        )]);
    }
    let (mut faults, mut targets) = (Vec::new(), Vec::new());
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (number, (header, purpose)) in (1..).zip(headers.iter().zip(purposes)) {
        let paths = match purpose {
            Purpose::Attributes(paths) => paths,
            Purpose::Ignored => Vec::new(),
            Purpose::Unknown => {
                faults.push(unknown(number, header));
                Vec::new()
            }
        };
        for path in &paths {
            if let Some(first) = taken.insert(path.clone(), number) {
                faults.push(format!("columns {first} and {number} are both for {}", short(path)));
            }
        }
        targets.push(paths);
    }
    let missing = required.iter().filter(|path| !is_there(path, &taken));
    faults.extend(missing.map(|path| {
        let name = short(path);
        format!(
            "there is no column {name}: add it, or name the one that holds it in provision.columns, \
             {name:?} = \"HEADER\""
        )
    }));
    if faults.is_empty() { Ok(targets) } else { Err(faults) }
}

/// One address is as good as several.
fn is_there(path: &str, taken: &BTreeMap<String, usize>) -> bool {
    taken.contains_key(path) || (path == "emails" && taken.contains_key("email"))
}

fn unknown(number: usize, header: &str) -> String {
    let name = header.trim();
    if name.is_empty() {
        return format!("column {number} has no name: give it one, or take it out");
    }
    let shown = quoted(name);
    format!("column {number}, {shown}, {}", unknown_name(name))
}

/// What is to be done about a name that is that of no attribute.
pub(super) fn unknown_name(name: &str) -> String {
    let near = nearest_attribute(name)
        .map_or_else(|| ": ".to_owned(), |near| format!("; did you mean {near}? Otherwise "));
    format!(
        "is not known{near}name the attribute that it holds in provision.columns, ATTRIBUTE = {:?}, or list it in \
         provision.ignore_columns",
        name.trim()
    )
}

/// As people write it.
fn short(path: &str) -> &str {
    let bare = split_urn(path).map_or(path, |(_, attribute)| attribute);
    bare.strip_prefix("name.").unwrap_or(bare)
}
