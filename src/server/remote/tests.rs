//! What a server is waited for, by a clock that stands still while nobody has anything to do.

use std::future::poll_fn;
use std::sync::Mutex;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::config::TlsSpec;
use crate::process::guard::Guard;
use crate::server::tests::request;

/// Pause of a server between two things that it says: as SDKs have it between two comments that keep a stream open.
const BEAT: Duration = Duration::from_secs(15);
/// The head of an answer that is JSON, or a stream of events.
const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

const WELCOME: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"o","version":"1"}}}"#;
const ANSWER: &str = " \"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";

/// What a call is answered with: a text at once, and another one with each beat, so often; and then the answer.
#[derive(Clone, Copy)]
struct Slow(&'static str, &'static str, u32);

/// A server of this computer, and what it was told.
struct Other {
    slow: Slow,
    transport: RemoteTransport,
    /// What it says on the stream of all answers (HTTP+SSE), and the other end of that.
    says: UnboundedSender<String>,
    said: Mutex<Option<UnboundedReceiver<String>>>,
    has_call: Notify,
    told: Mutex<Vec<String>>,
}

impl Other {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        loop {
            let (_, body) = request(&mut stream, &mut read).await?;
            let body = String::from_utf8(body).ok()?;
            if self.transport == RemoteTransport::Sse {
                self.serve_by_sse(&mut stream, body).await?;
                continue;
            }
            let answer = |status: &str, body: &str| {
                let length = body.len();
                format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            };
            if body.contains("tools/call") {
                self.has_call.notify_one();
                let Slow(first, again, times) = self.slow;
                stream.write_all(first.as_bytes()).await.ok()?;
                for _ in 0..times {
                    tokio::time::sleep(BEAT).await;
                    stream.write_all(again.as_bytes()).await.ok()?;
                }
                stream.write_all(ANSWER.as_bytes()).await.ok()?;
                continue;
            }
            let reply = match () {
                () if body.contains("\"initialize\"") => answer("200 OK", WELCOME),
                () if body.is_empty() => answer("405 Method Not Allowed", ""),
                () => answer("202 Accepted", ""),
            };
            stream.write_all(reply.as_bytes()).await.ok()?;
            self.told.lock().unwrap().push(body);
        }
    }

    /// Answers a request by HTTP+SSE. `body`: of a POST; empty for the stream.
    async fn serve_by_sse(&self, stream: &mut TcpStream, body: String) -> Option<()> {
        if body.is_empty() {
            stream.write_all(format!("{EVENTS}event: endpoint\ndata: /posts\n\n").as_bytes()).await.ok()?;
            let mut said = self.said.lock().unwrap().take()?;
            while let Some(text) = said.recv().await {
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            return None;
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.ok()?;
        if body.contains("\"initialize\"") {
            self.says.send(format!("data: {WELCOME}\n\n")).ok()?;
        } else if body.contains("tools/call") {
            self.has_call.notify_one();
            let (says, Slow(first, again, times)) = (self.says.clone(), self.slow);
            tokio::spawn(async move {
                says.send(first.to_owned()).ok()?;
                for _ in 0..times {
                    tokio::time::sleep(BEAT).await;
                    says.send(again.to_owned()).ok()?;
                }
                says.send(format!("data: {{{ANSWER}")).ok()
            });
        }
        self.told.lock().unwrap().push(body);
        Some(())
    }
}

/// What comes of a call of a server that answers so by a transport, in words, and after how long.
async fn outcome(transport: RemoteTransport, slow: Slow) -> (String, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (says, said) = unbounded_channel();
    let (said, has_call, told) = (Mutex::new(Some(said)), Notify::new(), Mutex::default());
    let other = Arc::new(Other { slow, transport, says, said, has_call, told });
    let serving = other.clone();
    let server = tokio::spawn(async move {
        let mut each = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // Else a byte waits for the real clock.
            stream.set_nodelay(true).unwrap();
            let serving = serving.clone();
            each.spawn(async move { serving.serve(stream).await });
        }
    });
    let spec = Arc::new(RemoteSpec {
        url: url.parse().unwrap(),
        transport,
        headers: Vec::new(),
        auth: AuthSpec::Headers,
        tls: TlsSpec::default(),
        connect_timeout: Duration::from_secs(1),
    });
    let (named, redactor) = (ServerSpec::sample("other", "", &[]), Redactor::default());
    let auth = Auth::of("other", &spec, &redactor, &Guard::none());
    let mut remote = Remote::new(&named, spec, auth, redactor, Instant::now());
    let mut out = LineOut::new();
    out.push(&[br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#]);
    out.push(&[br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#]);
    out.push(&[br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow"}}"#]);
    let mut found = None;
    let mut drive = |cx: &mut Context<'_>| {
        let _ = remote.poll_write(cx, &mut out);
        let _ = remote.poll(cx, Instant::now(), true, &mut |said| {
            match said {
                Found::Unanswered { why, .. } => found = Some(why.to_owned()),
                Found::Message { frame, .. } if memchr::memmem::find(frame, b"\"id\":2").is_some() => {
                    found = Some("answered".to_owned());
                }
                Found::Message { .. }
                | Found::Noise(_)
                | Found::Nameless(_)
                | Found::Lost(..)
                | Found::TooLarge(_)
                | Found::Renewed
                | Found::Caused { .. }
                | Found::Modern
                | Found::Odd { .. }
                | Found::Habit(_) => {}
            }
            ControlFlow::Continue(())
        });
        found.clone()
    };
    // Nothing is under way but the call before the clock may jump to what is waited for.
    tokio::select! {
        () = other.has_call.notified() => {}
        () = poll_fn(|cx| if drive(cx).is_some() { Poll::Ready(()) } else { Poll::Pending }) => {}
    }
    tokio::time::pause();
    let begun = Instant::now();
    let why = poll_fn(|cx| drive(cx).map_or(Poll::Pending, Poll::Ready)).await;
    let after = begun.elapsed();
    tokio::time::resume();
    if why != "answered" {
        let is_told = || other.told.lock().unwrap().iter().any(|body| body.contains("notifications/cancelled"));
        poll_fn(|cx| {
            drive(cx);
            cx.waker().wake_by_ref();
            if is_told() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    assert!(remote.place_of(2).is_none(), "nothing waits for the call any more");
    server.abort();
    (why, after)
}

#[tokio::test]
async fn a_call_is_given_up_after_300_seconds_in_which_its_server_said_nothing_of_its_own() {
    for slow in [
        Slow("", "", 10_000),
        Slow("HTTP/1.1 200 OK\r\nx-slow: ", "a", 10_000),
        // All of a JSON text is to come within that time, or a server could go on for ever.
        Slow(JSON, " ", 10_000),
        Slow(EVENTS, ": still there\n\n", 10_000),
        Slow(EVENTS, "id: 1\nretry: 1\n", 10_000),
    ] {
        let (why, after) = outcome(RemoteTransport::Http, slow).await;
        assert_eq!(why, "has said nothing about it for 5 min", "{:?}", slow.1);
        // The call was sent a moment before that began to be counted.
        assert!((299..317).contains(&after.as_secs()), "{after:?}, {:?}", slow.1);
    }
}

#[tokio::test]
async fn a_call_whose_server_says_something_now_and_then_may_take_an_hour() {
    const TIMES: u32 = 240;
    let notification = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\ndata: {";
    let (why, after) = outcome(
        RemoteTransport::Http,
        Slow("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {", " ", TIMES),
    )
    .await;
    assert_eq!(why, "answered");
    assert!(after >= TIMES * BEAT, "{after:?}");
    let (why, _) = outcome(RemoteTransport::Http, Slow(EVENTS, notification, 1)).await;
    assert_eq!(why, "answered");
}

#[tokio::test]
async fn by_one_stream_for_all_only_the_progress_of_a_call_is_a_sign_of_it() {
    const TIMES: u32 = 240;
    let progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":2,\"progress\":1}}\n\n";
    let (why, after) = outcome(RemoteTransport::Sse, Slow("", progress, TIMES)).await;
    assert_eq!(why, "answered");
    assert!(after >= TIMES * BEAT, "{after:?}");
    for again in [
        ": still there\n\n",
        "id: 1\nretry: 1\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":3,\"progress\":1}}\n\n",
    ] {
        let (why, after) = outcome(RemoteTransport::Sse, Slow("", again, 10_000)).await;
        assert_eq!(why, "has said nothing about it for 5 min", "{again}");
        assert!((299..317).contains(&after.as_secs()), "{after:?}, {again}");
    }
}
