//! How a member follows what the creator decides.

use std::sync::Arc;

use jiff::Timestamp;

use super::{COME_BACK, CREATOR_LOST, Done, Record, Seat, Worker, end_word};
use crate::document::{Charter, Envelope, Untrusted};
use crate::guild::keyring::Keyring;
use crate::guild::shared::{Shared, event};
use crate::guild::state::MemberState;
use crate::guild::wire::{Ask, News, Notice, Reply, Seat as Place, What};
use crate::guild::{Action, GuildError, GuildKey, HEARTBEAT, Refusal, Wrapped};
use crate::identity::Did;
use crate::storage::Write;

impl Worker {
    /// A member that has started again: its key is gone, so it comes with another.
    pub(super) fn come_back(
        shared: &Arc<Shared>,
        charter: Envelope<Charter>,
        record: &Record,
    ) -> Result<Self, GuildError> {
        let now = Timestamp::now();
        let key = GuildKey::new(shared.random()?);
        let (role, back) = (record.role, record.inside);
        let seat = Seat::Outside { role, key, invitation: None, back, since: now, next_ask: now };
        Ok(Self::new(shared, charter, seat))
    }

    pub(super) async fn tick_member(&mut self, now: Timestamp) {
        let (lost, due) = match &mut self.seat {
            Seat::Member { heard, next_beat, .. } => {
                let due = now >= *next_beat;
                if due {
                    *next_beat = now + HEARTBEAT;
                }
                (now.duration_since(*heard) > CREATOR_LOST, due)
            }
            Seat::Outside { back, since, next_ask, .. } => {
                let due = now >= *next_ask;
                if due {
                    *next_ask = now + if *back { COME_BACK } else { HEARTBEAT };
                }
                (*back && now.duration_since(*since) > CREATOR_LOST, due)
            }
            Seat::Creator(_) | Seat::Gone => return,
        };
        if lost {
            return self.end("creator-lost", "it was not heard any more").await;
        }
        if due {
            self.ask_creator();
        }
    }

    /// Tells the creator that this member is there, or asks it again.
    pub(super) fn ask_creator(&mut self) {
        let what = match &self.seat {
            Seat::Member { .. } => What::Heartbeat { epoch: self.state.epoch },
            Seat::Outside { role, key, invitation, .. } => {
                let (role, invitation) = (role.as_str().to_owned(), invitation.clone());
                What::Join { role, key: key.public(), invitation }
            }
            Seat::Creator(_) | Seat::Gone => return,
        };
        if self.asking {
            return;
        }
        self.asking = true;
        let (shared, creator, thirds) = (Arc::clone(&self.shared), self.creator(), self.others());
        let ask = Ask::new(self.id, what);
        self.jobs.spawn(async move { Done::FromCreator(shared.send(&creator, &ask, &thirds).await) });
    }

    pub(super) async fn take_answer(&mut self, reply: Result<Reply, GuildError>) {
        let outside = matches!(self.seat, Seat::Outside { .. });
        match reply {
            Ok(Reply::Done) => self.creator_heard(),
            Ok(Reply::Notice(notice)) => match self.heed(&notice).await {
                Ok(()) => self.creator_heard(),
                Err(error) => {
                    tracing::warn!(guild = %self.id, %error, "what the creator says does not hold");
                }
            },
            Ok(Reply::Refused(Refusal::NoSuchGuild | Refusal::Over)) => self.end("dissolved", "").await,
            Ok(Reply::Refused(Refusal::NotIn(_))) => self.end("removed", "").await,
            Ok(Reply::Refused(refusal)) if outside => {
                self.end("refused", &refusal.to_string()).await;
            }
            Ok(other) => tracing::debug!(?other, "an answer of a guild's creator"),
            Err(error) => tracing::debug!(guild = %self.id, %error, "the creator does not answer"),
        }
    }

    pub(super) fn creator_heard(&mut self) {
        let now = Timestamp::now();
        if let Seat::Member { heard, .. } = &mut self.seat {
            *heard = now;
        }
        let creator = self.creator();
        self.note_heard(&creator, now);
    }

