//! Images: pulled from a real registry, loaded from files, listed, removed.

use node_tests::image::{self, Packing};
use node_tests::manifest::{BUSYBOX, idle};
use node_tests::registry::Registry;
use node_tests::{Image, Layer, Node, archive, pod, seconds};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A pod of one container that runs a script in `image`.
fn run(node: &Node, name: &str, image: &str, script: &str, policy: &str) -> String {
    node.apply(&one(name, image, script, policy));
    node.wait_phase(name, "Succeeded");
    node.logs(name, "main")
}

fn one(name: &str, image: &str, script: &str, policy: &str) -> node_tests::manifest::Manifest {
    pod(name).once().container(json!({
        "name": "main", "image": image, "imagePullPolicy": policy, "command": ["/bin/sh", "-c", script],
    }))
}

#[test]
fn an_image_is_pulled_by_tag_and_by_digest() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    let digest = registry.push("team/tool", "1.0", &Image::busybox());
    assert_eq!(
        run(
            &node,
            "by-tag",
            &registry.reference("team/tool", "1.0"),
            "echo tag",
            "IfNotPresent"
        ),
        "tag\n"
    );
    let pinned = format!("{}/team/tool@{digest}", registry.address);
    assert_eq!(
        run(&node, "by-digest", &pinned, "echo digest", "Always"),
        "digest\n"
    );
    let status = node.pod("by-digest").expect("the pod");
    let id = status.container("main").value["imageID"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(id.contains("sha256:"), "{id}");
}

#[test]
fn an_index_gives_the_image_of_this_platform() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    let ours = Image::busybox().layer(Layer::new().file("which", "ours"));
    let mut theirs = Image::busybox().layer(Layer::new().file("which", "theirs"));
    theirs.architecture = "s390x".to_owned();
    registry.push_index("multi", "1", &[&theirs, &ours]);
    assert_eq!(
        run(
            &node,
            "multi",
            &registry.reference("multi", "1"),
            "cat /which",
            "IfNotPresent"
        ),
        "ours"
    );
}

#[test]
fn layers_of_every_packing_are_applied_in_order() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    let image = Image::busybox()
        .layer_as(
            Layer::new()
                .dir("a", 0o755)
                .file("a/kept", "1")
                .file("a/hidden", "1")
                .dir("b", 0o755)
                .file("b/old", "1"),
            Packing::Zstd,
        )
        .layer_as(
            Layer::new()
                .whiteout("a/hidden")
                .dir("b", 0o755)
                .opaque("b")
                .file("b/new", "2"),
            Packing::Plain,
        )
        .layer_as(
            Layer::new()
                .file("a/kept", "3")
                .symlink("a/link", "kept")
                .hard_link("a/hard", "a/kept"),
            Packing::Gzip,
        );
    registry.push("layers", "1", &image);
    let script = "ls /a /b | tr '\\n' ' '; cat /a/kept /a/link /a/hard";
    assert_eq!(
        run(
            &node,
            "layers",
            &registry.reference("layers", "1"),
            script,
            "IfNotPresent"
        ),
        "/a: hard kept link  /b: new 333"
    );
}

#[test]
fn owners_and_modes_of_files_are_kept() {
    let node = Node::start();
    let image = Image::busybox().layer(Layer::new().file_as("owned", 0o640, 1000, "x"));
    node.load("localhost/owned:1", &image);
    assert_eq!(
        run(
            &node,
            "owned",
            "localhost/owned:1",
            "stat -c '%u %g %a' /owned",
            "Never"
        ),
        "1000 1000 640\n"
    );
}

#[test]
fn a_password_is_taken_from_dockers_configuration() {
    let probe = Node::builder().without_images().prepare();
    let config = probe.dir("docker.json");
    std::fs::write(
        &config,
        json!({"auths": {"127.0.0.1:5001": {"auth": "YW5hOnNlY3JldA=="}}}).to_string(),
    )
    .unwrap();
    let node = Node::builder()
        .without_images()
        .config(&format!(
            "registries:\n  dockerConfig: {}\n",
            config.display()
        ))
        .start();
    let registry = Registry::start_with_password(&node.sandbox);
    registry.push("secret", "1", &Image::busybox());
    assert_eq!(
        run(
            &node,
            "secret",
            &registry.reference("secret", "1"),
            "echo in",
            "IfNotPresent"
        ),
        "in\n"
    );
}

