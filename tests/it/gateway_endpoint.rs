//! The endpoint of the gateway: tools that dial in, robots that call, and what the two are to each other and to everybody else.

use std::fs;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::control::Runtime;
use crate::harness::{Daemon, McpHttp, Setup, config, fixture_entry, names, text_of, within};

const HOME: &str = "s3cret-of/home+1=";
const DESK: &str = "s3cret-of-desk-1";

/// A config with an endpoint for two tokens, and a server of its own.
fn endpoint() -> Value {
    let tokens = json!([{"name": "home", "token": HOME}, {"name": "desk", "token": DESK}]);
    let gateway = json!({"listen": "127.0.0.1:0", "endpointTokens": tokens});
    json!({"gateway": gateway, "mcpServers": {"own": fixture_entry(&["--name", "own"])}})
}

/// Where a daemon has its gateway, without a scheme.
async fn address(daemon: &Daemon) -> String {
    daemon.wait_for_event("ALL_UP").await;
    authority(daemon).await
}

/// The same, before its servers are up.
async fn authority(daemon: &Daemon) -> String {
    let url = crate::gateway::url(daemon).await;
    url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap().to_owned()
}

/// Somebody on a WebSocket.
pub(crate) struct Caller(WebSocketStream<TcpStream>);

impl Caller {
    async fn dial(address: &str, path: &str) -> Result<Self, Error> {
        Caller::dial_with(address, path, &[]).await
    }

    /// The same, with these values of `Mcp-Pipe-Epoch`.
    async fn dial_with(address: &str, path: &str, epochs: &[&str]) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for epoch in epochs {
            request.headers_mut().append("Mcp-Pipe-Epoch", epoch.parse().unwrap());
        }
        client_async(request, stream).await.map(|(socket, _)| Caller(socket))
    }

    /// A robot, after its handshake.
    pub(crate) async fn robot(address: &str, token: &str) -> Self {
        let mut robot = Caller::dial(address, &format!("/mcp_endpoint/call/?token={token}")).await.unwrap();
        robot.begin().await;
        robot
    }

    async fn begin(&mut self) {
        let client = json!({"name": "robot", "version": "1"});
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client});
        let told = self.ask(json!(0), "initialize", params).await;
        assert_eq!((&told["id"], &told["result"]["serverInfo"]["name"]), (&json!(0), &json!("mcp-pipe")), "{told}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            match within("a message", self.0.next()).await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    }

    /// Asks, and returns the answer; what else comes is passed over.
    async fn ask(&mut self, id: Value, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let told = self.next().await;
            if told.get("method").is_none() {
                return told;
            }
        }
    }

    pub(crate) async fn tools(&mut self) -> Vec<String> {
        let told = self.ask(json!("list"), "tools/list", json!({})).await;
        names(&told).into_iter().map(str::to_owned).collect()
    }

    /// Waits until a list of tools is as it should be, which is told by `list_changed`.
    pub(crate) async fn tools_until(&mut self, what: &str, is_it: impl Fn(&[String]) -> bool) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let tools = self.tools().await;
            if is_it(&tools) {
                return tools;
            }
            assert!(Instant::now() < until, "{what}: {tools:?}");
            let _told = timeout(Duration::from_millis(100), self.0.next()).await;
        }
    }

    pub(crate) async fn call(&mut self, id: Value, tool: &str, arguments: Value) -> Value {
        self.ask(id, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// How the connection is closed.
    async fn closed(&mut self) -> CloseFrame {
        loop {
            match within("the end", self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Serves as tools that know one tool, and answer each call by its name.
    fn serve(mut self, tool: &'static str) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(Ok(message)) = self.0.next().await {
                let Message::Text(text) = message else { continue };
                let asked: Value = serde_json::from_str(&text).unwrap();
                if let Some(result) = result_of(tool, &asked)
                    && asked["params"]["arguments"]["hang"].is_null()
                {
                    self.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).await;
                }
            }
        })
    }
}

