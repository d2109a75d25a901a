//! The console without a screen: labelled lines, one thing after the other, for screen readers and for terminals that can do no more. Lines
//! that are typed are commands; everything else is the same model and the same `update`.

mod commands;
mod spoken;
mod telling;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin, stdin};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zerostate::api::Link;
use zerostate::document::Untrusted;

use super::editor::Ended;
use super::effects::{RESULTS_MAX, Runner};
use super::layers::Layer;
use super::model::{Model, Pane};
use super::msg::{Effect, Msg};
use super::options::build;
use super::outlet::Outlet;
use super::terminal::Modes;
use super::update::update;
use super::{ConsoleOptions, Exit, editor, next_second, privacy};
use crate::signals::Signals;
use telling::Told;

/// No command is longer.
const LINE_MAX: u64 = 64 << 10;

/// Runs the console in lines until it is left.
///
/// # Errors
/// When there is no thread for standard output.
pub async fn run(link: Link, mut options: ConsoleOptions) -> anyhow::Result<Exit> {
    options.color = super::ColorMode::Never;
    let model = build(&options);
    let mut signals = Signals::listen()?;
    let (sender, results) = mpsc::channel(RESULTS_MAX);
    let runner = Runner::new(link.clone(), sender, &options);
    let input = BufReader::new(stdin());
    // Whoever reads the lines may be slow, or stop for a while.
    let outlet = Outlet::new(std::io::stdout(), || true)?;
    let editing = Rc::new(Cell::new(false));
    let (modes, stop) = (Modes::now(), CancellationToken::new());
    let mut console = Plain {
        model,
        runner,
        options,
        told: Told::default(),
        loud: true,
        rows: (Pane::Tasks, Vec::new()),
        listing: false,
        outlet: outlet.clone(),
        unsaid: String::new(),
        editing: Rc::clone(&editing),
        stop: stop.clone(),
        failed: false,
    };
    console.say("zerostate in plain mode. help lists the commands, quit leaves.");
    // What is wrong with a file of keys is said, and is no fault of what is asked for.
    console.tell();
    console.failed = false;
    let ended = {
        let running = console.run(link, results, input);
        tokio::pin!(running);
        loop {
            tokio::select! {
                // A ^C or ^\ that is typed into the editor comes here as well.
                number = signals.next() => if !(editing.get() && typed(number)) {
                    stop.cancel();
                    // It may have something to save.
                    if editing.get() && timeout(editor::LAST_WORDS, &mut running).await.is_err() {
                        tracing::debug!("the editor is ended with the console");
                    }
                    break Ok(Exit::Signal(number));
                },
                ended = &mut running => break ended,
            }
        }
    };
    outlet.drain(LAST_LINES);
    if editing.get() {
        modes.put_back();
    }
    ended
}

/// Whether a signal comes from a key of the terminal.
fn typed(number: i32) -> bool {
    [SignalKind::interrupt(), SignalKind::quit()].iter().any(|kind| kind.as_raw_value() == number)
}

/// How long the last lines may take to be read.
const LAST_LINES: Duration = Duration::from_secs(1);
/// When the commands have come to their end, so long is waited for what they have led to.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

struct Plain {
    model: Model,
    runner: Runner,
    options: ConsoleOptions,
    told: Told,
    /// What happens is told as it comes.
    loud: bool,
    /// The rows that were told of a list, by their ids: what comes meanwhile moves no numbers.
    rows: (Pane, Vec<String>),
    /// A list is to be told once its filter has looked through everything.
    listing: bool,
    outlet: Outlet,
    /// Lines that were not handed to the outlet yet.
    unsaid: String,
    /// The editor has the terminal.
    editing: Rc<Cell<bool>>,
    /// Pulled when the console has to end.
    stop: CancellationToken,
    /// Something that was asked for was not done.
    failed: bool,
}

enum Next {
    GoOn,
    Leave,
}

