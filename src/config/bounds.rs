//! What bounds the harm of a server that fails or is slow: its `circuitBreaker`, its `fallback`, and the answers of its tools that are
//! kept for a while (`cache`).
//!
//! Keys of `circuitBreaker`:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `failures` | number | `5` | so many calls in a row that got no answer, as the server was down or the `timeout` of the call was over, and it is asked no more |
//! | `openFor` | time | `30s` | for how long it is not asked; then one call tries whether it answers again |
//!
//! Keys of `cache`:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `tools` | patterns | | the tools whose answers are kept, by the server's own names; `*` and `?` stand for any text and any character |
//! | `ttl` | time | `10s` | for how long an answer is given again to whoever got it, where the same is asked |

use std::sync::Arc;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::context::Context;
use super::keys::{self, Place as Where};
use super::reader::{Located, Reader};
use super::{defaults, policy, units};
use crate::error::Code;
use crate::tools::Glob;

/// What bounds the harm of one server. Without anything by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// When it is asked no more for a while.
    pub breaker: Option<BreakerSpec>,
    /// The server that takes its calls while it can't.
    pub fallback: Option<Arc<str>>,
    /// It is the fallback of another server: it is shown nowhere, and has nothing but calls of that one.
    pub stands_in: bool,
    /// Which of its answers are kept.
    pub cache: Option<Arc<CacheSpec>>,
}

/// When a server is asked no more for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSpec {
    /// After so many calls in a row without an answer.
    pub failures: usize,
    /// For how long.
    pub open_for: Duration,
}

/// Which answers of a server are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheSpec {
    /// Of which tools, by the server's own names.
    pub tools: Vec<Glob>,
    /// For how long.
    pub ttl: Duration,
}

/// The keys as they are written in an entry.
#[derive(Debug, Default)]
pub(crate) struct Written {
    breaker: Option<BreakerSpec>,
    fallback: Option<Located<String>>,
    cache: Option<Arc<CacheSpec>>,
}

impl Written {
    /// Reads the value of one of the keys; returns false where it is another key.
    pub(crate) fn read(&mut self, r: &mut Reader<'_>, key: &str, value: &Value<'_>, path: &str) -> bool {
        match key {
            "circuitBreaker" => self.breaker = breaker(r, value, path),
            "fallback" => self.fallback = r.string(value, path),
            "cache" => self.cache = cache(r, value, path).map(Arc::new),
            _ => return false,
        }
        true
    }

    /// The name of the fallback as it is written.
    pub(crate) fn written_fallback(&self) -> Option<&Located<String>> {
        self.fallback.as_ref()
    }

    /// The name of the fallback, as far as there is one in such a run: whoever looks at servers one by one sees what each does itself.
    pub(crate) fn fallback(&self, ctx: &Context<'_>) -> Option<&str> {
        self.fallback.as_ref().filter(|_| !ctx.local).map(|name| &*name.value)
    }

    /// What counts. `stands_in`: another server names it as its fallback.
    pub(crate) fn bounds(&self, ctx: &Context<'_>, stands_in: bool) -> Bounds {
        let fallback = self.fallback(ctx).map(Into::into);
        Bounds { breaker: self.breaker, fallback, stands_in, cache: self.cache.clone() }
    }
}

/// An object with keys of its own; `None` where there is none, or something else, which has been noted.
fn is_object(r: &mut Reader<'_>, value: &Value<'_>, path: &str, example: &str) -> bool {
    match value {
        Value::Object(_) => true,
        Value::NullKeyword(_) => false,
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) => {
            r.mistake(value, path, Code::WrongType.says("is no object"), format!("write {example}, or leave it out"));
            false
        }
    }
}

fn breaker(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<BreakerSpec> {
    let (failures, open_for) = (defaults::BREAKER_FAILURES, defaults::BREAKER_OPEN_FOR);
    let mut spec = BreakerSpec { failures, open_for };
    if !is_object(r, value, path, "{\"failures\": 5, \"openFor\": \"30s\"}") {
        return None;
    }
    for (key, path, prop) in keys::members(r, value, path, Where::CircuitBreaker) {
        let value = &prop.value;
        match key.as_str() {
            "failures" => spec.failures = r.parsed(value, &path, units::count).unwrap_or(failures),
            "openFor" => spec.open_for = r.parsed(value, &path, units::duration_from_1s).unwrap_or(open_for),
            _ => keys::foreign(r, &key, prop, &path, Where::CircuitBreaker),
        }
    }
    Some(spec)
}

fn cache(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<CacheSpec> {
    let mut spec = CacheSpec { tools: Vec::new(), ttl: defaults::CALL_CACHE_TTL };
    if !is_object(r, value, path, "{\"tools\": [\"get_*\"], \"ttl\": \"10s\"}") {
        return None;
    }
    let before = r.mistakes.len();
    for (key, path, prop) in keys::members(r, value, path, Where::Cache) {
        let value = &prop.value;
        match key.as_str() {
            "tools" => spec.tools = policy::globs(r, value, &path),
            "ttl" => spec.ttl = r.parsed(value, &path, units::duration_from_1s).unwrap_or(spec.ttl),
            _ => keys::foreign(r, &key, prop, &path, Where::Cache),
        }
    }
    if spec.tools.is_empty() && r.mistakes.len() == before {
        let what = "names no tool, and only whoever knows a tool can say that its answers may be given twice";
        r.mistake(value, path, Code::MissingKey.says(what), "name those that only read: \"tools\": [\"get_*\"]");
    }
    Some(spec)
}