#[test]
fn without_the_password_the_pull_is_refused() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start_with_password(&node.sandbox);
    registry.push("secret", "1", &Image::busybox());
    node.apply(&one(
        "secret",
        &registry.reference("secret", "1"),
        "true",
        "IfNotPresent",
    ));
    let secret = node.wait_pod("secret", "refused", |pod| {
        pod.try_container("main")
            .is_some_and(|main| ["ErrImagePull", "ImagePullBackOff"].contains(&main.waiting()))
    });
    let said = node.say(&["get", "events"]) + &secret.container("main").message();
    assert!(
        ["401", "unauthorized", "authorization failed"]
            .iter()
            .any(|word| said.to_lowercase().contains(word)),
        "{said}"
    );
}

#[test]
fn an_image_that_is_nowhere_is_tried_again_after_a_back_off() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    node.apply(&one(
        "absent",
        &registry.reference("absent", "1"),
        "true",
        "IfNotPresent",
    ));
    let waiting = node.wait_pod("absent", "backing off", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.waiting() == "ImagePullBackOff")
    });
    let message = waiting.container("main").message();
    assert!(message.starts_with("Back-off pulling image"), "{message}");
    registry.push("absent", "1", &Image::busybox());
    node.wait_phase("absent", "Succeeded");
}

#[test]
fn a_policy_of_never_does_not_ask() {
    let node = Node::start();
    node.apply(&one("never", "localhost/nowhere:1", "true", "Never"));
    let never = node.wait_pod("never", "refused", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.waiting() == "ErrImageNeverPull")
    });
    assert_eq!(
        never.container("main").message(),
        "Container image \"localhost/nowhere:1\" is not present with pull policy of Never"
    );
    assert_eq!(
        run(&node, "present", BUSYBOX, "echo here", "Never"),
        "here\n"
    );
}

#[test]
fn a_policy_of_always_sees_a_moved_tag() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    let version = |text: &str| Image::busybox().layer(Layer::new().file("version", text));
    let reference = registry.reference("app", "latest");
    registry.push("app", "latest", &version("one"));
    assert_eq!(
        run(&node, "first", &reference, "cat /version", "IfNotPresent"),
        "one"
    );
    registry.push("app", "latest", &version("two"));
    assert_eq!(
        run(&node, "cached", &reference, "cat /version", "IfNotPresent"),
        "one"
    );
    assert_eq!(
        run(&node, "fresh", &reference, "cat /version", "Always"),
        "two"
    );
}

#[test]
fn a_mirror_is_asked_first() {
    let node = Node::builder()
        .without_images()
        .config("registries:\n  mirrors:\n    example.org: [\"http://127.0.0.1:5000\"]\n")
        .start();
    let registry = Registry::start(&node.sandbox);
    registry.push("library/tool", "1", &Image::busybox());
    assert_eq!(
        run(
            &node,
            "mirrored",
            "example.org/library/tool:1",
            "echo mirrored",
            "IfNotPresent"
        ),
        "mirrored\n"
    );
}

#[test]
fn images_are_pulled_listed_and_removed_by_hand() {
    let node = Node::builder().without_images().start();
    let registry = Registry::start(&node.sandbox);
    registry.push("tool", "1", &Image::busybox());
    let reference = registry.reference("tool", "1");
    node.say(&["pull", &reference]);
    assert!(
        node.say(&["images"]).contains("127.0.0.1:5000/tool"),
        "{}",
        node.say(&["images"])
    );
    let listed = node.json(&["images", "-o", "json"]);
    assert!(listed.to_string().contains(&reference), "{listed:#}");
    node.say(&["rmi", &reference]);
    assert!(!node.say(&["images"]).contains("127.0.0.1:5000/tool"));
    let said = node.refuses(&["rmi", &reference]);
    assert!(said.contains(&reference), "{said}");
}