    /// Does what the creator has decided, once it is sure that it has.
    pub(in crate::guild) async fn heed(&mut self, notice: &[u8]) -> Result<(), GuildError> {
        let invalid = |why: &str| Refusal::Invalid(Untrusted::new(why));
        let envelope = Envelope::<Notice>::open(notice)?;
        let Notice { guild, to, epoch, news, .. } = envelope.document();
        if *guild != self.id || *to != *self.shared.me() {
            return Err(invalid("a notice for another").into());
        }
        if *envelope.signer() != self.creator() {
            let role = self.role_of(envelope.signer());
            let not_permitted = |role| Refusal::NotPermitted { role, action: Action::Govern };
            return Err(role.map_or_else(|| Refusal::NotIn(envelope.signer().clone()), not_permitted).into());
        }
        if *epoch <= self.state.epoch {
            // It has come another way already.
            return Ok(());
        }
        match news {
            News::Roster { members, secret } => self.take_roster(*epoch, members, secret).await?,
            News::Removed => self.end("removed", "").await,
            News::Refused if self.state.inside => return Err(invalid("a refusal after an admission").into()),
            News::Refused => self.end("refused", "").await,
            News::Over(end) => self.end(end_word(*end), "").await,
        }
        Ok(())
    }

    async fn take_roster(
        &mut self,
        epoch: u64,
        members: &[Place],
        secret: &Wrapped,
    ) -> Result<(), GuildError> {
        let (me, now) = (self.shared.me().clone(), Timestamp::now());
        let own = members.iter().find(|place| place.did == me);
        let role = own.ok_or_else(|| Refusal::NotIn(me.clone()))?.role;
        let context = self.context(epoch);
        let opened = match &self.seat {
            Seat::Member { key, .. } | Seat::Outside { key, .. } => key.open(secret, &context, &me)?,
            Seat::Creator(_) | Seat::Gone => return Err(Refusal::Over.into()),
        };
        let keys = Keyring::new(opened, context, me.clone())?;
        let rows = self.compare(members, now);
        let new = !self.state.inside || self.state.role != role;
        let before = (self.state.role, self.state.inside);
        (self.state.role, self.state.inside) = (role, true);
        let stored = if new { self.keep(rows).await } else { self.shared.write(rows).await };
        if let Err(error) = stored {
            // As before; the creator tells it again.
            (self.state.role, self.state.inside) = before;
            return Err(error);
        }
        let heard = |did: &Did| {
            let known = self.state.members.iter().find(|member| member.did == *did);
            known.and_then(|member| member.heard)
        };
        self.state.members = members
            .iter()
            .map(|place| MemberState { did: place.did.clone(), role: place.role, heard: heard(&place.did) })
            .collect();
        self.turn(keys, now);
        self.seat = match std::mem::replace(&mut self.seat, Seat::Gone) {
            Seat::Outside { key, .. } => Seat::Member { key, heard: now, next_beat: now + HEARTBEAT },
            other => other,
        };
        self.creator_heard();
        self.open_parked();
        self.publish();
        Ok(())
    }

    /// Notes who has come, gone, or become something else.
    fn compare(&mut self, members: &[Place], now: Timestamp) -> Vec<Write> {
        let me = self.shared.me().clone();
        let mut told: Vec<(&'static str, Did, String)> = Vec::new();
        if self.state.inside {
            for place in members {
                match self.role_of(&place.did) {
                    None => told.push(("joined", place.did.clone(), String::new())),
                    Some(role) if role != place.role => {
                        told.push(("role", place.did.clone(), place.role.as_str().to_owned()));
                    }
                    Some(_) => {}
                }
            }
            for member in &self.state.members {
                if !members.iter().any(|place| place.did == member.did) {
                    told.push(("gone", member.did.clone(), String::new()));
                }
            }
        } else {
            let back = matches!(self.seat, Seat::Outside { back: true, .. });
            told.push((if back { "returned" } else { "joined" }, me, String::new()));
        }
        let mut rows = Vec::new();
        for (what, who, text) in told {
            rows.push(event(&self.state, what, &who, &text));
            self.state.note(now, who, what, Untrusted::new(&text));
        }
        rows
    }

    pub(super) async fn leave(&mut self, answer: super::Answer<()>) {
        if let Seat::Creator(_) = self.seat {
            return self.dissolve(answer).await;
        }
        let (shared, creator, thirds) = (Arc::clone(&self.shared), self.creator(), self.others());
        let ask = Ask::new(self.id, What::Leave);
        self.end("left", "").await;
        let tracker = shared.tracker.clone();
        tracker.spawn(async move {
            // It is out; a creator that does not hear it misses its heartbeats.
            if let Err(error) = shared.send(&creator, &ask, &thirds).await {
                tracing::debug!(%error, "the creator was not told");
            }
            super::tell(answer, Ok(()));
        });
    }
}
