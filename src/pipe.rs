//! One pipe: a link, a router and its servers, in one loop, for ever.
//!
//! # Theory of operation
//!
//! A pipe is one future on one task. When woken, the pipe looks at what woke it, in turn: the link's messages go through the
//! router into the servers' stdin buffers, the servers' lines through the router into the link's buffer, and what is in the
//! buffers is written out. Everything that is there is handled before anything is written, so a burst costs one write, and a
//! single message is passed on in the poll that read it. Link and servers have a waker each ([`crate::wakers`]), so idle
//! servers cost nothing. A side is also looked at when what kept it from being read is gone, and where this module itself
//! has changed its state.
//!
//! Each side is read only while the other side's buffer is below a high-water mark: a slow side slows the other down, and
//! nothing grows. Our own answers are no different: a side that sends on without taking its answers is not read either once
//! more is owed to it than the other side alone could have caused. The buffers are looked at after each message, not after
//! each read: one read holds a thousand requests, and each may be answered by a list. The rest of the read waits where it
//! is. Reading never waits inside a write, so no ring of full buffers can close: whatever can be written is written at every
//! look, and a look that made room reads again.
//!
//! Servers that share a link don't wait for each other: the link is read whatever one of them does, and the router is told
//! which servers have too much waiting to be given more.
//!
//! An endpoint is dialled once each server that it sees has answered `initialize`, is known to be gone, or has used up its
//! own start timeout, and at least one is there. From then on link and servers live and die independently; the router hides
//! the deaths of each from the other. An endpoint whose servers were all stopped by command keeps its connection, and is dialled
//! no more once that has ended. Links and servers come and go while the pipe runs (see `membership`).

mod carrier;
mod comers;
mod diagnosis;
mod drain;
mod further;
mod links;
pub(crate) mod membership;
mod observed;
pub(crate) mod orders;
pub(crate) mod reception;
mod said;
mod sides;
mod timer;
mod twins;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use self::carrier::Carrier;
use self::drain::Drain;
use self::links::{HIGH, LinkSide};
use self::observed::Way;
use self::orders::PipeOrders;
use self::sides::{Leaving, STUCK, Side, Sides};
use self::timer::Timer;
use self::twins::Twins;
use crate::catalogue::Catalogue;
use crate::config::{LinkSpec, ServerSpec};
use crate::control::figures::Besides;
use crate::control::journal::{LinkEnd, LinkNews, ServerNews, Then};
use crate::control::status::{LinkEntry, Remark, ServerEntry};
use crate::control::tap::Tap;
use crate::endpoint::Endpoint;
use crate::endpoint::agent::{self, Agent};
use crate::error::FaultCode;
use crate::link::{Link, LinkEvent};
use crate::logging::Names;
use crate::mcp::era::Era;
use crate::mcp::handshake::Hello;
use crate::net::websocket::Outgoing;
use crate::process::guard::Guard;
use crate::process::stop::Stop;
use crate::router::{
    About, Arrangement, Gone, NewPeer, Note, Out, PeerId, Router, ServerIndex, Sight, Start, TurnCommand, ViewId, What,
    earliest,
};
use crate::secrecy::Redactor;
use crate::server::wanted::{Goal, Wanted};
use crate::server::{Found, Life, Server, ServerEvent};
use crate::sharing::Close;
use crate::wakers::{Bits, Wakers};
use crate::words::span;

/// Most looks in a row before other pipes have their turn.
const LOOKS: usize = 8;

/// What wakes the pipe besides servers and links.
const STOP: usize = 0;
const TIMER: usize = 1;
const ORDERS: usize = 2;
const OTHERS: usize = 3;

/// Limits that hold for the whole of a run, until its config has others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Longest time for requests under way to finish at a graceful stop, or before a link ends.
    pub drain_timeout: Duration,
    /// Most tokens that a list of tools may have before the log warns.
    pub tool_budget: usize,
}

/// What a pipe gets of the run that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Ends what a killed mcp-pipe leaves behind.
    pub guard: Guard,
    /// Changes when the machine woke up or its clock jumped.
    pub wake: watch::Receiver<u64>,
    /// Ends the pipe.
    pub stop: Stop,
    /// What holds for all pipes.
    pub limits: Limits,
    /// Whether the log may hold the contents of messages.
    pub log_contents: bool,
    /// Where what servers say of themselves is kept for the next run.
    pub catalogue: Arc<Catalogue>,
    /// Knows what the log may not show, for texts that are cut on their way there.
    pub redactor: Redactor,
    /// Those who look on while messages pass.
    pub tap: Tap,
    /// What is counted that belongs to no server and no endpoint.
    pub besides: Arc<Besides>,
}

