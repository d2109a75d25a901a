//! Guilds between processes: who gets in, who reads what, who may do what, and that nothing is left of one that is over.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use serde_json::{Value, json};
use zerostate::guild::{KeyError, Sealed};

use crate::support::rogue::{Rogue, message};
use crate::support::{Desk, Node, eventually, text};

fn found(node: &Node, admit: &str) -> (String, String) {
    let founded = node.ask(&["guild", "create", "--name", "night watch", "--admit", admit]);
    (text(&founded, "guild_id").to_owned(), text(&founded, "invitation").to_owned())
}

fn cid(guild: &str) -> Cid {
    guild.parse().unwrap()
}

/// Everybody's role, as one node sees it.
fn roster(node: &Node, guild: &str) -> Vec<(String, String)> {
    let shown = node.ask(&["guild", "show", guild]);
    let member = |member: &Value| (text(member, "did").to_owned(), text(member, "role").to_owned());
    shown["members"].as_array().unwrap().iter().map(member).collect()
}

fn said(node: &Node, guild: &str) -> Vec<String> {
    let lines = node.ask(&["guild", "log", guild]);
    let said = lines.as_array().unwrap().iter().filter(|line| line["what"] == "said");
    said.map(|line| text(line, "text").to_owned()).collect()
}

/// What the journal tells of a guild: the step and about whom.
fn story(node: &Node, guild: &str) -> Vec<(String, String)> {
    let events = node.ask(&["events"]);
    let events = events.as_array().unwrap().iter().filter(|event| event["guild_id"] == guild);
    events.map(|event| (text(event, "step").to_owned(), text(event, "who").to_owned())).collect()
}

fn secrets(node: &Node) -> u64 {
    node.ask(&["status"])["guild_secrets"].as_u64().unwrap()
}

/// Nothing of any guild is in the node any more: no guild, no key.
fn is_clean(node: &Node) {
    eventually("no guild and no secret is left", || {
        let status = node.ask(&["status"]);
        (status["guilds"] == 0 && status["guild_secrets"] == 0).then_some(())
    });
    assert_eq!(node.ask(&["guild", "list"]), json!([]));
}

