//! What the creator decides: it is durable first, then so, then told to everybody whom it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::{Answer, Answers, Done, Record, Seat, Worker, tell};
use crate::document::{Charter, Envelope, Untrusted};
use crate::guild::keyring::Keyring;
use crate::guild::rules::{Change, End, Guild, Member};
use crate::guild::shared::{Shared, event};
use crate::guild::state::MemberState;
use crate::guild::wire::{Ask, Invitation, News, Notice, Reply, Seat as Place, What};
use crate::guild::{
    Action, Content, EpochSecret, GuildError, Offer, Refusal, Role, Terms, check_public, invitation,
};
use crate::identity::Did;

/// Addresses in an invitation.
const ADDRESSES: usize = 4;
/// How long a decision waits until everybody has been told. Who was not learns it from its next heartbeat.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// How long a disk that takes nothing is left alone.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Things to be said to members.
pub(super) type Sayings = Vec<(Did, Ask)>;

impl Worker {
    /// A new guild, with this node in it. It is on disk when this returns.
    pub(in crate::guild) async fn found(
        shared: &Arc<Shared>,
        charter: Envelope<Charter>,
    ) -> Result<Self, GuildError> {
        let worker = Self::new_of(shared, charter, &[])?;
        worker.keep(vec![event(&worker.state, "created", shared.me(), "")]).await?;
        Ok(worker)
    }

    /// A new guild with those in it who have offered to be. They are told so, and `first`; what they say to it is the answer.
    pub(in crate::guild) async fn form(
        shared: &Arc<Shared>,
        charter: Envelope<Charter>,
        members: &[(Role, Offer)],
        first: &Content,
        answer: Answer<Answers>,
    ) -> Result<Self, GuildError> {
        let mut worker = Self::new_of(shared, charter, members)?;
        worker.mark_formed();
        let first = worker.seal(first)?;
        let mut asks = Vec::with_capacity(members.len());
        for (_, Offer { from, key, .. }) in members {
            let notice = worker.signed(from, worker.roster_for(from)?)?;
            let (charter, first) = (worker.state.charter.bytes().to_vec(), first.clone());
            asks.push((
                from.clone(),
                Ask::new(worker.id, What::Enlist { key: *key, charter, notice, first }),
            ));
        }
        worker.keep(vec![event(&worker.state, "created", shared.me(), "")]).await?;
        worker.ask_each(asks, answer);
        Ok(worker)
    }

    fn new_of(
        shared: &Arc<Shared>,
        charter: Envelope<Charter>,
        members: &[(Role, Offer)],
    ) -> Result<Self, GuildError> {
        let now = Timestamp::now();
        let mut rules = Guild::new(Terms::of(charter.document()), now);
        for (role, offer) in members {
            rules.join(&offer.from, *role, offer.key, Some(rules.terms().expires_at), now)?;
        }
        let epoch = rules.epoch();
        let mut worker = Self::new(shared, charter, Seat::Creator(rules));
        let keys = worker.fresh_keys(epoch)?;
        worker.turn(keys, now);
        worker.look(now);
        Ok(worker)
    }

    /// A guild whose creator has started again: the secrets are gone, so it begins a new epoch.
    pub(super) async fn restore(
        shared: &Arc<Shared>,
        charter: Envelope<Charter>,
        record: Record,
    ) -> Result<Self, GuildError> {
        let now = Timestamp::now();
        let members: BTreeMap<Did, Member> = record
            .members
            .into_iter()
            .map(|member| (member.did, Member { role: member.role, key: member.key, heard: now }))
            .collect();
        let rules = Guild::restored(Terms::of(charter.document()), members, record.removed, record.epoch);
        let epoch = rules.epoch();
        let mut worker = Self::new(shared, charter, Seat::Creator(rules));
        let keys = worker.fresh_keys(epoch)?;
        worker.keep(Vec::new()).await?;
        worker.turn(keys, now);
        worker.look(now);
        let notices = worker.notices()?;
        worker.say_all(notices);
        let (guild, document) = (worker.id, worker.state.charter.document());
        if document.admit != crate::config::Admit::Invite
            && let Err(error) = shared.network.provide(&guild).await
        {
            tracing::warn!(%guild, %error, "the guild is not in the DHT");
        }
        Ok(worker)
    }

