//! What becomes of calls, and by which methods they are told apart: closed sets, so that whatever is counted by them is bounded.

use crate::mcp::envelope::Envelope;

/// What has become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The server has answered with a result.
    Ok,
    /// The server has answered with a result in which the tool reports a failure.
    ToolError,
    /// The server has answered with an error of JSON-RPC, or with something that is no answer.
    RpcError,
    /// The call was waited for no longer.
    Timeout,
    /// The client has cancelled the call, or is gone.
    Cancelled,
    /// The server's answer was above the size limit.
    TooLarge,
    /// The server was not there, or has ended before it answered.
    ServerDown,
    /// mcp-pipe has not passed the call on.
    Refused,
}

impl Outcome {
    /// All of them, each at the place that its number names.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::ToolError,
        Outcome::RpcError,
        Outcome::Timeout,
        Outcome::Cancelled,
        Outcome::TooLarge,
        Outcome::ServerDown,
        Outcome::Refused,
    ];

    /// That of a call that was answered with this message.
    pub(super) fn of_answer(e: &Envelope) -> Self {
        match e.result {
            Some(_) if e.tool_error => Outcome::ToolError,
            Some(_) => Outcome::Ok,
            None => Outcome::RpcError,
        }
    }

    /// How machines know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ToolError => "tool_error",
            Outcome::RpcError => "rpc_error",
            Outcome::Timeout => "timeout",
            Outcome::Cancelled => "cancelled",
            Outcome::TooLarge => "too_large",
            Outcome::ServerDown => "server_down",
            Outcome::Refused => "refused",
        }
    }
}

/// The methods by which calls are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallMethod {
    /// `tools/call`.
    Tool,
    /// `prompts/get`.
    Prompt,
    /// `resources/read`.
    Resource,
    /// `completion/complete`.
    Completion,
    /// Any other that is a call.
    Other,
}

impl CallMethod {
    /// All of them, each at the place that its number names.
    pub const ALL: [CallMethod; 5] =
        [CallMethod::Tool, CallMethod::Prompt, CallMethod::Resource, CallMethod::Completion, CallMethod::Other];

    /// Which of them a method is; `None`: no call.
    pub fn of(method: &[u8]) -> Option<Self> {
        Some(match method {
            b"tools/call" => CallMethod::Tool,
            b"prompts/get" => CallMethod::Prompt,
            b"resources/read" => CallMethod::Resource,
            b"completion/complete" => CallMethod::Completion,
            other if is_call(other) => CallMethod::Other,
            _ => return None,
        })
    }

    /// How machines know it.
    pub fn as_str(self) -> &'static str {
        match self {
            CallMethod::Tool => "tools/call",
            CallMethod::Prompt => "prompts/get",
            CallMethod::Resource => "resources/read",
            CallMethod::Completion => "completion/complete",
            CallMethod::Other => "other",
        }
    }
}

/// Whether an answer to this method shows that the whole path works. Handshake, ping and lists don't: an endpoint that
/// refuses our tools has asked for all of them before.
pub(super) fn is_call(method: &[u8]) -> bool {
    !(method == b"initialize" || method == b"ping" || method == b"server/discover" || method.ends_with(b"/list"))
}

/// A call, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedCall<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// The tool that is called, by the server's own name for it where that is known; empty if it is no call of a tool, or the name is too long.
    pub tool: &'a [u8],
    /// What has become of it.
    pub outcome: Outcome,
    /// By which id others tell the call, if it carries one (`mcp/trace.rs`): for the log, and not for what is counted.
    pub trace: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_only_calls_have_a_method() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
        for (at, method) in CallMethod::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, at);
            let known = CallMethod::of(method.as_str().as_bytes());
            assert_eq!(known, Some(method));
        }
        for no_call in ["initialize", "ping", "tools/list", "server/discover"] {
            assert_eq!(CallMethod::of(no_call.as_bytes()), None, "{no_call}");
        }
    }
}
