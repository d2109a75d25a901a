//! Rows: which are selected, found, ordered and marked, and what is fetched of them.

use std::sync::Arc;

use zerostate::api::{Answer, ApiError, Command, ErrorKind, GuildView, Page, PeerView, Snapshot, Tail};

use super::{model, press, selected, ticket};
use crate::console::layers::{Confirmed, Layer};
use crate::console::model::{Model, Pane};
use crate::console::msg::{Effect, Msg};
use crate::console::panes::in_common;
use crate::console::rows::Listing;
use crate::console::samples;
use crate::console::update::update;

#[test]
fn selection_is_by_id_so_rows_that_move_do_not_steal_it() {
    let mut model = model();
    press(&mut model, "4 j j");
    let before = selected(&model, Pane::Receipts);
    let mut next = samples::busy();
    next.receipts.items.rotate_right(3);
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Receipts), before);
}

#[test]
fn a_row_that_goes_away_leaves_the_selection_where_it_was() {
    let mut model = model();
    press(&mut model, "4 j j");
    let mut next = samples::busy();
    let third = next.receipts.items.remove(2);
    let expected = next.receipts.items[2].receipt_id.clone();
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_ne!(selected(&model, Pane::Receipts), third.receipt_id);
    assert_eq!(selected(&model, Pane::Receipts), expected);
}

#[test]
fn the_top_of_a_list_sticks_to_the_newest_until_one_moves() {
    let mut model = model();
    press(&mut model, "4");
    let mut next = samples::busy();
    let newest = next.receipts.items.pop().unwrap();
    next.receipts.items.insert(0, newest.clone());
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Receipts), newest.receipt_id);
}

#[test]
fn events_follow_until_one_scrolls_up_and_again_at_the_end() {
    let mut model = model();
    press(&mut model, "6");
    assert_eq!(selected(&model, Pane::Events), "340");
    press(&mut model, "k");
    let mut next = samples::busy();
    let mut event = next.events.items[0].clone();
    event.seq = 341;
    next.events.items.insert(0, event);
    update(&mut model, Msg::Snapshot(Arc::new(next)));
    assert_eq!(selected(&model, Pane::Events), "339");
    press(&mut model, "G");
    assert!(model.list(Pane::Events).selected.is_none(), "it follows again");
}

#[test]
fn a_filter_narrows_keeps_with_enter_and_clears_with_escape() {
    let mut model = model();
    press(&mut model, "4 / classify enter");
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 1);
    assert!(model.filtering.is_none());
    press(&mut model, "esc");
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 8);
}

#[test]
fn keys_are_text_where_text_is_typed() {
    let mut model = model();
    press(&mut model, "4 /");
    // It begins to look through the older ones, and does nothing else.
    let effects = press(&mut model, "q");
    assert!(
        matches!(effects.as_slice(), [Effect::Execute { command: Command::Receipts { .. }, .. }]),
        "{effects:?}"
    );
    assert_eq!(model.list(Pane::Receipts).filter, "q");
}

#[test]
fn frozen_holds_what_is_shown_and_goes_on_with_the_latest() {
    let mut model = model();
    press(&mut model, "p");
    update(&mut model, Msg::Snapshot(Arc::new(samples::nothing())));
    assert_eq!(Listing::of(&model, Pane::Peers).len(), 12);
    press(&mut model, "p");
    assert_eq!(Listing::of(&model, Pane::Peers).len(), 0);
}

#[test]
fn the_next_page_is_asked_for_once_at_the_end_of_the_tail() {
    let mut model = model();
    let effects = press(&mut model, "4 G");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before.is_none())
    );
    assert_eq!(press(&mut model, "k j"), [], "it is on its way");
    let mut older = samples::busy().receipts.items;
    for receipt in &mut older {
        receipt.cursor -= 500;
        receipt.receipt_id.push_str("-older");
    }
    let page =
        Page { total: 1_204, items: [samples::busy().receipts.items, older].concat(), next: Some(700) };
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Receipts(page)) });
    assert_eq!(
        Listing::of(&model, Pane::Receipts).len(),
        16,
        "what is in the tail already is not there twice"
    );
    let effects = press(&mut model, "G");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before == Some(700))
    );
}

