//! The screen as a function of the model. Nothing here changes anything.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use zerostate::api::{Snapshot, SourceView, short_id};
use zerostate::document::Untrusted;

use super::action::Action;
use super::keymap::Binding;
use super::layers::Layer;
use super::layout::{Areas, LEAST, areas, layer_area, tabs_shown};
use super::model::{Model, Toast, Tone};
use super::pending::Purpose;
use super::theme::Role;
use super::widgets::bar::percent;
use super::widgets::boxed::{Boxed, lines};
use super::widgets::text::{behind, cells, clock, cut, grouped, short, width};
use super::{ascii, layer_view, panes, privacy};

/// Draws everything.
pub fn view(model: &Model, frame: &mut Frame) {
    let area = frame.area();
    match areas(model, area) {
        None => too_small(model, frame, area),
        Some(areas) => {
            header(model, frame, areas.header);
            if let Some(tabs) = areas.tabs {
                tab_line(model, frame, tabs);
            }
            for (pane, area) in &areas.panes {
                panes::draw(model, *pane, frame, *area);
            }
            for (i, layer) in model.layers.iter().enumerate() {
                // Before another one hides where an id begins.
                if model.private {
                    privacy::mask(frame.buffer_mut());
                }
                draw_layer(model, layer, i + 1 == model.layers.len(), frame, &areas);
            }
            if model.private {
                privacy::mask(frame.buffer_mut());
            }
            if toast_line(model).is_none() {
                toasts(model, frame, areas.body);
            }
            footer(model, frame, areas.footer);
        }
    }
    if model.private {
        privacy::mask(frame.buffer_mut());
    }
    if model.settings.ascii {
        ascii::reduce(frame.buffer_mut());
    }
    finish(frame.buffer_mut(), model.theme.style(Role::Screen));
}

/// The last look at every cell: what has no colours of its own has those of the screen, in themes that have some; and nothing goes to the
/// terminal that could steer it, whatever way it came.
fn finish(buffer: &mut Buffer, screen: Style) {
    let (fg, bg) = (screen.fg.unwrap_or(Color::Reset), screen.bg.unwrap_or(Color::Reset));
    for cell in &mut buffer.content {
        if cell.symbol().chars().any(Untrusted::changes) {
            cell.set_char(char::REPLACEMENT_CHARACTER);
        }
        if cell.fg == Color::Reset {
            cell.fg = fg;
        }
        if cell.bg == Color::Reset {
            cell.bg = bg;
        }
    }
}

fn too_small(model: &Model, frame: &mut Frame, area: Rect) {
    let key = model.key_of(&["global"], Action::Quit);
    let text = format!(
        "zerostate needs {}x{} cells and has {}x{}. The node goes on; {key} quits, twice while tasks run on it.",
        LEAST.0, LEAST.1, area.width, area.height
    );
    let rows = super::widgets::text::wrap(&text, usize::from(area.width));
    frame.render_widget(Paragraph::new(rows.into_iter().map(Line::raw).collect::<Vec<_>>()), area);
}

/// Who this is, how it is, and what the clock says. What is least needed goes first where there is no room.
fn header(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    let width_of = |spans: &[Span]| spans.iter().map(Span::width).sum::<usize>();
    let mut right = header_right(model, true);
    let mut facts = vec![("zerostate".to_owned(), Role::HeaderName, 0)];
    match model.snapshot.as_deref() {
        None => facts.push(("starting…".to_owned(), Role::Active, 0)),
        Some(snapshot) => facts.extend(header_facts(model, snapshot)),
    }
    let need = |facts: &[(String, Role, u8)]| facts.iter().map(|(text, ..)| width(text) + 2).sum::<usize>();
    while need(&facts) > usize::from(area.width).saturating_sub(width_of(&right)) {
        if let Some(most) = facts.iter().map(|(_, _, rank)| *rank).max().filter(|rank| *rank > 0) {
            facts.retain(|(_, _, rank)| *rank < most);
            continue;
        }
        // What is news has more right to its place than where one is, and than what this program is called.
        let named = facts.first().is_some_and(|(_, role, _)| *role == Role::HeaderName);
        let bare = header_right(model, false);
        if width_of(&bare) < width_of(&right) {
            right = bare;
        } else if named && facts.len() > 1 {
            facts.remove(0);
        } else {
            break;
        }
    }
    let mut left = Vec::new();
    for (i, (text, role, _)) in facts.into_iter().enumerate() {
        left.extend([Span::raw(if i == 0 { " " } else { "  " }), Span::styled(text, style(role))]);
    }
    both_ends(frame, area, left, right);
}

fn counted(n: usize) -> String {
    grouped(n.try_into().unwrap_or(u64::MAX))
}

