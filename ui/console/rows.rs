//! The rows of a pane, filtered and ordered. That is worked out when something has changed and kept, so that neither a key nor a frame
//! has to look at every row of a long list.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use zerostate::api::Snapshot;

use super::filter::{Filter, Search};
use super::model::{Model, Pane};
use super::older::Beyond;
use super::panes::{Entry, columns, fields};

/// A list longer than this is put in order once a second and when rows come or go, and not with every number that changes.
const SMALL: usize = 500;
const ORDERED_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// A selected row is looked for so far around the place where it was.
const NEAR: usize = 500;
/// Looking through more rows than that is shared out among the processors.
const SHARED_OUT: usize = 20_000;
/// Lines of the log that are shown around one that was found.
const CONTEXT: usize = 2;

/// What a column is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Number(i64),
    Text(String),
}

impl Key {
    /// A count.
    pub fn count(n: u64) -> Self {
        Self::Number(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// A count, the greatest first.
    pub fn most(n: u64) -> Self {
        Self::Number(-i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// A time, the latest first.
    pub fn latest(at: Timestamp) -> Self {
        Self::Number(-at.as_millisecond())
    }

    /// A text, in whatever case.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_lowercase())
    }
}

/// Which rows there are, in their order.
#[derive(Debug, Default)]
pub struct Rows {
    /// Places in what the pane has: its tail, and then what was fetched beyond it.
    order: Vec<u32>,
    /// Of what was fetched, so much is in the tail as well.
    doubles: usize,
    /// With a filter on a log: those that it found, among those around them.
    found: Option<HashSet<u32>>,
    basis: Option<Basis>,
}

/// What the rows were worked out from.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    version: u64,
    filter: String,
    sort: usize,
    reversed: bool,
    level: usize,
    revision: u64,
    at: Timestamp,
}

/// The rows of a pane as they stand now.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    model: &'a Model,
    pane: Pane,
}

impl<'a> Listing<'a> {
    /// Those of a pane that can be seen, or that has the focus.
    pub fn of(model: &'a Model, pane: Pane) -> Self {
        Self { model, pane }
    }

    fn rows(&self) -> &'a Rows {
        self.model.rows(self.pane)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows().order.len()
    }

    /// The row at a place.
    pub fn get(&self, at: usize) -> Option<Entry<'a>> {
        let rows = self.rows();
        rows.order.get(at).and_then(|place| entry(self.model, self.pane, rows.doubles, *place))
    }

    /// The rows from a place on.
    pub fn from(self, top: usize) -> impl Iterator<Item = (usize, Entry<'a>)> {
        (top..self.len()).map_while(move |at| Some((at, self.get(at)?)))
    }

    /// Whether a row is there only because it stands beside one that was found.
    pub fn is_context(&self, at: usize) -> bool {
        let rows = self.rows();
        match (&rows.found, rows.order.get(at)) {
            (Some(found), Some(place)) => !found.contains(place),
            _ => false,
        }
    }

    /// Which row is selected. A list that follows is at its end until one moves, the others at their beginning.
    pub fn selected(&self) -> Option<usize> {
        let last = self.len().checked_sub(1)?;
        let list = self.model.list(self.pane);
        Some(match &list.selected {
            None if self.pane.follows() => last,
            None => 0,
            Some(id) if self.get(list.index).is_some_and(|row| row.has_id(id)) => list.index,
            Some(id) => self.place_of(id).unwrap_or(list.index.min(last)),
        })
    }

    /// Where a row is. Rows move by little, so it is looked for where it was, and then everywhere.
    pub fn place_of(&self, id: &str) -> Option<usize> {
        let near = self.model.list(self.pane).index.saturating_sub(NEAR);
        let is = |(_, row): &(usize, Entry)| row.has_id(id);
        self.from(near).take(2 * NEAR).find(is).or_else(|| self.from(0).find(is)).map(|(at, _)| at)
    }
}

