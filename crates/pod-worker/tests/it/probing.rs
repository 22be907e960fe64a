//! What the worker says of probing: a pod's targets when its record changes, and its end.

use crate::node::{want, worker};
use pod_lifecycle::Input;
use pod_model::{AdmittedPod, PodUid, ProbeKind, ProbeTarget, Probed};
use pod_worker::{Command, Probes};
use tokio::sync::mpsc;

/// Says what it is told.
struct Told(mpsc::UnboundedSender<Option<Vec<ProbeTarget>>>);

impl Probes for Told {
    fn tend(&mut self, _: &AdmittedPod, targets: Vec<ProbeTarget>) {
        self.0.send(Some(targets)).unwrap();
    }
    fn forget(&mut self, _: &PodUid) {
        self.0.send(None).unwrap();
    }
}

#[tokio::test]
async fn a_pod_is_tended_while_it_is_probed() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (inputs, _) = worker(Box::new(Told(tell)));
    let bare = test_kit::pod("bare").container("app").build();
    let probed = test_kit::pod("web")
        .container("app")
        .probe(ProbeKind::Startup, None)
        .probe(ProbeKind::Readiness, None)
        .build();
    want(&inputs, bare);
    want(&inputs, probed.clone());
    let first = told.recv().await.unwrap().unwrap();
    let [startup] = first.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!(startup.container.pod, *probed.uid(), "the other has none");
    assert_eq!(startup.kind, ProbeKind::Startup);
    assert_eq!(startup.pod_ip.as_deref(), Some("10.0.0.7"));

    let started = Probed {
        container: startup.container.clone(),
        kind: ProbeKind::Startup,
        healthy: true,
        message: String::new(),
    };
    inputs.observe(Input::Probed(started)).unwrap();
    let readiness = loop {
        let targets = told.recv().await.unwrap().unwrap();
        if targets.iter().all(|t| t.kind == ProbeKind::Readiness) {
            break targets;
        }
    };
    assert_eq!(readiness[0].healthy, Some(false));

    let (uid, grace) = (probed.uid().clone(), None);
    inputs.send(Command::Deleted { uid, grace }).unwrap();
    while told.recv().await.unwrap().is_some() {}
}
