//! Every way out of the console: the terminal is given back, and nothing is left running that should not be.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::attached::talker;
use super::{BIG, HELLO, LISTEN, Node, Signal, TempDir, ask, children, lives, path, stat, until_gone};
use crate::pty::{FRAME, PROGRAM, Pty, contains};

#[test]
fn the_terminal_is_given_back_on_every_way_out_and_the_node_lives_on() {
    let mut node = Node::start("alder", &[]);
    type Way = fn(&mut Pty);
    let ways: [(&str, Way); 5] = [
        ("q", |console| console.keys("q")),
        ("^C", |console| console.keys("\x03")),
        ("SIGTERM", |console| console.signal(Signal::TERM)),
        ("SIGHUP", |console| console.signal(Signal::HUP)),
        ("SIGQUIT", |console| console.signal(Signal::QUIT)),
    ];
    for (name, leave) in ways {
        let mut console = node.attach();
        console.until_shows("alder");
        leave(&mut console);
        assert_eq!(console.ended_with_the_terminal_given_back(), 0, "after {name}");
        assert!(node.lives(), "the node ended with the console, after {name}");
    }
}

#[test]
fn a_passphrase_is_asked_for_and_not_shown_and_can_be_left() {
    let temp = TempDir::new().unwrap();
    let (data_dir, phrase) = (temp.path().join("node"), temp.path().join("phrase"));
    std::fs::write(&phrase, "open sesame\n").unwrap();
    let made = Command::new(PROGRAM)
        .args(["id", "--data-dir", path(&data_dir)])
        .env("ZEROSTATE_PASSPHRASE_FILE", &phrase)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let args = [&["--data-dir", path(&data_dir)], &LISTEN[..]].concat();
    for (typed, code, said) in
        [("\x03", 1, "interrupted"), ("\x04", 1, "passphrase"), ("opensesame\r", 1, "passphrase")]
    {
        let mut console = Pty::start(&args, BIG, temp.path());
        console.until_shows("passphrase of the key:");
        console.keys(typed);
        assert_eq!(console.ended(), code, "{}", console.text());
        assert!(console.text().contains(said), "{}", console.text());
        assert!(!contains(&console.raw, b"sesame"), "the passphrase is on the screen");
        assert!(!contains(&console.raw, b"\x1b[?1049h"), "the screen was taken");
    }
    let mut console = Pty::start(&args, BIG, temp.path());
    console.until_shows("passphrase of the key:");
    console.keys("wrong\x15open sesamx\x7fe\r");
    console.until_shows("/tcp/");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

#[test]
fn a_cut_line_ends_the_console_and_the_node_lives_on() {
    let mut node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    console.hang_up();
    assert!(node.lives(), "the node ended with the line");
}

#[test]
fn a_cut_line_ends_a_lab_with_its_nodes_and_its_files() {
    let temp = TempDir::new().unwrap();
    let mut lab = Pty::start(&["lab", "--nodes", "2"], BIG, temp.path());
    lab.until_shows("borealis");
    let nodes = children(lab.pid());
    assert_eq!(nodes.len(), 2, "one process a node");
    lab.hang_up();
    let left: Vec<_> = nodes.into_iter().filter(|node| lives(*node)).collect();
    assert_eq!(left, [], "nodes of the lab are left");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "files of the lab are left");
}

#[test]
fn a_panic_gives_the_terminal_back_and_says_what_happened_on_the_main_screen() {
    let ways = [
        ("debug.panic", "the console was crashed on purpose"),
        // Beside the thread that draws; whoever does is told, and ends.
        ("debug.panic elsewhere", "a part of the program was crashed on purpose"),
    ];
    for (typed, said) in ways {
        let temp = TempDir::new().unwrap();
        let data_dir = temp.path().join("node");
        let args = [&["--data-dir", path(&data_dir)], &LISTEN[..]].concat();
        let mut console = Pty::start(&args, BIG, temp.path());
        console.until_shows("/tcp/");
        let runners = children(console.pid());
        console.keys(":");
        console.until_shows("a few letters");
        console.keys(typed);
        console.until_shows("crash on purpose");
        console.keys("\r");
        assert_ne!(console.ended_with_the_terminal_given_back(), 0, "after {typed}");
        assert!(console.text().contains(said), "{}", console.text());
        until_gone(&runners, typed);
    }
}

#[test]
fn an_error_gives_the_terminal_back_and_stands_on_the_main_screen() {
    let temp = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let data_dir = temp.path().join("node");
    let args = ["--data-dir", path(&data_dir), "--listen", &address, "--no-mdns"];
    let mut console = Pty::start(&args, BIG, temp.path());
    assert_eq!(console.ended_with_the_terminal_given_back(), 1);
    assert!(console.text().contains(&format!("error: cannot listen on {address}")), "{}", console.text());
}

