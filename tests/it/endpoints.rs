//! Named endpoints: one set of servers, shown to many, to each as its config says.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::control::Runtime;
use crate::harness::{Conn, FakeEndpoint, field, fixture_entry, names, report, text_of, within};

/// How many endpoints there are, how many servers, and how many calls each endpoint has under way at once.
const ENDPOINTS: usize = 30;
const SERVERS: usize = 10;
const CALLS: usize = 50;

fn server(n: usize) -> String {
    format!("s{n}")
}

/// What an endpoint hides, in both ways of naming a tool: one by the name that it would see, one by `SERVER__TOOL`. One of three
/// endpoints has a list of what it shows instead.
fn filter(endpoint: usize) -> Value {
    let (one, other) = (server(endpoint % SERVERS), server((endpoint + 1) % SERVERS));
    match endpoint % 3 {
        0 => json!({"deny": [format!("{one}__add"), format!("{other}__b*")]}),
        1 => json!({"deny": [format!("{one}__*")]}),
        _ => json!({"allow": ["*__pid", "*__sleep", format!("{one}__*")], "deny": [format!("{one}__touch")]}),
    }
}

/// Whether an endpoint with that filter shows a tool.
fn is_shown(endpoint: usize, of: usize, tool: &str) -> bool {
    let (one, other) = (of == endpoint % SERVERS, of == (endpoint + 1) % SERVERS);
    match endpoint % 3 {
        0 => !(one && tool == "add" || other && tool.starts_with('b')),
        1 => !one,
        _ => (tool == "pid" || tool == "sleep" || one) && !(one && tool == "touch"),
    }
}

const TOOLS: [&str; 9] = ["echo", "add", "sleep", "pid", "exit", "big", "env", "grow", "touch"];

/// What an endpoint is told to see, called, and given back.
async fn is_its_own(conn: &mut Conn, endpoint: usize) -> BTreeSet<i32> {
    let list = conn.handshake().await;
    let listed: BTreeSet<&str> = names(&list).into_iter().collect();
    let mut pids = BTreeSet::new();
    for of in 0..SERVERS {
        for tool in TOOLS {
            let name = format!("{}__{tool}", server(of));
            assert_eq!(listed.contains(&*name), is_shown(endpoint, of, tool), "{name} at endpoint {endpoint}");
        }
    }
    for (id, name) in (100..).zip(&listed) {
        // Whatever its arguments are worth: it goes to its server and comes back.
        let tool = name.split_once("__").unwrap().1;
        if tool == "exit" || tool == "grow" || tool == "touch" {
            continue;
        }
        let arguments = json!({"text": name, "a": 1, "b": 2, "ms": 0, "bytes": 3, "name": "NO_SUCH"});
        let answer = conn.call(id, name, arguments).await;
        let text = text_of(&answer);
        match tool {
            "pid" => drop(pids.insert(text.parse().unwrap())),
            "echo" => assert_eq!(text, *name),
            "add" => assert_eq!(text, "3"),
            _ => {}
        }
    }
    // What is hidden can't be called either.
    for (id, (of, tool)) in (900..).zip((0..SERVERS).flat_map(|of| TOOLS.map(|tool| (of, tool)))) {
        if !is_shown(endpoint, of, tool) {
            let answer = conn.call(id, &format!("{}__{tool}", server(of)), json!({"a": 1, "b": 2, "code": 9})).await;
            assert!(answer["error"]["message"].as_str().is_some(), "{answer}");
        }
    }
    pids
}

/// Calls that are all under way at once, with the ids and progress tokens that every other endpoint uses, too. `gate` is a file
/// without which those that are to be cancelled don't end.
async fn calls_under_way(conn: &mut Conn, endpoint: usize, gate: &str) {
    for call in 0..CALLS {
        let name = format!("{}__sleep", server(callee(endpoint, call)));
        // A time of its own tells by its answer whose call it was.
        let mut arguments = json!({"ms": ms(endpoint, call)});
        if is_cancelled(endpoint, call) {
            arguments["until"] = gate.into();
        }
        let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": call}});
        conn.send(json!({"jsonrpc": "2.0", "id": call, "method": "tools/call", "params": params})).await;
    }
    for call in (0..CALLS).filter(|call| is_cancelled(endpoint, *call)) {
        let params = json!({"requestId": call});
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
    }
}

/// Which server a call is for, one that shows `sleep` there.
fn callee(endpoint: usize, call: usize) -> usize {
    let of = call % SERVERS;
    if is_shown(endpoint, of, "sleep") { of } else { (of + 1) % SERVERS }
}

fn ms(endpoint: usize, call: usize) -> usize {
    endpoint * CALLS + call
}

/// Whether a call is cancelled: other ones at each endpoint.
fn is_cancelled(endpoint: usize, call: usize) -> bool {
    (call + endpoint).is_multiple_of(10)
}

