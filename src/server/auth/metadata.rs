//! What a server says of the authorization servers that it trusts (RFC 9728), and what these say of themselves (RFC 8414, OpenID Connect
//! Discovery): where that stands, and whether it is about who was asked. Pure.
//!
//! Whoever answers may lie. So a document counts only if it names just that resource, or just that issuer, for which it was read, and a
//! secret goes only where nobody reads it on the way.

use serde::Deserialize;
use serde_json::Value;

use crate::endpoint::RemoteUrl;

/// Most authorization servers and scopes of a list that are looked at.
const MAX_LISTED: usize = 100;

/// What a server says of how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// What it calls itself: for this a token is asked.
    pub(crate) resource: String,
    /// The authorization servers that it trusts, byte for byte; never empty.
    pub(crate) issuers: Vec<String>,
    /// What tokens can be good for.
    pub(crate) scopes: Vec<String>,
}

/// What an authorization server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct AuthServer {
    pub(crate) issuer: String,
    pub(crate) token: RemoteUrl,
    pub(crate) authorization: Option<RemoteUrl>,
    pub(crate) registration: Option<RemoteUrl>,
    /// How clients may show who they are; `None`: it does not say.
    pub(crate) methods: Option<Vec<String>>,
    /// How they may sign; `None`: it does not say.
    pub(crate) algorithms: Option<Vec<String>>,
    pub(crate) challenges: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// Whether it names itself where it sends a browser back (RFC 9207).
    pub(crate) names_itself: bool,
}

/// A path under which metadata stands.
const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// Where a server may say how it is protected, the likeliest first. What it names itself counts at its own origin only: it must not have
/// us ask others.
pub(crate) fn of_resource(url: &RemoteUrl, named: Option<&str>) -> Vec<RemoteUrl> {
    let named = named.and_then(|named| url.join(named).ok()).filter(|named| named.origin() == url.origin());
    let path = path_of(url);
    let mut places: Vec<RemoteUrl> = named.into_iter().collect();
    for place in [format!("{RESOURCE}{path}"), RESOURCE.to_owned()] {
        places.extend(url.join(&place).ok().filter(|place| !places.contains(place)));
    }
    places
}

/// Where an authorization server may say what it is, the likeliest first. An error says why it can't be asked.
pub(crate) fn of_issuer(issuer: &str) -> Result<Vec<RemoteUrl>, String> {
    let url: RemoteUrl = issuer.parse().map_err(|error| format!("has an address that {error}"))?;
    if !url.is_confidential() {
        return Err("has an address without TLS, so that anybody on the way could read what it is sent".to_owned());
    }
    let path = path_of(&url);
    let places = match path.as_str() {
        "" => vec![OAUTH.to_owned(), OPENID.to_owned()],
        _ => vec![format!("{OAUTH}{path}"), format!("{OPENID}{path}"), format!("{path}{OPENID}")],
    };
    Ok(places.iter().filter_map(|place| url.join(place).ok()).collect())
}

/// The path of an address, without a slash at its end and without a query.
fn path_of(url: &RemoteUrl) -> String {
    url.reveal().path().trim_end_matches('/').to_owned()
}

impl Resource {
    /// What stands in a document that was read for the server at an address. An error continues a sentence that begins with the document.
    pub(crate) fn read(text: &[u8], url: &RemoteUrl) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            resource: Option<Value>,
            authorization_servers: Option<Value>,
            scopes_supported: Option<Value>,
        }
        let document: Document = serde_json::from_slice(text).map_err(|_| "is no JSON object".to_owned())?;
        let Some(Value::String(resource)) = document.resource else { return Err("names no resource".to_owned()) };
        if !covers(&resource, url) {
            let other =
                resource.parse::<RemoteUrl>().map_or_else(|_| "no address".to_owned(), |other| other.to_string());
            return Err(format!("is about another resource ({other}), so no token is asked for"));
        }
        let issuers = texts(document.authorization_servers).unwrap_or_default();
        if issuers.is_empty() {
            return Err("names no authorization server".to_owned());
        }
        Ok(Resource { resource, issuers, scopes: texts(document.scopes_supported).unwrap_or_default() })
    }
}

