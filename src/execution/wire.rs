//! What parent and child say to each other, and how.
//!
//! Everything is a frame: a length (u32, little endian), then so many bytes. The parent sends a [`Header`] as
//! JSON, the module and stdin; the child sends [`Message`]s as JSON, and after [`Message::Done`] stdout and stderr.
//! Each side bounds every length it reads: a child may have been taken over by its guest.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::guest::Report;
use super::{Job, Limits};

/// Arguments (64 KiB) may grow sixfold as JSON escapes; the rest is small.
pub(super) const MAX_HEADER_BYTES: u64 = 1 << 20;
/// A message carries one error text of a few hundred characters.
pub(super) const MAX_MESSAGE_BYTES: u64 = 64 << 10;

/// A job without its bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Process id of the parent: a child whose parent is another one by now was orphaned at birth.
    pub(super) parent: u32,
    function: String,
    args: Vec<String>,
    pub(super) limits: Limits,
    seed: [u8; 32],
    wall_clock: bool,
    random: bool,
}

impl Header {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            parent: std::process::id(),
            function: job.function.clone(),
            args: job.args.clone(),
            limits: job.limits,
            seed: job.seed,
            wall_clock: job.wall_clock,
            random: job.random,
        }
    }

    pub(super) fn into_job(self, module: Vec<u8>, stdin: Vec<u8>) -> Job {
        Job {
            module: module.into(),
            function: self.function,
            args: self.args,
            stdin,
            limits: self.limits,
            seed: self.seed,
            wall_clock: self.wall_clock,
            random: self.random,
        }
    }
}

/// What a child tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Message {
    Compiling,
    Running,
    Progress {
        fuel_used: u64,
        memory_bytes: u64,
    },
    /// Two frames follow: stdout and stderr.
    Done(Report),
}

fn too_long(length: u64, limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a frame of {length} bytes, at most {limit} are right here"),
    )
}

/// Never "unexpected end": the frame was whole, what is in it is wrong.
fn not_json(error: serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn length_of(bytes: &[u8]) -> io::Result<[u8; 4]> {
    u32::try_from(bytes.len()).map(u32::to_le_bytes).map_err(io::Error::other)
}

/// The child's half: plain blocking pipes.
pub(super) fn write_frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&length_of(bytes)?)?;
    to.write_all(bytes)?;
    to.flush()
}

pub(super) fn write_json(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    write_frame(to, &serde_json::to_vec(value)?)
}

pub(super) fn read_frame(from: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > limit {
        return Err(too_long(length, limit));
    }
    // Grows with what arrives, not with what was announced.
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    complete(bytes, length)
}

pub(super) fn read_json<T: DeserializeOwned>(from: &mut impl Read, limit: u64) -> io::Result<T> {
    serde_json::from_slice(&read_frame(from, limit)?).map_err(not_json)
}

/// The parent's half.
pub(super) async fn send_frame(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(&length_of(bytes)?).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

pub(super) async fn receive_frame(from: &mut (impl AsyncRead + Unpin), limit: u64) -> io::Result<Vec<u8>> {
    let length = u64::from(from.read_u32_le().await?);
    if length > limit {
        return Err(too_long(length, limit));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes).await?;
    complete(bytes, length)
}

pub(super) async fn receive_json<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    limit: u64,
) -> io::Result<T> {
    serde_json::from_slice(&receive_frame(from, limit).await?).map_err(not_json)
}

fn complete(bytes: Vec<u8>, length: u64) -> io::Result<Vec<u8>> {
    if u64::try_from(bytes.len()) == Ok(length) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_halves_read_what_the_other_wrote() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, b"one").unwrap();
        assert_eq!(receive_frame(&mut pipe.as_slice(), 3).await.unwrap(), b"one");
        let mut pipe = Vec::new();
        send_frame(&mut pipe, b"two").await.unwrap();
        assert_eq!(read_frame(&mut pipe.as_slice(), 3).unwrap(), b"two");
    }

    #[tokio::test]
    async fn a_frame_longer_than_allowed_or_than_its_bytes_is_refused() {
        let mut long = &b"\x04\0\0\0four"[..];
        assert_eq!(receive_frame(&mut long, 3).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut short = &b"\xff\0\0\0few"[..];
        assert_eq!(receive_frame(&mut short, 300).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut short = &b"\xff\0\0\0few"[..];
        assert_eq!(read_frame(&mut short, 300).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_header_brings_the_whole_job_over() {
        let mut job = Job::new(b"module".to_vec());
        job.function = "f".into();
        job.args = vec!["a\0b".into()];
        job.stdin = b"in".to_vec();
        (job.seed, job.wall_clock, job.random) = ([7; 32], true, true);
        job.limits.fuel = u64::MAX;
        let mut pipe = Vec::new();
        write_json(&mut pipe, &Header::of(&job)).unwrap();
        let header: Header = read_json(&mut pipe.as_slice(), MAX_HEADER_BYTES).unwrap();
        let over = header.into_job(b"module".to_vec(), b"in".to_vec());
        assert_eq!(format!("{over:?}"), format!("{job:?}"));
    }
}
