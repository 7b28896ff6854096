//! How pipes tell what becomes of their connections.

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::Close;

/// What is told before somebody listens. They all run on one thread, so that is soon; and a proof that loses a part
/// comes again.
const UNHEARD: usize = 64;

/// Something became of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// Whose, by its place.
    pub who: usize,
    /// When.
    pub at: Instant,
    /// How it ended; `None`: it opened.
    pub closed: Option<Close>,
}

/// One pipe's way to tell.
#[derive(Debug, Clone)]
pub struct Witness {
    who: usize,
    to: Sender<Sighting>,
}

/// A witness for each of so many connections, and where they are heard. That ends when all of them are gone.
pub fn witnesses(count: usize) -> (Vec<Witness>, Receiver<Sighting>) {
    let (to, heard) = channel(UNHEARD);
    ((0..count).map(|who| Witness { who, to: to.clone() }).collect(), heard)
}

impl Witness {
    /// A connection stands.
    pub fn opened(&self, at: Instant) {
        self.tell(at, None);
    }

    /// A connection that stood has ended.
    pub fn closed(&self, how: Close, at: Instant) {
        self.tell(at, Some(how));
    }

    fn tell(&self, at: Instant, closed: Option<Close>) {
        // Nobody may want to know any more.
        let _unheard = self.to.try_send(Sighting { who: self.who, at, closed });
    }
}
