//! The way to each endpoint and each remote server: proxy, name, TCP, TLS, and what a plain GET is answered with. No upgrade is asked for
//! unless a person says so, since it could end the connection of whoever holds the token.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::check::{Check, Fault, Found, Key};
use super::code::Code;
use super::{CLOCK, CONFIG, DAEMON};
use crate::config::{Config, LinkSpec, RemoteSpec};
use crate::control::Report;
use crate::endpoint::Endpoint;
use crate::endpoint::agent::{self, Agent};
use crate::error::FaultCode;
use crate::net::dial::probe::{self, Answer, Way};
use crate::net::error::{DialError, DialStep, TlsProblem};
use crate::words::span;

/// Longest time for one way.
const WAY: Duration = Duration::from_secs(8);
/// Shortest rest of a certificate's time that is not told: whoever renews one has most likely done so by then.
const SOON: Duration = Duration::from_hours(14 * 24);
/// Largest difference between two clocks that is not told.
const SKEW: Duration = Duration::from_mins(1);

/// A time that nobody's clock is behind by.
const FAR: Duration = Duration::from_hours(20 * 365 * 24);

/// An endpoint of the config.
#[derive(Clone)]
pub(super) struct Dialled {
    /// What it is called: its name, or its address without what is secret.
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) link: std::sync::Arc<LinkSpec>,
}

/// The endpoints of a config, each once.
pub(super) fn endpoints(config: &Config) -> Vec<Dialled> {
    let mut all: Vec<Dialled> = Vec::new();
    let of_servers = config.servers.iter().filter_map(|server| {
        let endpoint = server.endpoint.clone()?;
        Some(Dialled { name: endpoint.to_string(), endpoint, link: server.link.clone() })
    });
    let named = config.endpoints.iter().map(|spec| {
        let name = spec.name.as_ref().map_or_else(|| spec.endpoint.to_string(), ToString::to_string);
        Dialled { name, endpoint: spec.endpoint.clone(), link: spec.link.clone() }
    });
    for new in named.chain(of_servers) {
        if !all.iter().any(|known| known.endpoint == new.endpoint) {
            all.push(new);
        }
    }
    // Two addresses may look alike without their tokens.
    for at in 1..all.len() {
        let alike = all[..at].iter().filter(|before| before.name == all[at].name).count();
        if alike > 0 {
            all[at].name = format!("{} (another token)", all[at].name);
        }
    }
    all
}

/// The checks of one way, and what is to be told of clocks.
pub(super) struct Walked {
    pub(super) checks: Vec<Check>,
    /// How far the other side's clock is from ours: ahead if positive, in seconds.
    pub(super) skew: Option<(String, i64)>,
    /// Whether a certificate seems to be of another time.
    pub(super) untimely: Option<Untimely>,
    /// Whose way it is, to which host, through which proxy, and to which addresses; nothing where none was gone.
    pub(super) to: Option<To>,
}

/// How the time of a certificate differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untimely {
    /// It has expired: so it seems, too, where our clock is ahead.
    Past,
    /// It is not valid yet: so it seems, too, where our clock is behind.
    Future,
}

/// Where a way leads.
pub(super) struct To {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) proxy: Option<String>,
    pub(super) addresses: BTreeSet<String>,
}

/// The way to an endpoint; `report`: what a running mcp-pipe says.
pub(super) async fn endpoint(at: Dialled, report: Option<&Report>, dials: bool) -> Walked {
    let Dialled { name, endpoint, link } = at;
    let key = |id| Key::of(id, &*name);
    let mut checks = Vec::new();
    let told = report.and_then(|report| {
        let is_it = |told: &&crate::control::SeenEndpoint| told.name == name || told.address == name;
        report.endpoints.iter().find(is_it)
    });
    let connected = told.filter(|told| told.well);
    checks.push(Check::new(key(TOKEN), token(&endpoint, connected.is_some(), SystemTime::now())).after([clock()]));
    if let Some(told) = connected {
        checks.push(Check::new(key(CONNECTION), Found::Good(told.words.clone())));
        return Walked { checks, skew: None, untimely: None, to: None };
    }
    let way = probe::endpoint(&endpoint, &link, WAY).await;
    let mut walked = steps(&way, &ENDPOINT, (&name, endpoint.host()), DialError::fault);
    checks.append(&mut walked.checks);
    let before = [key(HTTP), key(TOKEN)];
    let connection = match told {
        Some(told) if report.is_some() => {
            let cause = report.and_then(|report| {
                report.causes.iter().find(|cause| cause.endpoint.as_deref() == Some(&*told.name) && cause.is_error())
            });
            match cause {
                Some(cause) => Found::Bad(Fault::of(cause.code, &cause.message)),
                None => Found::Skipped(told.words.clone()),
            }
        }
        Some(_) | None if report.is_some() => {
            Found::Skipped("the mcp-pipe that runs has no such endpoint: its config is another one".to_owned())
        }
        Some(_) | None if dials && walked_to_the_end(&way) => super::dial::dial(&endpoint, &link).await,
        Some(_) | None if dials => Found::Skipped("not dialled, as the way there is not free".to_owned()),
        Some(_) | None => Found::Skipped(
            "not dialled: that could take the connection of another program with this token. --dial does it".to_owned(),
        ),
    };
    checks.push(Check::new(key(CONNECTION), connection).after(before));
    Walked { checks, ..walked }
}

