use crate::node::{Node, is_root};
use keeper::protocol::Stage;
use launch_plan::description::{FdIndex, LaunchDescription, Mount, MountKind, Propagation};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

fn source(path: &Path) -> OwnedFd {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a source")
}

fn bind(description: &mut LaunchDescription, target: &str, fd: u32, readonly: bool) {
    description.mounts.push(Mount {
        target: target.into(),
        what: MountKind::Bind {
            source: FdIndex(fd),
            recursive: true,
            readonly,
            recursive_readonly: false,
            propagation: Propagation::Private,
        },
    });
}

#[test]
fn volumes_and_files_are_bound_and_read_only_ones_are_so() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let (volume, file) = (node.path("volume"), node.path("file"));
    fs::create_dir(&volume).expect("a volume");
    fs::write(volume.join("data"), "data\n").expect("data");
    fs::write(&file, "text\n").expect("a file");
    let script = "cat /vol/data /etc/file; echo new > /vol/new; (touch /ro/x || echo refused; echo x > /etc/file || echo refused) 2>/dev/null";
    let mut description = node.plain("volumes", &["/bin/sh", "-c", script]);
    bind(&mut description, "/vol", 3, false);
    bind(&mut description, "/ro", 4, true);
    bind(&mut description, "/etc/file", 5, true);
    let (exit, text) = node.run(
        description,
        vec![source(&volume), source(&volume), source(&file)],
    );
    assert_eq!(
        (exit.code, text.as_str()),
        (0, "data\ntext\nrefused\nrefused\n")
    );
    assert_eq!(
        fs::read_to_string(volume.join("new")).expect("written"),
        "new\n"
    );
}

#[test]
fn a_detached_mount_is_a_source_too() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let volume = node.path("volume");
    fs::create_dir(&volume).expect("a volume");
    fs::write(volume.join("data"), "data\n").expect("data");
    use rustix::mount::{OpenTreeFlags, open_tree};
    let tree = open_tree(
        rustix::fs::CWD,
        &volume,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .expect("a tree");
    let mut description = node.plain("detached", &["cat", "/vol/data"]);
    bind(&mut description, "/vol", 3, false);
    assert_eq!(node.run(description, vec![tree]).1, "data\n");
}

#[test]
fn a_target_that_is_a_link_stays_inside_the_container() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let canary = node.path("canary");
    fs::create_dir(&canary).expect("a canary");
    let file = node.path("file");
    fs::write(&file, "text\n").expect("a file");
    let layer = node.path("layers/base");
    symlink(&canary, layer.join("absolute")).expect("a link");
    symlink(
        "../../../../../../../../etc/made-outside",
        layer.join("etc/relative"),
    )
    .expect("a link");
    symlink("../run/resolve/stub.conf", layer.join("etc/resolv.conf")).expect("a link");
    let mut description = node.plain(
        "links",
        &[
            "cat",
            "/absolute/in",
            "/etc/relative",
            "/etc/resolv.conf",
            "/run/resolve/stub.conf",
        ],
    );
    for (n, target) in ["/absolute/in", "/etc/relative", "/etc/resolv.conf"]
        .into_iter()
        .enumerate()
    {
        bind(
            &mut description,
            target,
            3 + u32::try_from(n).expect("few"),
            false,
        );
    }
    let (exit, text) = node.run(description, (0..3).map(|_| source(&file)).collect());
    assert_eq!((exit.code, text.as_str()), (0, "text\ntext\ntext\ntext\n"));
    assert_eq!(fs::read_dir(&canary).expect("a canary").count(), 0);
    assert!(!Path::new("/etc/made-outside").exists());
}

