//! Doing what `update` asks for, away from the keys: commands to the node, files.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use zerostate::api::{Answer, ApiError, Command, ErrorKind, Link, Upload};
use zerostate::document::{ARTIFACT_MAX, ArtifactSource, Draft, DraftFormat, Untrusted};

use super::forms::submit::expand;
use super::layers::{FileEntry, module_of};
use super::msg::{Effect, Msg, Probe};
use super::options::ConsoleOptions;
use super::replay::Replay;

/// Results on their way back; as many as commands that can be pending.
pub const RESULTS_MAX: usize = 64;
/// Manifests are documents of at most 64 KiB; a longer file is not one.
const MANIFEST_MAX: u64 = 64 << 10;
/// So long a question that came by itself stands there before it takes a Yes: longer than a key is on its way that was meant for
/// something else.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(400);
/// More paths than that are not read one by one.
const COMPLETIONS_MAX: usize = 64;
/// Nor chosen from a list.
const LISTED_MAX: usize = 10_000;

/// Runs effects as tasks of their own; their results come back as messages.
pub struct Runner {
    link: Link,
    results: mpsc::Sender<Msg>,
    tasks: JoinSet<()>,
    probing: Option<AbortHandle>,
    bundles: Option<PathBuf>,
    replay: Option<Replay>,
}

impl Runner {
    /// A runner for `link` that answers on `results`.
    pub fn new(link: Link, results: mpsc::Sender<Msg>, options: &ConsoleOptions) -> Self {
        let (bundles, replay) = (options.bundles.clone(), options.replay.clone());
        Self { link, results, tasks: JoinSet::new(), probing: None, bundles, replay }
    }

    /// Begins what can be done beside the console, and gives back what has to do with its terminal.
    pub fn begin(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Execute { ticket, command } => self.execute(ticket, command),
            Effect::Submit { ticket, module, draft, guild } => self.submit(ticket, module, *draft, guild),
            Effect::Probe { generation, path } => self.probe(generation, path),
            Effect::Complete { generation, typed } => self.complete(generation, typed),
            Effect::List { folder } => self.list(folder),
            Effect::Bundle { ticket, receipt_id } => self.bundle(ticket, receipt_id),
            Effect::Arm(number) => drop(self.spawn(async move {
                tokio::time::sleep(MOMENT).await;
                Msg::Armed(number)
            })),
            Effect::Seek(to) => {
                if let Some(replay) = &self.replay {
                    replay.seek(to);
                }
            }
            #[allow(clippy::panic, reason = "the operator asked to see the terminal restored after a crash")]
            Effect::PanicElsewhere => {
                drop(
                    self.spawn(async {
                        std::panic::panic_any("a part of the program was crashed on purpose")
                    }),
                );
            }
            of_the_terminal @ (Effect::Copy(_)
            | Effect::CatchMouse(_)
            | Effect::Edit(_)
            | Effect::Repaint
            | Effect::Suspend
            | Effect::Quit
            | Effect::Panic) => return Some(of_the_terminal),
        }
        None
    }

    /// Has a command done.
    fn execute(&mut self, ticket: u64, command: Command) {
        let link = self.link.clone();
        self.spawn(async move { Msg::Answered { ticket, result: link.execute(command).await } });
    }

    /// Reads a module, hands it over, and submits the draft with it.
    fn submit(&mut self, ticket: u64, module: Option<PathBuf>, draft: Draft, guild: Option<String>) {
        let link = self.link.clone();
        self.spawn(
            async move { Msg::Answered { ticket, result: submit(&link, module, draft, guild).await } },
        );
    }

    /// Looks at what stands at a path.
    fn probe(&mut self, generation: u64, path: String) {
        // The one before is out of date; on a file system that hangs they would pile up.
        if let Some(before) = self.probing.take() {
            before.abort();
        }
        self.probing = Some(self.spawn(async move {
            Msg::Probed { generation, found: probe(&PathBuf::from(expand(&path))).await }
        }));
    }

    /// Finds the paths that begin with what was typed.
    fn complete(&mut self, generation: u64, typed: String) {
        self.spawn(async move {
            let found = tokio::task::spawn_blocking(move || complete(&typed)).await;
            Msg::Completed { generation, paths: found.unwrap_or_default() }
        });
    }

    /// Lists a folder.
    fn list(&mut self, folder: String) {
        self.spawn(async move {
            let asked = folder.clone();
            let found = tokio::task::spawn_blocking(move || list(&asked)).await;
            Msg::Listed { folder, found: found.unwrap_or_else(|error| Err(error.to_string())) }
        });
    }

    /// Writes a receipt's bundle into the folder of bundles.
    fn bundle(&mut self, ticket: u64, receipt_id: String) {
        let (link, folder) = (self.link.clone(), self.bundles.clone());
        self.spawn(async move {
            let result = match folder {
                Some(folder) => bundle(&link, receipt_id, &folder).await,
                None => Err(ApiError::new(ErrorKind::Failed, "there is no folder for bundles here")),
            };
            Msg::Bundled { ticket, result }
        });
    }

    fn spawn(&mut self, work: impl Future<Output = Msg> + Send + 'static) -> AbortHandle {
        while self.tasks.try_join_next().is_some() {}
        let results = self.results.clone();
        self.tasks.spawn(async move {
            // The console may have ended in the meantime; then nobody waits for it.
            if results.send(work.await).await.is_err() {
                tracing::debug!("an answer came after the console had ended");
            }
        })
    }
}

