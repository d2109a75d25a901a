//! Every column that a list can be ordered by, both ways.

use std::cmp::Reverse;
use std::fmt::Debug;
use std::sync::Arc;

use zerostate::api::{Event, InboxItem, LogLine, Snapshot, TaskState};
use zerostate::document::{Credits, Status, Verdict};
use zerostate::identity::Did;

use super::{model, press};
use crate::console::model::{Model, Pane};
use crate::console::msg::Msg;
use crate::console::panes::{Entry, columns};
use crate::console::rows::{Key, Listing};
use crate::console::samples;
use crate::console::tests::stage::{picture, text};
use crate::console::update::update;

/// A node whose rows come in no order, and are not the same in anything that is looked at here.
fn scrambled() -> Snapshot {
    let mut snapshot = samples::busy();
    for (n, peer) in (0u32..).zip(snapshot.peers.iter_mut().map(Arc::make_mut)) {
        peer.ping_us = vec![1, n * 7 % 12 * 1_000];
        peer.bytes_in = u64::from(n) * 5 % 12 * 1_000;
        peer.faults = n * 11 % 12;
    }
    for (n, guild) in (1..).zip(&mut snapshot.guilds.items) {
        guild.members.truncate(n);
    }
    for (n, one) in (0..).zip(&mut snapshot.receipts.items) {
        one.total_micro = Credits::from_micro(n * 3 % 8 * 100).unwrap();
        one.duration_ns = n * 5 % 8 * 1_000_000;
        one.fuel_used = n * 7 % 8 * 1_000_000;
        one.peak_memory_bytes = ((n + 3) % 8) << 20;
    }
    let one = snapshot.inbox[0].clone();
    let item = |(n, kind): (u8, &str)| InboxItem {
        inbox_id: format!("in-{n}"),
        kind: kind.to_owned(),
        from: samples::did(10 + n * 5 % 7),
        at: samples::ago(i64::from(n) * 30),
        ..one.clone()
    };
    snapshot.inbox = (0..).zip(["task-offer", "attest", "join-request", "attest"]).map(item).collect();
    let said = ["beta", "Gamma", "find me", "alpha", "delta"];
    snapshot.log = (0..)
        .zip(said)
        .map(|(n, said)| LogLine {
            at: samples::ago(n * 3 % 5 * 10),
            level: ["INFO", "ERROR", "DEBUG", "WARN", "INFO"][usize::try_from(n).unwrap()].to_owned(),
            target: format!("zerostate::{}", n * 2 % 5),
            text: said.into(),
        })
        .collect();
    // Ids are hashes: to go by them is to go by chance, and always by the same.
    snapshot.peers.sort_by_key(|peer| peer.peer_id.clone());
    snapshot.guilds.items.sort_by_key(|guild| guild.guild_id.clone());
    snapshot.tasks.items.sort_by_key(|task| task.record.manifest_id.clone());
    snapshot.receipts.items.sort_by_key(|one| one.receipt_id.clone());
    snapshot.attestations.items.sort_by_key(|one| one.attestation_id.clone());
    snapshot
}

/// The ids of a pane's rows in the order in which the node gives them.
fn given(snapshot: &Snapshot, pane: Pane) -> Vec<String> {
    match pane {
        Pane::Peers => snapshot.peers.iter().map(|peer| peer.peer_id.clone()).collect(),
        Pane::Guilds => snapshot.guilds.items.iter().map(|guild| guild.guild_id.clone()).collect(),
        Pane::Tasks => snapshot.tasks.items.iter().map(|task| task.record.task_id.clone()).collect(),
        Pane::Receipts => snapshot.receipts.items.iter().map(|one| one.receipt_id.clone()).collect(),
        Pane::Attestations => {
            snapshot.attestations.items.iter().map(|one| one.attestation_id.clone()).collect()
        }
        Pane::Inbox => snapshot.inbox.iter().map(|item| item.inbox_id.clone()).collect(),
        Pane::Events => snapshot.events.items.iter().rev().map(|event| event.seq.to_string()).collect(),
        Pane::Log => {
            let mut lines: Vec<_> = snapshot.log.iter().map(Entry::Log).collect();
            lines.sort_by_key(Entry::at);
            lines.iter().map(Entry::id).collect()
        }
    }
}

/// A console in that pane, with its rows ordered by the column at that place.
fn sorted(pane: Pane, place: usize) -> Model {
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(scrambled())));
    press(&mut model, &pane.number().to_string());
    for _ in 0..place {
        press(&mut model, "s");
    }
    assert_eq!((model.list(pane).sort, model.list(pane).reversed), (place, false), "{pane:?}");
    model
}

