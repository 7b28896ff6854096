//! The checks of the smoke suite: whether a server starts, and offers what clients can take.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::Value;

use super::check::{Check, Mark};
use super::examinee::{Answer, Answered, Examinee};
use super::offer::{self, Listed, PROMPTS, RESOURCES, TEMPLATES, TOOLS};
use crate::control::status::{Remark, ServerStatus};
use crate::inspect::InspectError;
use crate::local::RpcError;
use crate::mcp::cloud;
use crate::words::{counted, listed, span};

/// What a server has told before any check: whether it came up, and why not.
pub(super) type Start<'a> = Result<(), &'a InspectError>;

/// Whether it has answered `initialize`, in time and with what clients need.
pub(super) fn initialize(it: &Examinee<'_>, start: Start<'_>) -> Check {
    const ID: &str = "initialize";
    let Some((welcome, took)) = it.welcome() else {
        let why = start.err().map_or_else(|| "it was not seen to answer".to_owned(), ToString::to_string);
        return Check::fail(ID, why + &it.of_status(ServerStatus::last_lines), remedy_of_start(it));
    };
    if let (Err(error), true) = (start, welcome.is_null()) {
        return Check::fail(ID, error.to_string() + &it.of_status(ServerStatus::last_lines), remedy_of_start(it));
    }
    judged(&welcome, took)
}

/// What is to be said of an answer to `initialize` that took so long.
fn judged(welcome: &Value, took: Duration) -> Check {
    const ID: &str = "initialize";
    let lacks = |member: &&str| match *member {
        "protocolVersion" => !welcome["protocolVersion"].is_string(),
        member => !welcome[member].is_object(),
    };
    let lacking: Vec<&str> = ["protocolVersion", "capabilities", "serverInfo"].into_iter().filter(lacks).collect();
    if !lacking.is_empty() {
        let what = format!("its answer to initialize lacks {}", listed(lacking.clone(), lacking.len()));
        return Check::fail(ID, what, "add what is missing: clients refuse such an answer, and mcp-pipe mends it");
    }
    let most = cloud::INITIALIZE;
    if took > most {
        return Check::warn(
            ID,
            format!("answered after {}, and the xiaozhi cloud waits {}", span(took), span(most)),
            "start faster: load what is large when a tool needs it. mcp-pipe remembers the answer, so only the first start is late",
        );
    }
    Check::pass(ID, format!("answered after {}; the xiaozhi cloud waits {}", span(took), span(most)))
}

