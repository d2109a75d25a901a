//! The rows of a pane, filtered and ordered. That is worked out when something has changed and kept, so that neither a key nor a frame
//! has to look at every row of a long list.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use zerostate::api::{PeerView, Snapshot};

use super::filter::{Filter, Search};
use super::model::{Model, Pane};
use super::older::Beyond;
use super::panes::{Entry, columns, fields};

/// A list longer than this is put in order once a second, and not with every number that changes; rows that come meanwhile stand before all
/// others, or behind them, until then.
const SMALL: usize = 500;
/// A selected row is looked for so far around the place where it was.
const NEAR: usize = 500;
/// So many rows are looked through between two keys.
const PIECE: usize = 4_096;
/// Looking through more than that at once is shared out among the processors.
const SHARED_OUT: usize = 20_000;
/// Lines of the log that are shown around one that was found.
const CONTEXT: usize = 2;

/// What a column is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Number(i64),
    Text(Cow<'a, str>),
}

impl<'a> Key<'a> {
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
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        // Ten thousand names are put in order between two frames.
        let lower = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        Self::Text(if lower { text } else { text.to_lowercase().into() })
    }
}

/// Which rows there are, in their order. They are places in what the pane has: its tail, and then what was fetched beyond it.
#[derive(Debug, Default)]
pub struct Rows {
    all: Vec<u32>,
    /// Of what was fetched, so much is in the tail as well.
    doubles: usize,
    basis: Option<Basis>,
    /// What a filter lets through of them.
    found: Option<Found>,
}

impl Rows {
    fn order(&self) -> &[u32] {
        self.found.as_ref().map_or(&self.all, |found| &found.order)
    }
}

/// What the order was worked out from.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    others: u64,
    came: u64,
    grown: u64,
    sort: usize,
    reversed: bool,
    level: usize,
    revision: u64,
}

impl Basis {
    /// Whether it is of other rows than `old`, or asks for another order. Rows that came or were fetched are not others.
    fn is_of_others(&self, old: &Self) -> bool {
        Self { revision: old.revision, came: old.came, grown: old.grown, ..self.clone() } != *old
    }
}

/// How the rows of a pane have changed, in numbers that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// They are others, or stand in other places.
    pub others: u64,
    /// So many new ones came before all that there were.
    pub came: u64,
    /// Pages of older ones were fetched.
    pub grown: u64,
}

#[derive(Debug)]
struct Again {
    order: Vec<u32>,
    left: VecDeque<u32>,
}

#[derive(Debug)]
struct Found {
    line: String,
    filter: Filter,
    order: Vec<u32>,
    /// Those that were not looked at yet.
    left: VecDeque<u32>,
    /// The same once more, because what the rows say may have changed; what was found before stands until it is done.
    again: Option<Again>,
    /// On a log by time: those that were found, among those around them.
    hits: Option<HashSet<u32>>,
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
        self.rows().order().len()
    }

    /// Whether a filter has not looked at all rows yet.
    pub fn is_looking(&self) -> bool {
        self.rows().found.as_ref().is_some_and(|found| !found.left.is_empty())
    }

    /// Whether there is anything left to look at, be it for the second time.
    pub fn is_unfinished(&self) -> bool {
        self.rows().found.as_ref().is_some_and(|found| !found.left.is_empty() || found.again.is_some())
    }

    /// The row at a place.
    pub fn get(&self, at: usize) -> Option<Entry<'a>> {
        let rows = self.rows();
        rows.order().get(at).and_then(|place| entry(self.model, self.pane, rows.doubles, *place))
    }

    /// The rows from a place on.
    pub fn from(self, top: usize) -> impl Iterator<Item = (usize, Entry<'a>)> {
        (top..self.len()).map_while(move |at| Some((at, self.get(at)?)))
    }

    /// Whether a row is there only because it stands beside one that was found.
    pub fn is_context(&self, at: usize) -> bool {
        let rows = self.rows();
        let hits = rows.found.as_ref().and_then(|found| found.hits.as_ref());
        hits.zip(rows.order().get(at)).is_some_and(|(hits, place)| !hits.contains(place))
    }

    /// Which row is selected. A list that follows is at its end until one moves, the others at their beginning.
    pub fn selected(&self) -> Option<usize> {
        let last = self.len().checked_sub(1)?;
        let list = self.model.list(self.pane);
        Some(match &list.selected {
            None if self.model.follows(self.pane) => last,
            None => 0,
            Some(id) if self.get(list.index).is_some_and(|row| row.has_id(id)) => list.index,
            // One that may still be found is not given up for another.
            Some(id) => match self.place_of(id) {
                None if self.is_looking() => return None,
                place => place.unwrap_or(list.index.min(last)),
            },
        })
    }

    /// Where a row is. Rows move by little, so it is looked for where it was, and then everywhere.
    pub fn place_of(&self, id: &str) -> Option<usize> {
        let near = self.model.list(self.pane).index.saturating_sub(NEAR);
        let is = |(_, row): &(usize, Entry)| row.has_id(id);
        self.from(near).take(2 * NEAR).find(is).or_else(|| self.from(0).find(is)).map(|(at, _)| at)
    }
}

