//! The worker of one guild at this node. This file has its loop and its end; `creator.rs` has what the creator decides,
//! `member.rs` how the others follow, `channel.rs` what is said.

mod channel;
mod creator;
mod member;

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::keyring::Keyring;
use super::rules::{self, Guild};
use super::shared::{Live, Shared, event};
use super::state::GuildState;
use super::wire::{Ask, Reply, What};
use super::{Action, Content, Context, End, GuildError, GuildKey, HEARTBEAT, Refusal, Role, Said};
use crate::document::{Charter, Envelope, Untrusted};
use crate::identity::Did;
use crate::storage::Write;
use channel::Parked;

/// Orders that wait for the worker.
const ORDERS: usize = 256;
/// Things under way at which nothing more is passed on for others.
const JOBS: usize = 256;
/// Who has started again asks more often, until it is in the guild again.
const COME_BACK: SignedDuration = SignedDuration::from_secs(3);
/// A creator that was not heard for so long is gone, and the guild with it.
const CREATOR_LOST: SignedDuration = rules::SILENCE;
/// How often the creator is told that this node has left, and the pause between.
const LEAVE_TRIES: usize = 30;
const LEAVE_PAUSE: Duration = Duration::from_secs(1);
/// The least step of a timer.
const TICK: SignedDuration = SignedDuration::from_millis(1);

pub(in crate::guild) type Answer<T> = oneshot::Sender<Result<T, GuildError>>;

/// What the worker is told.
pub(in crate::guild) enum Order {
    /// Somebody said something.
    Heard {
        from: Did,
        what: What,
        reply: oneshot::Sender<Reply>,
    },
    Invite {
        until: Timestamp,
        answer: Answer<String>,
    },
    Leave(Answer<()>),
    Dissolve(Answer<()>),
    Admit {
        who: Did,
        yes: bool,
        answer: Answer<()>,
    },
    Remove {
        who: Did,
        answer: Answer<()>,
    },
    ChangeRole {
        who: Did,
        role: Role,
        answer: Answer<()>,
    },
    /// Somebody is connected, again or for the first time.
    Met(Did),
    /// Answered with what each said to it.
    Tell {
        to: Vec<Did>,
        content: Content,
        answer: Answer<Answers>,
    },
    /// Answered with those who did not take it, and why.
    Say {
        text: String,
        answer: Answer<Vec<(Did, String)>>,
    },
}

/// What this node is in the guild.
pub(in crate::guild) enum Seat {
    Creator(Guild),
    Member {
        key: GuildKey,
        /// When the creator was last heard.
        heard: Timestamp,
        next_beat: Timestamp,
    },
    /// It has asked to join; or it was in, has started again, and asks to come back.
    Outside {
        role: Role,
        key: GuildKey,
        invitation: Option<String>,
        back: bool,
        since: Timestamp,
        next_ask: Timestamp,
    },
    /// It is over.
    Gone,
}

impl Seat {
    pub(in crate::guild) fn outside(role: Role, key: GuildKey, invitation: Option<String>) -> Self {
        let now = Timestamp::now();
        Self::Outside { role, key, invitation, back: false, since: now, next_ask: now + HEARTBEAT }
    }
}

/// What a worker started in the background, when it ends.
enum Done {
    /// The creator's answer to a heartbeat, or to being asked again.
    FromCreator(Result<Reply, GuildError>),
    Told,
    /// What members said to something, to be opened.
    Replied {
        replies: Vec<(Did, Result<Reply, GuildError>)>,
        answer: Answer<Answers>,
    },
    /// What this node says to something, to be sealed.
    Answered {
        said: Said,
        reply: oneshot::Sender<Reply>,
    },
}

/// What each of some members said.
pub type Answers = Vec<(Did, Result<Option<Content>, GuildError>)>;

/// What is on disk of a guild: no secrets.
#[derive(Serialize, Deserialize)]
struct Record {
    charter: String,
    role: Role,
    inside: bool,
    epoch: u64,
    #[serde(default)]
    formed: bool,
    /// Whom its creator removed.
    #[serde(default)]
    removed: BTreeSet<Did>,
    /// Known to the creator alone.
    members: Vec<MemberRecord>,
}

#[derive(Serialize, Deserialize)]
struct MemberRecord {
    did: Did,
    role: Role,
    key: Option<[u8; 32]>,
}

