//! The server that an entry reaches over the network: its address, headers, and the files of its TLS connection.

use std::path::PathBuf;

use super::context::{Braces, Context};
use super::file::RemoteEntry;
use super::reader::Located;
use super::{AuthSpec, RemoteSpec, TlsSpec, defaults};
use super::{authorize, dial};
use crate::disk::{joined, obstacle};
use crate::endpoint::{RemoteUrl, are_several};
use crate::error::Code;
use crate::words::brief_path;

/// Headers that the config may not set: each request has its own (MCP, basic/transports; RFC 9112).
pub(super) const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The server of an entry. `None` where it can't be used, which has been noted.
pub(crate) fn of_entry(ctx: &mut Context<'_>, remote: &RemoteEntry) -> Option<RemoteSpec> {
    let written = ctx.expand(&remote.url);
    ctx.warn_of_variable(&remote.url);
    ctx.warn_of_braces(&remote.url, Braces::All);
    let headers = dial::headers(ctx, &remote.headers, |name| RESERVED.contains(&name));
    let identity = identity(ctx, remote.cert_file.as_ref(), remote.key_file.as_ref());
    let written = written?;
    if are_several(&written) {
        let remedy = "write one; another server has an entry of its own";
        ctx.mistake(&remote.url.place, Code::WrongValue.says("holds more than one address"), remedy);
        return None;
    }
    let url = match written.parse::<RemoteUrl>() {
        Ok(url) => url,
        Err(error) => {
            ctx.mistake(&remote.url.place, Code::WrongValue.says(error.to_string()), error.remedy());
            return None;
        }
    };
    let auth = auth(ctx, remote, &url)?;
    // How endpoints are dialled counts here, too: the caller knows that.
    let (tls, connect_timeout) = (TlsSpec { ca_file: None, identity }, defaults::CONNECT_TIMEOUT);
    Some(RemoteSpec { url, transport: remote.transport, headers, auth, tls, connect_timeout })
}

/// How the server is told who asks: in one way only.
fn auth(ctx: &mut Context<'_>, remote: &RemoteEntry, url: &RemoteUrl) -> Option<AuthSpec> {
    let by_header = remote.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    match (&remote.auth, by_header) {
        (None, None) if url.user_info().is_empty() => Some(AuthSpec::Login(authorize::implied(ctx))),
        (None, _) => Some(AuthSpec::Headers),
        (Some(_), Some((_, text))) => {
            let what = "says who asks, and so does auth beside headers";
            ctx.mistake(&text.place, Code::Contradiction.says(what), "remove the header, or auth");
            None
        }
        (Some(_), None) if !url.user_info().is_empty() => {
            let what = "has a user name, which says who asks, and so does auth beside it";
            ctx.mistake(&remote.url.place, Code::Contradiction.says(what), "remove the user name, or auth");
            None
        }
        (Some(entry), None) => authorize::of_entry(ctx, entry),
    }
}

/// The files of a certificate and its key, which go together; one file may hold both.
pub(super) fn identity(
    ctx: &mut Context<'_>,
    cert: Option<&Located<String>>,
    key: Option<&Located<String>>,
) -> Option<(PathBuf, PathBuf)> {
    let (cert, key) = match (cert, key) {
        (None, None) => return None,
        (Some(cert), key) => (cert, key.unwrap_or(cert)),
        (None, Some(key)) => {
            let what = "names the key of a certificate, and there is no certFile";
            ctx.mistake(&key.place, Code::MissingKey.says(what), "add \"certFile\": the certificate in PEM form");
            return None;
        }
    };
    let cert = path(ctx, cert)?;
    let key = path(ctx, key)?;
    Some((cert, key))
}

/// The path of a file, with a warning if none is there. That is no mistake: it is looked for at each connection.
pub(super) fn path(ctx: &mut Context<'_>, text: &Located<String>) -> Option<PathBuf> {
    let text_of = ctx.expand(text)?;
    let path = joined(&ctx.base, text_of);
    if let Some(obstacle) = (!path.is_file()).then(|| obstacle::on_the_way(&path)).flatten() {
        let (what, remedy) = obstacle.told();
        ctx.warning(&text.place, Code::PathMissing.says(format!("names {}, which {what}", brief_path(&path))), remedy);
    } else if !path.is_file() {
        let what = format!("names {}, which is no file now, so nobody can be reached with it", brief_path(&path));
        ctx.warning(&text.place, Code::PathMissing.says(what), "name a PEM file; it is tried again");
    }
    Some(path)
}
