//! A file becomes a run: it is read and checked row by row, and nothing is done before its last row is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use super::runner::RunOptions;
use crate::clock::Clock;
use crate::model::{
    AttributesPayload, Columns, RejectedRow, RunKind, RunState, TenantId, UserKey, WantedAttributes,
    WantedUser, hex,
};
use crate::plan::{Checker, Rules};
use crate::source::{Assignments, AttributeFile, Export, InputError, Trouble, UserFile, digest};
use crate::store::{Ended, NewRow, NewRun, Opened, ROWS_AT_ONCE, Run, Store, StoreError};

/// So many refusals for one reason, before any success, stop a run of custom attributes.
pub const MOST_REFUSALS: u32 = 20;

/// What a file is, and how it is read.
#[derive(Clone, Debug)]
pub enum Input {
    /// An HRIS export.
    Export {
        /// The file.
        path: PathBuf,
        /// What its columns are called.
        columns: Columns,
        /// What each row must say.
        rules: Rules,
    },
    /// Custom attributes, each row those of one user.
    Attributes {
        /// The file.
        path: PathBuf,
        /// The text of a cell whose attribute is to go.
        remove_marker: String,
    },
    /// The same custom attributes for all users of a list.
    Users {
        /// The file.
        path: PathBuf,
        /// What each is to have.
        assignments: Assignments,
        /// The same as it was written: it is part of what was asked.
        words: Vec<String>,
    },
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// What was asked.
    pub options: RunOptions,
    /// Nothing is done if any row is wrong.
    pub strict: bool,
    /// It goes on, whatever is refused.
    pub force: bool,
    /// Who asks.
    pub operator: Option<u32>,
}

/// A run that can be carried out.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The run.
    pub run: Run,
    /// It was begun before, or by somebody else meanwhile, and goes on.
    pub resumed: bool,
    /// What it has ended of earlier ones.
    pub ended: Ended,
}

/// Why a file did not become a run.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another file of custom attributes is not finished: the order in which they are carried out matters.
    #[error("{}", unfinished(*.run, .file, *.changed))]
    Unfinished {
        /// The other run.
        run: i64,
        /// Its file.
        file: String,
        /// This file goes by that name, too.
        changed: bool,
    },
    /// Nothing is done, because rows are wrong and that was asked for.
    #[error("{} wrong: nothing was done (--strict)", rows(.0.len()))]
    Strict(Vec<RejectedRow>),
    /// The task that reads has died.
    #[error("the file could not be read to its end: {0}")]
    Died(#[from] JoinError),
}

fn rows(count: usize) -> String {
    if count == 1 { "1 row is".to_owned() } else { format!("{count} rows are") }
}

fn unfinished(run: i64, file: &str, changed: bool) -> String {
    let unfinished = format!("run {run} of {file} is not finished");
    let drop = "give up what is left of it with --drop-unfinished";
    if changed {
        format!(
            "{unfinished}, and the content of {file}, or what is asked for, is another one than that run's: to finish it, run \
             the same command on the file as it was; to carry out this one, {drop}"
        )
    } else {
        format!("{unfinished}: run the same command on that file again to finish it, or {drop}")
    }
}

impl Input {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Export { path, .. } | Self::Attributes { path, .. } | Self::Users { path, .. } => path,
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> RunKind {
        match self {
            Self::Export { .. } => RunKind::Provision,
            Self::Attributes { .. } | Self::Users { .. } => RunKind::Attributes,
        }
    }

    /// Without the folder.
    fn file_name(&self) -> String {
        self.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// SHA-256 over the file and what is to be done with it, for each of `options`. It blocks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digests<const N: usize>(&self, options: [RunOptions; N]) -> Result<[String; N], InputError> {
        let file = digest(self.path())?;
        if file.size == 0 {
            return Err(InputError { path: self.path().to_owned(), trouble: Trouble::Empty });
        }
        let words = match self {
            Self::Users { words, .. } => words.as_slice(),
            Self::Export { .. } | Self::Attributes { .. } => &[],
        };
        Ok(options.map(|options| {
            let asked = serde_json::json!([file.sha256, self.kind(), options, words]).to_string();
            hex(&Sha256::digest(asked))
        }))
    }

    /// Its rows, checked, in their order. It blocks.
    fn open(self) -> Result<Box<dyn Iterator<Item = Result<NewRow, InputError>>>, InputError> {
        Ok(match self {
            Self::Export { path, columns, rules } => {
                let required: BTreeSet<String> = rules.required.clone();
                let export = Export::open(&path, &columns, &required)?;
                let mut checker = Checker::new(rules);
                Box::new(export.map(move |row| {
                    row.map(|row| match row.and_then(|row| checker.check(row)) {
                        Ok(wanted) => user(wanted),
                        Err(rejected) => wrong(rejected),
                    })
                }))
            }
            Self::Attributes { path, remove_marker } => {
                let file = AttributeFile::open(&path, &remove_marker)?;
                Box::new(file.map(|row| row.map(|row| row.map_or_else(wrong, attributes))))
            }
            Self::Users { path, assignments, .. } => {
                let file = UserFile::open(&path, assignments)?;
                Box::new(file.map(|row| row.map(|row| row.map_or_else(wrong, attributes))))
            }
        })
    }
}

