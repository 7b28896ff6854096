//! Times, sizes and choices as a person writes them (`5s`, `2m`, `500ms`; `16MiB`; `per-server`), and the limits of their values.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::tools::cut;
use crate::words::{brief, closest};

/// Longest time that is accepted: a month. More is a slip, and would overflow where times are added.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Smallest limit on messages, in bytes: an `initialize` fits.
const SMALLEST_FRAME: usize = 1024;
/// Largest limit on messages and results, in bytes: a message is held in memory whole.
const LARGEST_FRAME: usize = 1 << 30;
/// Shortest turn: each begins with a new connection, on which the endpoint has to initialize, read the lists and make a call.
const SHORTEST_TURN: Duration = Duration::from_secs(10);

/// How long a lease may live, in seconds. What is over when it ends a second early has to be of some length; and nobody waits longer for
/// another daemon.
const LEASE_TTL: std::ops::RangeInclusive<u64> = 3..=60;
/// Largest `replicas`: no machine of those that this runs on has more processors for one server.
pub(crate) const MOST_REPLICAS: usize = 64;
/// Most processes of one server: each is a program with its own memory and descriptors, and a slip must not fill the machine.
pub(crate) const MOST_INSTANCES: usize = 1000;

/// Least memory that a server may be left: no program of any use lives in less.
const LEAST_MEMORY: u64 = 4 << 20;
/// Most: more than machines have, and far from what overflows where it is doubled.
const MOST_MEMORY: u64 = 16 << 40;
/// Smallest log file: with a smaller one each line would move all the older ones.
const LEAST_LOG: u64 = 4096;
/// Most older log files: each of them is renamed whenever the log begins anew.
pub(crate) const MOST_LOGS: usize = 100;
/// Fewest open files that a server may be left: Node 22 does not start with 20.
pub(crate) const LEAST_FILES: u64 = 32;
/// The niceness that there is.
pub(crate) const NICE: std::ops::RangeInclusive<i32> = -20..=19;

/// Why a text is no such value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong, a sentence of its own.
    pub(crate) what: String,
    /// What to write.
    pub(crate) remedy: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Wrong { what: what.into(), remedy: remedy.into() }
    }

    /// The same for JSON, where a number with its unit is a text, and an address or the name of a host is.
    pub(crate) fn in_quotes(self) -> Self {
        let quoted = |word: &str| {
            let value = word.trim_end_matches([',', ';']);
            let has_unit = value.starts_with(|c: char| c.is_ascii_digit()) && value.ends_with(char::is_alphabetic);
            let is_address = value.contains(':') && !value.ends_with(':');
            let is_host = value.split('.').count() > 2 && value.split('.').all(|part| !part.is_empty());
            if has_unit || is_address || is_host {
                format!("\"{value}\"{}", &word[value.len()..])
            } else {
                word.to_owned()
            }
        };
        let remedy = self.remedy.split(' ').map(quoted).collect::<Vec<_>>().join(" ");
        Wrong { remedy, ..self }
    }
}

impl std::error::Error for Wrong {}

/// On one line, for the command line.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// A port that can be listened on.
///
/// # Errors
/// Why the text is none.
pub(crate) fn port(text: &str) -> Result<u16, Wrong> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Wrong::new("a port is a whole number from 1 to 65535", "write it like 8976, or leave it out"))
}

/// A time from nothing to 30 days.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    time(text, too_long(), |_| true)
}

fn too_long() -> Wrong {
    Wrong::new("the longest time is 30d", "write a shorter one")
}

