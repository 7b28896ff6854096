//! Several real processes behind one real connection, with a router that only looks at addresses.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

mod bounds;
mod guests;
mod links;

use super::sides::CROWDED;
use super::*;
use crate::control::health;
use crate::control::status::{ServerState, Status};
use crate::control::tap::Tap;
use crate::error::FaultCode;
use crate::frame::Cut;
use crate::mcp::envelope::{Envelope, Lost};
use crate::net::wake::WakeWatch;
use crate::router::{Account, Bar, CountedCall, Note, Out, Outcome, Reconnect, What};

/// Longest wait of a test: nothing may take that long.
const HANG: Duration = Duration::from_secs(20);

/// Sends `{"to": n, …}` to server n, and everything that servers write to the endpoint. What a server can't take now is sent
/// back as `refused`. The death of a server is told as `{"down": n}`, with the last `n` that the server was sent.
#[derive(Default)]
struct Switch {
    peer: PeerId,
    busy: HashSet<ServerIndex>,
    up: HashSet<ServerIndex>,
    last: HashMap<ServerIndex, Value>,
    wants_reconnect: bool,
    /// The server that is to be called silent with the next beat.
    silent: Option<ServerIndex>,
    served: u64,
}

impl Router for Switch {
    fn join(&mut self, _: NewPeer) -> PeerId {
        self.peer = slotmap::SlotMap::with_key().insert(());
        self.peer
    }

    fn leave(&mut self, _: PeerId, _: Instant, _: &mut dyn Out) {}
    fn on_link_up(&mut self, _: PeerId, _: Instant, _: &mut dyn Out) {}

    fn on_link_down(&mut self, _: PeerId, _: Instant, _: &mut dyn Out) {
        self.wants_reconnect = false;
    }

    fn on_peer(&mut self, peer: PeerId, frame: &[u8], _: Instant, out: &mut dyn Out) {
        let message: Value = serde_json::from_slice(frame).unwrap();
        self.wants_reconnect |= message["reconnect"] == true;
        let to = message["to"].as_u64().unwrap() as ServerIndex;
        self.silent = (message["silent"] == true).then_some(to);
        if self.busy.contains(&to) || !self.up.contains(&to) {
            return out.to_peer(peer, &[json!({"refused": to, "n": message["n"]}).to_string().as_bytes()]);
        }
        out.to_server(to, &[frame]);
        self.last.insert(to, message["n"].clone());
    }

    fn on_peer_too_large(&mut self, _: PeerId, _: Cut<'_>, _: Instant, _: &mut dyn Out) {}
    fn on_peer_not_text(&mut self, _: PeerId, _: &[u8], _: Instant, _: &mut dyn Out) {}

    fn on_server_up(&mut self, server: ServerIndex, _: Instant, _: &mut dyn Out) {
        self.up.insert(server);
    }

    fn on_server_down(&mut self, server: ServerIndex, _: Gone<'_>, _: Instant, out: &mut dyn Out) {
        self.up.remove(&server);
        out.to_peer(self.peer, &[json!({"down": server, "last": self.last.get(&server)}).to_string().as_bytes()]);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, _: Instant, _: &mut dyn Out) {
        if busy {
            self.busy.insert(server)
        } else {
            self.busy.remove(&server)
        };
    }

    fn on_server_barred(&mut self, _: ServerIndex, _: Option<Bar>, _: Instant, _: &mut dyn Out) {}

    fn on_server_noise(&mut self, _: ServerIndex, _: &[u8], _: Instant, _: &mut dyn Out) {}
    fn on_server_nameless(&mut self, _: ServerIndex, _: &[u8], _: Instant, _: &mut dyn Out) {}
    fn on_server_lost(&mut self, _: ServerIndex, _: Lost<'_>, _: &[u8], _: Instant, _: &mut dyn Out) {}

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], _: &Envelope, _: Instant, out: &mut dyn Out) {
        out.to_peer(self.peer, &[frame]);
        let call = CountedCall { method: b"echo", tool: b"", outcome: Outcome::Ok, trace: None };
        out.note(Note::of(server, What::Served { call, took: Duration::ZERO }));
        out.note(Note::of(server, What::Heard { lasted: Duration::ZERO }));
        self.served += 1;
    }

