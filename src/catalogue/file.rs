//! The file about one server: JSON that a person can read, with what the server wrote in it byte for byte.
//!
//! ```json
//! {
//!   "format": 1,
//!   "server": "calculator",
//!   "welcome": {"serverInfo":{"name":"calc"}},
//!   "tools": [
//!     {"name":"add"},
//!     {"name":"subtract"}
//!   ],
//!   "prompts": [],
//!   "resources": [],
//!   "resourceTemplates": []
//! }
//! ```

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Lists, MAX_ITEMS, Memory};
use crate::mcp::lists::ListKind;
use crate::words::size;

/// Largest file that is written or read, in bytes: the files of 50 servers with 100 tools each are far below that together.
pub(super) const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The format of the file. Files of another format are not read.
const FORMAT: u32 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    format: u32,
    #[serde(borrow)]
    welcome: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow)]
    prompts: Vec<&'a RawValue>,
    #[serde(borrow)]
    resources: Vec<&'a RawValue>,
    #[serde(borrow)]
    resource_templates: Vec<&'a RawValue>,
}

/// The text of a file. `server` is for people only.
///
/// # Errors
/// Why the text would not read the same again: a part of the memory is no JSON or has space around it, or there is too much.
pub(super) fn write(server: &str, memory: &Memory) -> Result<String, String> {
    let mut text = format!("{{\n  \"format\": {FORMAT},\n  \"server\": {}", serde_json::Value::from(server));
    if !memory.welcome.is_empty() {
        let _ = write!(text, ",\n  \"welcome\": {}", memory.welcome);
    }
    for kind in ListKind::ALL {
        let _ = write!(text, ",\n  \"{}\": [", kind.member());
        let items = memory.lists.get(kind);
        for (at, item) in items.iter().enumerate() {
            let _ = write!(text, "{}\n    {item}", if at > 0 { "," } else { "" });
        }
        text.push_str(if items.is_empty() { "]" } else { "\n  ]" });
    }
    text.push_str("\n}\n");
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {}", size(MAX_FILE)));
    }
    match read(&text) {
        Ok(same) if same == *memory => Ok(text),
        Ok(_) => Err("it is not JSON throughout".to_owned()),
        Err(error) => Err(error),
    }
}

/// Whether a file is about this server, whatever else is in it.
pub(super) fn is_about(bytes: &[u8], name: &str) -> bool {
    server(bytes).is_some_and(|server| server == name)
}

/// The server that a file is about, as far as the file is one of ours.
pub(super) fn server(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\n').nth(2)?.strip_prefix(b"  \"server\": ")?;
    serde_json::from_slice(line.strip_suffix(b",").unwrap_or(line)).ok()
}

/// The tools in a file, each with its description.
pub(super) fn tools(bytes: &[u8]) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct Tool {
        name: String,
        #[serde(default)]
        description: String,
    }
    let Some(memory) = std::str::from_utf8(bytes).ok().and_then(|text| read(text).ok()) else { return Vec::new() };
    let tools = memory.lists.get(ListKind::Tools).iter().filter_map(|tool| serde_json::from_str(tool).ok());
    tools.map(|Tool { name, description }| (name, description)).collect()
}

/// What is in the text of a file, or why it can't be used.
pub(super) fn read(text: &str) -> Result<Memory, String> {
    let file: File<'_> = serde_json::from_str(text).map_err(|error| format!("it is no such JSON ({error})"))?;
    if file.format != FORMAT {
        return Err(format!("it has format {}, not {FORMAT}", file.format));
    }
    let mut lists = Lists::default();
    for (kind, items) in
        ListKind::ALL.into_iter().zip([file.tools, file.prompts, file.resources, file.resource_templates])
    {
        if items.len() > MAX_ITEMS {
            return Err(format!("it has {} {}, more than {MAX_ITEMS}", items.len(), kind.member()));
        }
        lists.set(kind, items.into_iter().map(|item| item.get().into()).collect());
    }
    Ok(Memory { welcome: file.welcome.map(RawValue::get).unwrap_or_default().into(), lists })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::mcp::object::tests::raw_value;
    use proptest::prelude::*;

    #[test]
    fn a_file_can_be_read_by_a_person() {
        let mut memory = Memory { welcome: "{\"serverInfo\":{\"name\":\"calc\"}}".into(), ..Memory::default() };
        memory.lists.set(ListKind::Tools, vec!["{\"name\":\"add\"}".into(), "{\"name\":\"subtract\"}".into()]);
        let shown: String = include_str!("file.rs")
            .lines()
            .skip_while(|line| *line != "//! ```json")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", &line[4..]))
            .collect();
        assert_eq!(write("calculator", &memory).unwrap(), shown);
    }

    #[test]
    fn what_would_not_read_the_same_is_not_written() {
        for item in ["", "x", " {}", "{\"a\":\"\t\"}", "1],\"prompts\":[2", "1,2"] {
            let mut memory = Memory::default();
            memory.lists.set(ListKind::Tools, vec![item.into()]);
            assert!(write("s", &memory).is_err(), "{item}");
        }
        assert!(write("s", &Memory { welcome: "{},\"tools\":[1]".into(), ..Memory::default() }).is_err());
        let mut memory = Memory::default();
        memory.lists.set(ListKind::Tools, vec![format!("\"{}\"", "x".repeat(MAX_FILE as usize)).into()]);
        assert!(write("s", &memory).unwrap_err().contains("larger than 16 MiB"));
    }

    #[test]
    fn so_many_items_that_all_would_wait_for_them_are_neither_written_nor_read() {
        let mut memory = Memory::default();
        memory.lists.set(ListKind::Prompts, vec!["{}".into(); MAX_ITEMS]);
        let text = write("s", &memory).unwrap();
        assert_eq!(read(&text), Ok(memory.clone()));
        let more = text.replacen("{}", "{},{}", 1);
        assert!(read(&more).unwrap_err().contains("10001 prompts, more than 10000"));
        memory.lists.set(ListKind::Prompts, vec!["{}".into(); MAX_ITEMS + 1]);
        assert!(write("s", &memory).is_err());
    }

    #[test]
    fn a_file_of_another_format_or_a_damaged_one_is_told_apart_from_one_that_can_be_used() {
        let text = write("s", &Memory::default()).unwrap();
        assert_eq!(read(&text), Ok(Memory::default()));
        assert!(read(&text.replace("\"format\": 1", "\"format\": 2")).unwrap_err().contains("format 2"));
        for end in 0..text.len() - 2 {
            assert!(read(&text[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back_byte_for_byte(
            server in any::<String>(),
            raw in raw_value(),
            lists in proptest::collection::vec(proptest::collection::vec(raw_value(), 0..4), 4),
        ) {
            // `null` is not told apart from nothing; servers say objects.
            let object = |raw: &str| format!("{{\"x\": {raw}}}").into();
            let mut memory = Memory { welcome: object(&raw), ..Memory::default() };
            for (kind, items) in ListKind::ALL.into_iter().zip(lists) {
                memory.lists.set(kind, items.into_iter().map(Into::into).collect());
            }
            prop_assert_eq!(read(&write(&server, &memory).unwrap()), Ok(memory));
        }
    }
}
