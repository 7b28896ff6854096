//! The process itself: its watcher, its two-step stop, what others can see of it, its limits, its text, and work beside its only thread.

pub(crate) mod aside;
pub mod guard;
pub(crate) mod limits;
pub mod scrub;
pub(crate) mod stop;
pub(crate) mod text;
