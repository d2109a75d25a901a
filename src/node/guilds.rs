//! What each command about guilds does, how guilds look, and what of them waits for the operator.

use std::collections::HashMap;
use std::sync::Arc;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::commands::{ambiguous, long_enough};
use crate::api::{
    ApiError, ErrorKind, GuildAnswer, GuildAsking, GuildCommand, GuildLine, GuildMember, GuildView,
    InboxItem, Missed, PeerView,
};
use crate::config::Admit;
use crate::document::{Charter, DocumentError, Envelope, Untrusted};
use crate::guild::{Founding, GuildError, GuildState, Guilds, INVITATION, Line, Refusal, Role};
use crate::identity::Did;
use crate::network::{Network, NetworkState};

/// Lines of each channel in a snapshot; the rest is asked for.
const LINES_SHOWN: usize = 50;
/// Hex digits of an inbox id.
const INBOX_ID: usize = 12;

pub(super) struct GuildCommands {
    pub(super) guilds: Guilds,
    pub(super) network: Network,
    /// Who this node is, and what it calls itself.
    pub(super) me: (Did, Untrusted),
    /// Who is admitted, where nothing else is said.
    pub(super) admit: Admit,
}

impl GuildCommands {
    pub(super) async fn answer(&self, command: GuildCommand) -> Result<GuildAnswer, ApiError> {
        let guilds = &self.guilds;
        match command {
            GuildCommand::Create { name, ttl_ms, capacity, admit } => {
                let founding = Founding {
                    name,
                    ttl: ttl_ms.map_or(Charter::TTL, millis),
                    capacity: capacity.unwrap_or(Charter::CAPACITY),
                    admit: admit.unwrap_or(self.admit),
                };
                let founded = guilds.create(founding).await?;
                let (guild_id, expires_at) = (founded.id.to_string(), founded.expires_at);
                Ok(GuildAnswer::Founded { guild_id, expires_at, invitation: founded.invitation })
            }
            GuildCommand::Join { place, role } => {
                let joined = guilds.join(&self.place(&place)?, parse_role(&role)?).await?;
                Ok(GuildAnswer::Joined {
                    guild_id: joined.id.to_string(),
                    name: Untrusted::new(&joined.charter.document().name),
                    role: joined.role.to_string(),
                    state: if joined.inside { "member" } else { "asking" }.to_owned(),
                })
            }
            GuildCommand::Show { place } => {
                let names = self.names();
                let view = match self.find(&place) {
                    Ok(state) => view(&state, &names),
                    Err(_) => outside(&guilds.charter(&self.place(&place)?).await?),
                };
                Ok(GuildAnswer::Guild(Box::new(view)))
            }
            GuildCommand::Open => Ok(GuildAnswer::Guilds(guilds.open().iter().map(outside).collect())),
            GuildCommand::List => {
                let names = self.names();
                Ok(GuildAnswer::Guilds(guilds.list().iter().map(|state| view(state, &names)).collect()))
            }
            GuildCommand::Invite { guild_id, ttl_ms } => {
                let state = self.find(&guild_id)?;
                let ends = state.charter.document().expires_at;
                let until = ttl_ms.and_then(|ttl| Timestamp::now().checked_add(millis(ttl)).ok());
                let expires_at = until.map_or(ends, |until| until.min(ends));
                let invitation = guilds.invite(&state.id, expires_at).await?;
                Ok(GuildAnswer::Invitation { guild_id: state.id.to_string(), invitation, expires_at })
            }
            GuildCommand::Leave { guild_id } => {
                let id = self.find(&guild_id)?.id;
                done(&id, guilds.leave(&id).await)
            }
            GuildCommand::Dissolve { guild_id } => {
                let id = self.find(&guild_id)?.id;
                done(&id, guilds.dissolve(&id).await)
            }
            GuildCommand::Admit { guild_id, did, yes } => {
                let state = self.find(&guild_id)?;
                let asking = state.asking.iter().map(|(did, ..)| did);
                let who = parse_did(&did, asking)?;
                done(&state.id, guilds.admit(&state.id, who, yes).await)
            }
            GuildCommand::Remove { guild_id, did } => {
                let state = self.find(&guild_id)?;
                let who = parse_did(&did, state.members.iter().map(|member| &member.did))?;
                done(&state.id, guilds.remove(&state.id, who).await)
            }
            GuildCommand::Role { guild_id, did, role } => {
                let (state, role) = (self.find(&guild_id)?, parse_role(&role)?);
                let who = parse_did(&did, state.members.iter().map(|member| &member.did))?;
                done(&state.id, guilds.change_role(&state.id, who, role).await)
            }
            GuildCommand::Say { guild_id, text } => {
                let id = self.find(&guild_id)?.id;
                let missed = guilds.say(&id, text).await?.into_iter();
                let missed = missed.map(|(did, reason)| Missed { did, reason: Untrusted::new(&reason) });
                Ok(GuildAnswer::Said { guild_id: id.to_string(), missed: missed.collect() })
            }
            GuildCommand::Log { guild_id, after } => {
                let (state, names) = (self.find(&guild_id)?, self.names());
                let lines = state.log.iter().filter(|line| line.number > after);
                Ok(GuildAnswer::Lines(lines.map(|line| line_view(line, &names)).collect()))
            }
        }
    }

