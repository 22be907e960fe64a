//! Logging in: what a challenge asks for, tokens, and how long they last.
//!
//! Credentials go to the registry they were given for, over the connection it was asked by, and to the token service that it names, which
//! must be as well protected. A mirror gets what the node's own configuration says for the mirror, never the pod's.

use super::challenge::Challenge;
use super::credentials;
use super::endpoint::{Endpoint, realm_allowed};
use super::fetch::{Repository, read_bounded, refusal};
use super::sessions::{Key, Session};
use crate::config::Auth;
use crate::error::RegistryError;
use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use std::time::{Duration, Instant};

const LONGEST_TOKEN: u64 = 256 << 10;
/// What the specification says if the service does not.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used in its last seconds: the request has to arrive, too.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Repository {
    fn key(&self, endpoint: &Endpoint) -> Key {
        Key {
            base: endpoint.base.clone(),
            path: self.path.clone(),
            auth: self.auth.clone(),
        }
    }

    /// What is sent without having been asked: the token of an earlier answer.
    pub(super) fn authorization(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        self.client
            .sessions
            .get(&self.key(endpoint), Instant::now())
    }

    /// Meets a challenge. The next request may carry what comes of it.
    pub(super) async fn log_in(
        &self,
        endpoint: &Endpoint,
        challenge: Option<Challenge>,
    ) -> Result<(), RegistryError> {
        let failed = |what: &str| RegistryError::Login {
            host: endpoint.host.clone(),
            what: what.to_owned(),
        };
        let auth = match &self.auth {
            Some(auth) if endpoint.mirror_of.is_none() => Some(auth.clone()),
            _ => credentials::look_up(&self.client.config, &endpoint.host, &self.path).await?,
        };
        let session = match (challenge, auth) {
            (None, _) => {
                return Err(failed(
                    "it asks for a login (401) but not in a way that is known (Basic or Bearer)",
                ));
            }
            (Some(_), Some(Auth::RegistryToken(token))) => Session {
                header: bearer(&token).ok_or_else(|| failed("the token is malformed"))?,
                until: None,
            },
            (Some(Challenge::Basic), Some(Auth::Basic { username, password })) => Session {
                header: basic(&username, &password)
                    .ok_or_else(|| failed("the credentials are malformed"))?,
                until: None,
            },
            (Some(Challenge::Basic), _) => {
                return Err(failed("authorization failed: no basic auth credentials"));
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                auth,
            ) => {
                self.fetch_token(endpoint, &realm, service, scope, auth)
                    .await?
            }
        };
        self.client
            .sessions
            .put(self.key(endpoint), session, Instant::now());
        Ok(())
    }

    async fn fetch_token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        auth: Option<Auth>,
    ) -> Result<Session, RegistryError> {
        let failed = |what: String| RegistryError::Login {
            host: endpoint.host.clone(),
            what,
        };
        let uri: Uri = realm
            .parse()
            .map_err(|_| failed("it names a token service that is no URL".into()))?;
        if uri.host().is_none() || !realm_allowed(&endpoint.base, &uri) {
            return Err(failed(
                "it names a token service that is less protected than itself".into(),
            ));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.path));
        let mut form = format!("scope={}", escape(&scope));
        if let Some(service) = &service {
            form.push_str("&service=");
            form.push_str(&escape(service));
        }
        let request = match &auth {
            Some(Auth::IdentityToken(token)) => {
                form.push_str("&grant_type=refresh_token&client_id=coracle&refresh_token=");
                form.push_str(&escape(token));
                Request::builder()
                    .method(Method::POST)
                    .uri(uri.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Full::new(Bytes::from(form)))
            }
            auth => {
                let joint = if uri.query().is_some() { '&' } else { '?' };
                let mut request = Request::builder().uri(format!("{realm}{joint}{form}"));
                if let Some(Auth::Basic { username, password }) = auth {
                    let header = basic(username, password)
                        .ok_or_else(|| failed("the credentials are malformed".into()))?;
                    request = request.header(AUTHORIZATION, header);
                }
                request.body(Full::default())
            }
        };
        let request = request.map_err(|error| failed(error.to_string()))?;
        let asked = Instant::now();
        let response = self.client.http.send(request).await?;
        let status = response.status();
        let limits = self.client.config.retry;
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(refusal(&uri, response, limits.stall).await);
        }
        if !status.is_success() {
            return Err(failed(format!(
                "the token service {} says {status}",
                uri.host().unwrap_or_default()
            )));
        }
        let body = read_bounded(&uri, response.into_body(), LONGEST_TOKEN, limits.stall).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| failed("the token service did not answer with a token".into()))?;
        let token = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token)
            .ok_or_else(|| failed("the token service answered without a token".into()))?;
        let lifetime = answer
            .expires_in
            .map_or(DEFAULT_LIFETIME, |seconds| {
                Duration::from_secs(seconds.min(24 * 3600))
            })
            .max(DEFAULT_LIFETIME);
        Ok(Session {
            header: bearer(&token).ok_or_else(|| failed("the token is malformed".into()))?,
            until: Some(asked + lifetime - MARGIN),
        })
    }
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret(format!("Basic {text}"))
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret(format!("Bearer {token}"))
}

fn secret(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// For a query or a form (RFC 3986, section 2.3).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
