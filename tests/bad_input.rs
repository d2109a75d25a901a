//! Things that are wrong on the way in: each is refused by name, with the right exit code, and harms nothing.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{Desk, HELLO, Node, SmallDisk, eventually, steers_a_terminal, zerostate};

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let import =
        desk.module("import.wasm", "(module (import \"env\" \"launch\" (func)) (func (export \"_start\")))");
    let entry = desk.module("entry.wasm", "(module (func (export \"other\")))");
    let wrong = [
        (desk.file("text.wasm", "not a module at all"), "it is not WebAssembly"),
        (desk.file("cut.wasm", &HELLO[..HELLO.len() / 2]), "the file is truncated"),
        (desk.file("flipped.wasm", [&HELLO[..2000], &[0xff; 64], &HELLO[2064..]].concat()), "illegal opcode"),
        (import, "launch"),
        (entry, "it exports no function `_start`; it exports `other`"),
    ];
    for (file, why) in &wrong {
        zerostate(&dir, &["run", file]).fails(1, "error: the run ended with invalid-module").fails(1, why);
    }
    zerostate(&dir, &["run", &desk.file("empty.wasm", "")]).fails(2, "an artifact has at least one byte");
    let node = Node::start(&dir);
    for (file, why) in &wrong {
        node.run(&["submit", "--wait", file]).fails(1, "error: the task is failed").fails(1, why);
    }
    assert_eq!(node.ask(&["submit", "--wait", &desk.hello(0)])["state"], "receipted", "the node goes on");
}

#[test]
fn a_modules_own_words_never_steer_the_terminal() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let name = r"\1b]0;owned\07\1b[2J\e2\80\ae";
    let import = desk.module(
        "import.wasm",
        &format!("(module (import \"{name}\" \"{name}\" (func)) (func (export \"_start\")))"),
    );
    let entry = desk.module("entry.wasm", &format!("(module (func (export \"{name}\")))"));
    let node = Node::start(&dir);
    for file in [&import, &entry] {
        for verb in [&["run", file][..], &["submit", "--wait", file]] {
            let ended = node.run(verb).fails(1, "owned");
            assert!(!steers_a_terminal(&ended.stderr), "{ended:?}");
        }
    }
    for list in [&["task", "list"][..], &["receipt", "list"], &["events"]] {
        let shown = node.run(list).exits(0).text();
        assert!(!steers_a_terminal(&shown), "{shown:?}");
    }
}

#[test]
fn a_manifest_with_ten_faults_is_told_all_ten_at_once() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let manifest = desk.file(
        "ten.toml",
        "name = 3\nartifact = { path = \"hello.wasm\" }\nargs = [1]\ncolour = \"blue\"\nfunction = \"\"\n\
         capabilities = [\"no spaces please\"]\nexpires_at = \"tomorrow\"\n[limits]\nmemory = \"1KiB\"\ntime = \"fast\"\n\
         [attestation]\nquorum = 99\n[payment]\nmax_total = \"-2\"\n",
    );
    let fields = [
        "name: 3: expected a text",
        "args[0]: 1: expected a text",
        "colour: unknown field",
        "function: \"\": expected the name of an exported function",
        "capabilities[0]: no spaces please: expected 1 to 64",
        "expires_at: tomorrow: expected a time like",
        "limits.memory: 1024: expected 64 KiB to 16 GiB",
        "limits.time: \"fast\": expected a duration like",
        "attestation.quorum: 99: expected at most 32",
        "payment.max_total: \"-2\": expected an amount like",
    ];
    let node = Node::start(&dir);
    for verb in [&["manifest", "check", &manifest][..], &["submit", &manifest], &["run", &manifest]] {
        let ended = node.run(verb).fails(2, "10 faults");
        for field in fields {
            assert!(ended.stderr.contains(field), "{field}: {ended:?}");
        }
    }
    assert_eq!(node.ask(&["task", "list"]).as_array().map(Vec::len), Some(0), "nothing of it was submitted");

    let broken = desk.file("broken.toml", "name = \"x\"\nartifact = [\n");
    zerostate(&dir, &["manifest", "check", &broken])
        .fails(2, "broken.toml: not valid TOML: TOML parse error at line 2");
    let twice = desk.file("twice.json", r#"{"name":"a","name":"b","artifact":"hello.wasm"}"#);
    zerostate(&dir, &["manifest", "check", &twice]).fails(2, "name");
}

#[test]
fn a_manifests_own_words_never_steer_the_terminal() {
    let desk = Desk::new();
    let attack = "\\u001b]0;pwned\\u0007\\u001b[31m\\u202e";
    let files = [
        desk.file("key.json", format!("{{\"{attack}\": 1}}")),
        desk.file(
            "value.json",
            format!("{{\"name\": \"{attack}\", \"artifact\": {{\"cid\": \"{attack}\"}}}}"),
        ),
        desk.file("path.json", format!("{{\"name\": \"x\", \"artifact\": {{\"path\": \"{attack}\"}}}}")),
        desk.file("line.toml", "name = \"x\" \u{1b}[31m\u{9b}31m oops\n"),
    ];
    for file in files {
        for verb in [["manifest", "check"].as_slice(), &["run"]] {
            let ended = zerostate(&desk.path("data"), &[verb, &[file.as_str()]].concat());
            let said = format!("{}{}", ended.text(), ended.stderr);
            assert!(!steers_a_terminal(&said), "{file}: {said:?}");
            assert!(ended.code == 2 || file.ends_with("path.json"), "{file}: {said:?}");
        }
    }
}

