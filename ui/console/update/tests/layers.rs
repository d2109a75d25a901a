//! What lies over the panes, and the ways out.

use std::sync::Arc;

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::SignedDuration;
use zerostate::api::{Answer, Command, TaskState};

use super::{model, press, selected, ticket};
use crate::console::depth::Depth;
use crate::console::details::Subject;
use crate::console::forms::submit::Field;
use crate::console::layers::{FileEntry, Layer};
use crate::console::model::{Model, Pane};
use crate::console::msg::{Effect, Msg};
use crate::console::rows::Listing;
use crate::console::samples;
use crate::console::tests::stage::{picture, text};
use crate::console::theme::Theme;
use crate::console::update::update;

#[test]
fn escape_goes_one_level_back_and_never_quits() {
    let mut model = model();
    press(&mut model, "4 enter ?");
    assert_eq!(model.layers.len(), 2);
    for _ in 0..5 {
        assert_eq!(press(&mut model, "esc"), []);
    }
    assert!(model.layers.is_empty());
}

#[test]
fn q_asks_when_tasks_run_and_its_answer_is_no_until_one_moves() {
    let mut model = model();
    assert_eq!(press(&mut model, "q"), []);
    assert!(matches!(model.layers.last(), Some(Layer::Confirm(question)) if !question.yes));
    assert_eq!(press(&mut model, "enter"), []);
    assert!(model.layers.is_empty());
    assert_eq!(press(&mut model, "q y"), [Effect::Quit]);
}

#[test]
fn q_quits_at_once_when_nothing_runs_or_the_node_goes_on_anyway() {
    let mut quiet = model();
    update(&mut quiet, Msg::Snapshot(Arc::new(samples::nothing())));
    assert_eq!(press(&mut quiet, "q"), [Effect::Quit]);
    let mut attached = model();
    attached.settings.stop_node_on_quit = false;
    assert_eq!(press(&mut attached, "q"), [Effect::Quit]);
}

#[test]
fn interrupt_twice_within_two_seconds_quits_at_once_from_anywhere() {
    let mut model = model();
    press(&mut model, "S");
    assert_eq!(press(&mut model, "ctrl-c"), []);
    assert_eq!(press(&mut model, "ctrl-c"), [Effect::Quit]);
    model.interrupted = None;
    assert_eq!(press(&mut model, "ctrl-c"), []);
    let later = model.now.checked_add(SignedDuration::from_secs(3)).unwrap();
    update(&mut model, Msg::Tick(later));
    assert_eq!(press(&mut model, "ctrl-c"), [], "three seconds later it is the first one again");
}

#[test]
fn an_opened_receipt_is_read_again_when_the_snapshot_says_it_changed() {
    let mut model = model();
    let effects = press(&mut model, "4 j enter");
    let detail = Answer::Receipt(Box::new(samples::receipt_detail()));
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(detail) });
    assert_eq!(
        update(&mut model, Msg::Snapshot(Arc::new(samples::busy()))),
        [],
        "nothing changed, nothing is asked"
    );
    let mut next = samples::busy();
    next.receipts.items[1].agree += 1;
    let effects = update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert!(matches!(&effects[..], [Effect::Execute { command: Command::ReceiptShow { .. }, .. }]));
}

#[test]
fn a_receipt_whose_envelope_says_something_else_is_shown_as_not_holding() {
    let mut model = model();
    let effects = press(&mut model, "4 j enter");
    let mut lie = samples::receipt_detail();
    lie.receipt.fuel_used -= 1;
    update(
        &mut model,
        Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Receipt(Box::new(lie))) },
    );
    let Some(Layer::Detail(detail)) = model.layers.last() else { panic!("no detail") };
    assert!(matches!(&detail.signature, Some(Err(_))));
    assert!(matches!(&detail.subject, Subject::Receipt { .. }));
}

#[test]
fn toasts_go_away_by_themselves_and_bad_ones_stay_in_the_log() {
    let mut model = model();
    model.toast(crate::console::model::Tone::Bad, "something failed");
    let later = model.now.checked_add(SignedDuration::from_secs(11)).unwrap();
    update(&mut model, Msg::Tick(later));
    assert!(model.toasts.is_empty());
    press(&mut model, "8");
    assert!(Listing::of(&model, Pane::Log).from(0).last().unwrap().1.copied().contains("something failed"));
}

