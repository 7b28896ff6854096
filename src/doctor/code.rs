//! The codes of root causes: those that `mcp-pipe status` has, and what only `mcp-pipe doctor` finds.

use crate::error::FaultCode;

/// What kind of fault a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// One that `status` would tell as well.
    Fault(FaultCode),
    /// Somebody else listens where mcp-pipe wants to.
    PortTaken,
    /// This machine's clock is wrong, and so certificates seem to be.
    ClockWrong,
    /// A mcp-pipe runs, and does not answer.
    DaemonSilent,
    /// Several run with the same config.
    DaemonTwice,
}

impl Code {
    /// The code as programs read it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Code::Fault(fault) => fault.as_str(),
            Code::PortTaken => "port-taken",
            Code::ClockWrong => "clock-wrong",
            Code::DaemonSilent => "daemon-silent",
            Code::DaemonTwice => "daemon-twice",
        }
    }
}
