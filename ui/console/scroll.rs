//! Lines that only move: the terminal moves them itself, for a few bytes (ECMA-48: IL, DL; VT100: DECSTBM).

use ratatui::buffer::{Buffer, Cell};

/// A list goes on by one line, and by three with the wheel.
const STEPS: [isize; 4] = [1, -1, 3, -3];
/// So many lines have to be found again somewhere else.
const LINES_LEAST: usize = 3;
/// So many cells have to be saved at least: what it takes to say it.
const CELLS_LEAST: isize = 30;

/// Lines from `top` to `bottom` move up by `by`, or down where that is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scroll {
    top: usize,
    bottom: usize,
    by: isize,
}

fn row(buffer: &Buffer, y: usize) -> &[Cell] {
    let width = usize::from(buffer.area.width);
    buffer.content.get(y * width..(y + 1) * width).unwrap_or_default()
}

fn differing(a: &[Cell], b: &[Cell]) -> isize {
    let count = a.iter().zip(b).filter(|(a, b)| a != b).count();
    isize::try_from(count).unwrap_or(isize::MAX)
}

/// The move that saves the most on the way from one picture to another, if one does.
pub fn between(old: &Buffer, new: &Buffer) -> Option<Scroll> {
    if old.area != new.area {
        return None;
    }
    let height = usize::from(old.area.height);
    let is_changed = |y: usize| row(old, y) != row(new, y);
    let changed: Vec<usize> = (0..height).filter(|y| is_changed(*y)).collect();
    let from = |y: usize, by: isize| y.checked_add_signed(by).filter(|from| *from < height);
    let found_again = |by: isize| {
        let moved = |y: &&usize| from(**y, by).is_some_and(|from| row(new, **y) == row(old, from));
        changed.iter().filter(moved).count()
    };
    let by =
        STEPS.into_iter().max_by_key(|by| found_again(*by)).filter(|by| found_again(*by) >= LINES_LEAST)?;
    // The run of lines that are nearer to those from elsewhere than to what stood in their place (Kadane's maximum subarray).
    let saved = |y: usize| {
        let from = from(y, by)?;
        Some(differing(row(old, y), row(new, y)) - differing(row(old, from), row(new, y)))
    };
    let (mut best, mut run) = (None, None);
    for y in 0..height {
        let Some(saved) = saved(y) else {
            run = None;
            continue;
        };
        let (begin, sum) = run.filter(|(_, sum)| *sum > 0).unwrap_or((y, 0));
        run = Some((begin, sum + saved));
        if best.is_none_or(|(_, _, most)| sum + saved > most) {
            best = Some((begin, y, sum + saved));
        }
    }
    let (begin, end, sum) = best?;
    let distance = by.unsigned_abs();
    let (top, bottom, fresh) = match by {
        0.. => (begin, end + distance, end + 1..end + 1 + distance),
        _ => (begin - distance, end, begin - distance..begin),
    };
    // Lines that come in are written anew.
    let blank = vec![Cell::default(); usize::from(old.area.width)];
    let lost: isize =
        fresh.map(|y| differing(&blank, row(new, y)) - differing(row(old, y), row(new, y))).sum();
    (sum - lost >= CELLS_LEAST).then_some(Scroll { top, bottom, by })
}

impl Scroll {
    /// Tells the terminal. The cursor is anywhere afterwards, and all of the screen scrolls again.
    pub fn encode(self, out: &mut Vec<u8>) {
        let Self { top, bottom, by } = self;
        let verb = if by > 0 { 'M' } else { 'L' };
        let (top, bottom, count) = (top + 1, bottom + 1, by.unsigned_abs());
        out.extend_from_slice(format!("\x1b[{top};{bottom}r\x1b[{top}H\x1b[{count}{verb}\x1b[r").as_bytes());
    }

    /// Does the same to a picture.
    pub fn apply(self, screen: &mut Buffer) {
        let width = usize::from(screen.area.width);
        let Some(lines) = screen.content.get_mut(self.top * width..(self.bottom + 1) * width) else { return };
        let cells = self.by.unsigned_abs() * width;
        if self.by > 0 {
            lines.rotate_left(cells);
        } else {
            lines.rotate_right(cells);
        }
        let fresh = if self.by > 0 { lines.len() - cells..lines.len() } else { 0..cells };
        lines.get_mut(fresh).unwrap_or_default().fill(Cell::default());
    }
}