/// The way to a remote server, as far as TLS.
pub(super) async fn remote(name: &str, spec: &RemoteSpec) -> Walked {
    let way = probe::remote(&spec.url.origin(), &spec.tls, WAY).await;
    steps(&way, &REMOTE, (name, &spec.url.origin().host), DialError::fault_of_remote)
}

fn walked_to_the_end(way: &Way) -> bool {
    way.error.is_none()
}

fn clock() -> Key {
    Key::of(CLOCK, "")
}

pub(super) const TOKEN: &str = "endpoint.token";
pub(super) const HTTP: &str = "endpoint.http";
pub(super) const CONNECTION: &str = "endpoint.connection";

/// What the steps of a way are called.
struct Steps {
    proxy: &'static str,
    dns: &'static str,
    tcp: &'static str,
    tls: &'static str,
    /// What a fault of the proxy is.
    through: FaultCode,
    /// What comes behind TLS; nothing where only the way is looked at.
    http: Option<&'static str>,
}

const ENDPOINT: Steps = Steps {
    proxy: "endpoint.proxy",
    dns: "endpoint.dns",
    tcp: "endpoint.tcp",
    tls: "endpoint.tls",
    through: FaultCode::EndpointProxy,
    http: Some(HTTP),
};
const REMOTE: Steps = Steps {
    proxy: "server.proxy",
    dns: "server.dns",
    tcp: "server.tcp",
    tls: "server.tls",
    through: FaultCode::RemoteProxy,
    http: None,
};

/// The last step of the way to a remote server.
pub(super) const LAST_OF_REMOTE: &str = "server.tls";

/// The steps of a way as checks: those before the one that failed are well, and those behind it follow from it.
fn steps(way: &Way, ids: &Steps, (name, host): (&str, &str), code: impl Fn(&DialError) -> FaultCode) -> Walked {
    let through = way.proxy.as_ref();
    // On the way to the proxy it is the proxy that fails, whatever step that is.
    let failed = way.error.as_ref().map(|error| if through.is_some() { step(error).by_proxy() } else { step(error) });
    let code = |error: &DialError| if failed == Some(Step::Proxy) { ids.through } else { code(error) };
    let key = |id| Key::of(id, name);
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |step: Step, id: &'static str, good: Found| {
        let before = checks.last().map(|check| check.key.clone());
        let found = match (failed, &way.error) {
            (Some(at), Some(error)) if at == step => Found::Bad(Fault::of(code(error), &error.to_string())),
            (Some(at), _) if at < step => Found::Skipped(String::new()),
            _ => good,
        };
        let untimely = way.error.as_ref().and_then(untimely).filter(|_| step == Step::Tls);
        let clock = untimely.map(|_| clock());
        checks.push(Check::new(key(id), found).after([Key::of(CONFIG, "")]).after(before).after(clock));
    };
    if through.is_some() || failed == Some(Step::Proxy) {
        let good = through.map_or_else(String::new, |proxy| format!("through {proxy}"));
        add(Step::Proxy, ids.proxy, Found::Good(good));
    } else {
        let addresses: Vec<String> = way.addresses.iter().map(|address| address.ip().to_string()).collect();
        add(Step::Dns, ids.dns, Found::Good(addresses.join(", ")));
        add(Step::Tcp, ids.tcp, Found::Good("connected".to_owned()));
    }
    let now = SystemTime::now();
    match way.good_until {
        Some(end) => {
            let left = end.duration_since(now).unwrap_or_default();
            let what = format!("the certificate is good for {}", span(left));
            let found = if left < SOON {
                let remedy = "see that whoever runs it renews it in time";
                Found::Odd { what: format!("{what} more"), remedy: remedy.to_owned() }
            } else {
                Found::Good(what)
            };
            add(Step::Tls, ids.tls, found);
        }
        None if failed == Some(Step::Tls) => add(Step::Tls, ids.tls, Found::Good(String::new())),
        None => add(Step::Tls, ids.tls, Found::Good("without TLS".to_owned())),
    }
    let mut skew = None;
    if let Some(id) = ids.http {
        let found = way.answer.as_ref().map_or_else(|| Found::Good(String::new()), answered);
        add(Step::Http, id, found);
        skew = way
            .answer
            .as_ref()
            .and_then(|answer| answer.date)
            .map(|(theirs, ours)| (name.to_owned(), apart(theirs, ours)));
    }
    let untimely = way.error.as_ref().and_then(untimely);
    let addresses = way.addresses.iter().map(|address| address.ip().to_string()).collect();
    let to = To { name: name.to_owned(), host: host.to_owned(), proxy: way.proxy.clone(), addresses };
    Walked { checks, skew, untimely, to: Some(to) }
}

