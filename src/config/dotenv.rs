//! `.env`: variables that count where the environment doesn't set them. The environment of this process is never changed.
//!
//! One variable a line, `[export] NAME=value`, is read by the crate dotenvy. That crate would replace `$…` in values, lets a
//! quote in a comment swallow the lines that follow, and drops a last line that ends with a blank. But a token must arrive
//! as it was pasted, and a line that can't be read may cost no other line. So dotenvy gets one line at a time, without the
//! comment, and with the value in quotes and escapes:
//!
//! | value | means |
//! |---|---|
//! | `'…'` | what is between the quotes |
//! | `"…"` | the same, where `\"`, `\\` and `\n` are a quote, a backslash and a line break |
//! | anything else | what comes before a blank with `#`, without the blanks around it |

mod broken;
mod forms;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::broken::Broken;
use super::expand::is_name;
use crate::disk::obstacle;
use crate::disk::read::{Accept, whole};
use crate::error::{Code, Place, Problem, Spot};
use crate::process::limits;
use crate::secrecy::Secret;
use crate::words::{character, is_unseen, meant};

/// How it is said that a value holds what can't be seen.
pub(crate) const HOLDS_UNSEEN: &str = "holds what can't be seen";
/// How it is said that a line sets nothing.
const IGNORED: &str = " and is ignored";
/// Largest `.env` that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// Longest wait for a `.env` that is a pipe, as password managers make them. Nobody has named this file, so its writer has to
/// be at hand.
const PATIENCE: Duration = Duration::from_secs(5);

/// The `.env` files of a run, before them the credentials that systemd gives it. Of several that set a variable, the first counts.
#[derive(Clone, Default)]
pub(crate) struct DotEnv {
    pub(crate) files: Vec<DotFile>,
    /// What is wrong with the files that could not be read, as of which none of their variables counts.
    pub(crate) unread: Vec<Problem>,
    /// The real paths of the files that were read: two folders may be one under two names.
    seen: Vec<PathBuf>,
}

/// One file.
#[derive(Clone)]
pub(crate) struct DotFile {
    /// Where the file was found.
    pub(crate) path: PathBuf,
    /// Its variables, each name once.
    vars: Vec<Variable>,
    /// What lines hold that are no variables but the rest of an address.
    pub(crate) pieces: Vec<Secret>,
    /// The first line that was to set the endpoint and can't be read.
    pub(crate) spoilt: Option<Problem>,
    /// Whether it is a credential of systemd, whose name is that of its only variable, in any letter case. No server inherits it.
    is_credential: bool,
}

/// A variable of a file.
#[derive(Clone)]
struct Variable {
    name: String,
    value: String,
    /// The line that sets the variable, from 1.
    line: usize,
}

