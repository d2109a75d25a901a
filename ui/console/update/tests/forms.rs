//! Forms: text is text, and what was typed is not lost.

use std::sync::Arc;

use zerostate::api::{Answer, ApiError, Command, ErrorKind};
use zerostate::document::ArtifactSource;

use super::{model, press, ticket};
use crate::console::layers::Layer;
use crate::console::model::{Model, Pane};
use crate::console::msg::{Effect, Msg, Probe};
use crate::console::samples;
use crate::console::tests::stage::{picture, text};
use crate::console::update::update;

#[test]
fn a_paste_is_text_and_never_a_command() {
    let mut model = model();
    assert_eq!(update(&mut model, Msg::Paste("q\n:quit\n".into())), []);
    press(&mut model, ":");
    assert_eq!(update(&mut model, Msg::Paste("quit\n".into())), []);
    assert!(matches!(model.layers.last(), Some(Layer::Palette(palette)) if palette.input.value() == "quit"));
}

#[test]
fn a_module_is_submitted_with_its_draft_and_the_answer_becomes_a_toast() {
    let mut model = model();
    let effects = press(&mut model, "S ./hello.wasm");
    let Some(Effect::Probe { generation, path }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(path, "./hello.wasm");
    assert_eq!(press(&mut model, "ctrl-s"), [], "nothing is submitted before the file was looked at");
    update(&mut model, Msg::Probed { generation: generation - 1, found: Err("late".into()) });
    // It is as soon as the file was.
    let effects =
        update(&mut model, Msg::Probed { generation: *generation, found: Ok(Probe::Module { size: 8 }) });
    let [Effect::Submit { module: Some(module), draft, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((module.to_str(), draft.name.as_str()), (Some("./hello.wasm"), "hello"));
    assert!(matches!(&draft.artifact, ArtifactSource::Path(_)));
    let error = ApiError::new(ErrorKind::Failed, "disk full").hint("make room");
    assert!(text(&picture(&model)).contains("the node is asked"), "it stays until the node has taken it");
    assert_eq!(press(&mut model, "ctrl-s"), [], "it is not submitted twice");
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Err(error) });
    let shown = text(&picture(&model));
    assert!(shown.contains("✗ hello was not submitted: disk full; make room"), "{shown}");
    // What was typed is still there, and goes when the node has taken it.
    let effects = press(&mut model, "ctrl-s");
    let [Effect::Submit { draft, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(draft.name, "hello");
    let answer = Answer::Submitted { task_id: "ab".repeat(16) };
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(answer) });
    assert!(model.layers.is_empty());
    assert!(model.toasts.last().unwrap().text.contains("hello submitted"), "{:?}", model.toasts);
}

#[test]
fn a_form_that_is_gone_when_the_node_refuses_leaves_a_toast() {
    let mut model = model();
    press(&mut model, "S x");
    let Some(Layer::Submit(form)) = model.layers.last() else { panic!() };
    let found = Msg::Probed { generation: form.generation, found: Ok(Probe::Module { size: 8 }) };
    update(&mut model, found);
    let effects = press(&mut model, "ctrl-s");
    press(&mut model, "esc");
    assert!(model.layers.is_empty(), "what was asked is asked");
    // Nobody leaves before it is answered, unless that is meant.
    model.settings.stop_node_on_quit = false;
    assert_eq!(press(&mut model, "q"), []);
    assert!(text(&picture(&model)).contains("submitting x"));
    press(&mut model, "n");
    let error = ApiError::new(ErrorKind::Failed, "disk full");
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Err(error) });
    assert!(model.toasts.last().unwrap().text.contains("disk full"), "{:?}", model.toasts);
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
}

