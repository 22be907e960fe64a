//! What becomes of the processes.

use crate::support::*;
use cgroup_tree::{DevicePolicy, Killed, Placement, Removed, Session, SessionOwner};
use node_policy::CgroupNumbers;
use pod_model::{ContainerKey, QosClass};

fn container(
    node: &Node,
    name: &str,
    numbers: &CgroupNumbers,
) -> Result<(ContainerKey, Placement), Box<dyn std::error::Error>> {
    let pod = uid(name)?;
    let container = key(&pod, "c")?;
    node.tree
        .create_pod(&pod, QosClass::Burstable, &CgroupNumbers::UNLIMITED)?;
    let placement = node.tree.create_container(
        &container,
        QosClass::Burstable,
        numbers,
        DevicePolicy::Default,
    )?;
    Ok((container, placement))
}

#[test]
fn killing_a_container_leaves_no_process_of_it() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "k", &CgroupNumbers::UNLIMITED)?;
    assert_eq!(node.tree.kill_container(&web)?, Killed::NothingThere);
    let pid = node.run(
        &placement,
        "trap '' TERM; sleep 600 & sleep 600 & (sleep 600 & sleep 600) & wait",
    )?;
    until("five are there", || {
        node.tree.processes(&web).is_ok_and(|p| p.len() >= 5)
    })?;
    assert_eq!(node.tree.kill_container(&web)?, Killed::Sent);
    assert_eq!(node.exit_of(pid)?, 128 + 9);
    until("it is empty", || {
        node.tree.processes(&web).is_ok_and(|p| p.is_empty())
    })?;
    assert_eq!(node.tree.remove_container(&web)?, Removed::Removed);
    assert_eq!(node.tree.kill_container(&web)?, Killed::NothingThere);
    Ok(())
}

#[test]
fn a_fork_bomb_is_killed_whole() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let limited = CgroupNumbers {
        pids_limit: Some(200),
        ..CgroupNumbers::UNLIMITED
    };
    let (web, placement) = container(&node, "bomb", &limited)?;
    node.run(
        &placement,
        "b() { b & b & sleep 0.01; b; }; while :; do b; done 2>/dev/null",
    )?;
    until("it has spread", || {
        node.tree.processes(&web).is_ok_and(|p| p.len() > 50)
    })?;
    node.tree.kill_container(&web)?;
    until("it is empty", || {
        node.tree.processes(&web).is_ok_and(|p| p.is_empty())
    })?;
    Ok(())
}

#[test]
fn an_exec_session_is_killed_by_itself() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "x", &CgroupNumbers::UNLIMITED)?;
    let main = node.run(&placement, "sleep 600")?;
    let session = Session {
        container: web.clone(),
        qos: QosClass::Burstable,
        owner: SessionOwner::Person,
        number: 7,
    };
    let place = node.tree.create_session(&session)?;
    let exec = node.run(&place, "sleep 600 & sleep 600")?;
    until("all are there", || {
        node.tree
            .processes(&web)
            .is_ok_and(|p| p.contains(&main) && p.contains(&exec) && p.len() >= 3)
    })?;
    assert!(!node.tree.remove_session(&session), "something lives in it");
    assert_eq!(node.tree.end_session(&session)?, Removed::Removed);
    assert_eq!(node.exit_of(exec)?, 128 + 9);
    until("the container alone is left", || {
        node.tree
            .processes(&web)
            .is_ok_and(|p| p.contains(&main) && p.len() <= 2)
    })?;
    assert_eq!(node.tree.end_session(&session)?, Removed::NothingThere);
    node.tree.create_session(&session)?;
    assert!(node.tree.remove_session(&session), "nothing lives in it");
    Ok(())
}

#[test]
fn of_an_earlier_agents_sessions_those_of_people_go_on() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, _) = container(&node, "x", &CgroupNumbers::UNLIMITED)?;
    let mut begin = |owner, number, script: &str| {
        let session = Session {
            container: web.clone(),
            qos: QosClass::Burstable,
            owner,
            number,
        };
        let place = node.tree.create_session(&session)?;
        match script {
            "" => Ok(0),
            _ => node.run(&place, script),
        }
    };
    let probe = begin(SessionOwner::Agent, 1, "sleep 600 & sleep 600")?;
    let person = begin(SessionOwner::Person, 2, "sleep 600")?;
    begin(SessionOwner::Person, 3, "")?;
    let new = begin(SessionOwner::Agent, 9, "sleep 600")?;
    until("all are there", || {
        let there = node.tree.processes(&web);
        there.is_ok_and(|there| [probe, person, new].iter().all(|pid| there.contains(pid)))
    })?;
    let mut swept: Vec<_> = node.tree.sweep_sessions(9)?;
    swept.sort_by(|a, b| a.relative.cmp(&b.relative));
    let names = swept.iter().map(|swept| swept.relative.file_name());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["exec-3", "own-1"].map(|name| Some(name.as_ref()))
    );
    assert!(swept.iter().all(|swept| swept.result.is_ok()), "{swept:?}");
    assert_eq!(node.exit_of(probe)?, 128 + 9);
    let left = node.tree.processes(&web)?;
    assert!(left.contains(&person) && left.contains(&new), "{left:?}");
    assert!(node.tree.sweep_sessions(9)?.is_empty());
    Ok(())
}

