//! Who is in a guild, as what, and for how long. One value is one guild; whoever holds it applies what happens in order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Action, KeyError, Role};
use crate::config::Admit;
use crate::document::{Charter, Untrusted};
use crate::identity::Did;

/// How often a member is heard.
pub const HEARTBEAT: SignedDuration = SignedDuration::from_secs(30);
/// Who was not heard for two heartbeats and half a one, which is what two missed ones take, is gone.
pub(super) const SILENCE: SignedDuration = SignedDuration::from_secs(75);
/// Who asks to join, while nobody has answered.
const MAX_ASKING: usize = 64;
/// Who was removed and is remembered.
const MAX_REMOVED: usize = 1024;

/// What its creator decided of a guild when it made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub creator: Did,
    pub admit: Admit,
    /// Members at once, the creator among them.
    pub capacity: usize,
    pub expires_at: Timestamp,
}

/// Somebody in a guild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub role: Role,
    /// The public half of its key for this guild. The creator has none: it makes the secrets.
    pub key: Option<[u8; 32]>,
    /// When it was last heard.
    pub heard: Timestamp,
}

/// Why a guild is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its creator dissolved it, or left.
    Dissolved,
    /// Its time was up.
    Deadline,
    /// Its creator was not heard any more.
    CreatorLost,
}

/// What came of something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody asks to join, and the creator is to answer.
    Asked(Did),
    Joined(Did),
    /// A member has started again, with another key.
    Returned(Did),
    Refused(Did),
    Left(Did),
    Removed(Did),
    /// Not heard for too long.
    Evicted(Did),
    Role(Did, Role),
    Ended(End),
}

/// Why something was not done, in a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", content = "about", rename_all = "kebab-case")]
pub enum Refusal {
    #[error("the guild is over")]
    Over,
    #[error("the guild has {0} members, which is all that it takes")]
    Full(usize),
    #[error("this guild takes only those who were invited")]
    InviteOnly,
    #[error("the invitation expired at {0}")]
    InvitationExpired(Timestamp),
    #[error("nobody can join as {role}; executor, member and observer are possible", role = .0.as_str())]
    RoleNotOffered(Role),
    #[error("there is no role \"{0}\"; creator, executor, member and observer are known")]
    NoSuchRole(Untrusted),
    #[error("{0} is in the guild already")]
    AlreadyIn(Did),
    #[error("{0} is not in the guild")]
    NotIn(Did),
    #[error("{0} has not asked to join")]
    NotAsking(Did),
    #[error("too many wait for an answer already")]
    TooManyAsking,
    #[error("one who is {role} may not {action}", role = .role.as_str(), action = .action.as_str())]
    NotPermitted { role: Role, action: Action },
    #[error("the creator of a guild stays its creator until it dissolves it")]
    CreatorStays,
    #[error("there is no such guild here")]
    NoSuchGuild,
    #[error("{found} bytes, where a message has at most {limit}")]
    TooLong { found: usize, limit: usize },
    #[error("{0}")]
    Key(KeyError),
    #[error("it does not hold: {0}")]
    Invalid(Untrusted),
    #[error("{0} cannot be reached from here")]
    NotReached(Did),
    #[error("the manifest is not agreed to: {0}")]
    WrongManifest(Untrusted),
    #[error("nothing of the kind was offered, or not any more")]
    NotOffered,
    #[error("it is busy; say it again")]
    Busy,
    #[error("it was said by another than it claims")]
    NotTheSender,
}

#[derive(Debug, Clone)]
struct Asking {
    role: Role,
    key: [u8; 32],
}

/// A guild as its rules see it.
#[derive(Debug, Clone)]
pub struct Guild {
    terms: Terms,
    members: BTreeMap<Did, Member>,
    asking: BTreeMap<Did, Asking>,
    /// Whom the creator removed: they come back only if it says so.
    removed: BTreeSet<Did>,
    epoch: u64,
    ended: Option<End>,
}

impl Terms {
    /// What a charter says of them.
    pub fn of(charter: &Charter) -> Self {
        Self {
            creator: charter.creator.clone(),
            admit: charter.admit,
            capacity: usize::try_from(charter.capacity).unwrap_or(usize::MAX),
            expires_at: charter.expires_at,
        }
    }
}

impl Guild {
    /// A new guild, with its creator in it.
    pub fn new(terms: Terms, now: Timestamp) -> Self {
        let creator = Member { role: Role::Creator, key: None, heard: now };
        let members = BTreeMap::from([(terms.creator.clone(), creator)]);
        let (asking, removed) = (BTreeMap::new(), BTreeSet::new());
        Self { terms, members, asking, removed, epoch: 1, ended: None }
    }

