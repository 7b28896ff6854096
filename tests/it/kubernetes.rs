//! The manifests in `deploy/kubernetes`: as Kubernetes has them by its schemas, and what each of them has to have besides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Authority, Setup, installed, skip};

/// The folders of which each is applied as one.
const WAYS: [(&str, &str); 2] = [("statefulset", "StatefulSet"), ("deployment", "Deployment")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// The manifests in a text, each checked by the schemas.
fn checked(python: &Path, text: &str) -> Result<Vec<Value>, String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/manifests.py");
    let mut command = Command::new(python);
    command.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(said) }
}

/// The files of a folder and of those that its kustomization names, which names all of them.
fn files(way: &Path) -> Vec<PathBuf> {
    let kustomization = fs::read_to_string(way.join("kustomization.yaml")).unwrap();
    let named: Vec<&str> = kustomization.lines().filter_map(|line| line.strip_prefix("  - ")).collect();
    let mut all = Vec::new();
    for entry in fs::read_dir(way).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if name != "kustomization.yaml" && entry.extension().is_some_and(|end| end == "yaml") {
            assert!(named.contains(&name), "{entry:?} is not among the resources");
            all.push(entry);
        }
    }
    all.extend(named.iter().filter(|name| name.starts_with("../")).flat_map(|base| files(&way.join(base))));
    all
}

/// All manifests that a folder is made of, as one text.
fn written(way: &str) -> String {
    let all = files(&folder().join(way));
    all.iter().map(|file| format!("---\n{}", fs::read_to_string(file).unwrap())).collect()
}

/// What `kubectl` makes of a folder, where there is one that can.
fn rendered(way: &str) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("kubectl").arg("kustomize").arg(folder().join(way)).env("HOME", home.path()).output();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).unwrap()),
        // Before 1.21 it knows no bases among the resources.
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("must be a file") => None,
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => None,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The manifest of this kind and name.
fn the<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |manifest: &&Value| manifest["kind"] == kind && manifest["metadata"]["name"] == name;
    all.iter().find(is_it).unwrap_or_else(|| panic!("there is a {kind} {name}"))
}

#[tokio::test]
async fn manifests_are_right_by_the_schemas_of_kubernetes_and_let_nobody_do_more_than_needed() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    for (way, kind) in WAYS {
        let all = checked(&python, &written(way)).unwrap();
        check(&all, kind).await;
        match rendered(way) {
            Some(text) => {
                let rendered = checked(&python, &text).unwrap();
                check(&rendered, kind).await;
                assert_eq!(rendered.len(), all.len() + 1, "and the config");
                let config = &the(&rendered, "ConfigMap", "mcp-pipe")["data"]["mcp_config.json"];
                assert_eq!(config, &fs::read_to_string(folder().join(way).join("mcp_config.json")).unwrap());
            }
            None => skip(&format!("no kubectl of 1.21 or later, so deploy/kubernetes/{way} is not rendered")),
        }
    }
}

