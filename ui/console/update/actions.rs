//! What each action does.

use tui_input::Input;
use zerostate::api::{Command, Snapshot, TaskView, short_id};
use zerostate::document::Untrusted;

use super::moving::{self, Move};
use super::{asks, attesting, guilds, layered, looks, many, receipts, replay};
use crate::console::action::Action;
use crate::console::details::{self, Detail, Loaded, Subject};
use crate::console::find::Find;
use crate::console::forms::connect::ConnectForm;
use crate::console::forms::guild::GuildForm;
use crate::console::forms::submit::{Field, SubmitForm};
use crate::console::layers::{Confirm, Confirmed, Help, Layer, Palette, Text};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::Effect;
use crate::console::panes::{Entry, columns};
use crate::console::pending::Purpose;
use crate::console::rows::{Listing, finish};

/// More over each other nobody finds out of.
const LAYERS_MAX: usize = 12;

/// Does an action; `argument` is the word that the palette gives some of them.
pub fn act(model: &mut Model, action: Action, argument: &str) -> Vec<Effect> {
    // It is meant for all that the filter lets through, and not for what was found so far.
    finish(model, model.focus);
    if !model.offers(action) {
        let said = format!("this is a journal: {} needs a node that runs", action.name());
        model.toast(Tone::Undone, said);
        return Vec::new();
    }
    match action {
        Action::Submit => open_submit(model, argument, None),
        Action::Connect if argument.is_empty() => push(model, Layer::Connect(ConnectForm::default())),
        Action::Connect => push(model, Layer::Connect(ConnectForm::with(argument))),
        Action::GuildNew => push(model, Layer::Guild(GuildForm::found())),
        Action::GuildJoin => push(model, Layer::Guild(GuildForm::join(argument))),
        Action::GuildSay => guilds::say(model),
        Action::GuildSubmit => match guilds::guild_to_propose_in(model) {
            Some(guild) => open_submit(model, argument, Some((guild.guild_id, guild.name))),
            None => Vec::new(),
        },
        Action::GuildInvite => guilds::invite(model),
        Action::GuildLeave => guilds::leave(model),
        Action::Attest => attesting::attest(model),
        Action::AttestMarked => attesting::attest_marked(model),
        Action::Cancel => asks::cancel(model),
        Action::Why => why(model),
        Action::Manifest => manifest(model),
        Action::Open => open(model),
        Action::Copy => copy(model),
        Action::Accept => asks::inbox(model, true),
        Action::Refuse => asks::inbox(model, false),
        Action::Filter if model.layers.last().is_some_and(|layer| layer.find().is_some()) => {
            let at = model.layers.last_mut().and_then(Layer::scroll).map_or(0, |scroll| *scroll);
            if let Some(find) = model.layers.last_mut().and_then(Layer::find_mut) {
                *find = Find { typing: true, from: at, ..Find::default() };
            }
            Vec::new()
        }
        Action::FindNext => layered::find_next(model, true),
        Action::FindPrevious => layered::find_next(model, false),
        Action::Filter => {
            model.layers.clear();
            model.filtering = Some(Input::new(model.list(model.focus).filter.clone()));
            Vec::new()
        }
        Action::Sort => {
            let focus = model.focus;
            let list = model.list_mut(focus);
            list.sort = (list.sort + 1) % columns(focus).len().max(1);
            list.reversed = false;
            Vec::new()
        }
        Action::SortReverse => {
            let focus = model.focus;
            let list = model.list_mut(focus);
            list.reversed = !list.reversed;
            Vec::new()
        }
        Action::LogLevel => {
            // By `Entry::level`: all, warnings and worse, errors.
            model.log_level = match model.log_level {
                0 => 2,
                2 => 1,
                _ => 0,
            };
            model.focus_on(Pane::Log);
            Vec::new()
        }
        Action::Mark => many::mark(model),
        Action::MarkAll => many::mark_all(model),
        Action::Zoom => {
            model.zoomed = !model.zoomed;
            Vec::new()
        }
        Action::Freeze => freeze(model),
        Action::Help => {
            let mut contexts = model.contexts().0;
            if let Some(at) = contexts.iter().position(|context| *context == "list") {
                contexts.insert(at + 1, "filter");
            }
            push(model, Layer::Help(Help { contexts, scroll: 0 }))
        }
        Action::Palette => {
            let replay = model.settings.replay.is_some();
            push(model, Layer::Palette(Palette { replay, ..Palette::default() }))
        }
        Action::Theme => looks::theme(model, argument),
        Action::Privacy => looks::privacy(model),
        Action::Mouse => looks::mouse(model),
        Action::Info => looks::info(model),
        Action::Output => receipts::output(model),
        Action::Compare => receipts::compare(model),
        Action::Bundle => receipts::bundle(model),
        Action::Guild => receipts::guild(model),
        Action::ReplayBack => replay::step(model, -1),
        Action::ReplayForward => replay::step(model, 1),
        Action::ReplayFarBack => replay::tenths(model, -1),
        Action::ReplayFarForward => replay::tenths(model, 1),
        Action::ReplayPlay => replay::play(model),
        Action::PanePeers => go(model, Pane::Peers),
        Action::PaneGuilds => go(model, Pane::Guilds),
        Action::PaneTasks => go(model, Pane::Tasks),
        Action::PaneReceipts => go(model, Pane::Receipts),
        Action::PaneAttestations => go(model, Pane::Attestations),
        Action::PaneEvents => go(model, Pane::Events),
        Action::PaneInbox => go(model, Pane::Inbox),
        Action::PaneLog => go(model, Pane::Log),
        Action::PaneNext => go(model, model.focus.step(true)),
        Action::PanePrevious => go(model, model.focus.step(false)),
        Action::Up => moving::by(model, Move::Lines(-1)),
        Action::Down => moving::by(model, Move::Lines(1)),
        Action::HalfUp => moving::by(model, Move::HalfPages(-1)),
        Action::HalfDown => moving::by(model, Move::HalfPages(1)),
        Action::PageUp => moving::by(model, Move::HalfPages(-2)),
        Action::PageDown => moving::by(model, Move::HalfPages(2)),
        Action::First => moving::by(model, Move::First),
        Action::Last => moving::by(model, Move::Last),
        Action::Back => back(model),
        Action::Repaint => vec![Effect::Repaint],
        Action::Suspend => vec![Effect::Suspend],
        Action::Quit if !model.layers.is_empty() => {
            layered::clear_find(model);
            back(model)
        }
        Action::Quit => asks::quit(model),
        Action::Interrupt => asks::interrupt(model),
        Action::DebugPanic if argument == "elsewhere" => vec![Effect::PanicElsewhere],
        Action::DebugPanic => vec![Effect::Panic],
        Action::Browse
        | Action::Edit
        | Action::FilesUp
        | Action::FilesHidden
        | Action::FieldNext
        | Action::FieldPrevious
        | Action::FieldComplete
        | Action::FieldEnter
        | Action::FormSubmit
        | Action::Yes
        | Action::No
        | Action::Toggle
        | Action::Choose => layered::act(model, action),
    }
}

