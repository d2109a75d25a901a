//! What comes into the console, and what goes out of it. Nothing else does either.

use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent, MouseEventKind};
use jiff::Timestamp;
use zerostate::api::{Answer, ApiError, Command, Snapshot};
use zerostate::document::Draft;

use super::action::Action;
use super::layers::FileEntry;

/// Something that happened.
#[derive(Debug)]
pub enum Msg {
    Key(KeyEvent),
    Paste(String),
    /// An action that was asked for by its name, with the word behind it.
    Act(Action, String),
    /// Choose the row at a place of the focused pane.
    Select(usize),
    /// Put this into the field that is typed into, in place of what stands there.
    Fill(String),
    /// A button or the wheel, where the mouse was asked for.
    Mouse(MouseEvent),
    Resize(u16, u16),
    Snapshot(Arc<Snapshot>),
    /// The node does not answer any more; it is looked for.
    Gone,
    /// The question of this number has been there for a moment.
    Armed(u64),
    /// There is time for what was left unfinished.
    GoOn,
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
    /// What is in a folder.
    Listed {
        folder: String,
        found: Result<Vec<FileEntry>, String>,
    },
    /// The editor has ended; this is the manifest that it wrote.
    Edited(Result<String, String>),
    /// A bundle was written to this file, or not.
    Bundled {
        ticket: u64,
        result: Result<String, ApiError>,
    },
}

impl Msg {
    /// Whether the operator did something: a question that comes later must not take it for its answer.
    pub fn is_operators(&self) -> bool {
        match self {
            Self::Key(_) | Self::Paste(_) | Self::Act(..) | Self::Select(_) | Self::Fill(_) => true,
            Self::Mouse(event) => matches!(event.kind, MouseEventKind::Down(_)),
            _ => false,
        }
    }
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

/// What is opened in an editor.
#[derive(Debug, PartialEq)]
pub enum Editing {
    /// A manifest that is there.
    File(String),
    /// A new one, called after its task.
    New { name: String, text: String },
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
        guild: Option<String>,
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
    /// List a folder.
    List {
        folder: String,
    },
    /// Open a manifest in the operator's editor: a file, or a new one with this text.
    Edit(Editing),
    /// Write a receipt with all that proves it into a file.
    Bundle {
        ticket: u64,
        receipt_id: String,
    },
    /// Say of the question of this number when it has been there for a moment.
    Arm(u64),
    /// Hand text to the terminal's clipboard.
    Copy(String),
    /// Have the mouse reported, or not.
    CatchMouse(bool),
    /// Show a replayed journal as it was after so many entries.
    Seek(usize),
    Repaint,
    Suspend,
    Quit,
    Panic,
    /// Panic where nothing is drawn.
    PanicElsewhere,
}
