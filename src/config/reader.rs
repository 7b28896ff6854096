//! Typed access to the parsed config file. Every mistake is noted with line, column and path, and reading goes on.

use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, parse_to_ast};

use super::lines::Lines;
use super::syntax;
use super::units::Wrong;
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::error::{Code, Place, Problem, Spot, What};
use crate::words::brief;

/// A value and the place where it was written, as shown to a person.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A file being read.
pub(crate) struct Reader<'t> {
    name: &'t str,
    text: &'t str,
    lines: Lines,
    /// How many characters of the first line are not in the file, but were added.
    added: usize,
    pub(crate) mistakes: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// What a person may want to know.
    pub(crate) notes: Vec<String>,
    /// Where each value is written that was read, by its path under our names for the keys; of several the last counts.
    pub(crate) written: Vec<(String, Place)>,
}

/// A member of an object: its key, its path in the file, itself.
pub(crate) type Member<'v, 'a> = (String, String, &'v ObjectProp<'a>);

impl<'t> Reader<'t> {
    /// Reads `text`, shown to people as `name`. A byte order mark is tolerated.
    pub(crate) fn new(name: &'t str, text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Reader {
            name,
            text,
            lines: Lines::of(text),
            added: 0,
            mistakes: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Reads a text to whose first line a brace was added.
    pub(crate) fn with_brace(name: &'t str, text: &'t str) -> Self {
        let mut reader = Reader { added: 1, ..Reader::new(name, text) };
        let what = "lacks the braces around it; it is read as if they were there";
        reader.warnings.push(Problem::new(
            Place::file(name),
            Code::Syntax.says(what),
            "put { before it and } behind it",
        ));
        reader
    }

    /// Parses JSON with comments and trailing commas, and nothing looser. `None` if that fails, which is noted.
    pub(crate) fn parse(&mut self) -> Option<Value<'t>> {
        let problems = match parse_to_ast(self.text, &CollectOptions::default(), &syntax::CONFIG) {
            Ok(parsed) => match parsed.value {
                Some(value) => return Some(value),
                None => vec![Problem::new(
                    Place::file(self.name),
                    Code::MissingKey.says("is empty"),
                    r#"write {"mcpServers": {"calculator": {"command": "python", "args": ["calculator.py"]}}}"#,
                )],
            },
            Err(error) => {
                let problem = |fault: syntax::Fault| {
                    let open = fault.open.map(|(at, open)| (self.place_at(at, ""), open));
                    let spot = open.and_then(|(place, open)| {
                        let Spot { line, column, .. } = place.spot()?;
                        Some(format!(": the {open} at {}:{} is still open", (*line)?, (*column)?))
                    });
                    let what = format!("is no valid JSON: {}{}", fault.why, spot.unwrap_or_default());
                    Problem::new(self.place_at(fault.at, ""), Code::Syntax.says(what), fault.remedy)
                };
                syntax::explain(self.text, &error).into_iter().map(problem).collect()
            }
        };
        self.mistakes.extend(problems);
        None
    }

    /// The members of the object at `path`. A key that comes twice is warned about; the last counts.
    pub(crate) fn members<'v, 'a>(&mut self, value: &'v Value<'a>, path: &str) -> Vec<Member<'v, 'a>> {
        let members = self.servers(value, path);
        for (i, (key, path, prop)) in members.iter().enumerate() {
            if members[..i].iter().any(|(earlier, _, _)| earlier == key) {
                self.warning(
                    *prop,
                    path,
                    Code::Duplicate.says("stands there twice; the last one counts"),
                    "remove one of them",
                );
            }
        }
        members
    }

    /// The members of an object in which a key that comes twice is the caller's matter.
    pub(crate) fn servers<'v, 'a>(&mut self, value: &'v Value<'a>, path: &str) -> Vec<Member<'v, 'a>> {
        let Value::Object(object) = value else {
            if !matches!(value, Value::NullKeyword(_)) || path.is_empty() {
                self.mistake(
                    value,
                    path,
                    Code::WrongType.says(format!("is {}, not an object", kind(value))),
                    example_of(path),
                );
            }
            return Vec::new();
        };
        let named = |prop: &'v ObjectProp<'a>| {
            let key = prop.name.as_str().to_owned();
            let path = member(path, &key);
            (key, path, prop)
        };
        object.properties.iter().map(named).collect()
    }