async fn submit(
    link: &Link,
    module: Option<PathBuf>,
    mut draft: Draft,
    guild: Option<String>,
) -> Result<Answer, ApiError> {
    if let Some(path) = module {
        let bytes =
            read_bounded(&path, ARTIFACT_MAX).await.map_err(|why| ApiError::new(ErrorKind::Input, why))?;
        let info = link.add_artifact(Upload::whole(bytes)).await?;
        draft.artifact = ArtifactSource::Cid { cid: info.cid, sha256: None, size: Some(info.size) };
    }
    link.execute(Command::Submit { draft: Box::new(draft), guild }).await
}

/// Writes a receipt with all that proves it and the module, as `zerostate verify` reads it; the path of the file.
async fn bundle(link: &Link, receipt_id: String, folder: &Path) -> Result<String, ApiError> {
    let complain =
        |error: std::io::Error| ApiError::new(ErrorKind::Failed, format!("{}: {error}", folder.display()));
    let (receipt_id, text) = crate::bundle::bundled(link.node(), receipt_id, true).await?;
    tokio::fs::create_dir_all(folder).await.map_err(complain)?;
    let path = folder.join(format!("{receipt_id}.jsonl"));
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || crate::files::write(&path, text.as_bytes()));
    written.await.map_err(std::io::Error::other).flatten().map_err(complain)?;
    Ok(shown)
}

/// What is in a folder that may be wanted: folders, modules and manifests, folders first.
fn list(folder: &str) -> Result<Vec<FileEntry>, String> {
    let place = if folder.is_empty() { PathBuf::from(".") } else { PathBuf::from(expand(folder)) };
    let entries = std::fs::read_dir(place).map_err(|error| why(&error))?;
    let mut found: Vec<FileEntry> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let meta = std::fs::metadata(entry.path()).ok()?;
            (wanted(&name, meta.is_dir()) && (meta.is_dir() || meta.is_file())).then(|| FileEntry {
                name,
                folder: meta.is_dir(),
                size: meta.len(),
            })
        })
        .take(LISTED_MAX)
        .collect();
    found.sort_by(|a, b| b.folder.cmp(&a.folder).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

/// Whether a name can be that of a module or a manifest, or of a folder with some. One that would not be shown as it is cannot be typed
/// either.
fn wanted(name: &str, folder: bool) -> bool {
    let fits = folder || [".wasm", ".toml", ".json"].iter().any(|end| name.ends_with(end));
    fits && Untrusted::new(name).as_str() == name
}

/// What a file holds, if it is a plain file of at most `max` bytes. Devices and pipes are not opened: they may never end.
async fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let shown = Untrusted::new(&path.display().to_string());
    let complain = |error: std::io::Error| format!("{shown}: {error}");
    let meta = tokio::fs::metadata(path).await.map_err(complain)?;
    if !meta.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if meta.len() > max {
        return Err(format!("{shown} has {} bytes; at most {max} are taken", meta.len()));
    }
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(complain)?;
    // It may have grown since.
    file.take(max + 1).read_to_end(&mut bytes).await.map_err(complain)?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= max => Ok(bytes),
        _ => Err(format!("{shown} has more than {max} bytes")),
    }
}

/// What stands in the way, as a person says it.
fn why(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => error.to_string(),
    }
}

const NO_FILE: &str = "not a plain file";

/// Whether a module can be in it, by its kind and its size.
fn is_module(meta: &std::fs::Metadata) -> Result<(), String> {
    match meta.len() {
        _ if !meta.is_file() => Err(NO_FILE.to_owned()),
        1..=ARTIFACT_MAX => Ok(()),
        bytes => Err(format!("{bytes} bytes; a module has 1 byte to 64 MiB")),
    }
}

