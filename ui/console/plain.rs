//! The console without a screen: labelled lines, one thing after the other, for screen readers and for terminals that can do no more. Lines
//! that are typed are commands; everything else is the same model and the same `update`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin, stdin};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;
use zerostate::api::{Event, Link, Snapshot};
use zerostate::document::Untrusted;

use super::action::Action;
use super::effects::{RESULTS_MAX, Runner};
use super::layer_view::content;
use super::layers::Layer;
use super::model::{Model, Pane, Tone};
use super::msg::{Effect, Msg};
use super::options::build;
use super::outlet::Outlet;
use super::panes::{Entry, describe, total};
use super::rows::Listing;
use super::spoken::{plain_lines, row};
use super::update::update;
use super::{ConsoleOptions, Exit, Signals, editor, next_second, privacy};

/// No command is longer.
const LINE_MAX: u64 = 64 << 10;
/// Rows that are told at once.
const ROWS: usize = 20;
/// What lines are wrapped at: what a braille line or a dumb terminal can bear.
const WIDTH: usize = 76;
/// Of what happened while nobody listened, so much is told.
const EVENTS_AT_ONCE: usize = 20;

const HELP: &str = "\
peers, guilds, tasks, receipts, attestations, events, inbox, log: tell that list; each row has a number.
more: the next rows. filter WORDS: only those rows; filter alone: all. sort, sort.reverse: another order.
NUMBER: open that row. select NUMBER: choose it. mark NUMBER: mark it, for what is done to many.
show: what is open, again. back: close what is open. status: how the node is.
submit FILE, attest, attest.marked, cancel, connect ADDRESS, guild.new, guild.join PLACE, guild.say, accept, refuse, why, manifest, output, \
compare, bundle, info: what the console does, for the row that is open or chosen. The names are those of its palette; actions: all of them.
In a form: a line goes into the field that is asked for, an empty one leaves it as it is, = empties it, = WORDS is WORDS even where they \
are a command; submit sends the form, previous goes back a field, edit opens the editor, back leaves.
A question is answered with yes or no.
quiet, loud: do not tell, or tell, what happens. quit: close what is open; then leave.";

/// Runs the console in lines until it is left.
///
/// # Errors
/// When there is no thread for standard output.
pub async fn run(link: Link, mut options: ConsoleOptions) -> anyhow::Result<Exit> {
    options.color = super::ColorMode::Never;
    let model = build(&options);
    let mut signals = Signals::listen()?;
    let (sender, results) = mpsc::channel(RESULTS_MAX);
    let runner = Runner::new(link.clone(), sender);
    let input = BufReader::new(stdin());
    // Whoever reads the lines may be slow, or stop for a while.
    let outlet = Outlet::new(std::io::stdout())?;
    let editing = Rc::new(Cell::new(false));
    let mut console = Plain {
        model,
        runner,
        options,
        told: Told::default(),
        loud: true,
        shown: 0,
        outlet: outlet.clone(),
        unsaid: String::new(),
        editing: Rc::clone(&editing),
    };
    console.say("zerostate in plain mode. help lists the commands, quit leaves.");
    let ended = {
        let running = console.run(link, results, input);
        tokio::pin!(running);
        loop {
            tokio::select! {
                // A ^C that is typed into the editor comes here as well.
                number = signals.next() => if !(editing.get() && number == SignalKind::interrupt().as_raw_value()) {
                    break Ok(Exit::Signal(number));
                },
                ended = &mut running => break ended,
            }
        }
    };
    outlet.drain(LAST_LINES);
    ended
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
    /// Rows of the current list that were told.
    shown: usize,
    outlet: Outlet,
    /// Lines that were not handed to the outlet yet.
    unsaid: String,
    /// The editor has the terminal.
    editing: Rc<Cell<bool>>,
}

