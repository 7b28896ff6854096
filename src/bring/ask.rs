//! Questions to a person at a terminal. What may be a token is not shown while it is typed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks for a line.
///
/// # Errors
/// The terminal can't be read or written, or the input has ended.
pub(crate) fn line(question: &str) -> io::Result<String> {
    let mut out = io::stdout().lock();
    write!(out, "{question} ")?;
    out.flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        // The question stays on its line.
        writeln!(out)?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
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
    restore_at_the_end(usual.clone())?;
    let mut silent = usual.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Now, &silent)?;
    let said = line(question);
    tcsetattr(&stdin, OptionalActions::Now, &usual)?;
    said
}

/// Has a signal that ends the program give the terminal its echo back first.
#[cfg(unix)]
fn restore_at_the_end(usual: rustix::termios::Termios) -> io::Result<()> {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::termios::{OptionalActions, tcsetattr};
    use tokio::signal::unix::{SignalKind, signal};

    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hup = signal(SignalKind::hangup())?;
    drop(inside);
    // It waits for as long as the process lives.
    std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = int.recv() => libc::SIGINT,
                _ = term.recv() => libc::SIGTERM,
                _ = hup.recv() => libc::SIGHUP,
            }
        });
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &usual);
        #[expect(clippy::exit, reason = "the thread that would return waits for the terminal")]
        std::process::exit(128 + number);
    })?;
    Ok(())
}

/// The same where a terminal is not told so (not tried on Windows).
#[cfg(not(unix))]
pub(crate) fn hidden(question: &str) -> io::Result<String> {
    line(question)
}
