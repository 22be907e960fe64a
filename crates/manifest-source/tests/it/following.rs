//! What becomes of pods when files change: the rules of the crate's documentation, one by one.

use crate::node::{Node, names, pod, problems, uid};
use manifest_source::Verdict;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

const BROKEN: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec: [\n";

#[test]
fn a_written_file_is_a_pod_and_a_removed_one_is_none() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    node.until_pods(&["a-n1"]);
    node.write("b.json", r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"x"}]}}"#);
    node.until_pods(&["a-n1", "b-n1"]);
    node.remove("a.yaml");
    node.until_pods(&["b-n1"]);
}

#[test]
fn files_that_were_there_before_are_in_the_first_ready_snapshot() {
    let mut node = Node::new();
    for name in ["a", "b", "c"] {
        node.write(&format!("{name}.yaml"), &pod(name, "x:1"));
    }
    node.restart();
    assert_eq!(names(&node.now()), ["a-n1", "b-n1", "c-n1"]);
    assert!(node.now().ready);
}

#[test]
fn a_changed_manifest_is_another_pod_and_a_changed_comment_is_not() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let first = node.until_pods(&["a-n1"]);
    node.write("a.yaml", &format!("# a comment\n{}", pod("a", "x:1")));
    node.write("b.yaml", &pod("b", "x:1"));
    let second = node.until_pods(&["a-n1", "b-n1"]);
    let same = |s: &manifest_source::Snapshot| s.pods.values().next().map(|p| p.pod.clone());
    assert_eq!(
        same(&first),
        same(&second),
        "with the time when it was first seen"
    );
    node.write("a.yaml", &pod("a", "x:2"));
    node.until("another uid", |s| uid(s, "a-n1") != uid(&first, "a-n1"));
    node.write("a.yaml", &pod("a", "x:1"));
    node.until("the first uid again", |s| {
        uid(s, "a-n1") == uid(&first, "a-n1")
    });
}

#[test]
fn a_file_that_does_not_parse_keeps_its_last_good_pods_and_says_why() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let good = node.until_pods(&["a-n1"]);
    for (text, said) in [
        (BROKEN, "a.yaml:5:7: unclosed bracket '['"),
        (
            &*pod("a", "x:1").replace("image:", "imagee:"),
            "a.yaml:8:5: spec.containers[0].imagee: unknown field; did you mean \"image\"?",
        ),
        (
            "",
            "a.yaml: the file is empty; to remove its pods, delete it",
        ),
    ] {
        node.write("a.yaml", text);
        let snapshot = node.until(said, |s| problems(s, &node.dir) == [said]);
        assert_eq!(snapshot.pods, good.pods);
        assert!(snapshot.ready && snapshot.undecided.is_empty());
    }
    node.write("a.yaml", &pod("a", "x:2"));
    let mended = node.until("mended", |s| s.problems.is_empty());
    assert_ne!(uid(&mended, "a-n1"), uid(&good, "a-n1"));
    node.write("a.yaml", BROKEN);
    node.remove("a.yaml");
    node.until("nothing", |s| s.pods.is_empty() && s.problems.is_empty());
}

#[test]
fn a_file_that_was_never_good_since_the_start_is_undecided_and_its_pods_of_before_are_kept() {
    let mut node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    node.write("b.yaml", &pod("b", "x:1"));
    let before = node.until_pods(&["a-n1", "b-n1"]);
    let of = |name: &str| {
        before
            .pods
            .values()
            .find(|p| p.pod.name().name == name)
            .map(|p| p.pod.clone())
            .expect(name)
    };
    let (a, b) = (of("a-n1"), of("b-n1"));
    node.write("a.yaml", BROKEN);
    node.restart();
    let after = node.now();
    assert_eq!(names(&after), ["b-n1"]);
    assert_eq!(
        after.undecided.iter().collect::<Vec<_>>(),
        [&node.path("a.yaml")]
    );
    assert_eq!(after.verdict(&a), Verdict::Undecided);
    assert_eq!(after.verdict(&b), Verdict::Wanted);
    node.remove("a.yaml");
    let removed = node.until("decided", |s| s.undecided.is_empty());
    assert_eq!(removed.verdict(&a), Verdict::Gone);
    node.write("b.yaml", &pod("b", "x:2"));
    node.until("replaced", |s| s.verdict(&b) == Verdict::Gone);
}

