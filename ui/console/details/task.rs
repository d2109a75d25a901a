//! A task: how far it is, each step with its time, its limits and its output.

use jiff::Timestamp;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use zerostate::api::{Happening, ProgressView, TaskDetail, TaskState, TaskView};
use zerostate::document::{Untrusted, bytes_text, duration_text};
use zerostate::identity::Did;

use super::parts::{NAME, heading, limit, output, pairs, rows};
use crate::console::model::Model;
use crate::console::panes::state_look;
use crate::console::theme::Role;
use crate::console::widgets::columns::{Cell, row};
use crate::console::widgets::text::{clock, cut, date, grouped, wrap};

/// A node that runs a task tells some times a second how far it is; after so many seconds without, that is said.
const SILENT_S: i64 = 4;

/// The newest known of it: the snapshot's view goes on while the detail was read once.
fn live<'a>(task: &'a TaskDetail, model: &'a Model) -> &'a TaskView {
    let tasks = model.snapshot.iter().flat_map(|snapshot| &snapshot.tasks.items);
    let mut same = tasks.filter(|view| view.record.task_id == task.view.record.task_id);
    same.next().unwrap_or(&task.view)
}

/// Whether it was a task of another, and does not run here any more.
fn is_over(task: &TaskDetail, model: &Model) -> bool {
    let record = &task.view.record;
    let rows = model.snapshot.iter().flat_map(|snapshot| &snapshot.tasks.items);
    let mut rows = rows.filter(|view| view.record.task_id == record.task_id);
    is_of_another(task, model) && record.state.is_pending() && rows.next().is_none()
}

fn is_of_another(task: &TaskDetail, model: &Model) -> bool {
    model.me().is_some_and(|me| *me != task.view.record.creator)
}

pub fn title(mut head: Vec<(String, Style)>, task: &TaskDetail, model: &Model) -> Vec<(String, Style)> {
    let record = &live(task, model).record;
    let (glyph, role) = state_look(&record.state);
    head.push((format!(" ─ {} ─ ", cut(record.name.as_str(), NAME)), model.theme.style(Role::Text)));
    head.push(match is_over(task, model) {
        true => ("– over".to_owned(), model.theme.style(Role::Dim)),
        false => (format!("{glyph} {}", record.state.word()), model.theme.style(role)),
    });
    head
}

pub fn lines(task: &TaskDetail, model: &Model, width: usize) -> Vec<Line<'static>> {
    let view = live(task, model);
    let (record, manifest) = (&view.record, &task.manifest);
    let executor = match (&record.executor, &record.state) {
        (Some(did), _) => format!("{}  {}", model.name_of(did), did.short()),
        (None, state) if state.is_pending() => "not chosen yet".to_owned(),
        (None, _) => "none".to_owned(),
    };
    let quorum = match record.quorum {
        0 => "no witnesses asked for".to_owned(),
        n => format!("{n} of {} witnesses must agree", manifest.attestation.witnesses),
    };
    let function = Untrusted::new(&format!("{} {}", manifest.function, manifest.args.join(" "))).to_string();
    let mut lines = pairs(
        &[
            ("executor", executor),
            ("creator", format!("{}  {}", model.name_of(&record.creator), record.creator.short())),
            ("artifact", format!("{}  {}", bytes_text(manifest.artifact.size), manifest.artifact.cid)),
            ("function", function),
            ("witnesses", quorum),
            ("expires", date(record.expires_at, &model.zone)),
            ("price", price(task)),
            ("task id", record.task_id.clone()),
        ],
        model,
        width,
    );
    if is_over(task, model) {
        let creator = model.name_of(&record.creator);
        lines.push(Line::default());
        lines.extend(rows(
            &[("over", format!("It has ended here; {creator} knows what came of it."))],
            model,
            width,
        ));
    }
    if let Some(reason) = record.state.reason() {
        lines.push(Line::default());
        lines.extend(rows(&[("why", reason.to_string())], model, width));
    }
    let [blank, mut head] = heading("limits", model);
    if let Some(seconds) = view.progress.as_ref().and_then(|progress| stale(progress, model.now)) {
        head.push_span(Span::styled(format!("   as told {seconds} s ago"), model.theme.style(Role::Warn)));
    }
    lines.extend([blank, head]);
    lines.extend(limits(view.progress.as_ref(), task, model));
    // Of a task of another the journal has this node's part, and goes on while what was read stays as it was.
    let told = if is_of_another(task, model) { told(&record.task_id, model, width) } else { Vec::new() };
    if told.is_empty() {
        lines.extend(heading("timeline", model));
        lines.extend(timeline(task, model, width));
    }
    lines.extend(told);
    // While it runs, the end of what it has written; then the beginning of what it wrote in all.
    let live = view.progress.as_ref().map(|progress| &progress.output).filter(|_| task.output.is_none());
    let absent = match record.state {
        TaskState::Running if !is_over(task, model) => "it is running, and has not told of any output yet",
        _ => "not known here",
    };
    let shown = task.output.as_ref().or(live.filter(|text| !text.as_str().is_empty()));
    lines.extend(output(shown, absent, model, width));
    lines
}

