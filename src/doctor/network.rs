//! The way to each endpoint and each remote server: proxy, name, TCP, TLS, and what a plain GET is answered with. No upgrade is asked for
//! unless a person says so, since it could end the connection of whoever holds the token.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::check::{Check, Fault, Found, Key};
use super::code::Code;
use super::{CLOCK, CONFIG, DAEMON};
use crate::config::{AuthSpec, Config, LinkSpec, RemoteSpec};
use crate::control::Report;
use crate::endpoint::Endpoint;
use crate::endpoint::agent::{self, Agent};
use crate::error::FaultCode;
use crate::net::dial::probe::{self, Answer, Way};
use crate::net::error::{DialError, DialStep, TlsProblem};
use crate::process::limits::NO_NAME_SERVER;
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
#[derive(Default)]
pub(super) struct Walked {
    pub(super) checks: Vec<Check>,
    /// How far the other side's clock is from ours: ahead if positive, in seconds.
    pub(super) skew: Option<(String, i64)>,
    /// Whether a certificate seems to be of another time.
    pub(super) untimely: Option<Untimely>,
    /// Whose token says that it is to be issued yet, and how long until then.
    pub(super) issued: Option<(String, Duration)>,
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
    /// Empty where there is none.
    pub(super) proxy: String,
    /// `None` where nobody looked for any: a proxy does that by itself.
    pub(super) addresses: Option<BTreeSet<String>>,
}

/// The way to an endpoint; `report`: what a running mcp-pipe says. `until`: when everything has to be over.
pub(super) async fn endpoint(at: Dialled, report: Option<&Report>, dials: bool, until: Instant) -> Walked {
    let Dialled { name, endpoint, link } = at;
    let key = |id| Key::of(id, &*name);
    let mut checks = Vec::new();
    let told = report.and_then(|report| {
        let is_it = |told: &&crate::control::SeenEndpoint| told.name == name || told.address == name;
        report.endpoints.iter().find(is_it)
    });
    let connected = told.filter(|told| told.well);
    let times =
        agent::times(endpoint.reveal().query(), link.headers.iter().map(|(_, value)| value)).unwrap_or_default();
    let now = SystemTime::now();
    let expired =
        expired(FaultCode::EndpointUnauthorized, "copy a fresh endpoint URL, with its token, from its console");
    checks.push(Check::new(key(TOKEN), token(times, connected.is_some(), expired, now)).after([clock()]));
    let issued = ahead(times, now).map(|ahead| (name.clone(), ahead));
    if let Some(told) = connected {
        checks.push(Check::new(key(CONNECTION), Found::Good(told.words.clone())));
        return Walked { checks, issued, ..Walked::default() };
    }
    let way = probe::endpoint(&endpoint, &link, within(until)).await;
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
        Some(_) | None if dials && walked_to_the_end(&way) => super::dial::dial(&endpoint, &link, until).await,
        Some(_) | None if dials => Found::Skipped("not dialled, as the way there is not free".to_owned()),
        Some(_) | None => Found::Skipped(
            "not dialled: that could take the connection of another program with this token. --dial does it".to_owned(),
        ),
    };
    checks.push(Check::new(key(CONNECTION), connection).after(before));
    Walked { checks, issued, ..walked }
}

/// The way to a remote server, as far as TLS: what it answers, whoever starts it finds out.
pub(super) async fn remote(name: &str, spec: &RemoteSpec, until: Instant) -> Walked {
    let way = probe::remote(&spec.url.origin(), &spec.tls, within(until)).await;
    let walked = steps(&way, &REMOTE, (name, &spec.url.origin().host), DialError::fault_of_remote);
    let times = times_of_remote(spec).unwrap_or_default();
    Walked { issued: ahead(times, SystemTime::now()).map(|ahead| (name.to_owned(), ahead)), ..walked }
}

/// What the token for a remote server says of itself, if there is one that says anything. `is_taken`: whether the server takes it.
pub(super) fn token_of_remote(name: &str, spec: &RemoteSpec, is_taken: bool) -> Option<Check> {
    let expired = expired(FaultCode::RemoteUnauthorized, "write a fresh one into the config");
    let found = token(times_of_remote(spec)?, is_taken, expired, SystemTime::now());
    Some(Check::new(Key::of(TOKEN_OF_REMOTE, name), found).after([Key::of(CONFIG, ""), clock()]))
}

fn times_of_remote(spec: &RemoteSpec) -> Option<agent::Times> {
    let bearer = if let AuthSpec::Bearer(token) = &spec.auth { Some(token) } else { None };
    agent::times(spec.url.reveal().query(), spec.headers.iter().map(|(_, value)| value).chain(bearer))
}