impl Plain {
    async fn run(
        &mut self,
        mut link: Link,
        mut results: mpsc::Receiver<Msg>,
        mut input: BufReader<Stdin>,
    ) -> anyhow::Result<Exit> {
        let mut tick = tokio::time::interval_at(next_second(), Duration::from_secs(1));
        link.snapshots.mark_changed();
        let interactive = std::io::stdin().is_terminal();
        let (mut line, mut over, mut skips) = (Vec::new(), None::<Instant>, false);
        loop {
            if !self.hand_out().await {
                // Who pipes commands in wants to know that nothing of it was heard.
                let hangup = Exit::Signal(SignalKind::hangup().as_raw_value());
                return Ok(if interactive { hangup } else { Exit::Undone });
            }
            // Before the node has spoken there is nothing to ask; and one who does not listen to the answers has them one after the other.
            let idle = !self.is_waiting();
            let asks = over.is_none() && self.model.snapshot.is_some() && (interactive || idle);
            // What never came was not done.
            let late = over.is_some_and(|since| since.elapsed() >= LAST_ANSWERS);
            self.failed |= late;
            if over.is_some() && (idle || late) {
                return Ok(self.left(interactive));
            }
            let next = tokio::select! {
                read = read_line(&mut input, &mut line), if asks => {
                    if read? == 0 {
                        over = Some(Instant::now());
                        continue;
                    }
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    let (length, is_whole) = (line.len(), line.ends_with(b"\n"));
                    line.clear();
                    // The rest of a line that is too long is no command.
                    if u64::try_from(length).is_ok_and(|length| length < LINE_MAX) && !skips {
                        self.command(&text).await?
                    } else {
                        if !skips {
                            self.refuse("That line is too long.");
                        }
                        skips = !is_whole;
                        Next::GoOn
                    }
                }
                Some(msg) = results.recv() => self.apply(msg).await?,
                changed = link.snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(Exit::NodeGone("the node does not answer any more".to_owned()));
                    }
                    let latest = link.snapshots.borrow_and_update().clone();
                    self.apply(latest.map_or(Msg::Gone, Msg::Snapshot)).await?
                }
                _ = tick.tick() => self.apply(Msg::Tick(Timestamp::now())).await?,
            };
            if let Next::Leave = next {
                self.failed |= !self.hand_out().await;
                return Ok(self.left(interactive));
            }
        }
    }

    fn stopped(&self) -> impl Future<Output = i32> + use<> {
        let stop = self.stop.clone();
        async move {
            stop.cancelled().await;
            SignalKind::terminate().as_raw_value()
        }
    }

    fn left(&self, interactive: bool) -> Exit {
        // A question that was not answered, and a form that was not sent.
        let open = self.model.layers.iter().any(|layer| {
            matches!(layer, Layer::Confirm(_) | Layer::Submit(_) | Layer::Connect(_) | Layer::Guild(_))
        });
        if (self.failed || open) && !interactive { Exit::Undone } else { Exit::Quit }
    }

    /// Whether the filter of the list still looks through what is older.
    fn is_searching(&self) -> bool {
        let pane = self.model.focus;
        let searched = |snapshot| self.model.older.searched(snapshot, pane);
        !self.model.list(pane).filter.is_empty()
            && self.model.snapshot.as_deref().and_then(searched).is_some()
    }

    /// Says what cannot be done.
    fn refuse(&mut self, why: &str) {
        self.failed = true;
        self.say(why);
    }

    /// Whether something that was asked has not been answered.
    fn is_waiting(&self) -> bool {
        let probing =
            self.model.layers.iter().any(|layer| matches!(layer, Layer::Submit(form) if form.is_probed()));
        probing || !self.model.pending.is_empty()
    }

    /// Hands over what is to be said, once what was said before is through; `false` when nobody can hear it any more.
    async fn hand_out(&mut self) -> bool {
        if self.unsaid.is_empty() {
            return true;
        }
        self.outlet.freed().await;
        let lines = std::mem::take(&mut self.unsaid);
        self.outlet.write_all(lines.as_bytes()).is_ok()
    }

    /// What is told is told once, so it waits for all that a filter finds.
    fn update(&mut self, msg: Msg) -> Vec<Effect> {
        let mut effects = update(&mut self.model, msg);
        while self.model.unfinished {
            effects.extend(update(&mut self.model, Msg::GoOn));
        }
        effects
    }

    /// Applies a message, does what it asks for, and tells what is new.
    async fn apply(&mut self, msg: Msg) -> anyhow::Result<Next> {
        let mut next = Next::GoOn;
        let mut todo = VecDeque::from(self.update(msg));
        while let Some(effect) = todo.pop_front() {
            // A line is typed on purpose, and after what it answers.
            if let Effect::Arm(number) = effect {
                todo.extend(self.update(Msg::Armed(number)));
                continue;
            }
            let Some(effect) = self.runner.begin(effect) else { continue };
            match effect {
                Effect::Edit(what) => {
                    self.hand_out().await;
                    self.outlet.freed().await;
                    self.editing.set(true);
                    let edited = match editor::prepare(what, self.options.drafts.as_deref()) {
                        Ok(path) => match editor::run(&path, self.stopped()).await {
                            Ended::Edited(edited) => edited.map(|()| path.display().to_string()),
                            Ended::Stopped(_) => return Ok(Next::Leave),
                        },
                        Err(why) => Err(why),
                    };
                    self.editing.set(false);
                    todo.extend(self.update(Msg::Edited(edited)));
                }
                // There is no clipboard here: what would go there is told, to be copied from the screen.
                Effect::Copy(text) => self.say(&text),
                Effect::Quit => next = Next::Leave,
                // The rest is of the screen.
                _ => {}
            }
        }
        self.tell();
        if self.listing && !self.is_searching() {
            self.listing = false;
            self.list(true);
        }
        Ok(next)
    }

    /// A line, or some; whatever a stranger put into them, nothing steers the terminal.
    fn say(&mut self, text: &str) {
        let mut text = Untrusted::lines(text, usize::MAX).to_string();
        if self.model.private {
            text = privacy::mask_text(&text);
        }
        if self.model.settings.ascii {
            text = text.chars().map(super::ascii::plain).collect();
        }
        self.unsaid.push_str(&text);
        self.unsaid.push('\n');
    }
}

/// Reads on to the end of a line; what was read so far stays where it is when something else comes first.
async fn read_line(input: &mut BufReader<Stdin>, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let room = LINE_MAX.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX));
    input.take(room).read_until(b'\n', line).await?;
    Ok(line.len())
}
