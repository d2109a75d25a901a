//! What waits for a yes or a no: which answer is sent of what, and that none is given by mistake.

use std::sync::Arc;

use zerostate::api::{Answer, ApiError, Command, ErrorKind, InboxItem, Named};
use zerostate::document::Verdict;

use super::{model, press, ticket};
use crate::console::layers::{Confirm, Layer};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::{Effect, Msg};
use crate::console::samples;
use crate::console::update::update;

/// Those that are answered as they are asked; an attestation is shown first.
const PLAIN: [&str; 2] = ["join-request", "task-offer"];
const KINDS: [&str; 3] = ["attest", "join-request", "task-offer"];

/// A console in the inbox, where these wait, called after their kinds.
fn asked(kinds: &[&str]) -> Model {
    let mut snapshot = samples::busy();
    let (receipt, task) = (&snapshot.receipts.items[1], &snapshot.tasks.items[2]);
    let guild = &snapshot.guilds.items[0];
    let item = |(n, kind): (u8, &&str)| InboxItem {
        inbox_id: format!("of-{kind}"),
        kind: (*kind).to_owned(),
        from: samples::did(10 + n),
        text: format!("would like a yes to this {kind}").as_str().into(),
        subject: match *kind {
            "attest" => receipt.receipt_id.clone(),
            "task-offer" => task.record.task_id.clone(),
            _ => guild.guild_id.clone(),
        },
        at: samples::ago(i64::from(n)),
    };
    let inbox = (0..).zip(kinds).map(item).collect();
    snapshot.inbox = inbox;
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(snapshot)));
    press(&mut model, "7");
    model
}

/// What was answered, in its order.
fn answers(effects: &[Effect]) -> Vec<(String, bool)> {
    let answer = |effect: &Effect| match effect {
        Effect::Execute { command: Command::Inbox { inbox_id, accept }, .. } => (inbox_id.clone(), *accept),
        other => panic!("{other:?} is no answer"),
    };
    effects.iter().map(answer).collect()
}

fn of(kinds: &[&str], accept: bool) -> Vec<(String, bool)> {
    kinds.iter().map(|kind| (format!("of-{kind}"), accept)).collect()
}

/// What is asked, which stands at No.
fn question(model: &Model) -> &Confirm {
    match model.layers.last() {
        Some(Layer::Confirm(question)) => {
            assert!(!question.yes && question.waits.is_none(), "{question:?}");
            question
        }
        other => panic!("{other:?} is no question"),
    }
}

fn facts(model: &Model) -> String {
    question(model).facts.iter().map(|(label, text)| format!("{label}: {text}\n")).collect()
}

#[test]
fn one_is_refused_at_once_whatever_it_is() {
    for kind in KINDS {
        let mut model = asked(&[kind]);
        assert_eq!(answers(&press(&mut model, "r")), of(&[kind], false));
        assert!(model.layers.is_empty(), "{kind}");
    }
}

#[test]
fn one_is_accepted_only_after_a_yes_to_who_asks_what() {
    for kind in PLAIN {
        let mut model = asked(&[kind]);
        assert_eq!(press(&mut model, "a"), [], "{kind}");
        assert_eq!(question(&model).title, format!("Accept: {kind}"));
        assert_eq!((question(&model).yes_label.as_str(), question(&model).warning.as_str()), ("Accept", ""));
        let item = model.snapshot.as_ref().unwrap().inbox[0].clone();
        let said = facts(&model);
        for part in [item.from.as_str(), item.text.as_str(), item.subject.as_str(), samples::did(1).as_str()]
        {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert!(said.contains("from: atlas"), "{said}");
        // The marked answer is No, and so are the ways out.
        for no in ["enter", "n", "esc", "q"] {
            assert_eq!(press(&mut model, no), [], "{kind}, {no}");
            assert!(model.layers.is_empty(), "{kind}, {no}");
            assert_eq!(press(&mut model, "a"), [], "{kind}, {no}");
        }
        question(&model);
        assert_eq!(answers(&press(&mut model, "y")), of(&[kind], true));
        assert!(model.layers.is_empty());
        // By the marked answer, once it is marked.
        assert_eq!(press(&mut model, "a"), []);
        assert_eq!(answers(&press(&mut model, "tab enter")), of(&[kind], true));
    }
}

#[test]
fn to_attest_one_is_to_see_what_would_be_signed_and_to_say_yes_to_that() {
    let mut model = asked(&["attest"]);
    let id = samples::busy().receipts.items[1].receipt_id.clone();
    for yes in [false, true] {
        let effects = press(&mut model, "a");
        let [Effect::Execute { ticket: examined, command: Command::Examine { receipt } }] =
            effects.as_slice()
        else {
            panic!("{effects:?}")
        };
        assert_eq!(*receipt, Named::ReceiptId(id.clone()));
        assert!(model.layers.is_empty(), "there is nothing to be seen yet");
        let answer = Ok(samples::examined(&id, Verdict::Disagree));
        let came = update(&mut model, Msg::Answered { ticket: *examined, result: answer });
        let [Effect::Arm(number)] = came.as_slice() else { panic!("{came:?}") };
        update(&mut model, Msg::Armed(*number));
        assert_eq!(question(&model).yes_label, "Sign \"disagree\"");
        if !yes {
            assert_eq!(press(&mut model, "enter"), [], "it stands at No");
            assert!(model.layers.is_empty());
            continue;
        }
        let effects = press(&mut model, "y");
        let [Effect::Execute { ticket, command: Command::Sign { .. } }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        let signed = Answer::Attested {
            attestation_id: "a".into(),
            verdict: Verdict::Disagree,
            reason: None,
            compared: Vec::new(),
        };
        // It has its answer, so the question is taken away and not answered with a second signature.
        let effects = update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(signed) });
        assert_eq!(answers(&effects), of(&["attest"], false));
    }
}

