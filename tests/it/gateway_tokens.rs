//! JSON Web Tokens at the gateway: the program, an issuer that is played, and clients over real connections.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{Asked, McpHttp, Web, field, fixture_entry, whole, with_json, within};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key with which an issuer signs.
struct Key {
    id: &'static str,
    key: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Key { id, key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// A set with its public half alone.
    fn set(&self) -> Value {
        let (x, y) = self.key.public_key_raw()[1..].split_at(32);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": encoded(x), "y": encoded(y)}]})
    }

    /// A token for an audience that speaks for somebody, and is good for so many seconds.
    fn token(&self, audience: &str, subject: &str, left: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JWT"});
        let exp = now.checked_add_signed(left).unwrap();
        let claims =
            json!({"iss": "https://id.example", "aud": [audience, "account"], "sub": subject, "iat": now, "exp": exp});
        let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let random = SystemRandom::new();
        let pkcs8 = self.key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap();
        format!("{text}.{}", encoded(key.sign(&random, text.as_bytes()).unwrap()))
    }
}

/// A client in the session of another one.
fn in_session(of: &McpHttp, mut client: McpHttp) -> McpHttp {
    client.session.clone_from(&of.session);
    client
}

fn config(jwt: &Value) -> Value {
    let servers = json!({"one": fixture_entry(&["--name", "one"]), "two": fixture_entry(&["--name", "two"])});
    json!({"gateway": {"listen": "127.0.0.1:0", "jwt": jwt}, "mcpServers": servers})
}

#[tokio::test]
async fn tokens_of_an_issuer_let_in_by_keys_from_an_address_and_from_a_file() {
    let (first, next, last, robot) = (Key::new("k1"), Key::new("k2"), Key::new("k3"), Key::new("r1"));
    let offered = Arc::new(Mutex::new(first.set()));
    let issuer = Web::start({
        let offered = offered.clone();
        move |asked: &Asked| {
            let is_right = asked.target == "/keys" && asked.header("authorization").is_none();
            Some(if is_right { with_json(&offered.lock().unwrap()) } else { whole("404 Not Found", &[], "") })
        }
    })
    .await;
    let keys = format!("http://127.0.0.1:{}/keys", issuer.port());
    let jwt = json!([
        {"name": "staff", "issuer": "https://id.example", "audience": "mcp", "jwksUrl": keys},
        {"name": "robots", "issuer": "https://id.example", "audience": "robots", "jwksFile": "robots.json", "servers": ["one"]},
    ]);
    let runtime = Runtime::new();
    let setup = runtime.setup().config(&config(&jwt)).file("robots.json", &robot.set().to_string());
    let daemon = setup.start("debug");
    daemon.wait_for_event("ALL_UP").await;
    daemon.wait_for_event("JWKS").await;
    let gateway = McpHttp::at(&url(&daemon).await);
    let ping: Value = serde_json::from_str(PING).unwrap();

    // Two people, and what each sees.
    let mut ann = gateway.key(&first.token("mcp", "ann", 600));
    ann.begin().await;
    assert!(ann.tools().await.contains(&"two__pid".to_owned()));
    let mut machine = gateway.key(&robot.token("robots", "m", 600));
    machine.begin().await;
    let tools = machine.tools().await;
    assert!(tools.contains(&"pid".to_owned()) && !tools.contains(&"two__pid".to_owned()), "{tools:?}");
    assert_eq!(machine.path("/mcp/two").status("POST", &ping).await, 404);
    let told: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!(told["gateway"]["clients"], 2, "{told}");
    let as_ann = |token: &str| in_session(&ann, gateway.key(token));
    assert_eq!(as_ann(&first.token("mcp", "ann", 300)).status("POST", &ping).await, 200);
    for (status, token) in [
        (404, first.token("mcp", "ben", 300)),
        (401, first.token("mcp", "ann", -1)),
        (401, first.token("other", "ann", 300)),
        (401, Key::new("k1").token("mcp", "ann", 300)),
    ] {
        assert_eq!(as_ann(&token).status("POST", &ping).await, status, "{token}");
    }
    let refused = as_ann(&first.token("mcp", "ann", -1)).send("POST", PING.to_owned()).await;
    assert_eq!(refused.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");

    // The issuer signs with another key, and with yet another one before anybody may look again.
    *offered.lock().unwrap() = next.set();
    assert_eq!(as_ann(&next.token("mcp", "ann", 300)).status("POST", &ping).await, 200);
    assert_eq!(as_ann(&first.token("mcp", "ann", 300)).status("POST", &ping).await, 401);
    let fetched = issuer.asked().len();
    *offered.lock().unwrap() = last.set();
    for _ in 0..5 {
        assert_eq!(as_ann(&last.token("mcp", "ann", 300)).status("POST", &ping).await, 401);
        assert_eq!(as_ann(&robot.token("mcp", "ann", 300)).status("POST", &ping).await, 401);
    }
    assert_eq!(issuer.asked().len(), fetched, "at most once a minute");

    // Another file counts without a word, or after one.
    let new = Key::new("r2");
    fs::write(daemon.path().join("robots.json"), new.set().to_string()).unwrap();
    let _done_or_nothing_to_do = runtime.ask(&["reload"]).await;
    let machine = |token: &str| in_session(&machine, gateway.key(token));
    assert_eq!(machine(&new.token("robots", "m", 300)).status("POST", &ping).await, 200);
    assert_eq!(machine(&robot.token("robots", "m", 300)).status("POST", &ping).await, 401);

    let log = daemon.log_text();
    assert!(log.contains("TOKEN_REFUSED") && log.contains("it is not for the config's audience (aud)"), "{log}");
    assert!(log.contains("kid is k3"), "{log}");
    assert!(!log.contains("eyJ"), "no token in the log");
    daemon.stop().await;
}

#[tokio::test]
async fn a_websocket_connection_ends_with_the_token_and_keys_that_are_not_there_stop_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = Key::new("k");
    let jwt = json!([
        {"name": "file", "issuer": "https://id.example", "audience": "file", "jwksFile": "keys.json"},
        {"name": "gone", "issuer": "https://id.example", "audience": "gone", "jwksUrl": format!("http://{gone}/keys")},
    ]);
    let setup = Runtime::new().setup().config(&config(&jwt)).file("keys.json", &key.set().to_string());
    let daemon = setup.start("info");
    daemon.wait_for_event("ALL_UP").await;
    let line = daemon.wait_for_event("JWKS_FAILED").await;
    let told = field(&line, "message").unwrap();
    assert!(
        told.contains("the keys for tokens of gone are not to be had") && told.contains("can't be reached"),
        "{told}"
    );
    let gateway = McpHttp::at(&url(&daemon).await);
    let refused = gateway.key(&key.token("gone", "me", 60)).send("POST", PING.to_owned()).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));

    let connect = async |token: &str| {
        let mut request = format!("ws://{}/ws", gateway.host).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = tokio::net::TcpStream::connect(&gateway.host).await.unwrap();
        client_async(request, stream).await
    };
    assert!(connect(&key.token("file", "me", -1)).await.is_err());
    // Whole seconds are cut off where the token is made.
    let (before, token) = (SystemTime::now(), key.token("file", "me", 3));
    let mut socket = connect(&token).await.unwrap().0;
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    socket.send(Message::text(hello.to_string())).await.unwrap();
    assert!(within("an answer", socket.next()).await.unwrap().unwrap().to_text().unwrap().contains("serverInfo"));
    let ended = within("the end of the connection", socket.next()).await.unwrap().unwrap();
    let Message::Close(Some(frame)) = ended else { panic!("{ended}") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "the token has ended"));
    let lasted = before.elapsed().unwrap();
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&lasted), "{lasted:?}");
    daemon.stop().await;
}
