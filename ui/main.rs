//! The program: a command line with a verb for everything, and a console when there is no verb.

mod bundle;
mod cli;
mod console;
mod files;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A child must take its own rights away before anything else happens in its process.
    match std::env::args_os().nth(1) {
        Some(verb) if verb == "runner" => zerostate::execution::serve(),
        Some(verb) if verb == "compiler" => zerostate::execution::compile_one(),
        _ => cli::main(),
    }
}