/// The time for one way.
fn within(until: Instant) -> Duration {
    WAY.min(until.saturating_duration_since(Instant::now()))
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

pub(super) const TOKEN_OF_REMOTE: &str = "server.token";
/// The last step of the way to a remote server.
pub(super) const LAST_OF_REMOTE: &str = "server.tls";

/// The steps of a way as checks: those before the one that failed are well, and those behind it follow from it.
fn steps(way: &Way, ids: &Steps, (name, host): (&str, &str), code: impl Fn(&DialError) -> FaultCode) -> Walked {
    let through = way.proxy.as_ref();
    // On the way to the proxy it is the proxy that fails, whatever step that is.
    let failed = way.error.as_ref().map(|error| if through.is_some() { step(error).by_proxy() } else { step(error) });
    let code = |error: &DialError| if failed == Some(Step::Proxy) { ids.through } else { code(error) };
    let common = way.error.as_ref().and_then(|error| common(error, failed == Some(Step::Proxy), way));
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
        let check = Check::new(key(id), found).after([Key::of(CONFIG, "")]).after(before).after(clock);
        checks.push(check.by(common.clone().filter(|_| failed == Some(step))));
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
    if let Some(id) = ids.http {
        let found = way.answer.as_ref().map_or_else(|| Found::Good(String::new()), answered);
        add(Step::Http, id, found);
    }
    let skew = way.date.map(|(theirs, ours)| (name.to_owned(), apart(theirs, ours)));
    let untimely = way.error.as_ref().and_then(untimely);
    let looked_up = through.is_none() && failed != Some(Step::Proxy);
    let addresses = looked_up.then(|| way.addresses.iter().map(|address| address.ip().to_string()).collect());
    let proxy = way.proxy.clone().unwrap_or_default();
    let to =
        (looked_up || through.is_some()).then(|| To { name: name.to_owned(), host: host.to_owned(), proxy, addresses });
    Walked { checks, skew, untimely, to, issued: None }
}

/// What has failed, if other ways may fail by the same thing.
fn common(error: &DialError, is_proxy: bool, way: &Way) -> Option<String> {
    if is_proxy {
        // Of one that can't connect to others it may be those.
        let is_its_own = !matches!(error, DialError::Proxy { .. });
        return is_its_own.then(|| way.proxy.clone().unwrap_or_else(|| error.to_string()));
    }
    if let DialError::Dns { reason, .. } = error {
        return (reason == NO_NAME_SERVER).then(|| reason.clone());
    }
    matches!(error, DialError::Trust { .. }).then(|| error.to_string())
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

/// A time as a token has it.
fn at(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// How long it is until a token is issued, by what it says of itself and this machine's clock.
fn ahead(times: agent::Times, now: SystemTime) -> Option<Duration> {
    // In milliseconds, as some write it, it would be far away.
    let is_meant = |ahead: &Duration| *ahead > SKEW && *ahead < FAR;
    times.since.and_then(at)?.duration_since(now).ok().filter(is_meant)
}

/// That a token is good no longer, with what is to be done then.
fn expired(code: FaultCode, remedy: &str) -> Fault {
    Fault { code: Code::Fault(code), what: String::new(), remedy: remedy.to_owned() }
}

/// What the token says of itself. `expired`: what it means if it is good no longer, and what is to be done then.
fn token(times: agent::Times, is_taken: bool, expired: Fault, now: SystemTime) -> Found {
    let until = times.until.and_then(at);
    if let Some(past) = until.and_then(|until| now.duration_since(until).ok()).filter(|past| !past.is_zero()) {
        let what = format!("its token expired {} ago, by what the token says of itself", span(past));
        return if is_taken {
            Found::Odd { what: format!("{what}, and it is taken all the same"), remedy: expired.remedy }
        } else {
            Found::Bad(Fault { what, ..expired })
        };
    }
    if let Some(ahead) = ahead(times, now) {
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
    // Where others agree with this machine's clock, it is the file or the token that is wrong.
    let is_right = far.is_none() && skews().any(|(_, apart)| apart.unsigned_abs() <= SKEW.as_secs());
    let changed = newest.as_ref().and_then(|(file, at)| {
        let ahead = at.duration_since(now).ok().filter(|ahead| *ahead > SKEW)?;
        Some((format!("{file} was changed"), ahead))
    });
    let issued = || {
        let tokens = walks.iter().filter_map(|walked| walked.issued.as_ref());
        let (name, ahead) = tokens.max_by_key(|(_, ahead)| *ahead)?;
        Some((format!("the token of {name} was issued"), *ahead))
    };
    let ahead = changed.or_else(issued).filter(|_| !is_right);
    let what = match (far, &ahead) {
        (Some((name, apart)), _) => {
            let side = if *apart > 0 { "behind" } else { "ahead of" };
            Some(format!(
                "this machine's clock is {} {side} that of {name}",
                span(Duration::from_secs(apart.unsigned_abs()))
            ))
        }
        (None, Some((event, ahead))) => {
            Some(format!("this machine's clock is behind: {event} {} from now by it", span(*ahead)))
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
            let other = Walked { skew: Some(("f".into(), apart)), ..Walked::default() };
            let walks = [Walked { untimely: expired.untimely, ..Walked::default() }, other];
            matches!(clock_of(&walks, Some(("c.json".into(), now - newest)), now).found, Found::Bad(_))
        };
        let (day, week) = (Duration::from_hours(24), Duration::from_hours(7 * 24));
        assert!(!clock(7200, day) && clock(-7200, day));
        assert!(!clock(-10 * 86_400, week), "theirs stands before our own file");
    }

    #[test]
    fn a_token_from_the_future_and_a_certificate_that_is_not_valid_yet_agree_on_the_clock() {
        let now = SystemTime::now();
        let found = |untimely, skew: Option<i64>| {
            let early = Walked { untimely, issued: Some(("e".into(), Duration::from_hours(144))), ..Walked::default() };
            let other = Walked { skew: skew.map(|apart| ("f".into(), apart)), ..Walked::default() };
            clock_of(&[early, other], None, now).found
        };
        let Found::Bad(fault) = found(Some(Untimely::Future), None) else { panic!("they agree") };
        let want = "this machine's clock is behind: the token of e was issued 6 days from now by it, so certificates";
        assert!(fault.code == Code::ClockWrong && fault.what.starts_with(want), "{fault:?}");
        // A clock that is behind has nothing expire, and alone a token says only so much.
        assert!(matches!(found(Some(Untimely::Past), None), Found::Odd { .. }));
        assert!(matches!(found(None, None), Found::Odd { .. }));
        assert!(matches!(found(Some(Untimely::Future), Some(3)), Found::Good(_)), "another clock agrees with ours");
    }

    #[test]
    fn the_times_of_a_token_are_told_in_words() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let told = |until: Option<u64>, since: Option<u64>, is_taken| {
            let expired = expired(FaultCode::RemoteUnauthorized, "write a fresh one");
            token(agent::Times { until, since }, is_taken, expired, now)
        };
        let good = |what: &str| Found::Good(what.to_owned());
        assert_eq!(told(Some(1_007_200), None, false), good("good for 2 h 0 min more, by what it says of itself"));
        assert_eq!(told(None, Some(900_000), false), good("says nothing of how long it is good"));
        let Found::Bad(fault) = told(Some(992_800), None, false) else { panic!("it has expired") };
        assert_eq!(fault.what, "its token expired 2 h 0 min ago, by what the token says of itself");
        assert_eq!((fault.code.as_str(), fault.remedy.as_str()), ("remote-unauthorized", "write a fresh one"));
        let Found::Odd { what, .. } = told(Some(992_800), None, true) else { panic!("it is taken") };
        assert!(what.ends_with("and it is taken all the same"), "{what}");
        let Found::Odd { what, .. } = told(None, Some(1_007_200), false) else { panic!("it is early") };
        assert_eq!(what, "its token was issued 2 h 0 min from now, by this machine's clock");
        assert_eq!(
            told(None, Some(1_000_000_000_000), false),
            good("says nothing of how long it is good"),
            "milliseconds"
        );
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning() {
        let of = |days: u64| {
            let good_until = Some(SystemTime::now() + Duration::from_hours(24 * days + 1));
            statuses(&Way { good_until, ..way(None) }).swap_remove(2)
        };
        assert_eq!([13, 15].map(of), ["endpoint.tls WARN", "endpoint.tls PASS"]);
    }

    #[test]
    fn one_proxy_or_name_server_that_fails_is_one_root_for_endpoints_and_remote_servers() {
        let targets = |a: Way, b: Way| {
            let e = steps(&a, &ENDPOINT, ("e", "h"), DialError::fault);
            let r = steps(&b, &REMOTE, ("r", "i"), DialError::fault_of_remote);
            let verdict = judge(e.checks.into_iter().chain(r.checks).collect());
            verdict
                .roots
                .iter()
                .map(|root| format!("{} {}", root.code.as_str(), root.targets.join(", ")))
                .collect::<Vec<_>>()
        };
        let proxy = |error| Way { proxy: Some("the proxy http://p:1".into()), ..way(Some(error)) };
        let refused = || proxy(DialError::Refused { peer: "the proxy http://p:1".into() });
        assert_eq!(targets(refused(), refused()), ["endpoint-proxy e, r"]);
        let rejected = || proxy(DialError::ProxyRejected { proxy: "the proxy http://p:1".into(), reason: "x" });
        assert_eq!(targets(rejected(), refused()), ["endpoint-proxy e, r"]);
        let unusable = || way(Some(DialError::ProxyUnusable { variable: "HTTP_PROXY", reason: "x" }));
        assert_eq!(targets(unusable(), unusable()), ["endpoint-proxy e, r"]);
        let dns = |host: &str, reason: &str| way(Some(DialError::Dns { host: host.into(), reason: reason.into() }));
        assert_eq!(targets(dns("h", NO_NAME_SERVER), dns("i", NO_NAME_SERVER)), ["endpoint-dns e, r"]);
        assert_eq!(targets(dns("h", "x"), dns("i", "x")), ["endpoint-dns e", "remote-dns r"], "two names");
        let trust = || way(Some(DialError::Trust { what: "SSL_CERT_FILE can't be read".into(), remedy: "x" }));
        assert_eq!(targets(trust(), trust()), ["endpoint-tls e, r"]);
    }

    #[test]
    fn a_clock_is_compared_with_those_of_others() {
        let now = SystemTime::now();
        let walked = |apart| Walked { skew: Some(("e".into(), apart)), ..Walked::default() };
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
            match answered(&Answer { status, words }) {
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
