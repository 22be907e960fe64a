//! What every handler is given.

use crate::node::Node;
use std::sync::Arc;
use telemetry::NodeMetrics;
use tokio_util::sync::CancellationToken;

pub(crate) struct App<N> {
    pub(crate) node: Arc<N>,
    pub(crate) metrics: Arc<NodeMetrics>,
    /// Cancelled when the server ends: answers that would go on for ever end with it.
    pub(crate) ending: CancellationToken,
}

impl<N> Clone for App<N> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            metrics: Arc::clone(&self.metrics),
            ending: self.ending.clone(),
        }
    }
}

impl<N: Node> App<N> {
    /// The pod with this namespace and name; of two, the one that is not being deleted.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<crate::PodView> {
        self.node
            .pods()
            .into_iter()
            .filter(|view| view.pod.name().namespace == namespace && view.pod.name().name == name)
            .min_by_key(|view| view.deleting.is_some())
    }
}
