//! Which endpoint a server is served on, and how that is dialled: headers, and which of them are refused; CA file; times.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::context::{Braces, Context};
use super::dotenv::{DotEnv, DotFile, HOLDS_UNSEEN};
use super::environment::Environment;
use super::expand::{ExpandError, expand, names};
use super::file::{Entry, File};
use super::options::CommandLine;
use super::reader::Located;
use super::shared::Shared;
use super::{LinkSpec, defaults};
use crate::disk::{joined, obstacle};
use crate::endpoint::{Endpoint, EndpointError, Secret, bare};
use crate::error::{Code, Place, Problem};
use crate::secrecy::address::SCHEMES;
use crate::words::{brief, brief_path, character, meant};

/// The endpoint of every server that has none of its own.
#[derive(Debug, Clone)]
pub(crate) enum Common {
    /// Named somewhere.
    Given(Endpoint),
    /// Named, but wrong; a mistake has been noted.
    Wrong,
    /// Named nowhere.
    Missing,
}

/// The variable that names the endpoint; the `env` of an entry may have it, too.
pub(crate) const ENDPOINT: &str = "MCP_ENDPOINT";

/// Headers that the config may not set, nor any `sec-websocket-…`: the upgrade sets them itself (RFC 6455 section 4.1), and the last one is a
/// lease's ([`crate::endpoint::EPOCH_HEADER`]).
const RESERVED: &[&str] = &["host", "connection", "upgrade", "content-length", "transfer-encoding", "mcp-pipe-epoch"];

/// An address and the place where it was found.
struct Found {
    place: Place,
    text: String,
    written: Written,
}

/// Where an address was written.
#[derive(Clone, Copy)]
enum Written {
    /// In the config, where variables are replaced.
    Config,
    /// Where every character counts.
    Elsewhere,
}

/// The endpoint that is named by `--endpoint`, the environment, `.env` or the top of the file; the first of these counts.
pub(crate) fn common(ctx: &mut Context<'_>, file: &File) -> Common {
    if ctx.env.get(ENDPOINT).is_none() && ctx.env.iter().any(|(name, _)| name == ENDPOINT) {
        ctx.mistake(
            Place::variable(ENDPOINT),
            Code::Encoding.says("is not UTF-8"),
            "paste the endpoint's address again",
        );
        return Common::Wrong;
    }
    let mut found = outside(ctx).into_iter();
    let first = match (found.next(), &file.shared.endpoint) {
        (Some(first), top) => {
            let top = top.as_ref().and_then(|top| {
                let text = expand(&top.value, |name| ctx.lookup(name)).ok().filter(|text| !text.trim().is_empty())?;
                Some(Found { place: top.place.clone(), text, written: Written::Config })
            });
            tell_which_counts(ctx, &first, found.chain(top));
            first
        }
        (None, Some(text)) => match ctx.expand(text) {
            Some(value) if !value.trim().is_empty() => {
                Found { place: text.place.clone(), text: value, written: Written::Config }
            }
            Some(_) => return Common::Missing,
            None => return Common::Wrong,
        },
        (None, None) => return Common::Missing,
    };
    let is_keyed = file.entries.iter().map(|entry| &entry.shared).chain([&file.shared]).any(has_key);
    parse(ctx, first, is_keyed).map_or(Common::Wrong, Common::Given)
}

/// Whether an endpoint for all servers is named outside of the config file, right or wrong.
pub(crate) fn is_named_outside(line: &CommandLine<'_>, env: &Environment, dotenv: &DotEnv) -> bool {
    line.options.endpoint.is_some() || env.filled(ENDPOINT).is_some() || dotenv.filled(ENDPOINT).is_some()
}

