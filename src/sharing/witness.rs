//! How pipes tell what becomes of their connections.

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::Close;

/// Most sightings that wait to be heard. Pipes and listener run on one thread, so none waits long; and a proof that loses a part
/// comes again.
const UNHEARD: usize = 64;

/// Something became of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// The connection, by its place.
    pub who: usize,
    /// When that happened.
    pub at: Instant,
    /// How the connection ended; `None`: it opened.
    pub closed: Option<Close>,
}

/// The end of one pipe, which tells its sightings.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    who: usize,
    /// How many connections there are.
    count: usize,
    to: Sender<Sighting>,
}

/// Makes witnesses for connections of one agent.
#[derive(Debug)]
pub(crate) struct Witnesses(Sender<Sighting>);

/// Where witnesses come from, and the end where they are heard.
pub(crate) fn witnesses() -> (Witnesses, Receiver<Sighting>) {
    let (to, heard) = channel(UNHEARD);
    (Witnesses(to), heard)
}

impl Witnesses {
    /// A witness for the connection at this place, of which there are `count`.
    pub(crate) fn of(&self, who: usize, count: usize) -> Witness {
        Witness { who, count, to: self.0.clone() }
    }
}

impl Witness {
    /// Whether other connections here go to the same agent.
    pub(crate) fn has_siblings(&self) -> bool {
        self.count > 1
    }

    /// A connection stands.
    pub(crate) fn opened(&self, at: Instant) {
        self.tell(at, None);
    }

    /// A connection that stood has ended.
    pub(crate) fn closed(&self, how: Close, at: Instant) {
        self.tell(at, Some(how));
    }

    fn tell(&self, at: Instant, closed: Option<Close>) {
        // Not an error: perhaps nobody listens any more.
        let _unheard = self.to.try_send(Sighting { who: self.who, at, closed });
    }
}
