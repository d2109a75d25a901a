//! Every theme says how everything looks, and can be read.

use std::collections::BTreeSet;

use ratatui::style::{Color, Style};

use crate::console::depth::Depth;
use crate::console::theme::{Role, SHIPPED, Theme};

/// The relative luminance of a colour (WCAG 2.2, "relative luminance").
fn luminance(color: Color) -> Option<f64> {
    let Color::Rgb(r, g, b) = color else { return None };
    let linear = |channel: u8| {
        let c = f64::from(channel) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    Some(0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b))
}

/// The contrast ratio of two colours (WCAG 2.2, "contrast ratio"): 1 for the same, 21 for black on white.
fn contrast(a: Color, b: Color) -> Option<f64> {
    let (a, b) = (luminance(a)?, luminance(b)?);
    Some((a.max(b) + 0.05) / (a.min(b) + 0.05))
}

/// A colour of which the terminal has the last word, as the least fitting of its common palettes has it; and text in the colour that a dark
/// terminal has for it, which is at least so light.
fn seen(color: Color) -> Color {
    match color {
        Color::Reset => Color::Rgb(0xcc, 0xcc, 0xcc),
        Color::Black => Color::Rgb(0x2e, 0x34, 0x36),
        Color::White => Color::Rgb(0xee, 0xee, 0xec),
        color => color,
    }
}

/// What only frames or fills, and says nothing that is not said in words as well.
const NOT_TEXT: [Role; 5] = [Role::Screen, Role::Border, Role::BarEmpty, Role::BarFull, Role::Spark];
/// WCAG 2.2, success criterion 1.4.3.
const READABLE: f64 = 4.5;

/// The roles that a shipped theme names, or one that it inherits from.
fn named(text: &str) -> BTreeSet<String> {
    let table: toml::Table = text.parse().unwrap();
    let above = table.get("inherits").map(|name| {
        let (_, text) = SHIPPED.into_iter().find(|(shipped, _)| Some(*shipped) == name.as_str()).unwrap();
        named(text)
    });
    let own = table["roles"].as_table().unwrap().keys().cloned();
    own.chain(above.into_iter().flatten()).collect()
}

#[test]
fn every_shipped_theme_says_how_everything_looks() {
    for (name, text) in SHIPPED {
        let (_, problems) = Theme::load(name, None, Depth::TrueColor);
        assert_eq!(problems, Vec::<String>::new(), "{name}");
        // Every role is named, in the theme or in the one that it inherits from.
        let named = named(text);
        for role in Role::ALL {
            assert!(named.contains(role.name()), "{name} does not say how {} looks", role.name());
        }
        assert!(text.contains("[roles]") || text.contains("[palette]"), "{name}");
    }
    // Of mono, what is not told apart by bold, dim, underline or reverse is told apart by its words.
    let mono = Theme::load("mono", None, Depth::Mono).0;
    for role in
        [Role::Selected, Role::Marked, Role::BorderFocused, Role::Bad, Role::Warn, Role::Badge, Role::Match]
    {
        assert_ne!(mono.style(role), Style::new(), "{}", role.name());
    }
}

#[test]
fn a_theme_that_cannot_be_read_leaves_nothing_without_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("broken.toml", "inherits = ");
    write("orphan.toml", "inherits = \"nothing\"\n");
    write("one.toml", "inherits = \"other\"\n");
    write("other.toml", "inherits = \"one\"\n");
    let load = |name: &str| Theme::load(name, Some(folder.path()), Depth::TrueColor);
    let dark = load("dark").0;
    for (name, said) in [
        ("drak", "no theme \"drak\""),
        ("broken", "theme broken: TOML"),
        ("orphan", "no theme \"nothing\""),
        ("one", "in a circle"),
    ] {
        let (theme, problems) = load(name);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{name}: {problems:?}");
        for role in Role::ALL {
            assert_eq!(theme.style(*role), dark.style(*role), "{name}: {}", role.name());
        }
    }
    // Those that are right are there all the same, and the faults of the others are told.
    let (themes, faults) = Theme::all(Some(folder.path()), Depth::TrueColor);
    assert_eq!(themes.len(), SHIPPED.len());
    assert!(faults.iter().any(|fault| fault.contains("theme broken: TOML")), "{faults:?}");
    // One that is laid over the shipped one of its name, and one above it.
    write("dark.toml", "inherits = \"light\"\n[palette]\nblue = \"#ff00ff\"\n");
    for name in ["dark", "high-contrast"] {
        let (theme, problems) = load(name);
        assert_eq!((theme.name.as_str(), problems), (name, Vec::new()));
    }
    write("dark.toml", "inherits = \"dark\"\n[roles]\n\"text\" = { fg = \"#010203\" }\n");
    let own = load("dark").0;
    assert_eq!(own.style(Role::Text).fg, Some(Color::Rgb(1, 2, 3)));
    assert_eq!(own.style(Role::Selected), dark.style(Role::Selected));
}

#[test]
fn text_can_be_read_on_every_background_that_a_theme_sets() {
    let mut set = 0;
    for theme in SHIPPED.map(|(name, _)| Theme::load(name, None, Depth::TrueColor).0) {
        // A theme that leaves the terminal's own background is looked at on what dark terminals have.
        let screens = match theme.style(Role::Screen).bg {
            Some(own) => {
                set += 1;
                vec![own]
            }
            None if theme.name == "dark" => vec![Color::Rgb(0, 0, 0), Color::Rgb(0x1e, 0x1e, 0x2e)],
            None => continue,
        };
        for screen in screens {
            for role in Role::ALL.iter().filter(|role| !NOT_TEXT.contains(role)) {
                let style = theme.style(*role);
                let fg = seen(style.fg.or(theme.style(Role::Text).fg).unwrap());
                let ratio = contrast(fg, style.bg.unwrap_or(screen)).unwrap();
                assert!(ratio >= READABLE, "{}: {} has {ratio:.2}", theme.name, role.name());
            }
            // The selection lies under every text of a row.
            let selected = theme.style(Role::Selected);
            let under = selected.bg.unwrap_or(screen);
            // What is dim is drawn as text there.
            for role in [Role::Text, Role::Ok, Role::Warn, Role::Bad, Role::Active, Role::Neutral] {
                let fg = seen(selected.fg.or(theme.style(role).fg).unwrap());
                let ratio = contrast(fg, under).unwrap();
                assert!(
                    ratio >= READABLE,
                    "{}: {} has {ratio:.2} where it is selected",
                    theme.name,
                    role.name()
                );
            }
        }
    }
    assert!(set >= 2, "light and high-contrast have backgrounds of their own");
}
