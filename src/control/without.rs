//! The commands that ask a running mcp-pipe, where there is no control socket: on Windows, whose named pipes are not tried yet.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::orders::Order;
use crate::config::{ControlSocket, Environment};
use crate::error::{Exit, Failure};
use crate::secrecy::Redactor;

/// Why there is none.
pub(super) const UNAVAILABLE: &str = "the control socket is not available on this system";

/// Which mcp-pipe is asked, and how what it says is shown.
pub(crate) struct Asking<'a> {
    /// Where it is asked, as far as that was said.
    pub socket: ControlSocket,
    /// The config that it runs with, where that was said.
    pub config: Option<PathBuf>,
    /// What is to be seen nowhere.
    pub redactor: &'a Redactor,
    /// For the looks of the log.
    pub env: &'a Environment,
}

/// What `mcp-pipe status` is asked for.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "nobody is asked")]
pub(crate) struct Question<'a> {
    /// Only this server or endpoint.
    pub name: Option<&'a str>,
    /// For a program.
    pub json: bool,
    /// On and on.
    pub watch: bool,
    /// Until all that is wanted serves, for so long at most.
    pub wait: Option<Duration>,
}

impl Asking<'_> {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn status(self, _question: Question<'_>) -> Result<Exit, Failure> {
        Ok(self.health()?)
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn logs(
        self,
        _server: Option<String>,
        _last: Option<u64>,
        _follow: bool,
        _json: bool,
    ) -> Result<Exit, Failure> {
        Ok(self.health()?)
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn order(self, _order: Order) -> Result<Exit, Failure> {
        Ok(self.health()?)
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn health(self) -> Result<Exit> {
        bail!("{UNAVAILABLE}; without it, `mcp-pipe tools` shows whether servers start")
    }
}
