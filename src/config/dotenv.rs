//! `.env`: variables that count where the environment doesn't set them. The process's own are never changed.

use std::path::{Path, PathBuf};

use crate::error::Problem;

/// A `.env` file, or the lack of one.
#[derive(Default)]
pub(crate) struct DotEnv {
    /// Where it was found.
    pub(crate) path: Option<PathBuf>,
    /// Its variables; the first of a name counts.
    pub(crate) vars: Vec<(String, String)>,
}

impl DotEnv {
    /// Reads the first `.env` in `folders`. Lines that can't be read are warned about, without their text.
    pub(crate) fn find(folders: &[&Path], warnings: &mut Vec<Problem>) -> Self {
        let Some(path) = folders.iter().map(|folder| folder.join(".env")).find(|path| path.is_file()) else {
            return DotEnv::default();
        };
        let shown = path.display().to_string();
        let text = match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                let remedy = "save it as UTF-8 (Windows PowerShell writes UTF-16 unless told otherwise)";
                warnings.push(Problem::new(shown, "is not UTF-8 and is ignored", remedy));
                return DotEnv::default();
            }
            Err(error) => {
                warnings.push(Problem::new(shown, format!("can't be read and is ignored: {error}"), ""));
                return DotEnv::default();
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut vars: Vec<(String, String)> = Vec::new();
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((name, value)) if vars.iter().all(|(n, _)| *n != name) => vars.push((name, value)),
                Ok(_) => {}
                Err(error) => {
                    let place = format!("{shown}{}", line_of(&error, text));
                    let what = "is not NAME=value and is ignored";
                    warnings.push(Problem::new(place, what, "put a value with blanks or # in quotes"));
                }
            }
        }
        DotEnv { path: Some(path), vars }
    }

    /// What a variable holds.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.vars.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// `:line` of an error, which knows only the end of its line.
fn line_of(error: &dotenvy::Error, text: &str) -> String {
    let dotenvy::Error::LineParse(bad, _) = error else { return String::new() };
    let first = bad.lines().next().unwrap_or_default().trim();
    text.lines().position(|line| line.ends_with(first)).map_or_else(String::new, |n| format!(":{}", n + 1))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_bad_lines_are_named_without_their_text() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\u{feff}# comment\nMCP_ENDPOINT=wss://h/?token=a%3D&x=1\nexport B=\"x y\"\nC=s3cret words\n\nD=\n";
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let mut warnings = Vec::new();
        let env = DotEnv::find(&[Path::new("/nonexistent"), dir.path()], &mut warnings);
        assert_eq!(env.get("MCP_ENDPOINT"), Some("wss://h/?token=a%3D&x=1"));
        assert_eq!((env.get("B"), env.get("C"), env.get("D")), (Some("x y"), None, Some("")));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].place.ends_with(".env:4"), "{}", warnings[0]);
        assert!(!warnings[0].to_string().contains("s3cret"));
    }

    #[test]
    fn a_file_in_utf_16_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), b"\xff\xfeA\0=\0").unwrap();
        let mut warnings = Vec::new();
        assert!(DotEnv::find(&[dir.path()], &mut warnings).vars.is_empty());
        assert!(warnings[0].what.contains("not UTF-8"));
    }
}
