//! A secret in every spelling in which it may come back. Pure.
//!
//! A program that repeats a secret may have decoded or encoded it, or put it into JSON or HTML, and each part in another way:
//! `%2B`, `%2b`, `+`, a blank, `%252B`, `\u002b` and `&#43;` may all be one character of a secret. So spellings are not listed,
//! but recognised in the text, character by character.

use percent_encoding::percent_decode_str;

/// Shortest secret that is looked for inside of words, in characters: a shorter one would match by chance.
const ANYWHERE: usize = 6;
/// Shortest secret that is looked for at all, in characters: with a digit, and only between other characters than letters and
/// digits.
const SHORTEST: usize = 4;
/// Shortest beginning of a secret that counts as the secret, in characters, since some programs cut what they repeat. The
/// beginning has a digit or a capital, as words have not.
const BEGINNING: usize = 8;
/// Shortest secret of which beginnings count, in characters.
const WITH_BEGINNINGS: usize = 12;
/// Shortest beginning that counts where the text itself was cut, in characters.
const BEGINNING_AT_CUT: usize = 4;
/// Longest spelling of one character that may be cut in two, in bytes.
const SPELLING: usize = 12;
/// Most backslashes before an escape: JSON in JSON in JSON has seven.
const BACKSLASHES: usize = 8;

/// One character of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Char(char),
    /// A byte that belongs to no character.
    Byte(u8),
}

/// See the module's documentation.
pub(super) struct Needle {
    units: Vec<Unit>,
    /// How many units at the beginning count as the whole secret.
    beginning: usize,
    /// How many do where the text was cut.
    beginning_at_cut: usize,
}

impl Needle {
    /// The needle for a secret, percent-encoded or not. `None` if the secret is too short to be looked for.
    pub(super) fn new(secret: &str) -> Option<Self> {
        let bytes: Vec<u8> = percent_decode_str(secret.trim()).collect();
        let mut units = Vec::new();
        for chunk in bytes.utf8_chunks() {
            units.extend(chunk.valid().chars().map(Unit::Char));
            units.extend(chunk.invalid().iter().copied().map(Unit::Byte));
        }
        let has_digit = units.iter().any(|unit| matches!(unit, Unit::Char(c) if c.is_ascii_digit()));
        if units.len() < SHORTEST || (units.len() < ANYWHERE && !has_digit) {
            return None;
        }
        // A beginning must reach behind the word in `token=…` or `Bearer …`, with which a harmless text may end. A `=` at the end
        // is no part of that: it fills up base64.
        let telling = units.iter().rposition(|unit| *unit != Unit::Char('=')).map_or(0, |last| last + 1);
        let word = units[..telling].iter().position(|unit| matches!(unit, Unit::Char('=' | ' ')));
        let behind_word = word.map_or(0, |at| at + 1);
        let is_no_word = |unit: &Unit| matches!(unit, Unit::Char(c) if c.is_ascii_digit() || c.is_uppercase());
        let beginning = match units.iter().skip(behind_word).position(is_no_word) {
            Some(at) if units.len() >= WITH_BEGINNINGS => (behind_word + at + 1).max(behind_word + BEGINNING),
            Some(_) | None => usize::MAX,
        };
        let beginning_at_cut = BEGINNING_AT_CUT.max(behind_word + 1);
        Some(Needle { units, beginning, beginning_at_cut })
    }

    /// The characters that are always there where the secret or a beginning of it is found.
    pub(super) fn head(&self) -> &[Unit] {
        &self.units[..SHORTEST.min(BEGINNING_AT_CUT)]
    }

    /// How many characters the secret has.
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// Where the secret ends, if it begins at `at`, and whether that is the whole of it. `cut`: whether the text was cut at its
    /// end.
    pub(super) fn find(&self, text: &str, at: usize, cut: bool) -> Option<(usize, bool)> {
        let is_short = self.units.len() < ANYWHERE;
        if is_short && text[..at].chars().next_back().is_some_and(char::is_alphanumeric) {
            return None;
        }
        let mut ways = Ways::one(at);
        for (found, unit) in self.units.iter().enumerate() {
            let next = unit.ends(text, &ways);
            if next.is_empty() {
                let end = ways.last()?;
                return self.find_beginning(&text[end..], found, cut).map(|more| (end + more, false));
            };
            ways = next;
        }
        let end = ways.last()?;
        if is_short && text[end..].chars().next().is_some_and(char::is_alphanumeric) {
            return None;
        }
        // A `=` that fills up base64 belongs to the secret.
        Some((end + text[end..].bytes().take(2).take_while(|b| *b == b'=').count(), true))
    }