#[test]
fn one_bad_document_keeps_the_whole_file_as_it_was() {
    let node = Node::new();
    node.write(
        "a.yaml",
        &format!("{}---\n{}", pod("a", "x:1"), pod("b", "x:1")),
    );
    let good = node.until_pods(&["a-n1", "b-n1"]);
    node.write(
        "a.yaml",
        &format!("{}---\n{}", pod("a", "x:2"), pod("b", "' x'")),
    );
    let snapshot = node.until("a problem", |s| !s.problems.is_empty());
    assert_eq!(snapshot.pods, good.pods);
    assert_eq!(
        problems(&snapshot, &node.dir),
        [
            "a.yaml:17:5: spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace"
        ]
    );
}

#[test]
fn a_missing_directory_is_a_source_that_is_not_ready_and_its_pods_go_on() {
    let mut node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let good = node.until_pods(&["a-n1"]);
    let away = node.dir.with_file_name("away");
    fs::rename(&node.dir, &away).expect("rename the directory");
    let gone = node.until("not ready", |s| !s.ready);
    assert_eq!(gone.pods, good.pods);
    let said = gone.problems[0].to_string();
    assert!(
        said.ends_with(
            "the directory of the manifests cannot be read: No such file or directory (os error 2)"
        ),
        "{said}"
    );
    let a = good
        .pods
        .values()
        .next()
        .map(|p| p.pod.clone())
        .expect("a pod");
    assert_eq!(gone.verdict(&a), Verdict::Wanted);
    // Also for an agent that starts now.
    node.restart();
    assert!(!node.now().ready && node.now().pods.is_empty());
    assert_eq!(node.now().verdict(&a), Verdict::Undecided);
    fs::rename(&away, &node.dir).expect("rename the directory back");
    node.until("ready again", |s| {
        s.ready && names(s) == ["a-n1"] && s.problems.is_empty()
    });
}

#[test]
fn a_directory_in_the_place_of_another_is_followed() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    node.until_pods(&["a-n1"]);
    let next = node.dir.with_file_name("next");
    fs::create_dir(&next).expect("the next directory");
    fs::write(next.join("b.yaml"), pod("b", "x:1")).expect("its manifest");
    fs::rename(&node.dir, node.dir.with_file_name("old")).expect("move the old one away");
    fs::rename(&next, &node.dir).expect("move the next one in");
    node.until_pods(&["b-n1"]);
    node.write("c.yaml", &pod("c", "x:1"));
    node.until_pods(&["b-n1", "c-n1"]);
}

