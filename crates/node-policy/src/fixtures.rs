//! Containers and pods in a line, for the tests of this crate.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

fn list(of: &[(&str, &str)]) -> Option<BTreeMap<String, Quantity>> {
    (!of.is_empty()).then(|| {
        of.iter()
            .map(|(k, v)| ((*k).to_owned(), Quantity((*v).to_owned())))
            .collect()
    })
}

pub(crate) fn container(
    name: &str,
    requests: &[(&str, &str)],
    limits: &[(&str, &str)],
) -> Container {
    Container {
        name: name.to_owned(),
        resources: Some(ResourceRequirements {
            claims: None,
            limits: list(limits),
            requests: list(requests),
        }),
        ..Container::default()
    }
}

pub(crate) fn pod(init: &[Container], main: &[Container]) -> PodSpec {
    PodSpec {
        init_containers: (!init.is_empty()).then(|| init.to_vec()),
        containers: main.to_vec(),
        ..PodSpec::default()
    }
}
