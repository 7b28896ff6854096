//! Which endpoint a server is served on, and how it is dialled.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::context::Context;
use super::expand::{ExpandError, expand};
use super::file::{Entry, File, Shared};
use super::reader::Located;
use super::{LinkSpec, defaults};
use crate::endpoint::{Endpoint, Secret};

/// The endpoint of every server that has none of its own.
#[derive(Debug, Clone)]
pub(crate) enum Common {
    /// Named somewhere.
    Given(Endpoint),
    /// Named, but wrong; a mistake has been noted.
    Wrong,
    /// Named nowhere.
    Missing,
}

/// Headers set by the upgrade itself (RFC 6455 section 4.1).
const RESERVED: &[&str] = &["host", "connection", "upgrade", "content-length", "transfer-encoding"];

/// Looks at `--endpoint`, the environment, `.env` and the top of the file, in that order.
pub(crate) fn common(ctx: &mut Context<'_>, file: &File) -> Common {
    let (place, text) = if let Some(flag) = &ctx.line.options.endpoint {
        ("--endpoint".to_owned(), flag.reveal().to_owned())
    } else if let Some(value) = ctx.env.filled("MCP_ENDPOINT") {
        ("MCP_ENDPOINT (environment)".to_owned(), value.to_owned())
    } else if let Some((file, value)) = ctx.dotenv.files.iter().find_map(|file| {
        let value = file.get("MCP_ENDPOINT").filter(|value| !value.trim().is_empty())?;
        Some((file, value))
    }) {
        (format!("MCP_ENDPOINT ({})", file.path.display()), value.to_owned())
    } else if let Some(text) = &file.shared.endpoint {
        match ctx.expand(text) {
            Some(value) if !value.trim().is_empty() => (text.place.clone(), value),
            Some(_) => return Common::Missing,
            None => return Common::Wrong,
        }
    } else {
        return Common::Missing;
    };
    parse(ctx, place, &text).map_or(Common::Wrong, Common::Given)
}

/// What an entry writes for its own endpoint: the place where it does, and the text as written.
pub(crate) fn own(entry: &Entry) -> Option<&Located<String>> {
    let from_env = entry.env.iter().find(|(name, _)| name == "MCP_ENDPOINT").map(|(_, text)| text);
    entry.shared.endpoint.as_ref().or(from_env)
}

/// What an entry says about its endpoint.
#[derive(Debug)]
pub(crate) enum Own {
    /// Nothing, so it is served on the common one.
    Unsaid,
    /// That it has none now, so it is served on the common one, too.
    Blank,
    /// Which it is; `None` if that can't be used, which has been noted.
    Named(Option<Endpoint>),
}

/// The endpoint that an entry names itself.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry) -> Own {
    let Some(text) = own(entry) else { return Own::Unsaid };
    let Some(value) = ctx.expand(text) else { return Own::Named(None) };
    let is_blank = value.trim().is_empty();
    // An empty variable is a slip: without it the server would be on somebody else's endpoint, or have no token. An empty
    // default says that it is none.
    let filled = |name: &str| ctx.lookup(name).filter(|value| !value.trim().is_empty());
    if let Err(ExpandError::Unset(names)) = expand(&text.value, filled) {
        let (all, are) = (names.join(", "), if names.len() == 1 { "is" } else { "are" });
        let first = names.first().map_or("", String::as_str);
        let then = if is_blank { "the common endpoint is to serve then" } else { "it may be left out" };
        let remedy = format!("set it, or write ${{{first}:-}} if {then}");
        ctx.mistake(&text.place, format!("names {all}, which {are} empty"), remedy);
        return Own::Named(None);
    }
    if !is_blank {
        return Own::Named(parse(ctx, text.place.clone(), &value));
    }
    if !entry.shared.endpoint_headers.is_empty() {
        let what = format!("is empty, so {} is served on the common endpoint, without its endpointHeaders", entry.name);
        ctx.warning(&text.place, what, "name the endpoint that they are for; for the common one, remove this");
    }
    Own::Blank
}

