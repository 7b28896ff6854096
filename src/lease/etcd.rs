//! Leases of etcd, by its JSON gateway.
//!
//! Below the prefix there is `agents/KEY` for each agent that somebody has, and `nodes/LEASE` for each daemon that may take some, both with
//! the daemon's name. All are bound to the lease of their daemon.
//!
//! # Theory of operation
//!
//! What a renewal proves is subtle. A member that was cut off, and still takes itself for the leader, answers a keepalive although the
//! lease runs out elsewhere. So a transaction follows on the same member, which only a majority can answer: it says that the lease's
//! entries are still there. That alone would not do, as it may be the next leader's answer, which has never heard of the keepalive. The
//! heads of both have the number of the leader's term; one term has one leader, so that with the same number in both the leader that has
//! renewed the lease was the leader.

mod wire;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::wire::{
    Failed, Lease, Login, Meaning, Range, Streamed, Txn, Watched, base64, created, delete, end_of, first_of, get, put,
};
use super::engine::{Engine, EngineError, Epoch, Holder, LeaseId, Release, Renewed, View};
use crate::config::LeaseSpec;
use crate::endpoint::RemoteUrl;
use crate::endpoint::agent::LeaseKey;
use crate::net::http::{Call, Client, Reply};
use crate::net::peer_text::bounded;
use crate::secrecy::Secret;
use crate::words::span;

/// Most bytes of an answer, or of one message of a watch: 100,000 agents have less.
const MAX: usize = 32 << 20;
/// Most agents that one transaction looks at: etcd takes 128 operations.
const AT_ONCE: usize = 100;
/// Longest part of an answer that is shown, in characters.
const MAX_BODY: usize = 120;
/// Longest name of another daemon that is shown, in characters.
const MAX_NAME: usize = 64;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OURS: HeaderValue = HeaderValue::from_static(concat!("mcp-pipe/", env!("CARGO_PKG_VERSION")));

/// See the module's documentation.
pub(super) struct Etcd {
    members: Vec<(RemoteUrl, Client)>,
    /// The member that is asked: the next one as soon as one does not answer.
    asked: AtomicUsize,
    prefix: String,
    node: Arc<str>,
    ttl: Duration,
    login: Option<(String, Secret)>,
    /// What stands for a login, until etcd forgets it.
    token: Mutex<Option<Secret>>,
    /// Longest time for one answer: before a lease runs out there has to be room for several tries.
    patience: Duration,
}

impl Etcd {
    /// The cluster of `spec`, for the daemon `node`. Connects when it is asked.
    pub(super) fn of(spec: &LeaseSpec, node: Arc<str>) -> Self {
        let patience = (spec.ttl / 6).min(Duration::from_secs(2));
        let member = |url: &RemoteUrl| (url.clone(), Client::new(url, spec.tls.clone(), patience));
        Etcd {
            members: spec.etcd.iter().map(member).collect(),
            asked: AtomicUsize::new(0),
            prefix: spec.prefix.clone(),
            node,
            ttl: spec.ttl,
            login: spec.login.clone(),
            token: Mutex::default(),
            patience,
        }
    }

    fn agent_key(&self, agent: LeaseKey) -> String {
        format!("{}agents/{agent}", self.prefix)
    }

    fn node_key(&self, lease: LeaseId) -> String {
        format!("{}nodes/{lease}", self.prefix)
    }

    /// The member to ask, by its place.
    fn current(&self) -> usize {
        self.asked.load(Ordering::Relaxed) % self.members.len().max(1)
    }

