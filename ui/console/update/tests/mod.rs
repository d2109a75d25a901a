//! The rules of the console, one behaviour a test.

mod attesting;
mod forms;
mod guilds;
mod inbox;
mod layers;
mod lists;
mod sorting;

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;

use crate::console::depth::Depth;
use crate::console::keymap::Keymap;
use crate::console::model::{Model, Pane, Settings};
use crate::console::msg::{Effect, Msg};
use crate::console::rows::Listing;
use crate::console::samples;
use crate::console::theme::Theme;
use crate::console::update::update;

fn model() -> Model {
    let theme = Theme::load("dark", None, Depth::TrueColor).0;
    let settings = Settings { stop_node_on_quit: true, ..Settings::default() };
    let mut model = Model::new(settings, theme, Keymap::new(None), TimeZone::UTC, samples::now());
    update(&mut model, Msg::Resize(120, 40));
    update(&mut model, Msg::Snapshot(Arc::new(samples::busy())));
    model
}

/// Presses keys, written as the key file writes them, one word each; other words are typed letter by letter.
fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    let word = |word: &str| crate::console::chord::Chord::parse(word);
    for part in keys.split(' ') {
        let events: Vec<KeyEvent> = match word(part) {
            Some(chord) => {
                let modifiers = if chord.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                vec![KeyEvent::new(chord.code, modifiers)]
            }
            None => part.chars().map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)).collect(),
        };
        for event in events {
            effects.extend(update(model, Msg::Key(event)));
        }
    }
    effects
}

fn selected(model: &Model, pane: Pane) -> String {
    let rows = Listing::of(model, pane);
    rows.get(rows.selected().unwrap()).unwrap().id()
}

fn ticket(effects: &[Effect]) -> u64 {
    match effects {
        [Effect::Execute { ticket, .. } | Effect::Submit { ticket, .. }] => *ticket,
        other => panic!("one command is expected, not {other:?}"),
    }
}
