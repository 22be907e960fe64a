//! One request to a registry: logged in where asked, redirected with care, repeated where that may help.

use super::challenge::Challenge;
use super::endpoint::{Endpoint, origin, redirect_target};
use super::http_client::{HttpClient, said};
use super::sessions::Sessions;
use crate::config::{Auth, Limits, RegistryConfig, RetryPolicy};
use crate::error::{RegistryError, Status};
use crate::reference::ImageReference;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const MOST_REDIRECTS: usize = 5;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION")));

/// What all repositories share: connections and tokens.
pub(crate) struct RegistryClient {
    pub(super) http: HttpClient,
    pub(super) sessions: Sessions,
    pub(super) config: RegistryConfig,
    pub(super) limits: Limits,
}

impl RegistryClient {
    /// Connects to nothing yet.
    pub(crate) fn new(config: RegistryConfig, limits: Limits) -> Arc<RegistryClient> {
        Arc::new(RegistryClient {
            http: HttpClient::new(&config),
            sessions: Sessions::default(),
            config,
            limits,
        })
    }
}

/// One repository, wherever it is found, as one caller may see it.
pub(crate) struct Repository {
    pub(super) client: Arc<RegistryClient>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) path: String,
    pub(super) auth: Option<Auth>,
}

impl Repository {
    pub(crate) fn new(
        client: Arc<RegistryClient>,
        reference: &ImageReference,
        auth: Option<Auth>,
    ) -> Result<Repository, RegistryError> {
        Ok(Repository {
            endpoints: Endpoint::of(reference, &client.config)?,
            path: reference.path().to_owned(),
            client,
            auth,
        })
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// One request, answered with a success. `rest` is what follows the repository's name in the URL.
    pub(super) async fn get(
        &self,
        endpoint: &Endpoint,
        rest: &str,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, Uri), RegistryError> {
        let url = endpoint.url(&self.path, rest);
        let uri: Uri = url.parse().map_err(|_| RegistryError::Protocol {
            url,
            what: "this is not a valid URL".into(),
        })?;
        let mut logged_in = false;
        loop {
            let (response, answered_by) = self
                .follow(&uri, headers, self.authorization(endpoint))
                .await?;
            if response.status().is_success() {
                return Ok((response, answered_by));
            }
            // Only once: a registry that takes no login for an answer says 401 for good.
            let asked_by_registry = origin(&answered_by) == origin(&uri);
            if response.status().as_u16() == 401 && asked_by_registry && !logged_in {
                let challenges: Vec<&str> = response
                    .headers()
                    .get_all(WWW_AUTHENTICATE)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .collect();
                let challenge = Challenge::parse(&challenges);
                drop(response);
                self.log_in(endpoint, challenge).await?;
                logged_in = true;
                continue;
            }
            return Err(refusal(&answered_by, response, self.client.config.retry.stall).await);
        }
    }

    /// Follows redirects. Credentials stay with the server they were meant for (CVE-2020-15157).
    async fn follow(
        &self,
        first: &Uri,
        headers: &HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<(Response<Incoming>, Uri), RegistryError> {
        let mut uri = first.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = Request::new(Full::<Bytes>::default());
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(USER_AGENT, AGENT);
            if let Some(value) = &authorization
                && origin(&uri) == origin(first)
            {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            let response = self.client.http.send(request).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, uri));
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            uri = redirect_target(&uri, location).map_err(|what| RegistryError::Redirect {
                url: said(&uri),
                what,
            })?;
        }
        Err(RegistryError::Redirect {
            url: said(first),
            what: format!("it leads on more than {MOST_REDIRECTS} times"),
        })
    }
}

/// How much longer one request is worth repeating.
pub(super) struct Patience {
    policy: RetryPolicy,
    tries: u32,
    failures: u32,
    wait: Duration,
}

impl Patience {
    /// A mirror is asked twice at most: there is somebody else to ask.
    pub(super) fn with(endpoint: &Endpoint, policy: RetryPolicy) -> Patience {
        let tries = match endpoint.mirror_of {
            Some(_) => policy.tries.min(2),
            None => policy.tries,
        };
        Patience {
            policy,
            tries,
            failures: 0,
            wait: policy.first_wait,
        }
    }

    /// How long to wait before the next try, or the error if there is to be none.
    pub(super) fn after(
        &mut self,
        error: RegistryError,
    ) -> Result<(Duration, RegistryError), RegistryError> {
        self.failures += 1;
        let wait = error.retry_after().unwrap_or(self.wait);
        if self.failures >= self.tries || !error.passes() || wait > self.policy.longest_wait {
            return Err(error);
        }
        self.wait = (self.wait * 2).min(self.policy.longest_wait);
        Ok((wait, error))
    }

    pub(super) fn renew(&mut self) {
        self.failures = 0;
        self.wait = self.policy.first_wait;
    }
}

/// Reads a small body whole.
pub(super) async fn read_bounded(
    uri: &Uri,
    mut body: Incoming,
    limit: u64,
    patience: Duration,
) -> Result<Bytes, RegistryError> {
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| RegistryError::Broken {
                url: said(uri),
                source: Arc::new(error),
            })?;
            if let Some(data) = frame.data_ref() {
                if (bytes.len() + data.len()) as u64 > limit {
                    return Err(RegistryError::Lied {
                        url: said(uri),
                        what: format!("the answer is larger than the {limit} bytes allowed"),
                    });
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(bytes.freeze())
    };
    match tokio::time::timeout(patience, read).await {
        Ok(result) => result,
        Err(_) => Err(RegistryError::Stalled {
            url: said(uri),
            after: patience,
        }),
    }
}

/// What a registry says when it does not deliver (distribution specification, "Error codes").
#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    errors: Vec<ComplaintPart>,
}

#[derive(Deserialize)]
struct ComplaintPart {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The error that an unsuccessful answer is.
pub(super) async fn refusal(
    uri: &Uri,
    response: Response<Incoming>,
    patience: Duration,
) -> RegistryError {
    let status = Status(response.status().as_u16());
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| wait_of(value, SystemTime::now()));
    let patience = patience.min(Duration::from_secs(5));
    let said_so = match read_bounded(uri, response.into_body(), 64 << 10, patience).await {
        Ok(body) => serde_json::from_slice::<Complaint>(&body)
            .ok()
            .and_then(|complaint| complaint.errors.into_iter().next())
            .map(|part| format!(": {}: {}", one_line(&part.code), one_line(&part.message)))
            .unwrap_or_default(),
        Err(_) => String::new(),
    };
    RegistryError::Refused {
        url: said(uri),
        status,
        said: said_so,
        retry_after,
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

/// `Retry-After`: seconds, or a date.
fn wait_of(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(24 * 3600)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_by_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(wait_of("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            wait_of("Sun, 09 Sep 2001 01:47:10 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            wait_of("Sat, 09 Sep 2000 01:47:10 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(
            wait_of("99999999999", now),
            Some(Duration::from_secs(86_400))
        );
        assert_eq!(wait_of("soon", now), None);
        assert_eq!(wait_of("-1", now), None);
    }
}
