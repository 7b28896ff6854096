//! A request that nobody here can place: it goes to one server after the other, and the most telling answer counts. Pure.

use super::ServerIndex;
use crate::mcp::envelope::Envelope;
use crate::mcp::failure::Failure;
use crate::mcp::object;
use crate::mcp::reply::{self, INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND};

/// Largest request, and largest answer, that is kept while other servers are asked, in bytes.
pub(super) const KEPT: usize = 8 * 1024;

/// Longest error message that is kept of a larger answer, in bytes.
const MESSAGE: usize = 1024;

/// How telling an answer is that is not what was asked for, the least telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AnswerRank {
    /// The server doesn't know the method.
    NoMethod,
    /// The server finds the parameters wrong. Some say so of whatever they don't have.
    NoParams,
    /// An error without a code, as FastMCP answers whatever went wrong.
    Unspecified,
    /// The server doesn't have what was asked for.
    NotThere,
    /// Something went wrong, perhaps at the server that has what was asked for.
    Failed,
    /// What was asked for is there, and empty. Some servers answer that to whatever they don't have.
    Empty,
}

impl AnswerRank {
    fn of(code: i32) -> Self {
        match code {
            METHOD_NOT_FOUND => AnswerRank::NoMethod,
            INVALID_PARAMS => AnswerRank::NoParams,
            0 => AnswerRank::Unspecified,
            RESOURCE_NOT_FOUND => AnswerRank::NotThere,
            _ => AnswerRank::Failed,
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The request changes nothing, so any server may be asked after any answer.
    pub(super) reads: bool,
    /// The first server that has not been asked.
    pub(super) next: ServerIndex,
    /// The request.
    pub(super) request: Box<[u8]>,
    best: Option<(AnswerRank, Box<[u8]>)>,
}

impl Search {
    /// Bytes that are kept for the search.
    pub(super) fn size(&self) -> usize {
        self.request.len() + self.best.as_ref().map_or(0, |(_, answer)| answer.len())
    }

    /// For a request that no server has been asked yet. `reads`: the request changes nothing.
    pub(super) fn new(reads: bool) -> Self {
        Search { reads, ..Search::default() }
    }

    /// What an answer is worth if the search goes on after it. `None`: the answer counts, and no other server is asked.
    pub(super) fn goes_on(&self, frame: &[u8], e: &Envelope) -> Option<AnswerRank> {
        if e.error {
            let rank = AnswerRank::of(Failure::read(frame).code);
            // A server that doesn't know what was asked for has done nothing.
            let is_unknown = matches!(rank, AnswerRank::NoMethod | AnswerRank::NoParams | AnswerRank::NotThere);
            return (self.reads || is_unknown).then_some(rank);
        }
        let result = e.result.clone().map(|range| &frame[range]).filter(|result| self.reads && result.len() <= KEPT)?;
        let result = str::from_utf8(result).ok()?;
        let contents = object::find(result, &["contents"])?;
        let is_empty = contents.strip_prefix('[')?.strip_suffix(']')?.trim().is_empty();
        is_empty.then_some(AnswerRank::Empty)
    }

    /// Keeps an answer that tells at least as much as those before. `own`: the endpoint's id, which replaces the one at
    /// `id`.
    pub(super) fn keep(&mut self, rank: AnswerRank, frame: &[u8], id: std::ops::Range<usize>, own: &[u8]) {
        let answer = [&frame[..id.start], own, &frame[id.end..]].concat();
        if answer.len() <= KEPT {
            return self.keep_answer(rank, answer);
        }
        let Failure { code, mut message } = Failure::read(frame);
        message.truncate(message.floor_char_boundary(MESSAGE));
        self.keep_answer(rank, reply::error(own, code, message));
    }

    /// Keeps an answer that is ready for the endpoint, as [`Search::keep`] does.
    pub(super) fn keep_answer(&mut self, rank: AnswerRank, answer: Vec<u8>) {
        if self.best.as_ref().is_none_or(|(best, _)| rank >= *best) {
            self.best = Some((rank, answer.into()));
        }
    }

    /// Whether there is an answer to give if no other server has a better one.
    pub(super) fn has_answer(&self) -> bool {
        self.best.is_some()
    }

    /// Takes the most telling answer.
    pub(super) fn take_answer(&mut self) -> Option<Box<[u8]>> {
        self.best.take().map(|(_, answer)| answer)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::mcp::envelope::scan_one;

    #[test]
    fn the_most_telling_answer_is_kept_whatever_the_order() {
        let answers = [
            r#""error":{"code":-32601,"message":"m"}"#,
            r#""error":{"code":-32602,"message":"p"}"#,
            r#""error":{"code":0,"message":"u"}"#,
            r#""error":{"code":-32002,"message":"n"}"#,
            r#""error":{"code":-32603,"message":"locked"}"#,
            r#""result":{"contents":[ ]}"#,
        ];
        for most in 0..answers.len() {
            for turn in 0..=most {
                let mut search = Search::new(true);
                for at in 0..=most {
                    let frame = format!(r#"{{"id":7,{}}}"#, answers[(at + turn) % (most + 1)]);
                    let e = scan_one(frame.as_bytes()).unwrap();
                    let rank = search.goes_on(frame.as_bytes(), &e).unwrap();
                    search.keep(rank, frame.as_bytes(), e.id.unwrap(), b"\"x\"");
                }
                let want = format!(r#"{{"id":"x",{}}}"#, answers[most]);
                assert_eq!(search.take_answer().unwrap(), want.into_bytes().into());
            }
        }
    }

    #[test]
    fn a_request_that_may_have_been_carried_out_is_not_tried_elsewhere() {
        for (answer, reads, does) in [
            (r#""error":{"code":-32601}"#, true, true),
            (r#""error":{"code":-32002}"#, true, true),
            (r#""error":{"code":-32603}"#, true, false),
            (r#""error":{"code":0}"#, true, false),
            (r#""error":"no""#, true, false),
            (r#""result":{"contents":[]}"#, true, false),
            (r#""result":{"contents":[{"uri":"a:b","text":""}]}"#, false, false),
            (r#""result":{}"#, false, false),
        ] {
            let frame = format!(r#"{{"id":7,{answer}}}"#);
            let e = scan_one(frame.as_bytes()).unwrap();
            let goes_on = |reads| Search::new(reads).goes_on(frame.as_bytes(), &e).is_some();
            assert_eq!((goes_on(true), goes_on(false)), (reads, does), "{answer}");
        }
    }

    #[test]
    fn a_large_error_is_kept_in_short() {
        let frame = format!(r#"{{"id":7,"error":{{"code":5,"message":"{}"}}}}"#, "é".repeat(KEPT));
        let mut search = Search::default();
        search.keep(AnswerRank::Failed, frame.as_bytes(), 6..7, b"8");
        let answer = search.take_answer().unwrap();
        assert!(answer.len() < 2 * MESSAGE && answer.starts_with(br#"{"jsonrpc":"2.0","id":8,"error":{"code":5"#));
    }
}
