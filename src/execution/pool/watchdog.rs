//! Which runners hang.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::runner::Runner;
use super::work::Dispatched;

/// A runner to which something was sent, and that says nothing at all for so long, hangs.
const MUTE: Duration = Duration::from_secs(2);
/// The same for one that says something, but nothing of a job it was given. A turn behind others takes a tenth of that.
const UNSEEN: Duration = Duration::from_secs(10);
/// What each guest of a runner may keep another from its turn, and all of them together.
const TURN: Duration = Duration::from_millis(20);
const TURNS: Duration = Duration::from_secs(1);
/// Runners of which something should have been heard by now.
pub(super) fn hung(
    runners: &HashMap<u64, Runner>,
    running: &HashMap<u64, Dispatched>,
    now: Instant,
) -> BTreeSet<u64> {
    // Each may be silent for as long as any of its guests can make it.
    let mut silences: HashMap<u64, Duration> = HashMap::new();
    for job in running.values() {
        let silence = silences.entry(job.runner).or_default();
        *silence = job.silence().max(*silence);
    }
    let mut hung = BTreeSet::new();
    for job in running.values() {
        let Some(runner) = runners.get(&job.runner) else { continue };
        // Those that wake up at the same moment take turns.
        let turns = TURN.saturating_mul(u32::try_from(runner.seen()).unwrap_or(u32::MAX)).min(TURNS);
        let silence = silences.get(&job.runner).copied().unwrap_or_default().saturating_add(turns);
        let patient_until = match job.deadline() {
            Some(deadline) => deadline.checked_add(silence),
            None => {
                let mute = runner.heard_at().max(job.sent).checked_add(MUTE.saturating_add(silence));
                mute.min(job.sent.checked_add(UNSEEN.saturating_add(silence)))
            }
        };
        if patient_until.is_some_and(|until| until <= now) {
            hung.insert(job.runner);
        }
    }
    hung.extend(runners.iter().filter(|(_, runner)| runner.is_late(now)).map(|(name, _)| *name));
    hung
}
