//! How many colours the terminal has, and the nearest of them.

use ratatui::style::{Color, Style};
use termprofile::{DetectorSettings, TermProfile};

/// What `--color` asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorMode {
    /// As the terminal and the environment (`NO_COLOR`, `COLORTERM`, …) say.
    #[default]
    Auto,
    /// Colours whatever the environment says, as many as the terminal seems to have.
    Always,
    Never,
    TrueColor,
    Ansi256,
    Ansi16,
}

/// How many colours are drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Bold, reverse and underline alone.
    Mono,
    Ansi16,
    Ansi256,
    TrueColor,
}

impl Depth {
    /// The depth for a mode, looking at the environment where the mode leaves it open.
    pub fn of(mode: ColorMode) -> Self {
        match mode {
            ColorMode::Never => Self::Mono,
            ColorMode::TrueColor => Self::TrueColor,
            ColorMode::Ansi256 => Self::Ansi256,
            ColorMode::Ansi16 => Self::Ansi16,
            ColorMode::Auto => detected(),
            ColorMode::Always => detected().max(Self::Ansi16),
        }
    }

    /// The style with the nearest colours that this depth has.
    pub fn lower(self, mut style: Style) -> Style {
        style.fg = style.fg.and_then(|color| self.lower_color(color));
        style.bg = style.bg.and_then(|color| self.lower_color(color));
        style
    }

    fn lower_color(self, color: Color) -> Option<Color> {
        match (self, color) {
            (Self::Mono, _) => None,
            (Self::Ansi256, Color::Rgb(r, g, b)) => Some(Color::Indexed(nearest_256(r, g, b))),
            (Self::Ansi16, Color::Rgb(r, g, b)) => Some(nearest_16(r, g, b)),
            (_, color) => Some(color),
        }
    }
}

fn detected() -> Depth {
    // Whatever its value is, but for none (no-color.org).
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return Depth::Mono;
    }
    match TermProfile::detect(&std::io::stdout(), DetectorSettings::default()) {
        TermProfile::NoTty | TermProfile::NoColor => Depth::Mono,
        TermProfile::Ansi16 => Depth::Ansi16,
        TermProfile::Ansi256 => Depth::Ansi256,
        TermProfile::TrueColor => Depth::TrueColor,
    }
}

/// The levels of xterm's 6×6×6 cube; 24 greys from 8 to 238 follow it at index 232.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The one of the 240 fixed colours that is exactly this one, if there is one: it takes half as many bytes to say.
pub fn exact_256(r: u8, g: u8, b: u8) -> Option<u8> {
    let level =
        |value: u8| CUBE.iter().zip(0u8..).find(|(level, _)| **level == value).map(|(_, index)| index);
    match (level(r), level(g), level(b)) {
        (Some(r), Some(g), Some(b)) => Some(16 + 36 * r + 6 * g + b),
        _ if r == g && g == b && (8..=238).contains(&r) && (r - 8).is_multiple_of(10) => {
            Some(232 + (r - 8) / 10)
        }
        _ => None,
    }
}

fn nearest_256(r: u8, g: u8, b: u8) -> u8 {
    let level = |value: u8| {
        let near = CUBE.iter().zip(0u8..).min_by_key(|(level, _)| level.abs_diff(value));
        near.map_or((0, 0), |(level, index)| (*level, index))
    };
    let ((cr, ri), (cg, gi), (cb, bi)) = (level(r), level(g), level(b));
    let mean = u8::try_from((u16::from(r) + u16::from(g) + u16::from(b)) / 3).unwrap_or(u8::MAX);
    let step = (mean.saturating_sub(3) / 10).min(23);
    let grey = 8 + 10 * step;
    if distance((r, g, b), (grey, grey, grey)) < distance((r, g, b), (cr, cg, cb)) {
        232 + step
    } else {
        16 + 36 * ri + 6 * gi + bi
    }
}

fn nearest_16(r: u8, g: u8, b: u8) -> Color {
    const NAMED: [(Color, (u8, u8, u8)); 16] = [
        (Color::Black, (0, 0, 0)),
        (Color::Red, (205, 0, 0)),
        (Color::Green, (0, 205, 0)),
        (Color::Yellow, (205, 205, 0)),
        (Color::Blue, (0, 0, 238)),
        (Color::Magenta, (205, 0, 205)),
        (Color::Cyan, (0, 205, 205)),
        (Color::Gray, (229, 229, 229)),
        (Color::DarkGray, (127, 127, 127)),
        (Color::LightRed, (255, 0, 0)),
        (Color::LightGreen, (0, 255, 0)),
        (Color::LightYellow, (255, 255, 0)),
        (Color::LightBlue, (92, 92, 255)),
        (Color::LightMagenta, (255, 0, 255)),
        (Color::LightCyan, (0, 255, 255)),
        (Color::White, (255, 255, 255)),
    ];
    let near = NAMED.iter().min_by_key(|(_, rgb)| distance((r, g, b), *rgb));
    near.map_or(Color::Reset, |(color, _)| *color)
}

fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    square(a.0, b.0) + square(a.1, b.1) + square(a.2, b.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_fall_to_the_nearest_there_is() {
        assert_eq!(nearest_256(255, 0, 0), 196);
        assert_eq!(nearest_256(128, 128, 128), 244);
        for n in 16..=255u8 {
            let (r, g, b) = match n {
                232.. => (8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
                n => (
                    CUBE[usize::from((n - 16) / 36)],
                    CUBE[usize::from((n - 16) / 6 % 6)],
                    CUBE[usize::from((n - 16) % 6)],
                ),
            };
            assert_eq!(exact_256(r, g, b), Some(n));
        }
        assert_eq!(exact_256(1, 2, 3), None);
        assert_eq!(nearest_16(250, 10, 10), Color::LightRed);
        let red = Style::new().fg(Color::Rgb(250, 10, 10));
        assert_eq!(Depth::Mono.lower(red).fg, None);
        assert_eq!(Depth::TrueColor.lower(red), red);
    }
}
