//! One runner process as the pool sees it: orders go in, words come out, and its end is told.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::wire::{Frames, Setup, Word, write_frame};
use super::cache::Code;
use super::launch::{Started, telling_line};

/// Bytes read from a runner at once, and how often before somebody else has a turn.
const READ: usize = 256 << 10;
const READS: usize = 8;
/// Orders that wait to be sent.
const ORDERS: usize = 4096;
/// How long a runner that hung up may take to die by itself.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How long is looked for an answer after orders were sent.
const LINGER: Duration = Duration::from_micros(40);

/// Bytes on their way to a runner.
pub(super) enum Outgoing {
    Orders(Vec<u8>),
    /// An order that code goes with.
    Code(Vec<u8>, Arc<Code>),
}

/// What is heard of a runner.
pub(super) enum Heard {
    Words(Vec<(Word, Vec<u8>)>),
    /// It is gone, and how.
    Ended(String),
}

/// A handle: dropped, the process is killed.
pub(super) struct Process {
    pid: u32,
    outgoing: mpsc::Sender<Outgoing>,
    kill: CancellationToken,
}

impl Process {
    /// Takes care of a runner that has been started. What is heard of it goes to `heard`, with `name`.
    ///
    /// # Errors
    /// When the first words to it cannot be written down.
    pub(super) fn attend(
        started: Started,
        setup: &Setup,
        name: u64,
        heard: mpsc::Sender<(u64, Heard)>,
    ) -> io::Result<Self> {
        let mut first = Vec::new();
        write_frame(&mut first, setup, &[])?;
        let (outgoing, orders) = mpsc::channel(ORDERS);
        outgoing.try_send(Outgoing::Orders(first)).map_err(io::Error::other)?;
        let (pid, kill) = (started.child.id().unwrap_or_default(), CancellationToken::new());
        tokio::spawn(attend(started, orders, kill.clone(), name, heard));
        Ok(Self { pid, outgoing, kill })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends something; false when the runner takes no more at the moment.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        self.outgoing.try_send(outgoing).is_ok()
    }

    /// Whether orders can be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.capacity() > 2
    }

    pub(super) fn kill(&self) {
        self.kill.cancel();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// Moves bytes until either side ends, then sees the process dead and reaped.
async fn attend(
    started: Started,
    orders: mpsc::Receiver<Outgoing>,
    kill: CancellationToken,
    name: u64,
    heard: mpsc::Sender<(u64, Heard)>,
) {
    let Started { mut child, socket, last_words } = started;
    let ended = tokio::select! {
        () = kill.cancelled() => None,
        ended = converse(&socket, orders, name, &heard) => Some(ended),
    };
    let mut exit: Option<ExitStatus> = None;
    if matches!(&ended, Some(Err(error)) if error.kind() != io::ErrorKind::InvalidData) {
        // It hung up; its own way of dying says most.
        exit = timeout(LAST_MOMENT, child.wait()).await.ok().and_then(Result::ok);
    }
    if exit.is_none() {
        if let Err(error) = child.start_kill() {
            tracing::debug!(%error, "a runner was dead before it was killed");
        }
        exit = child.wait().await.ok();
    }
    let words = timeout(LAST_MOMENT, last_words).await.ok().and_then(Result::ok).unwrap_or_default();
    if !words.is_empty() {
        tracing::warn!(stderr = words, "a runner left words");
    }
    let why = match ended {
        Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            format!("the runner did not keep to the protocol: {error}")
        }
        _ => {
            let how = exit.map_or_else(|| "in an unknown way".to_owned(), |exit| exit.to_string());
            let said = telling_line(&words).map(|line| format!(": {line}")).unwrap_or_default();
            format!("the runner ended ({how}){said}")
        }
    };
    if heard.send((name, Heard::Ended(why))).await.is_err() {
        tracing::trace!("nobody is there any more to hear of a runner's end");
    }
}