#[test]
fn a_guild_between_four_processes_from_its_founding_to_its_end() {
    let desk = Desk::new();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Node::start(&desk.path(name)));
    for other in [&b, &d] {
        other.meet(&a);
    }
    let (guild, invitation) = found(&a, "ask");
    eventually("a has secrets", || (secrets(&a) > 0).then_some(()));

    // With an invitation at once, over the addresses in it; otherwise when the creator says so.
    let joined = c.ask(&["guild", "join", &invitation, "--role", "executor"]);
    assert_eq!((&joined["state"], &joined["guild_id"]), (&json!("member"), &json!(guild)));
    assert_eq!(b.ask(&["guild", "join", &guild])["state"], "asking");
    assert_eq!(
        b.ask(&["guild", "show", &guild])["members"],
        json!([]),
        "nothing is told to who is not in it"
    );
    let waiting = eventually("the request waits", || a.ask(&["inbox", "list"]).as_array()?.first().cloned());
    assert_eq!((text(&waiting, "kind"), text(&waiting, "from")), ("join-request", b.did()));
    a.ask(&["inbox", "accept", text(&waiting, "inbox_id")]);
    // And one that is refused.
    assert_eq!(d.ask(&["guild", "join", &guild, "--role", "observer"])["state"], "asking");
    a.ask(&["guild", "refuse", &guild, d.did()]);
    eventually("d is told", || story(&d, &guild).iter().any(|(step, _)| step == "refused").then_some(()));
    is_clean(&d);
    d.ask(&["guild", "join", &invitation, "--role", "observer"]);

    let expected = {
        let seats = [(&a, "creator"), (&b, "member"), (&c, "executor"), (&d, "observer")];
        let mut seats = seats.map(|(node, role)| (node.did().to_owned(), role.to_owned())).to_vec();
        seats.sort();
        seats
    };
    for node in [&a, &b, &c, &d] {
        eventually("everybody sees the same roster", || {
            let mut seen = roster(node, &guild);
            seen.sort();
            (seen == expected).then_some(())
        });
    }

    // Everybody hears what is said by those who may speak.
    for (node, words) in [(&a, "from a"), (&b, "from b"), (&c, "from c")] {
        assert_eq!(node.ask(&["guild", "say", &guild, words])["missed"], json!([]), "{words}");
    }
    d.run(&["guild", "say", &guild, "from d"]).fails(1, "one who is observer may not speak in the channel");
    for node in [&a, &b, &c, &d] {
        assert!(said(node, &guild).ends_with(&["from a", "from b", "from c"].map(str::to_owned)));
    }

    // Only the creator decides; and what it decides holds everywhere.
    for args in [
        ["guild", "remove", &guild, d.did()].as_slice(),
        &["guild", "role", &guild, d.did(), "member"],
        &["guild", "admit", &guild, d.did()],
        &["guild", "dissolve", &guild],
        &["guild", "invite", &guild],
    ] {
        b.run(args).fails(1, "one who is member may not decide who is in the guild");
    }
    a.ask(&["guild", "role", &guild, d.did(), "member"]);
    assert_eq!(d.ask(&["guild", "say", &guild, "from d"])["missed"], json!([]));
    assert_eq!(said(&a, &guild).last().unwrap(), "from d");

    c.ask(&["guild", "leave", &guild]);
    is_clean(&c);
    a.ask(&["guild", "remove", &guild, b.did()]);
    // The invitation is of no use to who was removed: the creator is asked.
    eventually("b is told", || story(&b, &guild).iter().any(|(step, _)| step == "removed").then_some(()));
    is_clean(&b);
    assert_eq!(b.ask(&["guild", "join", &invitation])["state"], "asking");
    a.ask(&["guild", "refuse", &guild, b.did()]);
    is_clean(&b);
    let left = eventually("d sees who is left", || Some(roster(&d, &guild)).filter(|seen| seen.len() == 2));
    assert!(left.iter().all(|(did, _)| did == a.did() || did == d.did()));

    a.ask(&["guild", "dissolve", &guild]);
    for node in [&a, &d] {
        is_clean(node);
    }
    let steps =
        |node: &Node| -> Vec<String> { story(node, &guild).into_iter().map(|(step, _)| step).collect() };
    assert_eq!(steps(&d).last().unwrap(), "dissolved");
    let told = [
        "created", "joined", "asked", "joined", "asked", "refused", "joined", "role", "left", "removed",
        "asked", "refused",
    ];
    assert_eq!(steps(&a), [&told[..], &["dissolved"]].concat());
}

#[test]
fn bad_input_is_refused_in_a_sentence_where_it_was_asked() {
    let desk = Desk::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&desk.path(name)));
    b.meet(&a);
    let founded = a.ask(&["guild", "create", "--name", "small", "--capacity", "2", "--admit", "open"]);
    let (guild, invitation) = (text(&founded, "guild_id"), text(&founded, "invitation"));

    b.run(&["guild", "join", "nonsense"]).fails(2, "neither the id of a guild (bafkrei…) nor an invitation");
    let unknown = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    b.run(&["guild", "join", unknown]).fails(1, "nobody who was asked knows the guild");
    b.run(&["guild", "show", unknown]).fails(1, "nobody who was asked knows the guild");
    b.run(&["guild", "say", unknown, "hello"]).fails(1, "this node is in no guild");
    b.run(&["guild", "join", guild, "--role", "king"]).fails(2, "there is no role \"king\"");
    b.run(&["guild", "join", guild, "--role", "creator"]).fails(2, "nobody can join as creator");
    b.run(&["guild", "join", &invitation[..invitation.len() - 20]]).fails(2, "the invitation is not good");
    let mut changed = invitation.to_owned();
    changed.replace_range(20..22, if &invitation[20..22] == "AA" { "BB" } else { "AA" });
    b.run(&["guild", "join", &changed]).fails(2, "the invitation is not good");
    a.run(&["guild", "create", "--name", "", "--admit", "open"]).fails(2, "name");
    a.run(&["guild", "create", "--ttl", "800h"]).fails(2, "expires_at");
    a.run(&["guild", "create", "--capacity", "1000"]).fails(2, "1 to 256 members");

    let short = a.ask(&["guild", "invite", guild, "--ttl", "1ms"]);
    eventually("it has expired", || {
        let ended = c.run(&["guild", "join", text(&short, "invitation")]);
        ended.stderr.contains("the invitation expired at").then_some(())
    });
    b.ask(&["guild", "join", guild]);
    b.run(&["guild", "join", guild]).fails(1, "is in the guild already");
    c.run(&["guild", "join", invitation]).fails(1, "the guild has 2 members, which is all that it takes");
    b.run(&["guild", "say", guild, &"x".repeat(5_000)])
        .fails(2, "5000 bytes, where a message has at most 4096");
    a.run(&["inbox", "accept", "nothing"]).fails(1, "nothing with the id nothing waits");
}

