//! Who this node is connected to, how, and how far away they are.

use zerostate::api::{GuildView, PeerView, short_id};
use zerostate::document::Untrusted;

use super::{Column, See, column};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::bar::spark;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::{cut, latency, short};

pub const COLUMNS: &[Column] = &[
    column("name"),
    column("latency"),
    column("traffic"),
    column("how"),
    column("address"),
    column("age"),
    column("faults"),
    column("guilds"),
    column("can"),
];
pub const FIELDS: &[&str] = &["name", "how", "address", "can", "agent", "guild", "did", "id"];
/// Cells of the latency's history.
const HISTORY: usize = 6;
/// Cells of the guilds in common.
const GUILDS: usize = 14;

/// The name on the agent card, or the short peer id until there is one.
pub fn name(peer: &PeerView) -> String {
    called(peer).map_or_else(|| short_id(&peer.peer_id), str::to_owned)
}

fn called(peer: &PeerView) -> Option<&str> {
    peer.name.as_ref().map(|name| name.as_str().trim()).filter(|name| !name.is_empty())
}

pub fn fields(peer: &PeerView, model: &Model, see: See) -> bool {
    peer.name.iter().any(|name| see("name", name.as_str()))
        || see("how", if peer.relayed { "relayed" } else { "direct" })
        || see("address", peer.address.as_str())
        || peer.capabilities.iter().any(|what| see("can", what.as_str()))
        || see("agent", peer.agent.as_str())
        || in_common(peer, model).any(|guild| see("guild", guild.name.as_str()))
        || peer.did.iter().any(|did| see("did", did.as_str()))
        || see("id", &peer.peer_id)
}

pub fn key<'a>(peer: &'a PeerView, model: &Model, column: usize) -> Key<'a> {
    match column {
        1 => Key::count(peer.ping_us.last().copied().unwrap_or(u32::MAX).into()),
        2 => Key::most(peer.bytes_in.saturating_add(peer.bytes_out)),
        3 => Key::Number(i64::from(peer.relayed)),
        4 => Key::text(peer.address.as_str()),
        5 => Key::Number(peer.connected_since.as_millisecond()),
        6 => Key::most(peer.faults.into()),
        7 => Key::most(model.common.with(peer).len().try_into().unwrap_or(u64::MAX)),
        8 => Key::text(capabilities(peer)),
        // Who has no name yet comes last.
        _ => called(peer).map_or_else(|| Key::text(format!("\u{10ffff}{}", peer.peer_id)), Key::text),
    }
}

/// The guilds that this node and a peer are both in.
pub fn in_common<'a>(peer: &'a PeerView, model: &'a Model) -> impl Iterator<Item = &'a GuildView> {
    let guilds = model.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.guilds.items);
    model.common.with(peer).iter().filter_map(|place| guilds.get(*place))
}

pub fn cells(peer: &PeerView, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let (glyph, word, role) =
        if peer.relayed { ("◐", "relay", Role::Warn) } else { ("●", "direct", Role::Ok) };
    let known = if peer.name.is_some() { Role::Text } else { Role::Dim };
    let ping = peer.ping_us.last().map(|us| latency(*us)).unwrap_or_else(|| "–".to_owned());
    let rate = model.rates.peer(&peer.peer_id);
    // How often it broke a protocol comes before its name, which may be cut.
    let faults = if peer.faults > 0 { format!("✗{} ", peer.faults) } else { String::new() };
    let name_cell = Cell::fill(faults, style(Role::Bad), 10).and(name(peer), style(known));
    vec![
        Cell::fixed(glyph, style(role), 1),
        name_cell,
        Cell::fixed(word, style(Role::Dim), 6).rank(1),
        Cell::fixed(ping, style(Role::Text), 7).right(),
        Cell::fixed(spark(&peer.ping_us, HISTORY), style(Role::Spark), HISTORY).rank(2),
        Cell::fixed(
            format!("▲{:<4} ▼{:<4}", short(rate.bytes_out), short(rate.bytes_in)),
            style(Role::Dim),
            11,
        )
        .rank(4),
        Cell::fill(peer.address.as_str(), style(Role::Dim), 24).rank(3),
        Cell::fixed(guilds(peer, model), style(Role::Dim), GUILDS).rank(5),
        Cell::fixed(capabilities(peer), style(Role::Dim), 14).rank(6),
    ]
}

/// The first guild in common, and how many more there are.
fn guilds(peer: &PeerView, model: &Model) -> String {
    let mut guilds = in_common(peer, model);
    let first = guilds.next().map(|guild| guild.name.as_str()).unwrap_or_default();
    match guilds.count() {
        0 => first.to_owned(),
        more => {
            let more = format!(" +{more}");
            format!("{}{more}", cut(first, GUILDS.saturating_sub(more.len())))
        }
    }
}

fn capabilities(peer: &PeerView) -> String {
    let words: Vec<&str> = peer.capabilities.iter().map(Untrusted::as_str).collect();
    words.join(" ")
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.key_of(&["peers", "global"], Action::Connect);
    let listens = model.snapshot.as_ref().and_then(|snapshot| snapshot.node.listen.first());
    let here = listens.map(|address| format!(" This node is at {address}")).unwrap_or_default();
    (
        "No peers yet.".to_owned(),
        format!("{key} connects to an address; on a local network peers find each other.{here}"),
    )
}
