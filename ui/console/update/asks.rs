//! The questions that are asked before something that cannot be taken back.

use jiff::SignedDuration;
use zerostate::api::Command;

use super::actions::{push, task_here, with_selected};
use crate::console::layers::{Confirm, Confirmed, Layer};
use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::pending::Purpose;

/// A second ^C within this time is meant at once.
const TWICE_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// Asks before a task is stopped.
pub fn cancel(model: &mut Model) -> Vec<Effect> {
    let Some(task) = task_here(model) else {
        model.toast(Tone::Info, "select a task to cancel it");
        return Vec::new();
    };
    let record = task.record;
    if !record.state.is_pending() {
        model.toast(
            Tone::Info,
            format!(
                "{} is {}: only a task without a receipt can be cancelled",
                record.name,
                record.state.word()
            ),
        );
        return Vec::new();
    }
    let question = Confirm {
        title: format!("Cancel {}", record.name),
        facts: vec![
            ("task".to_owned(), record.task_id.clone()),
            ("state".to_owned(), record.state.word().to_owned()),
            ("what".to_owned(), "The task is stopped where it is. There will be no receipt.".to_owned()),
        ],
        warning: String::new(),
        yes_label: "Cancel the task".to_owned(),
        yes: false,
        what: Confirmed::Cancel { task_id: record.task_id, name: record.name.to_string() },
        scroll: 0,
    };
    push(model, Layer::Confirm(question))
}

/// Refuses at once; asks before it accepts.
pub fn inbox(model: &mut Model, accept: bool) -> Vec<Effect> {
    let item = with_selected(model, |entry| match entry {
        Entry::Inbox(item) => Some((*item).clone()),
        _ => None,
    });
    let Some(item) = item else {
        model.toast(Tone::Info, "select something in the inbox first");
        return Vec::new();
    };
    if !accept {
        let command = Command::Inbox { inbox_id: item.inbox_id, accept };
        return super::execute(model, command, Purpose::Inbox { accept });
    }
    let me = model.me().map(ToString::to_string).unwrap_or_default();
    let question = Confirm {
        title: format!("Accept: {}", item.kind),
        facts: vec![
            ("from".to_owned(), format!("{}  {}", model.name_of(&item.from), item.from)),
            ("asks".to_owned(), item.text.to_string()),
            ("about".to_owned(), zerostate::document::Untrusted::new(&item.subject).to_string()),
            ("as".to_owned(), format!("you  {me}")),
        ],
        warning: if item.kind == "attest" {
            "The task is run again here, and what is found is signed and announced. It cannot be taken back."
                .to_owned()
        } else {
            String::new()
        },
        yes_label: "Accept".to_owned(),
        yes: false,
        what: Confirmed::Inbox { inbox_id: item.inbox_id, accept },
        scroll: 0,
    };
    push(model, Layer::Confirm(question))
}

fn running(model: &Model) -> u64 {
    let snapshot = model.frozen.as_ref().map(|(latest, _)| latest).or(model.snapshot.as_ref());
    snapshot.map_or(0, |snapshot| snapshot.node.running)
}

/// Quits, or asks first when the node would stop with tasks running on it.
pub fn quit(model: &mut Model) -> Vec<Effect> {
    let running = running(model);
    if !model.settings.stop_node_on_quit || running == 0 {
        return vec![Effect::Quit];
    }
    let tasks = if running == 1 { "1 task runs".to_owned() } else { format!("{running} tasks run") };
    let question = Confirm {
        title: "Quit".to_owned(),
        facts: vec![(
            "now".to_owned(),
            format!("{tasks} on this node. Quitting stops it; it begins them anew when it is started again."),
        )],
        warning: String::new(),
        yes_label: "Quit".to_owned(),
        yes: false,
        what: Confirmed::Quit,
        scroll: 0,
    };
    push(model, Layer::Confirm(question))
}

/// ^C: as quit, from wherever one is; the second one within two seconds asks nothing.
pub fn interrupt(model: &mut Model) -> Vec<Effect> {
    let twice = model.interrupted.is_some_and(|at| model.now.duration_since(at) <= TWICE_WITHIN);
    if twice {
        return vec![Effect::Quit];
    }
    model.interrupted = Some(model.now);
    let effects = quit(model);
    if effects.is_empty() {
        model.toast(Tone::Info, "once more to quit at once");
    }
    effects
}
