//! Reading what a person wants run: a module, or a manifest and the module it names.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zerostate::document::{ARTIFACT_MAX, ArtifactSource, Draft, DraftFormat};

use super::Failure;

/// A draft, and the module's bytes where it named a file.
pub struct Wanted {
    pub draft: Draft,
    pub module: Option<Vec<u8>>,
}

/// Reads `path`: a manifest when it ends in `.toml` or `.json`, a module otherwise.
pub fn read(path: &Path) -> Result<Wanted, Failure> {
    let Some(format) = format(path) else {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let module = read_bounded(path, ARTIFACT_MAX)?;
        return Ok(Wanted {
            draft: Draft::for_module(&name, ArtifactSource::Path(path.into())),
            module: Some(module),
        });
    };
    let draft = manifest(path, format)?;
    let module = match &draft.artifact {
        ArtifactSource::Path(module) => Some(read_bounded(&beside(path, module), ARTIFACT_MAX)?),
        ArtifactSource::Cid { .. } => None,
    };
    Ok(Wanted { draft, module })
}

/// Reads a manifest alone.
pub fn manifest(path: &Path, format: DraftFormat) -> Result<Draft, Failure> {
    let bytes = read_bounded(path, 1 << 20)?;
    let shown = path.display().to_string();
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{shown} is not text in UTF-8")))?;
    Draft::parse(&text, format, Timestamp::now()).map_err(|error| Failure::from(error).during(&shown))
}

/// Which language a manifest's name promises.
pub fn format(path: &Path) -> Option<DraftFormat> {
    match path.extension()?.to_str()? {
        "toml" => Some(DraftFormat::Toml),
        "json" => Some(DraftFormat::Json),
        _ => None,
    }
}

/// A whole file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {shown}: {error}"));
    if fs::metadata(path).map_err(cannot)?.is_dir() {
        return Err(Failure::usage(format!("cannot read {shown}: it is a folder")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(Failure::usage(format!("{shown} has over {limit} bytes, which is the most")));
    }
    Ok(bytes)
}

fn beside(manifest: &Path, module: &Path) -> PathBuf {
    manifest.parent().unwrap_or(Path::new(".")).join(module)
}

/// The draft with its module named by CID, as a node takes it.
pub fn with_artifact(mut draft: Draft, cid: String) -> Draft {
    draft.artifact = ArtifactSource::Cid { cid, sha256: None, size: None };
    draft
}