#[test]
fn themes_are_tried_and_left_as_they_were_or_kept() {
    let mut model = model();
    model.themes = Theme::all(None, Depth::TrueColor).0;
    press(&mut model, "T j");
    assert_eq!(model.theme.name, "light");
    press(&mut model, "esc");
    assert_eq!(model.theme.name, "dark");
    press(&mut model, "T j j enter");
    assert_eq!(model.theme.name, "high-contrast");
    press(&mut model, ": theme space mono enter");
    assert_eq!(model.theme.name, "mono");
}

fn click(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    let kind = MouseEventKind::Down(MouseButton::Left);
    update(model, Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
}

#[test]
fn a_click_answers_a_question_where_its_answers_stand() {
    let at = |model: &Model, answer: &str| {
        let text = text(&picture(model));
        let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(answer)).unwrap();
        let column = line.split(answer).next().unwrap().chars().count();
        (u16::try_from(column).unwrap(), u16::try_from(row).unwrap())
    };
    let mut model = model();
    press(&mut model, "q");
    let (column, row) = at(&model, "y  Quit");
    assert_eq!(click(&mut model, column, row - 1), [], "beside the answers");
    assert_eq!(model.layers.len(), 1);
    assert_eq!(click(&mut model, column, row), [Effect::Quit]);
    press(&mut model, "q");
    let (column, row) = at(&model, "n  No");
    assert_eq!(click(&mut model, column, row), []);
    assert!(model.layers.is_empty());
}

#[test]
fn a_word_is_looked_for_in_what_is_open() {
    let mut model = model();
    update(&mut model, Msg::Resize(80, 24));
    let ticket = ticket(&press(&mut model, "4 enter"));
    let receipt = Ok(Answer::Receipt(Box::new(samples::receipt_detail())));
    update(&mut model, Msg::Answered { ticket, result: receipt });
    press(&mut model, "m");
    let is_shown = |model: &Model, what: &str| text(&picture(model)).contains(what);
    assert!(!is_shown(&model, "quorum"));
    press(&mut model, "/ q u o r u");
    assert!(is_shown(&model, "\"quorum\": 3") && is_shown(&model, "quoru: 1 of 1"), "as one types");
    // While it is typed keys are text; kept, they go from place to place, and round the end.
    press(&mut model, "n");
    assert!(is_shown(&model, "quorun: not found"));
    press(&mut model, "backspace backspace backspace backspace backspace backspace M A x _ enter");
    let mut gone_to = Vec::new();
    for _ in 0..4 {
        press(&mut model, "n");
        let Some(Layer::Text(text)) = model.layers.last() else { panic!("{:?}", model.layers) };
        gone_to.push(text.find.at);
    }
    assert!(is_shown(&model, "of 3") && gone_to[0] == gone_to[3], "{gone_to:?}");
    press(&mut model, "N");
    let Some(Layer::Text(text)) = model.layers.last() else { panic!("{:?}", model.layers) };
    assert_eq!(text.find.at, gone_to[2]);
    // Esc takes the word away, then the text.
    press(&mut model, "esc");
    assert!(!is_shown(&model, "of 3") && model.layers.len() == 2);
    press(&mut model, "n");
    assert!(model.toasts.iter().any(|toast| toast.text.contains("/ looks for a word")));
    // Who takes back what was only typed is where one was.
    let scroll = |model: &Model| match model.layers.last() {
        Some(Layer::Text(text)) => text.scroll,
        other => panic!("{other:?}"),
    };
    press(&mut model, "g g j");
    let before = scroll(&model);
    press(&mut model, "/ q u o r u m");
    assert_ne!(scroll(&model), before);
    press(&mut model, "esc");
    assert_eq!(scroll(&model), before);
    press(&mut model, "esc");
    assert_eq!(model.layers.len(), 1);
}

