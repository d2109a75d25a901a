//! One runner process as the pool sees it: orders go in, words come out, and its end is told.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::wire::{Frames, Setup, Word, write_frame};
use super::cache::Code;
use super::launch::{Started, telling_line};

/// Bytes read from a runner at once, and how often before somebody else has a turn.
pub(super) const READ: usize = 256 << 10;
const READS: usize = 8;
/// Orders of which so many bytes wait to be sent are enough.
const UNSENT: usize = 1 << 20;
/// How long a runner that hung up may take to die by itself.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Bytes on their way to a runner.
enum Outgoing {
    Orders(Vec<u8>),
    /// An order that code goes with.
    Code(Vec<u8>, Arc<Code>),
}

/// How a runner has come to its end.
#[derive(Debug)]
enum End {
    /// It has to be killed.
    Unwanted,
    /// It hung up, and may be about to die in a way of its own.
    HungUp,
    /// It said what no runner says.
    Nonsense(String),
}

/// The socket to a runner. Dropped, the process is killed; that it has ended is told in any case.
pub(super) struct Process {
    pid: u32,
    socket: UnixStream,
    /// The same socket for the event loop, while there is nothing to do but wait for it.
    watched: Option<tokio::net::UnixStream>,
    unsent: VecDeque<Outgoing>,
    unsent_bytes: usize,
    /// Bytes of the first that are on their way.
    sent: usize,
    frames: Frames,
    end: Option<mpsc::Sender<End>>,
}

impl Process {
    /// Takes care of a runner that has been started. Its end is told to `ended`, with `name`.
    ///
    /// # Errors
    /// When the first words to it cannot be written down, or its socket not be used.
    pub(super) fn attend(
        started: Started,
        setup: &Setup,
        name: u64,
        ended: mpsc::Sender<(u64, String)>,
    ) -> io::Result<Self> {
        let Started { child, socket, last_words } = started;
        let (end, ends) = mpsc::channel(1);
        let mut process = Self {
            pid: child.id().unwrap_or_default(),
            socket: socket.into_std()?,
            watched: None,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            sent: 0,
            frames: Frames::default(),
            end: Some(end),
        };
        let mut first = Vec::new();
        write_frame(&mut first, setup, &[])?;
        process.push(Outgoing::Orders(first));
        tokio::spawn(bury(child, last_words, ends, name, ended));
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether orders can be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.end.is_some() && self.unsent_bytes < UNSENT
    }

    pub(super) fn order(&mut self, orders: Vec<u8>) {
        self.push(Outgoing::Orders(orders));
    }

    /// An order with code.
    pub(super) fn order_with(&mut self, order: Vec<u8>, code: Arc<Code>) {
        self.push(Outgoing::Code(order, code));
    }

    fn push(&mut self, outgoing: Outgoing) {
        let (Outgoing::Orders(bytes) | Outgoing::Code(bytes, _)) = &outgoing;
        self.unsent_bytes = self.unsent_bytes.saturating_add(bytes.len());
        match (self.unsent.back_mut(), outgoing) {
            (Some(Outgoing::Orders(last)), Outgoing::Orders(more)) => last.extend_from_slice(&more),
            (_, outgoing) => self.unsent.push_back(outgoing),
        }
    }

    /// Ends it; what it had to do is told to be undone when it is gone.
    pub(super) fn kill(&mut self) {
        self.close(End::Unwanted);
    }

    fn close(&mut self, how: End) {
        if let Some(end) = self.end.take()
            && let Err(error) = end.try_send(how)
        {
            tracing::trace!(%error, "the runner was gone already");
        }
        self.watched = None;
    }

    /// Sends what the socket takes at once. What is wrong with it is found out when it is read.
    pub(super) fn send_now(&mut self) {
        if self.end.is_some()
            && let Err(error) = self.send()
        {
            tracing::debug!(%error, pid = self.pid, "orders could not be sent to a runner");
        }
    }

