//! What the config says of the gateway that counts now: who is let in, to which servers, and how much there may be.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use super::door::{self, Bucket};
use super::guard::Guard;
use super::path::Place;
use super::refusal::{denied_as, nowhere};
use super::reply::Answer;
use super::sessions::Scope;
use super::tokens::Token;
use super::tools::Tools;
use crate::config::{ApiKeySpec, GatewaySpec, ServerSpec};
use crate::pipe::membership::{Manner, Shown};
use crate::tools::{self, ToolPolicy};

/// An address with servers, for whoever may use it.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) scope: Scope,
    pub(super) shown: Arc<Shown>,
    /// Most streams of a session that are read at a time.
    pub(super) max_streams: usize,
    /// Largest body of a request, in bytes.
    pub(super) max_body: usize,
    /// What is known of its tools.
    pub(super) tools: Arc<Tools>,
}

/// What one key, or nobody's, opens.
#[derive(Debug)]
pub(super) struct Gates {
    pub(super) all: Gate,
    pub(super) each: HashMap<Arc<str>, Gate>,
}

/// What is there for somebody, and how often that may be asked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gates: Gates,
    pub(super) bucket: Bucket,
}

/// A key with what it opens.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) spec: ApiKeySpec,
    pub(super) opens: Opened,
}

/// What the config says that counts.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) spec: Arc<GatewaySpec>,
    pub(super) guard: Guard,
    /// Without one everybody is let in.
    pub(super) keys: Vec<Key>,
    /// What is there for those who need no key.
    pub(super) open: Opened,
    /// The endpoint's tokens; without one there is no endpoint.
    pub(super) tokens: Vec<Token>,
}

impl Terms {
    /// `before`: the tokens that counted before, with whoever has come with them.
    pub(super) fn of(spec: &Arc<GatewaySpec>, servers: &[ServerSpec], before: &[Token]) -> Self {
        let now = Instant::now();
        let is_local = spec.listen.ip().is_loopback();
        let guard = Guard { hosts: spec.hosts.clone(), origins: spec.cors.clone(), is_local };
        let opened = |key: Option<&ApiKeySpec>| Opened {
            gates: Gates::of(spec, servers, key),
            bucket: Bucket::new(spec.requests_per_second, now),
        };
        let keys = spec.api_keys.iter().map(|key| Key { spec: key.clone(), opens: opened(Some(key)) });
        let tokens = Token::all_of(spec, servers, before);
        Terms { guard, keys: keys.collect(), open: opened(None), tokens, spec: spec.clone() }
    }
}

impl Gates {
    /// What is shown to whoever has this key.
    pub(super) fn of(spec: &GatewaySpec, servers: &[ServerSpec], key: Option<&ApiKeySpec>) -> Self {
        let name = key.map(|key| key.name.clone());
        let gate = |server: Option<Arc<str>>, shown: Shown| Gate {
            scope: Scope { server, key: name.clone() },
            shown: Arc::new(shown),
            max_streams: spec.max_streams,
            max_body: spec.max_body,
            tools: Arc::default(),
        };
        let is_seen = |server: &&ServerSpec| {
            let of_key = key.and_then(|key| key.servers.as_ref());
            of_key.is_none_or(|names| names.contains(&server.name))
        };
        let sharing = servers.first().map(|server| server.sharing).unwrap_or_default();
        let let_through = key.filter(|key| key.tools.chooses()).map(|key| {
            let ToolPolicy { allow, deny, .. } = (*key.tools).clone();
            let names = servers.iter().filter(is_seen).map(|server| server.name.clone()).collect();
            Arc::new(tools::Gate { endpoint: format!("key {}", key.name).into(), allow, deny, servers: names })
        });
        let policy = |server: &ServerSpec| match &let_through {
            Some(gate) => Arc::new(ToolPolicy { gate: Some(gate.clone()), ..(*server.tools).clone() }),
            None => server.tools.clone(),
        };
        let seen: Vec<(Arc<str>, Arc<ToolPolicy>)> =
            servers.iter().filter(is_seen).map(|server| (server.name.clone(), policy(server))).collect();
        let alone = |one: &(Arc<str>, Arc<ToolPolicy>)| {
            let shown = Shown { servers: vec![one.clone()], room: None, sharing, manner: Manner::AsOne };
            (one.0.clone(), gate(Some(one.0.clone()), shown))
        };
        Gates {
            each: seen.iter().map(alone).collect(),
            all: gate(None, Shown { servers: seen, room: None, sharing, manner: Manner::Together }),
        }
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Gate> {
        self.each.values().chain([&self.all])
    }

    /// What is at a place, if there is anything.
    pub(super) fn at(&self, place: &Place) -> Option<&Gate> {
        let name = match place {
            Place::Server(name) => Some(name),
            Place::Socket(name) | Place::Events(name) => name.as_ref(),
            Place::All | Place::ByKey(_) | Place::Messages => None,
            Place::Endpoint(_) | Place::Offer | Place::Live | Place::Ready | Place::Nowhere => None,
        };
        name.map_or(Some(&self.all), |name| self.each.get(&**name))
    }
}

impl Terms {
    /// All gates, for everybody.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        let open = self.keys.is_empty().then_some(&self.open);
        open.into_iter().chain(self.keys.iter().map(|key| &key.opens)).flat_map(|opened| opened.gates.each())
    }

    /// What a request opens by its key, and how often that may be asked.
    pub(super) fn opened(&self, headers: &HeaderMap, in_path: Option<&str>) -> Result<&Opened, Box<Answer>> {
        match (&*self.keys, in_path) {
            ([], None) => Ok(&self.open),
            // Where there are no keys, none is in the path.
            ([], Some(_)) => Err(Box::new(nowhere())),
            (keys, in_path) => {
                let admitted = door::admitted(keys.iter().map(|key| &key.spec), headers, in_path);
                let at = admitted.map_err(|denied| Box::new(denied_as(denied, headers)))?;
                Ok(&keys[at].opens)
            }
        }
    }

    /// The key of a gate, as far as anybody knows.
    pub(super) fn hash_of(&self, gate: &Gate) -> Option<[u8; 32]> {
        let name = gate.scope.key.as_ref()?;
        self.keys.iter().find(|key| key.spec.name == *name).map(|key| key.spec.hash)
    }
}
