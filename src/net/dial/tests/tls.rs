//! Certificates, good and bad.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, rustls};

use super::*;
use crate::net::error::TlsProblem;

/// An authority made for one test, and the file that names it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    _dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::called("authority")
    }

    fn called(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        Authority { issuer: Issuer::new(params, key), file, _dir: dir }
    }

    fn spec(&self) -> LinkSpec {
        LinkSpec { ca_file: Some(self.file.clone()), ..LinkSpec::default() }
    }

    /// A TLS endpoint with a certificate for `name`, changed by `change`.
    async fn endpoint(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (u16, JoinHandle<()>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        serve(&cert, &key).await
    }
}

/// A TLS endpoint that shows this certificate.
async fn serve(cert: &Certificate, key: &KeyPair) -> (u16, JoinHandle<()>) {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            // A client that doesn't trust us ends the handshake.
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let asked = request(&mut tls).await;
            say(&mut tls, &(switching(&asked, "") + "early")).await;
            tls.shutdown().await.unwrap();
        }
    });
    (port, task)
}

fn problem(error: DialError) -> TlsProblem {
    let DialError::Tls { problem, .. } = error else { panic!("{error:?}") };
    problem
}

#[tokio::test]
async fn an_authority_of_the_ca_file_is_trusted_and_the_early_bytes_come_through() {
    let authority = Authority::new();
    for name in ["localhost", "127.0.0.1"] {
        let (port, _task) = authority.endpoint(name, |_| {}).await;
        let dialed = dial_to(&format!("wss://{name}:{port}/?token={TOKEN}"), &authority.spec()).await.unwrap();
        let (mut stream, mut all) = (dialed.stream, dialed.early);
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"early");
        assert!(matches!(stream, Stream::Tls(_)));
    }
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_told_with_its_remedy() {
    let authority = Authority::new();
    let at = |port| format!("wss://localhost:{port}/?token={TOKEN}");

    let (port, _task) = authority.endpoint("localhost", |p| p.not_after = date_time_ymd(2001, 1, 1)).await;
    let (error, text) = fails(&at(port), &authority.spec()).await;
    assert_eq!(problem(error), TlsProblem::Expired);
    assert!(text.contains("has expired"), "{text}");

    let (port, _task) = authority.endpoint("localhost", |p| p.not_before = date_time_ymd(3000, 1, 1)).await;
    let (error, text) = fails(&at(port), &authority.spec()).await;
    assert_eq!(problem(error), TlsProblem::NotYetValid);
    assert!(text.contains("this machine's clock"), "{text}");

    let (port, _task) = authority.endpoint("other.example", |_| {}).await;
    let (error, text) = fails(&at(port), &authority.spec()).await;
    assert!(matches!(problem(error), TlsProblem::WrongName { .. }), "{text}");
    assert!(text.contains("not for this name but for other.example; use"), "{text}");

    let (port, _task) = Authority::called("other").endpoint("localhost", |_| {}).await;
    let (error, text) = fails(&at(port), &authority.spec()).await;
    assert_eq!(problem(error), TlsProblem::UnknownIssuer);
    assert!(text.contains("SSL_CERT_FILE"), "{text}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_told_and_can_be_trusted_once_it_is_no_authority() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    let server = params.self_signed(&key).unwrap();
    std::fs::write(&file, server.pem()).unwrap();
    let trusting = LinkSpec { ca_file: Some(file.path().to_owned()), ..LinkSpec::default() };
    let (port, _task) = serve(&server, &key).await;
    dial_to(&format!("wss://localhost:{port}/"), &trusting).await.unwrap();

    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (port, _task) = serve(&params.self_signed(&key).unwrap(), &key).await;
    let (error, text) = fails(&format!("wss://localhost:{port}/?token={TOKEN}"), &trusting).await;
    assert_eq!(problem(error), TlsProblem::Authority);
    assert!(text.contains("CA:FALSE"), "{text}");
}

#[tokio::test]
async fn an_authority_that_was_added_to_the_file_is_trusted_at_the_next_dial() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (port, _task) = authority.endpoint("localhost", |_| {}).await;
    let address = format!("wss://localhost:{port}/");
    fails(&address, &other.spec()).await;
    std::fs::copy(&authority.file, &other.file).unwrap();
    dial_to(&address, &other.spec()).await.unwrap();
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let (_listener, port) = listen().await;
    for file in [empty, dir.path().join("missing.pem")] {
        let spec = LinkSpec { ca_file: Some(file.clone()), ..LinkSpec::default() };
        let (error, text) = fails(&format!("wss://localhost:{port}/?token={TOKEN}"), &spec).await;
        assert!(matches!(error, DialError::Trust { .. }) && text.contains(file.to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn tls_to_a_plain_port_and_plain_to_a_tls_port_name_the_other_scheme() {
    let authority = Authority::new();
    let (listener, plain) = listen().await;
    let _task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_u8().await.unwrap();
        say(&mut tcp, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let (error, text) = fails(&format!("wss://localhost:{plain}/?token={TOKEN}"), &authority.spec()).await;
    assert_eq!(problem(error), TlsProblem::Plain);
    assert!(text.contains("an endpoint without TLS begins with ws://"), "{text}");

    let (tls, _task) = authority.endpoint("localhost", |_| {}).await;
    let (_, text) = fails(&format!("ws://localhost:{tls}/?token={TOKEN}"), &authority.spec()).await;
    assert!(text.contains("use wss://"), "{text}");
}
