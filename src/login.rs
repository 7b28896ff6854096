//! `mcp-pipe login` and `mcp-pipe logout`: a person lets mcp-pipe use a server in their name (OAuth 2.1 section 4.1), and has that
//! forgotten.
//!
//! The server says which authorization server it trusts; mcp-pipe registers there as a client, unless the config names one, and prints the
//! address at which the person logs in. The browser comes back to an address on loopback with a code, for which there are tokens. These go
//! into the state folder, from where a daemon takes and renews them (`server::auth`).

mod callback;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use self::callback::{Answer, Expected, PATH};
use crate::config::{AuthSpec, Config, LoginSpec, Reach, RemoteSpec};
use crate::error::{Code, Exit, Problem, Problems};
use crate::mcp::handshake::Hello;
use crate::process::stop::Stop;
use crate::secrecy::{Redactor, Secret, plain};
use crate::server::auth::{
    Asker, AuthServer, Authority, Form, Granted, Kept, Method, Store, issuer, refusal, resource, seconds, server, shown,
};
use crate::words::{quoted, span};

/// Longest time for a person to log in.
const LIMIT: Duration = Duration::from_secs(300);

/// Who logs in where.
struct Login {
    name: Arc<str>,
    spec: Arc<RemoteSpec>,
    wish: LoginSpec,
    store: Store,
}

/// A client as an authorization server knows it.
struct Client {
    id: String,
    secret: Option<Secret>,
    method: Method,
}

/// `mcp-pipe login`, with the one server of this config.
///
/// # Errors
/// Why nobody is logged in.
pub(crate) async fn login(config: &Config, redactor: &Redactor, stop: &Stop, out: &mut impl Write) -> Result<Exit> {
    let login = chosen(config)?;
    tokio::select! {
        done = login.perform(redactor, out) => done,
        () = stop.drain().cancelled() => bail!("the login was given up, and nothing is kept of it"),
    }
}

/// `mcp-pipe logout`, with the one server of this config.
///
/// # Errors
/// The login can't be removed.
pub(crate) async fn logout(config: &Config, out: &mut impl Write) -> Result<Exit> {
    let Login { name, store, .. } = chosen(config)?;
    let was_there = store.remove().await.context("the login can't be removed")?;
    let name = quoted(&name);
    let told = if was_there {
        format!("the login at {name} is forgotten here; a running mcp-pipe drops it with mcp-pipe restart {name}")
    } else {
        format!("there is no login at {name}")
    };
    say(out, &told);
    Ok(Exit::Success)
}

/// Tells a person. A reader that went away has seen enough.
fn say(out: &mut impl Write, text: &str) {
    let _gone = writeln!(out, "{}", plain::lines(text)).and_then(|()| out.flush());
}

/// The server that was named, if one can log in there.
fn chosen(config: &Config) -> Result<Login> {
    let Some(server) = config.servers.first() else { bail!("the config names no server") };
    let wrong = |what: &str, remedy: &str| {
        let problem = Problem::new(&*server.name, Code::WrongValue.says(what), remedy);
        Err(Problems { target: Some(problem), ..Problems::default() }.into())
    };
    let Reach::Remote(spec) = &server.reach else {
        return wrong("is a program that is started here, and nobody logs in there", "name a server with a url");
    };
    let AuthSpec::Login(wish) = &spec.auth else {
        return wrong(
            "is told who asks by its entry (auth, an Authorization header or a user name in its url), so a login would not be used",
            "remove that from its entry",
        );
    };
    let Some(folder) = &wish.folder else {
        return wrong("has no place where its login could be kept", "name a folder in the config: \"stateDir\"");
    };
    let store = Store::new(folder, &spec.url);
    Ok(Login { name: server.name.clone(), spec: spec.clone(), wish: wish.clone(), store })
}

