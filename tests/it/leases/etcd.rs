//! A real etcd of one member, on ports and in a folder of its own. Killed and started again as a test wants it.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::{Authority, skip, within};

pub(super) struct Etcd {
    child: Child,
    dir: TempDir,
    host: String,
    /// For clients, for other members, and for clients by TLS.
    ports: [u16; 3],
    /// The authority, the certificate and its key.
    tls: Option<[PathBuf; 3]>,
}

impl Etcd {
    /// Where it is not installed, the test is skipped; with `CI=true` it fails.
    pub(super) async fn start(host: &str) -> Option<Self> {
        Self::start_with(host, None).await
    }

    /// The same, which is reached by TLS, too, by whoever shows a certificate of this authority.
    pub(super) async fn secured(host: &str, authority: &Authority) -> Option<Self> {
        authority.sign_server("etcd");
        Self::start_with(host, Some(["ca.pem", "etcd.pem", "etcd.key"].map(|name| authority.file(name)))).await
    }

    async fn start_with(host: &str, tls: Option<[PathBuf; 3]>) -> Option<Self> {
        let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "etcd is missing; .ci/run unpacks it");
            skip("etcd is not installed (Debian: etcd-server)");
            return None;
        }
        // Another program may be given a port before etcd has it.
        for _ in 0..5 {
            let ports = [0, 0, 0].map(|_| TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port());
            let dir = TempDir::new().unwrap();
            let child = run(host, ports, &dir, tls.as_ref());
            let mut etcd = Etcd { child, dir, host: host.to_owned(), ports, tls: tls.clone() };
            if within("etcd to answer or to end", etcd.answers()).await {
                return Some(etcd);
            }
        }
        panic!("etcd does not start");
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.ports[0])
    }

    pub(super) fn tls_url(&self) -> String {
        format!("https://{}:{}", self.host, self.ports[2])
    }

    /// Where it answers over HTTP, and not as its JSON gateway does.
    pub(super) fn no_gateway(&self) -> String {
        format!("http://{}:{}", self.host, self.ports[1])
    }

    /// Puts an entry there that goes with no lease.
    pub(super) async fn put(&self, key: &str, value: &str) {
        let [key, value] = [key, value].map(|text| base64::prelude::BASE64_STANDARD.encode(text));
        self.ask("kv/put", &json!({"key": key, "value": value})).await;
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`Etcd::kill`]: with all that it knew.
    pub(super) async fn restart(&mut self) {
        self.child = run(&self.host, self.ports, &self.dir, self.tls.as_ref());
        assert!(within("etcd to answer again", self.answers()).await, "etcd does not start again");
    }

    /// Begins a lease of so many seconds, which nobody renews.
    pub(super) async fn lease(&self, ttl: u64) -> String {
        let begun = self.ask("lease/grant", &json!({"TTL": ttl.to_string()})).await;
        begun["ID"].as_str().unwrap().to_owned()
    }

    /// Tries to get an agent for a lease, as a holder would that knows nothing of mcp-pipe.
    pub(super) async fn take(&self, agent: &str, lease: &str) -> bool {
        let key = base64::prelude::BASE64_STANDARD.encode(agent);
        let got = self
            .ask(
                "kv/txn",
                &json!({
                    "compare": [{"key": key, "target": "CREATE", "create_revision": "0"}],
                    "success": [{"request_put": {"key": key, "value": "", "lease": lease}}],
                }),
            )
            .await;
        got["succeeded"] == true
    }

    /// Has it let nobody in but this user, who may read and write what begins with `prefix`.
    pub(super) async fn demand(&self, (user, password): (&str, &str), prefix: &str) {
        let encoded = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
        let end = format!("{}0", prefix.strip_suffix('/').unwrap());
        for (path, body) in [
            ("role/add", json!({"name": "ours"})),
            (
                "role/grant",
                json!({"name": "ours", "perm": {"permType": "READWRITE", "key": encoded(prefix), "range_end": encoded(&end)}}),
            ),
            ("user/add", json!({"name": user, "password": password})),
            ("user/grant", json!({"user": user, "role": "ours"})),
            ("role/add", json!({"name": "root"})),
            ("user/add", json!({"name": "root", "password": "of the test"})),
            ("user/grant", json!({"user": "root", "role": "root"})),
            ("enable", json!({})),
        ] {
            let said = self.ask(&format!("auth/{path}"), &body).await;
            assert!(said["error"].is_null(), "{path}: {said}");
        }
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect((&*self.host, self.ports[0])).await.unwrap();
        let body = body.to_string();
        let head = format!("POST /v3/{path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Waits until it answers. False if it has ended.
    async fn answers(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.is_well().await.unwrap_or_default() {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_well(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((&*self.host, self.ports[0])).await?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn run(host: &str, [client, peer, by_tls]: [u16; 3], dir: &TempDir, tls: Option<&[PathBuf; 3]>) -> Child {
    let (mut client, peer) = (format!("http://{host}:{client}"), format!("http://{host}:{peer}"));
    let mut secured = Vec::new();
    if let Some([ca, cert, key]) = tls {
        client += &format!(",https://{host}:{by_tls}");
        secured.extend(["--trusted-ca-file".as_ref(), ca.as_os_str(), "--cert-file".as_ref(), cert.as_os_str()]);
        secured.extend(["--key-file".as_ref(), key.as_os_str(), "--client-cert-auth".as_ref()]);
    }
    let mut command = Command::new("etcd");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).arg("--data-dir").arg(dir.path().join("data"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(secured);
    command.args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"]);
    // Of one member: it need not wait long for the votes of others.
    command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