impl DotEnv {
    /// Reads the credentials that systemd has put into a folder (systemd.exec(5)), as far as their names are those of variables. What is no
    /// text is for somebody else.
    pub(crate) fn add_credentials(&mut self, folder: &Path, warnings: &mut Vec<Problem>) {
        let mut warn = |path: &Path, error: &std::io::Error| {
            let what = format!("can't be read and is ignored: {}", limits::in_words(error));
            let place = Place::file(path.display().to_string());
            warnings.push(Problem::new(place, Code::FileUnreadable.says(what), "check CREDENTIALS_DIRECTORY"));
        };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return warn(folder, &error),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_name(name)) else {
                continue;
            };
            match whole(&path, MAX_SIZE, Accept::Files).map(String::from_utf8) {
                Ok(Ok(text)) => {
                    let (name, value) = (name.to_ascii_uppercase(), text.trim_end_matches(['\r', '\n']).to_owned());
                    let vars = vec![Variable { name, value, line: 1 }];
                    self.files.push(DotFile { path, vars, pieces: Vec::new(), spoilt: None, is_credential: true });
                }
                Ok(Err(_)) => {}
                Err(error) => warn(&path, &error),
            }
        }
    }

    /// The credentials among the files.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &DotFile> {
        self.files.iter().filter(|file| file.is_credential)
    }

    /// Reads `.env` in `folder`, if there is one. A line that can't be read is warned about, without its text.
    pub(crate) fn add(&mut self, folder: &Path, warnings: &mut Vec<Problem>) {
        let path = folder.join(".env");
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        // A link that leads nowhere counts as a file: reading warns about it.
        if path.symlink_metadata().is_ok() && !self.seen.contains(&real) {
            self.seen.push(real);
            match DotFile::read(path, warnings) {
                Ok(file) => self.files.push(file),
                Err(problem) => {
                    warnings.push(problem.clone());
                    self.unread.push(problem);
                }
            }
        }
    }

    /// The same files, where one of them has this text now, or is there no more.
    pub(crate) fn with(&self, path: PathBuf, text: Option<&str>) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let at = self.files.iter().position(|file| !file.is_credential && real(&file.path) == real(&path));
        let now = text.map(|text| {
            let Parsed { vars, pieces } = parse(text, |_, _| {});
            DotFile { path, vars, pieces, spoilt: None, is_credential: false }
        });
        let mut new = self.clone();
        match at {
            Some(at) => drop(new.files.splice(at..=at, now)),
            None => new.files.extend(now),
        }
        new
    }

    /// What a variable holds.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.files.iter().find_map(|file| file.get(name))
    }

    /// What a variable holds, if that is more than blanks, and the place that sets it.
    pub(crate) fn filled(&self, name: &str) -> Option<(&str, Spot)> {
        let value = |file: &'_ DotFile| file.get(name).is_some_and(|value| !value.trim().is_empty());
        let file = self.files.iter().find(|file| value(file))?;
        Some((file.get(name)?, file.spot(name)))
    }

    /// Every variable that servers may inherit once, with the value that counts.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().enumerate().filter(|(_, file)| !file.is_credential).flat_map(move |(i, file)| {
            let new = move |name: &str| self.files[..i].iter().all(|earlier| earlier.get(name).is_none());
            file.vars().filter(move |(name, _)| new(name))
        })
    }

    /// The names of the `.env` files, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files.iter().filter(|file| !file.is_credential).map(|file| file.path.display().to_string()).collect()
    }
}

impl DotFile {
    /// Reads a file. A line that can't be read is warned about, without its text.
    ///
    /// # Errors
    /// Why nothing of it counts.
    pub(crate) fn read(path: PathBuf, warnings: &mut Vec<Problem>) -> Result<Self, Problem> {
        let shown = path.display().to_string();
        let text = whole(&path, MAX_SIZE, Accept::Streams(PATIENCE)).map_err(|error| {
            let (what, remedy) = unreadable(&path, &error);
            Problem::new(Place::file(&*shown), Code::FileUnreadable.says(format!("{what}{IGNORED}")), remedy)
        })?;
        let text = String::from_utf8(text).map_err(|error| {
            let is_utf_16 = [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| error.as_bytes().starts_with(*mark));
            let remedy = match is_utf_16 {
                true => "save it as UTF-8 (Windows PowerShell writes UTF-16 unless told otherwise)",
                false => "save it as UTF-8",
            };
            Problem::new(Place::file(&*shown), Code::Encoding.says(format!("is not UTF-8{IGNORED}")), remedy)
        })?;
        let mut spoilt = None;
        let warn = |line: usize, (what, remedy): Fault| {
            let problem = Problem::new(Place::line(&*shown, line), Code::EnvLine.says(what), remedy);
            let is_ignored = problem.what.ends_with(IGNORED);
            if is_ignored && lines_of(&text).nth(line - 1).is_some_and(forms::is_about_endpoint) {
                spoilt.get_or_insert_with(|| problem.clone());
            }
            warnings.push(problem);
        };
        let Parsed { vars, pieces } = parse(&text, warn);
        Ok(DotFile { vars, pieces, path, spoilt, is_credential: false })
    }

    /// What a variable holds in this file.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|variable| variable.value.as_str())
    }

    fn find(&self, name: &str) -> Option<&Variable> {
        self.vars
            .iter()
            .find(|variable| variable.name == name || (self.is_credential && variable.name.eq_ignore_ascii_case(name)))
    }

    /// Of a credential: what it is called, and what it holds.
    pub(crate) fn credential(&self) -> Option<(&str, &str)> {
        let variable = self.vars.first().filter(|_| self.is_credential)?;
        Some((self.path.file_name()?.to_str()?, &variable.value))
    }

    /// Every variable.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|variable| (variable.name.as_str(), variable.value.as_str()))
    }

    /// Where a variable is set: the file, and the line if there is one.
    pub(crate) fn spot(&self, name: &str) -> Spot {
        let line = self.find(name).filter(|_| !self.is_credential).map(|variable| variable.line);
        Spot { line, ..Spot::file(self.path.display().to_string()) }
    }

    /// A variable that the file sets.
    pub(crate) fn place(&self, name: &str) -> Place {
        Place::set(name, self.spot(name))
    }
}

