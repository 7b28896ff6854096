//! A JSON object as it was written: its members are exchanged, and whatever else is in it stays byte for byte.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A member of a JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// With its quotes, escapes untouched.
    pub(crate) key: &'a str,
    /// Raw JSON.
    pub(crate) value: &'a str,
}

impl<'a> Member<'a> {
    /// The key without quotes and escapes.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        text_of(self.key).unwrap_or_default()
    }
}

/// The members in their order; `None` if this is no JSON object.
pub(crate) fn members(object: &str) -> Option<Vec<Member<'_>>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                members.push(Member { key: key.get(), value: value.get() });
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_str(object);
    let members = json.deserialize_map(Members).ok()?;
    json.end().ok().map(|()| members)
}

/// A value within an object, by the names that lead to it, as it was written there. Of members with the same name the last
/// counts.
pub(crate) fn find<'a>(object: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(object, |object, name| last(object, name))
}

/// The last member of this name. The others are passed over: there may be millions.
fn last<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    struct Last<'n>(&'n str);
    impl<'de> Visitor<'de> for Last<'_> {
        type Value = Option<&'de str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                if text_of(key.get()).is_some_and(|key| key == self.0) {
                    found = Some(value.get());
                }
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(object);
    let found = json.deserialize_map(Last(name)).ok()?;
    json.end().ok().and(found)
}

