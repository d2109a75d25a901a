//! Artifacts between processes that die, lie, and run out of room.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cid::Cid;
use serde_json::Value;
use zerostate::api::socket_path;
use zerostate::document::{Sha256Digest, content_id};

use crate::support::helia::random_bytes as bytes;
use crate::support::{Desk, HELLO, Node, Running, eventually, program, submitted, text, two, zerostate};

const MIB: usize = 1 << 20;

/// A node's address through a wire that carries 4 MiB a second, so that there is a middle of a transfer.
fn slowly(node: &Node) -> String {
    let mut parts: Vec<String> = node.address().split('/').map(str::to_owned).collect();
    let target: u16 = parts[4].parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    parts[4] = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || carry(near, far));
            thread::spawn(move || carry(far_back, near_back));
        }
    });
    parts.join("/")
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
        // This is what makes it slow, not a wait for anything.
        thread::sleep(Duration::from_millis(4));
    }
    to.shutdown(std::net::Shutdown::Both).ok();
}

/// Starts a verb and does not wait for its end.
fn begin(node: &Node, args: &[&str]) -> Running {
    let mut command = program();
    command.arg("--data-dir").arg(&node.dir).args(args);
    Running::start(command)
}

/// What a node is in the middle of, as its snapshot has it.
fn transfers(dir: &Path) -> Vec<Value> {
    let answer = http(dir, "/v1/snapshot", "");
    let body: Value = serde_json::from_slice(&answer.1).unwrap();
    body["transfers"].as_array().unwrap().clone()
}

/// Waits until a transfer has come so far; gives how far it is.
fn until(dir: &Path, bytes: u64) -> u64 {
    eventually("a transfer is in its middle", || {
        transfers(dir).iter().find_map(|transfer| transfer["done"].as_u64().filter(|done| *done >= bytes))
    })
}

/// A request on the node's socket: the head of the answer and its body.
fn http(dir: &Path, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(socket_path(dir)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = all.split_off(end + 4);
    let head = String::from_utf8(all).unwrap().to_lowercase();
    if !head.contains("transfer-encoding: chunked") {
        return (head, body);
    }
    let (mut whole, mut rest) = (Vec::new(), body.as_slice());
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
    (head, whole)
}

/// Every block file of a data directory has the content that its name says. Gives how many there are.
pub fn all_blocks_are_right(dir: &Path) -> usize {
    let mut count = 0;
    for shard in fs::read_dir(dir.join("blocks")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let Ok(cid) = file.file_name().to_str().unwrap().parse::<Cid>() else { continue };
            let content = fs::read(file.path()).unwrap();
            assert_eq!(Sha256Digest::from_cid(&cid), Some(Sha256Digest::of(&content)), "{cid}");
            count += 1;
        }
    }
    count
}

#[test]
fn a_fetch_of_which_two_of_three_providers_are_killed_completes() {
    let desk = Desk::new();
    let file = desk.file("file", bytes(20 * MIB, 1));
    let mut givers: Vec<Node> = ["a", "b", "c"].map(|name| Node::start(&desk.path(name))).into();
    let taker = Node::start(&desk.path("d"));
    let mut cid = String::new();
    for giver in &givers {
        cid = text(&giver.ask(&["artifact", "add", &file]), "cid").to_owned();
        taker.ask(&["connect", &slowly(giver)]);
    }
    let mut get = begin(&taker, &["--json", "artifact", "get", &cid, "--output", &desk.named("out")]);
    let done = until(&taker.dir, 3 << 20);
    assert!(done < 20 << 20, "it is not over yet");
    givers.pop().unwrap().kill();
    givers.pop().unwrap().kill();
    let answer: Value = serde_json::from_str(&get.line().unwrap()).unwrap();
    assert_eq!(answer["size"], 20 << 20);
    let sources = answer["sources"].as_array().unwrap();
    assert!(sources.len() >= 2, "several gave some of it: {answer}");
    assert!(fs::read(desk.path("out")).unwrap() == bytes(20 * MIB, 1));
    assert!(get.wait(Duration::from_secs(5)).success());
}

