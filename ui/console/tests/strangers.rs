//! What strangers can put on the screen: text, and nothing else.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use zerostate::api::{Happening, ReceiptDetail, Snapshot, SourceView, TaskDetail, TaskState, TransferView};
use zerostate::document::Untrusted;

use super::stage::{Data, Look, PLACES, SIZES, at, picture};
use crate::console::encode::{Screen, encode};
use crate::console::samples;

/// Attacks on terminals and on eyes.
pub const ATTACKS: [&str; 15] = [
    // The clipboard (OSC 52), a title, a hyperlink.
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;owned\x1b\\",
    "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\",
    // Device control: a sixel, a status string that is answered into the input.
    "\x1bPq#0;2;0;0;0\x1b\\",
    "\x1bP$q\"p\x1b\\",
    // Colours, the screen, the cursor, the mouse, the main screen.
    "\x1b[31;5mred\x1b[2J\x1b[H\x1b[?1049l\x1b[?1003h",
    "\x1bc",
    // The same with one byte (C1).
    "\u{9b}31m\u{9d}52;c;eA==\u{9c}\u{90}x\u{9c}",
    "back\x08\x08\x08\x08\rover\x0b\x0c\x7f",
    // Right to left, and isolates.
    "\u{202e}gpj.exe\u{2066}x\u{2069}\u{200f}",
    // Families of joiners, and a stack of marks.
    "👩\u{200d}👩\u{200d}👧\u{200d}👦\u{200d}👩\u{200d}👩\u{200d}👧\u{200d}👦",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    // Tags, a byte order mark, a filler, blanks without width.
    "\u{e0041}\u{e0042}\u{feff}\u{3164}\u{200b}\u{2028}\u{ad}",
    "日本語\u{fe0f}ｗｉｄｅ",
    // Ligatures, and characters that are none, of which every terminal thinks something else.
    "لالالالالالا\u{fdd0}\u{378}\u{13430}\u{1d173}",
];

/// All of them at once.
pub fn text() -> String {
    ATTACKS.concat()
}

/// A busy node of which every text that came from somebody else is an attack. Texts that a node cleans before it hands them on are
/// given here as a dishonest node would.
pub fn snapshot() -> Snapshot {
    let evil = || Untrusted::new(&text());
    let mut snapshot = samples::busy();
    snapshot.node.name = evil();
    snapshot.node.version = text();
    snapshot.node.data_dir = text();
    snapshot.node.attest_policy = text();
    snapshot.node.listen = vec![evil()];
    for (i, peer) in snapshot.peers.iter_mut().map(Arc::make_mut).enumerate() {
        peer.name = Some(Untrusted::new(ATTACKS[i % ATTACKS.len()]));
        peer.address = evil();
        peer.agent = evil();
        peer.capabilities = vec![evil(), evil()];
        peer.protocols = vec![evil()];
        if i % 3 == 0 {
            peer.peer_id = format!("{i}{}", text());
        }
    }
    for guild in &mut snapshot.guilds.items {
        guild.name = evil();
        guild.role = Some(text());
        guild.state = text();
        guild.members.iter_mut().for_each(|member| member.role = text());
        guild.asking.iter_mut().for_each(|asking| asking.role = text());
        for line in &mut guild.lines {
            line.text = evil();
            if line.what != "said" {
                line.what = text();
            }
        }
    }
    for (i, task) in snapshot.tasks.items.iter_mut().enumerate() {
        for candidate in &mut task.record.candidates {
            (candidate.part, candidate.reason) = (text(), evil());
        }
        if let Some(progress) = &mut task.progress {
            progress.output = Untrusted::lines(&text(), 1_000);
        }
        task.record.name = Untrusted::new(ATTACKS[i % ATTACKS.len()]);
        if let TaskState::Failed { reason, .. } | TaskState::Disputed { reason, .. } = &mut task.record.state
        {
            *reason = evil();
        }
    }
    for (i, receipt) in snapshot.receipts.items.iter_mut().enumerate() {
        receipt.name = Untrusted::new(ATTACKS[(i + 3) % ATTACKS.len()]);
    }
    for one in &mut snapshot.attestations.items {
        one.name = evil();
        one.reason = Some(evil());
        one.discounted = Some(evil());
        one.differences = vec![evil()];
    }
    for event in &mut snapshot.events.items {
        match &mut event.what {
            Happening::PeerConnected { address, .. } | Happening::Listening { address } => *address = evil(),
            Happening::PeerFault { what, .. } => *what = evil(),
            Happening::Task { name, step, detail, .. } => {
                *name = evil();
                *step = text();
                *detail = Some(evil());
            }
            Happening::Receipt { name, .. } | Happening::Attestation { name, .. } => *name = evil(),
            Happening::Started { version } => *version = text(),
            Happening::PeerDisconnected { reason, .. } => *reason = evil(),
            Happening::PeerCard { name, .. } => *name = evil(),
            Happening::Guild { name, step, detail, .. } => {
                *name = evil();
                *step = text();
                *detail = Some(evil());
            }
            Happening::Equivocation { proof, .. } => *proof = evil(),
            Happening::Warning { text } => *text = evil(),
            Happening::Artifact { cid, .. } => *cid = text(),
            Happening::Stopped => {}
        }
    }
    for item in &mut snapshot.inbox {
        item.kind = text();
        item.text = evil();
        item.subject = text();
    }
    for line in &mut snapshot.log {
        line.text = evil();
        line.target = text();
        line.level = text();
    }
    snapshot.transfers = vec![TransferView {
        transfer_id: 1,
        direction: text(),
        cid: Some(text()),
        done: 1,
        size: Some(2),
        elapsed_ms: 1,
        sources: vec![SourceView { from: evil(), bytes: 1 }],
    }];
    snapshot
}

