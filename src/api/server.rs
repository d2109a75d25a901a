//! The local HTTP server on the node's Unix socket. Whoever may open the socket (0600) may operate the node.
//!
//! | | |
//! |---|---|
//! | `GET /v1/snapshot` | the [`Snapshot`] |
//! | `GET /metrics` | the same for Prometheus |
//! | `GET /v1/snapshots` | one per line, whenever it changes, at most ten a second |
//! | `GET /v1/events?after=N` | the journal after entry N, one per line, and then what is added |
//! | `POST /v1/command` | a [`Command`]; answers an [`Answer`](super::Answer), or an [`ApiError`] with status 4xx or 5xx |
//! | `POST /v1/artifacts?pin=true` | a file into the store; answers [`ArtifactInfo`](super::ArtifactInfo) |
//! | `GET /v1/artifacts/{cid}` | a file out of the store |
//! | `GET /ipfs/{cid}?format=raw` | a block out of the store, as a trustless gateway has it; without `format` the file |

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::command::{Answer, ApiError, Command, ErrorKind};
use super::file::{Download, Upload};
use super::link::Link;
use super::metrics;
use super::snapshot::Snapshot;
use crate::document::{RAW_BLOCK, Untrusted};

/// A command with a module's stdin in base64 is the largest body.
const BODY_MAX: usize = 96 << 20;
/// Journal entries a line stream takes from the node at once.
const EVENTS_AT_ONCE: u32 = 500;

/// Serves `link` on `listener` until `shutdown`.
///
/// # Errors
/// Those of accepting connections.
pub async fn serve(listener: UnixListener, link: Link, shutdown: CancellationToken) -> std::io::Result<()> {
    let metrics = metrics::router(link.snapshots.clone());
    let served = Served { link, shutdown: shutdown.clone() };
    let router = Router::new()
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/snapshots", get(snapshots))
        .route("/v1/events", get(events))
        .route("/v1/command", post(command))
        .route("/v1/artifacts", post(add_artifact))
        .route("/v1/artifacts/{cid}", get(read_artifact))
        .route("/ipfs/{cid}", get(gateway))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(served)
        .merge(metrics);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

#[derive(Clone)]
struct Served {
    link: Link,
    shutdown: CancellationToken,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ErrorKind::Input => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Failed => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self)).into_response()
    }
}

async fn snapshot(State(mut served): State<Served>) -> Result<Response, ApiError> {
    let ready = served.link.snapshots.wait_for(Option::is_some).await;
    match ready.map(|ready| ready.clone()) {
        Ok(Some(snapshot)) => Ok(Json(snapshot.as_ref()).into_response()),
        _ => Err(ApiError::new(ErrorKind::Unavailable, "the node is stopping")),
    }
}

async fn snapshots(State(served): State<Served>) -> Response {
    let mut receiver = served.link.snapshots.clone();
    receiver.mark_changed();
    let lines = stream::unfold((receiver, served.shutdown), |(mut receiver, shutdown)| async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                changed = receiver.changed() => changed.ok()?,
            }
            let snapshot = receiver.borrow_and_update().clone();
            if let Some(line) = snapshot.and_then(|snapshot| line::<Snapshot>(&snapshot)) {
                return Some((Ok::<_, Infallible>(line), (receiver, shutdown)));
            }
        }
    });
    Body::from_stream(lines).into_response()
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

async fn events(State(served): State<Served>, Query(query): Query<After>) -> Response {
    let position = (served, query.after.unwrap_or(0));
    let lines = stream::unfold(position, |(mut served, mut after)| async move {
        loop {
            served.link.snapshots.mark_unchanged();
            let Ok(Answer::Events(events)) =
                served.link.execute(Command::Events { after, limit: EVENTS_AT_ONCE }).await
            else {
                return None;
            };
            if let Some(last) = events.last() {
                after = last.seq;
                let lines: Vec<u8> = events.iter().filter_map(line).flatten().collect();
                return Some((Ok::<_, Infallible>(Bytes::from(lines)), (served, after)));
            }
            tokio::select! {
                () = served.shutdown.cancelled() => return None,
                changed = changed(&mut served.link.snapshots) => changed?,
            }
        }
    });
    Body::from_stream(lines).into_response()
}

async fn changed(snapshots: &mut watch::Receiver<Option<Arc<Snapshot>>>) -> Option<()> {
    snapshots.changed().await.ok()
}

async fn command(State(served): State<Served>, body: Bytes) -> Result<Json<Answer>, ApiError> {
    let wrong = |error: serde_json::Error| {
        ApiError::new(ErrorKind::Input, format!("the command is not understood: {error}"))
    };
    let command = serde_json::from_slice(&body).map_err(wrong)?;
    served.link.execute(command).await.map(Json)
}

#[derive(Deserialize)]
struct Add {
    #[serde(default)]
    pin: bool,
}

async fn add_artifact(
    State(served): State<Served>,
    Query(query): Query<Add>,
    request: Request,
) -> Result<Json<super::ArtifactInfo>, ApiError> {
    let size = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = request.into_body().into_data_stream().map_err(io::Error::other).boxed();
    served.link.add_artifact(Upload { bytes, size, pin: query.pin }).await.map(Json)
}

async fn read_artifact(State(served): State<Served>, Path(cid): Path<String>) -> Result<Response, ApiError> {
    let Download { bytes, size } = served.link.read_artifact(cid).await?;
    let headers = [(CONTENT_LENGTH, size.to_string()), (CONTENT_TYPE, "application/octet-stream".to_owned())];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

#[derive(Deserialize)]
struct Format {
    format: Option<String>,
}

/// What a trustless gateway answers, from the store alone: whoever may ask here has other means to have something fetched.
async fn gateway(
    State(served): State<Served>,
    Path(cid): Path<String>,
    Query(Format { format }): Query<Format>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let raw = match format.as_deref() {
        Some("raw") => true,
        Some(other) => {
            let other = Untrusted::new(other);
            let what = format!("the format \"{other}\" is not known here; raw is, or none for the file");
            return Err(ApiError::new(ErrorKind::Input, what));
        }
        None => accepted.contains(RAW_BLOCK),
    };
    let common = |kind: &str, name: &str| {
        // What a CID names never changes; and nothing of it is to be run by a browser.
        [
            (CONTENT_TYPE, kind.to_owned()),
            (ETAG, format!("\"{name}\"")),
            (CACHE_CONTROL, "public, max-age=29030400, immutable".to_owned()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ]
    };
    if raw {
        let block = served.link.read_block(cid.clone()).await?;
        return Ok((common(RAW_BLOCK, &format!("{cid}.raw")), block).into_response());
    }
    let Download { bytes, size } = served.link.read_artifact(cid.clone()).await?;
    let headers = common("application/octet-stream", &cid);
    Ok((headers, [(CONTENT_LENGTH, size.to_string())], Body::from_stream(bytes)).into_response())
}

fn line<T: serde::Serialize>(value: &T) -> Option<Bytes> {
    let mut text = serde_json::to_vec(value).ok()?;
    text.push(b'\n');
    Some(text.into())
}
