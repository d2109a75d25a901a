//! `zerostate manifest new|check`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;
use zerostate::document::DraftFormat;

use super::{Failure, Globals, Outcome, draft, output};

const TEMPLATE: &str = include_str!("../../assets/manifest.toml");

#[derive(clap::Subcommand)]
pub enum ManifestVerb {
    /// Write a manifest with every field explained
    New { file: PathBuf },
    /// List everything that is wrong with a manifest
    Check { file: PathBuf },
}

pub fn run(globals: &Globals, verb: ManifestVerb) -> Outcome {
    match verb {
        ManifestVerb::New { file } => {
            let opened = OpenOptions::new().write(true).create_new(true).open(&file);
            let written = opened.and_then(|mut opened| opened.write_all(TEMPLATE.as_bytes()));
            written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
            if globals.json {
                output::json(&json!({ "file": file }))?;
            } else {
                output::line(&format!(
                    "wrote {}; edit it, then: zerostate submit {}",
                    file.display(),
                    file.display()
                ))?;
            }
        }
        ManifestVerb::Check { file } => {
            let format = draft::format(&file).unwrap_or(DraftFormat::Toml);
            let wanted = match draft::manifest(&file, format) {
                Err(failure) if globals.json => {
                    output::json(&json!({ "valid": false, "faults": failure.faults() }))?;
                    return Err(failure);
                }
                wanted => wanted?,
            };
            if globals.json {
                output::json(&json!({ "valid": true, "name": wanted.name, "manifest": wanted }))?;
            } else {
                output::line(&format!("✓ {}: {} is a valid manifest", file.display(), wanted.name))?;
            }
        }
    }
    Ok(0)
}
