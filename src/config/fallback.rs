//! Which server stands in for which: what is wrong with that, by all servers that run.

use super::ServerSpec;
use super::context::Context;
use super::file::Entry;
use super::options::Target;
use super::reader::Located;
use crate::error::Code;
use crate::words::{brief, closest};

/// Notes what is wrong with fallbacks. `entries` are those of `servers`, in the same order.
pub(crate) fn check(ctx: &mut Context<'_>, servers: &[ServerSpec], entries: &[Option<&Entry>]) {
    // Whoever runs one server of many has no use for the others.
    let all = ctx.line.target == Target::All;
    for (server, entry) in servers.iter().zip(entries).filter(|_| all) {
        let Some(entry) = entry else { continue };
        if server.bounds.stands_in {
            let written = [&entry.shared.endpoint].into_iter().flatten().chain(&entry.at).chain(&entry.more);
            for Located { place, .. } in written {
                let what =
                    Code::NoEffect.says("does nothing, as the server is the fallback of another one and shown nowhere");
                ctx.warning(place, what, "remove it, or name another server as the fallback");
            }
        }
        let Some(Located { value: name, place }) = entry.bounds.written_fallback() else { continue };
        let there = |name: &str| servers.iter().find(|other| *other.name == *name);
        let (what, remedy) = match there(name) {
            _ if **name == *server.name => ("is the server itself".to_owned(), "name another one".to_owned()),
            None if name.trim().is_empty() => {
                ("is empty".to_owned(), "name one of mcpServers, or leave it out".to_owned())
            }
            None => {
                let names = || servers.iter().map(|other| &*other.name).filter(|other| *other != &*server.name);
                let hint = closest(name, names()).map(|meant| format!("did you mean {meant}?"));
                (
                    format!("names {}, and no server runs that is called so", brief(name)),
                    hint.unwrap_or_else(|| "name one of mcpServers".to_owned()),
                )
            }
            Some(other) if other.bounds.fallback.is_some() => (
                format!("names {}, which has a fallback itself", brief(name)),
                "name that one, as calls are passed on once".to_owned(),
            ),
            Some(_) => continue,
        };
        ctx.mistake(place, Code::WrongValue.says(what), remedy);
    }
}
