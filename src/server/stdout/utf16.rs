//! A line in UTF-16, as PowerShell and some programs on Windows write. Pure.
//!
//! In JSON without letters of other scripts, as `json.dumps` writes it, every other byte is NUL then. The line's end may have left a NUL of its
//! own on either side.

/// The text of a line in UTF-16; `None` if it is in another encoding, or has letters of other scripts.
pub(super) fn narrow(line: &[u8]) -> Option<Vec<u8>> {
    // What is left of a byte order mark, which is no UTF-8.
    let line = line.strip_prefix("\u{fffd}\u{fffd}".as_bytes()).unwrap_or(line);
    let from = line.iter().position(|byte| *byte != 0)?;
    let is_wide = |pair: &[u8]| pair[0] != 0 && pair.get(1).is_none_or(|byte| *byte == 0);
    let pairs = line[from..].chunks(2);
    // One letter is no text yet.
    (pairs.len() > 1 && line.contains(&0) && pairs.clone().all(is_wide)).then(|| pairs.map(|pair| pair[0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_utf16_is_told_by_every_other_byte() {
        let wide = |text: &str, big: bool| -> Vec<u8> {
            text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        let lines = |text: Vec<u8>| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        for big in [false, true] {
            let each = lines(wide("{\"a\":1}\r\n{}\n", big));
            assert_eq!(narrow(&each[0]), Some(b"{\"a\":1}\r".to_vec()), "{big}");
            assert_eq!(narrow(&each[1]), Some(b"{}".to_vec()), "{big}");
            assert_eq!(narrow(&each[2]), None);
        }
        let marked = [&b"\xff\xfe"[..], &wide("{}", false)].concat();
        assert_eq!(narrow(String::from_utf8_lossy(&marked).as_bytes()), Some(b"{}".to_vec()));
        for other in [&b"{}"[..], b"", b"\0", b"{}\0\0", b"\0\0{}", &wide("\u{4f60}{}", false)] {
            assert_eq!(narrow(other), None, "{other:?}");
        }
    }
}
