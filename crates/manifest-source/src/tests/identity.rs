//! Who a static pod is.

use super::{admitted, origin, verdict, with_metadata, with_spec};
use crate::identity::Origin;
use crate::manifest::read_manifest;
use crate::manifest_file;
use pod_model::WallTime;
use std::path::Path;

#[test]
fn a_static_pod_bears_the_nodes_name_and_the_kubelets_annotations() {
    let pod = admitted(&with_spec("nodeName: n1"));
    assert_eq!(pod.name().to_string(), "default/p-n1");
    assert_eq!(pod.spec().node_name.as_deref(), Some("n1"));
    let uid = pod.uid().as_str();
    assert_eq!(uid.len(), 32);
    assert!(uid.bytes().all(|b| b.is_ascii_hexdigit()));
    let annotations = pod.pod().metadata.annotations.clone().unwrap_or_default();
    let of = |key: &str| annotations.get(key).map(String::as_str);
    assert_eq!(of("kubernetes.io/config.source"), Some("file"));
    assert_eq!(of("kubernetes.io/config.hash"), Some(uid));
    assert_eq!(
        of("kubernetes.io/config.seen"),
        Some("2023-11-14T22:13:20Z")
    );
    assert_eq!(manifest_file(&pod), Some(Path::new("/m/p.yaml")));
    let forever = pod.spec().tolerations.iter().flatten();
    let forever: Vec<_> = forever
        .map(|t| (t.operator.as_deref(), t.effect.as_deref()))
        .collect();
    assert_eq!(forever, [(Some("Exists"), Some("NoExecute"))]);
}

#[test]
fn the_uid_follows_the_values_the_node_and_the_file_and_nothing_else() {
    let uid = |text: &str, origin: &Origin<'_>| match read_manifest(text, origin).as_deref() {
        Ok([pod]) => pod.uid().to_string(),
        other => panic!("{other:?}"),
    };
    let text = with_spec("hostname: h");
    let here = uid(&text, &origin());
    for same in [
        format!("# a comment\n{text}"),
        with_spec("hostname: 'h'   # quoted"),
        with_spec("hostname: h\nvolumes: null"),
        "spec: {hostname: h, containers: [{image: 'i:1', name: c}]}\nmetadata: {name: p}\nkind: Pod\napiVersion: v1\n".to_owned(),
    ] {
        assert_eq!(uid(&same, &origin()), here, "{same}");
    }
    for other in [
        with_spec("hostname: g"),
        with_spec("hostname: h\nsubdomain: s"),
        with_spec("hostname: h\nrestartPolicy: Always"),
    ] {
        assert_ne!(uid(&other, &origin()), here, "{other}");
    }
    let later = Origin {
        seen: WallTime(0),
        ..origin()
    };
    assert_eq!(
        uid(&text, &later),
        here,
        "when it was seen is no part of it"
    );
    let node = Origin {
        node_name: "n2",
        ..origin()
    };
    assert_ne!(uid(&text, &node), here);
    let file = Origin {
        file: Path::new("/m/q.yaml"),
        ..origin()
    };
    assert_ne!(uid(&text, &file), here);
}

#[test]
fn the_uid_of_a_manifest_stays_what_it_is_from_one_release_to_the_next() {
    // Another value here means that every static pod of every node is replaced by an upgrade.
    assert_eq!(
        admitted(&with_spec("")).uid().as_str(),
        "987a36b8c1d23bc85a16a5ff3b86495d"
    );
}

#[test]
fn a_manifest_may_name_its_uid() {
    let uid = "0b1c2d3e-0000-4000-8000-000000000001";
    let pod = admitted(&with_metadata(&format!("{{name: p, uid: {uid}}}")));
    assert_eq!(pod.uid().as_str(), uid);
    let annotations = pod.pod().metadata.annotations.clone().unwrap_or_default();
    let of = |key: &str| annotations.get(key).map(String::as_str);
    assert_eq!(of("kubernetes.io/config.hash"), Some(uid), "as a kubelet");
    assert_eq!(of("coracle.dev/manifest-hash").map(str::len), Some(32));
    // an empty one is none, as in a kubelet
    let made = admitted(&with_metadata("{name: p, uid: ''}"));
    assert_eq!(made.uid().as_str().len(), 32);
}

#[test]
fn a_uid_that_is_no_part_of_a_path_is_refused() {
    let long = "a".repeat(65);
    for uid in ["..", "a/b", "A", "-a", "a-", "a.b", "a_b", &long] {
        let said = verdict(&with_metadata(&format!("{{name: p, uid: '{uid}'}}")));
        assert_eq!(
            said,
            format!(
                "metadata.uid: Invalid value: \"{uid}\": must be 1 to 64 of a-z, 0-9 and '-', with a letter or digit at both ends"
            )
        );
    }
    // it names the log directory, with namespace and name
    let name = "p".repeat(200);
    let said = verdict(&with_metadata(&format!(
        "{{name: {name}, uid: {}}}",
        &long[..64]
    )));
    assert!(said.contains("may not be more than 182 bytes"), "{said}");
}
