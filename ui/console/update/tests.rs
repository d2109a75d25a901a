//! The rules of the console, one behaviour a test.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use zerostate::api::{
    Answer, ApiError, Command, ErrorKind, GuildAnswer, GuildCommand, GuildView, Missed, Named, Page,
};
use zerostate::document::{ArtifactSource, Verdict};

use super::update;
use crate::console::depth::Depth;
use crate::console::details::Subject;
use crate::console::keymap::Keymap;
use crate::console::layers::Layer;
use crate::console::model::{Model, Pane, Settings};
use crate::console::msg::{Effect, Msg, Probe};
use crate::console::rows::Listing;
use crate::console::samples;
use crate::console::theme::Theme;

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

#[test]
fn selection_is_by_id_so_rows_that_move_do_not_steal_it() {
    let mut model = model();
    press(&mut model, "4 j j");
    let before = selected(&model, Pane::Receipts);
    let mut next = samples::busy();
    next.receipts.items.rotate_right(3);
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Receipts), before);
}

#[test]
fn a_row_that_goes_away_leaves_the_selection_where_it_was() {
    let mut model = model();
    press(&mut model, "4 j j");
    let mut next = samples::busy();
    let third = next.receipts.items.remove(2);
    let expected = next.receipts.items[2].receipt_id.clone();
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_ne!(selected(&model, Pane::Receipts), third.receipt_id);
    assert_eq!(selected(&model, Pane::Receipts), expected);
}

#[test]
fn the_top_of_a_list_sticks_to_the_newest_until_one_moves() {
    let mut model = model();
    press(&mut model, "4");
    let mut next = samples::busy();
    let newest = next.receipts.items.pop().unwrap();
    next.receipts.items.insert(0, newest.clone());
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Receipts), newest.receipt_id);
}

#[test]
fn events_follow_until_one_scrolls_up_and_again_at_the_end() {
    let mut model = model();
    press(&mut model, "6");
    assert_eq!(selected(&model, Pane::Events), "340");
    press(&mut model, "k");
    let mut next = samples::busy();
    let mut event = next.events.items[0].clone();
    event.seq = 341;
    next.events.items.insert(0, event);
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Events), "339");
    press(&mut model, "G");
    assert!(model.list(Pane::Events).selected.is_none(), "it follows again");
}

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

/// What is asked about an attestation, and its ticket.
fn command(effects: &[Effect]) -> (u64, Command) {
    let asks = |command: &Command| matches!(command, Command::Examine { .. } | Command::Sign { .. });
    let mut asked = effects.iter().filter_map(|effect| match effect {
        Effect::Execute { ticket, command } if asks(command) => Some((*ticket, command.clone())),
        _ => None,
    });
    asked.next().unwrap_or_else(|| panic!("{effects:?}"))
}

#[test]
fn attesting_runs_it_again_shows_what_differs_and_signs_only_after_a_yes() {
    let mut model = model();
    let receipt = samples::busy().receipts.items[1].clone();
    let id = receipt.receipt_id.as_str();
    let (asked, examine) = command(&press(&mut model, "4 j a"));
    assert_eq!(examine, Command::Examine { receipt: Named::ReceiptId(id.to_owned()) });
    assert!(model.layers.is_empty() && model.pending[0].purpose.waiting().unwrap().contains("again"));
    let answer = samples::examined(id, Verdict::Disagree);
    assert_eq!(update(&mut model, Msg::Answered { ticket: asked, result: Ok(answer.clone()) }), []);
    let Some(Layer::Confirm(question)) = model.layers.last() else { panic!("no question") };
    let facts: String = question.facts.iter().map(|(label, text)| format!("{label}: {text}\n")).collect();
    assert!(facts.contains("fuel: ≠ 1,204,551 is claimed, 1,190,003 was found"), "{facts}");
    assert!(facts.contains("memory: = 1,204,551"), "{facts}");
    assert!(facts.contains(id) && facts.contains(samples::did(1).as_str()), "{facts}");
    assert_eq!((question.yes_label.as_str(), question.yes), ("Sign \"disagree\"", false));
    assert_eq!(press(&mut model, "n"), []);

    let (asked, _) = command(&press(&mut model, "k a"));
    update(&mut model, Msg::Answered { ticket: asked, result: Ok(answer) });
    let (signed, sign) = command(&press(&mut model, "y"));
    assert_eq!(sign, Command::Sign { finding: format!("finding of {id}") });
    let answer = Answer::Attested {
        attestation_id: "a".into(),
        verdict: Verdict::Disagree,
        reason: None,
        compared: Vec::new(),
    };
    update(&mut model, Msg::Answered { ticket: signed, result: Ok(answer) });
    assert!(model.pending.is_empty());
    assert!(model.toasts.last().unwrap().text.contains("disagree"));
}

