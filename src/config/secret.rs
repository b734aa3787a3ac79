//! Secrets: read from where the configuration says, never from the configuration itself.
//!
//! No fault quotes one, and what is shown is where it comes from.

use std::fs;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::effective::absolute;
use super::reader::{Faulted, Judged, Notes, Read, Section};
use super::tree::{Kind, Node, Origin, reference};

const FORMS: &str = "write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";

/// Where systemd puts credentials (`LoadCredential=`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

impl Section<'_> {
    /// A secret that has to be there.
    pub(super) fn secret(&mut self, key: &'static str) -> Read<SecretString> {
        match self.optional_secret(key)? {
            Some(secret) => Ok(secret),
            None => Err(self.missing(key, FORMS)),
        }
    }

    /// A secret that need not be there.
    pub(super) fn optional_secret(&mut self, key: &'static str) -> Read<Option<SecretString>> {
        self.judged_secret(key, |_| Ok(()))
    }

    /// The same, if `judge` has no objection; what he says must not quote it.
    pub(super) fn judged_secret(
        &mut self,
        key: &'static str,
        judge: impl FnOnce(&str) -> Judged<()>,
    ) -> Read<Option<SecretString>> {
        let Some(node) = self.take_node(key) else { return Ok(None) };
        let found = fetch(self.notes, &node).and_then(|(secret, place)| {
            let secret = acceptable(&secret)?;
            judge(secret.expose_secret())?;
            Ok((secret, place))
        });
        match found {
            Ok((secret, place)) => {
                self.show(key, place, node.origin);
                Ok(Some(secret))
            }
            Err(reason) => Err(self.fault(key, &node.origin, reason)),
        }
    }

    /// A key that this version has no use for: it is a fault when it is set, and is offered to nobody.
    pub(super) fn refuse(&mut self, key: &'static str, reason: &str) -> Read<()> {
        let Some(node) = self.remove(key) else { return Ok(()) };
        Err::<(), Faulted>(self.fault(key, &node.origin, reason))
    }
}

/// The secret, and its place as `{ env | file | credential }`.
fn fetch(notes: &Notes<'_>, node: &Node) -> Judged<(String, Value)> {
    match (&node.kind, &node.origin) {
        (Kind::Text(_), Origin::Variable(name)) => {
            Ok((notes.variable(name)?.to_owned(), json!({ "env": name })))
        }
        (Kind::Table(table), origin) => match reference(table) {
            Some(("env", name)) => Ok((notes.variable(name)?.to_owned(), json!({ "env": name }))),
            Some(("file", path)) => {
                let path = origin.locate(path);
                let shown = json!({ "file": absolute(&path) });
                Ok((from_file(&path)?, shown))
            }
            Some((_, name)) => Ok((credential(notes, name)?, json!({ "credential": name }))),
            None => Err(format!("is a secret, and this table does not say where it is: {FORMS}")),
        },
        (Kind::Text(_), _) => Err(format!("is a secret and must not stand in the file: {FORMS}")),
        (kind, _) => Err(format!("is a secret, not {}: {FORMS}", kind.describe())),
    }
}

fn credential(notes: &Notes<'_>, name: &str) -> Judged<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err("a credential is a plain name, not a path".to_owned());
    }
    let folder = notes
        .variable(CREDENTIALS_DIRECTORY)
        .map_err(|reason| format!("{reason}: systemd sets it for a unit with LoadCredential={name}:PATH"))?;
    from_file(&Path::new(folder).join(name))
}

fn from_file(path: &Path) -> Judged<String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if text.trim_end_matches(['\r', '\n']).is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(text)
}

fn acceptable(secret: &str) -> Judged<SecretString> {
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.chars().any(char::is_control) {
        return Err("holds a line break or another control character".to_owned());
    }
    Ok(SecretString::from(secret))
}