pub(super) fn push(model: &mut Model, layer: Layer) -> Vec<Effect> {
    model.filtering = None;
    if model.layers.len() >= LAYERS_MAX {
        model.toast(Tone::Undone, "so much is open already; Esc closes what is on top");
    } else if !model.layers.last().is_some_and(|top| top.says_the_same(&layer)) {
        model.layers.push(layer);
    }
    Vec::new()
}

fn go(model: &mut Model, pane: Pane) -> Vec<Effect> {
    model.layers.clear();
    model.filtering = None;
    model.focus_on(pane);
    Vec::new()
}

fn open_submit(model: &mut Model, path: &str, guild: Option<(String, Untrusted)>) -> Vec<Effect> {
    let mut form = SubmitForm::default();
    form.guild = guild;
    let example = model.settings.example.clone().unwrap_or_default();
    let path = if path.is_empty() { example } else { path.to_owned() };
    if path.is_empty() {
        return push(model, Layer::Submit(Box::new(form)));
    }
    form.set(Field::Path, path);
    form.typed();
    push(model, Layer::Submit(Box::new(form)));
    let effects = layered::changed(model);
    if let Some(Layer::Submit(form)) = model.layers.last_mut() {
        // Nothing was typed yet.
        form.changed = false;
    }
    effects
}

