//! Why a file could not be fetched.

use std::path::PathBuf;

use super::digest::Digest;
use crate::args::format_bytes;
use crate::exit::ExitCode;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// HF_ENDPOINT is no address.
    #[error("HF_ENDPOINT is '{0}': it must begin with http:// or https://")]
    Endpoint(String),
    /// HF_HUB_OFFLINE is set.
    #[error("HF_HUB_OFFLINE is set: unset it to download")]
    Offline,
    /// The token cannot be sent.
    #[error("{from} holds no token: it has characters that no token has")]
    Token {
        /// The variable or file.
        from: String,
    },
    /// No answer.
    #[error(
        "{url} cannot be reached: {reason}; check the network, the proxy (HTTPS_PROXY) or the mirror (HF_ENDPOINT), and run the same command again to go on from here"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// The server wants to know who asks.
    #[error(
        "{place} answers 401 (unauthorized): the repository is private or gone, or the token is not valid; set HF_TOKEN to a token that may read it"
    )]
    Unauthorized {
        /// The repository's page.
        place: String,
    },
    /// The server knows, and refuses.
    #[error(
        "{place} answers 403 (forbidden): accept the repository's terms there, and set HF_TOKEN to a token of that account"
    )]
    Forbidden {
        /// The repository's page.
        place: String,
    },
    /// No such repository.
    #[error("{place} answers 404 (not found): the repository is gone or was renamed")]
    NoRepository {
        /// The repository's page.
        place: String,
    },
    /// The repository no longer has the file.
    #[error("{place} has no file {path}{}: try another --variant, or put a file of that kind into the models folder by hand", alike(.there))]
    NoFile {
        /// The repository's page.
        place: String,
        /// The path in the repository.
        path: String,
        /// Files of the same folder.
        there: Vec<String>,
    },
    /// Any other refusal.
    #[error("{url} answers {status}: try again later")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not what the Hub answers.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes are not the published ones.
    #[error(
        "{}: what was downloaded has the {found}, and the published file has {expected}; it was removed, so that the same command downloads it anew", path.display()
    )]
    Checksum {
        /// Where the file was to go.
        path: PathBuf,
        /// Digest of what came.
        found: Digest,
        /// Digest of the published file.
        expected: Digest,
    },
    /// Another file is in the place.
    #[error(
        "{} is there with {}, and the published file has {}: move it away, or name another folder with --models", path.display(), bytes(*found), bytes(*expected)
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
        /// Where the file is to go.
        path: PathBuf,
    },
    /// No folder to put files into.
    #[error("there is no home folder to put the models into: name a folder with --models DIR")]
    NoFolder,
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is there cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Ctrl-C.
    #[error("interrupted; run the same command again to go on from here")]
    Interrupted,
}

impl DownloadError {
    /// The exit code that says this.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Endpoint(_) | Self::Offline | Self::Token { .. } | Self::NoFolder => {
                ExitCode::Usage
            }
            Self::NoRepository { .. }
            | Self::NoFile { .. }
            | Self::Checksum { .. }
            | Self::Occupied { .. } => ExitCode::BadModel,
            Self::Interrupted => ExitCode::Interrupted,
            _ => ExitCode::Failure,
        }
    }

    /// Whether the Hub was not asked, or did not answer as it does.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Offline | Self::Answer { .. }) || self.is_passing()
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

/// `; that folder has: a, b`.
fn alike(there: &[String]) -> String {
    match there {
        [] => String::new(),
        there => format!(" (that folder has {})", there.join(", ")),
    }
}

/// With the exact number, since two sizes may round to the same.
fn bytes(bytes: u64) -> String {
    format!("{bytes} bytes ({})", format_bytes(bytes))
}
