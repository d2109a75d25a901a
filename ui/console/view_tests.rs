//! Pictures of the screen, and what a picture costs.

use std::io;
use std::sync::{Arc, Mutex};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use zerostate::api::{Answer, Command, Named, Snapshot};
use zerostate::document::Verdict;

use super::backend::Quiet;
use super::depth::Depth;
use super::keymap::Keymap;
use super::model::{Model, Settings};
use super::msg::{Effect, Msg, Probe};
use super::samples;
use super::theme::Theme;
use super::update::update;
use super::view::view;

fn model(size: (u16, u16), snapshot: Option<Snapshot>) -> Model {
    let theme = Theme::load("dark", None, Depth::TrueColor).0;
    let mut model = Model::new(Settings::default(), theme, Keymap::new(None), TimeZone::UTC, samples::now());
    update(&mut model, Msg::Resize(size.0, size.1));
    if let Some(snapshot) = snapshot {
        update(&mut model, Msg::Snapshot(Arc::new(snapshot)));
    }
    model
}

/// Types letters; `\r` is Enter. What the node is asked is answered with the samples.
fn typed(model: &mut Model, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\r' { KeyCode::Enter } else { KeyCode::Char(c) };
        for effect in update(model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE))) {
            let (ticket, answer) = match effect {
                Effect::Execute { ticket, command: Command::ReceiptShow { .. } } => {
                    (ticket, Answer::Receipt(Box::new(samples::receipt_detail())))
                }
                Effect::Execute { ticket, command: Command::TaskShow { .. } } => {
                    (ticket, Answer::Task(Box::new(samples::task_detail())))
                }
                Effect::Execute { ticket, command: Command::Examine { receipt: Named::ReceiptId(id) } } => {
                    (ticket, samples::examined(&id, Verdict::Disagree))
                }
                _ => continue,
            };
            update(model, Msg::Answered { ticket, result: Ok(answer) });
        }
    }
}

fn picture(model: &Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal.backend().to_string()
}

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (60, 16), (40, 10)];

fn pictures(name: &str, snapshot: Option<Snapshot>, keys: &str) {
    for size in SIZES {
        let mut model = model(size, snapshot.clone());
        typed(&mut model, keys);
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), picture(&model));
        });
    }
}

#[test]
fn main_screen_before_the_node_has_spoken() {
    pictures("starting", None, "");
}

#[test]
fn main_screen_with_nothing() {
    pictures("nothing", Some(samples::nothing()), "");
}

#[test]
fn main_screen_at_work() {
    pictures("busy", Some(samples::busy()), "");
}

#[test]
fn receipt_opened() {
    pictures("receipt", Some(samples::busy()), "4j\r");
}

#[test]
fn task_opened() {
    pictures("task", Some(samples::busy()), "3\r");
}

#[test]
fn attestation_opened() {
    pictures("attestation", Some(samples::busy()), "5j\r");
}

#[test]
fn guild_opened() {
    pictures("guild", Some(samples::busy()), "2\r");
}

#[test]
fn something_is_said_in_a_guild() {
    pictures("guild-say", Some(samples::busy()), "2tgood");
}

#[test]
fn guild_form_with_faults() {
    pictures("guild-new", Some(samples::nothing()), "2nnightly\rsoon\r\rnobody\r");
}

#[test]
fn attest_asks() {
    pictures("confirm-attest", Some(samples::busy()), "4ja");
}

#[test]
fn help_over_the_tasks() {
    pictures("help", Some(samples::busy()), "3?");
}

#[test]
fn submit_form_with_faults() {
    for size in SIZES {
        let mut model = model(size, Some(samples::nothing()));
        typed(&mut model, "Shello.wasm");
        let Some(super::layers::Layer::Submit(form)) = model.layers.last() else { panic!("no form") };
        let generation = form.generation;
        update(&mut model, Msg::Probed { generation, found: Ok(Probe::Module { size: 2_600 }) });
        typed(&mut model, "\r\r\r\rx");
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("submit-{}x{}", size.0, size.1), picture(&model));
        });
    }
}

#[test]
fn the_six_panes_can_be_named_at_every_size_that_is_enough() {
    for size in [(60, 16), (80, 24), (109, 60), (110, 30), (200, 60)] {
        for focus in ["1", "6", "7", "8"] {
            let mut model = model(size, Some(samples::busy()));
            typed(&mut model, focus);
            let picture = picture(&model);
            let named = ["1 Peers", "2 Guilds", "3 Tasks", "4 Receipts", "5 Attestations", "6 Events"];
            for name in named {
                assert!(picture.contains(name), "{name} at {size:?} on pane {focus}\n{picture}");
            }
        }
    }
}

