//! What this node asked to have run, and how far it is.

use jiff::Timestamp;
use zerostate::api::{ProgressView, TaskState, TaskView};

use super::{Column, See, column, given, see_did};
use crate::console::action::Action;
use crate::console::details::stale;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::bar::{bar, percent};
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::{age, clock};

pub const COLUMNS: &[Column] =
    &[given("newest"), column("state"), column("name"), column("executor"), column("changed")];
pub const FIELDS: &[&str] = &["name", "state", "executor", "why", "guild", "id"];
const BAR: usize = 6;

/// The glyph and the colour of a state. Its word stands beside them always.
pub fn state_look(state: &TaskState) -> (&'static str, Role) {
    match state {
        TaskState::Drafted
        | TaskState::Published
        | TaskState::Offered
        | TaskState::Guilded
        | TaskState::Agreed => ("○", Role::Active),
        TaskState::Running => ("▶", Role::Active),
        TaskState::Receipted { .. } => ("◆", Role::Warn),
        TaskState::Attested { .. } | TaskState::Settled { .. } | TaskState::Closed { .. } => ("✓", Role::Ok),
        TaskState::Expired { .. } | TaskState::Cancelled { .. } => ("–", Role::Dim),
        TaskState::Failed { .. } => ("✗", Role::Bad),
        TaskState::Disputed { .. } => ("≠", Role::Bad),
    }
}

/// Of the three budgets the one that is used the most: its name, what is used, and the limit.
fn fullest(progress: &ProgressView) -> (&'static str, u64, u64) {
    let budgets = [
        ("fuel", progress.fuel_used, progress.fuel_limit),
        ("mem", progress.memory_bytes, progress.memory_limit),
        ("time", progress.elapsed_ms, progress.time_limit_ms),
    ];
    let key = |budget: &(&str, u64, u64)| u128::from(budget.1) * 10_000 / u128::from(budget.2.max(1));
    budgets.into_iter().max_by_key(key).unwrap_or(("time", 0, 0))
}

pub fn fields(task: &TaskView, model: &Model, see: See) -> bool {
    let record = &task.record;
    see("name", record.name.as_str())
        || see("state", record.state.word())
        || record.executor.as_ref().is_some_and(|did| see_did("executor", did, model, see))
        || record.state.reason().is_some_and(|why| see("why", why.as_str()))
        || record.guild_id.as_ref().is_some_and(|guild| see("guild", guild))
        || see("id", &record.task_id)
}

pub fn key<'a>(task: &'a TaskView, model: &Model, column: usize) -> Key<'a> {
    let record = &task.record;
    match column {
        1 => Key::Number(rank(&record.state)),
        2 => Key::text(record.name.as_str()),
        3 => Key::text(record.executor.as_ref().map(|did| model.name_of(did)).unwrap_or_default()),
        4 => Key::latest(record.updated_at),
        _ => Key::latest(record.created_at),
    }
}

/// What runs first, then what waits, then what went wrong, then what is done.
fn rank(state: &TaskState) -> i64 {
    match state {
        TaskState::Running => 0,
        state if state.is_pending() => 1,
        TaskState::Failed { .. } | TaskState::Disputed { .. } => 2,
        TaskState::Receipted { .. } => 3,
        _ => 4,
    }
}

pub fn cells(task: &TaskView, model: &Model, now: Timestamp) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let record = &task.record;
    let (glyph, role) = state_look(&record.state);
    let executor = record.executor.as_ref().map(|did| model.name_of(did)).unwrap_or_else(|| "–".to_owned());
    let state = match &task.progress {
        Some(progress) if matches!(record.state, TaskState::Running) => {
            let (what, part, whole) = fullest(progress);
            let [full, rest] = bar(part, whole, BAR, &model.theme);
            let told = progress.told_at.filter(|_| stale(progress, model.now).is_some());
            let (far, tone) = match told.map(|at| age(at, now)) {
                Some(age) if age == "now" => (" ?old".to_owned(), Role::Warn),
                Some(age) => (format!(" ?{age:>3}"), Role::Warn),
                None => (format!(" {:>3}%", percent(part, whole)), Role::Text),
            };
            Cell::fixed(format!("{what:<4} "), style(Role::Dim), 16)
                .and(full.content, full.style)
                .and(rest.content, rest.style)
                .and(far, style(tone))
        }
        _ => Cell::fixed(record.state.word(), style(role), 16).and(witnesses(task, model), style(Role::Dim)),
    };
    vec![
        Cell::fixed(glyph, style(role), 1),
        Cell::fill(record.name.as_str(), style(Role::Text), 8),
        Cell::fixed(executor, style(Role::Dim), 10).rank(2),
        state,
        Cell::fixed(clock(record.created_at, model.now, &model.zone), style(Role::Dim), 8).right().rank(3),
    ]
}

/// ` 1/2`: how many witnesses agree of how many are wanted.
pub fn witnesses(task: &TaskView, model: &Model) -> String {
    let Some(receipt_id) = task.record.state.receipt_id() else { return String::new() };
    let mut receipts = model.snapshot.iter().flat_map(|snapshot| &snapshot.receipts.items);
    match receipts.find(|receipt| receipt.receipt_id == receipt_id) {
        Some(receipt) if task.record.quorum > 0 => format!(" {}/{}", receipt.agree, task.record.quorum),
        _ => String::new(),
    }
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.key_of(&["tasks", "global"], Action::Submit);
    (
        "No tasks yet.".to_owned(),
        format!("{key} submits one: a WebAssembly module, or a manifest that describes it."),
    )
}