/// The answers and the progress of all calls that were not cancelled, and nothing else.
async fn got_its_own(conn: &mut Conn, endpoint: usize) {
    let kept: BTreeSet<usize> = (0..CALLS).filter(|call| !is_cancelled(endpoint, *call)).collect();
    for call in &kept {
        let answer = conn.answer_to(*call as u64).await;
        assert_eq!(text_of(&answer), format!("slept {} ms", ms(endpoint, *call)), "endpoint {endpoint}: {answer}");
    }
    let progress = conn.others.iter().filter(|frame| frame["method"] == "notifications/progress");
    let mut told: Vec<usize> =
        progress.map(|frame| frame["params"]["progressToken"].as_u64().unwrap() as usize).collect();
    told.sort_unstable();
    assert!(told.iter().collect::<BTreeSet<_>>().len() == told.len(), "endpoint {endpoint}: twice: {told:?}");
    assert!(kept.iter().eq(&told), "endpoint {endpoint} got other progress than its own: {told:?}");
    // A call that was cancelled gets no answer, and each server has taken the cancellations by the time it answers another one.
    for (id, of) in (5000..).zip(0..SERVERS) {
        conn.call(id, &format!("{}__pid", server(callee(endpoint, of))), json!({})).await;
    }
    let open: BTreeSet<String> =
        (0..CALLS).filter(|call| is_cancelled(endpoint, *call)).map(|id| id.to_string()).collect();
    assert_eq!(*conn.unanswered(), open, "endpoint {endpoint}");
}

