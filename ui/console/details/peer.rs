//! A peer: who it is, how it is reached, what it can do and what it asks for it.

use ratatui::style::Style;
use ratatui::text::Line;
use zerostate::api::PeerView;
use zerostate::document::bytes_text;

use super::parts::rows;
use crate::console::model::Model;
use crate::console::panes::in_common;
use crate::console::theme::Role;
use crate::console::widgets::bar::spark;
use crate::console::widgets::text::{age, date, latency, short};

fn find<'a>(id: &str, model: &'a Model) -> Option<&'a PeerView> {
    model
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.peers)
        .map(AsRef::as_ref)
        .find(|peer| peer.peer_id == id)
}

pub fn title(mut head: Vec<(String, Style)>, id: &str, model: &Model) -> Vec<(String, Style)> {
    if let Some(name) = find(id, model).and_then(|peer| peer.name.as_ref()) {
        head.push((format!(" ─ {name}"), model.theme.style(Role::Text)));
    }
    head
}

pub fn lines(id: &str, model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some(peer) = find(id, model) else {
        return vec![Line::styled("This peer is not connected any more.", model.theme.style(Role::Warn))];
    };
    let joined = |list: &[zerostate::document::Untrusted]| match list {
        [] => "none named".to_owned(),
        list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let ping = peer.ping_us.last().map_or("not measured yet".to_owned(), |us| {
        let (least, most) =
            (peer.ping_us.iter().min().unwrap_or(us), peer.ping_us.iter().max().unwrap_or(us));
        format!(
            "{}  {}  from {} to {}",
            latency(*us),
            spark(&peer.ping_us, 16).trim_start(),
            latency(*least),
            latency(*most)
        )
    });
    let prices = peer.prices.as_ref().map_or("none named".to_owned(), |prices| {
        format!(
            "{} /s, {} /MiB, {} /Gfuel",
            prices.per_second_micro, prices.per_mib_micro, prices.per_gfuel_micro
        )
    });
    let rate = model.rates.peer(id);
    rows(
        &[
            ("name", peer.name.as_ref().map_or("no agent card yet".to_owned(), ToString::to_string)),
            ("did", peer.did.as_ref().map_or("not known yet".to_owned(), ToString::to_string)),
            ("peer id", peer.peer_id.clone()),
            ("address", peer.address.to_string()),
            ("reached", if peer.relayed { "◐ through a relay" } else { "● directly" }.to_owned()),
            (
                "since",
                format!(
                    "{}, {}",
                    date(peer.connected_since, &model.zone),
                    age(peer.connected_since, model.now)
                ),
            ),
            ("latency", ping),
            (
                "traffic",
                format!(
                    "▲ {} ▼ {}   now ▲ {} ▼ {} /s",
                    bytes_text(peer.bytes_out),
                    bytes_text(peer.bytes_in),
                    short(rate.bytes_out),
                    short(rate.bytes_in)
                ),
            ),
            ("agent", peer.agent.to_string()),
            ("can", joined(&peer.capabilities)),
            (
                "guilds",
                match in_common(peer, model).map(|guild| guild.name.to_string()).collect::<Vec<_>>() {
                    guilds if guilds.is_empty() => "none in common".to_owned(),
                    guilds => guilds.join(", "),
                },
            ),
            ("score", "not kept by this version".to_owned()),
            ("asks", prices),
            (
                "faults",
                match peer.faults {
                    0 => "none".to_owned(),
                    n => format!("✗ broke a protocol {n} times"),
                },
            ),
            ("speaks", joined(&peer.protocols)),
        ],
        model,
        width,
    )
}