#[test]
fn a_node_killed_in_the_middle_of_a_get_goes_on_where_it_was() {
    let desk = Desk::new();
    let giver = Node::start(&desk.path("a"));
    let taker = Node::start(&desk.path("b"));
    let cid = giver.ask(&["artifact", "add", &desk.file("file", bytes(20 * MIB, 2))]);
    let cid = text(&cid, "cid");
    taker.ask(&["connect", &slowly(&giver)]);
    let _get = begin(&taker, &["artifact", "get", cid]);
    until(&taker.dir, 4 << 20);
    let dir = taker.dir.clone();
    taker.kill();
    let kept = all_blocks_are_right(&dir);
    assert!((4..21).contains(&kept), "{kept} blocks");

    let taker = Node::start(&dir);
    assert!(taker.listed(&["artifact", "list"], "cid", cid).is_empty(), "it is not whole");
    taker.ask(&["connect", giver.address()]);
    let got = taker.ask(&["artifact", "get", cid, "--output", &desk.named("out")]);
    let from_store = got["sources"].as_array().unwrap().iter().find(|source| source["from"] == "store");
    assert!(from_store.unwrap()["bytes"].as_u64().unwrap() >= 3 << 20, "{got}");
    assert!(fs::read(desk.path("out")).unwrap() == bytes(20 * MIB, 2));
}

#[test]
fn a_node_killed_in_the_middle_of_an_add_has_no_wrong_block_and_takes_it_up_again() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    let (file, pipe) = (bytes(20 * MIB, 3), desk.path("pipe"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mut add = begin(&node, &["artifact", "add", pipe.to_str().unwrap()]);
    let mut feed = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    feed.write_all(&file[..9 * MIB]).unwrap();
    until(&node.dir, 8 << 20);
    let dir = node.dir.clone();
    node.kill();
    drop(feed);
    assert_eq!(add.wait(Duration::from_secs(5)).code(), Some(1));
    let kept = all_blocks_are_right(&dir);
    assert!((1..=9).contains(&kept), "{kept} blocks");

    let node = Node::start(&dir);
    assert_eq!(node.ask(&["artifact", "list"]), Value::Array(Vec::new()));
    let first = content_id(&file[..MIB]).to_string();
    let first = dir.join("blocks").join(&first[first.len() - 2..]).join(&first);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&first);
    let added = node.ask(&["artifact", "add", &desk.file("file", &file)]);
    assert_eq!(inode(&first), before, "what was there is not written again");
    node.ask(&["artifact", "get", text(&added, "cid"), "--output", &desk.named("out")]);
    assert!(fs::read(desk.path("out")).unwrap() == file);
}

/// How a gateway of the test answers.
#[derive(Clone, Copy)]
enum Manner {
    Honest,
    WrongBytes,
    Endless,
    NotFound,
    Silent,
}

fn gateway(manner: Manner, blocks: Arc<HashMap<String, Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let blocks = Arc::clone(&blocks);
            thread::spawn(move || answer(manner, &blocks, stream).ok());
        }
    });
    address
}

fn answer(manner: Manner, blocks: &HashMap<String, Vec<u8>>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let asks_raw = head.iter().any(|line| line.to_lowercase() == "accept: application/vnd.ipld.raw");
    let cid = request.strip_prefix("GET /ipfs/").and_then(|rest| rest.split('?').next()).unwrap_or_default();
    let block = blocks.get(cid).filter(|_| asks_raw && request.contains("?format=raw "));
    match (manner, block) {
        (Manner::Silent, _) => {
            // Until the asker has had enough.
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        (Manner::Honest, Some(block)) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", block.len())?;
            stream.write_all(block)
        }
        (Manner::WrongBytes, Some(block)) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", block.len())?;
            stream.write_all(&vec![0; block.len()])
        }
        (Manner::Endless, Some(_)) => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 65_536])?;
            }
        }
        _ => write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    }
}