/// A time that fits; `otherwise`: what is wrong with another one. Nothing is suggested that would be refused, too.
fn time(text: &str, otherwise: Wrong, fits: impl Fn(Duration) -> bool) -> Result<Duration, Wrong> {
    let of = |number: f64, seconds: f64| match Duration::try_from_secs_f64(number * seconds) {
        Ok(time) if time > LONGEST => Err(too_long()),
        Ok(time) if fits(time) => Ok(time),
        Ok(_) => Err(otherwise.clone()),
        Err(_) => Err(too_long()),
    };
    let examples =
        [("5s", 5.0), ("2m", 120.0), ("500ms", 0.5)].into_iter().filter(|(_, seconds)| of(1.0, *seconds).is_ok());
    let like = match &examples.map(|(example, _)| example).collect::<Vec<_>>()[..] {
        [] => otherwise.remedy.clone(),
        [one] => format!("write it like {one}"),
        [first @ .., last] => format!("write it like {} or {last}", first.join(", ")),
    };
    let none = || Wrong::new("that is no time", like.clone());
    let no_unit = |remedy: String| Wrong::new("a time needs a unit", remedy);
    let (digits, unit) = split(text);
    let number = || digits.parse::<f64>().map_err(|_| none());
    if let Some(seconds) = seconds_of(unit) {
        return of(number()?, seconds);
    }
    if unit.is_empty() && digits.is_empty() {
        return Err(no_unit(like));
    } else if unit.is_empty() {
        let number = number()?;
        let is_large = with_likely_unit(&number.to_string()).ends_with("ms");
        of(number, if is_large { 0.001 } else { 1.0 })?;
        return Err(no_unit(in_each_unit(number, |seconds| of(number, seconds).is_ok())));
    }
    let (meant, seconds) = unit_meant(unit).and_then(|unit| Some((unit, seconds_of(unit)?))).ok_or_else(none)?;
    of(number()?, seconds)?;
    Err(Wrong::new("that is no time", format!("write {}{meant}", brief(digits))))
}

/// How long a unit of ours is.
fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86400.0),
        _ => None,
    }
}

/// A number with the unit that was most likely meant: milliseconds from a thousand on, else seconds.
pub(crate) fn with_likely_unit(number: &str) -> String {
    let is_large = number.parse::<f64>().is_ok_and(|number| number >= 1000.0);
    format!("{}{}", brief(number), if is_large { "ms" } else { "s" })
}

/// What to write for a number without a unit: in the likely one, and in the others that it may have been counted in, as far as such a time
/// fits. `fits`: by the seconds of a unit.
fn in_each_unit(number: f64, fits: impl Fn(f64) -> bool) -> String {
    let others = |all: &[(&str, f64, &str)]| {
        let others = all.iter().filter(|(_, seconds, _)| fits(*seconds));
        others.map(|(unit, _, name)| format!(", or {number}{unit} for {name}")).collect::<String>()
    };
    match with_likely_unit(&number.to_string()) {
        zero if number == 0.0 => format!("write {zero}"),
        milliseconds if milliseconds.ends_with("ms") => {
            let whole = |unit: f64| (number % (unit * 1000.0) == 0.0).then_some(number / (unit * 1000.0));
            let minutes = whole(60.0).map(|minutes| format!(", which is {minutes}m"));
            let same = minutes.or_else(|| whole(1.0).map(|seconds| format!(", which is {seconds}s")));
            format!("write {milliseconds}{}{}", same.unwrap_or_default(), others(&[("s", 1.0, "seconds")]))
        }
        seconds => format!("write {seconds}{}", others(&[("m", 60.0, "minutes"), ("ms", 0.001, "milliseconds")])),
    }
}

/// The unit that is meant by what people and other programs call it.
fn unit_meant(unit: &str) -> Option<&'static str> {
    match unit.to_lowercase().trim_end_matches('.') {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" | "毫秒" => Some("ms"),
        "s" | "sec" | "secs" | "second" | "seconds" | "秒" => Some("s"),
        "m" | "min" | "mins" | "minute" | "minutes" | "分" | "分钟" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" | "小时" => Some("h"),
        "d" | "day" | "days" | "天" => Some("d"),
        _ => None,
    }
}

/// A time of at least a second, for waits that repeat: a shorter one would be a busy loop.
///
/// # Errors
/// As [`duration`].
pub(crate) fn duration_from_1s(text: &str) -> Result<Duration, Wrong> {
    let too_short = Wrong::new("the shortest time is 1s here", "write 1s or more");
    time(text, too_short, |time| time >= Duration::from_secs(1))
}

/// How long a lease lives: whole seconds, as etcd counts them.
///
/// # Errors
/// As [`duration`].
pub(crate) fn lease_ttl(text: &str) -> Result<Duration, Wrong> {
    let wrong = Wrong::new("a lease lives for 3 to 60 whole seconds", "write it like 10s");
    time(text, wrong, |time| time.subsec_nanos() == 0 && LEASE_TTL.contains(&time.as_secs()))
}