/// The steps of a way, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Proxy,
    Dns,
    Tcp,
    Tls,
    Http,
}

impl Step {
    /// The same where a proxy makes the connection.
    fn by_proxy(self) -> Step {
        if self < Step::Tls { Step::Proxy } else { self }
    }
}

/// The step at which a dial failed.
fn step(error: &DialError) -> Step {
    let of = |step: &DialStep| match step {
        DialStep::Dns => Step::Dns,
        DialStep::Tcp => Step::Tcp,
        DialStep::Proxy => Step::Proxy,
        DialStep::Tls => Step::Tls,
        DialStep::Upgrade | DialStep::PlainUpgrade => Step::Http,
    };
    match error {
        DialError::Dns { .. } => Step::Dns,
        DialError::Refused { .. } | DialError::Unreachable { .. } => Step::Tcp,
        DialError::Timeout { step, .. } | DialError::Lost { step, .. } => of(step),
        DialError::Tls { .. } | DialError::Trust { .. } => Step::Tls,
        DialError::Proxy { .. } | DialError::ProxyRejected { .. } | DialError::ProxyUnusable { .. } => Step::Proxy,
        DialError::Header { .. }
        | DialError::Http { .. }
        | DialError::RedirectRefused { .. }
        | DialError::TooManyRedirects { .. }
        | DialError::NotWebSocket { .. } => Step::Http,
    }
}

/// Whether a certificate is of another time than that which this machine's clock shows.
fn untimely(error: &DialError) -> Option<Untimely> {
    let is_of = |wanted: &TlsProblem| matches!(error, DialError::Tls { problem, .. } if problem == wanted);
    let past = is_of(&TlsProblem::Expired).then_some(Untimely::Past);
    past.or_else(|| is_of(&TlsProblem::NotYetValid).then_some(Untimely::Future))
}

/// What the answer to a plain GET means. An endpoint that takes WebSocket alone answers 400, 404, 405 or 426, whatever the token is.
fn answered(Answer { status, words, .. }: &Answer) -> Found {
    let bad = |code| Found::Bad(Fault::of(code, &words.to_string()));
    let odd = |what: String, remedy: &str| Found::Odd { what, remedy: remedy.to_owned() };
    match status {
        401 | 403 => bad(FaultCode::EndpointUnauthorized),
        502..=504 => bad(FaultCode::EndpointHttp),
        101 | 200..=299 => odd(
            format!("answers a plain GET with HTTP {status}, as a page does"),
            "compare the address with the one in the endpoint's console; --dial tells for certain",
        ),
        300..=399 => odd(format!("redirects a plain GET (HTTP {status})"), "--dial tells where it leads"),
        429 | 500.. => odd(words.to_string(), "--dial tells whether it takes connections all the same"),
        _ => Found::Good(format!(
            "answers a plain GET with HTTP {status}, as endpoints that take WebSocket alone do; only a dial tells whether it takes the token"
        )),
    }
}

/// How far a clock is from ours, in seconds: ahead if positive.
fn apart(theirs: SystemTime, ours: SystemTime) -> i64 {
    match theirs.duration_since(ours) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
        Err(behind) => i64::try_from(behind.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    }
}

