//! How a remote server is told who asks: by which token, where that is had, and when another is.
//!
//! # Theory of operation
//!
//! An [`Auth`] belongs to a server, through all its lives and in all its processes. A life asks for the header of each request
//! ([`Auth::ready`]), which costs nothing where a token is there. Where none is, or one is due, or the server has refused one, the life has
//! it renewed ([`Auth::renew`]) while its requests wait. Whoever waits for the same has one renewal in common. What is had is known to the
//! redactor before anybody else gets it, and for as long as somebody may still repeat it.
//!
//! A refused token is renewed once for each request. Where the new one is the same, or none is to be had, the life is over, and the next
//! one begins after the usual wait: so a wrong token costs a server a few requests a minute at most.
//!
//! What decides is pure: `token`, `challenge`, `metadata`, `grant`, `assertion`. `ask`, `discovery`, `helper` and `store` do.

mod ask;
mod assertion;
mod challenge;
mod discovery;
mod grant;
mod helper;
mod metadata;
mod store;
mod token;

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::{Instant, timeout};

pub(crate) use self::ask::Asker;
pub(crate) use self::challenge::Challenge;
pub(crate) use self::discovery::{Authority, issuer, resource, server};
pub(crate) use self::grant::{Form, Granted, Method, refusal};
pub(crate) use self::metadata::AuthServer;
pub(crate) use self::store::{Kept, Store, seconds};
use self::token::Token;
use crate::config::{AuthSpec, ClientProof, ClientSpec, CommandSpec, LoginSpec, RemoteSpec};
use crate::disk::read::{self, Accept};
use crate::endpoint::RemoteUrl;
use crate::error::FaultCode;
use crate::process::aside::aside;
use crate::process::guard::Guard;
use crate::secrecy::{Lent, Redactor, Secret, address};
use crate::words::{quoted, span};

/// Longest time for a renewal, whoever is asked for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a private key's file.
const MAX_KEY: u64 = 64 * 1024;
/// Most tokens of a server that are kept out of sight: the one in use, and earlier ones that somebody may still repeat.
const MAX_KNOWN: usize = 8;
/// Longest time for which a renewal that has failed is not tried again by others that waited for it.
const FAILED: Duration = Duration::from_secs(1);
/// Longest scope of a server's that is shown, in characters.
const SHOWN: usize = 200;

/// See the module's documentation.
pub(crate) struct Auth {
    /// What the server is called in the config.
    name: Box<str>,
    spec: Arc<RemoteSpec>,
    redactor: Redactor,
    guard: Guard,
    /// Held by who renews.
    turn: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
}

/// What is known of the token at a moment.
#[derive(Default)]
struct Held {
    token: Option<(Token, Option<Instant>)>,
    /// It was looked for, whether or not there was one.
    is_sought: bool,
    /// How often that was.
    number: u64,
    /// What the redactor was told, the oldest first.
    known: VecDeque<Lent>,
    failed: Option<(Instant, Denied)>,
    /// Where tokens are had, and for what.
    authority: Option<(Authority, Option<String>)>,
}

/// What goes with a request now.
#[derive(Debug)]
pub(crate) enum Ready {
    /// This header, of the token of this number.
    Send(Option<HeaderValue>, u64),
    /// Another token is had first.
    Renew(Cause),
}

/// Why a token is renewed. The number is that of the token that there is.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// It was not looked for yet.
    First(u64),
    /// It is about to be good no more.
    Due(u64),
    /// The server has refused it.
    Refused(u64, Challenge),
}

/// What was had in the place of a refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// The same once more.
    Same,
    /// Another one, which the server refuses, too.
    InVain,
}

/// Why there is no token.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    pub(crate) fault: FaultCode,
    /// The end of a sentence that begins with the server.
    pub(crate) why: String,
}

/// A renewal under way.
pub(crate) type Renewal = Pin<Box<dyn Future<Output = Result<(), Denied>> + Send>>;

/// All that are in use, by which the processes of one server have one in common.
static IN_USE: Mutex<Vec<Weak<Auth>>> = Mutex::new(Vec::new());