#[test]
fn a_frozen_container_stands_still_until_it_is_thawed() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "f", &CgroupNumbers::UNLIMITED)?;
    let pid = node.run(&placement, "trap 'exit 7' TERM; while :; do :; done")?;
    until("it runs", || {
        node.tree.processes(&web).is_ok_and(|p| p.contains(&pid))
    })?;
    node.tree.freeze(&web)?;
    let ticks = || -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat
            .rsplit_once(')')?
            .1
            .split(' ')
            .map(str::to_owned)
            .collect();
        Some(format!("{} {}", fields.get(12)?, fields.get(13)?))
    };
    let before = ticks();
    assert!(before.is_some());
    std::thread::yield_now();
    assert_eq!(ticks(), before, "no time is used");
    // frozen, it can still be killed whole
    node.tree.thaw(&web)?;
    let main = i32::try_from(pid)?;
    let pid_of = rustix::process::Pid::from_raw(main).ok_or("pid 0")?;
    rustix::process::kill_process(pid_of, rustix::process::Signal::TERM)?;
    assert_eq!(node.exit_of(pid)?, 7);
    Ok(())
}

#[test]
fn a_frozen_container_can_be_killed() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "fk", &CgroupNumbers::UNLIMITED)?;
    let pid = node.run(&placement, "sleep 600")?;
    until("it runs", || {
        node.tree.processes(&web).is_ok_and(|p| p.contains(&pid))
    })?;
    node.tree.freeze(&web)?;
    assert_eq!(node.tree.kill_container(&web)?, Killed::Sent);
    assert_eq!(node.exit_of(pid)?, 128 + 9);
    Ok(())
}

#[test]
fn a_kill_for_want_of_memory_is_known_at_the_exit() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "oom", &limits())?;
    assert!(!node.tree.oom_killed(&web)?);
    let pid = node.run(&placement, "x=a; while :; do x=$x$x; done")?;
    assert_eq!(node.exit_of(pid)?, 128 + 9);
    assert!(node.tree.oom_killed(&web)?);
    node.tree.remove_container(&web)?;
    assert!(!node.tree.oom_killed(&web)?, "gone, so nothing is known");
    Ok(())
}

#[test]
fn usage_is_counted() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (web, placement) = container(&node, "s", &limits())?;
    node.run(
        &placement,
        "x=$(head -c 4000000 /dev/zero | tr '\\0' a); while :; do :; done",
    )?;
    until("figures are there", || {
        node.tree.stats_container(&web).is_ok_and(|s| {
            s.cpu.usage_ns > 100_000_000
                && s.cpu.throttled_periods > 0
                && s.memory.rss_bytes > 4_000_000
                && s.pids == 1
        })
    })?;
    let stats = node.tree.stats_container(&web)?;
    assert_eq!(stats.memory.limit_bytes, Some(32 << 20));
    assert_eq!(stats.pids_limit, Some(64));
    assert!(stats.memory.working_set_bytes <= stats.memory.usage_bytes);
    assert!(stats.memory.usage_bytes >= stats.memory.rss_bytes);
    let pod = node.tree.stats_pod(&web.pod)?;
    assert!(pod.cpu.usage_ns >= stats.cpu.usage_ns);
    assert_eq!(pod.memory.limit_bytes, None);
    assert!(node.tree.stats_all_pods()?.cpu.usage_ns >= stats.cpu.usage_ns);
    let machine = node.tree.stats_node()?;
    assert!(machine.memory_total_bytes > machine.memory_working_set_bytes);
    assert!(machine.cpu_usage_ns > stats.cpu.usage_ns);
    Ok(())
}

#[test]
fn only_listed_devices_may_be_opened() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (_, placement) = container(&node, "d", &CgroupNumbers::UNLIMITED)?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    let script = format!(
        "echo x > /dev/null || exit 1
         head -c 1 /dev/zero > /dev/null || exit 2
         mknod '{disk}' b 7 0 || exit 3
         if head -c 1 '{disk}'; then exit 4; fi
         if head -c 0 /dev/kmsg; then exit 5; fi
         if head -c 0 /dev/mem; then exit 6; fi
         if head -c 0 /dev/fuse; then exit 7; fi
         exit 0",
        disk = disk.display()
    );
    let pid = node.run(&placement, &script)?;
    assert_eq!(node.exit_of(pid)?, 0);
    // the same machine lets a privileged container open one of them
    let pod = uid("priv")?;
    let privileged = key(&pod, "c")?;
    node.tree
        .create_pod(&pod, QosClass::BestEffort, &CgroupNumbers::UNLIMITED)?;
    let placement = node.tree.create_container(
        &privileged,
        QosClass::BestEffort,
        &CgroupNumbers::UNLIMITED,
        DevicePolicy::All,
    )?;
    let pid = node.run(&placement, "head -c 0 /dev/kmsg")?;
    assert_eq!(node.exit_of(pid)?, 0);
    Ok(())
}
