//! A character that a person has to find: its look, code point and name, and the character that was most likely meant.

/// Names of ASCII's marks, from `!` to `/`, `:` to `@`, `[` to `` ` `` and `{` to `~`.
const MARKS: &[(char, &str)] = &[
    ('!', "exclamation mark"),
    ('"', "quotation mark"),
    ('#', "number sign"),
    ('$', "dollar sign"),
    ('%', "percent sign"),
    ('&', "ampersand"),
    ('\'', "apostrophe"),
    ('(', "left parenthesis"),
    (')', "right parenthesis"),
    ('*', "asterisk"),
    ('+', "plus sign"),
    (',', "comma"),
    ('-', "hyphen-minus"),
    ('.', "full stop"),
    ('/', "slash"),
    (':', "colon"),
    (';', "semicolon"),
    ('<', "less-than sign"),
    ('=', "equals sign"),
    ('>', "greater-than sign"),
    ('?', "question mark"),
    ('@', "commercial at"),
    ('[', "left square bracket"),
    ('\\', "backslash"),
    (']', "right square bracket"),
    ('^', "circumflex accent"),
    ('_', "low line"),
    ('`', "grave accent"),
    ('{', "left curly bracket"),
    ('|', "vertical line"),
    ('}', "right curly bracket"),
    ('~', "tilde"),
];

/// Characters that look like an ASCII one, or like nothing: name, and the ASCII character.
const LOOKALIKES: &[(char, &str, Option<char>)] = &[
    ('\u{a0}', "no-break space", Some(' ')),
    ('\u{ab}', "left guillemet", Some('"')),
    ('\u{b4}', "acute accent", Some('\'')),
    ('\u{bb}', "right guillemet", Some('"')),
    ('\u{2010}', "hyphen", Some('-')),
    ('\u{2011}', "non-breaking hyphen", Some('-')),
    ('\u{2012}', "figure dash", Some('-')),
    ('\u{2013}', "en dash", Some('-')),
    ('\u{2014}', "em dash", Some('-')),
    ('\u{2015}', "horizontal bar", Some('-')),
    ('\u{2018}', "left single quotation mark", Some('\'')),
    ('\u{2019}', "right single quotation mark", Some('\'')),
    ('\u{201a}', "single low-9 quotation mark", Some('\'')),
    ('\u{201c}', "left double quotation mark", Some('"')),
    ('\u{201d}', "right double quotation mark", Some('"')),
    ('\u{201e}', "double low-9 quotation mark", Some('"')),
    ('\u{2026}', "horizontal ellipsis", None),
    ('\u{2032}', "prime", Some('\'')),
    ('\u{2033}', "double prime", Some('"')),
    ('\u{2044}', "fraction slash", Some('/')),
    ('\u{2212}', "minus sign", Some('-')),
    ('\u{2215}', "division slash", Some('/')),
    ('\u{2236}', "ratio", Some(':')),
    ('\u{3000}', "ideographic space", Some(' ')),
    ('\u{3001}', "ideographic comma", Some(',')),
    ('\u{3002}', "ideographic full stop", Some('.')),
    ('\u{300c}', "left corner bracket", Some('"')),
    ('\u{300d}', "right corner bracket", Some('"')),
    ('\u{300e}', "left white corner bracket", Some('"')),
    ('\u{300f}', "right white corner bracket", Some('"')),
    ('\u{3010}', "left black lenticular bracket", Some('[')),
    ('\u{3011}', "right black lenticular bracket", Some(']')),
];

/// Characters that can't be seen and have a name of their own.
const UNSEEN: &[(char, &str)] = &[
    ('\0', "NUL"),
    ('\t', "tab"),
    ('\n', "line break"),
    ('\r', "carriage return"),
    ('\u{1b}', "escape"),
    (' ', "blank"),
    ('\u{7f}', "delete"),
    ('\u{ad}', "soft hyphen"),
    ('\u{200b}', "zero width space"),
    ('\u{200c}', "zero width non-joiner"),
    ('\u{200d}', "zero width joiner"),
    ('\u{200e}', "left-to-right mark"),
    ('\u{200f}', "right-to-left mark"),
    ('\u{2028}', "line separator"),
    ('\u{2029}', "paragraph separator"),
    ('\u{202a}', "left-to-right embedding"),
    ('\u{202b}', "right-to-left embedding"),
    ('\u{202c}', "pop directional formatting"),
    ('\u{202d}', "left-to-right override"),
    ('\u{202e}', "right-to-left override"),
    ('\u{202f}', "narrow no-break space"),
    ('\u{2060}', "word joiner"),
    ('\u{feff}', "byte order mark"),
    ('\u{fffd}', "replacement character"),
];

