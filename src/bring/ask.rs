//! Questions to a person at a terminal. What may be a token is not shown while it is typed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks for a line. At the end of the input it is empty.
///
/// # Errors
/// The terminal can't be read or written.
pub(crate) fn line(question: &str) -> io::Result<String> {
    let mut out = io::stdout().lock();
    write!(out, "{question} ")?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks whether something is to be done, which it is if nothing is said.
///
/// # Errors
/// As [`line`].
pub(crate) fn yes(question: &str) -> io::Result<bool> {
    loop {
        match line(&format!("{question} [Y/n]"))?.to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

/// Asks for a line that is not shown.
///
/// # Errors
/// As [`line`].
#[cfg(unix)]
pub(crate) fn hidden(question: &str) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = io::stdin();
    let usual = tcgetattr(&stdin)?;
    let mut silent = usual.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Now, &silent)?;
    let said = line(question);
    tcsetattr(&stdin, OptionalActions::Now, &usual)?;
    said
}

/// The same where a terminal is not told so (not tried on Windows).
#[cfg(not(unix))]
pub(crate) fn hidden(question: &str) -> io::Result<String> {
    line(question)
}
