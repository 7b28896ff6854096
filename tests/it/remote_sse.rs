//! Servers by HTTP+SSE (MCP 2024-11-05), where one event stream is the session: what goes wrong with that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{
    Asked, FakeEndpoint, Part, Setup, Transport, Web, config, endpoint_event, events, names, result, text_of, whole,
    with_json, within,
};
use crate::remote::{on_x, start};

type Answers = Box<dyn Fn(&Asked) -> Vec<Part> + Send + Sync>;

/// A session can end in many ways: each costs the calls that were under way an error, and nothing else.
#[tokio::test]
async fn a_session_that_is_over_costs_the_calls_under_way_an_error_and_the_next_call_works() {
    let told = |parts: Vec<Part>| move |_: &Asked| Transport::Sse.events(parts.clone());
    let ends: Vec<(&str, Answers)> = vec![
        // The stream ends: between events, in one, and in a character of one.
        ("has closed its event stream", Box::new(told(vec![Part::Close]))),
        (
            "has closed its event stream",
            Box::new(told(vec![Part::Write("data: {\"jsonrpc\":\"2.0\",\"id\":".into()), Part::Close])),
        ),
        ("has closed its event stream", Box::new(told(vec![Part::Write(b"data: \"\xc3".into()), Part::Close]))),
        // The stream stands, and what is sent is refused.
        ("it wants to know who asks", Box::new(|_| whole("401 Unauthorized", &[], ""))),
    ];
    let words: Vec<&str> = ends.iter().map(|(words, _)| *words).collect();
    let at = Arc::new(AtomicUsize::new(0));
    let now = at.clone();
    let is_hung = |asked: &Asked| asked.body["params"]["arguments"]["how"] == "hang";
    let script =
        on_x(
            move |asked| {
                if is_hung(asked) { Transport::Sse.events(vec![]) } else { ends[now.load(Ordering::SeqCst)].1(asked) }
            },
        );
    let web = Web::start_by(Transport::Sse, script).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    for (n, words) in words.iter().enumerate() {
        at.store(n, Ordering::SeqCst);
        let id = 1000 * (n as u64 + 1);
        conn.send_call(id, "x", json!({"how": "hang"})).await;
        within("the call to be there", async {
            while web.calls("x") <= 2 * n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        conn.send_call(id + 1, "x", json!({})).await;
        for id in [id, id + 1] {
            let cut = conn.answer_to(id).await;
            let message = cut["error"]["message"].as_str().unwrap_or_else(|| panic!("{n}: {cut}"));
            assert!(message.contains(words) && message.contains("server \"x\""), "{n}: {message}");
        }
        assert_eq!(text_of(&conn.call(id + 2, "echo", json!({})).await), "echo", "{n}");
    }
    assert_eq!((endpoint.accepted(), web.calls("x"), web.sessions()), (1, 2 * words.len(), words.len() + 1));
    daemon.stop_closing([&mut conn]).await;
}

/// The stream stands, and the server knows nothing of it: what is sent is refused, so it may be sent again.
#[tokio::test]
async fn a_session_that_is_forgotten_costs_the_calls_under_way_an_error_and_those_that_find_out_nothing() {
    let refusals =
        [("404 Not Found", "Could not find session"), ("400 Bad Request", "No transport found for sessionId")];
    let due = Arc::new(AtomicUsize::new(0));
    let next = due.clone();
    let script = on_x(move |asked| {
        if asked.body["params"]["arguments"]["how"] == "hang" {
            return Transport::Sse.events(vec![]);
        }
        match next.swap(0, Ordering::SeqCst) {
            0 => Transport::Sse.events(vec![Part::Write(format!("data: {}\n\n", result(asked, "x")).into())]),
            n => whole(refusals[n - 1].0, &["content-type: text/plain"], refusals[n - 1].1),
        }
    });
    let web = Web::start_by(Transport::Sse, script).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    for n in 0..refusals.len() {
        let id = 1000 * (n as u64 + 1);
        conn.send_call(id, "x", json!({"how": "hang"})).await;
        within("the call to be there", async {
            while web.calls("x") <= 3 * n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        due.store(n + 1, Ordering::SeqCst);
        conn.send_call(id + 1, "x", json!({})).await;
        let cut = conn.answer_to(id).await;
        let message = cut["error"]["message"].as_str().unwrap_or_else(|| panic!("{n}: {cut}"));
        assert!(message.contains("server \"x\" knows its session no more"), "{n}: {message}");
        assert_eq!(text_of(&conn.answer_to(id + 1).await), "x", "{n}");
        assert_eq!(text_of(&conn.call(id + 2, "echo", json!({})).await), "echo", "{n}");
    }
    let rounds = refusals.len();
    assert_eq!((endpoint.accepted(), web.calls("x"), web.sessions()), (1, 3 * rounds, rounds + 1));
    assert_eq!(web.gone(), rounds, "the streams of lost sessions are closed");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_call_that_nothing_comes_of_costs_its_deadline_and_leaves_the_session_to_the_others() {
    let note = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n";
    let told = |text: &str| {
        let parts = vec![Part::Write(text.into()), Part::Pause(Duration::from_millis(20))];
        move |_: &Asked| Transport::Sse.events(vec![parts.clone(); 100].concat())
    };
    let silent: Vec<Answers> = vec![
        // Not even the head of what the call is answered with.
        Box::new(|_| vec![Part::Hang]),
        Box::new(|_| {
            vec![
                Part::Write("HTTP/1.1 202 Accepted\r\nx-slow: ".into()),
                Part::Again("a".into(), Duration::from_millis(20)),
            ]
        }),
        // The call is taken, and nothing of it comes on the stream.
        Box::new(|_| Transport::Sse.events(Vec::new())),
        Box::new(|_| whole("200 OK", &["content-type: application/json", "content-encoding: gzip"], "\u{1f}")),
        Box::new(told(": still there\n\n")),
        Box::new(told("id: 1\nretry: 1\n\n")),
        Box::new(told(note)),
        Box::new(told("data: {\"jsonrpc\":\"2.0\",\"id\":4711,\"result\":{}}\n\n")),
    ];
    let count = silent.len();
    let at = Arc::new(AtomicUsize::new(0));
    let now = at.clone();
    let web = Web::start_by(Transport::Sse, on_x(move |asked| silent[now.load(Ordering::SeqCst)](asked))).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({"timeout": "1s"})).await;
    conn.handshake().await;
    for n in 0..count {
        at.store(n, Ordering::SeqCst);
        let answer = conn.call(10 + n, "x", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{n}: {answer}"));
        assert!(message.contains("1.0 s") && message.contains("server \"x\""), "{n}: {message}");
        // What is told of the first call meanwhile stands before that.
        let next = conn.call(1000 + n, "echo", json!({})).await;
        assert!(next["error"]["message"].as_str().is_none_or(|why| why.contains("1.0 s")), "{n}: {next}");
        assert_eq!(text_of(&conn.call(2000 + n, "echo", json!({})).await), "echo", "after {n}");
    }
    assert_eq!((endpoint.accepted(), web.calls("x"), web.sessions()), (1, count, 1), "nothing was sent again");
    daemon.stop_closing([&mut conn]).await;
}

/// What a server answers at the address of its stream, and where it is sent messages.
type Opening = (&'static str, Box<dyn Fn(&Asked) -> Option<Vec<Part>> + Send + Sync>);

#[tokio::test]
async fn a_session_that_can_t_begin_is_told_with_its_cause() {
    let stream = |text: &'static str| {
        Box::new(move |asked: &Asked| (asked.method == "GET").then(|| [events(text), vec![Part::Hang]].concat()))
    };
    let ended = |text: &'static str| {
        Box::new(move |asked: &Asked| (asked.method == "GET").then(|| [events(text), vec![Part::Close]].concat()))
    };
    let post = |status: &'static str, headers: &'static [&str]| {
        Box::new(move |asked: &Asked| (asked.method == "POST").then(|| whole(status, headers, "<h1>")))
    };
    let plain = |content: &'static str| {
        Box::new(move |asked: &Asked| {
            (asked.method == "GET").then(|| whole("200 OK", &[content], "event: endpoint\ndata: /m\n\n"))
        })
    };
    let openings: Vec<Opening> = vec![
        ("has not answered initialize for 2.0 s", Box::new(|asked| (asked.method == "GET").then(|| vec![Part::Hang]))),
        ("has not answered initialize for 2.0 s", stream(": nothing else\n\n")),
        ("has not answered initialize for 2.0 s", Box::new(|asked| (asked.method == "POST").then(|| vec![Part::Hang]))),
        ("has not answered initialize for 2.0 s", post("202 Accepted", &[])),
        ("has closed its event stream", ended("")),
        ("has closed its event stream", ended("event: endpoint\ndata: /m")),
        ("names an address of another origin", stream("event: endpoint\ndata: http://127.0.0.2:1/m\n\n")),
        ("names an address of another origin", stream("event: endpoint\ndata: //127.0.0.2/m\n\n")),
        ("names no address", stream("event: endpoint\ndata: http://[\n\n")),
        ("without an answer", Box::new(|asked| (asked.method == "GET").then(|| vec![Part::Close]))),
        ("without an answer", Box::new(|asked| (asked.method == "POST").then(|| vec![Part::Close]))),
        (
            "answered HTTP 200 (\"event: endpoint data: /m\"): an answer, but none of MCP",
            plain("content-type: application/json"),
        ),
        ("answered HTTP 200 (\"event: endpoint data: /m\"): an answer, but none of MCP", plain("x-none: there")),
        ("answered HTTP 401 (a page of HTML): it wants to know who asks", post("401 Unauthorized", &[])),
        ("answered HTTP 403", post("403 Forbidden", &[])),
        ("answered HTTP 404", post("404 Not Found", &[])),
        ("answered HTTP 429", post("429 Too Many Requests", &["retry-after: 90"])),
        ("answered HTTP 500", post("500 Oops", &[])),
        (
            "answered HTTP 200 (a page of HTML): an answer, but none of MCP",
            post("200 OK", &["content-type: text/html"]),
        ),
        ("redirected to another origin", post("307 Temporary Redirect", &["location: http://127.0.0.2:1/m"])),
    ];
    join_all(openings.into_iter().enumerate().map(|(n, (words, opening))| async move {
        let web = Web::start_by(Transport::Sse, opening).await;
        let endpoint = FakeEndpoint::bind().await;
        let entry = json!({"url": web.url(), "type": "sse", "endpoint": endpoint.url(), "startTimeout": "2s"});
        let daemon = Setup::new().config(&config([("x", entry)])).start("info");
        let line = daemon.wait_for_event("ERROR_SERVER_START").await;
        let message = line["message"].as_str().unwrap();
        assert!(message.contains(words), "{n}: {message}");
        assert_eq!(message.contains("next attempt in 90.0 s"), words == "answered HTTP 429", "{n}: {message}");
        drop(daemon);
    }))
    .await;
}

#[tokio::test]
async fn a_session_begins_however_its_address_is_told() {
    let bytewise = |text: String| {
        let bytes = text.into_bytes();
        bytes
            .into_iter()
            .flat_map(|byte| [Part::Write(vec![byte]), Part::Pause(Duration::from_micros(50))])
            .collect::<Vec<_>>()
    };
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let cr = |text: &str| text.replace('\n', "\r");
    for n in 0..7 {
        // The good server's own beginning is written in another way.
        let script = move |asked: &Asked| {
            let number = if asked.target == "/sse" { 1 } else { return None };
            let named = endpoint_event(&format!("/messages?session=s{number}"));
            let text = match n {
                0 => format!("\u{feff}{named}"),
                1 => format!("\u{feff}: hello\nretry: 1\nid: 0\n\n{}", crlf(&named)),
                2 => cr(&named),
                3 => format!(": {}\n\n{named}", "padding ".repeat(1000)),
                4 => endpoint_event(&format!("messages?session=s{number}")),
                5 => endpoint_event(&format!("{}/messages?session=s{number}", asked.origin())),
                _ => format!("data:/messages?session=s{number}\nevent:endpoint\n\n"),
            };
            Some([events(""), vec![Part::Begin(bytewise(text))]].concat())
        };
        let web = Web::start_by(Transport::Sse, script).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        assert_eq!(names(&conn.handshake().await), ["echo", "x"], "{n}");
        assert_eq!(text_of(&conn.call(2, "echo", json!({})).await), "echo", "{n}");
        assert_eq!((endpoint.accepted(), web.sessions()), (1, 1), "{n}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn what_is_no_mcp_on_the_stream_is_told_and_costs_no_call() {
    let odd = |asked: &Asked| {
        let text = "event: other\ndata: {}\n\nevent: endpoint\ndata: http://127.0.0.2:1/m\n\ndata: <h1>odd</h1>\n\ndata: {\"jsonrpc\":\"2.0\"}\n\n";
        let answer = format!("data: {}\n\n", result(asked, "x"));
        Transport::Sse.events(vec![Part::Write(text.into()), Part::Write(answer.into())])
    };
    let web = Web::start_by(Transport::Sse, on_x(odd)).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    for id in 2..5 {
        assert_eq!(text_of(&conn.call(id, "x", json!({})).await), "x");
    }
    let line = daemon.wait_for_event("ERROR_STDOUT_NOISE").await;
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("event that is not JSON-RPC: <h1>odd</h1>. "), "{message}");
    assert_eq!((endpoint.accepted(), web.sessions()), (1, 1));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_answer_in_the_body_of_what_was_posted_counts_if_it_has_the_id() {
    let web = Web::start_by(Transport::Sse, |asked| {
        let own = |text: &str| with_json(&result(asked, text));
        match (asked.body["method"].as_str(), asked.body["params"]["arguments"]["how"].as_str()) {
            (Some("tools/call"), Some("at once")) => Some(own("at once")),
            // Nothing else that is there means anything.
            (Some("tools/call"), Some(how)) => {
                let body = match how {
                    "foreign" => json!({"jsonrpc": "2.0", "id": 4711, "result": {}}).to_string(),
                    "text" => "Accepted".to_owned(),
                    other => panic!("{other}"),
                };
                let answer = format!("data: {}\n\n", result(asked, how));
                Some(
                    [
                        whole("200 OK", &["content-type: application/json"], &body),
                        vec![Part::Tell(vec![Part::Write(answer.into())])],
                    ]
                    .concat(),
                )
            }
            _ => None,
        }
    })
    .await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({"timeout": "10s"})).await;
    conn.handshake().await;
    for (id, how) in (10..).zip(["at once", "foreign", "text"]) {
        assert_eq!(text_of(&conn.call(id, "x", json!({"how": how})).await), how);
    }
    assert!(daemon.log_lines().iter().all(|line| line["event"] != "ERROR_STDOUT_NOISE"));
    assert_eq!((endpoint.accepted(), web.sessions(), web.calls("x")), (1, 1, 3));
    daemon.stop_closing([&mut conn]).await;
}