#[test]
fn several_that_are_marked_are_accepted_and_refused_with_one_answer_which_is_no_at_first() {
    for (key, accept, verb) in [("a", true, "Accept"), ("r", false, "Refuse")] {
        for kinds in [&KINDS[..], &PLAIN] {
            let mut model = asked(kinds);
            press(&mut model, "*");
            assert_eq!(press(&mut model, key), []);
            assert_eq!(question(&model).title, format!("{verb} {} of them", kinds.len()));
            assert_eq!(question(&model).yes_label, verb);
            // With an attestation among them something is signed.
            let signs = accept && kinds.contains(&"attest");
            assert_eq!(question(&model).warning.contains("signed and announced"), signs, "{kinds:?}");
            let said = facts(&model);
            for kind in kinds {
                assert!(said.contains(&format!("would like a yes to this {kind}")), "{kind} in\n{said}");
            }
            assert_eq!(press(&mut model, "enter"), [], "it stands at No");
            assert!(model.layers.is_empty());
            press(&mut model, key);
            assert_eq!(answers(&press(&mut model, "y")), of(kinds, accept));
        }
    }
}

#[test]
fn what_is_not_marked_is_not_answered() {
    for (key, accept) in [("a", true), ("r", false)] {
        let mut model = asked(&KINDS);
        // The first and the last of three; the selection goes on with each mark.
        press(&mut model, "space j space");
        assert_eq!(model.list(Pane::Inbox).marked.len(), 2);
        press(&mut model, key);
        assert_eq!(answers(&press(&mut model, "y")), of(&["attest", "task-offer"], accept));
    }
    // One that is marked and not selected is meant, as if it were selected.
    let mut model = asked(&KINDS);
    press(&mut model, "j j space gg");
    assert_eq!(answers(&press(&mut model, "r")), of(&["task-offer"], false));
    assert_eq!(press(&mut model, "a"), []);
    assert_eq!(question(&model).title, "Accept: task-offer");
}

#[test]
fn of_what_is_open_it_is_the_answer_whatever_is_marked() {
    for kind in PLAIN {
        let mut model = asked(&[kind, "attest"]);
        press(&mut model, "* enter");
        assert_eq!(press(&mut model, "a"), []);
        assert_eq!(question(&model).title, format!("Accept: {kind}"));
        assert_eq!(press(&mut model, "enter"), [], "it stands at No");
        press(&mut model, "a");
        assert_eq!(answers(&press(&mut model, "y")), of(&[kind], true));
        assert_eq!(answers(&press(&mut model, "r")), of(&[kind], false));
    }
}

#[test]
fn where_nothing_waits_nothing_is_answered() {
    let mut model = asked(&[]);
    for key in ["a", "r"] {
        assert_eq!(press(&mut model, key), []);
        assert!(model.layers.is_empty());
        let toast = model.toasts.last().unwrap();
        assert!(toast.tone == Tone::Undone && toast.text.contains("inbox"), "{toast:?}");
    }
}

#[test]
fn what_came_of_an_answer_is_said() {
    let mut model = asked(&PLAIN);
    for (keys, good) in [("a y", "accepted"), ("r", "refused")] {
        let sent = ticket(&press(&mut model, keys));
        assert!(!model.pending.is_empty());
        update(&mut model, Msg::Answered { ticket: sent, result: Ok(Answer::Done) });
        let toast = model.toasts.last().unwrap();
        assert_eq!((toast.tone, toast.text.as_str()), (Tone::Good, good));
        let sent = ticket(&press(&mut model, keys));
        let late = ApiError::new(ErrorKind::NotFound, "it has come too late\u{1b}[2J");
        update(&mut model, Msg::Answered { ticket: sent, result: Err(late) });
        let toast = model.toasts.last().unwrap();
        assert!(toast.tone == Tone::Bad && toast.text.contains("too late"), "{toast:?}");
        assert!(!toast.text.contains('\u{1b}'), "{toast:?}");
        assert!(model.pending.is_empty());
    }
}
