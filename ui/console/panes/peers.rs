//! Who this node is connected to, how, and how far away they are.

use std::cmp::Ordering;

use zerostate::api::{PeerView, short_id};

use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::theme::Role;
use crate::console::widgets::bar::spark;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::{latency, short};

pub const ORDERS: &[&str] = &["name", "latency", "traffic", "age"];
/// Cells of the latency's history.
const HISTORY: usize = 6;

/// The name on the agent card, or the short peer id until there is one.
pub fn name(peer: &PeerView) -> String {
    let name = peer.name.as_ref().map(|name| name.as_str().trim()).filter(|name| !name.is_empty());
    name.map_or_else(|| short_id(&peer.peer_id), str::to_owned)
}

pub fn haystack(peer: &PeerView) -> String {
    let did = peer.did.as_ref().map(ToString::to_string).unwrap_or_default();
    let how = if peer.relayed { "relayed" } else { "direct" };
    let capabilities: Vec<_> = peer.capabilities.iter().map(|c| c.as_str()).collect();
    format!("{} {} {did} {} {how} {}", name(peer), peer.peer_id, peer.address, capabilities.join(" "))
}

pub fn order(a: &PeerView, b: &PeerView, by: usize) -> Ordering {
    let by_name = || (a.name.is_none(), name(a), &a.peer_id).cmp(&(b.name.is_none(), name(b), &b.peer_id));
    let ping = |peer: &PeerView| peer.ping_us.last().copied().unwrap_or(u32::MAX);
    let traffic = |peer: &PeerView| peer.bytes_in.saturating_add(peer.bytes_out);
    match by {
        1 => ping(a).cmp(&ping(b)),
        2 => traffic(b).cmp(&traffic(a)),
        3 => a.connected_since.cmp(&b.connected_since),
        _ => Ordering::Equal,
    }
    .then_with(by_name)
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
    ]
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.keymap.keys_of(&["peers", "global"], Action::Connect).unwrap_or_default();
    let listens = model.snapshot.as_ref().and_then(|snapshot| snapshot.node.listen.first());
    let here = listens.map(|address| format!(" This node is at {address}")).unwrap_or_default();
    (
        "No peers yet.".to_owned(),
        format!("{key} connects to an address; on a local network peers find each other.{here}"),
    )
}
