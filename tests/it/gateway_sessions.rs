//! Sessions of the gateway's clients: what they survive, who sees them, and how they end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::control::Home;
use crate::gateway::url;
use crate::harness::{Daemon, McpHttp, body_of, fixture_entry, within};

/// A daemon with the config of this name, once its servers are up.
async fn start(home: &Home, config: &str) -> Daemon {
    let servers = json!({"one": fixture_entry(&["--name", "one"]), "two": fixture_entry(&["--name", "two"])});
    let gateway = json!({"listen": "127.0.0.1:0", "sse": true});
    home.start(config, &json!({"gateway": gateway, "mcpServers": servers}), "debug").await
}

/// The file in the state folder with this ending.
fn state(home: &Home, ending: &str) -> PathBuf {
    home.state(|path| path.extension().is_some_and(|end| end == ending))
}

/// The same client at another daemon.
async fn moved(client: &McpHttp, daemon: &Daemon) -> McpHttp {
    let mut moved = McpHttp::at(&url(daemon).await).path(&client.path);
    moved.session.clone_from(&client.session);
    moved
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[tokio::test]
async fn clients_go_on_with_their_sessions_after_a_restart_however_it_came() {
    let home = Home::new();
    let mut daemon = start(&home, "mcp_config.json").await;
    let gateway = McpHttp::at(&url(&daemon).await);
    let (mut all, mut one, mut ended) = (gateway.clone(), gateway.path("/mcp/one"), gateway.clone());
    for client in [&mut all, &mut one, &mut ended] {
        client.begin().await;
    }
    assert_eq!(ended.status("DELETE", &Value::Null).await, 200);
    let mut pid = one.call("pid", json!({})).await;
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        daemon.signal(signal);
        daemon.exit().await;
        let text = daemon.log_text();
        for client in [&all, &one, &ended] {
            assert!(!text.contains(client.session.as_deref().unwrap()), "an id is in the log");
        }
        daemon = start(&home, "mcp_config.json").await;
        (all, one, ended) = (moved(&all, &daemon).await, moved(&one, &daemon).await, moved(&ended, &daemon).await);
        // Two requests at once, of which each is the first.
        let (mut twin, other) = (one.clone(), json!({"jsonrpc": "2.0", "id": "twin", "method": "ping"}));
        let (told, status) = tokio::join!(twin.call("pid", json!({})), one.status("POST", &other));
        assert_eq!(status, 200);
        assert_ne!(told, pid, "another process of the server");
        assert_eq!(all.call("one__pid", json!({})).await, told);
        pid = told;
        let mut stream = all.send("GET", String::new()).await;
        let mut said = String::new();
        while !said.contains("notifications/tools/list_changed") {
            let frame = within("news", stream.body_mut().frame()).await.unwrap().unwrap();
            said.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        drop(stream);
        let told: Value = serde_json::from_str(&home.runtime.ask(&["status", "--json"]).await.out).unwrap();
        assert_eq!(told["gateway"]["clients"], 2, "{told}");
        // What is not good is told in the same words, whatever it is.
        let mut unknown = ended.clone();
        unknown.session = Some("unknown".into());
        let mut elsewhere = one.path("/mcp/two");
        elsewhere.session.clone_from(&one.session);
        let mut words = Vec::new();
        for client in [&ended, &unknown, &elsewhere] {
            let answer = client.send("POST", ping().to_string()).await;
            assert_eq!(answer.status(), 404);
            words.push(body_of(answer).await);
        }
        assert!(words.iter().all(|said| *said == words[0]), "{words:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn an_id_is_good_for_daemons_of_its_config_and_as_long_as_the_key_is_there() {
    let home = Home::new();
    let daemon = start(&home, "mcp_config.json").await;
    let mut client = McpHttp::at(&url(&daemon).await);
    client.begin().await;
    let other = start(&home, "other.json").await;
    assert_eq!(moved(&client, &other).await.status("POST", &ping()).await, 404);
    other.stop().await;
    assert_eq!(client.status("DELETE", &Value::Null).await, 200);
    client.begin().await;
    let folder = home.dir.path().join("mcp-pipe/mcp-pipe-state");
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(client.session.as_deref().unwrap()), "an id is in {name}");
        if name.starts_with("sessions-") {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    daemon.stop().await;
    fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).for_each(|path| {
        if path.extension().is_some_and(|end| end == "key") {
            fs::remove_file(path).unwrap();
        }
    });
    let daemon = start(&home, "mcp_config.json").await;
    client = moved(&client, &daemon).await;
    assert_eq!(client.status("POST", &ping()).await, 404);
    client.begin().await;
    daemon.stop().await;
    // A key that is none is left where it is, and told.
    fs::write(state(&home, "key"), "nonsense").unwrap();
    let daemon = start(&home, "mcp_config.json").await;
    let told = daemon.wait_for_event("SESSIONS_NOT_KEPT").await.to_string();
    assert!(told.contains(".key is no key") && told.contains("remove it"), "{told}");
    client = moved(&client, &daemon).await;
    assert_eq!(client.status("POST", &ping()).await, 404);
    client.begin().await;
    assert_eq!(client.status("POST", &ping()).await, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_by_names_that_let_nobody_in_and_end_by_these() {
    let home = Home::new();
    let daemon = start(&home, "mcp_config.json").await;
    let gateway = McpHttp::at(&url(&daemon).await);
    assert_eq!(home.runtime.ask(&["sessions"]).await.out, "no client has a session\n");
    let (mut all, mut one) = (gateway.clone(), gateway.path("/mcp/one"));
    all.begin().await;
    one.begin().await;
    let stream = all.send("GET", String::new()).await;
    let tcp = tokio::net::TcpStream::connect(&gateway.host).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{}/ws/two", gateway.host), tcp).await.unwrap();
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "w", "version": "2"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello});
    socket.send(Message::text(hello.to_string())).await.unwrap();
    within("an answer", socket.next()).await.unwrap().unwrap();
    let by_sse = gateway.path("/sse").send("GET", String::new()).await;
    let said = home.runtime.ask(&["sessions"]).await;
    let line = |path: &str| said.out.lines().find(|line| line.contains(&format!(" at {path},"))).unwrap().to_owned();
    assert!(line("/mcp").contains("t 1 at ") && line("/mcp").ends_with("1 stream, 0 requests under way"), "{said:?}");
    assert!(line("/mcp/one").ends_with("0 streams, 0 requests under way"), "{said:?}");
    assert!(line("/ws/two").contains("w 2 at "), "{said:?}");
    assert!(line("/sse").contains("a client without a name") && line("/sse").ends_with("1 stream"), "{said:?}");
    let json = home.runtime.ask(&["sessions", "--json"]).await.out;
    for id in [&all.session, &one.session] {
        assert!(!said.out.contains(id.as_deref().unwrap()) && !json.contains(id.as_deref().unwrap()));
    }
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["sessions"].as_array().unwrap().len(), 4, "{told}");
    let name = |path: &str| line(path).split_once(':').unwrap().0.to_owned();
    let ended = home.runtime.ask(&["sessions", "end", &name("/mcp")]).await;
    assert_eq!((ended.code, &*ended.out), (0, "1 session ended\n"), "{ended:?}");
    body_of(stream).await;
    let wrong = home.runtime.ask(&["sessions", "end", &name("/mcp")]).await;
    assert!(wrong.code == 2 && wrong.err.contains("no session here is called"), "{wrong:?}");
    let wrong = home.runtime.ask(&["sessions", "end", all.session.as_deref().unwrap()]).await;
    assert!(wrong.code == 2 && !wrong.err.contains(all.session.as_deref().unwrap()), "{wrong:?}");
    assert_eq!((all.status("POST", &ping()).await, one.status("POST", &ping()).await), (404, 200));
    let ended = home.runtime.ask(&["sessions", "end", "--all"]).await;
    assert_eq!((ended.code, &*ended.out), (0, "3 sessions ended\n"), "{ended:?}");
    body_of(by_sse).await;
    let close = within("a close frame", socket.next()).await.unwrap().unwrap();
    assert!(matches!(&close, Message::Close(Some(_))), "{close:?}");
    let mut daemon = daemon;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    let daemon = start(&home, "mcp_config.json").await;
    for client in [&all, &one] {
        assert_eq!(moved(client, &daemon).await.status("POST", &ping()).await, 404, "also after a restart");
    }
    daemon.stop().await;
    assert_eq!(home.runtime.ask(&["sessions"]).await.code, 3);
    let daemon = home.runtime.local("x", "info").await;
    let none = home.runtime.ask(&["sessions"]).await;
    assert!(none.code == 1 && none.err.contains("has no gateway"), "{none:?}");
    let none = home.runtime.ask(&["sessions", "end", "--all"]).await;
    assert!(none.code == 1 && none.err.contains("has no gateway"), "{none:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_given_at_once_is_one_piece_with_what_a_client_comes_back_by() {
    let home = Home::new();
    let daemon = start(&home, "mcp_config.json").await;
    let mut client = McpHttp::at(&url(&daemon).await).path("/mcp/one");
    client.begin().await;
    let mut first = String::new();
    // Each is, but on a machine that is busy just then.
    for id in 0..100 {
        let params = json!({"name": "echo", "arguments": {"text": "hello"}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let frame = client.send("POST", call.to_string()).await.into_body().frame().await.unwrap().unwrap();
        first = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        assert!(first.starts_with("id: ") && first.contains("\nretry: "), "{first}");
        if first.contains("hello") {
            return;
        }
    }
    panic!("the answer always comes later: {first}");
}