impl Login {
    async fn perform(&self, redactor: &Redactor, out: &mut impl Write) -> Result<Exit> {
        self.store.prepare().await.context("the login could not be kept")?;
        let asker = Asker::of(&self.spec);
        let url = &self.spec.url;
        let clean = |why: String| anyhow!("{}", redactor.clean(&why));
        let hello = Hello::likely();
        let params = String::from_utf8_lossy(&hello.params);
        let hello = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{params}}}");
        let (status, challenge) = asker.knock(url, hello).await.map_err(|why| clean(format!("{url} {why}")))?;
        let found = resource(&asker, url, &challenge).await.map_err(clean)?;
        if found.is_none() && status != 401 {
            if status >= 300 {
                bail!("{url} answers HTTP {status} and does not say that anybody could log in there; check the url");
            }
            say(out, &format!("{} needs no login: it lets anybody in", quoted(&self.name)));
            return Ok(Exit::Success);
        }
        let (authority, resource) = match found {
            Some(resource) => {
                let issuer = issuer(&resource, None).map_err(clean)?;
                let server = server(&asker, issuer).await.map_err(clean)?;
                let name = resource.resource.clone();
                (Authority { resource, server }, Some(name))
            }
            None if self.wish.client_secret.is_some() => bail!(
                "{url} does not say which authorization server it trusts, so nothing says for whom the clientSecret is; remove it, or ask \
                 whoever runs the server for its metadata (RFC 9728)"
            ),
            None => (self.of_old(&asker).await.map_err(clean)?, None),
        };
        let server = &authority.server;
        let shown_server = &server.token;
        let Some(place) = &server.authorization else {
            bail!("the authorization server {shown_server} names no page on which a person could log in");
        };
        // Without that a code could be used by whoever sees it (MCP, authorization, PKCE).
        if !server.challenges.iter().any(|method| method == "S256") {
            bail!(
                "the authorization server {shown_server} does not say that it knows PKCE with S256, without which a login is not safe"
            );
        }
        let listener = TcpListener::bind(("127.0.0.1", self.wish.redirect_port.unwrap_or(0))).await;
        let listener = listener.with_context(|| match self.wish.redirect_port {
            Some(port) => {
                format!("port {port} of 127.0.0.1 can't be had; stop what has it, or name another redirectPort")
            }
            None => "no port of 127.0.0.1 can be had".to_owned(),
        })?;
        let port = listener.local_addr()?.port();
        let redirect = format!("http://127.0.0.1:{port}{PATH}");
        let scope = authority.scope(self.wish.scope.as_deref(), &challenge);
        let scope = with_offline(scope, server);
        let client = self.client(&asker, server, &redirect, redactor).await?;
        let (verifier, state) = (random(), random());
        redactor.add([Secret::new(verifier.clone()), Secret::new(state.clone())]);
        let query = Form::default()
            .with("response_type", "code")
            .with("client_id", &client.id)
            .with("redirect_uri", &redirect)
            .with("state", &state)
            .with("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())))
            .with("code_challenge_method", "S256")
            .with_some("scope", scope.as_deref())
            .with_some("resource", resource.as_deref());
        let page = place.reveal().to_string();
        let page = format!("{page}{}{}", if page.contains('?') { '&' } else { '?' }, query.text());
        say(
            out,
            &format!(
                "open this address in a browser on this machine, and log in there:\n\n  {page}\n\n\
                 waiting for the browser to come back, {} at most; Ctrl-C gives up\n\
                 (with the browser on another machine, run this there first: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE)",
                span(LIMIT)
            ),
        );
        let expected = Expected { state, issuer: server.issuer.clone(), names_issuer: server.names_itself };
        let code = match answer(listener, &expected).await? {
            Answer::Code(code) => code,
            Answer::Refused(why) => bail!("the authorization server {shown_server} {}", redactor.shown(&why, 300)),
            Answer::Foreign => bail!("the browser came back without an answer"),
        };
        redactor.add([Secret::new(code.clone())]);
        let form = Form::default()
            .with("grant_type", "authorization_code")
            .with("code", &code)
            .with("redirect_uri", &redirect)
            .with("code_verifier", &verifier)
            .with_some("resource", resource.as_deref());
        let (by, form) = shown(client.method, &client.id, client.secret.as_ref(), form);
        let told = |why: &str| clean(format!("the authorization server {shown_server} {why}"));
        let said = asker.post_form(&server.token, by, form.text()).await.map_err(|why| told(&why))?;
        let granted =
            Granted::read(said.status, &said.body, SystemTime::now(), redactor).map_err(|no| told(&no.why))?;
        self.keep(&granted, server, (client, resource, scope), redactor, out).await
    }

    /// The authorization server of a server that does not name one: its own origin, as MCP 2025-03-26 has it.
    async fn of_old(&self, asker: &Asker) -> Result<Authority, String> {
        let url = self.spec.url.reveal();
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let origin = format!("{}://{authority}", url.scheme_str().unwrap_or("https"));
        let slash = format!("{origin}/");
        let found = match server(asker, &origin).await {
            Ok(server) => Ok(server),
            Err(first) => server(asker, &slash).await.map_err(|_| first),
        };
        let server = found.map_err(|why| {
            format!(
                "it wants to know who asks and does not say which authorization server it trusts; {why}; {BY_TOKEN}"
            )
        })?;
        // Nothing but its own address says that a server may be asked there.
        let own = self.spec.url.origin();
        let all = [Some(&server.token), server.authorization.as_ref(), server.registration.as_ref()];
        if let Some(other) = all.into_iter().flatten().find(|place| place.origin() != own) {
            return Err(format!(
                "it wants to know who asks, does not say which authorization server it trusts, and sends whoever logs in elsewhere ({other}); {BY_TOKEN}"
            ));
        }
        Ok(Authority::of_old(server))
    }

    /// As whom mcp-pipe asks: the client of the config, or one that is registered for this.
    async fn client(&self, asker: &Asker, server: &AuthServer, redirect: &str, redactor: &Redactor) -> Result<Client> {
        let taken = server.methods.as_deref();
        let shown_server = &server.token;
        if let Some(id) = self.wish.client_id.clone() {
            let secret = self.wish.client_secret.clone();
            let method = match secret {
                None => Method::None,
                Some(_) => Method::for_secret(taken)
                    .ok_or_else(|| anyhow!("the authorization server {shown_server} takes no client's secret"))?,
            };
            return Ok(Client { id, secret, method });
        }
        let Some(place) = &server.registration else {
            bail!(
                "the authorization server {shown_server} registers no clients by itself; register one there with the redirect address \
                 {redirect}, and write into the server's entry: \"auth\": {{\"login\": {{\"clientId\": \"…\", \"redirectPort\": …}}}}"
            );
        };
        let is_open = taken.is_none_or(|taken| taken.iter().any(|name| name == Method::None.name()));
        let method = if is_open { Method::None } else { Method::for_secret(taken).unwrap_or(Method::None) };
        let wish = json!({
            "client_name": "mcp-pipe",
            "redirect_uris": [redirect],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method.name(),
            "application_type": "native",
        });
        let told = |why: &str| anyhow!("{}", redactor.clean(&format!("the authorization server {place} {why}")));
        let said = asker.post_json(place, wish.to_string()).await.map_err(|why| told(&why))?;
        let no = || {
            let why =
                refusal(said.status, &said.body, redactor).why.replacen("gives no token", "registers no client", 1);
            told(&why)
        };
        let Some(Value::Object(client)) =
            serde_json::from_slice(&said.body).ok().filter(|_| (200..300).contains(&said.status))
        else {
            return Err(no());
        };
        let text = |name: &str| client.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id = text("client_id").ok_or_else(no)?.to_owned();
        let secret = text("client_secret").map(Secret::new);
        redactor.add(secret.clone());
        let method = text("token_endpoint_auth_method").and_then(Method::named).unwrap_or(method);
        let method = if secret.is_none() { Method::None } else { method };
        Ok(Client { id, secret, method })
    }

    /// Keeps what was given.
    async fn keep(
        &self,
        granted: &Granted,
        server: &AuthServer,
        (client, resource, scope): (Client, Option<String>, Option<String>),
        redactor: &Redactor,
        out: &mut impl Write,
    ) -> Result<Exit> {
        redactor.add([granted.access().clone()].into_iter().chain(granted.refresh.clone()));
        let reveal = |secret: &Secret| secret.reveal().to_owned();
        let kept = Kept {
            url: self.spec.url.reveal().to_string(),
            resource,
            issuer: server.issuer.clone(),
            token_endpoint: server.token.reveal().to_string(),
            client_id: client.id,
            client_secret: client.secret.as_ref().map(reveal),
            method: client.method.name().to_owned(),
            scope,
            refresh_token: granted.refresh.as_ref().map(reveal),
            access_token: reveal(granted.access()),
            expires: granted.expires().and_then(seconds),
        };
        let folder = self.store.write(kept).await.context("the login can't be kept")?;
        let name = quoted(&self.name);
        say(
            out,
            &format!(
                "logged in at {name}; the login is kept in {} and renewed by whichever mcp-pipe runs\n\
                 one that runs already uses it once the server is started anew: mcp-pipe restart {name}",
                folder.display()
            ),
        );
        if granted.refresh.is_none() {
            let left = granted.expires().and_then(|end| end.duration_since(SystemTime::now()).ok());
            let left = left
                .map_or_else(|| "for as long as its server takes it".to_owned(), |left| format!("for {}", span(left)));
            say(out, &format!("the authorization server gave nothing to renew it by: it is good {left}"));
        }
        Ok(Exit::Success)
    }
}

