//! What was said in a handshake, so that it can be said again (MCP, lifecycle/initialization).

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::envelope::without_controls;
use super::{cloud, mend, object, shape};

/// The legacy versions of MCP, oldest first. Dates compare as text.
pub(crate) const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The only version in which a message may be a batch.
pub(crate) const BATCHES: &str = "2025-03-26";

/// Longest parameters of `initialize` that are kept, remembered and passed on to servers, in bytes. The cloud's have 150. Servers
/// of an endpoint that says more of itself are told what was known before.
pub(crate) const MAX_HELLO: usize = 64 * 1024;

/// An endpoint's `initialize` parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The parameters as they were sent, but for raw control characters, which become blanks.
    pub params: Box<[u8]>,
    /// The `protocolVersion` among them.
    pub version: String,
    capabilities: Vec<String>,
    /// What servers may ask of the endpoint.
    offered: Value,
}

impl Hello {
    /// Reads the parameters; what is missing is taken as empty.
    pub fn read(params: &[u8]) -> Self {
        let params = &*without_controls(params);
        let v = parsed(params);
        Hello {
            params: params.into(),
            // The version is kept while the answer is waited for, so no more of it than a date.
            version: v["protocolVersion"].as_str().unwrap_or_default().chars().take(16).collect(),
            capabilities: capabilities(&v),
            offered: offered(v),
        }
    }

    /// What the xiaozhi cloud says.
    pub fn of_cloud() -> Self {
        Self::like_the_cloud(cloud::CLIENT)
    }

