//! The console: with the node inside it, on a node that is already running, or on a lab.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::watch;
use tokio::time::timeout;
use zerostate::api::{Link, Recording};
use zerostate::config::Console;
use zerostate::node::{Node, NodeError};

use super::attached::{Later, attached, forward};
use super::node::NodeArgs;
use super::{Failure, Globals, Outcome, node};
use crate::console::{ColorMode, ConsoleOptions, Exit, Replay, run};

/// A journal of a million entries has some 300 MB.
const JOURNAL_MAX: u64 = 512 << 20;

/// How the console looks.
#[derive(clap::Args, Clone, Default, PartialEq)]
pub struct LookArgs {
    /// Colours to draw with
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// A colour theme: dark, light, high-contrast, ansi16, mono, or one of your own in DATA_DIR/themes
    #[arg(long)]
    theme: Option<String>,
    /// Draw with ASCII characters alone
    #[arg(long)]
    ascii: bool,
    /// Print labelled lines instead of a screen, for screen readers and simple terminals
    #[arg(long)]
    plain: bool,
    /// Let the mouse choose, open and scroll
    #[arg(long)]
    mouse: bool,
}

#[derive(ValueEnum, Clone, Copy, Default, PartialEq)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
    Truecolor,
    #[value(name = "256")]
    Ansi256,
    #[value(name = "16")]
    Ansi16,
}

#[derive(clap::Args)]
pub struct AttachVerb {
    #[command(flatten)]
    look: LookArgs,
}

impl LookArgs {
    /// Lines are asked for.
    pub fn asks_for_lines(&self) -> bool {
        self.plain
    }

    /// Lines are asked for, or the terminal can do no more.
    fn is_plain(&self) -> bool {
        self.plain || std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
    }

    fn options(self, data_dir: &Path, named: Option<&Path>, config: Console) -> ConsoleOptions {
        let keymap = data_dir.join("keymap.toml");
        let plain = self.is_plain();
        let engine = zerostate::execution::environment();
        ConsoleOptions {
            color: match self.color {
                Color::Auto => ColorMode::Auto,
                Color::Always => ColorMode::Always,
                Color::Never => ColorMode::Never,
                Color::Truecolor => ColorMode::TrueColor,
                Color::Ansi256 => ColorMode::Ansi256,
                Color::Ansi16 => ColorMode::Ansi16,
            },
            theme: self.theme.or(config.theme),
            keymap: keymap.exists().then_some(keymap),
            theme_dir: Some(data_dir.join("themes")),
            ascii: self.ascii.then_some(true),
            plain,
            mouse: self.mouse || config.mouse,
            drafts: Some(data_dir.join("drafts")),
            bundles: Some(data_dir.join("bundles")),
            info: vec![
                ("data".to_owned(), data_dir.display().to_string()),
                (
                    "config".to_owned(),
                    named
                        .map_or_else(|| data_dir.join("config.toml"), Path::to_path_buf)
                        .display()
                        .to_string(),
                ),
                ("key".to_owned(), data_dir.join("keys").join("node.pem").display().to_string()),
                ("database".to_owned(), data_dir.join("node.db").display().to_string()),
                ("blocks".to_owned(), data_dir.join("blocks").display().to_string()),
                ("compiled".to_owned(), data_dir.join("cache").join("compiled").display().to_string()),
                ("disputes".to_owned(), data_dir.join("disputes").display().to_string()),
                ("proofs".to_owned(), data_dir.join("equivocations").display().to_string()),
                ("engine".to_owned(), format!("{} {}, {}", engine.engine, engine.version, engine.target)),
                ("socket".to_owned(), zerostate::api::socket_path(data_dir).display().to_string()),
                ("log".to_owned(), data_dir.join("zerostate.log").display().to_string()),
            ],
            over_ssh: std::env::var_os("SSH_CONNECTION").is_some(),
            ..ConsoleOptions::default()
        }
    }
}

