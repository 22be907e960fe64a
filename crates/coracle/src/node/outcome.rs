//! What carrying out an action comes to: words that all its functions use.

use pod_model::{Failure, FailureReason, Fault, Outcome};
use std::time::Duration;

/// Where the time of an action went, in order.
pub(crate) type Spans = Vec<(String, Duration)>;

/// Nothing more to say.
pub(crate) const DONE: Result<Outcome, Failure> = Ok(Outcome::Done);

/// This machine's fault; may pass.
pub(crate) fn node_failure(reason: FailureReason, message: String) -> Failure {
    Failure {
        reason,
        message,
        fault: Fault::Node,
        retry: true,
        retry_after: None,
    }
}

/// An error and everything below it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Runs what blocks on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    reason: FailureReason,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(node_failure(
            reason,
            format!("a defect of the agent broke it off: {error}"),
        )),
    }
}
