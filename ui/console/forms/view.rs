//! What stands in a form: its fields, what is wrong with them, and what the node said to it.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use tui_input::Input;

use super::connect::ConnectForm;
use super::guild::{About, GuildForm};
use super::submit::{Field, SubmitForm, found_text};
use crate::console::action::Action;
use crate::console::details::{self, LABEL};
use crate::console::layer_view::{Content, titled};
use crate::console::model::Model;
use crate::console::msg::Probe;
use crate::console::theme::Role;
use crate::console::widgets::text::{behind, cut, width as cells_of, wrap};

/// An input line of exactly `width` cells, scrolled so that the cursor can be seen; and where that is.
pub fn input_line(
    model: &Model,
    input: Option<&Input>,
    hint: &str,
    focused: bool,
    width: usize,
) -> (Span<'static>, usize) {
    let style = model.theme.style(if focused { Role::InputFocused } else { Role::Input });
    let Some(input) = input.filter(|input| !input.value().is_empty()) else {
        let hint = cut(hint, width);
        let pad = width.saturating_sub(cells_of(&hint));
        return (
            // Dim text on the background of a field would be too faint in some themes.
            Span::styled(format!("{hint}{}", " ".repeat(pad)), style.add_modifier(Modifier::ITALIC)),
            0,
        );
    };
    let scroll = input.visual_scroll(width.saturating_sub(1));
    let shown = behind(input.value(), scroll, width);
    let pad = width.saturating_sub(cells_of(&shown));
    (Span::styled(format!("{shown}{}", " ".repeat(pad)), style), input.visual_cursor().saturating_sub(scroll))
}

pub fn submit(model: &Model, form: &SubmitForm, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let title = match &form.guild {
        Some((_, name)) => &format!("Submit a task to {name} alone"),
        None => "Submit a task",
    };
    let mut out = Content { title: titled(model, title), ..Content::default() };
    let read_only = form.manifest().is_some();
    let room = width.saturating_sub(LABEL);
    for field in Field::ALL.iter().copied() {
        let focused = form.focus == field;
        let label = Span::styled(
            format!("{:<LABEL$}", field.label()),
            style(if focused { Role::Accent } else { Role::Dim }),
        );
        let line = out.lines.len();
        if read_only && field != Field::Path {
            out.lines
                .push(Line::from(vec![label, Span::styled(cut(form.value(field), room), style(Role::Text))]));
        } else {
            let (input, cursor) = input_line(model, form.shown(field), field.hint(), focused, room);
            if focused {
                out.cursor = Some((LABEL + cursor, line));
            }
            out.lines.push(Line::from(vec![label, input]));
        }
        let indent = Span::raw(" ".repeat(LABEL));
        let found = matches!(form.found, Some(Ok(Probe::Module { .. } | Probe::Manifest { .. })));
        // What it may become is more help than that it is not there yet.
        let completes = field == Field::Path && !found && !form.completions.is_empty();
        if let Some(problem) = form.problem(field, model.now).filter(|_| !completes) {
            for part in wrap(&format!("✗ {problem}"), room) {
                out.lines.push(Line::from(vec![indent.clone(), Span::styled(part, style(Role::InputError))]));
            }
        } else if field == Field::Path {
            let found = match &form.found {
                Some(Ok(probe)) if !completes => format!("✓ {}", found_text(probe)),
                _ if form.completions.is_empty() => String::new(),
                _ => form
                    .completions
                    .iter()
                    .map(|path| path.rsplit('/').find(|p| !p.is_empty()).unwrap_or(path))
                    .collect::<Vec<_>>()
                    .join("  "),
            };
            let role = if matches!(form.found, Some(Ok(_))) && !completes { Role::Ok } else { Role::Dim };
            out.lines.push(Line::from(vec![indent, Span::styled(cut(&found, room), style(role))]));
        }
    }
    out.lines.push(Line::default());
    if let Some(cost) = form.cost() {
        for (i, part) in wrap(&cost, room).into_iter().enumerate() {
            let label = format!("{:<LABEL$}", if i == 0 { "costs" } else { "" });
            out.lines.push(Line::from(vec![
                Span::styled(label, style(Role::Dim)),
                Span::styled(part, style(Role::Strong)),
            ]));
        }
    }
    let word = if read_only {
        &format!(
            "the manifest says the rest; {} writes it in your editor",
            model.key_of(&["task-form"], Action::Edit)
        )
    } else {
        "the rest has its defaults"
    };
    if let Some(line) = answered(model, form.refused.as_deref(), form.waiting.is_some(), width) {
        out.lines.extend(line);
        return out;
    }
    let ready = form.ready(model.now).is_some();
    let key = model.key_of(&["form"], Action::FormSubmit);
    out.lines.push(Line::from(vec![
        Span::styled(format!("{key} "), style(if ready { Role::FooterKey } else { Role::Dim })),
        Span::styled("submits the task", style(if ready { Role::Text } else { Role::Dim })),
        Span::styled(format!("; {word}"), style(Role::Dim)),
    ]));
    out
}

