//! The guilds this node is in.

use jiff::Timestamp;
use zerostate::api::GuildView;

use super::{Column, See, column, see_did};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::grouped;

/// How long it is until `at`, coarse as ages are: `2h41`, `41m`, `<1m`, `over`.
pub fn time_left(at: Timestamp, now: Timestamp) -> String {
    match at.duration_since(now).as_secs() {
        ..=0 => "over".to_owned(),
        1..60 => "<1m".to_owned(),
        left @ 60..7_200 => format!("{}m", left / 60),
        left => format!("{}h{:02}", left / 3_600, left / 60 % 60),
    }
}

pub const COLUMNS: &[Column] = &[
    column("time left"),
    column("name"),
    column("role"),
    column("members"),
    column("epoch"),
    column("lines"),
];
pub const FIELDS: &[&str] = &["name", "role", "member", "id"];

pub fn fields(guild: &GuildView, model: &Model, see: See) -> bool {
    see("name", guild.name.as_str())
        || guild.role.as_ref().is_some_and(|role| see("role", role))
        || guild.members.iter().any(|member| see_did("member", &member.did, model, see))
        || see("id", &guild.guild_id)
}

pub fn key<'a>(guild: &'a GuildView, column: usize) -> Key<'a> {
    match column {
        1 => Key::text(guild.name.as_str()),
        2 => Key::text(guild.role.as_deref().unwrap_or_default()),
        3 => Key::most(guild.members.len().try_into().unwrap_or(u64::MAX)),
        4 => Key::most(guild.epoch),
        5 => Key::most(guild.lines_total),
        _ => Key::Number(guild.expires_at.as_millisecond()),
    }
}

pub fn cells(guild: &GuildView, model: &Model, now: Timestamp) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let left = time_left(guild.expires_at, now);
    let s = if guild.lines_total == 1 { "" } else { "s" };
    vec![
        Cell::fill(guild.name.as_str(), style(Role::Text), 8),
        standing(guild, model),
        Cell::fixed(guild.members.len().to_string(), style(Role::Text), 3).right().rank(1),
        Cell::fixed(format!("epoch {}", guild.epoch), style(Role::Dim), 9).rank(2),
        Cell::fixed(format!("{} line{s}", grouped(guild.lines_total)), style(Role::Dim), 11).rank(3),
        Cell::fixed(left, style(Role::Dim), 6).right(),
    ]
}

/// The role; before one is in, and after, what is instead.
fn standing(guild: &GuildView, model: &Model) -> Cell {
    let (word, role) = match guild.state.as_str() {
        "member" => (guild.role.clone().unwrap_or_default(), Role::Dim),
        state => (state.to_owned(), Role::Warn),
    };
    Cell::fixed(word, model.theme.style(role), 8)
}

pub fn empty(model: &Model) -> (String, String) {
    let [new, join, submit] = [Action::GuildNew, Action::GuildJoin, Action::Submit]
        .map(|action| model.key_of(&["guilds", "global"], action));
    (
        "In no guild.".to_owned(),
        format!(
            "A guild is a private group, short-lived, that runs a task and witnesses it. {new} founds one, {join} joins one; {submit} submits a \
             task, which forms its own."
        ),
    )
}
