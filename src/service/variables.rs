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
    seal::sealed(&format!("# {}: tokens, for the service alone\n{lines}", seal::MARK))
}

/// The variables in such a file.
pub(super) fn read(text: &str) -> Vec<(String, Secret)> {
    if seal::is_as_written(text).is_none() {
        return Vec::new();
    }
    let mut variables = Vec::new();
    let mut rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    while let Some((name, behind)) = rest.split_once("=\"") {
        let (mut value, mut chars) = (String::new(), behind.char_indices());
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((at, '"')) => break at + 1,
                Some((_, c)) => value.push(c),
                None => return variables,
            }
        };
        variables.push((name.trim().to_owned(), Secret::new(value)));
        rest = &behind[end..];
    }
    variables
}

/// The file without its values.
pub(super) fn shown(text: &str) -> String {
    let head = text.lines().next().unwrap_or_default();
    let names: String = read(text).iter().map(|(name, _)| format!("{name}=…\n")).collect();
    format!("{head}\n{names}")
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
        let shown = shown(&text);
        assert!(shown.ends_with("TOKEN=…\n") && !shown.contains("s3"), "{shown}");
    }
}
