//! What the endpoint says.

use super::*;

impl Passthrough {
    pub(super) fn initialize(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        let params = e.params.clone().map_or(&b"{}"[..], |r| &frame[r]);
        let hello = Hello::read(params);
        if let LinkSide::Up { initialize, .. } = &mut self.link {
            *initialize = Some(false);
        }
        if self.relays() {
            self.hello = Some(hello);
            return self.request(frame, e, id, now, out);
        }
        if let Some(welcome) = &self.welcome {
            let result = welcome.result_for(&hello.version);
            out.to_endpoint(&[&reply::result(id, &result)]);
            return self.initialize_answered();
        }
        if self.waiting.len() >= MAX_WAITING {
            return self.refuse(id, UNAVAILABLE, format_args!("{MAX_WAITING} others wait for the server already"), out);
        }
        self.waiting.push(Waiting { id: id.into(), version: hello.version.clone(), deadline: now + HOLD });
        let first = self.hello.is_none();
        if first {
            self.hello = Some(hello);
        }
        match self.server {
            ServerSide::Warming { .. } | ServerSide::Warm => self.begin_handshake(now, out),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Ready { .. } => {}
        }
    }

    pub(super) fn initialize_answered(&mut self) {
        if let LinkSide::Up { initialize, answered, .. } = &mut self.link {
            *initialize = Some(true);
            *answered += 1;
        }
    }

    pub(super) fn request(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        if self.draining {
            return self.refuse(id, UNAVAILABLE, "mcp-pipe is shutting down", out);
        }
        if self.flights.len() + self.held.len() >= MAX_IN_FLIGHT && !self.forget_oldest(now, out) {
            return self.refuse(id, UNAVAILABLE, format_args!("{MAX_IN_FLIGHT} requests are under way already"), out);
        }
        let method = e.method.clone().map_or(&b""[..], |r| &frame[r]);
        if !self.hold(frame, Some(id), now, out) {
            let method = &method[..method.len().min(METHOD)];
            let flight = Flight::Call { text: [id, method].concat().into(), id_len: id.len(), since: now };
            let id = self.fly(flight);
            self.tell_server(out);
            forward_request(frame, e, SERVER, id, out);
        }
    }

    /// Gives up the oldest request, if it is old enough.
    pub(super) fn forget_oldest(&mut self, now: Instant, out: &mut impl Out) -> bool {
        let stale = |f: &Flight| matches!(f, Flight::Call { since, .. } if now - *since >= STALE);
        let Some(oldest) = self.flights.iter().find(|(_, f)| stale(f)).map(|(id, _)| *id) else { return false };
        if let Some(Flight::Call { text, id_len, .. }) = self.flights.remove(&oldest) {
            let message = format!("server \"{}\" has not answered for {} s", self.name, STALE.as_secs());
            self.refuse(&text[..id_len], UNAVAILABLE, message, out);
        }
        true
    }

    /// Keeps a message for a server that can't take it yet; false if it can.
    pub(super) fn hold(&mut self, frame: &[u8], id: Option<&[u8]>, now: Instant, out: &mut impl Out) -> bool {
        match &self.server {
            ServerSide::Warming { .. } | ServerSide::Warm | ServerSide::Ready { .. } if self.busy => {
                if let Some(id) = id {
                    let message = format!("server \"{}\" is busy and takes no more requests now", self.name);
                    self.refuse(id, UNAVAILABLE, message, out);
                }
                return true;
            }
            ServerSide::Warming { .. } | ServerSide::Warm | ServerSide::Ready { .. } => return false,
            ServerSide::Initializing { .. } => {}
            // Waiting is pointless if it comes too late.
            ServerSide::Down { why, retry_at } => {
                if let (Some(id), Some(at)) = (id, retry_at)
                    && *at > now + HOLD
                {
                    let message = format!("server \"{}\" {why}; next start in {}", self.name, seconds(*at - now));
                    self.refuse(id, UNAVAILABLE, message, out);
                    return true;
                }
            }
        }
        if !self.held.push(frame, now + HOLD)
            && let Some(id) = id
        {
            let message = format!("server \"{}\" is not ready, and too much waits for it already", self.name);
            self.refuse(id, UNAVAILABLE, message, out);
        }
        true
    }

    pub(super) fn release(&mut self, now: Instant, out: &mut impl Out) {
        for frame in self.held.take() {
            self.on_endpoint(&frame, now, out);
        }
    }

    pub(super) fn notification(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut impl Out) {
        match e.method.clone().map_or(&b""[..], |r| &frame[r]) {
            b"notifications/initialized" if !self.relays() => {
                self.converse();
                self.tell_server(out);
            }
            b"notifications/cancelled" => self.cancel(frame, e, out),
            _ => {
                self.converse();
                if !self.hold(frame, None, now, out) {
                    out.to_server(SERVER, &[frame]);
                }
            }
        }
    }

    /// Cancels by the server's id what the endpoint cancels by its own.
    pub(super) fn cancel(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        let Some(range) = e.request_id.clone() else { return };
        let wanted = &frame[range.clone()];
        let found = self.flights.iter().find(|(_, f)| match f {
            // MCP: `initialize` must not be cancelled.
            Flight::Call { text, id_len, .. } => &text[..*id_len] == wanted && &text[*id_len..] != b"initialize",
            Flight::Probe | Flight::Initialize => false,
        });
        if let Some(id) = found.map(|(id, _)| *id) {
            out.to_server(SERVER, &[&frame[..range.start], id.to_string().as_bytes(), &frame[range.end..]]);
            // MCP: a cancelled request gets no answer, so nothing would ever take it out of the table.
            self.flights.remove(&id);
        } else {
            self.held.cancel(wanted);
        }
    }

    /// The endpoint's answer to a request of the server.
    pub(super) fn endpoint_answers(&mut self, frame: &[u8], id: std::ops::Range<usize>, out: &mut impl Out) {
        let n = asked_id(&frame[id.clone()]);
        if n.is_some() {
            self.mute = false; // it does answer, be it too late
        }
        match n.and_then(|n| self.asked.remove(&n)) {
            Some(asked) => out.to_server(SERVER, &[&frame[..id.start], &asked.id, &frame[id.end..]]),
            None => out.note(Note::Unclaimed { server: None }),
        }
    }
}