/// What the token says of itself.
fn token(endpoint: &Endpoint, is_connected: bool, now: SystemTime) -> Found {
    let at = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let (until, since) = (agent::good_until(endpoint).and_then(at), agent::issued_at(endpoint).and_then(at));
    let fresh = "copy a fresh endpoint URL, with its token, from its console";
    if let Some(past) = until.and_then(|until| now.duration_since(until).ok()).filter(|past| !past.is_zero()) {
        let what = format!("its token expired {} ago, by what the token says of itself", span(past));
        return if is_connected {
            Found::Odd { what: format!("{what}, and the endpoint takes it all the same"), remedy: fresh.to_owned() }
        } else {
            let code = Code::Fault(FaultCode::EndpointUnauthorized);
            Found::Bad(Fault { code, what, remedy: fresh.to_owned() })
        };
    }
    // In milliseconds, as some write it, it would be far away.
    let is_meant = |ahead: &Duration| *ahead > SKEW && *ahead < FAR;
    if let Some(ahead) = since.and_then(|since| since.duration_since(now).ok()).filter(is_meant) {
        let what = format!("its token was issued {} from now, by this machine's clock", span(ahead));
        return Found::Odd { what, remedy: SET_CLOCK.to_owned() };
    }
    Found::Good(match until.and_then(|until| until.duration_since(now).ok()) {
        Some(left) => format!("good for {} more, by what it says of itself", span(left)),
        None => "says nothing of how long it is good".to_owned(),
    })
}

/// What to do about a wrong clock.
pub(super) const SET_CLOCK: &str =
    "set the clock: timedatectl set-ntp true, or have the router or NTP server reachable";

/// Whether this machine's clock is right: by those of others, by tokens, and by the newest of our own files.
pub(super) fn clock_of(walks: &[Walked], newest: Option<(String, SystemTime)>, now: SystemTime) -> Check {
    let skews = || walks.iter().filter_map(|walked| walked.skew.as_ref());
    // Of somebody whose clock stands before our newest file was written it is theirs that is wrong.
    let is_sane = |apart: i64| {
        let theirs = if apart < 0 { now.checked_sub(Duration::from_secs(apart.unsigned_abs())) } else { Some(now) };
        newest.as_ref().is_none_or(|(_, at)| theirs.is_some_and(|theirs| theirs >= *at || *at > now))
    };
    let far = skews().find(|(_, apart)| apart.unsigned_abs() > SKEW.as_secs() && is_sane(*apart));
    let is_behind = far.is_none_or(|(_, apart)| *apart > 0);
    let fits = if is_behind { Untimely::Future } else { Untimely::Past };
    let ahead =
        newest.as_ref().and_then(|(file, at)| Some((file, at.duration_since(now).ok().filter(|ahead| *ahead > SKEW)?)));
    let what = match (far, &ahead) {
        (Some((name, apart)), _) => {
            let side = if *apart > 0 { "behind" } else { "ahead of" };
            Some(format!(
                "this machine's clock is {} {side} that of {name}",
                span(Duration::from_secs(apart.unsigned_abs()))
            ))
        }
        (None, Some((file, ahead))) => {
            Some(format!("this machine's clock is behind: {file} was changed {} from now by it", span(*ahead)))
        }
        (None, None) => None,
    };
    let found = match what {
        Some(what) if walks.iter().any(|walked| walked.untimely == Some(fits)) => {
            let what = format!("{what}, so certificates seem to be of another time");
            Found::Bad(Fault { code: Code::ClockWrong, what, remedy: SET_CLOCK.to_owned() })
        }
        Some(what) => Found::Odd { what, remedy: SET_CLOCK.to_owned() },
        None if skews().next().is_some() => Found::Good("as that of who was asked, within a minute".to_owned()),
        None => Found::Good("nothing speaks against it".to_owned()),
    };
    Check::new(clock(), found)
}

