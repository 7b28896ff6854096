//! `mcp-pipe init`, `import` and `connect`: servers of other programs come into the config, and these programs use mcp-pipe. Nothing is
//! started.

mod ask;
pub(crate) mod client;
mod connect;
mod edit;
mod files;
mod import;
mod init;
mod moved;
mod plan;
pub(crate) mod programs;
mod report;

use crate::config::Surroundings;
use crate::config::options::CommandLine;
use crate::error::{Exit, Failure};
#[cfg(unix)]
use crate::process::limits;
use crate::secrecy::Redactor;

/// What one of these commands is to do.
#[derive(Debug, Clone)]
pub(crate) enum Errand<'a> {
    /// A first config.
    Init {
        /// Whether everything is done that would be offered.
        yes: bool,
    },
    /// Servers of other programs.
    Import(Import<'a>),
    /// An entry in a client's file.
    Connect(Connect<'a>),
}

/// Which servers are taken over, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Import<'a> {
    /// Programs and files; all programs if there are none.
    pub(crate) from: &'a [String],
    pub(crate) both: bool,
    pub(crate) write: bool,
    pub(crate) json: bool,
}

/// Which client is to use mcp-pipe, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connect<'a> {
    pub(crate) client: &'a str,
    pub(crate) http: bool,
    /// Another file of the client than its own.
    pub(crate) file: Option<&'a std::path::Path>,
    pub(crate) write: bool,
    pub(crate) json: bool,
}

/// Does it.
///
/// # Errors
/// What could not be done; then nothing was written, or it is said what was.
pub(crate) fn run(
    errand: &Errand<'_>,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Result<Exit, Failure> {
    // What is written may not end halfway.
    #[cfg(unix)]
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() {
        let _inside = runtime.enter();
        let _as_it_was = limits::outlive_full_files();
    }
    match errand {
        Errand::Init { yes } => init::run(*yes, surroundings, redactor),
        Errand::Import(wanted) => import::run(wanted, surroundings, redactor),
        Errand::Connect(wanted) => connect::run(wanted, line, surroundings, redactor),
    }
}
