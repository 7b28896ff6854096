//! Parts of a config that make sense on Windows only, and what to do with them on another system. Pure.

/// Variables that are written `%NAME%` in paths.
const VARIABLES: &[&str] =
    &["APPDATA", "HOMEPATH", "LOCALAPPDATA", "PROGRAMFILES", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE"];

/// Endings of programs that only Windows has.
const ENDINGS: &[&str] = &[".cmd", ".exe", ".bat", ".CMD", ".EXE", ".BAT"];

/// Whether a text is a path that only Windows has: `C:\x`, `C:/x`, `\\server\x`, `.\x`, `%APPDATA%\x`.
pub(crate) fn is_path(text: &str) -> bool {
    let mut start = text.chars();
    let (drive, colon, slash) = (start.next(), start.next(), start.next());
    let on_drive =
        drive.is_some_and(|c| c.is_ascii_alphabetic()) && colon == Some(':') && matches!(slash, Some('\\' | '/'));
    on_drive || [r"\\", r".\", r"..\", r"~\"].iter().any(|start| text.starts_with(start)) || variable(text).is_some()
}

/// Whether the name of a program or a folder is a path that only Windows has: also one that backslashes alone part.
pub(crate) fn is_place(text: &str) -> bool {
    is_path(text) || (text.contains('\\') && !text.contains('/'))
}

/// The variable in a path that only Windows replaces.
pub(crate) fn variable(text: &str) -> Option<&'static str> {
    if !text.contains('%') {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    VARIABLES.iter().find(|name| upper.contains(&format!("%{name}%"))).copied()
}

/// The program and its arguments behind a command prompt, as in `cmd /c npx -y some-server`.
pub(crate) fn behind_prompt(program: &str, args: &[String]) -> Option<(String, Vec<String>)> {
    let name = program.rsplit(['\\', '/']).next().unwrap_or_default();
    if !["cmd", "cmd.exe"].iter().any(|cmd| cmd.eq_ignore_ascii_case(name)) {
        return None;
    }
    let at = args.iter().position(|arg| ["/c", "/k"].iter().any(|run| run.eq_ignore_ascii_case(arg)))?;
    let is_switch = |arg: &String| arg.len() == 2 && arg.starts_with('/');
    let rest = &args[at + 1..];
    let mut words: Vec<String> = match rest {
        // The prompt takes a whole command line in one argument, too.
        [line] if !line.contains('"') => line.split_whitespace().map(str::to_owned).collect(),
        _ => rest.to_vec(),
    };
    if words.is_empty() || !args[..at].iter().all(is_switch) {
        return None;
    }
    let program = words.remove(0);
    Some((without_ending(&program).unwrap_or(&program).to_owned(), words))
}

/// A program's name without the ending that only Windows has.
pub(crate) fn without_ending(program: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| program.strip_suffix(ending))
}

/// The control character that JSON made of a backslash and a letter, as in `"C:\new"`, and that letter. No path holds one.
pub(crate) fn swallowed_backslash(path: &str) -> Option<(char, char)> {
    let escapes = [('\n', 'n'), ('\t', 't'), ('\r', 'r'), ('\u{8}', 'b'), ('\u{c}', 'f')];
    path.chars().find_map(|c| escapes.into_iter().find(|(control, _)| *control == c))
}

/// Whether a text begins like a path on a drive whose first backslash JSON took for the beginning of an escape.
pub(crate) fn has_lost_backslash(text: &str) -> bool {
    let mut start = text.chars();
    let (drive, colon, next) = (start.next(), start.next(), start.next());
    drive.is_some_and(|c| c.is_ascii_alphabetic()) && colon == Some(':') && next.is_some_and(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_of_windows_is_known_and_no_other() {
        for path in [r"C:\x", "c:/x", r"\\srv\x", r".\x", r"%APPDATA%\npm\npx", "%userprofile%/x"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/c:/x", "C:", "npx", "a:b", "./x", "https://h/", "50%", "%2FTEMP", ""] {
            assert!(!is_path(path), "{path}");
        }
        assert!(is_place(r"venv\Scripts\python.exe") && is_place(r"C:\x"));
        assert!(!is_place(r"/opt/my\ app") && !is_place("x/y") && !is_path(r"a\d+"));
    }

    #[test]
    fn behind_a_prompt_stands_a_program_with_its_arguments() {
        let go = |program: &str, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            behind_prompt(program, &args).map(|(program, args)| format!("{program} {}", args.join("|")))
        };
        for (program, args, want) in [
            ("cmd", &["/c", "npx", "-y", "x"][..], "npx -y|x"),
            ("CMD.EXE", &["/d", "/s", "/C", "npx.cmd", "x"], "npx x"),
            (r"C:\Windows\System32\cmd.exe", &["/c", "npx -y x"], "npx -y|x"),
        ] {
            assert_eq!(go(program, args).as_deref(), Some(want));
        }
        for (program, args) in [("npx", &["/c", "x"][..]), ("cmd", &[]), ("cmd", &["/c"]), ("cmd", &["x", "/c", "y"])] {
            assert_eq!(go(program, args), None, "{program} {args:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in r"[a-zA-Z%:/\\. é]*", args in proptest::collection::vec(r"/?[cCkK ]*[a-z. ]*", 0..4)) {
            let _ = (is_path(&text), variable(&text), behind_prompt(&text, &args), behind_prompt("cmd", &args));
        }
    }
}
