//! The PEM files of a TLS connection, as an entry names them: certificate authorities, a certificate, and its key.

use std::path::PathBuf;

use super::context::Context;
use super::reader::Located;
use crate::disk::{joined, obstacle};
use crate::error::Code;
use crate::words::brief_path;

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
