//! What the servers say.

use super::shelf::Turned;
use super::*;
use crate::router::edits::Edits;
use crate::router::lane::is_call;
use crate::router::reply::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::tools::cut::cut_result;

impl Merge {
    pub(super) fn server_answers(
        &mut self,
        server: ServerIndex,
        frame: &[u8],
        e: &Envelope,
        now: Instant,
        out: &mut impl Out,
    ) {
        let Some(id) = e.id.clone() else { return };
        let result = e.result.clone().map(|r| &frame[r]);
        match self.members[server].lane.land(&frame[id.clone()]) {
            None => out.note(Note::Unclaimed { server: Some(server) }),
            Some((_, Flight::Errand)) => {}
            Some((_, Flight::Probe)) => self.settle(now, out),
            Some((_, Flight::Initialize)) => match result {
                Some(result) => self.welcomed(server, Welcome::read(result), now, out),
                None => self.unwelcome(server, &error_message(frame), now, out),
            },
            Some((_, Flight::List(kind))) => self.turn(server, kind, result, now, out),
            Some((number, Flight::Call(mut call))) => {
                let mut cut = None;
                if let Some(terms) = call.terms.take() {
                    if let Some(deadline) = terms.deadline {
                        self.deadlines.remove(&(deadline, number, server));
                    }
                    if let Some((next, request)) = terms.elsewhere
                        && e.error
                        && [METHOD_NOT_FOUND, INVALID_PARAMS].contains(&error_code(frame))
                        && let Some(asked) = envelope::scan_one(&request)
                    {
                        return self.elsewhere(next, &request, &asked, call, Some((frame, id)), out);
                    }
                    cut = terms.max_result.zip(result).and_then(|(max, result)| cut_result(result, max));
                }
                if let (Some(cut), Some(result)) = (&cut, e.result.clone()) {
                    let mut edits = Edits::default();
                    edits.replace(result, cut);
                    edits.replace(id, call.id());
                    edits.pass_to_endpoint(frame, out);
                } else {
                    out.to_endpoint(&[&frame[..id.start], call.id(), &frame[id.end..]]);
                }
                self.desk.answered();
                if is_call(call.method()) {
                    self.desk.served += 1;
                    let method = str::from_utf8(call.method()).unwrap_or_default();
                    out.note(Note::Served { server, method, took: now - call.since });
                }
            }
        }
    }

    fn welcomed(&mut self, server: ServerIndex, welcome: Welcome, now: Instant, out: &mut impl Out) {
        out.note(Note::Initialized { server, identity: welcome.identity() });
        let Merge { members, desk, .. } = self;
        let Member { lane, shelf, subscriptions, silent, .. } = &mut members[server];
        *silent = false;
        lane.state = ServerSide::Ready { told: false };
        lane.tell(out);
        if let Some(hello) = &desk.hello {
            shelf.welcomed(hello, welcome);
        }
        for uri in subscriptions.iter() {
            let params = serde_json::json!({ "uri": **uri }).to_string();
            lane.send(Flight::Errand, "resources/subscribe", Some(params.as_bytes()), desk, out);
        }
        self.stale |= !self.members[server].keep_listed;
        self.pass_level(server, out);
        for kind in ListKind::ALL {
            self.read(server, kind, out);
        }
        self.release(server, now, out);
        self.settle(now, out);
    }

    /// The server refused to initialize. The others go on.
    pub(super) fn unwelcome(&mut self, server: ServerIndex, error: &str, now: Instant, out: &mut impl Out) {
        let member = &mut self.members[server];
        member.lane.state = ServerSide::Warm;
        member.silent = true;
        out.note(Note::Refused { server, error: error.to_owned() });
        self.settle(now, out);
    }

    /// Begins to read a list, if the server has such a one. Tools are asked for in any case: some serve them without saying so.
    fn read(&mut self, server: ServerIndex, kind: ListKind, out: &mut impl Out) {
        let Member { lane, shelf, .. } = &mut self.members[server];
        let capability = if kind == ListKind::Templates { "resources" } else { kind.member() };
        let has = kind == ListKind::Tools || shelf.welcome.as_ref().is_some_and(|w| w.can(capability));
        if !has {
            self.stale |= shelf.lists.set(kind, Vec::new());
        } else if lane.is_ready() && shelf.begin(kind) {
            lane.send(Flight::List(kind), kind.method(), None, &mut self.desk, out);
        }
    }

    /// A page of a list, or that there is none.
    pub(super) fn turn(
        &mut self,
        server: ServerIndex,
        kind: ListKind,
        result: Option<&[u8]>,
        now: Instant,
        out: &mut impl Out,
    ) {
        let Member { lane, shelf, policy, .. } = &mut self.members[server];
        match shelf.turn(kind, result) {
            Turned::More(params) => {
                lane.send(Flight::List(kind), kind.method(), Some(&params), &mut self.desk, out);
            }
            Turned::Again => self.read(server, kind, out),
            Turned::Done(changed) => {
                self.stale |= changed;
                if shelf.is_reading() {
                    return;
                }
                self.stale |= !shelf.known;
                let first = !std::mem::replace(&mut shelf.known, true);
                if let Some(memory) = shelf.memory() {
                    out.remember(server, &memory);
                }
                if first || changed {
                    let names = published::names(&shelf.lists);
                    let unmatched = policy.unmatched(names.iter().map(|name| &**name));
                    if !unmatched.is_empty() {
                        out.note(Note::NoSuchTool { server, names: unmatched.join(", ") });
                    }
                }
                self.settle(now, out);
            }
        }
    }

    pub(super) fn server_notifies(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        match e.method.clone().map_or(&b""[..], |r| &frame[r]) {
            b"notifications/tools/list_changed" => self.read(server, ListKind::Tools, out),
            b"notifications/prompts/list_changed" => self.read(server, ListKind::Prompts, out),
            b"notifications/resources/list_changed" => {
                self.read(server, ListKind::Resources, out);
                self.read(server, ListKind::Templates, out);
            }
            // Before the handshake an endpoint expects nothing.
            _ if !self.desk.is_conversing() => {}
            b"notifications/cancelled" => self.desk.withdraw(server, frame, e, out),
            b"notifications/resources/updated" => {
                let own = e.uri.clone().and_then(|r| serde_json::from_slice::<String>(&frame[r]).ok());
                let other = own.and_then(|own| self.published().uri_of(server, &own).map(str::to_owned));
                match (other, e.uri.clone()) {
                    (Some(uri), Some(range)) => {
                        let uri = serde_json::Value::from(uri).to_string();
                        out.to_endpoint(&[&frame[..range.start], uri.as_bytes(), &frame[range.end..]]);
                    }
                    _ => out.to_endpoint(&[frame]),
                }
            }
            _ => self.members[server].lane.notify(frame, e, out),
        }
    }
}

#[derive(serde::Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(serde::Deserialize)]
struct Failure {
    code: Option<i32>,
    message: Option<String>,
}

fn failure(frame: &[u8]) -> Option<Failure> {
    serde_json::from_slice::<Failed>(frame).ok().map(|failed| failed.error)
}

fn error_code(frame: &[u8]) -> i32 {
    failure(frame).and_then(|failure| failure.code).unwrap_or_default()
}

fn error_message(frame: &[u8]) -> String {
    failure(frame).and_then(|failure| failure.message).unwrap_or_else(|| "it gave no reason".to_owned())
}