#[test]
fn a_directory_made_anew_is_followed() {
    let node = Node::new();
    fs::remove_dir(&node.dir).expect("remove the directory");
    node.until("not ready", |s| !s.ready);
    fs::create_dir(&node.dir).expect("make it again");
    node.until("ready", |s| s.ready);
    node.write("a.yaml", &pod("a", "x:1"));
    node.until_pods(&["a-n1"]);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_not_ready() {
    let mut node = Node::new();
    fs::remove_dir(&node.dir).expect("remove the directory");
    fs::write(&node.dir, "no directory").expect("a file in its place");
    node.restart();
    assert!(!node.now().ready);
    assert!(
        node.now().problems[0]
            .to_string()
            .contains("Not a directory")
    );
}

#[test]
fn the_first_file_in_sort_order_has_a_name_that_two_use() {
    let node = Node::new();
    node.write("b.yaml", &pod("p", "x:1"));
    let of_b = node.until_pods(&["p-n1"]);
    node.write("a.yaml", &pod("p", "x:2"));
    let said = format!(
        "b.yaml: pod default/p-n1 is in {} already, and the first in sort order wins",
        node.path("a.yaml").display()
    );
    let said = said.replace(&format!("{}/", node.dir.display()), "");
    let both = node.until("the clash", |s| problems(s, &node.dir) == [said.clone()]);
    assert_eq!(names(&both), ["p-n1"]);
    assert_ne!(uid(&both, "p-n1"), uid(&of_b, "p-n1"));
    node.remove("a.yaml");
    let again = node.until("no clash", |s| s.problems.is_empty());
    assert_eq!(uid(&again, "p-n1"), uid(&of_b, "p-n1"));
    node.write(
        "b.yaml",
        &format!("{}---\n{}", pod("p", "x:1"), pod("p", "x:2")),
    );
    let within = node.until("a clash within a file", |s| !s.problems.is_empty());
    assert_eq!(uid(&within, "p-n1"), uid(&of_b, "p-n1"));
}

#[test]
fn what_editors_leave_behind_is_no_manifest() {
    let node = Node::new();
    for name in [
        ".a.yaml.swp",
        "a.yaml~",
        "#a.yaml#",
        ".#a.yaml",
        "4913",
        "a.yaml.bak",
        "README",
        "a.yaml.tmp",
    ] {
        node.write(name, &pod("a", "x:1"));
    }
    fs::create_dir(node.path("sub.yaml")).expect("a directory with a manifest's name");
    node.write("z.yaml", &pod("z", "x:1"));
    let snapshot = node.until_pods(&["z-n1"]);
    assert_eq!(snapshot.problems, []);
}

#[test]
fn a_pod_outlives_an_editor_that_renames_the_file_away_and_writes_it_anew() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let first = node.until_pods(&["a-n1"]);
    let running = node.running.as_ref().expect("running");
    let mut snapshots = running.snapshots();
    snapshots.mark_unchanged();
    // vim with 'backup', emacs: the old text goes to the backup's name, the new one comes under the old name.
    fs::rename(node.path("a.yaml"), node.path("a.yaml~")).expect("make a backup");
    node.write("a.yaml", &pod("a", "x:1"));
    node.write("marker.yaml", &pod("marker", "x:1"));
    let seen = node.until_pods(&["a-n1", "marker-n1"]);
    assert_eq!(uid(&seen, "a-n1"), uid(&first, "a-n1"));
    fs::rename(node.path("a.yaml"), node.path("a.yaml.off")).expect("put it away for good");
    node.until_pods(&["marker-n1"]);
}

#[test]
fn a_file_moved_into_place_or_linked_is_whole_at_once() {
    let node = Node::new();
    node.write("a.yaml.new", &pod("a", "x:1"));
    fs::rename(node.path("a.yaml.new"), node.path("a.yaml")).expect("move it in");
    node.until_pods(&["a-n1"]);
    let elsewhere = node.dir.with_file_name("elsewhere");
    fs::write(&elsewhere, pod("b", "x:1")).expect("a file elsewhere");
    symlink(&elsewhere, node.path("b.yaml")).expect("a link to it");
    fs::write(node.dir.with_file_name("c"), pod("c", "x:1")).expect("another file");
    fs::hard_link(node.dir.with_file_name("c"), node.path("c.yaml")).expect("a hard link to it");
    node.until_pods(&["a-n1", "b-n1", "c-n1"]);
}

#[test]
fn files_behind_a_switched_link_change_together() {
    // As a ConfigMap is mounted: names link into `..data`, which is switched by a rename.
    let mut node = Node::new();
    for (version, image) in [("..v1", "x:1"), ("..v2", "x:2")] {
        fs::create_dir(node.path(version)).expect("a version");
        fs::write(node.path(version).join("a.yaml"), pod("a", image)).expect("its manifest");
    }
    symlink("..v1", node.path("..data")).expect("the current version");
    symlink("..data/a.yaml", node.path("a.yaml")).expect("the file");
    node.restart();
    let first = node.until_pods(&["a-n1"]);
    symlink("..v2", node.path("..data_tmp")).expect("the next version");
    fs::rename(node.path("..data_tmp"), node.path("..data")).expect("switch");
    node.until("the second version", |s| {
        uid(s, "a-n1") != uid(&first, "a-n1")
    });
}

