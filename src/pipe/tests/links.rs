//! Several endpoints on the same servers, over real sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::{Manner, NewLink, NewServer, Shown};
use super::*;
use crate::control::status::Overview;
use crate::router::turns::Turns;

/// An MCP server with the tool `$0`, which tells of its progress and answers with what it was given, its process, and text.
pub(super) const SERVER: &str = r#"
    big=$(head -c 20000 /dev/zero | tr '\0' x)
    while read -r line; do
        id=${line#*'"id":'}; id=${id%%[,\}]*}
        of=${line#*'"of":"'}; of=${of%%'"'*}
        case $line in
        *'"method":"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}';;
        *'"method":"tools/list"'*) result="{\"tools\":[{\"name\":\"$0\",\"inputSchema\":{\"type\":\"object\"}}]}";;
        *'"of":"big'*) result="{\"of\":\"$of\",\"pid\":$$,\"big\":\"$big\"}";;
        *'"method":"tools/call"'*)
            result="{\"of\":\"$of\",\"pid\":$$}"
            echo "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$id,\"progress\":1,\"message\":\"$of\"}}";;
        *'"id":'*) result='{}';;
        *) continue;;
        esac
        echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}"
    done"#;

/// The servers of each endpoint.
const SEEN: [&[ServerIndex]; 4] = [&[0, 1, 2], &[0], &[1, 2], &[0, 1, 2]];

struct Shared {
    status: Status,
    sockets: Vec<WebSocketStream<TcpStream>>,
    stop: Stop,
    pipe: tokio::task::JoinHandle<()>,
}