impl Auth {
    /// How the server of this name is told who asks.
    pub(crate) fn of(name: &str, spec: &Arc<RemoteSpec>, redactor: &Redactor, guard: &Guard) -> Arc<Auth> {
        let mut all = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|auth| auth.strong_count() > 0);
        let is_same = |auth: &Arc<Auth>| *auth.name == *name && auth.spec == *spec;
        if let Some(auth) = all.iter().filter_map(Weak::upgrade).find(is_same) {
            return auth;
        }
        let held = Held { token: fixed(&spec.auth), ..Held::default() };
        let auth = Arc::new(Auth {
            name: name.into(),
            spec: spec.clone(),
            redactor: redactor.clone(),
            guard: guard.clone(),
            turn: tokio::sync::Mutex::default(),
            held: held.into(),
        });
        all.push(Arc::downgrade(&auth));
        auth
    }

    /// A life begins: what lies in files is read again, as a person may have put something else there.
    pub(crate) fn begin(&self) {
        match self.spec.auth {
            AuthSpec::BearerFile(_) | AuthSpec::Login(_) => self.held().is_sought = false,
            AuthSpec::Headers | AuthSpec::Bearer(_) | AuthSpec::BearerCommand(_) | AuthSpec::ClientCredentials(_) => {}
        }
    }

    /// What goes with a request now.
    pub(crate) fn ready(&self, now: Instant) -> Ready {
        let held = self.held();
        let number = held.number;
        let is_sought_first = match &self.spec.auth {
            // What a token has to be good for is learned from the server's refusal.
            AuthSpec::Headers | AuthSpec::Bearer(_) | AuthSpec::ClientCredentials(_) => false,
            AuthSpec::Login(login) => login.folder.is_some(),
            AuthSpec::BearerFile(_) | AuthSpec::BearerCommand(_) => true,
        };
        match &held.token {
            _ if is_sought_first && !held.is_sought => Ready::Renew(Cause::First(number)),
            Some((_, Some(due))) if *due <= now => Ready::Renew(Cause::Due(number)),
            Some((token, _)) => Ready::Send(Some(token.header.clone()), number),
            None => Ready::Send(None, number),
        }
    }

    /// The header that there is, good or not.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.held().token.as_ref().map(|(token, _)| token.header.clone())
    }

    /// Whether another token may be had in the place of a refused one.
    pub(crate) fn is_renewable(&self) -> bool {
        match self.spec.auth {
            AuthSpec::Headers | AuthSpec::Bearer(_) => false,
            AuthSpec::BearerFile(_) | AuthSpec::BearerCommand(_) | AuthSpec::ClientCredentials(_) => true,
            // Where nobody has logged in there is nothing to make one of.
            AuthSpec::Login(_) => self.held().token.is_some(),
        }
    }

    /// What a refusal means and what to do, behind `answered HTTP nnn`; `None`: what it means for any server. `renewed`: what was had
    /// before, if it was sought.
    pub(crate) fn advice(&self, status: u16, challenge: &Challenge, renewed: Option<Renewed>) -> Option<String> {
        if status == 403 && challenge.lacks_scope() {
            let scope = challenge.scope.as_deref().map(|scope| self.redactor.shown(scope, SHOWN)).unwrap_or_default();
            let lacks = if scope.is_empty() { "a scope".to_owned() } else { format!("the scope {}", quoted(&scope)) };
            let remedy = match self.spec.auth {
                AuthSpec::ClientCredentials(_) => "add it to scope in auth.clientCredentials".to_owned(),
                AuthSpec::Login(_) => format!(
                    "write all that is needed into scope in auth.login, and log in again: mcp-pipe login {}",
                    quoted(&self.name)
                ),
                AuthSpec::Headers | AuthSpec::Bearer(_) | AuthSpec::BearerFile(_) | AuthSpec::BearerCommand(_) => {
                    "use a token that has it".to_owned()
                }
            };
            return Some(format!(": its token lacks {lacks}, which is needed for this; {remedy}"));
        }
        if status != 401 {
            return None;
        }
        let again = match renewed {
            None => "",
            Some(Renewed::Same) => ", and no other is to be had there",
            Some(Renewed::InVain) => ", not even a fresh one",
        };
        let refused =
            |key: &str, remedy: &str| Some(format!(": it does not accept the token of auth.{key}{again}; {remedy}"));
        let has_token = self.held().token.is_some();
        match &self.spec.auth {
            AuthSpec::Headers => None,
            AuthSpec::Bearer(_) => refused("bearer", "put a valid one there"),
            AuthSpec::BearerFile(_) => {
                refused("bearerFile", "have a valid one written to the file, which is read again")
            }
            AuthSpec::BearerCommand(_) => {
                refused("bearerCommand", "see what the program prints, which is started again")
            }
            AuthSpec::ClientCredentials(_) if !has_token => Some(": it wants to know who asks".to_owned()),
            AuthSpec::ClientCredentials(_) => refused(
                "clientCredentials",
                "see for what its authorization server gives tokens: scope, and which resources",
            ),
            AuthSpec::Login(_) if has_token => Some(format!(
                ": it does not accept the token of the login{again}; log in again: mcp-pipe login {}",
                quoted(&self.name)
            )),
            AuthSpec::Login(_) => Some(self.wants_login(challenge)),
        }
    }

    /// What to do about a server that wants to know who asks, where nothing says that.
    fn wants_login(&self, challenge: &Challenge) -> String {
        let login = format!("mcp-pipe login {}", quoted(&self.name));
        if challenge.resource_metadata.is_some() {
            return format!(": it wants a person to log in; run {login}");
        }
        format!(
            ": it wants to know who asks; write \"auth\": {{\"bearer\": \"${{TOKEN}}\"}} in its entry, or log in if it takes OAuth: {login}"
        )
    }

    /// Has another token. Whoever waits for the same has it with this one.
    pub(crate) fn renew(self: &Arc<Self>, cause: Cause) -> Renewal {
        let auth = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            let late = || {
                let why = format!("can't be told who asks: a token was not had within {}", span(PATIENCE));
                Err(Denied { fault: FaultCode::RemoteToken, why })
            };
            timeout(PATIENCE, auth.renewed(cause, began)).await.unwrap_or_else(|_| late())
        })
    }

    async fn renewed(self: &Arc<Self>, cause: Cause, began: Instant) -> Result<(), Denied> {
        let _turn = self.turn.lock().await;
        let (Cause::First(number) | Cause::Due(number) | Cause::Refused(number, _)) = &cause;
        {
            let held = self.held();
            if held.number != *number {
                return Ok(());
            }
            if let Some((at, denied)) = held.failed.as_ref().filter(|(at, _)| *at >= began && at.elapsed() < FAILED) {
                let _at = at;
                return Err(denied.clone());
            }
        }
        let had = match &self.spec.auth {
            AuthSpec::Headers | AuthSpec::Bearer(_) => Ok(None),
            AuthSpec::BearerFile(path) => self.of_file(path).await.map(Some),
            AuthSpec::BearerCommand(command) => self.of_program(command).await.map(Some),
            AuthSpec::ClientCredentials(client) => self.of_client(client, &cause).await.map(Some),
            AuthSpec::Login(login) => self.of_login(login, &cause).await,
        };
        self.take(&cause, had)
    }

    /// Takes what came of a renewal.
    fn take(&self, cause: &Cause, had: Result<Option<Token>, Denied>) -> Result<(), Denied> {
        let now = Instant::now();
        let mut held = self.held();
        let is_same = |token: &Token| held.token.as_ref().is_some_and(|(before, _)| before.text == token.text);
        match (had, cause) {
            (Ok(Some(token)), Cause::Refused(_, challenge)) if is_same(&token) => {
                drop(held);
                let advice = self.advice(401, challenge, Some(Renewed::Same)).unwrap_or_default();
                Err(Denied { fault: FaultCode::RemoteUnauthorized, why: format!("answered HTTP 401{advice}") })
            }
            (Ok(token), Cause::First(_) | Cause::Due(_) | Cause::Refused(..)) => {
                held.token = token.map(|token| {
                    let due = token.due(SystemTime::now()).and_then(|due| now.checked_add(due));
                    (token, due)
                });
                held.is_sought = true;
                held.number += 1;
                held.failed = None;
                Ok(())
            }
            // The token is good for a moment yet, and the server says so if it is not.
            (Err(_), Cause::Due(_)) if held.token.is_some() => {
                if let Some((_, due)) = &mut held.token {
                    *due = now.checked_add(token::again());
                }
                Ok(())
            }
            (Err(denied), Cause::First(_) | Cause::Due(_) | Cause::Refused(..)) => {
                held.failed = Some((now, denied.clone()));
                Err(denied)
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the redactor know what lets somebody in, and forget what did long ago.
    fn learn(&self, secrets: impl IntoIterator<Item = Secret>) {
        let parts = |secret: Secret| address::of_header("authorization", &format!("Bearer {}", secret.reveal()));
        let lent = self.redactor.lend(secrets.into_iter().flat_map(parts));
        let mut held = self.held();
        held.known.push_back(lent);
        while held.known.len() > MAX_KNOWN {
            held.known.pop_front();
        }
    }

    /// Why there is no token, as a whole.
    fn denied(&self, why: impl std::fmt::Display) -> Denied {
        let why = format!("can't be told who asks: {why}");
        Denied { fault: FaultCode::RemoteToken, why: self.redactor.clean(&why).into_owned() }
    }

    async fn of_file(&self, path: &Path) -> Result<Token, Denied> {
        let read_from = path.to_owned();
        let read = aside(move || read::whole(&read_from, token::MAX as u64, Accept::Files)).await.and_then(|read| read);
        let bytes = read.map_err(|error| self.denied(format!("{} (auth.bearerFile): {error}", path.display())))?;
        let token = Token::read(&String::from_utf8_lossy(&bytes));
        let token = token.map_err(|why| self.denied(format!("{} (auth.bearerFile) {why}", path.display())))?;
        self.learn([token.text.clone()]);
        Ok(token)
    }

    async fn of_program(&self, command: &CommandSpec) -> Result<Token, Denied> {
        let printed = helper::run(command, self.guard.clone(), &self.redactor).await;
        let read = printed.and_then(|text| Token::read(&text).map_err(|why| (FaultCode::RemoteToken, why.to_owned())));
        let token = read.map_err(|(fault, why)| Denied {
            fault,
            ..self.denied(format!("the program of auth.bearerCommand {why}"))
        })?;
        self.learn([token.text.clone()]);
        Ok(token)
    }

    async fn of_client(&self, client: &ClientSpec, cause: &Cause) -> Result<Token, Denied> {
        let asker = Asker::of(&self.spec);
        let known = self.held().authority.clone();
        let (authority, scope) = match (cause, known) {
            (Cause::Due(_), Some(known)) => known,
            (Cause::First(_) | Cause::Due(_), _) => self.authority(client, &asker, &Challenge::default()).await?,
            (Cause::Refused(_, challenge), _) => self.authority(client, &asker, challenge).await?,
        };
        let server = &authority.server;
        let form = Form::default().with("grant_type", "client_credentials");
        let form = form.with_some("scope", scope.as_deref()).with("resource", &authority.resource.resource);
        let (by, form) = self.proof(client, server, form).await?;
        let told = |why: &str| format!("the authorization server {} {why}", server.token);
        let said = asker.post_form(&server.token, by, form.text()).await.map_err(|why| self.denied(told(&why)))?;
        let granted = Granted::read(said.status, &said.body, SystemTime::now(), &self.redactor);
        let granted = granted.map_err(|refusal| {
            self.denied(format!(
                "{}; see clientId, what proves it, and scope in auth.clientCredentials",
                told(&refusal.why)
            ))
        })?;
        self.learn([granted.access().clone()]);
        self.held().authority = Some((authority, scope));
        Ok(granted.token)
    }

    /// Where a client's tokens are had. A secret goes to nobody whom the server does not name.
    async fn authority(
        &self,
        client: &ClientSpec,
        asker: &Asker,
        challenge: &Challenge,
    ) -> Result<(Authority, Option<String>), Denied> {
        let url = &self.spec.url;
        let resource = resource(asker, url, challenge).await.map_err(|why| self.denied(why))?.ok_or_else(|| {
            self.denied("it does not say which authorization server it trusts (RFC 9728), so nobody is sent what auth.clientCredentials holds")
        })?;
        let issuer = issuer(&resource, client.issuer.as_deref()).map_err(|why| self.denied(why))?;
        let server = server(asker, issuer).await.map_err(|why| self.denied(why))?;
        let authority = Authority { server, resource };
        let scope = authority.scope(client.scope.as_deref(), challenge);
        Ok((authority, scope))
    }

    /// What shows that the client is the one: a header, or more in the form.
    async fn proof(
        &self,
        client: &ClientSpec,
        server: &AuthServer,
        form: Form,
    ) -> Result<(Option<HeaderValue>, Form), Denied> {
        let takes = |taken: &[String]| self.redactor.shown(&taken.join(", "), SHOWN);
        match &client.proof {
            ClientProof::Secret(secret) => {
                let method = Method::for_secret(server.methods.as_deref()).ok_or_else(|| {
                    let taken = takes(server.methods.as_deref().unwrap_or_default());
                    self.denied(format!(
                        "the authorization server {} takes no client's secret, but {taken}",
                        server.token
                    ))
                })?;
                Ok(shown(method, &client.client_id, Some(secret), form))
            }
            ClientProof::Key { file, key_id } => {
                if let Some(taken) =
                    server.methods.as_deref().filter(|taken| !taken.iter().any(|name| name == Method::Signed.name()))
                {
                    let taken = takes(taken);
                    return Err(self.denied(format!(
                        "the authorization server {} takes no signatures, but {taken}",
                        server.token
                    )));
                }
                let path = file.clone();
                let read = aside(move || read::whole(&path, MAX_KEY, Accept::Files)).await.and_then(|read| read);
                let told = |why: &dyn std::fmt::Display| {
                    self.denied(format!("{} (privateKeyFile in auth.clientCredentials) {why}", file.display()))
                };
                let pem = read.map_err(|error| told(&format!("can't be read: {error}")))?;
                let claims = assertion::Claims {
                    client_id: &client.client_id,
                    issuer: &server.issuer,
                    now: SystemTime::now(),
                    number: rand::random(),
                };
                let signed = assertion::sign(&pem, key_id.as_deref(), server.algorithms.as_deref(), &claims);
                let signed = signed.map_err(|why| told(&why))?;
                self.learn([Secret::new(signed.clone())]);
                let form = form
                    .with("client_id", &client.client_id)
                    .with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .with("client_assertion", &signed);
                Ok((None, form))
            }
        }
    }

    /// The token of a login, renewed if need be. `None`: nobody has logged in, and nobody has to for all that is known.
    async fn of_login(self: &Arc<Self>, login: &LoginSpec, cause: &Cause) -> Result<Option<Token>, Denied> {
        let (is_refused, challenge) = match cause {
            Cause::First(_) | Cause::Due(_) => (false, Challenge::default()),
            Cause::Refused(_, challenge) => (true, challenge.clone()),
        };
        let wanted = || {
            let why = format!("answered HTTP 401{}", self.wants_login(&challenge));
            Denied { fault: FaultCode::RemoteUnauthorized, why }
        };
        let nobody = || if is_refused { Err(wanted()) } else { Ok(None) };
        let Some(folder) = &login.folder else { return nobody() };
        let store = Store::new(folder, &self.spec.url);
        let again = |what: &dyn std::fmt::Display| {
            self.denied(format!("{what}; log in again: mcp-pipe login {}", quoted(&self.name)))
        };
        let kept = match store.read().await {
            Ok(Some(kept)) => kept,
            Ok(None) => return nobody(),
            Err(error) if is_refused => return Err(again(&format_args!("its login can't be read: {error}"))),
            Err(error) => {
                tracing::debug!(server = %self.name, "its login can't be read: {error}");
                return Ok(None);
            }
        };
        if let Some(token) = self.usable(&kept, is_refused) {
            return Ok(Some(token));
        }
        // An authorization server may take a refresh token once only, so what has been begun is done to its end.
        let auth = self.clone();
        let work = tokio::spawn(async move { auth.refreshed(&store, is_refused).await });
        match work.await {
            Ok(Ok(token)) => Ok(Some(token)),
            Ok(Err((why, true))) => Err(again(&why)),
            Ok(Err((why, false))) => Err(self.denied(why)),
            Err(error) => Err(self.denied(error)),
        }
    }

    /// The token of a login, if it is good for all that is known.
    fn usable(&self, kept: &Kept, is_refused: bool) -> Option<Token> {
        self.learn(kept.secrets());
        let mut token = Token::read(&kept.access_token).ok()?;
        token.expires = kept.expires().or(token.expires);
        let is_refused_one = is_refused && self.held().token.as_ref().is_some_and(|(held, _)| held.text == token.text);
        // One that ends within a moment is renewed, if it can be.
        let is_over = match &kept.refresh_token {
            Some(_) => token.is_over(SystemTime::now() + token::again()),
            None => token.is_over(SystemTime::now()),
        };
        (!is_refused_one && !is_over).then_some(token)
    }

    /// Has a login renewed. With an error it is told whether a person has to log in again.
    async fn refreshed(&self, store: &Store, is_refused: bool) -> Result<Token, (String, bool)> {
        let unkept = |error: std::io::Error| (format!("its login can't be renewed: {error}"), false);
        let broken = |why: String| (why, true);
        let _lock = store.lock().await.map_err(unkept)?;
        // Another process may have been faster.
        let kept = store.read().await.map_err(unkept)?.ok_or_else(|| broken("its login is gone".to_owned()))?;
        if let Some(token) = self.usable(&kept, is_refused) {
            return Ok(token);
        }
        let Some(refresh) = kept.refresh_token.as_deref() else {
            return Err(broken("its login is over, and the authorization server gave nothing to renew it".to_owned()));
        };
        let endpoint = kept.token_endpoint.parse::<RemoteUrl>().ok().filter(RemoteUrl::is_confidential);
        let (Some(endpoint), Some(method)) = (endpoint, Method::named(&kept.method)) else {
            return Err(broken("the file of its login is broken".to_owned()));
        };
        let form = Form::default().with("grant_type", "refresh_token").with("refresh_token", refresh);
        let form = form.with_some("resource", kept.resource.as_deref());
        let secret = kept.client_secret.as_deref().map(Secret::new);
        let (by, form) = shown(method, &kept.client_id, secret.as_ref(), form);
        let told = |why: &str| format!("the authorization server {endpoint} {why}");
        let said = Asker::of(&self.spec).post_form(&endpoint, by, form.text()).await;
        let said = said.map_err(|why| (told(&why), false))?;
        let granted = Granted::read(said.status, &said.body, SystemTime::now(), &self.redactor);
        let granted = granted.map_err(|refusal| (told(&refusal.why), refusal.is_over))?;
        let renewed = Kept {
            access_token: granted.access().reveal().to_owned(),
            expires: granted.expires().and_then(seconds),
            refresh_token: granted.refresh.as_ref().map(|text| text.reveal().to_owned()).or(kept.refresh_token.clone()),
            ..kept
        };
        self.learn(renewed.secrets());
        if let Err(error) = store.write(renewed).await {
            // The token is good until it ends; then a person has to log in again.
            tracing::warn!(event = "LOGIN_UNKEPT", server = %self.name, "the renewed login can't be kept: {error}");
        }
        Ok(granted.token)
    }
}

/// The token that never changes, if there is one.
fn fixed(auth: &AuthSpec) -> Option<(Token, Option<Instant>)> {
    match auth {
        // Whether it is good only its server knows.
        AuthSpec::Bearer(text) => Token::read(text.reveal()).ok().map(|token| (token, None)),
        AuthSpec::Headers
        | AuthSpec::BearerFile(_)
        | AuthSpec::BearerCommand(_)
        | AuthSpec::ClientCredentials(_)
        | AuthSpec::Login(_) => None,
    }
}

/// What shows that a client is the one, by this method.
pub(crate) fn shown(
    method: Method,
    client_id: &str,
    secret: Option<&Secret>,
    form: Form,
) -> (Option<HeaderValue>, Form) {
    match (method, secret) {
        (Method::Basic, Some(secret)) => (grant::basic(client_id, secret), form),
        (Method::Post, Some(secret)) => {
            (None, form.with("client_id", client_id).with("client_secret", secret.reveal()))
        }
        (Method::None | Method::Basic | Method::Post | Method::Signed, _) => (None, form.with("client_id", client_id)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::config::{RemoteTransport, TlsSpec};

    /// A server that is told who asks by the token in a file.
    fn by_file(path: &Path, redactor: &Redactor) -> Arc<Auth> {
        let spec = RemoteSpec {
            url: "http://127.0.0.1:1/mcp".parse().unwrap(),
            transport: RemoteTransport::Any,
            headers: Vec::new(),
            auth: AuthSpec::BearerFile(path.to_owned()),
            tls: TlsSpec::default(),
            connect_timeout: Duration::from_secs(1),
        };
        Auth::of("x", &spec.into(), redactor, &Guard::none())
    }

    /// A token that is good for so many seconds yet.
    fn jwt(left: u64, of: &str) -> String {
        let end = seconds(SystemTime::now()).unwrap() + left;
        format!("eyJhbGciOiJub25lIn0.{}.{of}", BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{end}}}")))
    }

    fn sent(ready: &Ready) -> Option<&str> {
        match ready {
            Ready::Send(header, _) => header.as_ref().map(|header| header.to_str().unwrap()),
            Ready::Renew(_) => None,
        }
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_its_end_and_goes_on_where_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (path, redactor) = (dir.path().join("token"), Redactor::default());
        let auth = by_file(&path, &redactor);
        let now = Instant::now();
        let Ready::Renew(cause @ Cause::First(0)) = auth.ready(now) else { panic!("it was not looked for yet") };
        let missing = auth.renew(cause.clone()).await.unwrap_err();
        assert!(
            missing.fault == FaultCode::RemoteToken && missing.why.contains("(auth.bearerFile): "),
            "{}",
            missing.why
        );
        std::fs::write(&path, jwt(3600, "f1rst-f1rst-f1rst-f1rst")).unwrap();
        auth.renew(cause).await.unwrap();
        assert!(sent(&auth.ready(now)).is_some_and(|header| header.ends_with(".f1rst-f1rst-f1rst-f1rst")));
        assert_eq!(redactor.clean(&format!("of {}", std::fs::read_to_string(&path).unwrap())), "of …");
        assert!(sent(&auth.ready(now + Duration::from_secs(3500))).is_some());
        let late = now + Duration::from_secs(3560);
        let Ready::Renew(due @ Cause::Due(1)) = auth.ready(late) else { panic!("it is due") };
        // The server may still take it, and says so if not.
        std::fs::remove_file(&path).unwrap();
        auth.renew(due.clone()).await.unwrap();
        assert!(sent(&auth.ready(now)).is_some() && matches!(auth.ready(late), Ready::Renew(Cause::Due(1))));
        std::fs::write(&path, jwt(7200, "sec0nd-sec0nd-sec0nd")).unwrap();
        // Both have it from one renewal.
        let (one, other) = tokio::join!(auth.renew(due.clone()), auth.renew(due));
        assert!(one.is_ok() && other.is_ok());
        assert!(sent(&auth.ready(late)).is_some_and(|header| header.ends_with(".sec0nd-sec0nd-sec0nd")));
        assert_eq!(auth.held().number, 2);
        // A refusal of the one before is none of this one; one of this one is, as the file holds no other.
        auth.renew(Cause::Refused(1, Challenge::default())).await.unwrap();
        let refused = auth.renew(Cause::Refused(2, Challenge::default())).await.unwrap_err();
        assert!(refused.fault == FaultCode::RemoteUnauthorized && refused.why.contains("HTTP 401"), "{}", refused.why);
        // Another process of the server has the same; another life reads the file again.
        assert!(Arc::ptr_eq(&auth, &by_file(&path, &redactor)));
        auth.begin();
        assert!(matches!(auth.ready(now), Ready::Renew(Cause::First(2))));
    }
}
