//! What a modern server says, for the router.

use std::collections::HashSet;

use tokio::time::Instant;

use super::rounds::Call;
use super::{Asked, Bridge, Pending, PostKind, Verdict, WATCH, Wire, hand_on, text};
use crate::mcp::envelope::{self, Envelope, Kind};
use crate::mcp::failure::Failure;
use crate::mcp::id::flight_id;
use crate::mcp::modern::offer::{Offer, Spoken};
use crate::mcp::modern::stamp::{Keeps, ResultType, plain_result, replaced, result_type, with_params};
use crate::mcp::modern::{self, HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION};
use crate::mcp::object;
use crate::mcp::reply::{self, INVALID_PARAMS, RESOURCE_NOT_FOUND, UNAVAILABLE};
use crate::server::stdout::Found;

/// Most tools of a page that are told to be left out.
const TOLD: usize = 3;

/// Longest piece of a server's own words that is kept, in bytes.
const WORDS: usize = 300;

/// Most pages of tools that are read so that one call can be sent again.
const MAX_PAGES: u32 = 20;

impl Bridge {
    /// What was found in what the server says.
    pub(in crate::server) fn on_found(&mut self, found: Found<'_>, now: Instant, wire: &mut dyn Wire) {
        match found {
            Found::Caused { cause, frame, envelope } if envelope.kind(frame) == Kind::Notification => {
                // Under the number by which the router knows the call.
                let of = |pending: &Pending| match pending {
                    Pending::Call(call) => Some(call.number),
                    Pending::Discover { .. } | Pending::Listen | Pending::Tools { .. } => None,
                };
                if let Some(cause) = self.pending.get(&cause).and_then(of) {
                    wire.hand_on(Found::Caused { cause, frame, envelope });
                }
            }
            Found::Message { frame, envelope } | Found::Caused { frame, envelope, .. } => match envelope.kind(frame) {
                Kind::Response => {
                    let Some(number) = envelope.id.clone().and_then(|id| flight_id(&frame[id])) else { return };
                    self.on_answer(number, (frame, envelope), now, wire);
                }
                Kind::Notification => self.on_news(frame, envelope, now, wire),
                // Servers of the modern era ask nothing, and are answered nothing.
                Kind::Request | Kind::Other => {}
            },
            Found::Unanswered { id, why } => {
                if let Some(number) = flight_id(id) {
                    self.on_unanswered(number, why, now, wire);
                }
            }
            Found::Nameless(error) => {
                let asked = self.pending.iter().filter(|(_, pending)| !matches!(pending, Pending::Listen));
                let mut asked = asked.map(|(number, _)| *number);
                let only = asked.next().filter(|_| asked.next().is_none());
                match only.and_then(|number| Some((number, envelope::named(error, number)?))) {
                    Some((number, (frame, e))) => self.on_answer(number, (&frame, &e), now, wire),
                    None => wire.hand_on(Found::Noise(error)),
                }
            }
            Found::Lost(lost, text) => self.on_gone(lost.id, Found::Lost(lost, text), now, wire),
            Found::TooLarge(cut) => {
                let id = envelope::scan_cut(cut).id.unwrap_or_default();
                self.on_gone(id, Found::TooLarge(cut), now, wire);
            }
            other @ (Found::Noise(_) | Found::Habit(_) | Found::Odd { .. } | Found::Renewed | Found::Modern) => {
                wire.hand_on(other)
            }
        }
    }

    /// An answer can't be read. What the router asked is its to deal with, under its own number.
    fn on_gone(&mut self, id: &[u8], found: Found<'_>, now: Instant, wire: &mut dyn Wire) {
        let Some(number) = flight_id(id) else { return wire.hand_on(found) };
        match self.pending.get(&number) {
            Some(Pending::Call(call)) if call.number == number => {
                self.take(number);
                wire.hand_on(found);
            }
            Some(_) => self.on_unanswered(number, "sent an answer that can't be read", now, wire),
            None => wire.hand_on(found),
        }
    }

    /// The server answers a request no more.
    fn on_unanswered(&mut self, number: u64, why: &str, now: Instant, wire: &mut dyn Wire) {
        match self.take(number) {
            Some(Pending::Discover { asked: Asked::First }) => self.is_legacy(why.to_owned()),
            Some(Pending::Discover { asked: Asked::Ping(_) | Asked::Watch }) | None => {}
            Some(Pending::Listen) => self.on_deaf(number, false, now, wire),
            Some(Pending::Call(call) | Pending::Tools { again: call }) => {
                wire.hand_on(Found::Unanswered { id: call.number.to_string().as_bytes(), why });
            }
        }
    }

