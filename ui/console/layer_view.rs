//! What stands inside of a layer, as lines that fit a width.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use zerostate::document::Untrusted;

use super::action::Action;
use super::chord::Chord;
use super::details::{self, LABEL};
use super::find::mark;
use super::forms::view::{connect, guild, input_line, submit};
use super::layers::{Confirm, Facts, Files, Help, Layer, Palette, Text, Themes};
use super::model::Model;
use super::theme::Role;
use super::widgets::columns::{Cell, row, selected};
use super::widgets::text::{cut, width as cells_of, wrap};

/// The inside of a layer.
#[derive(Default)]
pub struct Content {
    pub title: Vec<(String, Style)>,
    pub right: Vec<(String, Style)>,
    pub lines: Vec<Line<'static>>,
    /// In the lower border.
    pub foot: Vec<Span<'static>>,
    pub scroll: usize,
    /// Where the cursor stands: column and line.
    pub cursor: Option<(usize, usize)>,
    /// A line that has to be seen.
    pub kept: Option<usize>,
    /// The lines in which what is looked for stands.
    pub found: Vec<usize>,
}

impl Content {
    /// The first line that is shown in a room of so many.
    pub fn top(&self, room: usize) -> usize {
        let hidden = self.lines.len().saturating_sub(room);
        let kept = self.kept.or(self.cursor.map(|(_, line)| line));
        // A line more, for what stands under it.
        let least = kept.map_or(0, |line| (line + 2).min(self.lines.len()).saturating_sub(room));
        self.scroll.max(least).min(hidden)
    }
}

/// The inside of a layer that is `width` cells wide.
pub fn content(model: &Model, layer: &Layer, width: usize) -> Content {
    let mut content = inside(model, layer, width);
    let Some(find) = layer.find().filter(|_| !matches!(layer, Layer::Files(_))) else { return content };
    let Some(word) = find.word() else { return content };
    let style = model.theme.style(Role::Match);
    content.found = mark(&mut content.lines, word, find.at, [style, style.add_modifier(Modifier::REVERSED)]);
    let name = cut(Untrusted::new(word).as_str(), 16);
    let place = content.found.iter().position(|line| *line == find.at);
    let (said, role) = match (place, content.found.len()) {
        (_, 0) => (format!("{name}: not found"), Role::Warn),
        (Some(place), all) => (format!("{name}: {} of {all}", place + 1), Role::Dim),
        (None, all) => (format!("{name}: {all}"), Role::Dim),
    };
    content.right = vec![(said, model.theme.style(role))];
    content
}

fn inside(model: &Model, layer: &Layer, width: usize) -> Content {
    match layer {
        Layer::Detail(detail) => Content {
            title: detail.title(model),
            lines: detail.lines(model, width),
            scroll: detail.scroll,
            ..Content::default()
        },
        Layer::Submit(form) => submit(model, form, width),
        Layer::Connect(form) => connect(model, form, width),
        Layer::Guild(form) => guild(model, form, width),
        Layer::Confirm(question) => confirm(model, question, width),
        Layer::Palette(palette) => palette_lines(model, palette, width),
        Layer::Help(help) => help_lines(model, help, width),
        Layer::Text(text) => text_lines(model, text, width),
        Layer::Facts(facts) => facts_lines(model, facts, width),
        Layer::Themes(themes) => theme_lines(model, themes, width),
        Layer::Files(files) => file_lines(model, files, width),
    }
}

fn facts_lines(model: &Model, facts: &Facts, width: usize) -> Content {
    let rows: Vec<(&str, String)> =
        facts.facts.iter().map(|(label, text)| (label.as_str(), Untrusted::new(text).to_string())).collect();
    let lines = details::rows(&rows, model, width);
    Content { title: titled(model, &facts.title), lines, scroll: facts.scroll, ..Content::default() }
}

/// A row of a list to choose from.
fn choice(model: &Model, cells: Vec<Cell>, chosen: bool, width: usize) -> Line<'static> {
    let mut line = row(cells, width);
    if chosen {
        selected(&mut line, &model.theme, Role::Selected);
    }
    line
}

fn theme_lines(model: &Model, themes: &Themes, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let lines = model.themes.iter().enumerate().map(|(i, theme)| {
        let mark = if theme.name == themes.before.name { "●" } else { " " };
        let cells = vec![
            Cell::fixed(mark, style(Role::Accent), 1),
            Cell::fill(Untrusted::new(&theme.name).to_string(), style(Role::Text), 8),
        ];
        choice(model, cells, i == themes.chosen, width)
    });
    let lines = lines.collect();
    Content { title: titled(model, "Theme"), lines, kept: Some(themes.chosen), ..Content::default() }
}

