//! The handshakes of the server and its endpoint, and what follows once they are through.

use std::ops::Range;

use super::*;

/// Longest error of a refusing server that is kept as the answer to `initialize`, in bytes. Of a longer error the first
/// words are kept.
const MAX_REFUSAL: usize = 16 * 1024;

impl Hub {
    pub(in crate::router::hub) fn initialize_alone(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        out: &mut dyn Out,
    ) {
        let (key, now) = (request.peer, request.now);
        let hello = Arc::new(Hello::read(request.params()));
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.desk.note_greeting(Greeting::Waits);
        let first = peer.desk.on_hello(&hello);
        // What the endpoint says first in this run counts. Later it counts where the server has refused what it was told.
        if first || self.servers[server].lane.opening.is_refusing() {
            self.check_hello(server, now, out);
        } else {
            self.do_without_hello(key, now, out);
        }
        if let Some(own) = self.own(key, server).filter(|own| *own != server) {
            self.check_hello(own, now, out);
        }
        let Hosted { lane, solo, .. } = &self.servers[server];
        let asked = lane.opening.is_outdated();
        if solo.relays && lane.is_ready() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.relayed = true;
            }
            return self.request_alone(server, request, out);
        }
        if !asked && self.answer_known((key, server), request.id, &hello.version, out) {
            return;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let lane = &self.servers[server].lane;
        if lane.is_stopped() {
            peer.desk.excuse(request.id, lane.excuse(HOLD), true, out);
        } else {
            peer.keep_waiting(request, Want::Initialize(hello.version.clone()), out);
        }
    }

    /// Answers an `initialize` with what the server has said, if any of that still holds, or another one that stands in for it. Returns
    /// whether there is such an answer.
    pub(in crate::router::hub) fn answer_known(
        &mut self,
        (key, server): (PeerId, ServerIndex),
        id: &[u8],
        version: &str,
        out: &mut dyn Out,
    ) -> bool {
        let Hub { peers, servers, .. } = self;
        let (Some(peer), hosted) = (peers.get_mut(key), &servers[server]) else { return true };
        let Hosted { lane, solo, .. } = hosted;
        let refuses = lane.refusal().is_some() && stand_in_for(servers, hosted).is_none();
        if let Some([before, after]) = solo.refusal.as_ref().filter(|_| refuses) {
            out.to_peer(key, &[before, id, after]);
            peer.desk.count_answered();
            peer.desk.note_greeting(Greeting::Refused);
            return true;
        }
        let Some(welcome) = welcome_of(servers, hosted, Hosted::welcome) else { return false };
        peer.desk.greet(id, &welcome.result_for(version), out);
        peer.changes.greeted(capabilities(welcome));
        true
    }

    /// A server is ready, after what waited for it has been sent: compares what peers have read of it with what it says now.
    pub(in crate::router::hub) fn reread(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let hosted = &mut servers[server];
        let capabilities = hosted.welcome().map(capabilities);
        let Hosted { lane, solo, .. } = hosted;
        solo.reread.begin(peers, &mut Asking { lane, now, out });
        for (_, peer) in peers.alone_with(server) {
            peer.changes.compare(capabilities, |_| None, now, out);
        }
    }

    /// Answers the handshakes that wait for a server.
    pub(in crate::router::hub) fn answer_all_waiting(&mut self, server: ServerIndex, out: &mut dyn Out) {
        let waiting = |(key, peer): (PeerId, &mut Peer)| {
            peer.due.extend(std::mem::take(&mut peer.owed));
            key
        };
        let keys: Vec<PeerId> = self.peers.alone_with(server).map(waiting).collect();
        for key in keys {
            self.answer_due(key, out);
        }
    }

    /// Answers a handshake with what the server has said, or else with an error.
    pub(in crate::router::hub) fn answer_or_excuse(
        &mut self,
        (key, server): (PeerId, ServerIndex),
        id: &[u8],
        version: &str,
        out: &mut dyn Out,
    ) {
        if !self.answer_known((key, server), id, version, out)
            && let Some(peer) = self.peers.get_mut(key)
        {
            let lane = &self.servers[server].lane;
            peer.desk.excuse(id, lane.excuse(HOLD), lane.is_stopped(), out);
        }
    }

    /// Keeps a server's refusal, as the answer to every `initialize`.
    pub(in crate::router::hub) fn keep_refusal(
        &mut self,
        server: ServerIndex,
        frame: &[u8],
        id: Range<usize>,
        error: &str,
    ) {
        let Hosted { lane, solo, .. } = &mut self.servers[server];
        solo.refusal = Some(if frame.len() <= MAX_REFUSAL {
            [frame[..id.start].into(), frame[id.end..].into()]
        } else {
            let message = format!("server \"{}\" {error}", lane.name);
            let frame = reply::error(b"", UNAVAILABLE, message);
            let at = memchr::memmem::find(&frame, b"\"id\":").map_or(0, |at| at + b"\"id\":".len());
            [frame[..at].into(), frame[at..].into()]
        });
    }

    /// With `handshake: relay`: the server's answer to an `initialize` of a peer has passed by.
    pub(in crate::router::hub) fn relayed_welcome(
        &mut self,
        (key, server): (PeerId, ServerIndex),
        frame: &[u8],
        e: &Envelope,
        out: &mut dyn Out,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match &e.result {
            Some(result) => {
                let welcome = Welcome::read(&frame[result.clone()]);
                out.note(Note::of(server, What::Initialized { identity: welcome.identity().to_owned() }));
                peer.desk.note_greeting(Greeting::Answered);
                peer.desk.note_version(&String::from_utf8_lossy(welcome.result()));
                peer.changes.greeted(capabilities(&welcome));
                self.servers[server].solo.welcome = Some(welcome);
            }
            None => peer.desk.note_greeting(Greeting::Refused),
        }
    }
}

/// A fingerprint of what a server can do.
fn capabilities(welcome: &Welcome) -> u64 {
    print(welcome.declared())
}
