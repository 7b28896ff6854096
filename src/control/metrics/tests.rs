#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use super::*;
use crate::config::{Bounds, BreakerSpec, ServerSpec};
use crate::control::figures::ToolPlaces;
use crate::control::journal::{LinkEnd, LinkNews, ServerNews, Then};
use crate::control::status::{Caller, Refusal, TokenCount};
use crate::error::FaultCode;
use crate::link::cause::Cause;
use crate::logging::Names;
use crate::net::error::DialError;
use crate::router::{Checked, CountedCall, Outcome};
use crate::secrecy::Secret;

const SOON: Duration = Duration::from_secs(2);

#[test]
fn the_format_is_the_one_that_is_wanted_most() {
    for (accept, want) in [
        ("", Format::Classic),
        ("*/*", Format::Classic),
        ("text/plain", Format::Classic),
        ("text/html,*/*;q=0.8", Format::Classic),
        ("application/openmetrics-text", Format::OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text; version=1.0.0; q=0.4", Format::Classic),
        ("Application/OpenMetrics-Text; Q=1", Format::OpenMetrics),
        ("application/openmetrics-text;q=0", Format::Classic),
        ("application/openmetrics-text;q=x", Format::Classic),
    ] {
        assert_eq!(Format::accepted(accept), want, "{accept}");
    }
}

/// A state in which there is something of everything.
fn busy() -> (Status, impl Sized) {
    let status = Status::new([Secret::new("ab1cd2e")].into_iter().collect());
    let server = status.add_server("calc \"1\"\nab1cd2e");
    let breaker = Some(BreakerSpec { failures: 1, open_for: SOON });
    let bounds = Bounds { breaker, ..Bounds::default() };
    server.configured(&ServerSpec { bounds, ..ServerSpec::sample("calc", "", &[]) });
    let link = status.add_link(&"wss://h/mcp/?token=ab1cd2e".parse().unwrap(), None);
    let mut tools = ToolPlaces::default();
    server.listed(&["add", "ab1cd2e"], &mut tools);
    let call = |method: &'static str, tool: &'static str, outcome| CountedCall {
        method: method.as_bytes(),
        tool: tool.as_bytes(),
        outcome,
        trace: None,
    };
    server.answered(call("tools/call", "add", Outcome::Ok), &tools, SOON);
    server.answered(call("tools/call", "ab1cd2e", Outcome::ToolError), &tools, SOON);
    server.lost(call("prompts/get", "", Outcome::Timeout), &tools);
    status.besides().unplaced(call("tools/call", "ab1cd2e", Outcome::Refused));
    server.traffic().received(10);
    let why = "exited with code 1";
    #[cfg(unix)]
    let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    #[cfg(not(unix))]
    let group = 1;
    let exited = || ServerNews::Exited {
        pid: None,
        fault: Some(FaultCode::ServerExited),
        why,
        last_words: "",
        tail: "",
        failures: 1,
        again: Some(SOON),
    };
    let started = |pid| ServerNews::Started { pid, program: "x", fetcher: None };
    [started(1), exited(), started(group)].into_iter().for_each(|news| server.note(news));
    server.note(ServerNews::Checked(&Checked::Well { took: SOON, after: None }));
    server.note(ServerNews::LimitMet { fault: FaultCode::OpenFilesLimit, told: "out of files to open" });
    let names = Names::from_iter([]);
    link.write(&names, LinkNews::Opened { took: SOON });
    link.write(&names, LinkNews::Initialized { took: SOON });
    let cause = Cause::Dial(DialError::Refused { peer: "h:443".into() });
    link.write(
        &names,
        LinkNews::Down(LinkEnd {
            cause: &cause,
            why: "refused",
            stood: true,
            retry_in: SOON,
            then: Then::Again,
            redialled: false,
            by_servers: false,
        }),
    );
    status.set_gateway(Some("http://127.0.0.1:1/mcp".into()));
    let token = Arc::new(TokenCount::of("kitchen".into()));
    status.set_tokens(vec![token.clone()]);
    let caller = status.count_caller(&token, Caller::Robot, 9);
    status.refused(Refusal::Key);
    status.reloaded(true);
    let present = status.besides().come();
    status.besides().looked_up(true);
    (status, (server, link, caller, present))
}

async fn page(status: &Status, format: Format) -> String {
    Metrics::of(status.clone(), String::new()).page(format).await
}

#[tokio::test]
async fn what_is_counted_is_told_and_no_secret_is() {
    let (status, _held) = busy();
    for format in [Format::Classic, Format::OpenMetrics] {
        let page = page(&status, format).await;
        assert!(!page.contains("ab1cd2e"), "{page}");
        for line in [
            r#"mcp_pipe_calls_total{server="calc \"1\"\n…",method="tools/call",tool="add",outcome="ok"} 1"#,
            r#"mcp_pipe_calls_total{server="calc \"1\"\n…",method="tools/call",tool="…",outcome="tool_error"} 1"#,
            r#"mcp_pipe_calls_total{server="calc \"1\"\n…",method="prompts/get",tool="",outcome="timeout"} 1"#,
            r#"mcp_pipe_calls_total{server="",method="tools/call",tool="other",outcome="refused"} 1"#,
            r#"mcp_pipe_call_duration_seconds_count{server="calc \"1\"\n…",method="tools/call"} 2"#,
            r#"mcp_pipe_server_restarts_total{server="calc \"1\"\n…",cause="server-exited"} 1"#,
            r#"mcp_pipe_server_limits_met_total{server="calc \"1\"\n…",cause="open-files-limit"} 1"#,
            r#"mcp_pipe_server_received_bytes_total{server="calc \"1\"\n…"} 10"#,
            r#"mcp_pipe_link_reconnects_total{endpoint="wss://h/mcp/?token=…",cause="endpoint-refused"} 1"#,
            r#"mcp_pipe_gateway_callers{token="kitchen",kind="robot"} 1"#,
            r#"mcp_pipe_gateway_refused_total{reason="key"} 1"#,
            r#"mcp_pipe_peers{kind="client"} 1"#,
            r#"mcp_pipe_cache_lookups_total{result="hit"} 1"#,
            r#"mcp_pipe_config_reloads_total{result="done"} 1"#,
        ] {
            let is_there = page.lines().any(|told| told.strip_suffix(".0").unwrap_or(told) == line);
            assert!(is_there, "{line} is not in {page}");
        }
    }
}

/// The samples of a page: series and value.
fn samples(page: &str) -> Vec<(&str, f64)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').map(|(series, value)| (series, value.parse().unwrap())).unwrap()).collect()
}

