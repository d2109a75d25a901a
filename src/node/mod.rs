//! The composition root: starts every part in order, watches over them, stops them in the opposite order.
//!
//! ```text
//!   start:  data directory ─► key ─► storage ─► runners ─► network ─► guilds ─► artifacts ─► tasks ─► reducer ─► socket
//!   stop:   socket ◄─ reducer ◄─ tasks ◄─ guilds ◄─ network ◄─ storage, within two seconds
//! ```

mod commands;
mod failures;
mod guilds;
mod peers;
mod reducer;
mod traffic;

pub use commands::{attach_stdin, report};

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Link};
use crate::artifact::{ArtifactError, Artifacts, ArtifactsConfig};
use crate::config::{Accept, Attest, Config, Size, Span};
use crate::document::{AgentCard, DocumentError, Envelope, Untrusted};
use crate::execution::{ExecutionError, Runners, RunnersConfig};
use crate::guild::{GuildError, Guilds};
use crate::identity::{Identity, KeyFileError, PassphraseSource, load_or_create};
use crate::network::{Network, NetworkConfig, NetworkError, Source};
use crate::storage::{DataDir, Happening, Storage, StorageError, Write};
use crate::task::{Context, Policy, TaskError, Tasks};
use crate::telemetry::RecentLog;

/// How long the parts have to end by themselves.
const STOP_WITHIN: Duration = Duration::from_millis(1_800);
/// Peers of earlier runs that are dialled at the start.
const REMEMBERED: u32 = 16;
/// What guilds hear about tasks and is not taken up yet.
const TOLD: usize = 1024;

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("{0}")]
    Key(#[from] KeyFileError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Network(#[from] NetworkError),
    #[error("{0}")]
    Execution(#[from] ExecutionError),
    #[error("{0}")]
    Artifact(Box<ArtifactError>),
    #[error("{0}")]
    Task(#[from] TaskError),
    #[error("the guilds: {0}")]
    Guild(Box<GuildError>),
    #[error("the agent card: {0}")]
    Card(#[from] DocumentError),
    #[error("cannot open the socket {path}: {source}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot serve metrics on {address}: {source}")]
    Metrics { address: SocketAddr, source: io::Error },
}

impl From<GuildError> for NodeError {
    fn from(error: GuildError) -> Self {
        Self::Guild(Box::new(error))
    }
}

impl From<ArtifactError> for NodeError {
    fn from(error: ArtifactError) -> Self {
        Self::Artifact(Box::new(error))
    }
}

/// A data directory that this process holds: its key and its storage. Enough to run something; a [`Node`] needs more.
pub struct Home {
    pub identity: Arc<Identity>,
    pub storage: Storage,
}

impl Home {
    /// Locks the directory, opens (or makes) the key and the database in it.
    ///
    /// # Errors
    /// [`NodeError`] naming what is in the way; a key or database that cannot be used is left as it is.
    pub fn open(data_dir: &Path, passphrase: &PassphraseSource<'_>) -> Result<Self, NodeError> {
        // Whatever is made in there is the owner's alone.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let directory = DataDir::lock(data_dir)?;
        let identity = load_or_create(&data_dir.join("keys").join("node.pem"), passphrase)?;
        Ok(Self { identity: Arc::new(identity), storage: Storage::open(directory)? })
    }

    /// The artifacts in it, without a network.
    ///
    /// # Errors
    /// When the configuration names a gateway that is none.
    pub fn artifacts(&self, config: &Config) -> Result<Artifacts, NodeError> {
        Ok(Artifacts::new(self.storage.clone(), None, &artifacts_config(config))?)
    }

    /// Task execution without a network, for a single run.
    ///
    /// # Errors
    /// When runners cannot be started.
    pub fn tasks_alone(
        &self,
        artifacts: &Artifacts,
        config: &Config,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Tasks, NodeError> {
        let runners = Runners::new(runners_config(config, self.storage.directory()))?;
        let policy = Policy {
            accept: Accept::Never,
            attest_always: false,
            self_execute: true,
            audit: 0,
            capabilities: Vec::new(),
        };
        let (identity, storage) = (Arc::clone(&self.identity), self.storage.clone());
        let context = Context::new(identity, storage, artifacts.clone(), runners, None, None, policy);
        Ok(Tasks::alone(context, tracker, shutdown))
    }
}

/// A running node.
pub struct Node {
    link: Link,
    identity: Arc<Identity>,
    storage: Storage,
    network: Network,
    socket: PathBuf,
    metrics: Option<SocketAddr>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Node {
    /// Starts everything. When it returns, the node listens, answers on its socket and has taken up unfinished tasks.
    ///
    /// # Errors
    /// [`NodeError`]; whatever had been started is stopped again.
    pub async fn start(home: Home, config: Config, log: RecentLog) -> Result<Self, NodeError> {
        let shutdown = CancellationToken::new();
        watch_panics();
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(shutdown.clone());
        let started = Self::start_parts(home, config, log, &shutdown).await;
        if started.is_err() {
            shutdown.cancel();
        }
        started
    }

    async fn start_parts(
        home: Home,
        config: Config,
        log: RecentLog,
        shutdown: &CancellationToken,
    ) -> Result<Self, NodeError> {
        let Home { identity, storage } = home;
        let tracker = TaskTracker::new();
        let name = config.name.clone().unwrap_or_else(|| default_name(&identity));
        let warm = RunnersConfig { warm: true, ..runners_config(&config, storage.directory()) };
        let runners = Runners::new(warm)?;
        let card = card(&identity, &config, &name)?;
        let remembered = storage.known_peers(REMEMBERED).await?;
        let mut bootstrap = config.network.bootstrap.clone();
        bootstrap
            .extend(remembered.into_iter().filter(|address| !config.network.bootstrap.contains(address)));
        let network_config = NetworkConfig {
            listen: config.network.listen.clone(),
            bootstrap,
            ipfs_bootstrap: config.network.ipfs_bootstrap.clone(),
            mdns: config.network.mdns,
            ..NetworkConfig::default()
        };
        let given = Arc::new(traffic::Given { storage: storage.clone(), guilds: OnceLock::new() });
        let (network, events) = Network::start(
            &identity,
            network_config,
            Arc::clone(&given) as Arc<dyn Source>,
            card.bytes().clone(),
            &tracker,
            shutdown.clone(),
        )
        .await?;
        let (teller, told) = mpsc::channel(TOLD);
        let guilds = Guilds::start(
            Arc::clone(&identity),
            storage.clone(),
            network.clone(),
            &tracker,
            shutdown.clone(),
            teller,
        )
        .await?;
        given.guilds.get_or_init(|| guilds.clone());
        let policy = Policy {
            accept: config.policy.accept,
            capabilities: config.capabilities.clone(),
            attest_always: config.policy.attest == Attest::Always,
            self_execute: config.policy.self_execute,
            audit: config.policy.audit,
        };
        let artifacts = Artifacts::new(storage.clone(), Some(network.clone()), &artifacts_config(&config))?;
        let context = Context::new(
            Arc::clone(&identity),
            storage.clone(),
            artifacts.clone(),
            runners,
            Some(network.clone()),
            Some(guilds.clone()),
            policy,
        );
        let tasks = Tasks::start(context, &tracker, shutdown.clone(), told).await?;
        storage
            .write(&[Write::Event(
                Timestamp::now(),
                Happening::Started { version: env!("CARGO_PKG_VERSION").to_owned() },
            )])
            .await?;
        tracker.spawn(traffic::hear(
            events,
            storage.clone(),
            network.clone(),
            guilds.clone(),
            tasks.clone(),
            Arc::clone(&identity),
            shutdown.clone(),
        ));

        let (publisher, snapshots) = watch::channel(None);
        let me = (identity.did().clone(), Untrusted::new(&name));
        let about =
            reducer::About { identity: Arc::clone(&identity), name, attest: config.policy.attest, log };
        let parts = reducer::Parts {
            storage: storage.clone(),
            artifacts: artifacts.clone(),
            network: network.clone(),
            tasks: tasks.clone(),
            guilds: guilds.clone(),
        };
        let reducer = reducer::Reducer::new(about, parts);
        tracker.spawn(reducer.work(publisher, shutdown.clone()));

        let (announced, stop) = (artifacts.clone(), shutdown.clone());
        tracker.spawn(async move {
            stop.run_until_cancelled(announced.announce_all()).await;
        });

        let commands = commands::Commands {
            storage: storage.clone(),
            artifacts,
            network: network.clone(),
            tasks,
            guilds: guilds::GuildCommands {
                guilds,
                network: network.clone(),
                me,
                admit: config.policy.admit,
            },
            stop: shutdown.clone(),
        };
        let link = Link::new(Arc::new(commands), snapshots);
        let socket = api::socket_path(storage.directory());
        let listener = open_socket(&socket, storage.directory())?;
        let (served, stop, tracked) = (link.clone(), shutdown.clone(), tracker.clone());
        tracked.spawn(async move {
            if let Err(error) = api::serve(listener, served, stop.clone()).await {
                tracing::error!(%error, "the local API ended; the node stops");
                stop.cancel();
            }
        });
        let metrics = match config.metrics.listen {
            Some(address) => Some(serve_metrics(address, &link, &tracker, shutdown).await?),
            None => None,
        };
        Ok(Self { link, identity, storage, network, socket, metrics, tracker, shutdown: shutdown.clone() })
    }

    /// The way in for a console in this process.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it listens, dialable.
    pub fn addresses(&self) -> Vec<String> {
        self.network.state().borrow().listen.clone()
    }

    /// Its API socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where it answers Prometheus, if it does.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Cancelled when the node stops, whoever made it stop.
    pub fn stopping(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// The panic that made it stop, if one did: nobody runs on in a half-dead process.
    pub fn failure(&self) -> Option<String> {
        PANIC.get().cloned()
    }

    /// Stops in good order, within two seconds. What was acknowledged is on disk; unfinished tasks go on at the next start.
    pub async fn stop(self) {
        let last = Write::Event(Timestamp::now(), Happening::Stopped);
        if let Err(error) = self.storage.write(&[last]).await {
            tracing::warn!(%error, "the stop could not be noted in the journal");
        }
        self.shutdown.cancel();
        self.tracker.close();
        if tokio::time::timeout(STOP_WITHIN, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "parts of the node did not end in time");
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the socket was not there any more");
        }
    }
}

/// The nodes of this process, which a panic anywhere in it stops, and what the first one said.
static WATCHED: Mutex<Vec<CancellationToken>> = Mutex::new(Vec::new());
static PANIC: OnceLock<String> = OnceLock::new();

/// Makes any panic in this process stop its nodes: nobody runs on in a half-dead process. Call it before anything else sets a
/// panic hook; a node calls it itself if nobody has.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            tracing::error!(%info, "panic");
            PANIC.get_or_init(|| info.to_string().replace('\n', " "));
            for shutdown in WATCHED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                shutdown.cancel();
            }
            previous(info);
        }));
    });
}

