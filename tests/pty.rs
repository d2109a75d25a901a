//! The real program in a pseudo-terminal, and the screen that a person would see. Tests and the console's bench share it.

#![allow(dead_code, reason = "the tests and the bench each use a part")]

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, tcgetattr};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_zerostate");
/// Far more than anything takes, also on a machine with much else to do; reached only by what never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What the console writes in front of every frame that is not small: the begin of a synchronized update.
pub const FRAME: &[u8] = b"\x1b[?2026h";

enum Heard {
    Bytes(Instant, Vec<u8>),
    Ended(u32),
}

/// A program on a terminal of its own. Dropping it ends the program.
pub struct Pty {
    pid: u32,
    size: (u16, u16),
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn std::io::Write + Send>>,
    /// Held so that the terminal's settings can be read when the program has gone.
    slave: Option<OwnedFd>,
    before: Termios,
    heard: Option<Receiver<Heard>>,
    reader: Option<JoinHandle<()>>,
    /// Whether what the program writes is read.
    reads: Arc<(Mutex<bool>, Condvar)>,
    parser: vt100::Parser,
    /// Every byte that the program wrote.
    pub raw: Vec<u8>,
    /// When the first frame came.
    pub first_frame: Option<Instant>,
    last_bytes: Option<Instant>,
    exit: Option<u32>,
}

impl Pty {
    /// Starts the program with `args` on a terminal of `width` by `height`; `temp` is where it makes temporary files.
    pub fn start(args: &[&str], size: (u16, u16), temp: &Path) -> Self {
        Self::run(PROGRAM, args, size, temp, &[])
    }

