//! What a server or a link is doing, in words for a person. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::figures::Counted;
use super::status::{
    CircuitState, HealthState, HealthStatus, LinkState, LinkStatus, Overview, ServerState, ServerStatus, TurnState,
};
use crate::error::FaultCode;
use crate::process::memory::Memory;
use crate::server::wanted::Wanted;
use crate::words::{counted, listed, span};

/// Shortest start of which a reason is given: most servers answer sooner.
const SOON: Duration = Duration::from_secs(3);
/// Longest piece of a server's last line, in characters.
const LAST_LINE: usize = 120;
/// Most servers that are named in a line.
const SHOWN: usize = 5;

/// What is told of a server that is not started, as nothing here is to show it.
pub(super) const HELD_BACK: &str = "not started: waits for its agent, which another mcp-pipe serves";
/// The same where leases say who serves: whether anybody does is told of the endpoint.
const STANDS_BY: &str = "not started: waits for the lease of its agent";

/// What a server is doing, and what is to be known of it.
pub(super) fn of_server(
    server: &ServerStatus,
    (calls, memory, last_line): (Counted, Option<Memory>, Option<&str>),
    all: &Overview,
    now: Instant,
) -> String {
    let mut said = match server.wanted {
        Wanted::Running if all.stands_by(server) => STANDS_BY.to_owned(),
        Wanted::Running if all.is_held_back(server) => HELD_BACK.to_owned(),
        Wanted::Running => doing(server, last_line, now),
        Wanted::Paused => format!("paused (takes no calls), {}", doing(server, last_line, now)),
        Wanted::Stopped if server.state == ServerState::Stopped => "stopped by command".to_owned(),
        Wanted::Stopped => "is being stopped by command".to_owned(),
    };
    match server.circuit {
        Some(CircuitState::Open { until, .. }) => {
            let left = span(until.saturating_duration_since(now));
            said += &format!("; its circuit is open, and it gets no calls for {left}");
        }
        Some(CircuitState::HalfOpen) => said += "; its circuit is half-open: the next call tries whether it answers",
        Some(CircuitState::Closed) | None => {}
    }
    if server.cut_off > 0 {
        said += &format!("; {}", of_some_circuits(server));
    }
    let turns = all.links.iter().filter_map(|link| link.shown(server.key)?.turn);
    // A stopped server waits for nothing.
    for TurnState { current, pinned } in turns.filter(|turn| turn.current || server.wanted != Wanted::Stopped) {
        said += if current { ", its turn" } else { ", waits for its turn" };
        said += if pinned { ", pinned" } else { "" };
    }
    let processes = server.process.iter().chain(&server.further);
    let pids: Vec<String> = processes.map(|process| process.pid.to_string()).collect();
    if !pids.is_empty() {
        let own = pids.len();
        said +=
            &if own == 1 { "; process ".to_owned() } else { format!("; {own} processes, {}: ", why_several(server)) };
        said += &listed(pids.into_iter().take(SHOWN).collect(), own);
        match memory {
            Some(Memory { bytes, processes, .. }) if processes <= own => said += &format!(", {}", mebibytes(bytes)),
            Some(Memory { bytes, processes, .. }) => {
                said += &format!(" and {} more, {}", processes - own, mebibytes(bytes));
            }
            None => {}
        }
    }
    let Counted { calls, errors, p50, p99 } = calls;
    if calls > 0 {
        said += &format!("; {}", counted(usize::try_from(calls).unwrap_or(usize::MAX), "call"));
        if errors > 0 {
            said += &format!(", {errors} with an error");
        }
        if let (Some(p50), Some(p99)) = (p50, p99) {
            let span = |micros| span(Duration::from_micros(micros));
            said += &format!(", p50 {}, p99 {}", span(p50), span(p99));
        }
    }
    if let Some(health) = &server.health {
        said += &format!("; {}", of_health(health, now));
    }
    if server.restarts > 0 && server.state == ServerState::Serving {
        said += &format!("; {}", restarts(server));
    }
    said
}

/// Why a server gets no calls whose circuit is open.
pub(super) fn of_circuit(server: &ServerStatus) -> Option<String> {
    let Some(CircuitState::Open { failures, .. }) = server.circuit else { return None };
    let calls = if failures == 1 { "a call".to_owned() } else { format!("{} in a row", counted(failures, "call")) };
    Some(format!("{calls} got no answer, so it gets none for a while (circuitBreaker)"))
}

/// How many of a server's processes get no calls, while others do.
pub(super) fn of_some_circuits(server: &ServerStatus) -> String {
    let (all, n) = (server.replicas.unwrap_or(1), server.cut_off);
    let (circuits, get) =
        if n == 1 { ("the circuit", "is open, and it gets") } else { ("the circuits", "are open, and they get") };
    format!("{circuits} of {n} of its {all} processes {get} no calls for a while (circuitBreaker)")
}

/// What a server's health check has shown.
fn of_health(HealthStatus { state, since, at, why }: &HealthStatus, now: Instant) -> String {
    let for_long = || span(now.saturating_duration_since(*since));
    match state {
        HealthState::Healthy { took_micros } => {
            let (took, ago) = (Duration::from_micros(*took_micros), now.saturating_duration_since(*at));
            format!("healthy: answered its check in {} {} ago", span(took), span(ago))
        }
        HealthState::Busy => format!("busy for {}: has not answered its health check, and works", for_long()),
        HealthState::Failing { times } => {
            let checks = counted(*times as usize, "health check");
            format!("has failed {checks} in {}: {why}", for_long())
        }
        HealthState::Unlisted => why.clone(),
    }
}