    /// What an endpoint most likely says that has not said anything yet: the same as the cloud, in our own name. No other
    /// guess would differ less often from what endpoints say, and who an endpoint is matters to no server.
    pub fn likely() -> Self {
        Self::like_the_cloud(concat!(r#"{"name":"mcp-pipe","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#))
    }

    /// The same, once for all pipes.
    pub(crate) fn likely_for_all() -> Arc<Self> {
        static LIKELY: LazyLock<Arc<Hello>> = LazyLock::new(|| Arc::new(Hello::likely()));
        LIKELY.clone()
    }

    /// What a server is told that any client may come to: the newest version with a handshake, and all that a client of it may be able
    /// to do. A client that is not is not asked.
    pub(crate) fn of_any_client() -> Arc<Self> {
        static ANY: LazyLock<Arc<Hello>> = LazyLock::new(|| {
            let client = concat!(r#"{"name":"mcp-pipe","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
            let able = r#"{"sampling":{},"roots":{},"elicitation":{}}"#;
            let [.., newest] = VERSIONS;
            let params = format!(r#"{{"protocolVersion":"{newest}","capabilities":{able},"clientInfo":{client}}}"#);
            Arc::new(Hello::read(params.as_bytes()))
        });
        ANY.clone()
    }

    fn like_the_cloud(client: &str) -> Self {
        let (version, capabilities) = (cloud::VERSION, cloud::CAPABILITIES);
        let params =
            format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{client}}}"#);
        Hello::read(params.as_bytes())
    }

    /// Whether a server that was told this and answered with `welcome` (`None`: with an error) would act otherwise on being
    /// told `other`.
    ///
    /// What the endpoint can do matters to a server, and so does the version if the server goes by that; who the endpoint is
    /// does not. That `roots` may change is a promise to report the change, which a server can do nothing about.
    pub fn differs(&self, welcome: Option<&Welcome>, other: &Hello) -> bool {
        if other.version.is_empty() {
            return false; // no whole `initialize`, which a server might refuse
        }
        let versions = (meant(&self.version), meant(&other.version));
        let goes_by_it = welcome.is_none_or(|welcome| welcome.version == self.version);
        versions.0 != versions.1 && goes_by_it || self.offered != other.offered
    }

    /// Whether the endpoint said that it can answer this request of a server. Unknown methods: perhaps.
    pub fn can_answer(&self, method: &str) -> bool {
        let capability = match method.split('/').next() {
            Some("roots") => "roots",
            Some("sampling") => "sampling",
            Some("elicitation") => "elicitation",
            Some(_) | None => return true,
        };
        self.capabilities.iter().any(|c| c == capability)
    }
}

/// Longest parameters or result of a handshake that are looked into as a whole, in bytes: a tree of them takes many times as
/// much.
const MAX_TREE: usize = 1 << 20;

/// Longest part that is looked into where the whole is longer, in bytes.
const MAX_PART: usize = 16 * 1024;

/// JSON as a tree, whatever is odd about it; null if `json` is none. Where `json` is too long, only members that matter and
/// are short.
fn parsed(json: &[u8]) -> Value {
    if json.len() <= MAX_TREE {
        return mend::parse(json).unwrap_or_default();
    }
    let part = |name: &str| {
        let raw = object::find(str::from_utf8(json).ok()?, &[name])?;
        if raw.len() > MAX_PART && !raw.starts_with('"') {
            return None; // a text is no larger as a tree
        }
        Some((name.to_owned(), mend::parse(raw.as_bytes()).ok()?))
    };
    let parts = ["protocolVersion", "capabilities", "serverInfo", "instructions"];
    parts.into_iter().filter_map(part).collect::<serde_json::Map<_, _>>().into()
}

/// The names of the capabilities that were declared.
fn capabilities(v: &Value) -> Vec<String> {
    v["capabilities"].as_object().map(|c| c.keys().cloned().collect()).unwrap_or_default()
}

/// What servers may ask of an endpoint that says this.
fn offered(mut v: Value) -> Value {
    let Some(Value::Object(mut offered)) = v.get_mut("capabilities").map(Value::take) else {
        return Value::Object(Map::new());
    };
    if let Some(roots) = offered.get_mut("roots").and_then(Value::as_object_mut) {
        roots.remove("listChanged");
    }
    Value::Object(offered)
}

/// Whether this is a version of the legacy era.
pub(crate) fn is_version(version: &str) -> bool {
    VERSIONS.contains(&version)
}

/// The version that a server takes this one for: the newest, if the server doesn't know it.
fn meant(version: &str) -> &str {
    if VERSIONS.contains(&version) { version } else { VERSIONS[VERSIONS.len() - 1] }
}

/// The version to speak with an endpoint that asked for `asked`, in front of servers of which the newest speaks `spoken`.
pub(crate) fn common<'a>(asked: &'a str, spoken: Option<&'a str>) -> &'a str {
    let known = VERSIONS.contains(&asked);
    // A version older than the oldest one counts as the oldest.
    let spoken = spoken.map(|spoken| spoken.max(VERSIONS[0]));
    match spoken {
        Some(spoken) if !known || spoken < asked => spoken,
        None if !known => VERSIONS[VERSIONS.len() - 1],
        Some(_) | None => asked,
    }
}

/// The lists of which a server can tell that they have changed, by the capabilities that have them.
pub(crate) const CHANGING: [&str; 3] = ["tools", "prompts", "resources"];

/// An `initialize` result by which each list that there is may change. Whatever the server tells: mcp-pipe does where a server or the config changes.
pub(crate) fn telling_changes(result: &str) -> Option<String> {
    let list = |list: &str| {
        let kept = object::members(list)?.into_iter().filter(|member| member.name() != "listChanged");
        Some(object::object(kept.map(|member| (member.key, member.value)).chain([("\"listChanged\"", "true")])))
    };
    let lists = |all: &str| object::with_values(all, |name, value| CHANGING.contains(&name).then(|| list(value))?);
    object::with_values(result, |name, value| (name == "capabilities").then(|| lists(value))?)
}

/// A server's `initialize` result.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// The result as it was sent, but for raw control characters; or mended.
    result: Box<[u8]>,
    version: String,
    capabilities: Vec<String>,
    /// The same with all that is said of them, as JSON.
    declared: Box<str>,
    identity: Box<str>,
}

impl Welcome {
    /// Reads the result, which stays as it was sent, but for raw control characters.
    pub fn read(result: &[u8]) -> Self {
        let result = without_controls(result);
        Welcome::of(&result)
    }

    /// Reads the result, and mends it for clients that take MCP at its word. Returns what was odd, in words.
    pub(crate) fn mended(result: &[u8]) -> (Self, Vec<String>) {
        let result = without_controls(result);
        match mend::mend(&String::from_utf8_lossy(&result), &shape::WELCOME) {
            Some(mended) => (Welcome::of(mended.text.as_bytes()), mended.odd),
            None => (Welcome::of(b"{}"), Vec::new()),
        }
    }

    fn of(result: &[u8]) -> Self {
        let v = parsed(result);
        let version = v["protocolVersion"].as_str().unwrap_or_default();
        Welcome {
            result: result.into(),
            version: version.to_owned(),
            capabilities: capabilities(&v),
            declared: v["capabilities"].to_string().into(),
            identity: identity(&v).into(),
        }
    }

    /// The result: as it was sent, or mended.
    pub fn result(&self) -> &[u8] {
        &self.result
    }

    /// The result, parsed; null if it is no JSON.
    pub fn value(&self) -> Value {
        parsed(&self.result)
    }

    /// Whether the server declared a capability.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    /// The `protocolVersion` that the server speaks.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server's name and version, for the log.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the server declared, as JSON.
    pub(crate) fn declared(&self) -> &str {
        &self.declared
    }

