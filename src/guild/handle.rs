//! The handle: what the rest of the node can ask of guilds, and what others say to them.

use std::sync::Arc;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::unexpected;
use super::offered::OfferedKey;
use super::shared::Shared;
use super::state::GuildState;
use super::wire::{Ask, Parcel, Reply, What};
use super::worker::{Answer, Answers, Order, Seat, Worker};
use super::{Content, GuildError, GuildKey, Offer, Refusal, Role, Told, check_public};
use crate::config::Admit;
use crate::document::{AnyEnvelope, Charter, Draw, Envelope, Sha256Digest, Untrusted};
use crate::identity::{Did, Identity};
use crate::network::Network;
use crate::storage::Storage;

/// Guilds a node can be in at once.
pub(super) const MAX_GUILDS: usize = 16 * 1024;
/// How old something may be that came through a third member: clocks differ.
const PARCEL_AGE: SignedDuration = SignedDuration::from_mins(5);

/// What a new guild is to be.
#[derive(Debug, Clone)]
pub struct Founding {
    pub name: String,
    pub ttl: SignedDuration,
    pub capacity: u32,
    pub admit: Admit,
}

/// A guild that has been made.
#[derive(Debug, Clone)]
pub struct Founded {
    pub id: Cid,
    pub expires_at: Timestamp,
    /// For whoever is to join, until the guild ends.
    pub invitation: String,
}

/// A guild that is formed of those who offered.
#[derive(Debug)]
pub struct Formed {
    pub id: Cid,
    /// What each says to the first thing that is said in it, once all have; an error is somebody who may not have come. It closes
    /// when the guild is over before.
    pub answers: oneshot::Receiver<Result<Answers, GuildError>>,
}

/// What came of asking to join.
#[derive(Debug, Clone)]
pub struct Joined {
    pub id: Cid,
    pub charter: Envelope<Charter>,
    pub role: Role,
    /// Whether it is in the guild, and not waiting for the creator's answer.
    pub inside: bool,
}

/// A handle to all guilds of a node. Cheap to clone.
#[derive(Clone)]
pub struct Guilds {
    pub(super) shared: Arc<Shared>,
}

