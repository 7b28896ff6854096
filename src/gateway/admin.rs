//! The admin address: figures and health of this run over HTTP, for whoever watches over it. Nothing is changed by what is asked there.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};

use super::door;
use super::guard::{Guard, Refused};
use super::guesses::{Guesses, Source};
use super::refusal::turned_down;
use super::reply::{self, Answer};
use super::turned_away::{self, Refusal};
use super::{Encryption, ready};
use crate::config::AdminSpec;
use crate::control::metrics::{Format, Metrics};
use crate::mcp::reply::INVALID_REQUEST;

/// What there is, for a person who looks at the address alone.
const OFFER: &str = "figures in the text formats of Prometheus:\n  /metrics\nwhat `mcp-pipe status --json` tells:\n  /status\nhealth:\n  /livez\n  /readyz";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Admin {
    terms: RwLock<Arc<Terms>>,
    encryption: RwLock<Option<Encryption>>,
    metrics: Arc<Metrics>,
    guesses: Guesses,
}

/// What the config says that counts.
#[derive(Debug)]
struct Terms {
    spec: Arc<AdminSpec>,
    guard: Guard,
}

impl Terms {
    fn of(spec: &Arc<AdminSpec>) -> Arc<Self> {
        // No page has anything to ask here.
        let guard = Guard::of(spec.listen, &spec.hosts, &[]);
        Arc::new(Terms { spec: spec.clone(), guard })
    }

    /// Whether whoever asks may see more than health.
    fn admit(&self, headers: &HeaderMap, from: Option<&Source>, guesses: &Guesses) -> Result<(), Box<Answer>> {
        if self.spec.keys.is_empty() {
            return Ok(());
        }
        let admitted = door::admitted(self.spec.keys.iter(), headers, None);
        admitted.map(drop).map_err(|denied| Box::new(turned_down(denied, headers, (from, guesses))))
    }
}

impl Admin {
    pub(crate) fn new(spec: &Arc<AdminSpec>, metrics: Arc<Metrics>) -> Self {
        Admin {
            terms: RwLock::new(Terms::of(spec)),
            encryption: RwLock::default(),
            metrics,
            guesses: Guesses::default(),
        }
    }

