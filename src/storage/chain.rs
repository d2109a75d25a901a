//! This node's chain, and the last heads that are known of others.

use cid::Cid;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Storage, StorageError};
use crate::document::{AnyEnvelope, Envelope, Head, Sha256Digest};
use crate::identity::Did;

/// Nodes whose heads are kept: 20 MB if each names as many entries as it may.
pub(super) const HEADS: i64 = 4096;

/// What has come to a chain since its last head.
#[derive(Debug, Clone)]
pub struct NewLinks {
    /// Entries before, and their value.
    pub start: u64,
    pub base: Sha256Digest,
    pub entries: Vec<Cid>,
    /// Id of the last head.
    pub before: Option<Cid>,
}

/// Length and value of the chain.
pub(super) fn last_link(db: &Connection) -> Result<(u64, Sha256Digest), StorageError> {
    let sql = "SELECT position, value FROM chain ORDER BY position DESC LIMIT 1";
    let last = db.prepare_cached(sql)?.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
    Ok(last.optional()?.map_or_else(
        || (0, Head::genesis()),
        |(position, value)| (u64::try_from(position).unwrap_or(0), Sha256Digest::from_bytes(value)),
    ))
}

impl Storage {
    /// What this node has signed since the last head of its chain, up to so many entries.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn new_links(&self, me: &Did, limit: usize) -> Result<NewLinks, StorageError> {
        let last = self.head(me).await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |db| {
            let start = last.as_ref().map_or(0, |head| head.document().length);
            let base = last.as_ref().map_or_else(Head::genesis, |head| head.document().value());
            let sql = "SELECT entry FROM chain WHERE position > ?1 ORDER BY position LIMIT ?2";
            let mut query = db.prepare_cached(sql)?;
            let after = i64::try_from(start).unwrap_or(i64::MAX);
            let entries = query.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
            let entries = entries
                .map(|entry| {
                    let entry = entry?;
                    let damaged = |error: cid::Error| StorageError::Damaged {
                        what: "entry of the chain",
                        id: entry.clone(),
                        why: error.to_string(),
                    };
                    entry.parse().map_err(damaged)
                })
                .collect::<Result<_, StorageError>>()?;
            Ok(NewLinks { start, base, entries, before: last.map(|head| *head.id()) })
        })
        .await
    }

    /// The last head that is known of a node.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the stored bytes no longer verify.
    pub async fn head(&self, node: &Did) -> Result<Option<Envelope<Head>>, StorageError> {
        let key = node.to_string();
        let bytes: Option<Vec<u8>> = self
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT bytes FROM heads WHERE node = ?1")?;
                Ok(query.query_row([key], |row| row.get(0)).optional()?)
            })
            .await?;
        bytes.map(|bytes| self.open_head(&bytes)).transpose()
    }

    /// The last heads of all nodes of which one is known.
    ///
    /// # Errors
    /// As [`Storage::head`].
    pub async fn heads(&self) -> Result<Vec<Envelope<Head>>, StorageError> {
        let all: Vec<Vec<u8>> = self
            .read(|db| {
                let mut query = db.prepare_cached("SELECT bytes FROM heads ORDER BY node")?;
                Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
            })
            .await?;
        all.iter().map(|bytes| self.open_head(bytes)).collect()
    }

    /// Two heads of one node that do not extend each other, of each node that is known to have signed such.
    ///
    /// # Errors
    /// As [`Storage::head`].
    pub async fn equivocations(&self) -> Result<Vec<[Envelope<Head>; 2]>, StorageError> {
        let all: Vec<[Vec<u8>; 2]> = self
            .read(|db| {
                let mut query = db.prepare_cached("SELECT first, second FROM equivocations ORDER BY node")?;
                let pairs = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?]))?;
                Ok(pairs.collect::<Result<_, _>>()?)
            })
            .await?;
        let open = |[first, second]: &[Vec<u8>; 2]| Ok([self.open_head(first)?, self.open_head(second)?]);
        all.iter().map(open).collect()
    }

    /// Whether a node is known to have signed two chains.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn equivocates(&self, node: &Did) -> Result<bool, StorageError> {
        let node = node.to_string();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT 1 FROM equivocations WHERE node = ?1")?;
            Ok(query.exists([node])?)
        })
        .await
    }

    fn open_head(&self, bytes: &[u8]) -> Result<Envelope<Head>, StorageError> {
        let damaged = |why: String| StorageError::Damaged { what: "head of a chain", id: String::new(), why };
        match self.verified.open(bytes) {
            Ok(AnyEnvelope::Head(head)) => Ok(head),
            Ok(other) => Err(damaged(format!("it is a {}", other.kind()))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}
