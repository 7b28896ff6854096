//! The gateway as a whole: the program, real servers, and clients over real connections.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use rustix::process::Signal;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls};

use crate::control::Runtime;
use crate::harness::{Authority, Daemon, FakeEndpoint, McpHttp, Setup, body_of, field, fixture_entry, text_of, within};

/// A config with a gateway at a free port, and servers of these names.
fn config(gateway: Value, servers: &[&str]) -> Value {
    let mut gateway = gateway;
    gateway["listen"] = "127.0.0.1:0".into();
    let servers: serde_json::Map<_, _> =
        servers.iter().map(|name| ((*name).to_owned(), fixture_entry(&["--name", name]))).collect();
    json!({"gateway": gateway, "mcpServers": servers})
}

/// The gateway of a daemon, once all servers are up.
async fn served(daemon: &Daemon) -> McpHttp {
    daemon.wait_for_event("ALL_UP").await;
    McpHttp::at(&url(daemon).await)
}

/// Its address.
pub(super) async fn url(daemon: &Daemon) -> String {
    let line =
        daemon.wait_for("a gateway", |line| field(line, "message").is_some_and(|m| m.contains("served at"))).await;
    let url = field(&line, "message").unwrap().split_once(" at ").unwrap().1;
    url.split(';').next().unwrap().to_owned()
}

