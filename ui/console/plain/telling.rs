//! What is told unasked: what happens, what became of what was asked, what was opened, the field that is to be filled in.

use zerostate::api::{Event, Snapshot};

use super::Plain;
use super::spoken::plain_lines;
use crate::console::details::HEARD;
use crate::console::layer_view::content;
use crate::console::layers::Layer;
use crate::console::model::Tone;
use crate::console::panes::describe;

/// Of what happened while nobody listened, so much is told.
const EVENTS_AT_ONCE: usize = 20;

/// What was told already.
#[derive(Default)]
pub(super) struct Told {
    /// The number of the last event.
    event: Option<u64>,
    toast: u64,
    /// The layers, by how many there are and what the topmost one said.
    layers: usize,
    top: String,
    /// The field that was asked for.
    field: String,
    gone: bool,
}

impl Told {
    /// What is open is to be told once more.
    pub(super) fn again(&mut self) {
        self.top.clear();
    }
}

impl Plain {
    /// Tells what has not been told yet: what the node says, notes, what was opened, the field that is to be filled in.
    pub(super) fn tell(&mut self) {
        self.tell_events();
        let gone = self.model.gone.is_some();
        if gone != self.told.gone {
            self.told.gone = gone;
            if gone {
                self.say("Node: gone; it is looked for.");
            }
        }
        let fresh = self.model.toasts.iter().filter(|toast| toast.number > self.told.toast);
        let fresh: Vec<_> = fresh.map(|toast| (toast.number, toast.tone, toast.text.clone())).collect();
        for (number, tone, text) in fresh {
            let kind = match tone {
                Tone::Info => "Note",
                Tone::Good => "Done",
                Tone::Undone => "Not done",
                Tone::Bad => "Failed",
            };
            self.failed |= matches!(tone, Tone::Undone | Tone::Bad);
            self.say(&format!("{kind}: {text}."));
            self.told.toast = number;
        }
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
        // Nothing is wrapped or cut: what reads lines has its own ways to go through long ones.
        let inside = content(&self.model, layer, HEARD);
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
            let unread =
                matches!(self.model.layers.last(), Some(Layer::Detail(detail)) if detail.problem.is_some());
            self.failed |= unread;
            if is_question {
                self.say("Type yes or no.");
            }
        } else if is_form && body != self.told.top {
            // Of a form that was told, only what is wrong with it.
            let told = std::mem::take(&mut self.told.top);
            for line in lines.iter().filter(|line| line.contains('✗') && !told.contains(line.as_str())) {
                self.failed = true;
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
}

pub(super) fn summary(snapshot: &Snapshot) -> String {
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