#[test]
fn an_open_guild_is_announced_and_found_in_the_dht_and_an_outsider_gets_its_charter_alone() {
    let desk = Desk::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&desk.path(name)));
    b.meet(&a);
    c.meet(&b);
    let (guild, _) = found(&a, "open");
    eventually("b has heard of it", || {
        let open = b.ask(&["guild", "list", "--open"]);
        open.as_array()?.iter().find(|known| known["guild_id"] == guild.as_str()).cloned()
    });
    let shown = c.ask(&["guild", "show", &guild]);
    assert_eq!((&shown["name"], &shown["members"]), (&json!("night watch"), &json!([])));
    assert_eq!((&shown["state"], &shown["role"]), (&json!("outside"), &Value::Null));
    // Not announced, only in the DHT; c is connected to b alone.
    let (asked, _) = found(&a, "ask");
    assert_eq!(c.ask(&["guild", "join", &asked])["state"], "asking");
    assert_eq!(c.ask(&["guild", "join", &guild])["state"], "member");
    assert_eq!(roster(&a, &guild).len(), 2);
}

#[test]
fn who_starts_again_comes_back_with_a_new_key_and_hears_what_is_said_then() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    let (guild, invitation) = found(&a, "invite");
    b.ask(&["guild", "join", &invitation]);
    let epoch = |node: &Node| node.ask(&["guild", "show", &guild])["epoch"].as_u64().unwrap();
    let first = epoch(&a);

    b.kill();
    let b = Node::start(&desk.path("b"));
    eventually("the member is back", || (epoch(&a) > first && epoch(&b) == epoch(&a)).then_some(()));
    assert_eq!(a.ask(&["guild", "say", &guild, "welcome back"])["missed"], json!([]));
    assert_eq!(b.ask(&["guild", "say", &guild, "thank you"])["missed"], json!([]));
    assert_eq!(said(&a, &guild), ["welcome back", "thank you"]);

    let second = epoch(&a);
    a.kill();
    let a = Node::start(&desk.path("a"));
    // It listens somewhere else now.
    a.meet(&b);
    eventually("the creator is back", || (epoch(&a) > second && epoch(&b) == epoch(&a)).then_some(()));
    assert_eq!(a.ask(&["guild", "say", &guild, "here again"])["missed"], json!([]));
    assert_eq!(said(&b, &guild).last().unwrap(), "here again");
    a.ask(&["guild", "dissolve", &guild]);
    is_clean(&b);
}

#[test]
fn a_guild_ends_at_its_deadline_everywhere_and_leaves_nothing() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    let founded = a.ask(&["guild", "create", "--ttl", "5s", "--admit", "invite"]);
    let guild = text(&founded, "guild_id");
    b.ask(&["guild", "join", text(&founded, "invitation")]);
    eventually("b has secrets", || (secrets(&b) > 0).then_some(()));
    let deadline: jiff::Timestamp = text(&founded, "expires_at").parse().unwrap();
    for node in [&a, &b] {
        let ended = eventually("the guild is over", || {
            let events = node.ask(&["events"]);
            let of_it = events.as_array().unwrap().iter().find(|event| event["step"] == "expired").cloned();
            of_it.map(|event| text(&event, "at").parse::<jiff::Timestamp>().unwrap())
        });
        let late = ended.duration_since(deadline);
        assert!(!late.is_negative() && late.as_millis() < 1_000, "{late} after its deadline");
        is_clean(node);
        let rows = rusqlite::Connection::open(node.dir.join("node.db")).unwrap();
        let rows: i64 = rows.query_row("SELECT count(*) FROM guilds", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
        node.run(&["guild", "say", guild, "anybody?"]).fails(1, "this node is in no guild");
    }
}

