//! The daemon's side of the control socket.
//!
//! # Theory of operation
//!
//! Each client is a task, of which there are few ([`CLIENTS`]). All of them run on the thread that moves messages, so what a client may make
//! this thread do is bounded: one request, of bounded size, within a time; answers that have to be read within a time; and so many
//! connections in a second. A client that has not asked anything yet makes room for the next one; where all have asked, the next one is told
//! so. The system says which user a client is: the daemon's own and root may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::answers::{self, Answering, Client, LAST};
use super::protocol::{MAX_REQUEST, Reason, Reply, Request};
use super::socket::{self, Accepted, Socket};
use crate::process::stop::Stop;

/// Most clients at a time: a person has a few, a monitor one or two. Each costs a descriptor and some KiB.
const CLIENTS: usize = 16;
/// Longest time between a client's coming and the end of its request: ours sends it at once.
const REQUEST: Duration = Duration::from_secs(2);
/// Most clients that are taken in a [`WINDOW`]: enough for a script that asks all the time, and a flood costs less than a hundredth of the
/// thread. The others wait in the system's queue.
const IN_WINDOW: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);
/// Pause before another attempt to take a client where the system has no room: without a pause that would be a busy loop.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Answers whoever connects, until `ended`; then those that follow the log get its end, and the socket is removed.
pub(super) async fn serve(mut socket: Socket, answering: Answering, ended: Stop) {
    let mut clients = Clients::default();
    let mut rate = Rate::new(Instant::now());
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = clients.tasks.join_next() => continue,
            () = ended.now().cancelled() => break,
        };
        match accepted {
            Ok(stream) => clients.take(stream, &answering, &ended),
            Err(error) => {
                debug!(event = "CONTROL", "no client can be taken: {error}");
                tokio::select! {
                    () = tokio::time::sleep(NO_ROOM) => {}
                    () = ended.now().cancelled() => break,
                }
            }
        }
        tokio::select! {
            () = sleep_until(rate.next(Instant::now())) => {}
            () = ended.now().cancelled() => break,
        }
    }
    drop(socket);
    let all = async { while clients.tasks.join_next().await.is_some() {} };
    // Whoever reads too slowly misses the end.
    let _missed = timeout(LAST, all).await;
    clients.tasks.shutdown().await;
}

/// The clients that are connected.
#[derive(Default)]
struct Clients {
    tasks: JoinSet<()>,
    /// The clients in the order in which they came.
    seats: Vec<Seat>,
}

struct Seat {
    client: Arc<Known>,
    task: AbortHandle,
}

/// What is known of a client.
#[derive(Default)]
struct Known {
    has_asked: AtomicBool,
    /// Whether the client is a guest, who stays for long and has a place elsewhere.
    is_guest: AtomicBool,
}

impl Clients {
    fn take(&mut self, stream: Accepted, answering: &Answering, ended: &Stop) {
        if let Err(why) = socket::admit(&stream) {
            debug!(event = "CONTROL", "{why}");
            return;
        }
        self.seats.retain(|seat| !seat.task.is_finished() && !seat.client.is_guest.load(Ordering::Relaxed));
        if self.seats.len() >= CLIENTS {
            match self.seats.iter().position(|seat| !seat.client.has_asked.load(Ordering::Relaxed)) {
                Some(silent) => self.seats.remove(silent).task.abort(),
                None => {
                    let mut text = Vec::new();
                    let message =
                        format!("{CLIENTS} clients are connected to this mcp-pipe; try again when one has ended");
                    Reply::failed(Reason::Busy, message).append_to(&mut text);
                    // A new connection has room for this.
                    let _told = stream.try_write(&text);
                    return;
                }
            }
        }
        let client = Arc::<Known>::default();
        let task = self.tasks.spawn(converse(stream, client.clone(), answering.clone(), ended.clone()));
        self.seats.push(Seat { client, task });
    }
}

async fn converse(stream: Accepted, known: Arc<Known>, answering: Answering, ended: Stop) {
    let mut client = Client::new(stream, ended);
    let asked = match timeout(REQUEST, read_request(&mut client)).await {
        Ok(asked) => asked,
        Err(_) => Err(Some(format!("no whole request came within {}", crate::words::span(REQUEST)))),
    };
    known.has_asked.store(true, Ordering::Relaxed);
    known.is_guest.store(matches!(asked, Ok(Request::Mcp { .. })), Ordering::Relaxed);
    match asked {
        Ok(request) => answers::answer(request, &mut client, &answering).await,
        Err(Some(why)) => client.end(&Reply::failed(Reason::NotUnderstood, why)).await,
        Err(None) => {}
    }
}

/// The request; else what is wrong with it, if anything came.
async fn read_request(client: &mut Client) -> Result<Request, Option<String>> {
    let mut line = Vec::new();
    // One more than there may be, to see that there is more.
    let mut limited = (&mut client.stream).take(MAX_REQUEST as u64 + 1);
    limited.read_until(b'\n', &mut line).await.map_err(|_| None)?;
    if line.is_empty() {
        return Err(None);
    }
    if line.len() > MAX_REQUEST {
        return Err(Some(format!("a request has at most {}", crate::words::size(MAX_REQUEST as u64))));
    }
    serde_json::from_slice(&line).map_err(|error| {
        let version = env!("CARGO_PKG_VERSION");
        Some(format!(
            "this mcp-pipe, version {version}, does not understand the request ({error}); is it as new as yours?"
        ))
    })
}

/// How fast clients are taken; pure.
struct Rate {
    window: Instant,
    taken: u32,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Rate { window: now, taken: 0 }
    }

    /// Notes that a client was taken, and tells when the next one may be.
    fn next(&mut self, now: Instant) -> Instant {
        if now.duration_since(self.window) >= WINDOW {
            *self = Rate::new(now);
        }
        self.taken += 1;
        if self.taken < IN_WINDOW { now } else { self.window + WINDOW }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_waits_and_a_few_don_t() {
        let begun = Instant::now();
        let mut rate = Rate::new(begun);
        for _ in 1..IN_WINDOW {
            assert_eq!(rate.next(begun), begun);
        }
        assert_eq!(rate.next(begun), begun + WINDOW);
        let later = begun + WINDOW;
        assert_eq!(rate.next(later), later);
    }
}
