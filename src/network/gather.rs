//! Yamux flushes after every frame, and a flush is a Noise message and a system call of its own. Here the frames of several
//! streams that are ready at the same moment go out together: when nothing more is to be written, which is when it reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

/// A multiplexer's upgrade, over a connection that gathers what it writes.
#[derive(Debug, Clone)]
pub(super) struct Gathering<U>(pub(super) U);

impl<U: UpgradeInfo> UpgradeInfo for Gathering<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C, U: InboundConnectionUpgrade<Gathered<C>>> InboundConnectionUpgrade<C> for Gathering<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_inbound(self, io: C, info: U::Info) -> U::Future {
        self.0.upgrade_inbound(Gathered::new(io), info)
    }
}

impl<C, U: OutboundConnectionUpgrade<Gathered<C>>> OutboundConnectionUpgrade<C> for Gathering<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_outbound(self, io: C, info: U::Info) -> U::Future {
        self.0.upgrade_outbound(Gathered::new(io), info)
    }
}

/// A connection on which a flush waits for the next read. Whoever uses it always comes to read, in the same turn.
#[derive(Debug)]
pub(super) struct Gathered<C> {
    inner: C,
    unsent: bool,
}

impl<C> Gathered<C> {
    fn new(inner: C) -> Self {
        Self { inner, unsent: false }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // A connection that takes no more wakes the same task when it does, which comes to read again.
        if self.unsent && Pin::new(&mut self.inner).poll_flush(cx)?.is_ready() {
            self.unsent = false;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gathered<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.unsent = true;
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
