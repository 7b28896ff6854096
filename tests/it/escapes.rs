//! Nothing that a server says steers the terminal of whoever looks at it.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{config, fixture_entry};

/// Clears the screen, turns the direction of writing, and is a control character of eight bits.
const HOSTILE: &str = "a\u{1b}[2Jb\u{202e}c\u{9b}2Jd\re";

/// Standard output and error of `mcp-pipe` with these arguments and one server, which says hostile things.
fn said(arguments: &[&str], stdout: Option<OwnedFd>) -> (String, String) {
    let dir = TempDir::new().unwrap();
    let config = config([("x", fixture_entry(&["--saying", HOSTILE]))]);
    std::fs::write(dir.path().join("mcp_config.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
    command.args(arguments).current_dir(dir.path()).env("HOME", dir.path()).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(stdout.map_or_else(Stdio::piped, Stdio::from));
    let output = command.stderr(Stdio::piped()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A terminal: what is shown on it, and the side that a program gets.
pub(crate) fn terminal() -> (File, OwnedFd) {
    let (screen, program) = crate::terminal::terminal();
    (File::from(screen), program)
}

/// All that a program printed on a terminal.
fn printed(arguments: &[&str]) -> String {
    let (mut screen, program) = terminal();
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        // Once nobody has the other side any more, that is an error.
        while let Ok(n @ 1..) = screen.read(&mut piece) {
            shown.extend_from_slice(&piece[..n]);
        }
        String::from_utf8(shown).unwrap()
    });
    said(arguments, Some(program));
    reader.join().unwrap()
}

fn steers(text: &str) -> bool {
    text.contains(['\u{1b}', '\u{202e}', '\u{9b}']) || text.replace("\r\n", "").contains('\r')
}

#[test]
fn tables_errors_and_log_lines_show_what_a_server_says_and_steer_nothing() {
    for arguments in [
        &["tools"][..],
        &["tools", "--json"],
        &["tools", "--size"],
        &["tools", "--size", "--json"],
        &["tools", "--log-level", "info"],
        &["tools", "--log-level", "info", "--log-format", "json"],
        &["call", "x", "echo", "{}"],
        &["call", "x", HOSTILE],
    ] {
        let (out, err) = said(arguments, None);
        assert!(!steers(&out) && !steers(&err), "{arguments:?}: {out:?} {err:?}");
        assert!(out.contains("echo") || err.contains("202e"), "{arguments:?}: {out} {err}");
    }
}

#[test]
fn a_result_is_given_to_a_program_as_it_is_and_to_a_terminal_so_that_it_steers_nothing() {
    let text = json!({"text": HOSTILE}).to_string();
    let (out, _) = said(&["call", "x", "echo", &text], None);
    assert_eq!(out, format!("{HOSTILE}\n"));
    let shown = printed(&["call", "x", "echo", &text]);
    assert!(!steers(&shown) && shown.contains(r"a\u{1b}[2Jb\u{202e}c\u{9b}2Jd\re"), "{shown:?}");
    assert!(!steers(&printed(&["tools"])), "{:?}", printed(&["tools"]));
}
