//! What commands print for whoever asked: a disk that is full, or another reason for which not all of it arrives, is told at the end.

use std::io::{self, Write as _};
use std::sync::OnceLock;

/// Why something could not be printed: the first reason.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints on standard output.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        // A reader that went away has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => _ = LOST.set(error.to_string()),
    }
}

/// Why not all that was printed has arrived, if so.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}