/// The endpoints that are named outside of the config file; the first counts.
fn outside(ctx: &Context<'_>) -> Vec<Found> {
    let flag = ctx.line.options.endpoint.iter();
    let found = |place: Place, text: &str| Found { place, text: text.to_owned(), written: Written::Elsewhere };
    let flag = flag.map(|flag| found("--endpoint".into(), flag.reveal()));
    let variable = ctx.env.filled(ENDPOINT).into_iter();
    let variable = variable.map(|text| found(Place::variable(ENDPOINT), text));
    let dotenvs = ctx.dotenv.files.iter().filter_map(|file| {
        let text = file.get(ENDPOINT).filter(|text| !text.trim().is_empty())?;
        Some(found(file.place(ENDPOINT), text))
    });
    flag.chain(variable).chain(dotenvs).collect()
}

/// Says which of several different endpoints counts: only a note where the command line names one, as its writer knows that the
/// others don't count.
fn tell_which_counts(ctx: &mut Context<'_>, first: &Found, others: impl Iterator<Item = Found>) {
    let Some(what) = disputed(first, others) else { return };
    if ctx.line.options.endpoint.is_some() {
        ctx.notes.push(format!("{}: {what}", first.place));
    } else {
        ctx.warning(&first.place, Code::EndpointDisputed.says(what), OUT_OF_DATE);
    }
}

const OUT_OF_DATE: &str = "remove the one that is out of date";

/// What is to be said of an endpoint beside which there are others, if they differ from it.
fn disputed(first: &Found, others: impl Iterator<Item = Found>) -> Option<String> {
    let is_same = |other: &Found| match (first.text.parse::<Endpoint>(), other.text.parse::<Endpoint>()) {
        (Ok(first), Ok(other)) => first == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => first.text.trim() == other.text.trim(),
    };
    let others: Vec<String> = others.filter(|other| !is_same(other)).map(|other| other.place.to_string()).collect();
    let what = || format!("counts; another endpoint, which does not count, is in {}", others.join(" and in "));
    (!others.is_empty()).then(what)
}

/// A variable of another name that holds an endpoint, and its place.
pub(crate) fn under_another_name(ctx: &Context<'_>) -> Option<String> {
    let holds_one = |value: &str| value.contains("://") && value.parse::<Endpoint>().is_ok();
    let in_file = |file: &DotFile| {
        let (name, _) = file.vars().find(|(_, value)| holds_one(value))?;
        Some(file.place(name).to_string())
    };
    let variable = || {
        let (name, _) = ctx.env.iter().find(|(_, value)| value.to_str().is_some_and(holds_one))?;
        Some(format!("{} (environment)", name.display()))
    };
    ctx.dotenv.files.iter().find_map(in_file).or_else(variable)
}

/// The text that an entry has for its own endpoint, as written, with its place.
pub(crate) fn own(entry: &Entry) -> Option<&Located<String>> {
    let from_env = entry.env.iter().find(|(name, _)| name == ENDPOINT).map(|(_, text)| text);
    entry.shared.endpoint.as_ref().or(from_env)
}

/// What an entry says about its endpoint.
#[derive(Debug)]
pub(crate) enum Own {
    /// Nothing: the server is served on the common endpoint.
    Unsaid,
    /// An empty text: the server is served on the common endpoint, too.
    Blank,
    /// The entry's own endpoint; `None` if that can't be used, which has been noted.
    Named(Option<Endpoint>),
}

