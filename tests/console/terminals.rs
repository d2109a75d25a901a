//! What different terminals get: as many colours and characters as they have, what is copied, and no more frames than they read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{BIG, HELLO, Node, path};
use crate::pty::{FRAME, PROGRAM, Pty, contains};

/// The colours of a terminal that has them all.
const TRUE: u32 = 1 << 24;
/// What says something of colours or characters where the tests run, emptied: the tables below say all of it.
const NOTHING: [(&str, &str); 21] = [
    ("LC_CTYPE", ""),
    ("LANG", ""),
    ("TERM_PROGRAM", ""),
    ("TMUX", ""),
    ("FORCE_COLOR", ""),
    ("CLICOLOR_FORCE", ""),
    ("CI", ""),
    ("CI_NAME", ""),
    ("GITHUB_ACTIONS", ""),
    ("GITEA_ACTIONS", ""),
    ("GITLAB_CI", ""),
    ("CIRCLECI", ""),
    ("CIRRUS_CI", ""),
    ("GOOGLE_CLOUD_SHELL", ""),
    ("TRAVIS", ""),
    ("APPVEYOR", ""),
    ("BUILDKITE", ""),
    ("DRONE", ""),
    ("TEAMCITY_VERSION", ""),
    ("TF_BUILD", ""),
    ("AGENT_NAME", ""),
];

/// What stands there to be read, and the control sequences between it, each from its parameters to its last byte.
fn apart(raw: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    let (mut text, mut sequences, mut rest) = (Vec::new(), Vec::new(), raw);
    while let [first, after @ ..] = rest {
        if *first != 0x1b {
            text.push(*first);
            rest = after;
            continue;
        }
        assert_eq!(after.first(), Some(&b'['), "an escape sequence of another kind");
        let last = after.iter().skip(1).position(|byte| (0x40..=0x7e).contains(byte)).unwrap() + 1;
        sequences.push(&after[1..=last]);
        rest = &after[last + 1..];
    }
    (text, sequences)
}

/// The most colours that a terminal needs for this; 0 when there are none in it.
fn colours(raw: &[u8]) -> u32 {
    let mut most = 0;
    for sequence in apart(raw).1 {
        let Some(parameters) = sequence.strip_suffix(b"m") else { continue };
        let parameters = std::str::from_utf8(parameters).unwrap();
        let mut numbers =
            parameters.split(';').filter(|one| !one.is_empty()).map(|one| one.parse::<u32>().unwrap());
        while let Some(number) = numbers.next() {
            let needed = match number {
                38 | 48 => match numbers.next() {
                    Some(5) => {
                        numbers.next();
                        256
                    }
                    Some(2) => {
                        numbers.nth(2);
                        TRUE
                    }
                    other => panic!("a colour of the kind {other:?}"),
                },
                30..=37 | 40..=47 | 90..=97 | 100..=107 => 16,
                _ => 0,
            };
            most = most.max(needed);
        }
    }
    most
}

/// All that a console on this node writes until it is left, with the help opened in it.
fn written(node: &Node, options: &[&str], variables: &[(&str, &str)]) -> Vec<u8> {
    let data_dir = node.data_dir.path();
    let args = [&["attach", "--data-dir", path(data_dir)], options].concat();
    let mut console = Pty::run(PROGRAM, &args, BIG, data_dir, &[&NOTHING[..], variables].concat());
    console.until_shows("lder");
    console.keys("?");
    console.until_shows("everywhere");
    console.keys("qq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    std::mem::take(&mut console.raw)
}

#[test]
fn there_are_as_many_colours_as_the_terminal_has_and_as_are_asked_for() {
    let node = Node::start("alder", &[]);
    let themes = node.data_dir.path().join("themes");
    std::fs::create_dir(&themes).unwrap();
    // The blue of the theme as shipped is among the 256.
    std::fs::write(themes.join("odd.toml"), "inherits = \"dark\"\n[palette]\nblue = \"#123456\"\n").unwrap();
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], u32);
    let odd = ["--theme", "odd"];
    let rows: [Row; 19] = [
        (&[], &[], 256),
        (&odd, &[], 256),
        (&[], &[("TERM", "xterm")], 16),
        (&odd, &[("TERM", "xterm")], 16),
        (&odd, &[("COLORTERM", "truecolor")], TRUE),
        (&odd, &[("TERM", "xterm"), ("COLORTERM", "24bit")], TRUE),
        (&[], &[("NO_COLOR", "1")], 0),
        (&odd, &[("NO_COLOR", "1"), ("COLORTERM", "truecolor")], 0),
        (&[], &[("NO_COLOR", "1"), ("TERM", "xterm")], 0),
        (&odd, &[("NO_COLOR", "")], 256),
        (&["--color", "auto"], &[("NO_COLOR", "1")], 0),
        (&["--color", "never", "--theme", "odd"], &[("COLORTERM", "truecolor")], 0),
        (&["--color", "16", "--theme", "odd"], &[("COLORTERM", "truecolor")], 16),
        (&["--color", "256", "--theme", "odd"], &[("COLORTERM", "truecolor")], 256),
        (&["--color", "256"], &[("TERM", "xterm")], 256),
        (&["--color", "truecolor", "--theme", "odd"], &[("TERM", "xterm")], TRUE),
        (&["--color", "truecolor", "--theme", "odd"], &[("NO_COLOR", "1")], TRUE),
        (&["--color", "always"], &[("NO_COLOR", "1")], 16),
        (&["--color", "always"], &[], 256),
    ];
    for (options, variables, count) in rows {
        assert_eq!(colours(&written(&node, options, variables)), count, "{options:?} {variables:?}");
    }
}

