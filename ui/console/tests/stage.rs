//! A console in any state, on a screen of any size, with whatever a node may have said.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use zerostate::api::{Answer, ApiError, Command, ErrorKind, GuildAnswer, GuildCommand, Named, Snapshot};
use zerostate::document::{Untrusted, Verdict};

use super::strangers;
use crate::console::chord::Chord;
use crate::console::depth::Depth;
use crate::console::keymap::Keymap;
use crate::console::layers::FileEntry;
use crate::console::model::{Model, Settings, Tone};
use crate::console::msg::{Effect, Msg, Probe};
use crate::console::samples;
use crate::console::theme::Theme;
use crate::console::update::update;
use crate::console::view::view;

/// The sizes that are looked at: everything at once, what most people have, and the smallest.
pub const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (60, 16)];

/// What the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Nothing,
    Little,
    /// Little, and nothing that is asked works: the node is gone.
    Fault,
    Many,
    /// Little, and every text that somebody else could have chosen is an attack.
    Evil,
}

impl Data {
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Little, Self::Fault, Self::Many, Self::Evil];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Little => "little",
            Self::Fault => "fault",
            Self::Many => "many",
            Self::Evil => "evil",
        }
    }

    pub fn snapshot(self) -> Snapshot {
        match self {
            Self::Nothing => samples::nothing(),
            Self::Little | Self::Fault => samples::busy(),
            Self::Many => samples::many(100_000, 100_000, 100_000),
            Self::Evil => strangers::snapshot(),
        }
    }
}

/// How it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Dark,
    NoColour,
    Ascii,
}

/// A place that the console can be in: the keys that lead there, and those that do something wrong there.
pub struct Place {
    pub name: &'static str,
    pub keys: &'static str,
    pub wrong: &'static str,
    pub of: Of,
}

/// What the console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Live,
    /// A node that has not said anything yet.
    Starting,
    /// A journal, about in its middle.
    Replay,
}

const fn place(name: &'static str, keys: &'static str) -> Place {
    Place { name, keys, wrong: "", of: Of::Live }
}

/// Every pane, everything that can be opened, every form and question.
pub const PLACES: &[Place] = &[
    place("peers", "1"),
    place("guilds", "2"),
    place("tasks", "3"),
    place("receipts", "4"),
    place("attestations", "5"),
    place("events", "6"),
    place("inbox", "7"),
    place("log", "8"),
    place("zoomed", "1 z"),
    place("filter", "4 / stat"),
    place("filter-kept", "8 / level:info enter"),
    place("marked", "4 s s R space space"),
    place("frozen-and-masked", "P p 1"),
    place("peer", "1 enter"),
    place("guild", "2 enter"),
    place("task", "3 enter"),
    place("receipt", "4 j enter"),
    place("compared", "4 j ="),
    place("attestation", "5 j enter"),
    place("event", "6 gg j j enter"),
    place("log-line", "8 enter"),
    place("inbox-item", "7 enter"),
    place("why", "3 w"),
    place("manifest", "3 enter m"),
    place("output", "4 j enter o"),
    place("found", "3 enter m / fuel enter n"),
    place("info", "I"),
    place("help", "3 ?"),
    Place { wrong: "zzz", ..place("palette", ": att") },
    place("themes", "T j"),
    Place { wrong: "tab tab tab tab x ctrl-s", ..place("submit", "S task.wasm") },
    place("files", "S ctrl-o j"),
    place("files-filter", "S ctrl-o / .W"),
    Place { wrong: "nowhere", ..place("connect", "c") },
    Place { wrong: "enter soon enter enter nobody enter", ..place("guild-new", "2 n nightly") },
    Place { wrong: "enter king ctrl-s", ..place("guild-join", "J") },
    Place { wrong: "tab x", ..place("guild-task", "2 d task.wasm") },
    place("guild-invitation", "2 e"),
    place("leave-another", "2 j x"),
    place("inbox-accept-many", "7 space space a"),
    place("log-level", "8 L L"),
    Place { wrong: "enter", ..place("guild-say", "2 t good") },
    place("attest", "4 j a"),
    place("attest-marked", "4 space space space A"),
    place("cancel", "3 x"),
    place("cancel-marked", "3 space space x"),
    place("accept", "7 a"),
    place("leave", "2 x"),
    place("discard", "S x esc"),
    place("quit", "q"),
    Place { of: Of::Starting, ..place("starting", "") },
    Place { of: Of::Replay, ..place("replay", "4") },
];

/// A console of that size that has heard nothing.
fn silent(size: (u16, u16), look: Look) -> Model {
    let depth = if look == Look::NoColour { Depth::Mono } else { Depth::TrueColor };
    let name = if look == Look::NoColour { "mono" } else { "dark" };
    let theme = Theme::load(name, None, depth).0;
    let settings = Settings {
        ascii: look == Look::Ascii,
        stop_node_on_quit: true,
        cwd: "/home/operator".to_owned(),
        info: vec![("data".to_owned(), "/var/lib/zerostate".to_owned())],
        ..Settings::default()
    };
    let mut model = Model::new(settings, theme, Keymap::new(None), TimeZone::UTC, samples::now());
    if depth != Depth::Mono {
        model.themes = Theme::all(None, depth).0;
    }
    update(&mut model, Msg::Resize(size.0, size.1));
    model
}