#[test]
fn an_image_in_use_is_not_removed() {
    let node = Node::start();
    node.apply(&pod("user").container(idle("main")));
    node.wait_ready("user");
    let said = node.refuses(&["rmi", BUSYBOX]);
    assert!(
        said.contains("user"),
        "it does not name who uses it: {said}"
    );
}

#[test]
fn removing_the_last_image_of_a_layer_frees_its_files() {
    let node = Node::builder().without_images().start();
    let files = |node: &Node| -> BTreeSet<String> {
        node_tests::leaks::files(&node.root().join("images"))
            .into_iter()
            .collect()
    };
    // an answer comes when the store is open; the socket is there before
    node.say(&["images"]);
    let before = files(&node);
    node.load(
        "localhost/a:1",
        &Image::busybox().layer(Layer::new().file("a", "1")),
    );
    node.load(
        "localhost/b:1",
        &Image::busybox().layer(Layer::new().file("b", "1")),
    );
    node.say(&["rmi", "localhost/a:1"]);
    assert_eq!(run(&node, "left", "localhost/b:1", "cat /b", "Never"), "1");
    node.remove_manifest("left");
    node.wait_gone("left");
    node.say(&["rmi", "localhost/b:1"]);
    let begin = Instant::now();
    loop {
        let now = files(&node);
        let left: Vec<_> = now.difference(&before).collect();
        if left.is_empty() {
            break;
        }
        assert!(begin.elapsed() < seconds(10), "not deleted: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn archives_of_docker_and_oci_are_loaded() {
    let node = Node::builder().without_images().start();
    let plain = image::pack(&image_tar("docker"), Packing::Plain);
    let mut image = Image::busybox();
    image.layers.push(plain);
    let file = node.dir("docker.tar");
    archive::docker(
        &file,
        &["localhost/docker:1", "localhost/docker:alias"],
        &image,
    );
    let said = node.say(&["load", &file.to_string_lossy()]);
    assert!(
        said.contains("localhost/docker:1") && said.contains("localhost/docker:alias"),
        "{said}"
    );
    assert_eq!(
        run(
            &node,
            "docker",
            "localhost/docker:alias",
            "cat /from",
            "Never"
        ),
        "docker"
    );
    let other = Image::busybox().layer(Layer::new().file("from", "oci"));
    let file = node.dir("oci.tar");
    archive::oci(
        &file,
        &[
            ("localhost/first:1", &image),
            ("localhost/second:1", &other),
        ],
    );
    node.say(&["load", &file.to_string_lossy()]);
    assert_eq!(
        run(&node, "oci", "localhost/second:1", "cat /from", "Never"),
        "oci"
    );
}

fn image_tar(text: &str) -> Vec<u8> {
    Layer::new().file("from", text).into_tar()
}

#[test]
fn images_survive_a_restart_of_the_agent() {
    let node = Node::start();
    let before: Value = node.json(&["images", "-o", "json"]);
    node.restart_agent();
    assert_eq!(node.json(&["images", "-o", "json"]), before);
    assert_eq!(run(&node, "after", BUSYBOX, "echo ok", "Never"), "ok\n");
}

/// When the node first says `what` in the pod's timeline.
fn told_at(node: &Node, pod: &str, what: &str) -> Option<jiff::Timestamp> {
    let told = node.json(&["explain", pod, "-o", "json"]);
    let steps = told["steps"].as_array()?;
    let step = steps.iter().find(|step| step["what"] == what)?;
    step["at"].as_str()?.parse().ok()
}

#[test]
fn a_pod_that_waits_for_an_image_sees_it_as_soon_as_somebody_loads_it() {
    let node = Node::start();
    let mut container = idle("main");
    container["image"] = json!("localhost/brought:1");
    container["imagePullPolicy"] = json!("Never");
    node.apply(&pod("waits").container(container));
    node.wait_pod("waits", "waiting for its image", |pod| {
        pod.value.to_string().contains("ErrImageNeverPull")
    });
    node.load("localhost/brought:1", &Image::busybox());
    node.wait_ready("waits");
    let refused = told_at(&node, "waits", "ErrImageNeverPull").expect("the refusal");
    let found = told_at(&node, "waits", "Pulled").expect("the image");
    // by itself it looks again after ten
    assert!(found.duration_since(refused).as_secs() < 10);
}
