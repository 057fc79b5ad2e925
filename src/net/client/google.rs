//! Tokens for service accounts of Google: an assertion signed with the account's key is
//! exchanged for a token that lives for about an hour
//! (<https://developers.google.com/identity/protocols/oauth2/service-account#httprest>).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_types::base64;
use http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;
use tokio::time::Instant;

use crate::base::clock;
use crate::base::secret::Secret;
use crate::config::ServiceAccount;
use crate::net::client::{Client, Errand};

/// What tokens are for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion is good for, in seconds: the most that is allowed.
const ASSERTION_LIFE: u64 = 3600;
/// A token is renewed this long before it expires, or a quarter of its life if that is less.
const RENEWAL: Duration = Duration::from_mins(5);
/// After a failure the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for an exchange.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest response of a token endpoint.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The key signs nothing.
    #[error("its service-account key does not sign")]
    Unsigned,
    /// The token endpoint did not answer.
    #[error("the token endpoint of its service account cannot be reached: {0}")]
    Unreachable(String),
    /// It answered with a refusal.
    #[error("the token endpoint refused its service account with {status}{word}")]
    Refused {
        /// Status of the response.
        status: StatusCode,
        /// Its word for the reason, if it had one.
        word: String,
    },
    /// It answered with something else than a token.
    #[error("the token endpoint of its service account gave no token")]
    Unreadable,
}

/// Tokens by key. Lives as long as the process, so that a new configuration with the same key
/// goes on with the same token.
#[derive(Default)]
pub(crate) struct TokenCache {
    held: Mutex<HashMap<[u8; 32], Arc<Slot>>>,
}

/// What is held for one key. The request that exchanges holds the lock, and the others wait for it.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<State>);

#[derive(Default)]
struct State {
    token: Option<Token>,
    failed: Option<(Instant, TokenError)>,
}

struct Token {
    text: Secret,
    renew_at: Instant,
    dies_at: Instant,
}

impl TokenCache {
    /// Where tokens for `account` come from.
    pub(crate) fn source<'a>(
        &self,
        account: &'a ServiceAccount,
        client: &'a Client,
    ) -> TokenSource<'a> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(held.entry(account.fingerprint).or_default());
        TokenSource {
            slot,
            account,
            client,
        }
    }
}

/// Tokens of one account.
pub struct TokenSource<'a> {
    slot: Arc<Slot>,
    account: &'a ServiceAccount,
    client: &'a Client,
}

impl TokenSource<'_> {
    /// A token that is good for a while.
    ///
    /// # Errors
    /// [`TokenError`] when an exchange is due and fails, or failed a moment ago.
    pub async fn token(&self) -> Result<Secret, TokenError> {
        let mut state = self.slot.0.lock().await;
        let now = Instant::now();
        let alive = state.token.as_ref().filter(|token| now < token.dies_at);
        if let Some(token) = alive.filter(|token| now < token.renew_at) {
            return Ok(token.text.clone());
        }
        let alive = alive.map(|token| token.text.clone());
        let recent = state.failed.as_ref().filter(|(at, _)| now < *at + PAUSE);
        let error = if let Some((_, error)) = recent {
            error.clone()
        } else {
            match self.exchange().await {
                Ok(token) => {
                    let text = token.text.clone();
                    *state = State {
                        token: Some(token),
                        failed: None,
                    };
                    return Ok(text);
                }
                Err(error) => {
                    tracing::warn!(account = self.account.email, %error, "no token");
                    state.failed = Some((Instant::now(), error.clone()));
                    error
                }
            }
        };
        // One that is only due for renewal still opens doors.
        alive.ok_or(error)
    }

    /// Forgets a token that a provider did not accept, so that the next request gets another.
    pub async fn reject(&self, refused: &Secret) {
        let mut state = self.slot.0.lock().await;
        if state
            .token
            .as_ref()
            .is_some_and(|token| token.text == *refused)
        {
            state.token = None;
        }
    }

    async fn exchange(&self) -> Result<Token, TokenError> {
        let assertion = assertion(self.account, clock::unix_ms().unsigned_abs() / 1000)?;
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        );
        let uri = self.account.token_uri.clone();
        let errand = Errand::token(uri, form, PATIENCE, MAX_ANSWER);
        let asked_at = Instant::now();
        let answer = self.client.errand(errand).await;
        let answer = answer.map_err(TokenError::Unreachable)?;
        let (status, answer) = (answer.status(), answer.into_body());
        if !status.is_success() {
            let word = word(&answer);
            return Err(TokenError::Refused { status, word });
        }
        let granted: Granted =
            serde_json::from_slice(&answer).map_err(|_| TokenError::Unreadable)?;
        if granted.access_token.is_empty() {
            return Err(TokenError::Unreadable);
        }
        let life = Duration::from_secs(granted.expires_in.min(24 * 3600));
        Ok(Token {
            text: granted.access_token,
            renew_at: asked_at + life - RENEWAL.min(life / 4),
            dies_at: asked_at + life,
        })
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

/// The word by which a token endpoint says why, if it is one.
fn word(answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    serde_json::from_slice::<Refusal>(answer)
        .ok()
        .map(|refusal| refusal.error)
        .filter(|word| {
            word.len() <= 64
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .map(|word| format!(" ({word})"))
        .unwrap_or_default()
}

/// The signed assertion (a JWT, RS256) that a token is given for; `now` in seconds.
fn assertion(account: &ServiceAccount, now: u64) -> Result<String, TokenError> {
    let mut head = serde_json::json!({ "alg": "RS256", "typ": "JWT" });
    if !account.key_id.is_empty() {
        head["kid"] = account.key_id.as_str().into();
    }
    let claims = serde_json::json!({
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_uri.to_string(),
        "iat": now,
        "exp": now + ASSERTION_LIFE,
    });
    let mut text = format!(
        "{}.{}",
        encoded(head.to_string()),
        encoded(claims.to_string())
    );
    let mut signature = vec![0; account.key.public().modulus_len()];
    account
        .key
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            text.as_bytes(),
            &mut signature,
        )
        .map_err(|_| TokenError::Unsigned)?;
    text.push('.');
    text.push_str(&encoded(signature));
    Ok(text)
}

/// Base64 for URLs, without padding (RFC 7515, section 2).
fn encoded(bytes: impl AsRef<[u8]>) -> String {
    base64::encode(bytes)
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

#[cfg(test)]
mod tests;