    /// The server is none of the modern era, unless it has shown before that it is.
    pub(super) fn is_legacy(&mut self, why: String) {
        if self.offer.is_none() {
            self.verdict = Some(Verdict::Legacy(why));
        }
    }

    fn on_answer(&mut self, number: u64, (frame, e): (&[u8], &Envelope), now: Instant, wire: &mut dyn Wire) {
        let result = e.result.clone().and_then(|range| str::from_utf8(&frame[range]).ok());
        match self.take(number) {
            // Nobody waits for it.
            None => wire.hand_on(Found::Message { frame, envelope: e }),
            Some(Pending::Discover { asked: Asked::First }) => self.on_discovered((frame, result), now, wire),
            Some(Pending::Discover { asked: Asked::Ping(ping) }) => super::answer(wire, ping, "{}"),
            Some(Pending::Discover { asked: Asked::Watch }) => {}
            Some(Pending::Listen) => self.on_deaf(number, result.is_none(), now, wire),
            Some(Pending::Tools { again }) => self.on_tools_again(again, result, wire),
            Some(Pending::Call(call)) => match result {
                Some(result) => self.on_result(call, (frame, e), result, wire),
                None => self.on_error(call, (frame, e), wire),
            },
        }
    }

    /// The server has said what it is.
    fn on_discovered(&mut self, (frame, result): (&[u8], Option<&str>), now: Instant, wire: &mut dyn Wire) {
        self.deadline = None;
        if let Some(result) = result {
            let (offer, spoken) = Offer::read(result);
            return match spoken {
                Spoken::Ours => {
                    self.offer = Some(offer);
                    self.watch = self.is_http.then(|| now + WATCH);
                    self.verdict = Some(Verdict::Modern);
                    self.welcome(wire);
                }
                Spoken::Unknown(versions) => self.refuse_hello(&unknown(&versions), wire),
                Spoken::Legacy => self.is_legacy("speaks earlier versions of MCP only".to_owned()),
                Spoken::Nothing => self.is_legacy(format!("answered {} with no version of MCP", modern::DISCOVER)),
            };
        }
        let Failure { code, message } = Failure::read(frame);
        let words = format!("refused {}: {}", modern::DISCOVER, brief(&message));
        match code {
            UNSUPPORTED_VERSION => {
                let frame = String::from_utf8_lossy(frame);
                let listed =
                    object::find(&frame, &["error", "data", "supported"]).map_or(Spoken::Nothing, Spoken::read);
                match listed {
                    Spoken::Legacy => self.is_legacy(words),
                    Spoken::Unknown(versions) => self.refuse_hello(&unknown(&versions), wire),
                    Spoken::Ours | Spoken::Nothing => self.refuse_hello(&words, wire),
                }
            }
            HEADER_MISMATCH | MISSING_CAPABILITY => self.refuse_hello(&words, wire),
            _ => self.is_legacy(words),
        }
    }

    /// Answers `initialize` with an error. `why`: in words that follow the server's name.
    fn refuse_hello(&mut self, why: &str, wire: &mut dyn Wire) {
        if let Some((number, _)) = self.hello.take() {
            super::refuse(wire, number, UNAVAILABLE, why);
        }
    }

    /// Whether a call is that of a peer of the modern era.
    fn is_of_modern_peer(&self, call: &Call) -> bool {
        call.stamp.as_deref().unwrap_or(&self.stamp).is_modern()
    }

    /// A call has a result.
    fn on_result(&mut self, call: Box<Call>, (frame, e): (&[u8], &Envelope), result: &str, wire: &mut dyn Wire) {
        // What is no object is for whoever asked to judge.
        let members = object::members(result).unwrap_or_default();
        match result_type(&members) {
            ResultType::InputRequired => return self.ask(call, &members, wire),
            ResultType::Other(kind) => {
                let why = format!("answered with a result of a kind that is not known here ({})", brief(kind));
                return super::refuse(wire, call.number, UNAVAILABLE, &format!("server \"{}\" {why}", self.name));
            }
            ResultType::Complete => {}
        }
        let any_content = self.is_of_modern_peer(&call);
        let keeps = Keeps { age: call.method.ends_with("/list"), any_content };
        let mut plain = if members.is_empty() { result.to_owned() } else { plain_result(&members, keeps) };
        if &*call.method == "tools/list" {
            plain = self.read_tools(&call, plain, wire);
        }
        let mut parts = vec![(e.result.clone().unwrap_or_default(), plain)];
        if let Some(id) = e.id.clone() {
            parts.push((id, call.number.to_string()));
        }
        hand_on(wire, &replaced(frame, parts));
    }

