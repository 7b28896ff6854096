//! A line, or a value amid other text, as the messages that it is.

use std::ops::Range;

use super::found::{Found, Habit, On};
use crate::mcp::envelope::{self, Envelope, Kind, Lost, NotMessage, Scanned};
use crate::mcp::object;

/// Hands on a message.
#[inline]
pub(super) fn hand_on(frame: &[u8], e: &Envelope, on: On<'_>) {
    let escaped = envelope::escaped(frame);
    match escaped.as_deref().and_then(|frame| Some((frame, envelope::scan_one(frame)?))) {
        None => hand_on_json(frame, e, on),
        Some((frame, e)) => {
            on(Found::Habit(Habit::Unescaped));
            hand_on_json(frame, &e, on);
        }
    }
}

/// The same where no string of the message has control characters.
fn hand_on_json(frame: &[u8], e: &Envelope, on: On<'_>) {
    match envelope::plain_method(frame, e) {
        Ok(None) => on(Found::Message { frame, envelope: e }),
        Ok(Some(plain)) => {
            if let Some(e) = envelope::scan_one(&plain) {
                on(Found::Message { frame: &plain, envelope: &e });
            }
        }
        Err(why) => report_lost(frame, why, on),
    }
}

/// Hands on a text that should be a message, or a batch of messages, and nothing else; reports what it is instead.
pub(in crate::server) fn hand_on_text(text: &[u8], on: On<'_>) {
    if hand_on_line(text, on) {
        return;
    }
    match envelope::scan(text) {
        Ok(_) => on(Found::Noise(text)),
        Err(why) => report_lost(text, why, on),
    }
}

/// Reports an object that can't be passed on: as a lost message, if it was meant to be one.
#[cold]
fn report_lost(frame: &[u8], why: NotMessage, on: On<'_>) {
    let lost = lost(frame, why);
    match lost.split_first() {
        None => on(Found::Noise(frame)),
        Some((first, others)) => {
            on(Found::Lost(*first, frame));
            others.iter().for_each(|lost| on(Found::Lost(*lost, b"")));
        }
    }
}

/// Hands on a line that is a message, or a batch of messages, and nothing else. Returns whether the line was that.
#[inline]
pub(super) fn hand_on_line(line: &[u8], on: On<'_>) -> bool {
    match envelope::scan(line) {
        Ok(Scanned::One(e)) if e.kind(line) != Kind::Other => {
            hand_on(line, &e, on);
            true
        }
        Ok(Scanned::Batch(members)) => hand_on_batch(line, &members, on),
        Ok(Scanned::One(e)) if is_nameless(line, &e) => {
            on(Found::Nameless(line));
            true
        }
        Ok(Scanned::One(_)) | Err(_) => false,
    }
}

/// Whether a message is an error that names no request. One without `jsonrpc` has nothing but that: a log's JSON may have an
/// `error`, too.
#[cold]
pub(super) fn is_nameless(frame: &[u8], e: &Envelope) -> bool {
    let names = e.id.clone().is_some_and(|id| &frame[id] != b"null");
    let is_error = e.error && !names && e.method.is_none() && e.result.is_none();
    let only = |text: &str| {
        let members = object::members(text).unwrap_or_default();
        members.iter().all(|member| matches!(&*member.name(), "error" | "id" | "result"))
    };
    is_error && (e.jsonrpc || str::from_utf8(frame).is_ok_and(only))
}

/// The same for a batch (MCP 2025-03-26). One message among the members is enough.
#[cold]
fn hand_on_batch(line: &[u8], members: &[Range<usize>], on: On<'_>) -> bool {
    let members = || members.iter().map(|member| &line[member.clone()]);
    let message = |frame: &[u8]| envelope::scan_one(frame).filter(|e| e.kind(frame) != Kind::Other);
    if !members().any(|frame| message(frame).is_some()) {
        return false;
    }
    for frame in members() {
        match message(frame) {
            Some(e) => hand_on(frame, &e, on),
            None => report_lost(frame, envelope::scan(frame).err().unwrap_or(NotMessage::Other), on),
        }
    }
    true
}

/// The messages as which an object may have been meant that is none because of `why`: several if readers of JSON differ on
/// it.
pub(super) fn lost(frame: &[u8], why: NotMessage) -> Vec<Lost<'_>> {
    if !why.is_misreading() {
        let e = envelope::scan_broken(frame);
        let id = e.id.filter(|_| e.jsonrpc).map(|id| &frame[id]).filter(|id| *id != b"null");
        return id.map(|id| Lost { id, method: e.method.is_some(), why }).into_iter().collect();
    }
    let seen = envelope::scan_misread(frame);
    // Only the sender of a request knows which of several ids was meant. A line of a log may have such names, too.
    let ids = if seen.jsonrpc && (!seen.method || seen.ids.len() == 1) { seen.ids } else { vec![] };
    ids.into_iter().map(|id| Lost { id, method: seen.method, why }).collect()
}

/// Whether a line is a message, or a batch with a message in it, and names `jsonrpc`: what came before the line is over
/// then.
pub(super) fn is_message(line: &[u8]) -> bool {
    match envelope::scan(line) {
        Ok(Scanned::One(e)) => e.jsonrpc && e.kind(line) != Kind::Other,
        Ok(Scanned::Batch(members)) => members.into_iter().any(|member| is_message(&line[member])),
        Err(_) => false,
    }
}