#[test]
fn no_color_counts_whatever_its_value() {
    let node = Node::start("alder", &[]);
    // "Regardless of its value", when it is not empty (no-color.org).
    for value in ["1", "0", "please"] {
        assert_eq!(colours(&written(&node, &[], &[("NO_COLOR", value)])), 0, "NO_COLOR={value}");
    }
}

#[test]
fn there_are_no_characters_that_the_locale_does_not_have() {
    let node = Node::start("älder", &[]);
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], bool);
    let rows: [Row; 9] = [
        (&[], &[("LC_ALL", "C.UTF-8")], false),
        (&[], &[("LC_ALL", "C.UTF-8"), ("LANG", "C")], false),
        (&[], &[("LC_ALL", ""), ("LANG", "de_DE.utf8")], false),
        (&["--ascii"], &[("LC_ALL", "C.UTF-8")], true),
        (&[], &[("LC_ALL", "C")], true),
        (&[], &[("LC_ALL", "C"), ("LANG", "C.UTF-8")], true),
        (&[], &[("LC_ALL", ""), ("LC_CTYPE", "C"), ("LANG", "C.UTF-8")], true),
        (&[], &[("LC_ALL", "")], true),
        (&["--color", "never"], &[("LC_ALL", "POSIX")], true),
    ];
    for (options, variables, is_ascii) in rows {
        let raw = written(&node, options, variables);
        let text = String::from_utf8(apart(&raw).0).unwrap();
        let strange = text.chars().find(|c| !matches!(c, ' '..='~' | '\r' | '\n'));
        if is_ascii {
            assert_eq!(strange, None, "{options:?} {variables:?}");
        } else {
            assert!(['╭', '─', '│', '╯', 'ä'].iter().all(|c| text.contains(*c)), "{options:?} {variables:?}");
        }
    }
}

/// What was sent to the terminal for its clipboard (OSC 52).
fn copied(raw: &[u8]) -> Vec<String> {
    const BEGIN: &[u8] = b"\x1b]52;c;";
    let begins = raw.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN);
    begins
        .map(|(at, _)| {
            let behind = &raw[at + BEGIN.len()..];
            let end = behind.windows(2).position(|window| window == b"\x1b\\").unwrap();
            String::from_utf8(BASE64.decode(&behind[..end]).unwrap()).unwrap()
        })
        .collect()
}

