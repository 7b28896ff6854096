//! The handshakes of the server and its endpoint, and what follows once they are through.

use super::*;
use crate::router::peers::Peer;

/// Longest error of a refusing server that is kept as the answer to `initialize`, in bytes. Of a longer error the first
/// words are kept.
const MAX_REFUSAL: usize = 16 * 1024;

impl Passthrough {
    pub(super) fn initialize(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let (key, now) = (request.peer, request.now);
        let hello = Arc::new(Hello::read(request.params()));
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.desk.note_greeting(Greeting::Waits);
        let first = peer.desk.on_hello(&hello);
        // What the endpoint says first in this run counts. Later it counts where the server has refused what it was told.
        if first || self.lane.opening.is_refusing() {
            self.check_hello(now, out);
        } else {
            self.do_without_hello(key, now, out);
        }
        let asked = self.lane.opening.is_outdated();
        if self.relays() && self.lane.is_ready() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.relayed = true;
            }
            return self.request(request, out);
        }
        if !asked && self.answer_known(key, request.id, &hello.version, out) {
            return;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        if self.lane.is_stopped() {
            peer.desk.excuse(request.id, self.lane.excuse(HOLD), out);
        } else {
            peer.keep_waiting(request, Want::Initialize(hello.version.clone()), out);
        }
    }

    /// Compares what endpoints say of themselves with what the server was told.
    pub(super) fn check_hello(&mut self, now: Instant, out: &mut dyn Out) {
        let opened = self.lane.check_hello(self.welcome.as_ref(), &mut self.peers, now, out);
        self.on_opened(opened, now, out);
    }

    /// The peer asks or tells something, so servers' requests may be passed on.
    pub(super) fn open_conversation(&mut self, key: PeerId, now: Instant, out: &mut dyn Out) {
        self.do_without_hello(key, now, out);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.desk.open_conversation(now, out);
        }
    }

    /// The peer speaks. An `initialize` that has not come by now won't come, and the server goes on with what it was told.
    fn do_without_hello(&mut self, key: PeerId, now: Instant, out: &mut dyn Out) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.desk.do_without_hello() || matches!(self.lane.state, ServerSide::Greeted) {
            self.check_hello(now, out);
        }
    }

    /// Answers an `initialize` with what the server has said in this run, if any of that still holds. Returns whether it
    /// does.
    fn answer_known(&mut self, key: PeerId, id: &[u8], version: &str, out: &mut dyn Out) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return true };
        if let Some([before, after]) = self.refusal.as_ref().filter(|_| self.lane.refusal().is_some()) {
            out.to_peer(key, &[before, id, after]);
            peer.desk.count_answered();
            peer.desk.note_greeting(Greeting::Refused);
            return true;
        }
        let Some(welcome) = &self.welcome else { return false };
        peer.desk.reply(id, &welcome.result_for(version), out);
        peer.note_greeted(welcome);
        true
    }

    /// The server has answered `initialize`. `hello`: the parameters that were sent.
    pub(super) fn on_welcome(&mut self, hello: Arc<Hello>, welcome: Welcome, now: Instant, out: &mut dyn Out) {
        out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity().to_owned() }));
        let opened = self.lane.welcomed(hello, &welcome, &mut self.peers, now, out);
        self.welcome = Some(welcome);
        self.refusal = None;
        self.on_opened(opened, now, out);
    }

    /// Something has become of the server's handshake.
    pub(super) fn on_opened(&mut self, opened: Opened, now: Instant, out: &mut dyn Out) {
        match opened {
            Opened::Ready => self.on_ready(now, out),
            Opened::Awaited | Opened::Refused | Opened::Same => {}
        }
    }

    /// The server is ready: it gets what its peers want of it, and then what waits for it.
    fn on_ready(&mut self, now: Instant, out: &mut dyn Out) {
        self.lane.keep_hello(&mut self.peers, out);
        self.peers.send_subscriptions(&mut self.lane, out);
        self.lane.send_level(&self.peers, out);
        self.answer_all_waiting(out);
        self.release(out);
        let Passthrough { lane, reread, peers, welcome, .. } = self;
        reread.begin(peers, &mut Asking { lane, now, out });
        let capabilities = welcome.as_ref().map(capabilities);
        for (_, peer) in peers.iter_mut() {
            peer.changes.compare(capabilities, |_| None, now, out);
        }
    }

    pub(super) fn answer_all_waiting(&mut self, out: &mut dyn Out) {
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.due.extend(std::mem::take(&mut peer.owed));
            }
            self.answer_due(key, out);
        }
    }

    /// Answers handshakes that only wait for room, as far as there is some: with what the server has said, or else with an
    /// error.
    pub(super) fn answer_due(&mut self, key: PeerId, out: &mut dyn Out) {
        while out.has_room(key)
            && let Some(Owed { id, what, .. }) = self.peers.get_mut(key).and_then(|peer| peer.due.pop_front())
        {
            // Lists pass through, so nothing but handshakes waits here.
            let Want::Initialize(version) = what else { continue };
            if !self.answer_known(key, &id, &version, out)
                && let Some(peer) = self.peers.get_mut(key)
            {
                peer.desk.excuse(&id, self.lane.excuse(HOLD), out);
            }
        }
    }

    /// The server has answered `initialize` with an error. Unless another process may do better, that is the answer to every
    /// `initialize`.
    pub(super) fn on_refusal(
        &mut self,
        hello: Arc<Hello>,
        frame: &[u8],
        id: Range<usize>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let error = words(frame);
        match self.lane.refused(hello, &error, self.welcome.as_ref(), &mut self.peers, now, out) {
            opened @ (Opened::Ready | Opened::Awaited | Opened::Same) => self.on_opened(opened, now, out),
            Opened::Refused => {
                self.refusal = Some(if frame.len() <= MAX_REFUSAL {
                    [frame[..id.start].into(), frame[id.end..].into()]
                } else {
                    let message = format!("server \"{}\" refused to initialize: {error}", self.lane.name);
                    let frame = reply::error(b"", UNAVAILABLE, message);
                    let at = memchr::memmem::find(&frame, b"\"id\":").map_or(0, |at| at + b"\"id\":".len());
                    [frame[..at].into(), frame[at..].into()]
                });
                out.note(Note::of(SERVER, What::Refused { error }));
                self.answer_all_waiting(out);
                self.release(out);
            }
        }
    }

    /// With `handshake: relay`: the server's answer to an `initialize` of a peer has passed by.
    pub(super) fn relayed_welcome(&mut self, key: PeerId, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match &e.result {
            Some(result) => {
                let welcome = Welcome::read(&frame[result.clone()]);
                out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity().to_owned() }));
                peer.note_greeted(&welcome);
                self.welcome = Some(welcome);
            }
            None => peer.desk.note_greeting(Greeting::Refused),
        }
    }
}

impl Peer {
    /// The peer has got what the server said of itself.
    fn note_greeted(&mut self, welcome: &Welcome) {
        self.desk.note_greeting(Greeting::Answered);
        self.changes.greeted(capabilities(welcome));
    }
}

/// A fingerprint of what a server can do.
fn capabilities(welcome: &Welcome) -> u64 {
    print(welcome.declared())
}