/// How long a server has its endpoint: at least 10 s.
///
/// # Errors
/// As [`duration`].
pub(crate) fn turn(text: &str) -> Result<Duration, Wrong> {
    let shortest = format!("{}s", SHORTEST_TURN.as_secs());
    let too_short = Wrong::new(format!("the shortest turn is {shortest}"), format!("write {shortest} or more"));
    time(text, too_short, |time| time >= SHORTEST_TURN)
}

/// How long a call may take: more than nothing.
///
/// # Errors
/// As [`duration`].
pub(crate) fn call_timeout(text: &str) -> Result<Duration, Wrong> {
    let none = Wrong::new("no call could be answered in that", "leave it out for no limit");
    time(text, none, |time| !time.is_zero())
}

/// A whole number from 1 on.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn count(text: &str) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(Wrong::new("that is no whole number above 0", "write 1 or more")),
        Ok(number) => Ok(number),
    }
}

/// How many processes a server may have.
///
/// # Errors
/// Why the text is no such number, with an example.
pub(crate) fn instances(text: &str) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(number) if (1..=MOST_INSTANCES).contains(&number) => Ok(number),
        Ok(_) | Err(_) => {
            Err(Wrong::new(format!("that is no whole number from 1 to {MOST_INSTANCES}"), "write it like 16"))
        }
    }
}

/// How many processes of a server may be alike.
///
/// # Errors
/// Why the text is no such number, with an example.
pub(crate) fn replicas(text: &str) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(number) if (1..=MOST_REPLICAS).contains(&number) => Ok(number),
        Ok(_) | Err(_) => {
            Err(Wrong::new(format!("that is no whole number from 1 to {MOST_REPLICAS}"), "write it like 3"))
        }
    }
}

/// One of a few words.
///
/// # Errors
/// All words that there are, and the closest one.
pub(crate) fn choice<T: ValueEnum>(text: &str) -> Result<T, Wrong> {
    T::from_str(text, false).map_err(|_| {
        let words: Vec<String> = T::value_variants().iter().map(word).collect();
        none_of(text, &words.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

/// That a text is none of a few words, and the closest.
pub(crate) fn none_of(text: &str, words: &[&str]) -> Wrong {
    let meant = closest(text, words.iter().copied()).map(|word| format!("did you mean {word}?"));
    let remedy = meant.unwrap_or_else(|| "write one of them".to_owned());
    Wrong::new(format!("it must be one of {}", words.join(", ")), remedy)
}

/// The word for a choice.
pub(crate) fn word<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The largest result in bytes, 256 to 1 GiB.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn result_size(text: &str) -> Result<usize, Wrong> {
    let bytes = size(text)?;
    if (cut::LEAST..=LARGEST_FRAME).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Wrong::new(format!("it must lie between {} bytes and 1GiB", cut::LEAST), "write a size between them"))
    }
}

/// The largest message in bytes, 1 KiB to 1 GiB.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn frame_size(text: &str) -> Result<usize, Wrong> {
    let bytes = size(text)?;
    if (SMALLEST_FRAME..=LARGEST_FRAME).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Wrong::new("it must lie between 1KiB and 1GiB", "write a size between them, like 16MiB"))
    }
}

/// What a server may hold of the memory, in bytes. Its unit is a must: a number alone may be meant in bytes or in MiB.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn memory(text: &str) -> Result<u64, Wrong> {
    let like = "write it like 512MiB or 2GiB";
    let bytes = size(text).map_err(|wrong| Wrong { remedy: like.to_owned(), ..wrong })? as u64;
    if split(text).1.is_empty() {
        let is_mebibytes =
            bytes.checked_mul(1 << 20).is_some_and(|bytes| (LEAST_MEMORY..=MOST_MEMORY).contains(&bytes));
        let remedy = if is_mebibytes { format!("write {bytes}MiB") } else { like.to_owned() };
        return Err(Wrong::new("a size of memory needs a unit", remedy));
    }
    if (LEAST_MEMORY..=MOST_MEMORY).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Wrong::new("it must lie between 4MiB and 16TiB", "write a size between them, like 512MiB"))
    }
}

/// At which size a log file begins anew, in bytes.
///
/// # Errors
/// Why the text is none, with an example.
pub(crate) fn log_size(text: &str) -> Result<u64, Wrong> {
    let bytes = size(text)? as u64;
    if (LEAST_LOG..=MOST_MEMORY).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Wrong::new("it must lie between 4KiB and 16TiB", "write a size between them, like 10MiB"))
    }
}