    /// Sends what the socket takes, and hears what has come; true when there was any of it.
    pub(super) fn converse(&mut self, chunk: &mut [u8], words: &mut Vec<(Word, Vec<u8>)>) -> bool {
        if self.end.is_none() {
            return false;
        }
        let before = words.len();
        let sent = self.send();
        // It may have said something before it hung up, also when that was noticed while something was sent.
        let heard = self.hear(chunk, words);
        match sent.and(heard) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.close(End::Nonsense(error.to_string()))
            }
            Err(_) => self.close(End::HungUp),
        }
        words.len() > before
    }

    /// Ready when the socket can be read, or written where there is something to be sent. The event loop looks after it from
    /// here to [`Process::unwatch`] only: it would wake a thread up for each answer, also where another one looks for it
    /// already, and put it in the way of the runner.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.end.is_none() {
            return Poll::Pending;
        }
        match self
            .watch()
            .map(|watched| (watched.poll_read_ready(context), watched.poll_write_ready(context)))
        {
            Ok((Poll::Ready(_), _)) => Poll::Ready(()),
            Ok((_, Poll::Ready(_))) if !self.unsent.is_empty() => Poll::Ready(()),
            // Without a descriptor to spare for the event loop, it is read each time the clock ticks.
            Ok(_) | Err(_) => Poll::Pending,
        }
    }

    fn watch(&mut self) -> io::Result<&mut tokio::net::UnixStream> {
        let watched = match self.watched.take() {
            Some(watched) => watched,
            None => tokio::net::UnixStream::from_std(self.socket.try_clone()?)?,
        };
        Ok(self.watched.insert(watched))
    }

    pub(super) fn unwatch(&mut self) {
        self.watched = None;
    }

    /// Reads what has arrived, a bounded part of it at once, and cuts it into words.
    fn hear(&mut self, chunk: &mut [u8], words: &mut Vec<(Word, Vec<u8>)>) -> io::Result<()> {
        for _ in 0..READS {
            match recv(&self.socket, &mut *chunk, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, read)) => self.frames.extend(chunk.get(..read).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
            while let Some((word, body)) = self.frames.next::<Word>()? {
                if !(body.is_empty() || matches!(word, Word::Done { .. })) {
                    let complaint = "a word that has no body came with one";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, complaint));
                }
                words.push((word, body));
            }
        }
        Ok(())
    }

    /// Sends what the socket takes. A file goes with the first byte of its order.
    fn send(&mut self) -> io::Result<()> {
        while let Some(first) = self.unsent.front() {
            let (bytes, code) = match first {
                Outgoing::Orders(bytes) => (bytes, None),
                Outgoing::Code(bytes, code) => (bytes, Some(code).filter(|_| self.sent == 0)),
            };
            let rest = bytes.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.unsent.pop_front();
                self.sent = 0;
                continue;
            }
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files = code.map(|code| [code.file.as_fd()]);
            if let Some(files) = &files {
                control.push(SendAncillaryMessage::ScmRights(files));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.socket, &[io::IoSlice::new(rest)], &mut control, flags) {
                Ok(sent) => {
                    self.sent = self.sent.saturating_add(sent);
                    self.unsent_bytes = self.unsent_bytes.saturating_sub(sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Waits for a runner's end, one way or the other, sees it dead and reaped, and tells how it was.
async fn bury(
    mut child: Child,
    last_words: JoinHandle<String>,
    mut ends: mpsc::Receiver<End>,
    name: u64,
    ended: mpsc::Sender<(u64, String)>,
) {
    // A socket that is dropped is of a runner that is not wanted any more.
    let end = ends.recv().await.unwrap_or(End::Unwanted);
    let mut exit: Option<ExitStatus> = None;
    if matches!(end, End::HungUp) {
        // Its own way of dying says most.
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
    let why = match end {
        End::Nonsense(error) => format!("the runner did not keep to the protocol: {error}"),
        End::Unwanted | End::HungUp => {
            let how = exit.map_or_else(|| "in an unknown way".to_owned(), |exit| exit.to_string());
            let said = telling_line(&words).map(|line| format!(": {line}")).unwrap_or_default();
            format!("the runner ended ({how}){said}")
        }
    };
    if ended.send((name, why)).await.is_err() {
        tracing::trace!("nobody is there any more to hear of a runner's end");
    }
}
