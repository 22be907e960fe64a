//! `version` and `completion`.

use crate::agent::{Agent, path};
use crate::error::ClientError;
use crate::output;
use clap_complete::Shell;
use node_server::wire::{PREFIX, Version};

pub(crate) async fn version(agent: &Agent) -> Result<(), ClientError> {
    output::print(&format!("client  {}\n", env!("CARGO_PKG_VERSION")))?;
    let path = format!("{PREFIX}{}", path(&["version"], &[]));
    let agent: Version = agent.get(&path).await?;
    output::print(&format!(
        "agent   {} ({}), kubelet {}, node {}, pid {}, since {}\n",
        agent.version,
        agent.git_commit,
        agent.kubelet_version,
        agent.node_name,
        agent.pid,
        agent.started_at
    ))
}

pub(crate) fn completion(shell: Shell, mut whole: clap::Command) -> Result<(), ClientError> {
    let name = whole.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, name, &mut script);
    output::print_bytes(&script)
}
