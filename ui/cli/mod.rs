//! The command line: arguments in, one verb a file, exit codes out.
//!
//! Exit 0 done, 1 it failed, 2 wrong usage or input. Errors go to stderr as `error: what failed: why`, and where there is one,
//! `hint: what to do`. With `--json` the answer is one JSON value on stdout, or one a line where lines follow.

mod artifact;
mod attached;
mod attest;
mod chain;
mod completions;
mod connect;
mod console;
mod doctor;
mod draft;
mod events;
mod failure;
mod guild;
mod home;
mod id;
mod inbox;
mod lab;
mod manifest;
mod node;
mod output;
mod peers;
mod progress;
mod receipt;
mod rerun;
mod run;
mod status;
mod submit;
mod task;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use failure::Failure;

/// What a verb ends with when it did not fail: the program's exit code.
type Outcome = Result<u8, Failure>;

/// An operator console with a full peer-to-peer node inside, for running strangers' WebAssembly tasks and proving what ran.
///
/// Without a verb it opens the console with the node inside it.
#[derive(Parser)]
#[command(name = "zerostate", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    node: node::NodeArgs,
    #[command(flatten)]
    look: console::LookArgs,
    /// Go back and forth in a journal that was kept with `zerostate events --json`
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What every verb takes.
#[derive(clap::Args, Clone)]
struct Globals {
    /// Where the key, the database and the socket are [default: the platform's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: config.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the node without a console
    Node(node::NodeVerb),
    /// Open the console on a node that is already running
    Attach(console::AttachVerb),
    /// Start a whole network on this machine, and the console on one of its nodes
    Lab(lab::LabVerb),
    /// Run a module or manifest here and now, and print its output
    Run(run::RunVerb),
    /// Check envelopes offline
    Verify(verify::VerifyVerb),
    /// Make or check a manifest
    #[command(subcommand)]
    Manifest(manifest::ManifestVerb),
    /// Show this node's identity
    Id,
    /// Show what the running node is and does
    Status,
    /// List the peers that the running node is connected to
    Peers,
    /// Connect the running node to an address
    Connect(connect::ConnectVerb),
    /// Submit a task to the network
    Submit(submit::SubmitVerb),
    /// List, show or cancel tasks
    #[command(subcommand)]
    Task(task::TaskVerb),
    /// List, show or export receipts
    #[command(subcommand)]
    Receipt(receipt::ReceiptVerb),
    /// Run a receipt's task again and sign what was found
    Attest(attest::AttestVerb),
    /// Show the chains of what this node and others have signed
    Chain,
    /// Put artifacts into the node's store, get them from others, keep them or let them go
    #[command(subcommand)]
    Artifact(artifact::ArtifactVerb),
    /// Found guilds, join them, speak in them, decide who is in them
    #[command(subcommand)]
    Guild(guild::GuildVerb),
    /// What waits for your yes or no
    #[command(subcommand)]
    Inbox(inbox::InboxVerb),
    /// Show the node's journal
    Events(events::EventsVerb),
    /// Check this machine and this data directory
    Doctor,
    /// Print shell completions
    Completions(completions::CompletionsVerb),
}

/// How long threads may take to end when everything is done.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start the runtime: {error}")).report(),
    };
    let outcome = runtime.block_on(dispatch(cli));
    // A read from a terminal that nobody answers must not hold up the exit. Threads that are about to end are waited for: one that
    // is let go of in that very moment can take the process with it (glibc bug 19951), and the exit code.
    runtime.shutdown_timeout(LAST_MOMENT);
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

async fn dispatch(cli: Cli) -> Outcome {
    let globals = cli.globals;
    if cli.verb.is_some()
        && (cli.node != node::NodeArgs::default()
            || cli.look != console::LookArgs::default()
            || cli.replay.is_some())
    {
        let hint = "like `zerostate node --listen ADDR` or `zerostate attach --theme light`";
        return Err(Failure::usage("options of the node and of the console go behind the verb").hint(hint));
    }
    match cli.verb {
        None if cli.replay.is_some() && cli.node != node::NodeArgs::default() => {
            Err(Failure::usage("no node runs while a journal is replayed, so it has no options"))
        }
        None if let Some(file) = &cli.replay => console::replay(&globals, file, cli.look).await,
        None => console::embedded(&globals, cli.node, cli.look).await,
        Some(Verb::Node(verb)) => node::run(&globals, verb).await,
        Some(Verb::Attach(verb)) => console::attach(&globals, verb).await,
        Some(Verb::Lab(verb)) => lab::run(&globals, verb).await,
        Some(Verb::Run(verb)) => run::run(&globals, verb).await,
        Some(Verb::Verify(verb)) => verify::run(&globals, &verb).await,
        Some(Verb::Manifest(verb)) => manifest::run(&globals, verb),
        Some(Verb::Id) => id::run(&globals),
        Some(Verb::Status) => status::run(&globals).await,
        Some(Verb::Peers) => peers::run(&globals).await,
        Some(Verb::Connect(verb)) => connect::run(&globals, verb).await,
        Some(Verb::Submit(verb)) => submit::run(&globals, verb).await,
        Some(Verb::Task(verb)) => task::run(&globals, verb).await,
        Some(Verb::Receipt(verb)) => receipt::run(&globals, verb).await,
        Some(Verb::Attest(verb)) => attest::run(&globals, verb).await,
        Some(Verb::Chain) => chain::run(&globals).await,
        Some(Verb::Artifact(verb)) => artifact::run(&globals, verb).await,
        Some(Verb::Guild(verb)) => guild::run(&globals, verb).await,
        Some(Verb::Inbox(verb)) => inbox::run(&globals, verb).await,
        Some(Verb::Events(verb)) => events::run(&globals, &verb).await,
        Some(Verb::Doctor) => doctor::run(&globals).await,
        Some(Verb::Completions(verb)) => completions::run(&verb),
    }
}