    /// Asks the next member from now on, if nobody has turned to another one meanwhile.
    fn turn_away_from(&self, member: usize) {
        let next = (member + 1) % self.members.len().max(1);
        let _by_another = self.asked.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks the present member, and each of the others where that does not answer.
    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, EngineError> {
        let mut error = EngineError::Unreachable("no member of etcd is named".to_owned());
        for _ in &self.members {
            match self.ask_member(self.current(), path, body).await {
                Err(unreachable @ EngineError::Unreachable(_)) => error = unreachable,
                other => return other,
            }
        }
        Err(error)
    }

    /// Asks one member, which is left where it does not answer.
    async fn ask_member<T: DeserializeOwned>(&self, member: usize, path: &str, body: &Value) -> Result<T, EngineError> {
        let answer = self.logged_in(member, path, body, |reply| self.whole(reply)).await.and_then(|text| read(&text));
        if let Err(EngineError::Unreachable(_)) = answer {
            self.turn_away_from(member);
        }
        answer
    }

    /// Sends a request to a member, with a login where there is one, and once more with a new login where etcd has forgotten it.
    async fn logged_in<T, R: Future<Output = Result<T, EngineError>>>(
        &self,
        member: usize,
        path: &str,
        body: &Value,
        then: impl Fn(Reply) -> R,
    ) -> Result<T, EngineError> {
        for again in [false, true] {
            let token = self.token(member).await?;
            let reply = self.send(member, path, body, token.as_ref()).await?;
            if reply.status == StatusCode::OK {
                return then(reply).await;
            }
            match self.failed(member, reply).await {
                Meaning::LogIn(_) if !again && self.login.is_some() => {
                    *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Meaning::LogIn(text) => {
                    return Err(EngineError::Refused(format!(
                        "etcd lets nobody in without a good user and password ({text})"
                    )));
                }
                Meaning::Error(error) => return Err(error),
            }
        }
        Err(EngineError::Refused("etcd does not take its own token".to_owned()))
    }

    /// What stands for a login, if one is needed.
    async fn token(&self, member: usize) -> Result<Option<Secret>, EngineError> {
        let Some((name, password)) = &self.login else { return Ok(None) };
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let body = json!({ "name": name, "password": password.reveal() });
        let reply = self.send(member, "auth/authenticate", &body, None).await?;
        if reply.status != StatusCode::OK {
            return Err(match self.failed(member, reply).await {
                Meaning::LogIn(text) => EngineError::Refused(format!("etcd says: {text}")),
                Meaning::Error(error) => error,
            });
        }
        let Login { token } = read(&self.whole(reply).await?)?;
        let token = Secret::new(token);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    async fn send(
        &self,
        member: usize,
        path: &str,
        body: &Value,
        token: Option<&Secret>,
    ) -> Result<Reply, EngineError> {
        let Some((url, client)) = self.members.get(member) else {
            return Err(EngineError::Unreachable("no member of etcd is named".to_owned()));
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, OURS);
        if let Some(mut token) = token.and_then(|token| HeaderValue::from_str(token.reveal()).ok()) {
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        let url = url.join(&format!("/v3/{path}")).map_err(|error| EngineError::Refused(format!("{url} {error}")))?;
        let call = Call { method: Method::POST, url: url.clone(), headers, body: Bytes::from(body.to_string()) };
        match timeout(self.patience, client.send(call)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(EngineError::Unreachable(error.to_string())),
            Err(_) => Err(EngineError::Unreachable(format!("{url} has not answered within {}", span(self.patience)))),
        }
    }

    /// The whole body of an answer.
    async fn whole(&self, mut reply: Reply) -> Result<Vec<u8>, EngineError> {
        let reading = async {
            let mut body = Vec::new();
            while let Some(bytes) = poll_fn(|cx| reply.poll_chunk(cx)).await {
                let bytes = bytes.map_err(|error| EngineError::Unreachable(error.to_string()))?;
                if body.len() + bytes.len() > MAX {
                    return Err(EngineError::Refused("etcd's answer is too long".to_owned()));
                }
                body.extend_from_slice(&bytes);
            }
            Ok(body)
        };
        let late = || EngineError::Unreachable(format!("etcd has not ended its answer within {}", span(self.patience)));
        timeout(self.patience, reading).await.unwrap_or_else(|_| Err(late()))
    }

    /// What an answer means that is no success.
    async fn failed(&self, member: usize, reply: Reply) -> Meaning {
        let status = reply.status;
        let url = self.members.get(member).map(|(url, _)| url.to_string()).unwrap_or_default();
        let body = match self.whole(reply).await {
            Ok(body) => body,
            Err(error) => return Meaning::Error(error),
        };
        match serde_json::from_slice::<Failed>(&body) {
            Ok(failed) => failed.meaning(),
            // What stands before etcd has words of its own.
            Err(_) if status.is_server_error() => {
                Meaning::Error(EngineError::Unreachable(format!("etcd answers HTTP {}", status.as_u16())))
            }
            // Some of its own words are no JSON, too. Another member may do better.
            Err(_) => Meaning::Error(EngineError::Unreachable(format!(
                "{url} answers HTTP {} ({}): check the address, and that it is etcd 3.4 or later",
                status.as_u16(),
                bounded(&String::from_utf8_lossy(&body), MAX_BODY)
            ))),
        }
    }

    /// All that there is below the prefix, and as of which revision.
    async fn all(&self) -> Result<(View, i64), EngineError> {
        let body = json!({ "key": base64(&self.prefix), "range_end": end_of(&self.prefix) });
        let range: Range = self.ask("kv/range", &body).await?;
        let mut view = View::default();
        for entry in &range.kvs {
            self.note(&mut view, entry, false);
        }
        Ok((view, range.header.revision))
    }

    /// Notes in a view what has become of an entry.
    fn note(&self, view: &mut View, entry: &wire::Entry, is_gone: bool) {
        let key = String::from_utf8_lossy(&entry.key);
        let Some(key) = key.strip_prefix(&*self.prefix) else { return };
        let node = || Arc::from(bounded(&String::from_utf8_lossy(&entry.value), MAX_NAME));
        if let Some(agent) = key.strip_prefix("agents/").and_then(LeaseKey::read) {
            match is_gone {
                true => view.agents.remove(&agent),
                false => view.agents.insert(
                    agent,
                    Holder { lease: LeaseId(entry.lease), node: node(), since: entry.create_revision.cast_unsigned() },
                ),
            };
        } else if let Some(lease) = key.strip_prefix("nodes/").and_then(|lease| i64::from_str_radix(lease, 16).ok()) {
            match is_gone {
                true => view.nodes.remove(&LeaseId(lease)),
                // What does not go with its daemon is none of a daemon: everybody would wait for it for ever.
                false if entry.lease != lease => None,
                false => view.nodes.insert(LeaseId(lease), node()),
            };
        }
    }

    /// Follows all changes since `view` was as it is, until that fails.
    async fn follow(&self, view: &watch::Sender<Option<View>>) -> Result<(), EngineError> {
        let (all, mut at) = self.all().await?;
        view.send_if_modified(|view| view.replace(all.clone()).is_none_or(|before| before != all));
        let create = json!({ "create_request": {
            "key": base64(&self.prefix), "range_end": end_of(&self.prefix), "start_revision": (at + 1).to_string() } });
        let member = self.current();
        let mut reply = self.logged_in(member, "watch", &create, |reply| async { Ok(reply) }).await?;
        let (mut text, mut searched, mut next) = (Vec::new(), 0, Instant::now() + self.ttl / 2);
        loop {
            let chunk = tokio::select! {
                chunk = poll_fn(|cx| reply.poll_chunk(cx)) => chunk,
                // A member that hangs tells nothing of what happens, and not that it hangs.
                () = sleep_until(next) => {
                    next = Instant::now() + self.ttl / 2;
                    let (all, since) = self.all().await?;
                    at = at.max(since);
                    view.send_if_modified(|view| view.replace(all.clone()).is_none_or(|before| before != all));
                    continue;
                }
            };
            let lost = || EngineError::Unreachable("etcd has ended the watch".to_owned());
            text.extend_from_slice(
                &chunk.ok_or_else(lost)?.map_err(|error| EngineError::Unreachable(error.to_string()))?,
            );
            let mut begin = 0;
            // What has no end yet is not looked through again with each part that comes.
            while let Some(end) = memchr::memchr(b'\n', &text[searched..]) {
                let end = searched + end;
                let Watched { events, canceled } = streamed(read(&text[begin..end])?)?;
                (begin, searched) = (end + 1, end + 1);
                if canceled {
                    return Err(lost());
                }
                // Nobody is told of what has been read already.
                let news: Vec<_> = events.into_iter().filter(|event| event.kv.mod_revision > at).collect();
                if !news.is_empty() {
                    view.send_modify(|view| {
                        let view = view.get_or_insert_default();
                        news.iter().for_each(|event| self.note(view, &event.kv, event.is_gone()));
                    });
                }
            }
            text.drain(..begin);
            searched = text.len();
            if text.len() > MAX {
                return Err(EngineError::Refused("a message of etcd is too long".to_owned()));
            }
        }
    }

    /// Renews a lease, and proves that the agents were still ours after that.
    async fn keep(&self, lease: LeaseId, held: &[(LeaseKey, Epoch)]) -> Result<Renewed, EngineError> {
        let member = self.current();
        let kept: Lease =
            streamed(self.ask_member(member, "lease/keepalive", &json!({ "ID": lease.0.to_string() })).await?)?;
        // Two answers that say no term would say the same.
        if kept.id != lease.0 || kept.header.raft_term <= 0 {
            return Err(EngineError::Unreachable("etcd's answer is of another lease, or says no term".to_owned()));
        }
        if kept.ttl <= 0 {
            return Err(EngineError::Over);
        }
        let mut missing = Vec::new();
        let parts = held.chunks(AT_ONCE).chain(held.is_empty().then_some(held));
        for part in parts {
            let keys: Vec<_> =
                part.iter().map(|(agent, epoch)| (*agent, self.agent_key(*agent), epoch.cast_signed())).collect();
            let compare: Vec<Value> = keys.iter().map(|(_, key, epoch)| created(key, *epoch)).collect();
            let look: Vec<Value> = keys.iter().map(|(_, key, _)| get(key)).collect();
            // What is compared is looked at again where that does not hold. Without anything to compare, the majority has to answer all the same.
            let body = json!({ "compare": compare, "success": [get(&self.node_key(lease))], "failure": look });
            let txn: Txn = self.ask_member(member, "kv/txn", &body).await?;
            if txn.header.raft_term != kept.header.raft_term {
                return Err(EngineError::Unreachable("etcd's members are choosing another leader".to_owned()));
            }
            if !txn.succeeded {
                let ranges = txn.responses.into_iter().map(|response| response.response_range.unwrap_or_default());
                let is_ours =
                    |range: &Range, epoch: i64| range.kvs.first().is_some_and(|entry| entry.create_revision == epoch);
                let lost = keys.iter().zip(ranges).filter(|((_, _, epoch), range)| !is_ours(range, *epoch));
                missing.extend(lost.map(|((agent, ..), _)| *agent));
            }
        }
        Ok(Renewed { lease, ttl: self.counted(&kept)?, missing })
    }

    /// Begins a lease, and has this daemon known.
    async fn begin(&self) -> Result<Renewed, EngineError> {
        let begun: Lease =
            self.ask("lease/grant", &json!({ "TTL": self.ttl.as_secs().to_string(), "ID": "0" })).await?;
        let ttl = self.counted(&begun)?;
        if begun.id == 0 {
            // What is bound to no lease stays for ever.
            return Err(EngineError::Unreachable("etcd's answer names no lease".to_owned()));
        }
        let lease = LeaseId(begun.id);
        // Whoever may not read what others have is told so here, and not once it matters.
        let known = json!({ "success": [put(&self.node_key(lease), &self.node, lease), first_of(&self.prefix)] });
        let _done: Txn = self.ask("kv/txn", &known).await?;
        Ok(Renewed { lease, ttl, missing: Vec::new() })
    }

    /// What of a lease's time to live counts: no more than was asked for, also where etcd gives more.
    fn counted(&self, lease: &Lease) -> Result<Duration, EngineError> {
        let given = Duration::from_secs(u64::try_from(lease.ttl).unwrap_or_default());
        if given < self.ttl {
            return Err(EngineError::Refused(format!("etcd lets a lease live for {} only", span(given))));
        }
        Ok(self.ttl)
    }
}

impl Engine for Etcd {
    async fn acquire(&self, lease: LeaseId, agent: LeaseKey) -> Result<Option<Epoch>, EngineError> {
        let key = self.agent_key(agent);
        let body = json!({
            "compare": [created(&key, 0)],
            "success": [put(&key, &self.node, lease), get(&key)],
            "failure": [get(&key)],
        });
        let txn: Txn = self.ask("kv/txn", &body).await?;
        // What counts is the entry itself: an earlier try may have been answered too late, and an answer may be another request's.
        let mut entries =
            txn.responses.into_iter().filter_map(|response| response.response_range?.kvs.into_iter().next());
        let entry = entries.find(|entry| entry.key == key.as_bytes() && entry.lease == lease.0);
        entry.map(|entry| epoch(entry.create_revision)).transpose()
    }

    async fn renew(&self, lease: Option<LeaseId>, held: Vec<(LeaseKey, Epoch)>) -> Result<Renewed, EngineError> {
        match lease {
            Some(lease) => self.keep(lease, &held).await,
            None => self.begin().await,
        }
    }

    async fn release(&self, lease: LeaseId, what: Release) -> Result<(), EngineError> {
        let given_back = match what {
            Release::Agent(agent, epoch) => {
                let key = self.agent_key(agent);
                let body = json!({ "compare": [created(&key, epoch.cast_signed())], "success": [delete(&key)] });
                self.ask::<Value>("kv/txn", &body).await
            }
            Release::Node => self.ask("kv/txn", &json!({ "success": [delete(&self.node_key(lease))] })).await,
            Release::All => self.ask("lease/revoke", &json!({ "ID": lease.0.to_string() })).await,
        };
        match given_back {
            Ok(_) | Err(EngineError::Over) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn watch(&self, view: watch::Sender<Option<View>>) -> EngineError {
        match self.follow(&view).await {
            Ok(()) => EngineError::Unreachable("etcd has ended the watch".to_owned()),
            Err(error) => error,
        }
    }
}

/// Since which revision an agent is held. Without one nobody could tell later whether it still is.
fn epoch(revision: i64) -> Result<Epoch, EngineError> {
    let missing = || EngineError::Refused("etcd's answer names no revision".to_owned());
    Epoch::try_from(revision).ok().filter(|epoch| *epoch > 0).ok_or_else(missing)
}

/// An answer.
fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, EngineError> {
    // Whoever answers so is none of the members that agree, or not all of its answer has come: another one may do better. The error's own
    // words may have all of the answer in them.
    serde_json::from_slice(text).map_err(|error| {
        EngineError::Unreachable(format!(
            "etcd's answer can't be read: it is no such JSON at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

/// A message of a stream.
fn streamed<T>(message: Streamed<T>) -> Result<T, EngineError> {
    match message {
        Streamed::Result { result } => Ok(result),
        Streamed::Failed(failed) => Err(match failed.meaning() {
            Meaning::LogIn(text) => EngineError::Unreachable(format!("etcd says: {text}")),
            Meaning::Error(error) => error,
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config::{Standby, TlsSpec};

    const LEASE: LeaseId = LeaseId(9);

    /// An etcd that answers requests for a path with this text, each over a connection of its own.
    fn etcd(answers: &'static [(&'static str, &'static str)]) -> Etcd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let Some((_, rest)) = head.split_once("content-length: ") else { continue };
                let length = rest.split_once('\r').unwrap().0.parse().unwrap();
                stream.read_exact(&mut vec![0; length]).unwrap();
                let answer = answers.iter().find(|(path, _)| head.contains(path)).map_or("{}", |(_, answer)| answer);
                let length = answer.len();
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
            }
        });
        let spec = LeaseSpec {
            etcd: vec![url],
            ttl: Duration::from_secs(6),
            prefix: "/mcp-pipe/".to_owned(),
            node: None,
            standby: Standby::Cold,
            login: None,
            tls: TlsSpec { ca_file: None, identity: None },
        };
        Etcd::of(&spec, "us".into())
    }

    #[tokio::test]
    async fn an_answer_that_lacks_what_proves_something_proves_nothing() {
        let renewed = async |answers| etcd(answers).renew(Some(LEASE), Vec::new()).await;
        let txn = ("/v3/kv/txn", r#"{"header":{"raft_term":"2"},"succeeded":true}"#);
        let whole = [("/v3/lease/keepalive", r#"{"result":{"header":{"raft_term":"2"},"ID":"9","TTL":"6"}}"#), txn];
        let whole: &'static [_] = Vec::from(whole).leak();
        let want = Renewed { lease: LEASE, ttl: Duration::from_secs(6), missing: Vec::new() };
        assert_eq!(renewed(whole).await, Ok(want.clone()));
        // More than was asked for is not relied on.
        let longer =
            ("/v3/lease/keepalive", r#"{"result":{"header":{"raft_term":"2"},"ID":"9","TTL":"9223372036854775807"}}"#);
        assert_eq!(renewed(Vec::from([longer, txn]).leak()).await, Ok(want));
        for keepalive in [
            r#"{"result":{"ID":"9","TTL":"6"}}"#,
            r#"{"result":{"header":{"raft_term":"2"},"ID":"8","TTL":"6"}}"#,
            r#"{"result":{"header":{"raft_term":"1"},"ID":"9","TTL":"6"}}"#,
            r#"{"result":{"header":{"raft_term":"2"},"ID":"9","TTL":"2"}}"#,
            r#"{"result":{"header":{"raft_term":"2"},"ID":"9"}}"#,
        ] {
            let answers = Vec::from([("/v3/lease/keepalive", keepalive), txn]).leak();
            assert!(renewed(answers).await.is_err(), "{keepalive}");
        }
        let without_terms = [("/v3/lease/keepalive", r#"{"result":{"ID":"9","TTL":"6"}}"#), ("/v3/kv/txn", "{}")];
        assert!(renewed(Vec::from(without_terms).leak()).await.is_err());
    }

    #[tokio::test]
    async fn neither_a_lease_nor_an_agent_is_had_without_its_number() {
        for grant in [r#"{"TTL":"6"}"#, r#"{"ID":"9"}"#, r#"{"ID":"9","TTL":"-6"}"#] {
            let begun = etcd(Vec::from([("/v3/lease/grant", grant)]).leak()).renew(None, Vec::new()).await;
            assert!(begun.is_err(), "{grant}: {begun:?}");
        }
        let acquired = async |entry: &str| {
            let answer = format!(r#"{{"succeeded":true,"responses":[{{}},{{"response_range":{{"kvs":[{entry}]}}}}]}}"#);
            let answers = Vec::from([("/v3/kv/txn", &*answer.leak())]).leak();
            etcd(answers).acquire(LEASE, LeaseKey::read(&"a".repeat(32)).unwrap()).await
        };
        let key = base64(&format!("/mcp-pipe/agents/{}", "a".repeat(32)));
        let whole = format!(r#"{{"key":"{key}","create_revision":"7","lease":"9"}}"#);
        assert_eq!(acquired(&whole).await, Ok(Some(7)));
        assert!(acquired(&whole.replace(r#""create_revision":"7","#, "")).await.is_err());
        // Another's, of another agent, or nobody's.
        for other in [whole.replace(r#""9""#, r#""8""#), whole.replace(&key, "YQ=="), String::new()] {
            assert_eq!(acquired(&other).await, Ok(None), "{other}");
        }
    }

    #[tokio::test]
    async fn what_can_not_be_read_is_not_repeated() {
        let begun = etcd(&[("/v3/lease/grant", r#""some-token""#)]).renew(None, Vec::new()).await;
        let words = begun.unwrap_err().to_string();
        assert!(words.contains("line 1") && !words.contains("some-token"), "{words}");
    }
}
