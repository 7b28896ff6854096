//! The trace and the request id in the headers of a request, passed on in its message: what is behind the pipe sees no headers. Pure.
//!
//! What a client has written into `_meta` itself counts before its headers, which a proxy may have added.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, HeaderName};

use super::reply::Answer;
use crate::mcp::envelope::{self, Envelope, Kind, Scanned};
use crate::mcp::modern::stamp::replaced;
use crate::mcp::object::{self, Member};
use crate::mcp::trace::{PARENT, REQUEST_ID, STATE, is_request_id, is_state, trace_id};

const ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The request id in the headers; none where there are several, or it is none.
pub(super) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    only(headers, &ID_HEADER).filter(|id| is_request_id(id.as_bytes())).cloned()
}

/// Says to which request this is the answer.
pub(super) fn echo(answer: &mut Answer, id: Option<HeaderValue>) {
    if let Some(id) = id {
        answer.headers_mut().insert(ID_HEADER, id);
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// What the headers say, as members of `_meta`: keys, and values that are raw JSON. What is not as it has to be is left out, and
/// without a trace so is its state (W3C Trace Context, sections 3.2.2 and 3.3.1).
fn members(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let mut members = Vec::new();
    let text = |value: &[u8]| object::quoted(&String::from_utf8_lossy(value));
    let parent = only(headers, &HeaderName::from_static(PARENT)).map(HeaderValue::as_bytes);
    if let Some(parent) = parent.filter(|parent| trace_id(parent).is_some()) {
        members.push((PARENT, text(parent)));
        let states = headers.get_all(STATE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b","[..]);
        if is_state(&states) {
            members.push((STATE, text(&states)));
        }
    }
    members.extend(request_id(headers).map(|id| (REQUEST_ID, text(id.as_bytes()))));
    members
}

/// A body with what its headers say in the `_meta` of each request in it. Nothing is added beyond the size that a body may have, nor to
/// `initialize`, which is said again to servers that start anew.
pub(super) fn passed_on(headers: &HeaderMap, max_body: usize, body: Bytes, scanned: Scanned) -> (Bytes, Scanned) {
    let members = members(headers);
    if members.is_empty() {
        return (body, scanned);
    }
    let parts = match &scanned {
        Scanned::One(e) => Vec::from_iter(part(&body, e, &members)),
        Scanned::Batch(batch) => {
            let of = |member: &std::ops::Range<usize>| {
                let frame = &body[member.clone()];
                let (at, text) = part(frame, &envelope::scan_one(frame)?, &members)?;
                Some((member.start + at.start..member.start + at.end, text))
            };
            batch.iter().filter_map(of).collect()
        }
    };
    let more: usize = parts.iter().map(|(_, text)| text.len()).sum();
    if more == 0 || body.len() + more > max_body {
        return (body, scanned);
    }
    let traced = replaced(&body, parts);
    match envelope::scan(&traced) {
        Ok(scanned) => (traced.into(), scanned),
        // Nothing that was read before can become unreadable by this; if it does, it is left as it was.
        Err(_) => (body, scanned),
    }
}

/// Where something is added to a request, and what.
fn part(frame: &[u8], e: &Envelope, members: &[(&str, String)]) -> Option<(std::ops::Range<usize>, String)> {
    if e.kind(frame) != Kind::Request || e.method.clone().is_some_and(|method| &frame[method] == b"initialize") {
        return None;
    }
    let object = |written: &[Member<'_>]| {
        let is_written = |name: &str| written.iter().any(|member| member.name() == name);
        // The state belongs to its trace, whoever has written that.
        let is_new = |name: &str| !(is_written(name) || name == STATE && is_written(PARENT));
        let new = members.iter().filter(|(name, _)| is_new(name));
        new.map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",")
    };
    let Some(params) = e.params.clone() else {
        let end = frame.iter().rposition(|byte| *byte == b'}')?;
        return Some((end..end, format!(",\"params\":{{\"_meta\":{{{}}}}}", object(&[]))));
    };
    let text = str::from_utf8(&frame[params.clone()]).ok()?;
    let written = object::members(text)?;
    let comma = |is_alone: bool| if is_alone { "" } else { "," };
    match written.iter().find(|member| member.name() == "_meta") {
        Some(meta) => {
            let others = object::members(meta.value)?;
            let new = Some(object(&others)).filter(|new| !new.is_empty())?;
            // The value is a part of the frame, so its place is known.
            let at = meta.value.as_ptr().addr() - frame.as_ptr().addr() + 1;
            Some((at..at, format!("{new}{}", comma(others.is_empty()))))
        }
        None => {
            let at = params.start + 1;
            Some((at..at, format!("\"_meta\":{{{}}}{}", object(&[]), comma(written.is_empty()))))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn all() -> HeaderMap {
        headers(&[("traceparent", TRACE), ("tracestate", "a=1"), ("x-request-id", "r-1")])
    }

    fn passed(headers: &HeaderMap, body: &str) -> String {
        let (traced, scanned) =
            passed_on(headers, 1 << 20, Bytes::from(body.to_owned()), envelope::scan(body.as_bytes()).unwrap());
        assert_eq!(envelope::scan(&traced), Ok(scanned));
        String::from_utf8(traced.to_vec()).unwrap()
    }

    #[test]
    fn whatever_parameters_a_request_has_the_rest_stays_byte_for_byte() {
        let new = format!(r#""traceparent":"{TRACE}","tracestate":"a=1","mcp-pipe/requestId":"r-1""#);
        let table = [
            (r#"{"id":1,"method":"x" } "#, r#"{"id":1,"method":"x" ,"params":{"_meta":{NEW}}} "#),
            (r#"{"id":1,"method":"x","params":{}}"#, r#"{"id":1,"method":"x","params":{"_meta":{NEW}}}"#),
            (
                r#"{"params": { "a":1.00},"id":1,"method":"x"}"#,
                r#"{"params": {"_meta":{NEW}, "a":1.00},"id":1,"method":"x"}"#,
            ),
            (r#"{"id":1,"method":"x","params":{"_meta":{}}}"#, r#"{"id":1,"method":"x","params":{"_meta":{NEW}}}"#),
            (
                r#"{"id":1,"method":"x","params":{"_meta":{ "p":0}}}"#,
                r#"{"id":1,"method":"x","params":{"_meta":{NEW, "p":0}}}"#,
            ),
        ];
        for (body, expected) in table {
            assert_eq!(passed(&all(), body), expected.replace("NEW", &new));
        }
        let batch = r#"[{"id":1,"method":"x"}, {"method":"y"},{"id":2,"method":"x","params":{}}]"#;
        assert_eq!(passed(&all(), batch).matches(&new).count(), 2);
    }

    #[test]
    fn what_the_client_has_written_counts_and_what_is_no_request_stays_as_it_is() {
        let own = r#"{"id":1,"method":"x","params":{"_meta":{"traceparent":"mine"}}}"#;
        assert_eq!(
            passed(&all(), own),
            own.replace(r#"{"traceparent""#, r#"{"mcp-pipe/requestId":"r-1","traceparent""#)
        );
        for same in [
            r#"{"id":1,"method":"initialize","params":{}}"#,
            r#"{"method":"notifications/x"}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"method":"x","params":null}"#,
            r#"{"id":1,"method":"x","params":[1]}"#,
            r#"{"id":1,"method":"x","params":{"_meta":null}}"#,
            r#"{"id":1,"method":"x","params":{"_meta":{"mcp-pipe/requestId":1,"\u0074raceparent":2}}}"#,
        ] {
            assert_eq!(passed(&all(), same), same);
        }
        let body = r#"{"id":1,"method":"x"}"#;
        let (same, _) = passed_on(&all(), body.len() + 50, Bytes::from(body), envelope::scan(body.as_bytes()).unwrap());
        assert_eq!(same, body, "there is no room");
    }

    #[test]
    fn headers_that_are_not_as_they_have_to_be_say_nothing() {
        let body = r#"{"id":1,"method":"x"}"#;
        for pairs in [
            &[("traceparent", "00-x"), ("tracestate", "a=1")][..],
            &[("tracestate", "a=1")],
            &[("traceparent", TRACE), ("traceparent", TRACE)],
            &[("x-request-id", "a b")],
            &[("x-request-id", "a"), ("x-request-id", "b")],
            &[],
        ] {
            assert_eq!(passed(&headers(pairs), body), body, "{pairs:?}");
        }
        let said = passed(&headers(&[("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")]), body);
        assert!(said.contains(r#""tracestate":"a=1,b=2""#), "{said}");
        let said = passed(&headers(&[("traceparent", TRACE), ("tracestate", "A")]), body);
        assert!(said.contains(TRACE) && !said.contains("tracestate"), "{said}");
    }

    proptest! {
        #[test]
        fn a_request_is_the_same_one_but_for_what_is_added(members in object::tests::raw_members(), meta in proptest::option::of(object::tests::raw_members())) {
            let object = |members: &[(String, String)]| object::object(members.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let mut members = members;
            if let Some(meta) = &meta {
                members.push(("\"_meta\"".to_owned(), object(meta)));
            }
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}}}"#, object(&members));
            prop_assume!(matches!(envelope::scan(body.as_bytes()), Ok(Scanned::One(_))));
            let traced = passed(&all(), &body);
            let meta = object::find(&traced, &["params", "_meta"]).unwrap();
            let said: Value = serde_json::from_str(meta).unwrap_or_default();
            prop_assert!(said.is_null() || said["traceparent"] == json!(TRACE));
            let new = format!(r#""traceparent":"{TRACE}","tracestate":"a=1","mcp-pipe/requestId":"r-1""#);
            let added = if body.contains("\"_meta\":{") { new } else { format!("\"_meta\":{{{new}}}") };
            let without = traced.replacen(&added, "", 1);
            let plain = |text: &str| text.replace(',', "");
            prop_assert_eq!(plain(&without), plain(&body));
        }
    }
}
