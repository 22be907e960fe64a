//! Finding and pulling images by the pull policy, and what a plan needs of them.

use super::outcome::{Spans, blocking, node_failure};
use super::parts::Parts;
use image_store::{
    CancellationToken, ImageId, ImageInfo, ImageReference, LayerProgress, ProgressEvent,
    ProgressSink,
};
use launch_plan::{FromTenant, ImageConfig, ImageFacts, MAX_USER_FILE_BYTES};
use pod_model::pod::image_pull_policy;
use pod_model::{
    AdmittedPod, ContainerName, Failure, FailureReason, Fault, ImageFact, ImagePullPolicy, Outcome,
};
use pod_worker::Line;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Answer = Result<Outcome, Failure>;

pub(crate) async fn ensure(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    name: &ContainerName,
    line: &mut Line,
    spans: &mut Spans,
) -> Answer {
    let container = pod.container(name).map(|(_, container)| container);
    let image = container.and_then(|c| c.image.clone()).unwrap_or_default();
    let reference = ImageReference::parse(&image).map_err(|e| e.failure())?;
    let policy = container.map_or(ImagePullPolicy::IfNotPresent, image_pull_policy);
    if policy != ImagePullPolicy::Always
        && let Some(info) = parts.images.resolve(&reference)
    {
        return Ok(Outcome::Image(fact(&info, None)));
    }
    if policy == ImagePullPolicy::Never {
        return Err(Failure {
            reason: FailureReason::ErrImageNeverPull,
            message: format!(
                "Container image \"{image}\" is not present with pull policy of Never"
            ),
            fault: Fault::Workload,
            retry: true,
            retry_after: None,
        });
    }
    if !line.turn_to_pull().await {
        return Err(broken_off(&image));
    }
    let told: Arc<Mutex<Spans>> = Arc::default();
    let layers = Arc::clone(&told);
    let sink = ProgressSink::new(move |event| note_layer(&layers, event));
    let cancel = CancellationToken::new();
    let begun = Instant::now();
    // Both arms are cancel-safe: dropping a pull leaves nothing behind that is not complete.
    let pulled = tokio::select! {
        pulled = parts.images.pull(&reference, None, &sink, cancel.clone()) => pulled.map_err(|e| pull_failure(&e)),
        () = line.cancelled() => {
            cancel.cancel();
            Err(broken_off(&image))
        }
    };
    spans.append(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
    let info = pulled?;
    spans.push(("pull".into(), begun.elapsed()));
    Ok(Outcome::Image(fact(&info, Some(begun.elapsed()))))
}

/// Only why: what was being done, the core says in its events.
fn pull_failure(error: &image_store::ImageError) -> Failure {
    let failure = error.failure();
    let doing = format!("{error}: ");
    let why = failure.message.strip_prefix(&doing);
    Failure {
        message: why.unwrap_or(&failure.message).to_owned(),
        ..failure
    }
}

fn broken_off(image: &str) -> Failure {
    node_failure(
        FailureReason::ErrImagePull,
        format!("broken off, as nobody waits for image \"{image}\" any more"),
    )
}

fn fact(info: &ImageInfo, pull: Option<Duration>) -> ImageFact {
    ImageFact {
        id: info.id.to_string(),
        repo_digest: info.repo_digest.clone(),
        was_present: pull.is_none(),
        size_bytes: info.size_bytes,
        pull: pull.unwrap_or_default(),
    }
}

fn note_layer(spans: &Mutex<Spans>, event: &ProgressEvent) {
    if let ProgressEvent::Layer { layer, state } = event {
        let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            LayerProgress::Done { total, .. } => {
                spans.push((format!("pull layer {}", layer.short()), *total))
            }
            LayerProgress::AlreadyExists => {
                spans.push((format!("layer {} is here", layer.short()), Duration::ZERO))
            }
            _ => {}
        }
    }
}

/// What a plan needs of an image that is here.
pub(crate) fn facts(parts: &Parts, id: &str) -> Result<ImageFacts, Failure> {
    let gone = || Failure {
        reason: FailureReason::CreateContainerError,
        message: format!("image {id} is not here any more"),
        fault: Fault::Node,
        retry: true,
        retry_after: None,
    };
    let id: ImageId = id.parse().map_err(|_| gone())?;
    let image = parts.images.image(&id).ok_or_else(gone)?;
    let file = |path: &str| {
        let most = u64::try_from(MAX_USER_FILE_BYTES + 1).unwrap_or(u64::MAX);
        image
            .file(path, most)
            .map(|bytes| bytes.map(FromTenant::new))
            .map_err(|e| e.failure())
    };
    let config = image.config();
    Ok(ImageFacts {
        layers: image.layers().to_vec(),
        passwd: file("etc/passwd")?,
        group: file("etc/group")?,
        config: FromTenant::new(ImageConfig {
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            env: config.env.clone(),
            user: config.user.clone(),
            working_dir: config.working_dir.clone(),
            stop_signal: Some(config.stop_signal.clone()).filter(|s| !s.is_empty()),
        }),
    })
}

/// Deletes what a broken pull left; in the background, now and then.
pub(crate) async fn sweep(parts: &Arc<Parts>) {
    let theirs = Arc::clone(parts);
    let swept = blocking(FailureReason::ErrImagePull, move || {
        theirs.images.sweep().map_err(|e| e.failure())
    })
    .await;
    if let Err(failure) = swept {
        tracing::warn!("{}", failure.message);
    }
}
