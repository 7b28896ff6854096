//! How the server of an entry is reached, as written: by a program that is started, or over the network.

use jsonc_parser::ast::ObjectProp;

use super::RemoteTransport;
use super::auth::AuthEntry;
use super::keys::{self, Remote, is_websocket};
use super::reader::{Located, Reader};
use crate::error::{Code, Place};
use crate::words::brief;

/// How a server is reached.
#[derive(Debug)]
pub(crate) enum Transport {
    /// By starting a program.
    Stdio(Located<String>),
    /// Over the network.
    Remote(RemoteEntry),
    /// Over the network, in a way that mcp-pipe does not speak.
    Unspoken {
        /// The `type`, or "url", with its place.
        by: Located<String>,
        /// The server's address, if the entry has one.
        url: Option<String>,
    },
    /// In no way that can be told or used, which has been noted.
    Unknown,
}

/// What an entry says of a server that is reached over the network.
#[derive(Debug)]
pub(crate) struct RemoteEntry {
    pub(crate) url: Located<String>,
    pub(crate) transport: RemoteTransport,
    pub(crate) headers: Vec<(String, Located<String>)>,
    pub(crate) auth: Option<Box<AuthEntry>>,
    pub(crate) cert_file: Option<Located<String>>,
    pub(crate) key_file: Option<Located<String>>,
}

/// Headers that are named with the variables in which their values are, as Codex has them.
pub(crate) fn from_variables(written: Vec<(String, Located<String>)>) -> Vec<(String, Located<String>)> {
    let in_braces = |name: String| format!("${{{}}}", name.trim());
    let value = |text: Located<String>| Located { value: in_braces(text.value), place: text.place };
    written.into_iter().map(|(name, text)| (name, value(text))).collect()
}

impl RemoteEntry {
    /// All its texts in which variables are replaced.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Located<String>> {
        let headers = self.headers.iter().map(|(_, text)| text);
        let of_auth = self.auth.iter().flat_map(|auth| auth.texts());
        [&self.url].into_iter().chain(headers).chain(of_auth).chain(&self.cert_file).chain(&self.key_file)
    }
}

/// Keys that are about a program, so that they mean nothing for a remote server.
const OF_PROGRAM: &[&str] = &["args", "expandArgs", "env", "envFile", "cwd", "inheritEnv", "logFile"];

/// What an entry says of how its server is reached.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) transport: Option<Located<String>>,
    pub(crate) command: Option<Located<String>>,
    pub(crate) url: Option<Located<String>>,
    pub(crate) headers: Vec<(String, Located<String>)>,
    pub(crate) auth: Option<AuthEntry>,
    pub(crate) cert_file: Option<Located<String>>,
    pub(crate) key_file: Option<Located<String>>,
    /// The places of keys that only a remote server has, each with what to do about it beside a command.
    of_remote: Vec<(Place, &'static str)>,
    /// The places of those among them of which nothing is made, each with what to write in its place.
    unused: Vec<(Place, String)>,
    /// The places of keys that only a program has.
    of_program: Vec<Place>,
}

impl Written {
    /// Notes that a key is there, which may be about one way only.
    pub(crate) fn note(&mut self, key: &str, place: impl FnOnce() -> Place) {
        match key {
            "headers" => {
                self.of_remote.push((place(), "headers of the WebSocket connection are called endpointHeaders"));
            }
            "auth" | "certFile" | "keyFile" | "env_http_headers" => self.of_remote.push((place(), "remove it")),
            _ if keys::is_of_remote(key) => self.of_remote.push((place(), "remove it")),
            _ if OF_PROGRAM.contains(&key) => self.of_program.push(place()),
            _ => {}
        }
    }

    /// Notes a key of another program of which nothing is made.
    pub(crate) fn unused(&mut self, r: &Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str) {
        self.unused.push((r.place(prop, path), keys::in_place_of(key, &prop.value)));
    }

