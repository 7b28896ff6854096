//! What a server says of itself, made fit for clients that take JSON and MCP at their word. Pure.
//!
//! Where servers share a list or a handshake, a reader may refuse the whole for one wrong part. So wrong parts are
//! exchanged or left out; all else stays as it was written, byte for byte:
//!
//! - half of a surrogate pair becomes U+FFFD, a number beyond a double's range the largest in it;
//! - of members with the same name the last one stays, which most readers take;
//! - a value that is nested too deeply counts as empty;
//! - where MCP has an object, any other value becomes one (PHP writes `[]` for an empty object), and any other member of a wrong
//!   type is left out ([`Shape`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use memchr::memchr2;
use serde_json::Value;

use super::envelope::without_controls;
use super::object;
use super::object::HALF;
use super::shape::{ANY, Need, Object, Shape};

/// Deepest nesting of a part of a list or a handshake: .NET's parser follows 64 levels, and three of them are around the part.
const PART: usize = 60;

/// Deepest nesting that this program's own parser follows.
const OURS: usize = 126;

/// Most oddities that are told of one part.
const TOLD: usize = 3;

/// Longest beginning of a name that is shown, in bytes; and most names that are shown on the way to an oddity.
const BRIEF: usize = 40;
const STEPS: usize = 6;

/// Most members of an object that are compared with each other one by one.
const SMALL: usize = 16;

/// The largest double, which takes the place of a larger number.
const LARGEST: &str = "1.7976931348623157e308";

/// A part of what a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mended<'a> {
    /// The part as MCP has it, in JSON.
    pub(crate) text: Cow<'a, str>,
    /// The first few oddities, in words.
    pub(crate) odd: Vec<String>,
}

/// Mends a part of what a server said; `None` if that is impossible: the part is no JSON, or lacks a required member.
pub(crate) fn mend<'a>(text: &'a str, shape: &'static Shape) -> Option<Mended<'a>> {
    Walk::of(text, PART).whole(shape)
}

/// The same JSON for a strict parser, such as ours; `None` if the text is no JSON.
pub(crate) fn plain(text: &str) -> Option<Cow<'_, str>> {
    Walk::of(text, OURS).whole(&Shape::Any).map(|mended| mended.text)
}

/// Parses JSON. A value that our parser would refuse is mended first, so that it costs no other.
///
/// # Errors
/// The text is no JSON.
pub(crate) fn parse(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(json).or_else(|error| {
        let json = without_controls(json);
        let plain = str::from_utf8(&json).ok().and_then(plain);
        serde_json::from_str(&plain.ok_or(error)?)
    })
}

/// A member of an object or an item of a list.
struct Child<'a> {
    /// From the key, or in a list from the value, to the end of the value.
    range: Range<usize>,
    value: usize,
    name: Cow<'a, str>,
    kept: bool,
}

/// A walk through JSON, given up where that turns out not to be well-formed.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    left: usize,
    /// Parts of the text and what takes their places. No two parts overlap.
    edits: Vec<(Range<usize>, Cow<'a, str>)>,
    /// The names on the way to the present value.
    path: Vec<Cow<'a, str>>,
    odd: Vec<String>,
}

impl<'a> Walk<'a> {
    fn of(text: &'a str, depth: usize) -> Self {
        Walk { text, at: 0, left: depth, edits: Vec::new(), path: Vec::new(), odd: Vec::new() }
    }

