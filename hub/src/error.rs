//! Why a file could not be fetched.

use std::path::PathBuf;

use crate::digest::Digest;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the Hub is none.
    #[error("'{0}' is not the address of a Hub: it must begin with http:// or https://")]
    Endpoint(String),
    /// The configuration says that the Hub must not be asked.
    #[error("downloads are switched off")]
    Offline,
    /// The token cannot be sent.
    #[error("{origin} holds no token: it has characters that no token has")]
    Token {
        /// The variable or file that the token was read from.
        origin: String,
    },
    /// No answer came.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The address of the request.
        url: String,
        /// The message of the network.
        reason: String,
    },
    /// The server wants to know who asks.
    #[error(
        "{place} answers 401 (unauthorized): the repository is private or gone, or the token is not valid"
    )]
    Unauthorized {
        /// The repository's page.
        place: String,
    },
    /// The server knows who asks, and refuses.
    #[error("{place} answers 403 (forbidden): accept the repository's terms there")]
    Forbidden {
        /// The repository's page.
        place: String,
    },
    /// The repository does not exist.
    #[error("{place} answers 404 (not found): the repository is gone or was renamed")]
    NoRepository {
        /// The repository's page.
        place: String,
    },
    /// The repository no longer has the file.
    #[error("{place} has no file {path}{}", alternatives(.there))]
    NoFile {
        /// The repository's page.
        place: String,
        /// The path in the repository.
        path: String,
        /// Files of the same folder.
        there: Vec<String>,
    },
    /// The server refuses for another reason.
    #[error("{url} answers {status}: try again later")]
    Status {
        /// The address of the request.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not one that the Hub gives.
    #[error("{url}: {reason}")]
    Answer {
        /// The address of the request.
        url: String,
        /// The fault of the answer.
        reason: String,
    },
    /// The bytes that came are not the published ones; they were removed.
    #[error(
        "{}: what was downloaded has the {found}, and the published file has {expected}; it was removed", path.display()
    )]
    Checksum {
        /// The path that the file was to get.
        path: PathBuf,
        /// Digest of what came.
        found: Digest,
        /// Digest of the published file.
        expected: Digest,
    },
    /// Another file is in the place.
    #[error(
        "{} is there with {found} bytes, and the published file has {expected} bytes",
        path.display()
    )]
    Occupied {
        /// The place.
        path: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes of the published file.
        expected: u64,
    },
    /// Another process fetches the same file.
    #[error("{} is being downloaded by another process", path.display())]
    Busy {
        /// The path that the file is to get.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is there cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A callback asked to stop; what came so far is kept.
    #[error("the download was cancelled")]
    Cancelled,
}

impl Error {
    /// Tells whether the Hub was not asked, or gave no answer that is one of the Hub's.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Offline | Self::Answer { .. }) || self.is_passing()
    }

    /// Tells whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

/// ` (that folder has a, b)`, or nothing where it has nothing.
fn alternatives(there: &[String]) -> String {
    match there {
        [] => String::new(),
        there => format!(" (that folder has {})", there.join(", ")),
    }
}
