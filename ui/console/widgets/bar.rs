//! How much of a limit is used, and how a value went lately.

use ratatui::text::Span;

use crate::console::theme::{Role, Theme};

/// A bar of `cells` cells for `part` of `whole`. Anything above nothing shows at least one full cell.
pub fn bar(part: u64, whole: u64, cells: usize, theme: &Theme) -> [Span<'static>; 2] {
    let full =
        u128::from(part).saturating_mul(u128::try_from(cells).unwrap_or(0)).checked_div(u128::from(whole));
    let full = usize::try_from(full.unwrap_or(0)).unwrap_or(cells).min(cells);
    let full = if part > 0 && full == 0 { 1.min(cells) } else { full };
    let style = if percent(part, whole) >= 90 { Role::Warn } else { Role::BarFull };
    [
        Span::styled("▓".repeat(full), theme.style(style)),
        Span::styled("░".repeat(cells - full), theme.style(Role::BarEmpty)),
    ]
}

/// `part` of `whole` in hundredths, at most 999.
pub fn percent(part: u64, whole: u64) -> u64 {
    let hundredths = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(hundredths.min(999)).unwrap_or(999)
}

/// The last `cells` values as a line of blocks, from the least to the greatest among them.
pub fn spark(values: &[u32], cells: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = values.get(values.len().saturating_sub(cells)..).unwrap_or_default();
    let (low, high) = (shown.iter().min().copied().unwrap_or(0), shown.iter().max().copied().unwrap_or(0));
    // Differences under a quarter of the value are noise: a flat line says so.
    let span = u64::from(high - low).max(u64::from(high) / 4).max(1);
    let block = |value: u32| {
        let step = usize::try_from(u64::from(value - low) * 7 / span).unwrap_or(7);
        BLOCKS.get(step).copied().unwrap_or('█')
    };
    let line: String = shown.iter().map(|value| block(*value)).collect();
    format!("{}{line}", " ".repeat(cells.saturating_sub(shown.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spark_line_is_as_wide_as_asked_and_flat_when_nothing_moves() {
        assert_eq!(spark(&[], 4), "    ");
        assert_eq!(spark(&[100, 101, 100], 4), " ▁▁▁");
        assert_eq!(spark(&[10, 20, 80], 3), "▁▂█");
    }

    #[test]
    fn percents_do_not_overflow() {
        assert_eq!(percent(1, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(71, 100), 71);
    }
}