    fn fresh_keys(&self, epoch: u64) -> Result<Keyring, GuildError> {
        let secret = EpochSecret::new(self.shared.random()?);
        Ok(Keyring::new(secret, self.context(epoch), self.shared.me().clone())?)
    }

    fn rules(&mut self) -> Result<&mut Guild, Refusal> {
        match &mut self.seat {
            Seat::Creator(rules) => Ok(rules),
            _ => Err(Refusal::NotPermitted { role: self.state.role, action: Action::Govern }),
        }
    }

    /// Does what `act` does to the rules, and gives back what came of it and whom to tell.
    async fn decide(
        &mut self,
        act: impl FnOnce(&mut Guild) -> Result<Vec<Change>, Refusal>,
    ) -> Result<(Vec<Change>, Sayings), GuildError> {
        let now = Timestamp::now();
        let (mut next, before) = (self.rules()?.clone(), self.state.epoch);
        let changes = act(&mut next)?;
        let keys = if next.epoch() == before { None } else { Some(self.fresh_keys(next.epoch())?) };
        let mut rows = vec![self.row(Some(&next))?];
        let told: Vec<_> = changes.iter().filter_map(|change| self.told_as(change)).collect();
        for (what, who, text) in told {
            rows.push(event(&self.state, what, &who, &text));
            self.state.note(now, who, what, Untrusted::new(&text));
        }
        self.shared.write(rows).await?;
        self.seat = Seat::Creator(next);
        let turned = keys.is_some();
        if let Some(keys) = keys {
            self.turn(keys, now);
        }
        self.look(now);
        self.publish();
        let mut sayings = if turned { self.notices()? } else { Vec::new() };
        for change in &changes {
            match change {
                Change::Removed(who) | Change::Evicted(who) => sayings.push(self.notice(who, News::Removed)?),
                Change::Refused(who) => sayings.push(self.notice(who, News::Refused)?),
                _ => {}
            }
        }
        Ok((changes, sayings))
    }

    /// What the journal and the channel say of a change: what, who, and what else there is to say.
    fn told_as(&self, change: &Change) -> Option<(&'static str, Did, String)> {
        let told = |what, who: &Did, text: &str| Some((what, who.clone(), text.to_owned()));
        match change {
            Change::Asked(who) if self.state.asking.iter().any(|(known, ..)| known == who) => None,
            Change::Asked(who) => told("asked", who, ""),
            Change::Joined(who) => told("joined", who, ""),
            Change::Returned(who) => told("returned", who, ""),
            Change::Refused(who) => told("refused", who, ""),
            Change::Left(who) => told("left", who, ""),
            Change::Removed(who) => told("removed", who, ""),
            Change::Evicted(who) => told("evicted", who, "it was not heard any more"),
            Change::Role(who, role) => told("role", who, role.as_str()),
            Change::Ended(_) => None,
        }
    }

    /// Sees in the rules who is in the guild, and who would like to be.
    fn look(&mut self, now: Timestamp) {
        let Seat::Creator(rules) = &self.seat else { return };
        let member = |(did, member): (&Did, &Member)| MemberState {
            did: did.clone(),
            role: member.role,
            heard: Some(member.heard),
        };
        self.state.members = rules.members().iter().map(member).collect();
        let since = |who: &Did| {
            let known = self.state.asking.iter().find(|(known, ..)| known == who);
            known.map_or(now, |(_, _, since)| *since)
        };
        self.state.asking = rules.asking().map(|(who, role)| (who.clone(), role, since(who))).collect();
    }

    /// For everybody else in the guild: who is in it, and the epoch's secret.
    fn notices(&self) -> Result<Sayings, GuildError> {
        self.others().iter().map(|who| self.notice(who, self.roster_for(who)?)).collect()
    }

