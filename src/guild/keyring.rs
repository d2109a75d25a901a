//! The keys of the epoch a guild is in, and for a moment those of the epochs before it: what was under way when the members
//! changed still arrives.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{Context, EpochSecret, KeyError, Opener, Sealed, Sealer, Wrapped};
use crate::identity::Did;

/// How long what was sealed in an earlier epoch is still opened.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// Epochs of which that is so.
const OLDER: usize = 4;

pub(super) struct Keyring {
    sealer: Sealer,
    opener: Opener,
    older: VecDeque<(Opener, Timestamp)>,
}

impl Keyring {
    pub(super) fn new(secret: EpochSecret, context: Context, me: Did) -> Result<Self, KeyError> {
        let sealer = Sealer::new(&secret, context, me)?;
        Ok(Self { sealer, opener: Opener::new(secret, context), older: VecDeque::new() })
    }

    /// Goes on to a later epoch, whose keys are `next`.
    pub(super) fn turn(&mut self, mut next: Self, now: Timestamp) {
        std::mem::swap(self, &mut next);
        self.older = next.older;
        self.older.push_back((next.opener, now + GRACE));
        while self.older.len() > OLDER {
            self.older.pop_front();
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.opener.epoch()
    }

    pub(super) fn seal(&mut self, text: &[u8]) -> Result<Sealed, KeyError> {
        self.sealer.seal(text)
    }

    pub(super) fn open(&mut self, sealed: &Sealed, now: Timestamp) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.forget(now);
        let older = self.older.iter_mut().map(|(opener, _)| opener);
        match older.rev().find(|opener| opener.epoch() == sealed.epoch) {
            Some(opener) => opener.open(sealed),
            None => self.opener.open(sealed),
        }
    }

    /// The epoch's secret, sealed for a member.
    pub(super) fn wrap(
        &self,
        key: &[u8; 32],
        context: &Context,
        who: &Did,
        random: [u8; 32],
    ) -> Result<Wrapped, KeyError> {
        self.opener.secret().wrap(key, context, who, random)
    }

    /// Lets go of the keys of earlier epochs whose time is over.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.older.retain(|(_, until)| *until > now);
    }

    /// When there is something to let go of.
    pub(super) fn next_forget(&self) -> Option<Timestamp> {
        self.older.front().map(|(_, until)| *until)
    }
}
