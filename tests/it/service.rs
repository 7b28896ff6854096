//! mcp-pipe as a service: what would be installed, what is refused with the fix, and a service of a user that systemd runs for real.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Setup, fixture_entry, report, skip, within};

/// A home with a config in a folder of an odd name.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(config: &Value) -> Self {
        let home = Home { dir: TempDir::new().unwrap() };
        fs::create_dir_all(home.folder()).unwrap();
        fs::write(home.config(), config.to_string()).unwrap();
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self) -> PathBuf {
        self.at("a b 100% $HOME \"q\"")
    }

    fn config(&self) -> PathBuf {
        self.folder().join("c.json")
    }

    fn unit(&self) -> PathBuf {
        self.at(".config/systemd/user/mcp-pipe.service")
    }

    fn setup(&self, args: &[&str]) -> Setup {
        let setup = Setup::new().env("HOME", self.dir.path().to_str().unwrap());
        setup.args(args.iter().copied()).args(["--config", self.config().to_str().unwrap()])
    }

    async fn run(&self, args: &[&str]) -> (i32, String) {
        told(&self.setup(args).output().await)
    }
}

fn told(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

fn served() -> Value {
    let env = json!({"TOKEN": "${SECRET}"});
    let mut entry = fixture_entry(&[]);
    entry["env"] = env;
    json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"one": entry}})
}

const SECRET: &str = "s3cret \"of\" $the `shell` \\ 100%";
const DRY: [&str; 4] = ["service", "install", "--user", "--dry-run"];

