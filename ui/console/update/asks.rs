//! The questions that are asked before something that cannot be taken back.

use std::collections::VecDeque;

use jiff::SignedDuration;
use zerostate::api::{Command, InboxItem, TaskRecord, short_id};

use super::actions::{push, task_here};
use super::{attesting, many};
use crate::console::details::Subject;
use crate::console::layers::{Confirm, Confirmed, Layer};
use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::pending::Purpose;
use crate::console::widgets::text::cut;

/// A second ^C within this time is meant at once.
const TWICE_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// Asks before tasks are stopped: the open one, the selected one, or all that are marked.
pub fn cancel(model: &mut Model) -> Vec<Effect> {
    let tasks: Vec<TaskRecord> = match model.layers.last() {
        Some(_) => task_here(model).map(|task| task.record).into_iter().collect(),
        None => many::chosen(model)
            .iter()
            .filter_map(|entry| match entry {
                Entry::Task(task) => Some(task.record.clone()),
                _ => None,
            })
            .collect(),
    };
    let own = |task: &&TaskRecord| model.me() == Some(&task.creator);
    let pending: Vec<&TaskRecord> = tasks.iter().filter(own).filter(|task| task.state.is_pending()).collect();
    let (first, others) = match (pending.split_first(), tasks.as_slice()) {
        (Some((first, others)), _) => (*first, others),
        (None, []) => {
            model.toast(Tone::Undone, "select a task to cancel it");
            return Vec::new();
        }
        (None, [task]) if model.me() != Some(&task.creator) => {
            let said = format!("{} is a task of {}", task.name, model.name_of(&task.creator));
            model.toast(Tone::Undone, format!("{said}: only who has submitted it can cancel it"));
            return Vec::new();
        }
        (None, [task]) => {
            let (name, state) = (&task.name, task.state.word());
            let said = format!("{name} is {state}: only a task without a receipt can be cancelled");
            model.toast(Tone::Undone, said);
            return Vec::new();
        }
        (None, _) => {
            model.toast(Tone::Undone, "all that are marked have a receipt or have ended");
            return Vec::new();
        }
    };
    if !many::fits(model, pending.len()) {
        return Vec::new();
    }
    let mut facts: Vec<(String, String)> = Vec::new();
    let (title, yes_label) = if others.is_empty() {
        facts.push(("task".to_owned(), first.task_id.clone()));
        facts.push(("state".to_owned(), first.state.word().to_owned()));
        (format!("Cancel {}", first.name), "Cancel the task".to_owned())
    } else {
        let shown = |task: &&TaskRecord| {
            (
                task.state.word().to_owned(),
                format!("{}  {}", cut(task.name.as_str(), 40), short_id(&task.task_id)),
            )
        };
        facts.extend(pending.iter().map(shown));
        (format!("Cancel {} tasks", pending.len()), format!("Cancel all {}", pending.len()))
    };
    let left_out = tasks.len() - pending.len();
    if left_out > 0 {
        let why = format!("{left_out} of those marked, which have a receipt, have ended, or are of others");
        facts.push(("left out".to_owned(), why));
    }
    let stopped = if others.is_empty() {
        "The task is stopped where it is."
    } else {
        "They are stopped where they are."
    };
    facts.push(("what".to_owned(), format!("{stopped} There will be no receipt.")));
    let what = pending.iter().map(|task| (task.task_id.clone(), task.name.to_string())).collect();
    push(model, Layer::Confirm(Confirm::new(title, facts, "", yes_label, Confirmed::Cancel(what))))
}

