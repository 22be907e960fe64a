use crate::file::is_manifest_name;

#[test]
fn manifests_are_told_from_what_editors_leave_beside_them() {
    for name in [
        "a.yaml",
        "a.yml",
        "a.json",
        "kube-proxy.yaml",
        "a.b.yaml",
        "ä.yaml",
    ] {
        assert!(is_manifest_name(name.as_bytes()), "{name}");
    }
    for name in [
        ".a.yaml",
        ".a.yaml.swp",
        ".a.yaml.swx",
        "a.yaml~",
        "a.yaml.~1~",
        "#a.yaml#",
        ".#a.yaml",
        "a.yaml.bak",
        "a.yaml.orig",
        "a.yaml.tmp",
        "a.yaml.rpmsave",
        "a.yaml.dpkg-old",
        "4913",
        "a",
        "a.txt",
        "a.YAML",
        ".yaml",
        "yaml",
        "",
        "..data",
        "a.yaml.1234",
    ] {
        assert!(!is_manifest_name(name.as_bytes()), "{name}");
    }
}