#[test]
fn what_is_marked_is_cancelled_copied_and_answered_at_once() {
    let mut model = model();
    press(&mut model, "3 space space x");
    assert!(
        matches!(model.layers.last(), Some(Layer::Confirm(question)) if question.facts.len() == 3 && !question.yes)
    );
    let effects = press(&mut model, "y");
    let cancelled =
        effects.iter().filter(|e| matches!(e, Effect::Execute { command: Command::TaskCancel { .. }, .. }));
    assert_eq!(cancelled.count(), 2, "{effects:?}");
    assert!(model.list(Pane::Tasks).marked.is_empty());
    // Of all of them only some can be; how many are left out is said.
    press(&mut model, "3 * x");
    let Some(Layer::Confirm(question)) = model.layers.last() else { panic!("{:?}", model.toasts) };
    let marked = model.list(Pane::Tasks).marked.len();
    let Confirmed::Cancel(asked) = &question.what else { panic!() };
    let said = format!("{} of those marked", marked - asked.len());
    assert!(
        marked > asked.len()
            && question.facts.iter().any(|(what, how)| what == "left out" && how.contains(&said))
    );
    press(&mut model, "n *");
    press(&mut model, "4 *");
    assert_eq!(model.list(Pane::Receipts).marked.len(), 8);
    let effects = press(&mut model, "y");
    assert!(matches!(effects.as_slice(), [Effect::Copy(text)] if text.lines().count() == 8), "{effects:?}");
    press(&mut model, "*");
    assert!(model.list(Pane::Receipts).marked.is_empty(), "a second time takes the marks away");
    let effects = press(&mut model, "b");
    assert!(matches!(effects.as_slice(), [Effect::Bundle { .. }]), "{effects:?}");
}

#[test]
fn rows_are_sorted_by_any_column_both_ways_and_the_selection_stays() {
    let mut model = model();
    press(&mut model, "4 j j");
    let before = selected(&model, Pane::Receipts);
    let costs = |model: &Model| -> Vec<u64> {
        let rows = Listing::of(model, Pane::Receipts);
        rows.from(0)
            .map(|(_, row)| match row {
                crate::console::panes::Entry::Receipt(receipt) => receipt.total_micro.micro(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    // newest, name, status, cost
    press(&mut model, "s s s");
    assert!(costs(&model).is_sorted_by(|a, b| a >= b), "{:?}", costs(&model));
    assert_eq!(selected(&model, Pane::Receipts), before);
    press(&mut model, "R");
    assert!(costs(&model).is_sorted(), "{:?}", costs(&model));
    assert_eq!(selected(&model, Pane::Receipts), before);
}

#[test]
fn a_filter_asks_for_everything_there_is_page_by_page() {
    let mut model = model();
    let effects = press(&mut model, "4 / z");
    let [Effect::Execute { ticket, command: Command::Receipts { page } }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(page.limit, 1_000);
    let older: Vec<_> = (0..1_000u64)
        .map(|n| {
            let mut row = samples::busy().receipts.items[0].clone();
            row.cursor = 1_000 - n;
            row.receipt_id = format!("z{n}");
            row
        })
        .collect();
    let page = Page { total: 1_204, items: older, next: Some(1) };
    let effects = update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(Answer::Receipts(page)) });
    assert!(
        matches!(effects.as_slice(), [Effect::Execute { command: Command::Receipts { page }, .. }] if page.before == Some(1))
    );
    assert!(Listing::of(&model, Pane::Receipts).len() >= 1_000);
    // A list that is not filtered asks for nothing.
    press(&mut model, "esc");
    let effects = update(&mut model, Msg::Tick(samples::now()));
    assert_eq!(effects, []);
}

#[test]
fn a_page_that_does_not_come_is_not_asked_for_again_at_once() {
    let mut model = model();
    let mut asked = press(&mut model, "4 / z");
    for round in 0..2 {
        let [Effect::Execute { ticket, command: Command::Receipts { .. } }] = asked.as_slice() else {
            panic!("{round}: {asked:?}")
        };
        let result = Err(ApiError::new(ErrorKind::Unavailable, "not there"));
        assert_eq!(update(&mut model, Msg::Answered { ticket: *ticket, result }), []);
        // Nor while the node is gone.
        update(&mut model, Msg::Gone);
        (0..20).for_each(|_| assert_eq!(update(&mut model, Msg::Tick(samples::now())), []));
        asked = update(&mut model, Msg::Snapshot(Arc::new(samples::busy())));
    }
}

/// Whatever comes before, is fetched behind, and changes, a list is what it would be if it were worked out anew.
#[test]
fn what_is_added_to_a_filtered_list_is_where_it_would_be_if_all_were_looked_at_anew() {
    const ALL: usize = 900;
    const TAIL: usize = 200;
    let every = samples::many(3, 3, ALL as u64).receipts.items;
    // The list as it is once the newest `count` of them are there.
    let at = |count: usize| {
        let mut snapshot = samples::many(3, 3, 3);
        let newest = every.iter().skip(ALL - count);
        snapshot.receipts = Tail { total: count as u64, items: newest.take(TAIL).cloned().collect() };
        Arc::new(snapshot)
    };
    for order in ["", "s ", "R ", "s R "] {
        let mut model = model();
        update(&mut model, Msg::Snapshot(at(700)));
        let keys = format!("4 {order}/ name:fold");
        let mut asked = press(&mut model, &keys);
        for count in 701..=ALL {
            // The pages come now and then, and rows meanwhile.
            let due = if count % 7 == 0 { asked.pop() } else { None };
            if let Some(Effect::Execute { ticket, command: Command::Receipts { page } }) = due {
                let from =
                    page.before.map_or(ALL - count + 1, |before| ALL - usize::try_from(before).unwrap() + 1);
                let items: Vec<_> = every.iter().skip(from).take(150).cloned().collect();
                let next = items.last().map(|row| row.cursor).filter(|cursor| *cursor > 1);
                let page = Page { total: count as u64, items, next };
                asked = update(&mut model, Msg::Answered { ticket, result: Ok(Answer::Receipts(page)) });
            }
            asked.extend(update(&mut model, Msg::Snapshot(at(count))));
        }
        while model.unfinished {
            update(&mut model, Msg::GoOn);
        }
        update(&mut model, Msg::Tick(samples::now()));
        while model.unfinished {
            update(&mut model, Msg::GoOn);
        }
        let shown = |model: &Model| -> Vec<String> {
            Listing::of(model, Pane::Receipts).from(0).map(|(_, row)| row.id()).collect()
        };
        let grown = shown(&model);
        model.rows_changed(Pane::Receipts);
        update(&mut model, Msg::Tick(samples::now()));
        assert_eq!(grown, shown(&model), "in the order \"{order}\"");
        let known = model.older.known(&at(ALL), Pane::Receipts);
        assert!(known > 600 && grown.len() >= known / 8 - 1, "{} of {known}", grown.len());
    }
}

#[test]
fn a_task_of_another_is_there_for_as_long_as_it_runs() {
    let mut model = model();
    let mut with = samples::busy();
    let mut hosted = with.tasks.items[0].clone();
    (hosted.record.creator, hosted.record.task_id) = (samples::did(12), "ff".repeat(16));
    with.tasks.items.insert(0, hosted.clone());
    update(&mut model, Msg::Snapshot(Arc::new(with)));
    let effects = press(&mut model, "3 G");
    let page = Page { total: 41, items: samples::busy().tasks.items, next: None };
    update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Tasks(page)) });
    let ids = |model: &Model| -> Vec<String> {
        Listing::of(model, Pane::Tasks).from(0).map(|(_, row)| row.id()).collect()
    };
    assert!(ids(&model).contains(&hosted.record.task_id));
    update(&mut model, Msg::Snapshot(Arc::new(samples::busy())));
    let own: Vec<String> =
        samples::busy().tasks.items.iter().map(|task| task.record.task_id.clone()).collect();
    assert_eq!(ids(&model), own, "it is gone, and nothing stands there twice");
}

