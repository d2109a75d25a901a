//! What the details have in common: labelled rows, headings, program output.

use ratatui::text::{Line, Span};
use zerostate::document::Untrusted;

use crate::console::model::Model;
use crate::console::theme::Role;
use crate::console::widgets::bar::bar;
use crate::console::widgets::text::{width as cells_of, wrap};

/// The width of a label.
pub const LABEL: usize = 11;
/// So wide is no screen: the lines are heard, one thing at a time.
pub const HEARD: usize = 1_000;
/// Of a task's name so much stands in a title: what became of it follows.
pub const NAME: usize = 24;

/// `label  text`, the text in as many lines as it needs.
pub fn rows(rows: &[(&str, String)], model: &Model, width: usize) -> Vec<Line<'static>> {
    let (dim, text) = (model.theme.style(Role::Dim), model.theme.style(Role::Text));
    let mut lines = Vec::new();
    for (label, value) in rows {
        for (i, part) in wrap(value, width.saturating_sub(LABEL).max(20)).into_iter().enumerate() {
            let label = if i == 0 { *label } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!("{label:<LABEL$}"), dim),
                Span::styled(part, text),
            ]));
        }
    }
    lines
}

/// Two labelled texts beside each other where there is room for both, below each other otherwise.
pub fn pairs(pairs: &[(&str, String)], model: &Model, width: usize) -> Vec<Line<'static>> {
    let (dim, text) = (model.theme.style(Role::Dim), model.theme.style(Role::Text));
    let half = width / 2;
    let fits = |value: &str| (96..HEARD).contains(&width) && LABEL + cells_of(value) < half;
    let mut lines = Vec::new();
    let mut left = pairs.iter().peekable();
    while let Some((label, value)) = left.next() {
        let Some((other, beside)) = left.next_if(|(_, beside)| fits(value) && fits(beside)) else {
            lines.extend(rows(&[(label, value.clone())], model, width));
            continue;
        };
        let pad = half.saturating_sub(LABEL + cells_of(value));
        lines.push(Line::from(vec![
            Span::styled(format!("{label:<LABEL$}"), dim),
            Span::styled(value.clone(), text),
            Span::raw(" ".repeat(pad)),
            Span::styled(format!("{other:<LABEL$}"), dim),
            Span::styled(beside.clone(), text),
        ]));
    }
    lines
}

/// A limit: its name, what is used of it, a bar.
pub fn limit(label: &str, used: &str, part: u64, whole: u64, model: &Model) -> Vec<Span<'static>> {
    let (dim, text) = (model.theme.style(Role::Dim), model.theme.style(Role::Text));
    let [full, rest] = bar(part, whole, 12, &model.theme);
    vec![
        Span::styled(format!("{label:<LABEL$}"), dim),
        Span::styled(format!("{used:<31} "), text),
        full,
        rest,
    ]
}

/// A heading with a blank line above it.
pub fn heading(text: &str, model: &Model) -> [Line<'static>; 2] {
    [Line::default(), Line::styled(text.to_owned(), model.theme.style(Role::Accent))]
}

/// What a program printed, as it printed it.
pub fn output(output: Option<&Untrusted>, absent: &str, model: &Model, width: usize) -> Vec<Line<'static>> {
    let [blank, head] = heading("output", model);
    let mut lines = vec![blank, head];
    match output.map(Untrusted::as_str) {
        None => lines.push(Line::styled(absent.to_owned(), model.theme.style(Role::Dim))),
        Some("") => lines.push(Line::styled("nothing was printed", model.theme.style(Role::Dim))),
        Some(text) => {
            let text = Untrusted::lines(text, usize::MAX);
            let style = model.theme.style(Role::Text);
            lines.extend(
                wrap(text.as_str().trim_end_matches('\n'), width)
                    .into_iter()
                    .map(|line| Line::styled(line, style)),
            );
        }
    }
    lines
}
