//! The body of a request, if it may be a message.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::reply::{self, Answer};
use crate::mcp::reply::INVALID_REQUEST;

/// Longest time for a body to come: the largest needs that on a slow line.
const PATIENCE: Duration = Duration::from_secs(120);

/// All of a body of so many bytes at most.
///
/// # Errors
/// The answer that refuses it.
pub(super) async fn collect<B>(max_body: usize, headers: &HeaderMap, body: B) -> Result<Bytes, Box<Answer>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refuse = |status, why: &dyn std::fmt::Display| Box::new(reply::error(status, None, INVALID_REQUEST, why));
    is_json(headers).map_err(|why| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why))?;
    let Ok(collected) = timeout(PATIENCE, Limited::new(body, max_body).collect()).await else {
        return Err(refuse(StatusCode::REQUEST_TIMEOUT, &"the body took too long to come"));
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let why = format!("the body is larger than {max_body} bytes (maxBody)");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &why))
        }
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, &"the body broke off")),
    }
}

/// Whether a body says that it is JSON, and plainly so.
fn is_json(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err("the body has a Content-Encoding, and none is taken");
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.to_str().unwrap_or_default());
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err("the body has to be application/json, which Content-Type has to say");
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_plain = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.is_empty() || matches!(&*part, "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8")
    };
    match parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) && parts.all(is_plain) {
        true => Ok(()),
        false => Err("the body has to be application/json, in UTF-8"),
    }
}
