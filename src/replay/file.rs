//! The file that `mcp-pipe tap --save` wrote: read line by line, and what is wrong with it, for people.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::recorded::{Recorded, Recording, Unread};
use crate::error::{Exit, Failure};
use crate::words::{brief_path, counted, listed};

/// What has a file written that can be read here.
const ANEW: &str = "have one written while the tools are called: mcp-pipe tap --save FILE --contents";
/// Most servers that are named.
const SHOWN: usize = 8;

/// The calls of a file that are for one server.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(super) calls: Vec<Recorded>,
    /// How many lines the tap has lost.
    pub(super) lost: u64,
}

/// Reads the calls of a file that are for the server of this name.
///
/// # Errors
/// The file can't be read, is none of the tap's, or has no calls for this server, all for people.
pub(crate) fn read(path: &Path, server: &str) -> Result<Calls, Failure> {
    let shown = brief_path(path);
    let failed = |what: String, remedy: &str| Failure::Asking { exit: Exit::Usage, what, remedy: remedy.to_owned() };
    let unreadable = |error: std::io::Error| {
        failed(format!("{shown} can't be read: {error}"), "name a file that mcp-pipe tap --save wrote")
    };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut recording, mut line) = (Recording::default(), Vec::new());
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        let is_whole = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line);
        let Err(unread) = recording.take(text.trim_end()) else { continue };
        let place = format!("{shown}:{}", recording.lines);
        // A number that is cut off is a mistake of JSON, and not its end.
        let is_cut = unread == Unread::CutOff && !text.trim().is_empty() || !is_whole && text.starts_with('{');
        return Err(if is_cut {
            let by = if is_whole { "" } else { ": the tap still writes it, or was cut short" };
            let remedy = "wait until mcp-pipe tap has ended, or remove that line";
            failed(format!("{place} ends before its end{by}"), remedy)
        } else {
            failed(format!("{place} is no line that mcp-pipe tap --save writes"), ANEW)
        });
    }
    if recording.lines == 0 {
        return Err(failed(format!("{shown} is empty: nothing passed while it was written"), ANEW));
    }
    let lost = recording.lost;
    let lines = counted(recording.lines, "line");
    match recording.calls.iter().find(|call| call.arguments.is_none()) {
        Some(bare) if recording.calls.iter().all(|call| call.arguments.is_none()) => {
            return Err(failed(format!("{shown}:{} has a call without its contents", bare.line), ANEW));
        }
        Some(_) | None => {}
    }
    let calls = recording.calls_for(server).map_err(|asked| {
        let names = listed(asked.iter().take(SHOWN).collect(), asked.len());
        let remedy = format!(
            "name one of these, or have a file written for one: mcp-pipe tap {} --save FILE --contents",
            asked[0]
        );
        failed(format!("{shown} has calls of several servers ({names}), and none of {server}"), &remedy)
    })?;
    if calls.is_empty() {
        return Err(failed(format!("{shown} has no call of a tool in its {lines}"), ANEW));
    }
    Ok(Calls { calls, lost })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let failure = read(file.path(), "x").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        failure.to_string().replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_line_and_what_to_do() {
        let ping = r#"{"kind":"server","way":"to","name":"a","id":1,"method":"ping"}"#;
        let call = |name: &str| {
            format!(
                r#"{{"kind":"server","way":"to","name":"{name}","id":1,"method":"tools/call","tool":"t","contents":{{}}}}"#
            )
        };
        let bare = r#"{"kind":"server","way":"to","name":"x","id":1,"method":"tools/call","tool":"t"}"#;
        for (text, want) in [
            (String::new(), "FILE is empty"),
            ("hello\n".into(), "FILE:1 is no line that mcp-pipe tap --save writes"),
            (format!("{ping}\n\n"), "FILE:2 is no line"),
            (format!("{ping}\n{{\"kind\":\"ser"), "FILE:2 ends before its end: the tap still writes it"),
            (format!("{ping}\n{{\"kind\":\"server\",\"ms\":1."), "FILE:2 ends before its end: the tap still writes it"),
            (format!("{ping}\n{{\"kind\":\"ser\n{ping}\n"), "FILE:2 ends before its end\n"),
            (format!("{ping}\n"), "FILE has no call of a tool in its 1 line\n"),
            (format!("{ping}\n{bare}\n"), "FILE:2 has a call without its contents\n"),
            (format!("{}\n{}\n", call("a"), call("b")), "FILE has calls of several servers (a, b), and none of x\n"),
        ] {
            let told = told(&text);
            assert!(told.contains(want) && told.contains("\n  → "), "{text}: {told}");
        }
        assert!(read(Path::new("/no/such/file"), "x").unwrap_err().to_string().contains("can't be read"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}\n{bare}", call("x"))).unwrap();
        assert_eq!(read(file.path(), "x").unwrap().calls.len(), 2, "the last line needs no end");
    }
}
