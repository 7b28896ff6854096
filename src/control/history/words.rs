//! What a server did, told to a person or to a program. Pure.

use std::time::Duration;

use serde::Serialize;

use super::{Doing, Span, Told, WINDOW};
use crate::words::{counted, span};

/// What a server did, for a program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::control) struct Row {
    name: Box<str>,
    /// For how long it is known what it did, of the last 24 hours.
    known_seconds: f64,
    /// The part of that in which it served.
    #[serde(skip_serializing_if = "Option::is_none")]
    served: Option<f64>,
    /// How many earlier spans are not kept, as there were too many.
    dropped: u64,
    spans: Vec<Part>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    /// When it began, in seconds since 1970.
    at: f64,
    /// How long it lasted; the last one lasts on.
    seconds: f64,
    state: Doing,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Box<str>>,
    /// How often it came again soon, the first included.
    times: u32,
    /// For how long the server served in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_seconds: Option<f64>,
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

impl Row {
    pub(in crate::control) fn of(told: &Told) -> Self {
        let Told { name, now, row } = told;
        let (served, known) = row.share(*now);
        let part = |(at, it): (usize, &Span)| Part {
            at: seconds(it.from),
            seconds: seconds(row.end_of(at, *now).saturating_sub(it.from)),
            state: it.doing,
            why: Some(it.why.clone()).filter(|why| !why.is_empty()),
            times: it.times,
            served_seconds: Some(it.served).filter(|served| *served > 0).map(seconds),
        };
        Row {
            name: name.clone(),
            known_seconds: seconds(known),
            served: (known > 0).then(|| (served as f64 / known as f64 * 1e4).round() / 1e4),
            dropped: row.dropped,
            spans: row.spans.iter().enumerate().map(part).collect(),
        }
    }
}

/// What a server did, in words. `local`: the time of day as `HH:MM:SS`, for seconds since 1970.
pub(in crate::control) fn of(told: &Told, local: impl Fn(u64) -> String) -> String {
    let Told { name, now, row } = told;
    let (served, known) = row.share(*now);
    let share = match known {
        0 => String::new(),
        known => format!(" served {:.1} % of the last {}", served as f64 / known as f64 * 100.0, lasted(known)),
    };
    let mut text = format!("{name}:{share}\n");
    if row.dropped > 0 {
        let dropped = counted(usize::try_from(row.dropped).unwrap_or(usize::MAX), "earlier line");
        text += &format!("  {dropped} not kept: there were too many\n");
    }
    let today = local(now / 1000);
    // Within a day, what was at a later hour than it is now was yesterday.
    let begun = |it: &Span| match (it.from + WINDOW <= *now, local(it.from / 1000)) {
        (true, _) => ("earlier ", String::new()),
        (false, time) if time > today => ("yesterday ", time),
        (false, time) => ("", time),
    };
    let times: Vec<(&str, String)> = row.spans.iter().map(begun).collect();
    let wide = times.iter().map(|(day, _)| day.len()).max().unwrap_or_default();
    for (at, (it, (day, time))) in row.spans.iter().zip(&times).enumerate() {
        let long = lasted(row.end_of(at, *now).saturating_sub(it.from));
        let before = at.checked_sub(1).map(|before| row.spans[before].doing);
        text += &format!("  {day:<wide$}{time:<8}  {long:<11} {}\n", what(it, before));
    }
    text
}

fn lasted(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// What a span was. `before`: what the server did before.
fn what(it: &Span, before: Option<Doing>) -> String {
    let said = match it.doing {
        // Nothing was wrong: somebody, or mcp-pipe itself, wanted another process.
        Doing::Starting if before.is_some_and(|before| matches!(before, Doing::Serving | Doing::Paused)) => {
            "starting anew, as it was told to"
        }
        Doing::Starting => "starting",
        Doing::Serving => "serving",
        Doing::Silent => "silent: it was called, and said nothing",
        Doing::Failing => "failing",
        Doing::CircuitOpen => "got no calls: its circuit was open",
        Doing::Refusing => "refusing",
        Doing::Down => "down",
        Doing::Paused => "paused by command",
        Doing::Stopped => "stopped by command",
        Doing::Removed => "not in the config",
        Doing::Away => "mcp-pipe did not run",
    };
    let why = if it.why.is_empty() { String::new() } else { format!(": {}", it.why) };
    let times = if it.times > 1 { format!(", {} times", it.times) } else { String::new() };
    let served = if it.served > 0 { format!("; served {} in between", lasted(it.served)) } else { String::new() };
    format!("{said}{why}{times}{served}")
}
