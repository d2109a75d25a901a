//! Blocks for others: few are read and sent at a time, the other requests wait in a short line.
//!
//! A place is held from the reading until the last byte has left, because that is how long the block is in memory.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};

use super::wire::Answer;
use super::{BlockSource, MAX_BLOCK_BYTES};

/// Blocks in memory at once: 256 MiB when all are as large as can be.
const MAX_SERVED: usize = 4;
/// Requests that wait, from all peers and from one.
const MAX_WAITING: usize = 64;
const MAX_WAITING_PER_PEER: usize = 16;
/// A source that takes longer has lost the block, as far as the asker is concerned.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Wanted {
    pub(super) peer: PeerId,
    pub(super) cid: Cid,
    pub(super) request: InboundRequestId,
    pub(super) channel: ResponseChannel<Answer>,
}

/// A request with its answer.
pub(super) struct Served {
    pub(super) request: InboundRequestId,
    pub(super) channel: ResponseChannel<Answer>,
    pub(super) answer: Answer,
}

pub(super) struct Serving {
    blocks: Arc<dyn BlockSource>,
    waiting: VecDeque<Wanted>,
    reading: FuturesUnordered<BoxFuture<'static, Served>>,
    sending: HashSet<InboundRequestId>,
}

impl Serving {
    pub(super) fn new(blocks: Arc<dyn BlockSource>) -> Self {
        Self { blocks, waiting: VecDeque::new(), reading: FuturesUnordered::new(), sending: HashSet::new() }
    }

    /// Takes a request in, or gives it back when the line is full.
    pub(super) fn ask(&mut self, wanted: Wanted) -> Option<Wanted> {
        let own = self.waiting.iter().filter(|other| other.peer == wanted.peer).count();
        if self.waiting.len() >= MAX_WAITING || own >= MAX_WAITING_PER_PEER {
            return Some(wanted);
        }
        self.waiting.push_back(wanted);
        self.advance();
        None
    }

    /// The next answer that is ready. Pending while nothing is being read.
    pub(super) async fn next(&mut self) -> Served {
        match self.reading.next().await {
            Some(served) => served,
            None => std::future::pending().await,
        }
    }

    /// An answer is on its way out; its place stays taken.
    pub(super) fn sending(&mut self, request: InboundRequestId) {
        self.sending.insert(request);
    }

    /// An answer has left, or never will.
    pub(super) fn done(&mut self, request: InboundRequestId) {
        self.sending.remove(&request);
        self.advance();
    }

    fn advance(&mut self) {
        while self.reading.len() + self.sending.len() < MAX_SERVED {
            let Some(wanted) = self.waiting.pop_front() else { return };
            // The asker may have given up while it waited.
            if wanted.channel.is_open() {
                self.reading.push(Box::pin(read(Arc::clone(&self.blocks), wanted)));
            }
        }
    }
}

async fn read(blocks: Arc<dyn BlockSource>, wanted: Wanted) -> Served {
    let Wanted { cid, request, channel, .. } = wanted;
    let answer = match tokio::time::timeout(READ_TIMEOUT, blocks.read(&cid)).await {
        Ok(Some(bytes)) if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= MAX_BLOCK_BYTES) => {
            Answer::Yes(bytes)
        }
        Ok(Some(bytes)) => {
            tracing::warn!(%cid, bytes = bytes.len(), "a block too large to be served");
            Answer::No("not found".into())
        }
        Ok(None) => Answer::No("not found".into()),
        Err(_) => Answer::Busy,
    };
    Served { request, channel, answer }
}
