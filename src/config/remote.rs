//! The server that an entry reaches over the network: its address, headers, and the files of its TLS connection.

use super::context::{Braces, Context};
use super::file::RemoteEntry;
use super::{AuthSpec, RemoteSpec, TlsSpec, defaults};
use super::{authorize, dial, pem};
use crate::endpoint::{RemoteUrl, are_several, left_in_place};
use crate::error::Code;

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
    let identity = pem::identity(ctx, remote.cert_file.as_ref(), remote.key_file.as_ref());
    let written = written?;
    if are_several(&written) {
        let remedy = "write one; another server has an entry of its own";
        ctx.mistake(&remote.url.place, Code::WrongValue.says("holds more than one address"), remedy);
        return None;
    }
    if let Some(example) = left_in_place(&written) {
        let what = Code::Placeholder.says(format!("still holds the placeholder text of an example: {example}"));
        let remedy = "write the server's whole address, such as http://127.0.0.1:5555/mcp";
        ctx.mistake(&remote.url.place, what, remedy);
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