async fn probe(path: &Path) -> Result<Probe, String> {
    let meta = tokio::fs::metadata(path).await.map_err(|error| why(&error))?;
    if meta.is_dir() {
        return Ok(Probe::Folder);
    }
    if !meta.is_file() {
        return Err(NO_FILE.to_owned());
    }
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Some(DraftFormat::Toml),
        Some("json") => Some(DraftFormat::Json),
        _ => None,
    };
    if let Some(format) = format {
        let text = String::from_utf8(read_bounded(path, MANIFEST_MAX).await?)
            .map_err(|_| "not UTF-8 text".to_owned())?;
        let draft = Draft::parse(&text, format, Timestamp::now()).map_err(|error| error.to_string())?;
        let module = module_of(&draft, path);
        if let Some(module) = &module {
            let wrong =
                |why: String| format!("its module {}: {why}", Untrusted::new(&module.display().to_string()));
            let meta = tokio::fs::metadata(module).await.map_err(|error| wrong(why(&error)))?;
            is_module(&meta).map_err(wrong)?;
        }
        return Ok(Probe::Manifest { draft: Box::new(draft), module });
    }
    is_module(&meta)?;
    let mut head = [0u8; 4];
    let mut file = tokio::fs::File::open(path).await.map_err(|error| why(&error))?;
    let magic = file.read_exact(&mut head).await.is_ok() && head == *b"\0asm";
    if !magic {
        return Err("neither a WebAssembly module nor a manifest (.toml, .json)".to_owned());
    }
    Ok(Probe::Module { size: meta.len() })
}

/// The paths that begin with `typed`, spelt as it is: folders with a slash at the end, hidden ones only where a dot was typed.
fn complete(typed: &str) -> Vec<String> {
    let (folder, start) = typed.rfind('/').map_or(("", typed), |at| typed.split_at(at + 1));
    let place = if folder.is_empty() { PathBuf::from(".") } else { PathBuf::from(expand(folder)) };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !start.starts_with('.');
            let folder_inside = entry.path().is_dir();
            let end = if folder_inside { "/" } else { "" };
            (name.starts_with(start) && !hidden && wanted(&name, folder_inside))
                .then(|| format!("{folder}{name}{end}"))
        })
        .collect();
    found.sort();
    found.truncate(COMPLETIONS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("good.wasm"), b"\0asm\x01\0\0\0").unwrap();
        std::fs::write(at("bad.wasm"), b"MZ..").unwrap();
        std::fs::write(at("task.toml"), "name = \"t\"\nartifact = \"good.wasm\"").unwrap();
        std::fs::write(at("lost.toml"), "name = \"t\"\nartifact = \"gone.wasm\"").unwrap();
        assert_eq!(probe(&at("good.wasm")).await, Ok(Probe::Module { size: 8 }));
        assert!(matches!(probe(&at("task.toml")).await, Ok(Probe::Manifest { module: Some(_), .. })));
        assert_eq!(probe(folder.path()).await, Ok(Probe::Folder));
        for bad in ["bad.wasm", "lost.toml", "none"] {
            assert!(probe(&at(bad)).await.is_err(), "{bad}");
        }
        assert!(probe(Path::new("/dev/zero")).await.is_err());
    }

    #[tokio::test]
    async fn a_module_is_handed_over_before_its_task_is_submitted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("good.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
        let (_snapshots, watched) = tokio::sync::watch::channel(None);
        let link = Link::new(std::sync::Arc::new(crate::console::samples::Still), watched);
        let (sender, mut results) = mpsc::channel(RESULTS_MAX);
        let mut runner = Runner::new(link, sender, &ConsoleOptions::default());
        let draft = Draft::for_module("good", ArtifactSource::Path(path.clone()));
        runner.submit(7, Some(path), draft.clone(), Some("bafkg".to_owned()));
        let expected = zerostate::document::content_id(b"\0asm\x01\0\0\0").to_string();
        let Some(Msg::Answered { ticket: 7, result: Ok(Answer::Submitted { task_id }) }) =
            results.recv().await
        else {
            panic!("not submitted")
        };
        assert_eq!(task_id, format!("{expected} in bafkg"));
        runner.submit(8, Some(folder.path().join("none.wasm")), draft, None);
        assert!(matches!(results.recv().await, Some(Msg::Answered { ticket: 8, result: Err(_) })));
    }

    #[test]
    fn completion_offers_folders_modules_and_manifests() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        for name in ["a.wasm", "a.toml", "a.txt", ".hidden.wasm"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let typed = format!("{}/", folder.path().display());
        let names: Vec<String> =
            complete(&typed).into_iter().map(|path| path[typed.len()..].to_owned()).collect();
        assert_eq!(names, ["a.toml", "a.wasm", "more/"]);
    }
}
