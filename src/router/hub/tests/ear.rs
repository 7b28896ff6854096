//! Whoever hears what a router decides, and keeps it in order.

use super::*;
use crate::router::Arrangement;

#[derive(Debug, Default)]
pub(super) struct Ear {
    pub(super) peers: Vec<(PeerId, Value)>,
    pub(super) servers: Vec<(ServerIndex, Value)>,
    pub(super) arranged: Vec<(ServerIndex, Arrangement)>,
    /// What is told of circuits and of answers that are given again.
    pub(super) notes: Vec<String>,
    /// Of which servers something was to be remembered.
    pub(super) remembered: Vec<ServerIndex>,
}

impl Out for Ear {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.peers.push((peer, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.servers.push((server, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn remember(&mut self, server: ServerIndex, _: &Memory) {
        self.remembered.push(server);
    }
    fn remember_hello(&mut self, _: PeerId, _: &str) {}
    fn restart(&mut self, _: ServerIndex, _: &'static str) {}
    fn arrange(&mut self, server: ServerIndex, what: Arrangement) {
        self.arranged.push((server, what));
    }
    fn note(&mut self, note: Note<'_>) {
        if matches!(note.what, What::Circuit(_) | What::GivenAgain) {
            self.notes.push(note.to_string());
        }
    }
}