fn ids(model: &Model, pane: Pane) -> Vec<String> {
    Listing::of(model, pane).from(0).map(|(_, row)| row.id()).collect()
}

fn in_order(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

#[test]
fn a_list_goes_by_each_of_its_columns_in_turn_and_the_other_way_round() {
    let snapshot = scrambled();
    for pane in Pane::ALL {
        let every = columns(pane);
        for (place, column) in every.iter().enumerate() {
            let mut model = sorted(pane, place);
            let what = format!("{pane:?} by {}", column.name);
            let shown = ids(&model, pane);
            if column.as_they_come {
                assert_eq!(shown, given(&snapshot, pane), "{what}");
            } else {
                let keys: Vec<Key> =
                    Listing::of(&model, pane).from(0).map(|(_, row)| row.key(&model, place)).collect();
                assert!(keys.is_sorted(), "{what}: {keys:?}");
                assert_eq!(
                    in_order(shown.clone()),
                    in_order(given(&snapshot, pane)),
                    "{what}: all are there once"
                );
            }
            press(&mut model, "R");
            let reversed: Vec<String> = shown.iter().rev().cloned().collect();
            assert_eq!(ids(&model, pane), reversed, "{what}, reversed");
            press(&mut model, "R");
            assert_eq!(ids(&model, pane), shown, "{what}, reversed twice");
            // The next column begins the usual way round; behind the last one comes the first.
            press(&mut model, "R s");
            let next = (place + 1) % every.len();
            assert_eq!((model.list(pane).sort, model.list(pane).reversed), (next, false), "{what}");
            assert_eq!(ids(&model, pane), ids(&sorted(pane, next), pane), "after {what}");
        }
    }
}

#[test]
fn a_list_that_follows_goes_on_following_once_it_goes_by_time_again() {
    let corner = |model: &Model| text(&picture(model)).contains("following");
    let newest = |model: &Model| {
        Listing::of(model, Pane::Events).selected().map(|at| ids(model, Pane::Events)[at].clone())
    };
    let mut model = sorted(Pane::Events, 0);
    let first = newest(&model);
    assert!(corner(&model), "by time, the newest last, one follows");
    // The newest come first; there one stays.
    press(&mut model, "R");
    assert!(!corner(&model));
    assert_eq!((newest(&model), Listing::of(&model, Pane::Events).selected()), (first, Some(0)));
    let mut next = scrambled();
    let event = Event { seq: 9_000, at: samples::ago(0), ..next.events.items[0].clone() };
    next.events.items.insert(0, event);
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(newest(&model).as_deref(), Some("9000"));
    press(&mut model, "R");
    assert!(corner(&model));
    assert_eq!(newest(&model).as_deref(), Some("9000"));
}

#[test]
fn what_is_found_in_the_log_has_lines_around_it_only_while_they_go_by_time() {
    let mut model = sorted(Pane::Log, 0);
    press(&mut model, "/ find enter");
    let found = |model: &Model| Listing::of(model, Pane::Log).len();
    let around = found(&model);
    press(&mut model, "s");
    assert_eq!((around > 1, found(&model)), (true, 1), "{around}");
}

/// Orders a pane by the column of that name and looks at what `of` finds in its rows.
fn check<T: PartialOrd + Debug>(pane: Pane, name: &str, of: impl Fn(Entry) -> T) {
    let place = columns(pane).iter().position(|column| column.name == name);
    let model = sorted(pane, place.unwrap_or_else(|| panic!("{pane:?} has no column {name}")));
    let found: Vec<T> = Listing::of(&model, pane).from(0).map(|(_, row)| of(row)).collect();
    assert!(found.first() != found.last(), "{pane:?} by {name}: {found:?} says nothing");
    assert!(found.is_sorted(), "{pane:?} by {name}: {found:?}");
}

/// What the operator calls somebody, in whatever case.
fn called(did: &Did) -> String {
    if *did == samples::did(1) {
        return "you".to_owned();
    }
    let peers = samples::busy().peers;
    let peer = peers.iter().find(|peer| peer.did.as_ref() == Some(did));
    let name = peer.and_then(|peer| peer.name.as_ref()).map(ToString::to_string);
    name.unwrap_or_else(|| did.short()).to_lowercase()
}

#[test]
fn peers_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($name:literal, $peer:ident => $of:expr) => {
            check(Pane::Peers, $name, |row| match row {
                Entry::Peer($peer) => $of,
                other => panic!("{other:?}"),
            });
        };
    }
    // Who has no name yet comes last.
    by!("name", peer => (peer.name.is_none(), peer.name.as_ref().map(ToString::to_string)));
    by!("latency", peer => peer.ping_us[1]);
    by!("traffic", peer => Reverse(peer.bytes_in + peer.bytes_out));
    by!("how", peer => peer.relayed);
    by!("address", peer => peer.address.to_string());
    by!("age", peer => peer.connected_since);
    by!("faults", peer => Reverse(peer.faults));
    by!("guilds", peer => {
        let guilds = scrambled().guilds.items;
        let is_in = |guild: &zerostate::api::GuildView| {
            guild.members.iter().any(|member| Some(&member.did) == peer.did.as_ref())
        };
        Reverse(guilds.iter().filter(|guild| is_in(guild)).count())
    });
}