fn price(task: &TaskDetail) -> String {
    let payment = &task.manifest.payment;
    let cap = match payment.max_total_micro {
        zerostate::document::Credits::MAX => "no cap".to_owned(),
        cap => format!("at most {cap}"),
    };
    format!(
        "{} /s, {} /MiB, {} /Gfuel, {cap}",
        payment.per_second_micro, payment.per_mib_micro, payment.per_gfuel_micro
    )
}

fn limits(progress: Option<&ProgressView>, task: &TaskDetail, model: &Model) -> Vec<Line<'static>> {
    let limits = &task.manifest.limits;
    let time_limit = duration_text(limits.time());
    let Some(p) = progress else {
        let text = format!(
            "fuel {} · memory {} · time {time_limit} · stack {}",
            grouped(limits.fuel),
            bytes_text(limits.memory_bytes),
            bytes_text(limits.stack_bytes)
        );
        return vec![Line::styled(text, model.theme.style(Role::Text))];
    };
    let elapsed = duration_text(std::time::Duration::from_millis(p.elapsed_ms));
    let fuel = format!("{} of {}", grouped(p.fuel_used), grouped(p.fuel_limit));
    let memory = format!("{} of {}", bytes_text(p.memory_bytes), bytes_text(p.memory_limit));
    let output = format!("{} of {}", bytes_text(p.output_bytes), bytes_text(p.output_limit));
    let time = limit("time", &format!("{elapsed} of {time_limit}"), p.elapsed_ms, p.time_limit_ms, model);
    vec![
        Line::from(limit("fuel", &fuel, p.fuel_used, p.fuel_limit, model)),
        Line::from(limit("memory", &memory, p.memory_bytes, p.memory_limit, model)),
        Line::from(time),
        Line::from(limit("output", &output, p.output_bytes, p.output_limit, model)),
    ]
}

/// How many seconds old what another node has told of a run is, where it should have told more by now.
pub fn stale(progress: &ProgressView, now: Timestamp) -> Option<i64> {
    Some(now.duration_since(progress.told_at?).as_secs()).filter(|age| *age >= SILENT_S)
}

fn timeline(task: &TaskDetail, model: &Model, width: usize) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    if task.timeline.is_empty() {
        return vec![Line::styled("nothing has been done yet", style(Role::Dim))];
    }
    let pending = task.view.record.state.is_pending();
    let last = task.timeline.len() - 1;
    let steps = task.timeline.iter().enumerate().flat_map(|(i, step)| {
        taken((&step.step, step.at, &step.node, step.detail.as_ref()), pending && i == last, model, width)
    });
    let dim = style(Role::Dim);
    let coming = to_come(task, model).map(|step| {
        row(vec![Cell::fixed("·", dim, 1), Cell::fixed(step, dim, 11), Cell::fixed("to come", dim, 8)], width)
    });
    steps.chain(coming).collect()
}

/// A step that was taken: its name, when, by whom, and what there is to say of it.
fn taken(
    (name, at, node, detail): (&str, Timestamp, &Did, Option<&Untrusted>),
    goes_on: bool,
    model: &Model,
    width: usize,
) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = match name {
        "failed" | "disputed" => ("✗", Role::Bad),
        "expired" | "cancelled" => ("–", Role::Warn),
        _ if goes_on => ("▶", Role::Active),
        _ => ("✓", Role::Ok),
    };
    let detail = detail.map(ToString::to_string).unwrap_or_default();
    let who = if width < NARROW { 0 } else { 12 };
    let before = 1 + 1 + 11 + 2 + 8 + 2 + if who > 0 { who + 2 } else { 0 };
    let parts = wrap(&detail, width.saturating_sub(before).max(10));
    let line = |(i, part): (usize, String)| {
        let first = |text: String| if i == 0 { text } else { String::new() };
        let mut cells = vec![
            Cell::fixed(first(glyph.to_owned()), style(role), 1),
            Cell::fixed(first(Untrusted::new(name).to_string()), style(Role::Text), 11),
            Cell::fixed(first(clock(at, model.now, &model.zone)), style(Role::Dim), 8),
        ];
        if who > 0 {
            cells.push(Cell::fixed(first(model.name_of(node)), style(Role::Text), who));
        }
        cells.push(Cell::fill(part, style(Role::Dim), 10));
        row(cells, width)
    };
    parts.into_iter().enumerate().map(line).collect()
}