#[test]
fn a_node_with_its_console_answers_others_and_ends_with_it() {
    let temp = TempDir::new().unwrap();
    let data_dir = temp.path().join("node");
    let mut console = Pty::start(&[&["--data-dir", path(&data_dir)], &LISTEN[..]].concat(), BIG, temp.path());
    console.until_shows("/tcp/");
    let status = ask(&data_dir, &["status"]);
    assert_eq!(status["did"], ask(&data_dir, &["id"])["did"]);
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    let refused = Command::new(PROGRAM).args(["status", "--data-dir", path(&data_dir)]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "the node outlived its console");
}

#[test]
fn a_node_with_its_console_ends_with_the_terminal_and_lets_go_of_its_directory() {
    type Way = fn(&mut Pty);
    let ways: [(&str, Way); 3] = [
        ("SIGTERM", |console| {
            console.signal(Signal::TERM);
            assert_eq!(console.ended_with_the_terminal_given_back(), 0);
        }),
        ("SIGHUP", |console| {
            console.signal(Signal::HUP);
            assert_eq!(console.ended_with_the_terminal_given_back(), 0);
        }),
        ("a cut line", |console| console.hang_up()),
    ];
    let data_dir = TempDir::new().unwrap();
    let mut dids = Vec::new();
    for (name, leave) in ways {
        // Each starts on what the one before it has let go of.
        let args = [&["--data-dir", path(data_dir.path())], &LISTEN[..]].concat();
        let mut console = Pty::start(&args, BIG, data_dir.path());
        console.until_shows("/tcp/");
        dids.push(ask(data_dir.path(), &["status"])["did"].as_str().unwrap().to_owned());
        let runners = children(console.pid());
        leave(&mut console);
        let status = ["status", "--data-dir", path(data_dir.path())];
        let refused = Command::new(PROGRAM).args(status).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "after {name}: {said}");
        assert!(said.contains("no node runs on"), "after {name}: {said}");
        until_gone(&runners, name);
    }
    let node = Node::on(data_dir, &[]);
    assert!(dids.iter().all(|did| *did == node.did), "{dids:?}");
    let events = node.ask(&["events"]);
    let stops = events.as_array().unwrap().iter().filter(|event| event["event"] == "stopped").count();
    assert_eq!(stops, ways.len(), "a node did not stop in good order: {events}");
}

/// How often the screen was taken, and painted then.
fn taken(raw: &[u8]) -> usize {
    let begins: Vec<usize> =
        raw.windows(8).enumerate().filter(|(_, it)| *it == b"\x1b[?1049h").map(|(at, _)| at).collect();
    let ends = begins.iter().skip(1).copied().chain([raw.len()]);
    begins.iter().zip(ends).filter(|(begin, end)| contains(&raw[**begin..*end], FRAME)).count()
}

#[test]
fn suspended_it_gives_the_terminal_back_before_it_stops_and_takes_it_again() {
    let mut node = Node::start("alder", &[]);
    let data_dir = path(node.data_dir.path()).to_owned();
    // A shell with job control, as the console is started from. The first time it goes on at once; the second time a line is read
    // while the console is stopped.
    let script = format!(
        "set -m; {PROGRAM} attach --data-dir {data_dir}; echo stopped; fg >/dev/null; \
         echo back-in-sh; read word; echo heard $word; fg >/dev/null; echo ended $?"
    );
    let mut shell = Pty::run("sh", &["-c", &script], BIG, node.data_dir.path(), &[]);
    shell.until_shows("alder");
    let consoles = children(shell.pid());
    let [(console, _)] = consoles.as_slice() else { panic!("{consoles:?}") };
    shell.keys("\x1a");
    shell.until("the shell says that it is stopped", |shell| contains(&shell.raw, b"stopped"));
    shell.until("the screen is taken again and painted", |shell| taken(&shell.raw) == 2);
    let before = shell.raw.len();
    shell.keys("\x1a");
    shell.until("the shell hears that it is stopped", |shell| contains(&shell.raw, b"back-in-sh"));
    assert_eq!(stat(*console).unwrap().state, "T");
    let place = |bytes: &[u8]| shell.raw[before..].windows(bytes.len()).position(|window| window == bytes);
    let prompt = place(b"back-in-sh");
    let given_back: [(&str, &[u8]); 4] = [
        ("the main screen", b"\x1b[?1049l"),
        ("the cursor", b"\x1b[?25h"),
        ("plain pastes", b"\x1b[?2004l"),
        ("lines that wrap", b"\x1b[?7h"),
    ];
    for (name, sequence) in given_back {
        let back = place(sequence);
        assert!(back.is_some() && back < prompt, "{name} came back at {back:?}, and the shell at {prompt:?}");
    }
    // In raw mode a return would end no line, and nothing that is typed would be seen.
    shell.keys("word\r");
    shell.until("a line is read", |shell| contains(&shell.raw, b"word\r\nheard word"));
    shell.until("the screen is taken again and painted", |shell| taken(&shell.raw) == 3);
    shell.keys("q");
    assert_eq!(shell.ended_with_the_terminal_given_back(), 0);
    assert!(shell.text().contains("ended 0"), "{}", shell.text());
    assert!(node.lives());
}

