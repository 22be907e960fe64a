//! The mechanics of cgroup v2 (kill, freeze, events, device filter, removal) in whatever unified tree the machine has: a hybrid machine's has
//! no controllers, but all of these.

use crate::devices::DevicePolicy;
use crate::hierarchy::Hierarchy;
use crate::kill::Killed;
use crate::mounts::{self, V2_CONTROLLERS};
use crate::remove::Removed;
use crate::session::{Session, SessionOwner};
use crate::tree::{CgroupKind, CgroupTree, Placement};
use node_policy::{CgroupNumbers, NodeNumbers};
use pod_model::{Attempt, ContainerKey, ContainerName, PodUid, QosClass};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

struct Unified {
    tree: CgroupTree,
    children: Vec<Child>,
}

/// `None`: this machine has no cgroup2 mount, or the test may not use it.
fn unified(name: &str) -> Result<Option<Unified>, Box<dyn Error>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts::parse(&table)
        .into_iter()
        .find(|m| m.v1_controllers.is_none());
    let Some(mount) = mount.filter(|_| rustix::process::geteuid().is_root()) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run this as root on a machine with cgroup2"
        );
        let _ = writeln!(std::io::stderr(), "skipped: no cgroup2, or not root");
        return Ok(None);
    };
    let root = format!("/coracle-unit-{}-{name}", std::process::id());
    let has = std::fs::read_to_string(mount.point.join("cgroup.controllers"))?;
    let tree = CgroupTree::over(
        CgroupKind::V2,
        &root,
        vec![Hierarchy {
            base: mounts::below(&mount.point, &root),
            mount: mount.point,
            controllers: V2_CONTROLLERS
                .into_iter()
                .filter(|c| has.split_whitespace().any(|h| h == *c))
                .collect(),
        }],
    );
    let unified = Unified {
        tree,
        children: Vec::new(),
    };
    unified.tree.create_node_level(&NodeNumbers {
        cpu_millis: 1000,
        memory_limit_bytes: None,
        pids_limit: None,
    })?;
    Ok(Some(unified))
}

impl Drop for Unified {
    fn drop(&mut self) {
        let _ = self.tree.sweep(&BTreeSet::new());
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.tree.remove_all();
    }
}

impl Unified {
    fn container(
        &self,
        devices: DevicePolicy,
    ) -> Result<(ContainerKey, Placement), Box<dyn Error>> {
        let uid = PodUid::new("p")?;
        let key = ContainerKey::new(uid.clone(), ContainerName::new("c")?, Attempt(3));
        let numbers = CgroupNumbers::UNLIMITED;
        self.tree.create_pod(&uid, QosClass::BestEffort, &numbers)?;
        let placement =
            self.tree
                .create_container(&key, QosClass::BestEffort, &numbers, devices)?;
        Ok((key, placement))
    }

