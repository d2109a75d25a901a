//! What members say to each other: sealed once, sent to each, and opened where the table allows it.

use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::{Answer, Done, Seat, Worker, tell};
use crate::document::Untrusted;
use crate::guild::wire::{Ask, Content, MAX_SAID, Reply, What};
use crate::guild::{Action, GuildError, KeyError, Refusal, Sealed};
use crate::identity::Did;

/// Messages of an epoch of which this node has not heard yet, and how many of them may be of somebody it does not know.
const PARKED: usize = 64;
const PARKED_UNKNOWN: usize = 8;
/// How long they wait for it.
const PARKED_FOR: SignedDuration = SignedDuration::from_secs(5);

/// A message that waits for the notice of its epoch.
pub(super) struct Parked {
    from: Did,
    sealed: Sealed,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) until: Timestamp,
}

impl Content {
    /// What somebody does who says it.
    fn action(&self) -> Action {
        match self {
            Self::Speak(_) => Action::Speak,
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Speak(text) if text.len() > MAX_SAID => {
                Err(Refusal::TooLong { found: text.len(), limit: MAX_SAID })
            }
            Self::Speak(_) => Ok(()),
        }
    }
}

impl Worker {
    /// Says something to everybody; who does not take it is told to whoever said it.
    pub(super) fn say(&mut self, text: String, answer: Answer<Vec<(Did, String)>>) {
        let sealed = match self.seal(&Content::Speak(text.clone())) {
            Ok(sealed) => sealed,
            Err(error) => return tell(answer, Err(error)),
        };
        let (me, others) = (self.shared.me().clone(), self.others());
        self.state.note(Timestamp::now(), me, "said", Untrusted::new(&text));
        self.publish();
        let (shared, ask) = (Arc::clone(&self.shared), Ask::new(self.id, What::Message(sealed)));
        self.jobs.spawn(async move {
            let said = others.iter().map(|to| async {
                let problem = match shared.send(to, &ask, &others).await {
                    // It came twice, the first time without an answer.
                    Ok(Reply::Done | Reply::Refused(Refusal::Key(KeyError::Replayed))) => None,
                    Ok(Reply::Refused(refusal)) => Some(refusal.to_string()),
                    Ok(_) => Some("it answered with something else than was asked for".to_owned()),
                    Err(error) => Some(error.to_string()),
                };
                problem.map(|problem| (to.clone(), problem))
            });
            let missed = join_all(said).await.into_iter().flatten().collect();
            tell(answer, Ok(missed));
            Done::Told
        });
    }

    fn seal(&mut self, content: &Content) -> Result<Sealed, GuildError> {
        self.may(content.action())?;
        content.check()?;
        let text = content.bytes()?;
        let keys = self.keys.as_mut().ok_or(Refusal::Over)?;
        Ok(keys.seal(&text)?)
    }

    pub(super) fn on_message(&mut self, from: Did, sealed: Sealed, reply: oneshot::Sender<Reply>) {
        if sealed.epoch > self.state.epoch && !matches!(self.seat, Seat::Creator(_)) {
            return self.park(from, sealed, reply);
        }
        let heard = self.open_message(&from, &sealed);
        tell(reply, heard.map_or_else(Reply::Refused, |()| Reply::Done));
    }

    fn open_message(&mut self, from: &Did, sealed: &Sealed) -> Result<(), Refusal> {
        if sealed.sender != *from {
            return Err(Refusal::NotTheSender);
        }
        let role = self.role_of(from).ok_or_else(|| Refusal::NotIn(from.clone()))?;
        let keys = self.keys.as_mut().ok_or(Refusal::Over)?;
        let now = Timestamp::now();
        let text = keys.open(sealed, now).map_err(Refusal::Key)?;
        let content = Content::read(&text);
        let content = content.map_err(|error| Refusal::Invalid(Untrusted::new(&error.to_string())))?;
        let action = content.action();
        if !role.may(action) {
            return Err(Refusal::NotPermitted { role, action });
        }
        content.check()?;
        self.note_heard(from, now);
        match content {
            Content::Speak(text) => self.state.note(now, from.clone(), "said", Untrusted::new(&text)),
        }
        self.publish();
        Ok(())
    }

    /// Keeps a message until the creator has told of its epoch.
    fn park(&mut self, from: Did, sealed: Sealed, reply: oneshot::Sender<Reply>) {
        let known = self.role_of(&from).is_some();
        let unknown = self.parked.iter().filter(|parked| self.role_of(&parked.from).is_none()).count();
        if self.parked.len() >= PARKED || (!known && unknown >= PARKED_UNKNOWN) {
            let (found, current) = (sealed.epoch, self.state.epoch);
            return tell(reply, Reply::Refused(Refusal::Key(KeyError::OtherEpoch { found, current })));
        }
        self.parked.push(Parked { from, sealed, reply, until: Timestamp::now() + PARKED_FOR });
        self.ask_creator();
    }

    /// A notice has come: what waited for it is opened.
    pub(super) fn open_parked(&mut self) {
        for parked in std::mem::take(&mut self.parked) {
            self.on_message(parked.from, parked.sealed, parked.reply);
        }
    }

    pub(super) fn give_up_parked(&mut self, now: Timestamp) {
        let (late, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.until <= now);
        self.parked = waiting;
        for Parked { sealed, reply, .. } in late {
            let (found, current) = (sealed.epoch, self.state.epoch);
            tell(reply, Reply::Refused(Refusal::Key(KeyError::OtherEpoch { found, current })));
        }
    }

    pub(super) fn note_heard(&mut self, who: &Did, now: Timestamp) {
        if let Seat::Creator(rules) = &mut self.seat
            && let Err(refusal) = rules.hear(who, now)
        {
            tracing::debug!(%refusal, "heard");
        }
        if let Some(member) = self.state.members.iter_mut().find(|member| member.did == *who) {
            member.heard = Some(now);
        }
    }
}
