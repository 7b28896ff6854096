//! The `limits` of an entry: how much of the machine its server may have.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `memory` | size | none | what the server may hold of the memory, with everything that it has started; above that it is ended, and started again as after a crash |
//! | `openFiles` | number | none | how many files and connections each of its processes may have open |
//! | `nice` | number | none | how willingly it leaves the processors to others, from -20 to 19; below mcp-pipe's own only with the system's leave |

use jsonc_parser::ast::Value;

use super::context::Context;
use super::keys::{self, Place as Where};
use super::reader::{Located, Reader};
use super::units;
use crate::error::{Code, Place};
use crate::process::limits;

/// How much of the machine a server may have; as much as there is where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsSpec {
    /// Most bytes of memory, of the whole process group.
    pub memory: Option<u64>,
    /// Most open files of a process.
    pub open_files: Option<u64>,
    /// The niceness of its processes.
    pub nice: Option<i32>,
}

/// The value of `limits`.
#[derive(Debug, Default)]
pub(crate) struct LimitsEntry {
    /// Where it stands, if it does.
    pub(crate) place: Option<Place>,
    memory: Option<Located<u64>>,
    open_files: Option<Located<u64>>,
    nice: Option<Located<i32>>,
}

/// Reads the value of `limits`.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> LimitsEntry {
    let mut entry = LimitsEntry { place: Some(r.place(value, path)), ..LimitsEntry::default() };
    for (key, path, prop) in keys::members(r, value, path, Where::Limits) {
        let value = &prop.value;
        match key.as_str() {
            "memory" => entry.memory = r.located(value, &path, |r, v, p| r.parsed(v, p, units::memory)),
            "openFiles" => entry.open_files = r.located(value, &path, |r, v, p| r.parsed(v, p, units::open_files)),
            "nice" => entry.nice = r.located(value, &path, |r, v, p| r.parsed(v, p, units::nice)),
            _ => keys::foreign(r, &key, prop, &path, Where::Limits),
        }
    }
    entry
}

/// Notes the `limits` of a server that is not started here.
pub(crate) fn refuse(ctx: &mut Context<'_>, entry: &LimitsEntry) {
    if let Some(place) = &entry.place {
        let what = "bounds a program that mcp-pipe starts, and a remote server runs elsewhere";
        ctx.mistake(place, Code::Contradiction.says(what), "remove it");
    }
}

/// The limits of a server that is started. What the system does not grant is noted as a mistake: the server could not start.
pub(crate) fn of(ctx: &mut Context<'_>, entry: &LimitsEntry) -> LimitsSpec {
    let value = |limit: &Option<Located<u64>>| limit.as_ref().map(|limit| limit.value);
    let spec = LimitsSpec {
        memory: value(&entry.memory),
        open_files: value(&entry.open_files),
        nice: entry.nice.as_ref().map(|nice| nice.value),
    };
    let mut refused = |place: &Place, refusal: Option<(String, String)>| {
        if let Some((what, remedy)) = refusal {
            ctx.mistake(place, Code::WrongValue.says(what), remedy);
        }
    };
    if let Some(files) = &entry.open_files {
        refused(&files.place, limits::refuses_open_files(files.value));
    }
    if let Some(nice) = &entry.nice {
        refused(&nice.place, limits::refuses_nice(nice.value));
    }
    if let (Some(memory), false) = (&entry.memory, cfg!(target_os = "linux")) {
        let what = "is only watched on Linux: here it bounds nothing, or each process for itself";
        ctx.warning(&memory.place, Code::NoEffect.says(what), "bound the memory of mcp-pipe's service or container");
    }
    spec
}