#[test]
fn a_task_can_be_for_one_guild_alone() {
    let mut model = model();
    let chosen = model.snapshot.as_ref().unwrap().guilds.items[0].clone();
    for keys in ["2 d", "2 enter d"] {
        press(&mut model, &format!("{keys} x"));
        let shown = text(&picture(&model));
        assert!(shown.contains(&format!("Submit a task to {} alone", chosen.name)), "{keys}\n{shown}");
        press(&mut model, "ctrl-s");
        let Some(Layer::Submit(form)) = model.layers.last() else { panic!("{keys}") };
        let found = Msg::Probed { generation: form.generation, found: Ok(Probe::Module { size: 8 }) };
        let effects = update(&mut model, found);
        let [Effect::Submit { guild: Some(guild), .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(*guild, chosen.guild_id);
        model.layers.clear();
    }
    // Where one may only watch, and where one is not in yet, the node would refuse what one has typed.
    let mut other = samples::busy();
    let watched =
        other.guilds.items.iter_mut().find(|guild| guild.role.as_deref() == Some("observer")).unwrap();
    let id = watched.guild_id.clone();
    for (state, said) in [("member", "observer may not propose a task"), ("asking", "you are not in it yet")]
    {
        let guild = other.guilds.items.iter_mut().find(|guild| guild.guild_id == id).unwrap();
        guild.state = state.to_owned();
        update(&mut model, Msg::Snapshot(Arc::new(other.clone())));
        model.list_mut(Pane::Guilds).selected = Some(id.clone());
        press(&mut model, "2 d");
        assert!(model.layers.is_empty(), "{state}");
        let toast = &model.toasts.last().unwrap().text;
        assert!(toast.contains(said), "{toast}");
    }
    press(&mut model, "S x ctrl-s");
    let Some(Layer::Submit(form)) = model.layers.last() else { panic!() };
    let found = Msg::Probed { generation: form.generation, found: Ok(Probe::Module { size: 8 }) };
    let effects = update(&mut model, found);
    assert!(matches!(&effects[..], [Effect::Submit { guild: None, .. }]), "{effects:?}");
}

#[test]
fn leaving_a_form_asks_only_when_something_was_typed() {
    let mut model = model();
    press(&mut model, "S esc");
    assert!(model.layers.is_empty());
    // A module, an address, a guild that is founded, and one that is joined.
    for (empty, typed) in [("S", "S x"), ("c", "c x"), ("2 n", "2 n x"), ("J", "J x")] {
        press(&mut model, &format!("{empty} esc"));
        assert!(model.layers.is_empty(), "{empty}");
        press(&mut model, &format!("{typed} esc"));
        assert!(matches!(model.layers.last(), Some(Layer::Confirm(question)) if !question.yes), "{typed}");
        press(&mut model, "enter");
        assert_eq!(model.layers.len(), 1, "{typed}: it stands at No");
        press(&mut model, "esc y");
        assert!(model.layers.is_empty(), "{typed}");
        press(&mut model, &format!("{typed} backspace esc"));
        assert!(model.layers.is_empty(), "{typed}: it was taken back");
    }
}

#[test]
fn what_was_asked_for_stands_in_the_header_until_it_is_answered() {
    let shows = |model: &Model, what: &str| text(&picture(model)).lines().next().unwrap().contains(what);
    let mut model = model();
    let form = press(&mut model, "c /ip4/192.0.2.9/tcp/4001 ctrl-s");
    assert!(shows(&model, "… connecting to /ip4/192.0.2.9"), "{}", text(&picture(&model)));
    let cancel = press(&mut model, "3 gg x y");
    assert!(shows(&model, "… connecting to") && shows(&model, " +1"), "{}", text(&picture(&model)));
    let refused = ApiError::new(ErrorKind::Failed, "connection refused");
    update(&mut model, Msg::Answered { ticket: ticket(&form), result: Err(refused) });
    assert!(shows(&model, "… cancelling ") && !shows(&model, " +1"), "{}", text(&picture(&model)));
    update(&mut model, Msg::Answered { ticket: ticket(&cancel), result: Ok(Answer::Done) });
    assert!(!shows(&model, " … "), "{}", text(&picture(&model)));
}

#[test]
fn connecting_from_the_palette_takes_the_address_and_says_why_it_failed() {
    let mut model = model();
    press(&mut model, ":");
    update(&mut model, Msg::Paste("connect /ip4/192.0.2.9/tcp/4001".into()));
    let effects = press(&mut model, "enter");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Connect { address }, .. }] if address == "/ip4/192.0.2.9/tcp/4001")
    );
    let refused = ApiError::new(ErrorKind::Failed, "connection refused\u{1b}[2J");
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Err(refused) });
    let toast = &model.toasts.last().unwrap().text;
    assert!(toast.contains("connection refused") && !toast.contains('\u{1b}'), "{toast}");
}

#[test]
fn a_form_that_is_submitted_before_its_file_was_looked_at_is_submitted_when_it_was() {
    let mut model = model();
    press(&mut model, "S hello.wasm");
    let Some(Layer::Submit(form)) = model.layers.last() else { panic!("no form") };
    let generation = form.generation;
    assert_eq!(press(&mut model, "ctrl-s"), []);
    assert!(model.toasts.is_empty(), "{:?}", model.toasts);
    let effects = update(&mut model, Msg::Probed { generation, found: Ok(Probe::Module { size: 9 }) });
    assert!(matches!(effects.as_slice(), [Effect::Submit { .. }]), "{effects:?}");
    // What was typed since then is meant otherwise.
    press(&mut model, "S hello.was");
    press(&mut model, "ctrl-s");
    press(&mut model, "m");
    let Some(Layer::Submit(form)) = model.layers.last() else { panic!("no form") };
    let generation = form.generation;
    assert_eq!(update(&mut model, Msg::Probed { generation, found: Ok(Probe::Module { size: 9 }) }), []);
}

#[test]
fn what_stands_at_a_path_is_taken_in_under_whatever_lies_over_the_form() {
    let mut model = model();
    press(&mut model, "S hello.wasm");
    let Some(Layer::Submit(form)) = model.layers.last() else { panic!("no form") };
    let generation = form.generation;
    press(&mut model, "ctrl-s ctrl-o");
    let effects = update(&mut model, Msg::Probed { generation, found: Ok(Probe::Module { size: 9 }) });
    assert_eq!(effects, [], "it was not to be submitted any more");
    let Some(Layer::Submit(form)) = model.layers.first() else { panic!("no form") };
    assert!(form.found.is_some());
}
