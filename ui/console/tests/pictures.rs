//! Every place at every size, with every kind of data, in every look: text and styles.
//!
//! A file has one place at one size. In it, for each kind of data, the text of the dark theme and below it the styles, a letter for each
//! (explained at the end): `3a 14b` are three cells of style a and fourteen of b, and `…2` says that the line above goes on for two more rows.
//! Without colours the text is the same, so only the styles follow; in ASCII the styles are mostly the same, so of them only the rows
//! that have others do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;

use super::stage::{Data, Look, PLACES, Place, SIZES, at, model, picture, press, text};
use crate::console::samples;

/// Letters for the styles of a file, in the order in which they come.
#[derive(Default)]
struct Legend(Vec<String>);

impl Legend {
    fn letter(&mut self, cell: &Cell) -> String {
        let style = style(cell);
        let at = self.0.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.0.push(style);
            self.0.len() - 1
        });
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        if at < 26 { letter(at).to_string() } else { format!("{}{}", letter(at / 26 - 1), letter(at)) }
    }
}

fn style(cell: &Cell) -> String {
    let color = |color: Color| match color {
        Color::Reset => "-".to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        other => other.to_string().to_lowercase(),
    };
    let modifiers = if cell.modifier.is_empty() { String::new() } else { format!(" {:?}", cell.modifier) };
    format!("{} on {}{modifiers}", color(cell.fg), color(cell.bg))
}

fn styles(buffer: &Buffer, legend: &mut Legend) -> String {
    let mut out = String::new();
    let (mut before, mut repeated) = (String::new(), 0);
    let flush = |before: &str, repeated: &mut usize, out: &mut String| {
        if !before.is_empty() {
            out.push_str(before);
            if *repeated > 0 {
                write!(out, " …{repeated}").unwrap();
            }
            out.push('\n');
        }
        *repeated = 0;
    };
    for row in buffer.content.chunks(usize::from(buffer.area.width)) {
        let mut runs: Vec<(usize, String)> = Vec::new();
        for cell in row {
            let letter = legend.letter(cell);
            match runs.last_mut() {
                Some((count, last)) if *last == letter => *count += 1,
                _ => runs.push((1, letter)),
            }
        }
        let line: Vec<String> = runs.iter().map(|(count, letter)| format!("{count}{letter}")).collect();
        let line = line.join(" ");
        if line == before {
            repeated += 1;
        } else {
            flush(&before, &mut repeated, &mut out);
            before = line;
        }
    }
    flush(&before, &mut repeated, &mut out);
    out
}

/// The rows of a picture whose styles are not those of another one, with their numbers.
fn differing(one: &Buffer, other: &Buffer, legend: &mut Legend) -> String {
    let width = usize::from(one.area.width);
    let rows = |buffer: &Buffer, legend: &mut Legend| -> Vec<String> {
        let row = |row: &[Cell]| row.iter().map(|cell| legend.letter(cell)).collect::<Vec<_>>().join(" ");
        buffer.content.chunks(width).map(row).collect()
    };
    let (known, told) = (rows(one, legend), rows(other, legend));
    let mut out = String::new();
    for (i, row) in told.iter().enumerate().filter(|(i, row)| known[*i] != **row) {
        let mut runs: Vec<(usize, &str)> = Vec::new();
        for letter in row.split(' ') {
            match runs.last_mut() {
                Some((count, last)) if *last == letter => *count += 1,
                _ => runs.push((1, letter)),
            }
        }
        let line: Vec<String> = runs.iter().map(|(count, letter)| format!("{count}{letter}")).collect();
        writeln!(out, "{i}: {}", line.join(" ")).unwrap();
    }
    out
}

fn page(
    place: &Place,
    size: (u16, u16),
    snapshots: &BTreeMap<&str, Arc<zerostate::api::Snapshot>>,
) -> String {
    let (mut page, mut legend) = (String::new(), Legend::default());
    let mut seen: Vec<(String, String)> = Vec::new();
    for data in Data::ALL {
        let look = |look| picture(&at(place, size, data, &snapshots[data.name()], look));
        let (dark, plain, ascii) = (look(Look::Dark), look(Look::NoColour), look(Look::Ascii));
        let shown = text(&dark);
        // But for what says how it is drawn.
        let says =
            |text: &str| text.lines().filter(|line| !line.contains("theme  ")).collect::<Vec<_>>().join("\n");
        let same = says(&text(&plain)) == says(&shown) || place.name == "themes";
        assert!(
            same,
            "{} {size:?} {}: without colours the words are others\n{}",
            place.name,
            data.name(),
            text(&plain)
        );
        assert!(
            text(&ascii).is_ascii(),
            "{} {size:?} {}: in ASCII\n{}",
            place.name,
            data.name(),
            text(&ascii)
        );
        assert!(
            plain.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)),
            "colours"
        );
        let mut sections = Vec::new();
        sections.push(("dark", format!("{shown}\n")));
        sections.push(("dark, styles", styles(&dark, &mut legend)));
        if text(&plain) != shown {
            sections.push(("no colour", format!("{}\n", text(&plain))));
        }
        sections.push(("no colour, styles", styles(&plain, &mut legend)));
        sections.push(("ASCII", format!("{}\n", text(&ascii))));
        let (mut other, told) = (String::new(), styles(&dark, &mut Legend::default()));
        if styles(&ascii, &mut Legend::default()) != told {
            other = differing(&dark, &ascii, &mut legend);
        }
        sections.push(("ASCII, rows with other styles", other));
        for (name, section) in sections {
            let title = format!("{}: {name}", data.name());
            match seen.iter().find(|(_, known)| *known == section) {
                Some((known, _)) => writeln!(page, "━━ {title}: as {known}").unwrap(),
                None => {
                    write!(page, "━━ {title}\n{section}").unwrap();
                    seen.push((title, section));
                }
            }
        }
    }
    page.push_str("━━ styles\n");
    for (i, style) in legend.0.iter().enumerate() {
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        let letter =
            if i < 26 { letter(i).to_string() } else { format!("{}{}", letter(i / 26 - 1), letter(i)) };
        writeln!(page, "{letter} {style}").unwrap();
    }
    page
}

