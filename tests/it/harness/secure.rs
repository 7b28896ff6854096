//! TLS for a server of the tests: an authority, certificates, and HTTP/2.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::{TlsAcceptor, rustls};

use super::web::{Asked, Part, State};

/// An authority made for one test, and the files of it and of what it has signed.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// How a server is reached by TLS.
pub(crate) struct Secure {
    pub(super) acceptor: TlsAcceptor,
}

/// What a TLS server is like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Secured {
    /// It has HTTP/2 beside HTTP/1.1.
    pub(crate) http2: bool,
    /// Its certificate has expired.
    pub(crate) expired: bool,
    /// Its certificate is good from the year 2095 on.
    pub(crate) early: bool,
    /// It wants a certificate of its clients.
    pub(crate) wants_certificate: bool,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), dir }
    }

    /// A file: `ca.pem`, `client.pem`, `client.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a certificate for a client, and its key.
    pub(crate) fn sign_client(&self) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        // etcd takes none with a common name where it wants a login as well.
        params.distinguished_name = DistinguishedName::new();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file("client.pem"), cert.pem()).unwrap();
        std::fs::write(self.file("client.key"), key.serialize_pem()).unwrap();
    }

    /// Writes a certificate for a server at `127.0.0.1`, and its key.
    pub(crate) fn sign_server(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), cert.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A server with a certificate for `127.0.0.1` and `mcp.test`.
    pub(crate) fn secure(&self, secured: Secured) -> Secure {
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1", "mcp.test"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        if secured.expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        if secured.early {
            params.not_before = rcgen::date_time_ymd(2095, 1, 1);
        }
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if secured.wants_certificate {
            let mut roots = rustls::RootCertStore::empty();
            let ca = std::fs::read(self.file("ca.pem")).unwrap();
            roots.add(rustls_pki_types::CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if secured.http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Secure { acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// Serves a connection of HTTP/2, with the answers of HTTP/1.1 in its form.
pub(super) async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut answering = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answering.spawn(answer(request, respond, state.clone()));
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: Arc<State>,
) -> Option<()> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = stream.data().await {
        stream.flow_control().release_capacity(bytes.len()).ok()?;
        body.extend_from_slice(&bytes);
    }
    let line =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {}\r\n", value.to_str().unwrap());
    let head = parts.headers.iter().map(line).collect::<String>().to_ascii_lowercase();
    let target = parts.uri.path_and_query()?.to_string();
    let asked = Asked::new(parts.method.to_string(), target, head, &body);
    let mut parts = state.answer(asked).into_iter();
    let Some(Part::Write(first)) = parts.next() else {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        return None;
    };
    let (head, rest) = split(&first);
    let mut sending = respond.send_response(head, false).ok()?;
    sending.send_data(rest, false).ok()?;
    for part in parts {
        match part {
            Part::Write(bytes) => sending.send_data(bytes.into(), false).ok()?,
            Part::Pause(time) => tokio::time::sleep(time).await,
            Part::Hang => std::future::pending().await,
            Part::Close => {
                sending.send_reset(h2::Reason::INTERNAL_ERROR);
                return None;
            }
            Part::Again(..) | Part::Bulk(_) | Part::Tell(_) | Part::Begin(_) => panic!("by HTTP/1.1 only"),
        }
    }
    sending.send_data(Bytes::new(), true).ok()
}

/// The beginning of an answer of HTTP/1.1: its head, without what HTTP/2 says otherwise, and the rest.
fn split(first: &[u8]) -> (http::Response<()>, Bytes) {
    let end = first.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = str::from_utf8(&first[..end]).unwrap();
    let mut lines = head.lines();
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = http::Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        response = response.header(name, value);
    }
    (response.body(()).unwrap(), Bytes::copy_from_slice(&first[end + 4..]))
}
