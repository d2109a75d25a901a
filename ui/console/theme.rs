//! Colours by what they mean. Themes are data (`themes/*.toml`): each inherits from another, names colours in `[palette]` and gives
//! them to roles in `[roles]`. What the terminal cannot show is brought down to what it can.

use std::path::Path;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

use super::depth::Depth;

/// The themes as shipped.
pub const SHIPPED: [(&str, &str); 5] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("high-contrast", include_str!("../../themes/high-contrast.toml")),
    ("ansi16", include_str!("../../themes/ansi16.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];
/// What stands under a theme that cannot be read.
const FALLBACK: &str = "dark";
/// How far `inherits` is followed.
const INHERITANCE_MAX: usize = 8;
/// More themes than that are not read.
const OWN_MAX: usize = 100;
/// A theme file is a page, not a book.
const FILE_MAX: u64 = 64 << 10;

macro_rules! roles {
    ($($variant:ident $name:literal,)*) => {
        /// What a colour means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Role { $($variant,)* }

        impl Role {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

roles! {
    Screen "screen",
    Text "text",
    Dim "text.dim",
    Strong "text.strong",
    Accent "accent",
    Border "pane.border",
    BorderFocused "pane.focused.border",
    Title "pane.title",
    TitleFocused "pane.focused.title",
    Selected "row.selected",
    SelectedElsewhere "row.selected.elsewhere",
    Marked "row.marked",
    Ok "status.ok",
    Warn "status.warn",
    Bad "status.bad",
    Active "status.active",
    Neutral "status.neutral",
    BarFull "bar.full",
    BarEmpty "bar.empty",
    Spark "spark",
    HeaderName "header.name",
    Badge "badge",
    FooterKey "footer.key",
    FooterText "footer.text",
    LayerBorder "layer.border",
    LayerTitle "layer.title",
    Input "input",
    InputFocused "input.focused",
    InputError "input.error",
    Match "match",
    ToastInfo "toast.info",
    ToastOk "toast.ok",
    ToastBad "toast.bad",
}

/// A style for every role.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    pub name: String,
    styles: Vec<Style>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    inherits: Option<String>,
    #[serde(default)]
    palette: toml::Table,
    #[serde(default)]
    roles: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    fg: Option<String>,
    bg: Option<String>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underline: bool,
    #[serde(default)]
    reverse: bool,
}

impl Theme {
    /// Loads the theme called `name`: one of those shipped, or `name.toml` in the user's folder. What is wrong is said in the second
    /// part, and what is right still stands.
    pub fn load(name: &str, folder: Option<&Path>, depth: Depth) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let (mut chain, mut seen): (Vec<File>, Vec<String>) = (Vec::new(), Vec::new());
        let mut next = Some(name.to_owned());
        while let Some(wanted) = next.take() {
            // One that inherits from its own name means the one shipped.
            let again = seen.contains(&wanted);
            let circle = again && !SHIPPED.iter().any(|(shipped, _)| *shipped == wanted);
            let file = match circle || chain.len() >= INHERITANCE_MAX {
                true => Err(format!("theme {name}: inherits in a circle")),
                false => read(&wanted, folder.filter(|_| !again)),
            };
            match file {
                Ok(file) => {
                    next.clone_from(&file.inherits);
                    chain.push(file);
                    seen.push(wanted);
                }
                // Without anything below it nothing could be told apart.
                Err(problem) => {
                    problems.push(problem);
                    chain.extend(read(FALLBACK, None));
                }
            }
        }
        let name = if seen.is_empty() { FALLBACK } else { name };
        let mut palette = toml::Table::new();
        let mut roles = toml::Table::new();
        for file in chain.into_iter().rev() {
            palette.extend(file.palette);
            roles.extend(file.roles);
        }
        for key in roles.keys().filter(|key| !Role::ALL.iter().any(|role| role.name() == key.as_str())) {
            problems.push(format!("theme {name}: unknown role \"{key}\""));
        }
        let mut styles = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let style = roles.get(role.name()).map_or(Ok(Style::new()), |value| style(value, &palette));
            styles.push(style.unwrap_or_else(|problem| {
                problems.push(format!("theme {name}: {}: {problem}", role.name()));
                Style::new()
            }));
        }
        styles.iter_mut().for_each(|style| *style = depth.lower(*style));
        (Self { name: name.to_owned(), styles }, problems)
    }

    /// All there are: those shipped, and those in the user's folder that have no faults; and the faults of the others.
    pub fn all(folder: Option<&Path>, depth: Depth) -> (Vec<Self>, Vec<String>) {
        let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let own = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
        let own = own.filter_map(Result::ok).filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned).filter(|name| !name.is_empty())
        });
        let mut own: Vec<String> = own.filter(|name| !names.contains(name)).take(OWN_MAX).collect();
        own.sort();
        names.extend(own);
        let (mut themes, mut faults) = (Vec::new(), Vec::new());
        for (theme, problems) in names.iter().map(|name| Self::load(name, folder, depth)) {
            if problems.is_empty() {
                themes.push(theme);
            }
            faults.extend(problems);
        }
        (themes, faults)
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        // The discriminants run from 0 in the order of `Role::ALL`, and there is a style for each.
        self.styles.get(role as usize).copied().unwrap_or_default()
    }
}

