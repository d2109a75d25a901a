//! What a frame costs in bytes, over a line that may be slow.

use std::io;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::layout::Size;
use zerostate::api::Snapshot;

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
    let mut most = (0, String::new());
    for (what, snapshot) in [("busy", samples::busy()), ("ageing", ageing())] {
        for keys in ["", "2 z", "3 z", "5 z", "7", "7 z", "1 enter", "2 enter", "3 enter", "5 enter", "4 p"] {
            for node in ["speaks", "is silent", "is gone"] {
                let snapshot = Arc::new(snapshot.clone());
                let mut model = model(SIZE, Data::Little, Arc::clone(&snapshot), Look::Dark);
                press(&mut model, keys, Data::Little);
                if node == "is gone" {
                    update(&mut model, Msg::Gone);
                }
                for theme in model.themes.clone() {
                    model.theme = theme;
                    let (second, cost) = dearest_second(&mut model, &snapshot, node == "speaks");
                    let theme = &model.theme.name;
                    most = most.max((
                        cost,
                        format!("{what} at {keys:?} in {theme}, the node {node}: second {second}"),
                    ));
                }
            }
        }
    }
    assert!(most.0 <= 64, "{}: {} bytes", most.1, most.0);
}

/// The second that costs the most, and how much, of some minutes and around a full hour.
fn dearest_second(model: &mut Model, snapshot: &Arc<Snapshot>, speaks: bool) -> (i64, usize) {
    const HOUR: i64 = 3_449;
    let mut line = Line::new(SIZE);
    let mut most = (0, 0);
    for second in (20..90).chain(HOUR - 10..HOUR + 10) {
        let now = samples::now().checked_add(SignedDuration::from_secs(second)).unwrap();
        update(model, Msg::Tick(now));
        if speaks {
            let mut same = (**snapshot).clone();
            same.at = now;
            update(model, Msg::Snapshot(Arc::new(same)));
        }
        let cost = line.cost(model);
        assert!(cost > 0, "the clock stands still");
        // The first of each is no second that went by.
        if second != 20 && second != HOUR - 10 && cost > most.1 {
            most = (second, cost);
        }
    }
    most
}

/// As much as can be seen of what tells an age or counts down, all of it by seconds and minutes.
fn ageing() -> Snapshot {
    let mut snapshot = samples::busy();
    fn fill<T: Clone>(items: &mut Vec<T>, mut change: impl FnMut(&mut T, i64)) {
        *items = (0..60)
            .zip(items.clone().into_iter().cycle())
            .map(|(i, mut item)| {
                change(&mut item, i);
                item
            })
            .collect();
    }
    fill(&mut snapshot.guilds.items, |guild, i| {
        guild.guild_id = format!("{}{i}", guild.guild_id);
        guild.expires_at = samples::ago(-(i * 17 % 400 + 30));
        let member = guild.members.last().cloned();
        guild.members.extend(member.into_iter().cycle().take(30));
        guild
            .members
            .iter_mut()
            .zip(0..)
            .for_each(|(member, n)| member.heard_at = Some(samples::ago(i * n % 90)));
    });
    fill(&mut snapshot.attestations.items, |attestation, i| {
        attestation.attestation_id = format!("{}{i}", attestation.attestation_id);
        attestation.at = samples::ago(i % 3 * 20);
    });
    fill(&mut snapshot.tasks.items, |task, i| {
        task.record.task_id = format!("{}{i}", task.record.task_id);
        task.progress.iter_mut().for_each(|progress| progress.told_at = Some(samples::ago(30 + i % 3)));
    });
    fill(&mut snapshot.inbox, |item, i| {
        item.inbox_id = format!("{}{i}", item.inbox_id);
        item.at = samples::ago(i % 3 * 20);
    });
    snapshot
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

/// Where a list fills the lines of the screen, the terminal moves them itself. Beside another list it cannot, and they are written anew.
#[test]
fn going_on_behind_the_edge_of_a_list_costs_500_bytes_too_where_it_has_its_lines_for_itself() {
    let snapshot = Arc::new(Data::Many.snapshot());
    let mut most = (0, String::new());
    let mut beside = (0, String::new());
    for (size, pane, alone) in [
        (SIZE, "6", true),
        (SIZE, "8", true),
        (SIZE, "1 z", true),
        (SIZE, "3 z", true),
        (SIZE, "4 z", true),
        (SIZE, "6 z", true),
        ((80, 24), "1", true),
        ((80, 24), "3", true),
        ((80, 24), "4", true),
        ((80, 24), "5", true),
        ((80, 24), "6", true),
        (SIZE, "1", false),
        (SIZE, "3", false),
        (SIZE, "4", false),
        (SIZE, "5", false),
    ] {
        let mut model = model(size, Data::Many, Arc::clone(&snapshot), Look::Dark);
        press(&mut model, pane, Data::Many);
        press(&mut model, "g g", Data::Many);
        (0..60).for_each(|_| press(&mut model, "j", Data::Many));
        for theme in model.themes.clone() {
            let name = theme.name.clone();
            model.theme = theme;
            let mut line = Line::new(size);
            line.terminal.clear().unwrap();
            line.cost(&model);
            for n in 0..120 {
                press(&mut model, if n < 60 { "j" } else { "k" }, Data::Many);
                let cost = line.cost(&model);
                assert!(cost > 0, "nothing moved");
                let most = if alone { &mut most } else { &mut beside };
                if cost > most.0 {
                    *most = (cost, format!("pane {pane} at {size:?} in {name}, key {n}"));
                }
            }
        }
    }
    eprintln!("{most:?} {beside:?}");
    assert!(most.0 <= 500, "{}: {} bytes", most.1, most.0);
    assert!(beside.0 <= 1_500, "{}: {} bytes", beside.1, beside.0);
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