/// Works out the rows of a pane anew where something has changed. What a filter lets through of a long list is looked for in pieces, one
/// with every call, so that the next key does not wait for it.
pub fn refresh(model: &mut Model, pane: Pane) {
    let mut rows = model.take_rows(pane);
    let changes = model.changes(pane);
    let basis = Basis {
        others: changes.others,
        came: changes.came,
        grown: changes.grown,
        sort: model.list(pane).sort,
        reversed: model.list(pane).reversed,
        level: if pane == Pane::Log { model.log_level } else { 0 },
        // Peers by their names are in order for as long as they are called so.
        revision: match model.list(pane) {
            list if pane == Pane::Peers && list.sort == 0 && list.filter.is_empty() => model.names.version(),
            _ => model.revision,
        },
    };
    let others = rows.basis.as_ref().is_none_or(|old| basis.is_of_others(old))
        || !extend(model, pane, &mut rows, &basis);
    let small = rows.all.len() <= SMALL;
    let due = small || model.ticked;
    let stale = rows.basis.as_ref().is_none_or(|old| old.revision != basis.revision && due);
    if others || stale {
        // The same rows with other numbers are mostly in order already.
        let before = if others { Vec::new() } else { std::mem::take(&mut rows.all) };
        (rows.all, rows.doubles) = ordered(model, pane, &basis, before);
        rows.basis = Some(basis);
    }
    let line = model.list(pane).filter.as_str();
    rows.found = match rows.found.take() {
        Some(found) if !others && found.line == line => Some(found),
        old => found(model, pane, &rows, old.filter(|_| !others)),
    };
    if let Some(found) = rows.found.as_mut() {
        if stale && !others && found.left.is_empty() && found.again.is_none() {
            found.again = Some(Again { order: Vec::new(), left: rows.all.clone().into() });
        }
        // Other rows under the same filter are looked through at once: what stands on the screen is not taken away for a moment.
        let piece = if others || small || pane == Pane::Log { usize::MAX } else { PIECE };
        look_on(model, pane, rows.doubles, found, piece);
    }
    model.set_rows(pane, rows);
}

/// Does what is left of a filter's work; an action is about what is there, and not about what was found so far.
pub fn finish(model: &mut Model, pane: Pane) {
    while Listing::of(model, pane).is_looking() {
        refresh(model, pane);
    }
}