/// What the processes of a server are there for.
fn why_several(server: &ServerStatus) -> &'static str {
    if server.replicas.is_some() {
        return "which share its work";
    }
    let of_peers = server.further.iter().any(|process| !process.of_era);
    match server.further.iter().any(|process| process.of_era) {
        true if of_peers => "one for each endpoint that uses it, and one for clients of MCP 2026-07-28",
        true => "of which one is for clients of MCP 2026-07-28",
        false => "one for each endpoint that uses it",
    }
}

fn restarts(server: &ServerStatus) -> String {
    counted(usize::try_from(server.restarts).unwrap_or(usize::MAX), "restart")
}

/// How often the server has been started again after its own end, where it has been.
fn restarted(server: &ServerStatus) -> String {
    if server.restarts > 0 { format!(" ({})", restarts(server)) } else { String::new() }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn doing(server: &ServerStatus, last_line: Option<&str>, now: Instant) -> String {
    let lasted = now.saturating_duration_since(server.since);
    let since = span(lasted);
    match &server.state {
        ServerState::Serving if server.fault == Some(FaultCode::ServerHangs) => {
            format!("serving, but {}", server.why)
        }
        ServerState::Serving => match server.replicas {
            Some(wanted) if server.further.len() + usize::from(server.process.is_some()) < wanted => {
                let there = server.further.len() + usize::from(server.process.is_some());
                format!("serving for {since}, by {there} of {wanted} replicas")
            }
            Some(_) | None => format!("serving for {since}"),
        },
        ServerState::Silent => format!("silent: {}", server.why),
        ServerState::Stopped => "stopped".to_owned(),
        ServerState::Refusing(_) => format!("{}{}", server.why, next(server.retry_at, now)),
        ServerState::Down(_) => {
            let what = if server.fault == Some(FaultCode::ServerCrashLoop) { "crash loop" } else { "down" };
            format!("{what}: {}{}{}", server.why, restarted(server), next(server.retry_at, now))
        }
        ServerState::Starting => {
            let started = server.process.as_ref().map_or(server.since, |process| process.at);
            let for_long = now.saturating_duration_since(started);
            let again = match server.fault {
                Some(FaultCode::ServerCrashLoop) => format!("crash loop: {}{}; ", server.why, restarted(server)),
                Some(FaultCode::ServerNotReady) | None => String::new(),
                Some(_) => format!("{}; ", server.why),
            };
            let again = if again.is_empty() { "starting".to_owned() } else { format!("{again}starting again") };
            format!("{again} for {}{}", span(for_long), why_so_long(server, last_line, for_long))
        }
    }
}

/// What is known of a start that takes long.
fn why_so_long(server: &ServerStatus, last_line: Option<&str>, for_long: Duration) -> String {
    let Some(process) = server.process.as_ref().filter(|_| for_long >= SOON) else { return String::new() };
    if let Some(line) = last_line {
        let end = line.char_indices().nth(LAST_LINE).map_or(line.len(), |(at, _)| at);
        return format!(": it last wrote \"{}{}\"", &line[..end], if end < line.len() { "…" } else { "" });
    }
    match &process.fetcher {
        Some(fetcher) => format!(": {fetcher} may still be downloading it"),
        None => ": it has not answered initialize".to_owned(),
    }
}

/// What a link is doing.
pub(super) fn of_link(link: &LinkStatus, all: &Overview, now: Instant) -> String {
    let since = span(now.saturating_duration_since(link.since));
    let because = all.reasons_of(link);
    let servers = |names: &[&str]| listed(names.iter().take(SHOWN).collect(), names.len());
    let mut said = match &link.state {
        LinkState::Resting if !because.is_empty() => format!("not dialled yet: waits for {}", servers(&because)),
        LinkState::Resting if !link.dialled && !all.needs(link, None) && !link.servers.is_empty() => {
            "not dialled while its servers are stopped by command".to_owned()
        }
        LinkState::Resting if link.dialled => format!("is being dialled for {since}"),
        LinkState::Resting => "not dialled yet".to_owned(),
        LinkState::Connected => format!("connected for {since}"),
        LinkState::Down(why) => {
            let then = match until(link.retry_at, now) {
                Some(wait) => format!("waits {} for the next attempt", span(wait)),
                None if link.retry_at.is_some() => "is being dialled again".to_owned(),
                None => "not dialled".to_owned(),
            };
            let follows =
                if because.is_empty() { String::new() } else { format!(" (because of {})", servers(&because)) };
            format!("not connected for {since}: {why}{follows}; {then}")
        }
        LinkState::Standby(why) => format!("standby for {since}: {why}"),
    };
    if link.state == LinkState::Connected {
        match link.tools {
            Some(tools) => said += &format!(", {}", counted(tools, "tool")),
            None if link.unasked => said += ", has asked for nothing yet",
            None => {}
        }
        if let Some(close) = &link.last_close {
            let ago = span(now.saturating_duration_since(close.at));
            said += &format!("; the last connection ended {ago} ago: {}", close.why);
        }
    }
    let names: Vec<&str> = link.servers.iter().map(|shown| all.name_of(shown.key)).collect();
    format!("{said}; serves {}", servers(&names))
}

/// When the next attempt is.
fn next(at: Option<Instant>, now: Instant) -> String {
    until(at, now).map_or_else(String::new, |wait| format!("; waits {} for the next attempt", span(wait)))
}

/// How long until then, if it is still to come.
pub(super) fn until(at: Option<Instant>, now: Instant) -> Option<Duration> {
    at.and_then(|at| at.checked_duration_since(now)).filter(|time| !time.is_zero())
}