#[test]
fn no_size_makes_it_fall() {
    for width in [0, 1, 2, 5, 59, 60, 61, 80, 110, 300] {
        for height in [0, 1, 2, 15, 16, 17, 24, 30, 100] {
            for keys in ["", "4j\r", "3\r", "4ja", "?", "S", ":", "/x", "z", "7", "5j\r"] {
                let mut model = model((width, height), Some(samples::busy()));
                typed(&mut model, keys);
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| view(&model, frame)).unwrap();
            }
        }
    }
}

#[test]
fn in_ascii_every_cell_is_ascii() {
    let mut model = model((120, 40), Some(samples::busy()));
    model.settings.ascii = true;
    typed(&mut model, "4j\r");
    assert!(picture(&model).is_ascii(), "{}", picture(&model));
}

#[test]
fn without_colours_nothing_is_coloured() {
    let mut model = model((120, 40), Some(samples::busy()));
    model.theme = Theme::load("mono", None, Depth::Mono).0;
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    terminal.draw(|frame| view(&model, frame)).unwrap();
    let reset = ratatui::style::Color::Reset;
    assert!(terminal.backend().buffer().content.iter().all(|cell| cell.fg == reset && cell.bg == reset));
}

#[test]
fn a_hundred_thousand_rows_are_drawn_as_few() {
    let mut snapshot = samples::busy();
    let row = snapshot.receipts.items[0].clone();
    snapshot.receipts.items = (0..100_000u64)
        .map(|n| {
            let mut row = row.clone();
            row.cursor = 200_000 - n;
            row.receipt_id = format!("receipt-{n}");
            row
        })
        .collect();
    let mut model = model((120, 40), Some(snapshot));
    typed(&mut model, "4Gkkgg");
    picture(&model);
    typed(&mut model, "G");
    assert!(picture(&model).contains("hello"));
}

#[derive(Clone, Default)]
struct Counted(Arc<Mutex<usize>>);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0.lock().unwrap() += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_frame_costs_what_changed_and_nothing_when_nothing_did() {
    let out = Counted::default();
    let mut terminal = Terminal::new(Quiet::fixed(out.clone(), Size::new(120, 40))).unwrap();
    let mut model = model((120, 40), Some(samples::busy()));
    let mut cost = |model: &Model| {
        let before = *out.0.lock().unwrap();
        terminal.draw(|frame| view(model, frame)).unwrap();
        *out.0.lock().unwrap() - before
    };
    let first = cost(&model);
    assert!(first < 16_000, "the first frame: {first} bytes");
    assert_eq!(cost(&model), 0, "an unchanged model");
    let mut same = samples::busy();
    same.at = samples::now().checked_add(jiff::SignedDuration::from_millis(100)).unwrap();
    update(&mut model, Msg::Snapshot(Arc::new(same)));
    assert_eq!(cost(&model), 0, "a snapshot that says the same");
    let second = samples::now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    update(&mut model, Msg::Tick(second));
    let clock = cost(&model);
    assert!((1..80).contains(&clock), "the clock: {clock} bytes");
    typed(&mut model, "j");
    let moved = cost(&model);
    assert!(moved < 1_500, "the selection moved: {moved} bytes");
}

#[test]
fn an_artifact_on_its_way_is_in_the_header_with_how_far_it_is_and_from_whom() {
    let mut snapshot = samples::busy();
    let from = zerostate::api::SourceView { from: snapshot.peers[1].peer_id.as_str().into(), bytes: 5 << 20 };
    snapshot.transfers = vec![zerostate::api::TransferView {
        transfer_id: 1,
        direction: "get".to_owned(),
        cid: Some("bafybeihnambwosbhmyp5qxrmbdtxranddvnhnfwbricq2h2zxgqjqyzkvy".to_owned()),
        done: 5 << 20,
        size: Some(20 << 20),
        elapsed_ms: 500,
        sources: vec![from],
    }];
    let wide = picture(&model((160, 40), Some(snapshot.clone())));
    let header = wide.lines().next().unwrap();
    assert!(header.contains("get 25 %  10M/s 1 s left"), "{header}");
    assert!(header.contains("from borealis"), "{header}");
    let narrow = picture(&model((80, 24), Some(snapshot)));
    assert!(narrow.lines().next().unwrap().contains("get 25 %"), "{narrow}");
}