#[test]
fn the_question_what_to_sign_takes_no_key_that_was_meant_for_something_else() {
    let mut model = model();
    let id = samples::busy().receipts.items[1].receipt_id.clone();
    let (asked, _) = command(&press(&mut model, "4 j a"));
    // One at a time.
    press(&mut model, "j a");
    // The operator has gone on to a form.
    press(&mut model, "n");
    let layers = model.layers.len();
    update(
        &mut model,
        Msg::Answered { ticket: asked, result: Ok(samples::examined(&id, Verdict::Disagree)) },
    );
    assert_eq!(model.layers.len(), layers, "no question over what is typed");
    assert!(model.toasts.last().unwrap().text.contains("asks whether to sign"));
    press(&mut model, "esc");
    model.layers.clear();
    press(&mut model, "4 a");
    let Some(Layer::Confirm(question)) = model.layers.last() else { panic!("no question") };
    assert!(question.yes_label.contains("disagree") && model.parked.is_none());
}

#[test]
fn marked_receipts_are_run_again_one_after_the_other_and_signed_with_one_answer() {
    let mut model = model();
    assert_eq!(press(&mut model, "4 A"), []);
    assert!(model.toasts.last().unwrap().text.contains("mark receipts"));
    let (mut asked, first) = command(&press(&mut model, "space space space A"));
    let mut order = Vec::new();
    let mut examine = first;
    loop {
        let Command::Examine { receipt: Named::ReceiptId(id) } = examine else { panic!("{examine:?}") };
        let number = order.len();
        let said: Vec<String> =
            model.pending.iter().filter_map(|pending| pending.purpose.waiting()).collect();
        assert!(said.concat().contains(&format!("{} of 3", number + 1)), "{said:?}");
        order.push(id.clone());
        // The second cannot be had; the others go on.
        let result = match number {
            1 => Err(ApiError::new(ErrorKind::NotFound, "nobody has it")),
            2 => Ok(samples::examined(&id, Verdict::Disagree)),
            _ => Ok(samples::examined(&id, Verdict::Agree)),
        };
        let effects = update(&mut model, Msg::Answered { ticket: asked, result });
        if !model.layers.is_empty() {
            break;
        }
        (asked, examine) = command(&effects);
    }
    assert_eq!(order.len(), 3);
    let Some(Layer::Confirm(question)) = model.layers.last() else { panic!("no question") };
    assert_eq!((question.title.as_str(), question.yes), ("Attest 2 receipts", false));
    let facts: String = question.facts.iter().map(|(label, text)| format!("{label}: {text}\n")).collect();
    assert!(facts.contains("✗ disagree: ") && facts.contains("fuel 1,204,551 ≠ 1,190,003"), "{facts}");
    assert!(facts.contains("left out: "), "{facts}");
    let effects = press(&mut model, "y");
    let signed: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Execute { command: Command::Sign { finding }, .. } => finding.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(signed, [0, 2].map(|n| format!("finding of {}", order[n])));
    assert_eq!(model.list(Pane::Receipts).marked.len(), 3, "what is not signed yet stays marked");
}

#[test]
fn ones_own_receipt_cannot_be_attested() {
    let mut model = model();
    press(&mut model, "4 j j j j a");
    assert!(model.layers.is_empty());
    assert!(model.toasts.last().unwrap().text.contains("your own"));
}

