//! By which a file that was installed is known again, and whether somebody has changed it since. Pure.

use ring::digest::{SHA256, digest};

/// What the first line of such a file says, or the first comment where the first line is another's.
const SAYS: &str = "Written by mcp-pipe service install";
/// Where the fingerprint stands until it is known.
pub(super) const MARK: &str = "Written by mcp-pipe service install ()";

/// The text with its fingerprint in the place of the empty one.
pub(super) fn sealed(text: &str) -> String {
    text.replacen(MARK, &format!("{SAYS} ({})", fingerprint(text)), 1)
}

/// Whether a text is as it was written; `None`: it was not written by us.
pub(super) fn is_as_written(text: &str) -> Option<bool> {
    let line = text.lines().take(3).find(|line| line.contains(SAYS))?;
    let (_, rest) = line.split_once(" (")?;
    let (found, _) = rest.split_once(')')?;
    Some(found == fingerprint(text))
}

/// Of all lines but the one that says it.
fn fingerprint(text: &str) -> String {
    let lines: String = text.lines().filter(|line| !line.contains(SAYS)).map(|line| format!("{line}\n")).collect();
    digest(&SHA256, lines.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noticed_and_another_file_is_not_ours() {
        let text = sealed(&format!("# {MARK}\na=1\n"));
        assert_eq!(is_as_written(&text), Some(true), "{text}");
        assert_eq!(is_as_written(&text.replace("a=1", "a=2")), Some(false));
        assert_eq!(is_as_written(&format!("{text}b=1\n")), Some(false));
        assert_eq!(is_as_written("[Unit]\n"), None);
        assert_eq!(is_as_written(&sealed(&format!("<?xml?>\n<!-- {MARK} -->\n"))), Some(true));
    }
}