fn result_of(tool: &str, asked: &Value) -> Option<Value> {
    let version = &asked["params"]["protocolVersion"];
    Some(match asked["method"].as_str()? {
        "initialize" => {
            json!({"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": tool, "version": "1"}})
        }
        "tools/list" => json!({"tools": [{"name": tool, "inputSchema": {"type": "object"}}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": tool}]}),
        _ => return None,
    })
}

/// A token as it may stand in an address.
fn encoded(token: &str) -> String {
    token.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D")
}

/// Another mcp-pipe with a fixture server, whose link dials the endpoint.
pub(crate) fn tools(address: &str, token: &str, server: &str) -> Daemon {
    let mut all = config([(server, fixture_entry(&["--name", server]))]);
    all["mcpServers"][server]["endpoint"] = format!("ws://{address}/mcp_endpoint/mcp/?token={token}").into();
    Setup::new().config(&all).start("info")
}

#[tokio::test]
async fn tools_that_dial_in_are_all_that_is_needed() {
    let runtime = Runtime::new();
    let file = json!({"gateway": {"listen": "127.0.0.1:0", "endpointTokens": [HOME]}});
    let daemon = runtime.setup().config(&file).start("info");
    let address = authority(&daemon).await;
    let tools = Caller::dial(&address, &format!("/endpoint/mcp?token={HOME}")).await.unwrap().serve("lamp");
    let mut robot = Caller::robot(&address, HOME).await;
    robot.tools_until("the tools of home", |tools| tools == ["lamp"]).await;
    assert_eq!(text_of(&robot.call(json!(0), "lamp", json!({})).await), "lamp");
    let said = runtime.ask(&["status"]).await;
    assert!(said.out.contains("\ntoken 1: 1 connection of tools, 1 robot\n"), "{said:?}");
    tools.abort();
    daemon.stop().await;
}

#[tokio::test]
async fn a_robot_calls_what_another_mcp_pipe_serves_and_each_id_comes_back_as_it_was() {
    let daemon = Setup::new().config(&endpoint()).start("info");
    let at = address(&daemon).await;
    let other = tools(&at, HOME, "far");
    // Encoded or not, it is the same token.
    let mut robot = Caller::robot(&at, &encoded(HOME)).await;
    robot.tools_until("the other's tools", |tools| tools.iter().any(|tool| tool == "echo")).await;
    for id in [json!(0), json!("0"), json!("1.5"), json!(-7), json!("a_n_\"é\""), json!(9_007_199_254_740_993_u64)] {
        let told = robot.call(id.clone(), "echo", json!({"text": "hi"})).await;
        assert_eq!((&told["id"], text_of(&told)), (&id, "hi"), "{told}");
    }
    // What clients of the field send: everything at once, and null for no parameters.
    let mut hasty = Caller::dial(&at, &format!("/endpoint/call?token={HOME}")).await.unwrap();
    let params =
        json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "r", "version": "1"}});
    hasty.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
    hasty.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    hasty.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": null})).await;
    assert_eq!(hasty.next().await["id"], 0);
    assert!(hasty.next().await["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
    other.stop().await;
    robot.tools_until("that they are gone", <[String]>::is_empty).await;
    assert!(!daemon.log_text().contains("s3cret"), "no token is in the log");
    daemon.stop().await;
}

#[tokio::test]
async fn tools_of_one_token_are_merged_and_seen_by_nobody_else() {
    let runtime = Runtime::new();
    let daemon = runtime.setup().config(&endpoint()).start("debug");
    let at = address(&daemon).await;
    let path = |token: &str| format!("/endpoint/mcp?token={token}");
    let one = Caller::dial(&at, &path(HOME)).await.unwrap().serve("one");
    let two = Caller::dial(&at, &path(HOME)).await.unwrap().serve("two");
    let three = Caller::dial(&at, &path(DESK)).await.unwrap().serve("three");
    let mut robot = Caller::robot(&at, HOME).await;
    robot.tools_until("both", |tools| tools == ["one", "two"]).await;
    let mut stranger = Caller::robot(&at, DESK).await;
    stranger.tools_until("its own", |tools| tools == ["three"]).await;
    assert_eq!(text_of(&robot.call(json!(1), "two", json!({})).await), "two");
    for (is_home, tool) in [(true, "three"), (false, "one"), (true, "own__pid"), (true, "pid")] {
        let caller = if is_home { &mut robot } else { &mut stranger };
        let told = caller.call(json!(2), tool, json!({})).await;
        assert!(told.get("error").is_some() || told["result"]["isError"] == true, "{tool}: {told}");
    }
    let mut client = McpHttp::at(&format!("http://{at}/mcp"));
    client.begin().await;
    let seen = client.tools().await;
    assert!(seen.contains(&"pid".to_owned()) && !seen.iter().any(|tool| tool.contains("one")), "{seen:?}");
    assert_eq!(
        client.path("/mcp/home%2F1").status("POST", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await,
        404
    );
    let said = runtime.ask(&["status"]).await;
    assert!(said.out.contains("token home: 2 connections of tools, 1 robot\n"), "{said:?}");
    assert!(said.out.contains("token desk: 1 connection of tools, 1 robot\n"), "{said:?}");
    let told = runtime.ask(&["status", "--json"]).await.out;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["gateway"]["tokens"][0], json!({"name": "home", "tools": 2, "robots": 1}), "{told}");
    assert_eq!(told["servers"].as_array().unwrap().len(), 1, "{told}");
    two.abort();
    robot.tools_until("what is left", |tools| tools == ["one"]).await;
    let again = Caller::dial(&at, &path(HOME)).await.unwrap().serve("again");
    robot.tools_until("what came", |tools| tools.contains(&"again".to_owned())).await;
    for text in [daemon.log_text(), said.out, told.to_string(), runtime.ask(&["config", "show"]).await.out] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    daemon.stop().await;
    for task in [one, three, again] {
        within("the end of tools", task).await.unwrap();
    }
}

#[tokio::test]
async fn tools_of_an_older_lease_are_let_in_no_more_and_those_that_are_in_are_closed() {
    let runtime = Runtime::new();
    let mut file = endpoint();
    let daemon = runtime.setup().config(&file).start("info");
    let at = address(&daemon).await;
    let path = |token: &str| format!("/endpoint/mcp?token={token}");
    let dial = async |epoch: &str| Caller::dial_with(&at, &path(HOME), &[epoch]).await;
    let refused = async |epochs: &[&str]| match Caller::dial_with(&at, &path(HOME), epochs).await {
        Err(Error::Http(answer)) => {
            let text = String::from_utf8(answer.body().clone().unwrap_or_default()).unwrap();
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned(), text)
        }
        other => panic!("{:?}", other.err()),
    };
    let mut robot = Caller::robot(&at, HOME).await;
    // Some show no epoch, and take no part: they may be there before, and come after.
    let script = Caller::dial(&at, &path(HOME)).await.unwrap().serve("script");
    robot.tools_until("the script's", |tools| tools == ["script"]).await;
    let old = dial("41").await.unwrap().serve("old");
    robot.tools_until("both", |tools| tools == ["script", "old"]).await;
    // The same lease has as many connections as it wants.
    let [mut other, mut again] = [dial("41").await.unwrap(), dial("41").await.unwrap()];
    let newer = dial("18446744073709551614").await.unwrap().serve("new");
    for outdone in [&mut other, &mut again] {
        let frame = outdone.closed().await;
        assert_eq!(
            (u16::from(frame.code), &*frame.reason),
            (1000, "a newer connection has shown a higher Mcp-Pipe-Epoch")
        );
    }
    within("the end of the older one", old).await.unwrap();
    robot.tools_until("the newer one's", |tools| tools == ["script", "new"]).await;
    for _ in 0..2 {
        let (status, kind, text) = refused(&["41"]).await;
        assert_eq!((status, &*kind), (409, "text/plain; charset=utf-8"), "{text}");
        assert!(text.contains("is too low") && text.contains("18446744073709551614"), "{text}");
    }
    for wrong in [&["4x"][..], &["-1"], &["41", "42"], &["18446744073709551616"]] {
        let (status, _, text) = refused(wrong).await;
        assert!(status == 400 && text.contains("Mcp-Pipe-Epoch has to be one decimal number"), "{wrong:?}: {text}");
    }
    // Of another token nothing is known by that, and of one that is not known nothing is said.
    let mut elsewhere = Caller::dial_with(&at, &path(DESK), &["41"]).await.unwrap();
    let mut stranger = Caller::dial_with(&at, &path("unknown-0"), &["4x"]).await.unwrap();
    assert_eq!(stranger.closed().await.reason.as_str(), "this token is not known here");
    // A robot is none that could be outdone.
    let robots = Caller::dial_with(&at, &format!("/endpoint/call?token={HOME}"), &["1"]).await;
    robots.unwrap().begin().await;
    let late = Caller::dial(&at, &path(HOME)).await.unwrap().serve("late");
    robot.tools_until("one without an epoch", |tools| tools == ["script", "late", "new"]).await;
    let told = daemon.wait_for_event("EPOCH_MISSING").await;
    assert!(told.to_string().contains("with the token of home, without Mcp-Pipe-Epoch"), "{told}");
    // What was shown still counts where a reload ends all that came.
    file["maxFrameSize"] = "1MiB".into();
    fs::write(daemon.path().join("mcp_config.json"), file.to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    for tools in [newer, late, script] {
        within("the end of a connection", tools).await.unwrap();
    }
    assert_eq!(refused(&["41"]).await.0, 409);
    let _back = dial("18446744073709551615").await.unwrap();
    assert_eq!(elsewhere.closed().await.reason.as_str(), "this token is not known here any more");
    let lines = daemon.log_lines();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("EPOCH_MISSING"), count("CLIENT_REFUSED")), (1, 3), "{lines:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn tools_that_die_amid_a_call_fail_it_and_are_listed_no_more() {
    let daemon = Setup::new().config(&endpoint()).start("info");
    let at = address(&daemon).await;
    let tools = Caller::dial(&at, &format!("/endpoint/mcp/?token={HOME}")).await.unwrap().serve("slow");
    let mut robot = Caller::robot(&at, HOME).await;
    robot.tools_until("the tool", |tools| tools == ["slow"]).await;
    let params = json!({"name": "slow", "arguments": {"hang": true}});
    robot.send(&json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})).await;
    // By this answer the call before has been passed on.
    robot.ask(json!(6), "ping", json!({})).await;
    tools.abort();
    let (mut failed, mut changed) = (None, false);
    while failed.is_none() || !changed {
        let told = robot.next().await;
        changed |= told["method"] == "notifications/tools/list_changed";
        if told["id"] == 5 {
            failed = Some(told.to_string());
        }
    }
    let failed = failed.unwrap();
    assert!(failed.contains("home/1") && failed.contains("has closed its connection"), "{failed}");
    assert_eq!(robot.tools().await, Vec::<String>::new());
    daemon.stop().await;
}