/// Takes in rows that came, and such as were fetched, without looking at all the others. `false` where that cannot be told.
fn extend(model: &Model, pane: Pane, rows: &mut Rows, basis: &Basis) -> bool {
    let Some(old) = rows.basis.as_mut() else { return false };
    let (came, grown) = (basis.came - old.came, basis.grown != old.grown);
    if came == 0 && !grown {
        return true;
    }
    (old.came, old.grown) = (basis.came, basis.grown);
    let (count, doubles) = extent(model, pane);
    let (Ok(came), Ok(known), Ok(count)) =
        (u32::try_from(came), u32::try_from(rows.all.len()), u32::try_from(count))
    else {
        return false;
    };
    let moved = known.saturating_add(came);
    if count < moved || (count > moved && !grown) {
        return false;
    }
    rows.doubles = doubles;
    let shift = |places: &mut dyn Iterator<Item = &mut u32>| places.for_each(|place| *place += came);
    shift(&mut rows.all.iter_mut());
    if let Some(found) = &mut rows.found {
        shift(&mut found.order.iter_mut());
        shift(&mut found.left.iter_mut());
        if let Some(again) = &mut found.again {
            shift(&mut again.order.iter_mut());
            shift(&mut again.left.iter_mut());
        }
    }
    // In a list that runs the other way, the newest stand at the end.
    let upwards = (pane.newest_last() && basis.sort == 0) != basis.reversed;
    let run = |places: std::ops::Range<u32>| -> Vec<u32> {
        if upwards { places.rev().collect() } else { places.collect() }
    };
    for (places, first) in [(run(0..came), !upwards), (run(moved..count), upwards)] {
        if let Some(found) = &mut rows.found {
            let kept = kept(&places, &look_through(model, pane, doubles, &places, &found.filter));
            let again = found.again.as_mut().map(|again| (&mut again.order, &mut again.left));
            for (order, left) in [Some((&mut found.order, &mut found.left)), again].into_iter().flatten() {
                match (first, left.is_empty()) {
                    (true, _) => drop(order.splice(..0, kept.iter().copied())),
                    (false, true) => order.extend(&kept),
                    // Behind those that are still to be looked at.
                    (false, false) => left.extend(&places),
                }
            }
        }
        let at = if first { 0 } else { rows.all.len() };
        rows.all.splice(at..at, places);
    }
    true
}

/// Those of some places that are marked, in their order.
fn kept(places: &[u32], marked: &[bool]) -> Vec<u32> {
    places.iter().zip(marked).filter(|(_, is)| **is).map(|(place, _)| *place).collect()
}

/// Looks through some of what is left.
fn look_on(model: &Model, pane: Pane, doubles: usize, found: &mut Found, piece: usize) {
    let (left, order) = match &mut found.again {
        Some(again) if found.left.is_empty() => (&mut again.left, &mut again.order),
        _ => (&mut found.left, &mut found.order),
    };
    let places: Vec<u32> = left.drain(..piece.min(left.len())).collect();
    let hits = look_through(model, pane, doubles, &places, &found.filter);
    // Lines around one that was found tell something only as they came.
    if pane != Pane::Log || model.list(pane).sort > 0 {
        order.extend(kept(&places, &hits));
    } else if !places.is_empty() {
        (*order, found.hits) = with_context(&places, &hits);
    }
    if let Some(again) = found.again.take_if(|again| found.left.is_empty() && again.left.is_empty()) {
        found.order = again.order;
    }
}

/// What has to be looked through for the line that a list is filtered by: with a letter more, only what was found before.
fn found(model: &Model, pane: Pane, rows: &Rows, old: Option<Found>) -> Option<Found> {
    let line = model.list(pane).filter.clone();
    let filter = Filter::read(&line, fields(pane));
    if filter.is_empty() {
        return None;
    }
    let left = match old {
        Some(old) if old.left.is_empty() && old.hits.is_none() && filter.refines(&old.filter) => old.order,
        _ => rows.all.clone(),
    };
    Some(Found { line, filter, order: Vec::new(), left: left.into(), again: None, hits: None })
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
        // A panic of a part ends the console in good order here, too.
        others.into_iter().flat_map(|(part, worker)| worker.join().unwrap_or_else(|_| look(part))).collect()
    })
}