/// Why a file can't be read, and the remedy.
fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    if let Some(obstacle) = obstacle::on_the_way(path) {
        let (what, remedy) = obstacle.told();
        return (format!("{what},"), remedy);
    }
    if path.is_dir() {
        let remedy = "remove it; Docker makes a folder where a file is missing";
        return ("is a folder, not a file,".to_owned(), remedy.to_owned());
    }
    let remedy = if error.kind() == ErrorKind::PermissionDenied {
        obstacle::let_read(path)
    } else {
        "put a text file in its place, of one variable a line".to_owned()
    };
    (format!("can't be read ({})", limits::in_words(error)), remedy)
}

/// What is wrong with a line, and the remedy. Neither quotes the line, but for a character that is no part of a value.
type Fault = (String, String);

/// What a variable holds by the text of such a file.
pub(crate) fn value(text: &str, name: &str) -> Option<String> {
    parse(text, |_, _| {}).vars.into_iter().find(|variable| variable.name == name).map(|variable| variable.value)
}

/// What a text holds.
struct Parsed {
    vars: Vec<Variable>,
    /// The rests of addresses, which are no variables.
    pieces: Vec<Secret>,
}

/// What a text holds. The last of a name counts, as for Docker, systemd and shells. Whatever a person should
/// know goes to `warn`, with the number of the line.
fn parse(text: &str, mut warn: impl FnMut(usize, Fault)) -> Parsed {
    let (mut vars, mut pieces): (Vec<Variable>, Vec<Secret>) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_set = lines_of(text).any(forms::sets_endpoint);
    let mut address: Option<Broken> = None;
    for (line, text) in (1..).zip(lines_of(text)) {
        let rest = address.as_mut().and_then(|address| address.goes_on(text));
        let found = match rest {
            Some(rest) => {
                pieces.extend(rest.secrets);
                Err(rest.fault)
            }
            None => {
                address = Broken::begun(line, text);
                variable(text, is_set)
            }
        };
        let (name, value) = match found {
            Ok(Some(variable)) => variable,
            Ok(None) => continue,
            Err((what, remedy)) => {
                warn(line, (format!("{what}{IGNORED}"), remedy));
                continue;
            }
        };
        if let Some(c) = value.chars().find(|c| is_unseen(*c) && !c.is_ascii()) {
            let what = format!("{HOLDS_UNSEEN}: {}", character(c));
            warn(line, (what, "remove it, unless the value needs it".to_owned()));
        }
        if let Some(earlier) = vars.iter_mut().find(|variable| variable.name == name) {
            // The line is told by its number: what looks like a name may be a piece of a pasted token.
            let what = format!("sets the same variable as line {}; the last one counts", earlier.line);
            warn(line, (what, "remove one of them".to_owned()));
            (earlier.value, earlier.line) = (value, line);
        } else {
            vars.push(Variable { name, value, line });
        }
    }
    Parsed { vars, pieces }
}

/// The lines of a text, with whichever ends: of Unix, of Windows, or of old Macs.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// The variable that a line sets; `None` for an empty line or a comment. `is_set`: whether a line of the file sets the endpoint.
fn variable(line: &str, is_set: bool) -> Result<Option<(String, String)>, Fault> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((name, value)) = line.split_once('=').filter(|(_, value)| !value.contains('\0')) else {
        return Err(forms::fault(line, is_set).unwrap_or_else(|| no_variable(line)));
    };
    if let Some(fault) = forms::fault(line, is_set) {
        return Err(fault);
    }
    let quoted = quoted(value, forms::is_about_endpoint(name))?;
    // dotenvy's errors are not shown: they quote the line, which may hold a token.
    match dotenvy::from_read_iter(format!("{name}={quoted}").as_bytes()).next() {
        Some(Ok(variable)) => Ok(Some(variable)),
        Some(Err(_)) | None => Err(no_variable(name)),
    }
}

