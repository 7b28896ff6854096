//! The few repairs that real clients and servers need. Everything else passes as it came.

use std::ops::Range;

use super::ids::decimal;
use super::{Out, ServerIndex};
use crate::envelope::Envelope;

/// Passes a request on under our id, with the repairs that real clients and servers need: a TypeScript server never
/// answers `"params":null`, and fails on `"arguments":null`.
pub(super) fn forward_request(frame: &[u8], e: &Envelope, server: ServerIndex, id: u64, out: &mut impl Out) {
    let Some(own) = e.id.clone() else { return };
    let mut digits = [0; 20];
    let id = decimal(id, &mut digits);
    let repair = match (&e.params, &e.arguments) {
        (Some(p), _) if &frame[p.clone()] == b"null" => {
            Some((with_one_comma(frame, e.params_member.clone()), &b""[..]))
        }
        (_, Some(a)) if &frame[a.clone()] == b"null" => Some((a.clone(), &b"{}"[..])),
        _ => None,
    };
    match repair {
        None => out.to_server(server, &[&frame[..own.start], id, &frame[own.end..]]),
        Some((r, with)) if r.start >= own.end => {
            out.to_server(server, &[&frame[..own.start], id, &frame[own.end..r.start], with, &frame[r.end..]]);
        }
        Some((r, with)) => {
            out.to_server(server, &[&frame[..r.start], with, &frame[r.end..own.start], id, &frame[own.end..]]);
        }
    }
}

/// A member of an object with the comma that goes when it goes. The object is known to be well-formed and to have other members.
fn with_one_comma(frame: &[u8], member: Range<usize>) -> Range<usize> {
    let before = frame[..member.start].trim_ascii_end();
    if before.ends_with(b",") {
        return before.len() - 1..member.end;
    }
    let after = &frame[member.end..];
    let comma = after.iter().position(|b| *b == b',').map_or(0, |n| n + 1);
    member.start..member.end + comma
}
