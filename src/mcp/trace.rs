//! By which ids others tell a request: the trace that it is part of (W3C Trace Context, level 1), or a request id as reverse proxies give one. Pure.
//!
//! In a message both stand in `params._meta`: the trace under the names of the headers (MCP 2026-07-28, basic, `_meta`), the request id under a
//! name of ours. They pass through like everything else in `_meta`; what is read here is for the log and for whoever looks on.

use std::collections::BTreeSet;

use super::envelope::Envelope;

/// The names in `_meta`, and of the headers.
pub(crate) const PARENT: &str = "traceparent";
pub(crate) const STATE: &str = "tracestate";
/// The name in `_meta` of what is `X-Request-Id` in a header.
pub(crate) const REQUEST_ID: &str = "mcp-pipe/requestId";

/// Longest request id, in bytes: a UUID has 36, and a line of the log has to stay readable.
pub(crate) const MAX_REQUEST_ID: usize = 128;
/// Longest `tracestate`, in bytes: four times of what everybody has to pass on.
const MAX_STATE: usize = 2048;
/// Most entries of one, by the specification.
const MAX_ENTRIES: usize = 32;

/// Length of version, trace id, parent id and flags, with the dashes between them.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The trace id of a `traceparent`, if that is one (section 3.2). Of a version that is not known yet only what all versions begin with is looked
/// at.
pub(crate) fn trace_id(parent: &[u8]) -> Option<&[u8]> {
    let (begin, rest) = parent.split_at_checked(LENGTH)?;
    let (version, trace, parent, flags) = (&begin[..2], &begin[3..35], &begin[36..52], &begin[53..]);
    let are_apart = [2, 35, 52].into_iter().all(|dash| begin[dash] == b'-');
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &[u8]| is_hex(part) && part.iter().any(|byte| *byte != b'0');
    let may_end_so = if version == b"00" { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
    let is_one = are_apart && is_hex(version) && version != b"ff" && is_id(trace) && is_id(parent) && is_hex(flags);
    (is_one && may_end_so).then_some(trace)
}

/// Whether a text is a `tracestate` (section 3.3).
pub(crate) fn is_state(state: &[u8]) -> bool {
    let entries = || state.split(|byte| *byte == b',').map(trim).filter(|entry| !entry.is_empty());
    let mut keys = BTreeSet::new();
    let is_entry = |entry: &[u8]| {
        let equals = entry.iter().position(|byte| *byte == b'=');
        equals.is_some_and(|at| is_key(&entry[..at]) && is_value(&entry[at + 1..]))
    };
    let mut is_new = |entry: &[u8]| keys.insert(entry.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec));
    let count = entries().take(MAX_ENTRIES + 1).count();
    state.len() <= MAX_STATE
        && (1..=MAX_ENTRIES).contains(&count)
        && entries().all(|entry| is_entry(entry) && is_new(entry))
}

/// Without blanks and tabs around it.
fn trim(mut part: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = part {
        part = rest;
    }
    part
}

/// Whether a text is the key of an entry: with the name of a tenant before an `@`, or alone.
fn is_key(key: &[u8]) -> bool {
    let others =
        |part: &[u8]| part.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'));
    match key.iter().position(|byte| *byte == b'@') {
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let begins = |part: &[u8]| part.first().is_some_and(u8::is_ascii_lowercase);
            let is_tenant = begins(tenant) || tenant.first().is_some_and(u8::is_ascii_digit);
            is_tenant && tenant.len() <= 241 && others(tenant) && begins(system) && system.len() <= 14 && others(system)
        }
        None => key.first().is_some_and(u8::is_ascii_lowercase) && key.len() <= 256 && others(key),
    }
}

/// Whether a text is the value of an entry; blanks at its end are gone by now.
fn is_value(value: &[u8]) -> bool {
    let may_be_in_it = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b',' && *byte != b'=';
    (1..=256).contains(&value.len()) && value.iter().all(may_be_in_it) && value.last() != Some(&b' ')
}

/// Whether a text may be a request id: visible ASCII, and none of the two characters that are written otherwise in JSON.
pub(crate) fn is_request_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' && *byte != b'\\';
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(is_plain)
}