    /// A guild whose creator has started again, with the members and the epoch it had. The secrets are gone, so it is in the next
    /// epoch.
    pub fn restored(
        terms: Terms,
        members: BTreeMap<Did, Member>,
        removed: BTreeSet<Did>,
        epoch: u64,
    ) -> Self {
        Self { terms, members, asking: BTreeMap::new(), removed, epoch: epoch.saturating_add(1), ended: None }
    }

    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Who is in it, by DID; nobody once it is over.
    pub fn members(&self) -> &BTreeMap<Did, Member> {
        &self.members
    }

    /// Who waits for the creator's answer, and as what it would come.
    pub fn asking(&self) -> impl Iterator<Item = (&Did, Role)> {
        self.asking.iter().map(|(who, asking)| (who, asking.role))
    }

    /// Whom the creator removed, and did not take in again.
    pub fn removed(&self) -> &BTreeSet<Did> {
        &self.removed
    }

    /// Grows with every change of members or roles: who left has no part in what comes after.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why it is over, if it is.
    pub fn ended(&self) -> Option<End> {
        self.ended
    }

    /// Whether somebody may do something now.
    ///
    /// # Errors
    /// [`Refusal::Over`], [`Refusal::NotIn`], [`Refusal::NotPermitted`].
    pub fn may(&self, who: &Did, action: Action) -> Result<Role, Refusal> {
        if self.ended.is_some() {
            return Err(Refusal::Over);
        }
        let role = self.members.get(who).ok_or_else(|| Refusal::NotIn(who.clone()))?.role;
        if role.may(action) { Ok(role) } else { Err(Refusal::NotPermitted { role, action }) }
    }

    /// Somebody wants to join. An invitation that was made by the creator, and until when it is good, has been checked to be its.
    ///
    /// # Errors
    /// Whatever is in the way; nothing has changed then.
    pub fn join(
        &mut self,
        who: &Did,
        role: Role,
        key: [u8; 32],
        invited_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        if self.ended.is_some() || now >= self.terms.expires_at {
            return Err(Refusal::Over);
        }
        if role == Role::Creator {
            return Err(Refusal::RoleNotOffered(role));
        }
        if self.members.contains_key(who) {
            return Err(Refusal::AlreadyIn(who.clone()));
        }
        if let Some(until) = invited_until.filter(|until| *until <= now) {
            return Err(Refusal::InvitationExpired(until));
        }
        let waits = match (self.terms.admit, invited_until) {
            (Admit::Open, _) | (_, Some(_)) => false,
            (Admit::Ask, None) => true,
            (Admit::Invite, None) => return Err(Refusal::InviteOnly),
        };
        self.has_room()?;
        if waits || self.removed.contains(who) {
            if self.asking.len() >= MAX_ASKING && !self.asking.contains_key(who) {
                return Err(Refusal::TooManyAsking);
            }
            self.asking.insert(who.clone(), Asking { role, key });
            return Ok(Change::Asked(who.clone()));
        }
        Ok(self.take_in(who, role, key, now))
    }

    /// A member that has started again comes with a new key: the old one is lost. Its role stays.
    ///
    /// # Errors
    /// [`Refusal::Over`], [`Refusal::NotIn`], [`Refusal::CreatorStays`].
    pub fn come_back(&mut self, who: &Did, key: [u8; 32], now: Timestamp) -> Result<Change, Refusal> {
        if self.ended.is_some() || now >= self.terms.expires_at {
            return Err(Refusal::Over);
        }
        self.other_than_creator(who)?;
        if let Some(member) = self.members.get_mut(who) {
            (member.key, member.heard) = (Some(key), now);
        }
        self.epoch += 1;
        Ok(Change::Returned(who.clone()))
    }

    /// The creator takes in somebody who has asked.
    ///
    /// # Errors
    /// As [`Guild::may`], [`Refusal::NotAsking`], [`Refusal::Full`].
    pub fn admit(&mut self, by: &Did, who: &Did, now: Timestamp) -> Result<Change, Refusal> {
        self.may(by, Action::Govern)?;
        if !self.asking.contains_key(who) {
            return Err(Refusal::NotAsking(who.clone()));
        }
        self.has_room()?;
        let Some(Asking { role, key }) = self.asking.remove(who) else {
            return Err(Refusal::NotAsking(who.clone()));
        };
        Ok(self.take_in(who, role, key, now))
    }

