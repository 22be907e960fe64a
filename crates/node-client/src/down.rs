//! `down`: the end of every pod, the keeper and the agent.

use crate::agent::{Agent, path};
use crate::error::ClientError;
use crate::output;
use http::Method;
use node_server::wire::{DownProgress, PREFIX};

pub(crate) async fn down(agent: &Agent) -> Result<(), ClientError> {
    let path = format!("{PREFIX}{}", path(&["down"], &[]));
    let mut parts = agent.stream(Method::POST, &path).await?;
    while let Some(line) = parts.line::<DownProgress>().await? {
        match line {
            DownProgress::Stopping { namespace, pod } => {
                output::print(&format!("pod {namespace}/{pod} stopping\n"))?;
            }
            DownProgress::Stopped { namespace, pod } => {
                output::print(&format!("pod {namespace}/{pod} stopped\n"))?;
            }
            DownProgress::Done => return output::print("node is down\n"),
            DownProgress::Failed { message } => return Err(ClientError::Said(message)),
        }
    }
    Err(ClientError::BrokenOff(
        "it ended before the node was down".to_owned(),
    ))
}
