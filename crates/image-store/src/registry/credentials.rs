//! Credentials from Docker's `config.json`: `auths`, `credHelpers`, `credsStore`.
//!
//! Read anew for every pull that needs them, so that a changed file counts at once.

use crate::config::{Auth, RegistryConfig};
use crate::error::RegistryError;
use base64::Engine;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONGEST_FILE: u64 = 1 << 20;
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

/// What the configuration says for repository `path` at `host`.
pub(super) async fn look_up(
    config: &RegistryConfig,
    host: &str,
    path: &str,
) -> Result<Option<Auth>, RegistryError> {
    let candidates = match &config.docker_config {
        Some(path) => vec![path.clone()],
        None => usual_places(),
    };
    for file in candidates {
        let bad = |what: String| RegistryError::Credentials {
            path: file.clone(),
            what,
        };
        let read = {
            let file = file.clone();
            tokio::task::spawn_blocking(move || read(&file)).await
        };
        let Some(text) = read.map_err(|error| bad(error.to_string()))?.map_err(bad)? else {
            continue;
        };
        // What a parser says may quote the file; a place in it is enough.
        let parsed: DockerConfig = serde_json::from_slice(&text)
            .map_err(|error| bad(format!("it is not valid (line {})", error.line())))?;
        return parsed.find(host, path, &file).await;
    }
    Ok(None)
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(directory) = std::env::var_os("DOCKER_CONFIG") {
        places.push(Path::new(&directory).join("config.json"));
    }
    if let Some(home) = std::env::var_os("HOME") {
        places.push(Path::new(&home).join(".docker/config.json"));
    }
    places.push(PathBuf::from("/.docker/config.json"));
    places
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(LONGEST_FILE + 1)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST_FILE {
        return Err("it is larger than 1 MiB".into());
    }
    Ok(Some(text))
}

impl DockerConfig {
    async fn find(
        &self,
        host: &str,
        path: &str,
        file: &Path,
    ) -> Result<Option<Auth>, RegistryError> {
        let bad = |what: String| RegistryError::Credentials {
            path: file.to_owned(),
            what,
        };
        if let Some(helper) = best(&self.cred_helpers, host, path) {
            return ask_helper(helper, server_name(host)).await.map_err(bad);
        }
        if let Some(Some(entry)) = best(&self.auths, host, path)
            && let Some(auth) = entry.auth().map_err(|what| bad(what.into()))?
        {
            return Ok(Some(auth));
        }
        match &self.creds_store {
            Some(helper) if !helper.is_empty() => {
                ask_helper(helper, server_name(host)).await.map_err(bad)
            }
            _ => Ok(None),
        }
    }
}

/// Docker Hub is known by the address of its first version.
fn server_name(host: &str) -> &str {
    match host {
        "registry-1.docker.io" => "https://index.docker.io/v1/",
        host => host,
    }
}

/// The entry whose key matches with the longest path. Keys are hosts, URLs of hosts, or hosts with the beginning of a path; a `*`
/// stands for one label of a host name, as in the kubelet's keyring.
fn best<'a, T>(entries: &'a BTreeMap<String, T>, host: &str, path: &str) -> Option<&'a T> {
    entries
        .iter()
        .filter_map(|(key, value)| {
            let key = key
                .strip_prefix("https://")
                .or_else(|| key.strip_prefix("http://"))
                .unwrap_or(key);
            let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
            let key_path = match key_path.trim_end_matches('/') {
                "v1" | "v2" => "",
                path => path,
            };
            let host_fits = if host == "registry-1.docker.io" {
                matches!(
                    key_host,
                    "index.docker.io" | "docker.io" | "registry-1.docker.io"
                )
            } else {
                glob(key_host, host)
            };
            let path_fits = key_path.is_empty()
                || path
                    .strip_prefix(key_path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (host_fits && path_fits).then_some((key_path.len(), value))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, value)| value)
}

fn glob(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern.eq_ignore_ascii_case(host);
    }
    let (pattern, host): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern
            .iter()
            .zip(host)
            .all(|(pattern, label)| match pattern.split_once('*') {
                Some((before, after)) => {
                    label.len() >= before.len() + after.len()
                        && label.starts_with(before)
                        && label.ends_with(after)
                }
                None => pattern.eq_ignore_ascii_case(label),
            })
}

