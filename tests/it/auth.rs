//! Remote servers that want to know who asks: tokens, authorization servers, and logins.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Asked, AuthServer, Conn, Daemon, FakeEndpoint, Part, Setup, Web, config, field, protected, text_of, whole,
    with_json, within,
};

const NOTHING: fn(&Asked) -> Option<Vec<Part>> = |_| None;

/// A good server that takes this token only.
async fn taking(tokens: Arc<Mutex<BTreeSet<String>>>) -> Web {
    protected(tokens, "http://127.0.0.1:1".to_owned(), NOTHING).await
}

fn tokens(all: &[&str]) -> Arc<Mutex<BTreeSet<String>>> {
    Arc::new(Mutex::new(all.iter().map(|token| (*token).to_owned()).collect()))
}

/// The remote server `x`, with this `auth`, on an endpoint.
async fn start(setup: Setup, url: &str, auth: Value) -> (FakeEndpoint, Daemon, Conn) {
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": url, "endpoint": endpoint.url(), "auth": auth, "timeout": "20s"});
    let daemon = setup.config(&config([("x", entry)])).start("debug");
    let conn = endpoint.accept().await;
    (endpoint, daemon, conn)
}

/// The same where the server is never of use: what is said of its first life that came to nothing.
async fn fails(setup: Setup, url: &str, auth: Value) -> (Daemon, String) {
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": url, "endpoint": endpoint.url(), "auth": auth, "startTimeout": "45s"});
    let daemon = setup.config(&config([("x", entry)])).start("debug");
    let line = daemon.wait_for_event("ERROR_SERVER_START").await;
    let said = field(&line, "message").unwrap_or_default().to_owned();
    drop(endpoint);
    (daemon, said)
}

fn script(text: &str) -> impl Fn(&Path) {
    move |dir| {
        std::fs::write(dir.join("helper.sh"), text).unwrap();
        std::fs::write(dir.join("runs"), "").unwrap();
    }
}

fn runs(daemon: &Daemon) -> usize {
    std::fs::read_to_string(daemon.path().join("runs")).unwrap().lines().count()
}

#[tokio::test]
async fn a_token_goes_with_each_request_and_is_seen_nowhere() {
    let web = taking(tokens(&["st4tic-t0ken-st4tic"])).await;
    let setup = Setup::new().env("KEY", "st4tic-t0ken-st4tic");
    let (_endpoint, daemon, mut conn) = start(setup, &web.url(), json!({"bearer": "${KEY}"})).await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    let log = daemon.log_text();
    daemon.stop_closing([&mut conn]).await;
    assert!(web.asked().iter().all(|asked| asked.exact("authorization") == Some("Bearer st4tic-t0ken-st4tic")));
    assert!(!log.contains("st4tic-t0ken"), "{log}");
}

