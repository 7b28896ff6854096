//! TLS by rustls, with the platform's certificate authorities and the user's own.
//!
//! The authorities are loaded at the first dial by TLS and shared by all links and remote servers. After a certificate that no known authority
//! signed they are loaded anew: in a process that runs for months, the platform's list may have been updated.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[cfg(all(unix, not(target_os = "macos")))]
use rustls_native_certs::load_certs_from_paths;
use rustls_native_certs::{CertificateResult, load_native_certs};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, InvalidMessage, RootCertStore};

use super::error::{DialError, DialStep, TlsProblem};
use super::peer_text::bounded;
use crate::config::TlsSpec;
use crate::disk::read::{Accept, whole};
use crate::process::aside::aside;
use crate::process::limits;

pub(crate) mod server;
pub(crate) mod words;

/// The loaded settings, for each set of files of the config and for none. Locked while loading, lest fifty links load fifty times.
static LOADED: Mutex<Vec<Loaded>> = Mutex::const_new(Vec::new());

/// The settings, behind what they were made of.
type Loaded = ((TlsSpec, Alpn), Arc<ClientConfig>);

/// Which protocols are offered (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpn {
    /// HTTP/1.1 only: a server that chose HTTP/2 could not do the upgrade to WebSocket.
    Http1,
    /// HTTP/2 and HTTP/1.1.
    Http2,
}

/// The variable that names further authorities.
#[cfg(all(unix, not(target_os = "macos")))]
const CERT_FILE: &str = "SSL_CERT_FILE";
/// Largest file of authorities that is read, in bytes: all public authorities together take a quarter of a megabyte.
const MAX_FILE: u64 = 16 << 20;
/// Longest part of an error or of a certificate's names that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// The TLS handshake with `host`, which messages call `peer`.
pub(super) async fn handshake(
    tcp: TcpStream,
    host: &str,
    peer: &str,
    (files, alpn): (&TlsSpec, Alpn),
) -> Result<TlsStream<TcpStream>, DialError> {
    let tls = |problem| DialError::Tls { peer: peer.to_owned(), problem };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| tls(TlsProblem::BadName))?;
    let connector = TlsConnector::from(config(files, alpn).await?);
    let error = match connector.connect(name, tcp).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let Some(rustls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
        return Err(lost(&error, peer));
    };
    let problem = problem(rustls);
    // Authorities, or a certificate of ours, may have been replaced since.
    if problem == TlsProblem::UnknownIssuer || files.identity.is_some() {
        LOADED.lock().await.retain(|((of, _), _)| of != files);
    }
    Err(tls(problem))
}

fn lost(error: &io::Error, peer: &str) -> DialError {
    DialError::Lost { peer: peer.to_owned(), step: DialStep::Tls, reason: words::of_io(error) }
}

fn problem(error: &rustls::Error) -> TlsProblem {
    if let rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) = error {
        return TlsProblem::Plain;
    }
    let rustls::Error::InvalidCertificate(fault) = error else {
        return TlsProblem::Other(bounded(&words::of(error), MAX_SHOWN));
    };
    // An authority that was renewed under its old name shows as a bad signature.
    if matches!(fault, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
        TlsProblem::UnknownIssuer
    } else if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        TlsProblem::Expired
    } else if matches!(fault, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) {
        TlsProblem::NotYetValid
    } else if matches!(fault, CertificateError::Revoked) {
        TlsProblem::Revoked
    } else if let CertificateError::NotValidForNameContext { presented, .. } = fault {
        let presented = bounded(&words::names(presented), MAX_SHOWN);
        TlsProblem::WrongName {
            presented: if presented.is_empty() { presented } else { format!(" but for {presented}") },
        }
    } else if matches!(fault, CertificateError::NotValidForName) {
        TlsProblem::WrongName { presented: String::new() }
    } else if format!("{fault:?}").contains("CaUsedAsEndEntity") {
        // The `Debug` text is all there is: the error's type is of a crate that rustls doesn't show.
        TlsProblem::Authority
    } else {
        TlsProblem::Certificate(bounded(&words::of_certificate(fault), MAX_SHOWN))
    }
}

async fn config(files: &TlsSpec, alpn: Alpn) -> Result<Arc<ClientConfig>, DialError> {
    let mut loaded = LOADED.lock().await;
    if let Some((_, config)) = loaded.iter().find(|((of, protocols), _)| of == files && *protocols == alpn) {
        return Ok(Arc::clone(config));
    }
    let key = (files.clone(), alpn);
    let files = files.clone();
    // Loading reads a hundred files or the system's keychain: too long for the one thread that serves everyone.
    let failed =
        |error| trust(format!("loading the certificate authorities failed ({})", limits::told(&error)), RETRIED);
    let config = Arc::new(aside(move || load(&files, alpn)).await.map_err(failed)??);
    loaded.push((key, Arc::clone(&config)));
    Ok(config)
}

const RETRIED: &str = "it is tried again";
const CHECK_FILE: &str = "check that the file exists, is readable, and holds certificates in PEM form";

fn trust(what: impl Into<String>, remedy: &'static str) -> DialError {
    DialError::Trust { what: what.into(), remedy }
}

/// Until when a certificate is good that a host has shown, with those by which it was signed; `None` where that can't be found out.
pub(super) async fn good_until(shown: Vec<CertificateDer<'static>>, host: &str, files: &TlsSpec) -> Option<SystemTime> {
    let (files, name) = (files.clone(), ServerName::try_from(host.to_owned()).ok()?);
    let roots = aside(move || roots(&files)).await.ok()?.ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let (own, signers) = shown.split_first()?;
    // In a thousand years no certificate is good any more, and whoever refuses it says since when.
    let then = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + FAR);
    match verifier.verify_server_cert(own, signers, &name, &[], then) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        Ok(_) | Err(_) => None,
    }
}

