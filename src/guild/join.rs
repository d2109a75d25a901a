//! The way into a guild: its charter is found, its creator asked.

use cid::Cid;
use futures::future::join_all;
use jiff::Timestamp;

use super::handle::{Guilds, Joined};
use super::wire::{Ask, Invitation, Reply, What};
use super::worker::{Seat, Worker};
use super::{GuildError, GuildKey, INVITATION, Refusal, Role, invitation};
use crate::document::{Charter, Envelope, Untrusted};
use crate::identity::Did;
use crate::network::NetworkError;

/// Peers that are asked for a charter, before the DHT is.
const ASKED: usize = 16;

impl Guilds {
    /// Joins a guild, named by its id or an invitation.
    ///
    /// # Errors
    /// [`GuildError::Refused`] with the creator's reason, [`GuildError::Unknown`] when nobody knows it, [`GuildError::NotAGuild`],
    /// [`GuildError::Invitation`], [`GuildError::Network`] when its creator cannot be reached.
    pub async fn join(&self, place: &str, role: Role) -> Result<Joined, GuildError> {
        let shared = &self.shared;
        self.has_room()?;
        let (id, invited) = match read_place(place)? {
            Place::Guild(id) => (id, None),
            Place::Invited(invitation) => (invitation.guild, Some(invitation)),
        };
        if self.get(&id).is_some() {
            return Err(Refusal::AlreadyIn(shared.me().clone()).into());
        }
        if let Some(late) = invited.as_ref().filter(|invited| invited.expires_at <= Timestamp::now()) {
            return Err(Refusal::InvitationExpired(late.expires_at).into());
        }
        let charter = self.find_charter(&id, invited.as_ref()).await?;
        let key = GuildKey::new(shared.random()?);
        let text = invited.is_some().then(|| place.trim().to_owned());
        let ask = What::Join { role: role.as_str().to_owned(), key: key.public(), invitation: text.clone() };
        let creator = charter.document().creator.clone();
        let reply = shared.send(&creator, &Ask::new(id, ask), &[]).await?;
        let mut worker = Worker::new(shared, charter.clone(), Seat::outside(role, key, text));
        let inside = match reply {
            Reply::Wait => {
                worker.keep(Vec::new()).await?;
                false
            }
            Reply::Notice(notice) => {
                worker.heed(&notice).await?;
                worker.is_inside()?;
                true
            }
            Reply::Refused(refusal) => {
                if matches!(refusal, Refusal::NoSuchGuild | Refusal::Over) {
                    shared.directory().forget(&id);
                }
                return Err(refusal.into());
            }
            _ => return Err(unexpected(&creator)),
        };
        worker.spawn()?;
        Ok(Joined { id, charter, role, inside })
    }

    /// A guild's charter, from whoever knows it.
    ///
    /// # Errors
    /// As [`Guilds::join`].
    pub async fn charter(&self, place: &str) -> Result<Envelope<Charter>, GuildError> {
        match read_place(place)? {
            Place::Guild(id) => match self.get(&id) {
                Some(state) => Ok(state.charter.clone()),
                None => self.find_charter(&id, None).await,
            },
            Place::Invited(invitation) => self.find_charter(&invitation.guild, Some(&invitation)).await,
        }
    }

    async fn find_charter(
        &self,
        id: &Cid,
        invited: Option<&Invitation>,
    ) -> Result<Envelope<Charter>, GuildError> {
        let network = &self.shared.network;
        if let Some(invited) = invited {
            self.meet(invited).await?;
            let found = self.charter_from(&invited.creator, id).await?;
            return found.ok_or_else(|| Refusal::NoSuchGuild.into());
        }
        if let Some(known) = self.shared.directory().get(id) {
            return Ok(known);
        }
        let peers: Vec<Did> =
            network.state().borrow().peers.iter().filter_map(|peer| did_of(peer)).take(ASKED).collect();
        if let Some(found) = self.first_charter(&peers, id).await {
            return Ok(found);
        }
        let providers = network.providers(id).await?;
        let providers: Vec<Did> = providers.iter().filter_map(|peer| Did::from_peer_id(peer).ok()).collect();
        let found = self.first_charter(&providers, id).await;
        found.ok_or_else(|| GuildError::Unknown(Untrusted::new(&id.to_string())))
    }

    async fn first_charter(&self, peers: &[Did], id: &Cid) -> Option<Envelope<Charter>> {
        let asked = peers.iter().map(|peer| async move {
            self.charter_from(peer, id).await.unwrap_or_else(|error| {
                tracing::debug!(%peer, %error, "no charter from this peer");
                None
            })
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    async fn charter_from(&self, peer: &Did, id: &Cid) -> Result<Option<Envelope<Charter>>, GuildError> {
        match self.shared.send(peer, &Ask::new(*id, What::Charter), &[]).await? {
            Reply::Charter(bytes) => {
                let charter = Envelope::<Charter>::open(&bytes)?;
                Ok((charter.id() == id).then_some(charter))
            }
            _ => Ok(None),
        }
    }

    /// Connects to the creator at one of the addresses of an invitation.
    async fn meet(&self, invited: &Invitation) -> Result<(), GuildError> {
        let network = &self.shared.network;
        let peer = invited.creator.peer_id();
        let connected = || network.state().borrow().peers.iter().any(|known| known.peer_id == peer);
        if connected() {
            return Ok(());
        }
        let mut last = NetworkError::NotConnected(peer.clone());
        for address in &invited.addresses {
            match network.connect(&format!("{address}/p2p/{peer}")).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        network.reach(&peer).await.map_err(|_| last.into())
    }
}

fn did_of(peer: &crate::network::PeerState) -> Option<Did> {
    peer.did.as_ref().filter(|_| !peer.guest)?.parse().ok()
}

pub(super) fn unexpected(who: &Did) -> GuildError {
    let reason = "it answered with something else than was asked for".to_owned();
    NetworkError::Request { peer: who.peer_id(), reason }.into()
}

enum Place {
    Guild(Cid),
    Invited(Invitation),
}

fn read_place(text: &str) -> Result<Place, GuildError> {
    let text = text.trim();
    if text.starts_with(INVITATION) {
        return invitation::read(text).map(Place::Invited);
    }
    let id: Result<Cid, _> = text.parse();
    id.map(Place::Guild).map_err(|_| GuildError::NotAGuild(Untrusted::new(text)))
}
