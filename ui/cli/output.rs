//! What goes to stdout: JSON for programs, aligned columns for people.

use std::borrow::Cow;
use std::io::{self, Write as _};

use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;
use zerostate::api::ApiError;
use zerostate::document::Untrusted;

use super::Failure;

/// One JSON value and a line end.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(value)
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
    text = tame(text);
    text.push('\n');
    bytes(text.as_bytes())
}

/// JSON in which what could steer a terminal is escaped: the program that reads it gets the same strings.
fn tame(text: String) -> String {
    let wild = |c: char| !matches!(c, '\n' | '\r' | '\t') && Untrusted::changes(c);
    if !text.contains(wild) {
        return text;
    }
    let mut tame = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wild(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                tame.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            tame.push(c);
        }
    }
    tame
}

/// Text for people and a line end. Whatever a stranger put into it, nothing of it steers a terminal.
pub fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{}\n", shown(text)).as_bytes())
}

fn shown(text: &str) -> Untrusted {
    Untrusted::lines(text, usize::MAX)
}

/// Bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::unread()),
        other => other.map_err(|error| Failure::failed(format!("cannot write to stdout: {error}"))),
    }
}

/// What a stranger has written, as it is; on a terminal without what would steer that.
pub fn for_people(written: &[u8], terminal: bool) -> Cow<'_, [u8]> {
    if !terminal {
        return Cow::Borrowed(written);
    }
    let text = Untrusted::lines(&String::from_utf8_lossy(written), usize::MAX);
    Cow::Owned(text.as_str().as_bytes().to_vec())
}

/// A line on stderr: progress and errors. Nobody may be reading it, which is no reason to end.
pub fn note(text: &str) {
    if let Err(error) = writeln!(io::stderr(), "{}", shown(text)) {
        tracing::debug!(%error, "stderr");
    }
}

/// Rows under headings, or a sentence when there are none.
pub fn table(headings: &[&str], rows: &[Vec<String>], when_empty: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(when_empty);
    }
    let heading: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let cleaned = |row: &Vec<String>| row.iter().map(|cell| Untrusted::new(cell).to_string()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cleaned).collect();
    let mut widths = vec![0; headings.len()];
    for row in std::iter::once(&heading).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(&rows) {
        let mut columns = row.iter().zip(&widths).peekable();
        while let Some((cell, width)) = columns.next() {
            text.push_str(cell);
            if columns.peek().is_some() {
                text.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
            }
        }
        text.push('\n');
    }
    bytes(text.as_bytes())
}

/// `label  value` lines.
pub fn pairs(pairs: &[(&str, String)]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(label, _)| label.width()).max().unwrap_or(0);
    let text: String =
        pairs.iter().map(|(label, value)| format!("{label:<width$}  {}\n", Untrusted::new(value))).collect();
    bytes(text.as_bytes())
}

/// Seconds, minutes, hours or days ago.
pub fn ago(at: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Time of day, to the millisecond, in UTC.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S%.3f").to_string()
}

/// The node answered something else than was asked, which an older or newer one may do.
pub fn unexpected() -> Failure {
    ApiError::unexpected().into()
}