/// The console with the node inside it. The first frame does not wait for the node: the node starts behind it.
pub async fn embedded(globals: &Globals, args: NodeArgs, look: LookArgs) -> Outcome {
    need_terminal(&look, "run a node without a console with `zerostate node`")?;
    let (home, config, log) = node::prepare(globals, args)?;
    let look = look.options(&globals.data_dir()?, globals.config.as_deref(), config.console.clone());
    let options = ConsoleOptions { stop_node_on_quit: true, ..look };
    let (publish_node, node) = watch::channel(None);
    let (publish, snapshots) = watch::channel(None);
    let link = Link::new(Arc::new(Later::that_starts(node)), snapshots);
    let start = tokio::spawn(async move {
        let node = Node::start(home, config, log).await?;
        let link = node.link();
        let snapshots = link.snapshots.clone();
        tokio::spawn(async move { forward(snapshots, &publish).await });
        publish_node.send_replace(Some(link));
        Ok::<Node, NodeError>(node)
    });
    let exit = run(link, options).await;
    match start.await {
        Ok(Ok(node)) => {
            let failure = node.failure();
            node.stop().await;
            if let Some(failure) = failure {
                return Err(Failure::failed(format!("the node stopped: {failure}")));
            }
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::failed(format!("the node did not start: {error}"))),
    }
    ended(exit)
}

/// A node that takes longer to say anything is shown as starting.
const UNDERSTOOD_WITHIN: Duration = Duration::from_secs(1);

/// The settings of a console whose node is elsewhere, and what is wrong with their file: one that nobody named does not keep it from
/// starting.
fn settings(globals: &Globals) -> Result<(Console, Vec<String>), Failure> {
    match globals.load_config() {
        Ok(config) => Ok((config.console, Vec::new())),
        Err(failure) if globals.config.is_none() => {
            Ok((Console::default(), vec![format!("the configuration is not used: {}", failure.message())]))
        }
        Err(failure) => Err(failure),
    }
}

/// The console on a node in another process.
pub async fn attach(globals: &Globals, verb: AttachVerb) -> Outcome {
    need_terminal(&verb.look, "`zerostate status`, `events --follow` and the other verbs work without one")?;
    let data_dir = globals.data_dir()?;
    let (config, problems) = settings(globals)?;
    let look = ConsoleOptions { problems, ..verb.look.options(&data_dir, globals.config.as_deref(), config) };
    // At the start a node that is not there, or cannot be understood, is an error; later it is waited for.
    let first = globals.client().await?.link().await?;
    let mut heard = first.snapshots.clone();
    if timeout(UNDERSTOOD_WITHIN, heard.wait_for(Option::is_some)).await.is_ok_and(|heard| heard.is_err()) {
        return Err(Failure::failed("the node's answer is not understood, or it has just ended")
            .hint("is the node of the same version as this program?"));
    }
    let link = attached(first, data_dir.clone());
    let options = ConsoleOptions { badge: Some("attached".to_owned()), ..look };
    ended(run(link, options).await)
}

/// The console on a journal that was kept.
pub async fn replay(globals: &Globals, file: &Path, look: LookArgs) -> Outcome {
    need_terminal(&look, "`zerostate events` prints a journal without one")?;
    let shown = file.display();
    let bytes = super::draft::read_bounded(file, JOURNAL_MAX)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{shown} is not text in UTF-8")))?;
    let recording = Recording::read(&text).map_err(|error| {
        Failure::usage(format!("{shown}: {error}")).hint("`zerostate events --json > FILE` keeps a journal")
    })?;
    let (replay, link) = Replay::new(recording);
    let (config, problems) = settings(globals)?;
    let look = ConsoleOptions { problems, ..look.options(&globals.data_dir()?, None, config) };
    // Of the node that kept it nothing is here.
    let (journal, engine) =
        (shown.to_string(), look.info.iter().find(|(label, _)| label == "engine").cloned());
    let info = [("journal".to_owned(), journal)].into_iter().chain(engine).collect();
    let options = ConsoleOptions { replay: Some(replay), info, ..look };
    ended(run(link, options).await)
}

/// The console on the first node of a lab; its submit form starts with an example.
pub async fn on_lab(link: Link, look: LookArgs, example: PathBuf, data_dir: &Path) -> Outcome {
    let options = ConsoleOptions {
        badge: Some("lab".to_owned()),
        example: Some(example),
        stop_node_on_quit: true,
        // The lab's own files go with it.
        bundles: std::env::current_dir().ok(),
        ..look.options(data_dir, None, Console::default())
    };
    ended(run(link, options).await)
}

fn need_terminal(look: &LookArgs, hint: &str) -> Result<(), Failure> {
    if look.is_plain() || std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage("the console needs a terminal, and this is none")
        .hint(format!("{hint}; --plain needs none either")))
}

fn ended(exit: anyhow::Result<Exit>) -> Outcome {
    match exit? {
        // After a hangup there is nothing to print to; a stop by signal is a stop in good order.
        Exit::Quit | Exit::Signal(_) => Ok(0),
        Exit::Undone => Ok(1),
        Exit::NodeGone(why) => Err(Failure::failed(why)),
    }
}
