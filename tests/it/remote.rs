//! Servers that are reached over the network: good ones, bad ones, and real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::eras::as_modern;
use crate::harness::{
    Asked, Conn, Daemon, FakeEndpoint, Part, Setup, Transport, Web, config, events, field, installed, multiplex, names,
    result, text_of, whole, with_json, within,
};
use crate::sdk_clients::{typescript, use_everything};

/// What a call is answered with.
type Answers = Box<dyn Fn(&Asked) -> Vec<Part> + Send + Sync>;

/// The remote server `x` at an address, on an endpoint, with more in its entry.
pub(super) async fn start(url: &str, more: Value) -> (FakeEndpoint, Daemon, Conn) {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = json!({"url": url, "endpoint": endpoint.url()});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
    let conn = endpoint.accept().await;
    (endpoint, daemon, conn)
}

/// Answers the calls of the tool `x` so, and everything else as a good server does.
pub(super) fn on_x(
    answer: impl Fn(&Asked) -> Vec<Part> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync {
    move |asked| (asked.tool() == Some("x")).then(|| answer(asked))
}

#[tokio::test]
async fn a_remote_server_is_initialized_listed_called_and_told_of_its_end() {
    let web = Web::start(|_| None).await;
    let headers = json!({"headers": {"Authorization": "Bearer ${KEY:-t0ken-t0ken}", "X-Own": "1"}});
    let (_endpoint, daemon, mut conn) = start(&format!("{}/?k=1", web.url()), headers).await;
    assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
    assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo");
    let log = daemon.log_text();
    daemon.stop_closing([&mut conn]).await;
    let asked = web.asked();
    let order: Vec<_> = asked.iter().map(|asked| format!("{} {}", asked.method, asked.body["method"])).collect();
    // Which era the server is of is asked first.
    let first = ["POST \"server/discover\"", "POST \"initialize\"", "POST \"notifications/initialized\""];
    assert_eq!(order[..3], first, "{order:?}");
    assert!(order.contains(&"GET null".to_owned()), "{order:?}");
    assert_eq!(order.last().unwrap(), "DELETE null", "{order:?}");
    for asked in &asked {
        assert_eq!(asked.target, "/mcp/?k=1");
        assert_eq!((asked.header("authorization"), asked.header("x-own")), (Some("bearer t0ken-t0ken"), Some("1")));
        let accept = if asked.method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
        assert_eq!(asked.header("accept"), Some(accept), "{asked:?}");
        if asked.body["method"] == "server/discover" {
            assert_eq!((asked.session, asked.header("mcp-protocol-version")), (None, Some("2026-07-28")));
            assert_eq!(asked.header("mcp-method"), Some("server/discover"));
        } else if asked.body["method"] == "initialize" {
            assert_eq!((asked.session, asked.header("mcp-protocol-version")), (None, None));
        } else {
            assert_eq!((asked.session, asked.header("mcp-protocol-version")), (Some(1), Some("2024-11-05")));
        }
    }
    assert!(!log.contains("t0ken-t0ken"), "{log}");
}

#[tokio::test]
async fn a_flood_of_calls_uses_no_more_connections_than_it_may_and_a_cancellation_goes_past_it() {
    const MOST: usize = 100;
    let web = Web::start(on_x(|_| vec![Part::Hang])).await;
    let (_endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    for id in 10..310 {
        conn.send_call(id, "x", json!({})).await;
    }
    within("the calls that may be made at once", async {
        while web.calls("x") < MOST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let cancel = |id: u64| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    conn.send(cancel(10)).await;
    let is_told = |asked: &Asked| asked.body["method"] == "notifications/cancelled";
    within("the cancellation", async {
        while !web.asked().iter().any(is_told) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(web.calls("x") <= MOST + 1, "{} calls at once", web.calls("x"));
    for id in 11..310 {
        conn.send(cancel(id)).await;
    }
    // Each place is free again.
    assert_eq!(text_of(&conn.call(400, "echo", json!({})).await), "echo");
    daemon.stop_closing([&mut conn]).await;
}

/// Answers to a call by which a server refuses it, and what is said of each, in either transport.
fn refusals() -> Vec<(&'static str, Answers)> {
    vec![
        (
            "HTTP 500 (a page of HTML):",
            Box::new(|_| whole("500 Internal Server Error", &["content-type: text/html"], "<h1>oops</h1>")),
        ),
        (
            "HTTP 502 (a page of HTML, \"no upstream\"):",
            Box::new(|_| whole("502 Bad Gateway", &["content-type: text/html"], "<title>no\nupstream</title>oops")),
        ),
        ("HTTP 500 (\"need \\u{1b}[31mKEY\"):", Box::new(|_| whole("500 Oops", &[], "need \x1b[31mKEY\n"))),
        (
            "HTTP 403 (\"need KEY\"):",
            Box::new(|_| whole("403 Forbidden", &["content-type: application/json"], r#"{"detail":"need KEY"}"#)),
        ),
        ("HTTP 400 (\"need KEY\"):", Box::new(|_| whole("400 Bad Request", &["content-type: text/plain"], "need KEY"))),
        ("HTTP 403:", Box::new(|_| whole("403 Forbidden", &["content-encoding: gzip"], "\u{1f}"))),
        (
            "no more requests now, and does not say when it will; it was not sent again",
            Box::new(|_| whole("429 Too Many Requests", &[], "")),
        ),
        (
            "no more requests now, and wants the same in 16 min, which is longer than the call may take; it was not sent again",
            Box::new(|_| whole("503 Service Unavailable", &["retry-after: 1000"], "")),
        ),
        (
            "no more requests now, and wants the same at once; it was sent again once, when the server wanted that",
            Box::new(|_| whole("503 Service Unavailable", &["retry-after: 0"], "")),
        ),
        (
            "HTTP 400 (\"not so\")",
            Box::new(|_| {
                whole(
                    "400 Bad Request",
                    &["content-type: application/json"],
                    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"not so"}}"#,
                )
            }),
        ),
        ("an answer, but none of MCP", Box::new(|_| whole("200 OK", &["content-type: text/html"], "<h1>login</h1>"))),
        (
            "redirected to another origin",
            Box::new(|_| whole("307 Temporary Redirect", &["location: http://127.0.0.2:1/mcp"], "")),
        ),
        ("HTTP 302", Box::new(|_| whole("302 Found", &["location: /elsewhere"], ""))),
        (
            "redirected more than 5 times",
            Box::new(|asked| whole("308 Permanent Redirect", &[&format!("location: {}", asked.target)], "")),
        ),
        ("it may have acted on that", Box::new(|_| vec![Part::Close])),
    ]
}

/// Answers to a call that come, and are none, by Streamable HTTP.
fn answers_that_are_none() -> Vec<(&'static str, Answers)> {
    vec![
        ("no MCP: <h1>login", Box::new(|_| whole("200 OK", &["content-type: application/json"], "<h1>login</h1>"))),
        ("its answer is empty", Box::new(|_| whole("200 OK", &["content-type: application/json"], ""))),
        (
            "sent an answer with the id 4711 in place of",
            Box::new(|_| with_json(&json!({"jsonrpc": "2.0", "id": 4711, "result": {}}))),
        ),
        (
            "(\"not so\")",
            Box::new(|_| with_json(&json!({"jsonrpc": "2.0", "id": 4712, "error": {"code": -1, "message": "not so"}}))),
        ),
        // It refuses the stream on which it could answer.
        ("took it without an answer, and has no stream", Box::new(|_| whole("202 Accepted", &[], ""))),
        ("took it without an answer, and has no stream", Box::new(|_| whole("204 No Content", &[], ""))),
        (
            "compresses its answers",
            Box::new(|_| whole("200 OK", &["content-type: application/json", "content-encoding: gzip"], "\u{1f}")),
        ),
        (
            "in the middle of the answer",
            Box::new(|_| {
                vec![
                    Part::Write(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"js".into(),
                    ),
                    Part::Close,
                ]
            }),
        ),
        (
            "ended without that",
            Box::new(|_| [events(": nothing\n\nevent: other\ndata: x\n\n"), vec![Part::Close]].concat()),
        ),
        ("more than 100000 bytes", Box::new(|asked| with_json(&result(asked, &"x".repeat(100_000))))),
    ]
}

/// Answers to a call that come as events, and can't be read.
fn events_that_are_none(transport: Transport) -> Vec<(&'static str, Answers)> {
    let event = move |data: String| transport.events(vec![Part::Write(format!("data: {data}\n\n").into())]);
    let closing = move |parts: Vec<Part>| match transport {
        Transport::Http => [parts, vec![Part::Close]].concat(),
        // The stream is that of all calls.
        Transport::Sse => parts,
    };
    vec![
        (
            "is not JSON-RPC",
            Box::new(move |asked| closing(event(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"resu", asked.body["id"])))),
        ),
        ("above the limit", Box::new(move |asked| closing(event(result(asked, &"x".repeat(100_000)).to_string())))),
    ]
}

/// What is wrong with an answer costs the call that it is for, is told, and costs nothing else.
#[tokio::test]
async fn a_call_that_goes_wrong_is_answered_once_with_what_happened() {
    for transport in Transport::BOTH {
        let mut wrong = refusals();
        wrong.extend(events_that_are_none(transport));
        if transport == Transport::Http {
            wrong.extend(answers_that_are_none());
        }
        let count = wrong.len();
        let words: Vec<&str> = wrong.iter().map(|(words, _)| *words).collect();
        let at = Arc::new(AtomicUsize::new(0));
        let now = at.clone();
        let script = on_x(move |asked| wrong[now.load(Ordering::SeqCst)].1(asked));
        let web = Web::start_by(transport, script).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), json!({"maxFrameSize": 100_000})).await;
        conn.handshake().await;
        for (n, words) in words.iter().enumerate() {
            at.store(n, Ordering::SeqCst);
            let answer = conn.call(10 + n, "x", json!({})).await;
            let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{words}: {answer}"));
            assert!(message.contains(words) && message.contains("server \"x\""), "{transport:?}, {words}: {message}");
            assert_eq!(text_of(&conn.call(1000 + n, "echo", json!({})).await), "echo", "{transport:?}, after {words}");
        }
        assert_eq!(endpoint.accepted(), 1);
        assert_eq!(
            web.asked().iter().filter(|asked| asked.body["method"] == "initialize").count(),
            1,
            "one session for all"
        );
        // Nothing is sent again but where the server has asked for that.
        let (redirects, busy) = (5, 1);
        assert_eq!(web.calls("x"), count + redirects + busy, "{:?}", web.asked());
        daemon.stop_closing([&mut conn]).await;
    }
}

/// The answer to a call, in the forms that events have.
fn forms(own: impl Fn(&Asked) -> String + Copy + Send + Sync + 'static) -> Vec<Answers> {
    let once = |text: String| vec![Part::Write(text.into())];
    let bytewise = |text: String| {
        let bytes = text.into_bytes();
        bytes.into_iter().flat_map(|byte| [Part::Write(vec![byte]), Part::Pause(Duration::from_micros(50))]).collect()
    };
    let note = |said: &str| json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": said}});
    vec![
        Box::new(move |asked| once(format!("id: 1\r\ndata:\r\n\r\ndata: {}\r\n\r\n", own(asked)))),
        Box::new(move |asked| bytewise(format!("retry: 10\rid: 7\rdata: {}\r\r", own(asked)))),
        Box::new(move |asked| bytewise(format!("id: 0\r\ndata:\r\n\r\nid: 0\r\ndata: {}\r\n\r\n", own(asked)))),
        Box::new(move |asked| bytewise(format!("event: message\ndata: {}\n\n", own(asked)))),
        // One text on two lines, each ended by two characters that may come apart.
        Box::new(move |asked| bytewise(format!("data: {}\r\n\r\n", own(asked).replacen(',', ",\r\ndata: ", 1)))),
        // All events have the same id, as some servers do it; and lines end in each of the three ways.
        Box::new(move |asked| once(format!("id: 0\ndata: {}\n\nid: 0\rdata: {}\r\n\r\n", note("same"), own(asked)))),
        // More comes that nobody waits for.
        Box::new(move |asked| {
            let foreign = json!({"jsonrpc": "2.0", "id": 999_999, "result": {}});
            once(format!("data: {foreign}\n\ndata: {0}\n\ndata: {0}\n\n: and\n\n", own(asked)))
        }),
        Box::new(move |asked| {
            let late =
                vec![Part::Pause(Duration::from_millis(300)), Part::Write(format!("data: {}\n\n", own(asked)).into())];
            [once(format!("data: {}\n\n", note("first"))), late].concat()
        }),
    ]
}

#[tokio::test]
async fn an_answer_comes_through_however_it_is_sent() {
    let own = |asked: &Asked| {
        let text = result(asked, "grüß").to_string();
        text.replacen("\"jsonrpc\"", "\"odd\":12345678901234567890.10,\"jsonrpc\"", 1)
    };
    const BOM: &[u8] = "\u{feff}".as_bytes();
    for transport in Transport::BOTH {
        let mut right: Vec<Answers> = Vec::new();
        for form in forms(own) {
            right.push(match transport {
                Transport::Http => Box::new(move |asked| [transport.events(form(asked)), vec![Part::Close]].concat()),
                Transport::Sse => Box::new(move |asked| transport.events(form(asked))),
            });
        }
        if transport == Transport::Http {
            let bare: [Answers; 3] = [
                Box::new(move |asked| whole("200 OK", &["content-type: application/json; charset=utf-8"], &own(asked))),
                Box::new(move |asked| whole("200 OK", &[], &format!("\u{feff}\r\n{}\r\n", own(asked)))),
                // The stream stays open behind the answer.
                Box::new(move |asked| {
                    [
                        events(""),
                        vec![Part::Write([BOM, format!("data: {}\n\n", own(asked)).as_bytes()].concat()), Part::Hang],
                    ]
                    .concat()
                }),
            ];
            right.extend(bare);
        }
        let at = Arc::new(AtomicUsize::new(0));
        let (now, count) = (at.clone(), right.len());
        let web = Web::start_by(transport, on_x(move |asked| right[now.load(Ordering::SeqCst)](asked))).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        conn.handshake().await;
        for n in 0..count {
            at.store(n, Ordering::SeqCst);
            let answer = conn.call(10 + n, "x", json!({})).await;
            assert_eq!((text_of(&answer), answer["odd"].is_number()), ("grüß", true), "{transport:?}, {n}: {answer}");
        }
        for said in ["same", "first"] {
            assert_eq!(conn.other("notifications/message").await["params"]["data"], said);
        }
        assert_eq!((web.calls("x"), endpoint.accepted(), web.sessions()), (count, 1, 1), "{transport:?}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_and_the_calls_that_found_out_are_sent_again_once() {
    let web = Web::start(|_| None).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    conn.send(json!({"jsonrpc": "2.0", "id": 5, "method": "logging/setLevel", "params": {"level": "error"}})).await;
    conn.answer_to(5).await;
    conn.send(json!({"jsonrpc": "2.0", "id": 6, "method": "resources/subscribe", "params": {"uri": "a://b"}})).await;
    conn.answer_to(6).await;
    for round in 0..5_u64 {
        web.forget();
        let ids: Vec<u64> = (100 * round + 100..100 * round + 110).collect();
        for id in &ids {
            conn.send_call(*id, "echo", json!({})).await;
        }
        for id in ids {
            assert_eq!(text_of(&conn.answer_to(id).await), "echo");
        }
    }
    let asked = web.asked();
    let of = |method: &str| asked.iter().filter(|asked| asked.body["method"] == method).count();
    assert_eq!((of("initialize"), of("notifications/initialized")), (6, 6));
    within("each session to be told what its peers want", async {
        loop {
            let asked = web.asked();
            let told =
                |method: &str| asked.iter().filter(|a| a.body["method"] == method && a.session == Some(6)).count();
            if told("logging/setLevel") == 1 && told("resources/subscribe") == 1 && told("tools/list") == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_is_restarted_or_down_for_a_while_costs_no_connection() {
    for transport in Transport::BOTH {
        let mut web = Web::start_by(transport, on_x(|_| vec![Part::Hang])).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        conn.handshake().await;
        for round in 0..3_u64 {
            conn.send_call(10 + round, "x", json!({})).await;
            assert_eq!(text_of(&conn.call(20 + round, "echo", json!({})).await), "echo");
            within("the call to be there", async {
                while web.calls("x") <= round as usize {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
            web.restart().await;
            let cut = conn.answer_to(10 + round).await;
            assert!(cut["error"]["message"].as_str().unwrap().contains("server \"x\""), "{cut}");
            let mut next = conn.call(30 + round, "echo", json!({})).await;
            // What comes just before it is noticed that nothing listened for a moment was under way then.
            if next.to_string().contains("refused the connection") {
                next = conn.call(40 + round, "echo", json!({})).await;
            }
            assert_eq!(text_of(&next), "echo", "{transport:?}");
        }
        assert_eq!((endpoint.accepted(), web.calls("x")), (1, 3), "what may have been done is not asked again");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_cause_and_found_once_it_is() {
    for transport in Transport::BOTH {
        // One that is gone.
        let mut web = Web::start_by(transport, |_| None).await;
        web.end().await;
        let endpoint = FakeEndpoint::bind().await;
        let entry = json!({"url": web.url(), "endpoint": endpoint.url(), "startTimeout": "1s"});
        let mut file = config([("x", entry)]);
        file["maxBackoff"] = "1s".into();
        let daemon = Setup::new().config(&file).start("info");
        let line = daemon.wait_for_event("ERROR_SERVER_START").await;
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("refused the connection: nothing listens there"), "{message}");
        web.restart().await;
        let mut conn = endpoint.accept().await;
        assert_eq!(names(&conn.handshake().await), ["echo", "x"], "{transport:?}");
        assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo", "{transport:?}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_or_is_none_is_told_at_once() {
    let events = "content-type: text/event-stream";
    let faults = [
        ("401 Unauthorized", vec!["www-authenticate: Bearer"], "", "answered HTTP 401: it wants to know who asks"),
        ("403 Forbidden", vec![], "", "answered HTTP 403: nothing tells it who asks"),
        ("404 Not Found", vec![], "", "answered HTTP 404: there is no MCP server at this path"),
        (
            "200 OK",
            vec!["content-type: text/html"],
            "<h1>",
            "answered HTTP 200 (a page of HTML): an answer, but none of MCP",
        ),
        ("500 Oops", vec![], "", "answered HTTP 500"),
        ("429 Too Many Requests", vec!["retry-after: 90"], "", "answered HTTP 429"),
        ("307 Temporary Redirect", vec!["location: http://127.0.0.2:1/"], "", "redirected to another origin"),
        ("200 OK", vec![events, "content-encoding: gzip"], "\u{1f}", "compresses its answers"),
    ];
    let typed = [
        (Transport::Http, None),
        (Transport::Http, Some("http")),
        (Transport::Sse, None),
        (Transport::Sse, Some("sse")),
    ];
    for (status, headers, body, words) in faults {
        // At a path for events without a type, the other transport is tried, too.
        let asked = typed.map(|(transport, kind)| {
            let headers = headers.clone();
            async move {
                let web = Web::start_by(transport, move |_| Some(whole(status, &headers, body))).await;
                let mut entry = json!({"url": web.url(), "startTimeout": "5s"});
                if let Some(kind) = kind {
                    entry["type"] = kind.into();
                }
                let endpoint = FakeEndpoint::bind().await;
                let mut file = config([("x", entry)]);
                file["endpoint"] = endpoint.url().into();
                let daemon = Setup::new().config(&file).start("info");
                let line = daemon.wait_for_event("ERROR_SERVER_START").await;
                let message = line["message"].as_str().unwrap();
                assert!(message.contains(words), "{transport:?}, {kind:?}: {message}");
                let is_asked_again_soon = !message.contains("next attempt in 90.0 s");
                assert_eq!(is_asked_again_soon, status != "429 Too Many Requests", "{message}");
                drop(daemon);
            }
        });
        futures_util::future::join_all(asked).await;
    }
}

#[tokio::test]
async fn a_stream_that_a_server_of_the_newer_transport_refuses_is_told_with_the_type_to_write() {
    const ERROR: &str =
        r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: Missing session ID"}}"#;
    for (status, body) in [("400 Bad Request", ERROR), ("405 Method Not Allowed", ""), ("501 Unsupported method", "")] {
        let web = Web::start(move |_| Some(whole(status, &["content-type: application/json"], body))).await;
        let endpoint = FakeEndpoint::bind().await;
        let entry = json!({"url": web.url(), "type": "sse", "startTimeout": "5s", "endpoint": endpoint.url()});
        let daemon = Setup::new().config(&config([("x", entry)])).start("info");
        let line = daemon.wait_for_event("ERROR_SERVER_START").await;
        let message = line["message"].as_str().unwrap();
        let advice = "it opens no stream of events there; if it speaks Streamable HTTP, write \"type\": \"http\"";
        assert!(message.contains(advice), "{message}");
        drop(daemon);
    }
}

/// What is refused in each session is no sign that sessions are forgotten.
#[tokio::test]
async fn a_request_that_is_refused_as_if_its_session_were_over_costs_one_other_session() {
    for transport in Transport::BOTH {
        let web = Web::start_by(transport, |asked| {
            let is_refused = asked.body["method"] == "logging/setLevel";
            is_refused.then(|| whole("404 Not Found", &["content-type: text/plain"], "Session not found"))
        })
        .await;
        let (_endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        conn.handshake().await;
        conn.send(json!({"jsonrpc": "2.0", "id": 5, "method": "logging/setLevel", "params": {"level": "info"}})).await;
        assert!(conn.answer_to(5).await["error"].is_object(), "{transport:?}");
        for id in 10..30 {
            assert_eq!(text_of(&conn.call(id, "echo", json!({})).await), "echo", "{transport:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(web.sessions(), 2, "{transport:?}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_wants_that_and_a_moved_one_where_it_is() {
    for transport in Transport::BOTH {
        let busy = Arc::new(AtomicUsize::new(0));
        let count = busy.clone();
        let web = Web::start_by(transport, move |asked| {
            let path = transport.path();
            if asked.target == path {
                return Some(whole("307 Temporary Redirect", &[&format!("location: /moved{path}")], ""));
            }
            if asked.tool() == Some("x") && count.fetch_add(1, Ordering::SeqCst) == 0 {
                return Some(whole("429 Too Many Requests", &["retry-after: 1"], ""));
            }
            None
        })
        .await;
        let (_endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        conn.handshake().await;
        assert_eq!(text_of(&conn.call(2, "x", json!({})).await), "echo", "{transport:?}");
        assert_eq!(web.calls("x"), 2);
        let old = web.asked().iter().filter(|asked| asked.target == transport.path()).count();
        assert_eq!(old, 1, "{transport:?}: the way is remembered");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_call_that_may_not_wait_as_long_as_a_busy_server_wants_is_answered_at_once_with_what_it_said() {
    for (transport, era) in [(Transport::Http, "legacy"), (Transport::Sse, "legacy"), (Transport::Http, "modern")] {
        let web = Web::start_by(transport, move |asked| match asked.tool() {
            Some("x") => Some(whole("429 Too Many Requests", &["retry-after: 100"], "")),
            _ if era == "modern" => as_modern(asked),
            _ => None,
        })
        .await;
        let more = json!({"era": era, "timeout": "2h", "tools": {"timeout": {"x": "99s"}}});
        let (_endpoint, daemon, mut conn) = start(&web.url(), more).await;
        conn.handshake().await;
        let answer = conn.call(2, "x", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let want = "answered HTTP 429: it takes no more requests now, and wants the same in 100.0 s, which is longer than the call may \
                    take; it was not sent again";
        assert!(message.contains(want), "{transport:?} {era}: {message}");
        assert_eq!(web.calls("x"), 1, "{transport:?} {era}");
        daemon.stop_closing([&mut conn]).await;
    }
}

/// A server that answers on the stream of what it says by itself: that is waited for as long as there may be one.
#[tokio::test]
async fn an_answer_on_another_stream_is_waited_for_until_that_has_ended_for_good() {
    let stands = Arc::new(AtomicUsize::new(0));
    let gets = stands.clone();
    let web = Web::start(move |asked| {
        if asked.tool() == Some("x") {
            return Some(whole("202 Accepted", &[], ""));
        }
        let is_first = asked.method == "GET" && gets.fetch_add(1, Ordering::SeqCst) == 0;
        (asked.method == "GET").then(|| match is_first {
            // The stream ends some time after it was asked for, and another one is refused.
            true => {
                [events("retry: 400\ndata:\n\n"), vec![Part::Pause(Duration::from_millis(800)), Part::Close]].concat()
            }
            false => whole("405 Method Not Allowed", &[], ""),
        })
    })
    .await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    let answer = conn.call(2, "x", json!({})).await;
    let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.contains("took it without an answer, and has no stream"), "{message}");
    assert_eq!(stands.load(Ordering::SeqCst), 2, "not before the stream had ended for good");
    assert_eq!(text_of(&conn.call(3, "echo", json!({})).await), "echo");
    assert_eq!((endpoint.accepted(), web.calls("x")), (1, 1));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_cut_answer_goes_on_where_the_server_can_resume_it() {
    let calls = Arc::new(AtomicUsize::new(0));
    let id = Arc::new(std::sync::Mutex::new(Value::Null));
    let (resumed, told) = (calls.clone(), id.clone());
    let web = Web::start(move |asked| {
        if asked.tool() == Some("x") {
            *told.lock().unwrap() = asked.body["id"].clone();
            return Some([events("id: a/1\nretry: 20\ndata:\n\n"), vec![Part::Close]].concat());
        }
        let behind = asked.header("last-event-id").filter(|_| asked.method == "GET")?;
        resumed.fetch_add(1, Ordering::SeqCst);
        Some(match behind {
            // The first time nothing has come yet.
            "a/1" => [events("id: a/2\ndata:\n\n"), vec![Part::Close]].concat(),
            "a/2" => {
                let answer = json!({"jsonrpc": "2.0", "id": *told.lock().unwrap(), "result": {"content": [{"type": "text", "text": "late"}]}});
                [events(&format!("id: a/3\ndata: {answer}\n\n")), vec![Part::Close]].concat()
            }
            other => panic!("{other}"),
        })
    })
    .await;
    let (_endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "x", json!({})).await), "late");
    assert_eq!((web.calls("x"), calls.load(Ordering::SeqCst)), (1, 2));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn what_the_server_says_by_itself_comes_on_its_stream_and_a_cancelled_call_is_told_to_it() {
    let ask = json!({"jsonrpc": "2.0", "id": "own", "method": "sampling/createMessage", "params": {}});
    let web = Web::start(move |asked| match (asked.method.as_str(), asked.tool()) {
        ("GET", _) => Some([events(&format!("data: {ask}\n\n")), vec![Part::Hang]].concat()),
        (_, Some("x")) => Some([events(": wait\n\n"), vec![Part::Hang]].concat()),
        _ => None,
    })
    .await;
    let (_endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    let own = conn.other("sampling/createMessage").await;
    conn.send(json!({"jsonrpc": "2.0", "id": own["id"], "result": {"role": "assistant"}})).await;
    conn.send_call(7, "x", json!({})).await;
    within("the call to be there", async {
        while web.calls("x") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})).await;
    within("the server to be told", async {
        loop {
            let asked = web.asked();
            let call = asked.iter().find(|asked| asked.tool() == Some("x")).unwrap().body["id"].clone();
            let cancelled =
                |a: &Asked| a.body["method"] == "notifications/cancelled" && a.body["params"]["requestId"] == call;
            if asked.iter().any(cancelled)
                && asked.iter().any(|a| a.body["id"] == "own" && a.body["result"].is_object())
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(text_of(&conn.call(8, "echo", json!({})).await), "echo");
    daemon.stop().await;
}

/// A real server as a process that listens, and its address.
pub(super) struct Real {
    _child: Child,
    pub(super) url: String,
}

/// Starts a program that is given a free port, and waits until it listens.
pub(super) async fn listening(mut command: Command, port: u16, path: &str) -> Real {
    let child = command
        .kill_on_drop(true)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    within("the server to listen", async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    Real { _child: child, url: format!("http://127.0.0.1:{port}{path}") }
}

pub(super) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// server-everything by one of its transports over HTTP.
async fn everything(transport: &str, path: &str) -> Option<Real> {
    let modules = installed("MCP_PIPE_TEST_NODE_MODULES")?;
    let port = free_port().await;
    let mut command = Command::new("node");
    command.arg(modules.join("@modelcontextprotocol/server-everything/dist/index.js")).arg(transport);
    command.env("PORT", port.to_string());
    Some(listening(command, port, path).await)
}

/// A FastMCP server by one of its transports over HTTP.
async fn fastmcp(transport: &str, path: &str) -> Option<Real> {
    const PROGRAM: &str = "
import sys
from fastmcp import FastMCP, Context
server = FastMCP('fast')
@server.tool
async def add(a: int, b: int, ctx: Context) -> int:
    await ctx.report_progress(1, 2)
    return a + b
server.run(transport=sys.argv[1], host='127.0.0.1', port=int(sys.argv[2]), show_banner=False)
";
    let python = installed("MCP_PIPE_TEST_PYTHON")?;
    let port = free_port().await;
    let mut command = Command::new(python);
    command.args(["-c", PROGRAM, transport, &port.to_string()]);
    Some(listening(command, port, path).await)
}

#[tokio::test]
async fn server_everything_can_do_everything_by_streamable_http_and_by_sse() {
    for (transport, path) in [("streamableHttp", "/mcp"), ("sse", "/sse")] {
        let Some(real) = everything(transport, path).await else { return };
        let (_endpoint, daemon, conn) = start(&real.url, json!({})).await;
        let mut client = typescript(conn).await;
        use_everything(&mut client).await;
        daemon.stop_closing([&mut client.close().await]).await;
    }
}

#[tokio::test]
async fn fastmcp_serves_by_http_and_by_sse_beside_a_server_that_is_started() {
    let (Some(http), Some(sse)) = (fastmcp("http", "/mcp").await, fastmcp("sse", "/sse").await) else { return };
    let endpoint = FakeEndpoint::bind().await;
    let file = multiplex(
        &endpoint,
        [
            ("http", json!({"url": http.url})),
            ("sse", json!({"url": sse.url})),
            ("own", crate::harness::fixture_entry(&[])),
        ],
    );
    let daemon = Setup::new().config(&file).start("debug");
    let mut conn = endpoint.accept().await;
    let listed = conn.handshake().await;
    assert!(names(&listed).contains(&"http__add") && names(&listed).contains(&"sse__add"), "{listed}");
    for (id, name) in [(10, "http__add"), (11, "sse__add")] {
        let params = json!({"name": name, "arguments": {"a": 2, "b": 3}, "_meta": {"progressToken": name}});
        conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
        assert_eq!(text_of(&conn.answer_to(id).await), "5");
        assert_eq!(conn.other("notifications/progress").await["params"]["progressToken"], name);
    }
    assert!(!daemon.log_lines().iter().any(|line| field(line, "level") == Some("ERROR")));
    daemon.stop_closing([&mut conn]).await;
}

/// Numbers by chance that are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// The answer to a call as an event, in one of the forms that servers use.
fn event_of(asked: &Asked, chance: &mut Chance) -> Vec<u8> {
    let answer = result(asked, "x");
    match chance.below(2) {
        0 => format!("id: 1\nevent: message\ndata: {answer}\n\n"),
        _ => format!("retry: 50\r\ndata: {answer}\r\n\r\n"),
    }
    .into_bytes()
}

/// The answer to a call as a whole reply, in one of the forms that servers use.
fn reply_of(asked: &Asked, chance: &mut Chance) -> Vec<u8> {
    let (head, body) = match chance.below(3) {
        0 => {
            let body = result(asked, "x").to_string();
            (format!("content-type: application/json\r\ncontent-length: {}", body.len()), body.into_bytes())
        }
        1 => ("content-type: text/event-stream".to_owned(), event_of(asked, chance)),
        _ => {
            let event = event_of(asked, chance);
            let body = [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n0\r\n\r\n"].concat();
            ("content-type: text/event-stream\r\ntransfer-encoding: chunked".to_owned(), body)
        }
    };
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes(), body].concat()
}

/// Spoils a text in some places.
fn spoil(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(4) {
            // Control characters in a text pass through, as they do from a process; this endpoint takes them ill.
            0 => bytes[at] = (b' '..=255).nth(chance.below(224)).unwrap(),
            1 => drop(bytes.drain(at..(at + chance.below(20)).min(bytes.len()))),
            2 => bytes.insert(at, b"\r\n:{}\"0,"[chance.below(8)]),
            _ => {
                let again = bytes[at..(at + chance.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
        bytes.push(b'\n');
    }
    bytes
}

/// A spoilt answer to a call. Over HTTP+SSE it is the event that is spoilt, or the reply to what was posted, or the stream ends there.
fn spoilt(transport: Transport, asked: &Asked, chance: &mut Chance) -> Vec<Part> {
    match transport {
        Transport::Http => vec![Part::Write(spoil(reply_of(asked, chance), chance)), Part::Close],
        Transport::Sse => {
            let taken = b"HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\nAccepted".to_vec();
            let spoils_reply = chance.below(8) == 0;
            let taken = if spoils_reply { spoil(taken, chance) } else { taken };
            // Each event ends, so that the next one is not spoilt by it.
            let mut told = vec![Part::Write([spoil(event_of(asked, chance), chance), b"\n\n".to_vec()].concat())];
            if chance.below(16) == 0 {
                told.push(Part::Close);
            }
            let end = spoils_reply.then_some(Part::Close);
            [Part::Write(taken), Part::Tell(told)].into_iter().chain(end).collect()
        }
    }
}

#[tokio::test]
async fn whatever_a_server_answers_each_call_has_one_answer_and_the_next_one_works() {
    for transport in Transport::BOTH {
        let chance = std::sync::Mutex::new(Chance(0x9e37_79b9_7f4a_7c15));
        let script = on_x(move |asked| spoilt(transport, asked, &mut chance.lock().unwrap()));
        let web = Web::start_by(transport, script).await;
        // By one stream for all, what is spoilt beyond recognition costs its call the deadline.
        let patience = if transport == Transport::Sse { "300ms" } else { "5s" };
        let more = json!({"timeout": "5s", "tools": {"timeout": {"x": patience}}});
        let (endpoint, daemon, mut conn) = start(&web.url(), more).await;
        conn.handshake().await;
        let mut right = 0;
        for round in 0..crate::harness::rounds() as u64 {
            let ids: Vec<u64> = (round * 100 + 10..round * 100 + 25).collect();
            for id in &ids {
                conn.send_call(*id, "x", json!({})).await;
            }
            for id in ids {
                right += usize::from(conn.answer_to(id).await["result"].is_object());
            }
            let next = conn.call(round * 100 + 50, "echo", json!({})).await;
            assert!(next["result"].is_object() || next["error"]["message"].is_string(), "{next}");
        }
        assert!(right > 0, "{transport:?}: some are only a little odd");
        assert!(web.calls("x") <= 15 * crate::harness::rounds(), "{transport:?}: nothing is sent twice");
        assert_eq!(text_of(&conn.call(9_999_999, "echo", json!({})).await), "echo", "{transport:?}");
        assert_eq!(endpoint.accepted(), 1);
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_changed_address_is_a_change_of_its_server_alone_and_status_says_what_is_wrong() {
    let (one, other) = (Web::start(|_| None).await, Web::start(|_| None).await);
    let endpoint = FakeEndpoint::bind().await;
    let file = |url: &str| config([("x", json!({"url": url, "endpoint": endpoint.url()}))]);
    let daemon = Setup::new().config(&file(&one.url())).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!((text_of(&conn.call(2, "echo", json!({})).await), one.calls("echo")), ("echo", 1));
    std::fs::write(daemon.path().join("mcp_config.json"), file(&other.url()).to_string()).unwrap();
    daemon.wait_for_event("CONFIG_RELOADED").await;
    within("the other one to be asked", async {
        let mut id = 10;
        while other.calls("echo") == 0 {
            id += 1;
            conn.call(id, "echo", json!({})).await;
        }
    })
    .await;
    assert_eq!(one.asked().last().unwrap().method, "DELETE");
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn nothing_is_asked_before_the_stream_stands_on_which_the_server_may_ask_back() {
    // The head of the stream comes late.
    let script = |asked: &Asked| match asked.method.as_str() {
        "GET" => {
            let mut parts = vec![Part::Pause(Duration::from_millis(100))];
            parts.extend(events(": stands\n\n"));
            parts.push(Part::Hang);
            Some(parts)
        }
        _ => None,
    };
    let web = Web::start(script).await;
    let endpoint = FakeEndpoint::bind().await;
    let daemon =
        Setup::new().config(&config([("x", json!({"url": web.url(), "endpoint": endpoint.url()}))])).start("debug");
    let mut conn = endpoint.accept().await;
    let before = std::time::Instant::now();
    assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
    assert!(before.elapsed() >= Duration::from_millis(100), "the list did not wait");
    daemon.stop_closing([&mut conn]).await;
}