/// Whether a resource is the one at an address, or one of which that is a part (RFC 9728 section 3.3; MCP servers often name all that is
/// at their host).
fn covers(resource: &str, url: &RemoteUrl) -> bool {
    let Ok(resource) = resource.parse::<RemoteUrl>() else { return false };
    let (whole, part) = (path_of(&resource), path_of(url));
    let is_part = part.strip_prefix(whole.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let query = resource.reveal().query();
    resource.origin() == url.origin() && is_part && (query.is_none() || query == url.reveal().query())
}

impl AuthServer {
    /// What stands in a document that was read for an issuer. An error continues a sentence that begins with the document.
    pub(crate) fn read(text: &[u8], issuer: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            issuer: Option<Value>,
            token_endpoint: Option<Value>,
            authorization_endpoint: Option<Value>,
            registration_endpoint: Option<Value>,
            token_endpoint_auth_methods_supported: Option<Value>,
            token_endpoint_auth_signing_alg_values_supported: Option<Value>,
            code_challenge_methods_supported: Option<Value>,
            scopes_supported: Option<Value>,
            authorization_response_iss_parameter_supported: Option<Value>,
        }
        let document: Document = serde_json::from_slice(text).map_err(|_| "is no JSON object".to_owned())?;
        // Byte for byte (RFC 8414 section 3.3): whoever answers for another issuer would get what is meant for that one.
        if document.issuer != Some(Value::String(issuer.to_owned())) {
            return Err("is about another issuer, so no token is asked for".to_owned());
        }
        let address = |name: &str, value: Option<Value>| match value {
            Some(Value::String(text)) => match text.parse::<RemoteUrl>() {
                Ok(url) if url.is_confidential() => Ok(Some(url)),
                Ok(url) => Err(format!(
                    "names a {name} without TLS ({url}), where anybody on the way could read what it is sent"
                )),
                Err(error) => Err(format!("names a {name} that {error}")),
            },
            _ => Ok(None),
        };
        let Some(token) = address("token_endpoint", document.token_endpoint)? else {
            return Err("names no token_endpoint".to_owned());
        };
        Ok(AuthServer {
            issuer: issuer.to_owned(),
            token,
            authorization: address("authorization_endpoint", document.authorization_endpoint)?,
            registration: address("registration_endpoint", document.registration_endpoint)?,
            methods: texts(document.token_endpoint_auth_methods_supported),
            algorithms: texts(document.token_endpoint_auth_signing_alg_values_supported),
            challenges: texts(document.code_challenge_methods_supported).unwrap_or_default(),
            scopes: texts(document.scopes_supported).unwrap_or_default(),
            names_itself: document.authorization_response_iss_parameter_supported == Some(Value::Bool(true)),
        })
    }
}