#[test]
fn gateways_help_out_and_the_socket_answers_as_one() {
    let desk = Desk::new();
    let file = bytes(2 * MIB + 7, 4);
    let giver = Node::start(&desk.path("a"));
    let added = giver.ask(&["artifact", "add", &desk.file("file", &file)]);
    let cid = text(&added, "cid");

    // Everything that the honest gateway has comes from the node's own.
    let mut blocks = HashMap::new();
    let leaves: Vec<String> = file.chunks(MIB).map(|leaf| content_id(leaf).to_string()).collect();
    for block in leaves.iter().map(String::as_str).chain([cid]) {
        let (head, body) = http(&giver.dir, &format!("/ipfs/{block}?format=raw"), "");
        assert!(
            head.starts_with("http/1.1 200") && head.contains("content-type: application/vnd.ipld.raw"),
            "{head}"
        );
        assert!(head.contains("immutable") && head.contains("nosniff"), "{head}");
        let accepted = http(&giver.dir, &format!("/ipfs/{block}"), "accept: application/vnd.ipld.raw\r\n");
        assert!(accepted.1 == body);
        blocks.insert(block.to_owned(), body);
    }
    let (head, body) = http(&giver.dir, &format!("/ipfs/{cid}"), "");
    assert!(head.contains(&format!("content-length: {}", file.len())) && body == file, "{head}");
    let missing = http(&giver.dir, &format!("/ipfs/{}?format=raw", content_id(b"nobody's")), "").0;
    assert!(missing.starts_with("http/1.1 404"), "{missing}");
    assert!(http(&giver.dir, &format!("/ipfs/{cid}?format=car"), "").0.starts_with("http/1.1 400"));

    let blocks = Arc::new(blocks);
    let gateways = [Manner::NotFound, Manner::WrongBytes, Manner::Endless, Manner::Honest]
        .map(|manner| format!("\"{}\"", gateway(manner, Arc::clone(&blocks))));
    let start = |name: &str, gateways: &[String]| {
        let config = format!("[storage]\ngateways = [{}]\n", gateways.join(", "));
        Node::start_with(&desk.path(name), &["--config", &desk.file(&format!("{name}.toml"), config)])
    };
    let taker = start("b", &gateways);
    let got = taker.ask(&["artifact", "get", cid, "--output", &desk.named("out")]);
    assert_eq!(format!("\"{}\"", text(&got["sources"][0], "from")), gateways[3]);
    assert!(fs::read(desk.path("out")).unwrap() == file);
    assert_eq!(all_blocks_are_right(&taker.dir), 4);

    // One that does not answer does not keep the next one from being asked.
    let silent = format!("\"{}\"", gateway(Manner::Silent, Arc::clone(&blocks)));
    let taker = start("e", &[silent.clone(), silent, gateways[3].clone()]);
    let got = taker.ask(&["artifact", "get", cid]);
    assert_eq!(format!("\"{}\"", text(&got["sources"][0], "from")), gateways[3]);

    // Without the honest one there is a reason for each.
    let taker = start("c", &gateways[..3]);
    let failed = taker.run(&["artifact", "get", cid]).fails(1, "sent wrong bytes");
    assert!(failed.stderr.contains("404") && failed.stderr.contains("over 2097152 bytes"), "{failed:?}");
    assert_eq!(all_blocks_are_right(&taker.dir), 0);
    let config = desk.file("d.toml", "[storage]\ngateways = [\"ftp://x\"]\n");
    let refused = Node::try_start(&desk.path("d"), &["--config", &config]).err().unwrap();
    assert!(refused.1.contains("is no gateway"), "{refused:?}");
}

