//! Secret bytes that are overwritten when they go, and counted while they are there.

use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::{Zeroize as _, Zeroizing};

static LIVE: AtomicU64 = AtomicU64::new(0);

/// How many secrets of guilds this process holds: none, when it is in no guild.
pub fn live_secrets() -> u64 {
    LIVE.load(Ordering::SeqCst)
}

/// 32 secret bytes.
pub(super) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(super) fn new(mut bytes: [u8; 32]) -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        let secret = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        secret
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // Here and not only by the field, so that what is not counted any more has been overwritten.
        self.0.zeroize();
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}
