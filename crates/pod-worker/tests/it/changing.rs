//! What a source says of a pod and what is done to it while it runs meet in the worker: nobody's change undoes another's.

use crate::node::{want, worker};
use pod_model::{AdmittedPod, FieldError, PodUid};
use pod_worker::{Board, Change, Command, Inputs, NoProbes};
use test_kit::{PodBuilder, pod};
use tokio::sync::oneshot;

type Answer = oneshot::Receiver<Result<(), Vec<FieldError>>>;

fn web(image: &str) -> PodBuilder {
    pod("web").container("app").image(image)
}

/// One ephemeral container more, of whatever the pod is by then.
fn with_tools(running: &AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>> {
    let tools = web("").ephemeral("tools", None).build();
    Ok(running.with_ephemeral_of(&tools))
}

fn no() -> FieldError {
    FieldError {
        path: "spec".to_owned(),
        message: "no".to_owned(),
    }
}

fn change(
    inputs: &Inputs,
    uid: &PodUid,
    make: fn(&AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>>,
) -> Answer {
    let (answer, answered) = oneshot::channel();
    let (uid, change) = (uid.clone(), Change::new(make));
    let command = Command::Changed {
        uid,
        change,
        answer,
    };
    inputs.send(command).unwrap();
    answered
}

/// Image of the first container and names of all, once the pod is as `holds` says.
async fn shown(board: &Board, uid: &PodUid, holds: impl Fn(&AdmittedPod) -> bool) -> String {
    let mut changes = board.changes();
    loop {
        if let Some(view) = board.pod(uid).filter(|view| holds(&view.pod)) {
            let names: Vec<_> = view
                .pod
                .containers()
                .map(|(_, n, _)| n.to_string())
                .collect();
            let image = view.pod.spec().containers[0].image.clone();
            return format!("{} {}", image.unwrap_or_default(), names.join(" "));
        }
        changes.changed().await.unwrap();
    }
}

fn has_image(image: &str) -> impl Fn(&AdmittedPod) -> bool {
    move |pod| pod.spec().containers[0].image.as_deref() == Some(image)
}

#[tokio::test]
async fn what_was_put_into_a_pod_outlives_what_its_source_says_anew() {
    let (inputs, board) = worker(Box::new(NoProbes));
    let before = web("i:1").build();
    want(&inputs, before.clone());
    assert_eq!(change(&inputs, before.uid(), with_tools).await, Ok(Ok(())));
    want(&inputs, web("i:2").build());
    let now = shown(&board, before.uid(), has_image("i:2")).await;
    assert_eq!(now, "i:2 app tools");
}

#[tokio::test]
async fn a_change_that_comes_after_another_is_made_of_what_that_made() {
    let (inputs, board) = worker(Box::new(NoProbes));
    let before = web("i:1").build();
    want(&inputs, before.clone());
    // told in one breath: who puts the container in has seen the old image only
    want(&inputs, web("i:2").build());
    let answer = change(&inputs, before.uid(), with_tools);
    assert_eq!(answer.await, Ok(Ok(())));
    assert_eq!(shown(&board, before.uid(), |_| true).await, "i:2 app tools");
}

#[tokio::test]
async fn one_that_is_refused_is_answered_and_changes_nothing() {
    let (inputs, board) = worker(Box::new(NoProbes));
    let before = web("i:1").build();
    want(&inputs, before.clone());
    let refused = change(&inputs, before.uid(), |_| Err(vec![no()]));
    assert_eq!(refused.await, Ok(Err(vec![no()])));
    assert_eq!(board.pod(before.uid()).map(|view| view.pod), Some(before));
}

#[tokio::test]
async fn of_a_pod_that_is_not_known_or_leaves_there_is_no_answer() {
    let (inputs, _) = worker(Box::new(NoProbes));
    let before = web("i:1").build();
    let unknown = change(&inputs, before.uid(), with_tools);
    assert!(unknown.await.is_err());
    want(&inputs, before.clone());
    let (uid, grace) = (before.uid().clone(), None);
    inputs.send(Command::Deleted { uid, grace }).unwrap();
    let leaving = change(&inputs, before.uid(), with_tools);
    assert!(leaving.await.is_err());
}