/// An endpoint of a pipe.
pub(crate) struct LinkPeer {
    pub endpoint: Endpoint,
    /// The endpoint's name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where the link's state is shown.
    pub status: LinkEntry,
    /// How the endpoint is dialled.
    pub link: Arc<LinkSpec>,
    /// What the endpoint will say of itself, if that is known.
    pub hello: Option<Arc<Hello>>,
    /// Whether an endpoint that does not read changed lists anew gets a new connection.
    pub resync: bool,
    /// The servers that the endpoint sees, and how.
    pub servers: Vec<ServerIndex>,
    pub seen: membership::Seen,
}

/// See the module's documentation.
pub(crate) struct Pipe {
    router: Box<dyn Router + Send>,
    links: Vec<Linked>,
    servers: Vec<Server>,
    sides: Sides,
    wakers: PipeWakers,
    /// What is to be looked at.
    woken: Marked,
    /// Servers and links that were not read at the last look, for want of room.
    paused: Marked,
    /// Links about which the router is to be asked.
    touched: Bits,
    /// Links that are not dialled yet, as their servers are waited for.
    undialled: Bits,
    /// Servers that have not answered in their present life, whether or not a link waits for them.
    unready: Bits,
    /// Links that are to end once nothing is under way on them.
    ending: Bits,
    /// What guests of an era are shown, and as what that is seen.
    gates: Vec<((Arc<membership::Shown>, Era), ViewId)>,
    twins: Twins,
    /// Something may have changed for links that are not dialled.
    restart_due: bool,
    /// The first server that was not read at the last look, for want of room.
    first: Option<ServerIndex>,
    phase: PipePhase,
    timer: Timer,
    stop: Stop,
    stopped: NextStop,
    run: Run,
    /// What a person says.
    orders: Option<PipeOrders>,
}

/// What wakes a pipe.
struct PipeWakers {
    others: Wakers,
    servers: Wakers,
    links: Wakers,
}

/// Some servers and links, by their places, and some of the others.
#[derive(Default)]
struct Marked {
    others: Bits,
    servers: Bits,
    links: Bits,
}

/// A link to one endpoint, or a guest.
struct Linked {
    carrier: Carrier,
    /// The endpoint, as the router knows it.
    peer: PeerId,
    stage: LinkStage,
    /// The router's count of served calls at the last look.
    served: u64,
    /// When something was last written to it.
    said: Option<Instant>,
}

/// How far a link of a pipe is.
enum LinkStage {
    /// The link serves, or waits for that.
    Serving,
    /// No new requests; those under way go on, until the deadline.
    Draining { drain: Drain, done: oneshot::Sender<()> },
    /// The link is ending.
    Closing { done: oneshot::Sender<()> },
    /// The link is gone, and its place is free.
    Vacant,
}

enum PipePhase {
    Serving,
    /// No new requests; those under way go on, and their answers out, until the deadline.
    Draining(Drain),
    /// Links and servers are ending.
    Closing,
}

