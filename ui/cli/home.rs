//! Where the data directory and the configuration are, and the way to the node that runs there.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use zeroize::Zeroizing;
use zerostate::api::Client;
use zerostate::config::Config;
use zerostate::identity::PassphraseSource;

use super::{Failure, Globals};
use crate::console::passphrase::{self, PASSPHRASE_MAX};

const PASSPHRASE_FILE: &str = "ZEROSTATE_PASSPHRASE_FILE";
/// Of its file so much is read.
const PASSPHRASE_FILE_MAX: u64 = 64 << 10;

impl Globals {
    /// The data directory.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(given) = &self.data_dir {
            let absolute = std::path::absolute(given);
            return absolute
                .map_err(|error| Failure::usage(format!("the data directory {}: {error}", given.display())));
        }
        directories::ProjectDirs::from("", "", "zerostate")
            .map(|dirs| dirs.data_dir().to_path_buf())
            .ok_or_else(|| {
                Failure::failed("there is no home directory for the data")
                    .hint("name a directory with --data-dir")
            })
    }

    /// The configuration.
    pub fn load_config(&self) -> Result<Config, Failure> {
        match &self.config {
            Some(path) => Ok(Config::load(path, false)?),
            None => Ok(Config::load(&self.data_dir()?.join("config.toml"), true)?),
        }
    }

    /// The node that runs on the data directory.
    pub async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.data_dir()?).await?)
    }
}

/// Gives `open` the way to the passphrase: the file named by the environment, the terminal, or nothing.
pub fn with_passphrase<T>(open: impl FnOnce(&PassphraseSource<'_>) -> T) -> Result<T, Failure> {
    if let Some(path) = std::env::var_os(PASSPHRASE_FILE) {
        let path = PathBuf::from(path);
        // It may be a pipe, as a shell's process substitution is.
        let mut text = Zeroizing::new(String::new());
        let file = std::fs::File::open(&path).map(|file| file.take(PASSPHRASE_FILE_MAX));
        file.and_then(|mut file| file.read_to_string(&mut text)).map_err(|error| {
            Failure::failed(format!("cannot read the passphrase file {}: {error}", path.display()))
                .hint(format!("it is named by {PASSPHRASE_FILE}"))
        })?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || line.len() > PASSPHRASE_MAX {
            return Err(Failure::usage(format!(
                "the passphrase file {} must hold one line of 1 to {PASSPHRASE_MAX} bytes",
                path.display()
            )));
        }
        return Ok(open(&PassphraseSource::Given(Zeroizing::new(line.to_owned()))));
    }
    if io::stdin().is_terminal() {
        return Ok(open(&PassphraseSource::Ask(&|_| passphrase::ask())));
    }
    Ok(open(&PassphraseSource::None))
}
