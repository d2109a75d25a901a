//! Documents for others, read from the store a few at a time.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use libp2p::request_response::ResponseChannel;

use super::Source;
use super::wire::Answer;

/// Documents of up to 88 KiB that are read at once; who asks beyond is told that this node is busy.
const MAX_READ: usize = 64;
/// A source that takes longer has lost the document, as far as the asker is concerned.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Channel = ResponseChannel<Answer>;

/// Reads under way.
pub(super) struct Serving {
    source: Arc<dyn Source>,
    reading: FuturesUnordered<BoxFuture<'static, (Channel, Answer)>>,
}

impl Serving {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, reading: FuturesUnordered::new() }
    }

    /// Takes a request in, or gives it back when there are too many.
    pub(super) fn ask(&mut self, id: Cid, channel: Channel) -> Option<Channel> {
        if self.reading.len() >= MAX_READ {
            return Some(channel);
        }
        self.reading.push(read(Arc::clone(&self.source), id, channel).boxed());
        None
    }

    /// The next answer that is ready. Pending while nothing is being read.
    pub(super) async fn next(&mut self) -> (Channel, Answer) {
        match self.reading.next().await {
            Some(served) => served,
            None => std::future::pending().await,
        }
    }
}

async fn read(source: Arc<dyn Source>, id: Cid, channel: Channel) -> (Channel, Answer) {
    let answer = match tokio::time::timeout(READ_TIMEOUT, source.document(&id)).await {
        Ok(Some(bytes)) => Answer::Yes(bytes),
        Ok(None) => Answer::No("not found".into()),
        Err(_) => Answer::Busy,
    };
    (channel, answer)
}