    /// The result for an endpoint that asked for `version`: the server's own bytes, with the version that both speak.
    ///
    /// Both speak the older one: the newer versions only add members, which an older peer ignores.
    pub fn result_for(&self, version: &str) -> Vec<u8> {
        let ours = self.version.as_str();
        if VERSIONS.contains(&version)
            && version < ours
            && let Ok(result) = str::from_utf8(&self.result)
            && let Some(changed) = object::with_member(result, "protocolVersion", version)
        {
            return changed.into_bytes();
        }
        self.result.to_vec()
    }
}

/// A server's name and version, and the version of MCP that it speaks, as far as it says so.
fn identity(result: &Value) -> String {
    let told = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let (name, version) = (told(&result["serverInfo"]["name"]), told(&result["serverInfo"]["version"]));
    let program = match (name, version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name,
        (None, Some(version)) => format!("a server without a name, version {version}"),
        (None, None) => "a server without a name".to_owned(),
    };
    match told(&result["protocolVersion"]) {
        Some(version) => format!("{program}, MCP {version}"),
        None => format!("{program}, without a version of MCP"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_list_that_there_is_may_change_and_the_rest_stays_as_it_was() {
        for (result, want) in [
            (
                r#"{"capabilities": {"tools":{},"prompts":{"listChanged":false,"x":1.0},"logging":{}},"a":"\u00e4"}"#,
                r#"{"capabilities":{"tools":{"listChanged":true},"prompts":{"x":1.0,"listChanged":true},"logging":{}},"a":"\u00e4"}"#,
            ),
            (r#"{"capabilities":{"resources":null}}"#, r#"{"capabilities":{"resources":null}}"#),
            (r#"{"capabilities":3}"#, r#"{"capabilities":3}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(telling_changes(result).as_deref(), Some(want));
        }
        assert_eq!(telling_changes("[]"), None);
    }

    #[test]
    fn a_server_is_told_by_what_it_says_of_itself_and_nothing_else() {
        for (result, identity) in [
            (r#"{"protocolVersion":"2025-06-18","serverInfo":{"name":"my","version":"2"}}"#, "my 2, MCP 2025-06-18"),
            (r#"{"protocolVersion":"2025-06-18","serverInfo":{"name":"my","version":""}}"#, "my, MCP 2025-06-18"),
            (r#"{"protocolVersion":"2025-06-18","serverInfo":{"name":" my ","version":2}}"#, "my, MCP 2025-06-18"),
            (
                r#"{"protocolVersion":" ","serverInfo":{"name":"","version":"2"}}"#,
                "a server without a name, version 2, without a version of MCP",
            ),
            ("{}", "a server without a name, without a version of MCP"),
        ] {
            assert_eq!(Welcome::read(result.as_bytes()).identity(), identity, "{result}");
        }
    }

    #[test]
    fn a_handshake_of_any_length_is_understood_and_takes_little_more_memory_than_it_has_bytes() {
        let zeros = format!("[{}0]", "0,".repeat(2 << 20));
        let result = format!(
            r#"{{"x":{zeros},"protocolVersion":"2025-06-18","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"n","version":{zeros}}}}}"#
        );
        let mut read = None;
        let counted = allocation_counter::measure(|| read = Some(Welcome::read(result.as_bytes())));
        let welcome = read.unwrap();
        assert_eq!((welcome.version(), welcome.can("tools"), welcome.can("logging")), ("2025-06-18", true, false));
        assert_eq!(welcome.identity(), "a server without a name, MCP 2025-06-18");
        assert!(welcome.result() == result.as_bytes());
        assert!(counted.bytes_max as usize <= 2 * result.len(), "{} bytes were held", counted.bytes_max);
        let mut read = None;
        let counted = allocation_counter::measure(|| read = Some(Hello::read(result.as_bytes())));
        assert_eq!(read.unwrap().version, "2025-06-18");
        assert!(counted.bytes_max as usize <= 2 * result.len(), "{} bytes were held", counted.bytes_max);
    }

    #[test]
    fn each_endpoint_gets_a_version_it_speaks_and_nothing_else_changes() {
        let w =
            Welcome::read(br#"{"x":1.50,"protocolVersion" : "2025-06-18","serverInfo":{"name":"n","version":"2"}}"#);
        let version = |asked| serde_json::from_slice::<Value>(&w.result_for(asked)).unwrap()["protocolVersion"].clone();
        assert_eq!(version("2024-11-05"), "2024-11-05");
        assert_eq!(version("2025-06-18"), "2025-06-18");
        assert_eq!(version("2025-11-25"), "2025-06-18");
        assert_eq!(version("1999-01-01"), "2025-06-18", "not a version that we know the server to speak");
        assert!(w.result_for("2024-11-05").starts_with(br#"{"x":1.50,"protocolVersion" : "2024-11-05","#));
        assert_eq!(w.identity(), "n 2, MCP 2025-06-18");
    }

    #[test]
    fn only_what_the_endpoint_declared_is_asked_of_it() {
        let h = Hello::read(br#"{"protocolVersion":"2024-11-05","capabilities":{"roots":{},"sampling":{}}}"#);
        assert!(h.can_answer("roots/list") && h.can_answer("sampling/createMessage") && h.can_answer("custom/thing"));
        assert!(!h.can_answer("elicitation/create"));
        assert!(!Hello::read(b"null").can_answer("roots/list"));
    }

    /// Parameters with this version and these capabilities.
    fn hello(version: &str, capabilities: &str) -> Hello {
        Hello::read(format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities}}}"#).as_bytes())
    }

    #[test]
    fn what_is_odd_in_a_handshake_costs_itself_and_nothing_beside_it() {
        let odd = br#"{"x":1e999,"instructions":"a\ud83d","capabilities":{"resources":[],"prompts":{"listChanged":true}},"protocolVersion":"2025-06-18","serverInfo":{"name":"n\ud83d","version":"2"}}"#;
        let raw = Welcome::read(odd);
        assert!(raw.can("resources") && raw.can("prompts"));
        assert_eq!(raw.identity(), "n\u{fffd} 2, MCP 2025-06-18");
        assert_eq!(raw.result(), odd, "it passes as it is");
        let old = String::from_utf8(raw.result_for("2024-11-05")).unwrap();
        assert_eq!(old, String::from_utf8_lossy(odd).replace("2025-06-18", "2024-11-05"));
        let (mended, said) = Welcome::mended(odd);
        assert!(mended.can("resources") && mended.can("prompts"));
        assert_eq!(mended.value()["capabilities"]["resources"], serde_json::json!({}));
        assert_eq!(said.len(), 3, "{said:?}");
        let hello = Hello::read(
            br#"{"protocolVersion":"2024-11-05","capabilities":{"roots":{}},"clientInfo":{"name":"\ud83d"},"n":1e999}"#,
        );
        assert!(hello.can_answer("roots/list") && hello.version == "2024-11-05");
    }

    #[test]
    fn a_version_is_never_one_that_nobody_speaks() {
        for (asked, spoken, want) in [
            ("2025-06-18", Some(""), "2024-11-05"),
            ("2025-06-18", Some("1.0"), "2024-11-05"),
            ("2025-06-18", Some("2025-03-26"), "2025-03-26"),
            ("2025-06-18", Some("2026-07-28"), "2025-06-18"),
            ("1.0", None, "2025-11-25"),
        ] {
            assert_eq!(common(asked, spoken), want, "{asked} {spoken:?}");
        }
    }

    #[test]
    fn parameters_differ_where_a_server_would_act_otherwise_and_only_there() {
        let cloud = r#"{"sampling":{},"roots":{"listChanged":false}}"#;
        let told = hello("2024-11-05", cloud);
        for (welcome, version, capabilities, differs) in [
            (Some("2024-11-05"), "2024-11-05", cloud, false),
            (Some("2024-11-05"), "2024-11-05", r#"{"roots":{"listChanged":true},"sampling":{}}"#, false),
            (Some("2024-11-05"), "2024-11-05", r#"{"roots":{},"sampling":{},"elicitation":{}}"#, true),
            (Some("2024-11-05"), "2024-11-05", r#"{"roots":{},"sampling":{"tools":{}}}"#, true),
            (Some("2024-11-05"), "2024-11-05", r#"{"roots":{}}"#, true),
            (Some("2024-11-05"), "2024-11-05", "{}", true),
            (Some("2024-11-05"), "2025-06-18", cloud, true),
            (Some("2024-11-05"), "2026-07-28", cloud, true),
            // The server speaks one version, whatever it is asked for.
            (Some("2025-06-18"), "2025-11-25", cloud, false),
            (Some("2025-06-18"), "2025-11-25", "{}", true),
            // An error may well be about the version.
            (None, "2025-06-18", cloud, true),
            (None, "2024-11-05", cloud, false),
        ] {
            let welcome = welcome.map(|v| Welcome::read(format!(r#"{{"protocolVersion":"{v}"}}"#).as_bytes()));
            let other = hello(version, capabilities);
            assert_eq!(told.differs(welcome.as_ref(), &other), differs, "{welcome:?} {version} {capabilities}");
        }
        let newest = hello("2025-11-25", "{}");
        assert!(
            !newest.differs(None, &hello("2099-01-01", "{}")),
            "a server takes what it doesn't know for its newest"
        );
        assert!(!Hello::likely().differs(None, &Hello::of_cloud()), "who it is");
        for params in [&b"[]"[..], b"[1]", b"\"x\"", b"5", b"true", b"null", b"", b"{}"] {
            assert!(!told.differs(None, &Hello::read(params)), "{}: no initialize", String::from_utf8_lossy(params));
        }
    }
}