/// Runners as the configuration wants them; compiled code is kept in the data directory.
fn runners_config(config: &Config, data_dir: &Path) -> RunnersConfig {
    let (wanted, mut runners) = (&config.execution, RunnersConfig::default());
    let size = |wanted: Option<Size>, default: u64| wanted.map_or(default, |size| size.0);
    let time = |wanted: Option<Span>, default: Duration| wanted.map_or(default, |span| span.0);
    runners.processes = wanted.runners.unwrap_or(runners.processes);
    runners.waiting = wanted.queue.unwrap_or(runners.waiting);
    runners.memory_bytes = size(wanted.memory, runners.memory_bytes);
    runners.most.memory_bytes = size(wanted.max_memory, runners.most.memory_bytes);
    runners.most.time = time(wanted.max_time, runners.most.time);
    runners.most.stack_bytes = size(wanted.max_stack, runners.most.stack_bytes);
    runners.most.fuel = wanted.max_fuel.unwrap_or(runners.most.fuel);
    runners.most.output_bytes = size(wanted.max_output, runners.most.output_bytes);
    runners.compile.cpu = time(wanted.compile_cpu, runners.compile.cpu);
    runners.compile.data_bytes = size(wanted.compile_memory, runners.compile.data_bytes);
    runners.compile.module_bytes = size(wanted.max_module, runners.compile.module_bytes);
    runners.compile.functions = wanted.max_functions.unwrap_or(runners.compile.functions);
    runners.cache = Some(data_dir.join("cache").join("compiled"));
    runners.cache_bytes = size(wanted.cache, runners.cache_bytes);
    runners
}

