//! One request of the modern era as a short legacy conversation: what is said to the pipe, and what of its answers is for the client.
//! Pure.
//!
//! # Theory of operation
//!
//! A guest of the pipe says `initialize` for whoever asks, and after its answer the request itself, without what only the modern era
//! knows. Progress and log messages that follow are the client's; the answer, stamped, is the last.
//!
//! A question of the server ends the request with a result that asks it. The conversation goes on in the next request of the client,
//! which has the answers (`held`).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use ring::digest::{Context, SHA256};

use super::envelope::{Asked, Caller, Fault, LEVELS, Wanted, level_of};
use super::stamp::{self, About, Last, Question};
use crate::gateway::tools::Tools;
use crate::mcp::envelope::{self, Envelope, Kind};
use crate::mcp::failure::Failure;
use crate::mcp::modern::stamp::replaced;
use crate::mcp::modern::{HEADER_MISMATCH, KEY_OF_QUESTION};
use crate::mcp::object;
use crate::mcp::reply::{self, INTERNAL, METHOD_NOT_FOUND};

/// The ids of what a guest asks: raw tokens.
const HELLO: u64 = 1;
const LEVEL: u64 = 2;
const TOOLS: u64 = 3;
const REQUEST: u64 = 4;

/// What comes of a line of the pipe's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// To be said to the pipe, each on a line.
    Say(Vec<Vec<u8>>),
    /// For the client, and more follows.
    Note(Bytes),
    /// For the client, and nothing follows.
    Last(Last),
}

/// What a call of a tool has in headers, until it is known what belongs there.
#[derive(Debug)]
struct Repeats {
    tools: Arc<Tools>,
    /// Raw JSON.
    tool: Box<str>,
    /// Raw JSON.
    arguments: Box<str>,
    headers: HeaderMap,
}

/// What the guest waits for.
#[derive(Debug)]
enum Phase {
    /// The answer to `initialize`. The request follows.
    Greeting { request: Vec<u8>, repeats: Option<Box<Repeats>> },
    /// The list of tools. The request follows.
    Reading { request: Vec<u8>, repeats: Box<Repeats> },
    /// The answer to the request.
    Asking,
}

/// What makes a request another try of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Print {
    method: Box<str>,
    params: [u8; 32],
}

