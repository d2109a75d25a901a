//! A node in another process, spoken to over the socket in its data directory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::command::{Answer, ApiError, ArtifactInfo, Command, ErrorKind};
use super::file::{Download, Upload};
use super::link::{Answering, Link};
use super::snapshot::Snapshot;
use crate::storage::Event;

/// A Unix socket's path holds 107 bytes on Linux and 103 on macOS.
const PATH_MAX: usize = 100;
/// How long a node may take to say what it knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A line of a stream: a snapshot with full tails is under 1 MiB.
const LINE_MAX: usize = 16 << 20;
/// An answer as a whole: a receipt with its proof and output, or a thousand rows.
const BODY_MAX: usize = 256 << 20;

/// Where the socket of the node on `data_dir` is. In a deep directory it is under the runtime directory instead, by a name
/// made from the data directory's path, so that both sides find it.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    let plain = data_dir.join("api.sock");
    if plain.as_os_str().len() <= PATH_MAX {
        return plain;
    }
    let whole = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    let digest = crate::document::Sha256Digest::of(whole.as_os_str().as_encoded_bytes()).to_string();
    let name: String = digest.chars().take(16).collect();
    let runtime = directories::ProjectDirs::from("", "", "zerostate")
        .and_then(|dirs| dirs.runtime_dir().map(Path::to_path_buf));
    // Without one, a folder of this user's own in the common one; the node makes it 0700 and refuses somebody else's.
    let own = || std::env::temp_dir().join(format!("zerostate-{}", rustix::process::getuid().as_raw()));
    runtime.unwrap_or_else(own).join(format!("{name}.sock"))
}

/// Whether a file or folder belongs to this user.
pub fn is_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() == rustix::process::getuid().as_raw())
}

/// A client of one node. Each call has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Arc<PathBuf>,
}

impl Client {
    /// A client of the node that runs on `data_dir`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when none runs there.
    pub async fn connect(data_dir: &Path) -> Result<Self, ApiError> {
        let client = Self { socket: Arc::new(socket_path(data_dir)) };
        match UnixStream::connect(client.socket.as_path()).await {
            Ok(_) if !client.socket.starts_with(data_dir) && !is_own(&client.socket) => {
                let what = format!("the socket {} belongs to somebody else", client.socket.display());
                Err(ApiError::new(ErrorKind::Unavailable, what))
            }
            Ok(_) => Ok(client),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let what = format!("the node on {} does not let you in: {error}", data_dir.display());
                Err(ApiError::new(ErrorKind::Unavailable, what).hint("it answers the user who started it"))
            }
            Err(_) => {
                Err(ApiError::new(ErrorKind::Unavailable, format!("no node runs on {}", data_dir.display()))
                    .hint("start one with `zerostate node`, or name another data directory with --data-dir"))
            }
        }
    }

    /// The node's snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the node is gone.
    pub async fn snapshot(&self) -> Result<Snapshot, ApiError> {
        parse(&in_time(self.request(Method::GET, "/v1/snapshot", Vec::new())).await?)
    }

    /// The way to the node that a console uses; its snapshots come for as long as the node lives.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the node is gone.
    pub async fn link(&self) -> Result<Link, ApiError> {
        let mut lines = Lines::new(in_time(self.open(Method::GET, "/v1/snapshots", Vec::new())).await?);
        let (sender, snapshots) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next().await {
                let mut snapshot = match parse::<Snapshot>(&line) {
                    Ok(snapshot) => snapshot,
                    Err(error) => {
                        tracing::warn!(%error, "what the node says of itself cannot be read; is it of another version?");
                        break;
                    }
                };
                if let Some(before) = sender.borrow().as_deref() {
                    snapshot.share(before);
                }
                if sender.send(Some(Arc::new(snapshot))).is_err() {
                    break;
                }
            }
        });
        Ok(Link::new(Arc::new(self.clone()), snapshots))
    }

    /// Calls `each` for every journal entry after `after`, and for those to come, until it answers `false`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the node is gone.
    pub async fn follow(&self, after: u64, mut each: impl FnMut(Event) -> bool) -> Result<(), ApiError> {
        let path = format!("/v1/events?after={after}");
        let mut lines = Lines::new(in_time(self.open(Method::GET, &path, Vec::new())).await?);
        while let Some(line) = lines.next().await? {
            if !each(parse(&line)?) {
                break;
            }
        }
        Ok(())
    }

    async fn open(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, ApiError> {
        let request = Request::builder().method(method).uri(path).header("host", "zerostate");
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        self.send(request.body(body).map_err(gone)?).await
    }

    async fn send(&self, request: Request<Sent>) -> Result<Response<Incoming>, ApiError> {
        let stream = UnixStream::connect(self.socket.as_path()).await.map_err(gone)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the node ended");
            }
        });
        sender.send_request(request).await.map_err(gone)
    }

    async fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, ApiError> {
        whole(self.open(method, path, body).await?).await
    }
}

