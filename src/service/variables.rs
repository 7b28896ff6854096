//! The variables of a service: which of this shell's it needs, and the file in which they are kept for it. Pure.
//!
//! The file is one that systemd reads (`EnvironmentFile=`) and a shell as well: each value in double quotes, with a backslash before what
//! means something there.

use super::seal;
use crate::secrecy::Secret;

/// Variables that each service has, with values of its own.
const OF_EVERYBODY: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "XDG_RUNTIME_DIR"];

/// Whether a variable says something else in a service.
pub(super) fn is_of_everybody(name: &str) -> bool {
    OF_EVERYBODY.contains(&name)
}

/// The file that holds these.
pub(super) fn file(variables: &[(String, Secret)]) -> String {
    let line = |(name, value): &(String, Secret)| {
        let mut line = format!("{name}=\"");
        for c in value.reveal().chars() {
            if matches!(c, '"' | '\\' | '`' | '$') {
                line.push('\\');
            }
            line.push(c);
        }
        line + "\"\n"
    };
    let lines: String = variables.iter().map(line).collect();
    seal::sealed(&format!("{}{lines}", head()))
}

/// The variables in such a file, also where somebody has edited it.
pub(super) fn read(text: &str) -> Vec<(String, Secret)> {
    if seal::is_as_written(text).is_none() {
        return Vec::new();
    }
    let (mut variables, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let is_note = line.trim_start().starts_with(['#', ';']);
        let Some((name, value)) = line.split_once('=').filter(|_| !is_note) else {
            rest = below;
            continue;
        };
        let (name, value) = (name.trim().to_owned(), value.trim_start());
        match rest[line.len() - value.len()..].strip_prefix('"') {
            // It may have several lines.
            Some(quoted) => {
                let Some((value, end)) = unquoted(quoted) else { return variables };
                variables.push((name, Secret::new(value)));
                rest = quoted[end..].split_once('\n').map_or("", |(_, below)| below);
            }
            None => {
                variables.push((name, Secret::new(value.trim().trim_matches('\''))));
                rest = below;
            }
        }
    }
    variables
}

/// A value from behind its first quote, and where what follows its last one begins; `None` if there is no last one.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next()? {
            (_, '\\') => value.extend(chars.next().map(|(_, c)| c)),
            (at, '"') => return Some((value, at + 1)),
            (_, c) => value.push(c),
        }
    }
}

/// The file without its values, and without the fingerprint of these.
pub(super) fn shown(text: &str) -> String {
    let names: String = read(text).iter().map(|(name, _)| format!("{name}=…\n")).collect();
    head() + &names
}

/// The file's first line.
fn head() -> String {
    format!("# {}: tokens, for the service alone\n", seal::MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in proptest::collection::vec("[^\0]{0,20}", 0..4)) {
            let named = values.iter().enumerate().map(|(n, value)| (format!("V{n}"), Secret::new(value.as_str())));
            let variables: Vec<(String, Secret)> = named.collect();
            let text = file(&variables);
            let read: Vec<(String, String)> =
                read(&text).into_iter().map(|(name, value)| (name, value.reveal().to_owned())).collect();
            let written: Vec<(String, String)> =
                variables.into_iter().map(|(name, value)| (name, value.reveal().to_owned())).collect();
            prop_assert_eq!(read, written);
        }
    }

    #[test]
    fn a_file_of_somebody_else_says_nothing_and_no_value_is_shown() {
        assert!(read("A=\"b\"\n").is_empty());
        let text = file(&[("TOKEN".to_owned(), Secret::new("s3\"cr$t"))]);
        assert!(text.ends_with("TOKEN=\"s3\\\"cr\\$t\"\n"), "{text}");
        let edited = format!("{text}# OLD=\"x\"\nA=plain\nB=\"two\nlines\"\nC= \"x y\"\n");
        let read: Vec<_> = read(&edited).into_iter().map(|(name, value)| (name, value.reveal().to_owned())).collect();
        let want = [("TOKEN", "s3\"cr$t"), ("A", "plain"), ("B", "two\nlines"), ("C", "x y")];
        assert_eq!(read, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let shown = shown(&text);
        assert!(shown.ends_with("TOKEN=…\n") && !shown.contains("s3"), "{shown}");
    }
}
