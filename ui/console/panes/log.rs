//! The node's log, and what the console itself has to say.

use zerostate::api::LogLine;

use super::{Column, See, column, given};
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::clock;

pub const COLUMNS: &[Column] = &[given("time"), column("level"), column("from"), column("text")];
pub const FIELDS: &[&str] = &["level", "from", "text"];

pub fn fields(line: &LogLine, see: See) -> bool {
    see("text", line.text.as_str()) || see("level", &line.level) || see("from", &line.target)
}

/// How severe a level is, from 1 for an error on.
pub fn severity(level: &str) -> usize {
    match level {
        "ERROR" => 1,
        "WARN" => 2,
        "INFO" => 3,
        _ => 4,
    }
}

pub fn key(line: &LogLine, column: usize) -> Key<'_> {
    match column {
        1 => Key::Number(i64::try_from(severity(&line.level)).unwrap_or(i64::MAX)),
        2 => Key::text(line.target.as_str()),
        3 => Key::text(line.text.as_str()),
        _ => Key::latest(line.at),
    }
}

pub fn cells(line: &LogLine, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let role = match line.level.as_str() {
        "ERROR" => Role::Bad,
        "WARN" => Role::Warn,
        "INFO" => Role::Ok,
        _ => Role::Dim,
    };
    let target = line.target.strip_prefix("zerostate::").unwrap_or(&line.target);
    vec![
        Cell::fixed(clock(line.at, model.now, &model.zone), style(Role::Dim), 8).rank(2),
        Cell::fixed(line.level.clone(), style(role), 5),
        Cell::fixed(target, style(Role::Dim), 16).rank(3),
        Cell::fill(line.text.as_str(), style(Role::Text), 20),
    ]
}
