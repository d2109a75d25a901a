//! `zerostate completions`: for the shell.

use clap::CommandFactory as _;

use super::{Cli, Outcome, output};

#[derive(clap::Args)]
pub struct CompletionsVerb {
    shell: clap_complete::Shell,
}

pub fn run(verb: &CompletionsVerb) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut Cli::command(), "zerostate", &mut script);
    output::bytes(&script)?;
    Ok(0)
}
