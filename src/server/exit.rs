//! How a process ended, in words.

use std::process::ExitStatus;

/// One line for people: the code or the signal, and what it commonly means.
pub(super) fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "exited by itself (code 0)".to_owned(),
        Some(126) => "exited with code 126 (a program that it starts is not executable)".to_owned(),
        Some(127) => "exited with code 127 (a program or interpreter that it starts was not found; to have it found: \
                      \"env\": {\"PATH\": \"/folder/of/it:${PATH}\"})"
            .to_owned(),
        // Shells, and so npx, make these codes of signals.
        Some(code @ 129..=159) => {
            format!(
                "exited with code {code} (a program that it starts was killed by signal {}{})",
                code - 128,
                name(code - 128)
            )
        }
        Some(code) => format!("exited with code {code}"),
        None => signalled(status),
    }
}

/// The same for a process that never wrote to stdout: one that ends well and has answered nothing was no server.
pub(super) fn words_of_mute(status: ExitStatus) -> String {
    let hint = if status.success() {
        ", without a word on stdout: a script must start its server at the end (FastMCP: mcp.run())"
    } else {
        ""
    };
    format!("{}{hint}", words(status))
}

/// The same for a process that we have sent a signal: its end is our doing.
pub(super) fn words_of_stopped(status: ExitStatus) -> String {
    match status.code() {
        Some(_) => words(status),
        None => "was killed by mcp-pipe".to_owned(),
    }
}

#[cfg(unix)]
fn signalled(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    let Some(signal) = status.signal() else { return status.to_string() };
    format!("was killed by signal {signal}{}", name(signal))
}

/// The name of a signal that ends programs, in brackets; nothing for other signals.
#[cfg(unix)]
fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => " (SIGHUP)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGQUIT => " (SIGQUIT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGKILL => " (SIGKILL: by the system if memory ran out, else by a person or a program)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGPIPE => " (SIGPIPE)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(windows)]
fn name(_signal: i32) -> &'static str {
    ""
}

#[cfg(windows)]
fn signalled(status: ExitStatus) -> String {
    status.to_string()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn codes_and_signals_are_told_apart() {
        let words = [0, 3 << 8, 127 << 8, 9, 64, 137 << 8].map(|raw| super::words(ExitStatus::from_raw(raw)));
        assert_eq!(words[0], "exited by itself (code 0)");
        assert_eq!(words[1], "exited with code 3");
        assert!(words[2].starts_with("exited with code 127 (a program"), "{}", words[2]);
        assert!(words[2].contains("\"env\": {\"PATH\": \"/folder/of/it:${PATH}\"}"), "{}", words[2]);
        assert!(words[3].starts_with("was killed by signal 9 (SIGKILL"), "{}", words[3]);
        assert_eq!(words[4], "was killed by signal 64");
        assert!(words[5].contains("killed by signal 9 (SIGKILL"), "{}", words[5]);
        let mute = [0, 3 << 8].map(|raw| words_of_mute(ExitStatus::from_raw(raw)));
        assert!(mute[0].starts_with(&words[0]) && mute[0].ends_with("(FastMCP: mcp.run())"), "{mute:?}");
        assert_eq!(mute[1], words[1]);
        let stopped = [0, 9, 15].map(|raw| words_of_stopped(ExitStatus::from_raw(raw)));
        assert_eq!(stopped[0], words[0]);
        assert!(stopped[1..].iter().all(|words| words.starts_with("was killed by mcp-pipe")), "{stopped:?}");
    }
}
