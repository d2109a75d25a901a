//! The runner process: takes orders from its node on a socket, runs guests, says what came of them.
//!
//! ```text
//!            ┌───────────────── one thread ─────────────────┐
//!   Order ──►│ waiting ─► guests (a few compute, many sleep) │──► Word
//!            └── loaded code, an engine with a slot for each ┘
//! ```
//!
//! Guests take turns, each a few microseconds to milliseconds long. Only [`COMPUTING`] of them compute at the same time,
//! and a few more whom the node lets in beside them; one that sleeps leaves its place to another. When a guest turns out to
//! take long, those that wait behind it go back to the node, which may have a freer runner for them.

mod deadline;
mod entry;
pub(super) mod guest;
pub(super) mod host;
mod meter;
mod poll;
mod program;
mod stdio;
mod timers;
mod traps;
mod turn;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, Aborted};
use futures::stream::FuturesUnordered;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::process::Resource;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::budget::{RUNNER_CPU, runner_address_space};
use super::compiler::shown_error;
use super::jail;
use super::wire::{Frames, Order, Protections, Report, Setup, Task, Why, Word, write_frame};
use crate::document::Status;
use deadline::Awake;
use guest::{Finished, NoRoom};
use program::{Loaded, Programs};

/// Guests that compute at the same time; there is one core for all of them.
pub(super) const COMPUTING: usize = 2;
/// The same with those who are let in beside others that take long.
pub(super) const COMPUTING_MOST: usize = 4;
/// Descriptors: socket, stderr, what the event loop has, and the files of loaded code.
const MAX_DESCRIPTORS: u64 = 512;
/// Bytes read from the node at once.
const READ: usize = 256 << 10;
/// Words that are gathered before they are sent.
const GATHERED: usize = 64 << 10;
/// How long a runner that has just been busy looks for more before it sleeps: waking it up takes longer than many a guest.
const LINGER: Duration = Duration::from_micros(50);

/// The main function of `zerostate runner`. Nothing may have run in the process before it.
///
/// Its stdin is a socket to the node.
pub fn serve() -> ExitCode {
    super::exit_code(work())
}

fn work() -> io::Result<()> {
    jail::enter(MAX_DESCRIPTORS)?;
    jail::limit(Resource::Fsize, 0)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut first = std::fs::File::from(socket.try_clone()?);
    let (setup, _): (Setup, _) = super::wire::read_frame(&mut first)?;
    drop(first);
    jail::expect_parent(setup.parent)?;
    jail::limit(Resource::Cpu, RUNNER_CPU.as_secs())?;
    jail::limit(Resource::As, runner_address_space(setup.data_bytes, setup.slots))?;
    jail::limit(Resource::Data, setup.data_bytes)?;
    let programs = Programs::new(setup.slots).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build()?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let protections = jail::lock();
    runtime.block_on(async move {
        let socket = UnixStream::from_std(socket.into())?;
        Runner::new(socket, programs).work(protections).await
    })
}

/// How to look for orders: past the event loop, which is quick and may be done again and again; or with it, so that it
/// knows when to wake this process.
#[derive(Clone, Copy)]
enum Look {
    AtTheSocket,
    WithTheEventLoop,
}

type Guest = Pin<Box<dyn Future<Output = (u64, Result<Ran, Aborted>)>>>;
type Ran = wasmtime::Result<Result<Finished, NoRoom>>;

