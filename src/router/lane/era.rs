//! What a server of the modern era is told besides, and what a server of the legacy era may lack.

use std::sync::Arc;

use super::{Flight, Lane, Note, Out, What};
use crate::mcp::envelope::Envelope;
use crate::mcp::failure::Failure;
use crate::mcp::handshake::Hello;
use crate::mcp::id::flight_id;
use crate::mcp::modern::CALLER;
use crate::mcp::reply::INTERNAL;

/// How the official Python SDK answers, spoken to as of the legacy era, what its tool answers with a question (seen with 2.3.0).
const INVALID_RESULT: &str = "returned an invalid result";

impl Lane {
    /// The server's present life is of the modern era.
    pub(in crate::router) fn be_modern(&mut self) {
        self.is_modern = true;
    }

    /// Whether it is.
    pub(in crate::router) fn is_modern(&self) -> bool {
        self.is_modern
    }

    /// A server that speaks both eras may answer so what only its modern side can do: said once.
    #[cold]
    pub(in crate::router) fn suspect_era(&mut self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let call = e.id.clone().and_then(|id| flight_id(&frame[id])).and_then(|id| self.flights.get(&id));
        let Some(Flight::Call(call)) = call.filter(|_| !self.is_modern && !self.suspected) else { return };
        if matches!(call.method(), b"tools/call" | b"prompts/get" | b"resources/read") {
            let Failure { code, message } = Failure::read(frame);
            self.suspected = code == INTERNAL && message.contains(INVALID_RESULT);
            if self.suspected {
                out.note(Note::of(self.index, What::OtherEra));
            }
        }
    }

    /// Tells a server of the modern era for whom the next request is: a peer that has said this of itself.
    pub(in crate::router) fn tell_caller(&mut self, hello: &Arc<Hello>, out: &mut dyn Out) {
        if self.is_modern && self.told.as_ref().is_none_or(|told| !Arc::ptr_eq(told, hello)) {
            out.to_server(self.index, &[&[CALLER], &hello.params]);
            self.told = Some(hello.clone());
        }
    }

    /// Tells a server of the modern era that the next request is for nobody in particular.
    pub(super) fn tell_own(&mut self, out: &mut dyn Out) {
        if self.told.take().is_some() {
            out.to_server(self.index, &[&[CALLER]]);
        }
    }
}