/// A character for a person who looks for it: `？ (U+FF1F, fullwidth question mark)`. A character that can't be seen, or that
/// would change the line around it, is only named.
pub(crate) fn character(c: char) -> String {
    let (code, name) = (c as u32, name(c));
    if is_unseen(c) {
        format!("{} (U+{code:04X})", name.unwrap_or_else(|| "a character that can't be seen".to_owned()))
    } else {
        format!("{c} (U+{code:04X}{})", name.map_or_else(String::new, |name| format!(", {name}")))
    }
}

/// The same as a part of a sentence: one that is only named has its article, `a line break (U+000A)`.
pub(crate) fn a_character(c: char) -> String {
    let told = character(c);
    let article = if told.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    if !is_unseen(c) || told.starts_with("a character") { told } else { format!("{article} {told}") }
}

/// Whether a reader can't see a character, or sees its neighbours changed.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
        || matches!(c, '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that was most likely meant by a similar one.
pub(crate) fn meant(c: char) -> Option<char> {
    fullwidth(c).or_else(|| LOOKALIKES.iter().find(|(like, _, _)| *like == c).and_then(|(_, _, meant)| *meant))
}

/// The ASCII character of which `c` is the form as wide as a Chinese character.
fn fullwidth(c: char) -> Option<char> {
    let offset = '\u{ff01}' as u32 - '!' as u32;
    matches!(c, '\u{ff01}'..='\u{ff5e}').then(|| char::from_u32(c as u32 - offset)).flatten()
}

fn name(c: char) -> Option<String> {
    let mark = |c| MARKS.iter().find(|(mark, _)| *mark == c).map(|(_, name)| *name);
    if let Some(plain) = fullwidth(c) {
        let of = mark(plain).map_or_else(|| plain.to_string(), str::to_owned);
        return Some(format!("fullwidth {of}"));
    }
    let known = mark(c)
        .or_else(|| LOOKALIKES.iter().find(|(like, _, _)| *like == c).map(|(_, name, _)| *name))
        .or_else(|| UNSEEN.iter().find(|(unseen, _)| *unseen == c).map(|(_, name)| *name));
    known.or_else(|| kind(c)).map(str::to_owned)
}

/// The kind of a character that has no name of its own here.
fn kind(c: char) -> Option<&'static str> {
    match c {
        _ if c.is_control() => Some("control character"),
        _ if c.is_whitespace() => Some("space of another width"),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Some("variation selector"),
        '\u{2066}'..='\u{2069}' | '\u{61c}' => Some("mark of the direction of text"),
        '\u{370}'..='\u{3ff}' => Some("a Greek letter"),
        '\u{400}'..='\u{52f}' => Some("a Cyrillic letter"),
        '\u{3040}'..='\u{30ff}' => Some("a Japanese character"),
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' => Some("a Chinese character"),
        '\u{ac00}'..='\u{d7af}' => Some("a Korean character"),
        '\u{1f000}'..='\u{1faff}' => Some("an emoji"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_is_shown_with_code_point_and_name_and_an_unseen_one_only_named() {
        for (c, want) in [
            ('？', "？ (U+FF1F, fullwidth question mark)"),
            ('：', "： (U+FF1A, fullwidth colon)"),
            ('，', "， (U+FF0C, fullwidth comma)"),
            ('Ａ', "Ａ (U+FF21, fullwidth A)"),
            ('“', "“ (U+201C, left double quotation mark)"),
            ('你', "你 (U+4F60, a Chinese character)"),
            ('ѕ', "ѕ (U+0455, a Cyrillic letter)"),
            ('"', "\" (U+0022, quotation mark)"),
            ('é', "é (U+00E9)"),
            ('\u{200b}', "zero width space (U+200B)"),
            ('\u{feff}', "byte order mark (U+FEFF)"),
            ('\u{a0}', "no-break space (U+00A0)"),
            ('\u{202e}', "right-to-left override (U+202E)"),
            ('\n', "line break (U+000A)"),
            ('\u{9b}', "control character (U+009B)"),
            ('\u{e0041}', "a character that can't be seen (U+E0041)"),
        ] {
            assert_eq!(character(c), want);
        }
    }

    #[test]
    fn what_was_meant_is_the_ascii_character_that_it_looks_like() {
        for (c, want) in [('？', Some('?')), ('“', Some('"')), ('\u{a0}', Some(' ')), ('、', Some(',')), ('你', None)]
        {
            assert_eq!(meant(c), want, "{c}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_changes_its_line(c in any::<char>()) {
            prop_assert!(character(c).chars().all(|c| c == ' ' || !is_unseen(c)), "{c:?}");
        }
    }
}
