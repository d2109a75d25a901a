//! A guild: what it is, who is in it as what, and what is said in it.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use zerostate::api::{GuildLine, GuildView};

use super::parts::{LABEL, heading, pairs, rows};
use crate::console::model::Model;
use crate::console::panes::time_left;
use crate::console::theme::Role;
use crate::console::widgets::text::{age, clock, cut, date, width as cells_of, wrap};

/// The guild of that id, as long as this node is in it.
pub fn find<'a>(id: &str, model: &'a Model) -> Option<&'a GuildView> {
    model.snapshot.iter().flat_map(|snapshot| &snapshot.guilds.items).find(|guild| guild.guild_id == id)
}

pub fn title(mut head: Vec<(String, Style)>, id: &str, model: &Model) -> Vec<(String, Style)> {
    if let Some(guild) = find(id, model) {
        let style = |role| model.theme.style(role);
        head.push((format!(" ─ {}", guild.name), style(Role::Text)));
        head.push((format!(" ─ {} left", time_left(guild.expires_at, model.now)), style(Role::Accent)));
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
    lines.extend(heading("members", model));
    for member in &guild.members {
        let heard = match member.heard_at {
            _ if model.me() == Some(&member.did) => String::new(),
            Some(at) => format!("heard {}", age(at, model.now)),
            None => "not heard by you".to_owned(),
        };
        lines.push(row(
            &model.name_of(&member.did),
            &member.role,
            &member.did.short(),
            &heard,
            Role::Text,
            model,
        ));
    }
    for asking in &guild.asking {
        let since = format!("asks since {}", age(asking.since, model.now));
        lines.push(row(
            &model.name_of(&asking.did),
            &asking.role,
            &asking.did.short(),
            &since,
            Role::Warn,
            model,
        ));
    }
    lines.extend(heading("channel", model));
    let older = guild.lines_total.saturating_sub(u64::try_from(guild.lines.len()).unwrap_or(0));
    if older > 0 {
        lines.push(Line::styled(format!("{older} lines before"), style(Role::Dim)));
    }
    if guild.lines.is_empty() {
        lines.push(Line::styled("Nothing was said yet.", style(Role::Dim)));
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

fn row(name: &str, role: &str, did: &str, note: &str, tone: Role, model: &Model) -> Line<'static> {
    let style = |role| model.theme.style(role);
    let name = cut(name, 16);
    let pad = 17usize.saturating_sub(cells_of(&name));
    Line::from(vec![
        Span::styled(name, style(tone)),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{role:<LABEL$}"), style(Role::Text)),
        Span::styled(format!("{did}  {note}"), style(Role::Dim)),
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
