//! The control socket on Windows: a named pipe that only its owner gets into.

mod name;
#[cfg(windows)]
mod owner;
#[cfg(windows)]
pub(super) mod place;
#[cfg(windows)]
pub(super) mod socket;
