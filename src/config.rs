//! The configuration file, `config.toml`: every key is optional, an unknown one is an error.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

/// A configuration is a page of text, not more.
const MAX_FILE: u64 = 256 * 1024;
/// Each is a process.
const RUNNERS_MAX: usize = 256;

/// What the operator decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The agent name that peers see; made from the key when absent.
    pub name: Option<String>,
    /// What this node can do beyond running WASI commands, as peers see it.
    pub capabilities: Vec<String>,
    pub network: Network,
    pub policy: Policy,
    pub execution: Execution,
    pub storage: Storage,
    pub prices: Prices,
    pub metrics: Metrics,
    pub log: Log,
    pub console: Console,
}

/// Where to listen and whom to dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Multiaddresses.
    pub listen: Vec<String>,
    pub bootstrap: Vec<String>,
    /// Nodes of the IPFS DHT, to find there who has an artifact and to announce own ones; none keeps out of it.
    pub ipfs_bootstrap: Vec<String>,
    /// Find peers on the local network by multicast.
    pub mdns: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            listen: vec!["/ip4/0.0.0.0/tcp/0".into(), "/ip4/0.0.0.0/udp/0/quic-v1".into()],
            bootstrap: Vec::new(),
            ipfs_bootstrap: Vec::new(),
            mdns: true,
        }
    }
}

/// What the node does unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Other people's tasks.
    pub accept: Accept,
    /// Receipts that are announced.
    pub attest: Attest,
    /// Join requests to own guilds.
    pub admit: Admit,
    /// Run own tasks here when nobody else does.
    pub self_execute: bool,
    /// Of so many own tasks that others witness, one is followed by an audit: the same work with a receipt that is wrong on purpose, to
    /// find witnesses who agree without looking. 0 for never.
    pub audit: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { accept: Accept::Ask, attest: Attest::Ask, admit: Admit::Ask, self_execute: true, audit: 0 }
    }
}

/// Whose tasks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    Never,
    Ask,
    Matching,
}

/// When to attest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attest {
    Ask,
    Always,
}

impl Attest {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Always => "always",
        }
    }
}

/// Whom to admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admit {
    Open,
    Ask,
    Invite,
}

/// How much of the machine strangers' code may have. Sizes and times as people write them: `4GiB`, `30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Execution {
    /// Runner processes; one per core when absent.
    pub runners: Option<std::num::NonZeroUsize>,
    /// Jobs that may wait for one.
    pub queue: Option<usize>,
    /// Memory of all guests together; half of the machine's when absent.
    pub memory: Option<Size>,
    /// The most that one task may ask for.
    pub max_memory: Option<Size>,
    pub max_time: Option<Span>,
    pub max_stack: Option<Size>,
    pub max_fuel: Option<u64>,
    /// Each output of a task may have 8 MiB; a node that gives less takes on none.
    pub max_output: Option<Size>,
    /// The largest module, and the functions in it.
    pub max_module: Option<Size>,
    pub max_functions: Option<u32>,
    /// What compiling a small module may take; a larger one gets more.
    pub compile_cpu: Option<Span>,
    pub compile_memory: Option<Size>,
    /// Compiled code that is kept on disk.
    pub cache: Option<Size>,
}

/// How much is kept, and where artifacts come from besides peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// What artifacts and outputs may take on the disk; 2 GiB when absent.
    pub quota: Option<Size>,
    /// Trustless IPFS gateways, as `https://host`, that are asked when no peer answers.
    pub gateways: Vec<String>,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = crate::document::parse_bytes(&text).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| format!("\"{text}\" is no size; one like 512MiB is expected"))
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        format!("{}B", size.0)
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let time = crate::document::parse_duration(&text).filter(|time| !time.is_zero());
        time.map(Self).ok_or_else(|| format!("\"{text}\" is no time; one like 30s is expected"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        format!("{}ms", span.0.as_millis())
    }
}

/// What this node asks for its work, as decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    pub per_second: String,
    pub per_mib: String,
    pub per_gfuel: String,
}

impl Default for Prices {
    fn default() -> Self {
        Self { per_second: "0.002".into(), per_mib: "0.0001".into(), per_gfuel: "0".into() }
    }
}

/// Where Prometheus may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// An address like `127.0.0.1:9464`, where `GET /metrics` is answered to everybody; none serves it on the socket alone.
    pub listen: Option<std::net::SocketAddr>,
}

/// How the console starts; the command line may say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// A theme's name; one that suits the terminal when absent.
    pub theme: Option<String>,
    /// Let the mouse choose, open and scroll.
    pub mouse: bool,
}

/// How much to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter, like `info` or `zerostate=debug,libp2p=warn`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {why}")]
    Read { path: PathBuf, why: String },
    #[error("in the configuration {path}: {why}")]
    Content { path: PathBuf, why: String },
}

impl Config {
    /// Reads the file; `optional` says that a missing one means every default.
    ///
    /// # Errors
    /// [`ConfigError`] with line, column and what was expected.
    pub fn load(path: &Path, optional: bool) -> Result<Self, ConfigError> {
        let unreadable =
            |why: &dyn fmt::Display| ConfigError::Read { path: path.into(), why: why.to_string() };
        match fs::metadata(path) {
            // A pipe may never say anything, and a device never end.
            Ok(meta) if !meta.is_file() => return Err(unreadable(&"it is no file")),
            Ok(meta) if meta.len() > MAX_FILE => {
                return Err(unreadable(&format!("it has over {MAX_FILE} bytes")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && optional => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let broken = |why: String| ConfigError::Content { path: path.into(), why: why.trim_end().to_owned() };
        let config: Self = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
        for (key, price) in [
            ("per_second", &config.prices.per_second),
            ("per_mib", &config.prices.per_mib),
            ("per_gfuel", &config.prices.per_gfuel),
        ] {
            let parsed = price.parse::<crate::document::Credits>();
            parsed.map_err(|expected| broken(format!("prices.{key} = \"{price}\": expected {expected}")))?;
        }
        if let Some(name) = config.name.as_ref().filter(|name| !(1..=64).contains(&name.len())) {
            return Err(broken(format!("name has {} bytes: expected 1 to 64", name.len())));
        }
        if let Some(runners) = config.execution.runners.filter(|runners| runners.get() > RUNNERS_MAX) {
            return Err(broken(format!("execution.runners = {runners}: expected 1 to {RUNNERS_MAX}")));
        }
        Ok(config)
    }

    /// The prices as a manifest has them.
    pub fn payment(&self) -> crate::document::Payment {
        let amount = |text: &str| text.parse().unwrap_or_default();
        crate::document::Payment {
            per_second_micro: amount(&self.prices.per_second),
            per_mib_micro: amount(&self.prices.per_mib),
            per_gfuel_micro: amount(&self.prices.per_gfuel),
            max_total_micro: crate::document::Credits::MAX,
        }
    }
}
