//! Whatever comes in, in whatever order: the console goes on, and keeps no more than it should.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::layout::Size;
use zerostate::api::{Answer, ApiError, ErrorKind, Page, Snapshot};

use super::stage::{Data, Look, model};
use super::strangers;
use crate::console::backend::Quiet;
use crate::console::forms::submit::Field;
use crate::console::layers::{FileEntry, Layer};
use crate::console::model::{Model, Pane};
use crate::console::msg::{Effect, Msg, Probe};
use crate::console::samples;
use crate::console::update::update;
use crate::console::view::view;

/// Numbers that look random and are the same each time (splitmix64, Steele and others 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

const KEYS: [KeyCode; 14] = [
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Tab,
    KeyCode::BackTab,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::PageUp,
    KeyCode::PageDown,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::Backspace,
    KeyCode::Delete,
];
/// Letters that lead somewhere come more often than others.
const LETTERS: &str = "123456789 jkhlGgzpisRNn*yaAbdfwmonJStTPMIxeucLrq[]:?/=.!~\u{1b}\u{202e}é日\u{301}";

fn key(chance: &mut Chance) -> Msg {
    let letters: Vec<char> = LETTERS.chars().collect();
    let code = match chance.below(4) {
        0 => chance.of(&KEYS),
        _ => KeyCode::Char(chance.of(&letters)),
    };
    let modifiers = match chance.below(12) {
        0 => KeyModifiers::CONTROL,
        1 => KeyModifiers::ALT,
        _ => KeyModifiers::NONE,
    };
    Msg::Key(KeyEvent::new(code, modifiers))
}

fn mouse(chance: &mut Chance) -> Msg {
    let kinds = [
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
    ];
    let (column, row) =
        (u16::try_from(chance.below(500)).unwrap(), u16::try_from(chance.below(200)).unwrap());
    Msg::Mouse(MouseEvent { kind: chance.of(&kinds), column, row, modifiers: KeyModifiers::NONE })
}

/// Some answer to what was asked, mostly a fitting one.
fn reply(effect: Effect, chance: &mut Chance) -> Option<Msg> {
    let error = || ApiError::new(ErrorKind::Failed, strangers::text());
    Some(match effect {
        Effect::Execute { ticket, .. } | Effect::Submit { ticket, .. } => {
            let result = match chance.below(8) {
                0 => Err(error()),
                1 => Ok(Answer::Receipt(Box::new(samples::receipt_detail()))),
                2 => Ok(Answer::Task(Box::new(samples::task_detail()))),
                3 => Ok(Answer::Receipts(Page {
                    total: 9,
                    items: samples::busy().receipts.items,
                    next: Some(chance.below(1_000)),
                })),
                4 => Ok(Answer::Events(samples::busy().events.items)),
                5 => Ok(samples::examined("bafkreia", zerostate::document::Verdict::Disagree)),
                6 => Ok(Answer::Submitted { task_id: strangers::text() }),
                _ => Ok(Answer::Done),
            };
            Msg::Answered { ticket, result }
        }
        Effect::Probe { generation, .. } if chance.below(2) == 0 => {
            Msg::Probed { generation, found: Ok(Probe::Module { size: 1 }) }
        }
        Effect::Probe { generation, .. } => Msg::Probed { generation, found: Err(strangers::text()) },
        Effect::Complete { generation, typed } => {
            Msg::Completed { generation, paths: vec![format!("{typed}a"), format!("{typed}b")] }
        }
        Effect::List { folder } => {
            let name =
                |n| FileEntry { name: format!("{n}{}", strangers::text()), folder: n % 3 == 0, size: n };
            Msg::Listed { folder, found: Ok((0..chance.below(40)).map(name).collect()) }
        }
        Effect::Arm(number) => Msg::Armed(number),
        Effect::Edit(_) => Msg::Edited(Err(strangers::text())),
        Effect::Bundle { ticket, .. } => Msg::Bundled { ticket, result: Err(error()) },
        _ => return None,
    })
}

/// What the console keeps of everything that came: none of it grows without end.
fn bounded(model: &Model) {
    assert!(model.layers.len() <= 13, "{} layers", model.layers.len());
    assert!(model.toasts.len() <= 4 && model.notices.len() <= 100 && model.pending.len() <= 32);
    let older = &model.older;
    let kept = [
        older.receipts.items.len(),
        older.events.items.len(),
        older.tasks.items.len(),
        older.attestations.items.len(),
    ];
    assert!(kept.iter().all(|kept| *kept <= 100_000), "{kept:?}");
    assert!(Pane::ALL.into_iter().all(|pane| model.list(pane).marked.len() <= 1_000));
    assert!(model.prefix.len() <= 2);
    let typed = |text: &str| assert!(text.chars().count() <= 4_096, "{} characters are typed", text.len());
    model.filtering.iter().for_each(|input| typed(input.value()));
    for layer in &model.layers {
        match layer {
            Layer::Palette(palette) => typed(palette.input.value()),
            Layer::Connect(form) => typed(form.address.value()),
            Layer::Submit(form) => Field::ALL.iter().for_each(|field| typed(form.value(*field))),
            Layer::Guild(form) => form.lines.iter().for_each(|line| typed(line.input.value())),
            other => other.find().into_iter().for_each(|find| typed(find.input.value())),
        }
    }
}

