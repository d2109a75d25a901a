//! What a frame costs in bytes, over a line that may be slow.

use std::io;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::layout::Size;

use super::stage::{Data, Look, PLACES, at, model, press};
use crate::console::backend::Quiet;
use crate::console::model::Model;
use crate::console::msg::Msg;
use crate::console::samples;
use crate::console::update::update;
use crate::console::view::view;

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

/// A terminal that counts.
struct Line {
    out: Counted,
    terminal: Terminal<Quiet<Counted>>,
}

impl Line {
    fn new((width, height): (u16, u16)) -> Self {
        let out = Counted::default();
        let terminal = Terminal::new(Quiet::fixed(out.clone(), Size::new(width, height))).unwrap();
        Self { out, terminal }
    }

    fn cost(&mut self, model: &Model) -> usize {
        let before = *self.out.0.lock().unwrap();
        self.terminal.draw(|frame| view(model, frame)).unwrap();
        *self.out.0.lock().unwrap() - before
    }
}

const SIZE: (u16, u16) = (120, 40);

#[test]
fn a_frame_costs_what_changed_and_nothing_when_nothing_did() {
    let mut line = Line::new(SIZE);
    let mut model = model(SIZE, Data::Little, Arc::new(samples::busy()), Look::Dark);
    line.cost(&model);
    assert_eq!(line.cost(&model), 0, "an unchanged model");
    let mut same = samples::busy();
    same.at = samples::now().checked_add(SignedDuration::from_millis(100)).unwrap();
    update(&mut model, Msg::Snapshot(Arc::new(same)));
    assert_eq!(line.cost(&model), 0, "a snapshot that says the same");
}

#[test]
fn a_second_that_goes_by_costs_64_bytes() {
    // Guilds count down by the second, and ages move by ten; here is nothing that does.
    let mut quiet = samples::busy();
    quiet.guilds.items.clear();
    quiet.attestations.items.clear();
    quiet.tasks.items.iter_mut().filter_map(|task| task.progress.as_mut()).for_each(|p| p.told_at = None);
    let mut line = Line::new(SIZE);
    let mut model = model(SIZE, Data::Little, Arc::new(quiet.clone()), Look::Dark);
    line.cost(&model);
    for seconds in 1..120 {
        let now = samples::now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        update(&mut model, Msg::Tick(now));
        // The node says that it is there.
        quiet.at = now;
        update(&mut model, Msg::Snapshot(Arc::new(quiet.clone())));
        let cost = line.cost(&model);
        assert!((1..=64).contains(&cost), "second {seconds}: {cost} bytes");
    }
}

#[test]
fn moving_the_selection_costs_500_bytes() {
    for data in [Data::Little, Data::Evil] {
        for pane in ["1", "2", "3", "4", "5", "6", "7", "8", "3 z", "4 z", "6 z"] {
            let mut model = model(SIZE, data, Arc::new(data.snapshot()), Look::Dark);
            press(&mut model, pane, data);
            for theme in model.themes.clone() {
                let name = theme.name.clone();
                model.theme = theme;
                let mut line = Line::new(SIZE);
                line.cost(&model);
                for key in ["j", "j", "k", "k"] {
                    press(&mut model, key, data);
                    let cost = line.cost(&model);
                    assert!(cost <= 500, "{data:?}, pane {pane}, {name}, {key}: {cost} bytes");
                }
            }
        }
    }
}

#[test]
fn no_frame_costs_more_than_ten_kilobytes() {
    let mut most = (0, String::new());
    for data in Data::ALL {
        let snapshot = Arc::new(data.snapshot());
        for place in PLACES {
            let mut model = at(place, SIZE, data, &snapshot, Look::Dark);
            for theme in model.themes.clone() {
                model.theme = theme;
                // From an empty screen, so everything is written.
                let mut line = Line::new(SIZE);
                line.terminal.clear().unwrap();
                let cost = line.cost(&model);
                most = most.max((cost, format!("{} with {data:?} in {}", place.name, model.theme.name)));
            }
        }
    }
    assert!(most.0 <= 10_000, "{}: {} bytes", most.1, most.0);
}