/// A thousand years.
const FAR: Duration = Duration::from_secs(1000 * 365 * 86_400);

fn load(files: &TlsSpec, alpn: Alpn) -> Result<ClientConfig, DialError> {
    let roots = roots(files)?;
    // The provider is named, since another library may have chosen the process's default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| trust(format!("TLS can't be set up ({e})"), RETRIED))?;
    let config = versions.with_root_certificates(roots);
    let mut config = match &files.identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let (certs, key) = identity(cert, key)?;
            let refused = |e| trust(format!("the certificate {} can't be used ({e})", cert.display()), CHECK_IDENTITY);
            config.with_client_auth_cert(certs, key).map_err(refused)?
        }
    };
    config.alpn_protocols = match alpn {
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// The authorities that are trusted.
fn roots(files: &TlsSpec) -> Result<RootCertStore, DialError> {
    let mut roots = RootCertStore::empty();
    let platform = platform_store();
    if let Some(error) = platform.errors.first() {
        tracing::warn!(
            event = "ERROR_TRUST_STORE", %error, errors = platform.errors.len(),
            "some certificate authorities can't be read; if SSL_CERT_FILE is set, check it"
        );
    }
    roots.add_parsable_certificates(platform.certs);
    if let Some(file) = &files.ca_file {
        let own = authorities(file);
        let (added, _) = roots.add_parsable_certificates(own.iter().flatten().cloned());
        if added == 0 {
            let why = own.err().unwrap_or_else(|| "it holds no certificate".to_owned());
            return Err(trust(format!("the CA file {} can't be used ({why})", file.display()), CHECK_FILE));
        }
    }
    if roots.is_empty() {
        return Err(trust(
            "this machine has no list of certificate authorities, so nobody can be trusted who is dialled by TLS",
            "install it (the package is often called ca-certificates), or name a PEM file in SSL_CERT_FILE",
        ));
    }
    Ok(roots)
}

const CHECK_IDENTITY: &str = "check that certFile holds the certificate and keyFile its key, both in PEM form";

/// The certificates that a connection shows, and their key.
fn identity(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), DialError> {
    let unusable = |what: &str, file: &Path, why: String| {
        trust(format!("the {what} {} can't be used ({why})", file.display()), CHECK_IDENTITY)
    };
    let certs = authorities(cert).map_err(|why| unusable("certificate", cert, why))?;
    if certs.is_empty() {
        return Err(unusable("certificate", cert, "it holds no certificate".to_owned()));
    }
    let text = whole(key, MAX_FILE, Accept::Files).map_err(|e| unusable("key", key, limits::in_words(&e)))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|e| unusable("key", key, e.to_string()))?;
    Ok((certs, key))
}

/// The certificates in a PEM file, or why there are none.
fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = whole(file, MAX_FILE, Accept::Files).map_err(|error| limits::in_words(&error))?;
    let (certificates, faults): (Vec<_>, Vec<_>) = CertificateDer::pem_slice_iter(&text).partition(Result::is_ok);
    match faults.into_iter().find_map(Result::err) {
        Some(fault) if certificates.is_empty() => Err(fault.to_string()),
        Some(_) | None => Ok(certificates.into_iter().flatten().collect()),
    }
}

/// The platform's authorities, and those of `SSL_CERT_FILE` besides.
///
/// The library would load the variable's authorities instead of the platform's; but an additional authority must not cost the
/// public ones. On macOS and Windows the library can't be asked for both, so there the variable does replace the platform's.
fn platform_store() -> CertificateResult {
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    return load_native_certs();
    #[cfg(all(unix, not(target_os = "macos")))]
    platform_store_and(std::env::var_os(CERT_FILE).as_deref().map(Path::new))
}

#[cfg(all(unix, not(target_os = "macos")))]
fn platform_store_and(named: Option<&Path>) -> CertificateResult {
    let mut store = CertificateResult::default();
    // A file that is a pipe is not read: the library would wait for a writer.
    match named.filter(|file| file.exists() && !file.is_file()) {
        Some(file) => tracing::warn!(
            event = "ERROR_TRUST_STORE",
            "{CERT_FILE} names {}, which is no regular file, so it is not read",
            file.display()
        ),
        None => store = load_native_certs(),
    }
    if named.is_some() {
        for directory in openssl_probe::candidate_cert_dirs() {
            store.certs.extend(load_certs_from_paths(None, Some(directory)).certs);
        }
        store.certs.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        store.certs.dedup();
    }
    store
}

#[cfg(all(test, unix, not(target_os = "macos")))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The environment is shared by all tests, so a process of its own loads with the variable set.
    #[test]
    fn ssl_cert_file_adds_to_the_platforms_authorities() {
        const EXPECTED: &str = "MCP_PIPE_TEST_AUTHORITIES";
        if let Ok(expected) = std::env::var(EXPECTED) {
            assert_eq!(platform_store().certs.len(), expected.parse::<usize>().unwrap());
            return;
        }
        let directories = openssl_probe::candidate_cert_dirs();
        let platform: std::collections::BTreeSet<Vec<u8>> = directories
            .flat_map(|directory| load_certs_from_paths(None, Some(directory)).certs)
            .map(|cert| cert.to_vec())
            .collect();
        let own = rcgen::generate_simple_self_signed(vec!["own.example".into()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.pem");
        std::fs::write(&file, own.cert.pem()).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "net::tls::tests::ssl_cert_file_adds_to_the_platforms_authorities"])
            .env(CERT_FILE, &file)
            .env_remove("SSL_CERT_DIR")
            .env(EXPECTED, (platform.len() + 1).to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}
