//! Remote servers that are slow, endless, huge or gone, that are reached by TLS or through a proxy, and many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Asked, Authority, FakeEndpoint, Part, Secured, Setup, Transport, Web, config, events, field, fixture_entry,
    multiplex, names, result, rounds, text_of, whole, within,
};
use crate::remote::{on_x, start};

/// What a call is answered with.
type Answers = Box<dyn Fn(&Asked) -> Vec<Part> + Send + Sync>;

/// Waits until this holds of a server.
async fn until(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Calls the tool `x` once for each of these answers, and after each one the tool `echo`, which works. Each call ends with an error that
/// says what stands beside its answer; and `endless` of the answers are read no more soon, while mcp-pipe goes on.
async fn each_costs_one_call(answers: Vec<(&'static str, Answers)>, endless: usize, more: Value) {
    let words: Vec<&str> = answers.iter().map(|(words, _)| *words).collect();
    let at = Arc::new(AtomicUsize::new(0));
    let now = at.clone();
    let web = Web::start(on_x(move |asked| answers[now.load(Ordering::SeqCst)].1(asked))).await;
    let (endpoint, daemon, mut conn) = start(&web.url(), more).await;
    conn.handshake().await;
    for (n, words) in words.iter().enumerate() {
        at.store(n, Ordering::SeqCst);
        let answer = conn.call(10 + n, "x", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{n}, {words}: {answer}"));
        assert!(message.contains(words) && message.contains("server \"x\""), "{n}, {words}: {message}");
        assert_eq!(text_of(&conn.call(1000 + n, "echo", json!({})).await), "echo", "after {n}, {words}");
    }
    assert_eq!((endpoint.accepted(), web.calls("x")), (1, words.len()), "nothing was sent again");
    until("what has no end to be read no more", || web.gone() == endless).await;
    let peak = daemon.peak_memory();
    assert!(peak.is_none_or(|peak| peak < 60_000), "{peak:?} kB");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_to_its_end_costs_its_call_the_deadline_and_then_its_connection() {
    let slowly = |text: &str| Part::Again(text.into(), Duration::from_millis(20));
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    let notification =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
    let flood = format!("data: {}\n", "x".repeat(1 << 16));
    let answers: Vec<(&str, Answers)> = vec![
        ("1.0 s", Box::new(move |_| vec![Part::Write("HTTP/1.1 200 OK\r\nx-slow: ".into()), slowly("a")])),
        ("1.0 s", Box::new(move |_| vec![Part::Write(json.into()), slowly(" ")])),
        ("1.0 s", Box::new(move |_| [events("data: {"), vec![slowly(" ")]].concat())),
        ("1.0 s", Box::new(move |_| [events(": a\n\n"), vec![slowly(": b\n\n")]].concat())),
        ("1.0 s", Box::new(move |_| [events(""), vec![slowly(&format!("data: {notification}\n\n"))]].concat())),
        (
            "1.0 s",
            Box::new(move |_| [events(""), vec![Part::Again(flood.clone().into(), Duration::from_millis(2))]].concat()),
        ),
    ];
    let count = answers.len();
    each_costs_one_call(answers, count, json!({"timeout": "1s", "maxFrameSize": "1MiB"})).await;
}

#[tokio::test]
async fn an_answer_of_100_megabytes_is_refused_without_being_kept() {
    const SIZE: usize = 100 << 20;
    let json = |length: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n{{\"id\":\"");
    let event = |asked: &Asked| format!("id: 1\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":\"", asked.body["id"]);
    let answers: Vec<(&str, Answers)> = vec![
        (
            "more than 1048576 bytes",
            Box::new(move |_| vec![Part::Write(json(&format!("content-length: {SIZE}\r\n")).into()), Part::Bulk(SIZE)]),
        ),
        (
            "more than 1048576 bytes",
            Box::new(move |_| vec![Part::Write(json("").into()), Part::Bulk(SIZE), Part::Close]),
        ),
        (
            "above the limit",
            Box::new(move |asked| [events(&event(asked)), vec![Part::Bulk(SIZE), Part::Close]].concat()),
        ),
        // Which request it is for stands behind all that.
        (
            "above the limit",
            Box::new(move |asked| {
                let end = format!("\",\"jsonrpc\":\"2.0\",\"id\":{}}}\n\n", asked.body["id"]);
                let begin = events("id: 1\ndata: {\"result\":\"");
                [begin, vec![Part::Bulk(4 << 20), Part::Write(end.into()), Part::Close]].concat()
            }),
        ),
        (
            "more than 1048576 bytes",
            Box::new(|_| [events("data: "), vec![Part::Again(vec![b'x'; 1 << 20], Duration::ZERO)]].concat()),
        ),
    ];
    each_costs_one_call(answers, 3, json!({"maxFrameSize": "1MiB"})).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_and_read_no_further() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let answers: Vec<(&str, Answers)> = vec![
        (
            "the head of its answer is too large",
            Box::new(move |_| vec![Part::Write(format!("{ok}x-large: {}\r\n\r\n", "y".repeat(100_000)).into())]),
        ),
        ("the head of its answer is too large", Box::new(move |_| vec![Part::Write(format!("{ok}{many}\r\n").into())])),
        (
            "the head of its answer is too large",
            Box::new(move |_| {
                vec![Part::Write(format!("{ok}x-endless: ").into()), Part::Again(vec![b'y'; 1 << 12], Duration::ZERO)]
            }),
        ),
        ("no HTTP answer", Box::new(|_| vec![Part::Write("SSH-2.0-OpenSSH_9.7\r\n\r\n".into())])),
    ];
    each_costs_one_call(answers, 1, json!({})).await;
}

#[tokio::test]
async fn a_cut_answer_that_is_never_continued_is_given_up_and_one_that_is_polled_for_is_not() {
    const POLLS: usize = 20;
    let gets = Arc::new(AtomicUsize::new(0));
    let (count, id) = (gets.clone(), std::sync::Mutex::new(Value::Null));
    let web = Web::start(move |asked| {
        if asked.tool() == Some("x") {
            *id.lock().unwrap() = asked.body["id"].clone();
            let first = if asked.body["params"]["arguments"]["polled"] == true { "p0" } else { "e0" };
            return Some([events(&format!("id: {first}\nretry: 1\ndata:\n\n")), vec![Part::Close]].concat());
        }
        let behind = asked.header("last-event-id").filter(|_| asked.method == "GET")?;
        let number = count.fetch_add(1, Ordering::SeqCst);
        let answer = json!({"jsonrpc": "2.0", "id": *id.lock().unwrap(), "result": {"content": [{"type": "text", "text": "late"}]}});
        let text = match behind.strip_prefix('p') {
            None => String::new(),
            // Nothing yet: only the mark from which it goes on.
            Some(n) if n.parse::<usize>().unwrap() < POLLS => format!("id: p{}\nretry: 1\ndata:\n\n", number + 1),
            Some(_) => format!("data: {answer}\n\n"),
        };
        Some([events(&text), vec![Part::Close]].concat())
    })
    .await;
    let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "x", json!({"polled": true})).await), "late");
    let polls = gets.load(Ordering::SeqCst);
    let answer = conn.call(3, "x", json!({"polled": false})).await;
    let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.contains("the stream of its answer ended without that"), "{message}");
    assert_eq!((polls, gets.load(Ordering::SeqCst) - polls), (POLLS + 1, 3));
    assert_eq!(text_of(&conn.call(4, "echo", json!({})).await), "echo");
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_is_reached_by_tls_as_its_entry_says_and_by_http2_where_it_has_that() {
    let authority = Authority::new();
    authority.sign_client();
    let ca = json!({"caFile": authority.file("ca.pem")});
    let identity = json!({"caFile": authority.file("ca.pem"), "certFile": authority.file("client.pem"), "keyFile": authority.file("client.key")});
    for (secured, more) in [
        (Secured::default(), &ca),
        (Secured { http2: true, ..Secured::default() }, &ca),
        (Secured { wants_certificate: true, ..Secured::default() }, &identity),
        (Secured { wants_certificate: true, http2: true, ..Secured::default() }, &identity),
    ] {
        let answers = on_x(|asked| {
            let late =
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
            match asked.body["params"]["arguments"]["how"].as_str().unwrap_or_default() {
                "cut" => [events("data: {"), vec![Part::Pause(Duration::from_millis(50)), Part::Close]].concat(),
                "hang" => [events(": a\n\n"), vec![Part::Hang]].concat(),
                _ => [
                    events(&format!("data: {late}\n\n")),
                    vec![
                        Part::Pause(Duration::from_millis(20)),
                        Part::Write(format!("data: {}\n\n", result(asked, "x")).into()),
                    ],
                ]
                .concat(),
            }
        });
        let web = Web::start_secure(Transport::Http, authority.secure(secured), answers).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), more.clone()).await;
        assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
        // One cut, one that hangs and is cancelled, and others beside them.
        conn.send_call(10, "x", json!({"how": "hang"})).await;
        conn.send_call(11, "x", json!({"how": "cut"})).await;
        for id in 20..60 {
            conn.send_call(id, "x", json!({})).await;
        }
        for id in 20..60 {
            assert_eq!(text_of(&conn.answer_to(id).await), "x", "{secured:?}");
        }
        let cut = conn.answer_to(11).await;
        assert!(cut["error"]["message"].as_str().is_some_and(|why| why.contains("answer")), "{secured:?}: {cut}");
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 10}})).await;
        web.forget();
        assert_eq!(text_of(&conn.call(70, "echo", json!({})).await), "echo", "{secured:?}");
        if secured.http2 {
            assert_eq!(web.connections(), 1, "all of them share one");
        }
        assert_eq!(endpoint.accepted(), 1);
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_with_its_remedy() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let ca = json!({"caFile": authority.file("ca.pem")});
    let faults = [
        (Secured { expired: true, ..Secured::default() }, &ca, "has expired"),
        (Secured { wants_certificate: true, ..Secured::default() }, &ca, "certFile"),
        (Secured::default(), &json!({"caFile": unknown.file("ca.pem")}), "signed by nobody"),
    ];
    for (transport, (secured, more, words)) in
        Transport::BOTH.into_iter().flat_map(|transport| faults.map(|fault| (transport, fault)))
    {
        let web = Web::start_secure(transport, authority.secure(secured), |_| None).await;
        let endpoint = FakeEndpoint::bind().await;
        let mut entry = json!({"url": web.url(), "endpoint": endpoint.url(), "startTimeout": "2s"});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let daemon = Setup::new().config(&config([("x", entry)])).start("info");
        let line = daemon.wait_for_event("ERROR_SERVER_START").await;
        let message = line["message"].as_str().unwrap();
        assert!(message.contains(words), "{transport:?}: {message}");
        assert!(web.asked().is_empty(), "{:?}", web.asked());
        daemon.stop().await;
    }
}