    /// A text. `null` counts as not written.
    pub(crate) fn string(&mut self, value: &Value<'_>, path: &str) -> Option<Located<String>> {
        match value {
            Value::StringLit(text) if text.value.contains('\0') => {
                self.mistake(value, path, Code::WrongValue.says("holds a NUL character"), "remove it");
                None
            }
            Value::StringLit(text) => {
                Some(Located { value: text.value.clone().into_owned(), place: self.place(value, path) })
            }
            Value::NullKeyword(_) => None,
            Value::NumberLit(number) => {
                let remedy = format!("write it in quotes: \"{}\"", brief(number.value));
                self.mistake(value, path, Code::WrongType.says("is a number, not a text"), remedy);
                None
            }
            Value::BooleanLit(boolean) => {
                let remedy = format!("write it in quotes: \"{}\"", boolean.value);
                self.mistake(value, path, Code::WrongType.says("is true or false, not a text"), remedy);
                None
            }
            Value::Object(_) | Value::Array(_) => {
                self.mistake(
                    value,
                    path,
                    Code::WrongType.says(format!("is {}, not a text", kind(value))),
                    "write a text in quotes",
                );
                None
            }
        }
    }

    /// A text that `parse` understands, such as a time; also a number, handed to `parse` as text, as is anything else, of which `parse` says
    /// what belongs there.
    pub(crate) fn parsed<T>(
        &mut self,
        value: &Value<'_>,
        path: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (text, shown) = match value {
            Value::NumberLit(number) => (number.value.to_owned(), brief(number.value).into_owned()),
            Value::BooleanLit(boolean) => (boolean.value.to_string(), boolean.value.to_string()),
            Value::Object(_) => ("{}".to_owned(), kind(value).to_owned()),
            Value::Array(_) => ("[]".to_owned(), kind(value).to_owned()),
            Value::StringLit(_) | Value::NullKeyword(_) => {
                let text = self.string(value, path)?.value;
                let shown = format!("\"{}\"", brief(&text));
                (text, shown)
            }
        };
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(wrong) => {
                let is_text = matches!(value, Value::StringLit(_));
                let is_of_a_kind = is_text || matches!(value, Value::NumberLit(_));
                let Wrong { what, remedy } = if is_text { wrong } else { wrong.in_quotes() };
                let code = if is_of_a_kind { Code::WrongValue } else { Code::WrongType };
                self.mistake(value, path, code.says(format!("is {shown}, and {what}")), remedy);
                None
            }
        }
    }

    /// What `read` makes of a value, with the place of that value.
    pub(crate) fn located<T>(
        &mut self,
        value: &Value<'_>,
        path: &str,
        read: impl FnOnce(&mut Self, &Value<'_>, &str) -> Option<T>,
    ) -> Option<Located<T>> {
        let place = self.place(value, path);
        read(self, value, path).map(|value| Located { value, place })
    }

    /// A list of texts.
    pub(crate) fn strings(&mut self, value: &Value<'_>, path: &str) -> Vec<Located<String>> {
        match value {
            Value::Array(array) => {
                let each = array.elements.iter().enumerate();
                each.filter_map(|(i, v)| {
                    let path = format!("{path}[{i}]");
                    if matches!(v, Value::NullKeyword(_)) {
                        self.mistake(v, &path, Code::WrongType.says("is null, not a text"), "remove it");
                    }
                    self.string(v, &path)
                })
                .collect()
            }
            Value::NullKeyword(_) => Vec::new(),
            Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) => {
                let what = format!("is {}, not a list of texts", kind(value));
                self.mistake(value, path, Code::WrongType.says(what), in_brackets(value));
                Vec::new()
            }
        }
    }

    /// A list of texts, or one text.
    pub(crate) fn one_or_more(&mut self, value: &Value<'_>, path: &str) -> Vec<Located<String>> {
        if matches!(value, Value::Array(_)) {
            return self.strings(value, path);
        }
        self.string(value, path).into_iter().collect()
    }

    /// Texts by name; the last of a name counts.
    pub(crate) fn string_map(&mut self, value: &Value<'_>, path: &str) -> Vec<(String, Located<String>)> {
        self.map(value, path, |r, _, prop, path| r.string(&prop.value, path))
    }

    /// What `read` makes of the members of an object, by name and in their order; the last of a name counts.
    pub(crate) fn map<T>(
        &mut self,
        value: &Value<'_>,
        path: &str,
        mut read: impl FnMut(&mut Self, &str, &ObjectProp<'_>, &str) -> Option<T>,
    ) -> Vec<(String, T)> {
        let mut map: Vec<(String, T)> = Vec::new();
        for (key, path, prop) in self.members(value, path) {
            let one = read(self, &key, prop, &path);
            map.retain(|(name, _)| *name != key);
            map.extend(one.map(|one| (key, one)));
        }
        map
    }

    /// `true` or `false`, also as a text.
    pub(crate) fn boolean(&mut self, value: &Value<'_>, path: &str) -> Option<bool> {
        let text = match value {
            Value::BooleanLit(boolean) => return Some(boolean.value),
            Value::NullKeyword(_) => return None,
            Value::StringLit(text) => text.value.trim().to_ascii_lowercase(),
            Value::NumberLit(number) => number.value.to_owned(),
            Value::Object(_) | Value::Array(_) => String::new(),
        };
        let read = truth(&text);
        if read.is_none() {
            self.mistake(value, path, Code::WrongType.says("is neither true nor false"), "write true or false");
        }
        read
    }

    /// Notes a mistake.
    pub(crate) fn mistake(&mut self, at: &dyn Ranged, path: &str, what: What, remedy: impl Into<String>) {
        let place = self.place(at, path);
        self.mistakes.push(Problem::new(place, what, remedy));
    }

    /// Notes a mistake at a place that is known already.
    pub(crate) fn mistake_at(&mut self, place: &Place, what: What, remedy: impl Into<String>) {
        self.mistakes.push(Problem::new(place, what, remedy));
    }

    /// Notes an oddity that stops nothing.
    pub(crate) fn warning(&mut self, at: &dyn Ranged, path: &str, what: What, remedy: impl Into<String>) {
        let place = self.place(at, path);
        self.warnings.push(Problem::new(place, what, remedy));
    }

    /// Notes an oddity at a place that is known already.
    pub(crate) fn warning_at(&mut self, place: &Place, what: What, remedy: impl Into<String>) {
        self.warnings.push(Problem::new(place, what, remedy));
    }

    /// Notes something that is worth knowing, though nothing is wrong.
    pub(crate) fn note(&mut self, at: &dyn Ranged, path: &str, what: impl std::fmt::Display) {
        self.notes.push(format!("{}: {what}", self.place(at, path)));
    }

    /// The line on which something starts, from 1.
    pub(crate) fn line(&self, at: &dyn Ranged) -> usize {
        self.lines.place(self.text, at.range().start).0
    }

    /// Where something stands.
    pub(crate) fn place(&self, at: &dyn Ranged, path: &str) -> Place {
        self.place_at(at.range().start, path)
    }

    fn place_at(&self, offset: usize, path: &str) -> Place {
        let (line, column) = self.lines.place(self.text, offset);
        let column = if line == 1 { column.saturating_sub(self.added).max(1) } else { column };
        let path = path.to_owned();
        Spot { file: self.name.to_owned(), line: Some(line), column: Some(column), path }.into()
    }
}

