//! A guild: what it is, who is in it as what, and what is said in it.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use zerostate::api::{GuildLine, GuildView};

use super::parts::{LABEL, heading, pairs, rows};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::panes::{state_look, time_left};
use crate::console::theme::Role;
use crate::console::widgets::text::{clock, cut, date, width as cells_of, wrap};

/// The guild of that id, as long as this node is in it.
pub fn find<'a>(id: &str, model: &'a Model) -> Option<&'a GuildView> {
    model.snapshot.iter().flat_map(|snapshot| &snapshot.guilds.items).find(|guild| guild.guild_id == id)
}

pub fn title(mut head: Vec<(String, Style)>, id: &str, model: &Model) -> Vec<(String, Style)> {
    if let Some(guild) = find(id, model) {
        let style = |role| model.theme.style(role);
        head.push((format!(" ─ {}", guild.name), style(Role::Text)));
        let left = match guild.expires_at.duration_since(model.now).as_secs() {
            seconds @ 1..60 => format!("{seconds} s left"),
            // As wide, so that the frame behind it stays.
            ..=0 => "over    ".to_owned(),
            _ => format!("{} left", time_left(guild.expires_at, model.now)),
        };
        head.push((format!(" ─ {left}"), style(Role::Dim)));
    }
    head
}

pub fn lines(id: &str, model: &Model, width: usize) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    let Some(guild) = find(id, model) else {
        return vec![Line::styled("This guild is over, or you are in it no more.", style(Role::Dim))];
    };
    let role = guild.role.clone().unwrap_or_default();
    let mine = match guild.state.as_str() {
        "asking" => format!("{role}, once its creator says yes"),
        _ => role,
    };
    let mut lines = rows(&[("guild", guild.guild_id.clone())], model, width);
    lines.extend(pairs(
        &[
            ("you are", mine),
            ("creator", model.name_of(&guild.creator)),
            ("ends", date(guild.expires_at, &model.zone)),
            ("admits", admits(guild)),
            ("members", format!("{} of {}", guild.members.len(), guild.capacity)),
            ("epoch", format!("{}; each change of members begins one, with new keys", guild.epoch)),
        ],
        model,
        width,
    ));
    if width < SIDE_BY_SIDE {
        lines.push(Line::default());
        lines.extend(people(guild, model));
        lines.extend(work(guild, model));
        lines.extend(heading("channel", model));
        lines.extend(channel(guild, model, width));
        return lines;
    }
    // What is said on the left, who is there and what is done on the right; both end with what is newest.
    let room = width - SIDE - GAP;
    let mut left = vec![Line::styled("channel", style(Role::Accent))];
    left.extend(channel(guild, model, room));
    let mut right: Vec<Line> = people(guild, model);
    right.extend(work(guild, model));
    lines.push(Line::default());
    for i in 0..left.len().max(right.len()) {
        let mut line = left.get(i).cloned().unwrap_or_default();
        let spare = room.saturating_sub(line.width());
        line.spans.push(Span::raw(" ".repeat(spare)));
        line.spans.push(Span::styled(" │ ", style(Role::Border)));
        line.spans.extend(right.get(i).cloned().unwrap_or_default().spans);
        lines.push(line);
    }
    lines
}

/// From this width on members stand beside the channel, in a column so wide.
const SIDE_BY_SIDE: usize = 100;
const SIDE: usize = 46;
const GAP: usize = 3;

/// Who is in it, and who would like to be.
fn people(guild: &GuildView, model: &Model) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("members", model.theme.style(Role::Accent))];
    for member in &guild.members {
        let heard = match member.heard_at {
            _ if model.me() == Some(&member.did) => String::new(),
            Some(at) => format!("heard {}", clock(at, model.now, &model.zone)),
            None => "not heard by you".to_owned(),
        };
        lines.push(row(&model.name_of(&member.did), &member.role, &heard, Role::Text, model));
    }
    for asking in &guild.asking {
        let since = format!("asks since {}", clock(asking.since, model.now, &model.zone));
        lines.push(row(&model.name_of(&asking.did), &asking.role, &since, Role::Warn, model));
    }
    lines
}