    /// Says yes or no to a join request in the inbox; `None` when the id is of something else.
    pub(super) async fn decide(&self, inbox_id: &str, accept: bool) -> Option<Result<(), ApiError>> {
        let states = self.guilds.list();
        let asked = states.iter().find_map(|state| {
            let who = state.asking.iter().find(|(who, ..)| join_request_id(&state.id, who) == inbox_id);
            who.map(|(who, ..)| (state.id, who.clone()))
        });
        let (guild, who) = asked?;
        Some(self.guilds.admit(&guild, who, accept).await.map_err(ApiError::from))
    }

    fn names(&self) -> Names {
        Names::new(&self.network.state().borrow(), &self.me)
    }

    /// A guild this node is in, by its id or the beginning of it.
    pub(super) fn find(&self, prefix: &str) -> Result<Arc<GuildState>, ApiError> {
        long_enough("guild", prefix)?;
        let mut found = self.guilds.list();
        found.retain(|state| state.id.to_string().starts_with(prefix));
        match (found.pop(), found.is_empty()) {
            (Some(state), true) => Ok(state),
            (Some(_), false) => Err(ambiguous("guild", prefix)),
            (None, _) => Err(GuildError::NotHere(Untrusted::new(prefix)).into()),
        }
    }

    /// Where to join: an id that was announced may be cut.
    fn place(&self, text: &str) -> Result<String, ApiError> {
        if text.trim().starts_with(INVITATION) {
            return Ok(text.to_owned());
        }
        long_enough("guild", text)?;
        let open: Vec<String> = self.guilds.open().iter().map(|charter| charter.id().to_string()).collect();
        match open.iter().filter(|id| id.starts_with(text)).collect::<Vec<_>>().as_slice() {
            [only] => Ok((*only).clone()),
            [] => Ok(text.to_owned()),
            _ => Err(ambiguous("guild", text)),
        }
    }
}

fn millis(millis: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn done(guild: &Cid, outcome: Result<(), GuildError>) -> Result<GuildAnswer, ApiError> {
    outcome?;
    Ok(GuildAnswer::Done { guild_id: guild.to_string() })
}

fn parse_role(text: &str) -> Result<Role, ApiError> {
    text.parse().map_err(|refusal: Refusal| GuildError::from(refusal).into())
}

/// A DID, or the end of one of those that it can be: the beginnings are all alike.
fn parse_did<'a>(text: &str, known: impl Iterator<Item = &'a Did>) -> Result<Did, ApiError> {
    if let Ok(did) = text.parse() {
        return Ok(did);
    }
    let fits: Vec<&Did> = known.filter(|did| text.len() >= 4 && did.as_str().ends_with(text)).collect();
    match fits.as_slice() {
        [only] => Ok((*only).clone()),
        _ => Err(ApiError::new(
            ErrorKind::Input,
            format!("\"{}\" is neither a DID (did:key:z6Mk…) nor the end of one here", Untrusted::new(text)),
        )),
    }
}

/// The names of those who are connected, and this node's own.
pub(super) struct Names(HashMap<Did, Untrusted>);

impl Names {
    /// As the peers' cards say.
    fn new(network: &NetworkState, me: &(Did, Untrusted)) -> Self {
        let cards = network.peers.iter().filter_map(|peer| peer.card.as_ref());
        let named = cards.map(|card| (card.signer().clone(), Untrusted::new(&card.document().name)));
        Self(named.chain([me.clone()]).collect())
    }

