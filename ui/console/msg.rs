//! What comes into the console, and what goes out of it. Nothing else does either.

use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::KeyEvent;
use jiff::Timestamp;
use zerostate::api::{Answer, ApiError, Command, Snapshot};
use zerostate::document::Draft;

/// Something that happened.
#[derive(Debug)]
pub enum Msg {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    Snapshot(Arc<Snapshot>),
    /// A second has gone by.
    Tick(Timestamp),
    /// The node's answer to a command.
    Answered {
        ticket: u64,
        result: Result<Answer, ApiError>,
    },
    /// What stands at the path in the submit form; older generations are out of date.
    Probed {
        generation: u64,
        found: Result<Probe, String>,
    },
    /// The paths that begin with what was typed.
    Completed {
        generation: u64,
        paths: Vec<String>,
    },
}

/// What a path in the submit form leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// A module of so many bytes.
    Module {
        size: u64,
    },
    /// A manifest; `module` says what the artifact it names is.
    Manifest {
        draft: Box<Draft>,
        module: Option<PathBuf>,
    },
    Folder,
}

/// Something to be done outside of the model.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Execute {
        ticket: u64,
        command: Command,
    },
    /// Read the module (unless it is in the node's store already), hand it over, and submit the draft.
    Submit {
        ticket: u64,
        module: Option<PathBuf>,
        draft: Box<Draft>,
    },
    /// Look at what stands at a path.
    Probe {
        generation: u64,
        path: String,
    },
    /// Find the paths that begin with this.
    Complete {
        generation: u64,
        typed: String,
    },
    /// Hand text to the terminal's clipboard.
    Copy(String),
    /// Load the theme of that name; the next one when empty.
    Theme(String),
    Repaint,
    Suspend,
    Quit,
    Panic,
}
