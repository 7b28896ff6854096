//! The checks of the protocol suite beyond the smoke suite: what a server does where it is asked something wrong, much at once, or
//! nothing any more. No tool is called that is not marked as one that only reads.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::check::{Check, Mark};
use super::examinee::{Answer, Answered, Examinee};
use super::offer::TOOLS;
use crate::control::orders::Order;
use crate::inspect::only_reads;
use crate::local::RpcError;
use crate::words::{brief, listed};

/// A method that no server has.
const NO_METHOD: &str = "mcp-pipe/no-such-method";
/// A tool that no server has.
const NO_TOOL: &str = "mcp_pipe_no_such_tool";
/// How many requests are sent at once.
const AT_ONCE: usize = 16;
/// Most tools that are named where they differ.
const SHOWN: usize = 5;

/// The names of the arguments that a tool needs.
fn required(tool: &Value) -> Vec<&str> {
    let required = tool["inputSchema"]["required"].as_array();
    required.map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// A tool that may be called for a check, and is asked for with or without arguments that it needs.
fn harmless(tools: &[Value], needs_some: bool) -> Option<(&str, &Value)> {
    let is_one = |tool: &&Value| only_reads(tool) && required(tool).is_empty() != needs_some;
    tools.iter().find(is_one).and_then(|tool| Some((tool["name"].as_str()?, tool)))
}

/// What comes of a wrong request: an error is right. `what`: how a person calls it.
fn of_wrong_request(
    id: &'static str,
    what: &str,
    answer: &Answer,
    survived: Result<(), String>,
    code: Option<i64>,
) -> Check {
    const ANSWER: &str = "answer each request, with an error where it can't be carried out, and go on";
    match (answer, survived) {
        (Answer::Gone(_), _) => Check::fail(id, format!("{what} {answer}"), ANSWER),
        (_, Err(then)) => Check::fail(id, format!("{what} {answer}, and then {then}"), ANSWER),
        (Answer::Silence(_), Ok(())) => Check::fail(id, format!("{what} {answer}"), ANSWER),
        (Answer::Error(error), Ok(())) => match code {
            Some(code) if error.code != code => Check::warn(
                id,
                format!("{what} {answer}"),
                format!("answer with the code {code}, by which clients know what a server does not have"),
            ),
            Some(_) | None => Check::pass(id, format!("{what} {answer}")),
        },
        (Answer::Result(result), Ok(())) if result["isError"] == true => {
            Check::pass(id, format!("{what} was answered with a result that is an error"))
        }
        (Answer::Result(_), Ok(())) => {
            Check::fail(id, format!("{what} {answer}"), "answer with an error: whoever has mistyped it is to see that")
        }
    }
}

async fn unknown_method(it: &Examinee<'_>) -> Check {
    let life = it.settled().await;
    let answer = it.ask(NO_METHOD, json!({})).await;
    let what = format!("the unknown method {NO_METHOD}");
    of_wrong_request("unknown-method", &what, &answer, it.survived(life).await, Some(RpcError::METHOD_NOT_FOUND))
}

async fn unknown_tool(it: &Examinee<'_>, tools: Option<&[Value]>) -> Check {
    const ID: &str = "unknown-tool";
    match tools {
        None => return Check::skip(ID, "its tools could not be read"),
        Some([]) => return Check::skip(ID, "it has no tools"),
        Some(_) => {}
    }
    let life = it.settled().await;
    let answer = it.ask("tools/call", json!({"name": NO_TOOL, "arguments": {}})).await;
    of_wrong_request(ID, &format!("the unknown tool {NO_TOOL}"), &answer, it.survived(life).await, None)
}

/// Calls without a name, and calls of a tool that only reads, without the arguments that it needs and with others.
async fn arguments(it: &Examinee<'_>, tools: Option<&[Value]>) -> Check {
    const ID: &str = "arguments";
    let tools = match tools {
        None => return Check::skip(ID, "its tools could not be read"),
        Some([]) => return Check::skip(ID, "it has no tools"),
        Some(tools) => tools,
    };
    let life = it.settled().await;
    let why = "no tool with required arguments is marked readOnlyHint: true, and no other is called";
    let harmless = harmless(tools, true);
    // Over HTTP the name stands in a header, too, without which a call can't be sent.
    if it.is_process() {
        let answer = it.ask("tools/call", json!({})).await;
        let nameless = of_wrong_request(ID, "a call without a tool's name", &answer, it.survived(life).await, None);
        if nameless.mark == Mark::Fail || harmless.is_none() {
            let message = format!("{}; arguments were not tried, as {why}", nameless.message);
            return if nameless.mark == Mark::Fail { nameless } else { Check { message, ..nameless } };
        }
    }
    let Some((name, tool)) = harmless else { return Check::skip(ID, why) };
    let shown = brief(name);
    let wrong: Map<String, Value> =
        required(tool).into_iter().map(|name| (name.to_owned(), json!({"wrong": [null]}))).collect();
    let tries =
        [("without its required arguments", json!({})), ("with arguments of wrong types", Value::Object(wrong))];
    let mut accepted = None;
    for (how, arguments) in tries {
        let answer = it.ask("tools/call", json!({"name": name, "arguments": arguments})).await;
        let what = format!("a call of {shown} {how}");
        let survived = it.survived(life).await;
        match (&answer, &survived) {
            (Answer::Result(result), Ok(())) if result["isError"] != true => {
                accepted.get_or_insert(format!("{what} {answer}"));
            }
            _ => {
                let check = of_wrong_request(ID, &what, &answer, survived, None);
                if check.mark == Mark::Fail {
                    return check;
                }
            }
        }
    }
    match accepted {
        Some(what) => {
            Check::warn(ID, what, "check the arguments by the tool's own inputSchema, so that a model sees its mistake")
        }
        None => Check::pass(ID, format!("wrong calls of {shown} were answered with errors")),
    }
}

/// Whether it goes on after it is told that a call is waited for no longer.
async fn cancel(it: &Examinee<'_>, tools: Option<&[Value]>) -> Check {
    const ID: &str = "cancel";
    let Some((name, _)) = tools.and_then(|tools| harmless(tools, false)) else {
        return Check::skip(
            ID,
            "no tool without required arguments is marked readOnlyHint: true, and no other is called",
        );
    };
    let (life, told) = (it.settled().await, it.record().map(|record| record.cancelled));
    let shown = brief(name);
    if let Err(why) = it.ask_and_cancel("tools/call", json!({"name": name, "arguments": {}})).await {
        return Check::skip(ID, format!("a call of {shown} could not be sent: {why}"));
    }
    let remedy = "take notifications/cancelled as a wish: end that call, or go on with it, and serve all others";
    match it.survived(life).await {
        Err(then) => Check::fail(ID, format!("a call of {shown} was cancelled, and then {then}"), remedy),
        Ok(()) if it.record().map(|record| record.cancelled) <= told => {
            Check::skip(ID, format!("{shown} had answered before its call could be cancelled"))
        }
        Ok(()) => Check::pass(ID, format!("a call of {shown} was cancelled, and it goes on")),
    }
}

/// Whether it answers many requests at once, each once.
async fn parallel(it: &Examinee<'_>, tools: Option<&[Value]>) -> Check {
    const ID: &str = "parallel";
    let has_tools = tools.is_some_and(|tools| !tools.is_empty());
    let life = it.settled().await;
    let method = |at: usize| if has_tools && at % 2 == 1 { TOOLS.method } else { "ping" };
    let answers = join_all((0..AT_ONCE).map(|at| it.ask(method(at), Value::Null))).await;
    let is_answer = |(at, answer): (usize, &Answer)| match answer {
        Answer::Result(result) => method(at) == "ping" || result[TOOLS.member].is_array(),
        // That pings get errors is told by the check for that.
        Answer::Error(_) => method(at) == "ping",
        Answer::Silence(_) | Answer::Gone(_) => false,
    };
    let wrong: Vec<usize> =
        answers.iter().enumerate().filter(|(at, answer)| !is_answer((*at, answer))).map(|(at, _)| at).collect();
    let remedy = "answer each request once, with its own id, in whatever order";
    if let Some(first) = wrong.first() {
        let what = match &answers[*first] {
            Answer::Result(_) => format!("{} was answered with the result of something else", method(*first)),
            other @ (Answer::Error(_) | Answer::Silence(_) | Answer::Gone(_)) => format!("{} {other}", method(*first)),
        };
        return Check::fail(ID, format!("{} of {AT_ONCE} at once: {what}", wrong.len()), remedy);
    }
    if let Err(then) = it.survived(life).await {
        return Check::fail(ID, format!("{AT_ONCE} at once were answered, and then {then}"), remedy);
    }
    match it.record() {
        Some(record) if record.twice > 0 => Check::fail(
            ID,
            format!("some requests were answered more than once ({} answers too many)", record.twice),
            remedy,
        ),
        Some(record) if record.unasked > 0 => {
            Check::fail(ID, format!("there were answers to what nobody had asked ({} of them)", record.unasked), remedy)
        }
        Some(_) => Check::pass(ID, format!("{AT_ONCE} requests at once were answered, each once")),
        None => Check::warn(
            ID,
            format!("{AT_ONCE} requests at once were answered; whether each once was not seen, as too much passed"),
            "test it alone",
        ),
    }
}

/// The tools by their names.
fn by_name(tools: &[Value]) -> BTreeMap<&str, &Value> {
    tools.iter().filter_map(|tool| Some((tool["name"].as_str()?, tool))).collect()
}

/// What has become of the tools since the life before.
fn compared(before: &[Value], now: &[Value]) -> Check {
    const ID: &str = "restart";
    let (before, now) = (by_name(before), by_name(now));
    let differing = |of: &BTreeMap<&str, &Value>, other: &BTreeMap<&str, &Value>| -> Vec<String> {
        of.keys().filter(|name| !other.contains_key(*name)).map(|name| brief(name).into_owned()).collect()
    };
    let named = |names: &[String]| listed(names.iter().take(SHOWN).collect(), names.len());
    let (gone, new) = (differing(&before, &now), differing(&now, &before));
    let remedy = "offer the same tools after each start: clients and models remember them, and call what they remember";
    match (gone.as_slice(), new.as_slice()) {
        ([], []) => {}
        (gone, []) => return Check::fail(ID, format!("after a restart it has no more: {}", named(gone)), remedy),
        (_, new) => return Check::fail(ID, format!("after a restart it has other tools: {}", named(new)), remedy),
    }
    let changed: Vec<String> = before
        .iter()
        .filter(|(name, tool)| now.get(*name) != Some(tool))
        .map(|(name, _)| brief(name).into_owned())
        .collect();
    if changed.is_empty() {
        return Check::pass(ID, "in a new process it answers, and offers the same tools");
    }
    Check::warn(ID, format!("after a restart it describes otherwise: {}", named(&changed)), remedy)
}

/// Whether another process of it offers the same.
async fn restart(it: &Examinee<'_>, tools: Option<&[Value]>) -> Check {
    const ID: &str = "restart";
    if !it.is_process() {
        return Check::skip(ID, "it is reached over HTTP, and is no process of this machine");
    }
    let Some(before) = tools else { return Check::skip(ID, "its tools could not be read before") };
    let life = it.settled().await;
    if let Err(why) = it.order(Order::Restart { name: it.name().to_owned(), connection: false }).await {
        let remedy = "a second process has to come up as the first one did: is a port, a lock or a file still taken?";
        return Check::fail(ID, format!("another process of it does not serve: {why}"), remedy);
    }
    if it.life() == life {
        return Check::skip(ID, "it was not restarted");
    }
    if before.is_empty() {
        return Check::pass(ID, "it answers in a new process");
    }
    match it.list(TOOLS).await {
        Ok((now, _)) => compared(before, &now),
        Err(answered @ (Answered::Otherwise(_) | Answered::Oddly(_))) => {
            let remedy = "answer in each life as in the first";
            Check::fail(ID, format!("after a restart {} {answered}", TOOLS.method), remedy)
        }
    }
}

/// Whether it ends by itself when nobody writes to its stdin any more. Nothing can be asked of it afterwards.
async fn stop(it: &Examinee<'_>) -> Check {
    const ID: &str = "stop";
    if !it.is_process() {
        return Check::skip(ID, "it is reached over HTTP, and is no process of this machine");
    }
    if let Err(why) = it.order(Order::Stop { name: it.name().to_owned() }).await {
        return Check::fail(ID, why, "end when stdin ends");
    }
    let remedy = "end the process when stdin ends: clients close it to stop a server, and some wait for it";
    match it.of_status(|server| server.halted.clone()) {
        Some(halted) if halted.signalled => {
            let why = halted.why;
            Check::warn(ID, format!("it went on when its stdin was closed, and was sent a signal: it {why}"), remedy)
        }
        Some(halted) => Check::pass(ID, format!("it {} when its stdin was closed", halted.why)),
        None => Check::skip(ID, "there was no process any more"),
    }
}

/// The checks, in their order. `tools`: those of the server, if they could be read.
pub(super) async fn all(it: &Examinee<'_>, tools: Option<&[Value]>, made: &RefCell<Vec<Check>>) {
    let add = |check| made.borrow_mut().push(check);
    add(unknown_method(it).await);
    add(unknown_tool(it, tools).await);
    add(arguments(it, tools).await);
    add(cancel(it, tools).await);
    add(parallel(it, tools).await);
    add(restart(it, tools).await);
    add(stop(it).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tools_that_say_that_they_only_read_are_called() {
        let tool = |name: &str, hint: Value, needs: Value| json!({"name": name, "annotations": {"readOnlyHint": hint}, "inputSchema": {"type": "object", "required": needs}});
        let none = json!([]);
        let writes = [
            tool("a", json!(false), none.clone()),
            tool("b", json!("true"), none.clone()),
            tool("c", json!(1), none.clone()),
            json!({"name": "d", "annotations": {"destructiveHint": false}}),
            json!({"name": "e"}),
        ];
        assert!(harmless(&writes, true).is_none() && harmless(&writes, false).is_none());
        let mut reads = writes.to_vec();
        reads.extend([tool("needs", json!(true), json!(["x"])), tool("plain", json!(true), none)]);
        assert_eq!(harmless(&reads, true).map(|(name, _)| name), Some("needs"));
        assert_eq!(harmless(&reads, false).map(|(name, _)| name), Some("plain"));
    }

    #[test]
    fn a_wrong_request_is_to_be_answered_with_an_error_and_survived() {
        let error = |code| Answer::Error(RpcError { code, message: "no".into(), ours: false });
        let silence = Answer::Silence(std::time::Duration::from_secs(1));
        let code = Some(RpcError::METHOD_NOT_FOUND);
        for (answer, survived, code, mark) in [
            (error(-32601), Ok(()), code, Mark::Pass),
            (error(-32602), Ok(()), code, Mark::Warn),
            (error(-32602), Ok(()), None, Mark::Pass),
            (Answer::Result(json!({"isError": true})), Ok(()), None, Mark::Pass),
            (Answer::Result(json!({})), Ok(()), code, Mark::Fail),
            (silence.clone(), Ok(()), None, Mark::Fail),
            (Answer::Gone("it is gone".into()), Ok(()), None, Mark::Fail),
            (error(-32601), Err("it ended".to_owned()), code, Mark::Fail),
        ] {
            let check = of_wrong_request("x", "the thing", &answer, survived.clone(), code);
            assert_eq!(check.mark, mark, "{answer:?} {survived:?}");
            assert!(check.message.starts_with("the thing "), "{check:?}");
        }
    }

    #[test]
    fn tools_are_the_same_after_a_restart_in_whatever_order() {
        let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
        let other = json!({"name": "b", "description": "now"});
        for (before, now, mark, said) in [
            (vec![a.clone(), b.clone()], vec![b.clone(), a.clone()], Mark::Pass, "same"),
            (vec![a.clone(), b.clone()], vec![a.clone()], Mark::Fail, "no more: b"),
            (vec![a.clone()], vec![a.clone(), b.clone()], Mark::Fail, "other tools: b"),
            (vec![a.clone(), b], vec![a, other], Mark::Warn, "otherwise: b"),
        ] {
            let check = compared(&before, &now);
            assert!(check.mark == mark && check.message.contains(said), "{check:?}");
        }
    }
}
