//! What others say is text on the screen, in every pane and in every line that a verb prints.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Node, path};
use crate::pty::{PROGRAM, Pty, contains};

/// As TOML and JSON write strings: the clipboard, a title, device control, colours, one-byte controls, right to left, joiners, marks.
const ATTACKS: [&str; 6] = [
    r"\u001b]52;c;ZXZpbA==\u0007evil",
    r"\u001bPq#0;2;0;0;0\u001b\\evil",
    r"\u001b[2J\u001b[31m\u001b[?1049levil",
    r"\u009b31m\u009d52;c;eA==\u009cevil",
    r"\u202egpj.exe\u2066evil",
    r"e\u0301\u0301\u0301\u0301\u0301\u0301\u200d\u200devil",
];

/// No sequence but those that the console itself writes, and none of the characters of the attacks.
fn clean(raw: &[u8], what: &str) {
    for bad in [
        &b"\x1b]"[..],
        b"\x1bP",
        b"\x07",
        b"\x1b[31m",
        "\u{9b}".as_bytes(),
        "\u{9d}".as_bytes(),
        "\u{202e}".as_bytes(),
        "\u{2066}".as_bytes(),
        "\u{200d}".as_bytes(),
        "\u{301}\u{301}\u{301}".as_bytes(),
    ] {
        assert!(!contains(raw, bad), "{what}: {bad:?} came out");
    }
}

fn text(toml: &str) -> String {
    let table: toml::Table = toml::from_str(&format!("x = \"{toml}\"")).unwrap();
    table["x"].as_str().unwrap().to_owned()
}

