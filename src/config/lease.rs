//! The `lease` of the file: where several mcp-pipe agree on who serves an endpoint, as only one of them may.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `etcd` | addresses `$`, or one | | the members of an etcd cluster (3.4 or later): `https://etcd-1:2379` |
//! | `ttl` | time | `10s` | how long after the end of a daemon, or of its way to etcd, another one takes its endpoints: 3 to 60 whole seconds |
//! | `prefix` | text `$` | `/mcp-pipe/` | what all keys in etcd begin with: daemons with the same one share their endpoints |
//! | `node` | text `$` | the host's name with a random part, which is kept in the state folder | what this daemon is called |
//! | `standby` | `cold`, `warm` | `cold` | whether servers run while another daemon has their endpoints |
//! | `user`, `password` | texts `$` | none | who logs in at etcd |
//! | `caFile` | path `$` | none | certificate authorities (PEM) trusted besides the platform's |
//! | `certFile`, `keyFile` | paths `$` | none | the certificate that etcd is shown, and its key (PEM) |

use std::time::Duration;

use clap::ValueEnum;
use jsonc_parser::ast::Value;

use super::context::Context;
use super::keys::{self, Place as Where};
use super::reader::{Located, Reader};
use super::{TlsSpec, defaults, pem, units};
use crate::endpoint::RemoteUrl;
use crate::error::Code;
use crate::secrecy::Secret;

/// Longest name of a daemon, in characters: it stands in each line about its leases.
const LONGEST_NAME: usize = 64;

/// Where several mcp-pipe agree on who serves an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseSpec {
    /// The members of the etcd cluster, one at least.
    pub etcd: Vec<RemoteUrl>,
    /// How long a lease lives that is not renewed, in whole seconds.
    pub ttl: Duration,
    /// What all keys begin with; ends with a slash.
    pub prefix: String,
    /// What this daemon is called; `None`: what it calls itself.
    pub node: Option<String>,
    /// Whether servers run while another daemon has their endpoints.
    pub standby: Standby,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// The files of the TLS connections.
    pub tls: TlsSpec,
}

/// Whether servers run while another daemon has their endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Standby {
    /// They are started when this daemon gets the lease.
    #[default]
    Cold,
    /// They run all the time.
    Warm,
}

/// The value of `lease`.
#[derive(Debug)]
pub(crate) struct LeaseEntry {
    etcd: Vec<Located<String>>,
    ttl: Option<Duration>,
    prefix: Option<Located<String>>,
    node: Option<Located<String>>,
    standby: Option<Standby>,
    user: Option<Located<String>>,
    password: Option<Located<String>>,
    ca_file: Option<Located<String>>,
    cert_file: Option<Located<String>>,
    key_file: Option<Located<String>>,
}

/// What to write as a `lease`.
const EXAMPLE: &str = r#"write {"etcd": ["https://etcd-1:2379", …]}, or leave it out for none"#;

/// Reads the value of `lease`. `None` where there is to be none, or it can't be read, which has been noted.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<LeaseEntry> {
    match value {
        Value::NullKeyword(_) => return None,
        Value::Object(_) => {}
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) => {
            r.mistake(value, path, Code::WrongType.says("is no object"), EXAMPLE);
            return None;
        }
    }
    let before = r.mistakes.len();
    let mut entry = LeaseEntry {
        etcd: Vec::new(),
        ttl: None,
        prefix: None,
        node: None,
        standby: None,
        user: None,
        password: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    for (key, path, prop) in keys::members(r, value, path, Where::Lease) {
        let value = &prop.value;
        match key.as_str() {
            "etcd" => entry.etcd = r.one_or_more(value, &path),
            "ttl" => entry.ttl = r.parsed(value, &path, units::lease_ttl),
            "prefix" => entry.prefix = r.string(value, &path),
            "node" => entry.node = r.string(value, &path),
            "standby" => entry.standby = r.parsed(value, &path, units::choice::<Standby>),
            "user" => entry.user = r.string(value, &path),
            "password" => entry.password = r.string(value, &path),
            "caFile" => entry.ca_file = r.string(value, &path),
            "certFile" => entry.cert_file = r.string(value, &path),
            "keyFile" => entry.key_file = r.string(value, &path),
            _ => keys::foreign(r, &key, prop, &path, Where::Lease),
        }
    }
    if entry.etcd.is_empty() && r.mistakes.len() == before {
        r.mistake(value, path, Code::MissingKey.says("names no etcd"), EXAMPLE);
    }
    Some(entry)
}

