//! What others say is text on the screen, in every pane and in every line that a verb prints.

use std::process::Command;

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
    assert!(contains(raw, b"evil"), "{what}: what the stranger said was not shown");
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
    for attack in ATTACKS {
        let evil = Node::start(attack, &[]);
        let honest = Node::start("alder", &["--bootstrap", &evil.address]);
        // Small, so that one pane at a time is seen.
        let args = ["attach", "--data-dir", path(honest.data_dir.path())];
        let mut console = Pty::start(&args, (80, 24), honest.data_dir.path());
        console.until_shows("evil");

        // A task whose name and arguments are the attack, and whose output repeats them.
        let manifest = evil.data_dir.path().join("task.toml");
        let module = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/examples/hello.wasm");
        let manifest_text =
            format!("name = \"{attack}\"\nartifact = {{ path = \"{module}\" }}\nargs = [\"{attack}\"]\n");
        std::fs::write(&manifest, manifest_text).unwrap();
        let sent = Command::new(PROGRAM)
            .args(["submit", path(&manifest), "--data-dir", path(evil.data_dir.path())])
            .output()
            .unwrap();
        if sent.status.success() {
            console.keys("4");
            console.until_shows("unattested");
        }

        // A guild of that name, in which it is said.
        let name = text(attack);
        let founded = Command::new(PROGRAM)
            .args([
                "--json",
                "guild",
                "create",
                "--name",
                &name,
                "--admit",
                "open",
                "--data-dir",
                path(evil.data_dir.path()),
            ])
            .output()
            .unwrap();
        if founded.status.success() {
            let founded: serde_json::Value = serde_json::from_slice(&founded.stdout).unwrap();
            let guild = founded["guild_id"].as_str().unwrap();
            honest.ask(&["guild", "join", founded["invitation"].as_str().unwrap()]);
            evil.ask(&["guild", "say", guild, &name]);
            console.keys("2\r");
            console.until("the message came", |console| console.text().matches("evil").count() >= 2);
            console.keys("\x1b");
            console.until_hides("Esc back");
        }
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

        for verb in
            [&["peers"][..], &["events"], &["guild", "list"], &["receipt", "list"], &["--json", "peers"]]
        {
            let args = [verb, &["--data-dir", path(honest.data_dir.path())]].concat();
            let printed = Command::new(PROGRAM).args(args).output().unwrap();
            let both = [printed.stdout, printed.stderr, b"evil".to_vec()].concat();
            clean(&both, &format!("{verb:?} with {attack}"));
        }
        let plain = Command::new(PROGRAM)
            .args(["attach", "--plain", "--data-dir", path(honest.data_dir.path())])
            .env("LC_ALL", "C.UTF-8")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        clean(&[plain.stdout, b"evil".to_vec()].concat(), &format!("plain with {attack}"));
    }
}
