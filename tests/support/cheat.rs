//! A member of other people's guilds that does its part as it likes: in a process of its own, as far as the program is concerned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes as Block;
use cid::Cid;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerostate::document::{
    AgentCard, Agreement, AnyEnvelope, Attestation, Commitment, Content as Digest, Cost, Draw, Envelope,
    Manifest, Measured, Receipt, content_id,
};
use zerostate::guild::{Bytes, Content, Guilds, OfferedKey, Refusal, Said, Told};
use zerostate::identity::{Did, Identity, PassphraseSource};
use zerostate::network::{Network, NetworkConfig, NetworkEvent, Source};
use zerostate::node::Home;
use zerostate::storage::Storage;

use super::Node;

/// What an executor signs, of what would be true.
pub type Lie = Arc<dyn Fn(Receipt, &Manifest) -> Receipt + Send + Sync>;

/// How it does its part.
#[derive(Clone)]
pub enum Part {
    /// Runs tasks: of an honest receipt of the same work it makes another.
    Executor { truth: Box<Receipt>, output: Vec<u8>, lie: Lie },
    /// Does not run the task again, whatever it says.
    Witness(Manner),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    AlwaysAgrees,
    AlwaysDisagrees,
    /// Commits to nothing that is, and when it is asked says what the others will have said.
    Copies,
    NeverCommits,
    NeverReveals,
    /// Says one thing in the guild and another to everybody, before that.
    VotesTwice,
    /// The same, at the moment when it is counted.
    VotesAgain,
    /// Says to everybody what it will say in the guild, and then another thing.
    VotesTwiceOutside,
    /// Agrees, and disagrees under twenty new names.
    ManyNames,
}

struct Given {
    storage: Storage,
    guilds: OnceLock<Guilds>,
}

impl Source for Given {
    fn size(&self, cid: &Cid) -> Option<u64> {
        self.storage.blocks().size(cid)
    }

    fn block(&self, cid: &Cid) -> BoxFuture<'_, Option<Block>> {
        let cid = *cid;
        Box::pin(async move { self.storage.blocks().get(&cid).await.ok().flatten() })
    }

    fn document(&self, _: &Cid) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async { None })
    }

    fn guild(&self, from: &Did, said: Arc<[u8]>) -> BoxFuture<'_, Option<Vec<u8>>> {
        let from = from.clone();
        Box::pin(async move { self.guilds.get()?.hear(&from, &said).await })
    }
}

/// A manifest, and what it has agreed to.
type Plan = (Envelope<Manifest>, Envelope<Agreement>);

/// It ends with this value.
pub struct Cheat {
    pub did: Did,
    inner: Arc<Inner>,
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
}

struct Inner {
    identity: Arc<Identity>,
    network: Network,
    guilds: Guilds,
    part: Mutex<Part>,
    /// What has been proposed to it.
    plans: Mutex<HashMap<(Cid, Cid), Plan>>,
    votes: Mutex<HashMap<Cid, Envelope<Attestation>>>,
    /// What it says of the same when it has revealed that.
    later: Mutex<HashMap<Cid, Envelope<Attestation>>>,
    offers: Mutex<Vec<OfferedKey>>,
    outcomes: Mutex<Vec<(String, String)>>,
    held: Mutex<Vec<tokio::sync::oneshot::Sender<Said>>>,
}

impl Drop for Cheat {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cheat {
    pub fn start(dir: &Path, part: Part) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        let Home { identity, storage } = Home::open(dir, &PassphraseSource::None).unwrap();
        let card = AgentCard::new(identity.did().clone(), "cheat", Timestamp::now());
        let card = Envelope::sign(&identity, &card).unwrap();
        let config = NetworkConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            mdns: false,
            ..NetworkConfig::default()
        };
        let given = Arc::new(Given { storage: storage.clone(), guilds: OnceLock::new() });
        let (teller, told) = mpsc::channel(1024);
        let (inner, events) = runtime.block_on(async {
            let source = Arc::clone(&given) as Arc<dyn Source>;
            let started =
                Network::start(&identity, config, source, card.bytes().clone(), &tracker, shutdown.clone());
            let (network, events) = started.await.unwrap();
            let guilds = Guilds::start(
                Arc::clone(&identity),
                storage.clone(),
                network.clone(),
                &tracker,
                shutdown.clone(),
                teller,
            );
            let guilds = guilds.await.unwrap();
            given.guilds.get_or_init(|| guilds.clone());
            let inner = Inner {
                identity: Arc::clone(&identity),
                network,
                guilds,
                part: Mutex::new(part),
                plans: Mutex::default(),
                votes: Mutex::default(),
                later: Mutex::default(),
                offers: Mutex::default(),
                outcomes: Mutex::default(),
                held: Mutex::default(),
            };
            (Arc::new(inner), events)
        });
        runtime.spawn(Arc::clone(&inner).follow(events));
        runtime.spawn(Arc::clone(&inner).hear(told));
        Self { did: identity.did().clone(), inner, runtime, shutdown }
    }

    pub fn connect(&self, node: &Node) {
        self.runtime.block_on(self.inner.network.connect(node.address())).unwrap();
    }

    pub fn become_(&self, part: Part) {
        *locked(&self.inner.part) = part;
    }

    /// What it was told that its guilds' witnesses came to: the state, and why.
    pub fn outcomes(&self) -> Vec<(String, String)> {
        locked(&self.inner.outcomes).clone()
    }
}