fn user(wanted: WantedUser) -> NewRow {
    NewRow {
        line: wanted.line,
        external_id: Some(wanted.external_id),
        user_name: Some(wanted.user_name.to_lowercase()),
        user: None,
        wanted: Ok(serde_json::Value::Object(wanted.user).to_string()),
    }
}

fn attributes(wanted: WantedAttributes) -> NewRow {
    let WantedAttributes { line, user, set, remove } = wanted;
    let payload = AttributesPayload { set, remove };
    let row = NewRow {
        line,
        external_id: None,
        user_name: None,
        user: None,
        wanted: Ok(serde_json::json!(payload).to_string()),
    };
    match user {
        UserKey::Id(id) => NewRow { user: Some(id), ..row },
        UserKey::UserName(name) => NewRow { user_name: Some(name.to_lowercase()), ..row },
        UserKey::ExternalId(id) => NewRow { external_id: Some(id), ..row },
    }
}

fn wrong(rejected: RejectedRow) -> NewRow {
    NewRow {
        line: rejected.line,
        external_id: rejected.external_id.clone(),
        user_name: rejected.user_name.as_deref().map(str::to_lowercase),
        user: None,
        wanted: Err(rejected),
    }
}

/// Reads `input` into the database as a run, unless the same was asked for before and is not finished: that goes on.
/// `read` is told how many rows were read so far.
///
/// # Errors
/// When the file cannot be read, or must not be carried out now; then nothing has changed.
pub async fn import(
    store: &Store,
    tenant: &TenantId,
    input: Input,
    wish: Wish,
    clock: &Clock,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Imported, ImportError> {
    let [digest] = digests_of(&input, [wish.options]).await?;
    take_in(store, tenant, (input, &digest), wish, clock, read).await
}

/// The same for an export that is read by a schedule: `None` as long as its content is what the last run of it has read,
/// whoever asked for that, and whatever came of it.
///
/// # Errors
/// As above.
pub(super) async fn import_new(
    store: &Store,
    tenant: &TenantId,
    input: Input,
    clock: &Clock,
) -> Result<Option<Imported>, ImportError> {
    let wish = Wish::default();
    let others = RunOptions { deactivate_missing: true, ..wish.options };
    let digests = digests_of(&input, [wish.options, others]).await?;
    let last = store.last_run_of(tenant, input.kind(), &input.file_name()).await?;
    if last.is_some_and(|last| digests.contains(&last.digest)) {
        return Ok(None);
    }
    take_in(store, tenant, (input, &digests[0]), wish, clock, &|_| {}).await.map(Some)
}

async fn digests_of<const N: usize>(
    input: &Input,
    options: [RunOptions; N],
) -> Result<[String; N], ImportError> {
    let asked = input.clone();
    Ok(spawn_blocking(move || asked.digests(options)).await??)
}

async fn take_in(
    store: &Store,
    tenant: &TenantId,
    (input, digest): (Input, &str),
    wish: Wish,
    clock: &Clock,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Imported, ImportError> {
    let (kind, file) = (input.kind(), input.file_name());
    let same = store.run_over(tenant, kind, digest).await?;
    if let Some(run) = same.filter(|run| matches!(run.state, RunState::Open | RunState::Stopped)) {
        return go_on(store, run.id, wish, clock).await;
    }
    if let Some(other) = before(store, tenant, kind).await? {
        return Err(behind(other, &file));
    }
    let options = serde_json::json!(wish.options).to_string();
    let stop_after = (kind == RunKind::Attributes && !wish.force).then_some(MOST_REFUSALS);
    let operator = wish.operator;
    let new = NewRun { tenant, kind, digest, file: &file, options: &options, stop_after, operator };
    let reading = store.reading().await?;
    let run = store.begin_run(&reading, &new, clock.now()).await?;
    let rejected = match hand_in(store, &run, (input, wish.strict), clock, read).await {
        Ok(rejected) => rejected,
        Err(error) => {
            store.discard_run(&run).await?;
            return Err(error);
        }
    };
    if !rejected.is_empty() {
        store.discard_run(&run).await?;
        return Err(ImportError::Strict(rejected));
    }
    let ended = match store.open_run(&run, clock.now()).await? {
        Opened::Open(ended) => ended,
        Opened::Late => Ended::default(),
        Opened::Joined(same) => return go_on(store, same, wish, clock).await,
        Opened::Unfinished(other) => {
            return Err(behind(store.run(other).await?, &file));
        }
    };
    Ok(Imported { run: store.run(run.id).await?, resumed: false, ended })
}

/// The run of custom attributes that has to be finished before another one can begin.
async fn before(store: &Store, tenant: &TenantId, kind: RunKind) -> Result<Option<Run>, StoreError> {
    let unfinished = store.unfinished_runs(tenant).await?;
    Ok(unfinished.into_iter().find(|run| run.kind == kind && kind == RunKind::Attributes))
}

/// A `file` has to wait for `other`.
fn behind(other: Run, file: &str) -> ImportError {
    ImportError::Unfinished { run: other.id, changed: other.file == file, file: other.file }
}

/// Whether `input` could become a run in the database at `path` now, or is one that is not finished. Nothing is changed.
///
/// # Errors
/// When the file cannot be read, the database cannot be used, or another file has to be finished first.
pub async fn may_begin(
    path: &Path,
    tenant: &TenantId,
    input: &Input,
    options: RunOptions,
) -> Result<(), ImportError> {
    let store = match Store::beside(path).await {
        Ok(store) => store,
        Err(StoreError::NotThere { .. }) => return Ok(()),
        Err(failure) => return Err(failure.into()),
    };
    let other = before(&store, tenant, input.kind()).await;
    store.close().await;
    let Some(other) = other? else { return Ok(()) };
    let [digest] = digests_of(input, [options]).await?;
    if other.digest == digest { Ok(()) } else { Err(behind(other, &input.file_name())) }
}

/// What was asked for is a run already.
async fn go_on(store: &Store, run: i64, wish: Wish, clock: &Clock) -> Result<Imported, ImportError> {
    let run = store.run(run).await?;
    if wish.force {
        store.force_run(&run).await?;
    }
    if run.state == RunState::Stopped {
        store.resume_run(&run, clock.now()).await?;
    }
    let run = store.run(run.id).await?;
    Ok(Imported { resumed: run.state == RunState::Open, run, ended: Ended::default() })
}

/// Answers with the rows that are wrong, if nothing may be.
async fn hand_in(
    store: &Store,
    run: &Run,
    (input, strict): (Input, bool),
    clock: &Clock,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Vec<RejectedRow>, ImportError> {
    let (hand, mut rows) = mpsc::channel(ROWS_AT_ONCE);
    let reading = spawn_blocking(move || -> Result<(), InputError> {
        for row in input.open()? {
            // Whoever does not take it has failed, and says why.
            if hand.blocking_send(row?).is_err() {
                break;
            }
        }
        Ok(())
    });
    let (mut batch, mut rejected, mut count) = (Vec::new(), Vec::new(), 0);
    loop {
        let taken = rows.recv_many(&mut batch, ROWS_AT_ONCE).await;
        if taken == 0 {
            break;
        }
        store.add_rows(run.id, &batch, clock.now()).await?;
        count += u64::try_from(taken).unwrap_or(0);
        read(count);
        rejected.extend(batch.drain(..).filter_map(|row| row.wanted.err().filter(|_| strict)));
    }
    reading.await??;
    Ok(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    fn wanted(user: UserKey) -> NewRow {
        attributes(WantedAttributes {
            line: 2,
            user,
            set: [("Desk".to_owned(), "1".into())].into(),
            remove: ["Floor".to_owned()].into(),
        })
    }

    #[test]
    fn a_row_of_attributes_is_found_by_the_one_name_that_it_has() {
        let by_id = wanted(UserKey::Id(UserId::from("u-1")));
        assert_eq!((by_id.user, by_id.user_name, by_id.external_id), (Some(UserId::from("u-1")), None, None));
        let by_name = wanted(UserKey::UserName("User-0001@Example.com".to_owned()));
        assert_eq!(by_name.user_name.as_deref(), Some("user-0001@example.com"));
        let by_external_id = wanted(UserKey::ExternalId("HR-1".to_owned()));
        assert_eq!(by_external_id.external_id.as_deref(), Some("HR-1"));
        let payload: AttributesPayload = serde_json::from_str(&by_external_id.wanted.unwrap()).unwrap();
        assert_eq!(payload.keys().into_iter().collect::<Vec<_>>(), ["Desk", "Floor"]);
    }

    #[test]
    fn a_run_is_named_by_the_bytes_of_its_file_and_by_what_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.csv");
        let name = |text: &str, words: &[&str], diff: bool| {
            std::fs::write(&path, text).unwrap();
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let assignments = Assignments::parse(&words, "<remove>").unwrap();
            let input = Input::Users { path: path.clone(), assignments, words };
            input.digests([RunOptions { diff, ..RunOptions::default() }]).unwrap()
        };
        let one = name("id\nu-1\n", &["a=1"], false);
        assert_eq!(name("id\nu-1\n", &["a=1"], false), one);
        for other in [
            name("id\nu-2\n", &["a=1"], false),
            name("id\nu-1\n", &["a=2"], false),
            name("id\nu-1\n", &["a=1"], true),
        ] {
            assert_ne!(other, one);
        }
    }
}
