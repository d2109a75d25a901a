//! Every key of the key file does something where it is listed, and is shown in the help of that place.

use std::sync::Arc;

use super::stage::{Data, Look, model, picture, press, text};
use crate::console::action::Action;
use crate::console::chord::Chord;
use crate::console::keymap::{Binding, CONTEXTS, Keymap, Lookup};
use crate::console::layer_view::content;
use crate::console::layers::{Help, Layer};
use crate::console::model::{Model, Tone};
use crate::console::msg::Msg;
use crate::console::samples;
use crate::console::update::update;

/// Small, so that what is opened is longer than the screen.
const SIZE: (u16, u16) = (60, 16);

/// Keys that lead to a place where a section counts, more than one where one place does not show all of its keys.
fn ways(context: &str) -> &'static [&'static str] {
    match context {
        "global" => &["4 j j", "3 z", "4 enter", "8"],
        "list" => &["4 j j j j", "1 j j j j j j j j"],
        "peers" => &["1"],
        "guilds" => &["2"],
        "tasks" => &["3", "3 j j"],
        "receipts" => &["4", "4 space"],
        "attestations" => &["5"],
        "events" => &["6"],
        "inbox" => &["7"],
        "log" => &["8"],
        "detail" => &["4 j enter", "4 j enter j j", "4 j enter / a enter"],
        "compared-detail" => &["4 j ="],
        "guild-detail" => &["2 enter"],
        "task-detail" => &["3 enter", "3 j j j enter"],
        "receipt-detail" => &["4 j enter"],
        "attestation-detail" => &["5 j enter"],
        "peer-detail" => &["1 enter"],
        "inbox-detail" => &["7 enter"],
        "form" => &["2 n x", "2 n x tab", "S hello.wasm", "S tab"],
        "task-form" => &["S hello.wasm"],
        "filter" => &["4 j j / e"],
        "find" => &["3 enter m j / e", "S ctrl-o j / h"],
        "palette" => &[": e down", ": e"],
        "picker" => &["T", "T j j"],
        "files" => &["S ctrl-o", "S ctrl-o j"],
        "replay" => &["4"],
        "confirm" => &["4 j a", "4 j a down down"],
        "text" => &["3 enter m", "3 enter m j j", "3 enter m / a enter"],
        "help" => &["4 ?", "4 ? j j"],
        other => panic!("no way to [{other}] is known"),
    }
}

fn there(context: &str, way: &str) -> Model {
    let mut model = model(SIZE, Data::Little, Arc::new(samples::busy()), Look::Dark);
    if context == "replay" {
        model.settings.replay = Some(100);
        model.replayed = 50;
    }
    press(&mut model, way, Data::Little);
    model
}

/// What can be seen of a console, on the screen and in what it will do.
fn seen(model: &Model) -> String {
    let list = model.list(model.focus);
    let modes =
        (model.mouse, model.playing, model.replayed, model.private, model.zoomed, model.frozen.is_some());
    format!("{:?} {:?} {:?} {modes:?}", picture(model), list.selected, list.marked)
}

fn does_something(context: &str, binding: &Binding) -> bool {
    ways(context).iter().any(|way| {
        let mut model = there(context, way);
        let (contexts, _) = model.contexts();
        assert!(contexts.contains(&context), "\"{way}\" leads to {contexts:?} and not to [{context}]");
        model.toasts.clear();
        let before = seen(&model);
        let mut asked = 0;
        for chord in &binding.keys {
            let modifiers = if chord.ctrl {
                crossterm::event::KeyModifiers::CONTROL
            } else {
                crossterm::event::KeyModifiers::NONE
            };
            asked +=
                update(&mut model, Msg::Key(crossterm::event::KeyEvent::new(chord.code, modifiers))).len();
        }
        // To say that it cannot be done is not to do it.
        let refused = model.toasts.iter().any(|toast| matches!(toast.tone, Tone::Undone | Tone::Bad));
        !refused && (asked > 0 || seen(&model) != before)
    })
}

