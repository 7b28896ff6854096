//! One server's side of a router: how far it is, what waits for it, and what is under way there.

mod abandoned;
mod breaker;
mod call;
mod checkup;
mod circuit;
mod era;
mod handshake;
mod health;
mod lost;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::abandoned::Abandoned;
use self::breaker::Breaker;
pub use self::breaker::Circuit;
pub(super) use self::call::{Call, Terms, brief};
pub(super) use self::handshake::Opened;
pub(super) use self::health::Answer;
pub(crate) use self::health::FAILURES;
use self::health::Health;
pub use self::health::{Checked, Failures};
use super::bar::{Bar, is_work};
use super::edits::Edits;
use super::held::{Held, HeldMessage};
use super::opening::Opening;
use super::outcome::{Outcome, is_call};
use super::peers::Peers;
use super::request::Request;
use super::silence::{Silence, SilenceStage};
use super::task::Lasting;
use super::wishes::Leftover;
use super::{About, Arrangement, Gone, Note, Out, PeerId, ServerIndex, Start, What};
use crate::config::BreakerSpec;
use crate::config::HealthCheck;
use crate::mcp::answer::{self, Mended};
use crate::mcp::cloud::{self, HOLD};
use crate::mcp::envelope::Envelope;
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::id::flight_id;
use crate::mcp::lists::ListKind;
use crate::mcp::reply::{self, UNAVAILABLE};

/// Most requests of one peer under way at the server. No client has that many; a peer gone wild gets errors instead of our
/// memory.
pub(super) const MAX_IN_FLIGHT: usize = 4096;

/// Most bytes that are kept for one peer's requests under way, such as their ids: a client's ids have a few dozen.
const MAX_IN_FLIGHT_BYTES: usize = 1 << 20;

/// How many times as much is kept for all peers together: so much that no peer takes up all room.
const OF_ALL: usize = 4;

/// Why a server's request about a call of a peer is answered with an error where that call is over.
pub(super) const OVER: &str = "the call is over that this is about";

/// Most calls of a server that are told one by one where all are cut off.
const TOLD: usize = 5;

/// Shortest age at which the oldest request makes room when the table is full: its server has most likely forgotten it.
pub(super) const STALE: Duration = Duration::from_secs(600);

/// Longest time that a call is waited for where something has to wait for all calls: the cloud gives up then.
pub(super) const ABANDONED: Duration = cloud::CALL;

/// How far a server is.
#[derive(Debug)]
pub(super) enum ServerSide {
    Down {
        why: String,
        /// `None`: not yet started for the first time.
        retry_at: Option<Instant>,
    },
    /// Our `initialize` is under way. `again`: the server has answered one before in this life.
    Initializing { since: Instant, again: bool },
    /// The server has answered `initialize` with an error and gets no requests. At `retry_at` another process is started.
    Refusing { why: String, retry_at: Instant },
    /// The server has answered `initialize`, and gets nothing else before its endpoint has said what it is: some servers
    /// decide by that, at `notifications/initialized`, what they offer.
    Greeted,
    /// The server has had its `notifications/initialized`.
    Ready,
}

/// For what we read a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// To publish it together with those of other servers.
    Shelf,
    /// To see whether peers that have the server alone have read another one.
    Reread,
}

/// One reading of a list of the server, over all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) reader: Reader,
    pub(super) kind: ListKind,
    /// Which of the reader's readings it is.
    pub(super) number: u32,
}

/// A request under way at the server.
#[derive(Debug)]
pub(super) enum Flight {
    /// Ours, in the endpoint's name, with these parameters.
    Initialize(Arc<Hello>),
    /// Ours: a page of a list.
    List(Reading),
    /// Ours: a question of the health check, by its number there.
    Check(u32),
    /// The endpoint's.
    Call(Call),
}

/// Whose a server's process is, among the peers that see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// All of them share it.
    All,
    /// The first one's that uses it: none has so far.
    Free,
    /// This one's alone.
    One(PeerId),
    /// Nobody's: its peer is gone.
    Nobody,
}

