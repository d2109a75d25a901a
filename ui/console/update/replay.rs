//! Going back and forth in a recorded journal.

use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;

/// Some entries back or on.
pub fn step(model: &mut Model, by: isize) -> Vec<Effect> {
    model.playing = false;
    go(model, model.replayed.saturating_add_signed(by))
}

/// Some tenths of the journal back or on.
pub fn tenths(model: &mut Model, by: isize) -> Vec<Effect> {
    let tenth = model.settings.replay.unwrap_or_default().div_ceil(10);
    step(model, by.saturating_mul(isize::try_from(tenth).unwrap_or(isize::MAX)))
}

/// Lets it run, from the beginning when it is at its end; or stops it.
pub fn play(model: &mut Model) -> Vec<Effect> {
    let Some(total) = model.settings.replay else { return live(model) };
    model.playing = !model.playing;
    if model.playing && model.replayed >= total { go(model, 0) } else { Vec::new() }
}

/// A second has gone by.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    if !model.playing {
        return Vec::new();
    }
    let effects = go(model, model.replayed + 1);
    model.playing = !effects.is_empty();
    effects
}

fn go(model: &mut Model, to: usize) -> Vec<Effect> {
    let Some(total) = model.settings.replay else { return live(model) };
    let to = to.min(total);
    if to == model.replayed {
        return Vec::new();
    }
    model.replayed = to;
    vec![Effect::Seek(to)]
}

fn live(model: &mut Model) -> Vec<Effect> {
    model.toast(
        Tone::Info,
        "this node is live; `zerostate --replay FILE` goes through a journal that was kept",
    );
    Vec::new()
}
