//! Tiny proxies, well-behaved and not. The endpoint's name exists only for the proxies, which have to look it up.

use super::*;

/// An endpoint that only the proxy can find.
const FAR_AWAY: &str = "ws://far-away.invalid:8004/mcp/?token=s3cret-t0ken";

fn environment(variables: &[(&str, &str)]) -> Proxies {
    Proxies::of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

fn all(proxy: &str) -> Proxies {
    environment(&[("ALL_PROXY", proxy)])
}

async fn fails_via(proxy: &str, spec: &LinkSpec) -> String {
    let error = dial_via(&all(proxy), &FAR_AWAY.parse().unwrap(), spec).await.unwrap_err();
    assert_secret(&error);
    assert!(!error.to_string().contains("passw0rd"), "{error}");
    assert!(error.to_string().contains("the proxy"), "{error}");
    error.to_string()
}

/// A CONNECT proxy that is itself the endpoint behind it.
async fn connect_proxy(answer: &'static str) -> (u16, JoinHandle<String>) {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let asked = request(&mut tcp).await;
        say(&mut tcp, answer).await;
        if answer.contains(" 200 ") {
            let upgrade = request(&mut tcp).await;
            assert!(upgrade.contains("\r\nHost: far-away.invalid:8004\r\n"), "{upgrade}");
            say(&mut tcp, &switching(&upgrade, "")).await;
        }
        asked
    });
    (port, task)
}

#[tokio::test]
async fn connect_leads_to_the_endpoint_and_the_token_is_not_shown_to_the_proxy() {
    let (port, task) = connect_proxy("HTTP/1.0 200 Connection established\r\n\r\n").await;
    let proxies = all(&format!("http://user:passw0rd@127.0.0.1:{port}"));
    dial_via(&proxies, &FAR_AWAY.parse().unwrap(), &LinkSpec::default()).await.unwrap();
    let asked = task.await.unwrap();
    assert!(asked.starts_with("CONNECT far-away.invalid:8004 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpwYXNzdzByZA==\r\n"), "{asked}");
    assert!(!asked.contains("s3cret"), "{asked}");
}

#[tokio::test]
async fn a_connect_proxy_that_does_not_connect_is_told_with_its_reason() {
    for (answer, says) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "user name or password"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "does not allow"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "can't connect to far-away.invalid:8004: HTTP 502"),
        ("\x05\x00", "does not speak HTTP"),
    ] {
        let (port, _task) = connect_proxy(answer).await;
        let text = fails_via(&format!("http://user:passw0rd@127.0.0.1:{port}"), &LinkSpec::default()).await;
        assert!(text.contains(says) && text.contains(&format!("http://127.0.0.1:{port}")), "{text}");
    }
}

/// A SOCKS5 proxy (RFC 1928) that wants `user:passw0rd`, answers the request with `reply`, and is the endpoint too.
async fn socks_proxy(reply: u8) -> (u16, JoinHandle<()>) {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut methods = [0; 2];
        tcp.read_exact(&mut methods).await.unwrap();
        let mut offered = vec![0; methods[1].into()];
        tcp.read_exact(&mut offered).await.unwrap();
        if !offered.contains(&2) {
            return tcp.write_all(&[5, 0xff]).await.unwrap();
        }
        tcp.write_all(&[5, 2]).await.unwrap();
        let mut credentials = [0; 15];
        tcp.read_exact(&mut credentials).await.unwrap();
        let right = &credentials == b"\x01\x04user\x08passw0rd";
        tcp.write_all(&[1, u8::from(!right)]).await.unwrap();
        if !right {
            return;
        }
        let mut target = [0; 5 + 16 + 2];
        tcp.read_exact(&mut target).await.unwrap();
        assert_eq!(&target, b"\x05\x01\x00\x03\x10far-away.invalid\x1f\x44", "the name, not an address of it");
        tcp.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        if reply == 0 {
            let upgrade = request(&mut tcp).await;
            say(&mut tcp, &switching(&upgrade, "")).await;
        }
    });
    (port, task)
}

