//! Attesting by hand: the task is run again, what was found is shown beside what the receipt says, and then the operator signs, or not.

use std::collections::VecDeque;

use zerostate::api::{Answer, Command, Named, ReceiptRecord, short_id};
use zerostate::document::Verdict;

use super::actions::{push, with_selected};
use super::execute;
use super::many::AT_ONCE;
use crate::console::action::Action;
use crate::console::layers::{Confirm, Confirmed, Layer};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::pending::{Found, Purpose, Round};
use crate::console::widgets::text::{cut, value};

/// Of a task's name, which is a stranger's, so much is shown in a question.
const NAME: usize = 32;

/// The receipt that is selected or open.
pub fn receipt_here(model: &Model) -> Option<String> {
    match model.layers.last() {
        Some(Layer::Detail(detail)) => detail.receipt_id(model),
        Some(_) => None,
        None => with_selected(model, |entry| match entry {
            Entry::Receipt(receipt) => Some(receipt.receipt_id.clone()),
            Entry::Attestation(one) => Some(one.receipt_id.clone()),
            _ => None,
        }),
    }
}

fn record<'a>(model: &'a Model, receipt_id: &str) -> Option<&'a ReceiptRecord> {
    let shown = model.snapshot.iter().flat_map(|snapshot| &snapshot.receipts.items);
    shown.chain(&model.older.receipts.items).find(|record| record.receipt_id == receipt_id)
}

/// What a receipt's task is called, and whether this node has run it.
pub fn known(model: &Model, receipt_id: &str) -> (String, bool) {
    record(model, receipt_id).map_or_else(
        || (short_id(receipt_id), false),
        |record| (record.name.to_string(), model.me() == Some(&record.executor)),
    )
}

/// Runs the selected receipt's task again.
pub fn attest(model: &mut Model) -> Vec<Effect> {
    if let Some(round) = model.parked.take() {
        return show(model, round);
    }
    let Some(receipt_id) = receipt_here(model) else {
        model.toast(Tone::Undone, "select a receipt to attest it");
        return Vec::new();
    };
    if known(model, &receipt_id).1 {
        model.toast(Tone::Bad, "this receipt is your own: an executor cannot attest what it ran itself");
        return Vec::new();
    }
    begin(model, VecDeque::from([receipt_id]))
}

/// The same with all that are marked, one after the other; signed with one answer.
pub fn attest_marked(model: &mut Model) -> Vec<Effect> {
    if let Some(round) = model.parked.take() {
        return show(model, round);
    }
    let marked = model.list(Pane::Receipts).marked.clone();
    if marked.is_empty() {
        let key = model.key_of(&["list"], Action::Mark);
        model.toast(Tone::Undone, format!("mark receipts with {key} first"));
        return Vec::new();
    }
    let (own, others): (Vec<String>, Vec<String>) = marked.into_iter().partition(|id| known(model, id).1);
    if others.is_empty() {
        model.toast(
            Tone::Bad,
            "the marked receipts are your own: an executor cannot attest what it ran itself",
        );
        return Vec::new();
    }
    if others.len() > AT_ONCE {
        model.toast(Tone::Bad, format!("{} receipts are marked; at most {AT_ONCE} at once", others.len()));
        return Vec::new();
    }
    if !own.is_empty() {
        model.toast(Tone::Info, format!("{} of the marked receipts are your own and left out", own.len()));
    }
    begin(model, others.into())
}

/// Has these receipts run again, one after the other.
pub fn begin(model: &mut Model, left: VecDeque<String>) -> Vec<Effect> {
    let under_way = model.pending.iter().any(|pending| matches!(pending.purpose, Purpose::Examine { .. }));
    if under_way {
        model.toast(Tone::Undone, "a receipt is being run again already; its question comes first");
        return Vec::new();
    }
    let total = left.len();
    next(model, Round { left, total, inputs: model.inputs, ..Round::default() })
}

/// Goes on with the next one, or asks what to sign.
fn next(model: &mut Model, mut round: Round) -> Vec<Effect> {
    let Some(receipt_id) = round.left.pop_front() else { return ask(model, round) };
    let name = known(model, &receipt_id).0;
    let command = Command::Examine { receipt: Named::ReceiptId(receipt_id.clone()) };
    execute(model, command, Purpose::Examine { receipt_id, name, round })
}

/// One has been run again.
pub fn examined(model: &mut Model, name: String, mut round: Round, answer: Answer) -> Vec<Effect> {
    if let Answer::Examined { finding, receipt_id, verdict, reason, compared, known, caveat } = answer {
        if known {
            model.toast(
                Tone::Info,
                format!("you have signed {verdict} of {name} before; a witness has one vote"),
            );
        } else {
            let [reason, caveat] = [reason, caveat].map(|said| said.map(|said| said.to_string()));
            round.found.push(Found { finding, receipt_id, name, verdict, reason, compared, caveat });
        }
    }
    next(model, round)
}