    /// Starts any program, with these variables beside the usual ones.
    pub fn run(
        program: &str,
        args: &[&str],
        (width, height): (u16, u16),
        temp: &Path,
        variables: &[(&str, &str)],
    ) -> Self {
        let pair = native_pty_system().openpty(size(width, height)).unwrap();
        let tty = pair.master.tty_name().unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(tty, flags, rustix::fs::Mode::empty()).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(temp);
        for (name, value) in
            [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8"), ("TMPDIR", temp.to_str().unwrap())]
        {
            command.env(name, value);
        }
        for name in ["NO_COLOR", "COLORTERM", "SSH_CONNECTION", "RUST_BACKTRACE", "ZEROSTATE_PASSPHRASE_FILE"]
        {
            command.env_remove(name);
        }
        for (name, value) in variables {
            command.env(name, value);
        }
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let pid = child.process_id().unwrap();

        let (sender, heard) = channel();
        let ended = sender.clone();
        std::thread::spawn(move || {
            let code = child.wait().map_or(u32::MAX, |status| status.exit_code());
            ended.send(Heard::Ended(code)).ok();
        });
        let mut output = pair.master.try_clone_reader().unwrap();
        let reads = Arc::new((Mutex::new(true), Condvar::new()));
        let may_read = Arc::clone(&reads);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                let (reads, changed) = &*may_read;
                drop(changed.wait_while(reads.lock().unwrap(), |reads| !*reads).unwrap());
                let Ok(length @ 1..) = output.read(&mut buffer) else { return };
                if sender.send(Heard::Bytes(Instant::now(), buffer[..length].to_vec())).is_err() {
                    return;
                }
            }
        });
        Self {
            pid,
            size: (width, height),
            writer: Some(pair.master.take_writer().unwrap()),
            master: Some(pair.master),
            slave: Some(slave),
            before,
            heard: Some(heard),
            reader: Some(reader),
            reads,
            parser: vt100::Parser::new(cells(height), cells(width), 0),
            raw: Vec::new(),
            first_frame: None,
            last_bytes: None,
            exit: None,
        }
    }

    /// The process id of the program.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What can be seen now.
    pub fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Reads until the screen shows `wanted`.
    pub fn until_shows(&mut self, wanted: &str) {
        self.until(&format!("the screen shows {wanted:?}"), |pty| pty.text().contains(wanted));
    }

    /// Reads until the screen does not show `gone` any more.
    pub fn until_hides(&mut self, gone: &str) {
        self.until(&format!("the screen hides {gone:?}"), |pty| !pty.text().contains(gone));
    }

    /// Reads until the pane with this title says that it has so many rows; an event may have told of one before it is there.
    pub fn until_rows(&mut self, title: &str, count: usize) {
        self.until(&format!("{title} has {count}"), |pty| {
            let text = pty.text();
            let behind = text.split_once(&format!("╭ {title} ")).map(|(_, behind)| behind);
            behind.is_some_and(|behind| {
                behind.trim_start_matches('─').trim_start().starts_with(&format!("{count} "))
            })
        });
    }

    /// Reads until `met`; says what stands on the screen when that does not come.
    pub fn until(&mut self, what: &str, met: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !(self.is_whole() && met(self)) {
            assert!(self.exit.is_none(), "the program ended before {what}:\n{}", self.text());
            assert!(self.hear(deadline), "it never came that {what}:\n{}", self.text());
        }
    }

    /// Whether the last frame that was begun is here to its end: half of one shows what nobody would see.
    fn is_whole(&self) -> bool {
        let last = |bytes: &[u8]| self.raw.windows(bytes.len()).rposition(|window| window == bytes);
        last(FRAME) <= last(b"\x1b[?2026l")
    }

    /// Reads whatever comes in this time.
    pub fn read_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while self.hear(deadline) {}
    }

    /// Types keys.
    pub fn keys(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("a terminal that was not closed");
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Types keys, and says how long it took until the first byte came back.
    pub fn answered(&mut self, keys: &str) -> Duration {
        let seen = self.raw.len();
        let start = Instant::now();
        self.keys(keys);
        let deadline = start + PATIENCE;
        while self.raw.len() == seen {
            assert!(self.hear(deadline), "nothing came back");
        }
        self.last_bytes.unwrap_or(start).saturating_duration_since(start)
    }

    /// Changes the size of the terminal and waits until the program has painted for it.
    pub fn resize(&mut self, width: u16, height: u16) {
        let seen = self.raw.len();
        self.size = (width, height);
        self.parser.set_size(cells(height), cells(width));
        self.master.as_ref().expect("a terminal that was not closed").resize(size(width, height)).unwrap();
        self.until("the screen is painted anew", |pty| contains(&pty.raw[seen..], b"\x1b[2J"));
    }

    /// Reads on, or lets what the program writes wait in the terminal until that is full.
    pub fn reads(&self, reads: bool) {
        *self.reads.0.lock().unwrap() = reads;
        self.reads.1.notify_all();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits until the program has ended and everything that it wrote is read; its exit code.
    pub fn ended(&mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        while self.exit.is_none() {
            assert!(self.hear(deadline), "the program goes on:\n{}", self.text());
        }
        // What is still in the terminal comes before its end, and that comes when nobody else holds it.
        self.reads(true);
        let after = self.slave.as_ref().map(|slave| tcgetattr(slave).unwrap());
        self.slave = None;
        while self.hear(deadline) {}
        if let Some(after) = after {
            let modes = |t: &Termios| (t.input_modes, t.output_modes, t.local_modes, t.control_modes);
            assert_eq!(modes(&after), modes(&self.before), "the terminal's modes are not as they were");
        }
        self.exit.unwrap()
    }

    /// Waits for the end and checks that the terminal was given back: main screen, cursor, no paste or mouse mode, not raw.
    pub fn ended_with_the_terminal_given_back(&mut self) -> u32 {
        let code = self.ended();
        let screen = self.parser.screen();
        assert!(contains(&self.raw, b"\x1b[?1049h"), "it never took the terminal");
        assert!(!screen.alternate_screen(), "the alternate screen is still there");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is still on");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None, "the mouse is still caught");
        let last = |bytes: &[u8]| self.raw.windows(bytes.len()).rposition(|window| window == bytes);
        assert!(last(b"\x1b[?7h") > last(b"\x1b[?7l"), "lines still do not wrap");
        assert!(last(b"\x1b[?2026l") > last(FRAME), "the screen is still held for a frame");
        code
    }

    /// Takes the terminal away, as a cut line does, and waits for the program's end.
    pub fn hang_up(&mut self) {
        self.reads(true);
        // The program hears of it only when nobody holds this side any more; the reader does until the next bytes come.
        let (sender, waiting) = channel();
        let Some(heard) = self.heard.take() else { panic!("hung up already") };
        let pid = self.pid;
        self.keys("\x0c");
        let reader = self.reader.take();
        drop((self.writer.take(), self.master.take(), self.slave.take()));
        std::thread::spawn(move || {
            // The first bytes after the receiver is gone end the reader; the end of the program comes by its own way.
            drop(heard);
            if let Some(reader) = reader {
                reader.join().ok();
            }
            sender.send(()).ok();
        });
        waiting.recv_timeout(PATIENCE).expect("the terminal was not let go");
        let gone = || !Path::new(&format!("/proc/{pid}")).exists();
        let deadline = Instant::now() + PATIENCE;
        while !gone() {
            assert!(Instant::now() < deadline, "the program goes on without a terminal");
            std::thread::yield_now();
        }
        self.exit = Some(0);
    }

    /// Takes in the next thing that comes before `deadline`; false when nothing did, or nothing can come any more.
    fn hear(&mut self, deadline: Instant) -> bool {
        let Some(heard) = &self.heard else { return false };
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Heard::Bytes(at, bytes)) => {
                self.raw.extend_from_slice(&bytes);
                self.last_bytes = Some(at);
                if self.first_frame.is_none() && contains(&self.raw, FRAME) {
                    self.first_frame = Some(at);
                }
                self.parser.process(&bytes);
                true
            }
            Ok(Heard::Ended(code)) => {
                self.exit = Some(code);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.reads(true);
        if self.exit.is_none() {
            // First in good order, so that it ends what it has started.
            for signal in [Signal::TERM, Signal::KILL] {
                kill_process(Pid::from_raw(self.pid.cast_signed()).unwrap(), signal).ok();
                let deadline = Instant::now() + Duration::from_secs(5);
                while self.exit.is_none() && self.hear(deadline) {}
            }
        }
    }
}

/// Whether `bytes` have `part` in them.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}