/// What the schemas say nothing of.
async fn check(all: &[Value], kind: &str) {
    let pod = &the(all, kind, "mcp-pipe")["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let selects = [
        &the(all, kind, "mcp-pipe")["spec"]["selector"]["matchLabels"],
        &the(all, "PodDisruptionBudget", "mcp-pipe")["spec"]["selector"]["matchLabels"],
        &the(all, "NetworkPolicy", "mcp-pipe")["spec"]["podSelector"]["matchLabels"],
    ];
    assert!(selects.iter().all(|selects| *selects == labels && labels.is_object()), "{selects:?}");
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], the(all, "ServiceAccount", "mcp-pipe")["metadata"]["name"]);
    for off in ["automountServiceAccountToken", "enableServiceLinks"] {
        assert_eq!(spec[off], false, "{off}");
    }
    for none in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        assert_eq!(spec[none], Value::Null, "{none}");
    }
    assert!(spec["terminationGracePeriodSeconds"].as_u64().unwrap() >= 20);
    let whose = &spec["securityContext"];
    assert_eq!((&whose["runAsNonRoot"], &whose["seccompProfile"]["type"]), (&json!(true), &json!("RuntimeDefault")));
    assert!(["runAsUser", "runAsGroup", "fsGroup"].iter().all(|id| whose[id] == 10001), "the image's user: {whose}");
    // Those of claims are made for each pod.
    let volumes =
        list(&spec["volumes"]).iter().chain(list(&the(all, kind, "mcp-pipe")["spec"]["volumeClaimTemplates"]));
    let volumes: Vec<&Value> =
        volumes.map(|it| if it["name"].is_null() { &it["metadata"]["name"] } else { &it["name"] }).collect();
    assert!(list(&spec["volumes"]).iter().all(|volume| volume["hostPath"].is_null()));
    let containers: Vec<&Value> = list(&spec["containers"]).iter().chain(list(&spec["initContainers"])).collect();
    assert!(!containers.is_empty());
    for container in containers {
        let may = &container["securityContext"];
        let want = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(may, &want);
        let resources = &container["resources"];
        for needed in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(resources.pointer(needed).is_some(), "{needed} in {resources}");
        }
        for mount in list(&container["volumeMounts"]) {
            assert!(volumes.contains(&&mount["name"]), "{mount} of {volumes:?}");
        }
        for variable in list(&container["env"]).iter().filter(|variable| variable["name"] == "MCP_ENDPOINT") {
            assert!(variable["value"].is_null() && variable["valueFrom"]["secretKeyRef"].is_object(), "{variable}");
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = &container[probe];
            // The commands themselves wait 5 s for an answer.
            assert!(probe["timeoutSeconds"].as_u64().unwrap() > 5, "{probe}");
            let command: Vec<&str> =
                list(&probe["exec"]["command"]).iter().map(|word| word.as_str().unwrap()).collect();
            let ["mcp-pipe", arguments @ ..] = &command[..] else { panic!("{command:?}") };
            let nobody = Setup::new().args(arguments.iter().copied()).output().await;
            assert!(
                matches!(nobody.status.code(), Some(1 | 3)),
                "a command that there is, and nobody answers: {nobody:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_slip_in_a_manifest_is_found() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    for (way, _) in WAYS {
        let right = written(way);
        for (before, after, want) in [
            ("readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true", "readOnlyRootFileSystem"),
            ("automountServiceAccountToken: false", "automountServiceAccountToken: \"no\"", "boolean"),
            ("      enableServiceLinks: false", "      enableServiceLink: false", "enableServiceLink"),
            ("periodSeconds: 20", "periodSeconds: 20s", "integer"),
            ("maxUnavailable: 1\n  unhealthy", "maxUnavailable: 1\n  maxUnavailable: 2\n  unhealthy", "stands twice"),
            ("apiVersion: apps/v1", "apiVersion: apps/v1beta1", "v1beta1"),
            ("policyTypes:", "policyType:", "policyType"),
        ] {
            assert!(right.contains(before), "{before}");
            let told = checked(&python, &right.replacen(before, after, 1)).unwrap_err();
            assert!(told.contains(want), "{after}: {told}");
        }
    }
}

#[tokio::test]
async fn the_configs_of_the_manifests_are_valid_where_the_pod_has_what_they_name() {
    let authority = Authority::new();
    authority.sign_client();
    for (way, _) in WAYS {
        let text = fs::read_to_string(folder().join(way).join("mcp_config.json")).unwrap();
        let manifest = fs::read_to_string(folder().join(way).join(format!("{way}.yaml"))).unwrap();
        // What the pod mounts, and what is in the image.
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut here = text.replace("/config/examples", examples.to_str().unwrap());
        for (mounted, file) in [("ca.crt", "ca.pem"), ("tls.crt", "client.pem"), ("tls.key", "client.key")] {
            here = here.replace(&format!("/etc/etcd-tls/{mounted}"), authority.file(file).to_str().unwrap());
        }
        let mut setup = Setup::new().file("mcp_config.json", &here).args(["validate", "--json"]);
        for variable in ["MCP_ENDPOINT", "POD_NAME"] {
            if manifest.contains(&format!("- name: {variable}\n")) {
                setup =
                    setup.env(variable, if variable == "POD_NAME" { "pod-0" } else { "wss://h/x?token=0123456789" });
            }
        }
        let told = setup.output().await;
        let findings: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((told.status.code(), &findings["findings"]), (Some(0), &json!([])), "{way}");
    }
}