/// The endpoint that an entry names itself.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry) -> Own {
    let in_file = ctx.in_env_file(&entry.name, ENDPOINT).filter(|(text, _)| !text.trim().is_empty());
    let in_file = in_file.map(|(text, place)| Found {
        place: Place::set(ENDPOINT, place),
        text: text.to_owned(),
        written: Written::Elsewhere,
    });
    let Some(text) = own(entry) else {
        return in_file.map_or(Own::Unsaid, |found| Own::Named(parse(ctx, found, has_key(&entry.shared))));
    };
    let Some(value) = ctx.expand(text) else { return Own::Named(None) };
    let is_blank = value.trim().is_empty();
    // An empty variable is a slip: the server would be on somebody else's endpoint, or have no token. Who means to leave the
    // variable empty writes an empty default.
    let filled = |name: &str| ctx.lookup(name).filter(|value| !value.trim().is_empty());
    if let Err(ExpandError::Unset(names)) = expand(&text.value, filled) {
        let (all, are) = (names.join(", "), if names.len() == 1 { "is" } else { "are" });
        let first = names.first().map_or("", String::as_str);
        let then = if is_blank { "the common endpoint is to serve then" } else { "it may be left out" };
        let remedy = format!("set it, or write ${{{first}:-}} if {then}");
        ctx.mistake(&text.place, Code::EmptyVariable.says(format!("names {all}, which {are} empty")), remedy);
        return Own::Named(None);
    }
    if !is_blank {
        let first = Found { place: text.place.clone(), text: value, written: Written::Config };
        let in_env = entry.env.iter().find(|(name, _)| name == ENDPOINT).and_then(|(_, text)| {
            let value = expand(&text.value, |name| ctx.lookup(name)).ok().filter(|value| !value.trim().is_empty())?;
            Some(Found { place: text.place.clone(), text: value, written: Written::Config })
        });
        if let Some(what) = disputed(&first, in_env.into_iter().chain(in_file)) {
            ctx.warning(&first.place, Code::EndpointDisputed.says(what), OUT_OF_DATE);
        }
        return Own::Named(parse(ctx, first, has_key(&entry.shared)));
    }
    if !entry.shared.endpoint_headers.is_empty() {
        let what = format!("is empty, so {} is served on the common endpoint, without its endpointHeaders", entry.name);
        ctx.warning(
            &text.place,
            Code::NoEffect.says(what),
            "name the endpoint that they are for; for the common one, remove this",
        );
    }
    Own::Blank
}

/// The address of a named endpoint, or one of several in an entry.
pub(crate) fn named(ctx: &mut Context<'_>, text: &Located<String>, shared: &Shared) -> Option<Endpoint> {
    let value = ctx.expand(text)?;
    if value.trim().is_empty() {
        let what = Code::EmptyVariable.says("is empty, or names a variable that is");
        ctx.mistake(&text.place, what, "write the endpoint's whole address there, or in the variable");
        return None;
    }
    parse(ctx, Found { place: text.place.clone(), text: value, written: Written::Config }, has_key(shared))
}

/// Parses an endpoint; a mistake is noted without its text. `is_keyed`: a header may let somebody in, too.
fn parse(ctx: &mut Context<'_>, found: Found, is_keyed: bool) -> Option<Endpoint> {
    let Found { place, text, written } = found;
    let why = match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            if let Some((what, remedy)) = endpoint.slip() {
                ctx.warning(&place, Code::TokenMissing.says(what), remedy);
            } else if endpoint.is_cloud_without_token() && !is_keyed {
                let what = "has no token, and nobody is let in there without one";
                let remedy = "copy the whole address from the console, with everything behind ?token=";
                ctx.warning(&place, Code::TokenMissing.says(what), remedy);
            }
            warn_of_end(ctx, &place, &text);
            warn_of_robots(ctx, &place, &endpoint);
            ctx.named.push((place, endpoint.clone()));
            return Some(endpoint);
        }
        Err(why) => why,
    };
    if let EndpointError::Character { .. } = why {
        // Whoever read the file has warned of it as of any other value.
        let is_same = |warning: &Problem| {
            place.spot().is_some() && place.spot() == warning.place.spot() && warning.what.starts_with(HOLDS_UNSEEN)
        };
        ctx.problems.warnings.retain(|warning| !is_same(warning));
    }
    let remedy = match written {
        Written::Config => why.remedy_in_config(),
        Written::Elsewhere => why.remedy(),
    };
    ctx.mistake(place, Code::EndpointInvalid.says(why.to_string()), remedy);
    None
}