/// The next piece of a stream.
pub(super) async fn piece(stream: &mut Response<Incoming>) -> String {
    let frame = within("a piece of a stream", stream.body_mut().frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn clients_share_the_servers_of_a_link_and_each_server_has_an_address_of_its_own() {
    let endpoint = FakeEndpoint::bind().await;
    let runtime = Runtime::new();
    let mut all = config(json!({}), &["one", "two"]);
    all["mcpServers"]["one"]["endpoint"] = endpoint.url().into();
    let daemon = runtime.setup().config(&all).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let mut clients = [served(&daemon).await, McpHttp::at(&url(&daemon).await)];
    for client in &mut clients {
        let told = client.begin().await;
        assert_eq!(told["result"]["protocolVersion"], "2025-11-25", "{told}");
        assert!(client.tools().await.contains(&"one__pid".to_owned()));
    }
    let by_link = text_of(&conn.call(9, "pid", json!({})).await).to_owned();
    let mut alone = clients[0].path("/mcp/one");
    alone.begin().await;
    assert!(alone.tools().await.contains(&"pid".to_owned()));
    assert_eq!(alone.call("pid", json!({})).await, by_link);
    for client in &mut clients {
        assert_eq!(client.call("one__pid", json!({})).await, by_link);
        assert_ne!(client.call("two__pid", json!({})).await, by_link);
    }
    let said = runtime.ask(&["status"]).await;
    assert!(said.code == 0 && said.out.contains("/mcp: 3 clients\n"), "{said:?}");
    assert_eq!(clients[1].status("DELETE", &Value::Null).await, 200);
    let told: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!(told["gateway"]["clients"], 2, "{told}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_streams() {
    let daemon = Runtime::new().setup().config(&config(json!({}), &["one"])).start("info");
    let mut client = served(&daemon).await;
    client.begin().await;
    let mut stream = client.send("GET", String::new()).await;
    assert!(piece(&mut stream).await.contains("retry"));
    let mut other = client.clone();
    let call = tokio::spawn(async move { other.call("sleep", json!({"ms": 1500})).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    assert_eq!(call.await.unwrap(), "slept 1500 ms");
    assert_eq!(body_of(stream).await, "");
    assert!(daemon.exit().await.success());
    daemon.assert_nothing_left_within(Duration::from_secs(5));
}

#[tokio::test]
async fn a_reload_changes_keys_and_servers_under_conversations_that_go_on() {
    let runtime = Runtime::new();
    let key = |name: &str| json!({"name": name, "key": format!("the-key-of-{name}-0123")});
    let gateway = json!({"apiKeys": [key("ann"), key("ben")]});
    let mut all = config(gateway, &["one", "two"]);
    let daemon = runtime.setup().config(&all).start("info");
    let gateway = served(&daemon).await;
    let (mut ann, mut ben) = (gateway.key("the-key-of-ann-0123"), gateway.key("the-key-of-ben-0123"));
    ann.begin().await;
    ben.begin().await;
    assert_eq!(gateway.status("GET", &Value::Null).await, 401);
    let mut stream = ann.send("GET", String::new()).await;
    assert!(piece(&mut stream).await.contains("retry"));
    let pid = ann.call("one__pid", json!({})).await;
    ann.tools().await;
    all["gateway"]["apiKeys"] = json!([key("ann")]);
    all["mcpServers"].as_object_mut().unwrap().remove("two");
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    let said = runtime.ask(&["reload"]).await;
    assert!(said.code == 0 && said.out.contains("the gateway has other terms"), "{said:?}");
    assert!(piece(&mut stream).await.contains("list_changed"));
    assert_eq!(ann.call("pid", json!({})).await, pid, "its process and its conversation are the same");
    ann.tools().await;
    all["naming"] = "prefix".into();
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    let said = runtime.ask(&["reload"]).await;
    assert!(said.code == 0 && said.out.contains("the gateway shows its tools under other names"), "{said:?}");
    assert!(piece(&mut stream).await.contains("list_changed"));
    assert_eq!(ann.call("one__pid", json!({})).await, pid);
    assert_eq!(ben.status("POST", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await, 401);
    // Not a word of a key in the log.
    assert!(!daemon.log_text().contains("the-key-of"));
    drop(stream);
    daemon.stop().await;
}

#[tokio::test]
async fn a_gateway_that_can_t_move_lets_nobody_in_whom_it_did_not_and_is_still_there() {
    let runtime = Runtime::new();
    let mut all = config(json!({"apiKeys": [{"name": "ann", "key": "the-key-of-ann-0123"}]}), &["one"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    all["gateway"]["listen"] = format!("127.0.0.1:{port}").into();
    let daemon = runtime.setup().config(&all).start("info");
    let ann = served(&daemon).await;
    let at = url(&daemon).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let stranger = McpHttp::at(&at);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(daemon.path().join("none.pem"), "").unwrap();
    let tls = json!({"certFile": "none.pem", "keyFile": "none.pem"});
    for (listen, tls) in [
        (taken.local_addr().unwrap().to_string(), None),
        (format!("127.0.0.2:{port}"), Some(&tls)),
        (format!("127.0.0.3:{port}"), Some(&tls)),
        // One that this machine does not have.
        (format!("198.51.100.7:{port}"), None),
        (format!("198.51.100.8:{port}"), None),
    ] {
        let mut elsewhere = all.clone();
        elsewhere["gateway"]["listen"] = listen.as_str().into();
        match tls {
            Some(tls) => elsewhere["gateway"]["tls"] = tls.clone(),
            // Nobody but this machine comes to the new address.
            None if listen.starts_with("127.") => drop(elsewhere["gateway"].as_object_mut().unwrap().remove("apiKeys")),
            None => {}
        }
        fs::write(daemon.path().join("mcp_config.json"), elsewhere.to_string()).unwrap();
        let said = runtime.ask(&["reload"]).await;
        let stays = said.err.contains("the gateway stays where it was, and as it was");
        assert!(said.code == 1 && stays, "{listen}: {said:?}");
        assert_eq!(stranger.status("POST", &ping).await, 401, "{listen}");
    }
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    runtime.done(&["reload"]).await;
    let mut ann = ann.key("the-key-of-ann-0123");
    ann.begin().await;
    assert_eq!(ann.call("echo", json!({"text": "x"})).await, "x");
    daemon.stop().await;
}

#[tokio::test]
async fn the_gateway_moves_by_a_reload_or_stays_and_says_why() {
    let runtime = Runtime::new();
    let mut all = config(json!({}), &["one"]);
    let daemon = runtime.setup().config(&all).start("info");
    let mut client = served(&daemon).await;
    client.begin().await;
    let pid = client.call("pid", json!({})).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    all["gateway"]["listen"] = address.to_string().into();
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    // The same is said each time.
    for _ in 0..2 {
        let said = runtime.not_done(1, &["reload"]).await;
        assert!(
            said.contains(&format!("changed: the gateway is to listen on {address}\n"))
                && said.contains(&format!("stays where it was, and as it was: {address} can't be")),
            "{said}"
        );
        let remedy = "free it and run mcp-pipe reload, or name another one in `listen` of `gateway`";
        assert!(said.contains(remedy) && !said.contains("--listen"), "{said}");
    }
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 1 && status.out.contains("error gateway-unchanged: the gateway stays"), "{status:?}");
    assert_eq!(client.call("pid", json!({})).await, pid, "it stays");
    drop(taken);
    let said = runtime.done(&["reload"]).await;
    assert_eq!(said, format!("changed: the gateway is to listen on {address}\n"));
    assert_eq!(runtime.ask(&["status"]).await.code, 0);
    let mut moved = McpHttp::at(&format!("http://{address}/mcp"));
    moved.begin().await;
    assert_eq!(moved.call("pid", json!({})).await, pid);
    // The same port on other addresses, which can't be had beside the first.
    all["gateway"]["listen"] = format!("0.0.0.0:{}", address.port()).into();
    all["gateway"]["apiKeys"] = json!([{"name": "me", "key": "the-key-of-me-0123"}]);
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    let said = runtime.ask(&["reload"]).await;
    let told =
        format!("changed: the gateway has other terms; the gateway is to listen on 0.0.0.0:{}\n", address.port());
    assert!(said.code == 0 && said.out == told, "{said:?}");
    let is_told =
        |line: &Value| field(line, "message").is_some_and(|m| m.ends_with("under this machine's own address"));
    daemon.wait_for("the address to dial", is_told).await;
    let mut wide = moved.key("the-key-of-me-0123");
    wide.begin().await;
    assert_eq!(wide.call("pid", json!({})).await, pid);
    daemon.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_who_has_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Runtime::new().setup().config(&config(json!({}), &["one"]));
    let output = setup.args(["serve", "--listen", &address]).output().await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let holder = format!("process {}, listens there", std::process::id());
    assert!(output.status.code() == Some(1) && said.contains(&address) && said.contains(&holder), "{said}");
}

/// A connection by TLS, with a certificate of ours if `identity` is one.
async fn secured(
    authority: &Authority,
    address: &str,
    identity: bool,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = if identity {
        let cert = CertificateDer::from_pem_file(authority.file("client.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(authority.file("client.key")).unwrap();
        builder.with_client_auth_cert(vec![cert], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into().unwrap(), tcp).await
}

#[tokio::test]
async fn with_a_certificate_connections_are_encrypted_and_a_renewed_one_counts_after_a_reload() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign_server("server");
    [&authority, &other].into_iter().for_each(Authority::sign_client);
    let runtime = Runtime::new();
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &Authority| {
        for name in ["server.pem", "server.key"] {
            fs::copy(from.file(name), dir.path().join(name)).unwrap();
        }
    };
    copy(&authority);
    let tls = json!({
        "certFile": dir.path().join("server.pem"), "keyFile": dir.path().join("server.key"),
        "clientCaFile": authority.file("ca.pem"),
    });
    let daemon = runtime.setup().config(&config(json!({"tls": tls}), &["one"])).start("info");
    let client = served(&daemon).await;
    assert!(url(&daemon).await.starts_with("https://127.0.0.1:"));
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let stream = within("TLS", secured(&authority, &client.host, true)).await.unwrap();
    assert_eq!(client.send_over(stream, "POST", ping.clone()).await.status(), 400, "no session");
    // Without a certificate the connection ends, at the latest when something is read.
    let refused = match within("TLS", secured(&authority, &client.host, false)).await {
        Ok(mut stream) => tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert!(within("TLS", secured(&other, &client.host, true)).await.is_err());
    // Renewed by the same authority, and told by a reload or seen by itself.
    authority.sign_server("server");
    copy(&authority);
    let said = runtime.ask(&["reload"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let serial = |stream: &tokio_rustls::client::TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let stream = within("TLS", secured(&authority, &client.host, true)).await.unwrap();
    let renewed = CertificateDer::from_pem_file(dir.path().join("server.pem")).unwrap();
    assert_eq!(serial(&stream), renewed.to_vec());
    daemon.stop().await;
}

#[tokio::test]
async fn clients_that_are_refused_stand_in_the_log_a_few_times_and_without_what_they_sent() {
    let runtime = Runtime::new();
    let keys = json!({"apiKeys": [{"name": "me", "key": "key-of-mine-0123456"}]});
    let daemon = runtime.setup().config(&config(keys, &["one"])).start("info");
    let client = served(&daemon).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for _ in 0..9 {
        assert_eq!(client.key("nearly-my-key-012345").status("POST", &ping).await, 401);
    }
    let is_refused = |line: &Value| field(line, "event") == Some("CLIENT_REFUSED");
    let told = |line: &Value| field(line, "message").unwrap().to_owned();
    daemon.wait_for("the eighth", |line| is_refused(line) && told(line).contains("8 times so far")).await;
    let lines: Vec<String> = daemon.log_lines().iter().filter(|line| is_refused(line)).map(told).collect();
    assert_eq!(lines.len(), 4, "the first, second, fourth and eighth: {lines:?}");
    assert!(lines[0].contains("(401): it showed neither a key nor a token that is good here"), "{lines:?}");
    assert!(!daemon.log_text().contains("nearly-my-key"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_certificate_that_can_t_be_used_is_a_mistake_of_the_config() {
    let files = config(json!({"tls": {"certFile": "cert.pem", "keyFile": "key.pem"}}), &["one"]);
    for arguments in [["serve"], ["validate"]] {
        let setup = Setup::new().config(&files).file("cert.pem", "no PEM").file("key.pem", "nor this");
        let output = setup.args(arguments).output().await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
        assert!(said.contains("gateway.tls") && said.contains("cert.pem can't be used"), "{arguments:?}: {said}");
    }
}