/// The id by which the log tells a request, if the request carries one that is as it has to be: that of its trace, else that of the request.
pub(crate) fn of_message<'a>(frame: &'a [u8], e: &Envelope) -> Option<&'a str> {
    let inside =
        |range: &Option<std::ops::Range<usize>>| frame.get(range.clone()?)?.strip_prefix(b"\"")?.strip_suffix(b"\"");
    let trace = inside(&e.traceparent).and_then(trace_id);
    // Both are ASCII.
    trace.or_else(|| inside(&e.named_id).filter(|id| is_request_id(id))).and_then(|id| str::from_utf8(id).ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::envelope::scan_one;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn parent(version: &str, rest: &str) -> String {
        format!("{version}-{TRACE}-b7ad6b7169203331-01{rest}")
    }

    #[test]
    fn a_trace_is_one_by_its_form_and_of_a_later_version_by_its_beginning() {
        for good in [parent("00", ""), parent("01", ""), parent("cc", "-more"), parent("01", "-")] {
            assert_eq!(trace_id(good.as_bytes()), Some(TRACE.as_bytes()), "{good}");
        }
        let zeros = "0".repeat(32);
        let bad = [
            parent("ff", ""),
            parent("00", "-more"),
            parent("01", "more"),
            parent("0", ""),
            parent("0A", ""),
            parent("00", "").to_uppercase(),
            parent("00", "").replace(TRACE, &zeros),
            parent("00", "").replace("b7ad6b7169203331", &zeros[..16]),
            parent("00", "").replace('-', "_"),
            parent("00", "").replace("-01", "-0g"),
            format!(" {}", parent("00", "")),
            String::new(),
        ];
        for bad in bad {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_state_of_a_trace_is_a_list_of_entries() {
        let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for good in ["a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1 , ,b=x y", "1t@v=x", "a/_-*=~", &many(32)] {
            assert!(is_state(good.as_bytes()), "{good}");
        }
        let long = format!("a={}", "x".repeat(257));
        for bad in [
            "",
            " ",
            "a",
            "a=",
            "=1",
            "A=1",
            "1a=1",
            "a=1,a=2",
            "a=1=2",
            "a=é",
            "a@1b=x",
            "@v=x",
            "a\n=1",
            &many(33),
            &long,
        ] {
            assert!(!is_state(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_trace_counts_before_the_request_id_and_what_is_no_id_counts_nothing() {
        let of = |meta: &str| {
            let frame = format!(r#"{{"id":1,"method":"x","params":{{"_meta":{meta}}}}}"#);
            let e = scan_one(frame.as_bytes()).unwrap();
            of_message(frame.as_bytes(), &e).map(str::to_owned)
        };
        let (good, bad) = (parent("00", ""), parent("ff", ""));
        assert_eq!(of(&format!(r#"{{"{PARENT}":"{good}","{REQUEST_ID}":"r-1"}}"#)).as_deref(), Some(TRACE));
        assert_eq!(of(&format!(r#"{{"{REQUEST_ID}":"r-1","{PARENT}":"{bad}"}}"#)).as_deref(), Some("r-1"));
        for none in [
            "{}",
            "null",
            r#"{"traceparent":1}"#,
            r#"{"mcp-pipe/requestId":"a b"}"#,
            r#"{"mcp-pipe/requestId":"a\"b"}"#,
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let long = "x".repeat(MAX_REQUEST_ID);
        assert!(is_request_id(long.as_bytes()) && !is_request_id(format!("{long}x").as_bytes()) && !is_request_id(b""));
    }

    proptest! {
        /// Whatever comes is judged without a panic, and what is taken is what a line of the log, a header and JSON take as it is.
        #[test]
        fn what_is_taken_is_plain(any in proptest::collection::vec(any::<u8>(), 0..80), near in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?") {
            for text in [&any[..], near.as_bytes()] {
                if let Some(id) = trace_id(text) {
                    prop_assert!(id.len() == 32 && id.iter().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
                    prop_assert!(!id.iter().all(|byte| *byte == b'0'));
                }
                let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t') && *byte != b'"';
                if is_request_id(text) {
                    prop_assert!(text.iter().all(is_plain));
                }
                if is_state(text) {
                    prop_assert!(text.iter().all(|byte| byte.is_ascii()));
                }
            }
        }

        /// All of the form but the ids of zeros is taken.
        #[test]
        fn all_that_is_one_is_taken(trace in "[0-9a-f]{31}[1-9a-f]", parent in "[1-9a-f][0-9a-f]{15}", flags in "[0-9a-f]{2}", key in "[a-z][a-z0-9_*/-]{0,20}", value in "[!-+.-<>-~]{1,20}") {
            let text = format!("00-{trace}-{parent}-{flags}");
            prop_assert_eq!(trace_id(text.as_bytes()), Some(trace.as_bytes()));
            let state = format!("{key}={value}");
            prop_assert!(is_state(state.as_bytes()), "{}", state);
        }
    }
}
