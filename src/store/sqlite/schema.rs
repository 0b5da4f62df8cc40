//! The tables, and how an older file is brought forward.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::error::StoreError;
use crate::store::sqlite::fault::fault;

/// One step each, never changed once released; the file's `user_version` says how many were taken.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5];

const VERSION_1: &str = "
CREATE TABLE members (
    ods TEXT PRIMARY KEY, state TEXT NOT NULL, revision INTEGER NOT NULL, document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ods TEXT NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_ods ON transitions (ods, seq);
CREATE TABLE evidence (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, ods TEXT NOT NULL, previous TEXT,
    collected_at INTEGER NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE INDEX evidence_ods ON evidence (ods, seq);
CREATE TABLE assessments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, ods TEXT NOT NULL, assessed_at INTEGER NOT NULL,
    policy_hash TEXT NOT NULL, evidence_hash TEXT NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE INDEX assessments_ods ON assessments (ods, seq);
CREATE TABLE exceptions (
    id TEXT PRIMARY KEY, ods TEXT NOT NULL, document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX exceptions_ods ON exceptions (ods);
CREATE TABLE gates (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ods TEXT NOT NULL, grant_name TEXT NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX gates_ods ON gates (ods, grant_name, seq);
CREATE TABLE notes (
    ods TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (ods, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE staged (
    ods TEXT NOT NULL, guid BLOB NOT NULL, parent BLOB, pass INTEGER NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (ods, guid)
) STRICT, WITHOUT ROWID;
CREATE TABLE sync_values (
    ods TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (ods, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE plans (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, ods TEXT NOT NULL, made_at INTEGER NOT NULL,
    state TEXT NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE INDEX plans_ods ON plans (ods, seq);
CREATE TABLE approvals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, plan TEXT NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_plan ON approvals (plan, seq);
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ods TEXT NOT NULL, plan TEXT NOT NULL, step INTEGER NOT NULL,
    phase TEXT NOT NULL, at INTEGER NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE INDEX journal_ods ON journal (ods, seq);
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT, epoch INTEGER NOT NULL, ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, member TEXT,
    detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END;
CREATE TABLE marks (
    name TEXT PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO marks VALUES ('generation', 0, '');
INSERT INTO marks VALUES ('audit', 0, '0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE probe (filler BLOB NOT NULL) STRICT;
";

/// From here on the documents of evidence and assessments are packed (`pack.rs`), which an older program could not read. What
/// a gate record names is found by key, and so is what an assessment names, because thinning asks for both.
const VERSION_2: &str = "
ALTER TABLE gates ADD COLUMN assessment TEXT;
UPDATE gates SET assessment = json_extract(document, '$.assessment');
CREATE INDEX gates_assessment ON gates (assessment) WHERE assessment IS NOT NULL;
CREATE INDEX assessments_evidence ON assessments (evidence_hash);
";

/// Policy sets that officers put in force, each as a packed bundle, and every change of which one is.
const VERSION_3: &str = "
CREATE TABLE policy_sets (hash TEXT PRIMARY KEY, document BLOB NOT NULL) STRICT;
CREATE TABLE policy_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT, document TEXT NOT NULL) STRICT;
";

/// The programme's organisations, with or without a directory of their own.
const VERSION_4: &str = "
CREATE TABLE organisations (ods TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What is kept under one key for everybody is asked for in every run of every member.
const VERSION_5: &str = "
CREATE INDEX sync_values_key ON sync_values (key);
";

/// The tables, for counting their rows.
pub const TABLES: &[&str] = &[
    "members",
    "transitions",
    "evidence",
    "assessments",
    "exceptions",
    "gates",
    "notes",
    "staged",
    "sync_values",
    "plans",
    "approvals",
    "journal",
    "leases",
    "policy_sets",
    "policy_changes",
    "organisations",
    "audit",
];

/// The schema version of the file.
pub fn version(connection: &Connection) -> Result<i64, StoreError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)
}

/// Brings the file forward to this program's schema, one transaction per step; a newer file is refused.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version(connection)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    // read again under the write lock: another process may have done it meanwhile
    let found = version(&transaction)?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    let taken = usize::try_from(found).map_err(|_| StoreError::Damaged(format!("schema version {found}")))?;
    for step in MIGRATIONS.iter().skip(taken) {
        transaction.execute_batch(step).map_err(fault)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(fault)?;
    transaction.commit().map_err(fault)
}
