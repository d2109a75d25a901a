//! `zerostate lab`: a whole network on this machine, each node a process with a key and a data directory of its own.
//!
//! With a terminal the console opens on the first node; without one the example task goes through every step, each is looked up in
//! the journal of the node that does it and printed, and the exit code says whether all were there.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use zerostate::api::{Candidate, Client, Happening, TaskDetail, TaskRecord, TimelineStep};
use zerostate::document::{ArtifactSource, Draft, DraftFormat, Status};
use zerostate::identity::Did;

use super::draft::Wanted;
use super::{Failure, Globals, Outcome, console, output, submit};
use crate::signals::Signals;

/// The example module: a WASI program in C, `assets/examples/hello.c`.
pub const EXAMPLE: &[u8] = include_bytes!("../../assets/examples/hello.wasm");
const EXAMPLE_MANIFEST: &str = include_str!("../../assets/examples/hello.toml");
/// The console's submit form starts from these files.
const EXAMPLES: [(&str, &[u8]); 4] = [
    ("hello.wasm", EXAMPLE),
    ("hello.toml", EXAMPLE_MANIFEST.as_bytes()),
    ("wordcount.wasm", include_bytes!("../../assets/examples/wordcount.wasm")),
    ("wordcount.toml", include_bytes!("../../assets/examples/wordcount.toml")),
];
const NAMES: [&str; 12] = [
    "atlas", "borealis", "ceres", "dione", "europa", "fornax", "ganymede", "hydra", "io", "juno", "kepler",
    "lyra",
];
const READY_WITHIN: Duration = Duration::from_secs(30);
const MET_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(3);
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// The steps of a task's life, as their numbers in it, the words of the journal, and what happens.
const STEPS: [(&str, &str, &str); 10] = [
    ("1", "published", "the manifest is announced"),
    ("2", "offered", "nodes offer to take part"),
    ("3", "guilded", "a guild is formed"),
    ("4", "agreed", "its members agree by signature"),
    ("5", "fetched", "the executor has the artifact"),
    ("6", "running", "it runs it"),
    ("7-9", "receipted", "and signs the priced receipt"),
    ("10", "attested", "witnesses run it again"),
    ("11", "announced", "receipt and attestations are in the DHT"),
    ("12", "dissolved", "the guild is over, its keys wiped"),
];

#[derive(clap::Args)]
pub struct LabVerb {
    /// How many nodes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=12))]
    nodes: u8,
    /// Do not open a console, also in a terminal
    #[arg(long)]
    no_console: bool,
    #[command(flatten)]
    look: console::LookArgs,
}

pub async fn run(globals: &Globals, verb: LabVerb) -> Outcome {
    if globals.data_dir.is_some() || globals.config.is_some() {
        output::note(
            "note: a lab makes its own data directories and configuration; --data-dir and --config are not used",
        );
    }
    let mut signals = Signals::listen()?;
    let interactive = !verb.no_console
        && !globals.json
        && (verb.look.asks_for_lines()
            || (std::io::stdin().is_terminal() && std::io::stdout().is_terminal()));
    let lab = tokio::select! {
        lab = Lab::start(usize::from(verb.nodes)) => lab?,
        _ = signals.next() => return Err(stopped()),
    };
    let outcome = if interactive {
        // The console hears signals itself.
        lab.console(verb.look).await
    } else {
        tokio::select! {
            outcome = lab.example_task(globals.json) => outcome,
            _ = signals.next() => Err(stopped()),
        }
    };
    lab.stop().await;
    outcome
}

fn stopped() -> Failure {
    Failure::failed("the lab was stopped by a signal")
}

struct Lab {
    // Before the folder, so that whatever drops a lab kills its nodes before it removes their files.
    nodes: Vec<Member>,
    folder: Folder,
}

struct Member {
    name: &'static str,
    did: String,
    address: String,
    data_dir: PathBuf,
    process: Child,
}