impl Print {
    /// Of a request.
    pub(super) fn of(asked: &Asked<'_>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in asked.substance() {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut params = [0; 32];
        params.copy_from_slice(context.finish().as_ref());
        Print { method: (*asked.method).into(), params }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Call {
    /// The client's id, as it was written.
    id: Box<[u8]>,
    method: Box<str>,
    wanted: Wanted,
    /// Raw JSON.
    uri: Option<Box<str>>,
    caller: Caller,
    /// For work only.
    print: Option<Print>,
    /// The token for progress as the client knows it, and as the pipe does: raw JSON.
    token: Option<Box<str>>,
    token_of_pipe: Option<Box<str>>,
    /// What the servers call themselves, raw JSON.
    server: Option<Box<str>>,
    phase: Phase,
    /// What servers wait for an answer to.
    questions: Vec<Question>,
    /// How many questions there were.
    asked: u32,
    /// Answers that came with the request, raw JSON, by the names of their questions: a client knows these of an earlier call where
    /// the server needs nothing else to go on.
    given: Vec<(Box<str>, Box<str>)>,
    tools: Arc<Tools>,
}

impl Call {
    /// A request that begins, and what is said first.
    ///
    /// # Errors
    /// A header does not say what the arguments say.
    pub(super) fn begin(asked: &Asked<'_>, headers: &HeaderMap, tools: &Arc<Tools>) -> Result<(Self, Vec<u8>), Fault> {
        let params = asked.plain_params();
        let method = &*asked.method;
        let params = (params != "{}" || asked.wanted == Wanted::Work).then_some(params.as_bytes());
        let request = reply::request(REQUEST, method, params);
        let mut repeats = None;
        if method == "tools/call" {
            let (tool, arguments) = (asked.param("name").unwrap_or("\"\""), asked.param("arguments").unwrap_or("{}"));
            let of = |tools: &Arc<Tools>| Repeats {
                tools: tools.clone(),
                tool: tool.into(),
                arguments: arguments.into(),
                headers: headers.clone(),
            };
            match tools.known() {
                Some(known) if known.is_empty() => {}
                Some(known) => agree(&known, tool, arguments, headers)?,
                None => repeats = Some(Box::new(of(tools))),
            }
        }
        let hello = reply::request(HELLO, "initialize", Some(asked.caller.hello().as_bytes()));
        let token: Option<Box<str>> = asked.token().map(Into::into);
        let call = Call {
            id: asked.id.into(),
            method: method.into(),
            wanted: asked.wanted,
            uri: asked.param("uri").filter(|_| method == "resources/read").map(Into::into),
            caller: asked.caller.clone(),
            print: (asked.wanted == Wanted::Work).then(|| Print::of(asked)),
            token: token.clone(),
            token_of_pipe: token,
            server: None,
            phase: Phase::Greeting { request, repeats },
            questions: Vec::new(),
            asked: 0,
            given: answers(asked).iter().map(|member| (member.name().into(), member.value.into())).collect(),
            tools: tools.clone(),
        };
        Ok((call, hello))
    }

    fn about(&self) -> About<'_> {
        About { id: &self.id, method: &self.method, uri: self.uri.as_deref(), server: self.server.as_deref() }
    }

    /// A line of the pipe's.
    pub(super) fn on_line(&mut self, line: &[u8]) -> Step {
        let Some(e) = envelope::scan_one(line) else { return Step::Nothing };
        match e.kind(line) {
            Kind::Response => self.on_answer(line, &e),
            Kind::Request => self.on_question(line, &e),
            Kind::Notification => self.on_notification(line, &e),
            Kind::Other => Step::Nothing,
        }
    }

    fn on_answer(&mut self, line: &[u8], e: &Envelope) -> Step {
        let id = e.id.clone().and_then(|id| str::from_utf8(&line[id]).ok()?.parse().ok());
        let result = e.result.clone().and_then(|range| str::from_utf8(&line[range]).ok());
        match (id, result) {
            (Some(HELLO), Some(welcome)) => self.on_welcome(welcome),
            (Some(HELLO), None) => {
                let why = Failure::read(line).message;
                Step::Last(Last::fault(&super::unavailable(why), &self.id))
            }
            (Some(TOOLS), result) => self.on_tools(result),
            (Some(REQUEST), Some(result)) => {
                if self.wanted == Wanted::Tools {
                    self.tools.learn(result);
                }
                Step::Last(stamp::result(self.about(), result))
            }
            (Some(REQUEST), None) => Step::Last(stamp::error(self.about(), line, &self.caller)),
            (Some(_) | None, _) => Step::Nothing,
        }
    }

    fn on_welcome(&mut self, welcome: &str) -> Step {
        self.server = object::find(welcome, &["serverInfo"]).filter(|info| info.starts_with('{')).map(Into::into);
        if self.wanted == Wanted::Discover {
            return Step::Last(stamp::discovered(self.about(), welcome));
        }
        let mut say = vec![reply::notification("notifications/initialized")];
        say.extend(self.caller.level.map(set_level));
        let phase = std::mem::replace(&mut self.phase, Phase::Asking);
        if let Phase::Greeting { request, repeats } = phase {
            match repeats {
                Some(repeats) => {
                    say.push(reply::request(TOOLS, "tools/list", None));
                    self.phase = Phase::Reading { request, repeats };
                }
                None => say.push(request),
            }
        }
        Step::Say(say)
    }

    /// The tools have been read, or can't be.
    fn on_tools(&mut self, result: Option<&str>) -> Step {
        let Phase::Reading { request, repeats } = std::mem::replace(&mut self.phase, Phase::Asking) else {
            return Step::Nothing;
        };
        let Repeats { tools, tool, arguments, headers } = *repeats;
        if let Some(result) = result
            && let Err(fault) = agree(&tools.learn(result), &tool, &arguments, &headers)
        {
            return Step::Last(Last::fault(&fault, &self.id));
        }
        Step::Say(vec![request])
    }

    fn on_question(&mut self, line: &[u8], e: &Envelope) -> Step {
        let of =
            |range: &Option<std::ops::Range<usize>>| range.clone().and_then(|range| str::from_utf8(&line[range]).ok());
        let (id, method) = (of(&e.id).unwrap_or("null"), of(&e.method).unwrap_or_default());
        if method == "ping" {
            return Step::Say(vec![reply::result(id.as_bytes(), b"{}")]);
        }
        if self.wanted != Wanted::Work || !stamp::is_question(method) {
            let why = "this client can't be asked that amid this request";
            return Step::Say(vec![reply::error(id.as_bytes(), METHOD_NOT_FOUND, why)]);
        }
        self.asked += 1;
        let params = of(&e.params).unwrap_or("{}");
        // A server of the modern era has a name for it.
        let key = object::find(params, &["_meta", KEY_OF_QUESTION]).and_then(object::text_of);
        let key = key.filter(|key| self.questions.iter().all(|other| other.key != *key));
        let is_given = |(given, _): &(Box<str>, Box<str>)| key.as_deref() == Some(&**given);
        let given = self.given.iter().position(is_given).map(|at| self.given.swap_remove(at).1);
        let question = Question {
            key: key.map_or_else(|| format!("input-{}", self.asked), Into::into),
            id: id.as_bytes().into(),
            method: method.into(),
            params: of(&e.params).map(Into::into),
        };
        if let Some(what) = question.lacks(&self.caller) {
            return Step::Last(Last::fault(&stamp::lacking(what), &self.id));
        }
        if let Some(answer) = given {
            return Step::Say(vec![reply::result(&question.id, answer.as_bytes())]);
        }
        self.questions.push(question);
        Step::Nothing
    }

    fn on_notification(&mut self, line: &[u8], e: &Envelope) -> Step {
        let method = e.method.clone().map_or(&b""[..], |range| &line[range]);
        match method {
            b"notifications/progress" => {
                let Some((token, range)) = self.token.as_deref().zip(e.progress_token.clone()) else {
                    return Step::Nothing;
                };
                let said = &line[range.clone()];
                match self.token_of_pipe.as_deref() {
                    Some(known) if known.as_bytes() != said => Step::Nothing,
                    Some(known) if known == token => Step::Note(Bytes::copy_from_slice(line)),
                    // The client has another one for this try.
                    Some(_) => Step::Note(replaced(line, vec![(range, token.to_owned())]).into()),
                    None => Step::Nothing,
                }
            }
            b"notifications/message" => {
                let params = e.params.clone().and_then(|range| str::from_utf8(&line[range]).ok()).unwrap_or_default();
                let level = object::find(params, &["level"]).and_then(object::text_of);
                let level = level.and_then(|level| level_of(&level)).unwrap_or(usize::MAX);
                match self.caller.level {
                    Some(wanted) if wanted <= level => Step::Note(Bytes::copy_from_slice(line)),
                    Some(_) | None => Step::Nothing,
                }
            }
            b"notifications/cancelled" => {
                let id = e.request_id.clone().map(|range| &line[range]);
                self.questions.retain(|question| Some(&*question.id) != id);
                Step::Nothing
            }
            // Changes are for those who ask for them.
            _ => Step::Nothing,
        }
    }

    /// Whether a server waits for the client.
    pub(super) fn is_asked(&self) -> bool {
        !self.questions.is_empty()
    }

    /// The result that asks what servers want to know.
    pub(super) fn question(&self, state: &str) -> Last {
        stamp::input_required(self.about(), &self.questions, Some(state))
    }

    /// Whether this request is another try of that one.
    pub(super) fn is_tried_by(&self, print: &Print) -> bool {
        self.print.as_ref() == Some(print)
    }

    /// The client tries again, with answers. Returns what is said to the pipe.
    pub(super) fn go_on(&mut self, asked: &Asked<'_>) -> Vec<Vec<u8>> {
        self.id = asked.id.into();
        self.token = asked.token().map(Into::into);
        let mut say = Vec::new();
        if self.caller.level != asked.caller.level {
            say.extend(asked.caller.level.map(set_level));
        }
        self.caller = asked.caller.clone();
        let answers = answers(asked);
        self.questions.retain(|question| {
            let answer = answers.iter().rev().find(|member| member.name() == question.key);
            let Some(answer) = answer else { return true };
            say.push(reply::result(&question.id, answer.value.as_bytes()));
            false
        });
        say
    }

    /// The pipe has ended the conversation.
    pub(super) fn lost(&self) -> Last {
        let why = "the conversation with the servers ended before the answer came";
        let fault = Fault::new(StatusCode::BAD_GATEWAY, INTERNAL, why).with("reason", "\"lost\"");
        Last::fault(&fault, &self.id)
    }
}

/// The answers that a request brings.
fn answers<'a>(asked: &Asked<'a>) -> Vec<object::Member<'a>> {
    let mut answers = asked.param("inputResponses").and_then(object::members).unwrap_or_default();
    answers.retain(|answer| answer.value.starts_with('{'));
    answers
}

fn set_level(level: usize) -> Vec<u8> {
    let level = LEVELS.get(level).unwrap_or(&"info");
    reply::request(LEVEL, "logging/setLevel", Some(format!("{{\"level\":\"{level}\"}}").as_bytes()))
}

/// Checks that the headers of a call of a tool say what its arguments say.
fn agree(
    known: &crate::mcp::modern::headers::Repeated,
    tool: &str,
    arguments: &str,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    let tool = object::text_of(tool).unwrap_or_default();
    match known.differing(&tool, arguments, headers) {
        None => Ok(()),
        Some(header) => {
            let why = format!("{header} does not say what the argument says that it is for");
            Err(Fault::new(StatusCode::BAD_REQUEST, HEADER_MISMATCH, why))
        }
    }
}
