//! What a modern server says of itself, and the same in the words of a handshake. Pure.

use super::{SERVER_INFO, VERSION};
use crate::mcp::{handshake, object};

/// The result of `server/discover` (MCP 2026-07-28, server/discover).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Raw JSON, an object.
    capabilities: Box<str>,
    /// Raw JSON.
    info: Option<Box<str>>,
    /// Raw JSON.
    instructions: Option<Box<str>>,
}

/// Which versions a server says that it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// The one that is spoken here.
    Ours,
    /// Only such as have a handshake.
    Legacy,
    /// Only such as nobody here knows.
    Unknown(String),
    /// It names none.
    Nothing,
}

/// Longest list of versions that is shown, in bytes.
const SHOWN: usize = 200;

impl Spoken {
    /// Reads a list of versions, raw JSON.
    pub(crate) fn read(list: &str) -> Self {
        let versions: Vec<_> =
            object::elements(list, 100).unwrap_or_default().into_iter().filter_map(object::text_of).collect();
        if versions.iter().any(|version| version == VERSION) {
            Spoken::Ours
        } else if versions.is_empty() {
            Spoken::Nothing
        } else if versions.iter().any(|version| handshake::is_version(version)) {
            Spoken::Legacy
        } else {
            let all = versions.join(", ");
            Spoken::Unknown(all[..all.floor_char_boundary(SHOWN)].to_owned())
        }
    }
}

impl Offer {
    /// Reads a result, with the versions that it names.
    pub(crate) fn read(result: &str) -> (Self, Spoken) {
        let find = |path: &[&str]| object::find(result, path);
        let spoken = find(&["supportedVersions"]).map_or(Spoken::Nothing, Spoken::read);
        let capabilities = find(&["capabilities"]).and_then(object::members).unwrap_or_default();
        // Extensions are agreed on request by request, and a client of the legacy era can't.
        let kept = capabilities.iter().filter(|member| !matches!(&*member.name(), "extensions" | "tasks"));
        let is_object = |value: &&str| value.starts_with('{');
        let offer = Offer {
            capabilities: object::object(kept.map(|member| (member.key, member.value))).into(),
            info: find(&["_meta", SERVER_INFO]).filter(is_object).map(Into::into),
            instructions: find(&["instructions"]).filter(|text| text.starts_with('"')).map(Into::into),
        };
        (offer, spoken)
    }

    /// Whether the server declares something, by the names that lead there.
    pub(crate) fn can(&self, path: &[&str]) -> bool {
        object::find(&self.capabilities, path).is_some_and(|value| value != "false" && value != "null")
    }

    /// The result of `initialize` for whoever asked for this version. `name`: the server's, where it does not say it.
    pub(crate) fn welcome(&self, asked: &str, name: &str) -> String {
        let version = handshake::common(asked, None);
        let unnamed = || format!(r#"{{"name":{},"version":""}}"#, object::quoted(name));
        let info = self.info.as_deref().map_or_else(unnamed, str::to_owned);
        let quoted = object::quoted(version);
        let mut members = vec![
            ("\"protocolVersion\"", quoted.as_str()),
            ("\"capabilities\"", &self.capabilities),
            ("\"serverInfo\"", &info),
        ];
        if let Some(instructions) = &self.instructions {
            members.push(("\"instructions\"", instructions));
        }
        object::object(members.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_told_as_in_a_handshake() {
        let result = r#"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],
            "capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":false},"extensions":{"x":{}}},
            "instructions":"do","ttlMs":0,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#;
        let (offer, spoken) = Offer::read(result);
        assert_eq!(spoken, Spoken::Ours);
        assert!(offer.can(&["tools", "listChanged"]) && !offer.can(&["resources", "subscribe"]));
        assert!(!offer.can(&["extensions"]));
        for (asked, version) in
            [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("2099-01-01", "2025-11-25")]
        {
            let want = format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}},"resources":{{"subscribe":false}}}},"serverInfo":{{"name":"s","version":"1"}},"instructions":"do"}}"#
            );
            assert_eq!(offer.welcome(asked, "x"), want);
        }
        let (bare, spoken) = Offer::read("{}");
        assert_eq!(spoken, Spoken::Nothing);
        let want = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x\"","version":""}}"#;
        assert_eq!(bare.welcome("", "x\""), want);
    }

    #[test]
    fn versions_are_told_apart() {
        for (list, spoken) in [
            (r#"["2025-11-25","2024-11-05"]"#, Spoken::Legacy),
            (r#"["2025-11-25","2026-07-28"]"#, Spoken::Ours),
            (r#"["2027-01-01","2028-01-01"]"#, Spoken::Unknown("2027-01-01, 2028-01-01".into())),
            ("[]", Spoken::Nothing),
            ("{}", Spoken::Nothing),
            ("[1]", Spoken::Nothing),
        ] {
            assert_eq!(Spoken::read(list), spoken, "{list}");
        }
    }
}