/// Works out the rows of a pane anew where something has changed.
pub fn refresh(model: &mut Model, pane: Pane) {
    let list = model.list(pane);
    let basis = Basis {
        version: model.version(pane),
        filter: list.filter.clone(),
        sort: list.sort,
        reversed: list.reversed,
        level: if pane == Pane::Log { model.log_level } else { 0 },
        revision: model.revision,
        at: model.now,
    };
    let rows = model.rows(pane);
    if let Some(old) = &rows.basis {
        let same = Basis { revision: old.revision, at: old.at, ..basis.clone() } == *old;
        let due = rows.order.len() <= SMALL || basis.at.duration_since(old.at).abs() >= ORDERED_EVERY;
        if same && (old.revision == basis.revision || !due) {
            return;
        }
        // A letter more: only what was found is looked through.
        let narrower = Basis { filter: old.filter.clone(), at: old.at, ..basis.clone() } == *old
            && rows.found.is_none()
            && Filter::read(&basis.filter, fields(pane)).refines(&Filter::read(&old.filter, fields(pane)));
        if narrower {
            let mut rows = model.take_rows(pane);
            let filter = Filter::read(&basis.filter, fields(pane));
            let found = look_through(model, pane, rows.doubles, &rows.order, &filter);
            keep(&mut rows.order, found);
            rows.basis = Some(Basis { at: rows.basis.map_or(basis.at, |old| old.at), ..basis });
            return model.set_rows(pane, rows);
        }
    }
    let rows = work_out(model, pane, basis);
    model.set_rows(pane, rows);
}

/// Which of these places a filter lets through, in their order.
fn look_through(model: &Model, pane: Pane, doubles: usize, places: &[u32], filter: &Filter) -> Vec<bool> {
    let look = |places: &[u32]| -> Vec<bool> {
        let mut search = Search::default();
        let mut lets = |row: Entry| filter.lets(&mut search, |see| row.fields(model, see));
        places.iter().map(|place| entry(model, pane, doubles, *place).is_some_and(&mut lets)).collect()
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if places.len() < SHARED_OUT || workers < 2 {
        return look(places);
    }
    std::thread::scope(|scope| {
        let parts = places.chunks(places.len().div_ceil(workers));
        let others: Vec<_> = parts.map(|part| (part, scope.spawn(|| look(part)))).collect();
        // A panic ends the console in good order, at its next step; until then its part is looked through here.
        others.into_iter().flat_map(|(part, worker)| worker.join().unwrap_or_else(|_| look(part))).collect()
    })
}

/// Keeps those that are marked, by their order.
fn keep(order: &mut Vec<u32>, kept: Vec<bool>) {
    let mut kept = kept.into_iter();
    order.retain(|_| kept.next().unwrap_or(false));
}

fn work_out(model: &Model, pane: Pane, basis: Basis) -> Rows {
    let (count, doubles) = extent(model, pane);
    let mut order: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    let at = |place: u32| entry(model, pane, doubles, place);
    if pane == Pane::Log {
        // The node's lines and the console's own, by time.
        order.sort_by_cached_key(|place| at(*place).map_or(Timestamp::MIN, |row| row.at()));
        if basis.level > 0 {
            order.retain(|place| at(*place).is_some_and(|row| row.level() <= basis.level));
        }
    }
    if pane == Pane::Events {
        order.reverse();
    }
    let filter = Filter::read(&basis.filter, fields(pane));
    let mut found = None;
    if !filter.is_empty() {
        let hits = look_through(model, pane, doubles, &order, &filter);
        if pane == Pane::Log {
            found = Some(order.iter().zip(&hits).filter(|(_, hit)| **hit).map(|(place, _)| *place).collect());
            let mut near = vec![false; hits.len()];
            for (i, _) in hits.iter().enumerate().filter(|(_, hit)| **hit) {
                let (from, to) = (i.saturating_sub(CONTEXT), (i + CONTEXT + 1).min(near.len()));
                near.get_mut(from..to).unwrap_or_default().fill(true);
            }
            keep(&mut order, near);
        } else {
            keep(&mut order, hits);
        }
    }
    if columns(pane).get(basis.sort).is_some_and(|column| !column.as_they_come) {
        let key = |place: &u32| at(*place).map(|row| row.key(model, basis.sort));
        order.sort_by_cached_key(key);
    }
    if basis.reversed {
        order.reverse();
    }
    Rows { order, doubles, found, basis: Some(basis) }
}

/// How many rows a pane has before it is filtered, and how many of those fetched are in its tail as well.
fn extent(model: &Model, pane: Pane) -> (usize, usize) {
    let Some(snapshot) = model.snapshot.as_deref() else {
        return (if pane == Pane::Log { model.notices.len() } else { 0 }, 0);
    };
    let older = &model.older;
    match pane {
        Pane::Peers => (snapshot.peers.len(), 0),
        Pane::Guilds => (snapshot.guilds.items.len(), 0),
        Pane::Inbox => (snapshot.inbox.len(), 0),
        Pane::Log => (snapshot.log.len() + model.notices.len(), 0),
        Pane::Tasks => joined(&snapshot.tasks.items, &older.tasks, |task| task.record.task_id.as_str()),
        Pane::Receipts => joined(&snapshot.receipts.items, &older.receipts, |one| one.cursor),
        Pane::Attestations => joined(&snapshot.attestations.items, &older.attestations, |one| one.cursor),
        Pane::Events => joined(&snapshot.events.items, &older.events, |event| event.seq),
    }
}

/// Both go from the newest to the oldest, so what is in both stands at the beginning of what was fetched.
fn joined<'a, T, K: std::hash::Hash + Eq>(
    tail: &'a [T],
    beyond: &'a Beyond<T>,
    id: impl Fn(&'a T) -> K,
) -> (usize, usize) {
    if beyond.items.is_empty() {
        return (tail.len(), 0);
    }
    let known: HashSet<K> = tail.iter().map(&id).collect();
    let doubles = beyond.items.iter().take_while(|item| known.contains(&id(item))).count();
    (tail.len() + beyond.items.len() - doubles, doubles)
}

/// What stands at a place before it is filtered and ordered.
fn entry(model: &Model, pane: Pane, doubles: usize, place: u32) -> Option<Entry<'_>> {
    let place = usize::try_from(place).ok()?;
    let snapshot = model.snapshot.as_deref();
    if pane == Pane::Log {
        let log = snapshot.map_or(&[][..], |snapshot| snapshot.log.as_slice());
        return log.get(place).or_else(|| model.notices.get(place.checked_sub(log.len())?)).map(Entry::Log);
    }
    let (snapshot, older) = (snapshot?, &model.older);
    match pane {
        Pane::Peers => snapshot.peers.get(place).map(Entry::Peer),
        Pane::Guilds => snapshot.guilds.items.get(place).map(Entry::Guild),
        Pane::Inbox => snapshot.inbox.get(place).map(Entry::Inbox),
        Pane::Tasks => either(&snapshot.tasks.items, &older.tasks, doubles, place).map(Entry::Task),
        Pane::Receipts => {
            either(&snapshot.receipts.items, &older.receipts, doubles, place).map(Entry::Receipt)
        }
        Pane::Attestations => {
            either(&snapshot.attestations.items, &older.attestations, doubles, place).map(Entry::Attestation)
        }
        Pane::Events => either(&snapshot.events.items, &older.events, doubles, place).map(Entry::Event),
        Pane::Log => None,
    }
}