#[test]
fn files_that_cannot_be_read_are_named_and_exit_with_two() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let node = Node::start(&dir);
    fs::create_dir(desk.path("folder.toml")).unwrap();
    symlink(desk.path("nowhere"), desk.path("dangling.toml")).unwrap();
    let lonely = desk.file("lonely.toml", "name = \"lonely\"\nartifact = { path = \"gone.wasm\" }\n");
    for file in ["folder.toml", "dangling.toml", "absent.toml"].map(|name| desk.named(name)) {
        for verb in [&["run"][..], &["submit"], &["verify"], &["manifest", "check"], &["artifact", "add"]] {
            node.run(&[verb, &[&file]].concat()).fails(2, &format!("cannot read {file}"));
        }
    }
    node.run(&["submit", &lonely]).fails(2, "gone.wasm");
    // Root reads what nobody may, so this part says something for everybody else only.
    let secret = desk.file("secret.wasm", HELLO);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&secret).is_err() {
        node.run(&["run", &secret]).fails(2, "Permission denied");
    } else {
        println!("skipped for an unreadable file: this user reads everything");
    }
    // An endless file is read up to the bound and no further.
    node.run(&["manifest", "check", "/dev/zero"]).fails(2, "which is the most");
    node.run(&["verify", "/dev/zero"]).fails(2, "which is the most");
}

#[test]
fn addresses_that_are_taken_or_wrong_are_named() {
    let desk = Desk::new();
    let first = Node::start(&desk.path("a"));
    let address = first.address().split("/p2p/").next().unwrap().to_owned();
    let start =
        |listen: &str| Node::try_start(&desk.path("b"), &["--listen", listen]).map(|node| node.ready.clone());
    let (code, said) = start(&address).expect_err("one port cannot have two nodes");
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("error: cannot listen on {address}: ")), "{said}");

    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", foreign.local_addr().unwrap().port());
    let (code, said) = start(&address).expect_err("the port belongs to another program");
    assert!(code == Some(1) && said.contains(&address), "{said}");

    for wrong in ["localhost:4001", "/ip4/300.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/99999", ""] {
        let (code, said) = start(wrong).expect_err(wrong);
        assert_eq!(code, Some(2), "{wrong}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(&format!("\"{wrong}\" is not an address")),
            "{said}"
        );
    }
    let (code, said) =
        Node::try_start(&desk.path("b"), &["--bootstrap", "nowhere"]).err().expect("nowhere is no address");
    assert!(code == Some(2) && said.contains("\"nowhere\" is not an address"), "{said}");
    assert_eq!(first.ask(&["status"])["did"], first.did());
}

#[test]
fn a_configuration_with_something_unknown_is_refused_with_what_is_known() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let wrong = [
        (
            "[policy]\natest = \"always\"\n",
            "unknown field `atest`, expected one of `accept`, `attest`, `admit`, `self_execute`",
        ),
        ("colour = \"blue\"\n", "unknown field `colour`, expected one of `name`"),
        ("[policy]\nattest = \"sometimes\"\n", "unknown variant `sometimes`, expected `ask` or `always`"),
        ("[network]\nmdns = \"yes\"\n", "line 2"),
        ("[prices]\nper_second = \"-1\"\n", "prices.per_second"),
        ("name = \"\"\n", "name has 0 bytes"),
        ("[log]\nfilter = \"zerostate=loud\"\n", "zerostate=loud"),
        ("[execution]\nrunners = 257\n", "execution.runners = 257: expected 1 to 256"),
        ("policy = [", "line 1"),
    ];
    for (content, why) in wrong {
        let config = desk.file("config.toml", content);
        let (code, said) =
            Node::try_start(&dir, &["--config", &config]).err().unwrap_or_else(|| panic!("{content}"));
        assert_eq!(code, Some(2), "{content}: {said}");
        assert!(said.starts_with("error: ") && said.contains(why), "{content}: {said}");
    }
    let (code, said) =
        Node::try_start(&dir, &["--config", "/nonexistent.toml"]).err().expect("a named file must be there");
    assert!(code == Some(2) && said.contains("/nonexistent.toml"), "{said}");
    // What may never end is not read.
    for device in ["/dev/zero", "/dev/tty"] {
        let (code, said) = Node::try_start(&dir, &["--config", device]).err().expect("a device is no file");
        assert!(code == Some(2) && said.contains("it is no file"), "{said}");
    }
}