#[tokio::test]
async fn a_token_that_can_not_be_renewed_is_told_and_asked_for_no_storm() {
    let web = taking(tokens(&[])).await;
    let (daemon, why) = fails(Setup::new(), &web.url(), json!({"bearer": "st4tic-t0ken-st4tic"})).await;
    assert!(
        why.contains("answered HTTP 401: it does not accept the token of auth.bearer; put a valid one there"),
        "{why}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = web.asked().len();
    assert!((1..12).contains(&asked), "{asked} requests in 2 s");
    drop(daemon);
}

#[tokio::test]
async fn a_file_is_read_again_once_when_its_token_is_refused_however_many_notice() {
    let good = tokens(&["f1le-t0ken-0001-f1le"]);
    let web = taking(good.clone()).await;
    let setup = Setup::new().file("token", "f1le-t0ken-0001-f1le\n");
    let (_endpoint, daemon, mut conn) = start(setup, &web.url(), json!({"bearerFile": "token"})).await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    *good.lock().unwrap() = BTreeSet::from(["f1le-t0ken-0002-f1le".to_owned()]);
    std::fs::write(daemon.path().join("token"), "Bearer f1le-t0ken-0002-f1le").unwrap();
    for id in 10..30 {
        conn.send_call(id, "echo", json!({})).await;
    }
    for id in 10..30 {
        assert_eq!(text_of(&conn.answer_to(id).await), "echo");
    }
    // Once refused, once taken.
    assert!(web.calls("echo") <= 1 + 2 * 20, "{}", web.calls("echo"));
    let log = daemon.log_text();
    daemon.stop_closing([&mut conn]).await;
    assert!(!log.contains("f1le-t0ken"), "{log}");
}

#[tokio::test]
async fn a_file_without_a_better_token_ends_the_life_after_one_try_and_another_token_brings_it_back() {
    let good = tokens(&[]);
    let web = taking(good.clone()).await;
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": web.url(), "endpoint": endpoint.url(), "auth": {"bearerFile": "token"}});
    let daemon = Setup::new().file("token", "").config(&config([("x", entry)])).start("debug");
    let said = |text: &'static str| {
        let daemon = &daemon;
        async move { daemon.wait_for(text, |line| field(line, "message").is_some_and(|said| said.contains(text))).await }
    };
    said("(auth.bearerFile) holds no token: it is empty").await;
    assert_eq!(web.asked().len(), 0, "nothing is sent without a token");
    std::fs::write(daemon.path().join("token"), "wr0ng-t0ken-wr0ng").unwrap();
    said("it does not accept the token of auth.bearerFile, and no other is to be had there; have a valid one").await;
    good.lock().unwrap().insert("r1ght-t0ken-r1ght".to_owned());
    std::fs::write(daemon.path().join("token"), "r1ght-t0ken-r1ght").unwrap();
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert!(!daemon.log_text().contains("t0ken-"), "{}", daemon.log_text());
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_program_is_run_once_for_all_that_are_refused_and_gets_no_token_of_others() {
    let good = tokens(&["pr1nted-t0ken-1-x"]);
    let web = taking(good.clone()).await;
    // Each run prints another token.
    let helper = "echo \"$1 $OTHER $PLAIN\" >> runs; printf 'pr1nted-t0ken-%s-x\\n' $(wc -l < runs); echo warned of pr1nted-t0ken-1-x >&2";
    let setup = Setup::new().prepared(script(helper)).env("OTHER", "0ther-servers-t0ken").env("PLAIN", "plain");
    let endpoint = FakeEndpoint::bind().await;
    let entry =
        json!({"url": web.url(), "endpoint": endpoint.url(), "auth": {"bearerCommand": ["sh", "helper.sh", "a b;c"]}});
    let other = json!({"url": "http://127.0.0.1:1/", "endpoint": endpoint.url(), "auth": {"bearer": "${OTHER}"}, "disabled": true});
    let daemon = setup.config(&config([("x", entry), ("other", other)])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    assert_eq!(runs(&daemon), 1);
    assert_eq!(std::fs::read_to_string(daemon.path().join("runs")).unwrap(), "a b;c  plain\n");
    *good.lock().unwrap() = BTreeSet::from(["pr1nted-t0ken-2-x".to_owned()]);
    for id in 10..30 {
        conn.send_call(id, "echo", json!({})).await;
    }
    for id in 10..30 {
        assert_eq!(text_of(&conn.answer_to(id).await), "echo");
    }
    assert_eq!(runs(&daemon), 2);
    // What is printed next is no better.
    good.lock().unwrap().clear();
    let why = conn.call(30, "echo", json!({})).await["error"]["message"].to_string();
    assert!(
        why.contains("the token of auth.bearerCommand, not even a fresh one; see what the program prints"),
        "{why}"
    );
    let log = daemon.log_text();
    daemon.stop_closing([&mut conn]).await;
    assert!(!log.contains("pr1nted-t0ken") && !log.contains("0ther-servers"), "{log}");
}

#[tokio::test]
async fn a_program_that_fails_is_told_with_its_words_but_not_with_tokens() {
    let web = taking(tokens(&[])).await;
    for (text, want) in [
        (
            "echo no key for kn0wn-t0ken-kn0wn >&2; exit 3",
            "the program of auth.bearerCommand has failed (exit status: 3); its stderr: no key for …",
        ),
        ("exit 0", "the program of auth.bearerCommand holds no token: it is empty"),
        ("echo two; echo lines", "holds more than a token"),
        ("head -c 100000 /dev/zero | tr '\\0' x", "holds more than a token"),
        ("printf '\\377'", "prints no text"),
    ] {
        let endpoint = FakeEndpoint::bind().await;
        let entry =
            json!({"url": web.url(), "endpoint": endpoint.url(), "auth": {"bearerCommand": ["sh", "helper.sh"]}});
        let other =
            json!({"url": "http://127.0.0.1:1/", "endpoint": endpoint.url(), "auth": {"bearer": "kn0wn-t0ken-kn0wn"}});
        let daemon =
            Setup::new().prepared(script(text)).config(&config([("x", entry), ("other", other)])).start("debug");
        daemon.wait_for(want, |line| field(line, "message").is_some_and(|said| said.contains(want))).await;
        assert!(!daemon.log_text().contains("kn0wn-t0ken"), "{}", daemon.log_text());
    }
    let (_daemon, why) = fails(Setup::new(), &web.url(), json!({"bearerCommand": ["no-such-program-here"]})).await;
    assert!(why.contains("auth.bearerCommand can't be started: command not found: no-such-program-here"), "{why}");
    assert!(why.contains("install it, or write its whole path as `bearerCommand`"), "{why}");
    assert_eq!(web.asked().len(), 0);
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
    let web = taking(tokens(&[])).await;
    let setup = Setup::new().prepared(script("sleep 1000 & echo $! >> runs; wait"));
    let (daemon, why) = fails(setup, &web.url(), json!({"bearerCommand": ["sh", "helper.sh"]})).await;
    assert!(why.contains("auth.bearerCommand has not ended within 10.0 s"), "{why}");
    let text = std::fs::read_to_string(daemon.path().join("runs")).unwrap();
    let child = text.lines().next().unwrap().to_owned();
    within("the program's child to be gone", async {
        while std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A client's way to a token, and the calls that wait for another one.
#[tokio::test]
async fn a_client_is_given_a_token_and_another_one_once_for_all_that_are_refused() {
    let authority = AuthServer::start(NOTHING).await;
    let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
    let auth =
        json!({"clientCredentials": {"clientId": "me:1", "clientSecret": "${SECRET}", "scope": ["tools", "more"]}});
    let setup = Setup::new().env("SECRET", "cl1ent-s3cret/%");
    let (_endpoint, daemon, mut conn) = start(setup, &web.url(), auth).await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    authority.revoke();
    for id in 10..30 {
        conn.send_call(id, "echo", json!({})).await;
    }
    for id in 10..30 {
        assert_eq!(text_of(&conn.answer_to(id).await), "echo");
    }
    let asked = authority.asked("/token");
    assert_eq!(asked.len(), 2, "{asked:?}");
    for asked in &asked {
        let pair = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "me%3A1:cl1ent-s3cret%2F%25");
        assert_eq!(asked.exact("authorization"), Some(&*format!("Basic {pair}")));
        assert_eq!(asked.field("grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(asked.field("scope").as_deref(), Some("tools more"));
        assert_eq!(asked.field("resource"), Some(web.url()));
        assert!(!asked.text.contains("s3cret"), "{}", asked.text);
    }
    let log = daemon.log_text();
    daemon.stop_closing([&mut conn]).await;
    assert!(!log.contains("s3cret"), "{log}");
}

/// That is between mcp-pipe and the server, and stands beside what whoever calls can do.
#[tokio::test]
async fn a_modern_server_is_told_by_which_extension_of_mcp_it_is_asked() {
    let own = json!({"io.modelcontextprotocol/oauth-client-credentials": {}});
    for (auth, extensions) in [
        (json!({"clientCredentials": {"clientId": "me", "clientSecret": "cl1ent-s3cret"}}), Some(&own)),
        (json!({"bearer": "st4tic-t0ken-st4tic"}), None),
    ] {
        let authority = AuthServer::start(NOTHING).await;
        authority.good.lock().unwrap().insert("st4tic-t0ken-st4tic".to_owned());
        let web = protected(authority.good.clone(), authority.issuer(), crate::eras::as_modern).await;
        let (_endpoint, daemon, mut conn) = start(Setup::new(), &web.url(), auth).await;
        conn.handshake().await;
        assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
        let told: Vec<Value> =
            web.asked().into_iter().filter(|asked| !asked.body.is_null()).map(|asked| asked.body).collect();
        for body in &told {
            let capabilities = &body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
            assert_eq!((capabilities.get("extensions"), &capabilities["sampling"]), (extensions, &json!({})), "{body}");
        }
        assert!(told.iter().any(|body| body["method"] == "tools/call"), "{told:?}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_client_shows_its_secret_or_its_signature_as_the_authorization_server_takes_it() {
    let key = rcgen::KeyPair::generate().unwrap();
    for (methods, more, is_signed) in [
        (json!(["client_secret_post"]), json!({"clientSecret": "cl1ent-s3cret"}), false),
        (json!(["private_key_jwt"]), json!({"privateKeyFile": "key.pem", "keyId": "k-1"}), true),
    ] {
        let told = methods.clone();
        let authority = AuthServer::start(move |asked| {
            let is_it = asked.target == "/.well-known/oauth-authorization-server";
            is_it.then(|| {
                let mut metadata = crate::harness::metadata(asked);
                metadata["token_endpoint_auth_methods_supported"] = told.clone();
                metadata["token_endpoint_auth_signing_alg_values_supported"] = json!(["RS256", "ES256"]);
                with_json(&metadata)
            })
        })
        .await;
        let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
        let mut client = json!({"clientId": "me"});
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let setup = Setup::new().file("key.pem", &key.serialize_pem());
        let (_endpoint, daemon, mut conn) = start(setup, &web.url(), json!({"clientCredentials": client})).await;
        conn.handshake().await;
        daemon.stop_closing([&mut conn]).await;
        let asked = authority.asked("/token");
        let asked = &asked[0];
        assert_eq!((asked.exact("authorization"), asked.field("client_id").as_deref()), (None, Some("me")));
        assert_eq!(asked.field("client_secret").as_deref(), (!is_signed).then_some("cl1ent-s3cret"));
        // Without a scope in the config, all that the server knows is asked for.
        assert_eq!(asked.field("scope").as_deref(), Some("tools"));
        if is_signed {
            let token = asked.field("client_assertion").unwrap();
            let (text, signature) = token.rsplit_once('.').unwrap();
            let decode = |text: &str| base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text).unwrap();
            let public = ring::signature::UnparsedPublicKey::new(
                &ring::signature::ECDSA_P256_SHA256_FIXED,
                key.public_key_raw(),
            );
            public.verify(text.as_bytes(), &decode(signature)).unwrap();
            let claims: Value = serde_json::from_slice(&decode(text.split('.').nth(1).unwrap())).unwrap();
            assert_eq!((&claims["aud"], &claims["sub"]), (&json!(authority.issuer()), &json!("me")));
        }
    }
}

/// What is wrong with an authorization server, or with what a server says of it: nobody is sent a secret, and it is told.
#[tokio::test]
async fn a_secret_goes_to_nobody_but_whom_the_server_names_as_itself() {
    type Script = Box<dyn Fn(&Asked) -> Option<Vec<Part>> + Send + Sync>;
    let nothing = || -> Script { Box::new(|_| None) };
    let of_resource = |document: fn(&Asked) -> Value| -> Script {
        Box::new(move |asked| {
            asked.target.starts_with("/.well-known/oauth-protected-resource/mcp").then(|| with_json(&document(asked)))
        })
    };
    let of_server = |change: fn(&mut Value)| -> Script {
        Box::new(move |asked| {
            asked.target.starts_with("/.well-known/oauth-authorization-server").then(|| {
                let mut metadata = crate::harness::metadata(asked);
                change(&mut metadata);
                with_json(&metadata)
            })
        })
    };
    let cases: Vec<(&str, Script, Script, Value)> = vec![
        (
            "is about another resource (https://evil.example:443/…), so no token is asked for",
            of_resource(
                |_| json!({"resource": "https://evil.example/mcp", "authorization_servers": ["http://127.0.0.1:9"]}),
            ),
            nothing(),
            json!({}),
        ),
        (
            "names no authorization server",
            of_resource(|asked| json!({"resource": format!("{}/mcp", asked.origin())})),
            nothing(),
            json!({}),
        ),
        (
            "it does not say which authorization server it trusts (RFC 9728)",
            Box::new(|asked| asked.target.starts_with("/.well-known/").then(|| whole("404 Not Found", &[], ""))),
            nothing(),
            json!({}),
        ),
        (
            "the authorization server http://as.example:80/ has an address without TLS",
            of_resource(
                |asked| json!({"resource": format!("{}/mcp", asked.origin()), "authorization_servers": ["http://as.example"]}),
            ),
            nothing(),
            json!({}),
        ),
        (
            "says of itself is about another issuer, so no token is asked for",
            nothing(),
            of_server(|metadata| metadata["issuer"] = json!("https://evil.example")),
            json!({}),
        ),
        (
            "names a token_endpoint without TLS (http://evil.example:80/…)",
            nothing(),
            of_server(|metadata| metadata["token_endpoint"] = json!("http://evil.example/token")),
            json!({}),
        ),
        (
            "takes no client's secret, but private_key_jwt",
            nothing(),
            of_server(|metadata| metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"])),
            json!({}),
        ),
        ("than the issuer in its entry", nothing(), nothing(), json!({"issuer": "https://other.example"})),
        (
            "answers with more than 256 KiB",
            nothing(),
            Box::new(|asked| {
                let is_it = asked.target.starts_with("/.well-known/oauth-authorization-server");
                let piece = Part::Write(vec![b' '; 1 << 16]);
                let head = Part::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n".into());
                is_it.then(|| std::iter::once(head).chain(std::iter::repeat_n(piece, 1600)).collect())
            }),
            json!({}),
        ),
        (
            "has not answered within 10.0 s",
            nothing(),
            Box::new(|asked| {
                asked.target.starts_with("/.well-known/oauth-authorization-server").then(|| vec![Part::Hang])
            }),
            json!({}),
        ),
        (
            "answers HTTP 500",
            nothing(),
            Box::new(|asked| {
                asked.target.starts_with("/.well-known/oauth-authorization-server").then(|| whole("500 Oops", &[], ""))
            }),
            json!({}),
        ),
        (
            "says nothing of itself",
            nothing(),
            Box::new(|asked| {
                asked
                    .target
                    .starts_with("/.well-known/")
                    .then(|| whole("307 Temporary Redirect", &["location: http://127.0.0.1:1/"], ""))
            }),
            json!({}),
        ),
    ];
    let each = cases.into_iter().map(|(want, of_resource, of_server, more)| async move {
        let authority = AuthServer::start(move |asked| of_server(asked)).await;
        let web = protected(authority.good.clone(), authority.issuer(), move |asked| of_resource(asked)).await;
        let mut client = json!({"clientId": "me", "clientSecret": "cl1ent-s3cret-cl1ent"});
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (daemon, why) = fails(Setup::new(), &web.url(), json!({"clientCredentials": client})).await;
        assert!(why.contains("can't be told who asks: ") && why.contains(want), "{want}: {why}");
        assert!(authority.asked("/token").is_empty(), "{want}");
        assert!(!daemon.log_text().contains("cl1ent-s3cret"), "{want}");
        for asked in web.asked().iter().chain(&authority.asked("/.well-known/oauth-authorization-server")) {
            assert!(!asked.sent.contains("Basic") && asked.exact("authorization").is_none(), "{want}: {asked:?}");
        }
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn what_an_authorization_server_says_in_a_refusal_is_told_without_secrets_and_its_redirect_is_not_followed() {
    let elsewhere = Web::start(|_| None).await;
    let to = format!("location: {}", elsewhere.url());
    let refusals: Vec<(&str, Vec<Part>)> = vec![
        (
            "gives no token: HTTP 401 (invalid_client: wrong: …)",
            whole(
                "401 Unauthorized",
                &["content-type: application/json"],
                r#"{"error":"invalid_client","error_description":"wrong: cl1ent-s3cret-cl1ent"}"#,
            ),
        ),
        (
            "redirects a request for a token (HTTP 307), which is not followed",
            whole("307 Temporary Redirect", &[&to], ""),
        ),
        ("redirects a request for a token (HTTP 302), which is not followed", whole("302 Found", &[&to], "")),
        ("answers a request for a token with no JSON", whole("200 OK", &[], "access_token=cl1ent-s3cret-cl1ent")),
        ("has not answered within 10.0 s", vec![Part::Hang]),
    ];
    let each = refusals.into_iter().map(|(want, parts)| async move {
        let authority = AuthServer::start(move |asked| (asked.target == "/token").then(|| parts.clone())).await;
        let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
        let auth = json!({"clientCredentials": {"clientId": "me", "clientSecret": "cl1ent-s3cret-cl1ent"}});
        let (daemon, why) = fails(Setup::new(), &web.url(), auth).await;
        assert!(why.contains(want), "{want}: {why}");
        assert!(!daemon.log_text().contains("cl1ent-s3cret"), "{want}");
    });
    futures_util::future::join_all(each).await;
    assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
}

#[tokio::test]
async fn metadata_at_another_origin_is_not_asked_for() {
    let evil = Web::start(|_| Some(whole("200 OK", &[], "{}"))).await;
    let authority = AuthServer::start(NOTHING).await;
    let (good, issuer, at) = (authority.good.clone(), authority.issuer(), evil.url());
    let web = Web::start(move |asked| match asked.target.as_str() {
        "/.well-known/oauth-protected-resource/mcp" => Some(with_json(&json!({
            "resource": format!("{}/mcp", asked.origin()), "authorization_servers": [issuer],
        }))),
        _ => {
            let token = asked.exact("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let is_good = token.is_some_and(|token| good.lock().unwrap().contains(token));
            let challenge = format!("www-authenticate: Bearer resource_metadata=\"{at}\"");
            (!is_good).then(|| whole("401 Unauthorized", &[&challenge], ""))
        }
    })
    .await;
    let auth = json!({"clientCredentials": {"clientId": "me", "clientSecret": "cl1ent-s3cret"}});
    let (_endpoint, daemon, mut conn) = start(Setup::new(), &web.url(), auth).await;
    conn.handshake().await;
    daemon.stop_closing([&mut conn]).await;
    assert!(evil.asked().is_empty(), "{:?}", evil.asked());
}

#[tokio::test]
async fn a_token_that_is_refused_again_and_again_costs_one_request_for_another_in_each_life() {
    let authority = AuthServer::start(NOTHING).await;
    // The authorization server's tokens are good nowhere.
    let web = protected(tokens(&[]), authority.issuer(), NOTHING).await;
    let auth = json!({"clientCredentials": {"clientId": "me", "clientSecret": "cl1ent-s3cret"}});
    let (daemon, why) = fails(Setup::new(), &web.url(), auth).await;
    let want = "answered HTTP 401: it does not accept the token of auth.clientCredentials, not even a fresh one; see for what its";
    assert!(why.contains(want), "{why}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!((1..12).contains(&authority.asked("/token").len()), "{}", authority.asked("/token").len());
    drop(daemon);
}

#[tokio::test]
async fn a_token_that_lacks_a_scope_is_told_with_that() {
    let refused =
        "www-authenticate: Bearer error=\"insufficient_scope\", scope=\"files:write a\u{7f}b\"".replace('\u{7f}', "");
    let web = protected(tokens(&["st4tic-t0ken-st4tic"]), String::new(), move |asked| {
        (asked.tool() == Some("x")).then(|| whole("403 Forbidden", &[&refused], ""))
    })
    .await;
    let (_endpoint, daemon, mut conn) = start(Setup::new(), &web.url(), json!({"bearer": "st4tic-t0ken-st4tic"})).await;
    conn.handshake().await;
    let answer = conn.call(2, "x", json!({})).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("answered HTTP 403: its token lacks the scope 'files:write ab', which is needed for this"),
        "{message}"
    );
    assert_eq!(text_of(&conn.call(3, "echo", json!({})).await), "echo", "the others go on");
    daemon.stop_closing([&mut conn]).await;
}

/// `mcp-pipe login x`, and what a person does in a browser.
struct Person {
    child: tokio::process::Child,
    lines: BufReader<tokio::process::ChildStdout>,
}

impl Person {
    async fn starts(dir: &Path, entry: Value) -> Person {
        // Not the file of a daemon that runs there, which would notice.
        std::fs::write(dir.join("login.json"), json!({"mcpServers": {"x": entry}}).to_string()).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
        command
            .args(["login", "x", "--config", "login.json"])
            .env_clear()
            .current_dir(dir)
            .env("HOME", dir)
            .kill_on_drop(true);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Person { child, lines }
    }

    /// The address that is printed.
    async fn address(&mut self) -> String {
        let search = async {
            loop {
                let mut line = String::new();
                if self.lines.read_line(&mut line).await.unwrap() == 0 {
                    let mut said = String::new();
                    self.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                    panic!("no address, but: {said}");
                }
                if line.trim_start().starts_with("http://") {
                    return line.trim().to_owned();
                }
            }
        };
        within("an address to log in at", search).await
    }

    /// The exit code, and what was said.
    async fn ends(mut self) -> (i32, String) {
        let mut said = String::new();
        within("the end of the login", async {
            self.lines.read_to_string(&mut said).await.unwrap();
            self.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        })
        .await;
        (self.child.wait().await.unwrap().code().unwrap(), said)
    }
}

/// Asks for a page, and says what answers: the whole head and body.
async fn visit(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = vec![0; 16 * 1024];
    let n = within("a page", stream.read(&mut reply)).await.unwrap();
    String::from_utf8_lossy(&reply[..n]).into_owned()
}

/// Where a page sends a browser.
async fn sent_to(url: &str) -> String {
    let page = visit(url).await;
    let to = page.lines().find_map(|line| line.strip_prefix("location: "));
    to.unwrap_or_else(|| panic!("no redirect: {page}")).to_owned()
}

/// A login at a server of this entry, by a person who goes along.
pub(crate) async fn logged_in(dir: &Path, entry: Value) -> String {
    let mut person = Person::starts(dir, entry).await;
    let back = sent_to(&person.address().await).await;
    assert!(visit(&back).await.starts_with("HTTP/1.1 200"));
    let (code, said) = person.ends().await;
    assert_eq!(code, 0, "{said}");
    said
}

#[tokio::test]
async fn a_person_logs_in_once_and_the_login_is_used_and_renewed_and_forgotten() {
    let authority = AuthServer::start(NOTHING).await;
    let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": web.url(), "endpoint": endpoint.url()});
    let setup = Setup::new();
    let dir = setup.folder().to_owned();
    let said = logged_in(&dir, entry.clone()).await;
    assert!(said.contains("logged in at x") && said.contains("mcp-pipe restart x") && !said.contains("rt-0"), "{said}");
    let registered = &authority.asked("/register")[0].body;
    let redirect = registered["redirect_uris"][0].as_str().unwrap().to_owned();
    assert!(redirect.starts_with("http://127.0.0.1:") && redirect.ends_with("/callback"), "{redirect}");
    assert_eq!(
        (&registered["application_type"], &registered["token_endpoint_auth_method"]),
        (&json!("native"), &json!("none"))
    );
    let asked = &authority.asked("/authorize")[0];
    assert_eq!(
        (asked.field("scope").as_deref(), asked.field("resource")),
        (Some("tools offline_access"), Some(web.url()))
    );
    let asked = &authority.asked("/token")[0];
    assert_eq!((asked.field("resource"), asked.field("redirect_uri")), (Some(web.url()), Some(redirect)));
    // Only its owner gets at it.
    let folder = dir.join(".local/state/mcp-pipe/mcp-pipe-state");
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777;
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    let kept = files.iter().find(|file| file.file_name().unwrap().to_str().unwrap().starts_with("login-")).unwrap();
    assert_eq!((mode(&folder), mode(kept)), (0o700, 0o600));
    let text = || std::fs::read_to_string(kept).unwrap();
    assert!(text().contains("rt-0001") && text().contains(&authority.issuer()), "{}", text());

    let daemon = setup.config(&config([("x", entry)])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    assert_eq!(authority.asked("/token").len(), 1, "what there is is used");
    // Its tokens are refused, twice in a row: each is renewed by the refresh token that came with the one before.
    for n in 2..4 {
        authority.revoke();
        for id in 10 * n..10 * n + 5 {
            conn.send_call(id, "echo", json!({})).await;
        }
        for id in 10 * n..10 * n + 5 {
            assert_eq!(text_of(&conn.answer_to(id).await), "echo");
        }
        assert_eq!(authority.asked("/token").len(), n);
        assert!(text().contains(&format!("rt-000{n}")), "{}", text());
        assert_eq!(mode(kept), 0o600);
    }
    let asked = &authority.asked("/token")[2];
    assert!(
        asked.field("refresh_token").unwrap().starts_with("rt-0002")
            && asked.field("client_id").unwrap().starts_with("client-")
    );
    // A refresh token that is good no more: a person has to log in again.
    authority.good.lock().unwrap().clear();
    conn.send_call(90, "echo", json!({})).await;
    let want = "gives no token: HTTP 400 (invalid_grant";
    daemon
        .wait_for(want, |line| {
            field(line, "message")
                .is_some_and(|said| said.contains(want) && said.contains("log in again: mcp-pipe login x"))
        })
        .await;
    let log = daemon.log_text();
    for secret in ["at-000", "rt-000", "client-000", "code-000"] {
        assert!(secret == "client-000" || !log.contains(secret), "{secret} in {log}");
    }
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
    let mut out = out;
    let out = out.args(["logout", "x"]).env_clear().current_dir(&dir).env("HOME", &dir).output().unwrap();
    assert!(
        out.status.success() && String::from_utf8_lossy(&out.stdout).contains("the login at x is forgotten here"),
        "{out:?}"
    );
    assert!(!kept.exists());
    drop(daemon);
}

#[tokio::test]
async fn a_login_that_lacks_something_is_not_begun_and_one_that_is_not_answered_for_comes_to_nothing() {
    let change = |change: fn(&mut Value)| async move {
        AuthServer::start(move |asked| {
            asked.target.starts_with("/.well-known/oauth-authorization-server").then(|| {
                let mut metadata = crate::harness::metadata(asked);
                change(&mut metadata);
                with_json(&metadata)
            })
        })
        .await
    };
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for (authority, auth, want) in [
        (change(|it| it["code_challenge_methods_supported"] = json!(["plain"])).await, json!({}), "PKCE with S256"),
        (
            change(|it| it["registration_endpoint"] = json!(null)).await,
            json!({}),
            "registers no clients by itself; register one there",
        ),
        (
            change(|it| it["authorization_endpoint"] = json!(null)).await,
            json!({}),
            "names no page on which a person could log in",
        ),
        (change(|it| it["issuer"] = json!("https://evil")).await, json!({}), "is about another issuer"),
        (
            change(|_| {}).await,
            json!({"redirectPort": port}),
            "of 127.0.0.1 can't be had; stop what has it, or name another redirectPort",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
        let person = Person::starts(dir.path(), json!({"url": web.url(), "auth": {"login": auth}})).await;
        let (code, said) = person.ends().await;
        assert!(code == 1 && said.contains(want) && !said.contains("/authorize"), "{want}: {code} {said}");
        assert!(authority.asked("/token").is_empty());
    }
    // Answers to nobody's question, and of others.
    let authority = change(|_| {}).await;
    let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
    for (query, want) in [
        ("code=c&state=STATE&iss=https%3A%2F%2Fevil", "the answer names another one"),
        ("code=c&state=STATE", "this one lacks that"),
        ("error=access_denied&error_description=no%1b[2J&state=STATE&iss=ISS", "says no (access_denied: no\\u{1b}[2J)"),
        ("code=wrong&state=STATE&iss=ISS", "gives no token: HTTP 400 (invalid_grant"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let client = json!({"login": {"clientId": "mine", "clientSecret": "cl1ent-s3cret-cl1ent"}});
        let mut person = Person::starts(dir.path(), json!({"url": web.url(), "auth": client})).await;
        let back = sent_to(&person.address().await).await;
        let (place, own) = back.split_once('?').unwrap();
        let of = |name: &str| own.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
        assert!(
            visit(&format!("{place}?code=c&state=guess")).await.starts_with("HTTP/1.1 404"),
            "a guess ends nothing"
        );
        let query = query.replace("STATE", &of("state=")).replace("ISS", &of("iss="));
        visit(&format!("{place}?{query}")).await;
        let (code, said) = person.ends().await;
        assert!(code == 1 && said.contains(want), "{want}: {code} {said}");
        assert!(!said.contains("cl1ent-s3cret"), "{said}");
    }
    assert!(authority.asked("/register").is_empty(), "the client of the config counts");
}

/// A server that wants to know who asks and names no authorization server, as those of MCP 2025-03-26; at its own origin there is one, which
/// says this of itself.
async fn of_old(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Web {
    Web::start(move |asked| {
        Some(match asked.target.split('?').next().unwrap_or_default() {
            "/mcp" => whole("401 Unauthorized", &["www-authenticate: Bearer"], ""),
            "/.well-known/oauth-authorization-server" => {
                let mut metadata = crate::harness::metadata(asked);
                change(&mut metadata);
                with_json(&metadata)
            }
            "/register" => with_json(&json!({"client_id": "registered"})),
            _ => whole("404 Not Found", &[], ""),
        })
    })
    .await
}

#[tokio::test]
async fn a_server_that_names_no_authorization_server_gets_a_login_at_its_own_origin_and_no_secret() {
    let elsewhere = Web::start(|_| None).await;
    let other = elsewhere.url();
    let away = |endpoint: &'static str| {
        let other = other.clone();
        move |it: &mut Value| it[endpoint] = json!(other)
    };
    let secret = json!({"clientId": "mine", "clientSecret": "cl1ent-s3cret-cl1ent"});
    let lacks = "does not say which authorization server it trusts, so nothing says for whom the clientSecret is";
    let sent = "and sends whoever logs in elsewhere (http://127.0.0.1:";
    let by_token = "write one into its entry: \"auth\": {\"bearer\": \"${TOKEN}\"}";
    for (web, auth, want) in [
        (of_old(|_| {}).await, secret, lacks),
        (of_old(away("token_endpoint")).await, json!({}), sent),
        (of_old(away("authorization_endpoint")).await, json!({}), sent),
        (of_old(away("registration_endpoint")).await, json!({}), sent),
        // The client of the config needs no registration, and nobody says that it is none of theirs.
        (of_old(away("token_endpoint")).await, json!({"clientId": "mine"}), sent),
        (Web::start(|_| Some(whole("401 Unauthorized", &[], ""))).await, json!({}), by_token),
        (of_old(away("token_endpoint")).await, json!({}), by_token),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let person = Person::starts(dir.path(), json!({"url": web.url(), "auth": {"login": auth}})).await;
        let (code, said) = person.ends().await;
        assert!(code == 1 && said.contains(want) && !said.contains("/authorize"), "{want}: {code} {said}");
        let asked: Vec<String> = web.asked().into_iter().map(|asked| asked.target).collect();
        assert!(!asked.iter().any(|target| target == "/register" || target == "/token"), "{want}: {asked:?}");
        assert!(!said.contains("cl1ent-s3cret") && elsewhere.asked().is_empty(), "{want}: {said}");
    }
    // With none of that the person is sent there, and nowhere else.
    let web = of_old(|_| {}).await;
    for auth in [json!({}), json!({"clientId": "mine"})] {
        let dir = tempfile::tempdir().unwrap();
        let mut person = Person::starts(dir.path(), json!({"url": web.url(), "auth": {"login": auth}})).await;
        let page = person.address().await;
        assert!(page.starts_with(&format!("{}/authorize?", web.url().trim_end_matches("/mcp"))), "{page}");
        assert!(!page.contains("resource="), "{page}");
    }
}

#[tokio::test]
async fn a_login_says_whom_it_is_not_for_and_can_be_given_up() {
    let open = Web::start(|asked| (asked.target != "/mcp").then(|| whole("404 Not Found", &[], ""))).await;
    let gone = Web::start(|_| Some(whole("404 Not Found", &[], ""))).await;
    let authority = AuthServer::start(NOTHING).await;
    let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
    for (entry, code, want) in [
        (json!({"url": open.url()}), 0, "x needs no login: it lets anybody in"),
        (json!({"url": gone.url()}), 1, "answers HTTP 404 and does not say that anybody could log in there"),
        (json!({"url": "http://127.0.0.1:1/mcp"}), 1, "can't be reached"),
        (json!({"command": "true"}), 2, "x is a program that is started here, and nobody logs in there"),
        (json!({"url": web.url(), "auth": {"bearer": "t0ken-t0ken"}}), 2, "is told who asks by its entry"),
        (json!({"url": web.url(), "headers": {"Authorization": "x"}}), 2, "is told who asks by its entry"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (ended, said) = Person::starts(dir.path(), entry.clone()).await.ends().await;
        assert!(ended == code && said.contains(want), "{entry}: {ended} {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
    std::fs::write(dir.path().join("mcp_config.json"), json!({"mcpServers": {"x": {"url": web.url()}}}).to_string())
        .unwrap();
    let out =
        command.args(["login", "y"]).env_clear().current_dir(dir.path()).env("HOME", dir.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");

    let mut person = Person::starts(dir.path(), json!({"url": web.url()})).await;
    person.address().await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(person.child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let (code, said) = person.ends().await;
    assert!(code == 1 && said.contains("the login was given up, and nothing is kept of it"), "{code} {said}");
    assert!(authority.asked("/token").is_empty());
}

#[tokio::test]
async fn a_server_that_wants_a_person_says_so_and_is_let_in_once_that_has_logged_in() {
    let authority = AuthServer::start(NOTHING).await;
    let web = protected(authority.good.clone(), authority.issuer(), NOTHING).await;
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": web.url(), "endpoint": endpoint.url()});
    let setup = Setup::new();
    let dir = setup.folder().to_owned();
    let daemon = setup.config(&config([("x", entry.clone())])).start("debug");
    let want = "answered HTTP 401: it wants a person to log in; run mcp-pipe login x";
    daemon.wait_for(want, |line| field(line, "message").is_some_and(|said| said.contains(want))).await;
    logged_in(&dir, entry).await;
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_call_under_way_is_answered_where_its_token_can_not_be_renewed_and_a_cancelled_one_waits_for_none() {
    let good = tokens(&["pr1nted-t0ken-1-x"]);
    let web = taking(good.clone()).await;
    let helper = "echo x >> runs; [ $(wc -l < runs) = 1 ] || sleep 3; printf 'pr1nted-t0ken-%s-x\\n' $(wc -l < runs)";
    let setup = Setup::new().prepared(script(helper));
    let (_endpoint, daemon, mut conn) = start(setup, &web.url(), json!({"bearerCommand": ["sh", "helper.sh"]})).await;
    conn.handshake().await;
    good.lock().unwrap().clear();
    conn.send_call(10, "echo", json!({})).await;
    within("the refusal", async {
        while web.calls("echo") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    conn.send_call(11, "echo", json!({})).await;
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 10}})).await;
    good.lock().unwrap().insert("pr1nted-t0ken-2-x".to_owned());
    assert_eq!(text_of(&conn.answer_to(11).await), "echo");
    assert_eq!(web.calls("echo"), 2, "what was cancelled is not sent again");
    good.lock().unwrap().clear();
    conn.send_call(12, "echo", json!({})).await;
    let answer = conn.answer_to(12).await;
    assert!(answer["error"]["message"].is_string(), "{answer}");
    daemon.stop_closing([&mut conn]).await;
}

/// Whoever is sent a token may repeat it, in a refusal that a person reads.
#[tokio::test]
async fn a_token_that_its_server_repeats_is_hidden_whichever_way_it_was_had() {
    let authority = AuthServer::start(NOTHING).await;
    authority.good.lock().unwrap().extend(["pr1nted-t0ken-pr1nted".to_owned(), "f1le-t0ken-f1le-t0ken".to_owned()]);
    let web = protected(authority.good.clone(), authority.issuer(), |asked| {
        let token = asked.exact("authorization").unwrap_or_default().replace("Bearer ", "");
        let text = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": format!("not for {token}!")}});
        let told = || whole("500 Oops", &["content-type: application/json"], &text.to_string());
        (asked.tool() == Some("x")).then(told)
    })
    .await;
    for auth in [
        json!({"bearer": "f1le-t0ken-f1le-t0ken"}),
        json!({"bearerFile": "token"}),
        json!({"bearerCommand": ["sh", "helper.sh"]}),
        json!({"clientCredentials": {"clientId": "me", "clientSecret": "cl1ent-s3cret"}}),
    ] {
        let setup = Setup::new().file("token", "f1le-t0ken-f1le-t0ken").prepared(script("echo pr1nted-t0ken-pr1nted"));
        let (_endpoint, daemon, mut conn) = start(setup, &web.url(), auth.clone()).await;
        conn.handshake().await;
        let answer = conn.call(2, "x", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("answered HTTP 500 (\"not for …!\")"), "{auth}: {message}");
        let log = daemon.log_text();
        assert!(!log.contains("t0ken-") && !log.contains("at-0"), "{auth}: {log}");
        daemon.stop_closing([&mut conn]).await;
    }
}
