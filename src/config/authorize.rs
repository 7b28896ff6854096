//! From the `auth` of an entry, as written, to how a remote server is told who asks.

use std::path::PathBuf;

use super::auth::{AuthEntry, Members};
use super::context::{Braces, Context};
use super::reader::Located;
use super::{AuthSpec, ClientProof, ClientSpec, CommandSpec, LimitsSpec, LoginSpec, command, variables};
use crate::disk::{joined, obstacle};
use crate::endpoint::RemoteUrl;
use crate::error::{Code, Place};
use crate::secrecy::Secret;
use crate::words::{brief, brief_path};

/// How a server is told who asks. `None` where that can't be used, which has been noted.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &AuthEntry) -> Option<AuthSpec> {
    match entry {
        AuthEntry::Bearer(text) => token(ctx, text).map(AuthSpec::Bearer),
        AuthEntry::BearerFile(text) => path(ctx, text).map(AuthSpec::BearerFile),
        AuthEntry::BearerCommand(place, words) => program(ctx, place, words).map(AuthSpec::BearerCommand),
        AuthEntry::ClientCredentials(place, members) => {
            client(ctx, place, members).map(|client| AuthSpec::ClientCredentials(client.into()))
        }
        AuthEntry::Login(members) => {
            let client_id = filled(ctx, members.client_id.as_ref())?;
            let client_secret = filled(ctx, members.client_secret.as_ref())?.map(Secret::new);
            if let (None, Some(text)) = (&client_id, &members.client_secret) {
                let what = Code::MissingKey.says("is the secret of a client, and there is no clientId beside it");
                ctx.mistake(&text.place, what, "add \"clientId\"");
                return None;
            }
            let (scope, redirect_port) = (scope(&members.scope), members.redirect_port);
            Some(AuthSpec::Login(LoginSpec { client_id, client_secret, scope, redirect_port, ..implied(ctx) }))
        }
    }
}

/// A login of which the config says nothing.
pub(crate) fn implied(ctx: &Context<'_>) -> LoginSpec {
    let folder = ctx.state_dir.clone();
    LoginSpec { client_id: None, client_secret: None, scope: None, redirect_port: None, folder }
}

/// A text that is not empty. The outer `None`: it is wrong, which has been noted.
fn filled(ctx: &mut Context<'_>, text: Option<&Located<String>>) -> Option<Option<String>> {
    let Some(text) = text else { return Some(None) };
    let value = ctx.expand(text)?.trim().to_owned();
    if value.is_empty() {
        let what = Code::EmptyVariable.says("is empty, or names a variable that is");
        ctx.mistake(&text.place, what, "write it there, or set the variable");
        return None;
    }
    Some(Some(value))
}

fn token(ctx: &mut Context<'_>, text: &Located<String>) -> Option<Secret> {
    let token = filled(ctx, Some(text))??;
    ctx.warn_of_variable(text);
    ctx.warn_of_braces(text, Braces::All);
    let what = match token.split_once(' ') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("bearer") => {
            "begins with a scheme, which is written before it in any case"
        }
        _ if token.bytes().all(|b| b.is_ascii_graphic()) => return Some(Secret::new(token)),
        _ => "holds a blank or another character that no token has",
    };
    ctx.mistake(&text.place, Code::WrongValue.says(what), "write the token alone");
    None
}

/// The path of a file, with a warning if none is there. That is no mistake: it is looked for when it is needed.
fn path(ctx: &mut Context<'_>, text: &Located<String>) -> Option<PathBuf> {
    let written = filled(ctx, Some(text))??;
    let path = joined(&ctx.base, written);
    let (what, remedy) = match obstacle::on_the_way(&path) {
        _ if path.is_file() => return Some(path),
        Some(obstacle) => obstacle.told(),
        None => (
            "is no file now, so the server can't be told who asks".to_owned(),
            "create it; it is tried again".to_owned(),
        ),
    };
    ctx.warning(&text.place, Code::PathMissing.says(format!("names {}, which {what}", brief_path(&path))), remedy);
    Some(path)
}

