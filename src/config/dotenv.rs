//! `.env`: variables that count where the environment doesn't set them. The process's own are never changed.
//!
//! One variable a line, `[export] NAME=value`. A token must arrive as it was pasted, so nothing is replaced in a value,
//! and a line that can't be read costs no other:
//!
//! | value | means |
//! |---|---|
//! | `'…'` | what is between the quotes |
//! | `"…"` | the same, where `\"`, `\\` and `\n` are a quote, a backslash and a line break |
//! | anything else | what comes before a blank with `#`, without the blanks around it |

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::read::{Accept, whole};
use crate::error::Problem;

/// Largest `.env` that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// Longest wait for one that is a pipe, as password managers make them: nobody has named it, so who writes has to be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The `.env` files that there are, the one that counts first at the front.
#[derive(Default)]
pub(crate) struct DotEnv {
    pub(crate) files: Vec<DotFile>,
}

/// One of them.
pub(crate) struct DotFile {
    /// Where it was found.
    pub(crate) path: PathBuf,
    /// Its variables, each name once.
    vars: Vec<(String, String)>,
}

impl DotEnv {
    /// Reads `.env` in each of `folders`. What can't be read is warned about, without its text.
    pub(crate) fn find(folders: &[&Path], warnings: &mut Vec<Problem>) -> Self {
        let (mut dotenv, mut seen) = (DotEnv::default(), Vec::new());
        let is_one = |path: &PathBuf| path.exists() && !path.is_dir();
        for path in folders.iter().map(|folder| folder.join(".env")).filter(is_one) {
            // Two folders may be one under two names.
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if !seen.contains(&real) {
                seen.push(real);
                dotenv.files.extend(DotFile::read(path, warnings));
            }
        }
        dotenv
    }

    /// What a variable holds.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.files.iter().find_map(|file| file.get(name))
    }

    /// Every variable once, with the value that counts.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().enumerate().flat_map(move |(i, file)| {
            let new = move |name: &str| self.files[..i].iter().all(|earlier| earlier.get(name).is_none());
            file.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(move |(name, _)| new(name))
        })
    }

    /// The files' names, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.path.display().to_string()).collect()
    }
}

impl DotFile {
    fn read(path: PathBuf, warnings: &mut Vec<Problem>) -> Option<Self> {
        let shown = path.display().to_string();
        let text = match whole(&path, MAX_SIZE, Accept::Streams(PATIENCE)).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                let remedy = "save it as UTF-8 (Windows PowerShell writes UTF-16 unless told otherwise)";
                warnings.push(Problem::new(shown, "is not UTF-8 and is ignored", remedy));
                return None;
            }
            Err(error) => {
                warnings.push(Problem::new(shown, format!("can't be read and is ignored: {error}"), ""));
                return None;
            }
        };
        let warn = |line, (what, remedy): Fault| warnings.push(Problem::new(format!("{shown}:{line}"), what, remedy));
        Some(DotFile { vars: parse(&text, warn), path })
    }

    /// What a variable holds here.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.vars.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What is wrong with a line, and the remedy. Neither holds anything of the line.
type Fault = (String, &'static str);

/// The variables of a text, the last of each name, as Docker, systemd and shells have it. Whatever a person should
/// know goes to `warn`, with the number of its line.
fn parse(text: &str, mut warn: impl FnMut(usize, Fault)) -> Vec<(String, String)> {
    let mut vars: Vec<(String, String)> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, text) in (1..).zip(text.lines()) {
        let (name, value) = match variable(text.trim()) {
            Ok(Some(variable)) => variable,
            Ok(None) => continue,
            Err((what, remedy)) => {
                warn(line, (format!("{what} and is ignored"), remedy));
                continue;
            }
        };
        if let Some(earlier) = vars.iter().position(|(n, _)| n == name) {
            // By number: what looks like a name may be a piece of something that was pasted.
            let what = format!("sets the same variable as line {}; the last one counts", lines[earlier]);
            warn(line, (what, "remove one of them"));
            (vars[earlier].1, lines[earlier]) = (value, line);
        } else {
            vars.push((name.to_owned(), value));
            lines.push(line);
        }
    }
    vars
}