#[tokio::test]
async fn socks5_leads_to_the_endpoint_by_its_name() {
    for scheme in ["socks5", "socks5h"] {
        let (port, task) = socks_proxy(0).await;
        let proxies = all(&format!("{scheme}://user:passw0rd@127.0.0.1:{port}"));
        dial_via(&proxies, &FAR_AWAY.parse().unwrap(), &LinkSpec::default()).await.unwrap();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_socks_proxy_that_does_not_connect_is_told_with_its_reason() {
    for (reply, user, says) in [
        (0, "user:passw1rd@", "user name or password"),
        (0, "", "user name or password"),
        (2, "user:passw0rd@", "does not allow"),
        (5, "user:passw0rd@", "can't connect to far-away.invalid:8004: Connection refused"),
    ] {
        let (port, _task) = socks_proxy(reply).await;
        let text = fails_via(&format!("socks5://{user}127.0.0.1:{port}"), &LinkSpec::default()).await;
        assert!(text.contains(says) && text.contains(&format!("socks5://127.0.0.1:{port}")), "{text}");
    }
    let (port, _task) = server(|_| String::new()).await;
    let text = fails_via(&format!("socks5://127.0.0.1:{port}"), &quick()).await;
    assert!(text.contains("waiting for the proxy"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_is_off_or_silent_or_of_another_kind_is_named() {
    let (listener, port) = listen().await;
    let text = fails_via(&format!("http://127.0.0.1:{port}"), &quick()).await;
    assert!(text.contains("waiting for the proxy to connect"), "{text}");
    drop(listener);
    let text = fails_via(&format!("http://127.0.0.1:{port}"), &LinkSpec::default()).await;
    assert!(text.contains("refused the connection"), "{text}");
    for scheme in ["https", "socks4"] {
        let text = fails_via(&format!("{scheme}://user:passw0rd@127.0.0.1:{port}"), &LinkSpec::default()).await;
        assert!(text.contains("not supported"), "{text}");
    }
}

#[test]
fn the_environment_decides_by_scheme_and_host_and_loopback_never_uses_a_proxy() {
    let proxies = environment(&[
        ("HTTP_PROXY", "http://plain:1"),
        ("HTTPS_PROXY", "http://secure:2"),
        ("NO_PROXY", "direct.example,10.0.0.0/8"),
    ]);
    for (endpoint, proxy) in [
        ("ws://far.example/", Some("the proxy http://plain:1")),
        ("wss://far.example/", Some("the proxy http://secure:2")),
        ("WSS://[2001:db8::1]:9/", Some("the proxy http://secure:2")),
        ("wss://direct.example/", None),
        ("wss://sub.direct.example/", None),
        ("ws://10.1.2.3/", None),
        ("ws://localhost:1/", None),
        ("ws://127.0.0.2:1/", None),
        ("wss://[::1]:1/", None),
    ] {
        let found = proxies.proxy_for(&endpoint.parse::<Endpoint>().unwrap().origin()).unwrap().map(|p| p.to_string());
        assert_eq!(found.as_deref(), proxy, "{endpoint}");
    }
}

/// The proxy for a host far away, by `wss://`.
fn named_by(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
    let far = "wss://far.example/?token=s3cret".parse::<Endpoint>().unwrap().origin();
    let found = environment(variables);
    found.proxy_for(&far).map(|proxy| proxy.map(ToString::to_string)).map_err(|error| error.to_string())
}

#[test]
fn the_first_variable_that_is_not_blank_counts() {
    for (variables, proxy) in [
        (&[("HTTPS_PROXY", ""), ("https_proxy", "a:1")][..], Some("http://a:1")),
        (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "b:1"), ("ALL_PROXY", "c:1")], Some("http://a:1")),
        (&[("HTTPS_PROXY", " "), ("all_proxy", "socks5h://c"), ("HTTP_PROXY", "d")], Some("socks5://c:1080")),
        (&[("ALL_PROXY", "socks://127.0.0.1:1/")], Some("socks5://127.0.0.1:1")),
        (&[("ALL_PROXY", "HTTP://u:p%40ss@ss@[::1]/")], Some("http://[::1]:80")),
        (&[("ALL_PROXY", "c"), ("NO_PROXY", ""), ("no_proxy", "far.example")], None),
        (&[("HTTP_PROXY", "d:1")], None),
    ] {
        let proxy = proxy.map(|proxy| format!("the proxy {proxy}"));
        assert_eq!(named_by(variables), Ok(proxy), "{variables:?}");
    }
}

#[test]
fn a_variable_that_names_no_usable_proxy_is_named_without_its_value_and_not_bypassed() {
    for (value, says) in [
        ("https://user:passw0rd@h:1", "not supported"),
        ("socks4://h:1", "not supported"),
        ("user:passw0rd://h", "not supported"),
        ("http://localhost:1234#passw0rd@127.0.0.1:9", "%23"),
        ("http://localhost:1234/passw0rd@127.0.0.1:9", "%2F"),
        ("http://localhost:1234?passw0rd@127.0.0.1:9", "%3F"),
        ("user:12#passw0rd@h:9", "%23"),
        ("http://passw0rd:80o4/", "host:port"),
        ("http://h:99999", "host:port"),
        ("http://h:9/passw0rd", "host:port"),
        ("http:/passw0rd:9", "host:port"),
        ("http://:9", "host:port"),
        ("http://pass w0rd", "host:port"),
        ("://", "not supported"),
        ("http://", "host:port"),
    ] {
        let error = named_by(&[("https_proxy", value), ("ALL_PROXY", "http://other:1")]).unwrap_err();
        assert!(error.contains("the proxy in https_proxy ") && error.contains(says), "{value}: {error}");
        assert!(!error.contains("passw0rd") && !error.contains("1234"), "{error}");
        let proxies = environment(&[("ALL_PROXY", value), ("NO_PROXY", "direct.example")]);
        for unneeded in ["wss://direct.example/", "ws://localhost/"] {
            assert!(matches!(proxies.proxy_for(&unneeded.parse::<Endpoint>().unwrap().origin()), Ok(None)), "{value}");
        }
    }
}

#[test]
fn a_stranger_who_asks_a_web_server_names_no_proxy() {
    let proxies = environment(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1"), ("ALL_PROXY", "good:1")]);
    let proxy = proxies.proxy_for(&"ws://far.example/".parse::<Endpoint>().unwrap().origin()).unwrap().unwrap();
    assert_eq!(proxy.to_string(), "the proxy http://good:1");
}