impl Entry {
    fn auth(&self) -> Result<Option<Auth>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Auth::IdentityToken(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Auth::RegistryToken(self.registrytoken.clone())));
        }
        if !self.username.is_empty() {
            return Ok(Some(Auth::Basic {
                username: self.username.clone(),
                password: self.password.clone(),
            }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        const BAD: &str = "an `auth` is not the base64 of user:password";
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(self.auth.trim())
            .map_err(|_| BAD)?;
        let text = String::from_utf8(decoded).map_err(|_| BAD)?;
        let (username, password) = text.split_once(':').ok_or(BAD)?;
        Ok(Some(Auth::Basic {
            username: username.to_owned(),
            // Old Docker clients padded with NULs.
            password: password.trim_end_matches('\0').to_owned(),
        }))
    }
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Runs `docker-credential-<name> get`: the server's name goes in, JSON comes out.
async fn ask_helper(name: &str, server: &str) -> Result<Option<Auth>, String> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        return Err(format!("{name:?} is no name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    let run = async {
        let mut child = tokio::process::Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(server.as_bytes()).await?;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(64 << 10).read_to_end(&mut answer).await?;
        }
        let status = child.wait().await?;
        Ok::<_, std::io::Error>((status, answer))
    };
    let (status, answer) = tokio::time::timeout(HELPER_TIMEOUT, run)
        .await
        .map_err(|_| format!("{program} took longer than {} s", HELPER_TIMEOUT.as_secs()))?
        .map_err(|error| format!("{program}: {error}"))?;
    if !status.success() {
        // How helpers say that they know nothing about a server.
        if String::from_utf8_lossy(&answer).contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("{program} ended with {status}"));
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer)
        .map_err(|_| format!("{program} did not answer with JSON"))?;
    Ok(Some(if answer.username == "<token>" {
        Auth::IdentityToken(answer.secret)
    } else {
        Auth::Basic {
            username: answer.username,
            password: answer.secret,
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> DockerConfig {
        serde_json::from_str(json).unwrap()
    }

    fn user(config: &DockerConfig, host: &str, path: &str) -> Option<String> {
        match best(&config.auths, host, path)?.as_ref()?.auth().unwrap()? {
            Auth::Basic { username, .. } => Some(username),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        let config = config(
            r#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
                "localhost:5000":{"username":"local","password":"p"},
                "x.io/team":{"username":"team","password":"p"},
                "x.io":{"username":"all","password":"p"},
                "*.y.io":{"username":"star","password":"p"},
                "empty.io":{}, "null.io":null,
                "token.io":{"identitytoken":"t","auth":"aHViOnB3"}}}"#,
        );
        for (host, path, expected) in [
            ("registry-1.docker.io", "library/x", Some("hub")),
            ("localhost:5000", "x", Some("local")),
            ("localhost:5001", "x", None),
            ("x.io", "team/app", Some("team")),
            ("x.io", "team", Some("team")),
            ("x.io", "teammates/app", Some("all")),
            ("a.y.io", "x", Some("star")),
            ("a.b.y.io", "x", None),
            ("y.io", "x", None),
            ("empty.io", "x", None),
            ("null.io", "x", None),
            ("evil-x.io", "x", None),
            ("token.io", "x", Some("IdentityToken(…)")),
        ] {
            assert_eq!(
                user(&config, host, path).as_deref(),
                expected,
                "{host}/{path}"
            );
        }
    }

    #[test]
    fn a_bad_auth_is_an_error_that_does_not_repeat_it() {
        for auth in ["%%%", "bm9jb2xvbg=="] {
            let entry = Entry {
                auth: auth.into(),
                ..Entry::default()
            };
            assert!(!entry.auth().unwrap_err().contains(auth));
        }
    }

    #[test]
    fn a_password_may_hold_colons() {
        let entry = Entry {
            auth: base64::engine::general_purpose::STANDARD.encode("u:p:q"),
            ..Entry::default()
        };
        assert_eq!(
            entry.auth().unwrap(),
            Some(Auth::Basic {
                username: "u".into(),
                password: "p:q".into()
            })
        );
    }
}