/// What a line sets; `None` for an empty one or a comment.
fn variable(line: &str) -> Result<Option<(&str, String)>, (&'static str, &'static str)> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(line);
    match line.split_once('=').map(|(name, value)| (name.trim(), value)) {
        Some((name, value)) if is_name(name) && !value.contains('\0') => Ok(Some((name, self::value(value)?))),
        Some(_) | None => {
            Err(("is not NAME=value", "write one variable a line, with letters, digits and _ in its name"))
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

fn value(text: &str) -> Result<String, (&'static str, &'static str)> {
    let open = ("opens a quote that it doesn't close", "close it on the same line; a line break is \\n inside \"…\"");
    let start = text.trim_start();
    let (value, rest) = if let Some(inside) = start.strip_prefix('\'') {
        let (value, rest) = inside.split_once('\'').ok_or(open)?;
        (value.to_owned(), rest)
    } else if let Some(inside) = start.strip_prefix('"') {
        double_quoted(inside).ok_or(open)?
    } else {
        return Ok(before_comment(text).trim().to_owned());
    };
    if before_comment(rest).trim().is_empty() {
        Ok(value)
    } else {
        Err(("goes on behind its closing quote", "put all of the value in quotes, or nothing of it"))
    }
}

/// A value up to its closing quote, if there is one, and what follows that.
fn double_quoted(inside: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = inside;
    loop {
        let at = rest.find(['"', '\\'])?;
        value.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if rest[at..].starts_with('"') {
            return Some((value, after));
        }
        let escaped = [("n", '\n'), ("\"", '"'), ("\\", '\\')];
        let found = escaped.iter().find_map(|(mark, c)| Some((*c, after.strip_prefix(mark)?)));
        let (c, after) = found.unwrap_or(('\\', after));
        value.push(c);
        rest = after;
    }
}

/// What comes before a blank with `#`.
fn before_comment(text: &str) -> &str {
    let comment = text.match_indices('#').find(|(at, _)| text[..*at].ends_with(char::is_whitespace));
    comment.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (DotEnv, Vec<Problem>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let mut warnings = Vec::new();
        (DotEnv::find(&[Path::new("/nonexistent"), dir.path()], &mut warnings), warnings)
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (line, want) in [
            ("A=wss://h/?token=a%3D&x=1", "wss://h/?token=a%3D&x=1"),
            ("A=pa$$w0rd$1x", "pa$$w0rd$1x"),
            ("A=ws://h/x$HOME/?token=${HOME}", "ws://h/x$HOME/?token=${HOME}"),
            (r"A=C:\new\dir", r"C:\new\dir"),
            ("A=it's", "it's"),
            ("A=a#b", "a#b"),
            ("A=#b", "#b"),
            ("A=", ""),
            ("A= # nothing", ""),
            ("  export\tA = two words\t# don't \"care\"", "two words"),
            ("A=info  # don't use debug", "info"),
            ("A='$x \\n \"y\" # z '  # c", "$x \\n \"y\" # z "),
            ("A=\"$x ${HOME} # 'y' \"# c", ""),
            ("A=\"$x ${HOME} # 'y' \" # c", "$x ${HOME} # 'y' "),
            (r#"A="a\"b\\c\nd\te""#, "a\"b\\c\nd\\te"),
            ("A=trailing ", "trailing"),
            ("A=carriage return\r", "carriage return"),
            ("export=1\nA=2", "2"),
        ] {
            for end in ["", "\n", "\r\n"] {
                let (env, _) = read(&format!("\u{feff}{line}{end}"));
                assert_eq!(env.get("A").unwrap_or_default(), want, "{line:?}");
            }
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_only_itself_and_is_named_without_its_text() {
        let text = "# comment\nA=1\nB='s3cret\nC=\"s3cret\nD='s3cret' s3cret\ns3cret\n1E=s3cret\na b=s3cret\n\
                    F=s3c\0ret\n\nMCP_ENDPOINT=ws://h/\n";
        let (env, warnings) = read(text);
        assert_eq!((env.get("A"), env.get("MCP_ENDPOINT")), (Some("1"), Some("ws://h/")));
        let lines: Vec<&str> = warnings.iter().map(|w| w.place.rsplit(':').next().unwrap()).collect();
        assert_eq!(lines, ["3", "4", "5", "6", "7", "8", "9"]);
        assert!(["B", "C", "D", "F"].iter().all(|name| env.get(name).is_none()));
        assert!(warnings.iter().all(|w| !w.to_string().contains("s3c")), "{warnings:?}");
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts_with_a_warning() {
        let (env, warnings) = read("A=first-s3cret\nB=1\nA=last-s3cret\n");
        assert_eq!(env.get("A"), Some("last-s3cret"));
        assert_eq!(env.vars().count(), 2);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].to_string().contains(".env:3: sets the same variable as line 1"), "{}", warnings[0]);
        assert!(!warnings[0].to_string().contains("s3cret"));
    }

    #[test]
    fn a_file_in_utf_16_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), b"\xff\xfeA\0=\0").unwrap();
        let mut warnings = Vec::new();
        assert!(DotEnv::find(&[dir.path()], &mut warnings).files.is_empty());
        assert!(warnings[0].what.contains("not UTF-8"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), marks in "[A=\\\\\"' #\\n\\r\\x00é$]*") {
            for text in [text, marks] {
                let lines = text.lines().count();
                let vars = parse(&text, |line, _| assert!((1..=lines).contains(&line)));
                prop_assert!(vars.iter().all(|(name, value)| is_name(name) && !value.contains('\0')));
            }
        }

        #[test]
        fn what_is_written_comes_back(value in "[^\\n\\r\\x00]*", blank in "[ \\t]*") {
            let read = |written: &str| {
                let text = format!("B=' #\nexport A ={blank}{written}{blank} # it's a \"comment\"\nC=$A");
                let mut faults = 0;
                let vars = parse(&text, |_, _| faults += 1);
                assert_eq!(faults, 1, "that of B: {text:?}");
                vars[0].1.clone()
            };
            let double = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(&read(&format!("\"{double}\"")), &value);
            let single = value.replace('\'', "");
            prop_assert_eq!(&read(&format!("'{single}'")), &single);
            // Without quotes: what has no blanks, as a token has none.
            let bare: String = value.chars().filter(|c| !c.is_whitespace()).collect();
            let bare = bare.trim_start_matches(['"', '\'', '#']);
            prop_assert_eq!(&read(bare), bare);
        }
    }
}
