//! TLS for those who dial us: a certificate of ours, and where it is asked for one of theirs.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::{authorities, identity};

/// What a connection shows: the certificate and the key in these files, of which one of `clients` signs those of clients. Blocks.
///
/// # Errors
/// Which file can't be used, and why.
pub(crate) fn config(cert: &Path, key: &Path, clients: Option<&Path>) -> Result<Arc<ServerConfig>, String> {
    let (certs, key) = identity(cert, key).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| format!("TLS can't be set up ({error})"))?;
    let config = match clients {
        None => versions.with_no_client_auth(),
        Some(file) => {
            let refused = |why: String| format!("the CA file {} can't be used ({why})", file.display());
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(authorities(file).map_err(refused)?);
            if added == 0 {
                return Err(refused("it holds no certificate".to_owned()));
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            versions.with_client_cert_verifier(verifier.map_err(|error| refused(error.to_string()))?)
        }
    };
    let refused = |error| format!("the certificate {} can't be used ({error})", cert.display());
    let mut config = config.with_single_cert(certs, key).map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
