//! Frames of the console on a node with 10,000 peers, 100,000 receipts and 1,000 tasks, on a screen of 200 by 50: what it takes from a
//! message to a finished picture (update, layout, draw), and to look through all receipts.
//!
//! `cargo bench --bench frames`; it takes about half a minute, prints a table, and fails where a target is missed. Beside each time stands what clearing and filling a buffer
//! of that size takes, in the same run.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a bench takes the console in as it is, uses a part of it, and ends by panicking when it meets the unexpected"
)]

#[path = "../ui/bundle.rs"]
mod bundle;
#[path = "../ui/console/mod.rs"]
mod console;
#[path = "../ui/files.rs"]
mod files;
#[path = "../ui/signals.rs"]
mod signals;

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::layout::{Rect, Size};
use zerostate::api::{Page, ReceiptRecord, Snapshot, TaskView};

use console::backend::Quiet;
use console::depth::Depth;
use console::keymap::Keymap;
use console::model::{Model, Pane, Settings};
use console::msg::Msg;
use console::samples;
use console::theme::Theme;
use console::update::update;
use console::view::view;

const SIZE: (u16, u16) = (200, 50);
const PEERS: u32 = 10_000;
const TASKS: u32 = 1_000;
const RECEIPTS: u64 = 100_000;
/// Of a long list, so much is in a snapshot.
const TAIL: usize = 200;
const GUILDS: usize = 100;
/// Snapshots one after the other.
const SNAPSHOTS: u64 = 120;
const ROUNDS: usize = 400;

