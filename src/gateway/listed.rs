//! The conversations of clients, for a person: what there is, and the end of some.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::Gateway;
use super::ended::Hash;
use super::kept::now as wall_clock;
use super::session::Client;
use super::sessions::{Entry, Scope};
use super::socket::Connection;
use crate::control::sessions::{ClientSession, meant};

/// How many bytes of the hash of an id are its name: of a thousand sessions hardly ever two have the same.
const NAMED_BY: usize = 5;

/// By what a conversation is called.
fn name_of(hash: &Hash) -> String {
    hash[..NAMED_BY].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of a conversation, but for its streams and requests.
fn row(
    (name, at): (String, &str),
    scope: &Scope,
    client: Option<&Client>,
    since: u64,
    heard: Instant,
) -> ClientSession {
    let server = |server: &Arc<str>| format!("{at}/{}", utf8_percent_encode(server, NON_ALPHANUMERIC));
    ClientSession {
        name,
        client: client.map(|client| client.name.to_string()),
        version: client.map(|client| client.version.to_string()),
        path: scope.server.as_ref().map_or_else(|| at.to_owned(), server),
        key: scope.holder(),
        age_seconds: wall_clock().saturating_sub(since),
        idle_seconds: heard.elapsed().as_secs(),
        streams: 1,
        calls: None,
    }
}

fn of_session(hash: &Hash, entry: &Entry, at: &str) -> ClientSession {
    let Entry { scope, session, since, .. } = entry;
    let (streams, calls) = {
        let board = session.board();
        (board.read(), board.asked())
    };
    ClientSession { streams, calls, ..row((name_of(hash), at), scope, session.client(), *since, session.heard()) }
}

impl Gateway {
    /// The conversations that last longer than a request, the longest first.
    pub(crate) fn conversations(&self) -> Vec<ClientSession> {
        let mut all = self.sessions.look(|hash, entry| of_session(hash, entry, "/mcp"));
        all.extend(self.sse.look(|hash, entry| of_session(hash, entry, "/sse")));
        let of_socket = |socket: &Connection| {
            row((name_of(&socket.hash), "/ws"), &socket.scope, socket.client.get(), socket.since, socket.heard())
        };
        all.extend(self.sockets.each().iter().map(|socket| of_socket(socket)));
        all.sort_by(|one, other| other.age_seconds.cmp(&one.age_seconds).then_with(|| one.name.cmp(&other.name)));
        all
    }

    /// Ends the conversation of this name, or all; then also those of processes before this one that have not been begun anew. Returns how
    /// many there were here.
    ///
    /// # Errors
    /// None is called so, or several are.
    pub(crate) fn end_conversations(&self, name: Option<&str>) -> Result<usize, String> {
        let all = self.conversations();
        let names: Vec<&str> = all.iter().map(|session| &*session.name).collect();
        let name = name.map(|name| meant(name, &names)).transpose()?;
        let is_meant = |hash: &Hash| name.is_none_or(|name| name_of(hash) == name);
        let mut ended = self.sessions.keep(|hash, _| !is_meant(hash)) + self.sse.keep(|hash, _| !is_meant(hash));
        if name.is_none() {
            self.survival.kept.end_all();
        }
        for socket in self.sockets.each().iter().filter(|socket| is_meant(&socket.hash)) {
            socket.end();
            ended += 1;
        }
        Ok(ended)
    }

    /// Waits until it is noted which sessions have ended, but not for long.
    pub(crate) async fn noted(&self) {
        self.survival.kept.written().await;
    }
}
