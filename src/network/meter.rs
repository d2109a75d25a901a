//! Counts the bytes that go through the streams of every connection, per peer and in all.
//!
//! What encryption, multiplexing and the transports add is not counted.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::io::{IoSlice, IoSliceMut};
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::StreamMuxer;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

/// Bytes in both directions since it was made.
#[derive(Debug, Default)]
pub(super) struct Counts {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Counts {
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }
}

/// All counters of a node. Those of a peer live as long as somebody holds them: its connections, and the worker's entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    total: Arc<Counts>,
    peers: Arc<Mutex<HashMap<PeerId, Weak<Counts>>>>,
}

impl Meter {
    pub(super) fn total(&self) -> &Counts {
        &self.total
    }

    /// The counters of a peer, the same ones for all its connections.
    pub(super) fn of(&self, peer: PeerId) -> Arc<Counts> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = peers.get(&peer).and_then(Weak::upgrade) {
            return counts;
        }
        peers.retain(|_, counts| counts.strong_count() > 0);
        let counts = Arc::new(Counts::default());
        peers.insert(peer, Arc::downgrade(&counts));
        counts
    }

    /// Wraps a connection so that its streams are counted.
    pub(super) fn watch(&self, peer: PeerId, inner: StreamMuxerBox) -> StreamMuxerBox {
        let tally = Tally { peer: self.of(peer), total: Arc::clone(&self.total) };
        StreamMuxerBox::new(Counted { inner, tally })
    }
}

#[derive(Clone)]
struct Tally {
    peer: Arc<Counts>,
    total: Arc<Counts>,
}

impl Tally {
    fn read(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.peer.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.total.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    fn wrote(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.peer.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        self.total.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A connection or a stream with its tally.
struct Counted<T> {
    inner: T,
    tally: Tally,
}

type MuxerResult<T> = Poll<Result<T, <StreamMuxerBox as StreamMuxer>::Error>>;

impl StreamMuxer for Counted<StreamMuxerBox> {
    type Substream = Counted<SubstreamBox>;
    type Error = <StreamMuxerBox as StreamMuxer>::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> MuxerResult<Self::Substream> {
        let inner = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(Counted { inner, tally: self.tally.clone() }))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> MuxerResult<Self::Substream> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(Counted { inner, tally: self.tally.clone() }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> MuxerResult<()> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> MuxerResult<StreamMuxerEvent> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl AsyncRead for Counted<SubstreamBox> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.tally.read(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read_vectored(cx, bufs))?;
        self.tally.read(bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncWrite for Counted<SubstreamBox> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.tally.wrote(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.tally.wrote(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
