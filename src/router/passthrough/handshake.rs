//! The handshakes of the server and its endpoint, and what follows once they are through.

use super::*;

/// Longest error of a refusing server that is kept as the answer to `initialize`, in bytes. Of a longer error the first
/// words are kept.
const MAX_REFUSAL: usize = 16 * 1024;

impl Passthrough {
    pub(super) fn initialize(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let (id, now) = (request.id, request.now);
        let hello = Arc::new(Hello::read(request.params()));
        self.desk.note_greeting(Greeting::Waits);
        let first = self.desk.on_hello(&hello);
        // What the endpoint says first in this run counts. Later it counts where the server has refused what it was told.
        if first || self.lane.opening.is_refusing() {
            let opened = self.lane.check_hello(self.welcome.as_ref(), &mut self.desk, now, out);
            self.on_opened(opened, now, out);
        } else {
            self.do_without_hello(now, out);
        }
        let asked = self.lane.opening.is_outdated();
        if self.relays() && self.lane.is_ready() {
            self.relayed = true;
            return self.request(request, out);
        }
        if !asked && self.answer_known(id, &hello.version, out) {
            return;
        }
        if self.waiting.len() + self.due.len() >= MAX_WAITING {
            let message = format_args!("{MAX_WAITING} others wait for the server already");
            return self.desk.refuse(id, UNAVAILABLE, message, out);
        }
        self.waiting.push(WaitingInitialize { id: id.into(), version: hello.version.clone(), deadline: now + HOLD });
    }

    /// The endpoint asks or tells something, so servers' requests may be passed on.
    pub(super) fn open_conversation(&mut self, now: Instant, out: &mut dyn Out) {
        self.do_without_hello(now, out);
        self.desk.open_conversation(now, out);
    }

    /// The endpoint speaks. An `initialize` that has not come by now won't come, and the server goes on with what it was
    /// told.
    pub(super) fn do_without_hello(&mut self, now: Instant, out: &mut dyn Out) {
        if self.desk.do_without_hello() || matches!(self.lane.state, ServerSide::Greeted) {
            let opened = self.lane.check_hello(self.welcome.as_ref(), &mut self.desk, now, out);
            self.on_opened(opened, now, out);
        }
    }

    /// Answers an `initialize` with what the server has said in this run, if any of that still holds. Returns whether it
    /// does.
    pub(super) fn answer_known(&mut self, id: &[u8], version: &str, out: &mut dyn Out) -> bool {
        if let Some([before, after]) = self.refusal.as_ref().filter(|_| self.lane.refusal().is_some()) {
            out.to_endpoint(&[before, id, after]);
            self.desk.count_answered();
            self.desk.note_greeting(Greeting::Refused);
            return true;
        }
        let Some(result) = self.welcome.as_ref().map(|welcome| welcome.result_for(version)) else { return false };
        self.desk.reply(id, &result, out);
        self.note_greeted();
        true
    }

    /// Answers an `initialize` that has waited: with what the server has said, or else with an error.
    pub(super) fn answer_initialize(&mut self, waiting: &WaitingInitialize, out: &mut dyn Out) {
        if !self.answer_known(&waiting.id, &waiting.version, out) {
            self.desk.excuse(&waiting.id, self.lane.excuse(HOLD), out);
        }
    }

    /// The server has answered `initialize`. `hello`: the parameters that were sent.
    pub(super) fn on_welcome(&mut self, hello: Arc<Hello>, welcome: Welcome, now: Instant, out: &mut dyn Out) {
        out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity().to_owned() }));
        let opened = self.lane.welcomed(hello, &welcome, &mut self.desk, now, out);
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

    /// The server is ready: it gets what the endpoint wants of it, and then what waits for it.
    pub(super) fn on_ready(&mut self, now: Instant, out: &mut dyn Out) {
        self.desk.keep_hello(|said| self.lane.opening.was_told(said), out);
        self.wishes.send_subscriptions(&mut self.lane, out);
        self.wishes.send_level(&mut self.lane, out);
        self.answer_all_waiting(out);
        self.release(out);
        let Passthrough { lane, reread, changes, welcome, .. } = self;
        reread.begin(changes, &mut Asking { lane, now, out });
        changes.compare(welcome.as_ref().map(capabilities), |_| None, now, out);
    }

    pub(super) fn answer_all_waiting(&mut self, out: &mut dyn Out) {
        self.due.extend(std::mem::take(&mut self.waiting));
        self.answer_due(out);
    }

    /// Answers handshakes that only wait for room, as far as there is some.
    pub(super) fn answer_due(&mut self, out: &mut dyn Out) {
        while out.has_room()
            && let Some(waiting) = self.due.pop_front()
        {
            self.answer_initialize(&waiting, out);
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
        match self.lane.refused(hello, &error, self.welcome.as_ref(), &mut self.desk, now, out) {
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

    /// With `handshake: relay`: the server's answer to an `initialize` of the endpoint has passed by.
    pub(super) fn relayed_welcome(&mut self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        match &e.result {
            Some(result) => {
                let welcome = Welcome::read(&frame[result.clone()]);
                out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity().to_owned() }));
                self.welcome = Some(welcome);
                self.note_greeted();
            }
            None => self.desk.note_greeting(Greeting::Refused),
        }
    }

    /// The endpoint has got what the server said of itself.
    pub(super) fn note_greeted(&mut self) {
        self.desk.note_greeting(Greeting::Answered);
        if let Some(welcome) = &self.welcome {
            self.changes.greeted(capabilities(welcome));
        }
    }
}

/// A fingerprint of what a server can do.
fn capabilities(welcome: &Welcome) -> u64 {
    print(welcome.declared())
}
