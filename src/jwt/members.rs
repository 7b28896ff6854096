//! A JSON object in which each member stands once: of two, others may read the other one (RFC 7515 section 4, RFC 8725 section 2.6).
//! Pure.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// See the module's documentation. Objects inside of it are not looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// The object that a text is.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member that is a text, or is not there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, NoText> {
        self.get(name).map(|value| value.as_str().ok_or(NoText)).transpose()
    }
}

/// A member is there, and no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoText;

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_stands_once() {
        for (json, is_read) in [
            (r#"{}"#, true),
            (r#"{"a":1,"b":{"c":1,"c":2}}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1,"\u0061":1}"#, false),
            ("[]", false),
            ("1", false),
            ("", false),
            (r#"{"a":1} x"#, false),
        ] {
            assert_eq!(Members::read(json.as_bytes()).is_some(), is_read, "{json}");
        }
        let members = Members::read(br#"{"a":"x","b":1,"c":null}"#);
        let text = |name: &str| members.as_ref().map(|members| members.text(name));
        assert_eq!(text("a"), Some(Ok(Some("x"))));
        assert_eq!((text("b"), text("c"), text("d")), (Some(Err(NoText)), Some(Err(NoText)), Some(Ok(None))));
    }
}