#[test]
fn the_runtimes_own_mounts_go_on_no_link() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let canary = node.path("canary");
    fs::create_dir(&canary).expect("a canary");
    for (n, directory) in ["proc", "sys", "dev"].into_iter().enumerate() {
        for (m, to) in [
            canary.as_path(),
            Path::new("../canary"),
            Path::new("/nowhere"),
            Path::new("/etc"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("layer-{n}-{m}");
            let layer = node.make_layer(&name);
            fs::remove_dir(layer.join(directory)).expect("removed");
            symlink(to, layer.join(directory)).expect("a link");
            let mut description = node.plain(&format!("c{n}-{m}"), &["true"]);
            description.rootfs.layers = vec![layer];
            let failure = node.launch_fails(&mut node.connect(), description, vec![]);
            assert_eq!(
                failure.stage,
                Stage::Mounts,
                "/{directory} -> {}: {failure:?}",
                to.display()
            );
        }
    }
    assert_eq!(fs::read_dir(&canary).expect("a canary").count(), 0);
}

#[test]
fn nothing_is_mounted_inside_proc() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    fs::create_dir(node.path("volume")).expect("a volume");
    symlink("/proc/self", node.path("layers/base/sneaky")).expect("a link");
    symlink("/proc", node.path("layers/base/sneakier")).expect("a link");
    for (n, target) in [
        "/proc/self/attr",
        "/proc/sys",
        "/sneaky/attr",
        "/sneakier",
        "/sneakier/sys",
    ]
    .into_iter()
    .enumerate()
    {
        let mut description = node.plain(&format!("p{n}"), &["true"]);
        bind(&mut description, target, 3, false);
        let failure = node.launch_fails(
            &mut node.connect(),
            description,
            vec![source(&node.path("volume"))],
        );
        assert_eq!(failure.stage, Stage::Mounts, "{target}");
    }
}

#[test]
fn an_image_with_another_null_device_masks_nothing_with_it() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    // without a /dev of ours the image's is used: its null is a link to what must not be touched
    fs::write(node.path("layers/base/victim"), "victim\n").expect("a file");
    symlink("/victim", node.path("layers/base/dev/null")).expect("a link");
    let mut description = node.plain("null", &["true"]);
    description.mounts.retain(|m| !m.target.starts_with("/dev"));
    description.devices.clear();
    let failure = node.launch_fails(&mut node.connect(), description, vec![]);
    assert_eq!(failure.stage, Stage::Masks, "{failure:?}");
}

#[test]
fn a_hundred_layers_make_one_root() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut layers = vec![node.path("layers/base")];
    for n in 0..99 {
        let name = format!("{n:064x}");
        let layer = node.path("layers").join(name);
        fs::create_dir(&layer).expect("a layer");
        fs::write(layer.join(format!("file{n}")), "").expect("a file");
        fs::write(layer.join("who"), format!("{n}\n")).expect("a file");
        layers.insert(0, layer);
    }
    let (_, text) = node.sh("layers", "ls / | grep -c file; cat /who", |d| {
        d.rootfs.layers = layers
    });
    assert_eq!(text, "99\n98\n");
}

#[test]
fn a_failed_mount_leaves_nothing_and_names_the_target() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let file = node.path("file");
    fs::write(&file, "").expect("a file");
    let mounts = || {
        fs::read_to_string("/proc/self/mountinfo")
            .expect("mounts")
            .lines()
            .count()
    };
    let before = mounts();
    let mut description = node.plain("bad", &["true"]);
    bind(&mut description, "/etc/passwd/below-a-file", 3, false);
    let failure = node.launch_fails(&mut node.connect(), description, vec![source(&file)]);
    assert!(
        failure.message.contains("/etc/passwd/below-a-file")
            && failure.message.ends_with("not a directory"),
        "{failure:?}"
    );
    assert_eq!(failure.errno, Some(20));
    let mut description = node.plain("bad2", &["true"]);
    bind(&mut description, "/x", 77, false);
    let failure = node.launch_fails(&mut node.connect(), description, vec![]);
    assert_eq!(failure.message, "descriptor 77 did not come");
    assert_eq!(mounts(), before);
}
