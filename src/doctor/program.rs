//! Which program a server is: its file, its version where it is known how to ask for that, and with which `PATH` it was found.

use std::time::Duration;

use crate::config::CommandSpec;
use crate::process::guard::Guard;
use crate::secrecy::plain;
use crate::server::printed;
use crate::server::spawn::{file_of, search_path};

/// Programs that say their version and end when they are asked for it. Any other may do whatever it wants with an argument.
const TELL: &[&str] = &[
    "bun", "cargo", "deno", "docker", "dotnet", "node", "npm", "npx", "php", "pipx", "pnpm", "podman", "python",
    "python3", "ruby", "uv", "uvx",
];
/// Longest wait for that: `npx` takes a second on a small machine.
const PATIENCE: Duration = Duration::from_secs(4);
/// A first message, as the cloud says it.
const INITIALIZE: &[u8] =
    b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2024-11-05\",\
    \"capabilities\":{},\"clientInfo\":{\"name\":\"mcp-pipe\",\"version\":\"0\"}}}\n";
/// Most of the answer that is looked at, in bytes.
const ANSWER: usize = 64 << 10;
/// Longest version that is shown, in bytes.
const LONGEST: usize = 60;
/// Longest `PATH` that is shown where nothing is wrong, in characters.
const LONGEST_PATH: usize = 160;

/// Which program it is, in words.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// Its file, with its version.
    pub(super) found: String,
    /// With which `PATH` it was found, where it was looked for.
    pub(super) with: String,
}

/// The file of the program, if it is found.
pub(super) async fn told(spec: &CommandSpec, guard: Guard) -> Option<Program> {
    let file = file_of(spec)?;
    let name = file.file_stem()?.to_string_lossy().into_owned();
    let is_version = |c: char| c.is_ascii_digit() || c == '.';
    let family = name.trim_end_matches(is_version);
    let version = if TELL.contains(&&*name) || TELL.contains(&family) { version(spec, guard).await } else { None };
    let version = version.map_or_else(String::new, |version| format!(" ({version})"));
    // A path is looked for nowhere.
    let is_path = file.as_os_str() == &*spec.program;
    let by_name = if is_path { String::new() } else { format!("{} is ", spec.program) };
    let found = format!("{by_name}{}{version}", file.display());
    let with = (!is_path).then(|| format!("; by PATH={}", plain::bounded(&path(spec), LONGEST_PATH)));
    Some(Program { found, with: with.unwrap_or_default() })
}

/// The `PATH` with which it is looked for.
pub(super) fn path(spec: &CommandSpec) -> String {
    search_path(spec)
}

/// Whether a server that says nothing answers `initialize` once its standard input ends: then it has not flushed what it printed.
pub(super) async fn answers_at_its_end(spec: &CommandSpec, guard: Guard, within: Duration) -> bool {
    let printed = printed::run(spec, guard, INITIALIZE, (ANSWER, 0), within).await;
    printed.is_ok_and(|printed| memchr::memmem::find(&printed.stdout, b"protocolVersion").is_some())
}

async fn version(spec: &CommandSpec, guard: Guard) -> Option<String> {
    let asked = CommandSpec { args: vec!["--version".to_owned()], ..spec.clone() };
    let printed = printed::run(&asked, guard, &[], (LONGEST, 0), PATIENCE).await.ok()?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let line = text.lines().next().filter(|line| printed.status.success() && !line.trim().is_empty())?;
    Some(plain::bounded(line.trim(), LONGEST))
}