pub(in crate::guild) struct Worker {
    shared: Arc<Shared>,
    id: Cid,
    state: GuildState,
    seat: Seat,
    /// As long as this node is in the guild.
    keys: Option<Keyring>,
    parked: Vec<Parked>,
    orders: mpsc::Receiver<Order>,
    told: Live,
    teller: watch::Sender<Arc<GuildState>>,
    jobs: JoinSet<Done>,
    /// The creator is being asked; once is enough.
    asking: bool,
    over: bool,
}

impl Worker {
    pub(in crate::guild) fn new(shared: &Arc<Shared>, charter: Envelope<Charter>, seat: Seat) -> Self {
        let (sender, orders) = mpsc::channel(ORDERS);
        let (role, inside) = match &seat {
            Seat::Creator(_) => (Role::Creator, true),
            Seat::Member { .. } => (Role::Member, true),
            Seat::Outside { role, .. } => (*role, false),
            Seat::Gone => (Role::Observer, false),
        };
        let state = GuildState {
            id: *charter.id(),
            charter,
            role,
            formed: false,
            inside,
            epoch: 0,
            members: Vec::new(),
            asking: Vec::new(),
            log: std::collections::VecDeque::new(),
            lines: 0,
        };
        let (teller, watched) = watch::channel(Arc::new(state.clone()));
        Self {
            shared: Arc::clone(shared),
            id: state.id,
            state,
            seat,
            keys: None,
            parked: Vec::new(),
            orders,
            told: Live { orders: sender, state: watched },
            teller,
            jobs: JoinSet::new(),
            asking: false,
            over: false,
        }
    }

    /// Takes up a guild that an earlier process left.
    pub(in crate::guild) async fn resume(shared: &Arc<Shared>, record: &str) {
        let read =
            serde_json::from_str::<Record>(record).map_err(|error| error.to_string()).and_then(|record| {
                let charter = Envelope::<Charter>::open(record.charter.as_bytes());
                charter.map(|charter| (record, charter)).map_err(|error| error.to_string())
            });
        let (record, charter) = match read {
            Ok(read) => read,
            Err(error) => {
                return tracing::error!(%error, "the record of a guild is damaged; it is left as it is");
            }
        };
        if record.formed {
            return Self::give_up(shared, charter, record).await;
        }
        let resumed = if record.role == Role::Creator {
            Self::restore(shared, charter, record).await
        } else {
            Self::come_back(shared, charter, &record)
        };
        match resumed {
            Ok(worker) => {
                if let Err(error) = worker.spawn() {
                    tracing::error!(%error, "a guild could not be taken up again");
                }
            }
            Err(error) => tracing::error!(%error, "a guild could not be taken up again"),
        }
    }

    /// A guild that was formed for a task ends with the node that lives the task: what was going on in it is gone.
    async fn give_up(shared: &Arc<Shared>, charter: Envelope<Charter>, record: Record) {
        let own = charter.signer() == shared.me();
        let mut worker = Self::new(shared, charter, Seat::Gone);
        let step = if own { "dissolved" } else { "left" };
        worker.end(step, "this node has started again").await;
        let (id, creator, shared) = (worker.id, worker.creator(), Arc::clone(shared));
        if own {
            // They learn it from their next word to this node, which knows of no such guild.
            return tracing::debug!(guild = %id, members = record.members.len(), "given up");
        }
        let tracker = shared.tracker.clone();
        tracker.spawn(async move {
            let ask = Ask::new(id, What::Leave);
            for _ in 0..LEAVE_TRIES {
                let told = shared.shutdown.run_until_cancelled(shared.send(&creator, &ask, &[])).await;
                match told {
                    None | Some(Ok(_)) => return,
                    Some(Err(error)) => tracing::debug!(guild = %id, %error, "its creator is not told yet"),
                }
                tokio::time::sleep(LEAVE_PAUSE).await;
            }
        });
    }

    /// # Errors
    /// When what its creator said did not put this node into the guild.
    pub(in crate::guild) fn is_inside(&self) -> Result<(), Refusal> {
        if self.state.inside && !self.over { Ok(()) } else { Err(Refusal::NotIn(self.shared.me().clone())) }
    }

    /// It is of one task's life, and ends with it.
    pub(in crate::guild) fn mark_formed(&mut self) {
        self.state.formed = true;
    }