#[test]
fn a_key_file_that_cannot_be_trusted_stops_everything_and_is_never_written_over() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let did = zerostate(&dir, &["--json", "id"]).exits(0).json()["did"].clone();
    let key = dir.join("keys/node.pem");
    let whole = fs::read(&key).unwrap();
    let refused = |why: &str| {
        let left = fs::read(&key).ok();
        zerostate(&dir, &["id"]).fails(1, why);
        zerostate(&dir, &["run", &desk.named("hello.wasm")]).fails(1, why);
        let (code, said) = Node::try_start(&dir, &[]).err().expect("a node must not start on such a key");
        assert!(code == Some(1) && said.starts_with("error: ") && said.contains(why), "{said}");
        assert_eq!(fs::read(&key).ok(), left, "never written over");
    };
    for mode in [0o644, 0o640, 0o606] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        refused("chmod 600");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for content in [&whole[..whole.len() / 2], b"", b"my shopping list\n", &[0xff; 64]] {
        fs::write(&key, content).unwrap();
        refused("is not a usable Ed25519 PKCS#8 key");
    }
    fs::remove_file(&key).unwrap();
    let elsewhere = desk.path("elsewhere.pem");
    symlink(&elsewhere, &key).unwrap();
    refused("is a symbolic link");
    assert!(!elsewhere.exists(), "no key is made at the end of a link");
    fs::write(&elsewhere, &whole).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    refused("is a symbolic link");

    fs::remove_file(&key).unwrap();
    fs::rename(&elsewhere, &key).unwrap();
    assert_eq!(
        zerostate(&dir, &["--json", "id"]).exits(0).json()["did"],
        did,
        "the key itself was never the problem"
    );
}

#[test]
fn a_peers_name_full_of_escape_sequences_is_shown_without_them() {
    let desk = Desk::new();
    let config = desk
        .file("b.toml", "name = \"\\u001b[31mred\\u001b]0;t\\u0007\\u009b2J\\u202eback\\r\\n\\u200bx\"\n");
    let a = Node::start(&desk.path("a"));
    let b = Node::start_with(&desk.path("b"), &["--config", &config]);
    a.meet(&b);
    let name = a.peer(&b).unwrap()["name"].as_str().unwrap().to_owned();
    assert!(name.contains("red") && name.contains("back"), "{name:?}");
    assert!(!name.contains('\n') && !steers_a_terminal(&name), "{name:?}");
    for node in [&a, &b] {
        for verb in [
            &["peers"][..],
            &["events"],
            &["status"],
            &["--json", "peers"],
            &["--json", "events"],
            &["--json", "status"],
        ] {
            let shown = node.run(verb).exits(0).text();
            assert!(!steers_a_terminal(&shown), "{verb:?}: {shown:?}");
            assert!(!shown.contains('\u{200b}') && !shown.contains("\\u001b"), "{verb:?}: {shown:?}");
        }
    }
    assert!(!steers_a_terminal(&fs::read_to_string(a.dir.join("zerostate.log")).unwrap()));
}

#[test]
fn on_a_full_disk_a_node_refuses_clearly_goes_on_and_recovers() {
    let desk = Desk::new();
    let Some(disk) = SmallDisk::mount(&desk.path("disk")) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let node = Node::start(&disk.0);
    let hello = desk.hello(0);
    let mut acknowledged: Vec<String> = Vec::new();
    for _ in 0..3 {
        acknowledged.push(node.ask(&["submit", "--wait", &hello])["task_id"].as_str().unwrap().to_owned());
    }
    for round in 0..2 {
        let filler = disk.fill();
        let other = desk.file("other.wasm", [HELLO, &[0, 2, 1, b'a' + round]].concat());
        node.run(&["artifact", "add", &other]).fails(1, "the disk is full");
        // The database has room in its pages for a few more; what it acknowledges must be true.
        let full = (0..200).find_map(|_| {
            let ended = node.run(&["--json", "submit", &hello]);
            match ended.code {
                0 => {
                    acknowledged.push(ended.json()["task_id"].as_str().unwrap().to_owned());
                    None
                }
                _ => Some(ended),
            }
        });
        full.expect("submissions end when nothing fits any more").fails(1, "the disk is full");
        assert_eq!(node.ask(&["status"])["did"], node.did(), "it goes on answering");
        assert!(!node.ask(&["task", "list"]).as_array().unwrap().is_empty());

        fs::remove_file(filler).unwrap();
        node.ask(&["artifact", "add", &other]);
        let done = eventually("it works again", || {
            let ended = node.run(&["--json", "submit", "--wait", &hello]);
            (ended.code == 0).then(|| ended.json())
        });
        assert_eq!(done["state"], "receipted");
        acknowledged.push(done["task_id"].as_str().unwrap().to_owned());
        eventually("what was acknowledged comes to its receipt", || {
            acknowledged
                .iter()
                .all(|id| node.ask(&["task", "show", id])["state"] == "receipted")
                .then_some(())
        });
    }
    let listed = node.ask(&["task", "list"]).as_array().unwrap().len();
    assert_eq!(listed, acknowledged.len(), "what was refused was not stored");
    let dir = node.dir.clone();
    node.kill();
    let node = Node::start(&dir);
    for id in &acknowledged {
        assert_eq!(node.ask(&["task", "show", id])["state"], "receipted");
    }
    assert_eq!(node.stop(), Some(0));
}
