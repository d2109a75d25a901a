//! What the node and its children say to each other, and how.
//!
//! A frame is two lengths (u32, little endian), a head of the first length in postcard, and a body of the second: bytes
//! that are passed on and not looked at. Each side bounds every length it reads: a child may have been taken over by its
//! guest. A compiled module travels as a file descriptor beside the frame that announces it (`SCM_RIGHTS`).

use std::io::{self, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::{MAX_MODULE_BYTES, MAX_OUTPUT_BYTES, MAX_STDIN_BYTES};
use super::{Job, Limits};
use crate::document::Status;

/// Arguments (64 KiB), a function's name and numbers; or an error of a few hundred characters.
const MAX_HEAD: u64 = 256 << 10;
/// The largest body: both outputs, a standard input, or a module.
const MAX_BODY: u64 = MAX_OUTPUT_BYTES * 2;
const LENGTHS: usize = 8;
/// Room that is kept for what arrives next.
const KEPT: usize = 256 << 10;
const _: () = assert!(MAX_STDIN_BYTES <= MAX_BODY && MAX_MODULE_BYTES <= MAX_BODY);

/// What kind of program some code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Kind {
    Module,
    Component,
}

/// The first words to a runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Process id of the parent: a child whose parent is another one by now was orphaned at birth.
    pub(super) parent: u32,
    /// Instances at once.
    pub(super) slots: u32,
    /// Writable memory of the whole process, bytes.
    pub(super) data_bytes: u64,
}

/// The first and only words to a compiler; the module is the body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Compile {
    pub(super) parent: u32,
    pub(super) data_bytes: u64,
    pub(super) cpu: Duration,
    /// Functions that the module may have.
    pub(super) functions: u32,
}

/// What a compiler answers; code is the body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Compiled {
    Code(Kind),
    /// It can never run, and why.
    Refused(Status, String),
}

/// To a runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Take the code whose file comes with this frame.
    Load {
        code: u32,
        kind: Kind,
        stack_bytes: u64,
    },
    Unload {
        code: u32,
    },
    /// Run; the body is the standard input. `beside`: also beside guests that take long.
    Start {
        job: u64,
        code: u32,
        task: Box<Task>,
        beside: bool,
    },
    Cancel {
        job: u64,
    },
}

/// A job without its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) function: String,
    pub(super) args: Vec<String>,
    pub(super) limits: Limits,
    pub(super) seed: [u8; 32],
    pub(super) wall_clock: bool,
    pub(super) random: bool,
}

impl Task {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            function: job.function.clone(),
            args: job.args.clone(),
            limits: job.limits,
            seed: job.seed,
            wall_clock: job.wall_clock,
            random: job.random,
        }
    }
}

/// From a runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// It is locked in and takes orders.
    Ready(Protections),
    /// The code cannot be used: another processor, another build, a damaged file.
    NotLoaded { code: u32, reason: String },
    /// How a job is that takes longer than a moment.
    Beat { job: u64, beat: Beat },
    /// Not begun, and why.
    Returned { job: u64, why: Why },
    /// Done; the body is so many bytes of stdout, and then stderr.
    Done { job: u64, report: Report, stdout: u32 },
    /// Dropped, as ordered.
    Cancelled { job: u64 },
}

/// Why a job was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Why {
    /// Other guests keep the runner busy.
    Busy,
    /// There is no place or no memory for one more instance.
    NoRoom,
    /// Its code is not loaded, or could not be.
    NoCode,
}

/// A look at a running guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    /// To the nearest look at it.
    pub(super) fuel_used: u64,
    pub(super) memory_bytes: u64,
    pub(super) output_bytes: u64,
    pub(super) elapsed: Duration,
    /// It waits for something, and uses no processor.
    pub(super) asleep: bool,
    /// The end of its stdout.
    pub(super) output: Vec<u8>,
}

/// The measured part of an outcome; the outputs travel beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) fuel_used: u64,
    pub(super) peak_memory_bytes: u64,
    pub(super) duration: Duration,
}

impl Report {
    /// A run that did not come to run.
    pub(super) fn not_run(status: Status, error: impl Into<String>) -> Self {
        Self {
            status,
            exit_code: None,
            error: Some(error.into()),
            fuel_used: 0,
            peak_memory_bytes: 0,
            duration: Duration::ZERO,
        }
    }
}

/// What keeps a child in, beyond resource limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protections {
    /// Why the kernel does not keep it from files and sockets by Landlock, if so.
    pub landlock: Result<(), String>,
    /// Why the kernel does not filter its system calls, if so.
    pub seccomp: Result<(), String>,
}

