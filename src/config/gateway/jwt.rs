//! Whose JSON Web Tokens let clients in: the `jwt` of the gateway, resolved.

use std::sync::Arc;

use super::written::{Jwks, JwtEntry};
use super::{ApiKeySpec, JwksSource, JwtSpec, made_of_file, servers};
use crate::config::context::Context;
use crate::config::reader::Located;
use crate::endpoint::{RemoteUrl, is_variable};
use crate::error::Code;
use crate::jwt::{Keys, MAX_SET};
use crate::words::brief;

/// All of them. `keys`: those that let clients in besides; `known`: the names of all servers.
pub(super) fn of(ctx: &mut Context<'_>, entries: &[JwtEntry], keys: &[ApiKeySpec], known: &[&str]) -> Vec<JwtSpec> {
    let mut all: Vec<JwtSpec> = Vec::new();
    for entry in entries {
        let name = entry.name.value.trim();
        if all.iter().map(|other| &other.name).chain(keys.iter().map(|key| &key.name)).any(|other| **other == *name) {
            let what = format!("is \"{}\", as another one, or a key, is called", brief(name));
            ctx.mistake(&entry.name.place, Code::Duplicate.says(what), "give each its own name");
        }
        let servers = entry.servers.as_ref().map(|names| servers(ctx, names, known, "leave servers out for all"));
        let issuer = text(ctx, &entry.issuer);
        let audience: Vec<Arc<str>> = entry.audience.iter().filter_map(|one| text(ctx, one)).collect();
        let jwks = match &entry.jwks {
            Jwks::File(text) => file(ctx, text).map(JwksSource::File),
            Jwks::Url(text) => address(ctx, text).map(JwksSource::Url),
        };
        // What is wrong with either has been noted.
        let (Some(issuer), Some(jwks)) = (issuer, jwks) else { continue };
        let is_twin =
            |other: &&JwtSpec| other.issuer == issuer && other.audience.iter().any(|one| audience.contains(one));
        if let Some(twin) = all.iter().find(is_twin) {
            let what = format!(
                "has tokens that are also those of {}, and one of both is all that can count",
                brief(&twin.name)
            );
            ctx.mistake(
                &entry.issuer.place,
                Code::Duplicate.says(what),
                "name another audience, or remove one of them",
            );
        }
        let tools = Arc::new(entry.tools.clone());
        all.push(JwtSpec { name: name.into(), issuer, audience, keys: jwks, servers, tools });
    }
    all
}

/// A text that tokens repeat letter for letter.
fn text(ctx: &mut Context<'_>, written: &Located<String>) -> Option<Arc<str>> {
    let text = ctx.expand(written)?;
    let text = text.trim();
    let (what, remedy) = if text.is_empty() {
        let what = Code::EmptyVariable.says("is empty, or names a variable that is");
        (what, "write it there, or set the variable")
    } else if is_variable(text) {
        let what = Code::NotReplaced.says("is a variable that is not replaced where it stands");
        (what, "write ${NAME}, and set NAME in the environment or in .env")
    } else {
        return Some(text.into());
    };
    ctx.mistake(&written.place, what, remedy);
    None
}

fn file(ctx: &mut Context<'_>, text: &Located<String>) -> Option<Arc<Keys>> {
    let keys = |bytes: Vec<u8>| match Keys::read(&bytes) {
        Ok(keys) => Ok(Arc::new(keys)),
        Err(why) => Err((Code::WrongValue, why, "write what the issuer has at its jwks_uri into it")),
    };
    made_of_file(ctx, text, MAX_SET as u64, "create it, with what the issuer has at its jwks_uri", keys)
}

fn address(ctx: &mut Context<'_>, written: &Located<String>) -> Option<RemoteUrl> {
    let text = ctx.expand(written)?;
    let (what, remedy) = match text.trim().parse::<RemoteUrl>() {
        Ok(url) if !url.is_confidential() => {
            ("is http: whoever is on the way could let anybody in".to_owned(), "write https://".into())
        }
        Ok(url) if !url.user_info().is_empty() => {
            ("has a name or a password before the host".to_owned(), "leave it out: public keys are no secret".into())
        }
        Ok(url) => return Some(url),
        Err(wrong) => (wrong.to_string(), wrong.remedy()),
    };
    ctx.mistake(&written.place, Code::WrongValue.says(what), remedy);
    None
}
