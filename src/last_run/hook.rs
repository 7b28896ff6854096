//! A fault of mcp-pipe's own, told to the log and noted in the moment in which it ends the program.
//!
//! The usual hook would write the fault to stderr as it is: several lines amid lines of JSON, with whatever is in them. Whoever panics may
//! hold a lock that the log or the redactor needs, so the work is done by another thread, which is waited for, but not for ever.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::error;

use super::Keeper;
use super::record::{How, WORDS};
use crate::process::aside::wait_aside;
use crate::secrecy::Redactor;

/// Longest time for a fault to be told and noted: the program ends then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has the next fault told and noted.
pub(super) fn install(keeper: Keeper, redactor: Redactor) {
    panic::set_hook(Box::new(move |fault| tell(&keeper, &redactor, fault)));
}

/// Whether a fault is being told: one amid that would be told by another thread, with another fault, without end.
static TELLING: AtomicBool = AtomicBool::new(false);

fn tell(keeper: &Keeper, redactor: &Redactor, fault: &PanicHookInfo<'_>) {
    if TELLING.swap(true, Ordering::Relaxed) {
        return;
    }
    let what = fault.payload_as_str().unwrap_or("a fault without words").to_owned();
    let place = fault.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
    // Wanted by `RUST_BACKTRACE` only, and to be had on this thread only.
    let trace = Backtrace::capture();
    let (keeper, redactor) = (keeper.clone(), redactor.clone());
    // Where there is no thread, nothing more can be done.
    let _untold = wait_aside(PATIENCE, move || {
        let what = redactor.shown(&redactor.clean_all(&what), WORDS);
        keeper.note(How::Panicked(what.clone(), place.clone()));
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        error!(event = "FAULT", place, backtrace = trace, "a fault of mcp-pipe's own, please report it: {what}");
    });
    TELLING.store(false, Ordering::Relaxed);
}