impl Shared {
    async fn begin() -> Self {
        let (status, stop) = (Status::default(), Stop::new());
        let spec = |n: usize| {
            let name = format!("t{n}");
            Arc::new(ServerSpec { max_frame: 64 * 1024, ..spec(&name, "sh", &["-c", SERVER, &name], HANG) })
        };
        let specs: Vec<_> = (0..3).map(spec).collect();
        let mut listeners = Vec::new();
        let mut pipe = Pipe::of(Vec::new(), Vec::new(), Box::<Turns>::default(), run(stop.clone()));
        for spec in &specs {
            let (spec, status) = (spec.clone(), status.add_server("x"));
            pipe.add_server(NewServer { spec, status, goal: unchanged(), memory: None }, Instant::now());
        }
        for seen in SEEN {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("ws://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let servers = seen.iter().map(|server| (specs[*server].name.clone(), Arc::default())).collect();
            let new = NewLink {
                name: None,
                status: status.add_link(&endpoint, None),
                endpoint,
                link: specs[0].link.clone(),
                hello: None,
                shown: Shown { servers, room: None, sharing: specs[0].sharing, manner: Manner::AsOne },
                witness: None,
            };
            pipe.attach(new, Instant::now()).unwrap();
            listeners.push(listener);
        }
        let pipe = tokio::spawn(pipe.run());
        let mut sockets = Vec::new();
        for listener in &listeners {
            sockets.push(Rig::accept(listener).await);
        }
        Shared { status, sockets, stop, pipe }
    }

    async fn stop(self) {
        self.stop.advance();
        for mut socket in self.sockets {
            while let Some(Ok(_)) = socket.next().await {}
        }
        timeout(HANG, self.pipe).await.unwrap().unwrap();
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    timeout(HANG, socket.send(Message::text(message.to_string()))).await.unwrap().unwrap();
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        let message = timeout(HANG, socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// Asks something, and returns the answer.
async fn ask(socket: &mut WebSocketStream<TcpStream>, id: u64, method: &str, params: Value) -> Value {
    say(socket, json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
    loop {
        let message = hear(socket).await;
        if message["id"] == id {
            return message;
        }
    }
}

async fn greet(socket: &mut WebSocketStream<TcpStream>) {
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    assert!(ask(socket, 0, "initialize", params).await["result"].is_object());
    say(socket, json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
}

/// What one endpoint sees and gets. Returns the processes that answered.
async fn converse(place: usize, mut socket: WebSocketStream<TcpStream>) -> (BTreeSet<u64>, WebSocketStream<TcpStream>) {
    const CALLS: u64 = 50;
    greet(&mut socket).await;
    let list = ask(&mut socket, 0, "tools/list", json!({})).await;
    let listed: Vec<_> = list["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(listed, SEEN[place].iter().map(|n| format!("t{n}")).collect::<Vec<_>>());
    // Whoever has a server alone may ask it for anything.
    for unseen in (0..3).filter(|n| SEEN[place].len() > 1 && !SEEN[place].contains(n)) {
        let answer = ask(&mut socket, 0, "tools/call", json!({"name": format!("t{unseen}"), "arguments": {}})).await;
        assert!(answer["error"]["message"].as_str().unwrap().contains("unknown tool"), "{answer}");
    }
    // The same ids and tokens as at all other endpoints, all under way at once.
    let mark = |n: u64| format!("endpoint {place}, call {n}");
    for n in 1..=CALLS {
        let tool = SEEN[place][n as usize % SEEN[place].len()];
        let params = json!({"name": format!("t{tool}"), "arguments": {"of": mark(n)}, "_meta": {"progressToken": n}});
        say(&mut socket, json!({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params})).await;
    }
    let (mut answers, mut progress, mut pids) = (BTreeMap::new(), 0, BTreeSet::new());
    while answers.len() < CALLS as usize {
        let message = hear(&mut socket).await;
        if message["method"] == "notifications/progress" {
            let n = message["params"]["progressToken"].as_u64().unwrap();
            assert_eq!(message["params"]["message"], mark(n));
            progress += 1;
            continue;
        }
        let n = message["id"].as_u64().unwrap();
        assert_eq!(message["result"]["of"], mark(n), "{message}");
        pids.insert(message["result"]["pid"].as_u64().unwrap());
        assert!(answers.insert(n, ()).is_none(), "a second answer to {n}");
    }
    assert_eq!(progress, CALLS);
    (pids, socket)
}

#[tokio::test]
async fn endpoints_share_servers_and_each_gets_its_own_answers_and_sees_its_own_tools() {
    let mut shared = Shared::begin().await;
    let tasks: Vec<_> =
        shared.sockets.drain(..).enumerate().map(|(place, socket)| tokio::spawn(converse(place, socket))).collect();
    let mut pids = BTreeSet::new();
    for task in tasks {
        let (some, socket) = task.await.unwrap();
        pids.extend(some);
        shared.sockets.push(socket);
    }
    assert_eq!(pids.len(), 3, "one process for each server");
    shared.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_reads_nothing_costs_the_others_nothing_and_loses_its_connection() {
    let mut shared = Shared::begin().await;
    let mut slow = shared.sockets.remove(1);
    greet(&mut slow).await;
    let (mut sent, mut ended) = (1, false);
    for socket in &mut shared.sockets {
        greet(socket).await;
    }
    // It asks for more than it may leave unread before any of the answers is there, and reads none.
    for n in 0..3000 {
        let params = json!({"name": "t0", "arguments": {"of": "big"}});
        let call = json!({"jsonrpc": "2.0", "id": 10_000 + n, "method": "tools/call", "params": params});
        timeout(HANG, slow.feed(Message::text(call.to_string()))).await.unwrap().unwrap();
    }
    timeout(HANG, slow.flush()).await.unwrap().unwrap();
    for round in 1.. {
        // It asks on, as far as it is read.
        while !ended && sent < 10 * round {
            let params = json!({"name": "t0", "arguments": {"of": "big"}});
            let call = json!({"jsonrpc": "2.0", "id": sent, "method": "tools/call", "params": params});
            match timeout(Duration::from_millis(5), slow.send(Message::text(call.to_string()))).await {
                Ok(Ok(())) => sent += 1,
                Ok(Err(_)) => ended = true,
                Err(_) => break,
            }
        }
        for socket in &mut shared.sockets {
            let answer = ask(socket, round, "tools/call", json!({"name": "t1", "arguments": {"of": "it"}})).await;
            assert_eq!(answer["result"]["of"], "it");
        }
        if ended {
            break;
        }
    }
    // What had been written for it is cut off, as it was not read in time.
    while let Some(Ok(_)) = timeout(HANG, slow.next()).await.unwrap() {}
    let why = |all: &Overview| all.links[1].last_close.as_ref().map(|close| close.why.clone());
    let mut changes = shared.status.changes();
    let all = timeout(HANG, changes.wait_for(|all| why(all).is_some())).await.unwrap().unwrap();
    let closed = why(&all).unwrap();
    drop(all);
    // Not for a pong that it owed: its servers are read on for the others, which is more than it may leave unread.
    assert!(closed.contains(carrier::TOO_SLOW), "{closed}");
    shared.stop().await;
}
