//! Files as a whole: documents, lists, kinds, and texts that are no manifests.

use super::{located, origin, with_spec};
use crate::manifest::read_manifest;
use proptest::prelude::*;

#[test]
fn a_file_may_have_several_documents_and_lists() {
    let pod = |name: &str| with_spec("").replace("name: p\n", &format!("name: {name}\n"));
    let documents = format!("# two\n---\n{}---\n---\n{}...\n", pod("a"), pod("b"));
    assert_eq!(located(&documents), "2 pods");
    let item = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: x}}]}}}}"
        )
    };
    assert_eq!(
        located(&format!(
            "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems: [{}, {}]\n",
            item("a"),
            item("b")
        )),
        "2 pods"
    );
    let bare = item("a").replace("apiVersion: v1, kind: Pod, ", "");
    assert_eq!(
        located(&format!("apiVersion: v1\nkind: PodList\nitems: [{bare}]\n")),
        "1 pods"
    );
    assert_eq!(located("apiVersion: v1\nkind: List\nitems: []\n"), "0 pods");
    assert_eq!(located("# nothing for now\n"), "0 pods");
    assert_eq!(
        located(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"c","image":"x"}]}}"#
        ),
        "1 pods"
    );
}

#[test]
fn a_text_that_is_no_manifest_is_refused_with_its_place() {
    for (text, said) in [
        (
            "",
            "p.yaml: the file is empty; to remove its pods, delete it",
        ),
        (
            " \n\t\n",
            "p.yaml: the file is empty; to remove its pods, delete it",
        ),
        ("a: [1", "p.yaml:1:4: unclosed bracket '['"),
        (
            "just text",
            "p.yaml:1:1: expected an object, found the text \"just text\"",
        ),
        ("- a\n", "p.yaml:1:1: expected an object, found a list"),
        ("kind: Pod\n", "p.yaml:1:1: apiVersion: Required value"),
        ("apiVersion: v1\n", "p.yaml:1:1: kind: Required value"),
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "p.yaml:2:1: kind: \"Deployment\" of \"apps/v1\" is not supported by this node: it runs \"Pod\" of \"v1\", alone or in a \"List\"",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "p.yaml:2:1: kind: \"ConfigMap\" of \"v1\" is not supported by this node: it runs \"Pod\" of \"v1\", alone or in a \"List\"",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n",
            "p.yaml:5:3: items[0].kind: \"Secret\" of \"v1\" is not supported by this node: it runs \"Pod\" of \"v1\", alone or in a \"List\"",
        ),
        (
            "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n  spec:\n    containers:\n    - name: c\n",
            "p.yaml:7:7: items[0].spec.containers[0].image: Required value",
        ),
        (
            "apiVersion: v1\nkind: List\nitem: []\n",
            "p.yaml:3:1: item: unknown field",
        ),
        (
            "apiVersion: v1\nkind: Pod\nkind: Pod\n",
            "p.yaml:3:1: duplicate mapping key: kind not allowed here",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n",
            "p.yaml:1:1: spec.containers: Required value",
        ),
    ] {
        assert_eq!(located(text), said, "{text:?}");
    }
}

#[test]
fn one_bad_document_spoils_its_file() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: b}}\nspec: {{containers: []}}\n",
        with_spec("")
    );
    assert_eq!(
        located(&text),
        "p.yaml:11:8: spec.containers: Required value"
    );
}

#[test]
fn a_manifest_that_is_all_wrong_is_told_in_a_bounded_way() {
    let fields: String = (0..5_000).map(|i| format!("x{i}: 1\n")).collect();
    assert_eq!(located(&with_spec(&fields)).lines().count(), 32);
    let long = with_spec(&format!("hostname: {}", "X".repeat(100_000)));
    assert!(located(&long).len() < 1_000);
    let items = "- {apiVersion: v1, kind: Pod, bad: 1}\n".repeat(2_000);
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{items}");
    assert_eq!(located(&list).lines().count(), 100);
}

/// YAML made of the words of manifests: nearly right more often than noise is.
fn nearly_a_manifest() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "apiVersion: v1\n",
        "kind: Pod\n",
        "kind: List\n",
        "metadata:\n",
        "  name: a\n",
        "  labels: {a: b, c: 1}\n",
        "spec:\n",
        "items:\n- ",
        "  containers:\n",
        "  - name: c\n",
        "    image: x:1\n",
        "    env:\n",
        "    - name: A\n      value: b\n",
        "    resources:\n",
        "      limits: {cpu: 1, memory: -5}\n",
        "    ports: [{containerPort: 70000}]\n",
        "    securityContext: {privileged: true}\n",
        "  volumes: [{name: v, hostPath: {path: ../x}}]\n",
        "  tolerations: [{}]\n",
        "---\n",
        "  affinity: 5\n",
        "&a ",
        "*a",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "\n",
        "  ",
        "\"",
        "null",
        "  restartPolicy: 7\n",
        "  dnsConfig: {}\n",
        "    volumeMounts: [{subPath: /}]\n",
        "status: {}\n",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof!["\\PC{0,300}", nearly_a_manifest()]) {
        if let Ok(pods) = read_manifest(&text, &origin()) {
            for pod in pods {
                prop_assert!(pod.containers().count() > 0);
            }
        }
    }

    #[test]
    fn no_value_of_a_field_makes_it_panic(text in "\\PC{0,40}|[a-z0-9./:@-]{0,30}|-?[0-9]{1,25}", field in 0..FIELDS.len()) {
        let quoted = serde_json::Value::String(text.clone()).to_string();
        for value in [&text, &quoted] {
            let body = FIELDS[field].replace('$', value);
            // What is accepted must hold together: the accessors of an admitted pod rely on it.
            if let Ok(pods) = read_manifest(&with_spec(&body), &origin()) {
                for pod in &pods {
                    prop_assert_eq!(pod.uid().as_str().len(), 32);
                }
            }
        }
    }
}

const FIELDS: [&str; 14] = [
    "hostname: $",
    "subdomain: $",
    "restartPolicy: $",
    "terminationGracePeriodSeconds: $",
    "hostAliases: [{ip: $, hostnames: [$]}]",
    "dnsConfig: {nameservers: [$], searches: [$], options: [{name: $, value: $}]}",
    "volumes: [{name: $, hostPath: {path: $, type: $}}]",
    "volumes: [{name: v, emptyDir: {medium: $, sizeLimit: $}}]",
    "containers: [{name: $, image: $}]",
    "containers: [{name: c, image: x, resources: {limits: {cpu: $, memory: $}, requests: {cpu: $}}}]",
    "containers: [{name: c, image: x, env: [{name: $, valueFrom: {fieldRef: {fieldPath: $}}}]}]",
    "containers: [{name: c, image: x, env: [{name: A, valueFrom: {resourceFieldRef: {resource: $, divisor: $}}}]}]",
    "containers: [{name: c, image: x, ports: [{containerPort: $, hostPort: $, hostIP: $, name: $, protocol: $}]}]",
    "containers: [{name: c, image: x, volumeMounts: [{name: $, mountPath: $, subPath: $, subPathExpr: $}]}]",
];