/// The password, which nobody is to see. A text that can't be expanded is told of where it is used.
pub(crate) fn password(ctx: &mut Context<'_>, entry: Option<&LeaseEntry>) -> Option<Secret> {
    let text = entry?.password.as_ref()?;
    ctx.hide_parts(&text.value);
    super::expand(&text.value, |name| ctx.lookup(name)).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

/// How a run shares its endpoints with others. `None` where it does not, or not as it is written, which has been noted.
pub(crate) fn of(ctx: &mut Context<'_>, entry: Option<&LeaseEntry>) -> Option<LeaseSpec> {
    // Nobody else can serve what mcp-pipe runs on an endpoint of its own.
    let entry = entry.filter(|_| !ctx.local)?;
    let etcd: Vec<Option<RemoteUrl>> = entry.etcd.iter().map(|text| member(ctx, text)).collect();
    let prefix = prefix(ctx, entry.prefix.as_ref());
    let node = entry.node.as_ref().map(|text| name(ctx, text));
    let login = login(ctx, entry);
    let identity = pem::identity(ctx, entry.cert_file.as_ref(), entry.key_file.as_ref());
    let ca_file = entry.ca_file.as_ref().and_then(|text| pem::path(ctx, text));
    let etcd = etcd.into_iter().collect::<Option<Vec<_>>>().filter(|etcd| !etcd.is_empty())?;
    if let (Some(open), Some(text)) = (etcd.iter().find(|url| !url.is_confidential()), &entry.password) {
        let what = format!("would be sent to {open} without TLS, for whoever is on the way to read");
        ctx.mistake(
            &text.place,
            Code::WrongValue.says(what),
            "write https:// for etcd, or leave user and password out",
        );
    }
    Some(LeaseSpec {
        etcd,
        ttl: entry.ttl.unwrap_or(defaults::LEASE_TTL),
        prefix: prefix?,
        node: match node {
            Some(node) => Some(node?),
            None => None,
        },
        standby: entry.standby.unwrap_or_default(),
        login: login?,
        tls: TlsSpec { ca_file, identity },
    })
}

/// The address of one member.
fn member(ctx: &mut Context<'_>, text: &Located<String>) -> Option<RemoteUrl> {
    let written = ctx.expand(text)?;
    let (what, remedy) = match written.parse::<RemoteUrl>() {
        Ok(url) if !url.user_info().is_empty() => (
            "has a user name, which stands elsewhere".to_owned(),
            "write \"user\" and \"password\" beside \"etcd\"".into(),
        ),
        Ok(url) if !matches!(&*url.target(), "/" | "") => {
            ("has a path, and etcd has none".to_owned(), "write scheme, host and port only: https://etcd-1:2379".into())
        }
        Ok(url) => return Some(url),
        Err(error) => (error.to_string(), error.remedy()),
    };
    ctx.mistake(&text.place, Code::WrongValue.says(what), remedy);
    None
}

fn prefix(ctx: &mut Context<'_>, text: Option<&Located<String>>) -> Option<String> {
    let Some(text) = text else { return Some(defaults::LEASE_PREFIX.to_owned()) };
    let written = ctx.expand(text)?;
    let written = written.trim().trim_end_matches('/');
    if written.is_empty() || written.chars().any(char::is_control) {
        let remedy = format!("write a text like {}", defaults::LEASE_PREFIX);
        ctx.mistake(&text.place, Code::WrongValue.says("is no beginning of a key"), remedy);
        return None;
    }
    Some(format!("{written}/"))
}

fn name(ctx: &mut Context<'_>, text: &Located<String>) -> Option<String> {
    let written = ctx.expand(text)?;
    let written = written.trim();
    if written.is_empty() || written.chars().count() > LONGEST_NAME || written.chars().any(char::is_control) {
        let remedy = format!("write a name of at most {LONGEST_NAME} characters, another one on each machine");
        ctx.mistake(&text.place, Code::WrongName.says("is no name for a daemon"), remedy);
        return None;
    }
    Some(written.to_owned())
}

/// User and password: both, or none. `None` if that is wrong, which has been noted.
fn login(ctx: &mut Context<'_>, entry: &LeaseEntry) -> Option<Option<(String, Secret)>> {
    let (user, password) = match (&entry.user, &entry.password) {
        (None, None) => return Some(None),
        (Some(user), Some(password)) => (user, password),
        (Some(one), None) => {
            ctx.mistake(
                &one.place,
                Code::MissingKey.says("has no password beside it"),
                "add \"password\": \"${ETCD_PASSWORD}\"",
            );
            return None;
        }
        (None, Some(one)) => {
            ctx.mistake(
                &one.place,
                Code::MissingKey.says("has no user beside it"),
                "add \"user\": the user's name at etcd",
            );
            return None;
        }
    };
    let (name, secret) = (ctx.expand(user)?, ctx.expand(password)?);
    for (value, text) in [(&name, user), (&secret, password)] {
        if value.trim().is_empty() {
            ctx.mistake(&text.place, Code::WrongValue.says("is empty"), "write it, or leave both out");
            return None;
        }
    }
    Some(Some((name, Secret::new(secret))))
}