#[test]
fn a_member_who_cannot_reach_another_is_served_through_a_third() {
    let desk = Desk::new();
    let a = Node::start(&desk.path("a"));
    let [b, c] = ["b", "c"].map(|name| Node::start_hidden(&desk, name));
    let (guild, invitation) = found(&a, "invite");
    for node in [&b, &c] {
        node.ask(&["guild", "join", &invitation]);
    }
    eventually("b sees c", || (roster(&b, &guild).len() == 3).then_some(()));
    assert!(b.peer(&c).is_none());
    assert_eq!(b.ask(&["guild", "say", &guild, "by way of a"])["missed"], json!([]));
    assert_eq!(said(&c, &guild), ["by way of a"]);
    assert!(b.peer(&c).is_none());
}

/// Passes every byte between whoever connects and `to`, and keeps a copy.
fn wire_tap(to: &str) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to, tape) = (listener.local_addr().unwrap().port(), to.to_owned(), Arc::default());
    let kept: Arc<Mutex<Vec<u8>>> = Arc::clone(&tape);
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(&to).unwrap();
            for (mut from, mut to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))]
                .map(|(from, to)| (from.unwrap(), to.unwrap()))
            {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let mut piece = [0; 16 * 1024];
                    while let Ok(count @ 1..) = from.read(&mut piece) {
                        kept.lock().unwrap().extend(&piece[..count]);
                        if to.write_all(&piece[..count]).is_err() {
                            break;
                        }
                    }
                    to.shutdown(Shutdown::Write).ok();
                });
            }
        }
    });
    (port, tape)
}

fn has(haystack: &[u8], marker: &str) -> bool {
    let as_base64 = BASE64.encode(marker);
    let within = |needle: &[u8]| haystack.windows(needle.len()).any(|part| part == needle);
    // The middle of it, wherever the groups of three begin.
    within(marker.as_bytes()) || within(&as_base64.as_bytes()[..as_base64.len() - 4])
}

fn files_have(dir: &Path, marker: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return files_have(&path, marker);
        }
        std::fs::read(&path).is_ok_and(|bytes| has(&bytes, marker))
    })
}

