//! Credentials of systemd.

use super::*;

/// A case with these credentials in a folder of its own.
fn case(config: &str, credentials: &[(&str, &str)]) -> Case {
    let case = Case::new(config).no_env();
    let folder = case.dir.path().join("credentials");
    std::fs::create_dir(&folder).unwrap();
    let case = case.env(&[("CREDENTIALS_DIRECTORY", folder.to_str().unwrap())]);
    credentials.iter().fold(case, |case, (name, text)| case.file(&format!("credentials/{name}"), text))
}

const CONFIG: &str = r#"{"mcpServers": {"a": {"command": "x", "env": {"KEY": "${Api_Key}"}}}}"#;

#[test]
fn a_credential_counts_as_the_variable_of_its_name_in_any_letter_case_and_only_whom_it_is_written_for_gets_it() {
    let case = case(
        CONFIG,
        &[("mcp_endpoint", &format!("{}\n", ENDPOINT.1)), ("api_key", "s3cret-of-mine\r\n"), ("tls.key", "x")],
    );
    let resolved = case.file(".env", "OTHER=1\nAPI_KEY=of-the-file\n").ok(&[]);
    let server = &resolved.config.servers[0];
    assert!(server.endpoint.is_some());
    assert_eq!(own_env(server), [("OTHER", "1"), ("KEY", "s3cret-of-mine")]);
    assert_eq!(server.command().env_remove, ["CREDENTIALS_DIRECTORY"]);
    assert!(resolved.secrets.iter().any(|secret| secret.reveal() == "s3cret-of-mine"));
    assert!(resolved.notes.contains(&"credentials that count as variables: api_key, mcp_endpoint".to_owned()));
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    let inputs: Vec<_> = resolved.config.inputs.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert!(inputs.contains(&"api_key") && inputs.contains(&"mcp_endpoint"), "{inputs:?}");
}

#[test]
fn the_environment_counts_before_a_credential_and_what_cannot_be_used_is_told_or_left_alone() {
    let config = CONFIG.replace("Api_Key", "API_KEY");
    let case = case(&config, &[("API_KEY", "of-the-credential"), ("mcp_endpoint", "not an address")]);
    let case = case.file("credentials/binary", [0xff, 0xfe]).env(&[("API_KEY", "of-the-environment"), ENDPOINT]);
    assert_eq!(own_env(&case.ok(&[]).config.servers[0]), [("KEY", "of-the-environment")]);
    let case = Case::new(&config).env(&[("CREDENTIALS_DIRECTORY", "/nowhere/at/all"), ("API_KEY", "1")]);
    let told = case.warnings(&[]);
    assert!(told.len() == 1 && told[0].starts_with("/nowhere/at/all: can't be read and is ignored"), "{told:?}");
}

#[test]
fn a_credential_that_is_no_address_is_told_by_its_file() {
    let case = case(r#"{"mcpServers": {"a": {"command": "x"}}}"#, &[("mcp_endpoint", "wss://h h/?token=s3cretive")]);
    let told = case.mistakes(&[]).join("\n");
    assert!(told.contains("DIR/credentials/mcp_endpoint") && !told.contains("s3cretive"), "{told}");
}