impl Inner {
    fn me(&self) -> &Did {
        self.identity.did()
    }

    async fn follow(self: Arc<Self>, mut events: mpsc::Receiver<NetworkEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                NetworkEvent::Document { document, .. } => {
                    if let AnyEnvelope::Manifest(manifest) = &*document {
                        tokio::spawn(Arc::clone(&self).offer(manifest.clone()));
                    }
                }
                NetworkEvent::Card { envelope, .. } => self.guilds.met(&envelope.document().did),
                _ => {}
            }
        }
    }

    /// Offers to take part, and stands by it.
    async fn offer(self: Arc<Self>, manifest: Envelope<Manifest>) {
        let runs = matches!(&*locked(&self.part), Part::Executor { .. });
        let offered = self.guilds.offer(&manifest.document().creator, manifest.id(), runs, !runs).await;
        // It stands until this node ends.
        locked(&self.offers).extend(offered.ok());
    }

    async fn hear(self: Arc<Self>, mut told: mpsc::Receiver<Told>) {
        while let Some(told) = told.recv().await {
            match told {
                Told::Offer { .. } => {}
                Told::Draw { reply, .. } => {
                    reply.send(Ok(([3; 32], 1))).ok();
                }
                Told::Word { guild, from, content, reply } => {
                    if let Content::Reveal { .. } = &content
                        && matches!(&*locked(&self.part), Part::Witness(Manner::NeverReveals))
                    {
                        locked(&self.held).push(reply);
                        continue;
                    }
                    reply.send(self.answer(guild, from, content)).ok();
                }
            }
        }
    }

    fn answer(self: &Arc<Self>, guild: Cid, from: Did, content: Content) -> Said {
        let plan = content.about().and_then(|manifest| locked(&self.plans).get(&(guild, *manifest)).cloned());
        match (content, plan) {
            (Content::Propose { manifest, envelope, executor, witnesses, draw }, _) => {
                let terms = Envelope::<Manifest>::open(&envelope).unwrap();
                let agreement = self.agreement(guild, manifest, executor, witnesses, draw);
                locked(&self.plans).insert((guild, manifest), (terms, agreement.clone()));
                Ok(Some(Content::Agree(agreement.bytes().to_vec())))
            }
            (Content::Begin { .. }, Some((manifest, agreement))) => {
                tokio::spawn(Arc::clone(self).run(guild, from, manifest, agreement));
                Ok(None)
            }
            (Content::Receipt { receipt, .. }, Some((manifest, _))) => {
                let receipt = Envelope::<Receipt>::open(&receipt).unwrap();
                let creator = manifest.document().creator.clone();
                tokio::spawn(Arc::clone(self).witness(guild, creator, *manifest.id(), receipt));
                Ok(None)
            }
            (Content::Reveal { manifest, .. }, _) => {
                let vote = locked(&self.votes).get(&manifest).cloned().unwrap();
                if let Some(other) = locked(&self.later).remove(&manifest) {
                    tokio::spawn(Arc::clone(self).publish(other));
                }
                Ok(Some(Content::Attest { manifest, attestation: vote.bytes().to_vec() }))
            }
            (Content::Outcome { state, why, .. }, _) => {
                locked(&self.outcomes).push((state, why.join("; ")));
                Ok(None)
            }
            _ => Err(Refusal::Busy),
        }
    }

    fn agreement(
        &self,
        guild: Cid,
        manifest: Cid,
        executor: Did,
        witnesses: Vec<Did>,
        draw: Draw,
    ) -> Envelope<Agreement> {
        let draw = (executor == *self.me()).then_some(draw);
        let (member, agreed_at) = (self.me().clone(), Timestamp::now());
        let agreement = Agreement { guild, manifest, executor, witnesses, draw, member, agreed_at };
        Envelope::sign(&self.identity, &agreement).unwrap()
    }

    async fn run(
        self: Arc<Self>,
        guild: Cid,
        creator: Did,
        manifest: Envelope<Manifest>,
        agreement: Envelope<Agreement>,
    ) {
        let Part::Executor { truth, output, lie } = locked(&self.part).clone() else { return };
        let receipt = lie(self.honest(&truth, &manifest, &agreement), manifest.document());
        let receipt = Envelope::sign(&self.identity, &receipt).unwrap();
        let said = Content::Receipt {
            manifest: *manifest.id(),
            receipt: receipt.bytes().to_vec(),
            agreement: Bytes(agreement.bytes().to_vec()),
            output: Some(Bytes(output)),
        };
        let to = agreement.document().witnesses.iter().cloned().chain([creator]).collect();
        self.guilds.tell(&guild, to, said).await.unwrap();
    }

    /// What it would sign if it were honest.
    fn honest(
        &self,
        truth: &Receipt,
        manifest: &Envelope<Manifest>,
        agreement: &Envelope<Agreement>,
    ) -> Receipt {
        let (terms, now, duration) = (manifest.document(), Timestamp::now(), Duration::from_micros(1));
        Receipt {
            task_id: terms.task_id.clone(),
            manifest: *manifest.id(),
            artifact: terms.artifact.clone(),
            guild: Some(agreement.document().guild.to_string()),
            agreement: Some(*agreement.id()),
            executor: self.me().clone(),
            requester: terms.creator.clone(),
            started_at: now - duration,
            finished_at: now,
            duration_ns: 1_000,
            cost: Cost::of(&terms.payment, duration, truth.peak_memory_bytes, truth.fuel_used),
            nonce: terms.nonce.clone(),
            ..truth.clone()
        }
    }

    async fn publish(self: Arc<Self>, vote: Envelope<Attestation>) {
        self.network.publish(&AnyEnvelope::Attestation(vote)).await.unwrap();
    }

    async fn witness(self: Arc<Self>, guild: Cid, creator: Did, manifest: Cid, receipt: Envelope<Receipt>) {
        let Part::Witness(manner) = locked(&self.part).clone() else { return };
        let agrees = manner != Manner::AlwaysDisagrees;
        let vote = vote(&self.identity, &receipt, agrees);
        let committed_to = if manner == Manner::Copies { content_id(b"nothing") } else { *vote.id() };
        locked(&self.votes).insert(manifest, vote.clone());
        let mut others = Vec::new();
        match manner {
            Manner::VotesTwice => others.push(self::vote(&self.identity, &receipt, false)),
            Manner::VotesTwiceOutside => {
                others.extend([vote.clone(), self::vote(&self.identity, &receipt, false)]);
            }
            Manner::VotesAgain => {
                locked(&self.later).insert(manifest, self::vote(&self.identity, &receipt, false));
            }
            Manner::ManyNames => {
                others.extend((0..20).map(|_| self::vote(&Identity::generate().unwrap(), &receipt, false)));
            }
            _ => {}
        }
        for other in others {
            Arc::clone(&self).publish(other).await;
        }
        if manner == Manner::NeverCommits {
            return;
        }
        let commitment = Commitment::to(&committed_to, *receipt.id(), self.me().clone(), Timestamp::now());
        let commitment = Envelope::sign(&self.identity, &commitment).unwrap().bytes().to_vec();
        self.guilds.tell(&guild, vec![creator], Content::Commit { manifest, commitment }).await.unwrap();
    }
}

/// What somebody says of a receipt who has not run it again.
fn vote(by: &Identity, receipt: &Envelope<Receipt>, agrees: bool) -> Envelope<Attestation> {
    let claim = receipt.document();
    let mut measured = Measured::from(claim);
    if !agrees {
        measured.output = Digest::of(b"whatever");
    }
    let (environment, me) = (claim.environment.clone(), by.did().clone());
    let said =
        Attestation::compare((receipt.id(), claim), &measured, environment, None, me, Timestamp::now());
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).unwrap();
    Envelope::sign(by, &Attestation { salt: Some(hex::encode(salt)), ..said }).unwrap()
}
