//! The `admin` of the file: where figures and health are told over HTTP, to whoever watches over mcp-pipe.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `listen` | address with port | `127.0.0.1:9464` | where they are told: on this machine to anybody, elsewhere to whoever has a key of the gateway that opens all of it; port 0 for a free one |

use std::net::SocketAddr;

use jsonc_parser::ast::Value;

use super::context::Context;
use super::defaults;
use super::gateway::{ApiKeySpec, GatewayEntry, GatewaySpec, GatewayTls};
use super::keys::{self, Place as Where};
use super::listen::{self, HostName};
use super::reader::{Located, Reader};
use crate::endpoint::is_loopback;
use crate::error::{Code, Place};

/// Where figures and health are told, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminSpec {
    /// The address that is listened on; port 0: one that is free.
    pub listen: SocketAddr,
    /// Names under which it is reached besides those of the address itself: those of the gateway.
    pub hosts: Vec<HostName>,
    /// The keys of which whoever asks needs one; without any none is asked for. They are the gateway's, as far as these let somebody see all
    /// servers with all their tools.
    pub keys: Vec<ApiKeySpec>,
    /// The files of its TLS connections, which are the gateway's; plain HTTP if `None`.
    pub tls: Option<GatewayTls>,
}

/// The value of `admin`.
#[derive(Debug)]
pub(crate) struct AdminEntry {
    place: Place,
    listen: Option<Located<SocketAddr>>,
}

/// Reads the value of `admin`. `None` where there is to be none.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<AdminEntry> {
    let mut entry = AdminEntry { place: r.place(value, path), listen: None };
    match value {
        Value::NullKeyword(_) => return None,
        Value::Object(_) => {}
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) => {
            let remedy = format!("write {{\"listen\": \"{}\"}}, or leave it out for none", defaults::ADMIN);
            r.mistake(value, path, Code::WrongType.says("is no object"), remedy);
            return Some(entry);
        }
    }
    for (key, path, prop) in keys::members(r, value, path, Where::Admin) {
        match key.as_str() {
            "listen" => {
                entry.listen = r.located(&prop.value, &path, |r, value, path| r.parsed(value, path, listen::address));
            }
            _ => keys::foreign(r, &key, prop, &path, Where::Admin),
        }
    }
    Some(entry)
}

/// The admin address. `gateway`: as written, and as it counts. `None` where there is none, or it is wrong, which has been noted.
pub(crate) fn of(
    ctx: &mut Context<'_>,
    entry: Option<&AdminEntry>,
    gateway: (Option<&GatewayEntry>, Option<&GatewaySpec>),
) -> Option<AdminSpec> {
    // What mcp-pipe runs on an endpoint of its own is watched by whoever has started it.
    let entry = entry.filter(|_| !ctx.local)?;
    let (listen, place) = match &entry.listen {
        Some(Located { value, place }) => (*value, place),
        None => (defaults::ADMIN, &entry.place),
    };
    let hosts = gateway.1.map(|spec| spec.hosts.clone()).unwrap_or_default();
    if is_loopback(listen.ip()) {
        return Some(AdminSpec { listen, hosts, keys: Vec::new(), tls: None });
    }
    if let ((Some(_), None), true) = (gateway, super::gateway::is_on(ctx, gateway.0)) {
        // What is wrong with the gateway has been noted, and its keys are not known.
        return None;
    }
    let keys = gateway.1.map_or(&[][..], |spec| &spec.api_keys).iter();
    let keys: Vec<_> = keys.filter(|key| key.servers.is_none() && !key.tools.chooses()).cloned().collect();
    let tls = gateway.1.and_then(|spec| spec.tls.clone());
    if keys.is_empty() && tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none()) {
        let what =
            format!("is {listen}, which other machines may reach, and the gateway has no key that opens all servers");
        let here = SocketAddr::new(defaults::ADMIN.ip(), listen.port());
        let remedy =
            format!("listen on {here}, or add to `apiKeys` of \"gateway\" a key without `servers` and `tools`");
        ctx.mistake(place, Code::MissingKey.says(what), remedy);
        return None;
    }
    Some(AdminSpec { listen, hosts, keys, tls })
}
