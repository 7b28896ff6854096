//! The URIs under which the resources of several servers are published, and which template a URI belongs to. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ServerIndex;

/// Longest URI that may belong to a template, in bytes: comparing costs the product of both lengths.
const LONGEST: usize = 2048;
/// Longest template to which a URI may belong, in bytes. Templates in use are below 100, and a server may list thousands.
const LONGEST_TEMPLATE: usize = 512;

/// The published URIs (or templates of URIs) of all items, in the order of the items.
///
/// A URI that a single server lists stays. One that several list becomes `mcp-pipe://server/URI` for each of these servers,
/// with the server's name percent-encoded, so that the beginning can be cut off again. The same set gives the same URIs,
/// whatever its order; a URI that one server lists twice is published alike both times.
///
/// An item is a server (its place in `servers`) and a URI that this server lists.
pub(crate) fn publish(servers: &[&str], items: &[(ServerIndex, &str)]) -> Vec<String> {
    let items: Vec<(&str, &str)> =
        items.iter().map(|(server, uri)| (*uri, servers.get(*server).copied().unwrap_or_default())).collect();
    let listed: BTreeSet<(&str, &str)> = items.iter().copied().collect();
    let mut servers_of: HashMap<&str, usize> = HashMap::new();
    for (uri, _) in &listed {
        *servers_of.entry(uri).or_default() += 1;
    }
    let mut taken = HashSet::new();
    let mut published = HashMap::new();
    for (uri, server) in listed {
        let mut own = uri.to_owned();
        if servers_of.get(uri) != Some(&1) {
            let server = utf8_percent_encode(server, NON_ALPHANUMERIC);
            // The loop repeats only if a server lists URIs that begin like ours.
            while servers_of.contains_key(own.as_str()) || taken.contains(&own) {
                own = format!("mcp-pipe://{server}/{own}");
            }
            taken.insert(own.clone());
        }
        published.insert((uri, server), own);
    }
    items.iter().filter_map(|item| published.get(item).cloned()).collect()
}

/// A step of a template. At each step the URI's next byte decides.
#[derive(Clone, Copy)]
enum TemplateStep {
    /// This byte.
    Byte(u8),
    /// One or more bytes; `slashes`: also slashes.
    Run { slashes: bool },
    /// The next steps, as many as this, may be left out.
    Maybe(usize),
}

/// Whether a URI template (RFC 6570, as MCP's resource templates use it) can have become this URI.
///
/// `{a}` stands for one or more characters other than `/`; `{+a}` for any characters, as does `{a*}`, by which servers
/// mean several segments; `{#a}`, `{.a}`, `{/a}`, `{;a}`, `{?a}` and `{&a}` begin with their character and may be missing.
/// The names of a query's parameters are not compared, as servers differ in what they ask for. Text outside braces must be equal
/// byte for byte.
///
/// A template that breaks the rules matches nothing, nor does one of more than 512 bytes or a URI of more than 2048. Time grows with
/// the product of both lengths at most, whatever they hold.
pub(crate) fn template_matches(template: &str, uri: &str) -> bool {
    if template.len() > LONGEST_TEMPLATE || uri.len() > LONGEST {
        return false;
    }
    let Some(steps) = steps(template) else { return false };
    // All places in the template to which the URI so far can have led.
    let mut here = vec![false; steps.len() + 1];
    here[0] = true;
    leave_out(&steps, &mut here);
    for byte in uri.bytes() {
        if !here.contains(&true) {
            return false;
        }
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| here[*at]) {
            match *step {
                TemplateStep::Byte(own) => next[at + 1] |= byte == own,
                TemplateStep::Run { slashes } if slashes || byte != b'/' => {
                    next[at] = true;
                    next[at + 1] = true;
                }
                TemplateStep::Run { .. } | TemplateStep::Maybe(_) => {}
            }
        }
        leave_out(&steps, &mut next);
        here = next;
    }
    here[steps.len()]
}