/// Sends orders and hears words, as they come.
async fn converse(
    socket: &UnixStream,
    mut orders: mpsc::Receiver<Outgoing>,
    name: u64,
    heard: &mpsc::Sender<(u64, Heard)>,
) -> io::Result<()> {
    let mut unsent = Unsent::default();
    let mut frames = Frames::default();
    let mut chunk = vec![0; READ];
    loop {
        let mut words = Vec::new();
        let ended = tokio::select! {
            outgoing = orders.recv(), if unsent.is_empty() => {
                // No more orders can come: the runner is not needed any more.
                let Some(outgoing) = outgoing else { return Ok(()) };
                unsent.push(outgoing);
                while let Ok(outgoing) = orders.try_recv() {
                    unsent.push(outgoing);
                }
                match unsent.send(socket) {
                    Ok(true) => linger(socket, &mut orders, &mut unsent, &mut chunk, &mut frames, &mut words),
                    sent => sent.map(drop),
                }
            }
            ready = socket.writable(), if !unsent.is_empty() => ready.and_then(|()| unsent.send(socket)).map(drop),
            ready = socket.readable() => ready.and_then(|()| read(socket, &mut chunk, &mut frames, &mut words)),
        };
        // It may have said something before it hung up, also when that was noticed while something was sent.
        let ended = match ended {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                read(socket, &mut chunk, &mut frames, &mut words).and(Err(error))
            }
            other => other,
        };
        if !words.is_empty() && heard.send((name, Heard::Words(words))).await.is_err() {
            return Ok(());
        }
        ended?;
    }
}

/// Reads what has arrived, a bounded part of it at once, and cuts it into words.
fn read(
    socket: &UnixStream,
    chunk: &mut [u8],
    frames: &mut Frames,
    words: &mut Vec<(Word, Vec<u8>)>,
) -> io::Result<()> {
    for _ in 0..READS {
        match socket.try_read(chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => frames.extend(chunk.get(..read).unwrap_or_default()),
            Err(error) if is_later(&error) => break,
            Err(error) => return Err(error),
        }
        words_of(frames, words)?;
    }
    Ok(())
}

/// Looks for an answer for a moment: many a guest is done before a thread that slept would be awake again.
fn linger(
    socket: &UnixStream,
    orders: &mut mpsc::Receiver<Outgoing>,
    unsent: &mut Unsent,
    chunk: &mut [u8],
    frames: &mut Frames,
    words: &mut Vec<(Word, Vec<u8>)>,
) -> io::Result<()> {
    let until = Instant::now() + LINGER;
    while words.is_empty() && Instant::now() < until {
        // Past the event loop, which would have to be asked each time.
        match rustix::net::recv(socket, &mut *chunk, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, read)) => {
                frames.extend(chunk.get(..read).unwrap_or_default());
                words_of(frames, words)?;
            }
            Err(error) if is_later(&error.into()) => {
                if let Ok(outgoing) = orders.try_recv() {
                    unsent.push(outgoing);
                    if !unsent.send(socket)? {
                        return Ok(());
                    }
                }
                std::hint::spin_loop();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn words_of(frames: &mut Frames, words: &mut Vec<(Word, Vec<u8>)>) -> io::Result<()> {
    while let Some((word, body)) = frames.next::<Word>()? {
        if !(body.is_empty() || matches!(word, Word::Done { .. })) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a word that has no body came with one"));
        }
        words.push((word, body));
    }
    Ok(())
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// What could not be sent yet.
#[derive(Default)]
struct Unsent {
    queue: VecDeque<Outgoing>,
    /// Bytes of the first that are on their way.
    sent: usize,
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, outgoing: Outgoing) {
        match (self.queue.back_mut(), outgoing) {
            (Some(Outgoing::Orders(last)), Outgoing::Orders(more)) => last.extend_from_slice(&more),
            (_, outgoing) => self.queue.push_back(outgoing),
        }
    }

    /// Sends what the socket takes; true when that was everything. A file goes with the first byte of its order.
    fn send(&mut self, socket: &UnixStream) -> io::Result<bool> {
        while let Some(first) = self.queue.front() {
            let (bytes, code) = match first {
                Outgoing::Orders(bytes) => (bytes, None),
                Outgoing::Code(bytes, code) => (bytes, Some(code).filter(|_| self.sent == 0)),
            };
            let rest = bytes.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.queue.pop_front();
                self.sent = 0;
                continue;
            }
            let sent = socket.try_io(Interest::WRITABLE, || {
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                let files = code.map(|code| [code.file.as_fd()]);
                if let Some(files) = &files {
                    control.push(SendAncillaryMessage::ScmRights(files));
                }
                Ok(sendmsg(socket, &[io::IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Ok(sent) => self.sent = self.sent.saturating_add(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
