//! The keys of an issuer of tokens: those of a file, as the config was read; or fetched from an address, and again now and then.
//!
//! # Theory of operation
//!
//! Whether it is time to fetch is decided by `is_due`, which is pure. A fetch is a task of its own, so that a client that hangs up
//! ends none, and there is one at a time: whoever needs keys waits for that one. Keys that were had count on while no others are to be
//! had, but not for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::config::{JwksSource, JwtSpec};
use crate::endpoint::RemoteUrl;
use crate::jwt::Keys;
use crate::server::auth::Asker;
use crate::words::span;

/// Longest time for which keys count before they are fetched again: issuers announce a new key hours before they sign with it, and
/// take a key away when it was lost.
const AGE: Duration = Duration::from_secs(3600);
/// Shortest time between two fetches because of a token by an unknown key: anybody can make up such a token.
const UNKNOWN: Duration = Duration::from_secs(60);
/// Shortest time between two fetches where the last one has failed.
const FAILED: Duration = Duration::from_secs(30);
/// Longest time for which keys count where none can be fetched: whoever keeps us from fetching must not keep a lost key alive.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// What keys are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Why {
    /// They may be old, or not be there.
    Age,
    /// A token is by a key that is not among them.
    Unknown,
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::gateway) enum Keyring {
    File(Arc<Keys>),
    Fetched(Fetched),
}

#[derive(Debug)]
pub(in crate::gateway) struct Fetched {
    /// What the log calls the issuer.
    name: Arc<str>,
    url: RemoteUrl,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The keys, and when they were fetched.
    keys: Option<(Arc<Keys>, Instant)>,
    /// When the last fetch began.
    tried: Option<Instant>,
    /// When the last one began that a token by an unknown key was the cause of.
    doubted: Option<Instant>,
    /// Whether the last one has failed.
    has_failed: bool,
    /// There as long as a fetch is under way.
    busy: Option<watch::Receiver<()>>,
}

impl Keyring {
    /// That of an issuer. Nothing is fetched yet.
    pub(super) fn of(spec: &JwtSpec) -> Self {
        match &spec.keys {
            JwksSource::File(keys) => Keyring::File(keys.clone()),
            JwksSource::Url(url) => {
                Keyring::Fetched(Fetched { name: spec.name.clone(), url: url.clone(), state: Mutex::default() })
            }
        }
    }

    /// The keys, as far as they are known.
    pub(super) fn known(&self) -> Option<Arc<Keys>> {
        match self {
            Keyring::File(keys) => Some(keys.clone()),
            Keyring::Fetched(fetched) => {
                let state = fetched.state();
                let (keys, since) = state.keys.as_ref()?;
                (since.elapsed() < STALE).then(|| keys.clone())
            }
        }
    }

    /// Fetches the keys aside, if it is time to.
    pub(in crate::gateway) fn refresh(self: &Arc<Self>, why: Why, now: Instant) {
        let _goes_on_by_itself = self.begin(why, now);
    }

    /// The same, and waits until they are there, or can't be had. Returns whether anybody has looked.
    pub(in crate::gateway) async fn refreshed(self: &Arc<Self>, why: Why, now: Instant) -> bool {
        let Some(mut busy) = self.begin(why, now) else { return false };
        // Nothing is ever said: the other end goes when the fetch is over.
        while busy.changed().await.is_ok() {}
        true
    }

    fn begin(self: &Arc<Self>, why: Why, now: Instant) -> Option<watch::Receiver<()>> {
        let Keyring::Fetched(fetched) = &**self else { return None };
        let mut state = fetched.state();
        if let Some(busy) = state.busy.as_ref().filter(|busy| busy.has_changed().is_ok()) {
            return Some(busy.clone());
        }
        if !is_due(&state, why, now) {
            return None;
        }
        let (done, busy) = watch::channel(());
        (state.tried, state.busy) = (Some(now), Some(busy.clone()));
        if why == Why::Unknown {
            state.doubted = Some(now);
        }
        drop(state);
        let ring = self.clone();
        tokio::spawn(async move {
            if let Keyring::Fetched(fetched) = &*ring {
                fetched.fetch().await;
            }
            drop(done);
        });
        Some(busy)
    }
}