/// A console of that size that has heard that.
pub fn model(size: (u16, u16), data: Data, snapshot: Arc<Snapshot>, look: Look) -> Model {
    let mut model = silent(size, look);
    update(&mut model, Msg::Snapshot(snapshot));
    if data == Data::Evil {
        model.toast(Tone::Bad, strangers::text());
    }
    model
}

/// The same at a place.
pub fn at(place: &Place, size: (u16, u16), data: Data, snapshot: &Arc<Snapshot>, look: Look) -> Model {
    let mut model = match place.of {
        Of::Starting => silent(size, look),
        Of::Live | Of::Replay => model(size, data, Arc::clone(snapshot), look),
    };
    if place.of == Of::Replay {
        model.settings.replay = Some(1_204);
        model.replayed = 640;
    }
    press(&mut model, place.keys, data);
    if data == Data::Fault {
        press(&mut model, place.wrong, data);
        let gone = samples::now().checked_sub(jiff::SignedDuration::from_secs(12)).unwrap();
        let now = std::mem::replace(&mut model.now, gone);
        update(&mut model, Msg::Gone);
        model.now = now;
    }
    model
}

/// Presses keys as the key file writes them, one word each; other words are typed letter by letter. What the node is asked is answered.
pub fn press(model: &mut Model, keys: &str, data: Data) {
    for word in keys.split(' ').filter(|word| !word.is_empty()) {
        let events: Vec<KeyEvent> = match Chord::parse(word) {
            Some(chord) => {
                let modifiers = if chord.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                vec![KeyEvent::new(chord.code, modifiers)]
            }
            None => word.chars().map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)).collect(),
        };
        for event in events {
            let effects = update(model, Msg::Key(event));
            answer(model, effects, data);
            while model.unfinished {
                update(model, Msg::GoOn);
            }
        }
    }
}

/// Answers what was asked, and what is asked because of the answers.
pub fn answer(model: &mut Model, effects: Vec<Effect>, data: Data) {
    for msg in effects.into_iter().filter_map(|effect| reply(effect, data)) {
        let more = update(model, msg);
        answer(model, more, data);
    }
}

fn reply(effect: Effect, data: Data) -> Option<Msg> {
    let text = if data == Data::Evil { strangers::text() } else { "nobody answers there".to_owned() };
    let refused = || ApiError::new(ErrorKind::Failed, &text).hint(text.clone());
    Some(match effect {
        Effect::Execute { ticket, command } => {
            // What lies beyond a list's tail is not asked for here again and again.
            let result = match command {
                Command::Receipts { .. }
                | Command::Tasks { .. }
                | Command::Attestations { .. }
                | Command::Events { .. } => {
                    return None;
                }
                _ if matches!(data, Data::Fault) => Err(refused()),
                Command::ReceiptShow { .. } => {
                    let mut detail = samples::receipt_detail();
                    if data == Data::Evil {
                        strangers::receipt(&mut detail);
                    }
                    Ok(Answer::Receipt(Box::new(detail)))
                }
                Command::TaskShow { task_id } => {
                    let mut detail = samples::task_detail_of(&task_id);
                    if data == Data::Evil {
                        strangers::task(&mut detail);
                    }
                    Ok(Answer::Task(Box::new(detail)))
                }
                Command::Guild(GuildCommand::Invite { .. }) => {
                    let invitation = format!("zsguild1.{}", "q".repeat(180));
                    let guild_id = "bafkreia".to_owned();
                    Ok(Answer::Guild(GuildAnswer::Invitation {
                        guild_id,
                        invitation,
                        expires_at: samples::now(),
                    }))
                }
                Command::Examine { receipt: Named::ReceiptId(id) } => {
                    let mut answer = samples::examined(&id, Verdict::Disagree);
                    if let (Answer::Examined { reason, .. }, Data::Evil) = (&mut answer, data) {
                        *reason = Some(Untrusted::new(&strangers::text()));
                    }
                    Ok(answer)
                }
                _ => Err(refused()),
            };
            Msg::Answered { ticket, result }
        }
        Effect::Probe { generation, .. } => {
            let found = if data == Data::Little { Ok(Probe::Module { size: 2_600 }) } else { Err(text) };
            Msg::Probed { generation, found }
        }
        Effect::Arm(number) => Msg::Armed(number),
        Effect::Complete { generation, .. } => Msg::Completed { generation, paths: Vec::new() },
        Effect::List { folder } => {
            let entry = |name: &str, folder, size| FileEntry { name: name.to_owned(), folder, size };
            let found = match data {
                Data::Fault => Err("Permission denied (os error 13)".to_owned()),
                Data::Nothing => Ok(Vec::new()),
                Data::Many => {
                    Ok((0..10_000u64).map(|n| entry(&format!("task-{n}.wasm"), false, n)).collect())
                }
                Data::Little | Data::Evil => Ok(vec![
                    entry("examples", true, 0),
                    entry(".draft.toml", false, 9),
                    entry("hello.toml", false, 640),
                    entry("hello.wasm", false, 21_504),
                ]),
            };
            Msg::Listed { folder, found }
        }
        _ => return None,
    })
}

/// What is on the screen.
pub fn picture(model: &Model) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// Its text, a line a row, without the blanks at the ends.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let lines = buffer.content.chunks(width).map(|row| {
        let mut hidden = 0usize;
        let mut line = String::new();
        for cell in row {
            if hidden > 0 {
                hidden -= 1;
                continue;
            }
            hidden = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            line.push_str(cell.symbol());
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