/// A node says every few seconds that it is there.
const SILENT_S: i64 = 15;

/// Text, meaning, and how soon it can be done without.
fn header_facts(model: &Model, snapshot: &Snapshot) -> Vec<(String, Role, u8)> {
    let node = &snapshot.node;
    // The time since when, and not how long: what counts up costs bytes every second.
    let at = |time| clock(time, model.now, &model.zone);
    let mut facts = Vec::new();
    let name = node.name.as_str().trim();
    if !name.is_empty() {
        facts.push((cut(name, 20), Role::Strong, 2));
    }
    facts.push((node.did.short(), Role::Dim, 3));
    if let Some(since) = model.gone {
        facts.push((format!("✗ node gone since {}", at(since)), Role::Bad, 0));
        facts.push(("looking for it".to_owned(), Role::Bad, 1));
        facts.push((format!("as of {}", at(snapshot.at)), Role::Warn, 1));
        return facts;
    }
    let silent = model.now.duration_since(snapshot.at).as_secs();
    if silent >= SILENT_S && model.settings.replay.is_none() && model.frozen.is_none() {
        facts.push((format!("? silent since {}", at(snapshot.at)), Role::Warn, 0));
    }
    facts.push(match snapshot.peers.len() {
        0 => ("○ alone".to_owned(), Role::Warn, 0),
        1 => ("● 1 peer".to_owned(), Role::Ok, 0),
        n => (format!("● {} peers", counted(n)), Role::Ok, 0),
    });
    if node.running > 0 {
        facts.push((format!("▶ {} running", grouped(node.running)), Role::Active, 1));
    }
    if !snapshot.inbox.is_empty() {
        facts.push((format!("? inbox {}", counted(snapshot.inbox.len())), Role::Warn, 0));
    }
    if let Some([far, rate, whence]) = transfer_facts(model, snapshot) {
        facts.extend([(far, Role::Active, 0), (rate, Role::Active, 1), (whence, Role::Dim, 5)]);
    }
    let rate = model.rates.node();
    facts.push((format!("▲ {} ▼ {}/s", short(rate.bytes_out), short(rate.bytes_in)), Role::Dim, 4));
    facts
}

/// The artifact that is on its way into the store: how far it is, how fast, and what and from whom.
fn transfer_facts(model: &Model, snapshot: &Snapshot) -> Option<[String; 3]> {
    let (first, others) = snapshot.transfers.split_first()?;
    let verb = if first.direction == "add" { "▲ add" } else { "▼ get" };
    let far = match first.size.filter(|size| *size > 0) {
        Some(size) => format!("{} %", percent(first.done, size)),
        None => short(first.done),
    };
    let mut brief = format!("{}/s", short(first.rate()));
    if let Some(left) = first.left() {
        brief = format!("{brief} {left}");
    }
    if !others.is_empty() {
        brief = format!("{brief} +{}", others.len());
    }
    let of = first.size.map(|size| format!(" of {}", short(size))).unwrap_or_default();
    let mut long = format!("{}{of}", short(first.done));
    if let Some(cid) = &first.cid {
        long = format!("{} {long}", short_id(cid));
    }
    let names: Vec<String> = first.sources.iter().map(|source| source_name(model, source)).collect();
    if !names.is_empty() {
        long = format!("{long} from {}", cut(&names.join(", "), 40));
    }
    Some([format!("{verb} {far}"), brief, long])
}

/// A peer by its name where it has one.
fn source_name(model: &Model, source: &SourceView) -> String {
    let from = source.from.as_str();
    match model.names.of_peer(from) {
        Some(name) => name.to_owned(),
        // A peer without a name yet; a gateway is told as it is.
        None if !from.contains('/') && from.len() > 20 => {
            format!("…{}", from.get(from.len().saturating_sub(6)..).unwrap_or(from))
        }
        None => from.to_owned(),
    }
}

/// Columns for what is being waited for.
const WAITING: usize = 30;

/// How far a receipt's task is that is being run again, by its fuel.
fn how_far(model: &Model, purpose: &Purpose) -> String {
    let Purpose::Examine { receipt_id, .. } = purpose else { return String::new() };
    let reruns = model.snapshot.iter().flat_map(|snapshot| &snapshot.reruns);
    let run = reruns.into_iter().find(|run| run.receipt_id == *receipt_id).map(|run| &run.progress);
    run.map_or_else(String::new, |run| format!(" {} %", percent(run.fuel_used, run.fuel_limit)))
}