/// What was told already.
#[derive(Default)]
struct Told {
    /// The number of the last event.
    event: Option<u64>,
    toasts: Vec<(String, Timestamp)>,
    /// The layers, by how many there are and what the topmost one said.
    layers: usize,
    top: String,
    /// The field that was asked for.
    field: String,
    gone: bool,
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
        let (mut line, mut over) = (Vec::new(), None::<Instant>);
        loop {
            if !self.hand_out().await {
                return Ok(Exit::Signal(SignalKind::hangup().as_raw_value()));
            }
            // Before the node has spoken there is nothing to ask; and one who does not listen to the answers has them one after the other.
            let idle = !self.is_waiting();
            let asks = over.is_none() && self.model.snapshot.is_some() && (interactive || idle);
            if over.is_some_and(|since| idle || since.elapsed() >= LAST_ANSWERS) {
                return Ok(Exit::Quit);
            }
            let next = tokio::select! {
                read = read_line(&mut input, &mut line), if asks => {
                    if read? == 0 {
                        over = Some(Instant::now());
                        continue;
                    }
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    line.clear();
                    self.command(&text).await?
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
                self.hand_out().await;
                return Ok(Exit::Quit);
            }
        }
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

    /// Applies a message, does what it asks for, and tells what is new.
    async fn apply(&mut self, msg: Msg) -> anyhow::Result<Next> {
        let mut next = Next::GoOn;
        let mut todo = VecDeque::from(update(&mut self.model, msg));
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Execute { ticket, command } => self.runner.execute(ticket, command),
                Effect::Submit { ticket, module, draft } => self.runner.submit(ticket, module, *draft),
                Effect::Probe { generation, path } => self.runner.probe(generation, path),
                Effect::Complete { generation, typed } => self.runner.complete(generation, typed),
                Effect::List { folder } => self.runner.list(folder),
                Effect::Bundle { ticket, receipt_id } => {
                    self.runner.bundle(ticket, receipt_id, self.options.bundles.clone());
                }
                Effect::Edit(what) => {
                    self.hand_out().await;
                    self.outlet.freed().await;
                    self.editing.set(true);
                    let edited = match editor::prepare(what, self.options.drafts.as_deref()) {
                        Ok(path) => editor::run(&path).await.map(|()| path.display().to_string()),
                        Err(why) => Err(why),
                    };
                    self.editing.set(false);
                    todo.extend(update(&mut self.model, Msg::Edited(edited)));
                }
                Effect::Seek(to) => {
                    if let Some(replay) = &self.options.replay {
                        replay.seek(to);
                    }
                }
                // There is no clipboard here: what would go there is told, to be copied from the screen.
                Effect::Copy(text) => self.say(&text),
                Effect::CatchMouse(_) | Effect::Repaint | Effect::Suspend | Effect::Panic => {}
                Effect::Quit => next = Next::Leave,
            }
        }
        self.tell();
        Ok(next)
    }

    async fn command(&mut self, text: &str) -> anyhow::Result<Next> {
        if let Some(layer) = self.model.layers.last_mut() {
            let asks = matches!(layer, Layer::Confirm(_));
            let form = layer.input().is_some();
            match (text, asks, form) {
                ("yes" | "y", true, _) => return self.act(Action::Yes, "").await,
                ("no" | "n", true, _) => return self.act(Action::No, "").await,
                (_, true, _) if text != "show" => {
                    self.say("Question open: type yes or no.");
                    return Ok(Next::GoOn);
                }
                ("submit", _, true) => return self.act(Action::FormSubmit, "").await,
                ("back" | "show" | "quit" | "help", ..) => {}
                ("previous", _, true) => return self.act(Action::FieldPrevious, "").await,
                ("edit", _, true) => return self.act(Action::Edit, "").await,
                (_, _, true) => {
                    // `= text` is that text, whatever it says; `=` alone empties the field.
                    let value = text.strip_prefix('=').map(str::trim_start);
                    if let Some(value) = value.or(Some(text).filter(|text| !text.is_empty())) {
                        self.apply(Msg::Fill(value.to_owned())).await?;
                    }
                    return self.act(Action::FieldNext, "").await;
                }
                _ => {}
            }
        }
        let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
        match (word, rest.parse::<usize>()) {
            ("", _) => {}
            ("help", _) => self.say(HELP),
            ("actions", _) => {
                for action in
                    Action::ALL.iter().filter(|action| action.in_palette() && **action != Action::DebugPanic)
                {
                    self.say(&format!("{}: {}", action.name(), action.about()));
                }
            }
            ("quiet", _) => self.loud = false,
            ("loud", _) => self.loud = true,
            ("status", _) => self.status(),
            ("show", _) => {
                self.told.top.clear();
                self.tell();
            }
            ("back", _) => return self.act(Action::Back, "").await,
            ("more", _) => self.list(false),
            ("select" | "mark", Ok(number)) => {
                if !self.select(number).await? {
                    return Ok(Next::GoOn);
                }
                if word == "mark" {
                    self.act(Action::Mark, "").await?;
                }
                let marked = self.model.list(self.model.focus).marked.len();
                self.say(&format!(
                    "Row {number} is {}. Marked: {marked}.",
                    if word == "mark" { "marked or no longer" } else { "chosen" }
                ));
            }
            ("filter", _) => {
                let focus = self.model.focus;
                self.model.list_mut(focus).filter = rest.to_owned();
                self.apply(Msg::Tick(Timestamp::now())).await?;
                self.list(true);
            }
            _ => return self.other(word, rest).await,
        }
        Ok(Next::GoOn)
    }

    /// A pane, a row by its number, or an action by its name.
    async fn other(&mut self, word: &str, rest: &str) -> anyhow::Result<Next> {
        if let Some(pane) = Pane::ALL.into_iter().find(|pane| pane.context() == word) {
            self.model.layers.clear();
            self.model.focus_on(pane);
            self.apply(Msg::Tick(Timestamp::now())).await?;
            self.list(true);
            return Ok(Next::GoOn);
        }
        if let Ok(number) = word.parse::<usize>() {
            self.model.layers.clear();
            return if self.select(number).await? {
                self.act(Action::Open, "").await
            } else {
                Ok(Next::GoOn)
            };
        }
        match Action::named(word).filter(|action| action.in_palette()) {
            Some(Action::Sort | Action::SortReverse) => {
                self.act(if word == "sort" { Action::Sort } else { Action::SortReverse }, "").await?;
                self.list(true);
                Ok(Next::GoOn)
            }
            Some(action) => self.act(action, rest).await,
            None => {
                self.say(&format!("No such command: {word}. help lists them."));
                Ok(Next::GoOn)
            }
        }
    }

    async fn act(&mut self, action: Action, argument: &str) -> anyhow::Result<Next> {
        self.apply(Msg::Act(action, argument.to_owned())).await
    }

    async fn select(&mut self, number: usize) -> anyhow::Result<bool> {
        let pane = self.model.focus;
        let count = Listing::of(&self.model, pane).len();
        let Some(place) = number.checked_sub(1).filter(|place| *place < count) else {
            self.say(&format!("No row {number}: {} has {count}.", pane.title()));
            return Ok(false);
        };
        self.apply(Msg::Select(place)).await?;
        Ok(true)
    }

    /// Tells the rows of the focused pane, from the beginning or from where it stopped.
    fn list(&mut self, anew: bool) {
        let pane = self.model.focus;
        if anew {
            self.shown = 0;
        }
        let rows = Listing::of(&self.model, pane);
        let all = self.model.snapshot.as_deref().map_or(0, |snapshot| total(snapshot, pane));
        let mut lines = Vec::new();
        if anew {
            let filter = match self.model.list(pane).filter.as_str() {
                "" => String::new(),
                filter => format!(", of which {} match {filter}", rows.len()),
            };
            lines.push(format!("{}: {all}{filter}.", pane.title()));
        }
        let told: Vec<(usize, Entry)> = rows.from(self.shown).take(ROWS).collect();
        let count = told.len();
        lines.extend(told.iter().map(|(place, entry)| format!("{}. {}", place + 1, row(entry, &self.model))));
        let left = rows.len().saturating_sub(self.shown + count);
        if left > 0 {
            lines.push(format!("{left} more; more tells them."));
        }
        self.shown += count;
        for line in lines {
            self.say(&line);
        }
    }

    fn status(&mut self) {
        let Some(snapshot) = self.model.snapshot.as_deref() else { return self.say("Node: starting.") };
        self.say(&summary(snapshot))
    }

    /// Tells what has not been told yet: what the node says, notes, what was opened, the field that is to be filled in.
    fn tell(&mut self) {
        self.tell_events();
        let gone = self.model.gone.is_some();
        if gone != self.told.gone {
            self.told.gone = gone;
            if gone {
                self.say("Node: gone; it is looked for.");
            }
        }
        let toasts: Vec<(String, Timestamp, Tone)> =
            self.model.toasts.iter().map(|toast| (toast.text.clone(), toast.until, toast.tone)).collect();
        for (text, until, tone) in &toasts {
            if self.told.toasts.iter().any(|told| told.0 == *text && told.1 == *until) {
                continue;
            }
            let kind = match tone {
                Tone::Info => "Note",
                Tone::Good => "Done",
                Tone::Bad => "Failed",
            };
            self.say(&format!("{kind}: {text}."));
        }
        self.told.toasts = toasts.into_iter().map(|(text, until, _)| (text, until)).collect();
        self.tell_top()
    }

    fn tell_events(&mut self) {
        let Some(snapshot) = self.model.snapshot.clone() else { return };
        let newest = snapshot.events.items.first().map_or(0, |event| event.seq);
        match self.told.event.replace(newest) {
            None => self.say(&summary(&snapshot)),
            Some(last) if self.loud => {
                let fresh: Vec<&Event> =
                    snapshot.events.items.iter().take_while(|event| event.seq > last).collect();
                if fresh.len() > EVENTS_AT_ONCE {
                    self.say(&format!("Events: {} at once; events tells them.", fresh.len()));
                } else {
                    for event in fresh.into_iter().rev() {
                        self.say(&format!(
                            "Event {}: {}",
                            event.what.word(),
                            describe(&event.what, &self.model)
                        ));
                    }
                }
            }
            Some(_) => {}
        }
    }

    /// Tells what lies on top, once it is there and when it is another.
    fn tell_top(&mut self) {
        let count = self.model.layers.len();
        let Some(layer) = self.model.layers.last() else {
            if self.told.layers > 0 {
                self.say("Closed.");
            }
            self.told.layers = 0;
            self.told.top.clear();
            self.told.field.clear();
            return;
        };
        let inside = content(&self.model, layer, WIDTH);
        let title: String = inside.title.iter().map(|(text, _)| text.as_str()).collect();
        let lines = plain_lines(&inside.lines);
        let body = lines.join("\n");
        let is_form = matches!(layer, Layer::Submit(_) | Layer::Connect(_) | Layer::Guild(_));
        let is_question = matches!(layer, Layer::Confirm(_));
        let focused = inside
            .cursor
            .and_then(|(_, line)| inside.lines.get(line))
            .map(|line| plain_lines(std::slice::from_ref(line)).join(" "));
        // What goes on by itself, like the numbers of a running task, is told again only when it is asked for.
        let reading = self.told.top.contains("reading…");
        let other = count != self.told.layers || self.told.top.is_empty() || reading && body != self.told.top;
        if other {
            self.told.layers = count;
            self.told.top.clone_from(&body);
            self.told.field.clear();
            self.say(&format!("{title}:"));
            for line in &lines {
                self.say(line);
            }
            if is_question {
                self.say("Type yes or no.");
            }
        } else if is_form && body != self.told.top {
            // Of a form that was told, only what is wrong with it.
            let told = std::mem::take(&mut self.told.top);
            for line in lines.iter().filter(|line| line.contains('✗') && !told.contains(line.as_str())) {
                self.say(line);
            }
            self.told.top = body;
        }
        if let (true, Some(field)) = (is_form, focused)
            && field != self.told.field
        {
            self.say(&format!("Type: {field}"));
            self.told.field = field;
        }
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

fn summary(snapshot: &Snapshot) -> String {
    let node = &snapshot.node;
    format!(
        "Node {}, {}: peers {}, guilds {}, tasks {}, running {}, receipts {}, attestations {}, inbox {}.",
        node.name,
        node.did.short(),
        snapshot.peers.len(),
        snapshot.guilds.total,
        snapshot.tasks.total,
        node.running,
        snapshot.receipts.total,
        snapshot.attestations.total,
        snapshot.inbox.len()
    )
}

/// Reads on to the end of a line; what was read so far stays where it is when something else comes first.
async fn read_line(input: &mut BufReader<Stdin>, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let room = LINE_MAX.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX));
    input.take(room).read_until(b'\n', line).await?;
    Ok(line.len())
}
