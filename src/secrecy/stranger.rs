//! A text that a person hands on to strangers, as in a report of a fault: without what is known to be private, in part and encoded, too, and
//! without whatever looks like a secret. Pure.
//!
//! What is shown on this machine loses the secrets that are known. A text that leaves it may also repeat what nobody here knows to be one, so
//! here doubt is enough. Words between blanks, quotes and brackets are looked at one by one, and one that is in doubt goes as a whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use percent_encoding::percent_decode_str;

use super::encoded::encodings;
use super::unspelled::Unspelled;
use super::{Redactor, Secret};

/// The text in place of what is left out.
const HIDDEN: &str = "…";
/// Shortest part of a private text by which it is known again, in characters: shorter ones are parts of any word.
const PART: usize = 6;
/// The same of a text that is made of words.
const LONG_PART: usize = 12;
/// Shortest word that is left out.
const SHORTEST: usize = 4;
/// Longest scheme of an address.
const LONGEST_SCHEME: usize = 8;
/// Fewest letters and digits in a row that look like a secret, and fewest letters alone.
const MIXED: usize = 8;
const LONG: usize = 20;
/// Longest private text whose parts are known, in bytes.
const LONGEST: usize = 16 << 10;
/// Most blanks in a part: the margins of any text are made of such.
const BLANKS: usize = 2;
/// Most layers of encoding that are undone: JSON in JSON in JSON has three.
const LAYERS: usize = 3;

/// Knows what is private.
pub(crate) struct Stranger {
    redactor: Redactor,
    /// The same of all that is private besides: whole texts with blanks in them, and every spelling.
    known: Redactor,
    /// Parts of private texts and of their encodings, in lower case, by their length: longer ones of those that are made of words.
    parts: BTreeMap<usize, HashSet<Box<[u8]>>>,
    /// Texts that are made of words.
    words: HashSet<String>,
    /// Words of ours that are shown whatever is private: those without which nobody knows what a text is about.
    spared: HashSet<String>,
}

impl Stranger {
    /// `redactor`: knows the secrets.
    pub(crate) fn new(redactor: Redactor) -> Self {
        let (known, parts) = (Redactor::default(), BTreeMap::new());
        Stranger { redactor, known, parts, words: HashSet::new(), spared: HashSet::new() }
    }

    /// Has these texts left out, and their parts. Of a text that is made of words alone, as a setting or the name of a package is, only long
    /// parts count: short ones are in any text. A number is none of these.
    pub(crate) fn hide(&mut self, texts: impl IntoIterator<Item = Secret>) {
        for text in texts {
            let text = text.reveal().trim();
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let is_worded = !is_number
                && !looks_secret(text)
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@".contains(c));
            let length = match text.len() {
                _ if is_worded => LONG_PART,
                // A part of a longer number is none.
                len if is_number || len >= PART => PART,
                len => len.max(SHORTEST),
            };
            let decoded = percent_decode_str(text).decode_utf8_lossy();
            let kept = self.parts.entry(length).or_default();
            for spelled in [text.to_owned(), decoded.into_owned()].into_iter().chain(encodings(text)) {
                kept.extend(parts(&spelled, length));
            }
            if is_worded && text.len() >= SHORTEST {
                self.words.insert(text.to_ascii_lowercase());
            } else {
                self.known.add([Secret::new(text)]);
            }
        }
    }

    /// Has these words shown.
    pub(crate) fn spare<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.spared.extend(words.into_iter().map(str::to_owned));
    }

    /// A text as a stranger may have it.
    pub(crate) fn clean(&self, text: &str) -> String {
        let text = self.redactor.clean_all(text);
        let text = self.known.clean(&text);
        let private = self.places(&text);
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        for word in text.split(is_between) {
            let end = at + word.len();
            let mut push = |shown: &str| {
                // What is left out together has one mark.
                if shown != HIDDEN || !out.ends_with(HIDDEN) {
                    out.push_str(shown);
                }
            };
            push(&self.word(word, &private[at..end]));
            at = end;
            if let Some(c) = text[at..].chars().next() {
                push(if private[at] { HIDDEN } else { &text[at..at + c.len_utf8()] });
                at += c.len_utf8();
            }
        }
        out
    }

    /// Of each byte of a text whether it belongs to a part of something private, in whichever spelling.
    fn places(&self, text: &str) -> Vec<bool> {
        let mut private = vec![false; text.len()];
        let mut layer = Some(Unspelled::of(text));
        for _ in 0..=LAYERS {
            let Some(now) = layer else { break };
            let folded = folded(now.text());
            for (length, known) in &self.parts {
                for (at, _) in folded.windows(*length).enumerate().filter(|(_, part)| known.contains(*part)) {
                    private[now.place(at, at + length)].fill(true);
                }
            }
            layer = now.before();
        }
        private
    }

    /// A word; `private`: of each byte whether it belongs to a part of something private.
    fn word<'a>(&self, word: &'a str, private: &[bool]) -> Cow<'a, str> {
        let is_private = private.contains(&true);
        if (word.len() < SHORTEST && !is_private) || self.spared.contains(bare(word)) {
            return Cow::Borrowed(word);
        }
        if let Some((scheme, rest)) = word.split_once("://")
            && scheme.len() <= LONGEST_SCHEME
            && scheme.chars().all(|c| c.is_ascii_lowercase())
        {
            return Cow::Owned(self.address(scheme, rest, &private[word.len() - rest.len()..]));
        }
        if is_private || self.is_known(word) || looks_secret(word) {
            Cow::Borrowed(HIDDEN)
        } else {
            Cow::Borrowed(word)
        }
    }

    /// Of an address its scheme, host and port.
    fn address(&self, scheme: &str, rest: &str, private: &[bool]) -> String {
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let is_private = || private[end - host.len()..end].contains(&true);
        let is_shown = self.spared.contains(host) || !(is_private() || self.is_known(host) || looks_secret(host));
        let host = if is_shown { host } else { HIDDEN };
        let behind = if behind.is_empty() || behind == "/" { behind } else { "/…" };
        format!("{scheme}://{host}{behind}")
    }

    /// Whether a word is a private one, or gives it as the value of something.
    fn is_known(&self, word: &str) -> bool {
        let lower = word.to_ascii_lowercase();
        lower.split(['=', ':', '&', '?']).any(|word| self.words.contains(bare(word)))
    }
}