/// In fewer cells it is not said who took a step.
const NARROW: usize = 60;

/// Of a task that cannot be read: its steps, as the journal tells them.
pub fn told(id: &str, model: &Model, width: usize) -> Vec<Line<'static>> {
    let tail = model.snapshot.iter().flat_map(|snapshot| &snapshot.events.items);
    let mut steps: Vec<_> = tail
        .chain(&model.older.events.items)
        .filter_map(|event| match &event.what {
            Happening::Task { task_id, step, node, detail, .. } if task_id == id => {
                Some((event.seq, event.at, step, node, detail))
            }
            _ => None,
        })
        .collect();
    steps.sort_by_key(|(seq, ..)| *seq);
    steps.dedup_by_key(|(seq, ..)| *seq);
    let Some(last) = steps.len().checked_sub(1) else { return Vec::new() };
    let mut tasks = model.snapshot.iter().flat_map(|snapshot| &snapshot.tasks.items);
    let is_pending = tasks.any(|task| task.record.task_id == id && task.record.state.is_pending());
    let lines = steps.into_iter().enumerate().flat_map(|(i, (_, at, step, node, detail))| {
        taken((step, at, node, detail.as_ref()), is_pending && i == last, model, width)
    });
    heading("timeline", model).into_iter().chain(lines).collect()
}

/// The steps in the life of a task that comes to its end well.
const LIFE: [&str; 11] = [
    "drafted",
    "published",
    "offered",
    "guilded",
    "agreed",
    "fetched",
    "running",
    "receipted",
    "attested",
    "announced",
    "dissolved",
];

/// Those that were not taken yet. What was passed over is not made up for: where nobody offers, a task is run without a guild.
fn to_come(task: &TaskDetail, model: &Model) -> impl Iterator<Item = &'static str> {
    let record = &live(task, model).record;
    let taken = |wanted: &str| task.timeline.iter().any(|step| step.step == wanted);
    let waits =
        matches!(record.state, TaskState::Receipted { .. }) && record.quorum > 0 && !taken("unattested");
    let is_open = record.state.is_pending() || waits;
    let place = |step: &str| LIFE.iter().position(|known| *known == step);
    // With another executor it goes through them once more.
    let again = task.timeline.iter().rposition(|step| step.step == "candidate-failed").map_or(0, |at| at + 1);
    let this_time = task.timeline.iter().skip(again).filter_map(|step| place(&step.step)).max();
    let published = (again > 0).then(|| place("published")).flatten();
    let reached = this_time.or(published).map_or(0, |at| at + 1);
    // A guild that stood before goes on after the task.
    let own_guild = place("guilded").is_some_and(|at| reached <= at) || taken("guilded");
    let (witnessed, guilded) = (record.quorum > 0, own_guild && record.within.is_none());
    let comes = move |step: &&str| match *step {
        "attested" => witnessed,
        "dissolved" => guilded,
        _ => true,
    };
    LIFE.into_iter().skip(reached).filter(move |step| is_open && comes(step))
}

/// Why the task runs where it runs.
pub fn why(task: &TaskView, model: &Model) -> String {
    let record = &task.record;
    let runs = match record.state {
        TaskState::Running => "runs",
        _ if record.state.is_pending() => "is to run",
        _ => "ran",
    };
    let executor = match &record.executor {
        Some(did) if Some(did) == model.me() => {
            format!("{} {runs} on this node ({}).", record.name, did.short())
        }
        Some(did) => format!("{} {runs} on {} ({}).", record.name, model.name_of(did), did.short()),
        None if record.state.is_pending() => format!("{} has no executor yet.", record.name),
        None => format!("{} had no executor.", record.name),
    };
    if model.me() != Some(&record.creator) {
        let creator = model.name_of(&record.creator);
        return format!("{executor}\n\n{creator} has submitted it, and has chosen who runs it.");
    }
    if record.candidates.is_empty() {
        return format!("{executor}\n\nNobody else has offered to take part in it.");
    }
    let candidates = record.candidates.iter().map(|candidate| {
        format!("{:<9} {}: {}", candidate.part, model.name_of(&candidate.did), candidate.reason)
    });
    let own = record.executor.as_ref() == model.me() && record.audit.is_none();
    let needed =
        if own { " Those who offered are needed to witness it, or did not offer to run it." } else { "" };
    format!("{executor}{needed}\n\n{}", candidates.collect::<Vec<_>>().join("\n"))
}