    fn run(&mut self, placement: &Placement, script: &str) -> Result<u32, Box<dyn Error>> {
        let Placement::V2 { directory } = placement else {
            return Err("not v2".into());
        };
        let enter = directory.join("cgroup.procs");
        let child = Command::new("sh")
            .args([
                "-c",
                &format!("echo 0 > '{}' && {{ {script}\n}}", enter.display()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    fn code(&mut self) -> Result<Option<i32>, Box<dyn Error>> {
        let last = self.children.last_mut().ok_or("no child")?;
        Ok(last.wait()?.code())
    }
}

fn until(mut so: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        if Instant::now() > deadline {
            return Err("it never came true".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn is_populated(place: &Placement) -> bool {
    let Placement::V2 { directory } = place else {
        return false;
    };
    std::fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|text| !text.is_empty())
}

#[test]
fn on_v2_a_container_is_frozen_thawed_killed_and_removed_whole() -> Result<(), Box<dyn Error>> {
    let Some(mut unified) = unified("kill")? else {
        return Ok(());
    };
    let (key, placement) = unified.container(DevicePolicy::All)?;
    assert_eq!(unified.tree.kill_container(&key)?, Killed::NothingThere);
    unified.run(&placement, "sleep 600 & sleep 600")?;
    let session = Session {
        container: key.clone(),
        qos: QosClass::BestEffort,
        owner: SessionOwner::Agent,
        number: 1,
    };
    let place = unified.tree.create_session(&session)?;
    unified.run(&place, "sleep 600")?;
    let count = |u: &Unified| u.tree.processes(&key).map_or(0, |p| p.len());
    // the session's process may still be on its way in
    until(|| count(&unified) >= 3 && is_populated(&place))?;
    unified.tree.freeze(&key)?;
    unified.tree.thaw(&key)?;
    let swept = unified.tree.sweep_sessions(2)?;
    assert!(
        matches!(&swept[..], [one] if one.result.is_ok()),
        "{swept:?}"
    );
    assert_eq!(unified.tree.end_session(&session)?, Removed::NothingThere);
    assert!(count(&unified) >= 2, "the container lives on");
    assert_eq!(unified.tree.list()?.len(), 1);
    assert_eq!(unified.tree.kill_container(&key)?, Killed::Sent);
    for child in &mut unified.children {
        child.wait()?;
    }
    assert_eq!(unified.tree.remove_pod(&key.pod)?, Removed::Removed);
    assert_eq!(unified.tree.list()?, []);
    Ok(())
}

#[test]
fn on_v2_only_listed_devices_may_be_opened() -> Result<(), Box<dyn Error>> {
    let Some(mut unified) = unified("device")? else {
        return Ok(());
    };
    let script = "echo x > /dev/null || exit 1
        head -c 1 /dev/zero > /dev/null || exit 2
        if head -c 0 /dev/kmsg; then exit 5; fi
        exit 0";
    let (key, placement) = unified.container(DevicePolicy::Default)?;
    let (_, again) = unified.container(DevicePolicy::Default)?;
    assert_eq!(again, placement, "attached once is enough");
    unified.run(&placement, script)?;
    assert_eq!(unified.code()?, Some(0));
    unified.tree.remove_container(&key)?;
    let (_, open) = unified.container(DevicePolicy::All)?;
    unified.run(&open, script)?;
    assert_eq!(unified.code()?, Some(5), "privileged");
    Ok(())
}

/// A cgroup that must hand `hugetlb` down, the one controller that also a hybrid machine's unified tree has.
struct Inner {
    hierarchy: Hierarchy,
    child: Option<Child>,
    was_handed_down: bool,
    _alone: MutexGuard<'static, ()>,
}

/// What the root hands down is one thing for all tests.
static HANDING_DOWN: Mutex<()> = Mutex::new(());

fn inner(name: &str) -> Result<Option<Inner>, Box<dyn Error>> {
    let Some(unified) = unified(&format!("{name}-root"))? else {
        return Ok(None);
    };
    let mount = unified.tree.hierarchies[0].mount.clone();
    let read = |file: &str| std::fs::read_to_string(mount.join(file)).unwrap_or_default();
    if !read("cgroup.controllers").contains("hugetlb") {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: cgroup2 has no hugetlb controller"
        );
        return Ok(None);
    }
    let alone = HANDING_DOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let inner = Inner {
        _alone: alone,
        was_handed_down: read("cgroup.subtree_control").contains("hugetlb"),
        hierarchy: Hierarchy {
            base: mount.join(format!("coracle-inner-{}-{name}", std::process::id())),
            mount,
            controllers: vec!["hugetlb"],
        },
        child: None,
    };
    std::fs::create_dir(&inner.hierarchy.base)?;
    Ok(Some(inner))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir(self.hierarchy.base.join("coracle-agent"));
        let _ = until(|| std::fs::remove_dir(&self.hierarchy.base).is_ok());
        if !self.was_handed_down {
            let file = self.hierarchy.mount.join("cgroup.subtree_control");
            let _ = std::fs::write(file, "-hugetlb");
        }
    }
}

#[test]
fn a_root_with_other_processes_in_it_is_refused_with_their_number() -> Result<(), Box<dyn Error>> {
    let Some(mut inner) = inner("busy")? else {
        return Ok(());
    };
    let procs = inner.hierarchy.base.join("cgroup.procs");
    inner.child = Some(
        Command::new("sh")
            .args([
                "-c",
                &format!("echo 0 > '{}' && exec sleep 600", procs.display()),
            ])
            .spawn()?,
    );
    until(|| std::fs::read_to_string(&procs).is_ok_and(|t| !t.is_empty()))?;
    let told =
        crate::v2::hand_down(&inner.hierarchy, &inner.hierarchy.base).map_err(|e| e.to_string());
    assert!(
        told.as_ref()
            .is_err_and(|e| e.contains("1 processes live in that cgroup itself")),
        "{told:?}"
    );
    Ok(())
}

const STEP_ASIDE: &str = "CORACLE_TEST_STEP_ASIDE";

/// The agent of the test below: a process of its own, because it moves itself.
#[test]
fn step_aside_in_a_process_of_its_own() -> Result<(), Box<dyn Error>> {
    let Some(base) = std::env::var_os(STEP_ASIDE).map(std::path::PathBuf::from) else {
        return Ok(());
    };
    let mount = base.parent().ok_or("no parent")?.to_owned();
    let hierarchy = Hierarchy {
        base: base.clone(),
        mount,
        controllers: vec!["hugetlb"],
    };
    std::fs::write(base.join("cgroup.procs"), "0")?;
    let handed = crate::v2::hand_down(&hierarchy, &base);
    let here = std::fs::read_to_string("/proc/self/cgroup")?;
    std::fs::write(hierarchy.mount.join("cgroup.procs"), "0")?;
    handed?;
    assert!(here.contains("/coracle-agent\n"), "{here}");
    let down = std::fs::read_to_string(base.join("cgroup.subtree_control"))?;
    assert_eq!(down.trim(), "hugetlb");
    Ok(())
}

#[test]
fn an_agent_that_stands_in_its_own_root_steps_aside() -> Result<(), Box<dyn Error>> {
    let Some(inner) = inner("aside")? else {
        return Ok(());
    };
    let agent = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "unified_tests::step_aside_in_a_process_of_its_own",
        ])
        .env(STEP_ASIDE, &inner.hierarchy.base)
        .output()?;
    let said = String::from_utf8_lossy(&agent.stdout);
    assert!(agent.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    Ok(())
}
