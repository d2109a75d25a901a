//! What others want of this node that it may not do unasked: it waits for the operator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::Context;
use super::intake::Next;
use super::offer::Willing;
use crate::document::{Credits, Envelope, Manifest, Receipt, Untrusted, bytes_text, duration_text};
use crate::identity::Did;

/// Questions that wait; with one more, the oldest is given up.
const QUESTIONS: usize = 200;
/// And of those that one node asks.
const QUESTIONS_OF_ONE: usize = 20;
/// How long a receipt waits to be attested.
const RECEIPT_WAITS: SignedDuration = SignedDuration::from_hours(1);
/// Characters of an id that are enough to name a question.
const ID: usize = 12;

/// What is asked.
#[derive(Debug, Clone)]
enum What {
    Offer(Envelope<Manifest>),
    Attest(Envelope<Receipt>),
}

/// A question to the operator.
#[derive(Debug, Clone)]
pub struct Question {
    pub id: String,
    /// `task-offer` or `attest`.
    pub kind: &'static str,
    pub from: Did,
    pub text: Untrusted,
    /// The id of the task, or of the receipt.
    pub subject: String,
    pub at: Timestamp,
    until: Timestamp,
    what: What,
}

pub(super) struct Inbox {
    questions: Mutex<Vec<Question>>,
    publisher: watch::Sender<Arc<Vec<Question>>>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { questions: Mutex::default(), publisher: watch::channel(Arc::default()).0 }
    }
}

impl Inbox {
    fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Vec<Question>>> {
        self.publisher.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Question>)) {
        let mut questions = self.questions();
        let before = questions.len();
        change(&mut questions);
        if before > 0 || !questions.is_empty() {
            self.publisher.send_replace(Arc::new(questions.clone()));
        }
    }

    fn ask(&self, question: Question) {
        self.change(|questions| {
            if questions.iter().any(|known| known.id == question.id) {
                return;
            }
            // Nobody pushes out what others ask.
            let of_them = |known: &Question| known.from == question.from;
            if questions.iter().filter(|known| of_them(known)).count() >= QUESTIONS_OF_ONE
                && let Some(oldest) = questions.iter().position(of_them)
            {
                questions.remove(oldest);
            }
            if questions.len() >= QUESTIONS {
                questions.remove(0);
            }
            questions.push(question);
        });
    }

    /// Lets go of what is too late, if there is anything.
    pub(super) fn tidy(&self) {
        let now = Timestamp::now();
        if self.questions().iter().any(|question| question.until <= now) {
            self.change(|questions| questions.retain(|question| question.until > now));
        }
    }

    /// A task has been done: nobody needs an offer for it any more.
    pub(super) fn done(&self, receipt: &Receipt) {
        let is_about =
            |question: &Question| matches!(&question.what, What::Offer(m) if *m.id() == receipt.manifest);
        if self.questions().iter().any(is_about) {
            self.change(|questions| questions.retain(|question| !is_about(question)));
        }
    }

    fn take(&self, id: &str) -> Option<Question> {
        let mut found = None;
        self.change(|questions| {
            let place = questions.iter().position(|question| question.id == id);
            found = place.map(|place| questions.remove(place));
        });
        found
    }
}

/// What one says yes to who runs a task.
fn offer(terms: &Manifest) -> String {
    let Manifest { name, payment, limits, attestation, .. } = terms;
    let pay = match payment.max_total_micro {
        Credits::MAX => "without a cap on what it pays".to_owned(),
        most => format!("for {most} at most"),
    };
    let work = format!(
        "{}, {} and {} fuel",
        duration_text(limits.time()),
        bytes_text(limits.memory_bytes),
        limits.fuel
    );
    let witnesses = match attestation.quorum {
        0 => "no witnesses".to_owned(),
        quorum => format!("{quorum} of {} witnesses", attestation.witnesses),
    };
    format!("wants {name} to be run, {pay}: {}, up to {work}; {witnesses}", terms.function)
}

/// The end of an id: the beginnings are all alike.
fn short(id: &str) -> String {
    id.get(id.len().saturating_sub(ID)..).unwrap_or(id).to_owned()
}

impl Context {
    /// Asks the operator whether to take part in a task.
    pub(super) fn ask_to_run(&self, manifest: Envelope<Manifest>) {
        let terms = manifest.document();
        self.inbox.ask(Question {
            id: short(&manifest.id().to_string()),
            kind: "task-offer",
            from: terms.creator.clone(),
            text: Untrusted::new(&offer(terms)),
            subject: terms.task_id.clone(),
            at: Timestamp::now(),
            until: terms.expires_at,
            what: What::Offer(manifest),
        });
    }

    /// Asks the operator whether to attest a receipt.
    pub(super) fn ask_to_attest(&self, receipt: Envelope<Receipt>, name: &Untrusted) {
        let now = Timestamp::now();
        self.inbox.ask(Question {
            id: short(&receipt.id().to_string()),
            kind: "attest",
            from: receipt.document().requester.clone(),
            text: Untrusted::new(&format!("asks for a witness of {name}")),
            subject: receipt.id().to_string(),
            at: now,
            until: now + RECEIPT_WAITS,
            what: What::Attest(receipt),
        });
    }

    /// What the operator's answer leads to; `None` when nothing of that id waits.
    pub(super) fn decide(&self, id: &str, accept: bool) -> Option<Option<Next>> {
        let question = self.inbox.take(id)?;
        Some(accept.then(|| match question.what {
            What::Offer(manifest) => {
                let attest = self.policy.attest_always && manifest.document().is_deterministic();
                Next::Offer(manifest, Willing { execute: true, attest })
            }
            What::Attest(receipt) => Next::Attest(receipt),
        }))
    }
}
