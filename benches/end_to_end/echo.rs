//! The cheapest MCP server: the same id and the same text back. All contenders get it as their child.

use std::fs::File;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// What a server does at each call besides answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not answer.
    Hangs,
    /// It ends.
    Crashes,
    /// It writes a thousand lines to stderr first.
    Floods,
    /// It takes 4 MiB more of memory first.
    Eats,
    /// It takes its time.
    Dawdles,
}

impl Trouble {
    const ALL: [Trouble; 5] = [Trouble::Hangs, Trouble::Crashes, Trouble::Floods, Trouble::Eats, Trouble::Dawdles];

    /// Returns whether the call is answered.
    fn at_a_call(self, kept: &mut Vec<Vec<u8>>) -> bool {
        match self {
            Trouble::Hangs => return false,
            Trouble::Crashes => std::process::exit(1),
            Trouble::Floods => {
                stderr().write_all("a line of what goes on in this server\n".repeat(1000).as_bytes()).unwrap()
            }
            Trouble::Eats => kept.push(vec![1; 4 << 20]),
            Trouble::Dawdles => std::thread::sleep(Duration::from_millis(900)),
        }
        true
    }
}

/// Where a server in trouble notes its beginning and each call: a line each, with its process and the moment.
struct Diary(File);

impl Diary {
    fn open(path: &str) -> Self {
        let diary = Diary(File::options().append(true).create(true).open(path).unwrap());
        diary.note();
        diary
    }

    fn note(&self) {
        (&self.0).write_all(format!("{} {}\n", std::process::id(), now().as_micros()).as_bytes()).unwrap();
    }
}

/// A moment that all processes know.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Arguments: what distinguishes it from other such servers, or none; and its trouble and its diary, if it has any.
pub(crate) fn main(args: &[String]) {
    let tools = tools(args.first().map_or("", |which| which));
    let named = |trouble: &Trouble| args.get(1).is_some_and(|arg| *arg == format!("{trouble:?}"));
    let (trouble, mut kept) = (Trouble::ALL.into_iter().find(named), Vec::new());
    let diary = args.get(2).map(|path| Diary::open(path));
    let mut is_answered = || {
        diary.iter().for_each(Diary::note);
        trouble.is_none_or(|trouble| trouble.at_a_call(&mut kept))
    };
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
            if memmem::find(line, TEXT).is_none() || is_answered() {
                answer(line, &tools, &mut output);
            }
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
