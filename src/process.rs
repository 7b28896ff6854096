//! What surrounds everything else: the watcher of a process that may be killed, its stop, what of it others can see, its limits,
//! and work beside its only thread.

pub(crate) mod aside;
pub mod guard;
pub(crate) mod limits;
pub mod scrub;
pub mod stop;