    /// As peers are shown.
    pub(super) fn of(peers: &[Arc<PeerView>], me: &(Did, Untrusted)) -> Self {
        let named = peers.iter().filter_map(|peer| peer.did.clone().zip(peer.name.clone()));
        Self(named.chain([me.clone()]).collect())
    }

    fn get(&self, did: &Did) -> Option<Untrusted> {
        self.0.get(did).cloned()
    }
}

/// A guild this node is in, with the last lines of its channel.
pub(super) fn view(state: &GuildState, names: &Names) -> GuildView {
    let members = state.members.iter().map(|member| GuildMember {
        did: member.did.clone(),
        name: names.get(&member.did),
        role: member.role.to_string(),
        heard_at: member.heard,
    });
    let asking = state.asking.iter().map(|(did, role, since)| GuildAsking {
        did: did.clone(),
        name: names.get(did),
        role: role.to_string(),
        since: *since,
    });
    let lines = state.log.iter().skip(state.log.len().saturating_sub(LINES_SHOWN));
    GuildView {
        role: Some(state.role.to_string()),
        state: if state.inside { "member" } else { "asking" }.to_owned(),
        epoch: state.epoch,
        members: members.collect(),
        asking: asking.collect(),
        lines: lines.map(|line| line_view(line, names)).collect(),
        lines_total: state.lines,
        ..outside(&state.charter)
    }
}

/// What somebody outside can tell.
fn outside(charter: &Envelope<Charter>) -> GuildView {
    let terms = charter.document();
    GuildView {
        guild_id: charter.id().to_string(),
        name: Untrusted::new(&terms.name),
        creator: terms.creator.clone(),
        role: None,
        state: "outside".to_owned(),
        admit: terms.admit,
        capacity: terms.capacity,
        created_at: terms.created_at,
        expires_at: terms.expires_at,
        epoch: 0,
        members: Vec::new(),
        asking: Vec::new(),
        lines: Vec::new(),
        lines_total: 0,
    }
}

fn line_view(line: &Line, names: &Names) -> GuildLine {
    GuildLine {
        number: line.number,
        at: line.at,
        did: line.who.clone(),
        name: names.get(&line.who),
        what: line.what.to_owned(),
        text: line.text.clone(),
    }
}

/// Join requests, as they wait in the inbox.
pub(super) fn join_requests(state: &GuildState) -> impl Iterator<Item = InboxItem> {
    let name = &state.charter.document().name;
    state.asking.iter().map(move |(did, role, since)| InboxItem {
        inbox_id: join_request_id(&state.id, did),
        kind: "join-request".to_owned(),
        from: did.clone(),
        text: Untrusted::new(&format!("wants to join {name} as {role}")),
        subject: state.id.to_string(),
        at: *since,
    })
}

fn join_request_id(guild: &Cid, who: &Did) -> String {
    let digest = hex::encode(Sha256::digest([guild.to_bytes().as_slice(), who.as_str().as_bytes()].concat()));
    digest.get(..INBOX_ID).unwrap_or_default().to_owned()
}

impl From<GuildError> for ApiError {
    fn from(error: GuildError) -> Self {
        let kind = match &error {
            GuildError::Refused(
                Refusal::NoSuchRole(_) | Refusal::RoleNotOffered(_) | Refusal::TooLong { .. },
            )
            | GuildError::NotAGuild(_)
            | GuildError::Invitation(_)
            | GuildError::Document(DocumentError::Faults(_)) => ErrorKind::Input,
            GuildError::NotHere(_) | GuildError::Unknown(_) | GuildError::Refused(Refusal::NoSuchGuild) => {
                ErrorKind::NotFound
            }
            GuildError::Stopping => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        };
        let hint = match &error {
            GuildError::NotHere(_) => Some("`zerostate guild list` shows those it is in"),
            GuildError::Unknown(_) => {
                Some("connect to a node that knows it, or ask its creator for an invitation")
            }
            GuildError::Refused(Refusal::InviteOnly | Refusal::InvitationExpired(_)) => {
                Some("ask its creator for an invitation (`zerostate guild invite GUILD`)")
            }
            _ => None,
        };
        let error = Self::new(kind, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
