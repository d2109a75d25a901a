//! What lies beyond the snapshot's tails, fetched page by page when one scrolls there.

use std::collections::{HashSet, VecDeque};

use zerostate::api::{AttestationRecord, Event, Page, ReceiptRecord, Snapshot, TaskView};

use super::model::Pane;
use super::rows::same_rows;

/// Rows in one page.
pub const PAGE: u32 = 200;
/// And while a filter looks through all of them: as many as the node gives at once.
pub const SEARCH_PAGE: u32 = 1_000;
/// At most so many older rows are kept of each list: some 60 MB of receipts.
const KEPT_MAX: usize = 100_000;

/// A page that did not come is asked for again after so many seconds.
const REST: u8 = 10;

/// One list beyond its tail, newest first.
#[derive(Debug)]
pub struct Beyond<T> {
    pub items: VecDeque<T>,
    /// The cursor of the next page, once a first has come.
    pub next: Option<u64>,
    pub asked: bool,
    pub ended: bool,
    /// The last page did not come; it is not asked for again for so many seconds.
    rests: u8,
}

impl<T> Default for Beyond<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), next: None, asked: false, ended: false, rests: 0 }
    }
}

impl<T> Beyond<T> {
    /// Whether another page can be asked for now.
    pub fn wants_more(&self, known: usize, total: u64) -> bool {
        let all = u64::try_from(known).unwrap_or(u64::MAX) >= total;
        !self.asked && self.rests == 0 && !self.ended && !all && self.items.len() < KEPT_MAX
    }

    fn failed(&mut self) {
        (self.asked, self.rests) = (false, REST);
    }

    fn is_over(&self) -> bool {
        self.ended || self.items.len() >= KEPT_MAX
    }

    fn take(&mut self, page: Page<T>) {
        self.asked = false;
        self.next = page.next;
        self.ended = page.next.is_none();
        self.items.extend(page.items);
        self.items.truncate(KEPT_MAX);
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

    /// A page did not come.
    pub fn failed(&mut self, pane: Pane) {
        match pane {
            Pane::Tasks => self.tasks.failed(),
            Pane::Receipts => self.receipts.failed(),
            Pane::Attestations => self.attestations.failed(),
            Pane::Events => self.events.failed(),
            _ => {}
        }
    }

    /// A second has gone by.
    pub fn tick(&mut self) {
        let rests = [
            &mut self.tasks.rests,
            &mut self.receipts.rests,
            &mut self.attestations.rests,
            &mut self.events.rests,
        ];
        rests.into_iter().for_each(|rests| *rests = rests.saturating_sub(1));
    }

    /// A page was asked for.
    pub fn asked(&mut self, pane: Pane) {
        match pane {
            Pane::Tasks => self.tasks.asked = true,
            Pane::Receipts => self.receipts.asked = true,
            Pane::Attestations => self.attestations.asked = true,
            Pane::Events => self.events.asked = true,
            _ => {}
        }
    }

    /// Keeps what falls off the tails between two snapshots, where pages have been fetched: otherwise a gap would open. Where there is one
    /// already, because so much came at once, the pages are forgotten; of which lists, is said.
    pub fn carry(&mut self, before: &Snapshot, after: &Snapshot) -> Vec<Pane> {
        fn keep<T: Clone, K: std::hash::Hash + Eq>(
            beyond: &mut Beyond<T>,
            (old, new): (&[T], &[T]),
            asked_by_number: bool,
            // Tasks of others are in the list only while they run here.
            stays: impl Fn(&T) -> bool,
            id: impl Fn(&T) -> K,
        ) -> bool {
            if beyond.items.is_empty() && !beyond.asked {
                return true;
            }
            let old: Vec<&T> = old.iter().filter(|item| stays(item)).collect();
            let new: HashSet<K> = new.iter().filter(|item| stays(item)).map(&id).collect();
            if !old.is_empty() && !old.iter().any(|item| new.contains(&id(item))) {
                *beyond = Beyond::default();
                return false;
            }
            // A first page brings these by itself, but for what is asked by its number.
            if beyond.items.is_empty() && !asked_by_number {
                return true;
            }
            // What fell off the tail before is at the front.
            let kept: HashSet<K> = beyond.items.iter().take(old.len().saturating_mul(2)).map(&id).collect();
            let fallen: Vec<T> = old
                .into_iter()
                .filter(|item| !new.contains(&id(item)) && !kept.contains(&id(item)))
                .cloned()
                .collect();
            fallen.into_iter().rev().for_each(|item| beyond.items.push_front(item));
            beyond.items.truncate(KEPT_MAX);
            true
        }
        let (a, b) = (before, after);
        // Nothing falls off a tail that is as it was.
        let same = |pane| same_rows(pane, a, b);
        let own = |task: &TaskView| task.record.creator == before.node.did;
        let tasks = same(Pane::Tasks)
            || keep(&mut self.tasks, (&a.tasks.items, &b.tasks.items), false, own, |task| {
                task.record.task_id.clone()
            });
        let (a_rows, b_rows) = (&a.receipts.items, &b.receipts.items);
        let receipts = same(Pane::Receipts)
            || keep(&mut self.receipts, (a_rows, b_rows), false, |_| true, |one| one.cursor);
        let (a_rows, b_rows) = (&a.attestations.items, &b.attestations.items);
        let attestations = same(Pane::Attestations)
            || keep(&mut self.attestations, (a_rows, b_rows), false, |_| true, |one| one.cursor);
        let (a_rows, b_rows) = (&a.events.items, &b.events.items);
        let events =
            same(Pane::Events) || keep(&mut self.events, (a_rows, b_rows), true, |_| true, |event| event.seq);
        let kept = [
            (Pane::Tasks, tasks),
            (Pane::Receipts, receipts),
            (Pane::Attestations, attestations),
            (Pane::Events, events),
        ];
        kept.into_iter().filter(|(_, kept)| !kept).map(|(pane, _)| pane).collect()
    }
}
