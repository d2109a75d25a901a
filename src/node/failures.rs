//! The errors of the engines as the API tells them: of what kind they are, and what can be done about them.

use crate::api::{ApiError, ErrorKind};
use crate::artifact::ArtifactError;
use crate::network::NetworkError;
use crate::storage::StorageError;
use crate::task::TaskError;

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        Self::new(ErrorKind::Failed, error)
    }
}

impl From<NetworkError> for ApiError {
    fn from(error: NetworkError) -> Self {
        let kind =
            if matches!(error, NetworkError::Address { .. }) { ErrorKind::Input } else { ErrorKind::Failed };
        Self::new(kind, error)
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        let kind = match error {
            ArtifactError::Dag(_) | ArtifactError::TooLarge(_) | ArtifactError::Empty => ErrorKind::Input,
            ArtifactError::NotHere(_) | ArtifactError::Missing { .. } => ErrorKind::NotFound,
            ArtifactError::Network(error) => return error.into(),
            _ => ErrorKind::Failed,
        };
        let hint = match error {
            ArtifactError::NotHere(_) => Some("`zerostate artifact get CID` gets it from whoever has it"),
            ArtifactError::Missing { .. } => Some(
                "connect to a node that has it, or name a gateway in the configuration ([storage] gateways)",
            ),
            ArtifactError::NoRoom { .. } => Some(
                "`zerostate artifact unpin CID` lets something go; [storage] quota in the configuration gives more",
            ),
            _ => None,
        };
        let error = Self::new(kind, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> Self {
        let kind = match error {
            TaskError::Document(_) | TaskError::Faults(_) | TaskError::UnsupportedCid(_) => ErrorKind::Input,
            TaskError::Missing { .. } => ErrorKind::NotFound,
            TaskError::Artifact(error) => return error.into(),
            TaskError::Stopping | TaskError::Busy(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        };
        let missing = matches!(error, TaskError::Missing { what: "artifact", .. });
        let error = Self::new(kind, error);
        if missing { error.hint("`zerostate artifact add FILE` puts one into the store") } else { error }
    }
}