/// Why the node has refused what a form asks, or that it has not answered yet.
fn answered(model: &Model, refused: Option<&str>, waits: bool, width: usize) -> Option<Vec<Line<'static>>> {
    let style = |role| model.theme.style(role);
    match refused {
        Some(why) => {
            let parts = wrap(&format!("✗ {why}"), width).into_iter();
            Some(parts.map(|part| Line::styled(part, style(Role::InputError))).collect())
        }
        None => waits.then(|| vec![Line::styled("the node is asked …", style(Role::Dim))]),
    }
}

pub fn connect(model: &Model, form: &ConnectForm, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let hint = "/ip4/192.0.2.7/tcp/4001 or /dns/…, best ending in /p2p/<peer id>";
    let (input, cursor) = input_line(model, Some(&form.address), hint, true, width.saturating_sub(LABEL));
    let label = Span::styled(format!("{:<LABEL$}", "address"), style(Role::Accent));
    let indent = " ".repeat(LABEL);
    let problem = form.problem().map(|problem| format!("✗ {problem}")).unwrap_or_default();
    let under = wrap(&problem, width.saturating_sub(LABEL)).into_iter();
    let under = under.map(|part| Line::styled(format!("{indent}{part}"), style(Role::InputError)));
    let mut lines = vec![Line::from(vec![label, input])];
    lines.extend(under);
    lines.resize(lines.len().max(2), Line::default());
    Content {
        title: titled(model, "Connect to a peer"),
        lines,
        cursor: Some((LABEL + cursor, 0)),
        ..Content::default()
    }
}

/// The lines of the channel that are shown above what is being said.
const CHANNEL: usize = 10;

pub fn guild(model: &Model, form: &GuildForm, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let mut out = Content { title: titled(model, &form.title()), ..Content::default() };
    if let About::Say { guild_id, .. } = &form.about {
        let lines = details::guild::find(guild_id, model).map(|guild| guild.lines.as_slice());
        let said: Vec<Line> = lines
            .unwrap_or_default()
            .iter()
            .flat_map(|line| details::guild::said(line, model, width))
            .collect();
        out.lines.extend(said.into_iter().rev().take(CHANNEL).collect::<Vec<_>>().into_iter().rev());
        out.lines.push(Line::default());
    }
    let room = width.saturating_sub(LABEL);
    for (at, line) in form.lines.iter().enumerate() {
        let focused = form.focus == at;
        let role = if focused { Role::Accent } else { Role::Dim };
        let label = Span::styled(format!("{:<LABEL$}", line.label), style(role));
        let (input, cursor) = input_line(model, Some(&line.input), line.hint, focused, room);
        if focused && form.waiting.is_none() {
            out.cursor = Some((LABEL + cursor, out.lines.len()));
        }
        out.lines.push(Line::from(vec![label, input]));
        let below = |text: String, role| {
            Line::styled(cut(&format!("{}{text}", " ".repeat(LABEL)), width), style(role))
        };
        if let Some(problem) = form.problem(at) {
            out.lines.push(below(format!("✗ {problem}"), Role::InputError));
        } else if focused && !line.input.value().is_empty() {
            // What stands in an empty line by itself.
            out.lines.push(below(line.hint.to_owned(), Role::Dim));
        }
    }
    out.lines.push(Line::default());
    match answered(model, form.refused.as_deref(), form.waiting.is_some(), width) {
        Some(lines) => out.lines.extend(lines),
        None => {
            let key = model.key_of(&["form"], Action::FormSubmit);
            let ready = form.command().is_some();
            let what = match form.about {
                About::New => "founds the guild",
                About::Join => "asks to join it",
                About::Say { .. } => "says it; Enter does too",
            };
            out.lines.push(Line::from(vec![
                Span::styled(format!("{key} "), style(if ready { Role::FooterKey } else { Role::Dim })),
                Span::styled(what, style(if ready { Role::Text } else { Role::Dim })),
            ]));
        }
    }
    out
}
