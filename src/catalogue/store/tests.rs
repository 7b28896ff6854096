//! Tests of the store, in directories of their own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::disk::folder::NAME;
use crate::endpoint::Secret;
use crate::mcp::lists::ListKind;

const DAY: Duration = Duration::from_hours(24);

fn spec(name: &str) -> ServerSpec {
    let mut spec = ServerSpec::sample(name, "uvx", &["mcp-server-time"]);
    spec.command_mut().env = vec![("API_KEY".into(), Secret::new("s3cret-value"))];
    spec.command_mut().cwd = Some("/srv".into());
    spec.endpoint = Some("wss://h.example/mcp/?token=t0ken".parse().unwrap());
    spec
}

fn memory(tool: &str) -> Memory {
    let mut memory = Memory { welcome: "{\"b\":1.0}".into(), ..Memory::default() };
    memory.lists.set(ListKind::Tools, vec![format!("{{\"name\":\"{tool}\"}}").into()]);
    memory
}

/// A directory that the store has to make.
fn place() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache/mcp-pipe");
    (temp, dir)
}

/// What is remembered there, without the mark.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(found) = dir.join(NAME).read_dir() else { return Vec::new() };
    found.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("CACHEDIR.TAG")).collect()
}

/// All that was to be written is.
fn settle(store: &Catalogue) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(store.finish());
}

/// Writes, and waits for that.
fn save(store: &Catalogue, spec: &ServerSpec, memory: &Memory) {
    store.save(spec, memory);
    settle(store);
}

fn remember_single(store: &Catalogue, agent: &str) {
    store.remember_single(agent);
    settle(store);
}

fn save_hello(store: &Catalogue, agent: &str, params: &str) {
    store.save_hello(agent, params);
    settle(store);
}

fn make_old(path: &Path, days: u32) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
}

#[test]
fn what_was_saved_is_there_after_a_restart_and_replaced_by_the_next() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!(store.load(&spec("a")), None);
    save(&store, &spec("a"), &memory("add"));
    save(&store, &spec("b"), &memory("other"));
    save(&store, &spec("a"), &memory("subtract"));
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!(store.load(&spec("a")), Some(memory("subtract")));
    assert_eq!(store.load(&spec("b")), Some(memory("other")));
    assert_eq!(files(&dir).len(), 2, "no temporary file is left");
}

#[test]
fn without_a_directory_nothing_is_remembered_and_nothing_fails() {
    let store = Catalogue::at(None);
    save(&store, &spec("a"), &memory("add"));
    remember_single(&store, "agent");
    save_hello(&store, "agent", "{}");
    assert_eq!((store.load(&spec("a")), store.is_single("agent"), store.hello("agent")), (None, false, None));
}

#[test]
fn where_nothing_can_be_written_it_is_known_in_this_run_and_written_once_it_can_be() {
    let temp = tempfile::tempdir().unwrap();
    let (file, dir) = (temp.path().join("x"), temp.path().join("x/y"));
    std::fs::write(&file, "").unwrap();
    let store = Catalogue::at(Some(dir.clone()));
    let lost = |store: &Catalogue| store.losses().borrow().as_ref().map(|(code, _)| *code);
    assert_eq!(lost(&store), Some(crate::error::FaultCode::CacheUnwritable));
    save(&store, &spec("a"), &memory("subtract"));
    save(&store, &spec("a"), &memory("add"));
    remember_single(&store, "agent");
    save_hello(&store, "agent", "{}");
    let known = |store: &Catalogue| (store.load(&spec("a")), store.is_single("agent"), store.hello("agent"));
    let all = || (Some(memory("add")), true, Some("{}".into()));
    assert_eq!(known(&store), all());
    store.write_again();
    settle(&store);
    assert_eq!(known(&Catalogue::at(Some(dir.clone()))), (None, false, None));
    std::fs::remove_file(&file).unwrap();
    store.write_again();
    settle(&store);
    assert_eq!((lost(&store), known(&Catalogue::at(Some(dir)))), (None, all()));
}

