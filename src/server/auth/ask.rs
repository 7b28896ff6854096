//! Asking whoever may say how a token is had: a server for its metadata, and authorization servers. Bounded in time and size, by the
//! same rules for proxies and TLS as the server itself, and without following a redirect.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;

use super::challenge::Challenge;
use crate::config::{RemoteSpec, TlsSpec};
use crate::endpoint::{Origin, RemoteUrl};
use crate::net::http::{Call, Client, HttpError, Reply};
use crate::words::{size, span};

/// Longest time that one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer: metadata and tokens have a few thousand.
const MAX: usize = 256 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const PLAIN: HeaderValue = HeaderValue::from_static("identity");
const OURS: HeaderValue = HeaderValue::from_static(concat!("mcp-pipe/", env!("CARGO_PKG_VERSION")));

/// Asks on behalf of one server.
#[derive(Debug)]
pub(crate) struct Asker {
    /// Where the server is: its certificate is shown to nobody else.
    origin: Origin,
    tls: TlsSpec,
    connect_timeout: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Asker {
    pub(crate) fn of(spec: &RemoteSpec) -> Self {
        Asker { origin: spec.url.origin(), tls: spec.tls.clone(), connect_timeout: spec.connect_timeout }
    }

    /// Asks on behalf of nobody, at this address.
    pub(crate) fn at(url: &RemoteUrl) -> Self {
        Asker { origin: url.origin(), tls: TlsSpec::default(), connect_timeout: PATIENCE }
    }

    /// Reads a document. An error is the end of a sentence that begins with whom was asked, as all of these are.
    pub(crate) async fn get(&self, url: &RemoteUrl) -> Result<Said, String> {
        self.whole(url, Method::GET, headers(None), Bytes::new()).await
    }

    /// Sends a form, with who asks in a header or not.
    pub(crate) async fn post_form(&self, url: &RemoteUrl, by: Option<HeaderValue>, form: &str) -> Result<Said, String> {
        let mut headers = headers(Some(FORM));
        if let Some(by) = by {
            headers.insert(http::header::AUTHORIZATION, by);
        }
        self.whole(url, Method::POST, headers, Bytes::copy_from_slice(form.as_bytes())).await
    }

    /// Sends JSON.
    pub(crate) async fn post_json(&self, url: &RemoteUrl, json: String) -> Result<Said, String> {
        self.whole(url, Method::POST, headers(Some(JSON)), json.into()).await
    }

    /// Sends a message of MCP without a token, and says with which status it is answered and what the head demands.
    pub(crate) async fn knock(&self, url: &RemoteUrl, message: String) -> Result<(u16, Challenge), String> {
        let mut headers = headers(Some(JSON));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let work = async {
            let reply = self.send(url, Method::POST, headers, message.into()).await?;
            Ok((reply.status.as_u16(), Challenge::of(&reply.headers)))
        };
        bounded(work).await
    }

    async fn whole(&self, url: &RemoteUrl, method: Method, headers: HeaderMap, body: Bytes) -> Result<Said, String> {
        bounded(async {
            let mut reply = self.send(url, method, headers, body).await?;
            let mut said = Said { status: reply.status.as_u16(), body: Vec::new() };
            while let Some(bytes) = poll_fn(|cx| reply.poll_chunk(cx)).await {
                let bytes = bytes.map_err(|error| unreached(&error))?;
                if said.body.len() + bytes.len() > MAX {
                    return Err(format!("answers with more than {}", size(MAX as u64)));
                }
                said.body.extend_from_slice(&bytes);
            }
            Ok(said)
        })
        .await
    }

    async fn send(&self, url: &RemoteUrl, method: Method, headers: HeaderMap, body: Bytes) -> Result<Reply, String> {
        // A server elsewhere must not have us ask, and tell, what listens on this machine.
        if !url.origin().tls && url.origin() != self.origin && !self.origin.is_loopback() {
            return Err("has an address without TLS, as only a server on this machine may have it".to_owned());
        }
        let identity = self.tls.identity.clone().filter(|_| url.origin() == self.origin);
        let tls = TlsSpec { identity, ..self.tls.clone() };
        let client = Client::new(url, tls, self.connect_timeout.min(PATIENCE));
        let call = Call { method, url: url.clone(), headers, body };
        client.send(call).await.map_err(|error| unreached(&error))
    }
}

fn headers(content: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, OURS);
    headers.insert(ACCEPT, JSON);
    headers.insert(ACCEPT_ENCODING, PLAIN);
    if let Some(content) = content {
        headers.insert(CONTENT_TYPE, content);
    }
    headers
}

fn unreached(error: &HttpError) -> String {
    format!("can't be reached: {error}")
}

async fn bounded<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(format!("has not answered within {}", span(PATIENCE))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What somebody on this machine says.
    const SAID: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

    #[tokio::test]
    async fn only_for_a_server_of_this_machine_others_of_this_machine_are_asked_without_tls() {
        for (server, is_asked) in [
            ("https://mcp.example/mcp", false),
            ("http://mcp.example/mcp", false),
            ("http://192.168.1.5:8000/mcp", false),
            ("https://localhost.example/mcp", false),
            ("http://127.0.0.1:9/mcp", true),
            ("https://localhost/mcp", true),
            ("http://a.localhost:9/mcp", true),
            ("http://[::1]:9/mcp", true),
        ] {
            let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url: RemoteUrl = format!("http://{}/x", other.local_addr().unwrap()).parse().unwrap();
            let asker = Asker {
                origin: server.parse::<RemoteUrl>().unwrap().origin(),
                tls: TlsSpec::default(),
                connect_timeout: Duration::from_secs(5),
            };
            for way in ["get", "form", "json"] {
                let asked = async {
                    match way {
                        "get" => asker.get(&url).await,
                        "form" => asker.post_form(&url, None, "grant_type=x").await,
                        _ => asker.post_json(&url, "{}".to_owned()).await,
                    }
                };
                let serving = async {
                    let (mut stream, _) = other.accept().await.unwrap();
                    let _head = stream.read(&mut [0; 4096]).await.unwrap();
                    stream.write_all(SAID).await.unwrap();
                    std::future::pending::<()>().await;
                };
                // Whoever is asked would answer.
                let said = tokio::select! { said = asked => said, () = serving => unreachable!("it goes on") };
                match said {
                    Ok(said) => assert!(is_asked && said.body == b"{}", "{server} {way}"),
                    Err(why) => {
                        let want = "has an address without TLS, as only a server on this machine may have it";
                        assert!(!is_asked && why == want, "{server} {way}: {why}");
                    }
                }
            }
        }
    }
}