#[test]
fn every_place_at_every_size_with_every_data_in_every_look() {
    let snapshots: BTreeMap<&str, Arc<_>> =
        Data::ALL.into_iter().map(|data| (data.name(), Arc::new(data.snapshot()))).collect();
    let mut wrong = Vec::new();
    for place in PLACES {
        for size in SIZES {
            let page = page(place, size, &snapshots);
            let name = format!("{}-{}x{}", place.name, size.0, size.1);
            // All are looked at before the test fails.
            let compared = std::panic::catch_unwind(|| {
                insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                    insta::assert_snapshot!(name.clone(), page);
                });
            });
            if compared.is_err() {
                wrong.push(name);
            }
        }
    }
    assert!(wrong.is_empty(), "other pictures than before: {}", wrong.join(", "));
}

#[test]
fn a_screen_that_is_too_small_says_what_it_needs() {
    let snapshot = Arc::new(Data::Little.snapshot());
    for size in [(59, 16), (60, 15), (20, 5)] {
        let shown = text(&picture(&at(&PLACES[0], size, Data::Little, &snapshot, Look::Dark)));
        let words: String = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("needs 60x16") && words.contains("The node goes on"), "{shown}");
    }
}

#[test]
fn the_six_panes_can_be_named_at_every_size_that_is_enough() {
    for size in [(60, 16), (80, 24), (109, 60), (110, 30), (200, 60)] {
        for focus in ["1", "6", "7", "8"] {
            let mut model = model(size, Data::Little, Arc::new(samples::busy()), Look::Dark);
            press(&mut model, focus, Data::Little);
            let picture = text(&picture(&model));
            let named = ["1 Peers", "2 Guilds", "3 Tasks", "4 Receipts", "5 Attestations"];
            // The three at the bottom share a place where there is not enough for all.
            let last = [("1", "6 Events"), ("6", "6 Events"), ("7", "7 Inbox"), ("8", "8 Log")];
            let last = last.into_iter().find(|(key, _)| *key == focus).map(|(_, name)| name);
            for name in named.into_iter().chain(last) {
                assert!(picture.contains(name), "{name} at {size:?} on pane {focus}\n{picture}");
            }
        }
    }
}

#[test]
fn a_node_that_has_not_said_anything_for_long_is_seen_to() {
    let mut model = model((120, 40), Data::Little, Arc::new(samples::busy()), Look::Dark);
    let header = |model: &_| text(&picture(model)).lines().next().unwrap().to_owned();
    assert!(!header(&model).contains("silent"));
    let later = samples::now().checked_add(jiff::SignedDuration::from_secs(20)).unwrap();
    crate::console::update::update(&mut model, crate::console::msg::Msg::Tick(later));
    assert!(header(&model).contains("silent since 14:02:"), "{}", header(&model));
}

#[test]
fn no_size_makes_it_fall() {
    let snapshot = Arc::new(samples::busy());
    for width in [0, 1, 2, 5, 59, 60, 61, 80, 110, 500] {
        for height in [0, 1, 2, 15, 16, 17, 24, 30, 200] {
            for place in PLACES.iter().step_by(if width > 200 { 7 } else { 1 }) {
                picture(&at(place, (width, height), Data::Little, &snapshot, Look::Dark));
            }
        }
    }
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
    let wide = text(&picture(&model((160, 40), Data::Little, Arc::new(snapshot.clone()), Look::Dark)));
    let header = wide.lines().next().unwrap();
    assert!(header.contains("get 25 %  10M/s 1 s left"), "{header}");
    assert!(header.contains("from borealis"), "{header}");
    let narrow = text(&picture(&model((80, 24), Data::Little, Arc::new(snapshot), Look::Dark)));
    assert!(narrow.lines().next().unwrap().contains("get 25 %"), "{narrow}");
}