fn key(code: KeyCode) -> Msg {
    Msg::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn letter(c: char) -> Msg {
    key(KeyCode::Char(c))
}

struct Stage {
    model: Model,
    /// As in the console, with every byte that goes to the terminal; nobody reads them.
    terminal: Terminal<Quiet<io::Sink>>,
}

impl Stage {
    /// A console that has heard the tails of tasks and receipts, and has got all the others page by page.
    fn new(snapshot: Arc<Snapshot>, tasks: Vec<TaskView>, receipts: Vec<ReceiptRecord>) -> Self {
        let theme = Theme::load("dark", None, Depth::TrueColor).0;
        let mut model =
            Model::new(Settings::default(), theme, Keymap::new(None), TimeZone::UTC, samples::now());
        update(&mut model, Msg::Resize(SIZE.0, SIZE.1));
        update(&mut model, Msg::Snapshot(snapshot));
        model.older.take_tasks(Page { total: TASKS.into(), items: tasks, next: None });
        model.rows_changed(Pane::Tasks);
        model.older.take_receipts(Page { total: RECEIPTS, items: receipts, next: None });
        model.rows_changed(Pane::Receipts);
        let backend = Quiet::fixed(io::sink(), Size::new(SIZE.0, SIZE.1));
        Self { model, terminal: Terminal::new(backend).unwrap() }
    }

    /// Does what was left unfinished.
    fn rest(&mut self) -> Duration {
        let start = Instant::now();
        while self.model.unfinished {
            black_box(update(&mut self.model, Msg::GoOn));
        }
        start.elapsed()
    }

    /// From a message to the picture. The snapshot before it is let go of by another thread, as in the console.
    fn frame(&mut self, msg: Msg) -> Duration {
        let before = self.model.snapshot.clone();
        let start = Instant::now();
        black_box(update(&mut self.model, msg));
        let model = &self.model;
        self.terminal.draw(|frame| view(model, frame)).unwrap();
        let took = start.elapsed();
        drop(before);
        took
    }
}

fn quantile(times: &mut [Duration], of: f64) -> f64 {
    times.sort_unstable();
    #[allow(clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place among some hundreds")]
    let place = ((times.len() - 1) as f64 * of) as usize;
    times[place].as_secs_f64() * 1e3
}

fn main() {
    let mut big = samples::many(PEERS, TASKS, RECEIPTS);
    let (tasks, receipts) = (big.tasks.items.split_off(TAIL), big.receipts.items.split_off(TAIL));
    samples::cut_to_tails(&mut big, TAIL);
    big.guilds.items.truncate(GUILDS);
    big.inbox.truncate(TAIL);
    let big = Arc::new(big);
    let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    let mut fills: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            buffer.reset();
            for y in 0..SIZE.1 {
                buffer.set_string(0, y, "x".repeat(usize::from(SIZE.0)), ratatui::style::Style::new());
            }
            black_box(&buffer);
            start.elapsed()
        })
        .collect();
    let fill = quantile(&mut fills, 0.5);
    println!("{:<58} {:>9} {:>9} {:>8} {:>8} {:>5}", "", "p50", "p99", "target", "fills", "ok?");
    let missed = std::cell::Cell::new(false);
    let print = |what: &str, mut times: Vec<Duration>, target: f64| {
        let (half, most) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
        // A word is typed letter by letter, and the first has the most to look through: there the slowest counts.
        let counts = if target > 2.0 { most } else { half };
        let ok = if counts <= target { "yes" } else { "NO" };
        missed.set(missed.get() || counts > target);
        println!("{what:<58} {half:>6.2} ms {most:>6.2} ms {target:>5} ms {:>7.1}x {ok:>5}", half / fill);
    };

    let mut stage = Stage::new(Arc::clone(&big), tasks, receipts);
    for (what, pane) in [("peers", '1'), ("tasks", '3'), ("receipts", '4'), ("events", '6')] {
        stage.frame(letter(pane));
        let times = (0..ROUNDS).map(|n| stage.frame(letter(if n % 20 < 10 { 'j' } else { 'k' })));
        let times = times.collect();
        print(&format!("a key in the {what}"), times, 2.0);
    }
    stage.frame(letter('4'));
    stage.frame(letter('G'));
    print("a key at the end of the receipts", (0..ROUNDS).map(|_| stage.frame(letter('k'))).collect(), 2.0);
    stage.frame(letter('z'));
    print("a key in the receipts, zoomed", (0..ROUNDS).map(|_| stage.frame(letter('k'))).collect(), 2.0);
    stage.frame(letter('z'));
    stage.frame(key(KeyCode::Enter));
    print("a key in an opened receipt", (0..ROUNDS).map(|_| stage.frame(letter('j'))).collect(), 2.0);
    stage.frame(key(KeyCode::Esc));

    // A snapshot ten times a second in which peers have other numbers: some of them, as when each is pinged every few seconds; and all.
    let mut other = (*big).clone();
    for (round, (which, one_in)) in (0u64..).zip([("one peer in 100", 100), ("every peer", 1)]) {
        let mut ticks = Vec::new();
        let times = (0..SNAPSHOTS)
            .map(|n| {
                for peer in other.peers.iter_mut().skip(usize::try_from(n).unwrap() % one_in).step_by(one_in)
                {
                    Arc::make_mut(peer).bytes_in += n * 1_000;
                }
                let next = Arc::new(other.clone());
                let passed = SignedDuration::from_millis(100 * (round * SNAPSHOTS + n) as i64);
                let now = samples::now().checked_add(passed).unwrap();
                if n % 10 == 0 {
                    ticks.push(stage.frame(Msg::Tick(now)));
                }
                stage.model.now = now;
                stage.frame(Msg::Snapshot(next))
            })
            .collect();
        print(&format!("a snapshot, ten a second, others of {which}"), times, 2.0);
        print("    a second of the clock, between those", ticks, 2.0);
    }
    // One more at the head of the tail, and one that falls off its end.
    let mut newest = |n: u64| {
        let mut receipt = other.receipts.items[0].clone();
        receipt.cursor += 1;
        receipt.receipt_id = format!("{n}{}", receipt.receipt_id);
        other.receipts.items.insert(0, receipt);
        other.receipts.items.truncate(TAIL);
        other.receipts.total += 1;
        Arc::new(other.clone())
    };
    let times = (0..60).map(|n| stage.frame(Msg::Snapshot(newest(n)))).collect();
    print("a snapshot with another receipt", times, 2.0);

    stage.frame(letter('4'));
    for (what, line) in [
        ("filter over all receipts: a word that is nowhere", "zyxwv"),
        ("filter over all receipts: a word in one of ten", "render"),
        ("filter over all receipts: field, inverse and fuzzy", "status:ok !hello ~rtile"),
    ] {
        // From a letter to its picture; and until all receipts were looked through, piece by piece.
        let (mut times, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            stage.frame(letter('/'));
            for c in line.chars() {
                times.push(stage.frame(letter(c)));
                whole.push(times[times.len() - 1] + stage.rest());
            }
            stage.frame(key(KeyCode::Esc));
        }
        print(what, times, 16.0);
        print("    until all are looked through", whole, f64::INFINITY);
    }
    stage.frame(letter('/'));
    for c in "render".chars() {
        stage.frame(letter(c));
    }
    stage.rest();
    stage.frame(key(KeyCode::Enter));
    print("a key in filtered receipts", (0..ROUNDS).map(|_| stage.frame(letter('j'))).collect(), 2.0);
    let times = (60..120).map(|n| stage.frame(Msg::Snapshot(newest(n)))).collect();
    print("a snapshot with another receipt, filtered", times, 2.0);
    stage.frame(key(KeyCode::Esc));
    stage.frame(letter('s'));
    print("a key in receipts sorted by name", (0..ROUNDS).map(|_| stage.frame(letter('j'))).collect(), 2.0);
    assert!(!missed.get(), "a target was missed");
}