#[test]
fn a_filter_narrows_keeps_with_enter_and_clears_with_escape() {
    let mut model = model();
    press(&mut model, "4 / classify enter");
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 1);
    assert!(model.filtering.is_none());
    press(&mut model, "esc");
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 8);
}

#[test]
fn keys_are_text_where_text_is_typed() {
    let mut model = model();
    press(&mut model, "4 /");
    // It begins to look through the older ones, and does nothing else.
    let effects = press(&mut model, "q");
    assert!(
        matches!(effects.as_slice(), [Effect::Execute { command: Command::Receipts { .. }, .. }]),
        "{effects:?}"
    );
    assert_eq!(model.list(Pane::Receipts).filter, "q");
}

#[test]
fn a_paste_is_text_and_never_a_command() {
    let mut model = model();
    assert_eq!(update(&mut model, Msg::Paste("q\n:quit\n".into())), []);
    press(&mut model, ":");
    assert_eq!(update(&mut model, Msg::Paste("quit\n".into())), []);
    assert!(matches!(model.layers.last(), Some(Layer::Palette(palette)) if palette.input.value() == "quit"));
}

#[test]
fn frozen_holds_what_is_shown_and_goes_on_with_the_latest() {
    let mut model = model();
    press(&mut model, "p");
    update(&mut model, Msg::Snapshot(Arc::new(samples::nothing())));
    assert_eq!(Listing::of(&model, Pane::Peers).len(), 12);
    press(&mut model, "p");
    assert_eq!(Listing::of(&model, Pane::Peers).len(), 0);
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
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Err(error) });
    let toast = &model.toasts.last().unwrap().text;
    assert!(toast.contains("disk full") && toast.contains("make room"), "{toast}");
}

#[test]
fn leaving_a_form_asks_only_when_something_was_typed() {
    let mut model = model();
    press(&mut model, "S esc");
    assert!(model.layers.is_empty());
    press(&mut model, "S x esc");
    assert!(matches!(model.layers.last(), Some(Layer::Confirm(_))));
    press(&mut model, "y");
    assert!(model.layers.is_empty());
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
fn the_next_page_is_asked_for_once_at_the_end_of_the_tail() {
    let mut model = model();
    let effects = press(&mut model, "4 G");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before.is_none())
    );
    assert_eq!(press(&mut model, "k j"), [], "it is on its way");
    let mut older = samples::busy().receipts.items;
    for receipt in &mut older {
        receipt.cursor -= 500;
        receipt.receipt_id.push_str("-older");
    }
    let page =
        Page { total: 1_204, items: [samples::busy().receipts.items, older].concat(), next: Some(700) };
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Receipts(page)) });
    assert_eq!(
        Listing::of(&model, Pane::Receipts).len(),
        16,
        "what is in the tail already is not there twice"
    );
    let effects = press(&mut model, "G");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before == Some(700))
    );
}

#[test]
fn nobody_else_can_be_called_you() {
    let mut next = samples::busy();
    next.peers[0].name = Some(" You ".into());
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_ne!(model.name_of(&samples::did(10)).trim().to_lowercase(), "you");
    assert_eq!(model.name_of(&samples::did(1)), "you");
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
fn a_guild_is_founded_by_a_form_that_stays_until_the_node_has_answered() {
    let mut model = model();
    press(&mut model, "2 n nightly ctrl-s");
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("no form") };
    assert!(form.waiting.is_some());
    let pending = model.pending.last().unwrap().ticket;
    let full = ApiError::new(ErrorKind::Failed, "this node is in 16384 guilds already\u{1b}[2J");
    update(&mut model, Msg::Answered { ticket: pending, result: Err(full) });
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("the form is gone") };
    let refused = form.refused.clone().unwrap();
    assert!(refused.contains("16384 guilds") && !refused.contains('\u{1b}'), "{refused}");

    let effects = press(&mut model, "ctrl-s");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Guild(GuildCommand::Create { name, .. }), .. }] if name == "nightly")
    );
    let founded = GuildAnswer::Founded {
        guild_id: "bafkreig".into(),
        expires_at: samples::now(),
        invitation: "zsguild1.x.y".into(),
    };
    let effects =
        update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Guild(founded)) });
    assert_eq!(effects, [Effect::Copy("zsguild1.x.y".into())]);
    assert!(model.layers.is_empty());
}

