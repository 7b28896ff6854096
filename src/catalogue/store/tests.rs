//! Tests of the store, in directories of their own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use tempfile::TempDir;

use super::*;
use crate::endpoint::Secret;
use crate::mcp::lists::ListKind;

fn spec(name: &str) -> ServerSpec {
    let mut spec = ServerSpec::sample(name, "uvx", &["mcp-server-time"]);
    spec.command.env = vec![("API_KEY".into(), Secret::new("s3cret-value"))];
    spec.command.cwd = Some("/srv".into());
    spec.endpoint = Some("wss://h.example/mcp/?token=t0ken".parse().unwrap());
    spec
}

fn memory(tool: &str) -> Memory {
    let mut memory = Memory { hello: "{\"a\":1}".into(), welcome: "{\"b\":1.0}".into(), ..Memory::default() };
    memory.lists.set(ListKind::Tools, vec![format!("{{\"name\":\"{tool}\"}}").into()]);
    memory
}

/// A directory that the store has to make.
fn place() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache/mcp-pipe");
    (temp, dir)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn make_old(path: &Path, days: u32) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
}

#[test]
fn what_was_saved_is_there_after_a_restart_and_replaced_by_the_next() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!(store.load(&spec("a")), None);
    store.save(&spec("a"), &memory("add")).unwrap();
    store.save(&spec("b"), &memory("other")).unwrap();
    store.save(&spec("a"), &memory("subtract")).unwrap();
    let store = Catalogue::at(Some(dir.clone()));
    assert_eq!(store.load(&spec("a")), Some(memory("subtract")));
    assert_eq!(store.load(&spec("b")), Some(memory("other")));
    assert_eq!(files(&dir).len(), 2, "no temporary file is left");
}

#[test]
fn without_a_directory_nothing_is_remembered_and_nothing_fails() {
    let store = Catalogue::at(None);
    store.save(&spec("a"), &memory("add")).unwrap();
    store.remember_single("agent").unwrap();
    assert_eq!((store.load(&spec("a")), store.is_single("agent")), (None, false));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let store = Catalogue::at(Some(temp.path().join("x")));
    let error = store.save(&spec("a"), &memory("add")).unwrap_err();
    assert!(format!("{error:#}").contains(&*temp.path().to_string_lossy()), "{error:#}");
    assert!(store.remember_single("agent").is_err());
    assert_eq!((store.load(&spec("a")), store.is_single("agent")), (None, false));
}

#[test]
fn another_config_is_another_server_and_another_token_is_not() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir));
    store.save(&spec("a"), &memory("add")).unwrap();
    let changes: [fn(&mut ServerSpec); 7] = [
        |s| s.name = "b".into(),
        |s| s.command.program = "npx".into(),
        |s| s.command.args.push("x".into()),
        |s| s.command.args = vec!["mcp-server-".into(), "time".into()],
        |s| s.command.cwd = None,
        |s| s.command.env[0].1 = Secret::new("other"),
        |s| s.command.env.clear(),
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
    store.save(&spec("a"), &memory("add")).unwrap();
    store.remember_single("wss://h.example/mcp/?token=t0ken").unwrap();
    assert_eq!(files(&dir).len(), 2);
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
    store.save(&spec("a"), &memory("add")).unwrap();
    store.remember_single("agent").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert!(files(&dir).iter().all(|path| mode(path) == 0o600));
}

#[test]
fn a_damaged_or_huge_file_counts_as_none_and_is_rebuilt() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    store.save(&spec("a"), &memory("add")).unwrap();
    let path = files(&dir).remove(0);
    let whole = fs::read_to_string(&path).unwrap();
    let huge = format!("{whole}{}", " ".repeat(MAX_FILE as usize));
    for damaged in ["", &whole[..whole.len() / 2], &whole.replace("1,\n", "99,\n"), &huge] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(store.load(&spec("a")), None);
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(store.load(&spec("a")), None);
    store.save(&spec("a"), &memory("add")).unwrap();
    assert_eq!(store.load(&spec("a")), Some(memory("add")));
}

#[test]
fn what_cannot_be_read_again_is_not_written() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    assert!(store.save(&spec("a"), &Memory { welcome: "{".into(), ..Memory::default() }).is_err());
    let mut large = Memory::default();
    large.lists.set(ListKind::Tools, vec![format!("\"{}\"", "x".repeat(MAX_FILE as usize)).into()]);
    assert!(store.save(&spec("a"), &large).is_err());
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
                    store.save(&spec("a"), &memory(&format!("{writer}-{round}"))).unwrap();
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
    for (server, days) in [("old", 91), ("used", 91), ("young", 89)] {
        store.save(&spec(server), &memory("add")).unwrap();
        make_old(&dir.join(name_of_server(&spec(server))), days);
    }
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    make_old(&dir.join("notes.txt"), 999);
    fs::write(dir.join("server-x.json.left"), "behind").unwrap();
    make_old(&dir.join("server-x.json.left"), 91);
    // Used again: read, though not changed.
    assert!(store.load(&spec("used")).is_some());
    let store = Catalogue::at(Some(dir.clone()));
    store.save(&spec("young"), &memory("add")).unwrap();
    assert_eq!(store.load(&spec("old")), None);
    assert!(store.load(&spec("used")).is_some() && store.load(&spec("young")).is_some());
    assert!(dir.join("notes.txt").exists());
    assert_eq!(files(&dir).len(), 3);
}

#[test]
fn an_agent_is_single_for_thirty_days_and_no_other_is() {
    let (_temp, dir) = place();
    let store = Catalogue::at(Some(dir.clone()));
    assert!(!store.is_single("agent"));
    store.remember_single("agent").unwrap();
    store.remember_single("agent").unwrap();
    assert!(Catalogue::at(Some(dir.clone())).is_single("agent") && !store.is_single("other"));
    let mark = files(&dir).remove(0);
    make_old(&mark, 29);
    assert!(store.is_single("agent"));
    make_old(&mark, 30);
    assert!(!store.is_single("agent"));
    let store = Catalogue::at(Some(dir.clone()));
    store.remember_single("other").unwrap();
    assert_eq!(files(&dir).len(), 1, "the old mark was removed");
    store.remember_single("agent").unwrap();
    assert!(store.is_single("agent"));
}

#[test]
fn names_of_files_never_change() {
    // From another implementation of SHA-256; a change here forgets everything once.
    assert_eq!(name_of_agent("agent"), "agent-e5e3f3a308bdbf987857a48ceb3dd157");
    assert_eq!(name_of_server(&spec("a")), "server-741dd11d9d40bb73241ee3da61cd6d0b.json");
}
