//! How a server is asked now and then whether it is well: the `healthCheck` of an entry.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `every` | time | `30s` | time between two checks, at least 1 s; each waits 10 s at most for its answer |
//! | `tool` | text | none | a tool that is called, with no arguments; without it the server is sent a `ping` |
//! | `restart` | `true`/`false` | false | whether the server is started anew when three checks in a row have failed |

use std::sync::Arc;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::keys::{self, Place as Where};
use super::reader::Reader;
use super::{defaults, units};
use crate::error::Code;

/// How a server is asked now and then whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time between two checks.
    pub every: Duration,
    /// The tool that is called; a ping is sent without.
    pub tool: Option<Arc<str>>,
    /// Whether the server is started anew when it has failed.
    pub restart: bool,
}

/// Reads the value of `healthCheck`. `None` where there is to be none, or it can't be read, which has been noted.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<HealthCheck> {
    let mut check = HealthCheck { every: defaults::HEALTH_EVERY, tool: None, restart: defaults::HEALTH_RESTART };
    match value {
        Value::NullKeyword(_) => return None,
        Value::Object(_) => {}
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) => {
            let remedy = "write {} for a ping each 30s, {\"every\": \"1m\"}, or leave it out for none";
            r.mistake(value, path, Code::WrongType.says("is no object"), remedy);
            return None;
        }
    }
    for (key, path, prop) in keys::members(r, value, path, Where::HealthCheck) {
        let value = &prop.value;
        match key.as_str() {
            "every" => check.every = r.parsed(value, &path, units::duration_from_1s).unwrap_or(check.every),
            "tool" => {
                let tool = r.string(value, &path);
                if let Some(tool) = tool.as_ref().filter(|tool| tool.value.trim().is_empty()) {
                    let remedy = "write the name of a tool, or leave it out for a ping";
                    r.mistake_at(&tool.place, Code::WrongValue.says("is empty"), remedy);
                }
                check.tool = tool.map(|tool| tool.value.into());
            }
            "restart" => check.restart = r.boolean(value, &path).unwrap_or(check.restart),
            _ => keys::foreign(r, &key, prop, &path, Where::HealthCheck),
        }
    }
    Some(check)
}