#[test]
fn another_config_is_another_server_and_another_token_is_not() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir));
    save(&store, &spec("a"), &memory("add"));
    let changes: [fn(&mut ServerSpec); 7] = [
        |s| s.name = "b".into(),
        |s| s.command_mut().program = "npx".into(),
        |s| s.command_mut().args.push("x".into()),
        |s| s.command_mut().args = vec!["mcp-server-".into(), "time".into()],
        |s| s.command_mut().cwd = None,
        |s| s.command_mut().env[0].1 = Secret::new("other"),
        |s| s.command_mut().env.clear(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = spec("a");
        change(&mut other);
        assert_eq!(store.load(&other), None, "change {at}");
    }
    let mut same = spec("a");
    same.endpoint = Some("wss://h.example/mcp/?token=renewed".parse().unwrap());
    same.max_frame = 9;
    assert_eq!(store.load(&same), Some(memory("add")));
}

#[test]
fn no_secret_is_in_a_file_or_its_name() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("a"), &memory("add"));
    remember_single(&store, "wss://h.example/mcp/?token=t0ken");
    save_hello(&store, "wss://h.example/mcp/?token=t0ken", "{}");
    assert_eq!(files(&dir).len(), 3);
    for path in files(&dir) {
        let all = format!("{} {}", path.display(), fs::read_to_string(&path).unwrap());
        assert!(!all.contains("s3cret") && !all.contains("t0ken"), "{all}");
    }
}

#[cfg(unix)]
#[test]
fn directory_and_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("a"), &memory("add"));
    remember_single(&store, "agent");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert!(files(&dir).iter().all(|path| mode(path) == 0o600));
}

#[test]
fn a_damaged_or_huge_file_counts_as_none_and_is_rebuilt() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("a"), &memory("add"));
    let path = files(&dir).remove(0);
    let whole = fs::read_to_string(&path).unwrap();
    let huge = format!("{whole}{}", " ".repeat(MAX_FILE as usize));
    for damaged in ["", &whole[..whole.len() / 2], &whole.replace("1,\n", "99,\n"), &huge] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(store.load(&spec("a")), None);
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(store.load(&spec("a")), None);
    save(&store, &spec("a"), &memory("add"));
    assert_eq!(store.load(&spec("a")), Some(memory("add")));
}

#[test]
fn what_cannot_be_read_again_is_not_written() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("a"), &Memory { welcome: "{".into(), ..Memory::default() });
    let mut large = Memory::default();
    large.lists.set(ListKind::Tools, vec![format!("\"{}\"", "x".repeat(MAX_FILE as usize)).into()]);
    save(&store, &spec("a"), &large);
    assert_eq!(files(&dir).len(), 0);
}

#[test]
fn two_who_write_at_once_leave_one_whole_file() {
    let (_temp, dir) = place();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = dir.clone();
            scope.spawn(move || {
                let store = Catalogue::at(Some(dir));
                for round in 0..50 {
                    save(&store, &spec("a"), &memory(&format!("{writer}-{round}")));
                    assert!(store.load(&spec("a")).is_some(), "half a file was seen");
                }
            });
        }
    });
    assert_eq!(files(&dir).len(), 1);
}

#[test]
fn only_files_of_ours_that_nobody_used_for_long_are_removed() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    let path = |name: &str| dir.join(NAME).join(name);
    for (server, days) in [("old", 91), ("used", 91), ("young", 89)] {
        save(&store, &spec(server), &memory("add"));
        make_old(&path(&of_server(&spec(server))), days);
    }
    let left = format!("{}.0123abcd", of_server(&spec("old")));
    let others = [
        "server-key.pem",
        "agent-smith.md",
        "notes.txt",
        "server-0123.json",
        "agent-0123",
        "server-.json",
        "hello-world.json",
    ];
    let theirs = others.into_iter().flat_map(|name| [path(name), dir.join(name)]);
    // Also what earlier versions wrote beside the folder: it is no longer used, and not touched.
    let theirs: Vec<_> = theirs.chain([dir.join(of_server(&spec("old"))), dir.join(of_agent("agent"))]).collect();
    for file in theirs.iter().chain([&path(&left)]) {
        fs::write(file, "mine").unwrap();
        make_old(file, 999);
    }
    // Used again: read, though not changed.
    assert!(store.load(&spec("used")).is_some());
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("young"), &memory("add"));
    assert_eq!(store.load(&spec("old")), None);
    assert!(store.load(&spec("used")).is_some() && store.load(&spec("young")).is_some());
    for file in theirs {
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine", "{}", file.display());
    }
    assert!(!path(&left).exists(), "what a crash left behind");
    assert_eq!(files(&dir).len(), others.len() + 2);
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_neither_read_nor_written_nor_removed() {
    let (temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    save(&store, &spec("a"), &memory("add"));
    let (path, outside) = (files(&dir).remove(0), temp.path().join("outside"));
    fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    make_old(&outside, 999);
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!(store.load(&spec("a")), None, "though it would be right");
    save(&store, &spec("b"), &memory("add"));
    assert!(path.is_symlink() && outside.exists());
    save(&store, &spec("a"), &memory("subtract"));
    assert_eq!(store.load(&spec("a")), Some(memory("subtract")));
    assert!(!path.is_symlink() && fs::read_to_string(&outside).unwrap().contains("add"));
}

#[test]
fn what_is_to_be_written_is_known_at_once() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    store.save(&spec("a"), &memory("add"));
    store.save(&spec("a"), &memory("subtract"));
    store.remember_single("agent");
    assert_eq!((store.load(&spec("a")), store.is_single("agent")), (Some(memory("subtract")), true));
    settle(&store);
    assert_eq!(Catalogue::at(Some(dir)).load(&spec("a")), Some(memory("subtract")));
}