/// The seed of a process that this test has started.
const SEED: &str = "ZEROSTATE_RANDOM_SEED";
const EVENTS: u64 = 1_000_000;
/// What such a process says at its end, with its memory.
const DONE: &str = "whole; memory in MiB:";
/// One for every core of a small machine.
const PROCESSES: u64 = 2;

/// A million events, and a picture after every one of them, of screens larger than people have after every 32nd. In processes of their
/// own, whose memory is theirs alone.
#[test]
fn a_million_random_events_leave_it_whole() {
    if let Ok(seed) = std::env::var(SEED) {
        return run(seed.parse().unwrap(), EVENTS / PROCESSES);
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let start = |seed: u64| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", &name, "--nocapture"]).env(SEED, seed.to_string());
        program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for process in (0..PROCESSES).map(start).collect::<Vec<_>>() {
        let ended = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.contains(DONE), "{said}");
    }
}

/// Draws as on a terminal, on one of another size when there is another.
fn draw(model: &Model, screen: &mut Option<Terminal<Quiet<io::Sink>>>) {
    let size = Size::new(model.size.0, model.size.1);
    let same = screen.take().filter(|screen| screen.size().unwrap() == size);
    let new = || Terminal::new(Quiet::fixed(io::sink(), size)).unwrap();
    screen.insert(same.unwrap_or_else(new)).draw(|frame| view(model, frame)).unwrap();
}

/// What this process has in memory, in MiB (proc_pid_status(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

fn run(seed: u64, events: u64) {
    let mut chance = Chance(seed);
    let mut many = samples::many(300, 200, 1_000);
    samples::cut_to_tails(&mut many, 200);
    let snapshots: Vec<Arc<Snapshot>> = [Data::Little, Data::Nothing, Data::Evil]
        .map(|data| Arc::new(data.snapshot()))
        .into_iter()
        .chain([Arc::new(many)])
        .collect();
    // Ten megabytes in one line, and with something in it.
    let big = "x\u{1b}[2J日".repeat((10 << 20) / 8);
    let mut model = model((120, 40), Data::Little, Arc::clone(&snapshots[0]), Look::Dark);
    let (mut waiting, mut now) = (Vec::new(), model.now);
    let mut screen = None;
    // The most memory in each of ten parts of the way.
    let mut most = [0; 10];
    for n in 0..events {
        let msg = match chance.below(100) {
            _ if n % 10_000 == 9_999 => Msg::Paste(big.clone()),
            0..70 => key(&mut chance),
            70..78 => mouse(&mut chance),
            78..80 => Msg::Paste(strangers::text()),
            80..82 => {
                // Mostly what people have; sometimes anything.
                let (width, height) = match chance.below(8) {
                    0 => (chance.below(501), chance.below(201)),
                    1 => (chance.below(90), chance.below(30)),
                    _ => chance.of(&[(120, 40), (80, 24), (60, 16), (110, 30)]),
                };
                Msg::Resize(u16::try_from(width).unwrap(), u16::try_from(height).unwrap())
            }
            82..88 => Msg::Snapshot(Arc::clone(&snapshots[usize::try_from(chance.below(4)).unwrap()])),
            88..91 => {
                now = now
                    .checked_add(SignedDuration::from_millis(i64::try_from(chance.below(3_000)).unwrap()))
                    .unwrap();
                Msg::Tick(now)
            }
            91 => Msg::Gone,
            _ => match waiting.pop().and_then(|effect| reply(effect, &mut chance)) {
                Some(msg) => msg,
                // Nothing waits for an answer.
                None => key(&mut chance),
            },
        };
        waiting.extend(update(&mut model, msg));
        waiting.truncate(64);
        // A screen of a hundred thousand cells is drawn less often than those that people have.
        let large = u32::from(model.size.0) * u32::from(model.size.1) > 5_000;
        if !large || n % 32 == 0 {
            draw(&model, &mut screen);
        }
        if n % 64 == 0 {
            bounded(&model);
            let part = &mut most[usize::try_from(n * 10 / events).unwrap()];
            *part = resident().max(*part);
        }
    }
    eprintln!("{DONE} {most:?}");
    let [early, late] = [&most[1..5], &most[5..]].map(|parts| parts.iter().max().copied().unwrap());
    // The allocator keeps some pages of what was open at once; a leak of a few words an event is more than that.
    assert!(late <= early + 8, "it grows: {most:?} MiB");
    assert!(late <= 256, "{most:?} MiB");
}
