//! An answer of a server, made such that a strict client can read it. Pure.
//!
//! Clients that check answers by JSON-RPC's schema drop what does not fit, and whoever asked waits for its time to end. So what an answer
//! means is written as JSON-RPC has it (section 5); where it means nothing that MCP has, an error says so.

use super::envelope::{Envelope, is_whole};
use super::failure::Failure;
use super::object;
use super::reply::{self, INTERNAL};

/// The requests that MCP answers with an empty object: what else stands there can only mean that they were done.
const EMPTY: [&str; 4] = ["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// An answer in the place of another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mended {
    pub(crate) frame: Vec<u8>,
    /// What was odd, in words that follow "its answer".
    pub(crate) odd: &'static str,
}

/// An answer of a server to this request as JSON-RPC has it; `None`: it is so already. `name`: the server's.
#[inline]
pub(crate) fn mend(frame: &[u8], e: &Envelope, method: &str, name: &str) -> Option<Mended> {
    if e.jsonrpc && !e.odd && e.params.is_none() { None } else { rewritten(frame, e, method, name) }
}

#[cold]
fn rewritten(frame: &[u8], e: &Envelope, method: &str, name: &str) -> Option<Mended> {
    let id = &frame[e.id.clone()?];
    let text = str::from_utf8(frame).ok()?;
    let result = e.result.clone().map(|range| &text[range]);
    let error = object::find(text, &["error"]).filter(|error| *error != "null");
    let says_nothing = |error: &str| {
        let bare: String = error.split_ascii_whitespace().collect();
        matches!(&*bare, "false" | "0" | "\"\"" | "[]" | "{}")
    };
    if let Some(error) = error.filter(|error| result.is_none() || !says_nothing(error)) {
        let (error, is_plain) = plain_error(error, frame);
        let odd = if is_plain {
            members(e)
        } else {
            "has an error that is not a number as \"code\" and a text as \"message\""
        };
        let frame = [b"{\"jsonrpc\":\"2.0\",\"id\":", id, b",\"error\":", error.as_bytes(), b"}"].concat();
        return Some(Mended { frame, odd });
    }
    let result = result?;
    Some(match kind(result) {
        None => Mended { frame: reply::result(id, result.as_bytes()), odd: members(e) },
        // PHP writes an empty object so.
        Some(_) if EMPTY.contains(&method) || object::elements(result, 1).is_some_and(|items| items.is_empty()) => {
            let odd = "has a result that is no object, which counts as an empty one";
            Mended { frame: reply::result(id, b"{}"), odd }
        }
        Some(kind) => {
            let why = format!("server \"{name}\" answered {method} with {kind} as the result, where MCP has an object");
            let odd = "has a result that is no object, and an error says so in its place";
            Mended { frame: reply::error(id, INTERNAL, why), odd }
        }
    })
}

/// What is odd about the members of an answer, where their values are well.
fn members(e: &Envelope) -> &'static str {
    if e.jsonrpc {
        "has another \"jsonrpc\" than \"2.0\", or null or a request's member where nothing should be"
    } else {
        "lacks \"jsonrpc\": \"2.0\""
    }
}

/// An error with a number and a text, and whether it was so before.
fn plain_error(error: &str, frame: &[u8]) -> (String, bool) {
    let Failure { code, message } = Failure::read(frame);
    let (own, words) = (object::find(error, &["code"]), object::find(error, &["message"]));
    let (own_code, own_words) = (own.filter(|own| is_whole(own)), words.filter(|words| words.starts_with('"')));
    let own_is_other = if code != 0 { code } else { INTERNAL };
    let code = own_code.map_or_else(|| own_is_other.to_string(), str::to_owned);
    let message = own_words.map_or_else(|| object::quoted(&message), str::to_owned);
    let mut plain = vec![("\"code\"", &*code), ("\"message\"", &*message)];
    plain.extend(object::find(error, &["data"]).map(|data| ("\"data\"", data)));
    (object::object(plain.into_iter()), own_code.is_some() && own_words.is_some())
}