    fn whole(mut self, shape: &'static Shape) -> Option<Mended<'a>> {
        self.space();
        let fits = self.value(shape)?;
        self.space();
        if !fits || self.at < self.text.len() {
            return None;
        }
        if self.edits.is_empty() {
            return Some(Mended { text: self.text.into(), odd: self.odd });
        }
        self.edits.sort_by_key(|(part, _)| (part.start, part.end));
        let (mut mended, mut from) = (String::with_capacity(self.text.len()), 0);
        for (part, with) in &self.edits {
            mended.push_str(&self.text[from..part.start]);
            mended.push_str(with);
            from = part.end;
        }
        mended.push_str(&self.text[from..]);
        Some(Mended { text: mended.into(), odd: self.odd })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes past a byte that has to be there.
    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn edit(&mut self, part: Range<usize>, with: impl Into<Cow<'a, str>>) {
        self.edits.push((part, with.into()));
    }

    /// Notes an oddity of the present value.
    fn say(&mut self, what: &str) {
        if self.odd.len() < TOLD {
            let brief = |name: &Cow<'a, str>| name[..name.floor_char_boundary(BRIEF)].to_owned();
            let steps: Vec<String> = self.path.iter().rev().take(STEPS).rev().map(brief).collect();
            self.odd.push(format!("{} {what}", if steps.is_empty() { "it".into() } else { steps.join(".") }));
        }
    }

    /// Takes back the edits and oddities of a part, and notes another oddity in their place.
    fn replace(&mut self, (edits, odd): (usize, usize), what: &str) {
        self.edits.truncate(edits);
        self.odd.truncate(odd);
        self.say(what);
    }

    /// Goes past a value and mends its parts. Returns whether the value then has its shape.
    fn value(&mut self, shape: &'static Shape) -> Option<bool> {
        let (start, mark) = (self.at, (self.edits.len(), self.odd.len()));
        let first = self.peek()?;
        if matches!(first, b'{' | b'[') && self.left == 0 {
            self.skip()?;
            self.say("is nested too deeply, and counts as empty");
            self.edit(start..self.at, if first == b'{' { "{}" } else { "[]" });
            return Some(true);
        }
        let fits = match (first, shape) {
            (b'{', Shape::Object(object) | Shape::ObjectOrFlag(object) | Shape::Perhaps(Shape::Object(object))) => {
                self.object(object)?
            }
            (b'[', Shape::List(item) | Shape::Perhaps(Shape::List(item))) => self.list(item)?,
            (b'{', _) => self.object(&ANY)? && is_open(shape),
            (b'[', _) => self.list(&Shape::Any)? && is_open(shape),
            (_, _) => self.scalar(first, shape)?,
        };
        if let (false, Shape::Object(object) | Shape::ObjectOrFlag(object)) = (fits, shape)
            && let Some(empty) = object.empty
        {
            self.replace(mark, "is not the object that it has to be, and counts as an empty one");
            self.edit(start..self.at, empty);
            return Some(true);
        }
        Some(fits)
    }

    fn object(&mut self, object: &'static Object) -> Option<bool> {
        let inside = self.at + 1;
        let mut children = Vec::new();
        self.each(b'}', |walk| {
            let (start, mark) = (walk.at, (walk.edits.len(), walk.odd.len()));
            walk.string()?;
            let name = object::lossy_text_of(&walk.text[start..walk.at])?;
            walk.space();
            walk.byte(b':')?;
            walk.space();
            let value = walk.at;
            walk.path.push(name.clone());
            let kept = walk.member(object.member(&name), mark)?;
            walk.path.pop();
            children.push(Child { range: start..walk.at, value, name, kept });
            Some(())
        })?;
        self.drop_doubles(&mut children);
        let fits = self.add_missing(object, &children, inside);
        self.remove(&children);
        Some(fits)
    }

    /// Goes past the value of a member. Returns whether the member stays. `mark`: how many edits and oddities there were before.
    fn member(&mut self, (shape, need): (&'static Shape, Need), mark: (usize, usize)) -> Option<bool> {
        let start = self.at;
        if need == Need::Optional && self.peek() == Some(b'n') && !matches!(shape, Shape::Any) {
            self.scalar(b'n', shape)?;
            self.edits.truncate(mark.0);
            return Some(false);
        }
        if self.value(shape)? {
            return Some(true);
        }
        match need {
            Need::Optional => self.replace(mark, "is not what MCP has there, and left out"),
            // `add_missing` adds the member like one that is missing, and notes that.
            Need::Required | Need::Same(_) => self.edits.truncate(mark.0),
            Need::Default(with) => {
                self.replace(mark, &format!("is not what MCP has there, and counts as {with}"));
                self.edit(start..self.at, with);
            }
        }
        Some(matches!(need, Need::Default(_)))
    }

    fn list(&mut self, shape: &'static Shape) -> Option<bool> {
        let mut children = Vec::new();
        self.each(b']', |walk| {
            let (start, mark) = (walk.at, (walk.edits.len(), walk.odd.len()));
            let kept = walk.value(shape)?;
            if !kept {
                walk.replace(mark, "has an item that is not what MCP has there, and left out");
            }
            children.push(Child { range: start..walk.at, value: start, name: "".into(), kept });
            Some(())
        })?;
        self.remove(&children);
        Some(true)
    }

    /// Goes past an object or list. `child` goes past what is between two commas.
    fn each(&mut self, close: u8, mut child: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.left -= 1;
        self.space();
        while self.peek()? != close {
            child(self)?;
            self.space();
            if self.peek()? != close {
                self.byte(b',')?;
                self.space();
            }
        }
        self.at += 1;
        self.left += 1;
        Some(())
    }

    /// Of members with the same name only the last stays.
    fn drop_doubles(&mut self, children: &mut [Child<'a>]) {
        let mut seen = HashSet::new();
        for at in (0..children.len()).rev() {
            let (before, after) = children.split_at(at + 1);
            // Nearly all objects are small.
            let is_double = match before.len() + after.len() {
                ..=SMALL => after.iter().any(|later| later.name == before[at].name),
                _ => !seen.insert(before[at].name.clone()),
            };
            if is_double {
                let Child { range, name, .. } = &before[at];
                self.edits.retain(|(part, _)| !range.contains(&part.start));
                self.path.push(name.clone());
                self.say("comes twice, and the last one counts");
                self.path.pop();
                children[at].kept = false;
            }
        }
    }

    /// Adds the members that an object has to have. Returns whether that was possible.
    fn add_missing(&mut self, object: &'static Object, children: &[Child<'a>], inside: usize) -> bool {
        let kept = |name: &str| children.iter().find(|child| child.kept && child.name == name);
        let mut added = String::new();
        for field in object.fields.iter().filter(|field| kept(field.name).is_none()) {
            let value = match field.need {
                Need::Optional => continue,
                Need::Required => return false,
                Need::Default(value) => Cow::Borrowed(value),
                Need::Same(other) => {
                    let Some(other) = kept(other) else { return false };
                    let text = object::lossy_text_of(&self.text[other.value..other.range.end]);
                    object::quoted(&text.unwrap_or_default()).into()
                }
            };
            self.path.push(field.name.into());
            self.say(&format!("is missing, and counts as {value}"));
            self.path.pop();
            added.push_str(&format!(",\"{}\":{value}", field.name));
        }
        if !added.is_empty() {
            match children.iter().rfind(|child| child.kept) {
                Some(last) => self.edit(last.range.end..last.range.end, added),
                None => self.edit(inside..inside, added.split_off(1)),
            }
        }
        true
    }

    /// Takes out the children that don't stay, each with a comma.
    fn remove(&mut self, children: &[Child<'a>]) {
        let mut kept = false;
        for (at, child) in children.iter().enumerate() {
            kept |= child.kept;
            if !child.kept {
                let next = children.get(at + 1).map_or(child.range.end, |next| next.range.start);
                let part = if kept { children[at - 1].range.end..child.range.end } else { child.range.start..next };
                self.edit(part, "");
            }
        }
    }

    /// Goes past what is neither object nor list.
    fn scalar(&mut self, first: u8, shape: &'static Shape) -> Option<bool> {
        let start = self.at;
        if first == b'"' {
            self.string()?;
            let token = &self.text[start..self.at];
            return Some(match shape {
                Shape::Text => true,
                Shape::OneOf(texts) => object::text_of(token).is_some_and(|text| texts.contains(&&*text)),
                Shape::Date => object::text_of(token).is_some_and(|text| is_date(&text)),
                Shape::Any | Shape::Perhaps(_) => true,
                Shape::Flag | Shape::Number | Shape::Share => false,
                Shape::List(_) | Shape::Object(_) | Shape::ObjectOrFlag(_) => false,
            });
        }
        let is_end = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let rest = &self.text.as_bytes()[start..];
        self.at += rest.iter().position(is_end).unwrap_or(rest.len());
        let token = &self.text[start..self.at];
        Some(match token {
            "" => return None,
            "null" => is_open(shape),
            "true" | "false" => matches!(shape, Shape::Flag | Shape::ObjectOrFlag(_)) || is_open(shape),
            number => {
                // A short number without an exponent is within a double's range in any case.
                let size = if number.len() < 300 && !number.contains(['e', 'E']) && !matches!(shape, Shape::Share) {
                    0.0
                } else {
                    number.parse::<f64>().ok()?
                };
                if size.is_infinite() {
                    self.say("is a number beyond all that a computer counts with, and counts as the largest there is");
                    let sign = if size < 0.0 { "-" } else { "" };
                    self.edit(start..self.at, format!("{sign}{LARGEST}"));
                }
                matches!(shape, Shape::Number)
                    || matches!(shape, Shape::Share) && (0.0..=1.0).contains(&size)
                    || is_open(shape)
            }
        })
    }

    /// Goes past a string, and exchanges half characters.
    fn string(&mut self) -> Option<()> {
        let start = self.at;
        self.pass_string()?;
        let halves = object::halves(&self.text[start..self.at]);
        if !halves.is_empty() {
            self.say("has half a character, which counts as U+FFFD");
        }
        self.edits.extend(halves.into_iter().map(|at| (start + at..start + at + HALF, "\\ufffd".into())));
        Some(())
    }

    fn pass_string(&mut self) -> Option<()> {
        self.byte(b'"')?;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += memchr2(b'"', b'\\', rest)?;
            match self.peek()? {
                b'"' => break,
                _ => self.at += 2,
            }
        }
        self.byte(b'"')
    }

    /// Goes past an object or list of any depth without looking inside.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => {
                    self.pass_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Whether a shape allows a value of any type.
fn is_open(shape: &Shape) -> bool {
    matches!(shape, Shape::Any | Shape::Perhaps(_))
}

/// Whether a text is a date with time and offset as clients check it: "2025-01-12T15:00:58Z".
fn is_date(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, "00:00"),
        None => match time.rfind(['+', '-']) {
            Some(at) => (&time[..at], &time[at + 1..]),
            None => return false,
        },
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let date = numbers::<3>(date, '-').filter(|_| date.len() == "2025-01-12".len());
    let clock = match clock.len() {
        5 => numbers::<2>(clock, ':').map(|[hour, minute]| [hour, minute, 0]),
        8 => numbers::<3>(clock, ':'),
        _ => None,
    };
    let offset = numbers::<2>(offset, ':').filter(|_| offset.len() == "00:00".len());
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let (Some([year, month, day]), Some([hour, minute, second]), Some([east, minutes])) = (date, clock, offset) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    is_fraction && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60 && east < 24 && minutes < 60
}

/// `N` numbers in digits, with `between` between them.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[u32; N]> {
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?;
    text.split(between).map(number).collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
