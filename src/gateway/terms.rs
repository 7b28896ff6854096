//! What the config says of the gateway that counts now: who is let in, to which servers, and how much there may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::Serialize;
use tokio::time::Instant;

use super::door::{self, Bucket, Denied};
use super::guard::Guard;
use super::issuers::{self, Complaints, Issuer, Why};
use super::path::Place;
use super::sessions::{Scope, owner};
use super::tokens::Token;
use super::tools::Tools;
use crate::config::{ApiKeySpec, GatewaySpec, JwtSpec, ServerSpec};
use crate::jwt::Flaw;
use crate::pipe::membership::{Manner, Shown};
use crate::tools::{self, ToolPolicy};

/// Longest time for which a token counts as good without being shown again: what is far beyond any clock can't be waited for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// An address with servers, for whoever may use it.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) scope: Scope,
    pub(super) shown: Arc<Shown>,
    /// When whoever was let in is so no more: their token ends then.
    pub(super) until: Option<Instant>,
    /// Most streams of a session that are open by GET.
    pub(super) max_streams: usize,
    /// Largest body of a request, in bytes.
    pub(super) max_body: usize,
    /// What is known of its tools.
    pub(super) tools: Arc<Tools>,
    /// How often whoever uses it may ask.
    pub(super) bucket: Arc<Bucket>,
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
    bucket: Arc<Bucket>,
}

/// What a request opens.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    opened: &'a Opened,
    /// By a token: whom that speaks for, and when it ends.
    bearer: Option<(Arc<str>, Instant)>,
}

impl<'a> Admitted<'a> {
    fn by_key(opened: &'a Opened) -> Self {
        Admitted { opened, bearer: None }
    }

    /// What there is for it.
    pub(super) fn gates(&self) -> &'a Gates {
        &self.opened.gates
    }

    /// How often there may be another one.
    pub(super) fn bucket(&self) -> &'a Bucket {
        &self.opened.bucket
    }

    /// The address of all servers.
    pub(super) fn all(&self) -> Gate {
        self.own(&self.opened.gates.all)
    }

    /// What is at a place, if there is anything.
    pub(super) fn at(&self, place: &Place) -> Option<Gate> {
        self.opened.gates.at(place).map(|gate| self.own(gate))
    }

    /// An address, for whoever the token speaks for and nobody else.
    fn own(&self, gate: &Gate) -> Gate {
        let Some((owner, until)) = &self.bearer else { return gate.clone() };
        let scope = Scope { key: Some(owner.clone()), ..gate.scope.clone() };
        Gate { scope, until: Some(*until), ..gate.clone() }
    }
}

/// An issuer of tokens with what these open.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) issuer: Arc<Issuer>,
    pub(super) opens: Opened,
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
    /// Without one, and without an issuer, everybody is let in.
    pub(super) keys: Vec<Key>,
    pub(super) issuers: Vec<Trusted>,
    /// What was logged of tokens that are not good.
    complaints: Arc<Complaints>,
    /// What is there for those who need no key.
    pub(super) open: Opened,
    /// The endpoint's tokens; without one there is no endpoint.
    pub(super) tokens: Vec<Token>,
}

impl Terms {
    /// `before`: what has counted so far.
    pub(super) fn of(spec: &Arc<GatewaySpec>, servers: &[ServerSpec], before: Option<&Terms>) -> Self {
        let now = Instant::now();
        let guard = Guard::of(spec.listen, &spec.hosts, &spec.cors);
        let opened = |whose: Option<Whose<'_>>| {
            // Who is connected goes on with what counts now.
            let scope = whose.as_ref().map(|whose| &whose.scope);
            let known =
                before.and_then(|terms| terms.all().find(|opened| opened.gates.all.scope.key.as_ref() == scope));
            let bucket = known.map(|opened| opened.bucket.clone());
            let bucket = bucket.unwrap_or_else(|| Arc::new(Bucket::new(spec.requests_per_second, now)));
            bucket.set_rate(spec.requests_per_second, now);
            Opened { gates: Gates::of(spec, servers, whose.as_ref(), &bucket), bucket }
        };
        let keys = spec.api_keys.iter().enumerate().map(|(at, key)| {
            let ApiKeySpec { name, servers, tools, .. } = key;
            let place = format!("gateway.apiKeys[{at}].tools (key {name})");
            let whose = Whose { scope: name.clone(), place, servers: servers.as_deref(), tools };
            Key { spec: key.clone(), opens: opened(Some(whose)) }
        });
        let known: Vec<_> = before.iter().flat_map(|terms| &terms.issuers).map(|one| one.issuer.clone()).collect();
        let issuers = Issuer::all(&spec.jwt, &known).into_iter().enumerate().map(|(at, issuer)| {
            let JwtSpec { name, servers, tools, .. } = &issuer.spec;
            let place = format!("gateway.jwt[{at}].tools ({name})");
            let whose = Whose { scope: owner(name, ""), place, servers: servers.as_deref(), tools };
            Trusted { opens: opened(Some(whose)), issuer }
        });
        let (keys, issuers) = (keys.collect(), issuers.collect());
        let complaints = before.map(|terms| terms.complaints.clone()).unwrap_or_default();
        let tokens = Token::all_of(spec, servers, before.map_or(&[], |terms| &terms.tokens));
        Terms { guard, keys, issuers, complaints, open: opened(None), tokens, spec: spec.clone() }
    }

    /// Fetches keys of issuers aside, where they are missing or old.
    pub(super) fn refresh(&self) {
        let now = Instant::now();
        self.issuers.iter().for_each(|trusted| trusted.issuer.keys.refresh(Why::Age, now));
    }

    /// What there is for anybody, whether they are let in or not.
    fn all(&self) -> impl Iterator<Item = &Opened> {
        let of_issuers = self.issuers.iter().map(|trusted| &trusted.opens);
        [&self.open].into_iter().chain(self.keys.iter().map(|key| &key.opens)).chain(of_issuers)
    }

    /// Whether everybody is let in.
    pub(super) fn is_open(&self) -> bool {
        self.keys.is_empty() && self.issuers.is_empty()
    }
}

