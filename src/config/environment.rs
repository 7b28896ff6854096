//! The environment as a value, so that a config can be resolved against any.

use std::ffi::{OsStr, OsString};

/// The variables that name proxies, as other programs know them, each in both spellings: the first that is filled counts.
pub(crate) mod proxies {
    /// For `ws://`.
    pub(crate) const PLAIN: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
    /// For `wss://`.
    pub(crate) const SECURE: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
    /// For both.
    pub(crate) const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
    /// The hosts that are dialled without a proxy.
    pub(crate) const EXCEPT: [&str; 2] = ["NO_PROXY", "no_proxy"];
    /// All that hold an address, perhaps with a password.
    pub(crate) const ADDRESSES: [[&str; 2]; 3] = [PLAIN, SECURE, ALL];
}

/// A set of environment variables. Has no `Debug`: it holds tokens.
#[derive(Clone, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Environment(std::env::vars_os().collect())
    }

    /// What a variable holds, if it is set and is a text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str())
    }

    /// What a variable holds, without the blanks around it and without the carriage return that a script with Windows line ends
    /// leaves at the end; `None` if the variable is not set, is no text, or is blank.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim_ascii).filter(|value| !value.trim().is_empty())
    }

    /// Sets a variable, also one that is set already.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(n, _)| n != name);
        self.0.push((name.into(), value.into()));
    }

    /// Every variable.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