#[test]
fn where_nothing_can_be_shown_only_leaving_is_done() {
    let mut model = model();
    update(&mut model, Msg::Resize(40, 10));
    for key in ["S", "a", "y", "4", ":"] {
        assert_eq!(press(&mut model, key), []);
        assert!(model.layers.is_empty());
    }
    // Tasks run on this node, so it is not left by mistake.
    assert_eq!(press(&mut model, "q"), []);
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
}

#[test]
fn a_long_list_is_looked_through_between_the_keys_and_the_selection_waits_for_it() {
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(samples::many(3, 3, 30_000))));
    press(&mut model, "4 G");
    let last = selected(&model, Pane::Receipts);
    press(&mut model, "/ name:fold");
    assert!(model.unfinished, "all rows were looked at between two keys");
    let rows = Listing::of(&model, Pane::Receipts);
    let at_first = rows.len();
    assert!(at_first > 0 && at_first < 3_750, "{at_first} are found already");
    // It is among those that were not looked at yet; nothing else is taken for it meanwhile.
    assert_eq!(rows.selected(), None);
    // A key in between is taken at once, and begins anew with what it asks for.
    press(&mut model, "+");
    while model.unfinished {
        let before = Listing::of(&model, Pane::Receipts).len();
        assert_eq!(update(&mut model, Msg::GoOn), []);
        assert!(Listing::of(&model, Pane::Receipts).len() >= before);
    }
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 0);
    press(&mut model, "backspace");
    while model.unfinished {
        update(&mut model, Msg::GoOn);
    }
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 3_750, "every eighth");
    press(&mut model, "enter");
    // Other data under the same filter are looked through at once: nothing that stands there goes for a moment.
    let mut one_more = samples::many(3, 3, 30_000);
    one_more.receipts.items.remove(0);
    update(&mut model, Msg::Snapshot(Arc::new(one_more)));
    assert!(!model.unfinished);
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 3_750);
    press(&mut model, "esc G");
    assert_eq!(selected(&model, Pane::Receipts), last);
}