#[test]
fn guilds_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($name:literal, $guild:ident => $of:expr) => {
            check(Pane::Guilds, $name, |row| match row {
                Entry::Guild($guild) => $of,
                other => panic!("{other:?}"),
            });
        };
    }
    by!("time left", guild => guild.expires_at);
    by!("name", guild => guild.name.to_string());
    by!("role", guild => guild.role.clone());
    by!("members", guild => Reverse(guild.members.len()));
}

#[test]
fn tasks_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($name:literal, $record:ident => $of:expr) => {
            check(Pane::Tasks, $name, |row| match row {
                Entry::Task(task) => {
                    let $record = &task.record;
                    $of
                }
                other => panic!("{other:?}"),
            });
        };
    }
    by!("name", record => record.name.to_string());
    by!("executor", record => record.executor.as_ref().map(called).unwrap_or_default());
    by!("changed", record => Reverse(record.updated_at));
    // What runs, what waits, what went wrong, what waits for its witnesses, what is over.
    by!("state", record => match &record.state {
        TaskState::Running => 0,
        TaskState::Drafted
        | TaskState::Published
        | TaskState::Offered
        | TaskState::Guilded
        | TaskState::Agreed => 1,
        TaskState::Failed { .. } | TaskState::Disputed { .. } => 2,
        TaskState::Receipted { .. } => 3,
        _ => 4,
    });
}

#[test]
fn receipts_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($name:literal, $one:ident => $of:expr) => {
            check(Pane::Receipts, $name, |row| match row {
                Entry::Receipt($one) => $of,
                other => panic!("{other:?}"),
            });
        };
    }
    by!("name", one => one.name.to_string());
    // What went wrong comes first.
    by!("status", one => (one.status == Status::Ok, one.status.to_string()));
    by!("cost", one => Reverse(one.total_micro));
    by!("executor", one => called(&one.executor));
    by!("time", one => Reverse(one.duration_ns));
    by!("fuel", one => Reverse(one.fuel_used));
    by!("memory", one => Reverse(one.peak_memory_bytes));
    by!("votes", one => match (one.disagree, one.agree, one.quorum) {
        (1.., ..) => "disputed",
        (0, agree, quorum) if agree > 0 && agree >= quorum => "attested",
        (0, _, 1..) => "waits",
        (0, 0, 0) if one.unverifiable > 0 => "unverified",
        _ => "unattested",
    });
}

#[test]
fn attestations_and_the_inbox_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($pane:ident $kind:ident $name:literal, $one:ident => $of:expr) => {
            check(Pane::$pane, $name, |row| match row {
                Entry::$kind($one) => $of,
                other => panic!("{other:?}"),
            });
        };
    }
    by!(Attestations Attestation "verdict", one => match one.verdict {
        Verdict::Disagree => 0,
        Verdict::Unverifiable => 1,
        Verdict::Agree => 2,
    });
    by!(Attestations Attestation "name", one => one.name.to_string());
    by!(Attestations Attestation "witness", one => called(&one.witness));
    by!(Inbox Inbox "kind", item => item.kind.clone());
    by!(Inbox Inbox "from", item => called(&item.from));
}

#[test]
fn events_and_the_log_are_sorted_by_what_their_columns_say() {
    macro_rules! by {
        ($pane:ident $kind:ident $name:literal, $one:ident => $of:expr) => {
            check(Pane::$pane, $name, |row| match row {
                Entry::$kind($one) => $of,
                other => panic!("{other:?}"),
            });
        };
    }
    by!(Events Event "time", event => (event.at, event.seq));
    by!(Events Event "kind", event => event.what.word().to_owned());
    by!(Log Log "time", line => line.at);
    by!(Log Log "level", line => match line.level.as_str() {
        "ERROR" => 0,
        "WARN" => 1,
        "INFO" => 2,
        _ => 3,
    });
    by!(Log Log "from", line => line.target.clone());
    by!(Log Log "text", line => line.text.as_str().to_lowercase());
}
