//! What the log calls the servers that a line is about: one by its name, several by all of theirs.

use std::fmt;
use std::sync::Arc;

/// Longest label of several servers, in characters: it stands in every line about their connection.
const LONGEST: usize = 40;
/// Room in a label for "… (50)", in characters.
const REST: usize = 7;

/// The names of servers that share something. To be logged as `servers = ?names`: a machine gets a list, a person a label.
///
/// `Display` is the label: all names, or as many as fit and the number of all; of servers at a named endpoint its name. `Debug` is a
/// JSON array; at a named endpoint an object with that, as `servers`, and the name, as `endpoint`.
#[derive(Clone)]
pub struct Names {
    servers: Arc<[Arc<str>]>,
    endpoint: Option<Arc<str>>,
}

impl Names {
    /// The name of the endpoint that they are at, if it has one.
    pub(crate) fn endpoint(&self) -> Option<Arc<str>> {
        self.endpoint.clone()
    }

    /// The same, at an endpoint of this name.
    pub(crate) fn at(self, endpoint: Option<Arc<str>>) -> Self {
        Names { endpoint, ..self }
    }
}

impl FromIterator<Arc<str>> for Names {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        Names { servers: names.into_iter().collect(), endpoint: None }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(&self.servers, self.endpoint.as_deref()))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.servers.iter().map(|name| &**name).collect();
        match &self.endpoint {
            None => write!(f, "{}", serde_json::json!(servers)),
            Some(endpoint) => write!(f, "{}", serde_json::json!({ "endpoint": **endpoint, "servers": servers })),
        }
    }
}

/// The label of these names, for a person. `endpoint`: the name of the endpoint that they are at, which stands for all; one server
/// is told besides, as it may have a connection of its own there.
pub(super) fn label(names: &[impl AsRef<str>], endpoint: Option<&str>) -> String {
    if let Some(endpoint) = endpoint {
        return match names {
            [one] => format!("{endpoint}/{}", one.as_ref()),
            _ => endpoint.to_owned(),
        };
    }
    let names = || names.iter().map(AsRef::as_ref);
    let count = names().count();
    let whole = names().collect::<Vec<_>>().join("+");
    if count < 2 || whole.chars().count() <= LONGEST {
        return whole;
    }
    let mut short = String::new();
    for name in names() {
        if !short.is_empty() && short.chars().count() + name.chars().count() + 1 > LONGEST - REST {
            break;
        }
        short.push_str(name);
        short.push('+');
    }
    format!("{short}… ({count})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_gives_its_name_few_all_of_them_and_many_the_first_and_their_number() {
        let long = "a-name-that-is-longer-than-any-name-should-be";
        assert_eq!(label(&[long], None), long);
        assert_eq!(label(&["calculator", "time"], None), "calculator+time");
        assert_eq!(label(&["calculator", "time", "a-rather-long-server-name", "x"], None), "calculator+time+… (4)");
        assert_eq!(label(&[long, "time"], None), format!("{long}+… (2)"));
        let many: Vec<_> = (0..50).map(|n| format!("server{n}")).collect();
        assert_eq!(label(&many, None), "server0+server1+server2+server3+… (50)");
        assert_eq!(label(&["calculator"], Some("kitchen")), "kitchen/calculator");
        assert_eq!(label(&many, Some("kitchen")), "kitchen");
        assert!(label(&many, None).chars().count() <= LONGEST);
    }

    #[test]
    fn a_machine_gets_each_name_as_it_is() {
        let names: Names = ["a+b", "c\"\u{1b}"].map(Arc::from).into_iter().collect();
        assert_eq!(format!("{names:?}"), r#"["a+b","c\"\u001b"]"#);
        assert_eq!(names.to_string(), "a+b+c\"\u{1b}");
    }
}