    fn on_server_unanswered(&mut self, _: ServerIndex, _: &[u8], _: &str, _: Instant, _: &mut dyn Out) {}
    fn on_server_caused(
        &mut self,
        s: ServerIndex,
        _: u64,
        (frame, e): (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        self.on_server(s, frame, e, now, out);
    }
    fn on_server_modern(&mut self, _: ServerIndex) {}
    fn on_server_renewed(&mut self, _: ServerIndex, _: Instant, _: &mut dyn Out) {}
    fn on_server_too_large(&mut self, _: ServerIndex, _: Cut<'_>, _: Instant, _: &mut dyn Out) {}
    fn on_room(&mut self, _: PeerId, _: Instant, _: &mut dyn Out) {}
    fn on_tick(&mut self, _: Instant, _: &mut dyn Out) {}

    fn on_beat(&mut self, _: PeerId, _: Instant, out: &mut dyn Out) {
        if let Some(server) = self.silent.take() {
            out.note(Note::of(server, What::Silent { lasted: Duration::ZERO, method: "tools/call", failed: true }));
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn drain(&mut self, _: Instant, _: &mut dyn Out) {}
    fn part(&mut self, _: PeerId, _: &mut dyn Out) {}

    fn tell_cut(&self, _: Instant, _: &mut dyn Out) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn start(&self, server: ServerIndex) -> Start {
        if self.up.contains(&server) { Start::Settled } else { Start::Absent }
    }

    fn is_serving(&self, _: ServerIndex) -> bool {
        true
    }

    fn is_handshaken(&self, _: PeerId) -> bool {
        false
    }

    fn wants_reconnect(&self, _: PeerId, _: Instant) -> Option<Reconnect> {
        self.wants_reconnect.then_some(Reconnect::Resync)
    }

    fn account(&self, _: PeerId, _: Instant) -> Account {
        Account::default()
    }

    fn served(&self, _: PeerId) -> u64 {
        self.served
    }
}

fn spec(name: &str, program: &str, args: &[&str], ping_interval: Duration) -> ServerSpec {
    let mut spec = ServerSpec::sample(name, program, args);
    spec.link = Arc::new(LinkSpec {
        connect_timeout: HANG,
        ping_interval,
        ping_timeout: HANG,
        max_backoff: HANG,
        ..(*spec.link).clone()
    });
    spec.start_timeout = HANG;
    spec
}

/// What is wanted of a server about which nobody says anything.
fn unchanged() -> watch::Receiver<Goal> {
    watch::channel(Goal::default()).1
}

fn run(stop: Stop) -> Run {
    Run {
        guard: Guard::none(),
        wake: WakeWatch::new().subscribe(),
        stop,
        limits: Limits { drain_timeout: HANG, tool_budget: usize::MAX },
        log_contents: false,
        catalogue: Arc::new(Catalogue::at(None)),
        redactor: Redactor::default(),
        tap: Tap::default(),
        besides: Arc::default(),
    }
}

/// A running pipe and the endpoint's side of its connection.
struct Rig {
    listener: TcpListener,
    socket: WebSocketStream<TcpStream>,
    status: Status,
    stop: Stop,
    pipe: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn with(servers: &[(&str, &[&str])]) -> Self {
        Self::pinged(servers, HANG).await
    }

    async fn pinged(servers: &[(&str, &[&str])], interval: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint: Endpoint = format!("ws://{}/?token=t", listener.local_addr().unwrap()).parse().unwrap();
        let (status, stop) = (Status::default(), Stop::new());
        let spec =
            |(n, (program, args)): (usize, &(&str, &[&str]))| spec(&format!("server{n}"), program, args, interval);
        let specs = servers.iter().enumerate().map(spec);
        let servers: Vec<_> = specs.map(|spec| (Arc::new(spec), status.add_server("x"), unchanged())).collect();
        let link = servers[0].0.link.clone();
        let seen = (0..servers.len()).collect();
        let entry = status.add_link(&endpoint, None);
        let peer = LinkPeer {
            endpoint,
            name: None,
            status: entry,
            link,
            hello: None,
            resync: true,
            servers: seen,
            seen: membership::Seen::AsOne(None),
        };
        let pipe = Pipe::of(servers, vec![peer], Box::new(Switch::default()), run(stop.clone()));
        let pipe = tokio::spawn(pipe.run());
        Rig { socket: Self::accept(&listener).await, listener, status, stop, pipe }
    }

    async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
        let (tcp, _) = timeout(HANG, listener.accept()).await.unwrap().unwrap();
        accept_async(tcp).await.unwrap()
    }

    async fn send(&mut self, mut message: Value) {
        message["method"] = "echo".into();
        timeout(HANG, self.socket.send(Message::text(message.to_string()))).await.unwrap().unwrap();
    }

    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        timeout(HANG, next).await.unwrap_or_else(|_| panic!("something is forgotten"))
    }

    async fn stop(mut self) {
        self.stop.advance();
        while let Some(Ok(_)) = self.socket.next().await {}
        timeout(HANG, self.pipe).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_reads_nothing_holds_up_no_other_and_what_waits_for_it_is_bounded() {
    let mut rig = Rig::with(&[("sleep", &["1000"]), ("cat", &[]), ("cat", &[])]).await;
    let text = "x".repeat(32 * 1024);
    let sent = 3 * CROWDED / text.len();
    for n in 0..sent {
        rig.send(json!({"to": 0, "text": text})).await;
        rig.send(json!({"to": 1 + n % 2, "n": n})).await;
    }
    let (mut echoed, mut refused) = (0, 0);
    while echoed < sent {
        if rig.next().await["refused"] == 0 {
            refused += 1;
        } else {
            echoed += 1;
        }
    }
    // What the server's stdin took, what waits for the server, and one message more.
    let taken = (sent - refused) * text.len();
    assert!(taken >= CROWDED && taken < CROWDED + 4 * text.len() + 64 * 1024, "{taken} bytes were taken for it");
    rig.stop().await;
}

#[tokio::test]
async fn each_server_shows_its_own_state_and_the_connection_that_it_shares() {
    let mut rig = Rig::with(&[("cat", &[]), ("no-such-program-anywhere", &[]), ("cat", &[])]).await;
    for to in [0, 2] {
        rig.send(json!({"to": to})).await;
        while rig.next().await["to"] != to {}
    }
    let shown = health::pipes(&rig.status.read());
    assert!(shown.iter().all(|entry| entry.link == crate::control::status::LinkState::Connected), "{shown:?}");
    assert!(shown[0].is_healthy() && shown[2].is_healthy(), "{shown:?}");
    assert!(matches!(&shown[1].server, ServerState::Down(why) if why.contains("not found")), "{shown:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_is_silent_for_too_long_is_not_healthy_until_it_says_something() {
    // The second server doesn't answer the message that has it called silent: an answer before the beat would end the
    // silence.
    let servers: [(&str, &[&str]); 2] = [("cat", &[]), ("grep", &["--line-buffered", "-v", "silent"])];
    let mut rig = Rig::pinged(&servers, Duration::from_millis(20)).await;
    let healthy =
        |rig: &Rig| health::pipes(&rig.status.read()).iter().map(|entry| entry.is_healthy()).collect::<Vec<_>>();
    for to in [0, 1] {
        rig.send(json!({"to": to})).await;
        while rig.next().await["to"] != to {}
    }
    assert_eq!(healthy(&rig), [true, true]);
    rig.send(json!({"to": 1, "silent": true})).await;
    // With each beat comes a ping.
    let beats = async {
        while healthy(&rig) != [true, false] {
            rig.socket.next().await;
        }
    };
    timeout(HANG, beats).await.unwrap();
    let faults = |rig: &Rig| rig.status.read().servers.iter().map(|server| server.fault).collect::<Vec<_>>();
    assert_eq!(faults(&rig), [None, Some(FaultCode::ServerHangs)]);
    rig.send(json!({"to": 1})).await;
    rig.next().await;
    assert_eq!((healthy(&rig), faults(&rig)), (vec![true, true], vec![None, None]));
    rig.stop().await;
}

#[tokio::test]
async fn a_router_that_wants_a_new_connection_gets_one_and_its_servers_run_on() {
    let count = r#"n=0; while read -r l; do n=$((n+1)); echo "{\"method\":\"echo\",\"count\":$n}"; done"#;
    let mut rig = Rig::with(&[("sh", &["-c", count]), ("cat", &[])]).await;
    for round in 1..=3 {
        rig.send(json!({"to": 0})).await;
        assert_eq!(rig.next().await["count"], 2 * round - 1);
        rig.send(json!({"to": 0, "reconnect": true})).await;
        let mut code = None;
        while let Some(Ok(message)) = timeout(HANG, rig.socket.next()).await.unwrap() {
            if let Message::Close(Some(frame)) = message {
                code = Some(u16::from(frame.code));
            }
        }
        assert_eq!(code, Some(1000));
        rig.socket = Rig::accept(&rig.listener).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn servers_that_write_without_end_leave_room_for_one_that_answers() {
    let line = json!({"method": "flood", "text": "x".repeat(50_000)}).to_string();
    let flood: (&str, &[&str]) = ("yes", &[&line]);
    let mut servers = vec![flood; 8];
    servers.push(("cat", &[]));
    let mut rig = Rig::with(&servers).await;
    for n in 0..3 {
        rig.send(json!({"to": 8, "n": n})).await;
        let mut others = 0;
        while rig.next().await["n"] != n {
            // An endpoint that is slower than the servers.
            tokio::time::sleep(Duration::from_millis(1)).await;
            others += 1;
            assert!(others < 2_000, "it has no turn");
        }
    }
    rig.pipe.abort();
}

/// What a server of the random test still owes, in order.
type Owed = VecDeque<u64>;

/// Takes what a message settles off the list of what is owed.
fn tick_off(message: &Value, owed: &mut [Owed]) {
    let at = |key: &str| message[key].as_u64().map(|n| n as usize);
    if let Some(down) = at("down") {
        owed[down].retain(|n| Some(*n) > message["last"].as_u64());
    } else if let Some(refused) = at("refused") {
        let n = message["n"].as_u64().unwrap();
        owed[refused].retain(|owed| *owed != n);
    } else {
        let (to, n) = (at("to").unwrap(), message["n"].as_u64().unwrap());
        assert_eq!(owed[to].pop_front(), Some(n), "server {to} answers once, and in order");
    }
}

#[tokio::test]
async fn whatever_many_servers_and_the_endpoint_do_nothing_is_forgotten() {
    const SERVERS: usize = 40;
    let mortal = r#"while read -r l; do case $l in *die*) exit 1;; *noise*) echo "$l" >&2;; esac; echo "$l"; done"#;
    let (cat, sh) = (("cat", &[][..]), ("sh", &["-c", mortal][..]));
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let servers: Vec<_> = (0..SERVERS).map(|n| if n % 4 == 0 { sh } else { cat }).collect();
        let Rig { socket, stop, pipe, .. } = Rig::with(&servers).await;
        let (mut sink, mut stream) = socket.split();
        let (send, mut to_send) = tokio::sync::mpsc::unbounded_channel::<Value>();
        let sender = tokio::spawn(async move {
            while let Some(message) = to_send.recv().await {
                if sink.send(Message::text(message.to_string())).await.is_err() {
                    break;
                }
            }
        });
        let mut owed = vec![Owed::new(); SERVERS];
        for round in 0..100 {
            for n in 0..random.random_range(1..30) {
                let to = random.random_range(0..SERVERS);
                let size = if to % 4 > 0 && random.random_bool(0.05) { 500_000 } else { 300 };
                let (number, text) = (round * 100 + n, "x".repeat(random.random_range(0..size)));
                let word = ["", "noise", "die"][if to % 4 > 0 { 0 } else { random.random_range(0..30) / 14 }];
                send.send(json!({"method": "echo", "to": to, "n": number, "word": word, "text": text})).unwrap();
                owed[to].push_back(number);
            }
            match random.random_range(0..4) {
                // The endpoint reads nothing for a moment.
                0 => tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await,
                1 => {}
                _ => loop {
                    let left: usize = owed.iter().map(Owed::len).sum();
                    if left <= if round == 99 { 0 } else { random.random_range(0..20) } {
                        break;
                    }
                    let next = timeout(HANG, stream.next()).await;
                    let next = next.unwrap_or_else(|_| panic!("seed {seed}: {left} messages are forgotten: {owed:?}"));
                    if let Message::Text(text) = next.unwrap().unwrap() {
                        tick_off(&serde_json::from_str(&text).unwrap(), &mut owed);
                    }
                },
            }
        }
        stop.advance();
        while let Some(Ok(_)) = stream.next().await {}
        timeout(HANG, pipe).await.unwrap().unwrap();
        drop(send);
        sender.await.unwrap();
    }
}
