//! The time of a log line: in UTC for machines, in local time at a terminal.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime as _};

thread_local! {
    /// The second of the last line, since 1970, and how it is written: making a date is half the work of a line, and many share one.
    static SECOND: RefCell<(u64, String)> = RefCell::default();
}

/// The time in UTC as RFC 3339 has it, to the millisecond.
pub(crate) fn utc() -> String {
    let now = since_1970();
    SECOND.with_borrow_mut(|(second, date)| {
        if date.is_empty() || *second != now.as_secs() {
            let text = formatted();
            match text.get(..19) {
                // It reads the clock itself, and that goes on.
                Some(start) if since_1970().as_secs() == now.as_secs() => {
                    (*second, *date) = (now.as_secs(), start.into())
                }
                Some(_) | None => return text,
            }
        }
        format!("{date}.{:03}Z", now.subsec_millis())
    })
}

/// The present time, as [`utc`] gives it.
fn formatted() -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = time::SystemTime.format_time(&mut Writer::new(&mut text));
    text.char_indices().nth(23).map_or_else(|| text.clone(), |(at, _)| format!("{}Z", &text[..at]))
}

/// The time as `HH:MM:SS` in the zone of `TZ`, else of the machine; in UTC, and saying so, where the zone can't be found out.
pub(super) fn local() -> String {
    local_of(now())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same as [`local`] for another time, in seconds since 1970.
pub(crate) fn local_of(time: u64) -> String {
    local_at(time).unwrap_or_else(|| {
        let [hours, minutes, seconds] = [time / 3600 % 24, time / 60 % 60, time % 60];
        format!("{hours:02}:{minutes:02}:{seconds:02}Z")
    })
}

/// The local time by the system's own rules: a crate that brings its own made the program 390 KB larger.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the system has no other form of this")]
fn local_at(now: u64) -> Option<String> {
    let now = libc::time_t::try_from(now).ok()?;
    let mut time = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to memory of ours of the right type; all-zero is a `tm`, too. The function reads `TZ`, and
    // nothing in this program ever writes the environment.
    let time = unsafe {
        if libc::localtime_r(&now, time.as_mut_ptr()).is_null() {
            return None;
        }
        time.assume_init()
    };
    Some(format!("{:02}:{:02}:{:02}", time.tm_hour, time.tm_min, time.tm_sec))
}

/// The zone is not asked for on this system.
#[cfg(not(unix))]
fn local_at(_now: u64) -> Option<String> {
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_machines_writes_milliseconds() {
        let (before, first, second, after) = (formatted(), utc(), utc(), formatted());
        assert!(
            before.len() == 24 && before.ends_with('Z') && &before[10..11] == "T" && &before[19..20] == ".",
            "{before}"
        );
        assert!(before <= first && first <= second && second <= after, "{before} {first} {second} {after}");
    }

    #[test]
    fn the_clock_of_machines_goes_on_with_the_second() {
        let begun = utc();
        while utc()[..19] == begun[..19] {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (before, now, after) = (formatted(), utc(), formatted());
        assert!(before <= now && now <= after, "{before} {now} {after}");
    }

    /// The environment is shared by all tests, so a process of its own has another zone.
    #[cfg(unix)]
    #[test]
    fn the_clock_of_people_is_that_of_their_zone() {
        const EXPECTED: &str = "MCP_PIPE_TEST_CLOCK";
        // 2026-01-02 23:04:05 UTC.
        if let Ok(expected) = std::env::var(EXPECTED) {
            assert_eq!(local_at(1_767_395_045).unwrap(), expected);
            return;
        }
        for (zone, expected) in [("UTC0", "23:04:05"), ("CST-8", "07:04:05"), ("NST3:30", "19:34:05")] {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "logging::clock::tests::the_clock_of_people_is_that_of_their_zone"])
                .env("TZ", zone)
                .env(EXPECTED, expected)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.success() && said.contains("1 passed"), "{zone}: {said}");
        }
    }
}