/// The tasks that are proposed and done in it, as far as this node knows of them.
fn work(guild: &GuildView, model: &Model) -> Vec<Line<'static>> {
    let tasks = model.snapshot.iter().flat_map(|snapshot| &snapshot.tasks.items);
    let here = tasks.filter(|task| {
        let record = &task.record;
        record.guild_id.as_ref() == Some(&guild.guild_id)
            || record.within.is_some_and(|within| within.to_string() == guild.guild_id)
    });
    let mut lines: Vec<Line> = here
        .take(WORK_MAX)
        .map(|task| {
            let (glyph, role) = state_look(&task.record.state);
            let style = |role| model.theme.style(role);
            Line::from(vec![
                Span::styled(format!("{glyph} "), style(role)),
                Span::styled(cut(task.record.name.as_str(), 24), style(Role::Text)),
                Span::styled(format!("  {}", task.record.state.word()), style(role)),
            ])
        })
        .collect();
    if !lines.is_empty() {
        lines.splice(0..0, heading("proposals and tasks", model));
    }
    lines
}

/// More of its tasks are in the pane of tasks.
const WORK_MAX: usize = 8;

/// What was said in it, and what became of its members.
fn channel(guild: &GuildView, model: &Model, width: usize) -> Vec<Line<'static>> {
    let dim = model.theme.style(Role::Dim);
    let mut lines = Vec::new();
    let older = guild.lines_total.saturating_sub(u64::try_from(guild.lines.len()).unwrap_or(0));
    if older > 0 {
        lines.push(Line::styled(format!("{older} lines before"), dim));
    }
    if guild.lines.is_empty() {
        let key = model.key_of(&["guild-detail"], Action::GuildSay);
        lines.push(Line::styled(format!("Nothing was said yet; {key} says something."), dim));
    }
    lines.extend(guild.lines.iter().flat_map(|line| said(line, model, width)));
    lines
}

fn admits(guild: &GuildView) -> String {
    match guild.admit {
        zerostate::config::Admit::Open => "anybody",
        zerostate::config::Admit::Ask => "whom its creator says yes to, and those with an invitation",
        zerostate::config::Admit::Invite => "those with an invitation",
    }
    .to_owned()
}

fn row(name: &str, role: &str, note: &str, tone: Role, model: &Model) -> Line<'static> {
    let style = |role| model.theme.style(role);
    let (name, role) = (cut(name, 16), cut(role, LABEL - 1));
    let pad = 17usize.saturating_sub(cells_of(&name));
    Line::from(vec![
        Span::styled(name, style(tone)),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{role:<LABEL$}"), style(Role::Text)),
        Span::styled(note.to_owned(), style(Role::Dim)),
    ])
}

/// A line of the channel; what is longer than the screen goes on below.
pub fn said(line: &GuildLine, model: &Model, width: usize) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    let (at, name) = (clock(line.at, model.now, &model.zone), cut(&model.name_of(&line.did), 12));
    let (text, tone) = match (line.what.as_str(), line.text.as_str()) {
        ("said", text) => (text.to_owned(), Role::Text),
        (what, "") => (what.to_owned(), Role::Dim),
        (what, text) => (format!("{what}: {text}"), Role::Dim),
    };
    let head = cells_of(&at) + 2 + 13;
    let pad = 13usize.saturating_sub(cells_of(&name));
    let parts = wrap(&text, width.saturating_sub(head).max(16));
    let line = |(i, part): (usize, String)| match i {
        0 => Line::from(vec![
            Span::styled(format!("{at}  "), style(Role::Dim)),
            Span::styled(name.clone(), style(Role::Accent)),
            Span::raw(" ".repeat(pad)),
            Span::styled(part, style(tone)),
        ]),
        _ => Line::from(vec![Span::raw(" ".repeat(head)), Span::styled(part, style(tone))]),
    };
    parts.into_iter().enumerate().map(line).collect()
}