#[test]
fn what_is_said_in_a_guild_is_said_and_the_line_is_free_for_more() {
    let mut model = model();
    let effects = press(&mut model, "2 t hello enter");
    let [Effect::Execute { ticket, command: Command::Guild(GuildCommand::Say { guild_id, text }) }] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((text.as_str(), guild_id), ("hello", &selected(&model, Pane::Guilds)));
    let missed = vec![Missed { did: samples::did(11), reason: "it cannot be reached from here".into() }];
    let said = GuildAnswer::Said { guild_id: guild_id.clone(), missed };
    update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(Answer::Guild(said)) });
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("no form") };
    assert!(form.waiting.is_none() && form.lines[0].input.value().is_empty());
    assert!(model.toasts.last().unwrap().text.contains("did not take it"));
}

#[test]
fn an_own_guild_is_dissolved_and_another_left_only_after_a_yes() {
    let mut model = model();
    for own in [true, false] {
        let of = |guild: &GuildView| (guild.creator == samples::did(1)) == own;
        let guild = samples::busy().guilds.items.into_iter().find(of).unwrap();
        model.list_mut(Pane::Guilds).selected = Some(guild.guild_id.clone());
        assert!(press(&mut model, "2 x enter").is_empty(), "it stands at No");
        let effects = press(&mut model, "x y");
        let [Effect::Execute { command: Command::Guild(command), .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        let (dissolve, leave) = match command {
            GuildCommand::Dissolve { guild_id } => (Some(guild_id), None),
            GuildCommand::Leave { guild_id } => (None, Some(guild_id)),
            other => panic!("{other:?}"),
        };
        assert_eq!(if own { dissolve } else { leave }, Some(&guild.guild_id));
    }
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
fn what_is_marked_is_cancelled_copied_and_answered_at_once() {
    let mut model = model();
    press(&mut model, "3 space space x");
    assert!(
        matches!(model.layers.last(), Some(Layer::Confirm(question)) if question.facts.len() == 3 && !question.yes)
    );
    let effects = press(&mut model, "y");
    let cancelled =
        effects.iter().filter(|e| matches!(e, Effect::Execute { command: Command::TaskCancel { .. }, .. }));
    assert_eq!(cancelled.count(), 2, "{effects:?}");
    assert!(model.list(Pane::Tasks).marked.is_empty());
    press(&mut model, "4 *");
    assert_eq!(model.list(Pane::Receipts).marked.len(), 8);
    let effects = press(&mut model, "y");
    assert!(matches!(effects.as_slice(), [Effect::Copy(text)] if text.lines().count() == 8), "{effects:?}");
    press(&mut model, "*");
    assert!(model.list(Pane::Receipts).marked.is_empty(), "a second time takes the marks away");
    let effects = press(&mut model, "b");
    assert!(matches!(effects.as_slice(), [Effect::Bundle { .. }]), "{effects:?}");
}

#[test]
fn rows_are_sorted_by_any_column_both_ways_and_the_selection_stays() {
    let mut model = model();
    press(&mut model, "4 j j");
    let before = selected(&model, Pane::Receipts);
    let costs = |model: &Model| -> Vec<u64> {
        let rows = Listing::of(model, Pane::Receipts);
        rows.from(0)
            .map(|(_, row)| match row {
                crate::console::panes::Entry::Receipt(receipt) => receipt.total_micro.micro(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    // newest, name, status, cost
    press(&mut model, "s s s");
    assert!(costs(&model).is_sorted_by(|a, b| a >= b), "{:?}", costs(&model));
    assert_eq!(selected(&model, Pane::Receipts), before);
    press(&mut model, "R");
    assert!(costs(&model).is_sorted(), "{:?}", costs(&model));
    assert_eq!(selected(&model, Pane::Receipts), before);
}

#[test]
fn a_filter_asks_for_everything_there_is_page_by_page() {
    let mut model = model();
    let effects = press(&mut model, "4 / z");
    let [Effect::Execute { ticket, command: Command::Receipts { page } }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(page.limit, 1_000);
    let older: Vec<_> = (0..1_000u64)
        .map(|n| {
            let mut row = samples::busy().receipts.items[0].clone();
            row.cursor = 1_000 - n;
            row.receipt_id = format!("z{n}");
            row
        })
        .collect();
    let page = Page { total: 1_204, items: older, next: Some(1) };
    let effects = update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(Answer::Receipts(page)) });
    assert!(
        matches!(effects.as_slice(), [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before == Some(1))
    );
    assert!(Listing::of(&model, Pane::Receipts).len() >= 1_000);
    // A list that is not filtered asks for nothing.
    press(&mut model, "esc");
    let effects = update(&mut model, Msg::Tick(samples::now()));
    assert_eq!(effects, []);
}

#[test]
fn themes_are_tried_and_left_as_they_were_or_kept() {
    let mut model = model();
    model.themes = Theme::all(None, Depth::TrueColor);
    press(&mut model, "T j");
    assert_eq!(model.theme.name, "light");
    press(&mut model, "esc");
    assert_eq!(model.theme.name, "dark");
    press(&mut model, "T j j enter");
    assert_eq!(model.theme.name, "high-contrast");
    press(&mut model, ": theme space mono enter");
    assert_eq!(model.theme.name, "mono");
}

#[test]
fn a_log_that_is_filtered_shows_what_stands_around_what_was_found() {
    let mut snapshot = samples::busy();
    let line = snapshot.log[0].clone();
    snapshot.log = (0..20)
        .map(|n| {
            let mut line = line.clone();
            line.at = samples::ago(100 - n);
            line.text = zerostate::document::Untrusted::new(&format!("line {n}"));
            line.level = if n == 10 { "WARN" } else { "INFO" }.to_owned();
            line
        })
        .collect();
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(snapshot)));
    press(&mut model, "8 / level:warn enter");
    let rows = Listing::of(&model, Pane::Log);
    let context: Vec<bool> = (0..rows.len()).map(|at| rows.is_context(at)).collect();
    assert_eq!(context, [true, true, false, true, true]);
    // By level alone nothing stands around it.
    press(&mut model, "esc L");
    assert_eq!(Listing::of(&model, Pane::Log).len(), 1);
    press(&mut model, "L L");
    assert_eq!(Listing::of(&model, Pane::Log).len(), 20);
}

#[test]
fn a_click_goes_where_it_points_and_a_second_one_opens() {
    use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
    let mut model = model();
    let click = |model: &mut Model, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        update(model, Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
    };
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
fn a_question_that_comes_late_takes_no_line_and_no_click_for_its_answer() {
    use crate::console::action::Action;
    let mut model = model();
    press(&mut model, "4 j");
    let effects = update(&mut model, Msg::Act(Action::Attest, String::new()));
    let [Effect::Execute { ticket, command: Command::Examine { receipt: Named::ReceiptId(id) } }] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    // Something else is begun before the task was run again.
    update(&mut model, Msg::Act(Action::GuildNew, String::new()));
    let answer = samples::examined(id, Verdict::Agree);
    update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(answer) });
    assert!(matches!(model.layers.as_slice(), [Layer::Guild(_)]), "the question lies over a form");
    assert!(model.parked.is_some());
}

#[test]
fn going_back_in_a_journal_forgets_what_was_fetched_of_later() {
    let mut model = model();
    model.settings.replay = Some(9);
    let rows = samples::busy().receipts.items;
    model.older.take_receipts(Page { total: 1_204, items: rows, next: None });
    let mut before = samples::busy();
    before.receipts.items.truncate(1);
    press(&mut model, "4");
    update(&mut model, Msg::Snapshot(Arc::new(before)));
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 1);
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