/// A proxy by CONNECT that leads everywhere to one port of this machine; what it was asked, in lower case.
async fn proxy(to: u16) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.ok()?);
                }
                noted.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
                let mut other = TcpStream::connect(("127.0.0.1", to)).await.ok()?;
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
                copy_bidirectional(&mut stream, &mut other).await.ok()
            });
        }
    });
    (port, asked)
}

#[tokio::test]
async fn a_server_is_reached_through_the_proxy_of_the_environment() {
    let authority = Authority::new();
    for is_secure in [false, true] {
        let secure = authority.secure(Secured { http2: true, ..Secured::default() });
        let web = if is_secure {
            Web::start_secure(Transport::Http, secure, |_| None).await
        } else {
            Web::start(|_| None).await
        };
        let (port, asked) = proxy(web.port()).await;
        let (scheme, variable) = if is_secure { ("https", "HTTPS_PROXY") } else { ("http", "HTTP_PROXY") };
        let endpoint = FakeEndpoint::bind().await;
        let entry = json!({
            "url": format!("{scheme}://mcp.test:7777/mcp"), "endpoint": endpoint.url(), "caFile": authority.file("ca.pem"),
        });
        let setup = Setup::new().config(&config([("x", entry)]));
        let daemon = setup.env(variable, &format!("http://me:s3cret-s3cret@127.0.0.1:{port}")).start("debug");
        let mut conn = endpoint.accept().await;
        assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
        assert_eq!(text_of(&conn.call(5, "echo", json!({})).await), "echo");
        let asked = asked.lock().unwrap().clone();
        for asked in &asked {
            assert!(asked.starts_with("connect mcp.test:7777 http/1.1\r\n"), "{asked}");
            assert!(asked.contains("proxy-authorization: basic "), "{asked}");
        }
        assert_eq!(asked.len(), web.connections(), "nothing goes past it");
        assert!(!daemon.log_text().contains("s3cret-s3cret"));
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn sessions_that_are_dropped_under_load_cost_no_connection_and_no_call_that_need_not_fail() {
    for transport in Transport::BOTH {
        let sessions = 50 * rounds();
        let web = Web::start_by(transport, |_| None).await;
        let (endpoint, daemon, mut conn) = start(&web.url(), json!({})).await;
        conn.handshake().await;
        let (mut id, mut dropped, mut refused) = (100_u64, 0, 0_u64);
        let is_refused = |answer: &Value| {
            let why = answer["error"]["message"].as_str();
            // By HTTP+SSE a session is the stream of all answers, so its end costs what is under way an error.
            let is_known = |why: &str| why.contains("knows its session no more") || why.contains("answered HTTP 404");
            assert!(why.is_none_or(is_known), "{answer}");
            u64::from(why.is_some())
        };
        while web.sessions() <= sessions {
            let first = id;
            for _ in 0..10 {
                // Some calls are under way when their session goes, and others find that out.
                web.forget();
                dropped += 1;
                for _ in 0..4 {
                    conn.send_call(id, "echo", json!({})).await;
                    id += 1;
                }
                refused += is_refused(&conn.answer_to(id - 4).await);
            }
            for id in (first..id).filter(|id| !(id - first).is_multiple_of(4)) {
                refused += is_refused(&conn.answer_to(id).await);
            }
        }
        assert_eq!(text_of(&conn.call(5, "echo", json!({})).await), "echo", "{transport:?}");
        // A call that was sent again finds the next session gone, too, and is not sent a third time.
        assert!(refused * 10 < id, "{transport:?}: {refused} of {id} calls");
        assert!(web.sessions() <= dropped + 1, "{transport:?}: {} sessions after {dropped} losses", web.sessions());
        assert_eq!(endpoint.accepted(), 1);
        assert_eq!(daemon.log_lines().iter().filter(|line| field(line, "level") == Some("ERROR")).count(), 0);
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn twenty_servers_that_are_down_at_once_are_asked_less_and_less_and_are_there_once_they_are_up() {
    const SERVERS: usize = 20;
    let is_up = Arc::new(AtomicBool::new(false));
    let mut webs = Vec::new();
    for _ in 0..SERVERS {
        let is_up = is_up.clone();
        let down = move |_: &Asked| (!is_up.load(Ordering::SeqCst)).then(|| whole("502 Bad Gateway", &[], ""));
        webs.push(Web::start(down).await);
    }
    let endpoint = FakeEndpoint::bind().await;
    let names: Vec<String> = (0..SERVERS).map(|n| format!("remote{n}")).collect();
    let remote = |web: &Web| json!({"url": web.url(), "type": "http", "startTimeout": "1s"});
    let remotes = names.iter().zip(&webs).map(|(name, web)| (name.as_str(), remote(web)));
    let mut file = multiplex(&endpoint, remotes.chain([("own", fixture_entry(&[]))]));
    file["maxBackoff"] = "2s".into();
    // How long it takes until all are there is up to chance, and the endpoint reads no list meanwhile.
    file["resync"] = false.into();
    let daemon = Setup::new().config(&file).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    // The one that is there is served, whatever the others do.
    // Of which era a server is, is asked once more before each.
    let asked = |web: &Web| web.asked().iter().filter(|asked| asked.body["method"] == "initialize").count();
    until("each to be tried some times", || webs.iter().all(|web| asked(web) >= 4)).await;
    assert_eq!(text_of(&conn.call(2, "add", json!({"a": 1, "b": 2})).await), "3");
    // A wait is told with each attempt, so attempts are no more than the waits that are over.
    let (mut first, mut fifth) = (0.0, 0.0);
    for (name, web) in names.iter().zip(&webs) {
        let attempts = asked(web);
        let lines = daemon.log_lines();
        let tried = lines.iter().filter(|line| field(line, "server") == Some(name));
        let waits: Vec<f64> = tried.filter_map(|line| wait_of(field(line, "message")?)).collect();
        assert!(attempts <= waits.len() + 2, "{name}: {attempts} attempts, {waits:?}");
        (first, fifth) = (first + waits[0], fifth + waits.last().unwrap());
    }
    assert!(fifth > 2.0 * first, "{first} s in all, then {fifth} s");
    is_up.store(true, Ordering::SeqCst);
    let mut id = 10;
    within("all to be listed", async {
        loop {
            id += 1;
            conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).await;
            let listed = conn.answer_to(id).await;
            let tools = crate::harness::names(&listed);
            if names.iter().all(|name| tools.contains(&&*format!("{name}__echo"))) {
                break;
            }
            conn.other("notifications/tools/list_changed").await;
        }
    })
    .await;
    for (n, name) in names.iter().enumerate() {
        assert_eq!(text_of(&conn.call(1000 + n, &format!("{name}__echo"), json!({})).await), "echo");
    }
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

/// The seconds after `next attempt in`.
fn wait_of(message: &str) -> Option<f64> {
    message.split_once("next attempt in ")?.1.split(' ').next()?.parse().ok()
}