#[test]
fn a_long_list_is_put_in_order_once_a_second() {
    let mut model = model();
    let mut snapshot = samples::many(600, 3, 3);
    update(&mut model, Msg::Snapshot(Arc::new(snapshot.clone())));
    press(&mut model, "1 s s");
    let first = |model: &Model| Listing::of(model, Pane::Peers).get(0).unwrap().id();
    let before = first(&model);
    let slowest = snapshot.peers.iter().position(|peer| peer.peer_id != before).unwrap();
    Arc::make_mut(&mut snapshot.peers[slowest]).bytes_in = u64::MAX / 2;
    let now_first = snapshot.peers[slowest].peer_id.clone();
    update(&mut model, Msg::Snapshot(Arc::new(snapshot)));
    assert_eq!(first(&model), before);
    update(&mut model, Msg::Tick(samples::now()));
    assert_eq!(first(&model), now_first);
}

#[test]
fn a_log_that_is_filtered_shows_what_stands_around_what_was_found() {
    let mut snapshot = samples::busy();
    let line = snapshot.log[0].clone();
    snapshot.log = (0..20)
        .map(|n| {
            let mut line = line.clone();
            line.at = samples::ago(100 - n);
            line.text = zerostate::document::Untrusted::new(&format!("line {n}"));
            line.level = if n == 10 { "WARN" } else { "INFO" }.to_owned();
            line
        })
        .collect();
    let mut model = model();
    update(&mut model, Msg::Snapshot(Arc::new(snapshot)));
    press(&mut model, "8 / level:warn enter");
    let rows = Listing::of(&model, Pane::Log);
    let context: Vec<bool> = (0..rows.len()).map(|at| rows.is_context(at)).collect();
    assert_eq!(context, [true, true, false, true, true]);
    // By level alone nothing stands around it.
    press(&mut model, "esc L");
    assert_eq!(Listing::of(&model, Pane::Log).len(), 1);
    press(&mut model, "L L");
    assert_eq!(Listing::of(&model, Pane::Log).len(), 20);
}

#[test]
fn going_back_in_a_journal_forgets_what_was_fetched_of_later() {
    let mut model = model();
    model.settings.replay = Some(9);
    let rows = samples::busy().receipts.items;
    model.older.take_receipts(Page { total: 1_204, items: rows, next: None });
    let mut before = samples::busy();
    before.receipts.items.truncate(1);
    press(&mut model, "4");
    update(&mut model, Msg::Snapshot(Arc::new(before)));
    assert_eq!(Listing::of(&model, Pane::Receipts).len(), 1);
}

#[test]
fn the_guilds_that_one_has_in_common_with_a_peer_follow_their_members() {
    let mut model = model();
    let mut snapshot = samples::busy();
    let with = |model: &Model| -> Vec<usize> {
        let peers = model.snapshot.iter().flat_map(|snapshot| &snapshot.peers);
        peers.map(|peer| in_common(peer, model).count()).collect()
    };
    let by_hand = |snapshot: &Snapshot| -> Vec<usize> {
        let is_in = |guild: &GuildView, peer: &PeerView| {
            guild.members.iter().any(|member| Some(&member.did) == peer.did.as_ref())
        };
        let count = |peer: &PeerView| snapshot.guilds.items.iter().filter(|guild| is_in(guild, peer)).count();
        snapshot.peers.iter().map(|peer| count(peer)).collect()
    };
    assert_eq!(with(&model), by_hand(&snapshot));
    let counts = with(&model);
    assert!(counts.contains(&0) && counts.iter().any(|count| *count > 0), "{counts:?}");
    // One leaves, and its guild is the same one as before.
    snapshot.guilds.items[0].members.remove(1);
    update(&mut model, Msg::Snapshot(Arc::new(snapshot.clone())));
    assert_eq!(with(&model), by_hand(&snapshot));
    snapshot.guilds.items.swap(0, 1);
    update(&mut model, Msg::Snapshot(Arc::new(snapshot.clone())));
    assert_eq!(with(&model), by_hand(&snapshot));
    // What comes while all is held still is there afterwards.
    press(&mut model, "p");
    let held = snapshot.clone();
    snapshot.guilds.items.remove(0);
    update(&mut model, Msg::Snapshot(Arc::new(snapshot.clone())));
    assert_eq!(with(&model), by_hand(&held));
    press(&mut model, "p");
    assert_eq!(with(&model), by_hand(&snapshot));
}