    /// The creator does not take in somebody who has asked.
    ///
    /// # Errors
    /// As [`Guild::may`], [`Refusal::NotAsking`].
    pub fn refuse(&mut self, by: &Did, who: &Did) -> Result<Change, Refusal> {
        self.may(by, Action::Govern)?;
        let asked = self.asking.remove(who);
        asked.map(|_| Change::Refused(who.clone())).ok_or_else(|| Refusal::NotAsking(who.clone()))
    }

    /// The creator removes a member.
    ///
    /// # Errors
    /// As [`Guild::may`], [`Refusal::NotIn`], [`Refusal::CreatorStays`].
    pub fn remove(&mut self, by: &Did, who: &Did) -> Result<Change, Refusal> {
        self.may(by, Action::Govern)?;
        self.other_than_creator(who)?;
        self.take_out(who);
        if self.removed.len() < MAX_REMOVED {
            self.removed.insert(who.clone());
        }
        Ok(Change::Removed(who.clone()))
    }

    /// The creator gives a member another role.
    ///
    /// # Errors
    /// As [`Guild::may`], [`Refusal::NotIn`], [`Refusal::CreatorStays`], [`Refusal::RoleNotOffered`].
    pub fn change_role(&mut self, by: &Did, who: &Did, role: Role) -> Result<Change, Refusal> {
        self.may(by, Action::Govern)?;
        self.other_than_creator(who)?;
        if role == Role::Creator {
            return Err(Refusal::RoleNotOffered(role));
        }
        if let Some(member) = self.members.get_mut(who) {
            member.role = role;
        }
        self.epoch += 1;
        Ok(Change::Role(who.clone(), role))
    }

    /// Somebody leaves; the creator takes the guild with it.
    ///
    /// # Errors
    /// As [`Guild::may`].
    pub fn leave(&mut self, who: &Did) -> Result<Change, Refusal> {
        if self.may(who, Action::Leave)? == Role::Creator {
            return Ok(self.end(End::Dissolved));
        }
        self.take_out(who);
        Ok(Change::Left(who.clone()))
    }

    /// The creator ends it.
    ///
    /// # Errors
    /// As [`Guild::may`].
    pub fn dissolve(&mut self, by: &Did) -> Result<Change, Refusal> {
        self.may(by, Action::Govern)?;
        Ok(self.end(End::Dissolved))
    }

    /// A member was heard.
    ///
    /// # Errors
    /// [`Refusal::Over`], [`Refusal::NotIn`].
    pub fn hear(&mut self, who: &Did, now: Timestamp) -> Result<(), Refusal> {
        if self.ended.is_some() {
            return Err(Refusal::Over);
        }
        let member = self.members.get_mut(who).ok_or_else(|| Refusal::NotIn(who.clone()))?;
        member.heard = member.heard.max(now);
        Ok(())
    }

    /// Time has passed: who is silent goes, and at its deadline the guild.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Change> {
        if self.ended.is_some() {
            return Vec::new();
        }
        if now >= self.terms.expires_at {
            return vec![self.end(End::Deadline)];
        }
        let silent = |member: &Member| now.duration_since(member.heard) > SILENCE;
        let gone: Vec<Did> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(who, _)| who.clone()).collect();
        if gone.contains(&self.terms.creator) {
            return vec![self.end(End::CreatorLost)];
        }
        for who in &gone {
            self.take_out(who);
        }
        gone.into_iter().map(Change::Evicted).collect()
    }

    /// When [`Guild::tick`] has something to do at the earliest.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.ended.is_none().then(|| {
            let silent = self.members.values().filter_map(|member| member.heard.checked_add(SILENCE).ok());
            silent.fold(self.terms.expires_at, Timestamp::min)
        })
    }

    fn has_room(&self) -> Result<(), Refusal> {
        let full = self.members.len() >= self.terms.capacity;
        if full { Err(Refusal::Full(self.terms.capacity)) } else { Ok(()) }
    }

    fn other_than_creator(&self, who: &Did) -> Result<(), Refusal> {
        match self.members.get(who) {
            None => Err(Refusal::NotIn(who.clone())),
            Some(member) if member.role == Role::Creator => Err(Refusal::CreatorStays),
            Some(_) => Ok(()),
        }
    }

    fn take_in(&mut self, who: &Did, role: Role, key: [u8; 32], now: Timestamp) -> Change {
        self.asking.remove(who);
        self.removed.remove(who);
        self.members.insert(who.clone(), Member { role, key: Some(key), heard: now });
        self.epoch += 1;
        Change::Joined(who.clone())
    }

    fn take_out(&mut self, who: &Did) {
        self.members.remove(who);
        self.epoch += 1;
    }

    fn end(&mut self, why: End) -> Change {
        self.ended = Some(why);
        self.members.clear();
        self.asking.clear();
        self.epoch += 1;
        Change::Ended(why)
    }
}