/// Appends a frame.
pub(super) fn write_frame(to: &mut Vec<u8>, head: &impl Serialize, body: &[&[u8]]) -> io::Result<()> {
    let start = to.len();
    to.extend_from_slice(&[0; LENGTHS]);
    *to = postcard::to_extend(head, std::mem::take(to)).map_err(io::Error::other)?;
    let mut written = Ok(());
    let head_length = to.len().saturating_sub(start).saturating_sub(LENGTHS);
    body.iter().for_each(|part| to.extend_from_slice(part));
    let body_length = body.iter().map(|part| part.len()).sum::<usize>();
    for (at, length) in [(start, head_length), (start.saturating_add(4), body_length)] {
        match (u32::try_from(length), to.get_mut(at..at.saturating_add(4))) {
            (Ok(length), Some(place)) => place.copy_from_slice(&length.to_le_bytes()),
            _ => written = Err(io::Error::other("a frame of over 4 GiB")),
        }
    }
    written
}

/// What came off a socket, cut into frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// So many of them have been taken.
    taken: usize,
}

impl Frames {
    /// Adds what has arrived.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            // What one large frame needed is not kept.
            self.bytes.shrink_to(KEPT);
            self.taken = 0;
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame that is whole.
    ///
    /// # Errors
    /// `InvalidData` for what is no frame; nothing after it can be understood.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<u8>)>> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((lengths, rest)) = rest.split_at_checked(LENGTHS) else { return Ok(None) };
        let (head, body) = lengths_of(lengths)?;
        let Some((head, rest)) = rest.split_at_checked(head) else { return Ok(None) };
        let Some(body) = rest.get(..body) else { return Ok(None) };
        let value = postcard::from_bytes(head).map_err(not_a_frame)?;
        self.taken = self.taken.saturating_add(LENGTHS + head.len()).saturating_add(body.len());
        Ok(Some((value, body.to_vec())))
    }
}

/// Reads one frame from a pipe, whatever `head` and `body` it has.
pub(super) fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let mut lengths = [0; LENGTHS];
    from.read_exact(&mut lengths)?;
    let (head_length, body_length) = lengths_of(&lengths)?;
    // Grows with what arrives, not with what was announced.
    let mut take = |length: usize| {
        let mut bytes = Vec::new();
        let read = from.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    };
    let head = take(head_length)?;
    let body = take(body_length)?;
    Ok((postcard::from_bytes(&head).map_err(not_a_frame)?, body))
}

fn lengths_of(bytes: &[u8]) -> io::Result<(usize, usize)> {
    let length = |at: usize| {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        u64::from(u32::from_le_bytes(four))
    };
    for (length, limit) in [(length(0), MAX_HEAD), (length(4), MAX_BODY)] {
        if length > limit {
            let complaint = format!("a frame of {length} bytes, at most {limit} are right here");
            return Err(io::Error::new(io::ErrorKind::InvalidData, complaint));
        }
    }
    let size = |length: u64| usize::try_from(length).map_err(io::Error::other);
    Ok((size(length(0))?, size(length(4))?))
}

fn not_a_frame(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &Order::Cancel { job: 7 }, &[]).unwrap();
        write_frame(&mut bytes, &Order::Unload { code: 3 }, &[b"one", b"two"]).unwrap();
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.extend(part);
                while let Some((order, body)) = frames.next::<Order>().unwrap() {
                    seen.push((format!("{order:?}"), body));
                }
            }
            assert_eq!(
                seen,
                [("Cancel { job: 7 }".into(), Vec::new()), ("Unload { code: 3 }".into(), b"onetwo".to_vec())]
            );
        }
        let (order, body) = read_frame::<Order>(&mut &bytes[..]).unwrap();
        assert!(matches!(order, Order::Cancel { job: 7 }) && body.is_empty());
    }

    #[test]
    fn a_frame_longer_than_allowed_or_without_sense_is_refused_at_once() {
        for lengths in
            [[MAX_HEAD + 1, 0], [1, MAX_BODY + 1]].map(|pair| pair.map(|n| u32::try_from(n).unwrap()))
        {
            let bytes: Vec<u8> = lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
            let mut frames = Frames::default();
            frames.extend(&bytes);
            assert_eq!(frames.next::<Word>().unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(read_frame::<Word>(&mut &bytes[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let mut frames = Frames::default();
        frames.extend(b"\x01\0\0\0\0\0\0\0\xff");
        assert_eq!(frames.next::<Word>().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