/// A directory that is removed with everything in it, however the lab ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let mut random = [0u8; 6];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::failed(format!("the system gave no randomness: {error}")))?;
        let path = std::env::temp_dir().join(format!("zerostate-lab-{}", hex::encode(random)));
        let made =
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path);
        made.map_err(|error| Failure::failed(format!("cannot create {}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            output::note(&format!(
                "warning: the lab's directory {} was not removed: {error}",
                self.0.display()
            ));
        }
    }
}

impl Lab {
    async fn start(count: usize) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        for (name, content) in EXAMPLES {
            let path = folder.0.join(name);
            std::fs::write(&path, content)
                .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        }
        output::note(&format!("starting {count} nodes in {} …", folder.0.display()));
        let mut nodes: Vec<Member> = Vec::new();
        for (number, name) in NAMES.into_iter().take(count).enumerate() {
            let first = nodes.first().map(|node| node.address.clone());
            nodes.push(Member::start(&folder.0, name, number > 0, first).await?);
        }
        let lab = Self { folder, nodes };
        lab.wait_until_met().await?;
        Ok(lab)
    }

    fn first(&self) -> Result<&Member, Failure> {
        self.nodes.first().ok_or_else(|| Failure::usage("a lab has at least one node"))
    }

    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.first()?.data_dir).await?)
    }

    /// Waits until the first node has everybody's agent card.
    async fn wait_until_met(&self) -> Result<(), Failure> {
        let mut link = self.client().await?.link().await?;
        let others = self.nodes.len().saturating_sub(1);
        let met = link.snapshots.wait_for(|snapshot| {
            snapshot
                .as_ref()
                .is_some_and(|s| s.peers.iter().filter(|peer| peer.name.is_some()).count() >= others)
        });
        match tokio::time::timeout(MET_WITHIN, met).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Failure::failed("the first node stopped while the others joined it")),
            Err(_) => {
                Err(Failure::failed(format!("the nodes did not meet within {} s", MET_WITHIN.as_secs())))
            }
        }
    }

    async fn console(&self, look: console::LookArgs) -> Outcome {
        let link = self.client().await?.link().await?;
        let manifest = self.folder.0.join("hello.toml");
        console::on_lab(link, look, manifest, &self.first()?.data_dir).await
    }

    async fn example_task(&self, json: bool) -> Outcome {
        let client = self.client().await?;
        let draft = Draft::parse(EXAMPLE_MANIFEST, DraftFormat::Toml, jiff::Timestamp::now())?;
        let mut draft = Draft { artifact: ArtifactSource::Path(PathBuf::new()), ..draft };
        // One has submitted it, one runs it; of two, the other one is the witness.
        let others = self.nodes.len().saturating_sub(1);
        let witnesses = u32::try_from(if others > 1 { others - 1 } else { others }).unwrap_or(0);
        draft.attestation.quorum = draft.attestation.quorum.min(witnesses);
        draft.attestation.witnesses = draft.attestation.quorum;
        let task_id = submit::submit(&client, Wanted { draft, module: Some(EXAMPLE.to_vec()) }, None).await?;
        let settled = submit::wait(&client, &task_id, false).await?;
        let steps = tokio::time::timeout(DONE_WITHIN, self.steps(&client, &settled.view.record)).await;
        let steps = steps.map_err(|_| {
            let within = DONE_WITHIN.as_secs();
            Failure::failed(format!("the journals did not come to the end of the task within {within} s"))
        })??;
        // What was done after it was settled is in it as well.
        let task = submit::show(&client, &task_id).await?;
        self.print(&task, &steps, json)?;
        let record = &task.view.record;
        let status = match record.state.receipt_id() {
            Some(id) => submit::receipt(&client, id).await?.receipt.status,
            None => Status::RunnerCrashed,
        };
        let missing = STEPS.iter().find(|(_, word, _)| !steps.iter().any(|step| step.step == *word));
        match (record.state.word(), missing) {
            _ if status != Status::Ok => Err(Failure::failed(format!("the example ended with {status}"))),
            ("attested", Some((number, word, _))) if self.nodes.len() > 3 => {
                Err(Failure::failed(format!("step {number} ({word}) is in no journal")))
            }
            ("attested", _) => Ok(0),
            ("receipted", _) if task.manifest.attestation.quorum == 0 => Ok(0),
            (state, _) => {
                let reason = record.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                Err(Failure::failed(format!("the example task is {state}{reason}")))
            }
        }
    }

    /// What each node's journal says it did for the task, in the order of time; where there was a guild, up to its end everywhere.
    async fn steps(&self, client: &Client, task: &TaskRecord) -> Result<Vec<TimelineStep>, Failure> {
        let guilded = task.guild_id.is_some() && task.state.receipt_id().is_some();
        let mut steps = Vec::new();
        for node in &self.nodes {
            let parts = ["executor", "witness"];
            let part = |c: &Candidate| c.did.as_str() == node.did && parts.contains(&c.part.as_str());
            let own = node.did == task.creator.as_str();
            let takes_part = guilded && task.candidates.iter().any(part);
            if !own && !takes_part {
                continue;
            }
            let node_client = if own { client.clone() } else { Client::connect(&node.data_dir).await? };
            if !guilded {
                steps.extend(submit::show(&node_client, &task.task_id).await?.timeline);
                continue;
            }
            let followed = node_client.follow(0, |event| {
                let over = |guild: &str, step: &str| {
                    Some(guild) == task.guild_id.as_deref()
                        && ["dissolved", "left", "removed", "refused", "expired", "creator-lost"]
                            .contains(&step)
                };
                match event.what {
                    Happening::Task { task_id, step, node: by, detail, .. } if task_id == task.task_id => {
                        let last = own && step == "dissolved";
                        // What others did is in their own journals.
                        if by.as_str() == node.did {
                            steps.push(TimelineStep { at: event.at, step, node: by, detail });
                        }
                        !last
                    }
                    Happening::Guild { guild_id, step, .. } => own || !over(&guild_id, &step),
                    _ => true,
                }
            });
            followed.await?;
            let mut link = node_client.link().await?;
            let wiped = link.snapshots.wait_for(|s| s.as_ref().is_some_and(|s| s.node.guild_secrets == 0));
            wiped.await.map_err(|_| Failure::failed(format!("the node {} stopped", node.name)))?;
        }
        steps.sort_by_key(|step| step.at);
        Ok(steps)
    }

    fn print(&self, task: &TaskDetail, steps: &[TimelineStep], json: bool) -> Result<(), Failure> {
        let names: HashMap<&str, &str> =
            self.nodes.iter().map(|node| (node.did.as_str(), node.name)).collect();
        let named = |did: &Did| names.get(did.as_str()).copied().unwrap_or("a stranger").to_owned();
        let number = |step: &str| STEPS.iter().find(|(_, word, _)| *word == step).map(|(number, ..)| *number);
        let record = &task.view.record;
        let state = record.state.word();
        if json {
            let steps: Vec<Value> = steps
                .iter()
                .map(|step| {
                    json!({ "step": step.step, "number": number(&step.step), "at": step.at, "node": step.node,
                        "name": named(&step.node), "detail": step.detail })
                })
                .collect();
            return output::json(
                &json!({ "task_id": record.task_id, "state": state, "receipt_id": record.state.receipt_id(),
                    "guild_id": record.guild_id, "timeline": steps }),
            );
        }
        let start = steps.first().map(|step| step.at).unwrap_or_default();
        let rows: Vec<Vec<String>> = steps
            .iter()
            .map(|step| {
                let about =
                    STEPS.iter().find(|(_, word, _)| *word == step.step).map_or("", |(.., about)| about);
                vec![
                    format!("{:>5} ms", step.at.duration_since(start).as_millis()),
                    number(&step.step).unwrap_or_default().to_owned(),
                    step.step.clone(),
                    named(&step.node),
                    step.detail.as_ref().map_or_else(|| about.to_owned(), ToString::to_string),
                ]
            })
            .collect();
        output::line(&format!(
            "task {}: {} among {} nodes\n",
            record.task_id,
            record.name,
            self.nodes.len()
        ))?;
        output::table(&["since", "no.", "step", "node", "detail"], &rows, "nothing happened")?;
        if let Some(printed) = &task.output {
            output::line(&format!("\nit printed: {}", printed.as_str().trim_end()))?;
        }
        output::line(&format!("it is {state}"))
    }

    /// Asks every node to stop, and makes sure of it.
    async fn stop(mut self) {
        for node in &mut self.nodes {
            node.ask_to_stop();
        }
        for node in &mut self.nodes {
            if tokio::time::timeout(STOP_WITHIN, node.process.wait()).await.is_err()
                && let Err(error) = node.process.kill().await
            {
                output::note(&format!("warning: the node {} could not be stopped: {error}", node.name));
            }
        }
        drop(self.folder);
    }
}

