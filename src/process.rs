//! The process itself: the watcher for the case that we are killed, the two-step stop, what others can see of us, the system's
//! limits, and work beside the only thread.

pub(crate) mod aside;
pub mod guard;
pub(crate) mod limits;
pub mod scrub;
pub mod stop;