/// Whether something was typed that would be lost.
fn is_changed(layer: &Layer) -> bool {
    match layer {
        // What was asked of the node is asked.
        Layer::Submit(form) => form.changed && form.waiting.is_none() && !form.is_as_new(),
        Layer::Connect(form) => !form.address.value().is_empty(),
        Layer::Guild(form) => form.changed && form.waiting.is_none(),
        _ => false,
    }
}

/// One level back: a layer, the filter, the zoom. Never out of the console.
fn back(model: &mut Model) -> Vec<Effect> {
    match model.layers.last() {
        Some(layer) if is_changed(layer) => {
            let facts = vec![("form".to_owned(), "What was typed is lost.".to_owned())];
            let (title, yes) = ("Leave the form".to_owned(), "Leave".to_owned());
            return push(model, Layer::Confirm(Confirm::new(title, facts, "", yes, Confirmed::Discard)));
        }
        Some(_) => {
            if layered::clear_find(model) {
                return Vec::new();
            }
            if let Some(Layer::Themes(themes)) = model.layers.pop() {
                model.theme = themes.before;
            }
            return Vec::new();
        }
        None => {}
    }
    let focus = model.focus;
    if model.filtering.take().is_some() || !model.list(focus).filter.is_empty() {
        model.list_mut(focus).filter.clear();
    } else if !model.list(focus).marked.is_empty() {
        model.list_mut(focus).marked.clear();
    } else if model.list(focus).selected.is_some() {
        model.list_mut(focus).selected = None;
    } else {
        model.zoomed = false;
    }
    Vec::new()
}

/// Applies `then` to the selected entry of the focused pane.
pub(super) fn with_selected<T>(model: &Model, then: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
    let rows = Listing::of(model, model.focus);
    rows.get(rows.selected()?).as_ref().and_then(then)
}

fn open(model: &mut Model) -> Vec<Effect> {
    let subject = match model.layers.last() {
        // From an opened task or attestation on to its receipt.
        Some(Layer::Detail(detail)) => match detail.receipt_id(model) {
            Some(id) if detail.subject != (Subject::Receipt { id: id.clone() }) => {
                Some(Subject::Receipt { id })
            }
            Some(_) => return Vec::new(),
            None => {
                model.toast(Tone::Undone, "there is no receipt yet");
                return Vec::new();
            }
        },
        Some(_) => return Vec::new(),
        None => with_selected(model, |entry| Some(subject_of(entry))),
    };
    subject.map_or_else(Vec::new, |subject| open_subject(model, subject))
}

fn subject_of(entry: &Entry) -> Subject {
    match entry {
        Entry::Peer(peer) => Subject::Peer { id: peer.peer_id.clone() },
        Entry::Guild(guild) => Subject::Guild { id: guild.guild_id.clone() },
        Entry::Task(task) => Subject::Task { id: task.record.task_id.clone() },
        Entry::Receipt(receipt) => Subject::Receipt { id: receipt.receipt_id.clone() },
        Entry::Attestation(one) => {
            Subject::Attestation { id: one.attestation_id.clone(), receipt_id: one.receipt_id.clone() }
        }
        Entry::Event(event) => match &event.what {
            zerostate::api::Happening::Task { task_id, .. } => Subject::Task { id: task_id.clone() },
            zerostate::api::Happening::Receipt { receipt_id, .. } => {
                Subject::Receipt { id: receipt_id.clone() }
            }
            zerostate::api::Happening::Attestation { attestation_id, receipt_id, .. } => {
                Subject::Attestation { id: attestation_id.clone(), receipt_id: receipt_id.clone() }
            }
            zerostate::api::Happening::Guild { guild_id, .. } => Subject::Guild { id: guild_id.clone() },
            _ => Subject::Event(Box::new((*event).clone())),
        },
        Entry::Inbox(item) => Subject::Inbox(Box::new((*item).clone())),
        Entry::Log(line) => {
            Subject::Log { at: line.at, target: line.target.clone(), text: line.text.clone() }
        }
    }
}

