//! The local HTTP server on the node's Unix socket. Whoever may open the socket (0600) may operate the node.
//!
//! | | |
//! |---|---|
//! | `GET /v1/snapshot` | the [`Snapshot`] |
//! | `GET /v1/snapshots` | one per line, whenever it changes, at most ten a second |
//! | `GET /v1/events?after=N` | the journal after entry N, one per line, and then what is added |
//! | `POST /v1/command` | a [`Command`]; answers an [`Answer`](super::Answer), or an [`ApiError`] with status 4xx or 5xx |
//! | `POST /v1/artifacts` | bytes into the store; answers [`ArtifactInfo`](super::ArtifactInfo) |
//! | `GET /v1/artifacts/{cid}` | bytes out of the store |

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::command::{Answer, ApiError, Command, ErrorKind};
use super::link::Link;
use super::snapshot::Snapshot;
use crate::document::ARTIFACT_MAX;

/// A command with a module's stdin in base64 is the largest body.
const BODY_MAX: usize = 96 << 20;
/// Journal entries a line stream takes from the node at once.
const EVENTS_AT_ONCE: u32 = 500;

/// Serves `link` on `listener` until `shutdown`.
///
/// # Errors
/// Those of accepting connections.
pub async fn serve(listener: UnixListener, link: Link, shutdown: CancellationToken) -> std::io::Result<()> {
    let served = Served { link, shutdown: shutdown.clone() };
    let router = Router::new()
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/snapshots", get(snapshots))
        .route("/v1/events", get(events))
        .route("/v1/command", post(command))
        .route("/v1/artifacts", post(add_artifact))
        .route("/v1/artifacts/{cid}", get(read_artifact))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(served);
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

async fn add_artifact(
    State(served): State<Served>,
    body: Bytes,
) -> Result<Json<super::ArtifactInfo>, ApiError> {
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > ARTIFACT_MAX {
        return Err(ApiError::new(ErrorKind::Input, format!("an artifact has at most {ARTIFACT_MAX} bytes")));
    }
    served.link.add_artifact(body.to_vec()).await.map(Json)
}

async fn read_artifact(State(served): State<Served>, Path(cid): Path<String>) -> Result<Vec<u8>, ApiError> {
    served.link.read_artifact(cid).await
}

fn line<T: serde::Serialize>(value: &T) -> Option<Bytes> {
    let mut text = serde_json::to_vec(value).ok()?;
    text.push(b'\n');
    Some(text.into())
}