/// What a value is that is no object.
fn kind(value: &str) -> Option<&'static str> {
    match value.bytes().next()? {
        b'{' => None,
        b'[' => Some("a list"),
        b'"' => Some("a text"),
        b'n' => Some("null"),
        b't' | b'f' => Some("true or false"),
        _ => Some("a number"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::mcp::envelope::scan_one;
    use serde_json::{Value, json};

    fn mended(answer: &str, method: &str) -> Option<Value> {
        let mended = mend(answer.as_bytes(), &scan_one(answer.as_bytes()).unwrap(), method, "calc")?;
        let e = scan_one(&mended.frame).unwrap();
        assert_eq!(mend(&mended.frame, &e, method, "calc"), None, "it is mended twice: {answer}");
        Some(serde_json::from_slice(&mended.frame).unwrap())
    }

    #[test]
    fn what_a_strict_client_reads_stays_as_it_is() {
        for answer in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"x":[1e999,"\ud83d"],"x":null}}"#,
            r#"{"id":"a","error":{"data":{"a":1},"message":"no","code":-32601},"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":0,"message":"","more":1}}"#,
        ] {
            assert_eq!(mended(answer, "tools/call"), None, "{answer}");
        }
    }

    #[test]
    fn an_odd_answer_is_written_as_it_is_meant() {
        let error = |code: i64, message: &str| json!({"error": {"code": code, "message": message}});
        let given_no_reason = "it gave no reason";
        for (members, mut want) in [
            (r#""id":7,"result":{"a": 1}"#, json!({"result": {"a": 1}})),
            (r#""jsonrpc":"1.0","id":7,"result":{}"#, json!({"result": {}})),
            (r#""jsonrpc":2.0,"id":7,"result":{}"#, json!({"result": {}})),
            (r#""jsonrpc":"2.0","id":7,"error":null,"result":{}"#, json!({"result": {}})),
            (r#""jsonrpc":"2.0","id":7,"error":false,"result":{}"#, json!({"result": {}})),
            (r#""jsonrpc":"2.0","id":7,"method":null,"params":null,"took":5,"result":{}"#, json!({"result": {}})),
            (r#""jsonrpc":"2.0","id":7,"result":[ ]"#, json!({"result": {}})),
            (r#""jsonrpc":"2.0","id":7,"error":"bad \u00fc","result":null"#, error(-32603, "bad ü")),
            (r#""jsonrpc":"2.0","id":7,"error":"bad","result":{}"#, error(-32603, "bad")),
            (r#""jsonrpc":"2.0","id":7,"error":{}"#, error(-32603, given_no_reason)),
            (r#""jsonrpc":"2.0","id":7,"error":false"#, error(-32603, given_no_reason)),
            (r#""jsonrpc":"2.0","id":7,"error":[1]"#, error(-32603, given_no_reason)),
            (r#""jsonrpc":"2.0","id":7,"error":{"code":"-32601","message":"no"}"#, error(-32601, "no")),
            (r#""jsonrpc":"2.0","id":7,"error":{"code":"ENOENT","message":"no"}"#, error(-32603, "no")),
            (r#""jsonrpc":"2.0","id":7,"error":{"code":-32000.0,"message":"no"}"#, error(-32000, "no")),
            (r#""jsonrpc":"2.0","id":7,"error":{"code":5}"#, error(5, given_no_reason)),
            (
                r#""jsonrpc":"2.0","id":7,"error":{"message":"no","data":{"a":1}}"#,
                json!({"error": {"code": -32603, "message": "no", "data": {"a": 1}}}),
            ),
        ] {
            (want["jsonrpc"], want["id"]) = ("2.0".into(), 7.into());
            assert_eq!(mended(&format!("{{{members}}}"), "tools/call"), Some(want), "{members}");
        }
    }

    #[test]
    fn a_result_that_is_no_object_counts_as_empty_where_mcp_wants_no_more_and_is_an_error_elsewhere() {
        for (result, kind) in
            [("null", "null"), ("\"done\"", "a text"), ("-1", "a number"), ("[1]", "a list"), ("true", "true or false")]
        {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#);
            for method in EMPTY {
                let want = json!({"jsonrpc": "2.0", "id": 7, "result": {}});
                assert_eq!(mended(&answer, method).unwrap(), want, "{result}");
            }
            let error = mended(&answer, "tools/call").unwrap()["error"].take();
            let why = format!("server \"calc\" answered tools/call with {kind} as the result, where MCP has an object");
            assert_eq!((&error["code"], &error["message"]), (&INTERNAL.into(), &why.into()));
            assert_eq!(error["data"]["from"], "mcp-pipe");
        }
    }
}