#[test]
fn a_half_written_file_is_not_believed_before_it_is_closed() {
    let node = Node::new();
    let text = pod("a", "x:1");
    let half = text.find("spec").expect("a spec");
    let mut file = fs::File::create(node.path("a.yaml")).expect("a new file");
    file.write_all(&text.as_bytes()[..half])
        .expect("the first half");
    node.write("b.yaml", &pod("b", "x:1"));
    let meanwhile = node.until_pods(&["b-n1"]);
    assert_eq!(meanwhile.problems, []);
    file.write_all(&text.as_bytes()[half..])
        .expect("the second half");
    drop(file);
    let whole = node.until_pods(&["a-n1", "b-n1"]);
    assert_eq!(whole.problems, []);
}

#[test]
fn what_cannot_be_read_keeps_its_last_good_pods() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let good = node.until_pods(&["a-n1"]);
    let replace = |make: &dyn Fn(&std::path::Path)| {
        let staged = node.path("staged");
        make(&staged);
        fs::rename(&staged, node.path("a.yaml")).expect("move it in");
    };
    type Make<'a> = &'a dyn Fn(&std::path::Path);
    let cases: [(Make<'_>, &str); 5] = [
        (
            &|p| symlink("/nonexistent/x", p).expect("link"),
            "a.yaml: is a link to \"/nonexistent/x\", which does not exist",
        ),
        (
            &|p| symlink("a.yaml", p).expect("link"),
            "a.yaml: cannot be opened: Too many levels of symbolic links (os error 40)",
        ),
        (
            &|p| {
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    p,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::RUSR,
                    0,
                )
                .expect("fifo")
            },
            "a.yaml: is not a regular file",
        ),
        (
            &|p| fs::write(p, b"a: 1\nb: \xff\n").expect("file"),
            "a.yaml: is not UTF-8 text: line 2",
        ),
        (
            &|p| fs::write(p, " ".repeat((4 << 20) + 1)).expect("file"),
            "a.yaml: is longer than 4 MiB",
        ),
    ];
    for (make, said) in cases {
        replace(make);
        let snapshot = node.until(said, |s| problems(s, &node.dir) == [said]);
        assert_eq!(snapshot.pods, good.pods, "{said}");
        assert!(snapshot.undecided.is_empty());
    }
    replace(&|p| fs::write(p, pod("a", "x:1")).expect("file"));
    node.until("mended", |s| s.problems.is_empty() && s.pods == good.pods);
}

#[test]
fn a_change_of_mode_changes_no_pod() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    let good = node.until_pods(&["a-n1"]);
    fs::set_permissions(node.path("a.yaml"), fs::Permissions::from_mode(0o600)).expect("chmod");
    node.write("b.yaml", &pod("b", "x:1"));
    let after = node.until_pods(&["a-n1", "b-n1"]);
    assert_eq!(uid(&after, "a-n1"), uid(&good, "a-n1"));
}

#[test]
fn the_slow_reading_finds_what_no_event_told_of() {
    let node = Node::with_interval(Duration::from_millis(300));
    let elsewhere = node.dir.with_file_name("elsewhere");
    fs::write(&elsewhere, pod("a", "x:1")).expect("a file elsewhere");
    symlink(&elsewhere, node.path("a.yaml")).expect("a link to it");
    let first = node.until_pods(&["a-n1"]);
    fs::write(&elsewhere, pod("a", "x:2")).expect("change it behind the link");
    node.until("the change", |s| uid(s, "a-n1") != uid(&first, "a-n1"));
    fs::remove_file(&elsewhere).expect("remove it behind the link");
    let dangling = node.until("the dangling link", |s| !s.problems.is_empty());
    assert_eq!(names(&dangling), ["a-n1"], "the last good pod goes on");
}

