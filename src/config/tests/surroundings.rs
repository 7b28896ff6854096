//! Which variables count, and what is said of those that don't.

use super::*;

fn look(case: &Case, cwd: &str, arguments: &[&str]) -> Surroundings {
    let line = std::iter::once("mcp-pipe").chain(arguments.iter().copied()).map(Into::into);
    Surroundings::look(
        &cli::parse(line).unwrap().options,
        case.env.iter().cloned().collect(),
        &case.dir.path().join(cwd),
    )
}

#[test]
fn mcp_pipes_own_variables_count_in_dotenv_behind_the_environments() {
    let case = Case::server(r#""args": []"#).no_env();
    let case = case.file(
        ".env",
        "MCP_LOG_LEVEL=debug\nRUST_LOG=trace\nMCP_CACHE_DIR=cache\nMCP_STATUS_SOCKET=s.sock\nNO_COLOR=1\n\
         HTTPS_PROXY=http://p:1\nhttp_proxy=http://p:2\nMCP_ENDPOINT=ws://h/\nHOME=/nowhere\n",
    );
    let case = case.env(&[("RUST_LOG", "warn"), ("MCP_LOG_LEVEL", " "), ("https_proxy", "http://own:1")]);
    let surroundings = look(&case, "", &[]);
    let get = |name| surroundings.settings().filled(name);
    assert_eq!(get("MCP_LOG_LEVEL"), Some("debug"), "a blank variable is one that is not set");
    assert_eq!(get("RUST_LOG"), Some("warn"));
    assert_eq!((get("HTTPS_PROXY"), get("https_proxy")), (None, Some("http://own:1")), "in either case of letters");
    assert_eq!(get("http_proxy"), Some("http://p:2"));
    assert_eq!(get("HOME"), None, "it is for servers");
    let config = case.ok(&[]).config;
    assert_eq!(config.cache_dir, Some(case.dir.path().join("cache")));
    assert_eq!((config.status_socket, config.plain), (Some("s.sock".into()), true));
    let problem = surroundings.placed(Problem::new("MCP_LOG_LEVEL", Code::Argument.says("has the level x"), ""));
    assert_eq!(case.lines(&[problem]), ["MCP_LOG_LEVEL (DIR/.env:1): has the level x"]);
    let problem = surroundings.placed(Problem::new("RUST_LOG", Code::Argument.says("has the level x"), ""));
    assert_eq!(problem.place.to_string(), "RUST_LOG", "that is the environment's");
}

#[test]
fn the_config_may_be_named_in_the_working_directorys_dotenv_and_not_in_the_one_beside_it() {
    let named = r#"{"mcpServers": {"named": {"command": "x"}}}"#;
    let case = Case::new("{").file("conf/c.json", named).file(".env", "\nMCP_CONFIG=conf/c.json\r\n");
    let case = case.file("conf/.env", "MCP_CONFIG=other.json\nMCP_LOG_LEVEL=debug\nSSL_CERT_FILE=x\n");
    let resolved = case.ok(&[]);
    assert_eq!(&*resolved.config.servers[0].name, "named");
    assert_eq!(
        case.lines(&resolved.warnings),
        [
            "DIR/conf/.env:3: SSL_CERT_FILE counts for servers only, not for mcp-pipe's own connections; set it in the \
             environment, or name the file in caFile",
            "DIR/conf/.env:1: MCP_CONFIG does not count here: this file was found by way of the config; set it in the \
             environment or in the working directory's .env",
        ]
    );
    assert_eq!(look(&case, "", &[]).settings().filled("MCP_LOG_LEVEL"), Some("debug"), "the other file's counts");
    let case = case.file(".env", "MCP_CONFIG=gone.json\n");
    assert!(case.mistakes(&[])[0].contains("gone.json: does not exist (MCP_CONFIG in DIR/.env:1 names it)"));
    let case = case.env(&[("MCP_CONFIG", "nowhere.json")]);
    assert!(case.mistakes(&[])[0].contains("nowhere.json: does not exist (MCP_CONFIG names it)"));
}

#[test]
fn a_carriage_return_behind_our_own_variables_is_no_part_of_them_and_behind_others_it_is_told() {
    let case = Case::new("{").file("c.json", r#"{"mcpServers": {"named": {"command": "x"}}}"#);
    let case = case.no_env().env(&[
        ("MCP_CONFIG", "c.json\r"),
        ("MCP_ENDPOINT", "ws://h/?token=s3cr3t-s3cr3t\r"),
        ("MCP_CACHE_DIR", "none\r"),
        ("MCP_STATUS_SOCKET", "s.sock\r"),
        ("API_KEY", "s3cr3t\r"),
    ]);
    let resolved = case.ok(&[]);
    let config = &resolved.config;
    assert_eq!((&*config.servers[0].name, &config.cache_dir), ("named", &None));
    assert_eq!(config.status_socket.as_deref(), Some(Path::new("s.sock")));
    assert_eq!(
        case.lines(&resolved.warnings),
        ["the environment: MCP_CONFIG, MCP_ENDPOINT, MCP_CACHE_DIR, MCP_STATUS_SOCKET, API_KEY end with a carriage \
             return (U+000D), also for servers; save the script that sets it with the line ends of Unix"]
    );
    // A .env with such line ends, beside one that old Macs wrote.
    let case = Case::server(r#""args": []"#).no_env().file(".env", "A=1\r\nMCP_ENDPOINT=ws://h/?token=x\r\n\r\n");
    assert_eq!(revealed(&case.ok(&[]).config.servers[0]), "ws://h/?token=x");
    assert!(case.warnings(&[]).is_empty());
}

#[test]
fn of_variables_that_are_set_twice_it_is_said_which_value_counts() {
    let case = Case::new("{}").no_env().env(&[("A", "environment-s3cr3t"), ("B", "same"), ("MCP_ENDPOINT", "ws://h/")]);
    let case = case
        .file("conf/c.json", r#"{"mcpServers": {"a": {"command": "x"}}}"#)
        .file("work/.env", "A=work-s3cr3t\nB=same\nC=work\n")
        .file("conf/.env", "A=conf-s3cr3t\nC=conf\nD=conf\nMCP_ENDPOINT=ws://h/\n");
    let config = case.dir.path().join("conf/c.json");
    let resolved = case.run_in(&case.dir.path().join("work"), &["--config", config.to_str().unwrap()]).unwrap();
    let notes: Vec<String> =
        resolved.notes.iter().map(|note| note.replace(case.dir.path().to_str().unwrap(), "DIR")).collect();
    assert_eq!(
        notes[1..],
        [
            "what the environment sets counts, not what DIR/work/.env does: A",
            "what the environment sets counts, not what DIR/conf/.env does: A",
            "what DIR/work/.env sets counts, not what DIR/conf/.env does: A, C",
        ]
    );
}

#[test]
fn a_slip_in_the_name_of_one_of_our_variables_is_told() {
    let case = Case::server(r#""args": []"#).env(&[
        ("mcp_endpoint", "x"),
        ("MCP_SERVER_KEY", "k"),
        ("MCP_CONFIG", "mcp_config.json"),
    ]);
    let case = case.file(".env", "A=1\nMCP_LOG_LEVL=debug\nMCP_ENDPOINTS=ws://h/\n");
    assert_eq!(
        case.warnings(&[]),
        [
            "DIR/.env:2: MCP_LOG_LEVL is none of mcp-pipe's variables; did you mean MCP_LOG_LEVEL?",
            "DIR/.env:3: MCP_ENDPOINTS is none of mcp-pipe's variables; did you mean MCP_ENDPOINT?",
            "the environment: mcp_endpoint is none of mcp-pipe's variables; did you mean MCP_ENDPOINT?",
        ]
    );
}