/// What is sent to a node: a whole body, or a file as it is read.
type Sent = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a node answers from what it knows comes at once, or the node is stuck.
async fn in_time<T>(answer: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| {
        let what = format!("the node does not answer within {} s", ANSWER_WITHIN.as_secs());
        Err(ApiError::new(ErrorKind::Unavailable, what)
            .hint("is it stopped, or out of memory? its log may say more"))
    })
}

impl Answering for Client {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            let body =
                serde_json::to_vec(&command).map_err(|error| ApiError::new(ErrorKind::Input, error))?;
            let answer = self.request(Method::POST, "/v1/command", body);
            // What has to wait for a guest, a peer or the disk takes as long as it takes.
            let takes_long = matches!(
                command,
                Command::Run { .. }
                    | Command::Attest { .. }
                    | Command::Examine { .. }
                    | Command::Sign { .. }
                    | Command::Connect { .. }
                    | Command::ArtifactGet { .. }
                    | Command::Submit { .. }
                    | Command::Guild(_)
            );
            parse(&if takes_long { answer.await? } else { in_time(answer).await? })
        }
        .boxed()
    }

    fn add_artifact(&self, file: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>> {
        async move {
            let Upload { bytes, size, pin } = file;
            let request = Request::builder().method(Method::POST).uri(format!("/v1/artifacts?pin={pin}"));
            let request = request.header("host", "zerostate");
            let request = match size {
                Some(size) => request.header("content-length", size),
                None => request,
            };
            let body = StreamBody::new(bytes.map_ok(Frame::data)).boxed_unsync();
            parse(&whole(self.send(request.body(body).map_err(gone)?).await?).await?)
        }
        .boxed()
    }

    fn read_artifact(&self, cid: String) -> BoxFuture<'_, Result<Download, ApiError>> {
        async move {
            let path = format!("/v1/artifacts/{}", plain(&cid)?);
            let response = self.open(Method::GET, &path, Vec::new()).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response.status(), &whole_body(response).await?));
            }
            let length = response.headers().get("content-length");
            let size = length.and_then(|length| length.to_str().ok()?.parse().ok());
            let size = size.ok_or_else(|| gone("it does not say how large the artifact is"))?;
            let bytes = response.into_body().into_data_stream().map_err(gone).boxed();
            Ok(Download { bytes, size })
        }
        .boxed()
    }

    fn read_block(&self, cid: String) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        async move {
            let path = format!("/ipfs/{}?format=raw", plain(&cid)?);
            self.request(Method::GET, &path, Vec::new()).await
        }
        .boxed()
    }
}

/// A CID that can stand in a path.
fn plain(cid: &str) -> Result<&str, ApiError> {
    let plain = !cid.is_empty() && cid.bytes().all(|b| b.is_ascii_alphanumeric());
    plain
        .then_some(cid)
        .ok_or_else(|| ApiError::new(ErrorKind::Input, "an artifact is named by its CID, like bafkrei…"))
}

async fn whole_body(response: Response<Incoming>) -> Result<Bytes, ApiError> {
    Ok(Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(gone)?.to_bytes())
}

/// The body of an answer that says yes.
async fn whole(response: Response<Incoming>) -> Result<Bytes, ApiError> {
    let status = response.status();
    let body = whole_body(response).await?;
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(status, &body)) }
}

fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    parse::<ApiError>(body).unwrap_or_else(|_| {
        let text = crate::document::Untrusted::new(&String::from_utf8_lossy(body));
        ApiError::new(ErrorKind::Failed, format!("the node answered {status}: {text}"))
    })
}

/// The lines of a response that may never end.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), rest: Vec::new() }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(end.saturating_add(1));
                return Ok(Some(std::mem::replace(&mut self.rest, after)));
            }
            if self.rest.len() > LINE_MAX {
                return Err(ApiError::new(ErrorKind::Failed, "the node sent an endless line"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()))
                }
                Some(Err(error)) => return Err(gone(error)),
                None => return Ok(None),
            }
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let wrong =
        |error| ApiError::new(ErrorKind::Failed, format!("the node's answer is not understood: {error}"));
    serde_json::from_slice(bytes).map_err(wrong)
}

fn gone(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Unavailable, format!("the node does not answer: {error}"))
}
