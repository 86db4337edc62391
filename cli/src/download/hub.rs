//! The Hub: its address, the user's token, and the requests that are made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::error::DownloadError;
use super::listing::Listing;
use crate::args::Environment;

/// Where the Hub is, where HF_ENDPOINT names no mirror.
const ENDPOINT: &str = "https://huggingface.co";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A server that is silent for this long counts as gone.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest list of files that is read.
const MAX_LISTING: u64 = 32 << 20;
/// The longest token file that is read.
const MAX_TOKEN: u64 = 4096;

/// A Hub to download from.
#[derive(Debug)]
pub(crate) struct Hub {
    agent: Agent,
    endpoint: String,
    authorization: Option<String>,
    /// The cache that it shares with other programs.
    cache: Option<PathBuf>,
}

impl Hub {
    /// The Hub as the environment has it: HF_ENDPOINT, HF_TOKEN or the token file of a login,
    /// HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, and the proxy variables.
    ///
    /// # Errors
    /// A variable that makes no sense.
    pub(crate) fn of(environment: Environment<'_>) -> Result<Self, DownloadError> {
        let text = |name| {
            let value = environment.get(name)?;
            Some(value.to_string_lossy().trim().to_owned())
        };
        if text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)) {
            return Err(DownloadError::Offline);
        }
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        if !["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(DownloadError::Endpoint(shown(&endpoint)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A content delivery network is not told the token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .user_agent(concat!("qwen-image-burn/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            authorization: authorization(environment)?,
            cache: environment.hub_cache(),
        })
    }

    /// The cache folder, if there is a home for one.
    pub(super) fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The page of a repository, to be shown.
    pub(crate) fn page(&self, repository: &str) -> String {
        shown(&format!("{}/{repository}", self.endpoint))
    }

    /// The address of a file.
    pub(super) fn file_url(&self, repository: &str, commit: &str, path: &str) -> String {
        format!("{}/{repository}/resolve/{commit}/{path}", self.endpoint)
    }

    /// What a repository holds.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) fn listing(&self, repository: &str) -> Result<Listing, DownloadError> {
        let url = format!("{}/api/models/{repository}?blobs=true", self.endpoint);
        let mut response = self.get(repository, &url, 0)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING);
        let json = body
            .read_to_vec()
            .map_err(|error| unreachable(&url, &error))?;
        Listing::parse(&json).map_err(|reason| DownloadError::Answer {
            url: shown(&url),
            reason,
        })
    }

    /// Asks for the bytes of `url` from number `from` on.
    ///
    /// # Errors
    /// No answer, or an answer that says no.
    pub(super) fn get(
        &self,
        repository: &str,
        url: &str,
        from: u64,
    ) -> Result<Response<Body>, DownloadError> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| unreachable(url, &error))?;
        let place = || self.page(repository);
        match response.status().as_u16() {
            200..=299 => Ok(response),
            401 => Err(DownloadError::Unauthorized { place: place() }),
            403 => Err(DownloadError::Forbidden { place: place() }),
            404 => Err(DownloadError::NoRepository { place: place() }),
            status => Err(DownloadError::Status {
                url: shown(url),
                status,
            }),
        }
    }
}

/// No answer from `url`.
pub(super) fn unreachable(url: &str, reason: &dyn std::fmt::Display) -> DownloadError {
    DownloadError::Unreachable {
        url: shown(url),
        reason: reason.to_string(),
    }
}

/// An address without the name and the password that a mirror's may hold.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

/// The header with the token of HF_TOKEN, or of the file that a login left.
fn authorization(environment: Environment<'_>) -> Result<Option<String>, DownloadError> {
    let (token, from) = match environment.get("HF_TOKEN") {
        Some(token) => (token.to_string_lossy().into_owned(), "HF_TOKEN".to_owned()),
        None => {
            let file = environment.get("HF_TOKEN_PATH").map(PathBuf::from);
            let Some(file) = file.or_else(|| Some(environment.hub_home()?.join("token"))) else {
                return Ok(None);
            };
            if !fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() <= MAX_TOKEN) {
                return Ok(None);
            }
            let Ok(token) = fs::read_to_string(&file) else {
                return Ok(None);
            };
            (token, file.display().to_string())
        }
    };
    match token.trim() {
        "" => Ok(None),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(format!("Bearer {token}")))
        }
        _ => Err(DownloadError::Token { from }),
    }
}

/// As huggingface_hub reads its variables.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_shown() {
        for (url, expected) in [
            ("https://me:pw@host:8080/a/b@c", "https://host:8080/a/b@c"),
            ("http://me:p@w@host", "http://host"),
            ("https://host/a@b", "https://host/a@b"),
            ("host", "host"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
