//! From a receipt or a task on to what belongs to it: its output, its guild, what its witnesses found, its bundle.

use zerostate::document::Untrusted;

use super::actions::{open_subject, push, with_selected};
use super::{attesting, many, ticket};
use crate::console::details::{Loaded, Subject};
use crate::console::layers::{Layer, Text};
use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::pending::Purpose;

/// What the open detail knows of what was printed, and by whose name.
fn printed(model: &Model) -> Option<(String, Option<Untrusted>)> {
    let Some(Layer::Detail(detail)) = model.layers.last() else { return None };
    match &detail.loaded {
        Loaded::Task(task) => Some((task.view.record.name.to_string(), task.output.clone())),
        Loaded::Receipt(receipt) => Some((receipt.record.name.to_string(), receipt.output.clone())),
        Loaded::Nothing => None,
    }
}

/// Shows what was printed, by itself.
pub fn output(model: &mut Model) -> Vec<Effect> {
    match printed(model) {
        Some((name, Some(output))) => {
            let body = if output.as_str().is_empty() {
                "nothing was printed".to_owned()
            } else {
                output.to_string()
            };
            push(model, Layer::Text(Text { title: format!("Output of {name}"), body, ..Text::default() }))
        }
        Some((_, None)) => {
            model.toast(Tone::Undone, "the output is not known here, only its digest");
            Vec::new()
        }
        None => {
            model.toast(Tone::Undone, "open a task or a receipt first");
            Vec::new()
        }
    }
}

/// Sets what every witness found beside what the receipt says.
pub fn compare(model: &mut Model) -> Vec<Effect> {
    match attesting::receipt_here(model) {
        Some(id) => open_subject(model, Subject::Compared { id }),
        None => {
            model.toast(Tone::Undone, "select a receipt to compare what its witnesses found");
            Vec::new()
        }
    }
}

/// Opens the guild of a task or a receipt.
pub fn guild(model: &mut Model) -> Vec<Effect> {
    let guild = match model.layers.last() {
        Some(Layer::Detail(detail)) => match &detail.loaded {
            Loaded::Task(task) => task.view.record.guild_id.clone(),
            Loaded::Receipt(receipt) => receipt.receipt.guild.clone(),
            Loaded::Nothing => None,
        },
        Some(_) => None,
        None => with_selected(model, |entry| match entry {
            Entry::Task(task) => task.record.guild_id.clone(),
            _ => None,
        }),
    };
    match guild {
        Some(id) => open_subject(model, Subject::Guild { id }),
        None => {
            model.toast(Tone::Undone, "it was done in no guild");
            Vec::new()
        }
    }
}

/// Has the receipt here, or all that are marked, written into files with all that proves them.
pub fn bundle(model: &mut Model) -> Vec<Effect> {
    let receipts: Vec<String> = match model.layers.last() {
        Some(Layer::Detail(_)) => attesting::receipt_here(model).into_iter().collect(),
        Some(_) => Vec::new(),
        None => many::chosen(model)
            .iter()
            .filter_map(|entry| match entry {
                Entry::Receipt(receipt) => Some(receipt.receipt_id.clone()),
                Entry::Attestation(one) => Some(one.receipt_id.clone()),
                _ => None,
            })
            .collect(),
    };
    if receipts.is_empty() {
        model.toast(Tone::Undone, "select a receipt to write it into a file");
    }
    if !many::fits(model, receipts.len()) {
        return Vec::new();
    }
    let mut ask = |receipt_id: String| {
        let name = attesting::known(model, &receipt_id).0;
        Some(Effect::Bundle { ticket: ticket(model, Purpose::Bundle { name })?, receipt_id })
    };
    receipts.into_iter().filter_map(&mut ask).collect()
}