/// Warns of a mark that most likely came along when an address was copied: an address may end with one, and tokens hardly do.
fn warn_of_end(ctx: &mut Context<'_>, place: &Place, text: &str) {
    let address = bare(text);
    if let Some(mark) = address.chars().next_back().filter(|c| address.contains('?') && ";,.".contains(*c)) {
        let what = format!("ends with {}, which is taken for a part of the token", character(mark));
        ctx.warning(place, Code::WrongValue.says(what), "remove it, unless the token ends so");
    }
}

/// Warns of the address at which a self-hosted endpoint server has its robots.
fn warn_of_robots(ctx: &mut Context<'_>, place: &Place, endpoint: &Endpoint) {
    let path = endpoint.reveal().path();
    let plain = path.trim_end_matches('/');
    let Some(before) = plain.strip_suffix("/call").filter(|before| before.ends_with("endpoint")) else { return };
    let (robots, tools) = (brief(path), format!("{before}/mcp{}", &path[plain.len()..]));
    let what = format!("has the path {robots}, at which robots call; tools are served at {}", brief(&tools));
    ctx.warning(place, Code::WrongValue.says(what), format!("write {} for that path", brief(&tools)));
}

/// Whether a header that lets somebody in is sent.
fn has_key(shared: &Shared) -> bool {
    shared.endpoint_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
}

/// How a server's endpoint is dialled: by the entry, then what is said of the named endpoint, then the flags, then the top of the
/// file, then the defaults.
/// Headers go only to the endpoint beside which they are written: what lets us in there is nobody else's business.
pub(crate) fn link(ctx: &mut Context<'_>, own: &Shared, named: &Shared, top: &Shared, endpoint: &Own) -> LinkSpec {
    let headers = match (own.endpoint_headers.as_slice(), endpoint) {
        _ if ctx.local => Vec::new(),
        (_, Own::Blank) | ([], Own::Unsaid) => headers(ctx, &top.endpoint_headers, is_reserved),
        (headers_of_its_own, Own::Unsaid | Own::Named(_)) => headers(ctx, headers_of_its_own, is_reserved),
    };
    let ca_file = match (own.ca_file.as_ref().or(named.ca_file.as_ref()), &ctx.line.options.ca_file, &top.ca_file) {
        (None, Some(path), _) => Some(with_warning(ctx, "--ca-file".into(), joined(ctx.cwd, path))),
        (Some(text), _, _) | (None, None, Some(text)) => {
            ctx.expand(text).map(|path| with_warning(ctx, text.place.clone(), joined(&ctx.base, path)))
        }
        (None, None, None) => None,
    };
    let subprotocol = own.subprotocol.as_ref().or(named.subprotocol.as_ref()).or(top.subprotocol.as_ref());
    let first = |of: fn(&Shared) -> Option<Duration>| of(own).or(of(named));
    LinkSpec {
        headers,
        subprotocol: subprotocol.and_then(|text| token(ctx, text)),
        ca_file,
        connect_timeout: first(|it| it.connect_timeout).or(top.connect_timeout).unwrap_or(defaults::CONNECT_TIMEOUT),
        ping_interval: first(|it| it.ping_interval).or(top.ping_interval).unwrap_or(defaults::PING_INTERVAL),
        ping_timeout: first(|it| it.ping_timeout).or(top.ping_timeout).unwrap_or(defaults::PING_TIMEOUT),
        max_backoff: first(|it| it.max_backoff)
            .or(ctx.line.options.max_backoff)
            .or(top.max_backoff)
            .unwrap_or(defaults::MAX_BACKOFF),
        epoch: None,
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("sec-websocket-")
}

/// Headers as they are sent. `is_reserved`: whether the connection sets one of this name, in lower case, itself.
pub(crate) fn headers(
    ctx: &mut Context<'_>,
    written: &[(String, Located<String>)],
    is_reserved: fn(&str) -> bool,
) -> Vec<(HeaderName, Secret)> {
    let mut headers = Vec::new();
    for (name, text) in written {
        let Some(value) = ctx.expand(text) else { continue };
        ctx.warn_of_variable(text);
        ctx.warn_of_braces(text, Braces::All);
        warn_of_value(ctx, name, text, &value);
        let lower = name.to_ascii_lowercase();
        let what = match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(_), _) if is_reserved(&lower) => "is a header that the connection sets itself",
            (Ok(name), Ok(_)) => {
                headers.push((name, Secret::new(value)));
                continue;
            }
            (Err(_), _) => "is no name for a header",
            (_, Err(_)) => "holds characters that a header can't hold, such as a line break",
        };
        ctx.mistake(&text.place, Code::WrongValue.says(what), "remove or correct it");
    }
    headers
}

