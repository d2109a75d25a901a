//! What each message changes. A plain function: the model in, the model changed, what is to be done outside of it out.

mod actions;
mod answers;
mod asks;
mod attesting;
mod files;
mod guilds;
mod layered;
mod looks;
mod many;
mod mouse;
mod moving;
mod receipts;
mod replay;
mod settle;
#[cfg(test)]
mod tests;

use crossterm::event::KeyEvent;
use zerostate::api::Command;

use super::action::Action;
use super::backend::drawn;
use super::chord::Chord;
use super::forms::input;
use super::keymap::Lookup;
use super::layers::Layer;
use super::layout::is_too_small;
use super::model::{Model, Pane, Tone};
use super::msg::{Effect, Msg};
use super::pending::{PENDING_MAX, Pending, Purpose};
use super::rows::Listing;

/// Applies a message.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    if msg.is_operators() {
        model.inputs += 1;
    }
    let mut effects = match msg {
        Msg::Key(event) => key(model, &event),
        Msg::Paste(text) => paste(model, &text),
        Msg::Act(action, argument) => actions::act(model, action, &argument),
        Msg::Select(place) => {
            let pane = model.focus;
            if let Some(id) = Listing::of(model, pane).get(place).map(|row| row.id()) {
                let list = model.list_mut(pane);
                list.selected = Some(id);
                list.index = place;
            }
            Vec::new()
        }
        Msg::Fill(text) => {
            if let Some(into) = model.layers.last_mut().and_then(Layer::input) {
                into.reset();
            }
            paste(model, &text)
        }
        Msg::Mouse(event) => mouse::act(model, &event),
        Msg::Resize(width, height) => {
            let drawn = drawn((width, height));
            model.size = (drawn.width, drawn.height);
            Vec::new()
        }
        Msg::GoOn => Vec::new(),
        Msg::Armed(number) => {
            for layer in &mut model.layers {
                if let Layer::Confirm(question) = layer {
                    question.waits.take_if(|waits| *waits == number);
                }
            }
            Vec::new()
        }
        Msg::Snapshot(snapshot) => answers::snapshot(model, snapshot),
        Msg::Tick(now) => {
            model.clock = now;
            model.ticked = true;
            if model.settings.replay.is_none() {
                model.now = now;
            }
            model.toasts.retain(|toast| toast.until > now);
            model.older.tick();
            // What is held still is not read again: its rates would fall to nothing.
            if let Some(snapshot) = model.snapshot.clone().filter(|_| model.frozen.is_none()) {
                model.rates.read(&snapshot, model.changes(Pane::Peers).others, now);
            }
            replay::tick(model)
        }
        // A node that has not answered yet is not gone.
        Msg::Gone if model.snapshot.is_none() => Vec::new(),
        Msg::Gone => {
            model.gone.get_or_insert(model.now);
            Vec::new()
        }
        Msg::Answered { ticket, result } => answers::answered(model, ticket, result),
        Msg::Probed { generation, found } => layered::probed(model, generation, found),
        Msg::Completed { generation, paths } => layered::completed(model, generation, paths),
        Msg::Listed { folder, found } => {
            files::listed(model, &folder, found);
            Vec::new()
        }
        Msg::Edited(result) => files::edited(model, result),
        Msg::Bundled { ticket, result } => {
            answers::bundled(model, ticket, result);
            Vec::new()
        }
    };
    effects.extend(settle::settle(model));
    model.ticked = false;
    effects
}

/// Sends a command to the node and remembers what for.
fn execute(model: &mut Model, command: Command, purpose: Purpose) -> Vec<Effect> {
    match ticket(model, purpose) {
        Some(ticket) => vec![Effect::Execute { ticket, command }],
        None => Vec::new(),
    }
}

fn ticket(model: &mut Model, purpose: Purpose) -> Option<u64> {
    if model.pending.len() >= PENDING_MAX {
        model.toast(Tone::Bad, "the node has not answered the last commands yet; this one was not sent");
        return None;
    }
    let ticket = model.next_ticket;
    model.next_ticket += 1;
    model.pending.push(Pending { ticket, purpose });
    Some(ticket)
}

fn key(model: &mut Model, event: &KeyEvent) -> Vec<Effect> {
    let Some(chord) = Chord::of(event) else { return Vec::new() };
    if is_too_small(model.size) {
        return unseen(model, chord);
    }
    let (contexts, typing) = model.contexts();
    let mut keys = std::mem::take(&mut model.prefix);
    keys.push(chord);
    let mut found = model.keymap.lookup(&contexts, &keys);
    if typing && matches!(found, Lookup::Nothing) && chord.ctrl {
        // Where text is typed, of the keys that count everywhere only those with ctrl are left.
        found = model.keymap.lookup(&["global"], &keys);
    }
    match found {
        Lookup::Found(binding) => {
            let action = binding.action;
            actions::act(model, action, "")
        }
        Lookup::Prefix => {
            model.prefix = keys;
            Vec::new()
        }
        // A sequence that leads nowhere: its last key is taken by itself.
        Lookup::Nothing if keys.len() > 1 => key(model, event),
        Lookup::Nothing => typed(model, event),
    }
}

/// Where nothing can be shown, nothing is done but leaving.
fn unseen(model: &mut Model, chord: Chord) -> Vec<Effect> {
    match model.keymap.lookup(&["global"], &[chord]) {
        Lookup::Found(binding) => match binding.action {
            Action::Quit | Action::Interrupt => asks::interrupt(model),
            action @ (Action::Repaint | Action::Suspend) => actions::act(model, action, ""),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn typed(model: &mut Model, event: &KeyEvent) -> Vec<Effect> {
    if let Some(layer) = model.layers.last_mut() {
        let changed = layer.input().is_some_and(|text| input::key(text, event));
        return if changed { layered::changed(model) } else { Vec::new() };
    }
    if let Some(filter) = &mut model.filtering {
        input::key(filter, event);
        let text = filter.value().to_owned();
        let focus = model.focus;
        model.list_mut(focus).filter = text;
    }
    Vec::new()
}

/// Pasted text goes into inputs, and nowhere else.
fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    if is_too_small(model.size) {
        return Vec::new();
    }
    if let Some(layer) = model.layers.last_mut() {
        let Some(into) = layer.input() else { return Vec::new() };
        input::paste(into, text);
        return layered::changed(model);
    }
    if let Some(filter) = &mut model.filtering {
        input::paste(filter, text);
        let text = filter.value().to_owned();
        let focus = model.focus;
        model.list_mut(focus).filter = text;
    }
    Vec::new()
}
