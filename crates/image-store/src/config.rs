//! How the store is set up: where it lies, which registries it talks to and how, and every bound on what strangers send.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct ImageStoreConfig {
    /// The directory that the store owns (`<root>/images`). Made if it is missing. Everything in it is the store's.
    pub root: PathBuf,
    pub registries: RegistryConfig,
    pub limits: Limits,
    /// Layers that are fetched and unpacked at the same time, over all pulls.
    pub parallel_layers: usize,
}

impl ImageStoreConfig {
    /// Everything by default.
    pub fn new(root: impl Into<PathBuf>) -> ImageStoreConfig {
        ImageStoreConfig {
            root: root.into(),
            registries: RegistryConfig::default(),
            limits: Limits::default(),
            parallel_layers: 3,
        }
    }
}

/// Which registries, and how.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Asked before the registry itself, in order, by the registry's name (`docker.io`). A mirror is `host[:port]` or a URL
    /// (`http://10.0.0.5:5000`, `https://mirror.example/prefix`).
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// `host[:port]` of registries that are spoken to by plain HTTP. Loopback addresses and `localhost` always are.
    pub insecure: BTreeSet<String>,
    /// Docker's `config.json`, for credentials. Without one the places that a kubelet looks at are tried:
    /// `$DOCKER_CONFIG/config.json`, `~/.docker/config.json`, `/.docker/config.json`.
    pub docker_config: Option<PathBuf>,
    /// A directory of `*.crt` and `*.pem` files with certificate authorities that are trusted beside the system's.
    pub ca_directory: Option<PathBuf>,
    pub retry: RetryPolicy,
}

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often one request is made again after a failure that may pass. A blob that gets on is not counted.
    pub tries: u32,
    /// The wait before the first repetition; it doubles each time.
    pub first_wait: Duration,
    /// A registry that asks (`Retry-After`) for more than this is left to the caller's back-off.
    pub longest_wait: Duration,
    pub connect_timeout: Duration,
    /// A transfer that brings less than [`RetryPolicy::least_bytes`] in this time has stalled.
    pub stall: Duration,
    pub least_bytes: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            least_bytes: 4096,
        }
    }
}

/// Bounds on what an image may cost. A figure that is reached refuses the image.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a manifest or an index, and of an image's configuration.
    pub manifest_bytes: u64,
    /// Layers of an image.
    pub layers: usize,
    /// Compressed bytes of one layer, as the manifest states them.
    pub layer_bytes: u64,
    /// Bytes of all layers together after decompression.
    pub unpacked_bytes: u64,
    /// Entries (files, directories, links) of all layers together.
    pub entries: u64,
    /// A stream that expands more than this is a bomb…
    pub expansion: u64,
    /// …once it has brought this many bytes.
    pub expansion_checked_from: u64,
    /// Base-two logarithm of the largest window of a zstd stream: what unpacking it may cost in memory.
    pub zstd_window_log: u32,
    /// Names in one entry's path.
    pub path_depth: usize,
    /// Images in one archive.
    pub images_per_archive: usize,
    /// What a file or link that a layer brings twice means. Docker lets the last one win.
    pub duplicates: Duplicates,
}

/// What to make of a name that comes twice in one layer. A directory may always be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The archive is refused: a scanner that believes the first sees another file than the program that is run.
    Refuse,
    /// The last one counts, as with Docker. It replaces the earlier one and never writes through it.
    LastWins,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            manifest_bytes: 4 << 20,
            layers: 500,
            layer_bytes: 64 << 30,
            unpacked_bytes: 64 << 30,
            entries: 4_000_000,
            expansion: 250,
            expansion_checked_from: 512 << 20,
            zstd_window_log: 25,
            path_depth: 200,
            images_per_archive: 100,
            duplicates: Duplicates::Refuse,
        }
    }
}

/// Credentials for one pull, as from a pod's `imagePullSecrets`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Auth {
    Basic {
        username: String,
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken` of Docker's `config.json`).
    IdentityToken(String),
    /// A token that is sent as it stands (`registrytoken`).
    RegistryToken(String),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Auth::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Auth::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Auth::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}