/// One could not be run again; the others can.
pub fn failed(model: &mut Model, name: &str, mut round: Round, why: &str) -> Vec<Effect> {
    model.toast(Tone::Bad, format!("{name} was not run again: {why}"));
    round.failed.push(name.to_owned());
    next(model, round)
}

/// Asks what to sign; where the operator has gone on to something else meanwhile, the question waits until it is called for. It takes
/// keys, and none that were meant for something else.
fn ask(model: &mut Model, round: Round) -> Vec<Effect> {
    if round.found.is_empty() {
        return Vec::new();
    }
    if round.inputs == model.inputs {
        let (before, number) = (model.layers.len(), model.next_ticket);
        let mut effects = show(model, round);
        let came = model.layers.len() > before;
        if let (Some(Layer::Confirm(question)), true) = (model.layers.last_mut(), came) {
            question.waits = Some(number);
            effects.push(Effect::Arm(number));
            model.next_ticket += 1;
        }
        return effects;
    }
    let contexts = ["receipts", "global"];
    let key = model.key_of(&contexts, Action::Attest);
    let said = match round.found.as_slice() {
        [one] => format!("{}: {}", cut(&one.name, NAME), one.verdict),
        many => format!("{} receipts have been run again", many.len()),
    };
    model.toast(Tone::Info, format!("{said}; {key} on a receipt shows it, and asks whether to sign"));
    model.parked = Some(round);
    Vec::new()
}

/// Shows what was found, and asks whether to sign it.
fn show(model: &mut Model, round: Round) -> Vec<Effect> {
    let me = model.me().map(ToString::to_string).unwrap_or_default();
    let (title, mut facts, yes_label) = match round.found.as_slice() {
        [one] => {
            let title = format!("Attest {}", cut(&one.name, NAME));
            (title, single(model, one), format!("Sign \"{}\"", one.verdict))
        }
        many => {
            let facts = many.iter().map(|one| {
                let (name, id, grounds) = (cut(&one.name, NAME), short_id(&one.receipt_id), grounds(one));
                let why = if grounds.is_empty() { grounds } else { format!(": {grounds}") };
                (brief(one.verdict).to_owned(), format!("{name}  {id}{why}"))
            });
            (format!("Attest {} receipts", many.len()), facts.collect(), format!("Sign all {}", many.len()))
        }
    };
    if let (Some(caveat), true) =
        (round.found.iter().find_map(|found| found.caveat.as_ref()), round.total > 1)
    {
        facts.push(("counts".to_owned(), format!("of some: {caveat}")));
    }
    if !round.failed.is_empty() {
        let names: Vec<String> = round.failed.iter().map(|name| cut(name, NAME)).collect();
        facts.push(("left out".to_owned(), format!("{} (not run again)", names.join(", "))));
    }
    facts.push(("signed by".to_owned(), format!("you  {me}")));
    let warning = "It is announced to your peers, and cannot be taken back.";
    let what = Confirmed::Sign(round.found);
    push(model, Layer::Confirm(Confirm::new(title, facts, warning, yes_label, what)))
}

/// A verdict in the ten places of a label.
fn brief(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agree => "✓ agree",
        Verdict::Disagree => "✗ disagree",
        Verdict::Unverifiable => "? cannot",
    }
}

/// What speaks against a receipt, in a line.
fn grounds(found: &Found) -> String {
    let differs = found.compared.iter().filter(|row| !row.is_equal());
    let differs =
        differs.map(|row| format!("{} {} ≠ {}", row.what, value(&row.claimed), value(&row.measured)));
    found.reason.clone().into_iter().chain(differs).collect::<Vec<_>>().join(", ")
}

/// One finding, each compared value beside what the receipt claims.
fn single(model: &Model, found: &Found) -> Vec<(String, String)> {
    let mut facts = vec![("found".to_owned(), found.verdict.to_string())];
    facts.extend(found.reason.clone().map(|reason| ("because".to_owned(), reason)));
    for row in &found.compared {
        let (claimed, measured) = (value(&row.claimed), value(&row.measured));
        let said = if row.is_equal() {
            format!("= {claimed}")
        } else {
            format!("≠ {claimed} is claimed, {measured} was found")
        };
        // A label has ten places.
        let what = row.what.strip_prefix("peak ").unwrap_or(&row.what);
        facts.push((what.to_owned(), said));
    }
    facts.extend(found.caveat.clone().map(|caveat| ("counts".to_owned(), caveat)));
    facts.push(("receipt".to_owned(), found.receipt_id.clone()));
    let executor = record(model, &found.receipt_id).map(|record| record.executor.clone());
    facts.extend(executor.map(|did| ("executor".to_owned(), format!("{}  {did}", model.name_of(&did)))));
    facts
}

/// The operator says yes: each is signed.
pub fn sign(model: &mut Model, found: Vec<Found>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for Found { finding, receipt_id, name, .. } in found {
        effects.extend(execute(model, Command::Sign { finding }, Purpose::Attest { receipt_id, name }));
    }
    effects
}
