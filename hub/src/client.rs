//! The Hub: its address, the user's token, and the requests that are made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::error::Error;
use crate::listing::Listing;

/// The address of the Hugging Face Hub.
pub const ENDPOINT: &str = "https://huggingface.co";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A server that is silent for this long counts as gone.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest list of files that is read.
const MAX_LISTING: u64 = 32 << 20;
/// The longest token file that is read.
const MAX_TOKEN: u64 = 4096;

/// How the Hub is reached.
pub struct Config {
    /// The address of the Hub or of a mirror, which begins with `http://` or `https://`.
    pub endpoint: String,
    /// The token that is sent with each request.
    pub token: Option<Token>,
    /// The cache folder that huggingface_hub and programs like it share.
    pub cache: Option<PathBuf>,
    /// True if the Hub must not be asked.
    pub offline: bool,
}

impl Default for Config {
    /// The Hugging Face Hub, asked without a token and without a cache.
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            token: None,
            cache: None,
            offline: false,
        }
    }
}

/// A user's access token.
pub struct Token {
    /// The token; white space around it does not count.
    pub text: String,
    /// The variable or file that the token was read from, for messages.
    pub origin: String,
}

impl Token {
    /// Reads the file in which a login leaves a token. There is none where the file is missing,
    /// cannot be read or is too long for one.
    pub fn read(file: &Path) -> Option<Self> {
        let found = fs::metadata(file).ok()?;
        if !found.is_file() || found.len() > MAX_TOKEN {
            return None;
        }
        Some(Self {
            text: fs::read_to_string(file).ok()?,
            origin: file.display().to_string(),
        })
    }

    /// The value of the header that sends the token; none for a token without characters.
    fn authorization(&self) -> Result<Option<String>, Error> {
        match self.text.trim() {
            "" => Ok(None),
            token if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Some(format!("Bearer {token}")))
            }
            _ => Err(Error::Token {
                origin: self.origin.clone(),
            }),
        }
    }
}

/// A Hub to download from.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    authorization: Option<String>,
    cache: Option<PathBuf>,
}

impl Hub {
    /// A Hub with this configuration. Requests go through the proxy that the usual variables
    /// (`HTTPS_PROXY` and the like) name.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Endpoint`] or [`Error::Token`].
    pub fn new(config: Config) -> Result<Self, Error> {
        if config.offline {
            return Err(Error::Offline);
        }
        let endpoint = config.endpoint;
        if !["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(Error::Endpoint(shown(&endpoint)));
        }
        let authorization = match &config.token {
            Some(token) => token.authorization()?,
            None => None,
        };
        let agent = Agent::config_builder()
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
            agent: agent.into(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            authorization,
            cache: config.cache,
        })
    }

    /// The cache folder, if there is one.
    pub(crate) fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The address of a repository's page, fit to be shown.
    pub fn page(&self, repository: &str) -> String {
        shown(&format!("{}/{repository}", self.endpoint))
    }

    /// The address of a file.
    pub(crate) fn file_url(&self, repository: &str, commit: &str, path: &str) -> String {
        format!("{}/{repository}/resolve/{commit}/{path}", self.endpoint)
    }

    /// Asks what a repository (`OWNER/NAME`) holds.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no list of files.
    pub fn listing(&self, repository: &str) -> Result<Listing, Error> {
        let url = format!("{}/api/models/{repository}?blobs=true", self.endpoint);
        let mut response = self.get(repository, &url, 0)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING);
        let json = body
            .read_to_vec()
            .map_err(|error| unreachable(&url, &error))?;
        Listing::parse(&json).map_err(|reason| Error::Answer {
            url: shown(&url),
            reason,
        })
    }

    /// Asks for the bytes of `url` from number `from` on.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn get(
        &self,
        repository: &str,
        url: &str,
        from: u64,
    ) -> Result<Response<Body>, Error> {
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
            401 => Err(Error::Unauthorized { place: place() }),
            403 => Err(Error::Forbidden { place: place() }),
            404 => Err(Error::NoRepository { place: place() }),
            status => Err(Error::Status {
                url: shown(url),
                status,
            }),
        }
    }
}

/// The error where no answer comes from `url`.
pub(crate) fn unreachable(url: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Unreachable {
        url: shown(url),
        reason: reason.to_string(),
    }
}

/// An address without the name and the password that a mirror's may hold.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
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
