//! Calls that want to be told something first: what the server asks becomes questions for whoever called, and with their answers it is
//! asked again (MCP 2026-07-28, basic/patterns, input requests).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Bridge, MAX_KEPT, Wire, text};
use crate::mcp::envelope::{self, Envelope};
use crate::mcp::failure::Failure;
use crate::mcp::modern::KEY_OF_QUESTION;
use crate::mcp::modern::stamp::{Stamp, with_params};
use crate::mcp::object::{self, Member};
use crate::mcp::reply::{self, INTERNAL, METHOD_NOT_FOUND};
use crate::server::stdout::Found;

/// Most rounds of questions for one call: a server that asks on and on ends nothing.
const MAX_ROUNDS: u32 = 10;
/// Most questions in one round.
const MAX_QUESTIONS: usize = 16;
/// Begins the ids of questions.
const QUESTION: &str = "input-";
/// Longest piece of a question that its refusal names, in bytes.
const SHOWN: usize = 200;

/// A request of a peer under way.
#[derive(Debug)]
pub(super) struct Call {
    /// The router's number.
    pub(super) number: u64,
    pub(super) method: Box<str>,
    /// Who asks, where the router has said so.
    pub(super) stamp: Option<Arc<Stamp>>,
    /// The router's line, where it may have to be asked again.
    line: Option<Box<[u8]>>,
    rounds: u32,
    /// It was sent once more with other headers.
    pub(super) is_again: bool,
    /// How many pages of tools were read so that it can be.
    pages: u32,
    /// It is for the first page of a list.
    pub(super) is_first_page: bool,
}

impl Call {
    /// A request that begins.
    pub(super) fn new(number: u64, method: &str, (line, e): (&[u8], &Envelope), stamp: Option<Arc<Stamp>>) -> Self {
        let may_ask = matches!(method, "tools/call" | "prompts/get" | "resources/read");
        let is_first_page =
            method.ends_with("/list") && object::find(text(line, e.params.as_ref()), &["cursor"]).is_none();
        let line = may_ask.then(|| line.into());
        Call { number, method: method.into(), stamp, line, rounds: 0, is_again: false, pages: 0, is_first_page }
    }

    /// Whether one more page of tools is to be read for it.
    pub(super) fn reads_on(&mut self, most: u32) -> bool {
        self.pages += 1;
        self.pages < most
    }

    /// Bytes that are kept for it.
    pub(super) fn kept(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.len())
    }

    /// It is too large to be asked again.
    pub(super) fn forget(&mut self) {
        self.line = None;
    }

    pub(super) fn line(&self) -> Option<&[u8]> {
        self.line.as_deref()
    }
}

/// Calls that wait for answers of whoever called.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// By the router's number of the call.
    calls: BTreeMap<u64, Asking>,
    last: u64,
    /// Bytes of answers and states that are kept.
    held: usize,
}

#[derive(Debug)]
struct Asking {
    call: Box<Call>,
    /// Raw JSON: to be given back byte for byte.
    state: Option<Box<str>>,
    questions: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    /// Raw JSON, a text.
    key: Box<str>,
    number: u64,
    method: Box<str>,
    /// What is asked, in words; empty if nothing is said.
    words: String,
    answer: Option<Result<Box<str>, Failure>>,
}

/// A call all of whose questions are answered.
pub(super) struct Answered(Asking);

impl Questions {
    /// Notes an answer of whoever called. Returns its call if that was the last one.
    pub(super) fn answered(&mut self, line: &[u8], e: &Envelope) -> Option<Answered> {
        let id = text(line, e.id.as_ref());
        let number: u64 = id.trim_matches('"').strip_prefix(QUESTION)?.parse().ok()?;
        let is_it = |question: &&mut Question| question.number == number;
        let (call, asking) =
            self.calls.iter_mut().find(|(_, asking)| asking.questions.iter().any(|q| q.number == number))?;
        let call = *call;
        let question = asking.questions.iter_mut().find(is_it)?;
        question.answer = Some(match &e.result {
            Some(result) if self.held + result.len() > MAX_KEPT => {
                Err(Failure { code: 0, message: "it is too large to be kept until it is passed on".to_owned() })
            }
            Some(result) => {
                self.held += result.len();
                Ok(text(line, Some(result)).into())
            }
            None => Err(Failure::read(line)),
        });
        // One that is refused decides: the others are asked for nothing.
        let is_over = asking.questions.iter().all(|question| question.answer.is_some())
            || asking.questions.iter().any(|question| matches!(question.answer, Some(Err(_))));
        if !is_over {
            return None;
        }
        self.take(call).map(Answered)
    }

