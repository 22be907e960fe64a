//! `kill -9` of the agent while it makes slots, leases them out and takes them back.

use crate::lab::{Lab, on_a_machine, run, uid, until};
use pod_network::{HostPort, PodNetwork, Protocol, Want};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

const RUN_DIR: &str = "CORACLE_TEST_RUN_DIR";

/// The other process: an agent that never rests.
#[test]
#[ignore = "run by the test below, which kills it"]
fn an_agent_that_never_rests() {
    let run_dir = std::env::var_os(RUN_DIR)
        .expect("started by the test below")
        .into();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let network = PodNetwork::start(Lab { run_dir }.config()).unwrap();
        for n in 0u16.. {
            let pod = uid(&format!("p{}", n % 40));
            let want = Want {
                host_network: n % 7 == 0,
                host_ports: vec![HostPort::new(Protocol::Tcp, None, 1000 + n % 40, 80)],
            };
            network.acquire(&pod, want).await.unwrap();
            if n % 3 == 0 {
                network
                    .release(&uid(&format!("p{}", (n / 3) % 40)))
                    .await
                    .unwrap();
            }
        }
    });
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(lab: &Lab) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "killed::an_agent_that_never_rests"])
        .env(RUN_DIR, &lab.run_dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Killed(child)
}

#[test]
fn nothing_leaks_whenever_the_agent_is_killed() {
    on_a_machine(async |lab| {
        let mut names = BTreeSet::new();
        for round in 0..40usize {
            let mut child = agent(&lab);
            // each round dies at another point of the work: so many directories of slots, or so many leases, more than last time
            let (slots, leases) = (lab.files("ns").len(), lab.files("net").len());
            until("the agent works", || {
                let (more_slots, more_leases) = (lab.files("ns").len(), lab.files("net").len());
                more_slots.saturating_sub(slots) > round % 10
                    || more_leases.saturating_sub(leases) > round % 7
            });
            child.0.kill().unwrap();
            assert_eq!(
                child.0.wait().unwrap().signal(),
                Some(9),
                "it was still at work"
            );

            let network = lab.start();
            let slots = lab.files("ns");
            let leases = lab.files("net");
            // every lease has its slot, and every slot all of its pins
            assert!(
                leases.iter().all(|lease| slots.contains(lease)),
                "{leases:?} {slots:?}"
            );
            for lease in &leases {
                let files = lab.files(&format!("ns/{lease}"));
                assert!(
                    files.iter().any(|f| f == "ipc") && files.iter().any(|f| f == "uts"),
                    "{files:?}"
                );
            }
            network.shutdown();
            let slots = lab.files("ns");
            for slot in &slots {
                let files = lab.files(&format!("ns/{slot}"));
                assert!(
                    files.iter().any(|f| f == "ipc") && files.iter().any(|f| f == "uts"),
                    "{slot} is half made: {files:?}"
                );
            }
            let pins: usize = slots
                .iter()
                .map(|slot| pins_of(&lab.files(&format!("ns/{slot}"))))
                .sum();
            assert_eq!(
                lab.pins(),
                pins,
                "a mount without a slot, or a slot without mounts"
            );
            // every link has its slot, as soon as the kernel is done with those that have none
            let with_net =
                |slot: &String| lab.files(&format!("ns/{slot}")).iter().any(|f| f == "net");
            let wanted: BTreeSet<String> = slots
                .iter()
                .filter(|s| with_net(s))
                .map(|s| lab.config().link_name_of(s))
                .collect();
            until("the links of unfinished slots are gone", || {
                lab.links().into_iter().collect::<BTreeSet<_>>() == wanted
            });
            names.extend(slots);
            if round % 5 == 4 {
                drop(network);
                let network = lab.start();
                let (_, errors) = network.sweep(&BTreeSet::new()).await;
                assert!(errors.is_empty(), "{errors:?}");
                assert!(lab.files("net").is_empty());
                let elements = run("nft list map ip coracle_beef host_ports");
                assert!(!elements.contains("elements"), "{elements}");
            }
        }
        assert!(names.len() > 40, "the agents made slots: {}", names.len());
        let network = lab.start();
        network.remove_everything().unwrap();
        until("no link is left", || lab.links().is_empty());
        assert_eq!(lab.pins(), 0);
        assert!(lab.files("").is_empty());
        assert_eq!(run("nft list ruleset"), "");
        assert!(!run("ip route show table all").contains("10.77."));
        assert!(!run("ip address show").contains("10.77."));
    });
}

fn pins_of(files: &[String]) -> usize {
    files
        .iter()
        .filter(|f| ["net", "ipc", "uts"].contains(&f.as_str()))
        .count()
}