/// The fault of a line that begins with `name`, which is no name of a variable.
fn no_variable(name: &str) -> Fault {
    let remedy = "write one variable a line, with letters, digits and _ in its name";
    let strange = name.chars().find(|c| !c.is_ascii() && (is_unseen(*c) || meant(*c).is_some()));
    let because = strange.map_or_else(String::new, |c| format!(" because of {}", character(c)));
    let remedy = if forms::is_about_endpoint(name) { forms::ON_ITS_OWN } else { remedy };
    (format!("is not NAME=value{because}"), remedy.to_owned())
}

/// A value as dotenvy reads it back unchanged: without its comment, in double quotes, with escapes. `is_address`: whether it was to be an
/// endpoint's, which has no line breaks.
fn quoted(value: &str, is_address: bool) -> Result<String, Fault> {
    let start = value.trim_ascii_start();
    let open = || {
        if start.starts_with('"') && before_comment(start).trim_ascii_end().ends_with("\\\"") {
            let what = "ends with \\\", a quote within the value that closes nothing,";
            return (what.to_owned(), "remove the \\ before the closing quote".to_owned());
        }
        let remedy = match is_address {
            true => "close it on the same line: the whole address belongs on one",
            false => "close it on the same line; a line break is \\n inside \"…\"",
        };
        ("opens a quote that it doesn't close".to_owned(), remedy.to_owned())
    };
    let (text, rest) = if let Some(inside) = start.strip_prefix('\'') {
        let (text, rest) = inside.split_once('\'').ok_or_else(open)?;
        (escaped(text), rest)
    } else if let Some(inside) = start.strip_prefix('"') {
        let end = closing_quote(inside).ok_or_else(open)?;
        (with_own_escapes(&inside[..end]), &inside[end + 1..])
    } else {
        (escaped(before_comment(value).trim_ascii()), "")
    };
    if before_comment(rest).trim_ascii().is_empty() {
        Ok(format!("\"{text}\""))
    } else {
        let remedy = "put all of the value in quotes, or nothing of it";
        Err(("goes on behind its closing quote".to_owned(), remedy.to_owned()))
    }
}

/// A text with a backslash before each character that dotenvy would give a meaning.
fn escaped(text: &str) -> String {
    let escape = |c: char| "\\\"$".contains(c).then_some('\\').into_iter().chain([c]);
    text.chars().flat_map(escape).collect()
}

/// A text for dotenvy that keeps its own escapes `\"`, `\\` and `\n`. Any other backslash, and `$`, stands for itself.
fn with_own_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next @ ('"' | '\\' | 'n')) if c == '\\' => {
                out.extend([c, *next]);
                chars.next();
            }
            Some(_) | None => out.push_str(&escaped(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

/// Where the quote is that closes a text in double quotes.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + inside[from..].find(['"', '\\'])?;
        if inside[at..].starts_with('"') {
            return Some(at);
        }
        // The next look is behind the backslash, and behind a quote or backslash that it escapes.
        let rest = &inside[at + 1..];
        from = at + 1 + usize::from(rest.starts_with(['"', '\\']));
    }
}

