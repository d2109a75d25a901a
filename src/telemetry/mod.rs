//! Logs: to a bounded file in the data directory and, for the Log pane, the last lines in memory. Never to the screen.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines kept for the Log pane.
const KEPT: usize = 200;
/// The log is started anew at this size; the one before stays beside it.
const FILE_MAX: u64 = 8 << 20;
/// Lines that wait for the disk; more are dropped, and the file says how many.
const QUEUE: usize = 4096;
/// Longer lines are cut.
const LINE_MAX: usize = 2000;

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: Timestamp,
    pub level: &'static str,
    pub target: String,
    pub text: String,
}

/// The last lines, oldest first. Cheap to clone.
#[derive(Clone, Default)]
pub struct RecentLog(Arc<Recent>);

#[derive(Default)]
struct Recent {
    lines: Mutex<VecDeque<Line>>,
    told: watch::Sender<()>,
}

impl RecentLog {
    /// Changes with every line.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.told.subscribe()
    }

    /// The newest `count` lines, oldest first.
    pub fn tail(&self, count: usize) -> Vec<Line> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    fn push(&self, line: Line) {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        self.0.told.send_replace(());
    }
}

/// Starts logging to `path`, which is created 0600 beside the data. Call it once, early.
///
/// # Errors
/// When the file cannot be written or the filter does not parse.
pub fn start(path: &Path, filter: &str) -> Result<RecentLog, String> {
    let filter = filter_of(filter)?;
    let mut file =
        LogFile::open(path).map_err(|error| format!("cannot write the log {}: {error}", path.display()))?;
    let (sender, lines) = sync_channel::<String>(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&lost);
    let writer = move || {
        while let Ok(line) = lines.recv() {
            let lost = count.swap(0, Ordering::Relaxed);
            let note = if lost > 0 { format!("{lost} lines could not be written\n") } else { String::new() };
            // A full disk must not end the node: the lines are lost, the Log pane still has them.
            if file.write(&(note + &line)).is_err() {
                count.fetch_add(lost.saturating_add(1), Ordering::Relaxed);
            }
        }
    };
    let spawned = std::thread::Builder::new().name("log".to_owned()).spawn(writer);
    spawned.map_err(|error| format!("cannot start the log thread: {error}"))?;
    let recent = RecentLog::default();
    let layer = LogLayer { sender, lost, recent: recent.clone() };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
    registry.try_init().map_err(|error| error.to_string())?;
    Ok(recent)
}

/// Whether a log filter can be understood.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    filter_of(filter).map(drop)
}

fn filter_of(filter: &str) -> Result<EnvFilter, String> {
    filter.parse().map_err(|error| format!("the log filter \"{filter}\": {error}"))
}

struct LogLayer {
    sender: SyncSender<String>,
    lost: Arc<AtomicU64>,
    recent: RecentLog,
}

impl<S: tracing::Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut text = text.0;
        if let Some((end, _)) = text.char_indices().nth(LINE_MAX) {
            text.truncate(end);
        }
        let meta = event.metadata();
        let line = Line {
            at: Timestamp::now(),
            level: meta.level().as_str(),
            target: meta.target().to_owned(),
            text,
        };
        // One event, one line, whatever it carries: a peer's text cannot forge a line of its own.
        let written = format!("{} {:5} {} {}\n", line.at, line.level, line.target, line.text.escape_debug());
        self.recent.push(line);
        if self.sender.try_send(written).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The message and then the fields.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let done = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
        // Writing to a String does not fail.
        done.ok();
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, size })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.size > FILE_MAX {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.size = self.size.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        Ok(())
    }
}