/// For whom something is opened.
struct Whose<'a> {
    /// As sessions know them.
    scope: Arc<str>,
    /// Where the config says which tools they see.
    place: String,
    /// The servers that they see; all if `None`.
    servers: Option<&'a [Arc<str>]>,
    tools: &'a ToolPolicy,
}

impl Gates {
    /// What is shown to somebody.
    fn of(spec: &GatewaySpec, servers: &[ServerSpec], whose: Option<&Whose<'_>>, bucket: &Arc<Bucket>) -> Self {
        let name = whose.map(|whose| whose.scope.clone());
        let gate = |server: Option<Arc<str>>, shown: Shown| Gate {
            scope: Scope { server, key: name.clone() },
            shown: Arc::new(shown),
            until: None,
            max_streams: spec.max_streams,
            max_body: spec.max_body,
            tools: Arc::default(),
            bucket: bucket.clone(),
        };
        let is_seen = |server: &&ServerSpec| {
            let of_them = whose.and_then(|whose| whose.servers);
            !server.bounds.stands_in && of_them.is_none_or(|names| names.contains(&server.name))
        };
        let sharing = servers.first().map(|server| server.sharing).unwrap_or_default();
        let let_through = whose.filter(|whose| whose.tools.chooses()).map(|whose| {
            let ToolPolicy { allow, deny, .. } = whose.tools.clone();
            let names = servers.iter().filter(is_seen).map(|server| server.name.clone()).collect();
            let place = whose.place.as_str().into();
            Arc::new(tools::Gate { place, allow, deny, servers: names })
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
        let open = self.is_open().then_some(&self.open);
        let of_issuers = self.issuers.iter().map(|trusted| &trusted.opens);
        let all = open.into_iter().chain(self.keys.iter().map(|key| &key.opens)).chain(of_issuers);
        all.flat_map(|opened| opened.gates.each())
    }

    /// What a request opens by its key, or by its token. Waits for the keys of a token's issuer where these are missing.
    pub(super) async fn opened(&self, headers: &HeaderMap, in_path: Option<&str>) -> Result<Admitted<'_>, Denied> {
        let token = if self.issuers.is_empty() || in_path.is_some() { None } else { door::token(headers) };
        match (&*self.keys, token, in_path) {
            (_, Some(token), _) => self.by_token(token).await,
            ([], None, None) if self.is_open() => Ok(Admitted::by_key(&self.open)),
            // Where there are no keys, none is in the path.
            ([], None, Some(_)) => Err(Denied::Nowhere),
            (keys, None, in_path) => {
                let at = door::admitted(keys.iter().map(|key| &key.spec), headers, in_path)?;
                Ok(Admitted::by_key(&keys[at].opens))
            }
        }
    }

    async fn by_token(&self, token: &str) -> Result<Admitted<'_>, Denied> {
        let issuers: Vec<_> = self.issuers.iter().map(|trusted| trusted.issuer.clone()).collect();
        let mut admitted = issuers::admitted(&issuers, token, SystemTime::now());
        let missing = admitted.as_ref().err().and_then(issuers::Refused::missing);
        if let Some((at, why)) = missing
            && issuers[at].keys.refreshed(why, Instant::now()).await
        {
            admitted = issuers::admitted(&issuers, token, SystemTime::now());
        }
        match admitted {
            Ok((at, good)) => {
                let Trusted { issuer, opens } = &self.issuers[at];
                let left = good.until.duration_since(SystemTime::now()).unwrap_or_default();
                let until = Instant::now() + left.min(LONGEST);
                Ok(Admitted { opened: opens, bearer: Some((owner(&issuer.spec.name, &good.subject), until)) })
            }
            Err(refused) => {
                self.complaints.log(&issuers, &refused, Instant::now());
                Err(match refused.flaw {
                    Flaw::NoKeys => Denied::Unready,
                    // Its issuer has signed it.
                    Flaw::Expired(_) | Flaw::Early(..) => Denied::Untimely,
                    Flaw::TooLong
                    | Flaw::Form
                    | Flaw::Critical
                    | Flaw::Type(_)
                    | Flaw::Algorithm(_)
                    | Flaw::Issuer(_)
                    | Flaw::Audience
                    | Flaw::Claim(_)
                    | Flaw::UnknownKey(_)
                    | Flaw::AnyKey
                    | Flaw::Signature => Denied::Token,
                })
            }
        }
    }

    /// By what whoever uses a gate is let in, as far as anybody knows.
    pub(super) fn proof_of(&self, gate: &Gate) -> Option<Proof<'_>> {
        let name = gate.scope.key.as_ref()?;
        let key = self.keys.iter().find(|key| key.spec.name == *name).map(|key| Proof::Key(key.spec.hash));
        key.or_else(|| {
            let is_it = |trusted: &&Trusted| name.starts_with(&*owner(&trusted.issuer.spec.name, ""));
            let JwtSpec { issuer, audience, .. } = &self.issuers.iter().find(is_it)?.issuer.spec;
            Some(Proof::Token(issuer, audience.iter().map(|one| &**one).collect()))
        })
    }
}

/// By what somebody is let in.
#[derive(Debug, PartialEq, Serialize)]
pub(super) enum Proof<'a> {
    /// A key with this SHA-256.
    Key([u8; 32]),
    /// A token by this issuer, for one of these.
    Token(&'a str, Vec<&'a str>),
}