/// Warns of a header's value that is sent as it stands, and most likely not as it was meant.
fn warn_of_value(ctx: &mut Context<'_>, name: &str, text: &Located<String>, value: &str) {
    let scheme = |word: &str| SCHEMES.iter().find(|scheme| scheme.eq_ignore_ascii_case(word));
    let words: Vec<&str> = value.split_whitespace().collect();
    let is_authorization = name.to_ascii_lowercase().ends_with("authorization");
    if let (true, [Some(scheme)]) = (is_authorization, &*words.iter().map(|word| scheme(word)).collect::<Vec<_>>()) {
        let empty = |name: &&str| ctx.lookup(name).is_none_or(|value| value.trim().is_empty());
        let empty: Vec<&str> = names(&text.value).filter(empty).collect();
        let (why, remedy) = match empty.first() {
            Some(first) => (
                format!(", as {} is empty or set nowhere", brief(first)),
                format!("set {} in the environment or in .env", brief(first)),
            ),
            None => (String::new(), "write the token behind it".to_owned()),
        };
        let what = format!("is \"{scheme}\" without a token behind it{why}");
        ctx.warning(&text.place, Code::EmptyVariable.says(what), remedy);
    } else if let [first, second, _, ..] = *words
        && let (Some(scheme), true) = (scheme(first), first.eq_ignore_ascii_case(second))
    {
        let what = format!("begins with the scheme {scheme} twice");
        ctx.warning(&text.place, Code::WrongValue.says(what), "write it once");
    }
    let odd = value.chars().find_map(|c| (!c.is_ascii()).then(|| meant(c)).flatten().map(|meant| (c, meant)));
    if let Some((c, meant)) = odd {
        let what = format!("holds {}, which is sent as it stands", character(c));
        let remedy = if meant == ' ' { "remove it".to_owned() } else { format!("remove it, or write {meant} for it") };
        ctx.warning(&text.place, Code::WrongValue.says(what), remedy);
    }
}

/// A subprotocol, if the text is one: a token (RFC 9110 section 5.6.2), as a header's name is.
fn token(ctx: &mut Context<'_>, text: &Located<String>) -> Option<String> {
    if HeaderName::from_bytes(text.value.as_bytes()).is_ok() {
        return Some(text.value.clone());
    }
    ctx.mistake(&text.place, Code::WrongValue.says("is no subprotocol"), "MCP's is called \"mcp\"");
    None
}

/// The path of a CA file, with a warning if no file is there. That is no mistake: dials try until the file can be read, and a
/// disk may be mounted later than we start.
fn with_warning(ctx: &mut Context<'_>, place: Place, path: PathBuf) -> PathBuf {
    if let Some(obstacle) = (!path.is_file()).then(|| obstacle::on_the_way(&path)).flatten() {
        let (what, remedy) = obstacle.told();
        ctx.warning(place, Code::PathMissing.says(format!("names {}, which {what}", brief_path(&path))), remedy);
    } else if !path.is_file() {
        let named = brief_path(&path);
        let what = format!(
            "names {named}, which is no file now, so neither a wss:// endpoint nor an https:// server can be dialled with it"
        );
        ctx.warning(place, Code::PathMissing.says(what), "name a PEM file; it is tried again");
    }
    path
}
