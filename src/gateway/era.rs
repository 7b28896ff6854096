//! Of which era a request says that it is (MCP 2026-07-28, basic/transports). Pure.

use http::{HeaderMap, HeaderName};

use crate::mcp::envelope::Scanned;
use crate::mcp::modern::{VERSION, named_version};

pub(super) const VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Whether what was posted belongs to the modern era.
pub(super) fn is_modern(headers: &HeaderMap, body: &[u8], scanned: &Scanned) -> bool {
    let by_header = is_modern_header(headers);
    match scanned {
        Scanned::Batch(_) => by_header,
        Scanned::One(e) => {
            let is_hello = e.method.clone().is_some_and(|method| &body[method] == b"initialize");
            // Many clients send the header of their last conversation with the first message of the next one.
            by_header && !is_hello || named_version(body, e).is_some()
        }
    }
}

/// Whether a request says by its header that it belongs to the modern era.
pub(super) fn is_modern_header(headers: &HeaderMap) -> bool {
    headers.get_all(VERSION_HEADER).iter().any(|version| version.as_bytes().trim_ascii() >= VERSION.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::mcp::envelope::scan;

    fn headers(version: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let (false, Ok(value)) = (version.is_empty(), HeaderValue::from_str(version)) {
            headers.insert(VERSION_HEADER, value);
        }
        headers
    }

    #[test]
    fn an_era_is_known_by_the_header_or_by_the_body() {
        let modern = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}}"#;
        let escaped = modern.replace('/', "\\/");
        let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
        let both =
            hello.replace(r#""protocolVersion""#, r#""_meta":{"io.modelcontextprotocol/protocolVersion":"x"},"a""#);
        for (version, body, want) in [
            ("", modern, true),
            ("", &escaped, true),
            ("2025-11-25", modern, true),
            ("", plain, false),
            ("2025-11-25", plain, false),
            ("2026-07-27", plain, false),
            ("2026-07-28", plain, true),
            (" 2026-07-28 ", plain, true),
            ("2027-01-01", plain, true),
            ("v9", plain, true),
            ("", hello, false),
            ("2026-07-28", hello, false),
            ("2026-07-28", &both, true),
            ("2026-07-28", "[]", true),
            ("2025-03-26", "[]", false),
        ] {
            let Ok(scanned) = scan(body.as_bytes()) else { panic!("{body}") };
            assert_eq!(is_modern(&headers(version), body.as_bytes(), &scanned), want, "{version} {body}");
        }
    }
}