#[test]
fn what_is_open_is_offered_only_what_can_be_done_with_it() {
    let footer = |model: &Model| text(&picture(model)).lines().last().unwrap().to_owned();
    let own = samples::did(1);
    for state in [TaskState::Running, TaskState::Cancelled { reason: "it took too long".into() }] {
        for creator in [own.clone(), samples::did(2)] {
            let mut model = model();
            let sent = ticket(&press(&mut model, "3 enter"));
            let mut detail = samples::task_detail();
            (detail.view.record.state, detail.view.record.creator) = (state.clone(), creator.clone());
            update(&mut model, Msg::Answered { ticket: sent, result: Ok(Answer::Task(Box::new(detail))) });
            let possible = state == TaskState::Running && creator == own;
            assert_eq!(footer(&model).contains("x cancel"), possible, "{state:?}: {}", footer(&model));
        }
    }
    for executor in [own, samples::did(2)] {
        let mut model = model();
        let sent = ticket(&press(&mut model, "4 enter"));
        let mut detail = samples::receipt_detail();
        detail.record.executor = executor.clone();
        update(&mut model, Msg::Answered { ticket: sent, result: Ok(Answer::Receipt(Box::new(detail))) });
        let possible = executor != samples::did(1);
        assert_eq!(footer(&model).contains("a attest"), possible, "{}", footer(&model));
    }
}

#[test]
fn a_journal_offers_nothing_that_needs_a_node() {
    let mut model = model();
    let shows = |model: &Model, what: &str| text(&picture(model)).contains(what);
    for (replay, there) in [(None, true), (Some(9), false)] {
        model.settings.replay = replay;
        assert_eq!(shows(&model, "S submit"), there);
        press(&mut model, "?");
        assert_eq!(shows(&model, "submit a task: a module or a manifest"), there);
        press(&mut model, "esc : submit");
        assert_eq!(shows(&model, "submit a task"), there);
        press(&mut model, "esc");
        for keys in ["S", "3 x", "c", "J", "4 a"] {
            model.toasts.clear();
            let effects = press(&mut model, keys);
            let said = model.toasts.iter().any(|toast| toast.text.contains("needs a node that runs"));
            assert_eq!(said, !there, "{keys}: {:?}", model.toasts);
            assert!(there || (effects.is_empty() && model.layers.is_empty()), "{keys}: {effects:?}");
            model.layers.clear();
        }
    }
}

#[test]
fn files_are_found_by_a_part_of_their_names() {
    let mut model = model();
    press(&mut model, "S ctrl-o");
    let entry = |name: &str, folder| FileEntry { name: name.to_owned(), folder, size: 9 };
    let found = vec![entry("examples", true), entry("hello.toml", false), entry("primes.wasm", false)];
    update(&mut model, Msg::Listed { folder: String::new(), found: Ok(found) });
    press(&mut model, "/ P r i");
    let shown = |model: &Model| match model.layers.last() {
        Some(Layer::Files(files)) => files.shown().iter().map(|file| file.name.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&model), ["primes.wasm"]);
    // Kept, and taken.
    press(&mut model, "enter enter");
    assert!(
        matches!(model.layers.last(), Some(Layer::Submit(form)) if form.value(Field::Path) == "primes.wasm")
    );
}

#[test]
fn a_click_goes_where_it_points_and_a_second_one_opens() {
    let mut model = model();
    // The third receipt: the pane's frame is in the row 14.
    click(&mut model, 10, 17);
    assert_eq!(model.focus, Pane::Receipts);
    let chosen = selected(&model, Pane::Receipts);
    let effects = click(&mut model, 10, 17);
    assert!(matches!(model.layers.last(), Some(Layer::Detail(detail)) if detail.id() == chosen));
    assert!(matches!(effects.as_slice(), [Effect::Execute { command: Command::ReceiptShow { .. }, .. }]));
    let wheel =
        MouseEvent { kind: MouseEventKind::ScrollDown, column: 100, row: 5, modifiers: KeyModifiers::NONE };
    press(&mut model, "esc");
    update(&mut model, Msg::Mouse(wheel));
    assert_eq!((model.focus, model.list(Pane::Tasks).index), (Pane::Tasks, 3));
}

#[test]
fn what_is_opened_over_each_other_has_an_end() {
    let mut model = model();
    for _ in 0..40 {
        press(&mut model, "I");
    }
    assert_eq!(model.layers.len(), 1, "the same is not opened over itself");
    for _ in 0..40 {
        press(&mut model, "esc 4 enter ? I");
        press(&mut model, "S");
    }
    assert!(model.layers.len() <= 13, "{}", model.layers.len());
}