#[test]
fn names_errors_output_and_guild_messages_of_strangers_steer_no_terminal() {
    let mut said = 0;
    for attack in ATTACKS {
        let evil = Node::start(attack, &[]);
        let honest = Node::start("alder", &["--bootstrap", &evil.address]);
        // Small, so that one pane at a time is seen.
        let args = ["attach", "--data-dir", path(honest.data_dir.path())];
        let mut console = Pty::start(&args, (80, 24), honest.data_dir.path());
        console.until_shows("evil");

        // A task that prints the attack, run by the honest node itself.
        let raw = text(attack);
        let data: String = raw.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let module = wat::parse_str(format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1) (data (i32.const 16) "{data}")
                (func (export "_start")
                    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const {}))
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
            raw.len()
        ));
        let file = honest.data_dir.path().join("prints.wasm");
        std::fs::write(&file, module.unwrap()).unwrap();
        honest.ask(&["submit", "--wait", path(&file)]);
        console.keys("4");
        console.until_shows("✓ prints");
        console.keys("gg\r");
        console.until_shows("checked here");
        console.keys("o");
        console.until_shows("Output of");
        console.until_shows("evil");
        console.keys("\x1b");
        console.until_hides("Output of");
        console.keys("\x1b");
        console.until_hides("Esc back");

        // A guild in which it is said, and one of that name. What cannot be called so or said is refused as wrong input.
        let create = |name: &str| {
            Command::new(PROGRAM)
                .args(["--json", "guild", "create", "--name", name, "--admit", "open", "--data-dir"])
                .arg(evil.data_dir.path())
                .output()
                .unwrap()
        };
        let named = create(&raw);
        clean(&[named.stdout, named.stderr].concat(), &format!("guild create with {attack}"));
        assert!(matches!(named.status.code(), Some(0..=2)), "{:?}", named.status);
        let founded: serde_json::Value = serde_json::from_slice(&create("plain").stdout).unwrap();
        let guild = founded["guild_id"].as_str().unwrap();
        honest.ask(&["guild", "join", founded["invitation"].as_str().unwrap()]);
        console.keys("2");
        console.until_rows("2 Guilds", 1);
        console.keys("gg\r");
        console.until_shows("Esc back");
        let spoken = Command::new(PROGRAM)
            .args(["guild", "say", guild, &raw, "--data-dir"])
            .arg(evil.data_dir.path())
            .output()
            .unwrap();
        clean(&[spoken.stdout, spoken.stderr].concat(), &format!("guild say with {attack}"));
        if spoken.status.success() {
            said += 1;
            console.until_shows("evil");
        }
        console.keys("\x1b");
        console.until_hides("Esc back");
        // Every pane, and what can be opened in it.
        let panes = ["Peers", "Guilds", "Tasks", "Receipts", "Attestations", "Events", "Inbox", "Log"];
        for (i, title) in panes.iter().enumerate() {
            let number = i + 1;
            console.keys(&number.to_string());
            console.until_shows(&format!("╭ {number} {title}"));
            console.keys("gg\r");
            console.until("it is opened, or there is nothing to open", |console| {
                let text = console.text();
                let empty = [
                    "No tasks yet",
                    "No attestations yet",
                    "Nothing waits",
                    "No receipts yet",
                    "In no guild",
                ];
                text.contains("Esc back") || empty.iter().any(|shown| text.contains(shown))
            });
            // A key right behind Esc would be one with Alt.
            if console.text().contains("Esc back") {
                console.keys("\x1b");
                console.until_hides("Esc back");
            }
        }
        console.keys("q");
        assert_eq!(console.ended_with_the_terminal_given_back(), 0);
        clean(&console.raw, attack);

        let first = |verb: [&str; 2], id: &str| honest.ask(&verb)[0][id].as_str().unwrap().to_owned();
        let (task, receipt) = (first(["task", "list"], "task_id"), first(["receipt", "list"], "receipt_id"));
        for verb in [
            &["peers"][..],
            &["--json", "peers"],
            &["status"],
            &["events"],
            &["chain"],
            &["inbox", "list"],
            &["guild", "list"],
            &["guild", "show", guild],
            &["guild", "log", guild],
            &["task", "list"],
            &["task", "show", &task],
            &["receipt", "list"],
            &["receipt", "show", &receipt],
        ] {
            let args = [verb, &["--data-dir", path(honest.data_dir.path())]].concat();
            let printed = Command::new(PROGRAM).args(args).output().unwrap();
            assert!(printed.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&printed.stderr));
            let both = [printed.stdout, printed.stderr].concat();
            clean(&both, &format!("{verb:?} with {attack}"));
        }
        // What a module writes is its own where a program reads it, and text on a terminal.
        let run = ["run", "--data-dir", path(honest.data_dir.path()), path(&file)];
        let mut ran = Pty::start(&run, (80, 24), honest.data_dir.path());
        assert_eq!(ran.ended(), 0);
        assert!(contains(&ran.raw, b"evil"), "{}", ran.text());
        clean(&ran.raw, &format!("run on a terminal with {attack}"));
        // And so is an artifact.
        let printed = honest.data_dir.path().join("printed");
        std::fs::write(&printed, &raw).unwrap();
        let cid = honest.ask(&["artifact", "add", path(&printed)])["cid"].as_str().unwrap().to_owned();
        let get = ["artifact", "get", &cid, "--output", "-", "--data-dir", path(honest.data_dir.path())];
        let mut got = Pty::start(&get, (80, 24), honest.data_dir.path());
        assert_eq!(got.ended(), 0);
        assert!(contains(&got.raw, b"evil"), "{}", got.text());
        clean(&got.raw, &format!("artifact get on a terminal with {attack}"));
        assert_eq!(Command::new(PROGRAM).args(get).output().unwrap().stdout, raw.as_bytes());
        let piped = Command::new(PROGRAM).args(run).output().unwrap();
        assert_eq!(piped.stdout, raw.as_bytes(), "a program gets the bytes as they are");
        let mut plain = Command::new(PROGRAM)
            .args(["attach", "--plain", "--data-dir", path(honest.data_dir.path())])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = b"peers\n1\nback\nguilds\n1\nback\nevents\nlog\nreceipts\n1\noutput\n";
        plain.stdin.take().unwrap().write_all(lines).unwrap();
        let plain = plain.wait_with_output().unwrap();
        assert!(plain.status.success());
        assert!(contains(&plain.stdout, b"evil"), "{}", String::from_utf8_lossy(&plain.stdout));
        clean(&plain.stdout, &format!("plain with {attack}"));
    }
    assert!(said >= 2, "what is said in a guild is not tested");
}