#[test]
fn an_outsider_that_carries_the_traffic_and_asks_for_everything_learns_nothing() {
    let desk = Desk::new();
    let [a, b, outsider] = ["a", "b", "outsider"].map(|name| Node::start(&desk.path(name)));
    let rogue = Rogue::start();
    outsider.meet(&a);
    rogue.connect(&a);
    rogue.connect(&outsider);
    // All that goes between a and b passes the outsider.
    let port = a.address().split('/').nth(4).unwrap();
    let (tapped, tape) = wire_tap(&format!("127.0.0.1:{port}"));
    b.ask(&["connect", &a.address().replace(&format!("/tcp/{port}/"), &format!("/tcp/{tapped}/"))]);

    let (guild, invitation) = found(&a, "invite");
    b.ask(&["guild", "join", &invitation]);
    let marker = "a-marker-that-nobody-else-may-see";
    a.ask(&["guild", "say", &guild, marker]);
    b.ask(&["guild", "say", &guild, marker]);
    assert_eq!(said(&a, &guild), [marker, marker]);
    assert!(tape.lock().unwrap().len() > 1_000, "the traffic passes the tap");

    outsider.run(&["guild", "join", &guild]).exits(1);
    let id = cid(&guild);
    let key = BASE64.encode([9; 32]);
    for (what, refusal) in [
        (json!({ "join": { "role": "member", "key": key, "invitation": null } }), "invite-only"),
        (json!({ "join": { "role": "member", "key": key, "invitation": "zsguild1.a.b" } }), "invalid"),
        (json!({ "heartbeat": { "epoch": 1 } }), "not-in"),
        (json!("leave"), "not-in"),
        (json!({ "forward": { "to": b.did(), "parcel": "" } }), "not-in"),
        (
            message(
                &serde_json::from_value(
                    json!({ "epoch": 2, "sender": rogue.did(), "counter": 0, "text": "AAAA" }),
                )
                .unwrap(),
            ),
            "not-in",
        ),
        (
            message(
                &serde_json::from_value(
                    json!({ "epoch": 2, "sender": b.did(), "counter": 9, "text": "AAAA" }),
                )
                .unwrap(),
            ),
            "not-the-sender",
        ),
    ] {
        let answer = rogue.ask(&a, &id, &what);
        assert_eq!(answer["refused"]["refusal"], refusal, "{what}: {answer}");
    }
    // The charter is for everybody, and all that there is.
    let charter = rogue.ask(&a, &id, &json!("charter"));
    let charter = String::from_utf8(BASE64.decode(charter["charter"].as_str().unwrap()).unwrap()).unwrap();
    assert!(!charter.contains(b.did()));

    rogue.connect(&b);
    for node in [&a, &b] {
        rogue.say(node, b"{\"guild\":17}");
        rogue.say(node, b"\xff\xfe");
    }
    assert!(!has(&tape.lock().unwrap(), marker));
    assert!(rogue.heard().iter().all(|(_, said)| !has(said, marker)));
    assert!(!files_have(&outsider.dir, marker));
    assert!(!files_have(&a.dir, marker) && !files_have(&b.dir, marker), "what is said is in memory alone");
    assert_eq!(said(&a, &guild).len(), 2, "and nothing that they said was taken");
}

#[test]
fn a_member_that_keeps_no_rules_is_held_to_the_table_by_the_others() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    for role in ["executor", "member", "observer"] {
        let (guild, invitation) = found(&a, "invite");
        let (id, rogue) = (cid(&guild), Rogue::start());
        b.ask(&["guild", "join", &invitation]);
        rogue.connect(&a);
        rogue.connect(&b);
        let mut seat = rogue.join(&a, &id, role, Some(&invitation));
        eventually("b knows it", || (roster(&b, &guild).len() == 3).then_some(()));

        // To decide is the creator's alone: a notice that another signs is none, whatever it says.
        for news in [json!("removed"), json!({ "over": "dissolved" })] {
            let notice = json!({
                "guild": guild, "creator": rogue.did(), "to": b.did(), "epoch": 99, "news": news,
            });
            let notice = rogue.sign("application/vnd.zerostate.guild-notice.v1+json", &notice);
            let answer = rogue.ask(&b, &id, &json!({ "notice": notice }));
            let about = json!({ "role": role, "action": "govern" });
            assert_eq!(answer["refused"], json!({ "refusal": "not-permitted", "about": about }));
        }
        let (some, words) = (BASE64.encode("no envelope"), "hello");
        let propose = json!({ "propose": { "manifest": guild, "envelope": some, "executor": b.did(), "witnesses": [],
            "draw": { "pool": [], "seed": null } } });
        let begin = json!({ "begin": { "manifest": guild, "agreements": [] } });
        let progress = json!({ "progress": {
            "manifest": guild, "fuel_used": 1, "memory_bytes": 1, "output_bytes": 1, "elapsed_ms": 1,
        } });
        let fail = json!({ "fail": { "manifest": guild, "reason": words } });
        let receipt =
            json!({ "receipt": { "manifest": guild, "receipt": some, "agreement": some, "output": null } });
        let reveal = json!({ "reveal": { "manifest": guild, "commitments": [] } });
        let outcome = json!({ "outcome": { "manifest": guild, "state": words, "why": [] } });
        for (content, action, roles) in [
            (json!({ "speak": words }), "speak", &["executor", "member"][..]),
            (propose, "propose", &["member"]),
            (begin, "propose", &["member"]),
            (json!({ "agree": some }), "agree", &["executor", "member"]),
            (progress, "run", &["executor"]),
            (fail, "run", &["executor"]),
            (receipt, "run", &["executor"]),
            (json!({ "withdraw": { "manifest": guild } }), "propose", &["member"]),
            (reveal, "propose", &["member"]),
            (outcome, "propose", &["member"]),
            (
                json!({ "commit": { "manifest": guild, "commitment": some } }),
                "attest",
                &["executor", "member", "observer"],
            ),
            (
                json!({ "attest": { "manifest": guild, "attestation": some } }),
                "attest",
                &["executor", "member", "observer"],
            ),
        ] {
            for node in [&a, &b] {
                let sealed = seat.sealer.seal(content.to_string().as_bytes()).unwrap();
                let answer = rogue.ask(node, &id, &message(&sealed));
                let about = json!({ "role": role, "action": action });
                if !roles.contains(&role) {
                    let refused = json!({ "refused": { "refusal": "not-permitted", "about": about } });
                    assert_eq!(answer, refused, "{role} {content}");
                } else if action == "speak" {
                    assert_eq!(answer, "done");
                } else {
                    // It may say so; but what it says is of no task there is, or does not hold.
                    let refusal = text(&answer["refused"], "refusal").to_owned();
                    assert!(
                        ["invalid", "wrong-manifest"].contains(&refusal.as_str()),
                        "{role} {content}: {answer}"
                    );
                }
            }
        }
        assert_eq!(rogue.ask(&a, &id, &json!("leave")), "done");
        a.ask(&["guild", "dissolve", &guild]);
    }
}

