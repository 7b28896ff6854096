//! The waits between connections, as the link really makes them, with the clock paused.

use std::future::poll_fn;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::backoff::FLOOR;

const CAP: Duration = Duration::from_secs(600);
const FIRST: Duration = Duration::from_secs(2);

/// A link, and what it writes.
struct Rig {
    link: Link,
    out: Outgoing,
}

/// How a connection or an attempt ended.
#[derive(Debug)]
struct Down {
    cause: String,
    open_for: Option<Duration>,
    retry_in: Duration,
}

impl Rig {
    fn dialling(address: SocketAddr) -> Self {
        // No ping may be due: these tests let hours pass in silence.
        Self::pinging(address, Duration::from_secs(100_000), LinkSpec::default().ping_timeout)
    }

    fn pinging(address: SocketAddr, ping_interval: Duration, ping_timeout: Duration) -> Self {
        let endpoint = format!("ws://{address}/mcp/?token=t").parse().unwrap();
        let (_, wake) = watch::channel(0);
        let spec = LinkSpec { ping_interval, ping_timeout, ..LinkSpec::default() };
        let mut link = Link::new(endpoint, Arc::new(spec), 1 << 20, wake);
        link.dial();
        Rig { link, out: Outgoing::default() }
    }

    /// Drives the link until an attempt or a connection has failed. Calls `on_up` when a connection stands.
    async fn next_down(&mut self, mut on_up: impl FnMut(&mut Link)) -> Down {
        poll_fn(|cx| {
            let (mut up, mut down) = (false, None);
            let Rig { link, out } = self;
            let _open = link.poll(cx, Instant::now(), true, out, &mut |_, event| {
                match event {
                    LinkEvent::Up(_) => up = true,
                    LinkEvent::Down { cause, open_for, retry_in } => {
                        down = Some(Down { cause: cause.to_string(), open_for, retry_in });
                    }
                    LinkEvent::Message(_) | LinkEvent::TooLarge(_) | LinkEvent::NotText(_) | LinkEvent::Beat => {}
                }
                ControlFlow::Continue(())
            });
            let _written = link.poll_write(cx, out);
            if up {
                on_up(link);
            }
            down.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Drives the link until a connection stands on which a call is served.
    async fn served(&mut self) {
        poll_fn(|cx| {
            let mut up = false;
            let Rig { link, out } = self;
            let _open = link.poll(cx, Instant::now(), true, out, &mut |_, event| {
                match event {
                    LinkEvent::Up(_) => up = true,
                    LinkEvent::Down { cause, .. } => panic!("{cause}"),
                    LinkEvent::Message(_) | LinkEvent::TooLarge(_) | LinkEvent::NotText(_) | LinkEvent::Beat => {}
                }
                ControlFlow::Continue(())
            });
            if up { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.link.healthy();
    }

    async fn waits(&mut self, count: usize) -> Vec<Duration> {
        let mut waits = Vec::new();
        let mut last: Option<(Instant, Duration)> = None;
        for _ in 0..count {
            let down = self.next_down(|_| panic!("nobody listens there")).await;
            assert!(down.open_for.is_none() && down.cause.contains("refused"), "{down:?}");
            if let Some((at, wait)) = last {
                let (waited, slack) = (at.elapsed(), Duration::from_millis(5));
                assert!(waited >= wait && waited < wait + slack, "announced {wait:?}, waited {waited:?}");
            }
            last = Some((Instant::now(), down.retry_in));
            waits.push(down.retry_in);
        }
        waits
    }
}

/// A port of ours that refuses connections until it is listened on.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Lets time pass at once. The clock is paused only for that: paused while bytes are under way, it would run ahead of them.
async fn jump(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Accepts each connection, and closes it with `code` when it has stood for `after` since the link saw it open.
async fn accept_and_close(listener: TcpListener, code: u16, after: Duration, up: Arc<Notify>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(tcp).await.unwrap();
        up.notified().await;
        jump(after).await;
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// The longest wait after ten connections that end like this, on top of nine failures.
async fn longest_wait(code: u16, stood: Duration, on_up: impl Fn(&mut Link)) -> Duration {
    let (socket, address) = closed_port();
    let mut rig = Rig::dialling(address);
    let mut wait = rig.waits(9).await[8];
    tokio::time::resume();
    let up = Arc::new(Notify::new());
    let endpoint = tokio::spawn(accept_and_close(socket.listen(8).unwrap(), code, stood, up.clone()));
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        jump(wait).await;
        let dialled = Instant::now();
        let down = rig
            .next_down(|link| {
                on_up(link);
                up.notify_one();
            })
            .await;
        let open_for = down.open_for.unwrap_or_else(|| panic!("{down:?}"));
        let at_once = stood + CLOSING - Duration::from_millis(100);
        assert!(open_for >= stood && dialled.elapsed() < at_once, "{down:?} after {:?}", dialled.elapsed());
        wait = down.retry_in;
        longest = longest.max(wait);
    }
    endpoint.abort();
    tokio::time::pause();
    longest
}

fn assert_climbing(waits: &[Duration]) {
    for (n, wait) in waits.iter().enumerate() {
        let ceiling = FIRST.saturating_mul(1 << n.min(20)).min(CAP);
        assert!(*wait >= FLOOR && *wait <= ceiling, "wait {n} is {wait:?}, its ceiling {ceiling:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_failed_connections_are_waited_for_as_specified_and_health_starts_over() {
    let (_socket, address) = closed_port();
    let mut rig = Rig::dialling(address);
    let waits = rig.waits(1000).await;
    assert_climbing(&waits);
    // Full jitter: evenly spread below the cap. The mean is off by this much once in many million runs.
    let at_cap = &waits[10..];
    let mean = at_cap.iter().sum::<Duration>() / at_cap.len() as u32;
    assert!(mean > CAP / 2 - Duration::from_secs(40) && mean < CAP / 2 + Duration::from_secs(40), "{mean:?}");
    assert!(at_cap.iter().any(|wait| *wait < CAP / 10) && at_cap.iter().any(|wait| *wait > CAP / 10 * 9));

    rig.link.healthy();
    assert_climbing(&rig.waits(12).await);
}

#[tokio::test(start_paused = true)]
async fn an_open_socket_alone_is_no_proof_of_health() {
    let longest = longest_wait(1011, Duration::from_secs(3600), |_| ()).await;
    assert!(longest > FIRST, "it started over: {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_and_a_stable_minute_start_over_and_a_handshake_alone_does_not() {
    let longest = longest_wait(1011, Duration::from_secs(60), Link::handshaken).await;
    assert!(longest <= FIRST, "{longest:?}");
    let longest = longest_wait(1011, Duration::from_secs(58), Link::handshaken).await;
    assert!(longest > FIRST, "it started over: {longest:?}");
}

/// Keeps only the newest connection, as the self-hosted endpoint does, and closes the older one for this reason.
async fn replace(listener: TcpListener, reason: &'static str) {
    let mut newest = None;
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let socket = accept_async(tcp).await.unwrap();
        if let Some(mut old) = newest.replace(socket) {
            let frame = CloseFrame { code: 1000.into(), reason: reason.into() };
            old.send(Message::Close(Some(frame))).await.unwrap();
            tokio::spawn(async move { while let Some(Ok(_)) = old.next().await {} });
        }
    }
}

#[tokio::test]
async fn two_programs_on_one_agent_wage_no_war_of_reconnects_though_each_serves_calls() {
    let (socket, address) = closed_port();
    let endpoint = tokio::spawn(replace(socket.listen(8).unwrap(), "新连接替换"));
    let (mut holder, mut other) = (Rig::dialling(address), Rig::dialling(address));
    holder.served().await;
    let (mut wait, mut contested) = (Duration::ZERO, false);
    let mut hours = [0; 3];
    let start = Instant::now();
    loop {
        jump(wait).await;
        let Some(hour) = hours.get_mut((start.elapsed().as_secs() / 3600) as usize) else { break };
        *hour += 1;
        other.served().await;
        let down = holder.next_down(|_| ()).await;
        contested |= down.cause.contains("another connection with this token or agent keeps taking its place");
        assert!(down.cause.contains("1000"), "{down:?}");
        wait = down.retry_in;
        std::mem::swap(&mut holder, &mut other);
    }
    endpoint.abort();
    // For both: 1 and 2 s, 8 s, 64 s, and from then on 300 s or more.
    assert!(hours[0] <= 18 && hours[1] <= 12 && hours[2] <= 12 && contested, "{hours:?}");
}

#[tokio::test]
async fn a_regular_close_for_another_reason_is_quoted_accuses_nobody_and_is_no_contest() {
    let (socket, address) = closed_port();
    let endpoint = tokio::spawn(replace(socket.listen(8).unwrap(), "idle timeout"));
    let (mut holder, mut other) = (Rig::dialling(address), Rig::dialling(address));
    holder.served().await;
    for _ in 0..6 {
        other.served().await;
        let down = holder.next_down(|_| ()).await;
        assert!(down.cause.contains("\"idle timeout\"") && !down.cause.contains("another"), "{down:?}");
        // The wait is that after any end of a connection that was of use.
        assert!(down.retry_in <= FIRST, "{down:?}");
        jump(down.retry_in).await;
        std::mem::swap(&mut holder, &mut other);
    }
    endpoint.abort();
}

#[tokio::test]
async fn a_connection_that_we_close_is_made_anew_after_a_pause_and_counts_neither_as_failure_nor_as_health() {
    let (socket, address) = closed_port();
    tokio::time::pause();
    let mut rig = Rig::dialling(address);
    let wait = rig.waits(9).await[8];
    tokio::time::resume();
    let listener = socket.listen(8).unwrap();
    let endpoint = tokio::spawn(async move {
        let mut closes = Vec::new();
        for _ in 0..3 {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(tcp).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(frame) = message {
                    closes.push(frame.map(|frame| u16::from(frame.code)));
                }
            }
        }
        closes
    });
    jump(wait).await;
    for _ in 0..3 {
        let mut hung_up = false;
        let down = poll_fn(|cx| {
            let (mut up, mut down) = (false, None);
            let Rig { link, out } = &mut rig;
            let _open = link.poll(cx, Instant::now(), true, out, &mut |_, event| {
                match event {
                    LinkEvent::Up(_) => up = true,
                    LinkEvent::Down { cause, retry_in, .. } => down = Some((cause.to_string(), retry_in)),
                    LinkEvent::Message(_) | LinkEvent::TooLarge(_) | LinkEvent::NotText(_) | LinkEvent::Beat => {}
                }
                ControlFlow::Continue(())
            });
            if up {
                hung_up = link.hang_up(out, "for a test") && !link.hang_up(out, "twice");
            }
            let _written = link.poll_write(cx, out);
            down.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        assert!(hung_up);
        assert_eq!(down, ("mcp-pipe closed the connection, for a test".to_owned(), Duration::from_millis(250)));
    }
    assert_eq!(endpoint.await.unwrap(), [Some(1000); 3]);
    // Afterwards a failure is waited for as always.
    tokio::time::pause();
    // Another test may have got the port by now, so that it is not always refused.
    assert!(rig.next_down(|_| ()).await.retry_in >= FLOOR);
    assert!(!rig.link.hang_up(&mut rig.out, "nothing stands"));
}

/// A link that has just hung up on an endpoint which accepts connections and never reads.
async fn hung_up() -> (Rig, TcpListener, tokio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::dialling(listener.local_addr().unwrap());
    let deaf = async {
        let (tcp, _) = listener.accept().await.unwrap();
        accept_async(tcp).await.unwrap().into_inner()
    };
    let hang_up = poll_fn(|cx| {
        let (Rig { link, out }, mut up) = (&mut rig, false);
        let on = &mut |_: &mut Outgoing, event: LinkEvent<'_>| {
            up |= matches!(event, LinkEvent::Up(_));
            ControlFlow::Continue(())
        };
        let _open = link.poll(cx, Instant::now(), true, out, on);
        let once = up && link.hang_up(out, "to try it") && !link.hang_up(out, "again");
        if once { Poll::Ready(()) } else { Poll::Pending }
    });
    let (deaf, ()) = tokio::join!(deaf, hang_up);
    (rig, listener, deaf)
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_our_close_holds_up_the_next_connection_by_a_second_only() {
    let (mut rig, listener, mut deaf) = hung_up().await;
    let begun = Instant::now();
    // A text message that comes after our close is not for anybody any more.
    deaf.write_all(&[0x81, 2, b'{', b'}']).await.unwrap();
    let down = poll_fn(|cx| {
        let (Rig { link, out }, mut down) = (&mut rig, None);
        let _open = link.poll(cx, Instant::now(), true, out, &mut |_, event| {
            match event {
                LinkEvent::Down { retry_in, .. } => down = Some(retry_in),
                LinkEvent::Up(_)
                | LinkEvent::Message(_)
                | LinkEvent::TooLarge(_)
                | LinkEvent::NotText(_)
                | LinkEvent::Beat => {
                    panic!("{event:?}")
                }
            }
            ControlFlow::Continue(())
        });
        let _written = link.poll_write(cx, out);
        down.map_or(Poll::Pending, Poll::Ready)
    });
    assert_eq!(down.await, Duration::from_millis(250));
    assert!(begun.elapsed() >= CLOSING - Duration::from_millis(100) && begun.elapsed() < CLOSING * 5);
    tokio::select! {
        _ = rig.next_down(|_| ()) => panic!("there is an endpoint"),
        accepted = listener.accept() => drop(accepted.unwrap()),
    }
}

#[tokio::test]
async fn a_stop_while_hanging_up_is_final() {
    let (mut rig, _listener, _deaf) = hung_up().await;
    rig.link.close(&mut rig.out);
    poll_fn(|cx| {
        let Rig { link, out } = &mut rig;
        let _written = link.poll_write(cx, out);
        link.poll(cx, Instant::now(), true, out, &mut |_, event| panic!("{event:?}"))
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_with_a_slow_line_is_alive_as_long_as_it_takes_what_a_ping_waits_behind() {
    tokio::join!(over_a_slow_line(true), over_a_slow_line(false));
}

/// `read`: whether we read meanwhile; a pipe that is held up doesn't.
async fn over_a_slow_line(read: bool) {
    // With large buffers the system tells of room once in a second or so, which is the interval here.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(3));
    let mut rig = Rig::pinging(listener.local_addr().unwrap(), interval, timeout);
    let slow = interval + timeout + Duration::from_secs(2);
    let endpoint = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tcp = accept_async(tcp).await.unwrap().into_inner();
        let (begun, mut piece) = (Instant::now(), vec![0; 64 * 1024]);
        while begun.elapsed() < slow {
            tcp.read_exact(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        tcp // and takes nothing any more
    };
    let mut written = false;
    // Far more than is read and the sockets hold.
    let text = "x".repeat(32 << 20);
    let link = poll_fn(|cx| {
        let (Rig { link, out }, mut down) = (&mut rig, None);
        let _open = link.poll(cx, Instant::now(), read || !written, out, &mut |out, event| {
            match event {
                LinkEvent::Up(_) => {
                    out.text(&[text.as_bytes()]);
                    written = true;
                }
                LinkEvent::Down { cause, open_for, .. } => down = Some((cause.to_string(), open_for.unwrap())),
                LinkEvent::Beat | LinkEvent::Message(_) | LinkEvent::TooLarge(_) | LinkEvent::NotText(_) => {}
            }
            ControlFlow::Continue(())
        });
        let _written = link.poll_write(cx, out);
        down.take().map_or(Poll::Pending, Poll::Ready)
    });
    let (_silent, (cause, open_for)) = tokio::join!(endpoint, link);
    assert!(cause.contains("nothing came"), "{cause}");
    // The system may have told of room an interval before the last piece was taken.
    assert!(open_for >= slow - interval, "given up after {open_for:?} though it was taking");
}

#[tokio::test]
async fn a_ping_goes_out_in_each_interval_though_its_answer_may_take_much_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // With an answer in hand nobody waits for the hour that the answer might have taken.
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_secs(3600));
    let mut rig = Rig::pinging(listener.local_addr().unwrap(), interval, timeout);
    let endpoint = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(tcp).await.unwrap();
        for _ in 0..4 {
            // Reading answers the last ping.
            assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
        }
    };
    tokio::select! {
        down = rig.next_down(|_| ()) => panic!("{down:?}"),
        () = endpoint => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no ping for a minute"),
    }
}

#[tokio::test]
async fn a_link_that_is_to_dial_no_more_ends_with_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::dialling(listener.local_addr().unwrap());
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let frame = CloseFrame { code: 4004.into(), reason: "".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let (down, ()) = tokio::join!(rig.next_down(Link::dial_no_more), serve);
    assert!(down.open_for.is_some(), "{down:?}");
    assert!(matches!(rig.link.state, LinkPhase::Closed));
    rig.link.redial(&mut rig.out);
    assert!(matches!(rig.link.state, LinkPhase::Closed), "nothing brings it back");
}