/// The first elements of an array, as they were written, and no more than `most`; `None` if this is no JSON array.
pub(crate) fn elements(array: &str, most: usize) -> Option<Vec<&str>> {
    struct First(usize);
    impl<'de> Visitor<'de> for First {
        type Value = Vec<&'de str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut first = Vec::new();
            while first.len() < self.0
                && let Some(element) = seq.next_element::<&RawValue>()?
            {
                first.push(element.get());
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    let mut json = serde_json::Deserializer::from_str(array);
    let first = json.deserialize_seq(First(most)).ok()?;
    json.end().ok().map(|()| first)
}

/// The text of a raw JSON string; `None` if `value` is none.
pub(crate) fn text_of(value: &str) -> Option<Cow<'_, str>> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(value).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

/// The text of a raw JSON string, whatever is escaped in it: half of a surrogate pair becomes U+FFFD.
pub(crate) fn lossy_text_of(value: &str) -> Option<Cow<'_, str>> {
    let halves = halves(value);
    if halves.is_empty() {
        return text_of(value);
    }
    let mut whole = value.to_owned();
    for at in halves {
        whole.replace_range(at..at + HALF, "\\ufffd");
    }
    text_of(&whole).map(|text| text.into_owned().into())
}

/// Length of an escape of UTF-16, in bytes.
pub(crate) const HALF: usize = 6;

/// Where raw JSON has an escape that is half of a surrogate pair and not beside the other half: JSON allows it, and many
/// parsers don't.
pub(crate) fn halves(raw: &str) -> Vec<usize> {
    let unit = |at: usize| {
        let hex = raw.as_bytes().get(at..at + HALF)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(str::from_utf8(hex).ok()?, 16).ok()
    };
    let (mut halves, mut at) = (Vec::new(), 0);
    while let Some(next) = memchr::memchr(b'\\', &raw.as_bytes()[at.min(raw.len())..]) {
        at += next;
        at += match (unit(at), unit(at + HALF)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 2 * HALF,
            (Some(0xD800..0xE000), _) => {
                halves.push(at);
                HALF
            }
            (Some(_), _) => HALF,
            (None, _) => 2,
        };
    }
    halves
}

/// A text as raw JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object of these members.
pub(crate) fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<String> = members.map(|(key, value)| format!("{key}:{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Exchanges the text of a member of a JSON object, a string, for another; everything else stays byte for byte.
///
/// For a name or URI under which a thing is published instead of its own: `name` of a prompt, `uri` of a resource,
/// `uriTemplate`. `None` if `item` is no JSON object or has no such string.
pub(crate) fn with_member(item: &str, member: &str, value: &str) -> Option<String> {
    let value = quoted(value);
    let mut changed = String::with_capacity(item.len() + value.len());
    let mut done = 0;
    // All members of that name, should there be two: readers differ on which one counts.
    for old in members(item)?.iter().filter(|m| m.name() == member && m.value.starts_with('"')) {
        // The value is a part of `item`, so its place is known.
        let from = old.value.as_ptr().addr() - item.as_ptr().addr();
        changed.push_str(&item[done..from]);
        changed.push_str(&value);
        done = from + old.value.len();
    }
    changed.push_str(&item[done..]);
    (done > 0).then_some(changed)
}

/// An object with other values in the place of those for which `other` has one, by their names. `None` if this is no JSON object.
pub(crate) fn with_values(object: &str, other: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
    let members = members(object)?;
    let others: Vec<_> = members.iter().map(|member| other(&member.name(), member.value)).collect();
    let values =
        members.iter().zip(&others).map(|(member, other)| (member.key, other.as_deref().unwrap_or(member.value)));
    Some(self::object(values))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Raw JSON values of which a parser that keeps numbers as floats or keys in a map would lose something.
    pub(crate) fn raw_value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,40}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
            prop_oneof![Just("null"), Just("true"), Just("false"), Just("-0"), Just("\"\\ud800\\u0041\"")]
                .prop_map(str::to_owned),
            any::<String>().prop_map(|text| quoted(&text)),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(" , "))),
                proptest::collection::vec(("[a-z\"\\\\]{0,3}", inner), 0..4).prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(key, value)| format!("{} : {value}", quoted(key))).collect();
                    format!("{{ {} }}", members.join(","))
                }),
            ]
        })
    }

    /// Members of an object, keys and values raw.
    pub(crate) fn raw_members() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("[a-z]{1,4}|[$\"\\\\]{1,2}".prop_map(|key| quoted(&key)), raw_value()), 0..6)
    }

    #[test]
    fn only_the_member_itself_is_exchanged() {
        let item = r#"{ "uri" : "a://b" , "n":1.00e400,"\u0075ri":"x", "in":{"uri":"y"} }"#;
        let want = r#"{ "uri" : "q\"é" , "n":1.00e400,"\u0075ri":"q\"é", "in":{"uri":"y"} }"#;
        assert_eq!(with_member(item, "uri", "q\"é").as_deref(), Some(want));
    }

    #[test]
    fn of_many_elements_the_first_are_taken_and_of_many_members_the_last() {
        assert_eq!(elements("[1, {\"a\":[2]} ,\"x\", 4]", 3), Some(vec!["1", "{\"a\":[2]}", "\"x\""]));
        assert_eq!((elements(" [ ] ", 3), elements("[1]", 0)), (Some(vec![]), Some(vec![])));
        for no_array in ["{}", "1", "null", "[1", "[1,]", "[1] 2", ""] {
            assert_eq!(elements(no_array, 1), None, "{no_array}");
        }
        let twice = r#"{"a":{"b":1},"c":2,"\u0061":{"b":3,"b":4}}"#;
        assert_eq!(
            (find(twice, &["a", "b"]), find(twice, &["a", "c"]), find(twice, &["c", "b"])),
            (Some("4"), None, None)
        );
        assert_eq!(find(twice, &[]), Some(twice));
        assert_eq!((find("{\"a\":1", &["a"]), find("{\"a\":1} x", &["a"])), (None, None));
    }

    #[test]
    fn what_is_no_object_or_has_no_such_string_is_told() {
        for item in ["", "[]", "{}", "{\"uri\":1}", "{\"uri\":\"a\"", "{\"uri\":\"a\"} x", "\"uri\""] {
            assert_eq!(with_member(item, "uri", "b"), None, "{item}");
        }
    }

    proptest! {
        #[test]
        fn everything_else_stays_byte_for_byte(
            before in raw_members(),
            after in raw_members(),
            old in any::<String>(),
            new in any::<String>(),
            space in "[ \t]{0,2}",
        ) {
            let part = |members: &[(String, String)]| -> Vec<String> {
                members.iter().map(|(key, value)| format!("{space}{key}{space}:{space}{value}{space}")).collect()
            };
            let item = |value: &str| {
                let own = vec![format!("{space}\"uriTemplate\"{space}:{space}{}{space}", quoted(value))];
                format!("{{{}}}", [part(&before), own, part(&after)].concat().join(","))
            };
            prop_assert_eq!(with_member(&item(&old), "uriTemplate", &new), Some(item(&new)));
        }
    }
}