fn file_lines(model: &Model, files: &Files, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let folder = if files.folder.is_empty() { "./" } else { files.folder.as_str() };
    let mut title = titled(model, "Choose a file");
    title.push((format!(" ─ {}", Untrusted::new(folder)), style(Role::Text)));
    if let Some(word) = files.find.word() {
        title.push((format!("  /{}", Untrusted::new(word)), style(Role::Warn)));
    }
    let shown = files.shown();
    let said = match (&files.problem, files.reading, shown.is_empty()) {
        (Some(problem), ..) => Some((format!("✗ {}", Untrusted::new(problem)), Role::Bad)),
        (None, true, _) => Some(("reading…".to_owned(), Role::Dim)),
        (None, false, true) if files.find.word().is_some() => {
            let key = model.key_of(&["files"], Action::Back);
            Some((format!("no name here contains it; {key} clears it"), Role::Dim))
        }
        (None, false, true) => Some(("no folder, module or manifest is here".to_owned(), Role::Dim)),
        (None, false, false) => None,
    };
    if let Some((text, role)) = said {
        let lines = wrap(&text, width).into_iter().map(|line| Line::styled(line, style(role))).collect();
        return Content { title, lines, ..Content::default() };
    }
    let lines = shown.iter().enumerate().map(|(i, entry)| {
        let (end, role, size) = if entry.folder {
            ("/", Role::Accent, String::new())
        } else {
            ("", Role::Text, zerostate::document::bytes_text(entry.size))
        };
        let cells = vec![
            Cell::fill(format!("{}{end}", entry.name), style(role), 16),
            Cell::fixed(size, style(Role::Dim), 12).right(),
        ];
        choice(model, cells, i == files.chosen, width)
    });
    let lines = lines.collect();
    Content { title, lines, kept: Some(files.chosen), ..Content::default() }
}

pub fn titled(model: &Model, title: &str) -> Vec<(String, Style)> {
    vec![(title.to_owned(), model.theme.style(Role::LayerTitle))]
}

fn confirm(model: &Model, question: &Confirm, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let mut lines = Vec::new();
    for (label, text) in &question.facts {
        for (i, part) in wrap(text, width.saturating_sub(LABEL)).into_iter().enumerate() {
            let label = if i == 0 { label.as_str() } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!("{label:<LABEL$}"), style(Role::Dim)),
                Span::styled(part, style(Role::Text)),
            ]));
        }
    }
    if !question.warning.is_empty() {
        lines.push(Line::default());
        lines.extend(
            wrap(&question.warning, width).into_iter().map(|line| Line::styled(line, style(Role::Warn))),
        );
    }
    let button = |text: &str, marked: bool| {
        let text = if marked { format!("[ {text} ]") } else { format!("  {text}  ") };
        Span::styled(text, style(if marked { Role::Selected } else { Role::Text }))
    };
    // In the frame, where they are seen however small the screen is.
    let key = |action| model.key_of(&["confirm"], action);
    let mut foot = vec![Span::raw(" "), button(&format!("{}  No", key(Action::No)), !question.yes)];
    if question.waits.is_none() {
        foot.push(button(&format!("{}  {}", key(Action::Yes), question.yes_label), question.yes));
    }
    foot.push(Span::raw(" "));
    Content {
        title: titled(model, &question.title),
        lines,
        foot,
        scroll: question.scroll,
        ..Content::default()
    }
}

fn palette_lines(model: &Model, palette: &Palette, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let (input, cursor) =
        input_line(model, Some(&palette.input), "a few letters of what you want to do", true, width);
    let found = palette.found();
    let chosen = palette.chosen.min(found.len().saturating_sub(1));
    let mut lines = vec![Line::from(input), Line::default()];
    if found.is_empty() {
        lines.push(Line::styled("nothing is called that", style(Role::Dim)));
    }
    // The list is as long as the palette is high; the chosen one is kept in sight.
    let shown = super::layout::areas(model, ratatui::layout::Rect::new(0, 0, model.size.0, model.size.1))
        .map_or(10, |areas| {
            usize::from(super::layout::layer_area(&Layer::Palette(Palette::default()), &areas, 0).height)
        })
        .saturating_sub(4);
    let top = (chosen + 1).saturating_sub(shown);
    for (i, one) in found.iter().enumerate().skip(top).take(shown) {
        let name = one.action.name();
        let mut spans: Vec<Span> = name
            .chars()
            .zip(0u32..)
            .map(|(c, at)| {
                let role = if one.letters.contains(&at) { Role::Match } else { Role::Text };
                Span::styled(c.to_string(), style(role))
            })
            .collect();
        let keys = model.key_of(&super::keymap::CONTEXTS, one.action);
        let about = cut(one.action.about(), width.saturating_sub(20 + cells_of(&keys) + 1));
        let pad = width.saturating_sub(20 + cells_of(&about) + cells_of(&keys));
        spans.push(Span::raw(" ".repeat(20usize.saturating_sub(name.len()))));
        spans.push(Span::styled(about, style(Role::Dim)));
        spans.push(Span::raw(" ".repeat(pad)));
        spans.push(Span::styled(keys, style(Role::FooterKey)));
        let mut line = Line::from(spans);
        if i == chosen {
            selected(&mut line, &model.theme, Role::Selected);
        }
        lines.push(line);
    }
    Content { title: titled(model, "Command"), lines, cursor: Some((cursor, 0)), ..Content::default() }
}