#[test]
fn a_thousand_rewrites_leave_one_pod_of_the_last_text() {
    let node = Node::new();
    for i in 0..1_000 {
        if i % 2 == 0 {
            node.write("a.yaml", &pod("a", &format!("x:{i}")));
        } else {
            node.write("a.tmp", &pod("a", &format!("x:{i}")));
            fs::rename(node.path("a.tmp"), node.path("a.yaml")).expect("move it in");
        }
        assert!(names(&node.now()).len() <= 1);
    }
    node.until("the last text", |s| {
        let image = |p: &manifest_source::SourcedPod| p.pod.spec().containers[0].image.clone();
        names(s) == ["a-n1"]
            && s.pods
                .values()
                .all(|p| image(p).as_deref() == Some("x:999"))
            && s.problems.is_empty()
    });
}

#[test]
fn more_events_than_the_kernel_keeps_lose_nothing() {
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .expect("the limit")
        .trim()
        .parse()
        .expect("a number");
    let node = Node::new();
    node.write("keep.yaml", &pod("keep", "x:1"));
    node.until_pods(&["keep-n1"]);
    // Every one of these is an event of its own, and no two in a row are merged.
    let (a, b) = (node.path("x1"), node.path("x2"));
    fs::write(&a, "").expect("a file");
    for _ in 0..limit {
        fs::rename(&a, &b).expect("there");
        fs::rename(&b, &a).expect("and back");
    }
    node.write("last.yaml", &pod("last", "x:1"));
    node.until_pods(&["keep-n1", "last-n1"]);
}

#[test]
fn a_source_that_is_dropped_ends_its_thread() {
    let mut node = Node::new();
    let running = node.running.take().expect("running");
    let mut snapshots = running.snapshots();
    drop(running);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async {
        let end = async { while snapshots.changed().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), end).await
    });
    assert!(ended.is_ok(), "the channel closes when the thread ends");
}

fn with_uid(name: &str, uid: &str, image: &str) -> String {
    pod(name, image).replace("metadata:\n", &format!("metadata:\n  uid: {uid}\n"))
}

#[test]
fn a_manifest_that_keeps_its_uid_is_the_same_pod_whatever_it_says() {
    let node = Node::new();
    node.write("a.yaml", &with_uid("a", "u1", "x:1"));
    let before = node.until_pods(&["a-n1"]);
    let known = before.pods.values().next().expect("a pod").pod.clone();
    node.write("a.yaml", &with_uid("a", "u1", "x:2"));
    let image = |s: &manifest_source::Snapshot| {
        let first = s.pods.values().next()?;
        first.pod.spec().containers[0].image.clone()
    };
    let after = node.until("another image", |s| image(s).as_deref() == Some("x:2"));
    assert_eq!(uid(&after, "a-n1"), "u1");
    assert_eq!(after.verdict(&known), Verdict::Wanted);
    // also when it names another pod: whoever knows the pod judges that
    node.write("a.yaml", &with_uid("b", "u1", "x:2"));
    assert_eq!(node.until_pods(&["b-n1"]).verdict(&known), Verdict::Wanted);
    node.write("a.yaml", &with_uid("a", "u2", "x:2"));
    let other = node.until("another uid", |s| {
        s.pods.values().any(|p| p.pod.uid().as_str() == "u2")
    });
    assert_eq!(other.verdict(&known), Verdict::Gone);
}

#[test]
fn of_two_manifests_with_one_uid_the_first_in_sort_order_has_it() {
    let node = Node::new();
    node.write("b.yaml", &with_uid("b", "u1", "x:1"));
    node.until_pods(&["b-n1"]);
    node.write("a.yaml", &with_uid("a", "u1", "x:1"));
    let snapshot = node.until_pods(&["a-n1"]);
    assert_eq!(
        problems(&snapshot, &node.dir),
        [
            "b.yaml: pod default/b-n1: its uid u1 is that of pod default/a-n1 in a.yaml already, and the first in sort order wins"
        ]
    );
    node.remove("a.yaml");
    let alone = node.until_pods(&["b-n1"]);
    assert_eq!(problems(&alone, &node.dir), [""; 0]);
}
