//! For terminals that know nothing but ASCII: the finished picture, with every other character replaced by its nearest.

use ratatui::buffer::Buffer;
use unicode_width::UnicodeWidthStr;

/// Replaces what is not ASCII. Wide characters become two question marks, so that columns stay where they are.
pub fn reduce(buffer: &mut Buffer) {
    let mut half = false;
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        let is_wide = symbol.width() > 1;
        if std::mem::replace(&mut half, is_wide) || is_wide {
            cell.set_char('?');
        } else if !symbol.is_ascii() {
            let plain = symbol.chars().next().map_or('?', nearest);
            cell.set_char(plain);
        }
    }
}

/// A character as such a terminal can show it.
pub fn plain(c: char) -> char {
    if c.is_ascii() { c } else { nearest(c) }
}

fn nearest(c: char) -> char {
    match c {
        '╭' | '╮' | '╰' | '╯' | '✓' => '+',
        '─' | '–' => '-',
        '…' => '~',
        '│' => '|',
        '▓' | '█' | '▇' | '▆' => '#',
        '▅' => '*',
        '▄' => '+',
        '▃' => '=',
        '▂' => '-',
        '▁' => '_',
        '░' | '·' => '.',
        '●' => '*',
        '◐' => '%',
        '○' => 'o',
        '◆' | '▪' => '#',
        '▶' | '→' => '>',
        '←' => '<',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '✗' | '×' => 'x',
        '≠' => '!',
        'µ' => 'u',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn every_cell_is_one_character_and_wide_ones_are_two() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "a日本│✓é", Style::new());
        reduce(&mut buffer);
        let text: Vec<&str> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text, ["a", "?", "?", "?", "?", "|", "+", "?"]);
    }
}
