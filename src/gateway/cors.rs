//! What a browser is told about who may read an answer (Fetch standard, CORS protocol). Pure.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, StatusCode};

use super::reply::{self, Answer};

/// Headers of answers that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, X-Request-Id");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// How long a browser may remember what it was told, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin of a page that the config lets read answers.
pub(super) fn reader(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?.to_ascii_lowercase();
    origins.contains(&text).then(|| origin.clone())
}

/// Whether a browser only asks whether it may ask.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that, which lets in nobody by itself.
pub(super) fn preflight(headers: &HeaderMap, reader: Option<&HeaderValue>) -> Answer {
    let mut answer = reply::empty(StatusCode::NO_CONTENT);
    if reader.is_some() {
        let told = answer.headers_mut();
        told.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        told.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            told.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
    answer
}

/// Tells a browser that a page may read an answer, whichever it is.
pub(super) fn tell(answer: &mut Answer, reader: Option<HeaderValue>) {
    let told = answer.headers_mut();
    told.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = reader {
        told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        told.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