    /// Puts it to work.
    ///
    /// # Errors
    /// When it is over already, this node is not in it, or it is at work already.
    pub(in crate::guild) fn spawn(mut self) -> Result<(), GuildError> {
        if self.over {
            return Err(Refusal::Over.into());
        }
        match self.shared.live().entry(self.id) {
            Entry::Occupied(_) => return Err(Refusal::AlreadyIn(self.shared.me().clone()).into()),
            Entry::Vacant(free) => free.insert(self.told.clone()),
        };
        self.publish();
        let tracker = self.shared.tracker.clone();
        tracker.spawn(self.work());
        Ok(())
    }

    async fn work(mut self) {
        let shutdown = self.shared.shutdown.clone();
        while !self.over {
            // First what is due, however much is said.
            let now = Timestamp::now();
            if self.next_tick() <= now {
                self.tick(now).await;
                continue;
            }
            let pause = self.next_tick().duration_since(now);
            let pause = Duration::try_from(pause).unwrap_or_default();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(done).await,
                    Err(error) => tracing::debug!(%error, "a guild's job was not finished"),
                },
                () = tokio::time::sleep(pause) => {}
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
            }
        }
    }

    /// When there is something to do if nothing happens.
    fn next_tick(&self) -> Timestamp {
        let next = match &self.seat {
            Seat::Creator(rules) => rules.next_tick().unwrap_or(Timestamp::MIN),
            Seat::Member { next_beat, heard, .. } => (*next_beat).min(*heard + CREATOR_LOST + TICK),
            Seat::Outside { next_ask, .. } => *next_ask,
            Seat::Gone => Timestamp::MAX,
        };
        let parked = self.parked.iter().map(|parked| parked.until);
        let old_keys = self.keys.as_ref().and_then(Keyring::next_forget);
        parked.chain(old_keys).fold(next.min(self.state.charter.document().expires_at), Timestamp::min)
    }

    async fn tick(&mut self, now: Timestamp) {
        if now >= self.state.charter.document().expires_at {
            return self.end("expired", "").await;
        }
        if let Some(keys) = &mut self.keys {
            keys.forget(now);
        }
        self.give_up_parked(now);
        match self.seat {
            Seat::Creator(_) => self.tick_creator(now).await,
            Seat::Member { .. } | Seat::Outside { .. } => self.tick_member(now).await,
            Seat::Gone => {}
        }
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::FromCreator(reply) => {
                self.asking = false;
                self.take_answer(reply).await;
            }
            Done::Told => {}
            Done::Replied { replies, answer } => self.open_replies(replies, answer),
            Done::Answered { said, reply } => self.answer(said, reply),
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Heard { from, what, reply } => self.heard(from, what, reply).await,
            Order::Invite { until, answer } => tell(answer, self.invite(until)),
            Order::Leave(answer) => self.leave(answer).await,
            Order::Dissolve(answer) => self.dissolve(answer).await,
            Order::Admit { who, yes, answer } => self.admit(who, yes, answer).await,
            Order::Remove { who, answer } => self.remove(who, answer).await,
            Order::ChangeRole { who, role, answer } => self.change_role(who, role, answer).await,
            Order::Met(who) => self.met(&who),
            Order::Tell { to, content, answer } => self.tell_some(to, &content, answer),
            Order::Say { text, answer } => self.say(text, answer),
        }
    }

    async fn heard(&mut self, from: Did, what: What, reply: oneshot::Sender<Reply>) {
        let answer = match what {
            What::Join { role, key, invitation } => {
                self.on_join(from, &role, key, invitation.as_deref()).await
            }
            What::Leave => self.on_leave(&from).await,
            What::Heartbeat { epoch } => self.on_heartbeat(&from, epoch),
            What::Notice(notice) => self.heed(&notice).await.map(|()| Reply::Done),
            What::Message(sealed) => return self.on_message(from, sealed, reply),
            What::Forward { to, parcel } => return self.pass_on(&from, to, parcel, reply),
            What::Charter
            | What::Parcel(_)
            | What::Offer { .. }
            | What::Draw { .. }
            | What::Enlist { .. } => {
                let why = Untrusted::new("a parcel with what is not passed on");
                Err(Refusal::Invalid(why).into())
            }
        };
        tell(reply, answer.unwrap_or_else(|error| Reply::Refused(error.refusal())));
    }

    /// Passes a signed parcel on from one member to another.
    fn pass_on(&mut self, from: &Did, to: Did, parcel: Vec<u8>, reply: oneshot::Sender<Reply>) {
        if let Some(stranger) = [from, &to].into_iter().find(|who| self.role_of(who).is_none()) {
            return tell(reply, Reply::Refused(Refusal::NotIn(stranger.clone())));
        }
        if self.jobs.len() >= JOBS {
            return tell(reply, Reply::Refused(Refusal::Busy));
        }
        let (shared, ask) = (Arc::clone(&self.shared), Ask::new(self.id, What::Parcel(parcel)));
        self.jobs.spawn(async move {
            let passed = shared.send(&to, &ask, &[]).await;
            tell(reply, passed.unwrap_or(Reply::Refused(Refusal::NotReached(to))));
            Done::Told
        });
    }

    /// What was missed meanwhile is made up for, by the one or the other.
    fn met(&mut self, who: &Did) {
        if let Seat::Creator(_) = self.seat {
            self.met_as_creator(who);
        } else if *who == self.creator() {
            self.ask_creator();
        }
    }

    fn role_of(&self, who: &Did) -> Option<Role> {
        self.state.members.iter().find(|member| member.did == *who).map(|member| member.role)
    }

    /// Whether this node may do something here.
    fn may(&self, action: Action) -> Result<(), Refusal> {
        if !self.state.inside {
            return Err(Refusal::NotIn(self.shared.me().clone()));
        }
        let role = self.state.role;
        if role.may(action) { Ok(()) } else { Err(Refusal::NotPermitted { role, action }) }
    }

    fn others(&self) -> Vec<Did> {
        let others = self.state.members.iter().filter(|member| member.did != *self.shared.me());
        others.map(|member| member.did.clone()).collect()
    }

    fn creator(&self) -> Did {
        self.state.charter.document().creator.clone()
    }

    fn context(&self, epoch: u64) -> Context {
        Context { guild: self.id, epoch }
    }

    /// Takes on a later epoch.
    fn turn(&mut self, keys: Keyring, now: Timestamp) {
        self.state.epoch = keys.epoch();
        match &mut self.keys {
            Some(current) => current.turn(keys, now),
            None => self.keys = Some(keys),
        }
    }

    /// Writes what there is to know of the guild at the next start, with what happened.
    pub(in crate::guild) async fn keep(&self, mut rows: Vec<Write>) -> Result<(), GuildError> {
        rows.push(self.row(match &self.seat {
            Seat::Creator(rules) => Some(rules),
            _ => None,
        })?);
        self.shared.write(rows).await
    }

    fn row(&self, rules: Option<&Guild>) -> Result<Write, GuildError> {
        let members = rules.map(Guild::members).into_iter().flatten();
        let record = Record {
            charter: String::from_utf8_lossy(self.state.charter.bytes()).into_owned(),
            role: self.state.role,
            inside: self.state.inside,
            epoch: rules.map_or(0, Guild::epoch),
            formed: self.state.formed,
            removed: rules.map(Guild::removed).cloned().unwrap_or_default(),
            members: members
                .map(|(did, member)| MemberRecord { did: did.clone(), role: member.role, key: member.key })
                .collect(),
        };
        let record = serde_json::to_string(&record).map_err(crate::document::DocumentError::json)?;
        Ok(Write::Guild { guild_id: self.id.to_string(), record })
    }

    fn publish(&mut self) {
        self.teller.send_replace(Arc::new(self.state.clone()));
        self.shared.changed();
    }

    /// This node is in the guild no more. Its keys are overwritten first.
    async fn end(&mut self, step: &str, detail: &str) {
        self.over = true;
        self.keys = None;
        self.seat = Seat::Gone;
        for parked in self.parked.drain(..) {
            tell(parked.reply, Reply::Refused(Refusal::Over));
        }
        self.orders.close();
        let document = self.state.charter.document();
        if document.creator == *self.shared.me()
            && document.admit != crate::config::Admit::Invite
            && let Err(error) = self.shared.network.stop_providing(&self.id).await
        {
            tracing::debug!(%error, "the guild is not taken out of the DHT");
        }
        self.shared.forget(&self.id, &self.told);
        let rows = vec![
            Write::NoGuild { guild_id: self.id.to_string() },
            event(&self.state, step, self.shared.me(), detail),
        ];
        if let Err(error) = self.shared.write(rows).await {
            tracing::warn!(%error, "the end of a guild is not on disk; it is found out again at the next start");
        }
    }
}

/// Answers whoever asked, if it still waits.
fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::trace!("whoever asked did not wait for the answer");
    }
}

/// What an end is called in the journal.
fn end_word(end: End) -> &'static str {
    match end {
        End::Dissolved => "dissolved",
        End::Deadline => "expired",
        End::CreatorLost => "creator-lost",
    }
}
