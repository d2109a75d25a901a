//! How a verb fails: exit code, what and why, and what to do about it.

use std::process::ExitCode;

use zerostate::api::{ApiError, ErrorKind};
use zerostate::config::ConfigError;
use zerostate::document::{DocumentError, Faults};
use zerostate::network::NetworkError;
use zerostate::node::NodeError;

use super::output;

/// It was tried and did not work.
const FAILED: u8 = 1;
/// What was asked for is wrong.
const USAGE: u8 = 2;

/// An error on its way to stderr.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
    faults: Faults,
}

impl Failure {
    /// It was tried and did not work: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into(), hint: None, faults: Faults::default() }
    }

    /// Wrong usage or input: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into(), hint: None, faults: Faults::default() }
    }

    /// Whoever read the output has enough: the verb ends, and nothing failed.
    pub fn unread() -> Self {
        Self { code: 0, message: String::new(), hint: None, faults: Faults::default() }
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what was being done in front.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Prints it to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            output::note(&format!("error: {}", self.message));
        }
        if let Some(hint) = &self.hint {
            output::note(&format!("hint: {hint}"));
        }
        ExitCode::from(self.code)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let code = if error.kind == ErrorKind::Input { USAGE } else { FAILED };
        Self { code, message: error.message, hint: error.hint, faults: Faults::default() }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Network(NetworkError::Address { .. }) | NodeError::Card(_) => {
                Self::usage(error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        let message = error.to_string();
        let faults = if let DocumentError::Faults(faults) = error { faults } else { Faults::default() };
        Self { faults, ..Self::usage(message) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl Failure {
    /// The fields that are wrong, where it is a document that fails.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What failed and why.
    pub fn message(&self) -> &str {
        &self.message
    }
}
