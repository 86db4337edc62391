//! The user's Hub, as the variables of huggingface_hub describe it.

use std::path::PathBuf;

use hub::Token;

use super::Environment;

impl Environment<'_> {
    /// The Hub of HF_ENDPOINT, HF_TOKEN or the token file of a login, HF_HOME, HF_HUB_CACHE and
    /// HF_HUB_OFFLINE.
    pub(crate) fn hub(self) -> hub::Config {
        let text = |name| {
            let value = self.get(name)?;
            Some(value.to_string_lossy().trim().to_owned())
        };
        hub::Config {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| hub::ENDPOINT.to_owned()),
            token: self.hub_token(),
            cache: self.hub_cache(),
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
        }
    }

    /// The token of HF_TOKEN, or of the file that a login left.
    fn hub_token(self) -> Option<Token> {
        if let Some(token) = self.get("HF_TOKEN") {
            return Some(Token {
                text: token.to_string_lossy().into_owned(),
                origin: "HF_TOKEN".to_owned(),
            });
        }
        let file = self.get("HF_TOKEN_PATH").map(PathBuf::from);
        Token::read(&file.or_else(|| Some(self.hub_home()?.join("token")))?)
    }
}

/// Reads a switch as huggingface_hub does.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}
