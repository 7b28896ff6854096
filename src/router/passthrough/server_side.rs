//! What the server says, and what its death leaves open.

use super::*;

impl Passthrough {
    pub(super) fn begin_handshake(&mut self, now: Instant, out: &mut impl Out) {
        let Some(hello) = &self.hello else { return };
        let params = hello.params.clone();
        let id = self.fly(Flight::Initialize);
        out.to_server(SERVER, &[&reply::request(id, "initialize", Some(&params))]);
        self.server = ServerSide::Initializing { since: now };
    }

    /// Lets the server know that its handshake is complete, once.
    pub(super) fn tell_server(&mut self, out: &mut impl Out) {
        if let ServerSide::Ready { told: told @ false } = &mut self.server {
            *told = true;
            out.to_server(SERVER, &[br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#]);
        }
    }

    pub(super) fn welcomed(&mut self, welcome: Welcome, now: Instant, out: &mut impl Out) {
        out.note(Note::Initialized { server: SERVER, identity: welcome.identity() });
        // An endpoint that waits for this answer completes the handshake itself.
        self.server = ServerSide::Ready { told: false };
        if self.waiting.is_empty() || matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            self.tell_server(out);
        }
        for w in std::mem::take(&mut self.waiting) {
            out.to_endpoint(&[&reply::result(&w.id, &welcome.result_for(&w.version))]);
            self.initialize_answered();
        }
        self.welcome = Some(welcome);
        self.release(now, out);
    }

    /// The server refused to initialize: its error is the answer of all who wait.
    pub(super) fn unwelcome(&mut self, answer: impl Fn(&[u8]) -> Vec<u8>, now: Instant, out: &mut impl Out) {
        self.server = ServerSide::Warm;
        if self.welcome.is_none() {
            self.hello = None; // the next endpoint may have better luck
        }
        for w in std::mem::take(&mut self.waiting) {
            out.to_endpoint(&[&answer(&w.id)]);
            self.initialize_answered();
        }
        self.release(now, out);
    }

    pub(super) fn server_answers(
        &mut self,
        frame: &[u8],
        e: &Envelope,
        id: std::ops::Range<usize>,
        now: Instant,
        out: &mut impl Out,
    ) {
        match flight_id(&frame[id.clone()]).and_then(|n| self.flights.remove(&n)) {
            None => out.note(Note::Unclaimed { server: Some(SERVER) }),
            Some(Flight::Probe) => {}
            Some(Flight::Initialize) => match &e.result {
                Some(result) => self.welcomed(Welcome::read(&frame[result.clone()]), now, out),
                None => self.unwelcome(|w| [&frame[..id.start], w, &frame[id.end..]].concat(), now, out),
            },
            Some(Flight::Call { text, id_len, since }) => {
                let (own, method) = text.split_at(id_len);
                out.to_endpoint(&[&frame[..id.start], own, &frame[id.end..]]);
                if let LinkSide::Up { answered, .. } = &mut self.link {
                    *answered += 1;
                }
                if method == b"initialize" {
                    self.relayed_welcome(frame, e, out);
                } else if is_call(method) {
                    self.served += 1;
                    let method = str::from_utf8(method).unwrap_or_default();
                    out.note(Note::Served { server: SERVER, method, took: now - since });
                }
            }
        }
    }

    /// Relay: the answer to an `initialize` passed by.
    pub(super) fn relayed_welcome(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        if let LinkSide::Up { initialize, .. } = &mut self.link {
            *initialize = Some(true);
        }
        if let Some(result) = &e.result {
            let welcome = Welcome::read(&frame[result.clone()]);
            out.note(Note::Initialized { server: SERVER, identity: welcome.identity() });
            // Its `notifications/initialized` comes through as well.
            self.server = ServerSide::Ready { told: true };
            self.welcome = Some(welcome);
        }
    }

    /// A server's own request: the endpoint answers it where it can, else we do. Silence is no answer.
    pub(super) fn server_asks(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        let method = e.method.clone().map_or("", |r| str::from_utf8(&frame[r]).unwrap_or_default());
        if method == "ping" {
            return out.to_server(SERVER, &[&reply::result(id, b"{}")]);
        }
        let refusal = if !matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            Some((UNAVAILABLE, "no endpoint is connected"))
        } else if !self.hello.as_ref().is_some_and(|h| h.can_answer(method)) {
            Some((METHOD_NOT_FOUND, "the endpoint did not declare the capability"))
        } else if self.mute {
            Some((UNAVAILABLE, "the endpoint does not answer requests"))
        } else if self.asked.len() >= MAX_ASKED || id.len() > MAX_ID {
            Some((UNAVAILABLE, "too many requests wait for the endpoint"))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            out.to_server(SERVER, &[&reply::error(id, code, why)]);
            return out.note(Note::AnsweredForEndpoint { server: SERVER, method: method.into(), why });
        }
        let n = self.next_id();
        let kept = method[..method.floor_char_boundary(METHOD)].to_owned();
        self.asked.insert(n, Asked { id: id.into(), method: kept, deadline: now + ASK });
        let Some(range) = e.id.clone() else { return };
        out.to_endpoint(&[&frame[..range.start], asked_token(n).as_bytes(), &frame[range.end..]]);
    }

    pub(super) fn server_notifies(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        if !matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            return; // before the handshake an endpoint expects nothing, and it lists everything after it
        }
        if e.method.as_ref().is_some_and(|r| &frame[r.clone()] == b"notifications/cancelled") {
            let Some(range) = e.request_id.clone() else { return };
            let Some(n) = self.asked.iter().find(|(_, a)| *a.id == frame[range.clone()]).map(|(n, _)| *n) else {
                return;
            };
            self.asked.remove(&n);
            return out.to_endpoint(&[&frame[..range.start], asked_token(n).as_bytes(), &frame[range.end..]]);
        }
        out.to_endpoint(&[frame]);
    }

    /// Answers what the server's death leaves open.
    pub(super) fn abandon_flights(&mut self, why: &str, out: &mut impl Out) {
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let Flight::Call { text, id_len, .. } = flight {
                let message = format!("server \"{}\" {why} before it answered", self.name);
                self.refuse(&text[..id_len], UNAVAILABLE, message, out);
            }
        }
        self.asked.clear();
    }
}

/// Whether an answer to this shows that the whole path works. Handshake, ping and lists don't: an endpoint that
/// refuses our tools has asked for all of them before.
fn is_call(method: &[u8]) -> bool {
    !(method == b"initialize" || method == b"ping" || method == b"server/discover" || method.ends_with(b"/list"))
}
