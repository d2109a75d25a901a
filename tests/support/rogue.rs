//! A node that keeps no rules: it says what it likes in the guild protocol, and writes down all that is said to it.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use cid::Cid;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerostate::document::{AgentCard, Envelope};
use zerostate::guild::{Context, EpochSecret, GuildKey, Opener, Sealed, Sealer, Wrapped};
use zerostate::identity::{Did, Identity};
use zerostate::network::{Network, NetworkConfig, Source};

use super::{Node, eventually};

/// What was said to it, and by whom.
#[derive(Default)]
struct Ears(Mutex<Vec<(Did, Vec<u8>)>>);

impl Source for Ears {
    fn size(&self, _: &Cid) -> Option<u64> {
        None
    }

    fn block(&self, _: &Cid) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async { None })
    }

    fn document(&self, _: &Cid) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async { None })
    }

    fn guild(&self, from: &Did, said: Arc<[u8]>) -> BoxFuture<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((from.clone(), said.to_vec()));
        Box::pin(async { Some(b"\"done\"".to_vec()) })
    }
}

pub struct Rogue {
    pub identity: Identity,
    ears: Arc<Ears>,
    network: Network,
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Its seat in a guild, with the keys of the epoch it last heard of.
pub struct Seated {
    pub guild: Cid,
    key: GuildKey,
    pub epoch: u64,
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Rogue {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (identity, ears) = (Identity::generate().unwrap(), Arc::new(Ears::default()));
        let card = AgentCard::new(identity.did().clone(), "rogue", jiff::Timestamp::now());
        let card = Envelope::sign(&identity, &card).unwrap();
        let config = NetworkConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            mdns: false,
            ..NetworkConfig::default()
        };
        let shutdown = CancellationToken::new();
        let (source, tracker) = (Arc::clone(&ears) as Arc<dyn Source>, TaskTracker::new());
        let started =
            Network::start(&identity, config, source, card.bytes().clone(), &tracker, shutdown.clone());
        let (network, mut events) = runtime.block_on(started).unwrap();
        runtime.spawn(async move { while events.recv().await.is_some() {} });
        Self { identity, ears, network, runtime, shutdown }
    }

    pub fn did(&self) -> &Did {
        self.identity.did()
    }

    pub fn connect(&self, node: &Node) {
        self.runtime.block_on(self.network.connect(node.address())).unwrap();
    }

    /// Says something to a node, and gives its answer.
    pub fn ask(&self, node: &Node, guild: &Cid, what: &Value) -> Value {
        let said = json!({ "about": guild.to_string(), "what": what }).to_string();
        serde_json::from_slice(&self.say(node, said.as_bytes())).unwrap()
    }

    pub fn say(&self, node: &Node, said: &[u8]) -> Vec<u8> {
        let peer = node.ready["peer_id"].as_str().unwrap();
        self.runtime.block_on(self.network.guild(peer, said.into())).unwrap()
    }

    /// Everything that was said to it so far, each from whom.
    pub fn heard(&self) -> Vec<(Did, Vec<u8>)> {
        self.ears.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, and forgets it.
    pub fn take_heard(&self) -> Vec<(Did, Vec<u8>)> {
        std::mem::take(&mut *self.ears.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it heard, as long as it is of this kind.
    pub fn heard_as(&self, kind: &str) -> Vec<Value> {
        let said = self.heard();
        let said = said.iter().map(|(_, said)| serde_json::from_slice::<Value>(said).unwrap());
        said.map(|said| said["what"][kind].clone()).filter(|what| !what.is_null()).collect()
    }

    /// Asks to join, which must be granted at once.
    pub fn join(&self, node: &Node, guild: &Cid, role: &str, invitation: Option<&str>) -> Seated {
        let key = GuildKey::new(rand());
        let public = BASE64.encode(key.public());
        let what = json!({ "join": { "role": role, "key": public, "invitation": invitation } });
        let answer = self.ask(node, guild, &what);
        assert!(answer["notice"].is_string(), "{answer}");
        let (epoch, secret) = self.opened(&key, guild, &answer["notice"]).expect("a notice with a secret");
        self.seated(*guild, key, epoch, secret)
    }

    fn seated(&self, guild: Cid, key: GuildKey, epoch: u64, secrets: [EpochSecret; 2]) -> Seated {
        let context = Context { guild, epoch };
        let [mine, theirs] = secrets;
        let sealer = Sealer::new(&mine, context, self.did().clone()).unwrap();
        Seated { guild, key, epoch, sealer, opener: Opener::new(theirs, context) }
    }

    /// The epoch and secret in a notice, if its key opens it.
    fn opened(&self, key: &GuildKey, guild: &Cid, notice: &Value) -> Option<(u64, [EpochSecret; 2])> {
        let envelope: Value = serde_json::from_slice(&BASE64.decode(notice.as_str()?).ok()?).ok()?;
        let payload: Value =
            serde_json::from_slice(&BASE64.decode(envelope["payload"].as_str()?).ok()?).ok()?;
        if payload["guild"] != guild.to_string() {
            return None;
        }
        let epoch = payload["epoch"].as_u64()?;
        let wrapped: Wrapped = serde_json::from_value(payload["news"]["roster"]["secret"].clone()).ok()?;
        let open = || key.open(&wrapped, &Context { guild: *guild, epoch }, self.did()).ok();
        Some((epoch, [open()?, open()?]))
    }

    /// Takes on an epoch of which it is told sooner or later.
    pub fn keep_up(&self, seat: Seated, epoch: u64) -> Seated {
        let (epoch, secrets) = eventually("it is told of the epoch", || {
            let notices = self.heard_as("notice");
            let mut opened = notices.iter().filter_map(|notice| self.opened(&seat.key, &seat.guild, notice));
            opened.find(|(found, _)| *found == epoch)
        });
        self.seated(seat.guild, seat.key, epoch, secrets)
    }

    /// An envelope around anything, signed by itself.
    pub fn sign(&self, payload_type: &str, payload: &Value) -> String {
        let payload = payload.to_string();
        let pae = format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len());
        let signature = BASE64.encode(self.identity.sign(pae.as_bytes()));
        let envelope = format!(
            r#"{{"payloadType":"{payload_type}","payload":"{}","signatures":[{{"keyid":"{}","sig":"{signature}"}}]}}"#,
            BASE64.encode(payload),
            self.did(),
        );
        BASE64.encode(envelope)
    }
}

/// A sealed message as something to say.
pub fn message(sealed: &Sealed) -> Value {
    json!({ "message": sealed })
}

fn rand() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