/// Ends when this task is woken again, by whatever it is: a guest's timer, for one.
async fn woken() {
    let mut first = true;
    std::future::poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Ordered and not begun.
struct Waiting {
    job: u64,
    code: u32,
    task: Box<Task>,
    stdin: Vec<u8>,
    beside: bool,
}

struct Runner {
    socket: UnixStream,
    frames: Frames,
    /// Code that has arrived ahead of the frame that says what it is.
    files: VecDeque<OwnedFd>,
    programs: Programs,
    waiting: VecDeque<Waiting>,
    guests: FuturesUnordered<Guest>,
    running: HashMap<u64, AbortHandle>,
    awake: Awake,
    /// What guests tell of themselves while they are polled.
    told: Rc<RefCell<Vec<Word>>>,
    out: Vec<u8>,
    read: Box<[u8]>,
}

impl Runner {
    fn new(socket: UnixStream, programs: Programs) -> Self {
        Self {
            socket,
            frames: Frames::default(),
            files: VecDeque::new(),
            programs,
            waiting: VecDeque::new(),
            guests: FuturesUnordered::new(),
            running: HashMap::new(),
            awake: Awake::default(),
            told: Rc::default(),
            out: Vec::new(),
            read: vec![0; READ].into_boxed_slice(),
        }
    }

    /// Works until the node hangs up.
    async fn work(mut self, protections: Protections) -> io::Result<()> {
        self.say(&Word::Ready(protections), &[])?;
        let mut busy_at = Instant::now();
        loop {
            while self.receive(Look::AtTheSocket)? {}
            if self.run_guests().await? {
                busy_at = Instant::now();
            }
            if self.flush().await? {
                continue;
            }
            if self.awake.count() > 0 {
                // Timers get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            if busy_at.elapsed() < LINGER && self.guests.is_empty() {
                std::hint::spin_loop();
                continue;
            }
            tokio::select! {
                biased;
                ready = self.socket.readable() => {
                    ready?;
                    while self.receive(Look::WithTheEventLoop)? {}
                }
                // A guest that was asleep.
                () = woken() => {}
            }
            busy_at = Instant::now();
        }
    }

    /// Takes what has arrived; false when there was nothing more.
    fn receive(&mut self, look: Look) -> io::Result<bool> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [io::IoSliceMut::new(&mut self.read)];
        let mut receive = || {
            let message = recvmsg(&self.socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            Ok(message.bytes)
        };
        let got = match look {
            Look::AtTheSocket => receive(),
            Look::WithTheEventLoop => self.socket.try_io(Interest::READABLE, receive),
        };
        let got = match got {
            Ok(got) => got,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node hung up"));
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.frames.extend(self.read.get(..got).unwrap_or_default());
        while let Some((order, body)) = self.frames.next::<Order>()? {
            self.obey(order, body)?;
        }
        Ok(got == self.read.len())
    }

    fn obey(&mut self, order: Order, body: Vec<u8>) -> io::Result<()> {
        match order {
            Order::Load { code, kind, stack_bytes } => {
                let Some(file) = self.files.pop_front() else {
                    return Err(io::Error::other("code without its file"));
                };
                if let Err(error) = self.programs.load(code, kind, stack_bytes, file) {
                    self.say(&Word::NotLoaded { code, reason: format!("{error:#}") }, &[])?;
                }
            }
            Order::Unload { code } => self.programs.unload(code),
            Order::Start { job, code, task, beside } => {
                let waiting = Waiting { job, code, task, stdin: body, beside };
                if beside { self.waiting.push_front(waiting) } else { self.waiting.push_back(waiting) }
            }
            Order::Cancel { job } => {
                self.waiting.retain(|waiting| waiting.job != job);
                match self.running.get(&job) {
                    Some(running) => running.abort(),
                    None => self.say(&Word::Cancelled { job }, &[])?,
                }
            }
        }
        Ok(())
    }

    /// Lets every guest that can go on do so once, and begins as many as there is room for. True when anything ended.
    async fn run_guests(&mut self) -> io::Result<bool> {
        let mut ended_any = false;
        loop {
            while self.may_begin()
                && let Some(next) = self.waiting.pop_front()
            {
                self.begin(next)?;
            }
            // One look, whoever is ready: the socket comes next.
            let ended =
                std::future::poll_fn(|context| Poll::Ready(self.guests.poll_next_unpin(context))).await;
            self.pass_on()?;
            match ended {
                Poll::Ready(Some(ended)) => {
                    ended_any = true;
                    self.finish(ended)?;
                    if self.out.len() >= GATHERED {
                        self.flush().await?;
                    }
                }
                // Those that have just begun may have fallen asleep at once, and left their places to others.
                _ if self.may_begin() => {}
                _ => return Ok(ended_any),
            }
        }
    }

    /// Whether there is a place for the first of those that wait.
    fn may_begin(&self) -> bool {
        let places = |next: &Waiting| if next.beside { COMPUTING_MOST } else { COMPUTING };
        self.waiting.front().is_some_and(|next| self.awake.count() < places(next))
    }

    fn begin(&mut self, waiting: Waiting) -> io::Result<()> {
        let Waiting { job, code, task, stdin, .. } = waiting;
        let Some(program) = self.programs.get(code) else {
            return self.say(&Word::Returned { job, why: Why::NoCode }, &[]);
        };
        // It counts from now on and not from its first turn: otherwise all of them would begin.
        let (place, told) = (self.awake.take(), Rc::clone(&self.told));
        let run = async move {
            let Loaded { engine, program } = program.as_ref();
            let tell = |beat| told.borrow_mut().push(Word::Beat { job, beat });
            guest::run(engine, program, &task, stdin, place, tell).await
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.running.insert(job, abort);
        let run = Abortable::new(run, registration);
        self.guests.push(Box::pin(async move { (job, run.await) }));
        Ok(())
    }

    /// Passes on what guests told. One that computes for long sends those behind it back.
    fn pass_on(&mut self) -> io::Result<()> {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for word in told {
            let computes = matches!(&word, Word::Beat { beat, .. } if !beat.asleep);
            self.say(&word, &[])?;
            if computes && self.awake.count() >= COMPUTING {
                let full = self.awake.count() >= COMPUTING_MOST;
                let (beside, behind): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
                    .into_iter()
                    .partition(|waiting| waiting.beside && !full);
                self.waiting = beside;
                for Waiting { job, .. } in behind {
                    self.say(&Word::Returned { job, why: Why::Busy }, &[])?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, ended: (u64, Result<Ran, Aborted>)) -> io::Result<()> {
        let (job, ran) = ended;
        self.running.remove(&job);
        match ran {
            Err(Aborted) => self.say(&Word::Cancelled { job }, &[]),
            Ok(Ok(Err(NoRoom))) => self.say(&Word::Returned { job, why: Why::NoRoom }, &[]),
            Ok(Ok(Ok(Finished { mut report, stdout, stderr }))) => {
                // An argument that is repeated in it may be long.
                report.error = report.error.map(|error| shown_error(&error));
                let length = u32::try_from(stdout.len()).map_err(io::Error::other)?;
                self.say(&Word::Done { job, report, stdout: length }, &[&stdout, &stderr])
            }
            Ok(Err(error)) => {
                let report = Report::not_run(Status::RunnerCrashed, format!("{error:#}"));
                self.say(&Word::Done { job, report, stdout: 0 }, &[])
            }
        }
    }

    fn say(&mut self, word: &Word, body: &[&[u8]]) -> io::Result<()> {
        write_frame(&mut self.out, word, body)
    }

    /// Sends what has gathered. True when it had to wait for that: whoever woke up meanwhile has to be looked after.
    async fn flush(&mut self) -> io::Result<bool> {
        let (mut sent, mut waited) = (0, false);
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            let send = || Ok(send(&self.socket, rest, SendFlags::NOSIGNAL)?);
            match self.socket.try_io(Interest::WRITABLE, send) {
                Ok(bytes) => sent = sent.saturating_add(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    waited = true;
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(GATHERED);
        Ok(waited)
    }
}
