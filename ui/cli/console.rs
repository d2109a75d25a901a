//! The console: with the node inside it, on a node that is already running, or on a lab.

use std::path::Path;

use zerostate::api::Link;

use super::node::NodeArgs;
use super::{Failure, Globals, Outcome};

/// How the console looks.
#[derive(clap::Args, Clone)]
pub struct LookArgs {
    /// Colours: auto, always, never, truecolor, 256, 16
    #[arg(long, default_value = "auto")]
    color: String,
    /// A colour theme, by name
    #[arg(long)]
    theme: Option<String>,
}

#[derive(clap::Args)]
pub struct AttachVerb {
    #[command(flatten)]
    look: LookArgs,
}

pub async fn embedded(_globals: &Globals, _node: NodeArgs, _look: LookArgs) -> Outcome {
    Err(Failure::failed("no console yet"))
}

pub async fn attach(_globals: &Globals, _verb: AttachVerb) -> Outcome {
    Err(Failure::failed("no console yet"))
}

pub async fn on_lab(_link: Link, _look: LookArgs, _manifest: &Path) -> Outcome {
    Err(Failure::failed("no console yet"))
}