    /// Reads the tools of a page, and takes out what a legacy client does not take, or a client over HTTP must not offer.
    fn read_tools(&mut self, call: &Call, page: String, wire: &mut dyn Wire) -> String {
        let Some(list) = object::find(&page, &["tools"]) else { return page };
        let Some(mut tools) = object::elements(list, usize::MAX) else { return page };
        let before = tools.len();
        if self.is_http {
            if call.is_first_page {
                self.repeated.clear();
            }
            let bad = self.repeated.read(&tools);
            if !bad.is_empty() {
                let names: HashSet<&str> = bad.iter().map(|bad| &*bad.tool).collect();
                tools.retain(|tool| {
                    let name = object::find(tool, &["name"]).and_then(object::text_of).unwrap_or_default();
                    !names.contains(&*name)
                });
                let told = bad.iter().take(TOLD).map(|bad| format!("the tool \"{}\" {}", brief(&bad.tool), bad.why));
                let told = told.collect::<Vec<_>>().join("; ");
                let more = bad.len().saturating_sub(TOLD);
                let more = if more > 0 { format!("; and so do {more} more") } else { String::new() };
                let what = format!("{told}{more}: left out");
                wire.hand_on(Found::Odd { method: "tools/list", what: &what });
            }
        }
        let is_fit = |tool: &&str| object::find(tool, &["outputSchema"]).is_none_or(is_of_object);
        if tools.len() == before && tools.iter().all(is_fit) {
            return page;
        }
        let kept: Vec<String> = tools.iter().map(|tool| without_odd_output(tool)).collect();
        let kept = format!("[{}]", kept.join(","));
        let members = object::members(&page).unwrap_or_default();
        let members = members.iter().map(|m| (m.key, if m.name() == "tools" { kept.as_str() } else { m.value }));
        object::object(members)
    }

    /// A call has an error.
    fn on_error(&mut self, mut call: Box<Call>, (frame, e): (&[u8], &Envelope), wire: &mut dyn Wire) {
        let Failure { code, message } = Failure::read(frame);
        match code {
            HEADER_MISMATCH
                if self.is_http && &*call.method == "tools/call" && !call.is_again && call.line().is_some() =>
            {
                call.is_again = true;
                self.ask_tools(call, None, wire);
            }
            HEADER_MISMATCH => {
                let why = format!("does not take the headers of the call: {}", brief(&message));
                super::refuse(wire, call.number, UNAVAILABLE, &format!("server \"{}\" {why}", self.name));
            }
            // Whoever asks knows what to make of it.
            MISSING_CAPABILITY if self.is_of_modern_peer(&call) => {
                let id = e.id.clone().map(|id| (id, call.number.to_string()));
                hand_on(wire, &replaced(frame, Vec::from_iter(id)));
            }
            MISSING_CAPABILITY => {
                let text = String::from_utf8_lossy(frame);
                let needed = object::find(&text, &["error", "data", "requiredCapabilities"]).and_then(object::members);
                let needed: Vec<_> = needed.unwrap_or_default().iter().map(|m| brief(&m.name()).to_owned()).collect();
                let needed = if needed.is_empty() { "something".to_owned() } else { needed.join(", ") };
                let why = format!("needs a client that can do {needed}, and this one can't: {}", brief(&message));
                self.fail_call(&call, &why, wire);
            }
            UNSUPPORTED_VERSION => {
                self.verdict = Some(Verdict::Surprise);
                let why = format!("says now that it does not speak MCP {}", modern::VERSION);
                super::refuse(wire, call.number, UNAVAILABLE, &format!("server \"{}\" {why}", self.name));
            }
            _ => {
                let mut parts = Vec::new();
                if let Some(id) = e.id.clone() {
                    parts.push((id, call.number.to_string()));
                }
                if code == INVALID_PARAMS && &*call.method == "resources/read" {
                    parts.extend(code_of(frame).map(|range| (range, RESOURCE_NOT_FOUND.to_string())));
                }
                hand_on(wire, &replaced(frame, parts));
            }
        }
    }

