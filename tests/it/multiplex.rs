//! `mode: multiplex`: several servers on one connection, as one.

mod burst;
mod catalogue;
mod five;
mod isolation;
mod policy;
mod resync;
