//! The process itself: its watcher, its two-step stop, what others can see of it, its limits, its text, who has started it, and work beside its only thread.

pub(crate) mod aside;
pub mod guard;
pub mod handed;
pub(crate) mod limits;
pub(crate) mod memory;
pub mod scrub;
pub mod stdout;
pub(crate) mod stop;
pub mod systemd;
pub(crate) mod text;
