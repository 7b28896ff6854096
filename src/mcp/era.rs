//! The two eras of MCP.

/// An era of MCP: how a server is spoken to, for the whole of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: a handshake, and a state behind it.
    Legacy,
    /// From 2026-07-28 on: each request stands for itself.
    Modern,
}

impl Era {
    /// The other one.
    pub fn other(self) -> Era {
        match self {
            Era::Legacy => Era::Modern,
            Era::Modern => Era::Legacy,
        }
    }
}