fn either<'a, T>(tail: &'a [T], beyond: &'a Beyond<T>, doubles: usize, place: usize) -> Option<&'a T> {
    match place.checked_sub(tail.len()) {
        None => tail.get(place),
        Some(past) => beyond.items.get(past + doubles),
    }
}

/// Whether the same rows stand in the same places in both: then what was worked out from one holds for the other.
pub fn same_rows(pane: Pane, before: &Snapshot, after: &Snapshot) -> bool {
    fn same<'a, T, K: PartialEq>(a: &'a [T], b: &'a [T], id: impl Fn(&'a T) -> K) -> bool {
        a.len() == b.len() && a.iter().map(&id).eq(b.iter().map(&id))
    }
    match pane {
        Pane::Peers => same(&before.peers, &after.peers, |peer| peer.peer_id.as_str()),
        Pane::Guilds => same(&before.guilds.items, &after.guilds.items, |guild| guild.guild_id.as_str()),
        Pane::Tasks => same(&before.tasks.items, &after.tasks.items, |task| task.record.task_id.as_str()),
        Pane::Receipts => same(&before.receipts.items, &after.receipts.items, |one| one.cursor),
        Pane::Attestations => same(&before.attestations.items, &after.attestations.items, |one| one.cursor),
        Pane::Events => same(&before.events.items, &after.events.items, |event| event.seq),
        Pane::Inbox => same(&before.inbox, &after.inbox, |item| item.inbox_id.as_str()),
        Pane::Log => before.log == after.log,
    }
}

/// How severe a level is, from 1 for an error on.
pub fn severity(level: &str) -> usize {
    match level {
        "ERROR" => 1,
        "WARN" => 2,
        "INFO" => 3,
        _ => 4,
    }
}