fn artifacts_config(config: &Config) -> ArtifactsConfig {
    let mut artifacts = ArtifactsConfig::default();
    artifacts.quota = config.storage.quota.map_or(artifacts.quota, |size| size.0);
    artifacts.gateways.clone_from(&config.storage.gateways);
    artifacts
}

fn default_name(identity: &Identity) -> String {
    let id = identity.did().short();
    format!("node-{}", id.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect::<String>())
}

fn card(identity: &Identity, config: &Config, name: &str) -> Result<Envelope<AgentCard>, DocumentError> {
    let mut card = AgentCard::new(identity.did().clone(), name, Timestamp::now());
    card.capabilities =
        ["wasi-preview1".to_owned()].into_iter().chain(config.capabilities.iter().cloned()).collect();
    card.prices = config.payment();
    Envelope::sign(identity, &card)
}

/// The socket of a node that died is in the way and is removed: the data directory's lock says that nobody uses it.
fn open_socket(path: &Path, data_dir: &Path) -> Result<UnixListener, NodeError> {
    let failed = |source| NodeError::Socket { path: path.to_path_buf(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
        // In the common temporary folder somebody else could have been there first.
        if folder != data_dir && !api::is_own(folder) {
            return Err(failed(io::Error::other(format!("{} belongs to somebody else", folder.display()))));
        }
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Answers `GET /metrics` on a TCP port. That this ends is no reason for the node to end.
async fn serve_metrics(
    address: SocketAddr,
    link: &Link,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) -> Result<SocketAddr, NodeError> {
    let failed = |source| NodeError::Metrics { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let (snapshots, stop) = (link.snapshots.clone(), shutdown.clone());
    tracker.spawn(async move {
        if let Err(error) = api::serve_metrics(listener, snapshots, stop).await {
            tracing::warn!(%error, "metrics are not served any more");
        }
    });
    Ok(bound)
}
