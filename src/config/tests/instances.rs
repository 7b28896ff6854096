//! Whether each peer has a process of its own: what counts, and what is told.

use super::*;

#[test]
fn instances_are_the_entrys_then_the_files_and_their_bounds_as_well() {
    let case = Case::new(
        r#"{"instances": "per-peer", "idle": "2m",
            "mcpServers": {
              "a": {"command": "x"},
              "b": {"command": "x", "instances": "shared"},
              "c": {"command": "x", "idle": "1s", "maxInstances": 3}}}"#,
    );
    let got: Vec<_> = case.ok(&[]).config.servers.iter().map(|server| server.instances).collect();
    let of = |seconds, most| Instances::PerPeer(PerPeer { idle: Duration::from_secs(seconds), most });
    assert_eq!(got, [of(120, defaults::MAX_INSTANCES), Instances::Shared, of(1, 3)]);
    let plain = Case::server(r#""args": []"#).ok(&[]);
    assert_eq!((plain.config.servers[0].instances, plain.warnings.len()), (Instances::Shared, 0));
}

#[test]
fn wrong_values_are_refused_with_place_and_remedy() {
    let case = Case::server(r#""instances": "per-user", "idle": "10", "maxInstances": 0"#);
    assert_eq!(
        case.mistakes(&[]),
        [
            "mcp_config.json:1:52 mcpServers.a.instances: is \"per-user\", and it must be one of shared, per-peer; did you mean per-peer?",
            "mcp_config.json:1:72 mcpServers.a.idle: is \"10\", and a time needs a unit; write 10s, or 10m for minutes",
            "mcp_config.json:1:94 mcpServers.a.maxInstances: is 0, and that is no whole number from 1 to 1000; write it like 16",
        ]
    );
    for (members, want) in [
        (
            r#""instances": true"#,
            "mcpServers.a.instances: is true, and it must be one of shared, per-peer; write one of them",
        ),
        (r#""instances": "per-peer", "idle": "500ms""#, "the shortest time is 1s here; write 1s or more"),
        (r#""instances": "per-peer", "maxInstances": 1001"#, "that is no whole number from 1 to 1000"),
        (
            r#""instances": "per-peer", "handshake": "relay""#,
            "mcp_config.json:1:52 mcpServers.a.instances: gives each endpoint a process of its own, the first of which answers all \
             handshakes, and \"handshake\": \"relay\" has each go to the server itself; remove one of the two for a",
        ),
    ] {
        let told = Case::server(members).mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{members}: {told:?}");
    }
}

#[test]
fn bounds_without_anything_to_bound_are_warned_about() {
    let told = Case::server(r#""idle": "1m", "maxInstances": 3"#).warnings(&[]);
    assert_eq!(
        told,
        [
            "mcp_config.json:1:47 mcpServers.a.idle: does nothing, as all endpoints share the one process of a; write \"instances\": \
             \"per-peer\" beside it, or remove idle",
            "mcp_config.json:1:69 mcpServers.a.maxInstances: does nothing, as all endpoints share the one process of a; write \
             \"instances\": \"per-peer\" beside it, or remove maxInstances",
        ]
    );
    let at_the_top = |entry: &str| {
        Case::new(&format!(
            r#"{{"maxInstances": 3, "mcpServers": {{"a": {{"command": "x"}}, "b": {{"command": "y"{entry}}}}}}}"#
        ))
        .warnings(&[])
    };
    assert!(at_the_top("")[0].starts_with("mcp_config.json:1:18 maxInstances: does nothing"), "{:?}", at_the_top(""));
    assert!(at_the_top(r#", "instances": "per-peer""#).is_empty());
}
