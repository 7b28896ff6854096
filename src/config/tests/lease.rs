//! Leases: what counts, what is refused with what to write, and that nobody sees the password.

use super::*;
use crate::config::{LeaseSpec, Standby};

fn case(lease: &str) -> Case {
    Case::new(&format!(r#"{{"lease": {lease}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#))
}

fn spec(lease: &str, env: &[(&str, &str)]) -> LeaseSpec {
    (*case(lease).env(env).ok(&[]).config.lease.unwrap()).clone()
}

#[test]
fn what_is_written_counts_and_there_is_no_lease_without() {
    let usual = spec(r#"{"etcd": "http://127.0.0.1:2379"}"#, &[]);
    assert_eq!((usual.etcd.len(), usual.ttl, &*usual.prefix), (1, Duration::from_secs(10), "/mcp-pipe/"));
    assert_eq!((usual.node, usual.standby, usual.login, usual.tls), (None, Standby::Cold, None, TlsSpec::default()));
    let all = spec(
        r#"{"etcd": ["https://a:2379/", "${ETCD}"], "ttl": "3s", "prefix": "home", "node": "${HOST}", "standby": "warm",
            "user": "u", "password": "${PASS}"}"#,
        &[("ETCD", "https://b:2379"), ("HOST", "kitchen"), ("PASS", "s3cret-s3cret")],
    );
    assert_eq!((all.etcd.len(), all.ttl, &*all.prefix), (2, Duration::from_secs(3), "home/"));
    assert_eq!((all.node.as_deref(), all.standby), (Some("kitchen"), Standby::Warm));
    assert!(all.login.as_ref().is_some_and(|(user, password)| user == "u" && password.reveal() == "s3cret-s3cret"));
    assert!(!format!("{all:?}").contains("s3cret"));
    assert!(case("null").ok(&[]).config.lease.is_none());
    assert!(case(r#"{"etcd": "http://h:1"}"#).ok(&["--local"]).config.lease.is_none(), "nobody else can serve that");
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    for (lease, said) in [
        ("true", "lease: is no object; write {\"etcd\": [\"https://etcd-1:2379\", …]}, or leave it out for none"),
        ("{}", "lease: names no etcd; write {\"etcd\": "),
        (r#"{"etcd": []}"#, "lease: names no etcd"),
        (r#"{"etcd": "etcd-1:2379"}"#, "lease.etcd: "),
        (r#"{"etcd": ["https://a", "ws://b"]}"#, "has the scheme \"ws\""),
        (
            r#"{"etcd": "https://u:p@a"}"#,
            "lease.etcd: has a user name, which stands elsewhere; write \"user\" and \"password\"",
        ),
        (r#"{"etcd": "https://a/v3"}"#, "lease.etcd: has a path, and etcd has none; write scheme, host and port only"),
        (r#"{"etcd": "${UNSET}"}"#, "lease.etcd: needs UNSET, which nothing sets"),
        (r#"{"etcd": "http://h", "ttl": "2s"}"#, "a lease lives for 3 to 60 whole seconds; write it like 10s"),
        (r#"{"etcd": "http://h", "ttl": "61s"}"#, "a lease lives for 3 to 60 whole seconds"),
        (r#"{"etcd": "http://h", "ttl": "3500ms"}"#, "a lease lives for 3 to 60 whole seconds"),
        (r#"{"etcd": "http://h", "ttl": 10}"#, "lease.ttl: is 10, and a time needs a unit; write \"10s\""),
        (
            r#"{"etcd": "http://h", "prefix": "/"}"#,
            "lease.prefix: is no beginning of a key; write a text like /mcp-pipe/",
        ),
        (r#"{"etcd": "http://h", "node": " "}"#, "lease.node: is no name for a daemon"),
        (r#"{"etcd": "http://h", "standby": "hot"}"#, "it must be one of cold, warm"),
        (r#"{"etcd": "http://127.0.0.1", "user": "u"}"#, "lease.user: has no password beside it"),
        (r#"{"etcd": "http://127.0.0.1", "password": "p"}"#, "lease.password: has no user beside it"),
        (r#"{"etcd": "http://127.0.0.1", "user": "u", "password": ""}"#, "lease.password: is empty"),
        (
            r#"{"etcd": "http://etcd:2379", "user": "u", "password": "p"}"#,
            "lease.password: would be sent to http://etcd:2379",
        ),
        (r#"{"etcd": "https://h", "keyFile": "k.pem"}"#, "names the key of a certificate, and there is no certFile"),
        (r#"{"endpoints": ["https://h"]}"#, "did you mean etcd?"),
        (r#"{"etcd": "http://h", "username": "u"}"#, "did you mean user?"),
        (r#"{"etcd": "http://h", "ttll": "3s"}"#, "did you mean ttl?"),
    ] {
        let told = case(lease).mistakes(&[]);
        assert!(told[0].contains(said), "{lease}: {told:?}");
    }
}

#[test]
fn the_password_is_kept_from_servers_and_from_whoever_looks_at_the_config() {
    let lease = r#"{"etcd": "https://h", "user": "u", "password": "x-${PART}"}"#;
    let resolved = case(lease).env(&[("PART", "s3cret-s3cret")]).ok(&[]);
    assert!(resolved.secrets.iter().any(|secret| secret.reveal().contains("s3cret-s3cret")));
    let removed = &resolved.config.servers[0].command().env_remove;
    assert!(removed.iter().any(|name| name == "PART"), "{removed:?}");
}