/// Who serves the agent of an endpoint on this machine besides, where no mcp-pipe runs with this config.
pub(super) fn holder(at: &Dialled, cache: Option<&std::path::Path>) -> Option<Check> {
    let holder = crate::supervisor::holder(cache?, Agent::of(&at.endpoint, &at.link.headers))?;
    let what = format!("another mcp-pipe ({holder}) serves the agent of this endpoint");
    let remedy = "end one of the two, or give one of them another agent".to_owned();
    let found = if agent::takes_one(&at.endpoint) {
        Found::Bad(Fault { code: Code::Fault(FaultCode::AgentTaken), what, remedy })
    } else {
        Found::Odd { what, remedy }
    };
    Some(Check::new(Key::of("endpoint.holder", &*at.name), found).after([Key::of(DAEMON, "")]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::doctor::check::judge;

    fn way(error: Option<DialError>) -> Way {
        Way { addresses: vec!["10.0.0.1:443".parse().unwrap()], error, ..Way::default() }
    }

    fn statuses(way: &Way) -> Vec<String> {
        let walked = steps(way, &ENDPOINT, ("e", "h"), DialError::fault);
        let verdict = judge(walked.checks);
        let told = |check: &crate::doctor::check::Judged| format!("{} {}", check.key.id, check.mark.word());
        verdict.checks.iter().map(told).collect()
    }

    #[test]
    fn the_step_that_fails_is_the_one_root() {
        let peer = || "h:1".to_owned();
        let dns = DialError::Dns { host: "h".into(), reason: "x".into() };
        assert_eq!(
            statuses(&way(Some(dns))),
            ["endpoint.dns FAIL", "endpoint.tcp SKIP", "endpoint.tls SKIP", "endpoint.http SKIP"]
        );
        assert_eq!(
            statuses(&way(Some(DialError::Refused { peer: peer() }))),
            ["endpoint.dns PASS", "endpoint.tcp FAIL", "endpoint.tls SKIP", "endpoint.http SKIP"]
        );
        let tls = DialError::Tls { peer: peer(), problem: TlsProblem::UnknownIssuer };
        assert_eq!(
            statuses(&way(Some(tls))),
            ["endpoint.dns PASS", "endpoint.tcp PASS", "endpoint.tls FAIL", "endpoint.http SKIP"]
        );
        let unusable = DialError::ProxyUnusable { variable: "HTTP_PROXY", reason: "x" };
        assert_eq!(statuses(&way(Some(unusable))), ["endpoint.proxy FAIL", "endpoint.tls SKIP", "endpoint.http SKIP"]);
    }

    #[test]
    fn a_clock_that_is_wrong_is_the_reason_for_certificates_of_another_time() {
        let now = SystemTime::now();
        let tls = DialError::Tls { peer: "h:1".into(), problem: TlsProblem::NotYetValid };
        let walked = steps(&way(Some(tls)), &ENDPOINT, ("e", "h"), DialError::fault);
        let roots = |newest: Option<(String, SystemTime)>| {
            let clock = clock_of(std::slice::from_ref(&walked), newest, now);
            let verdict = judge(walked.checks.iter().cloned().chain([clock]).collect());
            verdict.roots.iter().map(|root| root.code.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(roots(None), ["endpoint-tls"]);
        assert_eq!(roots(Some(("c.json".into(), now + Duration::from_hours(48)))), ["clock-wrong"]);
        assert_eq!(roots(Some(("c.json".into(), now - Duration::from_hours(48)))), ["endpoint-tls"]);
        // A clock that is behind has no certificate expire.
        let tls = DialError::Tls { peer: "h:1".into(), problem: TlsProblem::Expired };
        let expired = steps(&way(Some(tls)), &ENDPOINT, ("e", "h"), DialError::fault);
        let clock = |apart, newest: Duration| {
            let other = Walked { checks: Vec::new(), skew: Some(("f".into(), apart)), untimely: None, to: None };
            let walks =
                [Walked { checks: expired.checks.clone(), skew: None, untimely: expired.untimely, to: None }, other];
            matches!(clock_of(&walks, Some(("c.json".into(), now - newest)), now).found, Found::Bad(_))
        };
        let (day, week) = (Duration::from_hours(24), Duration::from_hours(7 * 24));
        assert!(!clock(7200, day) && clock(-7200, day));
        assert!(!clock(-10 * 86_400, week), "theirs stands before our own file");
    }

    #[test]
    fn a_clock_is_compared_with_those_of_others() {
        let now = SystemTime::now();
        let walked = |apart| Walked { checks: Vec::new(), skew: Some(("e".into(), apart)), untimely: None, to: None };
        let told = |apart| match clock_of(&[walked(apart)], None, now).found {
            Found::Good(what) | Found::Odd { what, .. } => what,
            other @ (Found::Bad(_) | Found::Skipped(_)) => panic!("{other:?}"),
        };
        assert_eq!(told(30), "as that of who was asked, within a minute");
        assert_eq!(told(7200), "this machine's clock is 2 h 0 min behind that of e");
        assert_eq!(told(-7200), "this machine's clock is 2 h 0 min ahead of that of e");
    }

    #[test]
    fn an_answer_to_a_plain_get_is_bad_only_where_it_says_so() {
        let of = |status| {
            let words = DialError::Http { peer: "h".into(), status, retry_after: None, body: String::new() };
            match answered(&Answer { status, date: None, words }) {
                Found::Good(_) => "good",
                Found::Odd { .. } => "odd",
                Found::Bad(_) => "bad",
                Found::Skipped(_) => "skipped",
            }
        };
        let told = [400, 404, 405, 426, 200, 301, 500, 429, 401, 403, 502, 503, 504].map(of);
        let want = ["good", "good", "good", "good", "odd", "odd", "odd", "odd", "bad", "bad", "bad", "bad", "bad"];
        assert_eq!(told, want);
    }
}
