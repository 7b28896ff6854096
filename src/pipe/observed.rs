//! What somebody who looks on sees of a message.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::control::tap::Tap;
use crate::logging::utc;
use crate::mcp::envelope::{self, Envelope, Kind, Scanned};
use crate::mcp::{object, trace};
use crate::router::{Outcome, PeerId, ServerIndex};
use crate::secrecy::Redactor;
use crate::words::millis;

/// Most requests that are kept in mind, so that their answers can be told with method and time. With more, all are forgotten: the answers of
/// these are then shown without.
const KEPT: usize = 8192;

/// Who is on the other side of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum With {
    Server(ServerIndex),
    Peer(PeerId),
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// The other side says it.
    From,
    /// The other side is told it.
    To,
}

/// The other side of a message, as it is shown.
pub(super) struct Beyond<'a> {
    pub(super) with: With,
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: &'a str,
    /// The only server that it sees, if it sees only one.
    pub(super) server: Option<&'a str>,
}

/// Shows messages to those who look on.
pub(super) struct Observed {
    tap: Tap,
    redactor: Redactor,
    under_way: RefCell<HashMap<Key, Asked>>,
}

/// Which request: whose side, which way it went, and its id.
type Key = (With, Way, Box<[u8]>);

/// A request whose answer is to come.
struct Asked {
    method: String,
    tool: Option<String>,
    trace: Option<String>,
    at: Instant,
}

/// A message, as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    time: &'a str,
    way: Way,
    kind: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<Box<RawValue>>,
}

impl Observed {
    pub(super) fn new(tap: Tap, redactor: Redactor) -> Self {
        Observed { tap, redactor, under_way: RefCell::default() }
    }

    /// Shows a message, if anybody looks on. `told`: what has become of a call, where the message is our own word for that.
    pub(super) fn see(&self, way: Way, side: &Beyond<'_>, told: Option<Outcome>, pieces: &[&[u8]]) {
        let whole = pieces.concat();
        match envelope::scan(&whole) {
            Ok(Scanned::Batch(members)) => {
                members.into_iter().for_each(|member| self.see_one(way, side, told, &whole[member]));
            }
            Ok(Scanned::One(_)) | Err(_) => self.see_one(way, side, told, &whole),
        }
    }

    fn see_one(&self, way: Way, side: &Beyond<'_>, told: Option<Outcome>, frame: &[u8]) {
        let e = envelope::scan_one(frame).unwrap_or_default();
        let text = |range: &Option<Range<usize>>| range.clone().map(|range| String::from_utf8_lossy(&frame[range]));
        let clean = |text: Cow<'_, str>| self.redactor.clean(&text).into_owned();
        let (asked, outcome) = match e.kind(frame) {
            Kind::Request | Kind::Notification => {
                let (method, name) = (text(&e.method).map(clean), text(&e.name));
                let is_call = method.as_deref() == Some("tools/call");
                let tool = name.filter(|_| is_call).and_then(|name| object::text_of(&name).map(clean));
                let trace = trace::of_message(frame, &e).map(|trace| clean(trace.into()));
                (method.map(|method| Asked { method, tool, trace, at: Instant::now() }), None)
            }
            Kind::Response => (self.answered(way, side.with, &e, frame), Some(outcome(&e, told, frame))),
            Kind::Other => (None, None),
        };
        let ms = asked.as_ref().filter(|_| outcome.is_some()).map(|asked| millis(asked.at.elapsed()));
        let (method, tool) = asked.as_ref().map_or((None, None), |asked| (Some(&*asked.method), asked.tool.as_deref()));
        let trace = asked.as_ref().and_then(|asked| asked.trace.as_deref());
        let (time, id) = (utc(), text(&e.id));
        // The token of an id may be a text, and a text anything.
        let id = id.map(clean).and_then(|id| RawValue::from_string(id).ok());
        let of_server = side.server.into_iter().chain((side.kind == "server").then_some(side.name));
        let names: Vec<&str> = of_server.chain(tool).collect();
        self.tap.show(&names, |contents| {
            let contents = contents.then(|| self.contents(frame));
            let shown = Shown {
                time: &time,
                way,
                kind: side.kind,
                name: side.name,
                id: id.as_deref(),
                method,
                tool,
                trace,
                bytes: frame.len(),
                ms,
                outcome,
                contents,
            };
            // Texts and numbers always become JSON.
            serde_json::to_string(&shown).unwrap_or_default()
        });
        if let (Kind::Request, Some(asked), Some(id)) = (e.kind(frame), asked, e.id) {
            let mut under_way = self.under_way.borrow_mut();
            if under_way.len() >= KEPT {
                under_way.clear();
            }
            under_way.insert((side.with, way, frame[id].into()), asked);
        }
    }

    /// The request to which this is the answer: it went the other way.
    fn answered(&self, way: Way, with: With, e: &Envelope, frame: &[u8]) -> Option<Asked> {
        let asked = match way {
            Way::From => Way::To,
            Way::To => Way::From,
        };
        self.under_way.borrow_mut().remove(&(with, asked, frame[e.id.clone()?].into()))
    }

    /// A message without what is secret.
    fn contents(&self, frame: &[u8]) -> Box<RawValue> {
        let text = String::from_utf8_lossy(frame);
        let clean = self.redactor.clean_json(&text).into_owned();
        RawValue::from_string(clean).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Whether anybody looks on. What was kept in mind for the last one is forgotten.
    pub(super) fn is_on(&self) -> bool {
        let is_on = self.tap.is_on();
        if !is_on && !self.under_way.borrow().is_empty() {
            self.under_way.take();
        }
        is_on
    }
}

/// What an answer says. `told`: what has become of the call, where that is known better.
fn outcome(e: &Envelope, told: Option<Outcome>, frame: &[u8]) -> &'static str {
    if e.error {
        return told.unwrap_or(Outcome::RpcError).as_str();
    }
    let result = e.result.clone().and_then(|result| std::str::from_utf8(&frame[result]).ok());
    match result.and_then(|result| object::find(result, &["isError"])) {
        Some("true") => Outcome::ToolError.as_str(),
        Some(_) | None => Outcome::Ok.as_str(),
    }
}
