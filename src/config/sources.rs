//! Where a configuration is looked for, and how its layers are put on top of each other: files in their order,
//! then the environment.
//!
//! It reads; what the keys mean is none of its business.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use config::{ConfigError, File, FileFormat, Source};

use super::fault::Fault;
use super::tree::{Kind, Node, Origin, Table, adopt, overlay};

/// Looked for when no file is named; the first that exists is read.
pub const DEFAULT_FILES: [&str; 2] = ["./rosterd.toml", "/etc/rosterd/rosterd.toml"];

/// Variables that begin so set keys: `ROSTERD__TENANTS__ACME__PAGE_SIZE`.
const PREFIX: &str = "ROSTERD__";

/// What a configuration is read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// Files to read; a later one overrides an earlier one. Empty: the first of [`DEFAULT_FILES`] that exists.
    pub files: Vec<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
}

impl Sources {
    /// These files and the environment of the process. What is not UTF-8 in it becomes U+FFFD, which no key accepts.
    #[must_use]
    pub fn from_process(files: Vec<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self { files, env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect() }
    }
}

impl fmt::Debug for Sources {
    /// Without the environment: it holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("files", &self.files).finish_non_exhaustive()
    }
}

/// All layers in one, before anybody has looked at it.
pub(super) struct Layers {
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
    /// What they and the environment say together.
    pub(super) tree: Table,
    /// What kept a file from being read. What it would have said is unknown, so nothing can be called missing.
    pub(super) unread: Vec<Fault>,
    /// Variables that set no key.
    pub(super) faults: Vec<Fault>,
}

/// Reads all layers.
pub(super) fn collect(sources: &Sources) -> Layers {
    let mut layers = Layers { files: Vec::new(), tree: Table::new(), unread: Vec::new(), faults: Vec::new() };
    let files = if sources.files.is_empty() {
        first_existing(&DEFAULT_FILES.map(Path::new)).into_iter().collect()
    } else {
        sources.files.clone()
    };
    for file in files {
        match read(&file) {
            Ok(table) => overlay(&mut layers.tree, table),
            Err(reason) => layers.unread.push(whole(file.display(), reason)),
        }
        layers.files.push(file);
    }
    let environment = environment(&sources.env, &mut layers.faults);
    overlay(&mut layers.tree, environment);
    if layers.files.is_empty() && !layers.tree.contains_key("tenants") {
        layers.unread.push(nothing_found());
    }
    layers
}

fn first_existing(candidates: &[&Path]) -> Option<PathBuf> {
    // A place that we may not look into counts as one with a file: reading it will say why it cannot be read.
    candidates.iter().find(|path| path.try_exists().unwrap_or(true)).map(|path| path.to_path_buf())
}

fn nothing_found() -> Fault {
    let looked_for = DEFAULT_FILES.join(" and ");
    whole(
        "configuration",
        format!(
            "there is no file; looked for {looked_for}. To start, copy config/rosterd.toml to one of them and fill in \
             a tenant, or name another file with --config FILE"
        ),
    )
}

fn whole(origin: impl fmt::Display, reason: String) -> Fault {
    Fault { key: String::new(), origin: origin.to_string(), reason }
}

fn read(path: &Path) -> Result<Table, String> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8, from byte {} on: save it as UTF-8", error.utf8_error().valid_up_to())
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let values = File::from_str(text, FileFormat::Toml).collect().map_err(|error| broken(&error, text))?;
    Ok(adopt(values, &Origin::File(path.to_owned())))
}

/// What is wrong with the TOML, and where. The parser's own text quotes the line, and that may hold a secret.
fn broken(error: &ConfigError, text: &str) -> String {
    let ConfigError::FileParse { cause, .. } = error else { return "is not valid TOML".to_owned() };
    let Some(error) = cause.downcast_ref::<toml::de::Error>() else {
        return "is not valid TOML: it holds a number beyond 64 bits".to_owned();
    };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("is not valid TOML, line {line}, column {column}: {}", error.message())
}

/// The variables `ROSTERD__…` as a tree. Empty ones count as not set.
fn environment(env: &BTreeMap<String, String>, faults: &mut Vec<Fault>) -> Table {
    let mut tree = Table::new();
    for (name, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let outcome = match keys.as_slice() {
            _ if path.chars().any(|c| c.is_ascii_lowercase()) => {
                Err("variables that set keys are written in capitals".to_owned())
            }
            _ if value.contains('\u{fffd}') => Err("is not UTF-8".to_owned()),
            [tenants, tenant, mapping, _, ..] if tenants == "tenants" && mapping == "mapping" => {
                Err(format!(
                    "capitals tell no roles apart; set all rules at once as JSON: {PREFIX}TENANTS__{}__MAPPING='{{\"ROLE\":\"team-id\"}}'",
                    tenant.to_ascii_uppercase()
                ))
            }
            keys => plant(&mut tree, keys, name, value),
        };
        if let Err(reason) = outcome {
            faults.push(Fault { key: keys.join("."), origin: name.clone(), reason });
        }
    }
    tree
}

/// Puts a value where its keys say; refuses a key that is a value and a table at once.
fn plant(table: &mut Table, keys: &[String], name: &str, value: &str) -> Result<(), String> {
    let origin = Origin::Variable(name.to_owned());
    let Some((key, deeper)) = keys.split_first() else { return Ok(()) };
    if deeper.is_empty() {
        table.insert(key.clone(), Node { kind: Kind::Text(value.to_owned()), origin });
        return Ok(());
    }
    let below = table.entry(key.clone()).or_insert_with(|| Node { kind: Kind::Table(Table::new()), origin });
    match &mut below.kind {
        Kind::Table(below) => plant(below, deeper, name, value),
        _ => Err(format!(
            "{} and {name} exclude each other: to one `{key}` is a value, to the other a table",
            below.origin
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_default_file_that_exists_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["a.toml", "b.toml"].map(|name| folder.path().join(name));
        assert_eq!(first_existing(&[&first, &second]), None);
        fs::write(&second, "").unwrap();
        assert_eq!(first_existing(&[&first, &second]), Some(second.clone()));
        fs::write(&first, "").unwrap();
        assert_eq!(first_existing(&[&first, &second]), Some(first));
    }

    #[test]
    fn a_later_layer_melts_tables_and_replaces_references() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let tree = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&path).unwrap()
        };
        let mut base = tree("[t]\na = { env = \"A\" }\nb = 1\n[t.u]\nc = 1\n");
        overlay(&mut base, tree("[t]\na = { file = \"f\" }\n[t.u]\nd = 2\n"));
        let Kind::Table(t) = &base["t"].kind else { panic!("no table") };
        let keys: Vec<&str> = t.keys().map(String::as_str).collect();
        assert_eq!(keys, ["a", "b", "u"]);
        let Kind::Table(a) = &t["a"].kind else { panic!("no table") };
        assert_eq!(super::super::tree::reference(a), Some(("file", "f")));
        let Kind::Table(u) = &t["u"].kind else { panic!("no table") };
        assert_eq!(u.keys().map(String::as_str).collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn the_environment_is_not_shown_by_debug() {
        let env = [("CLIENT_SECRET".to_owned(), "hush".to_owned())].into();
        assert!(!format!("{:?}", Sources { files: vec![], env }).contains("hush"));
    }
}