/// Adds the places that are reached without a byte. Such places are further on, so one pass is enough.
fn leave_out(steps: &[TemplateStep], here: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if let (true, TemplateStep::Maybe(count)) = (here[at], *step) {
            here[at + 1] = true;
            here[at + 1 + count] = true;
        }
    }
}

/// The steps of a template; `None` for braces that are not closed, inside each other or empty, and for operators that RFC 6570
/// reserves.
fn steps(template: &str) -> Option<Vec<TemplateStep>> {
    let mut steps = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some((literal, expression)) = rest.split_once('{') {
        let (expression, behind) = expression.split_once('}')?;
        steps.extend(literal.bytes().map(TemplateStep::Byte));
        rest = behind;

        let first = expression.bytes().next()?;
        let (operator, variables) = match first {
            b'+' | b'#' | b'.' | b'/' | b';' | b'?' | b'&' => (Some(first), &expression[1..]),
            b'=' | b',' | b'!' | b'@' | b'|' => return None,
            _ => (None, expression),
        };
        if variables.is_empty() || expression.contains('{') {
            return None;
        }
        match operator {
            // All values in a row, with commas between them.
            None | Some(b'+') => {
                steps.push(TemplateStep::Run { slashes: operator.is_some() || variables.contains('*') })
            }
            Some(begin @ (b'.' | b'/')) => {
                for variable in variables.split(',') {
                    let run = TemplateStep::Run { slashes: variable.ends_with('*') };
                    steps.extend([TemplateStep::Maybe(2), TemplateStep::Byte(begin), run]);
                }
            }
            Some(begin) => {
                steps.extend([TemplateStep::Maybe(2), TemplateStep::Byte(begin), TemplateStep::Run { slashes: true }])
            }
        }
    }
    steps.extend(rest.bytes().map(TemplateStep::Byte));
    (!rest.contains('}')).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uri_that_one_server_lists_stays_and_a_clash_shows_whose_it_is() {
        let uris = publish(&["a", "b c/d"], &[(0, "file:///x"), (0, "t://1"), (1, "file:///x"), (0, "t://1")]);
        assert_eq!(uris, ["mcp-pipe://a/file:///x", "t://1", "mcp-pipe://b%20c%2Fd/file:///x", "t://1"]);
    }

    #[test]
    fn a_uri_that_looks_like_ours_keeps_itself() {
        let own = "mcp-pipe://a/x:y";
        let uris = publish(&["a", "b"], &[(0, "x:y"), (1, "x:y"), (1, own)]);
        assert_eq!(uris, ["mcp-pipe://a/mcp-pipe://a/x:y", "mcp-pipe://b/x:y", own]);
    }

    #[test]
    fn templates_match_what_servers_mean_by_them() {
        for (template, uri, want) in [
            ("file:///a.txt", "file:///a.txt", true),
            ("file:///a.txt", "file:///a.txt2", false),
            ("note://{id}", "note://7", true),
            ("note://{id}", "note://", false),
            ("note://{id}", "note://a/b", false),
            ("note://{id}", "note://日本", true),
            ("db://{schema}/{table}/rows", "db://public/users/rows", true),
            ("db://{schema}/{table}/rows", "db://public/rows", false),
            ("xy{a}b", "xyabb", true),
            ("{a}b{c}", "bbb", true),
            ("{a}b{c}", "bb", false),
            ("{x,y}.png", "3,4.png", true),
            ("file://{+path}", "file:///a/b?c#d", true),
            ("file://{+path}", "file://", false),
            ("repo://{path*}/end", "repo://a/b/end", true),
            ("s://q{?a,b}", "s://q", true),
            ("s://q{?a,b}", "s://q?b=1/2&a=%20", true),
            ("s://q{?a,b}", "s://qb=1", false),
            ("s://q?x=1{&y}", "s://q?x=1&y=2", true),
            ("s://r{/a,b}", "s://r/1/2", true),
            ("s://r{/a,b}", "s://r/1/2/3", false),
            ("s://r{/a*}", "s://r/1/2/3", true),
            ("f{.ext}", "f.txt", true),
            ("f{#part}", "f#a/b", true),
            ("f{;v}", "f;v=1", true),
            ("f{v:3}", "fabc", true),
            ("", "", true),
            ("a{", "a{", false),
            ("a}", "a}", false),
            ("a{}", "a", false),
            ("a{+}", "ab", false),
            ("a{=x}", "ab", false),
            ("a{b{c}}", "ab", false),
        ] {
            assert_eq!(template_matches(template, uri), want, "{template} and {uri}");
        }
    }

    #[test]
    fn hostile_templates_end() {
        // A matcher that tries one way after the other would take longer than the universe lasts for each of these.
        let uri = "a".repeat(LONGEST);
        for template in ["{a}".repeat(170), "{+a}a".repeat(102), "{/a,a,a}{.a}".repeat(42), "{a*}".repeat(127)] {
            assert!(!template_matches(&format!("{template}!"), &uri));
        }
        assert!(template_matches(&"{a}".repeat(170), &uri));
        assert!(!template_matches(&"{a}".repeat(171), &uri));
        assert!(!template_matches("{+a}", &"a".repeat(LONGEST + 1)));
    }

    /// A part of a template, and what RFC 6570 section 3.2 makes of it with safe values.
    fn part() -> impl Strategy<Value = (String, String)> {
        let name = "[a-z_]{1,4}";
        let value = "[A-Za-z0-9._~-]{1,6}|%2F";
        let pairs = || proptest::collection::vec((name, value), 1..4);
        let operators = proptest::sample::select(vec!["", "+", "#", ".", "/", ";", "?", "&"]);
        prop_oneof![
            "[a-zA-Z0-9:/._-]{1,8}".prop_map(|literal| (literal.clone(), literal)),
            (operators, pairs()).prop_map(|(operator, pairs)| {
                let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
                let named = matches!(operator, ";" | "?" | "&");
                let (first, between) = match operator {
                    "" | "+" => ("", ","),
                    "#" => ("#", ","),
                    "?" => ("?", "&"),
                    other => (other, other),
                };
                let values: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| if named { format!("{name}={value}") } else { value.clone() })
                    .collect();
                (format!("{{{operator}{}}}", names.join(",")), format!("{first}{}", values.join(between)))
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_template_matches_what_it_expands_to(parts in proptest::collection::vec(part(), 0..8)) {
            let (template, uri): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            prop_assert!(template_matches(&template.concat(), &uri.concat()), "{} {}", template.concat(), uri.concat());
        }

        #[test]
        fn any_texts_are_compared(template in "[{}a/,?+*]{0,20}|.*", uri in ".*") {
            let without_braces = !template.contains(['{', '}']);
            prop_assert!(!without_braces || template_matches(&template, &uri) == (template == uri));
        }

        #[test]
        fn published_uris_of_two_servers_differ_and_end_in_the_original(
            items in proptest::collection::hash_set((0..3usize, "(mcp-pipe://[ab]/){0,2}[xy]{1}:"), 0..12),
            turn in 0..12usize,
        ) {
            let servers = ["a", "b", "/"];
            let items: Vec<(ServerIndex, String)> = items.into_iter().collect();
            let mut items: Vec<(ServerIndex, &str)> = items.iter().map(|(server, uri)| (*server, uri.as_str())).collect();
            let mut uris = publish(&servers, &items);
            prop_assert_eq!(uris.iter().collect::<HashSet<_>>().len(), uris.len(), "{:?} {:?}", items, uris);
            for ((_, uri), published) in items.iter().zip(&uris) {
                prop_assert!(published.ends_with(uri));
                let alone = items.iter().filter(|(_, other)| other == uri).count() == 1;
                prop_assert_eq!(alone, published == uri);
            }
            if !items.is_empty() {
                let turn = turn % items.len();
                items.rotate_left(turn);
                uris.rotate_left(turn);
                prop_assert_eq!(publish(&servers, &items), uris);
            }
        }
    }
}
