//! The JSON-RPC messages that are ours, not passed on.

use std::fmt::Display;

/// JSON-RPC 2.0 section 5.1: the frame is no JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// JSON-RPC 2.0 section 5.1: JSON, but no request.
pub(crate) const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC 2.0 section 5.1: nobody serves this method.
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC 2.0 section 5.1: the method exists, but not with these parameters; MCP uses it for unknown names.
pub(crate) const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC 2.0 section 5.1: a fault of whoever answers.
pub(crate) const INTERNAL: i32 = -32603;
/// MCP, server/resources: no resource has this URI.
pub(crate) const RESOURCE_NOT_FOUND: i32 = -32002;
/// JSON-RPC 2.0 section 5.1, the range for implementations: the server is not there, or its answer can't be passed on.
pub(crate) const UNAVAILABLE: i32 = -32000;

/// MCP's field (its SDKs), for legacy peers: an answer took too long.
pub(crate) const TIMEOUT: i32 = -32001;

/// In the `data` of each error that mcp-pipe answers itself, so that nobody takes it for the server's.
pub(crate) const OURS: (&str, &str) = ("from", "mcp-pipe");

/// Longest message of an error, in bytes: it may quote what somebody else wrote, and thousands may be owed at once.
pub(crate) const MAX_MESSAGE: usize = 1024;

/// An error answer of mcp-pipe itself, marked as such. `id` is the raw token of the request's id.
pub(crate) fn error(id: &[u8], code: i32, message: impl Display) -> Vec<u8> {
    error_with(id, code, message, &[])
}

/// The same with further members of its `data`: names that need no escapes, and raw JSON.
pub(crate) fn error_with(id: &[u8], code: i32, message: impl Display, more: &[(&str, &str)]) -> Vec<u8> {
    let mut frame = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    frame.extend_from_slice(id);
    let message = serde_json::Value::from(line(message));
    let mut data = format!("\"{}\":\"{}\"", OURS.0, OURS.1);
    for (name, value) in more {
        data.extend([",\"", name, "\":", value]);
    }
    let error = format!(",\"error\":{{\"code\":{code},\"message\":{message},\"data\":{{{data}}}}}}}");
    frame.extend_from_slice(error.as_bytes());
    frame
}

/// The message as one line of at most [`MAX_MESSAGE`] bytes.
fn line(message: impl Display) -> String {
    let mut text = message.to_string();
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE - "…".len()));
        text.push('…');
    }
    // As JSON each control character would be six bytes.
    text.replace(|c: char| c < ' ', " ")
}

/// A result. `id` and `result` are raw JSON.
pub(crate) fn result(id: &[u8], result: &[u8]) -> Vec<u8> {
    [b"{\"jsonrpc\":\"2.0\",\"id\":", id, b",\"result\":", result, b"}"].concat()
}

/// A request of our own. `params` is raw JSON.
pub(crate) fn request(id: u64, method: &str, params: Option<&[u8]>) -> Vec<u8> {
    let mut frame = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"").into_bytes();
    if let Some(params) = params {
        frame.extend_from_slice(b",\"params\":");
        frame.extend_from_slice(params);
    }
    frame.push(b'}');
    frame
}

/// A notification without parameters.
pub(crate) fn notification(method: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}").into_bytes()
}

/// The notification that the receiver's work on a request is no longer wanted (MCP, utilities/cancellation). `id` is the raw
/// token.
pub(crate) fn cancelled(id: &[u8], reason: &str) -> Vec<u8> {
    let reason = serde_json::Value::from(reason);
    let mut frame = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":".to_vec();
    frame.extend_from_slice(id);
    frame.extend_from_slice(format!(",\"reason\":{reason}}}}}").as_bytes());
    frame
}
