//! Stand-ins until the document types arrive.
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Ok,
    Trap,
    OutOfFuel,
    OutOfMemory,
    StackOverflow,
    Timeout,
    InvalidModule,
    RunnerCrashed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub engine: String,
    pub version: String,
    pub settings_sha256: String,
    pub target: String,
}