#[test]
fn who_was_removed_or_left_reads_nothing_later_and_what_comes_again_is_taken_once() {
    let desk = Desk::new();
    let a = Node::start(&desk.path("a"));
    let (guild, invitation) = found(&a, "invite");
    let id = cid(&guild);
    let [gone, left, stays] = [(); 3].map(|()| Rogue::start());
    let seats = [&gone, &left, &stays].map(|rogue| {
        rogue.connect(&a);
        rogue.join(&a, &id, "member", Some(&invitation))
    });
    a.ask(&["guild", "remove", &guild, gone.did().as_str()]);
    assert_eq!(left.ask(&a, &id, &json!("leave")), "done");
    let epoch = a.ask(&["guild", "show", &guild])["epoch"].as_u64().unwrap();
    let [mut gone_seat, mut left_seat, stays_seat] = seats;
    let mut stays_seat = stays.keep_up(stays_seat, epoch);

    assert_eq!(a.ask(&["guild", "say", &guild, "for those who are here"])["missed"], json!([]));
    let sealed: Sealed = serde_json::from_value(stays.heard_as("message").pop().unwrap()).unwrap();
    assert_eq!(&**stays_seat.opener.open(&sealed).unwrap(), br#"{"speak":"for those who are here"}"#);
    for (rogue, seat) in [(&gone, &mut gone_seat), (&left, &mut left_seat)] {
        assert_eq!(rogue.heard_as("message"), Vec::<Value>::new());
        assert!(matches!(seat.opener.open(&sealed), Err(KeyError::OtherEpoch { .. })));
        // Not by calling it one of its own epoch either.
        let epoch = seat.epoch;
        assert_eq!(seat.opener.open(&Sealed { epoch, ..sealed.clone() }).unwrap_err(), KeyError::NotOpened);
        let speaks = seat.sealer.seal(br#"{"speak":"let me in"}"#).unwrap();
        assert_eq!(rogue.ask(&a, &id, &message(&speaks))["refused"]["refusal"], "not-in");
    }

    let words = ["first", "second", "third"].map(|word| json!({ "speak": word }).to_string());
    let [first, second, third] = words.map(|word| message(&stays_seat.sealer.seal(word.as_bytes()).unwrap()));
    for (said, answer) in [
        (&third, json!("done")),
        (&first, json!("done")),
        (&third, json!({ "refused": { "refusal": "key", "about": "replayed" } })),
        (&first, json!({ "refused": { "refusal": "key", "about": "replayed" } })),
        (&second, json!("done")),
    ] {
        assert_eq!(stays.ask(&a, &id, said), answer);
    }
    assert_eq!(said(&a, &guild), ["for those who are here", "third", "first", "second"]);
}