#[test]
fn ids_are_copied_through_the_terminal_whole() {
    let node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    let run = || node.ask(&["run", "--stdin", "/dev/null", HELLO])["receipt_id"].as_str().unwrap().to_owned();
    let first = run();
    console.until_rows("4 Receipts", 1);
    console.keys("4ggy");
    console.until_shows("sent to terminal: ");
    let sequence = format!("\x1b]52;c;{}\x1b\\", BASE64.encode(&first));
    assert!(contains(&console.raw, sequence.as_bytes()), "{:?}", copied(&console.raw));
    assert_eq!(copied(&console.raw), [first.as_str()]);

    let second = run();
    console.until_rows("4 Receipts", 2);
    console.keys("*y");
    console.until_shows("sent to terminal: 2 of them");
    let all = copied(&console.raw);
    let mut marked: Vec<&str> = all.last().unwrap().lines().collect();
    let mut both = [first.as_str(), &second];
    marked.sort_unstable();
    both.sort_unstable();
    assert_eq!((all.len(), marked.as_slice()), (2, &both[..]));
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

#[test]
fn every_path_and_version_can_be_seen() {
    let node = Node::start("alder", &[]);
    let id = node.ask(&["id"]);
    let data_dir = node.data_dir.path();
    let lock: toml::Table = toml::from_str(include_str!("../../Cargo.lock")).unwrap();
    let mut packages = lock["package"].as_array().unwrap().iter();
    let engine = packages.find(|package| package["name"].as_str() == Some("wasmtime")).unwrap();
    let version = concat!("zerostate ", env!("CARGO_PKG_VERSION")).to_owned();
    let at = |name: &str| path(&data_dir.join(name)).to_owned();
    let facts = [
        ("console", version.clone()),
        ("node", version),
        ("engine", format!("wasmtime {},", engine["version"].as_str().unwrap())),
        ("data", path(data_dir).to_owned()),
        ("node data", path(data_dir).to_owned()),
        ("config", at("config.toml")),
        ("key", at("keys/node.pem")),
        ("database", at("node.db")),
        ("blocks", at("blocks")),
        ("compiled", at("cache/compiled")),
        ("disputes", at("disputes")),
        ("proofs", at("equivocations")),
        ("themes", at("themes")),
        ("drafts", at("drafts")),
        ("bundles", at("bundles")),
        ("keymap", "as shipped".to_owned()),
        ("log", at("zerostate.log")),
        ("socket", path(&zerostate::api::socket_path(data_dir)).to_owned()),
        ("did", id["did"].as_str().unwrap().to_owned()),
        ("peer id", id["peer_id"].as_str().unwrap().to_owned()),
        ("listens", node.address.clone()),
    ];
    let args = ["attach", "--data-dir", path(data_dir)];
    let mut console = Pty::start(&args, (200, 50), data_dir);
    console.until_shows("alder");
    console.keys("I");
    console.until_shows("peer id");
    let text = console.text();
    for (label, value) in facts {
        let says = |part: &str| {
            part.strip_prefix(label).is_some_and(|behind| behind.trim_start().starts_with(&value))
        };
        assert!(text.lines().any(|line| line.split("│ ").any(says)), "{label} {value} in\n{text}");
    }
    for name in ["config.toml", "keys/node.pem", "node.db", "zerostate.log"] {
        assert!(data_dir.join(name).is_file(), "there is no {name}");
    }
    console.keys("qq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

/// How many frames begin with an empty screen. (One that was asked for twice is cleared twice.)
fn painted_anew(raw: &[u8]) -> usize {
    let begins: Vec<usize> = raw
        .windows(FRAME.len())
        .enumerate()
        .filter(|(_, window)| *window == FRAME)
        .map(|(at, _)| at)
        .collect();
    let ends = begins.iter().skip(1).copied().chain([raw.len()]);
    begins.iter().zip(ends).filter(|(begin, end)| contains(&raw[**begin..*end], b"\x1b[2J")).count()
}

#[test]
fn a_terminal_that_does_not_read_is_spared_the_frames_between_and_gets_the_last() {
    const ASKED: usize = 50;
    let mut node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    // One that reads gets each.
    for _ in 0..5 {
        let seen = console.raw.len();
        console.keys("\x0c");
        console.until("a frame", |console| painted_anew(&console.raw[seen..]) == 1);
    }
    let seen = console.raw.len();
    console.reads(false);
    for _ in 0..ASKED {
        console.keys("\x0c");
        // Keys that come together are one frame in any case; an answer of the node lies between these.
        assert!(node.lives());
    }
    console.keys("?");
    console.reads(true);
    console.until_shows("everywhere");
    let frames = painted_anew(&console.raw[seen..]);
    assert!((1..=ASKED / 2).contains(&frames), "{frames} frames");
    console.keys("qq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

#[test]
fn what_is_pasted_is_text_and_never_a_command() {
    let node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    // Where no text is typed it is nothing at all.
    console.keys("\x1b[200~q\x03?\x1b[201~");
    console.keys("/");
    console.until_shows("Esc clear");
    console.keys("\x1b[200~q\x03x\x1b[201~");
    console.until_shows(" /qx ");
    console.keys("\x1b[200~\rq\x1b]52;c;AAAA\x07\x1b[201~");
    console.until_shows(" /qxq]52;c;AAAA ");
    assert!(!console.text().contains("everywhere"), "help was pasted:\n{}", console.text());
    console.keys("\x1b");
    console.until_hides("/qx");
    assert!(!contains(&console.raw, b"\x1b]52"), "the clipboard was written by a paste");
    // Typed, it is a command.
    console.keys("\x03");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

#[test]
fn the_faults_of_a_key_file_are_named_and_the_rest_of_it_counts() {
    let node = Node::start("alder", &[]);
    let file = node.data_dir.path().join("keymap.toml");
    let text = "[list]\nkeys = [ { on = \"Q\", run = \"dance\" } ]\n[attic]\nkeys = []\n\
                [global]\nkeys = [ { on = \"X\", run = \"help\" } ]\n";
    std::fs::write(&file, text).unwrap();
    let mut console = node.attach();
    console.until("both faults are named", |console| {
        let text = console.text();
        text.contains("[list]: unknown action \"dance\"") && text.contains("no such place as [attic]")
    });
    console.keys("8z");
    console.until("both faults are in the log", |console| {
        let text = console.text();
        let logged = |fault: &str| text.lines().any(|line| line.contains("WARN") && line.contains(fault));
        logged("[list]: unknown action \"dance\"") && logged("no such place as [attic]")
    });
    console.keys("X");
    console.until_shows("everywhere");
    console.keys("qq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);

    std::fs::write(&file, "keys = [").unwrap();
    let mut console = node.attach();
    console.until_shows("keymap: not read, the shipped keys stand");
    console.keys("?");
    console.until_shows("everywhere");
    console.keys("qq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}
