//! How the console is to be, and the model that follows from it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::depth::{ColorMode, Depth};
use super::keymap::Keymap;
use super::model::{Model, Settings, Tone};
use super::replay::Replay;
use super::theme::Theme;

/// A key file is a page.
const KEYMAP_MAX: u64 = 64 << 10;

/// How the console is to be.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    pub color: ColorMode,
    /// `dark` when absent; on a terminal with few colours, one made for it.
    pub theme: Option<String>,
    /// The user's keys, laid over those shipped.
    pub keymap: Option<PathBuf>,
    /// Where the user's themes are.
    pub theme_dir: Option<PathBuf>,
    /// ASCII alone; as the locale says when absent.
    pub ascii: Option<bool>,
    /// A word for the header: `attached`, `lab`.
    pub badge: Option<String>,
    pub over_ssh: bool,
    /// Labelled lines instead of a screen.
    pub plain: bool,
    /// The mouse is caught from the start.
    pub mouse: bool,
    /// Where manifests that are written in an editor are kept, and bundles.
    pub drafts: Option<PathBuf>,
    pub bundles: Option<PathBuf>,
    /// Paths and versions that the info screen shows.
    pub info: Vec<(String, String)>,
    /// The journal that is replayed.
    pub replay: Option<Replay>,
    /// What the submit form starts with: a module or a manifest to try.
    pub example: Option<PathBuf>,
    /// The node ends with the console, so quitting asks when tasks run.
    pub stop_node_on_quit: bool,
    /// What is wrong with files that were read before.
    pub problems: Vec<String>,
}

/// How many colours are drawn with.
pub fn depth(options: &ConsoleOptions) -> Depth {
    Depth::of(options.color)
}

fn theme_name(options: &ConsoleOptions) -> &str {
    match (depth(options), &options.theme) {
        // Without colours only this one tells everything apart.
        (Depth::Mono, _) => "mono",
        (_, Some(name)) => name,
        (Depth::Ansi16, None) => "ansi16",
        (_, None) => "dark",
    }
}

/// The console before it has seen anything. What is wrong with the user's files is said in it.
pub fn build(options: &ConsoleOptions) -> Model {
    let (theme, mut problems) =
        Theme::load(theme_name(options), options.theme_dir.as_deref(), depth(options));
    problems.splice(..0, options.problems.iter().cloned());
    let overlay = options.keymap.as_ref().and_then(|path| match read_keymap(path) {
        Ok(text) => Some(text),
        Err(problem) => {
            problems.push(problem);
            None
        }
    });
    let keymap = Keymap::new(overlay.as_deref());
    problems.extend(keymap.problems.iter().cloned());
    let settings = Settings {
        badge: options.badge.clone(),
        ascii: options.ascii.unwrap_or_else(locale_is_ascii),
        stop_node_on_quit: options.stop_node_on_quit,
        cwd: std::env::current_dir()
            .ok()
            .and_then(|path| path.to_str().map(str::to_owned))
            .unwrap_or_default(),
        info: info(options),
        replay: options.replay.as_ref().map(|replay| replay.entries),
        example: options.example.as_ref().and_then(|path| path.to_str()).map(str::to_owned),
    };
    let mut model = Model::new(settings, theme, keymap, TimeZone::system(), Timestamp::now());
    model.mouse = options.mouse;
    if depth(options) != Depth::Mono {
        let (themes, faults) = Theme::all(options.theme_dir.as_deref(), depth(options));
        model.themes = themes;
        problems.extend(faults);
        let mut said = std::collections::HashSet::new();
        problems.retain(|problem| said.insert(problem.clone()));
    }
    for problem in problems {
        model.toast(Tone::Bad, problem);
    }
    model
}

/// The facts of the console itself; those of the node are in its snapshot.
fn info(options: &ConsoleOptions) -> Vec<(String, String)> {
    let mut facts = vec![("console".to_owned(), format!("zerostate {}", env!("CARGO_PKG_VERSION")))];
    facts.extend(options.info.iter().cloned());
    let mut path = |label: &str, path: &Option<PathBuf>, none: &str| {
        let text = path.as_ref().map_or_else(|| none.to_owned(), |path| path.display().to_string());
        facts.push((label.to_owned(), text));
    };
    path("keymap", &options.keymap, "as shipped; keymap.toml in the data directory would be laid over it");
    path("themes", &options.theme_dir, "those shipped");
    path("drafts", &options.drafts, "nowhere");
    path("bundles", &options.bundles, "nowhere");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "not set".to_owned());
    facts.push(("terminal".to_owned(), format!("{}, colours: {:?}", variable("TERM"), depth(options))));
    facts.push(("editor".to_owned(), super::editor::command()));
    facts
}

fn read_keymap(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= KEYMAP_MAX => {
            std::fs::read_to_string(path).map_err(|error| format!("keymap {shown}: {error}"))
        }
        Ok(_) => Err(format!("keymap {shown}: not a file of at most 64 KiB")),
        Err(error) => Err(format!("keymap {shown}: {error}")),
    }
}

/// The first of these that is set decides (POSIX, "Internationalization Variables").
fn locale_is_ascii() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_lowercase();
    !(locale.contains("utf-8") || locale.contains("utf8"))
}
