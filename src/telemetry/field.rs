//! The words of logs and traces, in one list; docs/LOGGING.md explains them to operators.
//!
//! Names of attributes follow OpenTelemetry's semantic conventions where there is one. Values are ids,
//! numbers and status words: never a name, a mail address or a token.
//!
//! A macro takes a constant in braces: `info!({ field::PAGES } = 3, "pass finished")`. Writing the word
//! itself is as good; a new word is added here first.

/// On every line.
pub const RESERVED: [&str; 6] = ["timestamp", "level", "target", "message", "trace_id", "span_id"];

/// Attributes of spans that lines inside them carry too, and the name that they have there. An event's
/// own field wins over the span's, and an inner span over an outer one.
pub const INHERITED: [(&str, &str); 5] = [
    ("tenant", TENANT),
    ("pass.id", PASS),
    ("operation.id", OPERATION),
    ("user.id", USER),
    ("attempt", ATTEMPT),
];

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        /// Every field of our lines.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

fields! {
    /// The tenant's name in the configuration.
    TENANT = "tenant";
    /// Id of a pass.
    PASS = "pass";
    /// Kind of the pass (`delta`, `sweep`, `reread`, `remap`, `apply`), of the operation (`teams`, `profile`, `attributes`), of
    /// the run (`provision`, `attributes`), or of the webhook (`provision.conflict`).
    KIND = "kind";
    /// Users that the pass read.
    USERS_READ = "users_read";
    /// Pages that the pass read.
    PAGES = "pages";
    /// Operations that the pass made ready.
    PLANNED = "planned";
    /// Users who needed nothing; of a run rows.
    SKIPPED = "skipped";
    /// How long it took, in whole milliseconds.
    DURATION_MS = "duration_ms";
    /// The watermark when the pass began, RFC 3339; absent when there was none.
    WATERMARK_BEFORE = "watermark_before";
    /// The watermark that the pass committed, RFC 3339.
    WATERMARK_AFTER = "watermark_after";
    /// How a pass ended: `ok`, `degraded`, `failed`.
    RESULT = "result";
    /// SCIM id of the user.
    USER = "user";
    /// Id of the operation.
    OPERATION = "operation";
    /// Why the operation was decided: `mapped`, `unmapped`, `inactive`, `asked`, `missing`.
    CAUSE = "cause";
    /// Team ids that the user gained, separated by commas.
    TEAMS_ADDED = "teams_added";
    /// Team ids that the user lost, separated by commas.
    TEAMS_REMOVED = "teams_removed";
    /// Names of the attributes that were written, separated by commas.
    CHANGED = "changed";
    /// SCIM id of the user who was created.
    CREATED = "created";
    /// Why a user is looked up: `conflict`, `unclear`, `changed`.
    MET = "met";
    /// Number of the attempt, from 1.
    ATTEMPT = "attempt";
    /// HTTP status of the answer; absent when there was none.
    STATUS = "status";
    /// What the tenant or the system said, after [`redact::text`](super::redact::text).
    REASON = "reason";
    /// What the vendor's support asks for: `inin-correlation-id` or `contextId`.
    CORRELATION_ID = "correlation_id";
    /// The write was read back, and was there.
    VERIFIED = "verified";
    /// When the next attempt is due, RFC 3339.
    RETRY_AT = "retry_at";
    /// A key of the configuration, in full.
    KEY = "key";
    /// What is wrong with a tenant: `credentials refused`, `permission missing`, `operations rejected`, `users unknown`,
    /// `writes ignored`.
    TROUBLE = "trouble";
    /// What of a tenant is in trouble: `reading` or `delivery`.
    PART = "part";
    /// Since when it was, RFC 3339.
    DOWN_SINCE = "down_since";
    /// Calls a second that go from now on.
    RATE_PER_SECOND = "rate_per_second";
    /// What a tenant makes of the parameter `since`: `ignored` or `broken`.
    SINCE = "since";
    /// Of a plan, by which it is approved.
    DIGEST = "digest";
    /// What an operator asks for: `sync`, `apply`, `approve`, `discard`, `replay_dead_letters`, `discard_dead_letters`, `reset`.
    ASK = "ask";
    /// User id of the process that asks.
    OPERATOR = "operator";
    /// Number of a run.
    RUN = "run";
    /// The file of a run.
    FILE = "file";
    /// The tenant's name for a bulk request.
    JOB = "job";
    /// Operations of a bulk request, or rows of a run, that were done.
    DONE = "done";
    /// Rows of a file.
    ROWS = "rows";
    /// Rows that are wrong, or for which there is no room.
    REJECTED = "rejected";
    /// Rows of which nobody knows whom they mean.
    UNRESOLVED = "unresolved";
    /// Rows that the tenant has not taken.
    FAILED = "failed";
    /// Rows, and users whom none names, that are held.
    HELD = "held";
    /// Rows that were decided otherwise since.
    SUPERSEDED = "superseded";
    /// Rows that an operator has dropped.
    DISCARDED = "discarded";
    /// Id of a webhook, by which its receiver knows it.
    WEBHOOK = "webhook";
    /// A number of operations.
    OPERATIONS = "operations";
    /// Users who are gone from the tenant.
    DELETED = "deleted";
    /// Users whose managed teams somebody else has changed.
    EDITED = "edited";
    /// Users whose change a delta pass should have found.
    MISSED = "missed";
    /// Where in a list, from 1.
    POSITION = "position";
    /// A number of spans.
    SPANS = "spans";
    /// The version of the program.
    VERSION = "version";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_distinct_and_explained_to_operators() {
        let guide = include_str!("../../docs/LOGGING.md");
        for (at, word) in RESERVED.iter().chain(ALL).enumerate() {
            assert!(guide.contains(&format!("`{word}`")), "docs/LOGGING.md does not explain `{word}`");
            assert_eq!(RESERVED.iter().chain(ALL).position(|other| other == word), Some(at), "{word}");
        }
    }
}
