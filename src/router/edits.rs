//! The parts of a frame that are exchanged on its way through; the rest stays as it came.

use std::ops::Range;

use super::ids::decimal;
use super::request::Request;
use super::{Out, PeerId, ServerIndex};

/// Most exchanged parts of a frame: the id, the progress token, a name or URI, and the repairs.
const MOST: usize = 5;

/// Exchanged parts of one frame, in any order, none overlapping.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits<'a> {
    list: [Option<(Range<usize>, &'a [u8])>; MOST],
}

impl<'a> Edits<'a> {
    /// Puts `with` in the place of a part.
    pub(super) fn replace(&mut self, part: Range<usize>, with: &'a [u8]) {
        if let Some(free) = self.list.iter_mut().find(|edit| edit.is_none()) {
            *free = Some((part, with));
        }
    }

    /// Hands the pieces of the edited frame to `send`.
    fn send(mut self, frame: &[u8], send: impl FnOnce(&[&[u8]])) {
        self.list.sort_unstable_by_key(|edit| edit.as_ref().map_or(usize::MAX, |(part, _)| part.start));
        let mut pieces: [&[u8]; 2 * MOST + 1] = [&[]; 2 * MOST + 1];
        let (mut n, mut at) = (0, 0);
        for (part, with) in self.list.iter().flatten() {
            (pieces[n], pieces[n + 1]) = (&frame[at..part.start], with);
            (n, at) = (n + 2, part.end);
        }
        pieces[n] = &frame[at..];
        send(&pieces[..=n]);
    }

    /// The edited frame in one piece.
    pub(super) fn joined(&self, frame: &[u8]) -> Box<[u8]> {
        let mut joined = Vec::new();
        self.clone().send(frame, |pieces| joined = pieces.concat());
        joined.into()
    }

    /// Sends the edited frame to a peer.
    pub(super) fn pass_to_peer(self, peer: PeerId, frame: &[u8], out: &mut dyn Out) {
        self.send(frame, |pieces| out.to_peer(peer, pieces));
    }

    /// Sends the edited frame to a server.
    pub(super) fn pass_to_server(self, server: ServerIndex, frame: &[u8], out: &mut dyn Out) {
        self.send(frame, |pieces| out.to_server(server, pieces));
    }

    /// Passes a request on under our id, with repairs: a TypeScript server never answers `"params":null`, and fails on
    /// `"arguments":null`, which real clients send.
    pub(super) fn forward_request(self, request: &Request<'_>, server: ServerIndex, id: u64, out: &mut dyn Out) {
        let Request { frame, envelope: e, .. } = *request;
        let mut edits: Edits<'_> = self;
        let mut digits = [0; 20];
        let id = decimal(id, &mut digits);
        if let Some(own) = e.id.clone() {
            edits.replace(own, id);
        }
        if let Some(token) = e.wants_progress.clone() {
            edits.replace(token, id);
        }
        match (&e.params, &e.arguments) {
            (Some(p), _) if &frame[p.clone()] == b"null" => {
                edits.replace(with_one_comma(frame, e.params_member.clone()), b"");
            }
            (_, Some(a)) if &frame[a.clone()] == b"null" => edits.replace(a.clone(), b"{}"),
            _ => {}
        }
        edits.pass_to_server(server, frame, out);
    }
}

/// A member of an object with the comma that has to go with it. The object is well-formed and has other members.
fn with_one_comma(frame: &[u8], member: Range<usize>) -> Range<usize> {
    let before = frame[..member.start].trim_ascii_end();
    if before.ends_with(b",") {
        return before.len() - 1..member.end;
    }
    let after = &frame[member.end..];
    let comma = after.iter().position(|b| *b == b',').map_or(0, |n| n + 1);
    member.start..member.end + comma
}