#[tokio::test]
async fn a_dry_run_shows_each_file_without_its_secrets_and_writes_none() {
    let home = Home::new(&served());
    let (code, text) = home.run(&DRY).await;
    assert!(code == 78 && text.contains("SECRET"), "the service would not have it either: {text}");
    let (code, text) = told(&home.setup(&DRY).env("SECRET", SECRET).output().await);
    assert_eq!(code, 0, "{text}");
    for part in [
        &*format!("would write {}:\n", home.unit().display()),
        &format!("would write {}, for its owner only:\n", home.at(".config/mcp-pipe/service.env").display()),
        "    SECRET=…\n",
        "    Type=notify\n",
        "    WatchdogSec=30s\n",
        &format!("    EnvironmentFile={}\n", home.at(".config/mcp-pipe/service.env").display()),
        "/a b 100%% $$HOME \\\"q\\\"/c.json\"\n",
        "would run: systemctl --user daemon-reload\nwould run: systemctl --user enable mcp-pipe.service\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("DynamicUser"), "{text}");
    assert!(!home.at(".config").exists());
    // What its own .env says is left there.
    fs::write(home.folder().join(".env"), "SECRET=s3cret-of-a-file\n").unwrap();
    let (code, text) = home.run(&DRY).await;
    assert!(code == 0 && !text.contains("service.env") && !text.contains("EnvironmentFile"), "{text}");
    let (code, text) = told(&home.setup(&DRY).env("SECRET", "another").output().await);
    assert!(code == 0 && text.contains("SECRET=…") && !text.contains("another"), "{text}");
}

#[tokio::test]
async fn a_program_that_only_the_shell_finds_is_refused_with_what_to_write() {
    let home = Home::new(&json!({}));
    let bin = home.at("bin");
    fs::create_dir(&bin).unwrap();
    let make = |name: &str, text: &str| {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        bin.join(name).display().to_string()
    };
    let only = make("only-here", "#!/bin/sh\n");
    make("runs-with", "#!/usr/bin/env -S only-here x\n");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let install = async |entry: Value, more: &[&str]| {
        let config = json!({"gateway": {}, "mcpServers": {"one": entry}});
        fs::write(home.config(), config.to_string()).unwrap();
        told(&home.setup(&[&DRY, more].concat()).env("PATH", &path).output().await)
    };
    let (code, text) = install(json!({"command": "only-here"}), &[]).await;
    assert_eq!(code, 1, "{text}");
    let fix = format!(
        "one: only-here is in the PATH of this shell and not in that of the service; write \"command\": \"{only}\""
    );
    assert!(text.contains(&fix) && text.contains("mcp-pipe service install --path"), "{text}");
    assert!(!text.contains("would write"), "{text}");
    assert_eq!(install(json!({"command": only}), &[]).await.0, 0);
    let own = json!({"command": "only-here", "env": {"PATH": format!("{}:${{PATH}}", bin.display())}});
    assert_eq!(install(own, &[]).await.0, 0);
    let (code, text) = install(json!({"command": "only-here"}), &["--path"]).await;
    assert!(code == 0 && text.contains(&format!("Environment=\"PATH={path}\"")), "{text}");
    let script = bin.join("runs-with").display().to_string();
    let (code, text) = install(json!({"command": script}), &[]).await;
    let fix = format!("write \"env\": {{\"PATH\": \"{}:${{PATH}}\"}}", bin.display());
    assert!(code == 1 && text.contains("runs with only-here") && text.contains(&fix), "{text}");
    // What only starts it does not make it any better known.
    for line in [
        &["env", "X=1", "only-here"][..],
        &["/usr/bin/env", "only-here"],
        &["nice", "-n", "5", "only-here"],
        &["timeout", "9", "env", "only-here"],
        &["sh", "-c", "exec only-here x"],
        &["sh", "-c", "cd / && only-here x"],
    ] {
        let entry = json!({"command": line[0], "args": line[1..]});
        let (code, text) = install(entry.clone(), &[]).await;
        let fix =
            format!("only-here is in the PATH of this shell and not in that of the service; write {only} in its place");
        assert!(code == 1 && text.contains(&fix), "{line:?}: {text}");
        assert_eq!(install(entry, &["--path"]).await.0, 0, "{line:?}");
    }
    let own = json!({"command": "env", "args": [format!("PATH={}", bin.display()), "only-here"]});
    assert_eq!(install(own, &[]).await.0, 0);
    assert_eq!(install(json!({"command": "sh", "args": ["-c", "only-here || exit 0"]}), &[]).await.0, 0);
    let (code, text) = install(json!({"command": only, "cwd": "/nope"}), &[]).await;
    assert!(code == 1 && text.contains("its cwd, /nope, is no folder here"), "{text}");
    let (code, text) = install(json!({"command": "nowhere-at-all"}), &[]).await;
    assert!(code == 1 && text.contains("nowhere-at-all is no program here"), "{text}");
}

#[tokio::test]
async fn nothing_is_written_where_it_would_not_run() {
    let home = Home::new(&json!({"gateway": {}, "mcpServers": {"one": fixture_entry(&[])}}));
    // No manager of this test's user answers at this place.
    let (code, text) = home.run(&["service", "install", "--user"]).await;
    assert!(code == 1 && text.contains("systemd does not answer (") && text.contains("--dry-run shows"), "{text}");
    assert!(!home.at(".config").exists());
    let (code, text) = home.run(&["service", "status", "--user"]).await;
    assert!(code == 3 && text.contains("installed  no: "), "{text}");
    let (code, text) = home.run(&["service", "uninstall", "--user"]).await;
    assert!(code == 0 && text.contains("nothing to do"), "{text}");
    // What is there is somebody else's.
    fs::create_dir_all(home.unit().parent().unwrap()).unwrap();
    fs::write(home.unit(), "[Service]\nExecStart=/bin/true\n").unwrap();
    let (code, text) = home.run(&["service", "uninstall", "--user"]).await;
    assert!(
        code == 1 && text.contains("was not written by mcp-pipe service install") && home.unit().exists(),
        "{text}"
    );
    let (code, text) = told(&Setup::new().unprivileged().args(["service", "install", "--dry-run"]).output().await);
    assert!(code == 2 && text.contains("installed by root") && text.contains("--user"), "{text}");
    let nowhere = Setup::new().args(["service", "install", "--user", "--dry-run"]).output().await;
    assert!(told(&nowhere).1.contains("is no config file"), "{nowhere:?}");
    if rustix::process::geteuid().is_root() {
        // The unit of the machine hides temporary files from its service.
        let (code, text) = home.run(&["service", "install", "--dry-run"]).await;
        assert!(code == 1 && text.contains("the unit hides ") && text.contains("--user"), "{text}");
    }
}

/// Runs a manager of systemd for a user in a place of its own, and a service in it.
const WITH_SYSTEMD: &str = r#"
mount --make-rprivate / && mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/system || exit 77
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --user --log-target=console >"$HOME/systemd.log" 2>&1 &
manager=$!
for i in $(seq 200); do systemctl --user is-system-running >/dev/null 2>&1 && break; kill -0 $manager || exit 77; sleep 0.05; done
systemctl --user is-system-running >/dev/null || exit 77
cd "$HOME"
step() { echo "== $1"; shift; "$@" 2>&1; echo "rc=$?"; }
export SECRET
KEPT=$SECRET
"$MCP" --config "$CONFIG" 2>/dev/null & other=$!
"$MCP" status --wait=50s --config "$CONFIG" >/dev/null
step beside "$MCP" service install --user --config "$CONFIG"
kill $other; wait $other
step install "$MCP" service install --user --config "$CONFIG"
unset SECRET
echo "== token"
tr '\0' '\n' < /proc/$(systemctl --user show --value -p MainPID mcp-pipe)/environ | grep -Fxq "SECRET=$KEPT"; echo "rc=$?"
stat -c %a "$HOME/.config/mcp-pipe/service.env" "$HOME/.config/systemd/user/mcp-pipe.service"
step again "$MCP" service install --user --config "$CONFIG"
step status "$MCP" service status --user
step reload systemctl --user reload mcp-pipe
sed 's/"one"/"two"/' "$CONFIG" > "$CONFIG.new" && cat "$CONFIG.new" > "$CONFIG"
step changed systemctl --user reload mcp-pipe
step after "$MCP" service status --user
echo '{' > "$CONFIG"
step mistake systemctl --user reload mcp-pipe
cat "$CONFIG.new" > "$CONFIG"
step mended systemctl --user reload mcp-pipe
echo '# mine' >> "$HOME/.config/systemd/user/mcp-pipe.service"
step edited "$MCP" service status --user
step anew "$MCP" service install --user --config "$CONFIG"
step stop systemctl --user stop mcp-pipe
step stopped "$MCP" service status --user
step uninstall "$MCP" service uninstall --user
echo "== left"; (cd "$HOME/.config" && find . -type f -o -type l | sort)
echo "rc=0"
kill $manager; wait $manager
exit 0
"#;

#[tokio::test]
async fn a_service_of_a_user_is_installed_started_reloaded_stopped_and_removed() {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/lib/systemd/systemd").exists() {
        return skip("systemd is not installed, or the tests do not run as root, who may give it a place of its own");
    }
    let home = Home::new(&served());
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", WITH_SYSTEMD]).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let runtime = home.at("run");
    for (name, value) in [
        ("HOME", home.dir.path().to_str().unwrap()),
        ("XDG_RUNTIME_DIR", runtime.to_str().unwrap()),
        ("PATH", &std::env::var("PATH").unwrap()),
        ("MCP", env!("CARGO_BIN_EXE_mcp-pipe")),
        ("CONFIG", home.config().to_str().unwrap()),
        ("SECRET", SECRET),
    ] {
        command.env(name, value);
    }
    let output = within("systemd to be done", command.output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(77) {
        let log = fs::read_to_string(home.at("systemd.log")).unwrap_or_default();
        report(&log);
        return skip(&format!("systemd can't run for a user here: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let step = |name: &str| {
        let rest = text.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("{name}\n{text}")).1;
        let (said, rest) = rest.split_once("rc=").unwrap();
        (rest.lines().next().unwrap().parse::<i32>().unwrap(), said.to_owned())
    };
    let is = |name: &str, code: i32, parts: &[&str]| {
        let (found, said) = step(name);
        assert!(found == code && parts.iter().all(|part| said.contains(part)), "{name}: {parts:?}\n{text}");
    };
    is("beside", 1, &["another mcp-pipe runs with ", "nothing was installed"]);
    is("install", 0, &["written: ", "service.env", "systemctl --user restart mcp-pipe.service", "the service runs"]);
    is("token", 0, &[]);
    assert!(text.contains("rc=0\n600\n644\n== again"), "{text}");
    is("again", 0, &["nothing to do"]);
    is("status", 0, &["installed  yes", "at boot    enabled", "now        active", "one"]);
    is("reload", 0, &[]);
    is("changed", 0, &[]);
    is("after", 0, &["two"]);
    assert_ne!(step("mistake").0, 0, "{text}");
    is("mended", 0, &[]);
    is("edited", 0, &["which somebody has changed since"]);
    is("anew", 0, &["what somebody had written there is kept as", "mcp-pipe.service.old"]);
    is("stop", 0, &[]);
    is("stopped", 3, &["now        inactive"]);
    is("uninstall", 0, &["removed ", "left as they are: the config ("]);
    is("left", 0, &[]);
    assert_eq!(step("left").1, "./systemd/user/mcp-pipe.service.old\n", "{text}");
    assert!(home.config().exists() && !text.contains("s3cret"), "{text}");
}

/// Looks at the unit of the machine, made where it hides nothing.
const OF_THE_MACHINE: &str = r#"
mount --make-rprivate / && mount -t tmpfs none /opt && chmod 755 /opt || exit 77
mkdir -p "/opt/a b 100% \$X" && cd "/opt/a b 100% \$X" && cp "$MCP" mcp-pipe && cp "$CONFIG" c.json && chmod 600 c.json
echo "== closed"; ./mcp-pipe service install --dry-run --config c.json 2>&1; echo "rc=$?"
chmod 644 c.json
echo "== open"; ./mcp-pipe service install --dry-run --config c.json 2>&1 | tee out; echo "rc=${PIPESTATUS[0]}"
sed -n 's/^    //p' out | sed -n '/to change it/,$p' > /opt/mcp-pipe.service
echo "== verify"; systemd-analyze verify /opt/mcp-pipe.service 2>&1; echo "rc=$?"
exit 0
"#;

#[tokio::test]
async fn the_unit_of_the_machine_is_one_that_systemd_takes() {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/systemd-analyze").exists() {
        return skip(
            "systemd-analyze is not installed, or the tests do not run as root, who alone installs for the machine",
        );
    }
    let config = json!({"gateway": {}, "mcpServers": {"one": {"command": "sh", "args": ["-c", "cat"], "env": {"TOKEN": "${SECRET}"}}}});
    let home = Home::new(&config);
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", OF_THE_MACHINE]).env("SECRET", SECRET).env("MCP", env!("CARGO_BIN_EXE_mcp-pipe"));
    let output = within("systemd to look", command.env("CONFIG", home.config()).output()).await.unwrap();
    let (code, text) = told(&output);
    if code == 77 {
        return skip(&format!("there can be no place of its own here: {text}"));
    }
    assert!(text.contains("which can't read /opt/a b 100% $X/c.json") && text.contains("chmod o+r"), "{text}");
    for part in [
        "would write /etc/mcp-pipe/service.env, for its owner only:",
        "    DynamicUser=yes\n",
        "    EnvironmentFile=/etc/mcp-pipe/service.env\n",
        "    ExecStart=\"/opt/a b 100%% $X/mcp-pipe\" --config \"/opt/a b 100%% $$X/c.json\"\n",
        "== verify\nrc=0\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

/// Whether the unit is one that systemd takes, also where it can't be run.
#[tokio::test]
async fn the_unit_is_one_that_systemd_takes() {
    let home = Home::new(&json!({"gateway": {}, "mcpServers": {"one": fixture_entry(&[])}}));
    let (code, text) = home.run(&[&DRY[..], &["--path"]].concat()).await;
    assert_eq!(code, 0, "{text}");
    let unit: String =
        text.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    let file = home.at("mcp-pipe.service");
    fs::write(&file, &unit).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "verify", file.to_str().unwrap()]);
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return skip("systemd-analyze is not installed");
    }
    let (code, said) = told(&home.setup(&[]).output_of(command).await);
    assert!(code == 0 && said.is_empty(), "{said}\n{unit}");
}
