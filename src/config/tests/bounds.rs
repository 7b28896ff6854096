//! What bounds the harm of a server: what counts, and what is told.

use super::*;
use crate::config::{BreakerSpec, Replicas};
use crate::tools::Glob;

#[test]
fn what_is_written_counts_and_nothing_is_bounded_without() {
    let case = Case::new(
        r#"{"mcpServers": {
              "a": {"command": "x", "circuitBreaker": {"openFor": "1m"}, "fallback": "b", "replicas": 3, "sticky": true,
                    "cache": {"tools": ["get_*"], "ttl": "2s"}},
              "b": {"command": "x", "circuitBreaker": {"failures": "2", "description": "of a person"}},
              "c": {"command": "x", "replicas": 1}}}"#,
    );
    let told = case.ok(&[]);
    let [a, b, c] = &told.config.servers[..] else { panic!("{:?}", told.config.servers) };
    let (minute, usual) = (Duration::from_secs(60), defaults::BREAKER_OPEN_FOR);
    assert_eq!(a.bounds.breaker, Some(BreakerSpec { failures: defaults::BREAKER_FAILURES, open_for: minute }));
    assert_eq!(b.bounds.breaker, Some(BreakerSpec { failures: 2, open_for: usual }));
    assert_eq!((a.bounds.fallback.as_deref(), a.bounds.stands_in), (Some("b"), false));
    assert_eq!(a.instances, Instances::Replicas(Replicas { number: 3, sticky: true }));
    let cache = a.bounds.cache.as_ref().unwrap();
    assert_eq!((&cache.tools[..], cache.ttl), (&[Glob::new("get_*")][..], Duration::from_secs(2)));
    assert!(b.bounds.stands_in && b.endpoint.is_none() && a.endpoint.is_some() && c.endpoint.is_some());
    assert_eq!((c.instances, c.bounds.clone()), (Instances::Shared, Bounds::default()));
    assert_eq!(told.warnings.len(), 0, "{:?}", told.warnings);
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    for (keys, said) in [
        (
            r#""circuitBreaker": true"#,
            "circuitBreaker: is no object; write {\"failures\": 5, \"openFor\": \"30s\"}, or leave it out",
        ),
        (
            r#""circuitBreaker": {"failures": 0}"#,
            "circuitBreaker.failures: is 0, and that is no whole number above 0; write 1 or more",
        ),
        (
            r#""circuitBreaker": {"openFor": 30}"#,
            "circuitBreaker.openFor: is 30, and a time needs a unit; write \"30s\"",
        ),
        (r#""circuitBreaker": {"openFor": "10ms"}"#, "the shortest time is 1s here"),
        (r#""circuitBreaker": {"resetTimeout": "30s"}"#, "did you mean openFor?"),
        (r#""circuitBreaker": {"failure": 3}"#, "did you mean failures?"),
        (
            r#""cache": {"ttl": "10s"}"#,
            "cache: names no tool, and only whoever knows a tool can say that its answers may be given twice",
        ),
        (r#""cache": {"tools": []}"#, "cache: names no tool"),
        (
            r#""cache": ["get_*"]"#,
            "cache: is no object; write {\"tools\": [\"get_*\"], \"ttl\": \"10s\"}, or leave it out",
        ),
        (r#""cache": {"tools": ["x"], "maxAge": "1s"}"#, "did you mean ttl?"),
        (r#""cache": {"tools": ["x"], "ttl": 0}"#, "ttl: is 0, and the shortest time is 1s here; write \"1s\" or more"),
        (r#""fallback": " ""#, "fallback: is empty; name one of mcpServers, or leave it out"),
        (r#""replicas": true"#, "replicas: is true, and that is no whole number from 1 to 64; write it like 3"),
        (r#""replicas": []"#, "replicas: is a list, and that is no whole number from 1 to 64; write it like 3"),
        (r#""timeout": {}"#, "timeout: is an object, and that is no time; write it like \"5s\", \"2m\" or \"500ms\""),
        (r#""limits": {"memory": true}"#, "memory: is true, and that is no size; write it like \"512MiB\" or \"2GiB\""),
        (r#""fallback": "a""#, "fallback: is the server itself; name another one"),
        (r#""fallback": "bb""#, "fallback: names bb, and no server runs that is called so; name one of mcpServers"),
        (r#""fallback": ["b"]"#, "fallback: is a list"),
        (r#""replicas": 0"#, "replicas: is 0, and that is no whole number from 1 to 64; write it like 3"),
        (r#""replicas": 65"#, "that is no whole number from 1 to 64"),
        (r#""replicas": 2.5"#, "that is no whole number from 1 to 64"),
        (r#""replicas": 2, "instances": "per-peer""#, "remove one of the two for a"),
        (r#""replicas": 2, "handshake": "relay""#, "remove one of the two for a"),
    ] {
        let case =
            Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "x", {keys}}}, "b": {{"command": "x"}}}}}}"#));
        let told = case.mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(said), "{keys}: {told:?}");
    }
    let remote = Case::new(r#"{"mcpServers": {"a": {"url": "http://127.0.0.1:1/", "replicas": 2}}}"#).mistakes(&[]);
    assert!(
        remote[0].contains("replicas: is for servers that are started, and this one is reached at its url; remove it"),
        "{remote:?}"
    );
    let chain = Case::new(
        r#"{"mcpServers": {"a": {"command": "x", "fallback": "b"}, "b": {"command": "x", "fallback": "c"}, "c": {"command": "x"}}}"#,
    );
    assert!(
        chain.mistakes(&[])[0]
            .contains("names b, which has a fallback itself; name that one, as calls are passed on once")
    );
}

#[test]
fn what_does_nothing_is_told() {
    let told = Case::server(r#""sticky": true"#).warnings(&[]);
    assert!(told[0].contains("sticky: does nothing, as a is one process for all"), "{told:?}");
    let case = Case::new(
        r#"{"mcpServers": {"a": {"command": "x", "fallback": "b"}, "b": {"command": "x", "endpoint": "wss://h/?token=abcdefghij"}}}"#,
    );
    let told = case.warnings(&[]);
    assert!(
        told[0].contains("endpoint: does nothing, as the server is the fallback of another one and shown nowhere"),
        "{told:?}"
    );
}

#[test]
fn whoever_runs_one_server_has_no_fallback_and_needs_none() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x", "fallback": "b"}, "b": {"command": "x"}}}"#);
    assert!(case.ok(&["a"]).config.servers.iter().all(|server| !server.bounds.stands_in));
    assert!(case.ok(&["b"]).config.servers.iter().all(|server| !server.bounds.stands_in && server.endpoint.is_some()));
}