/// A word without what stands around it in a sentence.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| ".:!?=".contains(c))
}

/// The parts of a text, as those of others are looked up.
fn parts(text: &str, length: usize) -> impl Iterator<Item = Box<[u8]>> {
    let mut text = folded(text);
    text.truncate(LONGEST);
    let is_blank = |byte: &&u8| byte.is_ascii_whitespace();
    let all: Vec<Box<[u8]>> =
        text.windows(length).filter(|part| part.iter().filter(is_blank).count() <= BLANKS).map(Box::from).collect();
    all.into_iter()
}

/// A text in lower case, and with blanks as they are outside of forms: who repeats a part may have changed that.
fn folded(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }).collect()
}

/// Whether a character stands between words.
fn is_between(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`()[]{}<>|,;".contains(c)
}

/// Whether a text has a part that is neither a word nor a number, as keys and tokens are: `no_such_module`, `python3` and `2026-11-29T14` are
/// made of such.
pub(crate) fn looks_secret(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|piece| {
        let (letters, digits) =
            (piece.trim_end_matches(|c: char| c.is_ascii_digit()), piece.bytes().filter(u8::is_ascii_digit).count());
        let is_word = letters.bytes().all(|byte| byte.is_ascii_alphabetic()) && piece.len() - letters.len() <= 3;
        if is_word {
            // `ModuleNotFoundError` is long as well, but has capitals.
            letters.len() >= LONG
                && (letters.len() >= 2 * LONG
                    || !letters.bytes().any(|byte| byte.is_ascii_uppercase())
                    || has_capitals(letters))
        } else {
            piece.len() >= MIXED && (digits < piece.len() || digits >= LONG)
        }
    })
}

/// Whether there are more capitals than words begin with.
fn has_capitals(piece: &str) -> bool {
    piece.bytes().filter(u8::is_ascii_uppercase).count() * 3 > piece.len()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn stranger(secrets: &[&str]) -> Stranger {
        let mut stranger = Stranger::new(Redactor::default());
        stranger.hide(secrets.iter().map(|secret| Secret::new(*secret)));
        stranger
    }

    #[test]
    fn what_a_person_has_to_read_stays() {
        let stranger = stranger(&["hunter2-correct-horse", "mcp-server-fetch", "server", "production"]);
        for text in [
            "root cause command-not-found: calculator: command not found: uvx (searched PATH=/usr/local/bin:/usr/bin)",
            "2026-11-29T14:05:34.922Z WARN SERVER_EXITED exited with code 1; restart in 0.2 s",
            "ModuleNotFoundError: No module named 'no_such_module'",
            "can't open file '/opt/servers/mcp-server-time/server.py': [Errno 2] No such file or directory",
            "python3 is /usr/bin/python3 (Python 3.13.5)",
            "MCP_PIPE_SOMETHING_VERY_LONG, OPENAI_API_KEY, streamable-http",
            "endpoint wss://api.xiaozhi.me/ closed with 4004",
        ] {
            assert_eq!(stranger.clean(text), text);
        }
    }

    #[test]
    fn whatever_looks_like_a_secret_goes() {
        let stranger = stranger(&[]);
        for secret in [
            "sk-proj-Ab12Cd34Ef56Gh78Ij90",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "eyJhbGciOiJFUzI1NiJ9.eyJhZ2VudElkIjo3fQ.c2lnbmF0dXJl",
            "AKIAIOSFODNN7EXAMPLE",
            "0123456789abcdef0123456789abcdef",
            "dGhpcyBpcyBhIHNlY3JldCE=",
            "123e4567-e89b-12d3-a456-426614174000",
        ] {
            for text in [format!("it said {secret}!"), format!("key={secret}"), format!("{{\"a\":\"{secret}\"}}")] {
                let clean = stranger.clean(&text);
                assert!(!clean.contains(&secret[6..14]), "{clean}");
            }
        }
    }

    #[test]
    fn a_text_of_words_goes_as_a_whole_and_in_long_parts_and_one_with_blanks_and_any_spelling_too() {
        let stranger = stranger(&["bridgewater", "my cat is red 42 too", "p@ss/w0rd&!x"]);
        for (text, want) in [
            ("the bridge over water", "the bridge over water"),
            ("it is bridgewater.", "it is …"),
            ("say my cat is red 42 too!", "say …!"),
            ("p%40ss%2Fw0rd%26%21x", "…"),
            ("it is bridgewater-and-so-on", "it is bridgewater-and-so-on"),
        ] {
            assert_eq!(stranger.clean(text), want);
        }
    }

    #[test]
    fn a_number_goes_however_short_and_a_word_also_as_the_value_of_something() {
        let stranger = stranger(&["48213", "7391", "swordfish", "a$b!", "x"]);
        for (text, want) in [
            ("PIN=48213, then 7391.", "PIN=…, then …."),
            ("{\"pin\":48213}", "{\"pin\":…}"),
            ("148213 and 73910", "148213 and 73910"),
            ("SETTING=swordfish", "…"),
            ("it is a$b!", "it is …"),
            ("it is 'A%24b!', x", "it is '…', x"),
        ] {
            assert_eq!(stranger.clean(text), want);
        }
    }

    #[test]
    fn a_part_is_known_in_every_spelling() {
        let secret = r#"pa"ss\wo'rd<12>&é€"#;
        let stranger = stranger(&[secret]);
        let part = r#"pa"ss\wo'rd<"#;
        let json = serde_json::to_string(part).unwrap();
        for written in [
            part.to_owned(),
            json.clone(),
            serde_json::to_string(&json).unwrap(),
            format!("{part:?}"),
            "pa%22ss%5Cwo%27rd%3C".to_owned(),
            "pa%2522ss%255Cwo%2527rd%253C".to_owned(),
            "pa&quot;ss\\wo&#39;rd&lt;".to_owned(),
            "pa&#34;ss&#x5c;wo&apos;rd&#60;".to_owned(),
            r#"'pa"ss\wo'\''rd<'"#.to_owned(),
            r#"pa\"ss\\wo\'rd\<"#.to_owned(),
            r"pa\x22ss\x5cwo\x27rd\x3c".to_owned(),
            r"pa\u0022ss\u005cwo\u0027rd\u003c".to_owned(),
        ] {
            let clean = stranger.clean(&format!("it says {written} here"));
            assert!(clean.starts_with("it says ") && clean.ends_with(" here"), "{clean}");
            for piece in ["pa", "ss", "wo", "rd"] {
                assert!(!clean["it says ".len()..].contains(piece), "{written}: {clean}");
            }
        }
        assert!(!stranger.clean("rd%3C12%3E%26%C3%A9").contains("12"));
        assert!(!stranger.clean(r"<12>&\u00e9\u20ac").contains("12"));
    }

    #[test]
    fn of_an_address_only_the_host_stays() {
        let stranger = stranger(&[]);
        for (text, want) in [
            ("at https://h.example:8443/a/b?c=d#e now", "at https://h.example:8443/… now"),
            ("(ws://user:pass@h/mcp/?token=x)", "(ws://h/…)"),
            ("http://h/", "http://h/"),
            ("http://h", "http://h"),
        ] {
            assert_eq!(stranger.clean(text).replace("…@", ""), want);
        }
    }

    proptest! {
        /// A private text is found whole, in part, in any letter case, and encoded, amid any other text.
        #[test]
        fn nothing_private_passes(
            secret in "[a-zA-Z0-9!#$%&*+./:=?@^_~-]{12,40}",
            before in "[a-z=:/]{0,5}",
            behind in "[a-z=:/.]{0,5}",
            from in 0..6usize,
            how in 0..6usize,
        ) {
            let part = &secret[from..from + 6];
            let told = match how {
                0 => secret.clone(),
                1 => part.to_owned(),
                2 => secret.to_uppercase(),
                3 => BASE64_STANDARD.encode(format!("{before}{secret}")),
                4 => BASE64_URL_SAFE_NO_PAD.encode(format!("{secret}{behind}")),
                _ => secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
            };
            let clean = stranger(&[&secret]).clean(&format!("x {before}{told}{behind} y"));
            prop_assert!(!clean.contains(&told), "{}", clean);
            if how == 3 || how == 4 {
                let middle = told.get(told.len() / 2 - 4..told.len() / 2 + 4).unwrap();
                prop_assert!(!clean.contains(middle), "{}", clean);
            }
        }
    }
}