/// Parses an endpoint; a mistake is noted without its text.
pub(crate) fn parse(ctx: &mut Context<'_>, place: String, text: &str) -> Option<Endpoint> {
    match text.parse() {
        Ok(endpoint) => Some(endpoint),
        Err(why) => {
            let remedy = "write the endpoint's whole address, wss://host/path?token=…";
            ctx.mistake(place, format!("{why}"), remedy);
            None
        }
    }
}

/// How a server's endpoint is dialled: its own settings, then the flags, then the file's, then the defaults.
/// Headers go to the endpoint beside which they are written: what lets us in there is nobody else's business.
pub(crate) fn link(ctx: &mut Context<'_>, own: &Shared, top: &Shared, endpoint: &Own) -> LinkSpec {
    let headers = match (own.endpoint_headers.as_slice(), endpoint) {
        _ if ctx.local => Vec::new(),
        (_, Own::Blank) | ([], Own::Unsaid) => headers(ctx, &top.endpoint_headers),
        (headers_of_its_own, Own::Unsaid | Own::Named(_)) => headers(ctx, headers_of_its_own),
    };
    let ca_file = match (&own.ca_file, &ctx.line.options.ca_file, &top.ca_file) {
        (None, Some(path), _) => Some(with_warning(ctx, "--ca-file".to_owned(), ctx.cwd.join(path))),
        (Some(text), _, _) | (None, None, Some(text)) => {
            ctx.expand(text).map(|path| with_warning(ctx, text.place.clone(), ctx.base.join(path)))
        }
        (None, None, None) => None,
    };
    let subprotocol = own.subprotocol.as_ref().or(top.subprotocol.as_ref());
    LinkSpec {
        headers,
        subprotocol: subprotocol.and_then(|text| token(ctx, text)),
        ca_file,
        connect_timeout: own.connect_timeout.or(top.connect_timeout).unwrap_or(defaults::CONNECT_TIMEOUT),
        ping_interval: own.ping_interval.or(top.ping_interval).unwrap_or(defaults::PING_INTERVAL),
        ping_timeout: own.ping_timeout.or(top.ping_timeout).unwrap_or(defaults::PING_TIMEOUT),
        max_backoff: own
            .max_backoff
            .or(ctx.line.options.max_backoff)
            .or(top.max_backoff)
            .unwrap_or(defaults::MAX_BACKOFF),
    }
}

fn headers(ctx: &mut Context<'_>, written: &[(String, Located<String>)]) -> Vec<(HeaderName, Secret)> {
    let mut headers = Vec::new();
    for (name, text) in written {
        let Some(value) = ctx.expand(text) else { continue };
        let lower = name.to_ascii_lowercase();
        let what = match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(_), _) if RESERVED.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") => {
                "is a header that the connection sets itself"
            }
            (Ok(name), Ok(_)) => {
                headers.push((name, Secret::new(value)));
                continue;
            }
            (Err(_), _) => "is no name for a header",
            (_, Err(_)) => "holds characters that a header can't hold, such as a line break",
        };
        ctx.mistake(&text.place, what, "remove or correct it");
    }
    headers
}

/// A subprotocol is a token (RFC 9110 section 5.6.2), as a header's name is.
fn token(ctx: &mut Context<'_>, text: &Located<String>) -> Option<String> {
    if HeaderName::from_bytes(text.value.as_bytes()).is_ok() {
        return Some(text.value.clone());
    }
    ctx.mistake(&text.place, "is no subprotocol", "MCP's is called \"mcp\"");
    None
}

/// A file that isn't there is no mistake: a disk may be mounted later than we start, and it is read at each dial.
fn with_warning(ctx: &mut Context<'_>, place: String, path: PathBuf) -> PathBuf {
    if !path.is_file() {
        let what =
            format!("names {}, which is no file now, so no wss:// endpoint can be dialled with it", path.display());
        ctx.warning(place, what, "name a PEM file; it is tried again");
    }
    path
}
