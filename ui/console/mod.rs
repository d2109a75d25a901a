//! The console: the screen from which a person operates a node. The only user of ratatui and crossterm.
//!
//! ```text
//!   keys, snapshots, answers ──► Msg ──► update(&mut Model) ──► Effect ──► commands, files, clipboard
//!                                              │
//!                                            Model ──► view(&Model, &mut Frame)
//! ```
//!
//! `update` and `view` are plain functions (`benches/frames.rs` measures them); this file is the loop around them: it waits for what happens, draws when something has
//! changed and not oftener than it can be seen, and gives the terminal back on every way out.

mod action;
mod ascii;
pub mod backend;
mod chord;
mod common;
pub(crate) mod depth;
mod details;
mod editor;
mod effects;
mod encode;
mod filter;
mod find;
mod forms;
pub(crate) mod keymap;
mod layer_view;
mod layers;
mod layout;
pub(crate) mod model;
pub(crate) mod msg;
mod names;
mod older;
mod options;
mod outlet;
mod pacing;
mod palette;
mod panes;
pub(crate) mod passphrase;
mod pending;
mod plain;
mod privacy;
mod rates;
mod replay;
mod rows;
#[cfg(test)]
pub(crate) mod samples;
mod scroll;
mod terminal;
#[cfg(test)]
mod tests;
pub(crate) mod theme;
pub(crate) mod update;
pub(crate) mod view;
mod widgets;

pub use depth::ColorMode;
pub use options::ConsoleOptions;
pub use replay::Replay;

use std::io::Write as _;
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zerostate::api::Link;

use editor::Ended;
use effects::{RESULTS_MAX, Runner};
use model::{Model, Tone};
use msg::{Editing, Effect, Msg};
use options::build;
use pacing::{Pace, Pacing};
use terminal::{Modes, Screen};
use update::update;

use crate::signals::Signals;

/// Why the console ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Quit,
    /// Something that was asked for in plain mode by a program, not by a person, was not done; what, was told.
    Undone,
    /// The signal's number.
    Signal(i32),
    /// The node's side of the link ended; a sentence for the operator.
    NodeGone(String),
}

/// Runs the console on the terminal until it is left. The first frame is drawn before the node has said anything.
///
/// # Errors
/// When there is no terminal or it refuses, or when another part of the program panicked meanwhile.
pub async fn run(mut link: Link, options: ConsoleOptions) -> anyhow::Result<Exit> {
    if options.plain {
        return plain::run(link, options).await;
    }
    let model = build(&options);
    let signals = Signals::listen()?;
    let (sender, results) = mpsc::channel(RESULTS_MAX);
    let pacing = Pacing::new(options.over_ssh, Instant::now());
    let mut console = Console {
        screen: Screen::enter(options.mouse)?,
        model,
        runner: Runner::new(link.clone(), sender, &options),
        options,
        pacing,
    };
    let (width, height) = crossterm::terminal::size()?;
    console.apply(Msg::Resize(width, height))?;
    // A node that runs already has mostly answered by now, and stands on the first frame.
    let first = link.snapshots.borrow_and_update().clone();
    if let Some(snapshot) = first {
        console.apply(Msg::Snapshot(snapshot))?;
    }
    console.draw()?;
    console.run(link, results, signals).await
}

/// Returns at that time; at once when it has passed, where the runtime's timers would go on to the end of the millisecond.
async fn until(at: Option<Instant>) {
    if let Some(at) = at.filter(|at| *at > Instant::now()) {
        sleep_until(at).await;
    }
}

struct Console {
    screen: Screen,
    model: Model,
    runner: Runner,
    options: ConsoleOptions,
    pacing: Pacing,
}