#[tokio::test]
async fn a_robot_that_dials_the_address_for_tools_is_told_which_is_its_own() {
    let daemon = Setup::new().config(&endpoint()).start("info");
    let at = address(&daemon).await;
    let params =
        json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "r", "version": "1"}});
    for _ in 0..3 {
        let mut robot = Caller::dial(&at, &format!("/endpoint/mcp?token={HOME}")).await.unwrap();
        let told = robot.ask(json!(0), "initialize", params.clone()).await;
        let told = told["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains("this address is for tools") && told.contains("/endpoint/call"), "{told}");
    }
    let lines = daemon.log_lines();
    let told = lines.iter().filter(|line| line.to_string().contains("sent initialize")).collect::<Vec<_>>();
    assert!((1..=2).contains(&told.len()), "it does not flood: {told:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn whoever_is_slow_holds_up_nobody() {
    let daemon = Setup::new().config(&endpoint()).start("info");
    let at = address(&daemon).await;
    let other = tools(&at, HOME, "far");
    // Tools that say nothing, ever.
    let silent = Caller::dial(&at, &format!("/endpoint/mcp?token={HOME}")).await.unwrap();
    let quick = Caller::dial(&at, &format!("/endpoint/mcp?token={HOME}")).await.unwrap().serve("quick");
    let mut slow = Caller::robot(&at, HOME).await;
    let mut robot = Caller::robot(&at, HOME).await;
    robot.tools_until("the tools", |tools| tools.iter().any(|tool| tool == "echo")).await;
    // A robot that asks for much, and reads nothing.
    for id in 0..60 {
        let params = json!({"name": "big", "arguments": {"bytes": 1_000_000}});
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        if timeout(Duration::from_millis(50), slow.send(&message)).await.is_err() {
            break;
        }
    }
    for id in 0..20 {
        let began = Instant::now();
        assert_eq!(text_of(&robot.call(json!(id), "quick", json!({})).await), "quick");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    drop((silent, slow));
    other.stop().await;
    daemon.stop().await;
    within("the end of tools", quick).await.unwrap();
}

#[tokio::test]
async fn an_unknown_token_is_let_in_and_shown_out_and_without_tokens_there_is_nothing() {
    let daemon = Setup::new().config(&endpoint()).start("info");
    let at = address(&daemon).await;
    let (unknown, missing) =
        ("this token is not known here", "a token is missing: the address has to end with ?token=TOKEN");
    for (path, why) in [
        ("/endpoint/mcp", missing),
        ("/endpoint/call?token=", missing),
        ("/mcp_endpoint/mcp/?token=other", unknown),
        ("/mcp_endpoint/call/?token=home", unknown),
    ] {
        let closed = Caller::dial(&at, path).await.unwrap().closed().await;
        assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1008, why), "{path}");
    }
    let refused = |words: &'static str| move |line: &Value| line.to_string().contains(words);
    daemon.wait_for("no token", refused("its address has no token; it has to end with ?token=TOKEN")).await;
    daemon.wait_for("another token", refused("the token in its address is none of `endpointTokens`")).await;
    // Whoever misses the path is told it, and which of the two that is.
    for (path, is_told) in
        [("/endpoint/mc?token=x", true), ("/?token=x", true), ("/mcp?token=x", true), ("/mcp", false)]
    {
        let refused = Caller::dial(&at, path).await.err();
        let Some(Error::Http(answer)) = &refused else { panic!("{path}: {refused:?}") };
        let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
        let want = "tools dial /endpoint/mcp?token=TOKEN, and robots /endpoint/call?token=TOKEN";
        assert_eq!((answer.status().as_u16(), body.contains(want)), (400, is_told), "{path}: {body}");
    }
    // A page of somebody else, and a name that leads here.
    for (host, origin) in [("evil.example", None), ("localhost", Some("https://evil.example"))] {
        let stream = TcpStream::connect(&at).await.unwrap();
        let mut request = http::Request::get(format!("ws://{at}/endpoint/call?token={}", encoded(HOME)))
            .header("host", host)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let refused = client_async(request.body(()).unwrap(), stream).await;
        assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 403), "{host}: {refused:?}");
    }
    daemon.stop().await;
    let mut none = endpoint();
    none["gateway"].as_object_mut().unwrap().remove("endpointTokens");
    let daemon = Setup::new().config(&none).start("info");
    let at = address(&daemon).await;
    for path in ["/endpoint/mcp?token=x", "/mcp_endpoint/call/?token=x"] {
        let refused = Caller::dial(&at, path).await.err();
        assert!(matches!(&refused, Some(Error::Http(answer)) if answer.status() == 404), "{path}: {refused:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_shows_other_servers_and_ends_what_came_with_a_token_that_is_gone() {
    let runtime = Runtime::new();
    let mut all = endpoint();
    let daemon = runtime.setup().config(&all).start("info");
    let at = address(&daemon).await;
    let mut tools = Caller::dial(&at, &format!("/endpoint/mcp?token={DESK}")).await.unwrap();
    let kept = Caller::dial(&at, &format!("/endpoint/mcp?token={HOME}")).await.unwrap().serve("kept");
    let (mut robot, mut stays) = (Caller::robot(&at, DESK).await, Caller::robot(&at, HOME).await);
    stays.tools_until("its tools", |tools| tools == ["kept"]).await;
    let change = async |all: &Value| {
        fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
        let said = runtime.ask(&["reload"]).await;
        assert!(said.code == 0 && said.out.contains("the gateway has other terms"), "{said:?}");
    };
    all["gateway"]["endpointServers"] = json!(["own"]);
    change(&all).await;
    let seen = stays.tools_until("ours, too", |tools| tools.iter().any(|tool| tool.contains("pid"))).await;
    assert!(seen.contains(&"kept".to_owned()), "{seen:?}");
    assert_eq!(text_of(&stays.call(json!(1), "kept", json!({})).await), "kept");
    let pid = seen.iter().find(|tool| tool.contains("pid")).unwrap();
    let told = stays.call(json!(2), pid, json!({})).await;
    assert!(text_of(&told).parse::<u32>().is_ok(), "{told}");
    all["gateway"]["endpointTokens"] = json!([{"name": "home", "token": HOME}]);
    change(&all).await;
    for caller in [&mut tools, &mut robot] {
        let closed = caller.closed().await;
        assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1008, "this token is not known here any more"));
    }
    let closed = Caller::dial(&at, &format!("/endpoint/call?token={DESK}")).await.unwrap().closed().await;
    assert_eq!(u16::from(closed.code), 1008);
    assert_eq!(text_of(&stays.call(json!(3), "kept", json!({})).await), "kept");
    let said = runtime.ask(&["status"]).await;
    assert!(
        said.out.contains("token home: 1 connection of tools, 1 robot\n") && !said.out.contains("desk"),
        "{said:?}"
    );
    let stopping = tokio::spawn(daemon.stop());
    assert_eq!(u16::from(stays.closed().await.code), 1001);
    within("the stop", stopping).await.unwrap();
    within("the end of tools", kept).await.unwrap();
}