pub fn receipt(detail: &mut ReceiptDetail) {
    detail.record.name = Untrusted::new(&text());
    detail.output = Some(Untrusted::lines(&text(), 100_000));
    detail.receipt.error = Some(text());
    detail.receipt.guild = Some(text());
    detail.receipt.environment.engine = text();
    detail.receipt.environment.target = text();
    for one in &mut detail.attestations {
        one.reason = Some(Untrusted::new(&text()));
        one.discounted = Some(Untrusted::new(&text()));
        for row in one.compared.iter_mut().chain(&mut one.differences) {
            row.what = text();
            row.claimed = text();
            row.measured = text();
        }
    }
}

pub fn task(detail: &mut TaskDetail) {
    detail.view.record.name = Untrusted::new(&text());
    detail.manifest.name = text();
    detail.manifest.function = text();
    detail.manifest.args = vec![text()];
    detail.output = Some(Untrusted::lines(&text(), 100_000));
    for step in &mut detail.timeline {
        step.step = text();
        step.detail = Some(Untrusted::new(&text()));
    }
}

/// What there is in a stream of bytes besides text and the few sequences that the console itself writes.
pub fn foreign(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\x1b[") {
            let end = sequence.find(|c: char| !(c.is_ascii_digit() || c == ';')).unwrap_or(sequence.len());
            if !sequence[end..].starts_with(['H', 'C', 'X', 'm']) {
                return Some(format!("{:?}", rest.chars().take(20).collect::<String>()));
            }
            rest = &sequence[end + 1..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("\r\n") {
            rest = after;
            continue;
        }
        if Untrusted::changes(c) {
            return Some(format!("{c:?} before {:?}", rest.chars().take(20).collect::<String>()));
        }
        rest = &rest[c.len_utf8()..];
    }
    None
}

#[test]
fn nothing_but_text_comes_out_of_what_strangers_say() {
    let snapshot = Arc::new(snapshot());
    for place in PLACES {
        for size in SIZES {
            for look in [Look::Dark, Look::NoColour, Look::Ascii] {
                let buffer = picture(&at(place, size, Data::Evil, &snapshot, look));
                let mut bytes = Vec::new();
                encode(
                    Buffer::empty(buffer.area).diff(&buffer).into_iter(),
                    Screen { erases: true, is_clear: false },
                    &mut bytes,
                );
                assert_eq!(foreign(&bytes), None, "{} at {size:?}", place.name);
                for cell in &buffer.content {
                    let marks = cell
                        .symbol()
                        .chars()
                        .filter(|c| unicode_width::UnicodeWidthChar::width(*c) == Some(0));
                    assert!(
                        marks.count() <= 2,
                        "{} at {size:?}: a stack of marks in {:?}",
                        place.name,
                        cell.symbol()
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_looked_for_is_found() {
    for attack in ATTACKS.iter().filter(|attack| !attack.starts_with(['e', '日'])) {
        assert!(foreign(attack.as_bytes()).is_some(), "{attack:?}");
    }
    assert_eq!(foreign("\x1b[2;5H\x1b[38;2;1;2;3mtext\x1b[m\r\n│ 日本".as_bytes()), None);
}
