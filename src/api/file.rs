//! Files on their way between a node and whoever speaks to it: as they come, never as a whole.

use std::fmt;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::command::ApiError;

/// A file to be put into the store.
pub struct Upload {
    pub bytes: BoxStream<'static, std::io::Result<Bytes>>,
    /// Where it is known.
    pub size: Option<u64>,
    /// Whether it is to stay until it is unpinned.
    pub pin: bool,
}

impl Upload {
    /// A file that is in memory.
    pub fn whole(bytes: Vec<u8>) -> Self {
        let size = u64::try_from(bytes.len()).ok();
        Self { bytes: stream::iter([Ok(Bytes::from(bytes))]).boxed(), size, pin: false }
    }
}

/// A stored file.
pub struct Download {
    pub bytes: BoxStream<'static, Result<Bytes, ApiError>>,
    pub size: u64,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("size", &self.size).finish_non_exhaustive()
    }
}
