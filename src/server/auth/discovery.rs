//! From a server to the authorization server that gives tokens for it: what each says of itself is read, and checked before anybody is
//! sent anything.

use super::ask::Asker;
use super::challenge::Challenge;
use super::metadata::{self, AuthServer, Resource};
use crate::endpoint::RemoteUrl;

/// Where a token for a server is had.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) resource: Resource,
    pub(crate) server: AuthServer,
}

impl Authority {
    /// The authorization server of a server that says nothing of how it is protected (MCP 2025-03-26).
    pub(crate) fn of_old(server: AuthServer) -> Self {
        let resource = Resource { resource: String::new(), issuers: vec![server.issuer.clone()], scopes: Vec::new() };
        Authority { resource, server }
    }

    /// What a token is asked for: what the config says, else what the server demands, else all that it knows.
    pub(crate) fn scope(&self, written: Option<&str>, challenge: &Challenge) -> Option<String> {
        let all = || (!self.resource.scopes.is_empty()).then(|| self.resource.scopes.join(" "));
        written.map(str::to_owned).or_else(|| challenge.scope.clone()).or_else(all)
    }
}

/// How the server at an address is protected. `None`: it does not say. An error is a sentence without its end.
pub(crate) async fn resource(
    asker: &Asker,
    url: &RemoteUrl,
    challenge: &Challenge,
) -> Result<Option<Resource>, String> {
    for place in metadata::of_resource(url, challenge.resource_metadata.as_deref()) {
        let said =
            asker.get(&place).await.map_err(|why| format!("{}, asked how it is protected, {why}", shown(&place)))?;
        if said.status == 200 {
            let read = Resource::read(&said.body, url);
            return read.map(Some).map_err(|why| format!("what the server says of how it is protected {why}"));
        }
        if said.status >= 500 {
            return Err(format!("{}, asked how it is protected, answers HTTP {}", shown(&place), said.status));
        }
    }
    Ok(None)
}

/// What an authorization server says of itself. An error is a sentence without its end.
pub(crate) async fn server(asker: &Asker, issuer: &str) -> Result<AuthServer, String> {
    let who = issuer.parse::<RemoteUrl>().map_or_else(|_| String::new(), |url| format!(" {url}"));
    let who = format!("the authorization server{who}");
    for place in metadata::of_issuer(issuer).map_err(|why| format!("{who} {why}"))? {
        let said = asker.get(&place).await.map_err(|why| format!("{who} {why}"))?;
        if said.status == 200 {
            return AuthServer::read(&said.body, issuer).map_err(|why| format!("what {who} says of itself {why}"));
        }
        if said.status >= 500 {
            return Err(format!("{who} answers HTTP {}", said.status));
        }
    }
    Err(format!("{who} says nothing of itself, neither as RFC 8414 wants it nor as OpenID Connect does"))
}

/// Which of the authorization servers that a server trusts is asked: the one of the config, else the first.
pub(crate) fn issuer<'a>(resource: &'a Resource, written: Option<&'a str>) -> Result<&'a str, String> {
    match written {
        Some(written) if resource.issuers.iter().any(|issuer| issuer == written) => Ok(written),
        Some(_) => {
            let shown: Vec<String> = resource
                .issuers
                .iter()
                .take(4)
                .filter_map(|issuer| issuer.parse::<RemoteUrl>().ok())
                .map(|url| url.to_string())
                .collect();
            Err(format!(
                "the server trusts other authorization servers ({}) than the issuer in its entry",
                shown.join(", ")
            ))
        }
        None => resource
            .issuers
            .first()
            .map(String::as_str)
            .ok_or_else(|| "the server trusts no authorization server".to_owned()),
    }
}

/// A place of metadata, whose path is no secret.
fn shown(url: &RemoteUrl) -> String {
    format!("{}{}", url.origin(), url.reveal().path())
}
