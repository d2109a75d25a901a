//! The database's tables, and the steps from each older schema to the next.

use std::path::Path;

use rusqlite::Connection;

use super::StorageError;

/// Step `n` takes a database from schema `n` to `n + 1`. Steps are never changed, only added.
const STEPS: [&str; 6] = ["
    CREATE TABLE documents (
        id      TEXT PRIMARY KEY,
        kind    TEXT NOT NULL,
        signer  TEXT NOT NULL,
        bytes   BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tasks (
        cursor  INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT NOT NULL UNIQUE,
        pending INTEGER NOT NULL,
        record  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX tasks_pending ON tasks (cursor) WHERE pending;

    CREATE TABLE receipts (
        cursor     INTEGER PRIMARY KEY AUTOINCREMENT,
        receipt_id TEXT NOT NULL UNIQUE,
        task_id    TEXT NOT NULL,
        record     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX receipts_task ON receipts (task_id);

    CREATE TABLE attestations (
        cursor         INTEGER PRIMARY KEY AUTOINCREMENT,
        attestation_id TEXT NOT NULL UNIQUE,
        receipt_id     TEXT NOT NULL,
        witness        TEXT NOT NULL,
        verdict        TEXT NOT NULL,
        record         TEXT NOT NULL,
        UNIQUE (receipt_id, witness)
    ) STRICT;

    CREATE TABLE events (
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT,
        body    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_task ON events (task_id, seq) WHERE task_id IS NOT NULL;

    CREATE TABLE peers (
        peer_id TEXT PRIMARY KEY,
        address TEXT NOT NULL,
        seen_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
", "
    -- Ids are hashes, so in the order of their ids documents lie all over the file; here they lie in the order they came.
    CREATE TABLE documents_in_order (
        id      TEXT NOT NULL UNIQUE,
        kind    TEXT NOT NULL,
        signer  TEXT NOT NULL,
        bytes   BLOB NOT NULL
    ) STRICT;
    INSERT INTO documents_in_order SELECT id, kind, signer, bytes FROM documents;
    DROP TABLE documents;
    ALTER TABLE documents_in_order RENAME TO documents;
", "
    -- Ids are hashes, so every new one dirties another page of its index: most of what a busy node wrote. The first 16 characters
    -- (7 that all have, 45 bits) make a third of it and still find a handful at most; what is found is compared whole.
    CREATE TABLE documents_by_prefix (
        id      TEXT NOT NULL,
        kind    TEXT NOT NULL,
        signer  TEXT NOT NULL,
        bytes   BLOB NOT NULL
    ) STRICT;
    INSERT INTO documents_by_prefix SELECT id, kind, signer, bytes FROM documents ORDER BY rowid;
    DROP TABLE documents;
    ALTER TABLE documents_by_prefix RENAME TO documents;
    CREATE INDEX documents_id ON documents (substr(id, 1, 16));

    CREATE TABLE receipts_by_prefix (
        cursor     INTEGER PRIMARY KEY AUTOINCREMENT,
        receipt_id TEXT NOT NULL,
        record     TEXT NOT NULL
    ) STRICT;
    INSERT INTO receipts_by_prefix SELECT cursor, receipt_id, record FROM receipts ORDER BY cursor;
    DROP TABLE receipts;
    ALTER TABLE receipts_by_prefix RENAME TO receipts;
    CREATE INDEX receipts_id ON receipts (substr(receipt_id, 1, 16));
", "
    CREATE TABLE artifacts (
        cid    TEXT PRIMARY KEY,
        pinned INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE guilds (
        guild_id TEXT PRIMARY KEY,
        record   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
", "
    ALTER TABLE attestations ADD COLUMN discounted INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE chain (
        position INTEGER PRIMARY KEY,
        entry    TEXT NOT NULL,
        value    BLOB NOT NULL
    ) STRICT;

    CREATE TABLE heads (
        node   TEXT PRIMARY KEY,
        length INTEGER NOT NULL,
        bytes  BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- What was agreed to and committed to for a receipt.
    CREATE TABLE evidence (
        receipt_id TEXT NOT NULL,
        documents  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX evidence_receipt ON evidence (substr(receipt_id, 1, 16));

    CREATE TABLE equivocations (
        node   TEXT PRIMARY KEY,
        first  BLOB NOT NULL,
        second BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// Opens the database for writing and brings it to the newest schema.
pub(super) fn open(path: &Path) -> Result<Connection, StorageError> {
    let mut connection = Connection::open(path)?;
    // FULL: a commit that was answered has been synced, so it outlives a power cut as well as a kill.
    // The cache (64 MiB, as far as it is needed) holds the indexes of a busy node; without it they are read back and spilled
    // all the time. A checkpoint every 32 MiB of log writes a page that changed often once.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8192;",
    )?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StorageError::Newer { path: path.display().to_string(), found, known });
    }
    for (next, step) in (1_i64..).zip(STEPS).filter(|(next, _)| *next > found) {
        let migration = connection.transaction()?;
        migration.execute_batch(step)?;
        migration.pragma_update(None, "user_version", next)?;
        migration.commit()?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(db: &Connection, sql: &str) -> String {
        db.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap()
    }

    #[test]
    fn a_database_of_the_first_schema_is_brought_to_the_newest_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let first = Connection::open(&path).unwrap();
        let [step, ..] = STEPS;
        first.execute_batch(step).unwrap();
        first.pragma_update(None, "user_version", 1).unwrap();
        first
            .execute_batch(
                "INSERT INTO documents VALUES ('bafk-b', 'manifest', 'did:b', x'02'), ('bafk-a', 'receipt', 'did:a', x'01');
                 INSERT INTO receipts (cursor, receipt_id, task_id, record) VALUES (3, 'bafk-a', 't', '{}'), (7, 'bafk-c', 't', '{}');
                 INSERT INTO events (task_id, body) VALUES ('t', '{}');",
            )
            .unwrap();
        drop(first);
        for _ in 0..2 {
            let db = open(&path).unwrap();
            let count = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
            assert_eq!(count("SELECT count(*) FROM documents WHERE id = 'bafk-a' AND bytes = x'01'"), 1);
            assert_eq!(count("SELECT count(*) FROM documents"), 2);
            assert_eq!(count("SELECT cursor FROM receipts WHERE receipt_id = 'bafk-c'"), 7);
            assert_eq!(count("SELECT count(*) FROM events WHERE task_id = 't'"), 1);
            assert_eq!(count("PRAGMA user_version"), i64::try_from(STEPS.len()).unwrap());
        }
    }

    #[test]
    fn what_is_looked_up_by_its_id_is_found_through_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder.path().join("node.db")).unwrap();
        for (table, id) in [("documents", "id"), ("receipts", "receipt_id"), ("evidence", "receipt_id")] {
            let plan = plan(
                &db,
                &format!(
                    "SELECT 1 FROM {table} WHERE substr({id}, 1, 16) = substr('x', 1, 16) AND {id} = 'x'"
                ),
            );
            assert!(plan.starts_with("SEARCH") && plan.contains("USING INDEX"), "{plan}");
        }
        let prefix = "SELECT id FROM documents WHERE substr(id, 1, 16) >= substr('x', 1, 16)
            AND substr(id, 1, 16) < substr('x', 1, 16) || '~' AND id GLOB 'x' || '*' AND kind = 'receipt' LIMIT 2";
        assert!(plan(&db, prefix).starts_with("SEARCH"), "{}", plan(&db, prefix));
        assert!(plan(&db, "SELECT 1 FROM events WHERE task_id = 'x' ORDER BY seq").starts_with("SEARCH"));
    }
}
