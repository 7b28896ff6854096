//! The cheapest MCP server: the same id and the same text back. All contenders get it as their child.

use std::io::{Read, Write, stdin, stdout};

use memchr::memmem;
use serde_json::json;

pub(crate) const FLAG: &str = "--echo-server";

/// Tools that it lists.
pub(crate) const TOOLS: usize = 20;

/// What the text stands behind in a call of [`crate::exchange::call`].
const TEXT: &[u8] = br#""text":"#;
/// What of a message is looked at to find its id and method.
const HEAD: usize = 256;

/// Its tools, by what distinguishes it from other such servers. Half of them have names that all servers have.
fn tools(which: &str) -> String {
    let schema = json!({
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to look for"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        },
        "required": ["text"],
    });
    let what = "Looks for a text and gives back the places where it was found, the best first";
    let tool = |n: usize| {
        let name = if n.is_multiple_of(2) { format!("look_{n}") } else { format!("tool_{n}_of_{which}") };
        json!({"name": name, "description": what, "inputSchema": &schema})
    };
    json!((0..TOOLS).map(tool).collect::<Vec<_>>()).to_string()
}

/// Arguments: what distinguishes it from other such servers, or none.
pub(crate) fn main(args: &[String]) {
    let tools = tools(args.first().map_or("", |which| which));
    let (mut stdin, mut stdout) = (stdin().lock(), stdout().lock());
    let (mut input, mut used, mut output) = (vec![0; 64 * 1024], 0, Vec::new());
    loop {
        let read = stdin.read(&mut input[used..]).unwrap();
        if read == 0 {
            return;
        }
        // Only what is new can hold a line end.
        let complete = memchr::memrchr(b'\n', &input[used..used + read]).map_or(0, |at| used + at + 1);
        used += read;
        for line in input[..complete].split_inclusive(|b| *b == b'\n') {
            answer(line, &tools, &mut output);
        }
        stdout.write_all(&output).unwrap();
        stdout.flush().unwrap();
        output.clear();
        input.copy_within(complete..used, 0);
        used -= complete;
        if used == input.len() {
            input.resize(used * 2, 0);
        }
    }
}

fn answer(line: &[u8], tools: &str, output: &mut Vec<u8>) {
    let head = &line[..line.len().min(HEAD)];
    let Some(id) = memmem::find(head, br#""id":"#).map(|at| at + 5) else { return };
    let id_len = head[id..].iter().take_while(|b| !matches!(b, b',' | b'}')).count();
    output.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    output.extend_from_slice(&head[id..id + id_len]);
    if let Some(text) = memmem::find(head, TEXT) {
        // A call ends like our answer but for one bracket, so its text and end can be copied at once.
        let text = &line[text..].trim_ascii_end();
        output.extend_from_slice(br#","result":{"content":[{"type":"text","#);
        output.extend_from_slice(&text[..text.len() - 3]);
        output.extend_from_slice(b"}]}}\n");
    } else if memmem::find(head, br#""initialize""#).is_some() {
        output.extend_from_slice(
            br#","result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}}"#,
        );
        output.push(b'\n');
    } else if memmem::find(head, br#""tools/list""#).is_some() {
        output.extend_from_slice(br#","result":{"tools":"#);
        output.extend_from_slice(tools.as_bytes());
        output.extend_from_slice(b"}}\n");
    } else {
        output.extend_from_slice(b",\"result\":{}}\n");
    }
}