#[test]
fn what_is_needed_stays_and_what_was_used_least_recently_goes() {
    let desk = Desk::new();
    let config = desk.file("small.toml", "[storage]\nquota = \"8MiB\"\n");
    let node = Node::start_with(&desk.path("a"), &["--config", &config]);
    let add = |name: &str, seed: u32, size: usize, more: &[&str]| {
        let file = desk.file(name, bytes(size, seed));
        text(&node.ask(&[&["artifact", "add", &file], more].concat()), "cid").to_owned()
    };
    let here = |cid: &str| !node.listed(&["artifact", "list"], "cid", cid).is_empty();
    // A task that does not end keeps its module.
    let task = node.ask(&["submit", &desk.endless()]);
    let module = text(&node.ask(&["artifact", "list"])[0], "cid").to_owned();
    let pinned = add("pinned", 1, 2 * MIB, &["--pin"]);
    let old = add("old", 2, 2 * MIB, &[]);
    let new = add("new", 3, 2 * MIB, &[]);
    assert!([&module, &pinned, &old, &new].into_iter().all(|cid| here(cid)));
    let newest = add("newest", 4, 3 * MIB, &[]);
    assert!(here(&newest) && here(&pinned) && here(&module) && !here(&old));
    // What all of is needed for leaves no room, and what is there stays.
    let _hold = add("pinned too", 5, 2 * MIB, &["--pin"]);
    let large = desk.file("large", bytes(5 * MIB, 6));
    node.run(&["artifact", "add", &large]).fails(1, "the store is full");
    assert!(here(&pinned) && here(&module));
    node.run(&["artifact", "get", &content_id(b"nobody's").to_string()]).fails(1, "no connected peer has it");
    node.run(&["artifact", "pin", &content_id(b"nobody's").to_string()]).fails(1, "is not stored here");

    node.ask(&["artifact", "unpin", &pinned]);
    let freed = node.ask(&["artifact", "gc"]);
    assert!(freed["bytes"].as_u64().unwrap() >= 2 << 20, "{freed}");
    assert!(!here(&pinned) && here(&module));
    node.ask(&["task", "cancel", text(&task, "task_id")]);
    eventually("the task is over", || {
        (node.ask(&["task", "show", text(&task, "task_id")])["state"] == "cancelled").then_some(())
    });
    node.ask(&["artifact", "gc"]);
    assert!(!here(&module));
}

#[test]
fn a_task_finds_its_module_by_the_hints_of_its_manifest() {
    let desk = Desk::new();
    let giver = Node::start(&desk.path("a"));
    let runner = Node::start(&desk.path("b"));
    // Of two blocks, so that it is a DAG that runs.
    let mut module = HELLO.to_vec();
    let padding = bytes(MIB, 9);
    // A custom section: id 0, its size, a name of one byte, and what nobody reads.
    module.push(0);
    let mut size = padding.len() + 2;
    while size >= 0x80 {
        module.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
        size >>= 7;
    }
    module.push(u8::try_from(size).unwrap());
    module.extend([1, b'x']);
    module.extend(padding);
    let added = giver.ask(&["artifact", "add", &desk.file("large.wasm", &module)]);
    let manifest = |hints: &str| {
        let artifact = format!("artifact = {{ cid = \"{}\" }}", text(&added, "cid"));
        format!("name = \"far\"\nargs = [\"there\"]\nproviders = [{hints}]\n{artifact}\n")
    };
    runner
        .run(&["submit", &desk.file("alone.toml", manifest(""))])
        .fails(1, "neither stored here nor to be had");
    runner.run(&["submit", &desk.file("wrong.toml", manifest("\"nowhere\""))]).fails(2, "providers[0]");
    let task = submitted(&runner, &desk.file("far.toml", manifest(&format!("\"{}\"", giver.address()))));
    assert_eq!(task["state"], "receipted", "{task}");
    let shown = runner.ask(&["receipt", "show", text(&task, "receipt_id")]);
    assert_eq!(shown["receipt"]["artifact"]["sha256"], added["sha256"]);
}

#[test]
fn what_a_receipt_without_its_quorum_speaks_of_stays_until_it_is_attested() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    // An input of two blocks, so that only its bytes tell its digest.
    let words = "one two three\n".repeat(100_000);
    let input = a.ask(&["artifact", "add", &desk.file("words.txt", &words)]);
    let input = text(&input, "cid");
    let module = fs::read("assets/examples/wordcount.wasm").unwrap();
    let module = text(&a.ask(&["artifact", "add", &desk.file("wc.wasm", module)]), "cid").to_owned();
    let manifest = format!(
        "name = \"count\"\nargs = [\"1\"]\nartifact = {{ cid = \"{module}\" }}\n[attestation]\nquorum = 1\n\
         [[inputs]]\nname = \"text\"\ntype = \"blob\"\nvalue = \"{input}\"\n"
    );
    let task = a.ask(&["submit", &desk.file("count.toml", manifest)]);
    let task = text(&task, "task_id");
    let receipt = eventually("the task has a receipt", || {
        let shown = a.ask(&["task", "show", task]);
        shown["receipt_id"].as_str().map(str::to_owned)
    });
    let output = text(&a.ask(&["receipt", "show", &receipt])["receipt"]["output"], "sha256").to_owned();
    let digest: [u8; 32] = hex::decode(output).unwrap().try_into().unwrap();
    let output = Sha256Digest::from_bytes(digest).to_cid().to_string();
    a.ask(&["artifact", "gc"]);
    let here = |cid: &str| http(&a.dir, &format!("/ipfs/{cid}?format=raw"), "").0.starts_with("http/1.1 200");
    assert!(here(input) && here(&module) && here(&output));

    assert_eq!(b.ask(&["attest", &receipt])["verdict"], "agree");
    eventually("the task has its quorum", || {
        (a.ask(&["task", "show", task])["state"] == "attested").then_some(())
    });
    a.ask(&["artifact", "gc"]);
    assert!(!here(input) && !here(&module) && !here(&output));
}