pub(super) fn open_subject(model: &mut Model, subject: Subject) -> Vec<Effect> {
    let detail = Detail::new(subject);
    let (command, id) = (detail.command(), detail.id());
    let before = model.layers.len();
    push(model, Layer::Detail(Box::new(detail)));
    if model.layers.len() == before {
        return Vec::new();
    }
    command.map_or_else(Vec::new, |command| super::execute(model, command, Purpose::Detail { id }))
}

fn copy(model: &mut Model) -> Vec<Effect> {
    let text = match model.layers.last() {
        Some(Layer::Detail(detail)) => Some(detail.id()),
        Some(_) => None,
        None => {
            let all: Vec<String> = many::chosen(model).iter().map(Entry::copied).collect();
            (!all.is_empty()).then(|| all.join("\n"))
        }
    };
    let Some(text) = text else { return Vec::new() };
    let said = match text.lines().count() {
        0 | 1 => short_id(&text),
        n => format!("{n} of them"),
    };
    model.toast(Tone::Info, format!("sent to terminal: {said}"));
    vec![Effect::Copy(text)]
}

/// The task that is selected or open.
pub(super) fn task_here(model: &Model) -> Option<TaskView> {
    let known = |snapshot: &Snapshot, id: &str| {
        snapshot.tasks.items.iter().find(|task| task.record.task_id == id).cloned()
    };
    match model.layers.last() {
        Some(Layer::Detail(detail)) => match (&detail.subject, &detail.loaded) {
            (Subject::Task { id }, Loaded::Task(task)) => model
                .snapshot
                .as_deref()
                .and_then(|snapshot| known(snapshot, id))
                .or_else(|| Some(task.view.clone())),
            _ => None,
        },
        Some(_) => None,
        None => with_selected(model, |entry| match entry {
            Entry::Task(task) => Some((*task).clone()),
            _ => None,
        }),
    }
}

fn why(model: &mut Model) -> Vec<Effect> {
    let Some(task) = task_here(model) else {
        model.toast(Tone::Undone, "select a task to see why it runs where it runs");
        return Vec::new();
    };
    let body = details::why(&task, model);
    push(model, Layer::Text(Text { title: format!("Why {}", task.record.name), body, ..Text::default() }))
}

fn manifest(model: &mut Model) -> Vec<Effect> {
    let title = |id: &str| format!("Manifest of task {}", short_id(id));
    let shown = match model.layers.last() {
        Some(Layer::Detail(detail)) => match &detail.loaded {
            Loaded::Task(task) => Some(Text::json(title(&task.manifest.task_id), &task.manifest)),
            Loaded::Receipt(receipt) => receipt.manifest.as_ref().map(|m| Text::json(title(&m.task_id), m)),
            Loaded::Nothing => return Vec::new(),
        },
        _ => match task_here(model) {
            Some(task) => {
                let task_id = task.record.task_id;
                let command = Command::TaskShow { task_id: task_id.clone() };
                return super::execute(model, command, Purpose::Manifest { task_id });
            }
            None => None,
        },
    };
    match shown {
        Some(text) => push(model, Layer::Text(text)),
        None => {
            model.toast(Tone::Undone, "the manifest is not known here");
            Vec::new()
        }
    }
}

fn freeze(model: &mut Model) -> Vec<Effect> {
    match model.frozen.take() {
        Some((latest, _)) => {
            model.rates.begin_anew();
            super::answers::snapshot(model, latest)
        }
        None => {
            model.frozen = model.snapshot.clone().map(|snapshot| (snapshot, model.now));
            Vec::new()
        }
    }
}