/// Refuses at once; asks before it accepts, and before it does either to many.
pub fn inbox(model: &mut Model, accept: bool) -> Vec<Effect> {
    let items: Vec<InboxItem> = match model.layers.last() {
        Some(Layer::Detail(detail)) => match &detail.subject {
            Subject::Inbox(item) => vec![(**item).clone()],
            _ => Vec::new(),
        },
        _ => many::chosen(model)
            .iter()
            .filter_map(|entry| match entry {
                Entry::Inbox(item) => Some((*item).clone()),
                _ => None,
            })
            .collect(),
    };
    let Some((item, others)) = items.split_first() else {
        model.toast(Tone::Undone, "select something in the inbox first");
        return Vec::new();
    };
    if !many::fits(model, items.len()) {
        return Vec::new();
    }
    let ids: Vec<String> = items.iter().map(|item| item.inbox_id.clone()).collect();
    if !accept && others.is_empty() {
        return answer_inbox(model, ids, accept);
    }
    // What would be signed is shown first, as it is for any receipt.
    if accept && others.is_empty() && item.kind == "attest" {
        return attesting::begin(model, VecDeque::from([item.subject.clone()]));
    }
    let verb = if accept { "Accept" } else { "Refuse" };
    let me = model.me().map(ToString::to_string).unwrap_or_default();
    let mut facts = Vec::new();
    if others.is_empty() {
        facts.push(("from".to_owned(), format!("{}  {}", model.name_of(&item.from), item.from)));
        facts.push(("asks".to_owned(), item.text.to_string()));
        facts.push(("about".to_owned(), zerostate::document::Untrusted::new(&item.subject).to_string()));
    } else {
        let shown = |item: &InboxItem| {
            let kind = zerostate::document::Untrusted::new(&item.kind);
            (
                cut(kind.as_str(), 10),
                format!("{}: {}", model.name_of(&item.from), cut(item.text.as_str(), 80)),
            )
        };
        facts.extend(items.iter().map(shown));
    }
    facts.push(("as".to_owned(), format!("you  {me}")));
    let title = match others.len() {
        0 => format!("{verb}: {}", item.kind),
        n => format!("{verb} {} of them", n + 1),
    };
    let warning = if accept && items.iter().any(|item| item.kind == "attest") {
        "The task is run again here, and what is found is signed and announced. It cannot be taken back."
    } else {
        ""
    };
    let what = Confirmed::Inbox { ids, accept };
    push(model, Layer::Confirm(Confirm::new(title, facts, warning, verb.to_owned(), what)))
}

/// Says yes or no to what waits.
pub fn answer_inbox(model: &mut Model, ids: Vec<String>, accept: bool) -> Vec<Effect> {
    let answer = |inbox_id: String| {
        super::execute(model, Command::Inbox { inbox_id, accept }, Purpose::Inbox { accept })
    };
    ids.into_iter().flat_map(answer).collect()
}

fn running(model: &Model) -> u64 {
    let snapshot = model.frozen.as_ref().map(|(latest, _)| latest).or(model.snapshot.as_ref());
    snapshot.map_or(0, |snapshot| snapshot.node.running)
}

/// Quits, or asks first when the node would stop with tasks running on it.
pub fn quit(model: &mut Model) -> Vec<Effect> {
    // What was asked for last may not have gone out yet.
    let asked: Vec<String> = model.pending.iter().filter_map(|pending| pending.purpose.waiting()).collect();
    if !asked.is_empty() {
        let mut facts: Vec<_> = asked.into_iter().map(|what| ("unanswered".to_owned(), what)).collect();
        facts.push(("now".to_owned(), "Whether the node does it is not known, if you leave now.".to_owned()));
        let question = Confirm::new("Quit".to_owned(), facts, "", "Quit".to_owned(), Confirmed::Quit);
        return push(model, Layer::Confirm(question));
    }
    let running = running(model);
    if !model.settings.stop_node_on_quit || running == 0 {
        return vec![Effect::Quit];
    }
    let tasks = if running == 1 { "1 task runs".to_owned() } else { format!("{running} tasks run") };
    let now = if model.settings.badge.as_deref() == Some("lab") {
        format!("{tasks} on this node. Quitting ends the lab, and nothing of it is kept.")
    } else {
        format!("{tasks} on this node. Quitting stops the node; started again, it begins what ran anew.")
    };
    let facts = vec![("now".to_owned(), now)];
    let question = Confirm::new("Quit".to_owned(), facts, "", "Quit".to_owned(), Confirmed::Quit);
    push(model, Layer::Confirm(question))
}

/// ^C: as quit, from wherever one is; the second one within two seconds asks nothing.
pub fn interrupt(model: &mut Model) -> Vec<Effect> {
    let twice = model.interrupted.is_some_and(|at| model.clock.duration_since(at) <= TWICE_WITHIN);
    if twice {
        return vec![Effect::Quit];
    }
    model.interrupted = Some(model.clock);
    let effects = quit(model);
    if effects.is_empty() {
        model.toast(Tone::Info, "once more to quit at once");
    }
    effects
}
