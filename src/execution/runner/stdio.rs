//! What a guest writes: kept in memory up to a limit, beyond which the run ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

/// Most bytes taken in one write; the guest's next write goes on from there.
const CHUNK_BYTES: usize = 64 << 10;

/// The error that ends a run whose output is too long.
pub(super) const OUTPUT_LIMIT: &str = "output-limit";

/// One of a guest's two output streams. Clones write to the same place.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Buffer>>);

struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Output {
    pub(super) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self(Arc::new(Mutex::new(Buffer { bytes: Vec::new(), limit, exceeded: false })))
    }

    /// Takes what fits; false when not all of it did, now or earlier.
    pub(super) fn append(&self, bytes: &[u8]) -> bool {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = buffer.limit.saturating_sub(buffer.bytes.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        buffer.bytes.extend_from_slice(taken);
        buffer.exceeded |= taken.len() < bytes.len();
        !buffer.exceeded
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(buffer.bytes.len()).unwrap_or(u64::MAX)
    }

    /// The end of it, at most so many bytes.
    pub(super) fn end(&self, most: usize) -> Vec<u8> {
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = buffer.bytes.len().saturating_sub(most);
        buffer.bytes.get(from..).unwrap_or_default().to_vec()
    }

    pub(super) fn exceeded(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).exceeded
    }

    /// What was written, leaving nothing.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if self.append(&bytes) { Ok(()) } else { Err(StreamError::trap(OUTPUT_LIMIT)) }
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(CHUNK_BYTES)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(if self.append(bytes) {
            Ok(bytes.len())
        } else {
            Err(std::io::Error::other(OUTPUT_LIMIT))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
