//! Attesting by hand: nothing is signed that was not asked about, and no key that was meant for something else is an answer.

use std::sync::Arc;

use zerostate::api::{Answer, ApiError, Command, ErrorKind, Named};
use zerostate::document::Verdict;

use super::{model, press};
use crate::console::layers::Layer;
use crate::console::model::Pane;
use crate::console::msg::{Effect, Msg};
use crate::console::samples;
use crate::console::update::update;

/// What is asked about an attestation, and its ticket.
fn command(effects: &[Effect]) -> (u64, Command) {
    let asks = |command: &Command| matches!(command, Command::Examine { .. } | Command::Sign { .. });
    let mut asked = effects.iter().filter_map(|effect| match effect {
        Effect::Execute { ticket, command } if asks(command) => Some((*ticket, command.clone())),
        _ => None,
    });
    asked.next().unwrap_or_else(|| panic!("{effects:?}"))
}

/// The question that came has been there for a moment.
fn armed(model: &mut crate::console::model::Model, effects: &[Effect]) {
    let [.., Effect::Arm(number)] = effects else { panic!("{effects:?}") };
    update(model, Msg::Armed(*number));
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
    let came = update(&mut model, Msg::Answered { ticket: asked, result: Ok(answer.clone()) });
    let [Effect::Arm(number)] = came.as_slice() else { panic!("{came:?}") };
    // It has come by itself: a key that was on its way to something else is no answer.
    assert_eq!(press(&mut model, "y"), []);
    assert_eq!(press(&mut model, "tab enter"), []);
    // Another one's moment is not this one's.
    update(&mut model, Msg::Armed(number + 1));
    assert_eq!(press(&mut model, "y"), []);
    update(&mut model, Msg::Armed(*number));
    let Some(Layer::Confirm(question)) = model.layers.last() else { panic!("no question") };
    let facts: String = question.facts.iter().map(|(label, text)| format!("{label}: {text}\n")).collect();
    assert!(facts.contains("fuel: ≠ 1,204,551 is claimed, 1,190,003 was found"), "{facts}");
    assert!(facts.contains("memory: = 1,204,551"), "{facts}");
    assert!(facts.contains(id) && facts.contains(samples::did(1).as_str()), "{facts}");
    assert_eq!((question.yes_label.as_str(), question.yes), ("Sign \"disagree\"", false));
    assert_eq!(press(&mut model, "n"), []);

    let (asked, _) = command(&press(&mut model, "k a"));
    let came = update(&mut model, Msg::Answered { ticket: asked, result: Ok(answer) });
    armed(&mut model, &came);
    let (signed, sign) = command(&press(&mut model, "y"));
    assert_eq!(sign, Command::Sign { finding: format!("finding of {id}") });
    let answer = Answer::Attested {
        attestation_id: "a".into(),
        verdict: Verdict::Disagree,
        reason: None,
        compared: Vec::new(),
    };
    let effects = update(&mut model, Msg::Answered { ticket: signed, result: Ok(answer) });
    // The question that waited for it in the inbox has its answer.
    let [Effect::Execute { ticket, command: Command::Inbox { inbox_id, accept: false } }] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!(inbox_id, "in-1");
    update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(Answer::Done) });
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
            armed(&mut model, &effects);
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
fn nobody_else_can_be_called_you() {
    let mut next = samples::busy();
    Arc::make_mut(&mut next.peers[0]).name = Some(" You ".into());
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_ne!(model.name_of(&samples::did(10)).trim().to_lowercase(), "you");
    assert_eq!(model.name_of(&samples::did(1)), "you");
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