    fn roster_for(&self, who: &Did) -> Result<News, GuildError> {
        let not_in = || Refusal::NotIn(who.clone());
        let Seat::Creator(rules) = &self.seat else { return Err(not_in().into()) };
        let key = rules.members().get(who).and_then(|member| member.key).ok_or_else(not_in)?;
        let keys = self.keys.as_ref().ok_or(Refusal::Over)?;
        let secret = keys.wrap(&key, &self.context(keys.epoch()), who, self.shared.random()?)?;
        let members = rules.members().iter();
        let members = members.map(|(did, member)| Place { did: did.clone(), role: member.role }).collect();
        Ok(News::Roster { members, secret })
    }

    fn signed(&self, to: &Did, news: News) -> Result<Vec<u8>, GuildError> {
        let epoch = match news {
            News::Over(_) => self.state.epoch.saturating_add(1),
            _ => self.state.epoch,
        };
        let (guild, creator) = (self.id, self.shared.me().clone());
        let notice = Notice { guild, creator, to: to.clone(), epoch, news };
        Ok(Envelope::sign(&self.shared.identity, &notice)?.bytes().to_vec())
    }

    fn notice(&self, to: &Did, news: News) -> Result<(Did, Ask), GuildError> {
        Ok((to.clone(), Ask::new(self.id, What::Notice(self.signed(to, news)?))))
    }

    /// Tells members something in the background. Who is not reached learns it from its next heartbeat.
    fn say_all(&mut self, sayings: Sayings) {
        self.say_then(sayings, || ());
    }

    /// The same, and then something else.
    fn say_then(&mut self, sayings: Sayings, then: impl FnOnce() + Send + 'static) {
        let (shared, thirds) = (Arc::clone(&self.shared), self.others());
        self.jobs.spawn(async move {
            say_within(&shared, sayings, &thirds).await;
            then();
            Done::Told
        });
    }

    pub(super) async fn on_join(
        &mut self,
        from: Did,
        role: &str,
        key: [u8; 32],
        invited: Option<&str>,
    ) -> Result<Reply, GuildError> {
        // Others do not decide, and have nobody to ask.
        self.rules().map_err(|_| Refusal::NoSuchGuild)?;
        let role: Role = role.parse()?;
        check_public(&key)?;
        let until = invited.map(|text| self.check_invitation(text)).transpose()?;
        let now = Timestamp::now();
        let inside = self.role_of(&from).is_some();
        let (_, mut sayings) = self
            .decide(|rules| {
                let change = match inside {
                    true => rules.come_back(&from, key, now),
                    false => rules.join(&from, role, key, until, now),
                };
                Ok(vec![change?])
            })
            .await?;
        let Some(own) = sayings.iter().position(|(who, _)| *who == from) else { return Ok(Reply::Wait) };
        let (_, ask) = sayings.swap_remove(own);
        self.say_all(sayings);
        match ask.what {
            What::Notice(notice) => Ok(Reply::Notice(notice)),
            _ => Ok(Reply::Wait),
        }
    }

    fn check_invitation(&self, text: &str) -> Result<Timestamp, Refusal> {
        let invalid = |why: &str| Refusal::Invalid(Untrusted::new(why));
        let invitation = invitation::read(text).map_err(|error| invalid(&error.to_string()))?;
        if invitation.guild != self.id || invitation.creator != *self.shared.me() {
            return Err(invalid("an invitation to another guild"));
        }
        Ok(invitation.expires_at)
    }

    pub(super) async fn on_leave(&mut self, from: &Did) -> Result<Reply, GuildError> {
        let (_, sayings) = self.decide(|rules| Ok(vec![rules.leave(from)?])).await?;
        self.say_all(sayings);
        Ok(Reply::Done)
    }

    pub(super) fn on_heartbeat(&mut self, from: &Did, epoch: u64) -> Result<Reply, GuildError> {
        let now = Timestamp::now();
        self.rules()?.hear(from, now)?;
        self.look(now);
        self.publish();
        if epoch >= self.state.epoch {
            return Ok(Reply::Done);
        }
        match self.notice(from, self.roster_for(from)?)?.1.what {
            What::Notice(notice) => Ok(Reply::Notice(notice)),
            _ => Ok(Reply::Done),
        }
    }