/// What is being waited for, the badges, the clock.
fn header_right(model: &Model, with_badge: bool) -> Vec<Span<'static>> {
    let style = |role| model.theme.style(role);
    let mut right = Vec::new();
    let mut waiting = model.pending.iter().filter_map(|pending| {
        let far = how_far(model, &pending.purpose);
        let room = WAITING.saturating_sub(width(&far));
        Some(format!("{}{far}", cut(&pending.purpose.waiting()?, room)))
    });
    if let Some(first) = waiting.next() {
        let others = match waiting.count() {
            0 => String::new(),
            n => format!(" +{n}"),
        };
        right.push(Span::styled(format!("  … {first}{others}  "), style(Role::Active)));
    }
    let mut badge =
        |text: String| right.extend([Span::styled(format!(" {text} "), style(Role::Badge)), Span::raw(" ")]);
    if let Some((_, since)) = &model.frozen {
        badge(format!("frozen {}", clock(*since, model.now, &model.zone)));
    }
    if let Some(total) = model.settings.replay {
        let runs = if model.playing { "▶ " } else { "" };
        badge(format!("{runs}replay {}/{total}", model.replayed));
    }
    if model.private {
        badge("masked".to_owned());
    }
    if let Some(round) = &model.parked {
        badge(format!("{} to sign", round.found.len()));
    }
    if let Some(text) = model.settings.badge.as_ref().filter(|_| with_badge) {
        badge(text.clone());
    }
    let clock = model.now.to_zoned(model.zone.clone()).strftime("%H:%M:%S").to_string();
    right.push(Span::styled(format!(" {clock} "), style(Role::Dim)));
    right
}