impl Guilds {
    /// Takes up the guilds the node was in when it ended. What is said about tasks goes to `tasks`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn start(
        identity: Arc<Identity>,
        storage: Storage,
        network: Network,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        tasks: mpsc::Sender<Told>,
    ) -> Result<Self, GuildError> {
        let shared = Arc::new(Shared::new(identity, storage, network, tracker.clone(), shutdown, tasks));
        for record in shared.storage.guilds().await? {
            Worker::resume(&shared, &record).await;
        }
        Ok(Self { shared })
    }

    /// Founds a guild.
    ///
    /// # Errors
    /// [`GuildError::Document`] for terms that no charter may have, [`GuildError::TooMany`], [`GuildError::Storage`].
    pub async fn create(&self, terms: Founding) -> Result<Founded, GuildError> {
        let shared = &self.shared;
        let charter = self.charter_of(terms)?;
        Worker::found(shared, charter.clone()).await?.spawn()?;
        let (id, document) = (*charter.id(), charter.document());
        // The guild is there, however it can be found.
        if document.admit != Admit::Invite
            && let Err(error) = shared.network.provide(&id).await
        {
            tracing::warn!(guild = %id, %error, "a guild is not in the DHT");
        }
        if document.admit == Admit::Open
            && let Err(error) = shared.network.publish(&AnyEnvelope::Charter(charter.clone())).await
        {
            tracing::warn!(guild = %id, %error, "a guild is not announced");
        }
        let expires_at = document.expires_at;
        let invitation = self.invite(&id, expires_at).await?;
        Ok(Founded { id, expires_at, invitation })
    }

    /// Founds a guild of those who have offered to be in it, and says something to them. It is there for those who came, whoever
    /// does not.
    ///
    /// # Errors
    /// As [`Guilds::create`], and as the rules have it.
    pub async fn form(
        &self,
        terms: Founding,
        members: &[(Role, Offer)],
        first: &Content,
    ) -> Result<Formed, GuildError> {
        let charter = self.charter_of(terms)?;
        let id = *charter.id();
        let (answer, answers) = oneshot::channel();
        Worker::form(&self.shared, charter, members, first, answer).await?.spawn()?;
        Ok(Formed { id, answers })
    }

    fn charter_of(&self, terms: Founding) -> Result<Envelope<Charter>, GuildError> {
        let shared = &self.shared;
        self.has_room()?;
        let now = Timestamp::now();
        // To the second, as it is promised.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let random = shared.random()?;
        let charter = Charter {
            name: terms.name,
            creator: shared.me().clone(),
            created_at: now,
            expires_at: now.checked_add(terms.ttl).unwrap_or(Timestamp::MAX),
            capacity: terms.capacity,
            admit: terms.admit,
            nonce: hex::encode(random.split_at(16).0),
        };
        Ok(Envelope::sign(&shared.identity, &charter)?)
    }

    pub(super) fn has_room(&self) -> Result<(), GuildError> {
        let full = self.shared.live().len() >= MAX_GUILDS;
        if full { Err(GuildError::TooMany(MAX_GUILDS)) } else { Ok(()) }
    }

    /// An invitation that is good until then, or until the guild ends.
    ///
    /// # Errors
    /// [`GuildError::Refused`] for who is not its creator.
    pub async fn invite(&self, guild: &Cid, until: Timestamp) -> Result<String, GuildError> {
        self.order(guild, |answer| Order::Invite { until, answer }).await
    }

    /// Leaves a guild; its creator takes it along.
    ///
    /// # Errors
    /// [`GuildError::NotHere`].
    pub async fn leave(&self, guild: &Cid) -> Result<(), GuildError> {
        self.order(guild, Order::Leave).await
    }

    /// Ends an own guild.
    ///
    /// # Errors
    /// [`GuildError::Refused`] for who is not its creator.
    pub async fn dissolve(&self, guild: &Cid) -> Result<(), GuildError> {
        self.order(guild, Order::Dissolve).await
    }

    /// Takes in somebody who asks to join, or does not.
    ///
    /// # Errors
    /// As the rules have it.
    pub async fn admit(&self, guild: &Cid, who: Did, yes: bool) -> Result<(), GuildError> {
        self.order(guild, |answer| Order::Admit { who, yes, answer }).await
    }

    /// Removes a member. When this returns, all who can be reached are told.
    ///
    /// # Errors
    /// As the rules have it.
    pub async fn remove(&self, guild: &Cid, who: Did) -> Result<(), GuildError> {
        self.order(guild, |answer| Order::Remove { who, answer }).await
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// As the rules have it.
    pub async fn change_role(&self, guild: &Cid, who: Did, role: Role) -> Result<(), GuildError> {
        self.order(guild, |answer| Order::ChangeRole { who, role, answer }).await
    }

    /// Says something in the channel, and gives back who did not take it, and why.
    ///
    /// # Errors
    /// As the rules have it, [`Refusal::TooLong`].
    pub async fn say(&self, guild: &Cid, text: String) -> Result<Vec<(Did, String)>, GuildError> {
        self.order(guild, |answer| Order::Say { text, answer }).await
    }

    /// Says something to some of the members, and gives back what each said to it.
    ///
    /// # Errors
    /// As the rules have it; what went wrong with one of them is in its place.
    pub async fn tell(&self, guild: &Cid, to: Vec<Did>, content: Content) -> Result<Answers, GuildError> {
        self.order(guild, |answer| Order::Tell { to, content, answer }).await
    }

    /// Offers to take part in somebody's task; with the key, this node can be enlisted.
    ///
    /// # Errors
    /// When it cannot be reached, or does not want it.
    pub async fn offer(
        &self,
        to: &Did,
        manifest: &Cid,
        execute: bool,
        attest: bool,
    ) -> Result<OfferedKey, GuildError> {
        let offered = self.shared.offered.add(GuildKey::new(self.shared.random()?), to.clone());
        let what = What::Offer { execute, attest, key: offered.public() };
        match self.shared.send(to, &Ask::new(*manifest, what), &[]).await? {
            Reply::Done => Ok(offered),
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(unexpected(to)),
        }
    }

    /// Asks whoever would run a task for its nonce in the draw of the witnesses.
    ///
    /// # Errors
    /// When it cannot be reached, or does not want it.
    pub async fn draw(
        &self,
        from: &Did,
        manifest: &Cid,
        pool: Vec<Did>,
        commitment: Sha256Digest,
    ) -> Result<([u8; 32], u32), GuildError> {
        match self.shared.send(from, &Ask::new(*manifest, What::Draw { pool, commitment }), &[]).await? {
            Reply::Nonce { nonce, attempt } => Ok((nonce, attempt)),
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(unexpected(from)),
        }
    }

    /// What a guild looks like, and its changes; it closes when the guild is over.
    pub fn watch(&self, guild: &Cid) -> Option<watch::Receiver<Arc<GuildState>>> {
        self.shared.of(guild).map(|live| live.state)
    }

    /// Somebody is connected: what its and this node's guilds have missed of each other is made up for.
    pub fn met(&self, who: &Did) {
        for live in self.shared.live().values() {
            let state = live.state.borrow();
            let concerned = state.charter.signer() == who || state.members.iter().any(|m| m.did == *who);
            if concerned && live.orders.try_send(Order::Met(who.clone())).is_err() {
                tracing::debug!(guild = %state.id, "a busy guild hears of it with the next heartbeat");
            }
        }
    }

    /// All guilds this node is in, or waits to be in; those that end first come first.
    pub fn list(&self) -> Vec<Arc<GuildState>> {
        let mut states: Vec<_> =
            self.shared.live().values().map(|live| Arc::clone(&live.state.borrow())).collect();
        states.sort_by_key(|state| (state.charter.document().expires_at, state.id));
        states
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.live().len()
    }

    /// One of them.
    pub fn get(&self, guild: &Cid) -> Option<Arc<GuildState>> {
        self.shared.of(guild).map(|live| Arc::clone(&live.state.borrow()))
    }

    /// Guilds that were announced, because anybody may join.
    pub fn open(&self) -> Vec<Envelope<Charter>> {
        self.shared.directory().list(Timestamp::now())
    }

    /// Takes in the charter of a guild that was announced.
    pub fn announced(&self, charter: Envelope<Charter>) {
        if charter.signer() != self.shared.me() {
            self.shared.directory().hear(charter, Timestamp::now());
        }
    }

    /// Counts up with everything that changes in any guild.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    async fn order<T>(&self, guild: &Cid, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, GuildError> {
        let not_here = || GuildError::NotHere(Untrusted::new(&guild.to_string()));
        let live = self.shared.of(guild).ok_or_else(not_here)?;
        let (answer, answered) = oneshot::channel();
        live.orders.send(order(answer)).await.map_err(|_| Refusal::Over)?;
        answered.await.map_err(|_| Refusal::Over)?
    }

    /// What this node answers to something that somebody says of a guild; `None` when it cannot answer now.
    pub async fn hear(&self, from: &Did, said: &[u8]) -> Option<Vec<u8>> {
        let reply = match Ask::read(said) {
            Ok(ask) => self.reply(from.clone(), ask, true).await?,
            Err(error) => Reply::Refused(Refusal::Invalid(Untrusted::new(&error.to_string()))),
        };
        match reply.bytes() {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::warn!(%error, "an answer of a guild cannot be written");
                None
            }
        }
    }

    async fn reply(&self, from: Did, ask: Ask, straight: bool) -> Option<Reply> {
        match ask.what {
            What::Offer { execute, attest, key } if straight => {
                return self.on_offer(ask.about, Offer { from, execute, attest, key });
            }
            What::Draw { pool, commitment } if straight => {
                return self.on_draw(ask.about, from, pool, commitment).await;
            }
            What::Enlist { key, charter, notice, first } if straight => {
                let enlisted = self.enlist(&from, &ask.about, &key, &charter, &notice).await;
                return match enlisted {
                    Ok(()) => {
                        Box::pin(self.reply(from, Ask::new(ask.about, What::Message(first)), true)).await
                    }
                    Err(error) => Some(Reply::Refused(error.refusal())),
                };
            }
            _ => {}
        }
        let Some(live) = self.shared.of(&ask.about) else {
            return Some(Reply::Refused(Refusal::NoSuchGuild));
        };
        match ask.what {
            What::Charter => Some(Reply::Charter(live.state.borrow().charter.bytes().to_vec())),
            What::Parcel(parcel) if straight => match self.unpack(&ask.about, &parcel) {
                // On the heap, for a parcel in it is answered like anything else.
                Ok((from, ask)) => Box::pin(self.reply(from, ask, false)).await,
                Err(refusal) => Some(Reply::Refused(refusal)),
            },
            what => {
                let (reply, replied) = oneshot::channel();
                live.orders.try_send(Order::Heard { from, what, reply }).ok()?;
                replied.await.ok()
            }
        }
    }

    fn on_offer(&self, manifest: Cid, offer: Offer) -> Option<Reply> {
        if let Err(error) = check_public(&offer.key) {
            return Some(Reply::Refused(Refusal::Key(error)));
        }
        self.shared.tasks.try_send(Told::Offer { manifest, offer }).ok()?;
        Some(Reply::Done)
    }

    async fn on_draw(
        &self,
        manifest: Cid,
        from: Did,
        pool: Vec<Did>,
        commitment: Sha256Digest,
    ) -> Option<Reply> {
        if pool.len() > Draw::POOL_MAX {
            let why = format!("{} of whom to draw; at most {}", pool.len(), Draw::POOL_MAX);
            return Some(Reply::Refused(Refusal::Invalid(Untrusted::new(&why))));
        }
        let (reply, replied) = oneshot::channel();
        self.shared.tasks.try_send(Told::Draw { manifest, from, pool, commitment, reply }).ok()?;
        let nonce = |(nonce, attempt)| Reply::Nonce { nonce, attempt };
        Some(replied.await.ok()?.map_or_else(Reply::Refused, nonce))
    }

    /// This node has offered to be in a guild, and now is.
    async fn enlist(
        &self,
        from: &Did,
        guild: &Cid,
        key: &[u8; 32],
        charter: &[u8],
        notice: &[u8],
    ) -> Result<(), GuildError> {
        let charter = Envelope::<Charter>::open(charter)?;
        if charter.id() != guild || charter.signer() != from {
            return Err(Refusal::NotTheSender.into());
        }
        self.has_room()?;
        let key = self.shared.offered.take(key, from).ok_or(Refusal::NotOffered)?;
        if self.get(guild).is_some() {
            return Err(Refusal::AlreadyIn(self.shared.me().clone()).into());
        }
        let mut worker = Worker::new(&self.shared, charter, Seat::outside(Role::Member, key, None));
        worker.mark_formed();
        worker.heed(notice).await?;
        worker.is_inside()?;
        worker.spawn()
    }

    /// What came through a third member, and from whom it is.
    fn unpack(&self, guild: &Cid, parcel: &[u8]) -> Result<(Did, Ask), Refusal> {
        let invalid = |why: String| Refusal::Invalid(Untrusted::new(&why));
        let parcel = Envelope::<Parcel>::open(parcel).map_err(|error| invalid(error.to_string()))?;
        let Parcel { from, to, at, ask } = parcel.document().clone();
        let age = Timestamp::now().duration_since(at).abs();
        if to != *self.shared.me() || ask.about != *guild || age > PARCEL_AGE || !ask.what.is_passed_on() {
            return Err(invalid(
                "a parcel for another, of another time, or with what is not passed on".into(),
            ));
        }
        Ok((from, ask))
    }
}
