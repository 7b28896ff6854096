//! An authorization server (OAuth 2.1), and servers that take its tokens only.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::web::{Asked, Part, Web, whole, with_json};

/// The tokens that are good now.
pub(crate) type Good = Arc<Mutex<BTreeSet<String>>>;

/// See the module's documentation. It ends when this is dropped.
pub(crate) struct AuthServer {
    web: Web,
    /// The access tokens and refresh tokens that it has given and that are good.
    pub(crate) good: Good,
}

impl AuthServer {
    /// One that does as this says, and else what a good one does; `None` is that.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static) -> Self {
        let good = Good::default();
        let (tokens, count) = (good.clone(), AtomicUsize::new(0));
        let web = Web::start(move |asked| Some(script(asked).unwrap_or_else(|| proper(asked, &tokens, &count)))).await;
        AuthServer { web, good }
    }

    pub(crate) fn issuer(&self) -> String {
        self.web.url().trim_end_matches("/mcp").to_owned()
    }

    /// What it was asked at this path, in order.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let is_at = |asked: &Asked| asked.target.split('?').next() == Some(path);
        self.web.asked().into_iter().filter(is_at).collect()
    }

    /// From now on no token is good.
    pub(crate) fn revoke(&self) {
        self.good.lock().unwrap().retain(|token| !token.starts_with("at-"));
    }
}

/// What an authorization server says of itself.
pub(crate) fn metadata(asked: &Asked) -> Value {
    let origin = asked.origin();
    json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/authorize?page=1"),
        "token_endpoint": format!("{origin}/token"),
        "registration_endpoint": format!("{origin}/register"),
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["tools", "offline_access"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// A long text with a number, as tokens are.
fn token(kind: &str, number: usize) -> String {
    format!("{kind}-{number:04}-s3cret-s3cret-s3cret")
}

fn proper(asked: &Asked, good: &Good, count: &AtomicUsize) -> Vec<Part> {
    let path = asked.target.split('?').next().unwrap_or_default();
    match (asked.method.as_str(), path) {
        ("GET", "/.well-known/oauth-authorization-server") => with_json(&metadata(asked)),
        ("POST", "/register") => {
            let text =
                json!({"client_id": token("client", 1), "redirect_uris": asked.body["redirect_uris"]}).to_string();
            whole("201 Created", &["content-type: application/json"], &text)
        }
        ("GET", "/authorize") => {
            let field = |name: &str| asked.field(name).unwrap();
            assert_eq!((field("code_challenge_method").as_str(), field("response_type").as_str()), ("S256", "code"));
            let mut good = good.lock().unwrap();
            let code = token("code", good.len());
            good.insert(format!("{code} {}", field("code_challenge")));
            let issuer = asked.origin().replace(':', "%3A").replace('/', "%2F");
            let to = format!("location: {}?code={code}&state={}&iss={issuer}", field("redirect_uri"), field("state"));
            whole("302 Found", &[&to], "")
        }
        ("POST", "/token") => {
            let mut good = good.lock().unwrap();
            let spent = match asked.field("grant_type").as_deref() {
                Some("client_credentials") => true,
                Some("refresh_token") => good.remove(&asked.field("refresh_token").unwrap()),
                Some("authorization_code") => {
                    let digest =
                        ring::digest::digest(&ring::digest::SHA256, asked.field("code_verifier").unwrap().as_bytes());
                    let challenge = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, digest);
                    good.remove(&format!("{} {challenge}", asked.field("code").unwrap()))
                }
                _ => false,
            };
            if !spent {
                let text =
                    json!({"error": "invalid_grant", "error_description": format!("not {}", asked.text)}).to_string();
                return whole("400 Bad Request", &["content-type: application/json"], &text);
            }
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let (access, refresh) = (token("at", number), token("rt", number));
            let mut answer = json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600});
            if asked.field("grant_type").as_deref() != Some("client_credentials") {
                answer["refresh_token"] = json!(refresh);
                good.insert(refresh);
            }
            good.insert(access);
            with_json(&answer)
        }
        _ => whole("404 Not Found", &[], ""),
    }
}

/// A server that takes only these tokens and says that this issuer gives them; else it does as the script says, and then as a good one.
pub(crate) async fn protected(
    good: Good,
    issuer: String,
    script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static,
) -> Web {
    Web::start(move |asked| {
        let path = asked.target.split('?').next().unwrap_or_default();
        if path == "/.well-known/oauth-protected-resource/mcp" {
            let resource = format!("{}/mcp", asked.origin());
            let document =
                json!({"resource": resource, "authorization_servers": [issuer], "scopes_supported": ["tools"]});
            return script(asked).or_else(|| Some(with_json(&document)));
        }
        if path != "/mcp" {
            return script(asked).or_else(|| Some(whole("404 Not Found", &[], "")));
        }
        let token = asked.exact("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if token.is_some_and(|token| good.lock().unwrap().contains(token)) {
            return script(asked);
        }
        let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", asked.origin());
        let challenge = format!("www-authenticate: Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\"");
        Some(whole("401 Unauthorized", &[&challenge], ""))
    })
    .await
}
