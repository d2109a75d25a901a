//! The screen as a function of the model. Nothing here changes anything.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::layers::Layer;
use super::layout::{Areas, LEAST, areas, layer_area};
use super::model::{Model, Pane, Tone};
use super::theme::Role;
use super::widgets::boxed::{Boxed, lines};
use super::widgets::text::{cells, cut, short, width};
use super::{ascii, layer_view, panes};

/// Draws everything.
pub fn view(model: &Model, frame: &mut Frame) {
    let area = frame.area();
    match areas(model, area) {
        None => too_small(frame, area),
        Some(areas) => {
            header(model, frame, areas.header);
            if let Some(tabs) = areas.tabs {
                tab_line(model, frame, tabs);
            }
            for (pane, area) in &areas.panes {
                panes::draw(model, *pane, frame, *area);
            }
            for (i, layer) in model.layers.iter().enumerate() {
                draw_layer(model, layer, i + 1 == model.layers.len(), frame, &areas);
            }
            toasts(model, frame, areas.body);
            footer(model, frame, areas.footer);
        }
    }
    if model.settings.ascii {
        ascii::reduce(frame.buffer_mut());
    }
}

fn too_small(frame: &mut Frame, area: Rect) {
    let text = format!(
        "zerostate needs {}x{} cells and has {}x{}. The node goes on; q quits.",
        LEAST.0, LEAST.1, area.width, area.height
    );
    let rows = super::widgets::text::wrap(&text, usize::from(area.width));
    frame.render_widget(Paragraph::new(rows.into_iter().map(Line::raw).collect::<Vec<_>>()), area);
}

/// Who this is, how it is, and what the clock says.
fn header(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    let mut left = vec![Span::raw(" "), Span::styled("zerostate", style(Role::HeaderName))];
    let mut say = |text: String, role: Role| left.extend([Span::raw("  "), Span::styled(text, style(role))]);
    match model.snapshot.as_deref() {
        None => say("starting…".to_owned(), Role::Active),
        Some(snapshot) => {
            let node = &snapshot.node;
            let name = node.name.as_str().trim();
            if !name.is_empty() {
                say(cut(name, 20), Role::Strong);
            }
            say(node.did.short(), Role::Dim);
            let (glyph, role) = if snapshot.peers.is_empty() { ("○ alone", Role::Warn) } else { ("●", Role::Ok) };
            match snapshot.peers.len() {
                0 => say(glyph.to_owned(), role),
                1 => say(format!("{glyph} 1 peer"), role),
                n => say(format!("{glyph} {n} peers"), role),
            }
            if node.running > 0 {
                say(format!("▶ {} running", node.running), Role::Active);
            }
            if !snapshot.inbox.is_empty() {
                say(format!("? inbox {}", snapshot.inbox.len()), Role::Warn);
            }
            if area.width >= 90 {
                let rate = model.rates.node();
                say(format!("▲ {} ▼ {}/s", short(rate.bytes_out), short(rate.bytes_in)), Role::Dim);
            }
        }
    }
    if let Some(waiting) = model.pending.iter().find_map(|pending| pending.purpose.waiting()) {
        let more = model.pending.iter().filter(|pending| pending.purpose.waiting().is_some()).count();
        let others = if more > 1 { format!(" (+{})", more - 1) } else { String::new() };
        say(format!("… {}{others}", cut(&waiting, 36)), Role::Active);
    }
    let mut right = Vec::new();
    if let Some((_, since)) = &model.frozen {
        let seconds = u64::try_from(model.now.duration_since(*since).as_secs()).unwrap_or(0);
        right.push(Span::styled(format!(" frozen {}:{:02} ", seconds / 60, seconds % 60), style(Role::Badge)));
        right.push(Span::raw(" "));
    }
    if let Some(badge) = &model.settings.badge {
        right.push(Span::styled(format!(" {badge} "), style(Role::Badge)));
        right.push(Span::raw(" "));
    }
    let clock = model.now.to_zoned(model.zone.clone()).strftime("%H:%M:%S").to_string();
    right.push(Span::styled(format!(" {clock} "), style(Role::Dim)));
    both_ends(frame, area, left, right);
}

