//! What lies beyond the snapshot's tails, fetched page by page when one scrolls there.

use std::collections::{HashSet, VecDeque};

use zerostate::api::{AttestationRecord, Event, Page, ReceiptRecord, Snapshot, TaskView};

use super::model::Pane;

/// Rows in one page.
pub const PAGE: u32 = 200;
/// And while a filter looks through all of them: as many as the node gives at once.
pub const SEARCH_PAGE: u32 = 1_000;
/// At most so many older rows are kept of each list: some 60 MB of receipts.
const KEPT_MAX: usize = 100_000;

/// One list beyond its tail, newest first.
#[derive(Debug)]
pub struct Beyond<T> {
    pub items: VecDeque<T>,
    /// The cursor of the next page, once a first has come.
    pub next: Option<u64>,
    pub asked: bool,
    pub ended: bool,
}

impl<T> Default for Beyond<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), next: None, asked: false, ended: false }
    }
}

impl<T> Beyond<T> {
    /// Whether another page can be asked for now.
    pub fn wants_more(&self, known: usize, total: u64) -> bool {
        let all = u64::try_from(known).unwrap_or(u64::MAX) >= total;
        !self.asked && !self.ended && !all && self.items.len() < KEPT_MAX
    }

    fn is_over(&self) -> bool {
        self.ended || self.items.len() >= KEPT_MAX
    }

    fn take(&mut self, page: Page<T>) {
        self.asked = false;
        self.next = page.next;
        self.ended = page.next.is_none();
        self.items.extend(page.items);
    }
}

/// Every list that can be paged.
#[derive(Debug, Default)]
pub struct Older {
    pub tasks: Beyond<TaskView>,
    pub receipts: Beyond<ReceiptRecord>,
    pub attestations: Beyond<AttestationRecord>,
    pub events: Beyond<Event>,
}

impl Older {
    /// Takes a page of tasks.
    pub fn take_tasks(&mut self, page: Page<TaskView>) {
        self.tasks.take(page);
    }

    /// Takes a page of receipts.
    pub fn take_receipts(&mut self, page: Page<ReceiptRecord>) {
        self.receipts.take(page);
    }

    /// Takes a page of attestations.
    pub fn take_attestations(&mut self, page: Page<AttestationRecord>) {
        self.attestations.take(page);
    }

    /// Takes events as the node gives them, oldest first.
    pub fn take_events(&mut self, mut events: Vec<Event>) {
        events.reverse();
        self.events.asked = false;
        self.events.ended = events.last().is_none_or(|event| event.seq <= 1);
        let known = self.events.items.back().map_or(u64::MAX, |event| event.seq);
        self.events.items.extend(events.into_iter().filter(|event| event.seq < known));
    }

    /// How many rows of a list are here.
    pub fn known(&self, snapshot: &Snapshot, pane: Pane) -> usize {
        match pane {
            Pane::Tasks => snapshot.tasks.items.len().max(self.tasks.items.len()),
            Pane::Receipts => snapshot.receipts.items.len().max(self.receipts.items.len()),
            Pane::Attestations => snapshot.attestations.items.len().max(self.attestations.items.len()),
            Pane::Events => snapshot.events.items.len() + self.events.items.len(),
            _ => 0,
        }
    }

    /// How much of a list a filter has looked through, in hundredths, while there is more to come.
    pub fn searched(&self, snapshot: &Snapshot, pane: Pane) -> Option<u64> {
        let (ended, total) = match pane {
            Pane::Tasks => (self.tasks.is_over(), snapshot.tasks.total),
            Pane::Receipts => (self.receipts.is_over(), snapshot.receipts.total),
            Pane::Attestations => (self.attestations.is_over(), snapshot.attestations.total),
            Pane::Events => (self.events.is_over(), snapshot.events.total),
            _ => return None,
        };
        let known = u64::try_from(self.known(snapshot, pane)).unwrap_or(u64::MAX);
        (!ended && known < total).then(|| known.saturating_mul(100) / total.max(1))
    }

    /// Lets a list be asked for again after a page did not come.
    pub fn failed(&mut self, pane: Pane) {
        match pane {
            Pane::Tasks => self.tasks.asked = false,
            Pane::Receipts => self.receipts.asked = false,
            Pane::Attestations => self.attestations.asked = false,
            Pane::Events => self.events.asked = false,
            _ => {}
        }
    }

    /// Keeps what falls off the tails between two snapshots, where pages have been fetched: otherwise a gap would open.
    pub fn carry(&mut self, before: &Snapshot, after: &Snapshot) {
        fn keep<T: Clone, K: std::hash::Hash + Eq>(
            beyond: &mut Beyond<T>,
            old: &[T],
            new: &[T],
            id: impl Fn(&T) -> K,
        ) {
            if beyond.items.is_empty() {
                return;
            }
            let new: HashSet<K> = new.iter().map(&id).collect();
            // What fell off the tail before is at the front.
            let kept: HashSet<K> = beyond.items.iter().take(old.len().saturating_mul(2)).map(&id).collect();
            let fallen: Vec<T> = old
                .iter()
                .filter(|item| !new.contains(&id(item)) && !kept.contains(&id(item)))
                .cloned()
                .collect();
            fallen.into_iter().rev().for_each(|item| beyond.items.push_front(item));
            beyond.items.truncate(KEPT_MAX);
        }
        keep(&mut self.tasks, &before.tasks.items, &after.tasks.items, |task| task.record.task_id.clone());
        keep(&mut self.receipts, &before.receipts.items, &after.receipts.items, |receipt| receipt.cursor);
        keep(&mut self.attestations, &before.attestations.items, &after.attestations.items, |one| one.cursor);
        keep(&mut self.events, &before.events.items, &after.events.items, |event| event.seq);
    }
}
