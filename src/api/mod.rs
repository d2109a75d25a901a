//! The one vocabulary between a node and whoever looks at it.
//!
//! ```text
//!   console, command line ──Command──► Link ──► node
//!                         ◄──Answer───
//!                         ◄──Snapshot (latest wins) · Event (numbered)
//! ```
//!
//! A [`Link`] is either the node in the same process or a [`Client`] on its socket; nobody on this side can tell which.

mod client;
mod command;
mod file;
mod guild;
mod link;
mod metrics;
mod recording;
mod server;
mod snapshot;

pub use client::{Client, is_own, socket_path};
pub use command::{
    Answer, ApiError, ArtifactInfo, AttestationView, ChainView, Command, EquivocationView, ErrorKind, Named,
    Page, PageRequest, ReceiptDetail, RunReport, SourceView, TaskDetail, TimelineStep,
};
pub use file::{Download, Upload};
pub use guild::{GuildAnswer, GuildAsking, GuildCommand, GuildLine, GuildMember, GuildView, Missed};
pub use link::{Answering, Link};
pub use metrics::serve_metrics;
pub use recording::{Recording, RecordingError};
pub use server::serve;
pub use snapshot::{
    InboxItem, LedgerView, LogLine, NodeView, PeerView, ProgressView, RerunView, Snapshot, Tail, TaskView,
    TransferView,
};

pub use crate::storage::{
    AttestationRecord, Candidate, Event, Happening, ReceiptRecord, TaskRecord, TaskState, short_id,
};