#[test]
fn an_agent_is_single_for_thirty_days_and_no_other_is() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    assert!(!store.is_single("agent"));
    remember_single(&store, "agent");
    remember_single(&store, "agent");
    assert!(Catalogue::at(Some(dir.clone())).is_single("agent") && !store.is_single("other"));
    let mark = files(&dir).remove(0);
    make_old(&mark, 29);
    assert!(store.is_single("agent"));
    make_old(&mark, 30);
    assert!(!store.is_single("agent"));
    let store = Catalogue::at(Some(dir.clone()));
    remember_single(&store, "other");
    assert_eq!(files(&dir).len(), 1, "the old mark was removed");
    remember_single(&store, "agent");
    assert!(store.is_single("agent"));
}

#[test]
fn what_an_endpoint_says_is_known_by_its_agent_unless_it_is_damaged_or_too_large() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    let params = r#"{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"x":1.0}"#;
    assert_eq!(store.hello("agent"), None);
    store.save_hello("agent", "{}");
    store.save_hello("agent", params);
    assert_eq!(store.hello("agent").as_deref(), Some(params), "not written yet");
    save_hello(&store, "other", "{}");
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!((store.hello("agent").as_deref(), store.hello("other").as_deref()), (Some(params), Some("{}")));
    let path = dir.join(NAME).join(of_hello("agent"));
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_HELLO));
    for damaged in ["", "null", "[]", &params[..params.len() / 2], &format!("{params}{params}"), &huge] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(store.hello("agent"), None);
    }
    save_hello(&store, "agent", params);
    assert_eq!(store.hello("agent").as_deref(), Some(params));
    // As long as a server's file.
    for days in [89, 91] {
        make_old(&path, days);
        save(&Catalogue::at(Some(dir.clone())), &spec("a"), &memory("add"));
        assert_eq!(path.exists(), days < 90);
    }
}

#[test]
fn names_of_files_never_change() {
    // From another implementation of SHA-256; a change here forgets everything once.
    assert_eq!(of_agent("agent"), "agent-e5e3f3a308bdbf987857a48ceb3dd157");
    assert_eq!(of_hello("agent"), "hello-e5e3f3a308bdbf987857a48ceb3dd157.json");
    assert_eq!(of_server(&spec("a")), "server-741dd11d9d40bb73241ee3da61cd6d0b.json");
}

#[tokio::test]
async fn the_era_of_a_server_is_known_again_until_what_is_started_changes() {
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("server");
    fs::write(&program, "one").unwrap();
    let spec = ServerSpec::sample("x", program.to_str().unwrap(), &["--fast"]);
    let open = || Catalogue::at(Some(dir.path().join("cache")));
    assert_eq!(open().era(&spec), None);
    for era in [Era::Modern, Era::Legacy] {
        let catalogue = open();
        catalogue.save_era(&spec, era);
        assert_eq!(catalogue.era(&spec), Some(era));
        catalogue.finish().await;
        assert_eq!((catalogue.era(&spec), open().era(&spec)), (Some(era), Some(era)));
    }
    // Its name in the config is no part of what it is.
    assert_eq!(open().era(&ServerSpec { name: "y".into(), ..spec.clone() }), Some(Era::Legacy));
    assert_eq!(open().era(&ServerSpec::sample("x", program.to_str().unwrap(), &[])), None);
    fs::write(&program, "another").unwrap();
    assert_eq!(open().era(&spec), None);
}