impl Fetched {
    async fn fetch(&self) {
        let fetched = match Asker::at(&self.url).get(&self.url).await {
            Ok(said) if said.status == 200 => Keys::read(&said.body),
            Ok(said) => Err(format!("answers with the status {}", said.status)),
            Err(why) => Err(why),
        };
        let (name, url) = (&*self.name, &self.url);
        let mut state = self.state();
        let had_failed = std::mem::replace(&mut state.has_failed, fetched.is_err());
        match fetched {
            Ok(keys) => {
                let is_first = state.keys.is_none();
                let have_changed = state.keys.as_ref().is_some_and(|(before, _)| **before != keys);
                state.keys = Some((Arc::new(keys), Instant::now()));
                if is_first || had_failed || have_changed {
                    info!(event = "JWKS", issuer = name, "the keys for tokens of {name} were read from {url}");
                }
            }
            // Once, and not each time: somebody else's server may be gone for days.
            Err(why) if had_failed => debug!(event = "JWKS_FAILED", issuer = name, "{url} still {why}"),
            Err(why) => {
                let left = state.keys.as_ref().map(|(_, since)| STALE.saturating_sub(since.elapsed()));
                let what = match left.filter(|left| !left.is_zero()) {
                    Some(left) => format!("those that were read before count for {} more", span(left)),
                    None => "until they are there nobody gets in by a token of this issuer".to_owned(),
                };
                warn!(
                    event = "JWKS_FAILED",
                    issuer = name,
                    "the keys for tokens of {name} are not to be had: {url} {why}; {what}"
                );
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is time to fetch keys.
fn is_due(state: &State, why: Why, now: Instant) -> bool {
    let is_past = |last: Option<Instant>, wait| last.is_none_or(|last| now.saturating_duration_since(last) >= wait);
    match (why, state.has_failed || state.keys.is_none()) {
        (Why::Age, false) => is_past(state.tried, AGE),
        (Why::Age, true) => is_past(state.tried, FAILED),
        (Why::Unknown, false) => is_past(state.doubted, UNKNOWN),
        (Why::Unknown, true) => is_past(state.doubted, UNKNOWN) && is_past(state.tried, FAILED),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::gateway::issuers::tests::jwt;
    use crate::jwt::tests::{Issuer, set};

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_by_their_age_and_not_too_often_for_anybody() {
        let now = Instant::now() + STALE;
        let keys = || Arc::new(Keys::read(set(&[Issuer::es256().jwk("k")]).as_bytes()).unwrap());
        let seconds = Duration::from_secs;
        for (tried, doubted, has_keys, has_failed, why, want) in [
            (None, None, false, false, Why::Age, true),
            (None, None, false, false, Why::Unknown, true),
            (Some(3599), None, true, false, Why::Age, false),
            (Some(3600), None, true, false, Why::Age, true),
            (Some(1), None, true, false, Why::Unknown, true),
            (Some(1), Some(59), true, false, Why::Unknown, false),
            (Some(1), Some(60), true, false, Why::Unknown, true),
            (Some(29), None, true, true, Why::Age, false),
            (Some(30), Some(30), true, true, Why::Age, true),
            (Some(30), None, false, true, Why::Age, true),
            (Some(29), Some(60), true, true, Why::Unknown, false),
            (Some(30), Some(60), true, true, Why::Unknown, true),
        ] {
            let [tried, doubted] = [tried, doubted].map(|ago| ago.map(|ago| now - seconds(ago)));
            let state = State { keys: has_keys.then(|| (keys(), now)), tried, doubted, has_failed, busy: None };
            assert_eq!(is_due(&state, why, now), want, "{tried:?} {doubted:?} {has_keys} {has_failed} {why:?}");
        }
        // Those that can't be had again count for long, and not for ever.
        let url = "https://issuer.example/keys".parse().unwrap();
        let state = Mutex::new(State { keys: Some((keys(), Instant::now())), ..State::default() });
        let ring = Keyring::Fetched(Fetched { name: "staff".into(), url, state });
        tokio::time::advance(STALE - seconds(1)).await;
        assert!(ring.known().is_some());
        tokio::time::advance(seconds(1)).await;
        assert!(ring.known().is_none());
    }

    #[tokio::test]
    async fn a_set_is_fetched_once_for_all_who_wait_and_stays_when_it_can_not_be_had_any_more() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", server.local_addr().unwrap());
        let body = set(&[Issuer::es256().jwk("k")]);
        let serving = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let (mut stream, _) = server.accept().await.unwrap();
            let _head = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // Whoever comes after that finds nobody.
        });
        let ring = Arc::new(Keyring::of(&jwt("staff", JwksSource::Url(url.parse().unwrap()))));
        assert!(ring.known().is_none());
        let now = Instant::now();
        let (one, other) = tokio::join!(ring.refreshed(Why::Unknown, now), ring.refreshed(Why::Age, now));
        assert!(one && other && ring.known().is_some());
        serving.await.unwrap();
        assert!(!ring.refreshed(Why::Unknown, now).await, "that is no minute ago");
        assert!(ring.refreshed(Why::Unknown, now + UNKNOWN).await);
        let Keyring::Fetched(fetched) = &*ring else { unreachable!("it has an address") };
        assert!(fetched.state().has_failed && ring.known().is_some());
    }
}