/// What to do where a server wants a token and nobody can log in for one.
const BY_TOKEN: &str =
    "if it gives out tokens in another way, write one into its entry: \"auth\": {\"bearer\": \"${TOKEN}\"}";

/// Waits for the browser to come back, which it may do on this listener, for as long as a person has.
async fn answer(listener: TcpListener, expected: &Expected) -> Result<Answer> {
    let answer = timeout(LIMIT, callback::wait(listener, expected)).await;
    let answer = answer.map_err(|_| anyhow!("nobody has logged in within {}; run it again", span(LIMIT)))?;
    answer.context("the browser can't come back")
}

/// A scope, with the wish for a login that can be renewed while nobody is there, if the authorization server knows such.
fn with_offline(scope: Option<String>, server: &AuthServer) -> Option<String> {
    const OFFLINE: &str = "offline_access";
    let is_known = server.scopes.iter().any(|scope| scope == OFFLINE);
    let is_in = scope.as_deref().is_some_and(|scope| scope.split(' ').any(|word| word == OFFLINE));
    match scope {
        Some(scope) if is_known && !is_in => Some(format!("{scope} {OFFLINE}")),
        None if is_known => Some(OFFLINE.to_owned()),
        scope => scope,
    }
}

/// A text that nobody guesses (RFC 7636 section 4.1).
fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_login_that_nobody_answers_ends_in_words_and_nothing_listens_for_it_any_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let expected = Expected { state: "s1".to_owned(), issuer: "https://as".to_owned(), names_issuer: false };
        // Neither whoever says nothing nor whoever guesses gives a person more time.
        let mut silent = TcpStream::connect(place).await.unwrap();
        let mut guess = TcpStream::connect(place).await.unwrap();
        guess.write_all(b"GET /callback?code=c&state=guess HTTP/1.1\r\n\r\n").await.unwrap();
        let began = Instant::now();
        let why = answer(listener, &expected).await.unwrap_err();
        assert_eq!(why.to_string(), format!("nobody has logged in within {}; run it again", span(LIMIT)));
        assert_eq!((began.elapsed().as_secs(), span(LIMIT).to_string().as_str()), (LIMIT.as_secs(), "5 min"));
        let mut said = String::new();
        guess.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "its connection is closed");
        let refused = TcpStream::connect(place).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
    }
}
