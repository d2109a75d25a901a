//! For terminals that know nothing but ASCII: the finished picture, with every other character replaced by its nearest.

use ratatui::buffer::Buffer;
use unicode_width::UnicodeWidthStr;

/// Replaces what is not ASCII. Wide characters become two question marks, so that columns stay where they are.
pub fn reduce(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        let plain = match symbol.chars().next().map(nearest) {
            Some(c) if symbol.width() < 2 => c.to_string(),
            _ => "??".to_owned(),
        };
        cell.set_symbol(&plain);
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