impl Console {
    async fn run(
        &mut self,
        mut link: Link,
        mut results: mpsc::Receiver<Msg>,
        mut signals: Signals,
    ) -> anyhow::Result<Exit> {
        let mut keys = EventStream::new();
        let mut tick = tokio::time::interval_at(next_second(), Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let outlet = self.screen.outlet.clone();
        loop {
            let due = self.pacing.due();
            let (msg, pace) = tokio::select! {
                biased;
                number = signals.next() => return Ok(Exit::Signal(number)),
                event = keys.next() => match event {
                    Some(Ok(Event::Key(key))) => (Msg::Key(key), Pace::Input),
                    Some(Ok(Event::Paste(text))) => (Msg::Paste(text), Pace::Input),
                    Some(Ok(Event::Mouse(event))) if self.model.mouse => (Msg::Mouse(event), Pace::Input),
                    Some(Ok(Event::Resize(width, height))) => (Msg::Resize(width, height), Pace::Input),
                    Some(Ok(_)) => continue,
                    // No keys can come any more: the terminal is gone.
                    Some(Err(_)) | None => return Ok(Exit::Signal(SignalKind::hangup().as_raw_value())),
                },
                // A terminal that has not read the last frame is not sent another: it gets the newest when it has.
                () = async { until(due).await; outlet.freed().await }, if due.is_some() => {
                    if self.screen.is_lost() {
                        anyhow::bail!("a part of the program panicked; the terminal was given back");
                    }
                    if let Err(error) = self.draw() {
                        tracing::debug!(%error, "nothing can be drawn any more");
                        return Ok(Exit::Signal(SignalKind::hangup().as_raw_value()));
                    }
                    continue;
                }
                Some(msg) = results.recv() => {
                    let pace = if self.model.is_page(&msg) { Pace::Data } else { Pace::Input };
                    (msg, pace)
                }
                changed = link.snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(Exit::NodeGone("the node does not answer any more".to_owned()));
                    }
                    let latest = link.snapshots.borrow_and_update().clone();
                    (latest.map_or(Msg::Gone, Msg::Snapshot), Pace::Data)
                }
                _ = tick.tick() => (Msg::Tick(Timestamp::now()), Pace::Data),
                () = tokio::task::yield_now(), if self.model.unfinished => (Msg::GoOn, Pace::Data),
            };
            if self.screen.is_lost() {
                anyhow::bail!("a part of the program panicked; the terminal was given back");
            }
            match self.apply(msg)? {
                After::GoOn => {
                    self.pacing.came(pace, Instant::now());
                }
                After::Quit => return Ok(Exit::Quit),
                After::Suspend => {
                    // Nobody reads the shell's keys meanwhile: all of the process stops. (An `EventStream` that is dropped here would
                    // end while it goes on again, and leave a key that comes then lying until the next one.)
                    self.screen.suspend()?;
                    self.taken_again()?;
                }
                After::Edit(what) => {
                    drop(keys);
                    self.screen.give();
                    let edited = match self.edit(what, signals.ended()).await {
                        Ok(edited) => edited,
                        Err(number) => return Ok(Exit::Signal(number)),
                    };
                    // A ^C that was typed into the editor came here as well.
                    signals.forget_typed()?;
                    self.screen.take_again()?;
                    keys = EventStream::new();
                    self.apply(Msg::Edited(edited))?;
                    self.taken_again()?;
                }
            }
        }
    }

    /// Applies a message and does what it asks for.
    fn apply(&mut self, msg: Msg) -> anyhow::Result<After> {
        let before = matches!(msg, Msg::Snapshot(_)).then(|| self.model.snapshot.clone());
        let effects = update(&mut self.model, msg);
        // Of a node with thousands of peers that takes longer than a frame may.
        if let Some(before) = before {
            tokio::task::spawn_blocking(move || drop(before));
        }
        let mut after = After::GoOn;
        for effect in effects {
            let Some(effect) = self.runner.begin(effect) else { continue };
            match effect {
                Effect::Copy(text) => {
                    let mut bytes = Vec::new();
                    crossterm::queue!(bytes, CopyToClipboard::to_clipboard_from(text))?;
                    self.send(&bytes);
                }
                Effect::CatchMouse(on) => {
                    let bytes = self.screen.catch_mouse(on)?;
                    self.send(&bytes);
                }
                Effect::Edit(what) => after = After::Edit(what),
                Effect::Repaint => self.screen.repaint()?,
                Effect::Suspend => after = After::Suspend,
                Effect::Quit => after = After::Quit,
                #[allow(
                    clippy::panic,
                    reason = "the operator asked to see the terminal restored after a crash"
                )]
                Effect::Panic => std::panic::panic_any("the console was crashed on purpose"),
                // Begun.
                _ => {}
            }
        }
        Ok(after)
    }

    /// Sends something besides frames to the terminal. One that does not read may be sent it again by the operator.
    fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.screen.outlet.write_all(bytes) {
            self.model.toast(Tone::Bad, format!("not sent to the terminal: {error}"));
        }
    }

    /// Has a manifest edited while the terminal is the editor's; the path of what it wrote.
    ///
    /// # Errors
    /// The signal that ended the console meanwhile.
    async fn edit(
        &mut self,
        what: Editing,
        stop: impl Future<Output = i32>,
    ) -> Result<Result<String, String>, i32> {
        let path = match editor::prepare(what, self.options.drafts.as_deref()) {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        let modes = Modes::now();
        match editor::run(&path, stop).await {
            Ended::Edited(edited) => Ok(edited.map(|()| path.display().to_string())),
            Ended::Stopped(number) => {
                modes.put_back();
                Err(number)
            }
        }
    }

    /// Draws what may have changed while somebody else had the terminal.
    fn taken_again(&mut self) -> anyhow::Result<()> {
        let (width, height) = crossterm::terminal::size()?;
        self.apply(Msg::Resize(width, height))?;
        self.draw()?;
        Ok(())
    }

    fn draw(&mut self) -> std::io::Result<()> {
        self.pacing.drawn(Instant::now());
        let model = &self.model;
        self.screen.terminal.draw(|frame| view::view(model, frame))?;
        Ok(())
    }
}

enum After {
    GoOn,
    Quit,
    Suspend,
    Edit(Editing),
}

/// The clock moves when the second does.
fn next_second() -> Instant {
    let past = u64::try_from(Timestamp::now().subsec_millisecond()).unwrap_or(0);
    Instant::now() + Duration::from_millis(1_000u64.saturating_sub(past))
}