/// What becomes of a message for a server.
enum Admission {
    Passes,
    /// The server may take it soon.
    Waits,
    /// Why the server won't take the message, as a sentence.
    Refused(String),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) index: ServerIndex,
    pub(super) name: Arc<str>,
    /// The largest message that an answer of the server may be, in bytes.
    max_frame: usize,
    pub(super) state: ServerSide,
    /// When the server's process was started, or later went on after its handshake. `None` while there is no process.
    pub(super) started: Option<Instant>,
    pub(super) opening: Opening,
    pub(super) held: Held,
    pub(super) leftover: Leftover,
    /// The peers that see the server.
    viewers: BTreeSet<PeerId>,
    /// There have been several viewers at once: the server is told what suits all of them.
    has_many: bool,
    /// Peers of any kind may come, and not only endpoints.
    is_for_any: bool,
    pub(super) whose: Whose,
    flights: BTreeMap<u64, Flight>,
    /// The id of the last request that the server got.
    last_id: u64,
    /// Bytes that are kept for the calls among `flights`.
    kept: usize,
    abandoned: Abandoned,
    /// What was told to be odd about its answers.
    told_odd: BTreeSet<&'static str>,
    /// A number from which on an answer shows that an error which names no request is not about a message sent before: some
    /// servers answer notifications, too. `None`: such an error can only be about a request.
    settles_at: Option<u64>,
    /// Calls that this server can't answer any more and another server may, each with the reason.
    pub(super) strays: Vec<(Call, String)>,
    /// The progress tokens of calls that have become tasks.
    pub(super) lasting: Lasting,
    /// Whether the server says anything, in its present life.
    silence: Silence,
    /// Whether the server answers when it is asked now and then, where that is wanted.
    health: Option<Box<Health>>,
    /// The server doesn't read what it is sent.
    pub(super) busy: bool,
    /// Why the server takes no calls, if a person has said so.
    bar: Option<Bar>,
    /// Whether the server is asked where it gives no answers; always without.
    breaker: Option<Box<Breaker>>,
    /// The server has had a life that ended, could not begin or takes too long to, and has not been ready since.
    has_failed: bool,
    /// The server's present life is of the modern era.
    is_modern: bool,
    /// For whom a server of the modern era was told that the next requests are.
    told: Option<Arc<Hello>>,
    /// The server has dialled in by itself.
    came: bool,
    /// It was told that the server may do more where it is spoken to as one of the modern era.
    suspected: bool,
}

impl Lane {
    /// For a server that doesn't run yet.
    pub(super) fn new(index: ServerIndex, name: Arc<str>, max_frame: usize) -> Self {
        Lane {
            index,
            name,
            max_frame,
            state: ServerSide::Down { why: "has not been started yet".into(), retry_at: None },
            started: None,
            opening: Opening::default(),
            held: Held::default(),
            leftover: Leftover::default(),
            viewers: BTreeSet::new(),
            has_many: false,
            is_for_any: false,
            whose: Whose::All,
            flights: BTreeMap::new(),
            last_id: 0,
            kept: 0,
            abandoned: Abandoned::default(),
            told_odd: BTreeSet::new(),
            settles_at: None,
            strays: Vec::new(),
            lasting: Lasting::default(),
            silence: Silence::None,
            health: None,
            busy: false,
            bar: None,
            breaker: None,
            has_failed: false,
            is_modern: false,
            told: None,
            came: false,
            suspected: false,
        }
    }

    /// For a further process of the server of which this is the first, for one peer.
    pub(super) fn further(&self, index: ServerIndex, peer: PeerId) -> Lane {
        let mut lane = Lane::new(index, self.name.clone(), self.max_frame);
        (lane.whose, lane.bar) = (Whose::One(peer), self.bar);
        lane.break_by(self.breaker.as_ref().map(|breaker| breaker.spec()));
        lane.health = self.health.as_deref().map(|health| Box::new(health.anew()));
        lane.add_viewer(peer);
        lane
    }

    /// For another process of the server of which this is the first, for the same peers.
    pub(super) fn replica(&self, index: ServerIndex) -> Lane {
        let mut lane = Lane::new(index, self.name.clone(), self.max_frame);
        (lane.bar, lane.has_many, lane.is_for_any) = (self.bar, true, self.is_for_any);
        lane.viewers.clone_from(&self.viewers);
        lane.break_by(self.breaker.as_ref().map(|breaker| breaker.spec()));
        lane.health = self.health.as_deref().map(|health| Box::new(health.anew()));
        lane
    }

    /// How much is under way here, or waits; and how much there has been.
    pub(super) fn load(&self) -> (usize, u64) {
        (self.flights.len() + self.held.len(), self.last_id)
    }

    /// The same server, checked like this.
    pub(super) fn with_health(self, terms: Option<&HealthCheck>) -> Lane {
        Lane { health: terms.map(|terms| Box::new(Health::new(terms.clone()))), ..self }
    }

    /// The server has dialled in by itself.
    pub(super) fn come(self) -> Lane {
        Lane { came: true, ..self }
    }

    /// The largest message that an answer of the server may be, in bytes.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// From now on, answers of the server may be so large, in bytes.
    pub(super) fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// A peer sees the server from now on.
    pub(super) fn add_viewer(&mut self, peer: PeerId) {
        self.viewers.insert(peer);
        self.has_many |= self.viewers.len() > 1;
    }

    /// A peer sees the server no longer. Returns whether it did.
    pub(super) fn remove_viewer(&mut self, peer: PeerId) -> bool {
        self.viewers.remove(&peer)
    }

