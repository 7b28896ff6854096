//! What the log calls a pipe.

use std::sync::Arc;

/// A longer name of a pipe is shortened, in characters: it stands in every line about the connection.
const LONGEST: usize = 40;
/// What of that is left for "… (50)".
const REST: usize = 7;

/// The server's name; of several, all of them joined, or as many as fit and how many there are.
pub(super) fn joined<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Arc<str> {
    let count = names.clone().count();
    let whole = names.clone().collect::<Vec<_>>().join("+");
    if count < 2 || whole.chars().count() <= LONGEST {
        return whole.into();
    }
    let mut short = String::new();
    for name in names {
        if !short.is_empty() && short.chars().count() + name.chars().count() + 1 > LONGEST - REST {
            break;
        }
        short.push_str(name);
        short.push('+');
    }
    format!("{short}… ({count})").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_gives_its_name_few_all_of_them_and_many_the_first_and_their_number() {
        let name = |names: &[&str]| joined(names.iter().copied()).to_string();
        let long = "a-name-that-is-longer-than-any-name-should-be";
        assert_eq!(name(&[long]), long);
        assert_eq!(name(&["calculator", "time"]), "calculator+time");
        assert_eq!(name(&["calculator", "time", "a-rather-long-server-name", "x"]), "calculator+time+… (4)");
        assert_eq!(name(&[long, "time"]), format!("{long}+… (2)"));
        let many: Vec<_> = (0..50).map(|n| format!("server{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(name(&many), "server0+server1+server2+server3+… (50)");
        assert!(name(&many).chars().count() <= LONGEST);
    }
}