    /// The way that all of this says together. `None` where nothing says any.
    pub(crate) fn way(mut self, r: &mut Reader<'_>, name: &str) -> Option<Transport> {
        let is_filled = |text: &Located<String>| !text.value.trim().is_empty();
        // Programs that write such files may leave both keys there, one of them empty.
        if self.command.as_ref().is_some_and(is_filled) {
            self.url.take_if(|url| !is_filled(url));
        } else if self.url.as_ref().is_some_and(is_filled) {
            self.command = None;
        }
        if self.command.is_none() && self.url.is_some() {
            for (place, remedy) in &self.unused {
                let what = Code::NoEffect.says("is another program's and does nothing here");
                r.warning_at(place, what, remedy);
            }
        }
        if let Some(command) = &self.command
            && let Some(remedy) = of_address(&command.value)
        {
            r.mistake_at(&command.place, Code::WrongValue.says("is an address, and no program"), remedy);
            return Some(Transport::Unknown);
        }
        let kind = self.transport.as_ref().map(|by| keys::remote(&by.value));
        match (kind, self.command, self.url) {
            (Some(Some(Remote::Http(transport))), Some(command), Some(url)) if !is_websocket(&url.value) => {
                let what = format!("does nothing beside the type, which counts: {} is a remote server", brief(name));
                r.warning_at(&command.place, Code::NoEffect.says(what), "remove one of the two");
                let parts = (self.headers, self.auth, self.cert_file, self.key_file);
                Some(remote(r, transport, url, parts, Vec::new()))
            }
            (Some(Some(kind)), Some(command), url) => {
                let by = self.transport.unwrap_or_else(|| command.clone());
                let what =
                    format!("makes {} a remote server ({}), and it has a command too", brief(name), brief(&by.value));
                let is_endpoint = url.as_ref().is_some_and(|url| is_websocket(&url.value)) || kind == Remote::WebSocket;
                let remedy = if is_endpoint {
                    "remove it, and call the address where the server is to be served \"endpoint\""
                } else {
                    "remove it to start the command, or remove the command to use the server at its url"
                };
                r.mistake_at(&by.place, Code::Contradiction.says(what), remedy);
                // Nothing is started; what else is wrong with the program is told at once.
                Some(Transport::Stdio(command))
            }
            (Some(None), command, url) if !self.transport.as_ref().is_some_and(is_local) => {
                if let Some(by) = &self.transport {
                    let what = format!("is \"{}\", which is no type of server", brief(&by.value));
                    r.mistake_at(
                        &by.place,
                        Code::WrongValue.says(what),
                        "leave it out: \"command\" names a program that is started here, \"url\" a remote server",
                    );
                }
                // Nothing is started; what else is wrong with the server is told at once.
                match (command.filter(is_filled), url) {
                    (Some(command), _) => Some(Transport::Stdio(command)),
                    (None, Some(url)) if !is_websocket(&url.value) => {
                        let parts = (self.headers, self.auth, self.cert_file, self.key_file);
                        Some(remote(r, RemoteTransport::Any, url, parts, Vec::new()))
                    }
                    (None, _) => Some(Transport::Unknown),
                }
            }
            (_, Some(command), _) if !is_filled(&command) => {
                r.mistake_at(&command.place, Code::WrongValue.says("is empty"), "name the program to start");
                Some(Transport::Unknown)
            }
            (_, Some(command), Some(url)) => {
                let name = brief(name);
                let what =
                    format!("does nothing beside command, which counts: {name} is a program that is started here");
                let endpoint = is_websocket(&url.value)
                    .then(|| format!("; if {name} is to be served at that address, call it \"endpoint\""));
                let remedy = format!("remove one of the two{}", endpoint.unwrap_or_default());
                r.warning_at(&url.place, Code::NoEffect.says(what), remedy);
                Some(Transport::Stdio(command))
            }
            (_, Some(command), None) => {
                for (place, remedy) in self.of_remote {
                    let what = Code::NoEffect.says("does nothing beside command, as only a remote server has it");
                    r.warning_at(&place, what, remedy);
                }
                Some(Transport::Stdio(command))
            }
            (Some(None), None, Some(url)) => {
                let what = "names a remote server, and the type says that a program is started";
                r.mistake_at(&url.place, Code::Contradiction.says(what), "remove the type, or write the command");
                Some(Transport::Unknown)
            }
            (Some(Some(Remote::Http(transport))), None, Some(url)) if !is_websocket(&url.value) => {
                let parts = (self.headers, self.auth, self.cert_file, self.key_file);
                Some(remote(r, transport, url, parts, self.of_program))
            }
            (None, None, Some(url)) if !is_websocket(&url.value) => {
                let parts = (self.headers, self.auth, self.cert_file, self.key_file);
                Some(remote(r, RemoteTransport::Any, url, parts, self.of_program))
            }
            (Some(Some(Remote::Http(_))), None, None) => {
                if let Some(by) = &self.transport {
                    let what = format!("makes {} a remote server, and it has no url", brief(name));
                    r.mistake_at(&by.place, Code::MissingKey.says(what), "add \"url\": the server's address");
                }
                Some(Transport::Unknown)
            }
            (Some(Some(_)), None, url) => {
                let url = url.map(|url| url.value.trim().to_owned());
                self.transport.map(|by| Transport::Unspoken { by, url })
            }
            (None, None, Some(url)) => {
                let by = Located { value: "url".to_owned(), place: url.place };
                Some(Transport::Unspoken { by, url: Some(url.value.trim().to_owned()) })
            }
            (Some(None) | None, None, None) => None,
        }
    }
}

type Parts = (Vec<(String, Located<String>)>, Option<AuthEntry>, Option<Located<String>>, Option<Located<String>>);

fn remote(
    r: &mut Reader<'_>,
    transport: RemoteTransport,
    url: Located<String>,
    (headers, auth, cert_file, key_file): Parts,
    of_program: Vec<Place>,
) -> Transport {
    for place in of_program {
        let what = "does nothing for a remote server, which mcp-pipe does not start";
        r.warning_at(&place, Code::NoEffect.says(what), "remove it; what the server is to be sent stands in headers");
    }
    Transport::Remote(RemoteEntry { url, transport, headers, auth: auth.map(Box::new), cert_file, key_file })
}

fn is_local(kind: &Located<String>) -> bool {
    ["stdio", "local"].iter().any(|here| kind.value.eq_ignore_ascii_case(here))
}

/// What to write for an address in the place of a program.
fn of_address(command: &str) -> Option<&'static str> {
    let (scheme, _) = command.trim_start().split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => Some("that is the address of a remote server: write it as \"url\", in place of `command`"),
        "ws" | "wss" => {
            Some("that is the address of an endpoint: write it as \"endpoint\", and the program as `command`")
        }
        _ => None,
    }
}