/// What a text says that stands for `true` or `false`.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The path of a member: `a.b`, or `a["b c"]` where the key is no plain word.
pub(crate) fn member(path: &str, key: &str) -> String {
    let key = brief(key);
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '$');
    match (path.is_empty(), plain) {
        (true, true) => key.into_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// What a list looks like in which a value stands that was written without one. What may be a secret is not repeated, nor is a
/// text of several words, of which each is one of the list.
pub(crate) fn in_brackets(value: &Value<'_>) -> String {
    let word = match value {
        Value::StringLit(text) => Some(&*text.value),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => None,
    };
    let is_shown = |word: &&str| {
        !word.is_empty()
            && brief(word) == *word
            && !word.contains(|c: char| c.is_whitespace() || c.is_control() || ",\"\\".contains(c))
            && !looks_like_endpoint(word)
            && !looks_like_token(word)
    };
    word.filter(is_shown).map_or_else(|| "write [\"…\", \"…\"]".to_owned(), |word| format!("write [\"{word}\"]"))
}

/// What stands in the object at a path, for whoever wrote something else there.
fn example_of(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "mcpServers" => r#"write each server behind its name: {"calculator": {"command": …}}"#,
        "env" | "environment" | "envVars" | "environmentVariables" | "env_http_headers" => r#"write {"NAME": "value"}"#,
        "headers" | "http_headers" | "httpHeaders" | "requestHeaders" => r#"write {"NAME": "value"}"#,
        "auth" => r#"write {"bearer": "${TOKEN}"}, and set TOKEN in the environment or in .env"#,
        "login" => r#"write {}, and run mcp-pipe login with the server's name"#,
        "clientCredentials" => r#"write {"clientId": "…", "clientSecret": "${SECRET}"}"#,
        "endpointHeaders" => r#"write {"X-Name": "value"}"#,
        "rename" => r#"write {"its name": "the name to publish"}"#,
        "describe" => r#"write {"name or pattern": "text"}"#,
        "timeout" => r#"write {"*": "30s"}, or a timeout for all tools beside tools"#,
        "maxResultBytes" => r#"write {"*": "64KiB"}, or a maxResultBytes for all tools beside tools"#,
        _ => "write it in { }",
    }
}

pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a text",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}
