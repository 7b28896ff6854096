//! `mode: multiplex`: several servers on one connection, as one.

mod burst;
mod catalogue;
mod five;
mod isolation;
mod odd;
mod policy;
mod resync;
mod tasks;