    /// Whether the first `found` units of the secret count, with `rest` behind them; if so, how many bytes of `rest` belong to
    /// them.
    fn find_beginning(&self, rest: &str, found: usize, cut: bool) -> Option<usize> {
        let is_half = rest.len() < SPELLING && rest.starts_with(['%', '\\', '&']);
        if cut && (rest.is_empty() || is_half) {
            return (found >= self.beginning_at_cut).then_some(rest.len());
        }
        let least =
            if rest.starts_with('…') || rest.starts_with("...") { self.beginning_at_cut } else { self.beginning };
        (found >= least).then_some(0)
    }
}

/// Places in a text up to which a secret was found, each once: a backslash may stand for itself, or begin an escape. There are hardly
/// ever more than two; beyond eight, places are forgotten.
#[derive(Default)]
pub(super) struct Ways {
    places: [usize; 8],
    count: usize,
}

impl Ways {
    pub(super) fn one(place: usize) -> Self {
        let mut ways = Ways::default();
        ways.add(place);
        ways
    }

    fn add(&mut self, place: usize) {
        if self.count < self.places.len() && !self.iter().any(|known| known == place) {
            self.places[self.count] = place;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.places[..self.count].iter().copied()
    }

    fn last(&self) -> Option<usize> {
        self.iter().max()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The place, where it is the only one.
    pub(super) fn only(&self) -> Option<usize> {
        self.last().filter(|_| self.count == 1)
    }
}

/// The character in the place of bytes that are no UTF-8.
const REPLACED: char = '\u{fffd}';

/// The character with which a text begins, if it can be nothing but itself.
pub(super) fn plain(text: &str) -> Option<char> {
    text.chars().next().filter(|c| !matches!(c, '%' | '\\' | '&' | &REPLACED))
}

impl Unit {
    /// The unit by which this one is looked up: forms write a blank as a plus.
    pub(super) fn folded(self) -> Self {
        if self == Unit::Char('+') { Unit::Char(' ') } else { self }
    }

    /// The places behind each spelling of the unit that begins at one of these.
    pub(super) fn ends(self, text: &str, ways: &Ways) -> Ways {
        let mut ends = Ways::default();
        for way in ways.iter() {
            self.each_end(&text[way..], &mut |len| ends.add(way + len));
        }
        ends
    }

    /// Tells the length of each spelling of the unit with which a text begins.
    fn each_end(self, text: &str, tell: &mut dyn FnMut(usize)) {
        match self {
            // Forms write a blank as a plus: a program that decodes only half of that swaps the two.
            Unit::Char(' ' | '+') => [' ', '+'].iter().for_each(|c| each_end_of_char(*c, text, tell)),
            Unit::Char(c) => each_end_of_char(c, text, tell),
            Unit::Byte(byte) => {
                if text.starts_with(REPLACED) {
                    tell(REPLACED.len_utf8());
                }
                each_end_of_bytes(&[byte], text, tell);
            }
        }
    }
}

fn each_end_of_char(c: char, text: &str, tell: &mut dyn FnMut(usize)) {
    if text.starts_with(c) {
        tell(c.len_utf8());
    }
    match text.as_bytes().first() {
        Some(b'%') => each_end_of_bytes(c.encode_utf8(&mut [0; 4]).as_bytes(), text, tell),
        Some(b'\\') => {
            each_end_of_escape(c, text, tell);
            each_end_of_bytes(c.encode_utf8(&mut [0; 4]).as_bytes(), text, tell);
        }
        Some(b'&') => {
            if let Some(len) = entity(text).and_then(|(found, len)| (found == c).then_some(len)) {
                tell(len);
            }
        }
        Some(_) | None => {}
    }
}

/// Bytes as `%2B`, `%252B` or `\x2b`.
fn each_end_of_bytes(bytes: &[u8], text: &str, tell: &mut dyn FnMut(usize)) {
    let mut ways = vec![0];
    for byte in bytes {
        let mut next = Vec::new();
        for way in ways {
            let rest = &text[way..];
            if let Some(encoded) = rest.strip_prefix('%') {
                let mut skipped = 0;
                // In a text that was encoded again, the percent sign is `%25`.
                loop {
                    let rest = &encoded[skipped..];
                    if hex(rest, 2) == Some(u32::from(*byte)) {
                        next.push(way + 1 + skipped + 2);
                    }
                    if !rest.starts_with("25") {
                        break;
                    }
                    skipped += 2;
                }
            } else if let Some((slashes, rest)) = backslashes(rest)
                && let Some(rest) = rest.strip_prefix('x')
                && hex(rest, 2) == Some(u32::from(*byte))
            {
                next.push(way + slashes + 3);
            }
        }
        ways = next;
    }
    ways.into_iter().for_each(tell);
}

/// A character behind backslashes: `\u002b`, `\u{2b}`, `\/`.
fn each_end_of_escape(c: char, text: &str, tell: &mut dyn FnMut(usize)) {
    let Some((slashes, rest)) = backslashes(text) else { return };
    if c == '\\' {
        // A backslash that was escaped once, twice or three times.
        [2, 4, 8].into_iter().filter(|len| *len <= slashes).for_each(&mut *tell);
    } else if rest.starts_with(c) && !c.is_alphanumeric() {
        tell(slashes + c.len_utf8());
    }
    let Some(number) = rest.strip_prefix('u') else { return };
    if let Some((number, _)) = number.strip_prefix('{').and_then(|number| number.split_once('}')) {
        if hex(number, number.len()) == Some(u32::from(c)) {
            tell(slashes + "u{}".len() + number.len());
        }
        return;
    }
    let mut units = [0; 2];
    let mut end = 0;
    for unit in c.encode_utf16(&mut units) {
        let Some((slashes, rest)) = backslashes(&text[end..]) else { return };
        let Some(number) = rest.strip_prefix('u') else { return };
        if hex(number, 4) != Some(u32::from(*unit)) {
            return;
        }
        end += slashes + 5;
    }
    tell(end);
}

/// How many backslashes a text begins with, and the text behind them.
fn backslashes(text: &str) -> Option<(usize, &str)> {
    let count = text.bytes().take(BACKSLASHES).take_while(|b| *b == b'\\').count();
    (count > 0).then(|| (count, &text[count..]))
}

/// The number in the first `digits` characters of a text, if all of these are hexadecimal digits.
pub(super) fn hex(text: &str, digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// The character for which an HTML entity stands at the beginning of a text, and the entity's length.
pub(super) fn entity(text: &str) -> Option<(char, usize)> {
    let rest = text.strip_prefix('&')?;
    let end = rest.bytes().take(SPELLING).position(|b| b == b';')?;
    let name = &rest[..end];
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "plus" => '+',
        "equals" => '=',
        "sol" => '/',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)?
        }
    };
    Some((c, name.len() + 2))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn at_a_cut_the_half_of_a_spelling_belongs_to_the_secret_and_a_whole_one_does_not() {
        let needle = Needle::new("s3cr😀t-and-more").unwrap();
        let half = r"s3cr\ud83d\ude0";
        assert_eq!(needle.find(half, 0, true), Some((half.len(), false)));
        // A whole spelling of another character.
        assert_eq!(needle.find(r"s3cr\ud83d\ude01", 0, true), None);
        assert_eq!(needle.find(half, 0, false), None, "nothing was cut");
    }

    #[test]
    fn each_entity_of_html_stands_for_its_character() {
        for (name, c) in [
            ("amp", '&'),
            ("lt", '<'),
            ("gt", '>'),
            ("quot", '"'),
            ("apos", '\''),
            ("plus", '+'),
            ("equals", '='),
            ("sol", '/'),
            ("#47", '/'),
            ("#x2f", '/'),
            ("#X2F", '/'),
        ] {
            let (secret, text) = (format!("s3c{c}ret"), format!("s3c&{name};ret"));
            assert_eq!(Needle::new(&secret).unwrap().find(&text, 0, false), Some((text.len(), true)), "{text}");
        }
    }
}