    /// Asks for a page of the tools, so that a call can be sent again with the headers that the server wants.
    fn ask_tools(&mut self, call: Box<Call>, cursor: Option<&str>, wire: &mut dyn Wire) {
        if cursor.is_none() {
            self.repeated.clear();
        }
        let number = self.next();
        self.kept += call.kept();
        self.pending.insert(number, Pending::Tools { again: call });
        let params = cursor.map_or_else(|| "{}".to_owned(), |cursor| format!(r#"{{"cursor":{cursor}}}"#));
        self.send_own(PostKind::Request, number, "tools/list", &params, wire);
    }

    /// A page of the tools has come for a call that is to be sent again.
    fn on_tools_again(&mut self, mut call: Box<Call>, result: Option<&str>, wire: &mut dyn Wire) {
        let page = result.unwrap_or_default();
        let tools = object::find(page, &["tools"]).and_then(|tools| object::elements(tools, usize::MAX));
        self.repeated.read(&tools.unwrap_or_default());
        let next = object::find(page, &["nextCursor"]).filter(|cursor| cursor.starts_with('"'));
        if let Some(cursor) = next
            && call.reads_on(MAX_PAGES)
        {
            return self.ask_tools(call, Some(cursor), wire);
        }
        let Some(line) = call.line().map(<[u8]>::to_vec) else { return };
        let Some(e) = envelope::scan_one(&line) else { return };
        let params = text(&line, e.params.as_ref());
        let params = call.stamp.as_deref().unwrap_or(&self.stamp).params(params, self.level.as_deref(), &[]);
        let number = self.next();
        let frame = with_params(&line, &e, Some(number), &params);
        let headers = self.headers_of_call(&call.method, (&line, &e));
        self.post_call(number, *call, frame, headers, wire);
    }

    /// The server tells something that nobody has asked for at this moment.
    fn on_news(&mut self, frame: &[u8], e: &Envelope, now: Instant, wire: &mut dyn Wire) {
        let method = e.method.clone().map_or(&b""[..], |range| &frame[range]);
        let params = text(frame, e.params.as_ref());
        match method {
            modern::ACKNOWLEDGED => {
                let number = object::find(params, &["_meta", modern::SUBSCRIPTION]);
                let number = number.and_then(|number| flight_id(number.as_bytes()));
                if let Some(number) = number {
                    let granted = object::find(params, &["notifications"]).unwrap_or("{}");
                    self.on_granted(number, granted, now, wire);
                }
            }
            // A server ends a subscription so, or by a result.
            b"notifications/cancelled" => {
                let number = e.request_id.clone().and_then(|id| flight_id(&frame[id]));
                if let Some(number) = number
                    && matches!(self.pending.get(&number), Some(Pending::Listen))
                {
                    self.take(number);
                    self.on_deaf(number, false, now, wire);
                }
            }
            b"notifications/tools/list_changed"
            | b"notifications/prompts/list_changed"
            | b"notifications/resources/list_changed" => {
                hand_on(wire, &reply::notification(&String::from_utf8_lossy(method)));
            }
            b"notifications/resources/updated" => {
                let uri = object::find(params, &["uri"]).unwrap_or("\"\"");
                let method = String::from_utf8_lossy(method);
                let news = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"uri":{uri}}}}}"#);
                hand_on(wire, news.as_bytes());
            }
            _ => wire.hand_on(Found::Message { frame, envelope: e }),
        }
    }
}

/// Why a server is of no use that speaks these versions only.
fn unknown(versions: &str) -> String {
    format!("speaks no version of MCP that mcp-pipe knows (it names {versions}); a newer mcp-pipe may")
}

/// The beginning of a server's words.
fn brief(words: &str) -> &str {
    &words[..words.floor_char_boundary(WORDS)]
}

/// Whether a schema is one of an object, as clients of the legacy era want it.
fn is_of_object(schema: &str) -> bool {
    object::find(schema, &["type"]) == Some("\"object\"")
}

/// A tool without a schema of its results that clients of the legacy era don't take.
fn without_odd_output(tool: &str) -> String {
    let members = object::members(tool).unwrap_or_default();
    let kept = members.iter().filter(|member| member.name() != "outputSchema" || is_of_object(member.value));
    if members.is_empty() { tool.to_owned() } else { object::object(kept.map(|member| (member.key, member.value))) }
}

/// Where the code of an answer's error is.
fn code_of(frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let text = str::from_utf8(frame).ok()?;
    let code = object::find(text, &["error", "code"])?;
    let from = code.as_ptr().addr() - text.as_ptr().addr();
    // Only where it is about a resource, which the modern era names.
    object::find(text, &["error", "data", "uri"]).map(|_| from..from + code.len())
}