/// How many older log files are kept.
///
/// # Errors
/// Why the text is no such number, with an example.
pub(crate) fn kept_files(text: &str) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(number) if (1..=MOST_LOGS).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(Wrong::new(format!("that is no whole number from 1 to {MOST_LOGS}"), "write it like 3")),
    }
}

/// How many files a process may have open.
///
/// # Errors
/// Why the text is no such number, with an example.
pub(crate) fn open_files(text: &str) -> Result<u64, Wrong> {
    match text.trim().parse() {
        Ok(number) if number >= LEAST_FILES => Ok(number),
        Ok(_) | Err(_) => {
            Err(Wrong::new(format!("that is no whole number from {LEAST_FILES} on"), "write it like 256"))
        }
    }
}

/// The niceness of a process.
///
/// # Errors
/// Why the text is no such number, with an example.
pub(crate) fn nice(text: &str) -> Result<i32, Wrong> {
    match text.trim().parse() {
        Ok(number) if NICE.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(Wrong::new("that is no whole number from -20 to 19", "write it like 10")),
    }
}

fn size(text: &str) -> Result<usize, Wrong> {
    let none = || Wrong::new("that is no size", "write it like 16MiB, 512KiB or a number of bytes");
    let (number, unit) = split(text);
    let scale: f64 = match unit {
        "" | "B" => 1.0,
        "KiB" | "K" | "k" => 1024.0,
        "MiB" | "M" => 1024.0 * 1024.0,
        "GiB" | "G" => 1024.0 * 1024.0 * 1024.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return Err(none()),
    };
    let number: f64 = number.parse().map_err(|_| none())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; the callers check the range"
    )]
    Ok((number * scale) as usize)
}

