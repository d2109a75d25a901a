//! The program: a command line with a verb for everything, and a console when there is no verb.

mod cli;
mod console;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A runner must take its own rights away before anything else happens in its process.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "runner") {
        return zerostate::execution::serve();
    }
    cli::main()
}
