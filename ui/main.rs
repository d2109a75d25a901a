use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "runner") {
        return zerostate::execution::serve();
    }
    ExitCode::SUCCESS
}