fn remedy_of_start(it: &Examinee<'_>) -> &'static str {
    if it.is_process() {
        "run its command by hand in the same folder: it has to wait for lines of JSON on stdin and to answer each on stdout with a flush"
    } else {
        "ask its url by hand: it has to be that of an MCP server, to the last slash, and to let this machine in"
    }
}

/// A list, and the items that it has.
pub(super) async fn list(it: &Examinee<'_>, of: Listed, welcome: &Value) -> (Check, Vec<Value>) {
    let id = of.id;
    let is_declared = welcome["capabilities"][of.member].is_object();
    if !is_declared && of.id != TOOLS.id {
        return (Check::skip(id, format!("it declares no {}", of.member)), Vec::new());
    }
    let (items, pages) = match it.list(of).await {
        Ok(read) => read,
        Err(Answered::Otherwise(Answer::Error(error))) if !is_declared && error.code == RpcError::METHOD_NOT_FOUND => {
            return (Check::skip(id, format!("it declares no {}", of.member)), Vec::new());
        }
        Err(answered) if !is_declared => {
            let why = format!("it declares no {} (and {} {answered})", of.member, of.method);
            return (Check::skip(id, why), Vec::new());
        }
        Err(answered) => {
            let remedy = format!("answer {} with a result that has the list \"{}\"", of.method, of.member);
            return (Check::fail(id, format!("{} {answered}", of.method), remedy), Vec::new());
        }
    };
    let faults = of.faults(&items);
    if !faults.is_empty() {
        let remedy = format!("each {} needs {}", of.one, of.needs.join(" and "));
        return (Check::fail(id, offer::some(&faults), remedy), items);
    }
    let found = format!("{} on {}", counted(items.len(), of.one), counted(pages, "page"));
    if !is_declared && !items.is_empty() {
        let remedy = format!("declare \"{}\": {{}} in the capabilities", of.member);
        let what = format!("{found}, which it does not declare, so that clients don't ask for them");
        return (Check::warn(id, what, remedy), items);
    }
    if !is_declared {
        return (Check::skip(id, format!("it declares no {}", of.member)), items);
    }
    (Check::pass(id, found), items)
}

/// The resources, and the templates for such.
pub(super) async fn resources(it: &Examinee<'_>, welcome: &Value) -> Check {
    let (check, _) = list(it, RESOURCES, welcome).await;
    if !welcome["capabilities"]["resources"].is_object() || check.mark == Mark::Fail {
        return check;
    }
    let id = RESOURCES.id;
    match it.list(TEMPLATES).await {
        Ok((templates, _)) => {
            let faults = TEMPLATES.faults(&templates);
            if !faults.is_empty() {
                let remedy = format!("each template needs {}", TEMPLATES.needs.join(" and "));
                return Check::fail(id, offer::some(&faults), remedy);
            }
            Check { message: format!("{}, {}", check.message, counted(templates.len(), "template")), ..check }
        }
        // A server need not have any.
        Err(Answered::Otherwise(Answer::Error(error))) if error.code == RpcError::METHOD_NOT_FOUND => check,
        Err(answered) => Check::fail(
            id,
            format!("{} {answered}", TEMPLATES.method),
            format!("answer it with a list, or with the error {}", RpcError::METHOD_NOT_FOUND),
        ),
    }
}

/// Whether it answers a ping.
pub(super) async fn ping(it: &Examinee<'_>) -> Check {
    const ID: &str = "ping";
    let answer = it.ask("ping", Value::Null).await;
    match answer {
        Answer::Result(Value::Object(_)) => Check::pass(ID, "answered"),
        Answer::Result(_) | Answer::Error(_) | Answer::Silence(_) | Answer::Gone(_) => Check::fail(
            ID,
            format!("ping {answer}"),
            "answer it at once with {}, also while a tool is at work: clients that ask take a silent server for dead",
        ),
    }
}

/// Whether all that it writes is MCP; `None` of a server that has written nothing. To be asked last.
pub(super) fn stdout(it: &Examinee<'_>) -> Option<Check> {
    const ID: &str = "stdout";
    let remarks = it.of_status(|server| server.remarks.clone());
    let odd: Vec<String> = remarks
        .iter()
        .map(|remark| match remark {
            Remark::Noise(line) if it.is_process() => format!("wrote what is no message to stdout: {line}"),
            Remark::Noise(line) => format!("sent what is no message: {line}"),
            Remark::Odd(what) => what.clone(),
        })
        .collect();
    let is_noise = remarks.iter().any(|remark| matches!(remark, Remark::Noise(_)));
    if odd.is_empty() {
        let how = if it.is_process() { "each on a line" } else { "over HTTP" };
        return it.welcome().map(|_| Check::pass(ID, format!("nothing but messages, {how}")));
    }
    let remedy = match (is_noise, it.is_process()) {
        (true, true) => {
            "log to stderr (Python: print(…, file=sys.stderr); Node.js: console.error): other clients break at such a line"
        }
        (false, true) => "write each message as one line of JSON in UTF-8, with a line break and a flush behind it",
        (_, false) => "send each message as MCP has it: other clients may not understand it",
    };
    Some(Check::fail(ID, offer::some(&odd), remedy))
}

/// The checks of a server that has come up, in their order; and its tools, if they could be read.
pub(super) async fn all(it: &Examinee<'_>, welcome: &Value, made: &RefCell<Vec<Check>>) -> Option<Vec<Value>> {
    let add = |check| made.borrow_mut().push(check);
    let (check, tools) = list(it, TOOLS, welcome).await;
    let is_read = check.mark != Mark::Fail;
    add(check);
    let (check, _) = list(it, PROMPTS, welcome).await;
    add(check);
    add(resources(it, welcome).await);
    if is_read || !tools.is_empty() {
        add(offer::schemas(&tools));
        add(offer::names(&tools));
    }
    add(ping(it).await);
    is_read.then_some(tools)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_to_initialize_is_whole_and_in_time_for_the_cloud() {
        let whole = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x"}});
        let mark = |welcome: &Value, secs| judged(welcome, Duration::from_secs(secs)).mark;
        assert_eq!([mark(&whole, 0), mark(&whole, 10), mark(&whole, 11)], [Mark::Pass, Mark::Pass, Mark::Warn]);
        for (member, odd) in [("protocolVersion", json!(1)), ("capabilities", json!([])), ("serverInfo", json!("x"))] {
            let mut welcome = whole.clone();
            welcome[member] = odd;
            let check = judged(&welcome, Duration::ZERO);
            assert!(check.mark == Mark::Fail && check.message.ends_with(member), "{check:?}");
        }
    }
}
