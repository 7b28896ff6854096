//! The commands that keep mcp-pipe on a machine: what is remembered is forgotten on a person's word, the last config that ran is kept,
//! shells complete what is typed, and the manual is made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Daemon, Setup, field, fixture_entry, skip, within};

/// Where all runs of a test have one home.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(config: &Value) -> Self {
        let home = Home { dir: TempDir::new().unwrap() };
        home.write(&config.to_string());
        home
    }

    fn write(&self, config: &str) {
        fs::write(self.config(), config).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("c.json")
    }

    /// With these arguments, and this config and home.
    fn setup(&self, args: &[&str]) -> Setup {
        let at = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let setup = Setup::new().env("XDG_STATE_HOME", &at("state")).env("XDG_CACHE_HOME", &at("cache"));
        let setup = setup.env("XDG_RUNTIME_DIR", &at("")).args(args.iter().copied());
        setup.args(["--config", self.config().to_str().unwrap()])
    }

    async fn run(&self, args: &[&str]) -> (i32, String) {
        told(&self.setup(args).output().await)
    }

    /// What the cache holds: the names of servers, or of files that are about none.
    fn remembered(&self) -> Vec<String> {
        let folder = self.dir.path().join("cache/mcp-pipe/mcp-pipe-cache");
        let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        // One that is being written has another name the next moment.
        let name = |path: PathBuf| {
            let text = fs::read_to_string(&path).ok()?;
            let server =
                serde_json::from_str::<Value>(&text).ok().and_then(|it| Some(it["server"].as_str()?.to_owned()));
            Some(server.unwrap_or_else(|| path.file_name().unwrap().to_str().unwrap().to_owned()))
        };
        let mut names: Vec<String> = files.filter_map(name).filter(|name| name != "CACHEDIR.TAG").collect();
        names.sort();
        names
    }

    /// A daemon that has remembered two servers.
    async fn remember(&self) -> Daemon {
        let daemon = self.setup(&["--local", "--mode", "multiplex"]).start("debug");
        within("both servers to be remembered", async {
            while self.remembered().iter().filter(|name| ["a", "b"].contains(&name.as_str())).count() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        daemon
    }
}

fn told(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

fn two() -> Value {
    json!({"mcpServers": {"a": fixture_entry(&[]), "b": fixture_entry(&[])}})
}

#[tokio::test]
async fn what_a_server_said_is_forgotten_and_a_running_mcp_pipe_does_not_bring_it_back() {
    let home = Home::new(&two());
    let daemon = home.remember().await;
    let (code, text) = home.run(&["cache", "clear", "aa"]).await;
    assert!(code == 2 && text.contains("aa is neither a server in the config"), "{text}");
    let (code, text) = home.run(&["cache", "clear", "a"]).await;
    assert!(
        code == 0 && text.contains("1 file of a removed (") && text.contains("a mcp-pipe runs with this config"),
        "{text}"
    );
    assert!(!home.remembered().contains(&"a".to_owned()) && home.remembered().contains(&"b".to_owned()));
    assert_eq!(home.run(&["restart", "a"]).await.0, 0);
    daemon.stop().await;
    assert!(!home.remembered().contains(&"a".to_owned()), "{:?}", home.remembered());
    let (code, text) = home.run(&["cache", "clear", "a"]).await;
    assert!(code == 0 && text.contains("nothing is remembered of a in "), "{text}");
    // What was said under another config of the server is about it, too.
    let mut changed = two();
    changed["mcpServers"]["b"]["env"] = json!({"X": "1"});
    home.write(&changed.to_string());
    let kept = home.dir.path().join("cache/mcp-pipe/mcp-pipe-cache/of-somebody-else");
    fs::write(&kept, "").unwrap();
    let (code, text) = home.run(&["cache", "clear", "b"]).await;
    assert!(code == 0 && text.contains("1 file of b removed (") && !text.contains("runs with"), "{text}");
    assert_eq!(home.remembered(), ["of-somebody-else"]);
}

#[tokio::test]
async fn all_is_forgotten_at_once_and_logins_stay() {
    let home = Home::new(&two());
    home.remember().await.stop().await;
    let state = home.dir.path().join("state/mcp-pipe/mcp-pipe-state");
    let before = fs::read_dir(&state).unwrap().count();
    let (code, text) = home.run(&["cache", "clear"]).await;
    assert!(code == 0 && text.contains("of all servers and endpoints removed ("), "{text}");
    assert!(home.remembered().is_empty() && fs::read_dir(&state).unwrap().count() == before);
    let (code, text) = home.run(&["cache", "clear"]).await;
    assert!(code == 0 && text.contains("nothing is remembered of all servers"), "{text}");
    let (code, text) = home.run(&["cache", "clear", "--cache-dir", "none"]).await;
    assert!(code == 0 && text.contains("there is no cache"), "{text}");
}

/// A config with a gateway, where nothing has to be dialled, and a token in it.
fn served(server: &str) -> String {
    let entry = json!({"command": fixture_entry(&[])["command"], "env": {"TOKEN": "${SECRET}"}});
    let config = json!({"gateway": {"listen": "127.0.0.1:0"}, "endpointHeaders": {"X-Key": "s3cret-literal"}, "mcpServers": {server: entry}});
    format!("// {server}\n{config:#}\n")
}

#[tokio::test]
async fn after_a_mistake_the_last_config_that_ran_is_named_and_shown_without_its_secrets() {
    let home = Home::new(&json!({}));
    let (code, text) = home.run(&["config", "show", "--last-good"]).await;
    assert!(code == 1 && text.contains("no config is kept"), "{text}");
    // One that never served is none.
    home.write("{\"mcpServers\": {}}");
    assert_eq!(home.run(&[]).await.0, 78);
    home.write(&served("one"));
    let state = home.dir.path().join("state/mcp-pipe/mcp-pipe-state");
    let kept = || {
        let files = fs::read_dir(&state).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.to_str().unwrap().contains("/config-"))
    };
    let start = || home.setup(&[]).env("SECRET", "s3cret-of-the-environment").start("info");
    let daemon = start();
    let is_kept = async |text: &str| {
        within("the config to be kept", async {
            while kept().is_none_or(|path| fs::read_to_string(path).map_or(true, |kept| kept != text)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    is_kept(&served("one")).await;
    assert_eq!(fs::metadata(kept().unwrap()).unwrap().permissions().mode() & 0o777, 0o600);
    // A reload that counts is one that ran; one with a mistake is not, and names it.
    home.write(&served("two"));
    is_kept(&served("two")).await;
    // One whose server does not serve never ran, though the server of the one before still did when it came to count.
    home.write(&served("two").replace(&fixture_entry(&[])["command"].to_string(), "\"false\""));
    daemon.wait_for_event("SERVER_EXITED").await;
    daemon
        .wait_for("a crash loop", |line| line["fields"]["why"].as_str().is_some_and(|why| why.contains("code 1")))
        .await;
    assert_eq!(fs::read_to_string(kept().unwrap()).unwrap(), served("two"));
    home.write("{");
    let refused = daemon.wait_for_event("ERROR_RELOAD").await;
    let said = field(&refused, "message").unwrap().to_owned();
    assert!(said.contains("config show --last-good") && said.contains("the last config that ran is of "), "{said}");
    daemon.stop().await;
    let (code, text) = home.run(&[]).await;
    let (file, config) = (kept().unwrap(), home.config());
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    assert!(
        code == 78 && text.contains(&format!("mcp-pipe config show --last-good --config {config} prints it")),
        "{text}"
    );
    assert!(text.contains(&format!("diff {file} {config}")), "{text}");
    assert_eq!(fs::read_to_string(file).unwrap(), served("two"), "as it was written");
    let show = home.setup(&["config", "show", "--last-good"]).env("SECRET", "s3cret-of-the-environment");
    let (code, text) = told(&show.output().await);
    assert!(
        code == 0 && text.contains("as it was when a server last ran with it; kept since") && text.contains("\ntwo\n"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
    // What comes from a program is not put on a disk, nor asked for twice.
    let piped = "exec 7< <(printf '%s' '{\"gateway\":{\"listen\":\"127.0.0.1:0\"},\"mcpServers\":{}}'); exec \"$0\" --config /dev/fd/7";
    let mut command = Command::new("bash");
    command.args(["-c", piped, env!("CARGO_BIN_EXE_mcp-pipe")]);
    let (code, text) = told(
        &Setup::new().env("XDG_STATE_HOME", home.dir.path().join("state").to_str().unwrap()).output_of(command).await,
    );
    assert!(code == 78 && !text.contains("last config that ran"), "{text}");
    // The mistake may be somewhere else.
    home.write(&served("two"));
    let (code, text) = home.run(&[]).await;
    assert!(code == 78 && text.contains("SECRET") && text.contains("this config has run as it is, since"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(home.run(&["config", "schema", "--last-good"]).await.0, 2);
}

/// What a shell is given for a line, by its own means.
async fn completed(home: &Home, shell: &str, script: &str) -> Option<Vec<String>> {
    let mut command = Command::new(shell);
    match shell {
        "bash" => command.args(["--norc", "--noprofile", "-c", script]),
        _ => command.args(["-c", script]),
    };
    let folder = Path::new(env!("CARGO_BIN_EXE_mcp-pipe")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    if !std::env::split_paths(&path).any(|folder| folder.join(shell).is_file()) {
        skip(&format!("{shell} is not installed"));
        return None;
    }
    let setup = home.setup(&[]).env("PATH", &path).env("MCP_CONFIG", home.config().to_str().unwrap());
    let output = setup.output_of(command).await;
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// The words that bash completes a line with.
async fn in_bash(home: &Home, line: &str) -> Vec<String> {
    let script = format!(
        "source <(mcp-pipe completions bash)\n[[ $(complete -p mcp-pipe) == *_mcp_pipe* ]] || exit 1\nCOMP_LINE={0}; COMP_POINT=${{#COMP_LINE}}\n\
         words=(${{COMP_LINE//[:=]/ }}); last=; [[ $COMP_LINE == *[!\\ :=] ]] && last=${{words[-1]}}\n\
         _mcp_pipe mcp-pipe \"$last\" x\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        format_args!("'{}'", line.replace('\'', r"'\''"))
    );
    let mut words = completed(home, "bash", &script).await.unwrap();
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test]
async fn bash_completes_commands_servers_tools_options_and_files() {
    let mut config = two();
    config["mcpServers"]["my server"] = fixture_entry(&[]);
    config["mcpServers"]["x:y"] = fixture_entry(&[]);
    config["mcpServers"]["there"] = json!({"url": "https://h.example/mcp"});
    config["mcpServers"]["a"]["tools"] = json!({"rename": {"add": "plus"}});
    config["mcpServers"]["a;touch pwn"] = fixture_entry(&[]);
    let home = Home::new(&config);
    // As a shell takes each for one word.
    let all = ["a", "b", r"my\ server", "x:y", "there", r"a\;touch\ pwn"];
    for command in ["restart", "stop", "logs", "status", "tap", "pause", "cache clear", "stdio --server", "next"] {
        assert_eq!(in_bash(&home, &format!("mcp-pipe {command} ")).await, all, "{command}");
    }
    for (line, words) in [
        ("mcp-pipe rest", &["restart"][..]),
        ("mcp-pipe restart th", &["there"]),
        ("mcp-pipe restart 'my s", &["my server"]),
        ("mcp-pipe restart x:", &["y"]),
        ("mcp-pipe login ", &["there"]),
        ("mcp-pipe config s", &["show", "schema"]),
        ("mcp-pipe test --suite=p", &["protocol"]),
        ("mcp-pipe status --j", &["--json"]),
        ("mcp-pipe status --end", &[]),
        ("mcp-pipe __complete ", &[]),
        ("mcp-pipe call a ", &[]),
        ("mcp-pipe restart --config /nowhere/at/all ", &[]),
    ] {
        assert_eq!(in_bash(&home, line).await, words, "{line}");
    }
    // With a daemon that has seen the tools, and after it. Nothing is written by looking.
    home.remember().await.stop().await;
    let times = || {
        let files = fs::read_dir(home.dir.path().join("cache/mcp-pipe/mcp-pipe-cache")).unwrap();
        files.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    let before = times();
    let tools = in_bash(&home, "mcp-pipe call a ").await;
    assert!(tools.contains(&"echo".to_owned()), "{tools:?}");
    assert_eq!(in_bash(&home, "mcp-pipe call a ech").await, ["echo"]);
    assert_eq!(times(), before);
    // A config with mistakes has names all the same; one that can't be read leaves those that are remembered.
    config["mcpServers"]["b"] = json!({"comand": 5});
    home.write(&config.to_string());
    assert_eq!(in_bash(&home, "mcp-pipe restart b").await, ["b"]);
    home.write("{");
    let remembered = in_bash(&home, "mcp-pipe restart ").await;
    assert!(remembered.contains(&"a".to_owned()) && remembered.contains(&"b".to_owned()), "{remembered:?}");
}

#[tokio::test]
async fn tools_of_a_server_that_has_its_endpoint_alone_are_completed_while_it_runs_and_after() {
    let home = Home::new(&json!({"mcpServers": {"a": fixture_entry(&[])}}));
    assert_eq!(in_bash(&home, "mcp-pipe call a ech").await, [""; 0]);
    let daemon = home.setup(&["--local"]).start("debug");
    within("its tools to be remembered", async {
        while home.remembered().iter().all(|name| name != "a") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(in_bash(&home, "mcp-pipe call a ech").await, ["echo"]);
    daemon.stop().await;
    assert_eq!(in_bash(&home, "mcp-pipe call a ech").await, ["echo"]);
    let (code, text) = home.run(&["cache", "clear", "a"]).await;
    assert!(code == 0 && text.contains("1 file of a removed ("), "{text}");
    assert_eq!(in_bash(&home, "mcp-pipe call a ech").await, [""; 0]);
}

#[tokio::test]
async fn fish_and_zsh_read_their_scripts_and_are_given_the_same() {
    let home = Home::new(&two());
    let fish =
        "source (mcp-pipe completions fish | psub); complete -C 'mcp-pipe restart '; complete -C 'mcp-pipe resu'";
    if let Some(words) = completed(&home, "fish", fish).await {
        assert_eq!(words[..2], ["a", "b"], "{words:?}");
        assert!(words[2].starts_with("resume\t"), "{words:?}");
    }
    // Its completion runs at a prompt only: what is given to it is looked at.
    let zsh = "_files() { print files }; compdef() { print defined $1 $2 }; source <(mcp-pipe completions zsh)\n\
               compadd() { print -l -- $values }; words=(mcp-pipe restart ''); CURRENT=3; PREFIX=; _mcp_pipe\n\
               words=(mcp-pipe resu); CURRENT=2; PREFIX=resu; _mcp_pipe";
    if let Some(words) = completed(&home, "zsh", zsh).await {
        assert_eq!(words, ["defined _mcp_pipe mcp-pipe", "a", "b", "resume", "files"]);
    }
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command_and_says_what_the_help_says() {
    let setup = Setup::new();
    let dir = setup.folder().join("pages");
    let output = Setup::new().args(["man", "--dir", dir.to_str().unwrap()]).output().await;
    let (code, text) = told(&output);
    assert_eq!(code, 0, "{text}");
    let pages: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let help = told(&Setup::new().args(["--help"]).output().await).1;
    let commands = help.split_once("\nCommands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> =
        commands.map(|line| line.split_whitespace().next().unwrap()).filter(|it| *it != "help").collect();
    assert!(commands.len() > 25, "{commands:?}");
    for name in commands.iter().map(|name| format!("mcp-pipe-{name}.1")).chain(["mcp-pipe.1".to_owned()]) {
        let page = fs::read_to_string(dir.join(&name)).unwrap();
        assert!(page.contains(".SH EXAMPLES\n.nf\n") && page.contains("mcp\\-pipe"), "{name}");
    }
    assert_eq!(pages.len(), commands.len() + 1);
    let printed = Setup::new().args(["man"]).output().await;
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), fs::read_to_string(dir.join("mcp-pipe.1")).unwrap());
    let man = ["/usr/bin/man", "/bin/man"].iter().find(|path| Path::new(path).exists());
    let Some(man) = man else { return skip("man is not installed") };
    for page in pages {
        let mut command = Command::new(man);
        command.args(["--warnings", "-l", page.to_str().unwrap()]).env("MANPAGER", "cat");
        let output = setup_for_man().output_of(command).await;
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        // Lines of examples may be longer than the page is wide.
        let warnings: Vec<&str> = warnings
            .lines()
            .filter(|line| !line.contains("can't break line") && !line.contains("cannot break line"))
            .collect();
        assert!(output.status.success() && warnings.is_empty(), "{}: {warnings:?}", page.display());
    }
}

fn setup_for_man() -> Setup {
    Setup::new().env("MANWIDTH", "150").env("MANPAGER", "cat")
}