#[tokio::test]
async fn thirty_endpoints_share_ten_servers_and_each_sees_what_its_config_says() {
    let begun = std::time::Instant::now();
    let runtime = Runtime::new();
    let mut endpoints = Vec::new();
    let mut written = Map::new();
    for n in 0..ENDPOINTS {
        let endpoint = FakeEndpoint::with_token(&format!("t0ken-of-{n:02}")).await;
        let entry = json!({"url": endpoint.url(), "mode": "multiplex", "naming": "prefix", "tools": filter(n)});
        written.insert(format!("e{n:02}"), entry);
        endpoints.push(endpoint);
    }
    let servers: Map<_, _> = (0..SERVERS).map(|n| (server(n), fixture_entry(&["--name", &server(n)]))).collect();
    let config = json!({"endpoints": written, "mcpServers": servers});
    let mut daemon = runtime.setup().config(&config).start("info");
    let mut conns = Vec::new();
    for endpoint in &endpoints {
        conns.push(endpoint.accept().await);
    }
    let of_all = futures_util::future::join_all(conns.iter_mut().enumerate().map(|(n, conn)| is_its_own(conn, n)));
    let pids: BTreeSet<i32> = of_all.await.into_iter().flatten().collect();
    assert_eq!(pids.len(), SERVERS, "{pids:?}");
    let fixtures = daemon.processes().values().filter(|line| line.contains("--name s")).count();
    assert_eq!(fixtures, SERVERS, "{:?}", daemon.processes());

    let gate = daemon.path().join("gate");
    let path = gate.to_str().unwrap().to_owned();
    let all = conns.iter_mut().enumerate().map(|(n, conn)| calls_under_way(conn, n, &path));
    futures_util::future::join_all(all).await;
    let all = conns.iter_mut().enumerate().map(|(n, conn)| got_its_own(conn, n));
    futures_util::future::join_all(all).await;
    fs::write(&gate, "").unwrap();
    let cancelled = async {
        let is_it = |line: &&Value| line.to_string().contains("cancelled ");
        while daemon.log_lines().iter().filter(is_it).count() < ENDPOINTS * CALLS / 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("each cancellation at its server", cancelled).await;
    report(&format!("{ENDPOINTS} endpoints, {SERVERS} servers: {:?}", begun.elapsed()));

    let status = runtime.ask(&["status"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.out.contains("e00") && status.out.contains("e29"), "by their names: {}", status.out);
    // A command that names one is about that one, though all others show the same servers.
    let restarted = tokio::join!(runtime.ask(&["restart", "e03"]), async {
        let mut again = endpoints[3].accept().await;
        again.handshake().await;
        again
    });
    assert_eq!((restarted.0.code, &*restarted.0.out), (0, "e03: connected anew\n"), "{:?}", restarted.0);
    assert_eq!(conns[3].wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
    conns[3] = restarted.1;
    let status = runtime.ask(&["status", "e03"]).await;
    assert!(status.out.contains("endpoint e03") && !status.out.contains("e04"), "{status:?}");
    let text = format!("{}{}{}", daemon.log_text(), status.out, runtime.ask(&["logs", "-n", "1000"]).await.out);
    assert!(!text.contains("t0ken-of"), "a token is told");
    let started = daemon.log_lines().iter().filter(|line| field(line, "event") == Some("SERVER_STARTED")).count();
    assert_eq!((started, endpoints.iter().map(FakeEndpoint::accepted).sum::<usize>()), (SERVERS, ENDPOINTS + 1));
    daemon.signal(rustix::process::Signal::TERM);
    let closes = futures_util::future::join_all(conns.iter_mut().map(Conn::wait_for_close)).await;
    assert!(closes.iter().all(|close| close.as_ref().is_some_and(|close| u16::from(close.code) == 1000)), "{closes:?}");
    assert!(daemon.exit().await.success());
    daemon.assert_nothing_left_within(Duration::from_secs(5));
}

#[tokio::test]
async fn one_endpoint_has_servers_in_turns_while_another_has_all_of_them() {
    let (kitchen, office) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let config = json!({
        "endpoints": {
            "kitchen": {"url": kitchen.url(), "mode": "sequential"},
            "office": {"url": office.url(), "mode": "multiplex"},
        },
        "mcpServers": {"a": fixture_entry(&["--name", "a"]), "b": fixture_entry(&["--name", "b"])},
    });
    let runtime = Runtime::new();
    let daemon = runtime.setup().config(&config).start("info");
    let (mut in_turns, mut whole) = (kitchen.accept().await, office.accept().await);
    in_turns.handshake().await;
    whole.handshake().await;
    let mut pids = Vec::new();
    for (id, name) in (20..).zip(["a__pid", "b__pid"]) {
        pids.push(text_of(&whole.call(id, name, json!({})).await).to_owned());
    }
    assert_eq!(text_of(&in_turns.call(20, "pid", json!({})).await), pids[0]);
    for (id, turn) in (30..).zip([1, 0, 1]) {
        let told = runtime.ask(&["next", "kitchen"]).await;
        assert_eq!((told.code, &*told.err), (0, ""), "{told:?}");
        assert_eq!(in_turns.wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
        in_turns = kitchen.accept().await;
        in_turns.handshake().await;
        assert_eq!(text_of(&in_turns.call(20, "pid", json!({})).await), pids[turn]);
        assert_eq!(text_of(&whole.call(id, "b__pid", json!({})).await), pids[1]);
    }
    let refused = runtime.ask(&["next", "office"]).await;
    assert!(refused.code == 1 && refused.err.contains("takes no turns"), "{refused:?}");
    let pinned = runtime.ask(&["pin", "a"]).await;
    assert_eq!((pinned.code, &*pinned.err), (0, ""), "the turns are the kitchen's: {pinned:?}");
    assert_eq!(in_turns.wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
    in_turns = kitchen.accept().await;
    in_turns.handshake().await;
    assert_eq!(text_of(&in_turns.call(20, "pid", json!({})).await), pids[0]);
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let of = |name: &str| status["servers"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!(of("a")["restarts"], 0, "{status}");
    assert_eq!((kitchen.accepted(), office.accepted()), (5, 1));
    let log = daemon.log_text();
    assert!(log.contains(r#""endpoint":"kitchen""#) && log.contains("its turn is over"), "{log}");
    daemon.stop_closing([&mut in_turns, &mut whole]).await;
}

#[tokio::test]
async fn patterns_of_an_endpoint_that_fit_no_tool_are_told_once_the_tools_are_known_and_after_a_change() {
    let runtime = Runtime::new();
    let (one, two) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let servers = json!({"lamp": fixture_entry(&[]), "clock": fixture_entry(&[])});
    let mut config = json!({"endpoints": {
        "kitchen": {"url": one.url(), "mode": "multiplex", "tools": {"deny": ["lamp__ech", "clock__p*", "add"]}},
        "office": {"url": two.url(), "mode": "per-server", "tools": {"allow": ["clock__pid", "lamp__pid", "slep"]}},
    }, "mcpServers": servers});
    let daemon = runtime.setup().config(&config).start("info");
    let mut conns = vec![one.accept().await, two.accept().await, two.accept().await];
    for conn in &mut conns {
        conn.handshake().await;
    }
    let told = async |text: &str| {
        let is_it = |line: &Value| field(line, "message").is_some_and(|said| said.contains(text));
        let line = daemon.wait_for(text, is_it).await;
        assert_eq!(field(&line, "event"), Some("CONFIG_WARNING"), "{line}");
        line
    };
    // In the naming of this connection `add` alone is no tool's name.
    let line = told("endpoints.kitchen.tools: deny names lamp__ech (did you mean lamp__echo?)").await;
    assert!(
        field(&line, "endpoint") == Some("kitchen") && line.to_string().contains("which none of its servers has"),
        "{line}"
    );
    assert!(!line.to_string().contains("clock__p*"), "{line}");
    let line = told("endpoints.office.tools: allow names slep (did you mean sleep?)").await;
    assert!(!line.to_string().contains("names clock__pid"), "{line}");
    // As a person corrects one, and makes another slip.
    config["endpoints"]["kitchen"]["tools"] = json!(["lamp__*", "clok__echo"]);
    fs::write(daemon.path().join("mcp_config.json"), config.to_string()).unwrap();
    let said = runtime.ask(&["reload"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    told("endpoints.kitchen.tools: allow names clok__echo").await;
    let about = |text: &str| daemon.log_text().matches(text).count();
    assert_eq!((about("lamp__ech "), about("names slep")), (1, 1), "once: {}", daemon.log_text());
    daemon.stop_closing(&mut conns).await;
}
