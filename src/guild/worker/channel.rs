//! What members say to each other: sealed once, sent to each, and opened where the table allows it.

use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::{Answer, Answers, Done, Seat, Worker, tell};
use crate::document::Untrusted;
use crate::guild::join::unexpected;
use crate::guild::wire::{Ask, Reply, What};
use crate::guild::{Content, GuildError, KeyError, Refusal, Said, Sealed, Told};
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

    /// Says something to some of the members, to be answered.
    pub(super) fn tell_some(&mut self, to: Vec<Did>, content: &Content, answer: Answer<Answers>) {
        let sealed = match self.seal(content) {
            Ok(sealed) => sealed,
            Err(error) => return tell(answer, Err(error)),
        };
        let ask = Ask::new(self.id, What::Message(sealed));
        self.ask_each(to.into_iter().map(|to| (to, ask.clone())).collect(), answer);
    }

    /// Asks each of some members something, to be answered.
    pub(super) fn ask_each(&mut self, asks: Vec<(Did, Ask)>, answer: Answer<Answers>) {
        let (shared, others) = (Arc::clone(&self.shared), self.others());
        self.jobs.spawn(async move {
            let said = asks.into_iter().map(|(to, ask)| async {
                let (to, ask) = (to, ask);
                let reply = shared.send(&to, &ask, &others).await;
                (to, reply)
            });
            Done::Replied { replies: join_all(said).await, answer }
        });
    }

    pub(super) fn open_replies(
        &mut self,
        replies: Vec<(Did, Result<Reply, GuildError>)>,
        answer: Answer<Answers>,
    ) {
        let opened = replies.into_iter().map(|(from, reply)| {
            let said = match reply {
                Ok(Reply::Done) => Ok(None),
                // It was heard, but what came of it is not known.
                Ok(Reply::Refused(Refusal::Key(KeyError::Replayed))) => Err(Refusal::Busy.into()),
                Ok(Reply::Said(sealed)) => self.unseal(&from, &sealed).map(Some).map_err(GuildError::from),
                Ok(Reply::Refused(refusal)) => Err(refusal.into()),
                Ok(_) => Err(unexpected(&from)),
                Err(error) => Err(error),
            };
            (from, said)
        });
        let opened = opened.collect();
        tell(answer, Ok(opened));
    }

    pub(super) fn answer(&mut self, said: Said, reply: oneshot::Sender<Reply>) {
        let answered = match said {
            Ok(None) => Ok(Reply::Done),
            Ok(Some(content)) => self.seal(&content).map(Reply::Said).map_err(GuildError::refusal),
            Err(refusal) => Err(refusal),
        };
        tell(reply, answered.unwrap_or_else(Reply::Refused));
    }

    pub(super) fn seal(&mut self, content: &Content) -> Result<Sealed, GuildError> {
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
        let content = match self.unseal(&from, &sealed) {
            Ok(content) => content,
            Err(refusal) => return tell(reply, Reply::Refused(refusal)),
        };
        self.note_heard(&from, Timestamp::now());
        match content {
            Content::Speak(text) => {
                self.state.note(Timestamp::now(), from, "said", Untrusted::new(&text));
                self.publish();
                tell(reply, Reply::Done);
            }
            content => self.hand_up(from, content, reply),
        }
    }

    /// What is said about tasks is answered by whoever lives them.
    fn hand_up(&mut self, from: Did, content: Content, reply: oneshot::Sender<Reply>) {
        let (answer, answered) = oneshot::channel();
        let told = Told::Word { guild: self.id, from, content, reply: answer };
        if self.shared.tasks.try_send(told).is_err() {
            return tell(reply, Reply::Refused(Refusal::Busy));
        }
        self.jobs.spawn(async move {
            match answered.await {
                Ok(said) => Done::Answered { said, reply },
                Err(_) => Done::Answered { said: Err(Refusal::Busy), reply },
            }
        });
    }

    /// Opens a message, where it is from whom it says, and that one may say it.
    fn unseal(&mut self, from: &Did, sealed: &Sealed) -> Result<Content, Refusal> {
        if sealed.sender != *from {
            return Err(Refusal::NotTheSender);
        }
        let role = self.role_of(from).ok_or_else(|| Refusal::NotIn(from.clone()))?;
        let keys = self.keys.as_mut().ok_or(Refusal::Over)?;
        let text = keys.open(sealed, Timestamp::now()).map_err(Refusal::Key)?;
        let content = Content::read(&text);
        let content = content.map_err(|error| Refusal::Invalid(Untrusted::new(&error.to_string())))?;
        let action = content.action();
        if !role.may(action) {
            return Err(Refusal::NotPermitted { role, action });
        }
        content.check()?;
        Ok(content)
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
