//! The messages that all groups measure with.

/// What one read of a pipe or socket brings at most, in bytes: streams are cut like this.
pub(crate) const CHUNK: usize = 64 * 1024;

/// What messages are measured with: name and length in bytes.
pub(crate) const SIZES: [(&str, usize); 4] =
    [("100 B", 100), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// What a message's long string is made of.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    Ascii,
    /// Three bytes a character.
    Chinese,
}

impl Text {
    pub(crate) const ALL: [(&str, Text); 2] = [("ASCII", Text::Ascii), ("Chinese", Text::Chinese)];

    fn bytes(self, len: usize) -> String {
        match self {
            Text::Ascii => "x".repeat(len),
            Text::Chinese => "天气晴朗".chars().cycle().take(len / 3).chain("x".repeat(len % 3).chars()).collect(),
        }
    }
}

/// A tool call of `len` bytes, 96 at least.
pub(crate) fn request(id: &str, len: usize, text: Text) -> String {
    let head =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":""#);
    fill(head, r#""}}}"#, len, text)
}

/// A tool's result of `len` bytes, 76 at least.
pub(crate) fn reply(id: &str, len: usize, text: Text) -> String {
    let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#);
    fill(head, r#""}]}}"#, len, text)
}

fn fill(head: String, tail: &str, len: usize, text: Text) -> String {
    let room = len.saturating_sub(head.len() + tail.len());
    head + &text.bytes(room) + tail
}

/// How many messages of this length one chunk brings; a longer one takes several.
pub(crate) fn per_chunk(len: usize) -> usize {
    (CHUNK / len).max(1)
}
