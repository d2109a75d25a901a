//! Where things stand on the screen.

use ratatui::layout::{Constraint, Layout, Rect};

use super::layers::Layer;
use super::model::{Model, Pane};

/// From this size on all panes are shown at once.
const WIDE: (u16, u16) = (110, 30);
/// Below this size nothing useful can be shown.
pub const LEAST: (u16, u16) = (60, 16);

/// The parts of the screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Areas {
    pub header: Rect,
    /// The names of the panes, where they do not all fit.
    pub tabs: Option<Rect>,
    pub panes: Vec<(Pane, Rect)>,
    /// Everything between header or tabs and footer.
    pub body: Rect,
    pub footer: Rect,
}

/// Whether all panes are shown at once.
pub fn is_wide(size: (u16, u16)) -> bool {
    size.0 >= WIDE.0 && size.1 >= WIDE.1
}

/// Whether there is no room for anything useful.
pub fn is_too_small(size: (u16, u16)) -> bool {
    size.0 < LEAST.0 || size.1 < LEAST.1
}

/// The parts of a screen of that size; `None` when it is too small.
pub fn areas(model: &Model, area: Rect) -> Option<Areas> {
    if is_too_small((area.width, area.height)) {
        return None;
    }
    let tabbed = !is_wide((area.width, area.height)) || model.zoomed;
    let rows = [
        Constraint::Length(1),
        Constraint::Length(u16::from(tabbed)),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [header, tabs, body, footer] = Layout::vertical(rows).areas(area);
    let panes = match (model.zoomed, tabbed) {
        (true, _) => vec![(model.focus, body)],
        (false, true) => narrow(model, body),
        (false, false) => wide(model, body),
    };
    Some(Areas { header, tabs: tabbed.then_some(tabs), panes, body, footer })
}

fn wide(model: &Model, body: Rect) -> Vec<(Pane, Rect)> {
    let rows = [Constraint::Fill(5), Constraint::Fill(5), Constraint::Fill(4)];
    let [upper, middle, lower] = Layout::vertical(rows).areas(body);
    let [peers, guilds, tasks] =
        Layout::horizontal([Constraint::Fill(41), Constraint::Fill(35), Constraint::Fill(44)]).areas(upper);
    let [receipts, attestations] =
        Layout::horizontal([Constraint::Fill(59), Constraint::Fill(41)]).areas(middle);
    vec![
        (Pane::Peers, peers),
        (Pane::Guilds, guilds),
        (Pane::Tasks, tasks),
        (Pane::Receipts, receipts),
        (Pane::Attestations, attestations),
        (model.bottom, lower),
    ]
}

/// The focused pane, and below it the events where there is room for both.
fn narrow(model: &Model, body: Rect) -> Vec<(Pane, Rect)> {
    if model.focus.at_bottom() || body.height < 18 {
        return vec![(model.focus, body)];
    }
    let [main, events] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(body);
    vec![(model.focus, main), (Pane::Events, events)]
}

/// The panes whose names stand in the tab line: all, or those that a wide screen shows, too.
pub fn tabs_shown(width: u16, focus: Pane) -> Vec<Pane> {
    if Pane::ALL.into_iter().map(tab_width).sum::<usize>() <= usize::from(width) {
        return Pane::ALL.to_vec();
    }
    let last = if focus.at_bottom() { focus } else { Pane::Events };
    Pane::ALL.into_iter().filter(|pane| !pane.at_bottom() || *pane == last).collect()
}

fn tab_width(pane: Pane) -> usize {
    pane.title().len() + 3
}

/// The pane whose name stands at a column of the tab line.
pub fn tab_at(tabs: Rect, focus: Pane, x: u16) -> Option<Pane> {
    let mut end = usize::from(tabs.x);
    tabs_shown(tabs.width, focus).into_iter().find(|pane| {
        end += tab_width(*pane);
        usize::from(x) < end
    })
}

/// Where a layer stands. Something opened takes the body, but no lines too long to read; questions and forms are as large as they
/// need to be.
pub fn layer_area(layer: &Layer, areas: &Areas, content: usize) -> Rect {
    let lines = super::widgets::text::cells(content.saturating_add(2));
    let (width, height) = match layer {
        Layer::Detail(_) | Layer::Text(_) => (areas.body.width.min(132), areas.body.height),
        Layer::Facts(_) => (areas.body.width.min(118), lines),
        Layer::Themes(_) => (areas.body.width.min(44), lines),
        Layer::Files(_) => (areas.body.width.min(92), lines),
        Layer::Help(_) => (areas.body.width.min(118), lines),
        Layer::Submit(_) | Layer::Connect(_) | Layer::Guild(_) => (areas.body.width.min(92), lines),
        Layer::Confirm(_) => (areas.body.width.min(84), lines),
        Layer::Palette(_) => (areas.body.width.min(104), areas.body.height.min(18)),
    };
    let (width, height) = (width.min(areas.body.width), height.min(areas.body.height));
    let x = areas.body.x + (areas.body.width - width) / 2;
    // A little above the middle, where the eye is.
    let y = areas.body.y + (areas.body.height - height) / 3;
    Rect { x, y, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pane_in_focus_has_its_name_in_the_tab_line_at_every_width() {
        for width in LEAST.0..130 {
            for focus in Pane::ALL {
                let shown = tabs_shown(width, focus);
                assert!(shown.contains(&focus), "{focus:?} at {width}");
                let tabs = Rect::new(0, 1, width, 1);
                let mut x = 0;
                for pane in shown {
                    assert_eq!(tab_at(tabs, focus, x), Some(pane), "{focus:?} at {width}");
                    x += super::super::widgets::text::cells(tab_width(pane));
                }
                assert!(x <= width, "{focus:?} at {width}");
                assert_eq!(tab_at(tabs, focus, x), None);
            }
        }
        assert_eq!(tabs_shown(130, Pane::Log), Pane::ALL);
    }
}
