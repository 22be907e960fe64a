//! The TLS set-up: which certificate authorities are believed. Made once, when the first `https` registry is spoken to, so that a
//! node which only uses local registries does not hold 150 certificates in memory.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Blocking: reads the system's certificate files.
pub(super) fn client_config(ca_directory: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // Errors for single files are no reason to stop as long as something is left to believe.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(directory) = ca_directory {
        add_directory(&mut roots, directory)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_directory(roots: &mut RootCertStore, directory: &Path) -> Result<(), String> {
    let bad = |path: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let listing = std::fs::read_dir(directory).map_err(|error| bad(directory, &error))?;
    for file in listing {
        let path = file.map_err(|error| bad(directory, &error))?.path();
        if !path
            .extension()
            .is_some_and(|extension| extension == "crt" || extension == "pem")
        {
            continue;
        }
        let certificates = CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(&path, &error))?;
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(&path, &error))?;
        }
    }
    Ok(())
}