    /// Has other terms count from the next request on.
    pub(crate) fn change(&self, spec: &Arc<AdminSpec>) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Terms::of(spec);
    }

    /// Reads the files for encryption anew, which count from the next connection on.
    ///
    /// # Errors
    /// One of them can't be used: what was read before still counts.
    pub(crate) async fn encrypt_anew(&self) -> anyhow::Result<()> {
        let encryption = Encryption::of(self.terms().spec.tls.as_ref()).await?;
        self.encrypt(encryption);
        Ok(())
    }

    pub(super) fn encrypt(&self, encryption: Option<Encryption>) {
        *self.encryption.write().unwrap_or_else(PoisonError::into_inner) = encryption;
    }

    pub(super) fn encryption(&self) -> Option<Encryption> {
        self.encryption.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn terms(&self) -> Arc<Terms> {
        // Nothing panics while it is held.
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer {
        let (terms, status) = (self.terms(), self.metrics.status());
        let (uri, headers) = (request.uri(), request.headers());
        let refused = match terms.guard.check(uri, headers) {
            Ok(()) => None,
            Err(Refused::Host) => Some((
                Refusal::Host,
                "this host is not known by that name; if it is yours, add it to `hosts` of `gateway`",
            )),
            Err(Refused::Origin) => Some((Refusal::Origin, "web pages may not ask here")),
        };
        if let Some((refusal, why)) = refused {
            turned_away::note(refusal, status);
            return reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return reply::other_method("GET, HEAD");
        }
        let admitted = terms.admit(headers, request.extensions().get(), &self.guesses);
        match (uri.path().trim_end_matches('/'), admitted) {
            ("/livez", _) => reply::text(StatusCode::OK, "ok"),
            ("/readyz", admitted) => ready(status, admitted.is_ok()),
            (_, Err(denied)) => {
                turned_away::note(Refusal::Key, status);
                *denied
            }
            ("/metrics", Ok(())) => {
                let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
                let format = Format::accepted(&accepts.collect::<Vec<_>>().join(","));
                let page = self.metrics.page(format).await;
                uncached(reply::json(StatusCode::OK, Bytes::from(page)), format.content_type())
            }
            ("/status", Ok(())) => {
                uncached(reply::json(StatusCode::OK, Bytes::from(self.metrics.report().await)), "application/json")
            }
            ("", Ok(())) => {
                reply::text(StatusCode::OK, format_args!("mcp-pipe {}: {OFFER}", env!("CARGO_PKG_VERSION")))
            }
            (_, Ok(())) => reply::text(StatusCode::NOT_FOUND, "there is nothing here; figures are at /metrics"),
        }
    }
}

/// An answer that is another one each time.
fn uncached(mut answer: Answer, content_type: &'static str) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::config::{ApiKeySpec, sha256};
    use crate::control::status::Status;

    fn admin(listen: &str, key: Option<&str>) -> Admin {
        let keys = key.map(|key| ApiKeySpec {
            name: "scraper".into(),
            hash: sha256(key),
            servers: None,
            tools: Arc::default(),
            capability_url: false,
        });
        let spec = AdminSpec {
            listen: listen.parse().unwrap(),
            hosts: Vec::new(),
            keys: keys.into_iter().collect(),
            tls: None,
        };
        let status = Status::default();
        let server = status.add_server("calc");
        std::mem::forget(server);
        Admin::new(&Arc::new(spec), Arc::new(Metrics::of(status, "/etc/mcp_config.json".into())))
    }

    async fn ask(admin: &Admin, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = admin.answer(request.body(()).unwrap()).await;
        let kind = answer.headers().get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_address_is_for_one_thing_and_all_is_only_looked_at() {
        let admin = admin("127.0.0.1:9464", None);
        let here = ("host", "localhost:9464");
        for (method, path, headers, want) in [
            ("GET", "/livez", vec![here], 200),
            ("GET", "/readyz", vec![here], 503),
            ("GET", "/metrics", vec![here], 200),
            ("HEAD", "/metrics/", vec![here], 200),
            ("GET", "/status", vec![here], 200),
            ("GET", "/", vec![here], 200),
            ("GET", "/mcp", vec![here], 404),
            ("POST", "/metrics", vec![here], 405),
            ("GET", "/metrics", vec![("host", "evil.example:9464")], 403),
            ("GET", "/livez", vec![("host", "evil.example")], 403),
            ("GET", "/metrics", vec![here, ("origin", "https://evil.example")], 403),
            ("GET", "/metrics", vec![here, ("sec-fetch-site", "cross-site")], 403),
        ] {
            assert_eq!(ask(&admin, method, path, &headers).await.0, want, "{method} {path} {headers:?}");
        }
        let (_, kind, page) = ask(&admin, "GET", "/metrics", &[here]).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        assert!(page.contains("mcp_pipe_server_state{server=\"calc\",state=\"starting\"} 1"), "{page}");
        let open = [here, ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
        let (_, kind, page) = ask(&admin, "GET", "/metrics", &open).await;
        assert!(kind.starts_with("application/openmetrics-text") && page.ends_with("# EOF\n"), "{kind} {page}");
        let (_, kind, report) = ask(&admin, "GET", "/status", &[here]).await;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&*kind, &report["servers"][0]["name"]), ("application/json", &"calc".into()));
    }

    #[tokio::test]
    async fn elsewhere_a_key_is_asked_for_all_but_health() {
        let admin = admin("192.0.2.1:9464", Some("a-key-of-16-chars"));
        let (right, wrong) = ("Bearer a-key-of-16-chars", "Bearer another-key-of-16");
        for (path, key, want) in [
            ("/metrics", None, 401),
            ("/metrics", Some(wrong), 401),
            ("/metrics", Some(right), 200),
            ("/status", None, 401),
            ("/", None, 401),
            ("/livez", None, 200),
            ("/readyz", None, 503),
        ] {
            let headers: Vec<_> = key.map(|key| ("authorization", key)).into_iter().collect();
            assert_eq!(ask(&admin, "GET", path, &headers).await.0, want, "{path} {key:?}");
        }
        assert_eq!(
            ask(&admin, "GET", "/readyz", &[]).await.2,
            "no server serves\nwaiting for 1 server\n",
            "not by its name"
        );
        let told = ask(&admin, "GET", "/readyz", &[("authorization", right)]).await.2;
        assert_eq!(told, "no server serves\nwaiting for calc\n");
    }
}
