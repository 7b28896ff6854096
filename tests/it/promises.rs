//! What an endpoint may rely on over all lives of its servers, alone on a connection or several on one.

use serde_json::{Value, json};

use crate::harness::{
    Conn, Daemon, FakeEndpoint, Setup, config, field, fixture_entry, multiplex, names, one_server, text_of,
};

/// What the server that is called x was told, as far as it was noted by the process with this number.
fn told(daemon: &Daemon, pid: &str) -> Vec<String> {
    let prefix = format!("fixture {pid}: ");
    let lines = daemon.log_lines();
    let texts = lines.iter().filter(|line| field(line, "event") == Some("SERVER_STDERR"));
    let texts = texts.filter_map(|line| field(line, "message")?.split_once(&prefix).map(|(_, told)| told.to_owned()));
    texts.collect()
}

/// Waits until it was told so much, and what that is.
async fn wait_until_told(daemon: &Daemon, pid: &str, count: usize) -> Vec<String> {
    daemon.wait_for(&format!("{count} things to be told to {pid}"), |_| told(daemon, pid).len() >= count).await;
    told(daemon, pid)
}

async fn ask(conn: &mut Conn, id: u64, method: &str, params: Value) {
    conn.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
    let answer = conn.answer_to(id).await;
    assert!(answer["result"].is_object(), "{answer}");
}

#[tokio::test]
async fn each_life_of_a_server_is_told_what_its_endpoint_follows_and_no_connection_follows_for_another() {
    for shared in [false, true] {
        let endpoint = FakeEndpoint::bind().await;
        let entry = fixture_entry(&["--resources"]);
        let config = if shared {
            multiplex(&endpoint, [("x", entry), ("y", json!({"command": "false"}))])
        } else {
            one_server(&endpoint, &["--resources"])
        };
        let daemon = Setup::new().config(&config).start("debug");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        ask(&mut conn, 2, "resources/subscribe", json!({"uri": "mem:a"})).await;
        ask(&mut conn, 3, "logging/setLevel", json!({"level": "error"})).await;
        let first = text_of(&conn.call(4, "pid", json!({})).await).to_owned();
        let wanted = [r#"resources/subscribe {"uri":"mem:a"}"#, r#"logging/setLevel {"level":"error"}"#];
        assert_eq!(wait_until_told(&daemon, &first, 2).await, wanted, "shared: {shared}");
        conn.call(5, "exit", json!({"code": 3})).await;
        let second = text_of(&conn.call(6, "pid", json!({})).await).to_owned();
        assert_ne!(first, second);
        assert_eq!(wait_until_told(&daemon, &second, 2).await, wanted, "shared: {shared}");
        conn.close(1012).await;
        assert_eq!(wait_until_told(&daemon, &second, 3).await[2], r#"resources/unsubscribe {"uri":"mem:a"}"#);
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.call(5, "exit", json!({"code": 3})).await;
        let third = text_of(&conn.call(6, "pid", json!({})).await).to_owned();
        assert_eq!(told(&daemon, &third), [""; 0], "shared: {shared}");
        daemon.stop_closing([&mut conn]).await;
    }
}

/// A server that has one tool more in its next life, once the file `grown` is there.
fn growing(endpoint: &FakeEndpoint, dir: &tempfile::TempDir) -> Value {
    let fixture = fixture_entry(&[]);
    let line = format!(
        "if test -e '{}'; then exec {fixture} --extra new; else exec {fixture}; fi",
        dir.path().join("grown").display(),
        fixture = fixture["command"].as_str().unwrap()
    );
    let mut config = config([("x", json!({"command": "sh", "args": ["-c", line]}))]);
    config["endpoint"] = endpoint.url().into();
    config
}

#[tokio::test]
async fn a_server_alone_that_comes_back_with_other_tools_is_read_anew() {
    let (endpoint, dir) = (FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
    let daemon = Setup::new().config(&growing(&endpoint, &dir)).start("info");
    let mut conn = endpoint.accept().await;
    assert!(!names(&conn.handshake().await).contains(&"new"));
    conn.call(2, "exit", json!({"code": 3})).await;
    assert_eq!(text_of(&conn.call(3, "echo", json!({"text": "back"})).await), "back");
    std::fs::write(dir.path().join("grown"), "").unwrap();
    conn.call(4, "exit", json!({"code": 3})).await;
    conn.other("notifications/tools/list_changed").await;
    assert!(
        conn.others.iter().all(|frame| frame["method"] != "notifications/tools/list_changed"),
        "the same is no change"
    );
    // This one doesn't listen.
    let close = conn.wait_for_close().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1000, "{close}");
    let mut conn = endpoint.accept().await;
    assert!(names(&conn.handshake().await).contains(&"new"));
    daemon.stop_closing([&mut conn]).await;
}