fn help_lines(model: &Model, help: &Help, width: usize) -> Content {
    let style = |role| model.theme.style(role);
    let mut lines = Vec::new();
    let mut told: Vec<&[Chord]> = Vec::new();
    for context in &help.contexts {
        // Keys that lead to the same stand in one row.
        let mut rows: Vec<(String, String)> = Vec::new();
        for binding in model.keymap.section(context) {
            // A more particular place has it for something else.
            if !model.offers(binding.action) || told.contains(&binding.keys.as_slice()) {
                continue;
            }
            let keys = model.keys_text(binding);
            match rows.iter_mut().find(|(_, desc)| *desc == binding.desc) {
                Some((known, _)) => *known = format!("{known} {keys}"),
                None => rows.push((keys, binding.desc.clone())),
            }
        }
        // Those of the filter are keys only while one types it.
        if *context != "filter" {
            told.extend(model.keymap.section(context).iter().map(|binding| binding.keys.as_slice()));
        }
        if rows.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        let heading = if *context == "global" { "everywhere".to_owned() } else { context.replace('-', " ") };
        lines.push(Line::styled(heading, style(Role::Accent)));
        if *context == "filter" {
            filters(model, width, &mut lines);
        }
        // As wide as the longest keys of the section need it.
        let keys_room = rows.iter().map(|(keys, _)| cells_of(keys) + 1).max().unwrap_or(0).max(12);
        let longest = rows.iter().map(|(_, desc)| cells_of(desc)).max().unwrap_or(0);
        // Beside each other where that cuts none of them.
        let columns = if (keys_room + longest + 1) * 2 <= width { 2 } else { 1 };
        let (half, room) = (rows.len().div_ceil(columns), width / columns);
        for i in 0..half {
            let mut spans = Vec::new();
            for column in 0..columns {
                let Some((keys, desc)) = rows.get(i + column * half) else { continue };
                let mut parts = wrap(desc, room.saturating_sub(keys_room)).into_iter();
                let first = parts.next().unwrap_or_default();
                let pad = room.saturating_sub(keys_room + cells_of(&first));
                spans.push(Span::styled(format!("{keys:<keys_room$}"), style(Role::FooterKey)));
                spans.push(Span::styled(format!("{first}{}", " ".repeat(pad)), style(Role::Text)));
                for part in parts {
                    let blank = Span::raw(" ".repeat(keys_room));
                    let line = Line::from(std::mem::replace(&mut spans, vec![blank]));
                    lines.push(line);
                    spans.push(Span::styled(part, style(Role::Text)));
                }
            }
            lines.push(Line::from(spans));
        }
    }
    Content { title: titled(model, "Keys"), lines, scroll: help.scroll, ..Content::default() }
}

/// How a filter is written, and what the pane's fields are called.
fn filters(model: &Model, width: usize, lines: &mut Vec<Line<'static>>) {
    let style = |role| model.theme.style(role);
    let fields = super::panes::fields(model.focus).join(", ");
    let ways = [
        (
            "word",
            "in any field, in whatever case; all words have to be there; \"two words\" as one".to_owned(),
        ),
        ("!word", "not there".to_owned()),
        ("~wrd", "these letters in this order".to_owned()),
        ("field:word", format!("in that field: {fields}")),
    ];
    for (how, what) in ways {
        for (i, part) in wrap(&what, width.saturating_sub(12)).into_iter().enumerate() {
            let how = format!("{:<12}", if i == 0 { how } else { "" });
            lines.push(Line::from(vec![
                Span::styled(how, style(Role::FooterKey)),
                Span::styled(part, style(Role::Text)),
            ]));
        }
    }
}

fn text_lines(model: &Model, text: &Text, width: usize) -> Content {
    let body = Untrusted::lines(&text.body, usize::MAX);
    let style = model.theme.style(Role::Text);
    let lines = wrap(body.as_str(), width).into_iter().map(|line| Line::styled(line, style)).collect();
    Content { title: titled(model, &text.title), lines, scroll: text.scroll, ..Content::default() }
}
