//! The tree in ARCHITECTURE.md is the tree: it names every file, and uses point down it. And what documents name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every file of `src` but tests, relative to it.
fn files() -> BTreeMap<String, String> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
    let files = found.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap()));
    files.filter(|(name, _)| !name.split('/').any(|part| part == "tests" || part == "tests.rs")).collect()
}

/// The files that ARCHITECTURE names, in its order.
fn tree() -> Vec<String> {
    let text = include_str!("../../ARCHITECTURE.md");
    let (_, block) = text.split_once("## The tree").expect("a section of that name");
    let block = block.split("```").nth(1).expect("a block in it");
    let file = |line: &str| Some(line.split_once(' ')?.0.to_owned());
    block.lines().filter_map(file).filter(|name| name.ends_with(".rs")).collect()
}

/// What a file uses of the crate: paths behind `crate::`, each as its segments. Its own tests don't count.
fn uses(text: &str) -> Vec<Vec<String>> {
    let text = text.split("\nmod tests {").next().unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let segment = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let end = rest.find(|c| !segment(c)).unwrap_or(rest.len());
        // A group in braces is as many uses; one inside it is looked at no deeper.
        let group = rest[end..].strip_prefix('{').and_then(|group| group.split_once('}'));
        let members = group.map_or(vec![""], |(members, _)| members.split(',').collect());
        for member in members {
            let path = format!("{}{}", &rest[..end], member.trim().split(|c| !segment(c)).next().unwrap());
            found.push(path.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect());
        }
    }
    found
}

/// The module that a file is, as its segments.
fn module(file: &str) -> Vec<String> {
    file.trim_end_matches(".rs").split('/').map(str::to_owned).collect()
}

#[test]
fn architecture_names_every_file_once_and_no_other() {
    let tree = tree();
    let named: BTreeSet<_> = tree.iter().cloned().collect();
    let there: BTreeSet<_> = files().into_keys().collect();
    let missing: Vec<_> = there.difference(&named).collect();
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "the tree in ARCHITECTURE.md lacks {missing:?}");
    assert!(gone.is_empty(), "the tree in ARCHITECTURE.md names files that there are not: {gone:?}");
    assert_eq!(tree.len(), named.len(), "a file is named twice");
}

#[test]
fn every_event_of_the_log_stands_in_the_table() {
    let table = include_str!("../../TROUBLESHOOTING.md");
    let mut missing = BTreeSet::new();
    for (_, text) in files() {
        for rest in text.split("event = \"").skip(1) {
            let event = rest.split('"').next().unwrap_or_default();
            let is_one = event.len() > 1 && event.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if is_one && !table.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{event}`"))) {
                missing.insert(event.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "the table in TROUBLESHOOTING.md lacks {missing:?}");
}

#[test]
fn what_several_need_is_written_in_one_place() {
    let files = files();
    for (fact, place) in [
        ("\"HTTP_PROXY\"", "config/environment.rs"),
        ("\"no_proxy\"", "config/environment.rs"),
        ("const MAX_HELLO:", "mcp/handshake.rs"),
        ("const MAX_PAGES: usize = 200", "mcp/lists.rs"),
        ("const MAX_FRAME_SIZE:", "config/defaults.rs"),
    ] {
        // Their own tests may spell out what they expect.
        let code = |text: &str| text.split("\nmod tests {").next().unwrap_or_default().to_owned();
        let places: Vec<_> = files.iter().filter(|(_, text)| code(text).contains(fact)).map(|(name, _)| name).collect();
        assert_eq!(places, [place], "{fact}");
    }
}

#[test]
fn uses_point_down_the_tree() {
    let mut order: Vec<String> = Vec::new();
    for file in tree() {
        let top = module(&file).remove(0);
        if order.last() != Some(&top) {
            assert!(!order.contains(&top), "the files of {top} don't stand together");
            order.push(top);
        }
    }
    let place = |top: &str| order.iter().position(|o| o == top);
    let mut up = Vec::new();
    for (file, text) in files() {
        // The list of modules itself, and the program that is made of them.
        if file == "lib.rs" || file == "main.rs" {
            continue;
        }
        let own = module(&file).remove(0);
        for path in uses(&text) {
            let used = &path[0];
            if place(used).is_some_and(|used| used < place(&own).unwrap()) {
                up.push(format!("{file} uses {}", path.join("::")));
            }
        }
    }
    assert!(up.is_empty(), "these point up:\n{}", up.join("\n"));
}

#[test]
fn files_of_one_folder_use_each_other_one_way() {
    // Who uses whom, by the modules' paths; a module and what is below it are one thing here.
    let mut uses_of: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let all = files();
    let is_module = |path: &str| all.contains_key(&format!("{path}.rs"));
    for (file, text) in &all {
        let own = module(file);
        let text =
            text.replace("super::super::", &format!("crate::{}::", own[..own.len().saturating_sub(2)].join("::")));
        let text = text.replace("super::", &format!("crate::{}::", own[..own.len() - 1].join("::")));
        for path in uses(&text) {
            // The first step at which the two part.
            let common = own.iter().zip(&path).take_while(|(a, b)| a == b).count();
            if common == 0 || common >= own.len() || common >= path.len() {
                continue;
            }
            let folder = own[..common].join("/");
            if is_module(&format!("{folder}/{}", path[common])) {
                uses_of.entry((folder, own[common].clone())).or_default().insert(path[common].clone());
            }
        }
    }
    let mut circles = Vec::new();
    for ((folder, start), first) in &uses_of {
        let (mut seen, mut next) = (BTreeSet::new(), first.iter().cloned().collect::<Vec<_>>());
        while let Some(module) = next.pop() {
            if module == *start {
                circles.push(format!("{folder}/{start}"));
                break;
            }
            if seen.insert(module.clone()) {
                next.extend(uses_of.get(&(folder.clone(), module)).into_iter().flatten().cloned());
            }
        }
    }
    assert!(circles.is_empty(), "these use each other in a circle: {circles:?}");
}

/// The lines of a document that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The anchors of a document, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|n| format!("{anchor}-{n}")).find(|again| !anchors.contains(again)).unwrap();
        anchors.insert(if anchors.contains(&anchor) { again } else { anchor });
    }
    anchors
}

#[test]
fn every_link_from_a_document_to_another_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_folder = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let documents =
        in_folder(root.into()).chain(in_folder(root.join("docs"))).chain(in_folder(root.join("deploy/kubernetes")));
    let documents: Vec<PathBuf> = documents.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    let (mut dead, mut links) = (Vec::new(), 0);
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        for link in prose(&text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let is_there = match std::fs::read_to_string(&file) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                Err(_) => anchor.is_empty() && file.exists(),
            };
            if !is_there {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(links > 50, "only {links} links were found");
    assert!(dead.is_empty(), "these links lead nowhere: {dead:#?}");
}