impl Member {
    async fn start(
        folder: &Path,
        name: &'static str,
        takes_part: bool,
        bootstrap: Option<String>,
    ) -> Result<Self, Failure> {
        let data_dir = folder.join(name);
        let config = folder.join(format!("{name}.toml"));
        let (accept, attest) = if takes_part { ("matching", "always") } else { ("ask", "ask") };
        let text = format!(
            "name = \"{name}\"\n[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nmdns = false\n[policy]\naccept = \"{accept}\"\nattest = \"{attest}\"\n"
        );
        std::fs::write(&config, text)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", config.display())))?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
        let mut command = Command::new(program);
        command
            .args(["node", "--json", "--until-stdin-ends", "--data-dir"])
            .arg(&data_dir)
            .arg("--config")
            .arg(&config);
        if let Some(address) = &bootstrap {
            command.args(["--bootstrap", address]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // The keys of a lab live as long as the lab.
        command.env_remove("ZEROSTATE_PASSPHRASE_FILE");
        // Out of the terminal's process group: a ^C there is the console's to handle.
        command.process_group(0);
        let mut process = command
            .spawn()
            .map_err(|error| Failure::failed(format!("cannot start the node {name}: {error}")))?;
        let ready = tokio::time::timeout(READY_WITHIN, first_line(&mut process)).await;
        let line = match ready {
            Ok(Some(line)) => line,
            Ok(None) => {
                return Err(Failure::failed(format!(
                    "the node {name} did not start: {}",
                    last_words(&mut process).await
                )));
            }
            Err(_) => {
                return Err(Failure::failed(format!(
                    "the node {name} was not ready within {} s",
                    READY_WITHIN.as_secs()
                )));
            }
        };
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let address = text(ready.get("addrs").and_then(|addresses| addresses.get(0)));
        let (Some(did), Some(address)) = (text(ready.get("did")), address) else {
            return Err(Failure::failed(format!("the node {name} did not say who and where it is")));
        };
        Ok(Self { name, did, address, data_dir, process })
    }

    fn ask_to_stop(&mut self) {
        let id =
            self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id
            && let Err(error) = rustix::process::kill_process(id, rustix::process::Signal::TERM)
        {
            // It has gone already, and waiting for it will say so.
            if error != rustix::io::Errno::SRCH {
                output::note(&format!("warning: the node {} could not be asked to stop: {error}", self.name));
            }
        }
    }
}

async fn first_line(process: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(process.stdout.take()?).lines();
    lines.next_line().await.ok().flatten()
}

async fn last_words(process: &mut Child) -> String {
    let mut text = String::new();
    if let Some(stderr) = process.stderr.take()
        && let Err(error) = stderr.take(4096).read_to_string(&mut text).await
    {
        return error.to_string();
    }
    zerostate::document::Untrusted::new(text.trim()).to_string()
}