/// The panes' names, as many as there is room for.
fn tab_line(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    let mut spans = Vec::new();
    for pane in tabs_shown(area.width, model.focus) {
        let here = model.focus == pane;
        let (number, title) = if here { (Role::Accent, Role::TitleFocused) } else { (Role::Dim, Role::Dim) };
        let underline = if here { Modifier::UNDERLINED } else { Modifier::empty() };
        spans.push(Span::styled(format!(" {} ", pane.number()), style(number)));
        spans.push(Span::styled(pane.title(), style(title).add_modifier(underline)));
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
    let mut title = content.title.clone();
    if let Some((_, style)) = title.first_mut() {
        *style = title_style;
    }
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = content.lines.len().saturating_sub(room);
    let scroll = content.top(room);
    let right = match hidden {
        0 => content.right,
        n => {
            let mut right = content.right;
            let gap = if right.is_empty() { "" } else { " · " };
            right.push((format!("{gap}{}%", scroll * 100 / n), model.theme.style(Role::Dim)));
            right
        }
    };
    // A margin, so that no half words touch the frame.
    let margin = Rect { x: area.x.saturating_sub(1), width: area.width.saturating_add(2), ..area };
    frame.render_widget(Clear, margin.intersection(areas.body));
    let inner = Boxed { title, right, foot: content.foot, border }.draw(frame, area);
    if top && let Some((x, y)) = content.cursor.filter(|(_, y)| *y >= scroll && *y - scroll < room) {
        let x = inner.x.saturating_add(cells(x)).min(inner.right().saturating_sub(1));
        frame.set_cursor_position(Position { x, y: inner.y.saturating_add(cells(y - scroll)) });
    }
    let above = scroll.checked_sub(1).and_then(|at| content.lines.get(at)).cloned();
    lines(frame, inner, content.lines.into_iter().skip(scroll).take(room).collect());
    if let Some(above) = above.filter(|_| model.private) {
        privacy::mask_rest(frame.buffer_mut(), inner, &above);
    }
}

fn toast_look(tone: Tone) -> (&'static str, Role) {
    match tone {
        Tone::Info => ("·", Role::ToastInfo),
        Tone::Good => ("✓", Role::ToastOk),
        Tone::Undone => ("!", Role::Warn),
        Tone::Bad => ("✗", Role::ToastBad),
    }
}

/// Over a question or a form nothing may stand: there the newest is said in place of the footer.
fn toast_line(model: &Model) -> Option<&Toast> {
    let asks = matches!(
        model.layers.last(),
        Some(Layer::Confirm(_) | Layer::Submit(_) | Layer::Guild(_) | Layer::Connect(_))
    );
    model.toasts.last().filter(|_| asks)
}

/// What happened, in the lower right corner; the newest at the bottom.
fn toasts(model: &Model, frame: &mut Frame, body: Rect) {
    let mut bottom = body.bottom();
    for toast in model.toasts.iter().rev() {
        let (glyph, role) = toast_look(toast.tone);
        let room = usize::from(body.width).saturating_sub(6).min(72);
        let rows: Vec<String> = super::widgets::text::wrap(&format!("{glyph} {}", toast.text), room)
            .into_iter()
            .take(4)
            .collect();
        let wide = rows.iter().map(|row| width(row)).max().unwrap_or(0);
        let (w, h) = (cells(wide + 4), cells(rows.len() + 2));
        if bottom < body.y + h || body.width < w {
            break;
        }
        let area = Rect { x: body.right() - w, y: bottom - h, width: w, height: h };
        let style = model.theme.style(role);
        let inner =
            Boxed { title: Vec::new(), right: Vec::new(), foot: Vec::new(), border: style }.draw(frame, area);
        lines(frame, inner, rows.into_iter().map(|row| Line::styled(row, style)).collect());
        bottom -= h;
    }
}

/// So much of the footer belongs to the keys that end what is typed.
const KEYS_ROOM: usize = 30;

/// The keys that count now, or the filter that is being typed.
fn footer(model: &Model, frame: &mut Frame, area: Rect) {
    let style = |role| model.theme.style(role);
    if let Some(toast) = toast_line(model) {
        let (glyph, role) = toast_look(toast.tone);
        let text = cut(&format!(" {glyph} {}", toast.text), usize::from(area.width));
        return both_ends(frame, area, vec![Span::styled(text, style(role))], Vec::new());
    }
    let (contexts, _) = model.contexts();
    let mut left = vec![Span::raw(" ")];
    let mut room = usize::from(area.width).saturating_sub(2);
    let find = model.layers.last().and_then(Layer::find).filter(|find| find.typing);
    let filtering = model.filtering.as_ref().filter(|_| model.layers.is_empty());
    if let Some(input) = find.map(|find| &find.input).or(filtering) {
        // As much of its end as leaves room for the keys.
        let shown = room.saturating_sub(KEYS_ROOM).max(8);
        let scroll = input.visual_scroll(shown);
        let text = format!("/{}", behind(input.value(), scroll, shown));
        let at = 2 + input.visual_cursor().saturating_sub(scroll);
        frame.set_cursor_position(Position {
            x: area.x.saturating_add(cells(at)).min(area.right().saturating_sub(1)),
            y: area.y,
        });
        room = room.saturating_sub(width(&text) + 3);
        left.push(Span::styled(text, style(Role::InputFocused)));
        left.push(Span::raw("   "));
        let fields: Vec<String> =
            panes::fields(model.focus).iter().map(|field| format!("{field}:")).collect();
        let hint = format!("!not ~fuzzy {}", fields.join(" "));
        // The keys that end it come first, and then what can be typed.
        if filtering.is_some() && width(&hint) + 30 < room {
            room = room.saturating_sub(width(&hint) + 3);
            left.push(Span::styled(hint, style(Role::Dim)));
            left.push(Span::raw("   "));
        }
    }
    if !model.prefix.is_empty() {
        let typed: String = model.prefix.iter().map(ToString::to_string).collect();
        left.push(Span::styled(format!("{typed}…  "), style(Role::Active)));
        room = room.saturating_sub(width(&typed) + 3);
    }
    let mut shown = Vec::new();
    for binding in contexts.iter().flat_map(|context| model.keymap.section(context)) {
        let keys = model.keys_text(binding);
        // In an opened thing there is nothing to be said of what goes on everywhere.
        let elsewhere = !model.layers.is_empty() && model.keymap.section("global").contains(binding);
        let cannot = !model.offers(binding.action)
            || matches!(model.layers.last(), Some(Layer::Detail(detail)) if !detail.allows(model, binding.action));
        if !binding.foot.is_empty() && !elsewhere && !cannot && !shown.iter().any(|(known, _)| *known == keys)
        {
            shown.push((keys, binding));
        }
    }
    shown.sort_by_key(|(_, binding)| binding.action != Action::Open);
    let need = |shown: &[(String, &Binding)]| -> usize {
        shown.iter().map(|(keys, binding)| width(keys) + width(&binding.foot) + 4).sum()
    };
    // What does not fit goes from the end, but the way back and the way to all the others stay.
    while need(&shown) > room && !shown.is_empty() {
        let last =
            shown.iter().rposition(|(_, binding)| !matches!(binding.action, Action::Help | Action::Back));
        shown.remove(last.unwrap_or(0));
    }
    for (keys, binding) in shown {
        left.push(Span::styled(keys, style(Role::FooterKey)));
        left.push(Span::styled(format!(" {}   ", binding.foot), style(Role::FooterText)));
    }
    both_ends(frame, area, left, Vec::new());
}

fn both_ends(frame: &mut Frame, area: Rect, left: Vec<Span>, right: Vec<Span>) {
    let right_line = Line::from(right);
    let w = cells(right_line.width()).min(area.width);
    let split = Rect { width: area.width - w, ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(Line::from(left)).style(Style::new()), split);
    frame.render_widget(Paragraph::new(right_line), Rect { x: area.right() - w, width: w, ..area });
}