fn read(name: &str, folder: Option<&Path>) -> Result<File, String> {
    let own =
        folder.map(|folder| folder.join(format!("{name}.toml"))).filter(|_| !name.contains(['/', '\\']));
    let text =
        match own.filter(|path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_MAX)) {
            Some(path) => std::fs::read_to_string(&path)
                .map_err(|error| format!("theme {}: {error}", path.display()))?,
            None => {
                let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
                let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
                shipped
                    .ok_or_else(|| format!("no theme \"{name}\"; there are {}", names.join(", ")))?
                    .1
                    .to_owned()
            }
        };
    toml::from_str(&text).map_err(|error| format!("theme {name}: {}", error.to_string().replace('\n', " ")))
}

fn style(value: &toml::Value, palette: &toml::Table) -> Result<Style, String> {
    if let Some(name) = value.as_str() {
        return Ok(Style::new().fg(color(name, palette)?));
    }
    let entry: Entry =
        value.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut style = Style::new();
    if let Some(fg) = entry.fg {
        style = style.fg(color(&fg, palette)?);
    }
    if let Some(bg) = entry.bg {
        style = style.bg(color(&bg, palette)?);
    }
    let modifiers = [
        (entry.bold, Modifier::BOLD),
        (entry.dim, Modifier::DIM),
        (entry.italic, Modifier::ITALIC),
        (entry.underline, Modifier::UNDERLINED),
        (entry.reverse, Modifier::REVERSED),
    ];
    Ok(modifiers
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(style, |style, (_, modifier)| style.add_modifier(modifier)))
}

/// A palette name, `#rrggbb`, or one of the sixteen names that terminals have (`red`, `light-red`, …).
fn color(name: &str, palette: &toml::Table) -> Result<Color, String> {
    let text = palette.get(name).map_or(Some(name), toml::Value::as_str).unwrap_or_default();
    text.parse::<Color>().map_err(|_| format!("\"{name}\" is neither in the palette nor a colour"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_theme_loads_without_fault_at_every_depth() {
        for (name, _) in SHIPPED {
            for depth in [Depth::TrueColor, Depth::Ansi256, Depth::Ansi16, Depth::Mono] {
                // Without colours the console takes the one theme that needs none.
                let name = if depth == Depth::Mono { "mono" } else { name };
                let (theme, problems) = Theme::load(name, None, depth);
                assert_eq!(problems, Vec::<String>::new(), "{name}");
                assert_ne!(
                    theme.style(Role::Selected),
                    theme.style(Role::Text),
                    "{name}: one must see what is selected"
                );
                assert_ne!(
                    theme.style(Role::BorderFocused),
                    theme.style(Role::Border),
                    "{name}: one must see the focus"
                );
            }
        }
    }

    #[test]
    fn a_users_theme_overrides_what_it_names_and_its_faults_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let text = "inherits = \"dark\"\n[palette]\nmine = \"#010203\"\n[roles]\naccent = \"mine\"\n\"no.such\" = \"mine\"\nspark = \"nope\"";
        std::fs::write(folder.path().join("own.toml"), text).unwrap();
        let (theme, problems) = Theme::load("own", Some(folder.path()), Depth::TrueColor);
        assert_eq!(theme.style(Role::Accent).fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(theme.style(Role::Ok), Theme::load("dark", None, Depth::TrueColor).0.style(Role::Ok));
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn a_missing_theme_is_named_and_the_console_is_still_readable() {
        let (_, problems) = Theme::load("nope", None, Depth::TrueColor);
        assert!(problems[0].contains("high-contrast"), "{problems:?}");
    }
}