/// A console with its own node, on which a task computes.
fn busy(temp: &TempDir) -> Pty {
    let data_dir = temp.path().join("node");
    let mut console = Pty::start(&[&["--data-dir", path(&data_dir)], &LISTEN[..]].concat(), BIG, temp.path());
    console.until_shows("/tcp/");
    let manifest = talker(temp.path());
    ask(&data_dir, &["submit", path(&manifest)]);
    console.until_shows("1 running");
    console
}

#[test]
fn a_node_on_which_a_task_runs_is_left_only_when_one_means_it() {
    type Way = fn(&mut Pty);
    let asks = "1 task runs on this node";
    let ways: [(&str, Way); 3] = [
        ("q and yes", |console| console.keys("y")),
        ("^C twice", |console| {
            // No is what stands there; then it is asked again.
            console.keys("\r");
            console.until_hides("1 task runs on this node");
            console.keys("\x03");
            console.until_shows("once more to quit at once");
            assert!(console.text().contains("1 task runs on this node"), "{}", console.text());
            console.keys("\x03");
        }),
        ("a signal", |console| console.signal(Signal::TERM)),
    ];
    for (name, leave) in ways {
        let temp = TempDir::new().unwrap();
        let mut console = busy(&temp);
        let runners = children(console.pid());
        assert!(!runners.is_empty(), "nothing runs it");
        console.keys("q");
        console.until_shows(asks);
        leave(&mut console);
        assert_eq!(console.ended_with_the_terminal_given_back(), 0, "after {name}");
        until_gone(&runners, name);
    }
}

#[test]
fn a_signal_ends_the_editor_with_the_console() {
    let mut node = Node::start("alder", &[]);
    let temp = node.data_dir.path().to_owned();
    let editor = temp.join("editor.sh");
    // Like an editor, it has a screen and keys of its own, and asks before it goes: a signal is no answer.
    let script =
        "#!/bin/sh\ntrap '' TERM HUP\nstty raw -echo\nprintf '\\033[?1049h\\033[?25lEDITING'\nread key\n";
    std::fs::write(&editor, script).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    for signal in [Signal::TERM, Signal::HUP] {
        let args = ["attach", "--data-dir", path(&temp)];
        let mut console = Pty::run(PROGRAM, &args, BIG, &temp, &[("VISUAL", path(&editor))]);
        console.until_shows("alder");
        console.keys(&format!("S{HELLO}"));
        console.until_shows("✓ a module of");
        console.keys("\x14");
        console.until_shows("EDITING");
        let editors = children(console.pid());
        assert_eq!(editors.len(), 1);
        console.signal(signal);
        assert_eq!(console.ended_with_the_terminal_given_back(), 0, "after {signal:?}");
        until_gone(&editors, "a signal");
        assert!(node.lives(), "the node ended with the editor");
    }
}

#[test]
fn what_is_logged_goes_into_a_file_and_not_onto_the_screen() {
    let temp = TempDir::new().unwrap();
    let data_dir = temp.path().join("node");
    let config = temp.path().join("config.toml");
    std::fs::write(&config, "[log]\nfilter = \"trace\"\n").unwrap();
    let args = [&["--config", path(&config), "--data-dir", path(&data_dir)], &LISTEN[..]].concat();
    let mut console = Pty::start(&args, BIG, temp.path());
    console.until_shows("/tcp/");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    let log = std::fs::read_to_string(data_dir.join("zerostate.log")).unwrap();
    for level in ["TRACE", "DEBUG", "INFO"] {
        assert!(log.contains(level), "{level} is not in the log:\n{log}");
        assert!(!contains(&console.raw, level.as_bytes()), "{level} is on the screen:\n{}", console.text());
    }
}