/// The value before a comment, which begins with a blank and `#`.
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
        let mut dotenv = DotEnv::default();
        for folder in [Path::new("/nonexistent"), dir.path()] {
            dotenv.add(folder, &mut warnings);
        }
        (dotenv, warnings)
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
            ("A=a\u{a0}", "a\u{a0}"),
            (r"A='a\", ""),
            (r"A='a\'", r"a\"),
            (r#"A="a\"#, ""),
            ("A=\"a\\\\\"", "a\\"),
            (r#"A="$\x\$""#, r"$\x\$"),
            ("A=`id` $(id) ~/x * &|;", "`id` $(id) ~/x * &|;"),
            ("A=x\rB=2", "x"),
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
    fn a_file_that_was_changed_or_came_later_or_went_counts_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let mut dotenv = DotEnv::default();
        for folder in [&first, &second] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join(".env"), "A=old\nB=old\n").unwrap();
            dotenv.add(folder, &mut Vec::new());
        }
        let of = |dotenv: &DotEnv| [dotenv.get("A").map(str::to_owned), dotenv.get("B").map(str::to_owned)];
        let new = |text: &str| Some(text.to_owned());
        assert_eq!(of(&dotenv.with(first.join(".env"), Some("A=new"))), [new("new"), new("old")]);
        assert_eq!(of(&dotenv.with(second.join(".env"), Some("A=new"))), [new("old"), new("old")]);
        assert_eq!(of(&dotenv.with(first.join(".env"), None)), [new("old"), new("old")]);
        assert_eq!(of(&DotEnv::default().with(first.join(".env"), Some("A=1"))), [new("1"), None]);
        // A folder may have two names.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&first, dir.path().join("link")).unwrap();
            let by_link = dotenv.with(dir.path().join("link/.env"), Some("A=new"));
            assert_eq!((of(&by_link), by_link.files.len()), ([new("new"), new("old")], 2));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_only_itself_and_is_named_without_its_text() {
        let text = "# comment\nA=1\nB='s3cret\nC=\"s3cret\nD='s3cret' s3cret\ns3cret\n1E=s3cret\na b=s3cret\n\
                    F=s3c\0ret\n\nMCP_ENDPOINT=ws://h/\n";
        let (env, warnings) = read(text);
        assert_eq!((env.get("A"), env.get("MCP_ENDPOINT")), (Some("1"), Some("ws://h/")));
        let lines: Vec<String> =
            warnings.iter().map(|w| w.place.spot().and_then(|at| at.line).unwrap_or_default().to_string()).collect();
        assert_eq!(lines, ["3", "4", "5", "6", "7", "8", "9"]);
        assert!(["B", "C", "D", "F"].iter().all(|name| env.get(name).is_none()));
        assert!(warnings.iter().all(|w| !w.to_string().contains("s3c")), "{warnings:?}");
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let text = "A=s3cret\u{200b}\n\u{feff}B=s3cret\nC＝s3cret\nD:s3cret\nE=\"a\u{3000}b\"\nF=你 好\n";
        let (env, warnings) = read(text);
        let said: Vec<String> =
            warnings.iter().map(|w| w.to_string().split_once(".env").unwrap().1.to_owned()).collect();
        let name = "is ignored; write one variable a line, with letters, digits and _ in its name";
        assert_eq!(
            said,
            [
                ":1: holds what can't be seen: zero width space (U+200B); remove it, unless the value needs it"
                    .to_owned(),
                format!(":2: is not NAME=value because of byte order mark (U+FEFF) and {name}"),
                format!(":3: is not NAME=value because of ＝ (U+FF1D, fullwidth equals sign) and {name}"),
                format!(":4: is not NAME=value and {name}"),
                ":5: holds what can't be seen: ideographic space (U+3000); remove it, unless the value needs it"
                    .to_owned(),
            ]
        );
        assert_eq!((env.get("A"), env.get("F")), (Some("s3cret\u{200b}"), Some("你 好")), "as they were pasted");
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
    fn a_folder_in_its_place_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".env")).unwrap();
        let (mut dotenv, mut warnings) = (DotEnv::default(), Vec::new());
        dotenv.add(dir.path(), &mut warnings);
        assert!(
            dotenv.files.is_empty() && warnings[0].what == "is a folder, not a file, and is ignored",
            "{warnings:?}"
        );
    }

    #[test]
    fn a_file_in_utf_16_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), b"\xff\xfeA\0=\0").unwrap();
        let mut warnings = Vec::new();
        let mut dotenv = DotEnv::default();
        dotenv.add(dir.path(), &mut warnings);
        assert!(dotenv.files.is_empty());
        assert!(warnings[0].what.contains("not UTF-8"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), marks in "[A=\\\\\"' #\\n\\r\\x00é$]*") {
            for text in [text, marks] {
                let lines = lines_of(&text).count();
                let Parsed { vars, .. } = parse(&text, |line, _| assert!((1..=lines).contains(&line)));
                let is_name = |name: &str| {
                    name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
                        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                };
                prop_assert!(vars.iter().all(|one| is_name(&one.name) && !one.value.contains('\0')));
            }
        }

        #[test]
        fn what_is_written_comes_back(value in "[^\\n\\r\\x00]*", blank in "[ \\t]*") {
            let read = |written: &str| {
                let text = format!("B=' #\nexport A ={blank}{written}{blank} # it's a \"comment\"\nC=$A");
                let mut faults = 0;
                let Parsed { vars, .. } = parse(&text, |_, (what, _)| faults += usize::from(what.ends_with("is ignored")));
                assert_eq!(faults, 1, "that of B: {text:?}");
                vars[0].value.clone()
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