    /// Takes out a call with all that is kept for it.
    fn take(&mut self, call: u64) -> Option<Asking> {
        let asking = self.calls.remove(&call)?;
        let answers = asking.questions.iter().filter_map(|question| question.answer.as_ref()?.as_ref().ok());
        let held =
            answers.map(|answer| answer.len()).sum::<usize>() + asking.state.as_ref().map_or(0, |state| state.len());
        self.held = self.held.saturating_sub(held);
        Some(asking)
    }
}

/// The parameters of a question with the server's own name for it, for a peer of this era. `key`: raw JSON.
fn named(params: &str, key: &str) -> Option<String> {
    let members = object::members(params)?;
    let (own, others): (Vec<&Member<'_>>, Vec<_>) = members.iter().partition(|member| member.name() == "_meta");
    let meta = own.last().and_then(|meta| object::members(meta.value)).unwrap_or_default();
    let meta = meta.iter().filter(|member| member.name() != KEY_OF_QUESTION).map(|member| (member.key, member.value));
    let meta = object::object(meta.chain([(object::quoted(KEY_OF_QUESTION).as_str(), key)]));
    let others = others.into_iter().map(|member| (member.key, member.value));
    Some(object::object(others.chain([("\"_meta\"", meta.as_str())])))
}

/// Takes back the questions that have no answer yet.
fn withdraw(asking: &Asking, wire: &mut dyn Wire) {
    for question in asking.questions.iter().filter(|question| question.answer.is_none()) {
        let id = format!("\"{QUESTION}{}\"", question.number);
        super::hand_on(wire, &reply::cancelled(id.as_bytes(), "the call ended for which it was asked"));
    }
}

impl Bridge {
    /// The server wants to be told something before it answers a call. `members`: of its result.
    pub(super) fn ask(&mut self, mut call: Box<Call>, members: &[Member<'_>], wire: &mut dyn Wire) {
        let member = |name: &str| members.iter().rev().find(|member| member.name() == name).map(|member| member.value);
        call.rounds += 1;
        let requests = member("inputRequests").and_then(object::members).unwrap_or_default();
        let state: Option<Box<str>> = member("requestState").filter(|state| *state != "null").map(Into::into);
        let size = state.as_ref().map_or(0, |state| state.len());
        let refusal = if call.rounds > MAX_ROUNDS {
            Some(format!("asked {MAX_ROUNDS} times for more, which is as often as it is told"))
        } else if requests.len() > MAX_QUESTIONS {
            Some(format!("asks {} questions at once; {MAX_QUESTIONS} are passed on at most", requests.len()))
        } else if state.as_ref().is_some_and(|state| !state.starts_with('"')) {
            // Without it the server could not know what the answers are to.
            Some("gives a state for its questions that is no text (requestState)".to_owned())
        } else if self.questions.held + size > MAX_KEPT {
            Some("gives more of a state for its questions than is kept".to_owned())
        } else if call.line.is_none() {
            Some("asks a question about a call that is too large to be asked again".to_owned())
        } else if requests.is_empty() && state.is_none() {
            Some("wants to be told something, and does not say what".to_owned())
        } else {
            None
        };
        if let Some(why) = refusal {
            return self.fail_call(&call, &why, wire);
        }
        let number = call.number;
        let mut asking = Asking { call, state, questions: Vec::new() };
        for request in requests {
            self.questions.last += 1;
            let method = object::find(request.value, &["method"]).and_then(object::text_of).unwrap_or_default();
            let params = object::find(request.value, &["params"]).unwrap_or("{}");
            let words = ["message", "systemPrompt"].iter().find_map(|name| object::find(params, &[name]));
            let words = words.and_then(object::lossy_text_of).unwrap_or_default();
            asking.questions.push(Question {
                key: request.key.into(),
                number: self.questions.last,
                method: method.into(),
                words: words[..words.floor_char_boundary(SHOWN)].to_owned(),
                answer: None,
            });
        }
        self.kept += asking.call.kept();
        if asking.questions.is_empty() {
            return self.go_on(Answered(asking), wire);
        }
        let asked: Vec<_> =
            asking.questions.iter().map(|question| (question.number, question.method.clone())).collect();
        let params: Vec<Option<String>> =
            asking.questions.iter().map(|question| self.params_of(&asking, question, members)).collect();
        self.questions.held += size;
        self.questions.calls.insert(number, asking);
        for ((question, method), params) in asked.into_iter().zip(params) {
            // The answer to one before may have ended the call.
            if !self.questions.calls.contains_key(&number) {
                return;
            }
            let id = format!("{QUESTION}{question}");
            let is_known = matches!(&*method, "elicitation/create" | "sampling/createMessage" | "roots/list");
            match params.filter(|_| is_known) {
                Some(params) => {
                    let frame = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}","params":{params}}}"#);
                    if let Some(envelope) = envelope::scan_one(frame.as_bytes()) {
                        let frame = frame.as_bytes();
                        wire.hand_on(Found::Caused { cause: number, frame, envelope: &envelope });
                    }
                }
                None => {
                    let error = reply::error(format!("\"{id}\"").as_bytes(), METHOD_NOT_FOUND, "the client can't");
                    if let Some(e) = envelope::scan_one(&error)
                        && let Some(answered) = self.questions.answered(&error, &e)
                    {
                        return self.go_on(answered, wire);
                    }
                }
            }
        }
    }

    /// The parameters of a question as whoever called takes them; `None` where they can't be asked that.
    fn params_of(&self, asking: &Asking, question: &Question, members: &[Member<'_>]) -> Option<String> {
        let requests = members.iter().rev().find(|member| member.name() == "inputRequests")?.value;
        let key = object::text_of(&question.key)?;
        let params = object::find(requests, &[&key, "params"]).unwrap_or("{}");
        let stamp = asking.call.stamp.as_deref().unwrap_or(&self.stamp);
        let named = if stamp.is_modern() { named(params, &question.key) } else { None };
        let params = named.as_deref().unwrap_or(params);
        match object::find(params, &["mode"]).and_then(object::text_of).as_deref() {
            Some("url") if &*question.method == "elicitation/create" => {
                // In the legacy era each has an id, by which its end may be told.
                let id = format!("\"{QUESTION}{}\"", question.number);
                let others = object::members(params)?;
                let others = others.iter().filter(|member| member.name() != "elicitationId");
                let all = others.map(|member| (member.key, member.value)).chain([("\"elicitationId\"", id.as_str())]);
                stamp.can(&["elicitation", "url"]).then(|| object::object(all))
            }
            Some(_) | None => Some(params.to_owned()),
        }
    }

    /// All questions of a call are answered, or one of them can't be: the server is asked again, or the call ends.
    pub(super) fn go_on(&mut self, Answered(asking): Answered, wire: &mut dyn Wire) {
        withdraw(&asking, wire);
        self.kept = self.kept.saturating_sub(asking.call.kept());
        let Asking { call, state, questions } = asking;
        let mut responses = Vec::new();
        for question in &questions {
            match &question.answer {
                Some(Ok(result)) => responses.push((&*question.key, &**result)),
                Some(Err(failure)) => {
                    let why = refusal(question, failure);
                    return self.fail_call(&call, &why, wire);
                }
                None => {}
            }
        }
        let Some(line) = call.line.clone() else { return };
        let Some(e) = envelope::scan_one(&line) else { return };
        let responses = object::object(responses.into_iter());
        let mut more = Vec::new();
        if !questions.is_empty() {
            more.push(("inputResponses", responses.as_str()));
        }
        if let Some(state) = &state {
            more.push(("requestState", state));
        }
        let params = text(&line, e.params.as_ref());
        let params = if params.is_empty() { "{}" } else { params };
        let params = call.stamp.as_deref().unwrap_or(&self.stamp).params(params, self.level.as_deref(), &more);
        let number = self.next();
        let frame = with_params(&line, &e, Some(number), &params);
        let headers = self.headers_of_call(&call.method, (&line, &e));
        self.post_call(number, *call, frame, headers, wire);
    }

    /// The router cancels a call about which something is asked.
    pub(super) fn withdraw_questions(&mut self, call: u64, wire: &mut dyn Wire) {
        if let Some(asking) = self.questions.take(call) {
            self.kept = self.kept.saturating_sub(asking.call.kept());
            withdraw(&asking, wire);
        }
    }

    /// Answers a call that can't go on. `why`: in words that follow the server's name. For a tool that is a result, as its model is to read
    /// it.
    pub(super) fn fail_call(&mut self, call: &Call, why: &str, wire: &mut dyn Wire) {
        let words = format!("server \"{}\" {why}", self.name);
        if &*call.method == "tools/call" {
            let said = object::quoted(&words);
            let result = format!(r#"{{"content":[{{"type":"text","text":{said}}}],"isError":true}}"#);
            return super::answer(wire, call.number, &result);
        }
        super::refuse(wire, call.number, INTERNAL, &words);
    }
}

/// Why a call ends because of one of its questions, in words that follow the server's name.
fn refusal(question: &Question, failure: &Failure) -> String {
    let Question { method, words, .. } = question;
    let asked = if words.is_empty() { format!("({method})") } else { format!("({method}): \"{words}\"") };
    if failure.code == METHOD_NOT_FOUND {
        return format!("asks for input that this client can't give {asked}");
    }
    let Failure { message, .. } = failure;
    format!("asked for input {asked}, and there was no answer: {}", &message[..message.floor_char_boundary(SHOWN)])
}