/// The next step of [`Stop`], as something to poll.
type NextStop = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pipe {
    /// A pipe for servers, each with the entry that shows its state and with what a person wants of it, in the order by which
    /// `router` knows them. Nothing starts before [`Pipe::run`].
    pub(crate) fn of(
        servers: Vec<(Arc<ServerSpec>, ServerEntry, watch::Receiver<Goal>)>,
        endpoints: Vec<LinkPeer>,
        router: Box<dyn Router + Send>,
        run: Run,
    ) -> Self {
        let (now, stop, first) = (Instant::now(), run.stop.clone(), run.stop.clone());
        let others = Wakers::new(OTHERS);
        let mut pipe = Pipe {
            router,
            links: Vec::new(),
            servers: Vec::new(),
            sides: Sides::new(&run),
            wakers: PipeWakers { servers: others.beside(0), links: others.beside(0), others },
            woken: Marked::default(),
            paused: Marked::default(),
            touched: Bits::default(),
            undialled: Bits::default(),
            unready: Bits::default(),
            ending: Bits::default(),
            gates: Vec::new(),
            twins: Twins::default(),
            restart_due: true,
            first: None,
            phase: PipePhase::Serving,
            timer: Timer::default(),
            stopped: Box::pin(async move { first.drain().cancelled().await }),
            stop,
            run,
            orders: None,
        };
        for (server, (spec, status, goal)) in servers.into_iter().enumerate() {
            pipe.put_server(server, Side::new(spec, status, goal, now));
            pipe.heed(server, now);
        }
        for endpoint in endpoints {
            pipe.join(endpoint, now);
        }
        pipe
    }

    /// The same pipe, doing what a person says.
    pub(crate) fn obeying(self, orders: PipeOrders) -> Self {
        Pipe { orders: Some(orders), ..self }
    }

    /// Runs until the pipe was stopped and everything has ended.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wakers.others.attach(cx);
        for _ in 0..LOOKS {
            let now = Instant::now();
            self.wakers.take_all(&mut self.woken);
            if self.woken.others.remove(STOP) {
                self.poll_stop(now);
            }
            self.obey(now);
            let (goes_on, ended) = self.look(now);
            if ended {
                return Poll::Ready(());
            }
            // Each of these may have left something to read or to write that nothing else would wake us for.
            let advanced = self.advance(now);
            let timed = self.tick(now) | self.restart_servers() | self.arrange(now);
            if !(goes_on || advanced || timed) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One look at all that was woken or has something to write. Returns whether there is more to look at at once, as a side that
    /// was not read has room again, or a server has changed; and whether everything has ended.
    fn look(&mut self, now: Instant) -> (bool, bool) {
        let closing = matches!(self.phase, PipePhase::Closing);
        if closing {
            // Closing is rare, and each part has to say that it has ended.
            (0..self.links.len()).for_each(|place| self.woken.links.insert(place));
            (0..self.servers.len()).for_each(|index| self.woken.servers.insert(index));
        }
        let mut from = 0;
        while let Some(place) = self.paused.links.next(from) {
            from = place + 1;
            self.router.on_room(self.links[place].peer, now, &mut self.sides);
            self.touched.insert(place);
            if self.sides.takes_from_endpoint(place) {
                self.woken.links.insert(place);
            }
        }
        for index in self.paused.servers.iter() {
            if self.sides.takes_from_server(index) {
                self.woken.servers.insert(index);
            }
        }
        let mut ended = closing;
        let mut from = 0;
        while let Some(place) = self.woken.links.next(from) {
            from = place + 1;
            self.woken.links.remove(place);
            self.sides.links.unwritten.insert(place);
            ended &= self.look_at_link(place, now);
        }
        self.write_stdin();
        // The first server that got no room last time comes first now: the servers before it must not use up all room for
        // ever.
        let first = self.first.take().unwrap_or(0);
        for part in [first..self.servers.len(), 0..first] {
            let mut from = part.start;
            while let Some(index) = self.woken.servers.next(from).filter(|index| part.contains(index)) {
                from = index + 1;
                self.woken.servers.remove(index);
                ended &= self.look_at_server(index, closing, now);
            }
        }
        self.write_links(now);
        self.write_stdin();
        // Not before now: what one server wrote may have been for another.
        let has_room = self.paused.links.iter().any(|place| self.sides.takes_from_endpoint(place))
            || self.paused.servers.iter().any(|index| self.sides.takes_from_server(index));
        // The end of one process may concern another one, or have one begin in its place.
        (has_room || !self.woken.servers.is_empty(), ended)
    }

    /// Looks at a link; returns whether it has ended for good.
    fn look_at_link(&mut self, place: usize, now: Instant) -> bool {
        let room = self.sides.takes_from_endpoint(place);
        let Pipe { router, links, sides, wakers, phase, .. } = self;
        let Linked { carrier, peer, stage, .. } = &mut links[place];
        let is_last = matches!(stage, LinkStage::Draining { .. } | LinkStage::Closing { .. });
        let then = match phase {
            PipePhase::Closing | PipePhase::Draining(_) => Then::Ends,
            PipePhase::Serving if is_last => Then::Ends,
            PipePhase::Serving if sides.is_unneeded(place) => Then::Rests,
            PipePhase::Serving => Then::Again,
        };
        let cx = &mut Context::from_waker(wakers.links.waker(place));
        // The link has its buffer for as long as it looks, and lends it to the router for each event.
        let mut out = std::mem::replace(&mut sides.links.each[place].out, Outgoing::lines());
        sides.links.each[place].known.ends = then == Then::Ends;
        let polled = carrier.poll(cx, now, room, &mut out, &mut |out, event| {
            std::mem::swap(out, &mut sides.links.each[place].out);
            on_link((&mut **router, *peer), (sides, place), event, then, now);
            let has_room = sides.takes_from_endpoint(place);
            std::mem::swap(out, &mut sides.links.each[place].out);
            if_room(has_room)
        });
        if let Some(said) = sides.links.each[place].stranger.take()
            && let Some(link) = carrier.link()
        {
            link.turn_away(&mut out, &said, now);
        }
        sides.links.each[place].out = out;
        self.paused.links.set(place, !(room && self.sides.takes_from_endpoint(place)));
        self.touched.insert(place);
        if polled.is_ready() {
            self.vacate_link(place, now);
        }
        polled.is_ready()
    }

    /// Looks at a server; returns whether it has been stopped.
    fn look_at_server(&mut self, index: ServerIndex, closing: bool, now: Instant) -> bool {
        let Pipe { router, servers, sides, wakers, phase, .. } = self;
        let is_serving = matches!(phase, PipePhase::Serving);
        let (server, cx) = (&mut servers[index], &mut Context::from_waker(wakers.servers.waker(index)));
        // Whoever waits for the server's start may have to wait no longer.
        self.restart_due |= !sides.each[index].serving;
        if !sides.each[index].stdin.is_empty() {
            // The server's stdin may be what woke us.
            let side = &mut sides.each[index];
            let _pending = server.poll_write(cx, &mut side.stdin);
            side.waiting.set(side.stdin.len());
        }
        let room = sides.takes_from_server(index);
        let polled = server.poll(cx, now, room, &mut |event| {
            // Of a server that is being stopped nobody wants to hear any more than its end.
            let is_last = matches!(event, ServerEvent::Stopped { .. });
            if is_last || !closing && sides.each[index].leaving.is_none() {
                on_server(&mut **router, (sides, is_serving), index, event, now);
            }
            if_room(sides.takes_from_server(index))
        });
        let room = room && sides.takes_from_server(index);
        if std::mem::take(&mut sides.each[index].proven) {
            server.healthy();
        }
        self.paused.servers.set(index, !room);
        if !room {
            self.first.get_or_insert(index);
        }
        let side = &self.sides.each[index];
        let is_unready = !side.serving;
        // Others may be as good as started once it has said what it has.
        self.restart_due |= is_unready || side.spec.bounds.stands_in;
        self.unready.set(index, is_unready);
        if polled.is_ready() {
            self.vacate_server(index, now);
        }
        polled.is_ready()
    }

    /// Writes what waits for servers.
    fn write_stdin(&mut self) {
        while let Some(index) = self.sides.unwritten.next(0) {
            self.sides.unwritten.remove(index);
            let cx = &mut Context::from_waker(self.wakers.servers.waker(index));
            // A writer that is pending has registered to be woken.
            let side = &mut self.sides.each[index];
            let _pending = self.servers[index].poll_write(cx, &mut side.stdin);
            side.waiting.set(side.stdin.len());
        }
    }

    /// Writes what waits for endpoints.
    fn write_links(&mut self, now: Instant) {
        while let Some(place) = self.sides.links.unwritten.next(0) {
            self.sides.links.unwritten.remove(place);
            self.touched.insert(place);
            if !self.sides.takes_from_endpoint(place) {
                // Also where nobody looked at the link: the router may have kept answers back.
                self.paused.links.insert(place);
            }
            let cx = &mut Context::from_waker(self.wakers.links.waker(place));
            let Linked { carrier, said, .. } = &mut self.links[place];
            let side = &mut self.sides.links.each[place];
            if !side.out.pending().is_empty() {
                *said = Some(now);
            }
            // A writer that is pending has registered to be woken.
            let _pending = carrier.poll_write(cx, &mut side.out);
            side.waiting.set(side.out.pending().len());
            if self.sides.is_overdue(place) {
                carrier.hang_up(&mut self.sides.links.each[place]);
                self.woken.links.insert(place);
            }
        }
    }

    /// Does what follows from what the router has seen; returns whether anything did.
    fn advance(&mut self, now: Instant) -> bool {
        let mut advanced = false;
        while let Some(place) = self.touched.next(0) {
            self.touched.remove(place);
            advanced |= self.advance_link(place, now);
        }
        if let Some(place) = self.ending.next(0) {
            // Rare, and a deadline may have come of which nothing else tells.
            (place..self.links.len()).for_each(|place| advanced |= self.end_drained(place, now));
        }
        let is_drained = matches!(self.phase, PipePhase::Draining(_)) && self.is_drained();
        match &mut self.phase {
            PipePhase::Serving => {
                self.note_late(now);
                advanced | self.check_twins(now) | self.start(now)
            }
            PipePhase::Draining(drain) => {
                let said = self.links.iter().filter_map(|linked| linked.said).max();
                let is_over = drain.is_over(is_drained, said, now);
                if is_over {
                    self.close(now);
                }
                advanced | is_over
            }
            PipePhase::Closing => advanced,
        }
    }

    /// The same for one link.
    fn advance_link(&mut self, place: usize, now: Instant) -> bool {
        let Linked { carrier, peer, served, stage, .. } = &mut self.links[place];
        if carrier.only_listens() {
            return self.let_go(place);
        }
        let Some(link) = carrier.link() else { return false };
        let count = self.router.served(*peer);
        if count > *served {
            *served = count;
            link.healthy();
        }
        if self.router.is_handshaken(*peer) {
            link.handshaken();
            self.sides.links.each[place].handshaken(now);
        }
        if matches!((&self.phase, &*stage), (PipePhase::Serving, LinkStage::Serving))
            && self.sides.is_unneeded(place)
            && link.rest()
        {
            self.undialled.insert(place);
            self.sides.links.each[place].write(LinkNews::Rests);
        }
        // An endpoint with a slow line may still be being sent something, which a close would cut off.
        let out = &mut self.sides.links.each[place].out;
        let is_written = out.pending().is_empty() && !self.paused.links.contains(place);
        if is_written
            && matches!((&self.phase, stage), (PipePhase::Serving, LinkStage::Serving))
            && let Some(reconnect) = self.router.wants_reconnect(*peer, now)
            && link.hang_up(out, reconnect.why())
        {
            self.woken.links.insert(place);
            return true;
        }
        false
    }

    /// Ends a guest who only listens, once there is nothing more to hear; returns whether it did.
    fn let_go(&mut self, place: usize) -> bool {
        let Linked { carrier, peer, .. } = &mut self.links[place];
        let owed = self.router.turns().map_or(0, |router| router.owed_to(*peer));
        let out = &mut self.sides.links.each[place].out;
        let is_done = owed == 0 && out.pending().is_empty() && !self.paused.links.contains(place);
        if is_done {
            carrier.close(out);
            self.woken.links.insert(place);
        }
        is_done
    }

    /// Whether everything that was sent to endpoints or is owed to them is out.
    fn is_drained(&self) -> bool {
        // A link that is paused may have read messages that are yet to be answered.
        self.paused.links.is_empty()
            && self.sides.links.each.iter().all(|link| link.out.pending().is_empty())
            && self.router.in_flight() == 0
    }

    /// Replaces the processes that the router wants to be replaced; returns whether there were any.
    fn restart_servers(&mut self) -> bool {
        let mut restarts = std::mem::take(&mut self.sides.restarts);
        let mut failed = std::mem::take(&mut self.sides.failed);
        if !matches!(self.phase, PipePhase::Serving) {
            (restarts, failed) = (Vec::new(), Vec::new()); // no life would follow
        }
        for (index, why) in &failed {
            self.sides.each[*index].unhealthy = true;
            self.servers[*index].end_faulty_process(why.clone());
            self.woken.servers.insert(*index);
        }
        for (index, why) in &restarts {
            self.servers[*index].restart(why);
            self.woken.servers.insert(*index);
        }
        !(restarts.is_empty() && failed.is_empty())
    }

    /// Dials endpoints for which there is nothing more to wait for; returns whether there were any.
    fn start(&mut self, now: Instant) -> bool {
        if !std::mem::take(&mut self.restart_due) || self.undialled.is_empty() {
            return false;
        }
        let mut dialled = false;
        let mut from = 0;
        while let Some(place) = self.undialled.next(from) {
            from = place + 1;
            if self.sides.is_unneeded(place) {
                continue;
            }
            let (servers, peer) = (self.sides.links.each[place].servers.clone(), self.links[place].peer);
            let start_of = |server| self.start_of(server, self.router.is_next(peer, server), now);
            let starts: Vec<Start> = servers.into_iter().map(start_of).collect();
            if !starts.contains(&Start::Awaited) && starts.contains(&Start::Settled) {
                self.undialled.remove(place);
                if let Some(link) = self.links[place].carrier.link() {
                    link.dial();
                }
                self.sides.links.each[place].write(LinkNews::Dialled);
                self.woken.links.insert(place);
                dialled = true;
            }
        }
        dialled
    }

    /// How far the start of a server is for whoever waits for it. `is_next`: the server would be asked.
    fn start_of(&mut self, index: ServerIndex, is_next: bool, now: Instant) -> Start {
        let (server, side) = (&self.servers[index], &mut self.sides.each[index]);
        let waited = now - side.awaited_since;
        match self.router.start(index) {
            // If its start takes long, the turn soon is another server's.
            _ if !is_next => Start::Absent,
            Start::Awaited if now < side.awaited_since + side.spec.start_timeout => Start::Awaited,
            Start::Awaited if !server.is_up() => Start::Absent,
            Start::Awaited => {
                if !std::mem::replace(&mut side.late, true) {
                    let (fetcher, ended) = (side.spec.reach.fetcher(), side.fallen && now < side.late_at());
                    let http = server.seems_for_http();
                    side.write(ServerNews::NotReady { waited, undialled: true, ended, fetcher, http });
                }
                Start::Settled
            }
            start @ (Start::Settled | Start::Absent) => start,
        }
    }

    /// When the next start of a server takes too long, or is to be reported.
    fn next_start(&self, now: Instant) -> Option<Instant> {
        if self.undialled.is_empty() {
            return None;
        }
        let servers = self.undialled.iter().flat_map(|place| self.sides.links.each[place].servers.iter());
        let sides = servers.map(|server| &self.sides.each[*server]);
        let timeouts = sides.map(|side| side.awaited_since + side.spec.start_timeout).filter(|at| *at > now);
        timeouts.min()
    }

    /// Notes which servers take long to start, or too long, also where no link waits for them: as their tools are remembered, another server of
    /// the link answers, or they have served before.
    fn note_late(&mut self, now: Instant) {
        let mut from = 0;
        while let Some(index) = self.unready.next(from) {
            from = index + 1;
            let side = &self.sides.each[index];
            let is_over = side.serving || side.late || side.goal.1.wanted == Wanted::Stopped;
            if is_over || side.has_refused() {
                self.unready.remove(index);
            } else if now >= side.late_at() && self.servers[index].is_up() {
                let (waited, undialled) = (side.waited(now), self.is_undialled(index));
                let (fetcher, http) = (side.spec.reach.fetcher(), self.servers[index].seems_for_http());
                side.write(ServerNews::NotReady { waited, undialled, ended: false, fetcher, http });
                self.sides.each[index].late = true;
                self.unready.remove(index);
            } else if now >= side.report_at() && self.servers[index].is_up() {
                let (waited, undialled) = (side.waited(now), self.is_undialled(index));
                side.write(ServerNews::StillStarting { waited, undialled });
                self.sides.each[index].reported(now);
            }
        }
    }

    /// Whether an endpoint that is not dialled yet sees a server.
    fn is_undialled(&self, index: ServerIndex) -> bool {
        self.undialled.iter().any(|place| self.sides.links.each[place].servers.contains(&index))
    }

    /// When that is due next.
    fn next_late(&self, now: Instant) -> Option<Instant> {
        let due = |index: ServerIndex| [self.sides.each[index].report_at(), self.sides.each[index].late_at()];
        self.unready.iter().flat_map(due).filter(|at| *at > now).min()
    }

    fn poll_stop(&mut self, now: Instant) {
        // Polled again after each step, as the next step has to wake us too.
        while self.stopped.as_mut().poll(&mut Context::from_waker(self.wakers.others.waker(STOP))).is_ready() {
            self.next_step(now);
        }
    }

    /// Takes the step of the stop that was asked for.
    fn next_step(&mut self, now: Instant) {
        if self.stop.now().is_cancelled() {
            self.stopped = Box::pin(std::future::pending());
            self.links.iter_mut().for_each(|linked| linked.carrier.abort());
            self.servers.iter_mut().for_each(|s| s.stop(true));
            self.phase = PipePhase::Closing;
        } else {
            let second = self.stop.clone();
            self.stopped = Box::pin(async move { second.now().cancelled().await });
            // What comes up now has nobody left to serve.
            self.links.iter_mut().for_each(|linked| linked.carrier.dial_no_more());
            self.servers.iter_mut().for_each(Server::start_no_more);
            self.router.drain(now, &mut self.sides);
            self.phase = PipePhase::Draining(Drain::new(now + self.run.limits.drain_timeout));
        }
    }

    fn close(&mut self, now: Instant) {
        let gone = Gone {
            why: "was stopped by a shutdown of mcp-pipe, or by a restart of its servers",
            retry_in: Duration::ZERO,
            by_command: true,
        };
        self.router.tell_cut(now, &mut self.sides);
        for index in 0..self.servers.len() {
            self.router.on_server_down(index, gone, now, &mut self.sides);
        }
        for (place, linked) in self.links.iter_mut().enumerate() {
            self.router.part(linked.peer, &mut self.sides);
            linked.carrier.close(&mut self.sides.links.each[place].out);
            // Whoever waits for one to be drained is told when it is gone.
            let stage = std::mem::replace(&mut linked.stage, LinkStage::Vacant);
            linked.stage = match stage {
                LinkStage::Draining { done, .. } => LinkStage::Closing { done },
                stage @ (LinkStage::Serving | LinkStage::Closing { .. } | LinkStage::Vacant) => stage,
            };
        }
        self.servers.iter_mut().for_each(|s| s.stop(false));
        self.phase = PipePhase::Closing;
    }

    /// Handles deadlines that have come, and has the next one wake the pipe.
    fn tick(&mut self, now: Instant) -> bool {
        let mut timed = false;
        let due = self.router.next_tick();
        if due.is_some_and(|at| at <= now) {
            self.router.on_tick(now, &mut self.sides);
            timed = true;
        }
        let own = match &self.phase {
            PipePhase::Serving => {
                earliest([self.next_start(now), self.next_late(now), self.next_drained(), self.twins.next(now)])
            }
            PipePhase::Draining(drain) => Some(drain.next()),
            PipePhase::Closing => None,
        };
        let watched = self.sides.watch(&mut *self.router, now);
        timed |= watched.changed || !watched.stuck.is_empty();
        for index in watched.stuck {
            self.servers[index].end_faulty_process(format!("did not read its stdin for {}", span(STUCK)));
            self.woken.servers.insert(index);
        }
        // It costs something with each message, so it is asked again only where the router was told something.
        let due = if timed { self.router.next_tick() } else { due };
        let next = earliest([own, due, watched.next]);
        timed |= self.timer.poll(self.wakers.others.waker(TIMER), self.woken.others.remove(TIMER), next);
        if timed {
            // What is due may be anybody's.
            self.restart_due = true;
            (0..self.links.len()).for_each(|place| self.touched.insert(place));
        }
        timed
    }
}

impl PipeWakers {
    /// Adds all that was woken since this was last asked.
    fn take_all(&self, into: &mut Marked) {
        self.others.take_all(&mut into.others);
        self.servers.take_all(&mut into.servers);
        self.links.take_all(&mut into.links);
    }
}

/// Whether a link or a server may hand on its next message.
fn if_room(has_room: bool) -> ControlFlow<()> {
    if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn on_link(
    (router, peer): (&mut dyn Router, PeerId),
    (sides, place): (&mut Sides, usize),
    event: LinkEvent<'_>,
    then: Then,
    now: Instant,
) {
    match event {
        LinkEvent::Up(took) => {
            sides.links.each[place].connected(took, now);
            if let Some(witness) = &sides.links.each[place].witness {
                witness.opened(now);
            }
            router.on_link_up(peer, now, sides);
        }
        LinkEvent::Message(text) => {
            sides.trace(Way::From, About::Peer(peer), &[text.as_bytes()]);
            sides.links.each[place].heard(text.len());
            router.on_peer(peer, text.as_bytes(), now, sides);
            sides.report_crowded(router, now);
        }
        LinkEvent::TooLarge(cut) => router.on_peer_too_large(peer, cut, now, sides),
        LinkEvent::NotText(frame) => router.on_peer_not_text(peer, frame, now, sides),
        // Servers are not read then, so their silence is not their doing.
        LinkEvent::Beat if sides.links.each[place].out.pending().len() >= HIGH => {}
        LinkEvent::Beat => router.on_beat(peer, now, sides),
        LinkEvent::Down { cause, open_for, retry_in } => {
            let link = &mut sides.links.each[place];
            let account = router.account(peer, now);
            let known = link.known.after(cause, &account, SystemTime::now());
            let why = &diagnosis::explain(cause, open_for, &account, &link.names.to_string(), known);
            let (stood, by_servers) = (open_for.is_some(), diagnosis::is_by_servers(cause, &account));
            link.redialled &= stood;
            let redialled = link.redialled;
            link.write(LinkNews::Down(LinkEnd { cause, why, stood, retry_in, then, redialled, by_servers }));
            if let (Some(witness), Some(_)) = (&sides.links.each[place].witness, open_for) {
                witness.closed(Close::by(cause, router.is_handshaken(peer)), now);
            }
            if open_for.is_some() {
                router.on_link_down(peer, now, sides);
            }
        }
    }
}

/// `is_serving`: the pipe is not stopping, and so a life of the server is followed by another one.
fn on_server(
    router: &mut dyn Router,
    (sides, is_serving): (&mut Sides, bool),
    index: ServerIndex,
    event: ServerEvent<'_>,
    now: Instant,
) {
    match event {
        ServerEvent::Up { pid } => {
            sides.each[index].up(pid, now);
            router.on_server_up(index, now, sides);
        }
        ServerEvent::Again { ended, why, pid, era, words } => {
            sides.each[index].again((ended, why), (pid, era), words);
        }
        ServerEvent::Shown { era } => sides.shown(index, era),
        ServerEvent::LimitMet { fault, told } => sides.each[index].write(ServerNews::LimitMet { fault, told }),
        // Whoever waited for a process that is ended by command has got an answer already.
        ServerEvent::Said(_) if sides.each[index].ending => {}
        ServerEvent::Said(found) => {
            pass_found(router, index, found, now, sides);
            let side = &mut sides.each[index];
            if !side.serving && router.is_serving(index) {
                (side.serving, side.late) = (true, false);
                side.write(ServerNews::Ready { took: now - side.since });
            }
        }
        ServerEvent::Halted { pid, why, signalled } => {
            sides.each[index].write(ServerNews::StoppedByCommand { pid, why, signalled });
            sides.each[index].halted(now);
        }
        ServerEvent::Stopped { pid, why } => sides.each[index].write(ServerNews::Stopped { pid, why }),
        ServerEvent::Down { why, retry_in, life } => {
            let (by_command, again) = (sides.each[index].ending, is_serving.then_some(retry_in));
            let unhealthy = std::mem::take(&mut sides.each[index].unhealthy).then_some(FaultCode::ServerUnhealthy);
            sides.each[index].write(match life {
                Life::None { fault, shown } => ServerNews::NotStarted { fault, why, shown, again },
                Life::Ended { pid, fault, failures, last_words, tail } => {
                    let fault = unhealthy.or(fault);
                    ServerNews::Exited { pid, fault, why, last_words, tail, failures, again }
                }
                Life::Replaced { pid } => ServerNews::Replaced { pid, why, by_command },
            });
            if by_command {
                return sides.each[index].ended(now);
            }
            sides.each[index].down(now);
            router.on_server_down(index, Gone { why, retry_in, by_command: false }, now, sides);
        }
    }
}

fn pass_found(router: &mut dyn Router, index: ServerIndex, found: Found<'_>, now: Instant, sides: &mut Sides) {
    match found {
        Found::Message { frame, envelope } => {
            sides.each[index].waiting.traffic().received(frame.len());
            sides.trace(Way::From, About::Server(index), &[frame]);
            router.on_server(index, frame, envelope, now, sides);
        }
        Found::Caused { cause, frame, envelope } => {
            sides.each[index].waiting.traffic().received(frame.len());
            sides.trace(Way::From, About::Server(index), &[frame]);
            router.on_server_caused(index, cause, (frame, envelope), now, sides);
        }
        Found::Noise(line) => router.on_server_noise(index, line, now, sides),
        Found::Nameless(error) => router.on_server_nameless(index, error, now, sides),
        Found::Lost(lost, text) => router.on_server_lost(index, lost, text, now, sides),
        Found::TooLarge(cut) => router.on_server_too_large(index, cut, now, sides),
        Found::Unanswered { id, why } => router.on_server_unanswered(index, id, why, now, sides),
        Found::Renewed => router.on_server_renewed(index, now, sides),
        Found::Modern => router.on_server_modern(index),
        Found::Odd { method, what } => sides.note(Note::of(index, What::Odd { method, what: what.to_owned() })),
        // The server's side has logged the habit.
        Found::Habit(habit) => sides.each[index].status.remark(Remark::Odd(habit.to_string())),
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
