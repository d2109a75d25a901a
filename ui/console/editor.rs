//! The operator's editor, on a manifest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::timeout;

use super::forms::submit::expand;
use super::msg::Editing;

/// How long an editor may take to end when it is asked to.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// A name of a file is made of these; the others of a task's name become dashes.
fn file_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "task".to_owned() } else { plain.to_owned() }
}

/// What the operator edits with: `$VISUAL`, `$EDITOR`, or vi.
pub fn command() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}

/// The file that is to be edited; a new one is written first, beside those that are there.
///
/// # Errors
/// A sentence for the operator.
pub fn prepare(what: Editing, folder: Option<&Path>) -> Result<PathBuf, String> {
    match what {
        Editing::File(path) => Ok(PathBuf::from(expand(&path))),
        Editing::New { name, text } => {
            let folder = folder.ok_or("there is no folder for drafts here; name a manifest in the form")?;
            let complain = |error: std::io::Error| format!("{}: {error}", folder.display());
            std::fs::create_dir_all(folder).map_err(complain)?;
            let name = file_name(&name);
            for n in 1..1_000u32 {
                let end = if n == 1 { String::new() } else { format!("-{n}") };
                let path = folder.join(format!("{name}{end}.toml"));
                match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
                    Ok(mut file) => {
                        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(complain)?;
                        return Ok(path);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(complain(error)),
                }
            }
            Err(format!("{} is full of drafts called {name}", folder.display()))
        }
    }
}

/// How an editor came to its end.
pub enum Ended {
    /// By itself; or why it is of no use.
    Edited(Result<(), String>),
    /// With the console, by this signal.
    Stopped(i32),
}

/// Runs the editor on the terminal until it ends, or until the console has to.
pub async fn run(path: &Path, stop: impl Future<Output = i32>) -> Ended {
    let command = command();
    // As git does it: the variable may hold arguments, and the path is one however it is spelt.
    let mut editor = Command::new("sh");
    editor.arg("-c").arg(format!("exec {command} \"$1\"")).arg("editor").arg(path).kill_on_drop(true);
    editor.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut editor = match editor.spawn() {
        Ok(editor) => editor,
        Err(error) => return Ended::Edited(Err(format!("the editor ({command}) did not start: {error}"))),
    };
    let number = tokio::select! {
        ended = editor.wait() => return Ended::Edited(match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(format!("the editor ({command}) ended with {status}; set VISUAL or EDITOR to another"))
            }
            Err(error) => Err(format!("the editor ({command}): {error}")),
        }),
        number = stop => number,
    };
    // It may have something to save, and the terminal to put back.
    let asked = editor.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let asked = asked.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM));
    if asked.is_err() || timeout(LAST_WORDS, editor.wait()).await.is_err() {
        tracing::debug!("the editor is ended with the console");
    }
    Ended::Stopped(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_called_after_its_task_and_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let new = |text: &str| Editing::New { name: "../a b".to_owned(), text: text.to_owned() };
        let first = prepare(new("one"), Some(folder.path())).unwrap();
        let second = prepare(new("two"), Some(folder.path())).unwrap();
        assert_eq!(first, folder.path().join("a-b.toml"));
        assert_eq!(second, folder.path().join("a-b-2.toml"));
        assert_eq!(std::fs::read_to_string(first).unwrap(), "one");
        assert!(prepare(new("three"), None).is_err());
    }
}
