//! The arguments of a call as a person writes them, on the command line or to standard input.

use std::io::{self, Read};

use serde_json::{Map, Value};

use crate::config::{defaults, json_fault};
use crate::error::{Code, Problem, Problems};
use crate::words::size;

/// Why the arguments of a call are not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgumentsError {
    /// Standard input could not be read.
    #[error("the arguments could not be read from standard input")]
    Read(#[source] io::Error),
    /// No JSON.
    #[error("the arguments are not valid JSON: {why}{}\n  {line}\n  {:>column$}", on_line(*number), "^")]
    Json {
        /// What is wrong.
        why: String,
        /// The line it is in.
        line: String,
        /// Which that is, from 1; `None` where there is no other.
        number: Option<usize>,
        /// The character of that line, from 1.
        column: usize,
        /// What to write.
        remedy: String,
    },
    /// A text without anything that JSON needs.
    #[error("the arguments are a plain text, and must be a JSON object")]
    Word,
    /// Nothing at all.
    #[error("the arguments are empty, and must be a JSON object")]
    Nothing,
    /// More came from standard input than a message holds.
    #[error("the arguments on standard input are longer than {0}, the largest message")]
    TooLarge(String),
    /// Nothing came from standard input.
    #[error("standard input was empty; write the arguments to it, a JSON object such as '{{\"a\": 2}}'")]
    Empty,
    /// JSON, and no object.
    #[error("the arguments must be a JSON object such as '{{\"a\": 2}}', not {0}")]
    NoObject(&'static str),
}

fn on_line(number: Option<usize>) -> String {
    number.map_or_else(String::new, |number| format!(" (line {number})"))
}

impl ArgumentsError {
    /// As what ends the program: arguments that are wrong are a wrong command line, whether or not they came through it.
    pub(crate) fn told(self) -> anyhow::Error {
        let example = "for a shell: '{\"a\": 2}'";
        let (place, remedy) = match &self {
            ArgumentsError::Read(_) => return self.into(),
            ArgumentsError::Json { remedy, .. } => ("the arguments", format!("{remedy}; {example}")),
            ArgumentsError::Word => ("the arguments", format!("write each with its name, {example}")),
            ArgumentsError::Nothing => ("the arguments", format!("leave them out for none; else, {example}")),
            ArgumentsError::Empty => ("standard input", String::new()),
            ArgumentsError::NoObject(_) | ArgumentsError::TooLarge(_) => ("the arguments", String::new()),
        };
        let text = self.to_string();
        let what = text.strip_prefix(place).unwrap_or(&text).trim_start();
        Problems { target: Some(Problem::new(place, Code::Argument.says(what), remedy)), ..Problems::default() }.into()
    }
}

/// The arguments of a call as given on the command line: a JSON object, `-` for one on standard input, none for `{}`.
///
/// # Errors
/// As [`ArgumentsError`] describes.
pub(crate) fn arguments(text: Option<&str>, stdin: impl Read) -> Result<Map<String, Value>, ArgumentsError> {
    let piped;
    let text = match text {
        None => return Ok(Map::new()),
        Some("-") => {
            let limit = defaults::MAX_FRAME_SIZE;
            let mut bytes = Vec::new();
            stdin.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(ArgumentsError::Read)?;
            if bytes.len() > limit {
                return Err(ArgumentsError::TooLarge(size(limit as u64)));
            }
            piped = String::from_utf8(bytes).map_err(|error| ArgumentsError::Read(io::Error::other(error)))?;
            if piped.trim().is_empty() {
                return Err(ArgumentsError::Empty);
            }
            &piped
        }
        Some(text) => text,
    };
    match serde_json::from_str(text).map_err(|error| explained(text, &error))? {
        Value::Object(arguments) => Ok(arguments),
        Value::Null => Err(ArgumentsError::NoObject("null")),
        Value::Bool(_) => Err(ArgumentsError::NoObject("a boolean")),
        Value::Number(_) => Err(ArgumentsError::NoObject("a number")),
        Value::String(_) => Err(ArgumentsError::NoObject("a string")),
        Value::Array(_) => Err(ArgumentsError::NoObject("an array")),
    }
}

/// What the parser minds that reads the arguments, and the one that explains what is no JSON does not: what is wrong, and the remedy.
fn told_by_the_other(error: &str) -> (&'static str, &'static str) {
    let says = |words: &str| error.contains(words);
    if says("out of range") {
        ("this number is beyond what programs can count with", "write a smaller one, or a text in quotes")
    } else if says("surrogate") || says("hex escape") {
        ("a \\u… here is half of a character", "write both halves, or the character itself")
    } else if says("control character") {
        ("a text holds a line break, a tab or the like as it is", "write \\n or \\t for it")
    } else if says("recursion") {
        ("too many lists and objects stand inside of one another", "write it flatter")
    } else {
        ("this is not as JSON has it", "correct it")
    }
}

/// Why a text is no JSON, by the words in which that is said of a config.
fn explained(text: &str, error: &serde_json::Error) -> ArgumentsError {
    if text.trim().is_empty() {
        return ArgumentsError::Nothing;
    }
    if !text.trim_start().starts_with(|c: char| "{[\"'`“‘｛".contains(c)) && !text.contains(['{', '[']) {
        return ArgumentsError::Word;
    }
    let number = |number: usize| text.trim().contains('\n').then_some(number);
    let Some(fault) = json_fault(text) else {
        // What only the other parser minds, such as a number beyond all bounds.
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().to_owned();
        let (why, remedy) = told_by_the_other(&error.to_string());
        let (column, number) = (error.column().max(1), number(error.line()));
        return ArgumentsError::Json { why: why.to_owned(), line, number, column, remedy: remedy.to_owned() };
    };
    let before = text.get(..fault.at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default().to_owned();
    let column = before[start..].chars().count() + 1;
    let number = number(before.matches('\n').count() + 1);
    ArgumentsError::Json { why: fault.why, line, number, column, remedy: fault.remedy }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_other_parser_minds_is_told_in_our_words() {
        for (text, why) in [
            (r#"{"a": 1e999}"#, "this number is beyond what programs can count with"),
            (r#"{"a": "\ud800"}"#, "half of a character"),
            (r#"{"a": "\ud800\ud800"}"#, "half of a character"),
            ("{\"a\": \"b\tc\"}", "a text holds a line break, a tab or the like as it is"),
            (&format!("{}{}", r#"{"a":"#.repeat(200), "1".to_owned() + &"}".repeat(200)), "too many lists and objects"),
        ] {
            let told = arguments(Some(text), io::empty()).unwrap_err().to_string();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn the_place_that_is_meant_stands_on_a_line_of_its_own() {
        let told = arguments(Some("{'a':1}"), io::empty()).unwrap_err().told().downcast::<Problems>().unwrap();
        let what = told.target.unwrap().what;
        assert!(what.contains("\n  {'a':1}\n"), "{what}");
    }
}
