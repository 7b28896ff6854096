//! What surrounds everything else: the watcher of a process that may be killed, its stop, and what of it others can see.

pub mod guard;
pub mod scrub;
pub mod stop;