    pub(super) fn invite(&mut self, until: Timestamp) -> Result<String, GuildError> {
        self.rules()?;
        let expires_at = until.min(self.state.charter.document().expires_at);
        let own = format!("/p2p/{}", self.shared.identity.peer_id());
        let listen = self.shared.network.state().borrow().listen.clone();
        let (near, far): (Vec<_>, Vec<_>) = listen
            .iter()
            .map(|address| address.trim_end_matches(&own).to_owned())
            .partition(|address| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/"));
        let addresses = far.into_iter().chain(near).take(ADDRESSES).collect();
        let creator = self.shared.me().clone();
        invitation::write(
            &self.shared.identity,
            &Invitation { guild: self.id, creator, expires_at, addresses },
        )
    }

    pub(super) async fn admit(&mut self, who: Did, yes: bool, answer: Answer<()>) {
        let (me, now) = (self.shared.me().clone(), Timestamp::now());
        let decided = self.decide(|rules| {
            let change = if yes { rules.admit(&me, &who, now) } else { rules.refuse(&me, &who) };
            Ok(vec![change?])
        });
        let decided = decided.await;
        self.told_then_answered(decided, answer);
    }

    pub(super) async fn remove(&mut self, who: Did, answer: Answer<()>) {
        let me = self.shared.me().clone();
        let decided = self.decide(|rules| Ok(vec![rules.remove(&me, &who)?])).await;
        self.told_then_answered(decided, answer);
    }

    pub(super) async fn change_role(&mut self, who: Did, role: Role, answer: Answer<()>) {
        let me = self.shared.me().clone();
        let decided = self.decide(|rules| Ok(vec![rules.change_role(&me, &who, role)?])).await;
        self.told_then_answered(decided, answer);
    }

    fn told_then_answered(
        &mut self,
        decided: Result<(Vec<Change>, Sayings), GuildError>,
        answer: Answer<()>,
    ) {
        match decided {
            Ok((_, sayings)) => self.say_then(sayings, move || tell(answer, Ok(()))),
            Err(error) => tell(answer, Err(error)),
        }
    }

    pub(super) async fn dissolve(&mut self, answer: Answer<()>) {
        match self.last_words() {
            Ok(sayings) => {
                let (shared, thirds) = (Arc::clone(&self.shared), self.others());
                self.end("dissolved", "").await;
                let tracker = shared.tracker.clone();
                tracker.spawn(async move {
                    say_within(&shared, sayings, &thirds).await;
                    tell(answer, Ok(()));
                });
            }
            Err(error) => tell(answer, Err(error)),
        }
    }

    fn last_words(&mut self) -> Result<Sayings, GuildError> {
        self.rules()?;
        self.others().iter().map(|who| self.notice(who, News::Over(End::Dissolved))).collect()
    }

    pub(super) async fn tick_creator(&mut self, now: Timestamp) {
        let me = self.shared.me().clone();
        let Ok(rules) = self.rules() else { return };
        // It hears itself.
        if let Err(refusal) = rules.hear(&me, now) {
            tracing::debug!(%refusal, "a guild without its creator");
        }
        if rules.clone().tick(now).is_empty() {
            return;
        }
        match self.decide(|rules| Ok(rules.tick(now))).await {
            Ok((_, sayings)) => self.say_all(sayings),
            Err(error) => {
                tracing::warn!(%error, "members that are gone stay for now");
                tokio::time::sleep(DISK_PAUSE).await;
            }
        }
    }

    /// Somebody is connected again: a member is told what it may have missed.
    pub(super) fn met_as_creator(&mut self, who: &Did) {
        if self.role_of(who).is_none() {
            return;
        }
        let notice = self.roster_for(who).and_then(|news| self.notice(who, news));
        match notice {
            Ok(notice) => self.say_all(vec![notice]),
            Err(error) => tracing::debug!(%error, "a member is not told what it missed"),
        }
    }
}

async fn say_within(shared: &Arc<Shared>, sayings: Sayings, thirds: &[Did]) {
    let said = sayings.iter().map(|(to, ask)| async move {
        if let Err(error) = shared.send(to, ask, thirds).await {
            tracing::debug!(%to, %error, "not told now");
        }
    });
    if tokio::time::timeout(TELL_WITHIN, join_all(said)).await.is_err() {
        tracing::debug!("not everybody was told in time");
    }
}