/// The lines that were found with those around them, and which those are that were found.
fn with_context(places: &[u32], hits: &[bool]) -> (Vec<u32>, Option<HashSet<u32>>) {
    let mut near = vec![false; places.len()];
    for (i, _) in hits.iter().enumerate().filter(|(_, hit)| **hit) {
        let (from, to) = (i.saturating_sub(CONTEXT), (i + CONTEXT + 1).min(near.len()));
        near.get_mut(from..to).unwrap_or_default().fill(true);
    }
    (kept(places, &near), Some(kept(places, hits).into_iter().collect()))
}

/// All rows of a pane in their order, and how many of those fetched are in its tail as well.
fn ordered(model: &Model, pane: Pane, basis: &Basis, mut before: Vec<u32>) -> (Vec<u32>, usize) {
    let (count, doubles) = extent(model, pane);
    let sorted = columns(pane).get(basis.sort).is_some_and(|column| !column.as_they_come);
    let mut order: Vec<u32> = if sorted && before.len() == count {
        if basis.reversed {
            before.reverse();
        }
        before
    } else {
        (0..u32::try_from(count).unwrap_or(u32::MAX)).collect()
    };
    let at = |place: &u32| entry(model, pane, doubles, *place);
    if pane == Pane::Log {
        // The node's lines and the console's own, by time.
        order.sort_by_cached_key(|place| at(place).map_or(Timestamp::MIN, |row| row.at()));
        order.reverse();
        if basis.level > 0 {
            order.retain(|place| at(place).is_some_and(|row| row.level() <= basis.level));
        }
    }
    if pane.newest_last() && basis.sort == 0 {
        order.reverse();
    }
    if sorted {
        order.sort_by_cached_key(|place| at(place).map(|row| row.key(model, basis.sort)));
    }
    if basis.reversed {
        order.reverse();
    }
    (order, doubles)
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
        Pane::Peers => snapshot.peers.get(place).map(|peer| Entry::Peer(peer)),
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
        Pane::Peers => {
            let (a, b) = (&before.peers, &after.peers);
            // Most are shared.
            let same = |(a, b): (&Arc<PeerView>, &Arc<PeerView>)| Arc::ptr_eq(a, b) || a.peer_id == b.peer_id;
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        Pane::Guilds => same(&before.guilds.items, &after.guilds.items, |guild| guild.guild_id.as_str()),
        Pane::Tasks => same(&before.tasks.items, &after.tasks.items, |task| task.record.task_id.as_str()),
        Pane::Receipts => same(&before.receipts.items, &after.receipts.items, |one| one.cursor),
        Pane::Attestations => same(&before.attestations.items, &after.attestations.items, |one| one.cursor),
        Pane::Events => same(&before.events.items, &after.events.items, |event| event.seq),
        Pane::Inbox => same(&before.inbox, &after.inbox, |item| item.inbox_id.as_str()),
        Pane::Log => before.log == after.log,
    }
}

/// How many rows came before all that there were; none where the others are not the same.
pub fn came_before(pane: Pane, before: &Snapshot, after: &Snapshot) -> Option<usize> {
    fn count<'a, T, K: PartialEq>(a: &'a [T], b: &'a [T], id: impl Fn(&'a T) -> K) -> Option<usize> {
        let first = id(a.first()?);
        let came = b.iter().position(|row| id(row) == first)?;
        let same = b.len() - came;
        if came == 0 && b.len() < a.len() {
            return None;
        }
        (same <= a.len() && b.iter().skip(came).map(&id).eq(a.iter().take(same).map(&id))).then_some(came)
    }
    match pane {
        Pane::Tasks => count(&before.tasks.items, &after.tasks.items, |task| task.record.task_id.as_str()),
        Pane::Receipts => count(&before.receipts.items, &after.receipts.items, |one| one.cursor),
        Pane::Attestations => count(&before.attestations.items, &after.attestations.items, |one| one.cursor),
        Pane::Events => count(&before.events.items, &after.events.items, |event| event.seq),
        Pane::Peers | Pane::Guilds | Pane::Inbox | Pane::Log => None,
    }
}