/// The panes' names; all six at the least size, inbox and log where there is room.
fn tab_line(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    let room = usize::from(area.width);
    let six: usize = Pane::ALL.iter().take(6).map(|pane| pane.title().len() + 3).sum();
    let eight: usize = Pane::ALL.iter().map(|pane| pane.title().len() + 3).sum();
    let shown = if eight <= room || model.focus > Pane::Events { 8 } else { 6 };
    let gap = if (if shown == 8 { eight } else { six }) + shown <= room { "  " } else { " " };
    let mut spans = vec![Span::raw(" ")];
    for pane in Pane::ALL.into_iter().take(shown) {
        let here = model.focus == pane;
        let (number, title) =
            if here { (Role::Accent, Role::TitleFocused) } else { (Role::Dim, Role::Dim) };
        let title_style = if here { style(title).add_modifier(ratatui::style::Modifier::UNDERLINED) } else { style(title) };
        let number_text = if gap.len() == 1 { format!("{}", pane.number()) } else { format!("{} ", pane.number()) };
        spans.push(Span::styled(number_text, style(number)));
        spans.push(Span::styled(pane.title(), title_style));
        spans.push(Span::raw(gap));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn draw_layer(model: &Model, layer: &Layer, top: bool, frame: &mut Frame, areas: &Areas) {
    let inside = layer_area(layer, areas, 0).width.saturating_sub(4);
    let content = layer_view::content(model, layer, usize::from(inside));
    let area = layer_area(layer, areas, content.lines.len());
    let (title_style, border) = if top {
        (model.theme.style(Role::LayerTitle), model.theme.style(Role::LayerBorder))
    } else {
        (model.theme.style(Role::Title), model.theme.style(Role::Border))
    };
    let mut title = content.title;
    if let Some((_, style)) = title.first_mut() {
        *style = title_style;
    }
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = content.lines.len().saturating_sub(room);
    let scroll = content.scroll.min(hidden);
    let right = match hidden {
        0 => content.right,
        n => vec![(format!("{}%", scroll * 100 / n), model.theme.style(Role::Dim))],
    };
    let inner = Boxed { title, right, foot: Vec::new(), border }.draw(frame, area);
    if top {
        if let Some((x, y)) = content.cursor.filter(|(_, y)| *y >= scroll && *y - scroll < room) {
            let x = inner.x.saturating_add(cells(x)).min(inner.right().saturating_sub(1));
            frame.set_cursor_position(Position { x, y: inner.y.saturating_add(cells(y - scroll)) });
        }
    }
    lines(frame, inner, content.lines.into_iter().skip(scroll).take(room).collect());
}

/// What happened, in the lower right corner; the newest at the bottom.
fn toasts(model: &Model, frame: &mut Frame, body: Rect) {
    let mut bottom = body.bottom();
    for toast in model.toasts.iter().rev() {
        let (glyph, role) = match toast.tone {
            Tone::Info => ("·", Role::ToastInfo),
            Tone::Good => ("✓", Role::ToastOk),
            Tone::Bad => ("✗", Role::ToastBad),
        };
        let room = usize::from(body.width).saturating_sub(6).min(72);
        let rows: Vec<String> = super::widgets::text::wrap(&format!("{glyph} {}", toast.text), room).into_iter().take(4).collect();
        let wide = rows.iter().map(|row| width(row)).max().unwrap_or(0);
        let (w, h) = (cells(wide + 4), cells(rows.len() + 2));
        if bottom < body.y + h || body.width < w {
            break;
        }
        let area = Rect { x: body.right() - w, y: bottom - h, width: w, height: h };
        let style = model.theme.style(role);
        let inner = Boxed { title: Vec::new(), right: Vec::new(), foot: Vec::new(), border: style }.draw(frame, area);
        lines(frame, inner, rows.into_iter().map(|row| Line::styled(row, style)).collect());
        bottom -= h;
    }
}

/// The keys that count now, or the filter that is being typed.
fn footer(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    let (contexts, _) = model.contexts();
    let mut left = vec![Span::raw(" ")];
    let mut room = usize::from(area.width).saturating_sub(2);
    if let (Some(input), true) = (&model.filtering, model.layers.is_empty()) {
        let text = format!("/{}", input.value());
        let at = 2 + input.visual_cursor();
        frame.set_cursor_position(Position { x: area.x.saturating_add(cells(at)).min(area.right().saturating_sub(1)), y: area.y });
        room = room.saturating_sub(width(&text) + 3);
        left.push(Span::styled(text, style(Role::InputFocused)));
        left.push(Span::raw("   "));
    }
    if !model.prefix.is_empty() {
        let typed: String = model.prefix.iter().map(ToString::to_string).collect();
        left.push(Span::styled(format!("{typed}…  "), style(Role::Active)));
        room = room.saturating_sub(width(&typed) + 3);
    }
    let inbox = model.snapshot.as_ref().map_or(0, |snapshot| snapshot.inbox.len());
    let right: Vec<Span> = match (inbox, model.layers.is_empty()) {
        (n @ 1.., true) => vec![Span::styled(format!("i inbox {n} "), style(Role::Warn))],
        _ => Vec::new(),
    };
    room = room.saturating_sub(right.iter().map(Span::width).sum());
    let mut seen: Vec<String> = Vec::new();
    for binding in contexts.iter().flat_map(|context| model.keymap.section(context)) {
        let keys = model.keys_text(binding);
        let hidden = !model.layers.is_empty() && contexts.len() > 1 && model.keymap.section("global").contains(binding);
        if binding.foot.is_empty() || hidden || seen.contains(&keys) {
            continue;
        }
        let need = width(&keys) + 1 + width(&binding.foot) + 3;
        if need > room {
            break;
        }
        room -= need;
        left.push(Span::styled(keys.clone(), style(Role::FooterKey)));
        left.push(Span::styled(format!(" {}   ", binding.foot), style(Role::FooterText)));
        seen.push(keys);
    }
    both_ends(frame, area, left, right);
}

fn both_ends(frame: &mut Frame, area: Rect, left: Vec<Span>, right: Vec<Span>) {
    let right_line = Line::from(right);
    let w = cells(right_line.width()).min(area.width);
    let split = Rect { width: area.width - w, ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(Line::from(left)).style(Style::new()), split);
    frame.render_widget(Paragraph::new(right_line), Rect { x: area.right() - w, width: w, ..area });
}