/// The texts in a list; `None` where there is no list.
fn texts(value: Option<Value>) -> Option<Vec<String>> {
    let Some(Value::Array(list)) = value else { return None };
    let text = |value: Value| if let Value::String(text) = value { Some(text) } else { None };
    Some(list.into_iter().filter_map(text).filter(|text| !text.is_empty()).take(MAX_LISTED).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use serde_json::json;

    fn url(text: &str) -> RemoteUrl {
        text.parse().unwrap()
    }

    fn revealed(places: Vec<RemoteUrl>) -> Vec<String> {
        places.iter().map(|place| place.reveal().to_string()).collect()
    }

    #[test]
    fn metadata_is_looked_for_where_the_specifications_say() {
        let own = "https://h/.well-known/oauth-protected-resource";
        assert_eq!(revealed(of_resource(&url("https://h/a/mcp?k=1"), None)), [format!("{own}/a/mcp"), own.to_owned()]);
        assert_eq!(revealed(of_resource(&url("https://h/"), None)), [own]);
        assert_eq!(
            revealed(of_resource(&url("https://h/mcp/"), Some("/x"))),
            ["https://h/x", &format!("{own}/mcp"), own]
        );
        for named in ["https://other/x", "http://h/x", "https://h:444/x", "//other/x", "ftp://h/x", "https://h@other/x"]
        {
            assert_eq!(revealed(of_resource(&url("https://h/"), Some(named))), [own], "{named}");
        }
        assert_eq!(
            revealed(of_issuer("https://as/t/1").unwrap()),
            [
                "https://as/.well-known/oauth-authorization-server/t/1",
                "https://as/.well-known/openid-configuration/t/1",
                "https://as/t/1/.well-known/openid-configuration"
            ]
        );
        for root in ["https://as", "https://as/"] {
            let want =
                ["https://as/.well-known/oauth-authorization-server", "https://as/.well-known/openid-configuration"];
            assert_eq!(revealed(of_issuer(root).unwrap()), want);
        }
        assert!(of_issuer("http://as/").unwrap_err().contains("without TLS") && of_issuer("x").is_err());
        for here in ["http://127.0.0.1:1", "http://[::1]:1/x", "http://localhost", "http://a.localhost"] {
            assert!(of_issuer(here).is_ok(), "{here}");
        }
    }

    #[test]
    fn a_document_counts_only_for_the_resource_of_which_it_was_asked() {
        let read = |resource: &str, of: &str| {
            let text = json!({"resource": resource, "authorization_servers": ["https://as"]}).to_string();
            Resource::read(text.as_bytes(), &url(of))
        };
        for (resource, of) in [
            ("https://h/mcp", "https://h/mcp"),
            ("https://H:443/mcp/", "https://h/mcp?k=1"),
            ("https://h", "https://h/mcp"),
            ("https://h/a", "https://h/a/b"),
        ] {
            assert!(read(resource, of).is_ok_and(|read| read.resource == resource), "{resource} {of}");
        }
        for (resource, of) in [
            ("https://evil/mcp", "https://h/mcp"),
            ("http://h/mcp", "https://h/mcp"),
            ("https://h:444/mcp", "https://h/mcp"),
            ("https://h/mc", "https://h/mcp"),
            ("https://h/mcp/other", "https://h/mcp"),
            ("https://h/mcp?k=2", "https://h/mcp?k=1"),
            ("https://h@evil/mcp", "https://h/mcp"),
            ("", "https://h/mcp"),
        ] {
            assert!(read(resource, of).unwrap_err().contains("another resource"), "{resource} {of}");
        }
        for text in ["", "[]", "{}", r#"{"resource": 1}"#, r#"{"resource": "https://h", "authorization_servers": []}"#]
        {
            assert!(Resource::read(text.as_bytes(), &url("https://h")).is_err(), "{text}");
        }
    }

    #[test]
    fn an_authorization_server_counts_only_as_itself_and_where_nobody_reads_along() {
        let read = |document: Value| AuthServer::read(document.to_string().as_bytes(), "https://as/");
        let good = read(json!({"issuer": "https://as/", "token_endpoint": "https://t/token"})).unwrap();
        assert!(good.token.reveal() == "https://t/token" && good.methods.is_none() && !good.names_itself);
        for (document, want) in [
            (json!({"issuer": "https://as", "token_endpoint": "https://t/"}), "another issuer"),
            (json!({"issuer": "https://evil/", "token_endpoint": "https://t/"}), "another issuer"),
            (json!({"token_endpoint": "https://t/"}), "another issuer"),
            (json!({"issuer": "https://as/"}), "names no token_endpoint"),
            (
                json!({"issuer": "https://as/", "token_endpoint": "http://t/"}),
                "token_endpoint without TLS (http://t:80/)",
            ),
            (
                json!({"issuer": "https://as/", "token_endpoint": "https://t/", "registration_endpoint": "http://t/"}),
                "without TLS",
            ),
            (json!({"issuer": "https://as/", "token_endpoint": "file:///t"}), "has the scheme"),
            (json!("x"), "no JSON object"),
        ] {
            let why = read(document.clone()).map(|_| ()).unwrap_err();
            assert!(why.contains(want), "{document}: {why}");
        }
    }
}