#[test]
fn a_node_that_starts_again_announces_what_it_has() {
    let desk = Desk::new();
    let (hub, giver) = (Node::start(&desk.path("hub")), Node::start(&desk.path("a")));
    // Nobody is there to be told at first.
    let added = giver.ask(&["artifact", "add", &desk.file("file", bytes(MIB + 5, 11))]);
    let dir = giver.dir.clone();
    giver.stop();
    let giver = Node::start(&dir);
    giver.meet(&hub);
    let taker = Node::start(&desk.path("b"));
    taker.meet(&hub);
    let got = eventually("the DHT names the giver", || {
        let got = taker.run(&["--json", "artifact", "get", text(&added, "cid")]);
        (got.code == 0).then(|| got.json())
    });
    assert_eq!(got["sha256"], added["sha256"]);
    eventually("the giver is a peer now", || taker.peer(&giver));
}

struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn what_is_added_while_garbage_is_collected_is_there_afterwards() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    let done = AtomicBool::new(false);
    let dir = node.dir.clone();
    thread::scope(|scope| {
        // Also when the test fails.
        let over = AtDrop(|| done.store(true, Ordering::Relaxed));
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                zerostate(&dir, &["artifact", "gc"]).exits(0);
            }
        });
        for seed in 0..12 {
            // Every other one is there already, unpinned, and may be going just now.
            let file = desk.file("file", bytes(20 * MIB, 1 + seed / 2));
            let added = node.ask(&["artifact", "add", &file, "--pin"]);
            let cid = text(&added, "cid");
            node.run(&["artifact", "get", cid, "--output", &desk.named("out")]).exits(0);
            assert!(fs::read(desk.path("out")).unwrap() == bytes(20 * MIB, 1 + seed / 2));
            node.ask(&["artifact", "unpin", cid]);
        }
        drop(over);
        collector.join().unwrap();
    });
    all_blocks_are_right(&node.dir);
}

#[test]
fn a_get_that_hints_lead_nowhere_ends_in_time_and_says_what_was_tried() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    // They take connections and never say a word.
    let mute: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let hints =
        mute.iter().map(|listener| format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()));
    let hints: Vec<String> = hints.collect();
    let cid = content_id(b"nobody's").to_string();
    let args = hints.iter().flat_map(|hint| ["--from", hint.as_str()]);
    let args: Vec<&str> = ["artifact", "get", cid.as_str()].into_iter().chain(args).collect();
    let failed = node.run(&args).fails(1, "does not answer");
    assert!(failed.stderr.contains("neither stored here nor to be had"), "{failed:?}");
    // Files that stand in for others stay what they are.
    let added = node.ask(&["artifact", "add", &desk.file("file", bytes(1000, 1))]);
    let mine = desk.file("out.part", "mine");
    std::os::unix::fs::symlink(desk.path("target"), desk.path("out")).unwrap();
    fs::write(desk.path("target"), "old").unwrap();
    node.ask(&["artifact", "get", text(&added, "cid"), "--output", &desk.named("out")]);
    assert!(desk.path("out").is_symlink() && fs::read(desk.path("target")).unwrap() == bytes(1000, 1));
    assert_eq!(fs::read(mine).unwrap(), b"mine");
    node.run(&["artifact", "get", "nonsense"]).fails(2, "is not a CID");
}
