//! What others ask for and somebody above answers: documents from the store, and what is said to guilds. So many at a time.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use libp2p::request_response::ResponseChannel;

use super::Source;
use super::wire::{Answer, MAX_GUILD_BYTES};
use crate::identity::Did;

/// Documents of up to 88 KiB that are read at once; who asks beyond is told that this node is busy.
const MAX_READ: usize = 64;
/// A source that takes longer has lost the document, as far as the asker is concerned.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Things said to guilds, of up to 256 KiB, that are being answered.
const MAX_HEARD: usize = 512;
/// A guild waits a moment for what a message builds on. This ends before the asker's patience.
const HEAR_TIMEOUT: Duration = Duration::from_secs(8);

pub(super) type Channel = ResponseChannel<Answer>;

type Answers = FuturesUnordered<BoxFuture<'static, (Channel, Answer)>>;

/// Answers under way.
pub(super) struct Serving {
    source: Arc<dyn Source>,
    reading: Answers,
    hearing: Answers,
}

impl Serving {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, reading: FuturesUnordered::new(), hearing: FuturesUnordered::new() }
    }

    /// Takes a request for a document in, or gives it back when there are too many.
    pub(super) fn read(&mut self, id: Cid, channel: Channel) -> Option<Channel> {
        if self.reading.len() >= MAX_READ {
            return Some(channel);
        }
        self.reading.push(read(Arc::clone(&self.source), id, channel).boxed());
        None
    }

    /// Takes in something said to a guild, or gives it back when there is too much.
    pub(super) fn hear(&mut self, from: Did, said: Arc<[u8]>, channel: Channel) -> Option<Channel> {
        if self.hearing.len() >= MAX_HEARD {
            return Some(channel);
        }
        self.hearing.push(hear(Arc::clone(&self.source), from, said, channel).boxed());
        None
    }

    /// The next answer that is ready. Pending while nothing is asked.
    pub(super) async fn next(&mut self) -> (Channel, Answer) {
        tokio::select! {
            Some(read) = self.reading.next() => read,
            Some(heard) = self.hearing.next() => heard,
            else => std::future::pending().await,
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

async fn hear(source: Arc<dyn Source>, from: Did, said: Arc<[u8]>, channel: Channel) -> (Channel, Answer) {
    let answer = match tokio::time::timeout(HEAR_TIMEOUT, source.guild(&from, said)).await {
        Ok(Some(answer)) if u64::try_from(answer.len()).is_ok_and(|bytes| bytes <= MAX_GUILD_BYTES) => {
            Answer::Yes(answer)
        }
        Ok(Some(_)) => Answer::No("the answer would be too long".into()),
        Ok(None) | Err(_) => Answer::Busy,
    };
    (channel, answer)
}