/// A program, which gets what servers inherit, too: without anything that lets somebody in.
fn program(ctx: &mut Context<'_>, place: &Place, words: &[Located<String>]) -> Option<CommandSpec> {
    if let Some(word) = words.iter().find(|word| word.value.contains("${")) {
        let what = "holds a variable, which is not replaced: everybody here sees the arguments of a program";
        ctx.mistake(&word.place, Code::NotReplaced.says(what), "have the program read the variable itself");
        return None;
    }
    let mut words = words.iter().map(|word| word.value.clone());
    let written = words.next()?.trim().to_owned();
    let searched = ctx.lookup("PATH").unwrap_or_default();
    let program = if command::is_path(&written) { joined(&ctx.base, &written).display().to_string() } else { written };
    if !command::is_path(&program) && !command::on_path(&program, &searched) {
        let what = format!("names {}, which is in no folder of the PATH", brief(&program));
        ctx.warning(place, Code::ProgramMissing.says(what), "install it, or write its whole path");
    }
    let spec = CommandSpec {
        program,
        args: words.collect(),
        env: Vec::new(),
        env_remove: Vec::new(),
        cwd: Some(ctx.base.clone()),
        limits: LimitsSpec::default(),
    };
    Some(variables::with_ours(ctx, spec))
}

fn client(ctx: &mut Context<'_>, place: &Place, members: &Members) -> Option<ClientSpec> {
    let Some(client_id) = filled(ctx, members.client_id.as_ref())? else {
        ctx.mistake(
            place,
            Code::MissingKey.says("has no clientId"),
            "add it: the name under which the client is registered",
        );
        return None;
    };
    let proof = match (&members.client_secret, &members.private_key_file) {
        (Some(secret), None) => {
            if let Some(key_id) = &members.key_id {
                let what = Code::NoEffect.says("names a key, and the client has a secret");
                ctx.mistake(&key_id.place, what, "remove it, or write privateKeyFile in place of clientSecret");
                return None;
            }
            ClientProof::Secret(Secret::new(filled(ctx, Some(secret))??))
        }
        (None, Some(file)) => {
            let key_id = members.key_id.as_ref().map(|text| text.value.trim().to_owned());
            ClientProof::Key { file: path(ctx, file)?, key_id: key_id.filter(|id| !id.is_empty()) }
        }
        (Some(_), Some(file)) => {
            let what = Code::Contradiction.says("stands beside clientSecret, and one of them is all that can count");
            ctx.mistake(&file.place, what, "remove clientSecret or privateKeyFile");
            return None;
        }
        (None, None) => {
            let remedy = "add \"clientSecret\": \"${SECRET}\", or \"privateKeyFile\": the client's key in PEM form";
            ctx.mistake(place, Code::MissingKey.says("has neither a clientSecret nor a privateKeyFile"), remedy);
            return None;
        }
    };
    let issuer = match &members.issuer {
        None => {
            if matches!(proof, ClientProof::Secret(_)) {
                let what = "has no issuer, so the secret goes to whichever authorization server the server names";
                let remedy = "add \"issuer\": the authorization server that knows the client, as it calls itself";
                ctx.warning(place, Code::MissingKey.says(what), remedy);
            }
            None
        }
        Some(text) => {
            let written = text.value.trim();
            let is_safe =
                written.parse::<RemoteUrl>().is_ok_and(|url| url.is_confidential() && !written.contains(['?', '#']));
            if !is_safe {
                let what = Code::WrongValue.says("is no address of an authorization server: https://, without ? and #");
                ctx.mistake(&text.place, what, "write it as its metadata says it under \"issuer\"");
                return None;
            }
            Some(written.to_owned())
        }
    };
    Some(ClientSpec { client_id, proof, scope: scope(&members.scope), issuer })
}

/// Scopes as a request names them; `None` without any.
fn scope(written: &[Located<String>]) -> Option<String> {
    let words: Vec<&str> = written.iter().flat_map(|text| text.value.split_whitespace()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