#[test]
fn every_key_does_something_where_it_is_listed() {
    let keymap = Keymap::new(None);
    let mut dead = Vec::new();
    for context in CONTEXTS {
        for binding in keymap.section(context) {
            // A second time ^C quits; the first one says so.
            if !does_something(context, binding) {
                dead.push(format!("[{context}] {} ({})", binding.keys_text(), binding.action.name()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new(), "keys that do nothing");
}

#[test]
fn every_key_reaches_its_action_and_not_another_one() {
    let keymap = Keymap::new(None);
    for context in CONTEXTS {
        for binding in keymap.section(context) {
            let reached = ways(context).iter().any(|way| {
                let model = there(context, way);
                let contexts = model.contexts().0;
                matches!(keymap.lookup(&contexts, &binding.keys), Lookup::Found(found) if found.action == binding.action)
            });
            assert!(reached, "[{context}] {} is hidden by another key", binding.keys_text());
        }
    }
}

#[test]
fn every_key_is_described_and_shown_in_help() {
    let model = there("list", "4");
    let keymap = Keymap::new(None);
    for context in CONTEXTS {
        for width in [56, 76, 114] {
            let help = Layer::Help(Help { contexts: vec![context], scroll: 0 });
            let lines = content(&model, &help, width).lines;
            let shown: String = lines.iter().map(|line| line.to_string() + "\n").collect();
            for binding in keymap.section(context) {
                assert!(!binding.desc.is_empty(), "[{context}] {} is not described", binding.keys_text());
                assert!(
                    shown.contains(&binding.keys_text()),
                    "[{context}] {} in\n{shown}",
                    binding.keys_text()
                );
                if width == 114 {
                    assert!(
                        shown.contains(&binding.desc),
                        "[{context}] \"{}\" is cut in\n{shown}",
                        binding.desc
                    );
                }
                let words: Vec<&str> = binding.desc.split(' ').collect();
                assert!(shown.contains(words[0]), "[{context}] {} in\n{shown}", binding.desc);
            }
        }
    }
}

#[test]
fn help_is_there_wherever_one_is_and_shows_the_keys_of_that_place() {
    for context in CONTEXTS.into_iter().filter(|context| *context != "help") {
        for way in ways(context) {
            for key in ["f1", "?"] {
                let mut model = there(context, way);
                // Where text is typed, that is text.
                let types = ["form", "task-form", "filter", "find", "palette"].contains(&context);
                if key == "?" && types {
                    continue;
                }
                press(&mut model, key, Data::Little);
                let Some(Layer::Help(help)) = model.layers.last() else {
                    panic!("{key} after \"{way}\" is no help")
                };
                assert!(help.contexts.contains(&context), "{:?} after \"{way}\"", help.contexts);
            }
        }
    }
}

#[test]
fn every_action_has_a_key_or_a_place_in_the_palette() {
    let keymap = Keymap::new(None);
    for action in Action::ALL {
        let key = keymap.binding_of(&CONTEXTS, *action);
        assert!(key.is_some() || action.in_palette(), "{} cannot be reached", action.name());
    }
}

#[test]
fn what_help_shows_is_all_there_at_every_width() {
    let model = there("list", "4");
    for width in [40, 56, 76, 92, 114] {
        let help = Layer::Help(Help { contexts: vec!["receipts", "list", "filter", "global"], scroll: 0 });
        for line in content(&model, &help, width).lines {
            assert!(line.width() <= width, "{width}: {line}");
        }
    }
    assert!(Chord::parse("?").is_some());
}

#[test]
fn what_is_said_of_keys_follows_the_users_file() {
    let file = "[global]\nkeys = [{ on = \"X\", run = \"submit\", desc = \"submit\", foot = \"submit\" }, { on = \"S\", run = \"none\" }]\n\
                [confirm]\nkeys = [{ on = \"o\", run = \"yes\", desc = \"oui\", foot = \"oui\" }, { on = \"y\", run = \"none\" }]\n";
    let mut nothing = model((120, 40), Data::Nothing, Arc::new(samples::nothing()), Look::Dark);
    nothing.keymap = Keymap::new(Some(file));
    assert_eq!(nothing.keymap.problems, Vec::<String>::new());
    let shown = |model: &Model| text(&picture(model));
    // The footer, the hint where there is nothing, help, and the palette.
    let said = shown(&nothing);
    assert!(said.lines().last().is_some_and(|footer| footer.contains("X submit")), "{said}");
    assert!(said.contains("X submits a") && !said.contains("S submits"), "{said}");
    press(&mut nothing, "? G", Data::Nothing);
    assert!(shown(&nothing).contains("X           submit"), "{}", shown(&nothing));
    press(&mut nothing, "esc : submit", Data::Nothing);
    let row = shown(&nothing).lines().find(|line| line.contains("submit a task")).map(str::to_owned);
    assert!(row.as_ref().is_some_and(|row| row.trim_end_matches([' ', '│']).ends_with('X')), "{row:?}");
    // And the answers of a question.
    let mut busy = model((120, 40), Data::Little, Arc::new(samples::busy()), Look::Dark);
    busy.keymap = Keymap::new(Some(file));
    press(&mut busy, "q", Data::Little);
    assert!(shown(&busy).contains("o  Quit"), "{}", shown(&busy));
    // A terminal that has no arrows and no signs is told of keys in words.
    let mut ascii = model((120, 40), Data::Little, Arc::new(samples::busy()), Look::Ascii);
    press(&mut ascii, ": open", Data::Little);
    assert!(shown(&ascii).contains("Enter"), "{}", shown(&ascii));
}