/// The number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_text_in_json_is_told_in_quotes() {
        for (remedy, want) in [
            ("write it like 5s, 2m or 500ms", "write it like \"5s\", \"2m\" or \"500ms\""),
            (
                "write 127.0.0.1:80 for this machine alone, or :80 for all",
                "write \"127.0.0.1:80\" for this machine alone, or \":80\" for all",
            ),
            ("write it like https://app.example.com", "write it like \"https://app.example.com\""),
            (
                "write it like mcp.example.com, or mcp.example.com:8443",
                "write it like \"mcp.example.com\", or \"mcp.example.com:8443\"",
            ),
            ("write it like 3", "write it like 3"),
        ] {
            assert_eq!(Wrong::new("", remedy).in_quotes().remedy, want);
        }
    }

    #[test]
    fn times_are_read_as_written() {
        for (text, want) in
            [("5s", 5000), ("2m", 120_000), ("500ms", 500), ("1.5 s", 1500), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(want)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "5", "s", "5x", "-5s", "1e9s", "31d", "5 s s", ".s", "１s", "99999999999999999999999999999999999d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration_from_1s("999ms").is_err());
        assert!(duration_from_1s("1s").is_ok());
    }

    #[test]
    fn a_number_alone_gets_the_unit_that_was_most_likely_meant() {
        for (number, want) in [
            ("0", "0s"),
            ("5", "5s, or 5m for minutes, or 5ms for milliseconds"),
            ("0.5", "0.5s, or 0.5m for minutes, or 0.5ms for milliseconds"),
            ("999", "999s, or 999m for minutes, or 999ms for milliseconds"),
            ("1000", "1000ms, which is 1s, or 1000s for seconds"),
            ("1500", "1500ms, or 1500s for seconds"),
            ("30000", "30000ms, which is 30s, or 30000s for seconds"),
            ("600000", "600000ms, which is 10m, or 600000s for seconds"),
            ("100000000", "100000000ms, which is 100000s"),
        ] {
            assert_eq!(duration(number), Err(Wrong::new("a time needs a unit", format!("write {want}"))));
        }
        assert_eq!(duration(""), Err(Wrong::new("a time needs a unit", "write it like 5s, 2m or 500ms")));
    }

    #[test]
    fn nothing_is_suggested_that_would_be_refused() {
        let texts = [
            "0",
            "-5",
            "0.5",
            "5",
            "9",
            "100",
            "10.5",
            "1000",
            "60000",
            "10000000000",
            "x",
            "true",
            "",
            "{}",
            "5 sec",
            "40 days",
        ];
        for (parse, what) in [
            (duration as fn(&str) -> Result<Duration, Wrong>, "duration"),
            (duration_from_1s, "duration_from_1s"),
            (lease_ttl, "lease_ttl"),
            (turn, "turn"),
            (call_timeout, "call_timeout"),
        ] {
            for text in texts {
                let Err(Wrong { remedy, .. }) = parse(text) else { panic!("{what} {text}") };
                let suggested = remedy.split([' ', ',']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                for time in suggested {
                    assert!(parse(time).is_ok(), "{what} {text}: {remedy}");
                }
            }
        }
        assert_eq!(duration_from_1s("0"), duration_from_1s("0s"));
        assert_eq!(turn("x"), Err(Wrong::new("that is no time", "write it like 2m")));
        for text in ["true", "1", "-1", "5", "100000", "lots"] {
            let Err(Wrong { remedy, .. }) = memory(text) else { panic!("{text}") };
            let suggested = remedy.split([' ', ',']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
            assert!(suggested.clone().count() > 0, "{remedy}");
            for size in suggested {
                assert!(memory(size).is_ok(), "{text}: {remedy}");
            }
        }
        assert_eq!(count("0").map_err(|wrong| wrong.remedy), Err("write 1 or more".to_owned()));
    }

    #[test]
    fn a_unit_that_others_write_is_told_as_ours() {
        for (text, want) in [
            ("5S", "5s"),
            ("10 seconds", "10s"),
            ("5sec", "5s"),
            ("2 minutes", "2m"),
            ("3hrs", "3h"),
            ("500 millis", "500ms"),
            ("30秒", "30s"),
        ] {
            assert_eq!(duration(text), Err(Wrong::new("that is no time", format!("write {want}"))), "{text}");
        }
        for text in ["5x", "1e9", "5,5s", "1.2.3", "1.2.3 sec", "-5"] {
            assert_eq!(duration(text), Err(Wrong::new("that is no time", "write it like 5s, 2m or 500ms")), "{text}");
        }
    }

    #[test]
    fn turns_timeouts_and_counts_have_their_least() {
        assert!(turn("10s").is_ok() && turn("9.9s").is_err());
        assert!(call_timeout("1ms").is_ok() && call_timeout("0s").is_err());
        assert_eq!(count(" 8000 "), Ok(8000));
        for text in ["0", "-1", "1.5", "8k", ""] {
            assert!(count(text).is_err(), "{text}");
        }
        assert_eq!((instances("1"), instances(" 1000")), (Ok(1), Ok(1000)));
        for text in ["0", "1001", "-1", "1.5", "many", ""] {
            assert!(instances(text).is_err(), "{text}");
        }
        assert_eq!(result_size("256"), Ok(256));
        assert!(result_size("255").is_err() && result_size("2GiB").is_err());
    }

    #[test]
    fn what_a_server_may_have_is_read_as_written() {
        assert_eq!((memory("512MiB"), memory("1.5 GiB")), (Ok(512 << 20), Ok(3 << 29)));
        for text in ["512", "536870912", "0", "0MiB", "-5MiB", "lots", "", "1KiB", "4095KiB", "17000GiB", "512 megs"] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert_eq!(memory("512").map_err(|wrong| wrong.remedy), Err("write 512MiB".to_owned()));
        assert_eq!((open_files("32"), open_files(" 256")), (Ok(32), Ok(256)));
        for text in ["31", "0", "-1", "256.5", "many", ""] {
            assert!(open_files(text).is_err(), "{text}");
        }
        assert_eq!((nice("-20"), nice("0"), nice("19")), (Ok(-20), Ok(0), Ok(19)));
        for text in ["-21", "20", "1.5", "low", ""] {
            assert!(nice(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_written() {
        for (text, want) in [("16MiB", 16 << 20), ("1024", 1024), ("2 KiB", 2048), ("1.5KiB", 1536), ("1GiB", 1 << 30)]
        {
            assert_eq!(frame_size(text), Ok(want), "{text}");
        }
        for text in ["", "16", "2GiB", "16 megs", "-1", "MiB", "99999999999999999999999999GiB"] {
            assert!(frame_size(text).is_err(), "{text}");
        }
    }
}