    /// The peers that see the server.
    pub(super) fn viewers(&self) -> impl Iterator<Item = PeerId> + use<'_> {
        self.viewers.iter().copied()
    }

    /// Whether a peer sees the server.
    pub(super) fn is_seen_by(&self, peer: PeerId) -> bool {
        self.viewers.contains(&peer)
    }

    /// The peers that see the server and may hear what it says to nobody in particular.
    pub(super) fn listeners(&self) -> impl Iterator<Item = PeerId> + use<'_> {
        self.viewers().filter(|viewer| match self.whose {
            Whose::All => true,
            Whose::Free => !self.has_many,
            Whose::One(peer) => peer == *viewer,
            Whose::Nobody => false,
        })
    }

    /// Whether the process has to suit others besides this peer.
    pub(super) fn has_others(&self, peer: PeerId) -> bool {
        self.has_many && self.whose != Whose::One(peer)
    }

    /// The only peer that sees the server, where there is one.
    pub(super) fn only_viewer(&self) -> Option<PeerId> {
        self.viewers.first().copied().filter(|_| self.viewers.len() == 1)
    }

    /// Whether the server has to suit several peers.
    pub(super) fn has_many(&self) -> bool {
        self.has_many
    }

    /// The server has to suit several peers from now on, whether or not there are so many.
    pub(super) fn open_to_many(&mut self) {
        self.has_many = true;
    }

    /// The server has to suit several peers of any kind from now on, whether or not there are so many.
    pub(super) fn open_to_any(&mut self) {
        (self.has_many, self.is_for_any) = (true, true);
    }

    /// With what the server is initialized: what its only viewer last said of itself, or is expected to say.
    fn hello(&self, peers: &Peers) -> Arc<Hello> {
        let only = self.only_viewer().filter(|_| !self.has_many).and_then(|key| peers.get(key));
        match only {
            Some(peer) => peer.desk.hello.clone(),
            None if self.is_for_any => Hello::of_any_client(),
            None => Hello::likely_for_all(),
        }
    }

    /// Whether that is sure enough for the server to act on.
    fn is_hello_sure(&self, peers: &Peers) -> bool {
        let is_sure = |key: &PeerId| peers.get(*key).is_some_and(|peer| peer.desk.is_sure());
        self.has_many || self.viewers.iter().any(is_sure)
    }

    /// Has what the viewers say of themselves kept for the next run, where that is new and the server has accepted it.
    pub(super) fn keep_hello(&self, peers: &mut Peers, out: &mut dyn Out) {
        for key in &self.viewers {
            if let Some(peer) = peers.get_mut(*key) {
                peer.desk.keep_hello(|said| self.opening.was_told(said), out);
            }
        }
    }

    /// The server's process runs. The first line that it gets is `initialize`.
    pub(super) fn up(&mut self, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        self.started = Some(now);
        self.busy = false;
        (self.is_modern, self.told) = (false, None);
        self.opening.begin();
        self.send_initialize(false, peers, now, out);
    }

    /// The server's process is gone, and requests that are under way there are answered.
    pub(super) fn down(&mut self, gone: Gone<'_>, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        let ran = self.started.take().is_some();
        let why = match &self.state {
            // The refusal is why the server is of no use, whatever ended the process.
            ServerSide::Refusing { why, .. } => why.clone(),
            // The same, where the process was ended so that another one is started.
            ServerSide::Down { why, .. } if ran && self.opening.is_refusing() => why.clone(),
            ServerSide::Initializing { again: true, .. } => {
                self.opening.did_not_take_another();
                gone.why.to_owned()
            }
            ServerSide::Down { .. }
            | ServerSide::Initializing { again: false, .. }
            | ServerSide::Greeted
            | ServerSide::Ready => gone.why.to_owned(),
        };
        self.end_life(Gone { why: &why, ..gone }, peers, now, out);
    }

    /// From now on the server takes no calls, or takes them again. What waits for the server and is refused is answered.
    pub(super) fn barred(&mut self, bar: Option<Bar>, peers: &mut Peers, out: &mut dyn Out) {
        self.bar = bar;
        self.reset_circuit(out);
        let Some(bar) = bar else { return };
        if let Some(health) = &mut self.health {
            health.rest();
        }
        for held in self.held.take_those(|method| bar.refuses(method)) {
            self.refuse_held(&held, Outcome::Refused, bar.words(&self.name), peers, out);
        }
    }

    /// Whether a person has stopped the server.
    pub(super) fn is_stopped(&self) -> bool {
        self.bar == Some(Bar::Stopped)
    }

    /// Whether a person keeps the server from taking such requests.
    pub(super) fn bars(&self, method: &[u8]) -> bool {
        self.bar.is_some_and(|bar| bar.refuses(method))
    }

    /// Whether the server's process is of no use, and another one of the same server would hardly be of more.
    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        match &self.state {
            ServerSide::Refusing { .. } => true,
            ServerSide::Down { retry_at, .. } => retry_at.is_some_and(|at| at > now + HOLD),
            ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => false,
        }
    }

    /// Whether nothing is under way here, and nothing waits.
    pub(super) fn is_unused(&self) -> bool {
        self.held.len() == 0 && self.calls().next().is_none()
    }

    /// Whether the server could have a call now.
    pub(super) fn takes_calls(&self) -> bool {
        self.is_ready() && !self.busy && self.bar.is_none() && !self.is_cut_off()
    }

    /// Whether another server may have its calls: it is stopped, down, starting again, takes too long to start, refuses to be initialized,
    /// or its circuit is open.
    pub(super) fn is_out(&self) -> bool {
        let is_down = match self.state {
            ServerSide::Refusing { .. } => true,
            ServerSide::Down { .. } | ServerSide::Initializing { again: false, .. } | ServerSide::Greeted => {
                self.has_failed
            }
            ServerSide::Initializing { again: true, .. } | ServerSide::Ready => false,
        };
        self.is_stopped() || is_down || self.is_cut_off()
    }

    /// Since when the server owes its first answer, where that is still waited for.
    pub(super) fn asked_since(&self) -> Option<Instant> {
        match self.state {
            ServerSide::Initializing { since, again: false } if !self.has_failed => Some(since),
            ServerSide::Initializing { .. }
            | ServerSide::Down { .. }
            | ServerSide::Refusing { .. }
            | ServerSide::Greeted
            | ServerSide::Ready => None,
        }
    }

    /// The server's first answer has taken too long.
    pub(super) fn give_up_start(&mut self) {
        self.has_failed = true;
    }

    /// The server is ready.
    pub(super) fn recovered(&mut self) {
        self.has_failed = false;
    }

    /// Requests under way at the server are answered, and nothing more is sent until the server is up again.
    fn end_life(&mut self, gone: Gone<'_>, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        self.state = ServerSide::Down { why: gone.why.into(), retry_at: Some(now + gone.retry_in) };
        self.has_failed = true;
        self.silence = Silence::None;
        if let Some(health) = &mut self.health {
            health.reset();
        }
        self.lasting.clear();
        self.abandoned.clear();
        (self.kept, self.settles_at) = (0, None);
        let mut has_cut = false;
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let Flight::Call(call) = flight {
                has_cut |= is_work(call.method());
                let why = format!("not answered: server \"{}\" {}", self.name, gone.why);
                self.fail(call, Outcome::ServerDown, why, peers, out);
            }
        }
        if has_cut && !gone.by_command {
            // One end, however much it has cut off.
            self.call_failed(Outcome::ServerDown, now, out);
        }
        if gone.retry_in > HOLD {
            // The server comes back too late for the requests that wait.
            let next = seconds(gone.retry_in);
            let message = format!("server \"{}\" {}; next start in {next}", self.name, gone.why);
            for held in self.held.take_all() {
                self.refuse_held(&held, Outcome::ServerDown, &message, peers, out);
            }
        }
        self.leftover.server_down();
        peers.server_down(self.index, out);
    }

    /// The server is gone for good: everything that was asked of it is answered.
    pub(super) fn retire(&mut self, why: &str, peers: &mut Peers, out: &mut dyn Out) {
        self.kept = 0;
        let why = format!("server \"{}\" {why}", self.name);
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let Flight::Call(call) = flight {
                self.fail(call, Outcome::ServerDown, why.clone(), peers, out);
            }
        }
        for held in self.held.take_all() {
            self.refuse_held(&held, Outcome::ServerDown, &why, peers, out);
        }
        peers.server_down(self.index, out);
    }

    /// The server's process is to end and comes back no more: everything that was asked of it is answered.
    pub(super) fn ended(&mut self, why: &str, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        self.whose = Whose::Nobody;
        self.retire(why, peers, out);
        self.started = None;
        self.end_life(Gone { why, retry_in: Duration::ZERO, by_command: true }, peers, now, out);
    }

    /// The server's process is replaced by one that no peer has used: what is under way is answered, and what waits waits on.
    pub(super) fn replaced(&mut self, why: &'static str, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        out.arrange(self.index, Arrangement::Replace(why));
        self.started = None;
        self.end_life(Gone { why: "was started anew", retry_in: Duration::ZERO, by_command: true }, peers, now, out);
    }

    /// Answers a message with an error that has waited for the server in vain.
    fn refuse_held(
        &self,
        held: &HeldMessage,
        outcome: Outcome,
        why: impl Display,
        peers: &mut Peers,
        out: &mut dyn Out,
    ) {
        held.note_unserved(About::Server(self.index), outcome, out);
        peers.refuse_held((held.peer, &held.frame), why, out);
    }

    /// A call gets no answer of the server: the endpoint is told why, unless another server may be asked.
    pub(super) fn fail(&mut self, call: Call, outcome: Outcome, why: String, peers: &mut Peers, out: &mut dyn Out) {
        let search = call.terms.as_ref().and_then(|terms| terms.search.as_ref());
        if search.is_some_and(|search| search.reads) {
            self.strays.push((call, why));
        } else {
            self.note_lost(&call, outcome, out);
            peers.refuse_call((call.peer, call.id()), outcome, why, out);
        }
    }

    /// Notes that the server has had a call and answers it no more, or that nobody can be given its answer.
    fn note_lost(&self, call: &Call, outcome: Outcome, out: &mut dyn Out) {
        if is_call(call.method()) {
            out.note(Note::of(self.index, What::Lost(call.counted(outcome))));
        }
    }

    /// The server has said something, whatever it was.
    pub(super) fn end_silence(&mut self, now: Instant, out: &mut dyn Out) {
        if let Some(lasted) = self.silence.broken(now) {
            out.note(Note::of(self.index, What::Heard { lasted }));
        }
        if let Some(checked) = self.health.as_mut().and_then(|health| health.heard(now)) {
            out.note(Note::of(self.index, What::Checked(checked)));
        }
    }

    /// Notices a server that was called and says nothing.
    pub(super) fn check_silence(&mut self, now: Instant, out: &mut dyn Out) {
        let Some((stage, lasted)) = self.silence.look(now) else { return };
        let method = self.silence.method();
        match stage {
            SilenceStage::Noticed => {}
            SilenceStage::Asked => self.send_unawaited("ping", b"{}", out),
            SilenceStage::Reported => out.note(Note::of(self.index, What::Silent { lasted, method, failed: false })),
            SilenceStage::Failed => out.note(Note::of(self.index, What::Silent { lasted, method, failed: true })),
        }
    }

    /// Whether the server has a handshake, even if another one is under way.
    pub(super) fn is_initialized(&self) -> bool {
        matches!(self.state, ServerSide::Initializing { again: true, .. } | ServerSide::Greeted | ServerSide::Ready)
    }

    /// How far its start is, as far as the lane knows.
    pub(super) fn start(&self) -> Start {
        match self.state {
            ServerSide::Down { retry_at: Some(_), .. } => Start::Absent,
            ServerSide::Down { retry_at: None, .. } | ServerSide::Initializing { again: false, .. } => Start::Awaited,
            ServerSide::Initializing { again: true, .. }
            | ServerSide::Greeted
            | ServerSide::Ready
            | ServerSide::Refusing { .. } => Start::Settled,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, ServerSide::Ready)
    }

    /// Sends a request of our own whose answer says nothing, and is dropped like one that nobody waits for.
    pub(super) fn send_unawaited(&mut self, method: &str, params: &[u8], out: &mut dyn Out) {
        let id = self.next_id();
        self.settles_at = Some(id);
        out.to_server(self.index, &[&reply::request(id, method, Some(params))]);
    }

    /// The server is sent a message that wants no answer.
    pub(super) fn notified(&mut self) {
        self.settles_at = Some(self.last_id + 1);
    }

    /// The number of the request to which an error belongs that names none: the only one under way, if the error can't be
    /// about anything else. What else it may be about, it is taken to be about.
    pub(super) fn only_request(&mut self) -> Option<u64> {
        let is_about_other = self.settles_at.take().is_some() || !self.abandoned.is_empty();
        let only = if self.flights.len() == 1 { self.flights.keys().next().copied() } else { None };
        only.filter(|_| !is_about_other)
    }

    /// A number that this server's requests have not had before, in any of its lives.
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The peer whose request has this number.
    pub(super) fn caller(&self, number: u64) -> Option<PeerId> {
        match self.flights.get(&number) {
            Some(Flight::Call(call)) => Some(call.peer),
            Some(Flight::Initialize(_) | Flight::List(_) | Flight::Check(_)) | None => None,
        }
    }

    /// Sends a request of our own.
    pub(super) fn send(&mut self, flight: Flight, method: &str, params: Option<&[u8]>, out: &mut dyn Out) {
        self.tell_own(out);
        let id = self.next_id();
        self.flights.insert(id, flight);
        out.to_server(self.index, &[&reply::request(id, method, params)]);
    }

    /// Whether one more request may come. If not, the request is refused.
    pub(super) fn has_room(
        &mut self,
        request: &Request<'_>,
        call: &Call,
        peers: &mut Peers,
        out: &mut dyn Out,
    ) -> bool {
        if self.has_room_for(request.peer) || self.forget_oldest(request, peers, out) {
            return true;
        }
        let calls = self.calls_of(request.peer).count() + self.held.len_of(request.peer);
        let why = format_args!("{calls} requests are under way already");
        self.decline(call, Outcome::Refused, why, peers, out);
        false
    }

    /// Refuses a request.
    pub(super) fn decline(
        &self,
        call: &Call,
        outcome: Outcome,
        why: impl Display,
        peers: &mut Peers,
        out: &mut dyn Out,
    ) {
        note_unserved(self.index, call, outcome, out);
        peers.refuse(call.peer, call.id(), UNAVAILABLE, why, out);
    }

    fn has_room_for(&self, peer: PeerId) -> bool {
        let (all, kept) = (self.flights.len() + self.held.len(), self.kept);
        if all < MAX_IN_FLIGHT && kept < MAX_IN_FLIGHT_BYTES {
            return true;
        }
        // Looked at more closely only where there are very many.
        let (own, own_kept) = self.calls_of(peer).fold((0, 0), |(n, kept), call| (n + 1, kept + call.size()));
        own + self.held.len_of(peer) < MAX_IN_FLIGHT
            && own_kept < MAX_IN_FLIGHT_BYTES
            && all < OF_ALL * MAX_IN_FLIGHT
            && kept < OF_ALL * MAX_IN_FLIGHT_BYTES
    }

    /// Whether a request is under way.
    pub(super) fn has(&self, id: u64) -> bool {
        self.flights.contains_key(&id)
    }

    /// Passes a request of the endpoint on, and returns its id at the server.
    pub(super) fn forward(&mut self, request: &Request<'_>, call: Call, edits: Edits<'_>, out: &mut dyn Out) -> u64 {
        let id = self.next_id();
        self.abandoned.expire(request.now);
        if is_call(call.method()) {
            self.opening.serve();
        }
        if let Some(breaker) = self.breaker.as_mut().filter(|_| is_work(call.method())) {
            breaker.sent(id);
        }
        self.silence.called(call.method(), call.since);
        self.kept += call.size();
        self.flights.insert(id, Flight::Call(call));
        edits.forward_request(request, self.index, id, out);
        id
    }

    /// Gives up the oldest request of a peer that asks for more than it may, if that is old enough.
    fn forget_oldest(&mut self, request: &Request<'_>, peers: &mut Peers, out: &mut dyn Out) -> bool {
        // Ids count up, so the first call is the oldest, or nearly: a call that has waited for the server may come behind a
        // younger one.
        let oldest = self.flights.iter().find_map(|(id, flight)| match flight {
            Flight::Call(call) if call.peer == request.peer => Some((*id, call.since)),
            Flight::Call(_) | Flight::Initialize(_) | Flight::List(..) | Flight::Check(_) => None,
        });
        let Some((oldest, _)) = oldest.filter(|(_, since)| request.now - *since >= STALE) else { return false };
        if let Some(Flight::Call(call)) = self.remove_flight(oldest) {
            let message = format!("server \"{}\" has not answered for {} s", self.name, STALE.as_secs());
            self.call_failed(Outcome::Timeout, request.now, out);
            self.note_lost(&call, Outcome::Timeout, out);
            peers.refuse_call((call.peer, call.id()), Outcome::Timeout, message, out);
        }
        true
    }

    /// What becomes of a message for the server in its present state. `until`: waiting for longer is pointless. `alone`:
    /// whether its peer sees no other server.
    fn admission(&self, now: Instant, until: Option<Instant>, alone: bool) -> Admission {
        let refused = |why: String| Admission::Refused(format!("server \"{}\" {why}", self.name));
        match &self.state {
            ServerSide::Down { why, retry_at: Some(at) } if until.is_some_and(|until| *at > until) => {
                refused(format!("{why}; next start in {}", seconds(at.saturating_duration_since(now))))
            }
            ServerSide::Refusing { why, .. } => refused(why.clone()),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Greeted => Admission::Waits,
            ServerSide::Ready if !self.busy => Admission::Passes,
            // Servers that are seen together are each read at their own pace.
            ServerSide::Ready if !alone => Admission::Waits,
            ServerSide::Ready => refused("is busy and takes no more requests now".into()),
        }
    }

    /// Whether the server can take a request now. If not, the request waits for the server, but not beyond its deadline, or is
    /// refused. `call`: what is made of it.
    pub(super) fn admits(&mut self, request: &Request<'_>, call: &Call, peers: &mut Peers, out: &mut dyn Out) -> bool {
        if let Some(bar) = self.bar.filter(|bar| bar.refuses(request.method)) {
            self.decline(call, Outcome::Refused, bar.words(&self.name), peers, out);
            return false;
        }
        let breaker = self.breaker.as_ref().filter(|_| is_work(request.method));
        if let Some(refusal) = breaker.and_then(|breaker| breaker.refuses(request.now)) {
            self.decline(call, Outcome::Refused, refusal.words(&self.name), peers, out);
            return false;
        }
        let longest = request.now + HOLD;
        let deadline = call.terms.as_ref().and_then(|terms| terms.deadline);
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        let why = match self.admission(request.now, Some(until), peers.is_alone(request.peer)) {
            Admission::Passes => return true,
            Admission::Refused(why) => why,
            Admission::Waits if self.held.push_until(request.peer, request.frame, request.now, until) => return false,
            Admission::Waits => format!("server \"{}\" is not ready, and too much waits for it already", self.name),
        };
        let outcome = match self.state {
            ServerSide::Down { .. } | ServerSide::Refusing { .. } => Outcome::ServerDown,
            ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => Outcome::Refused,
        };
        self.decline(call, outcome, why, peers, out);
        if is_work(request.method) {
            self.call_failed(outcome, request.now, out);
        }
        false
    }

    /// Whether the server can take a notification now. If not, the notification waits, or is dropped: it would get no answer
    /// anyway.
    pub(super) fn admits_notification(&mut self, peer: PeerId, frame: &[u8], now: Instant, peers: &Peers) -> bool {
        if self.is_stopped() {
            return false;
        }
        match self.admission(now, None, peers.is_alone(peer)) {
            Admission::Passes => true,
            Admission::Refused(_) => false,
            Admission::Waits => {
                let _kept = self.held.push(peer, frame, now);
                false
            }
        }
    }

    /// Answers requests that have waited for too long, and lets one try where none did for a time.
    pub(super) fn tick(&mut self, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        let outcome = if self.is_stopped() { Outcome::Refused } else { Outcome::ServerDown };
        let mut are_late = false;
        while let Some((waited, held)) = self.held.expired(now) {
            self.refuse_held(&held, outcome, self.excuse(waited), peers, out);
            are_late = true;
        }
        if are_late {
            self.call_failed(outcome, now, out);
        }
        self.check_circuit(now, out);
    }

    /// Why a request that waited for so long has got no answer.
    pub(super) fn excuse(&self, waited: Duration) -> String {
        if let Some(bar @ Bar::Stopped) = self.bar {
            return bar.words(&self.name);
        }
        format!("server \"{}\" {} for {} s", self.name, self.doing(), waited.as_secs_f64())
    }

    /// Cancels by the server's id what a peer cancels by its own. Returns whether the request was here.
    pub(super) fn cancel(&mut self, peer: PeerId, frame: &[u8], e: &Envelope, out: &mut dyn Out) -> bool {
        let Some(range) = e.request_id.clone() else { return false };
        let wanted = &frame[range.clone()];
        let is_own = |call: &Call| call.peer == peer && call.id() == wanted && call.is_cancellable();
        let is_it = |f: &Flight| matches!(f, Flight::Call(call) if is_own(call));
        let Some(id) = self.flights.iter().find(|(_, f)| is_it(f)).map(|(id, _)| *id) else {
            let held = self.held.cancel(peer, wanted);
            held.iter().for_each(|held| held.note_unserved(About::Server(self.index), Outcome::Cancelled, out));
            return held.is_some();
        };
        let ours = id.to_string();
        if out.is_read_by(self.index) {
            out.to_server(self.index, &[&frame[..range.start], ours.as_bytes(), &frame[range.end..]]);
        } else {
            // The endpoint's reason is left out, so that what waits for the server stays bounded.
            out.to_server(self.index, &[&reply::cancelled(ours.as_bytes(), "the client cancelled it")]);
        }
        // MCP: a cancelled request gets no answer, so nothing would ever take it out of the table.
        if let Some(call) = self.abandon(id) {
            note_unserved(self.index, &call, Outcome::Cancelled, out);
        }
        true
    }

    /// Takes a call out of the table that has lasted too long, and tells the server to stop working on it.
    pub(super) fn abandon_call(&mut self, id: u64, reason: &str, out: &mut dyn Out) -> Option<Call> {
        let call = self.abandon(id)?;
        out.to_server(self.index, &[&reply::cancelled(id.to_string().as_bytes(), reason)]);
        Some(call)
    }

    /// Says of the calls under way that all of them are about to be cut off.
    pub(super) fn tell_cut(&self, now: Instant, out: &mut dyn Out) {
        let cut = || self.calls().filter(|call| is_call(call.method()));
        for call in cut().take(TOLD) {
            let method = String::from_utf8_lossy(call.method());
            let what = call.terms.as_deref().map_or("", |terms| &*terms.what);
            let (what, lasted) = (if what.is_empty() { &*method } else { what }, now - call.since);
            out.note(Note::of(self.index, What::Cut { what, lasted, ends: true, trace: call.trace() }));
        }
        let calls = cut().count().saturating_sub(TOLD);
        if calls > 0 {
            out.note(Note::of(self.index, What::CutBesides { calls }));
        }
    }

    /// Takes a call out of the table for whose answer nobody waits any more.
    fn abandon(&mut self, id: u64) -> Option<Call> {
        let call = match self.remove_flight(id)? {
            Flight::Call(call) => call,
            other @ (Flight::Initialize(_) | Flight::List(..) | Flight::Check(_)) => {
                self.flights.insert(id, other);
                return None;
            }
        };
        self.abandoned.add(id, call.peer, call.since);
        if let Some(breaker) = &mut self.breaker {
            breaker.withdrawn(id);
        }
        Some(call)
    }

    /// Takes the request for a page of a list out of the table that has lasted too long, and tells the server to stop
    /// working on it.
    pub(super) fn abandon_list(&mut self, reading: Reading, out: &mut dyn Out) {
        let is_it = |f: &Flight| matches!(f, Flight::List(it) if *it == reading);
        let Some(id) = self.flights.iter().find(|(_, f)| is_it(f)).map(|(id, _)| *id) else { return };
        self.flights.remove(&id);
        out.to_server(self.index, &[&reply::cancelled(id.to_string().as_bytes(), "it took too long")]);
    }

    /// A peer's connection is gone, and its requests with it.
    pub(super) fn link_down(&mut self, peer: PeerId, out: &mut dyn Out) {
        for held in self.held.drop_all_of(peer) {
            held.note_unserved(About::Server(self.index), Outcome::Cancelled, out);
        }
        self.lasting.link_down(peer);
        let Lane { flights, kept, abandoned, index, breaker, .. } = self;
        // Answers to these calls would come too late for anybody; a server that is told so can stop working on them.
        flights.retain(|id, flight| match flight {
            Flight::Call(call) if call.peer == peer => {
                *kept -= call.size();
                abandoned.add(*id, peer, call.since);
                if let Some(breaker) = breaker {
                    breaker.withdrawn(*id);
                }
                if call.is_cancellable() {
                    let reason = "the endpoint's connection was lost";
                    out.to_server(*index, &[&reply::cancelled(id.to_string().as_bytes(), reason)]);
                }
                note_unserved(*index, call, Outcome::Cancelled, out);
                false
            }
            Flight::Call(_) | Flight::Initialize(_) | Flight::List(..) | Flight::Check(_) => true,
        });
    }

    /// Takes out the request that an answer of the server is for, with its id.
    pub(super) fn take_flight(&mut self, id: &[u8]) -> Option<(u64, Flight)> {
        let id = flight_id(id)?;
        self.settles_at = self.settles_at.filter(|from| id < *from);
        let flight = self.remove_flight(id);
        if flight.is_none() {
            self.abandoned.answered(id);
        }
        Some((id, flight?))
    }

    fn remove_flight(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Flight::Call(call) = &flight {
            self.kept -= call.size();
        }
        Some(flight)
    }

    /// Keeps whose a call is that is over and has become a task. Answers are searched only where that matters: for progress on
    /// the task, or to tell peers apart.
    #[inline]
    pub(super) fn keep_task(&mut self, number: u64, call: &Call, frame: &[u8], e: &Envelope) {
        if self.has_many || !call.progress().is_empty() {
            self.lasting.keep(number, (call.peer, call.progress()), frame, e);
        }
    }

    /// The answer to a request as a strict client can read it, where it is not so already.
    #[inline]
    pub(super) fn mend(&mut self, flight: &Flight, frame: &[u8], e: &Envelope, out: &mut dyn Out) -> Option<Vec<u8>> {
        let method = match flight {
            Flight::Initialize(_) => "initialize",
            Flight::List(reading) => reading.kind.method(),
            Flight::Call(call) => str::from_utf8(call.method()).unwrap_or_default(),
            // Only whether it is an answer counts.
            Flight::Check(_) => return None,
        };
        let Mended { frame, odd } = answer::mend(frame, e, method, &self.name)?;
        if self.told_odd.insert(odd) {
            out.note(Note::of(self.index, What::OddAnswer { method: brief(method).to_owned(), odd }));
        }
        Some(frame)
    }

    /// Passes the answer to a call on. Returns false where the answer is too large, and the endpoint gets an error instead.
    #[inline]
    pub(super) fn deliver(
        &self,
        frame: &[u8],
        id: Range<usize>,
        call: &Call,
        peers: &mut Peers,
        out: &mut dyn Out,
    ) -> bool {
        // An endpoint may close its connection over a message above the limit, and the endpoint's id may be longer than ours.
        let size = frame.len() - id.len() + call.id().len();
        let fits = size <= self.max_frame;
        if fits {
            out.to_peer(call.peer, &[&frame[..id.start], call.id(), &frame[id.end..]]);
            peers.count_answered(call.peer);
        } else {
            peers.refuse(call.peer, call.id(), UNAVAILABLE, self.oversize(size as u64), out);
            out.note(Note::of(self.index, What::TooLarge { size: size as u64, answered: true }));
            self.note_lost(call, Outcome::TooLarge, out);
        }
        fits
    }

    /// A peer's requests that are under way.
    pub(super) fn calls_of(&self, peer: PeerId) -> impl Iterator<Item = &Call> {
        self.calls().filter(move |call| call.peer == peer)
    }

    /// The peers' requests that are under way.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.flights.values().filter_map(|flight| match flight {
            Flight::Call(call) => Some(call),
            Flight::Initialize(_) | Flight::List(..) | Flight::Check(_) => None,
        })
    }

    /// Whether a peer waits for nothing here: no message for the server, and no answer to a call that still counts.
    pub(super) fn is_quiet(&self, peer: PeerId, now: Instant) -> bool {
        !self.held.has(peer) && !self.calls_of(peer).any(|call| now < call.since + ABANDONED)
    }

    /// Method and age of each of a peer's requests under way.
    pub(super) fn unanswered(&self, peer: PeerId, now: Instant) -> impl Iterator<Item = (String, Duration)> {
        self.calls_of(peer).map(move |call| (String::from_utf8_lossy(call.method()).into_owned(), now - call.since))
    }

    /// What the server does, for a sentence that begins with its name and ends with "for 9 s".
    fn doing(&self) -> String {
        match &self.state {
            ServerSide::Down { why, .. } => format!("{why} and has not been back"),
            ServerSide::Initializing { .. } => "has been starting and not answered initialize".into(),
            ServerSide::Refusing { why, .. } => format!("has not served ({why})"),
            ServerSide::Ready if self.busy => "has not read its stdin".into(),
            ServerSide::Greeted | ServerSide::Ready => "has not answered".into(),
        }
    }

    /// Whether the server has no process now.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, ServerSide::Down { .. })
    }

    /// How the server stands, for the line that explains a closed connection.
    pub(super) fn standing(&self, now: Instant) -> String {
        match &self.state {
            ServerSide::Down { .. } if self.is_stopped() => Bar::stopped(&self.name),
            ServerSide::Down { why, retry_at: Some(at) } => {
                format!("{why}, next start in {}", seconds(at.saturating_duration_since(now)))
            }
            ServerSide::Down { why, retry_at: None } => why.clone(),
            ServerSide::Initializing { since, .. } => {
                format!("had not answered initialize for {}", seconds(now - *since))
            }
            ServerSide::Refusing { why, .. } => why.clone(),
            ServerSide::Greeted | ServerSide::Ready => "was running".into(),
        }
    }
}

/// Notes that a server has not had a call, or that the client has given it up.
fn note_unserved(server: ServerIndex, call: &Call, outcome: Outcome, out: &mut dyn Out) {
    if is_call(call.method()) {
        out.note(Note::of(server, What::Unserved(call.counted(outcome))));
    }
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}