#[tokio::test]
async fn no_series_is_told_twice_and_both_formats_tell_the_same() {
    let (status, _held) = busy();
    let _twin = status.add_server("calc \"1\"\nab1cd2e");
    let metrics = Metrics::of(status, String::new());
    let (classic, open) = (metrics.page(Format::Classic).await, metrics.page(Format::OpenMetrics).await);
    // Where among the labels `le` stands is not the same.
    let plain = |page: &str| {
        let sorted = |series: &str| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut labels: Vec<_> =
                labels.trim_end_matches('}').split("\",").map(|it| it.trim_end_matches('"').to_owned()).collect();
            labels.sort();
            (name.to_owned(), labels)
        };
        samples(page).into_iter().map(|(series, _)| sorted(series)).collect::<Vec<_>>()
    };
    let (classic, open) = (plain(&classic), plain(&open));
    let all: BTreeSet<_> = classic.iter().collect();
    assert_eq!((all.len(), open.len()), (classic.len(), classic.len()));
    assert_eq!(all, open.iter().collect());
}

#[tokio::test]
async fn the_table_of_series_tells_all_that_there_are_and_their_labels() {
    let table = include_str!("../../../docs/METRICS.md");
    let cells = |line: &'static str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    let rows = table.lines().filter(|line| line.starts_with("| `mcp_pipe_")).map(cells);
    let told: BTreeSet<(String, String)> = rows.map(|cells| (cells[1].clone(), cells[2].clone())).collect();
    let (status, _held) = busy();
    let page = page(&status, Format::Classic).await;
    let mut there = BTreeSet::new();
    for (series, _) in samples(&page) {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
        let names: Vec<&str> = names.filter(|name| *name != "le").collect();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        there.insert((of_histogram.unwrap_or(name).to_owned(), names.join(", ")));
    }
    if cfg!(target_os = "linux") {
        assert_eq!(told, there);
    } else {
        assert!(told.is_superset(&there));
    }
}
