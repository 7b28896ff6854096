//! What the log calls the servers that a line is about: one by its name, several by all of theirs.

use std::fmt;
use std::sync::Arc;

/// Longest label of several servers, in characters: it stands in every line about their connection.
const LONGEST: usize = 40;
/// Room in a label for "… (50)", in characters.
const REST: usize = 7;

/// The names of servers that share something. To be logged as `servers = ?names`: a machine gets a list, a person a label.
///
/// `Display` is the label: all names, or as many as fit and the number of all. `Debug` is a JSON array.
#[derive(Clone)]
pub struct Names(Arc<[Arc<str>]>);

impl FromIterator<Arc<str>> for Names {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        Names(names.into_iter().collect())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(&self.0))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|name| serde_json::Value::from(&**name));
        write!(f, "{}", serde_json::Value::Array(names.collect()))
    }
}

/// The label of these names, for a person.
pub(super) fn label(names: &[impl AsRef<str>]) -> String {
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
        assert_eq!(label(&[long]), long);
        assert_eq!(label(&["calculator", "time"]), "calculator+time");
        assert_eq!(label(&["calculator", "time", "a-rather-long-server-name", "x"]), "calculator+time+… (4)");
        assert_eq!(label(&[long, "time"]), format!("{long}+… (2)"));
        let many: Vec<_> = (0..50).map(|n| format!("server{n}")).collect();
        assert_eq!(label(&many), "server0+server1+server2+server3+… (50)");
        assert!(label(&many).chars().count() <= LONGEST);
    }

    #[test]
    fn a_machine_gets_each_name_as_it_is() {
        let names: Names = ["a+b", "c\"\u{1b}"].map(Arc::from).into_iter().collect();
        assert_eq!(format!("{names:?}"), r#"["a+b","c\"\u001b"]"#);
        assert_eq!(names.to_string(), "a+b+c\"\u{1b}");
    }
}
