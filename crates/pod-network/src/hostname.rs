//! The name that a pod bears: `hostname`, `subdomain`, `setHostnameAsFQDN`. Pure.

use pod_model::AdmittedPod;

/// A label of DNS.
const MAX_LABEL: usize = 63;
/// What the kernel keeps (`__NEW_UTS_LEN`).
const MAX_KERNEL: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname {
    /// The first label: `web-0`.
    pub name: String,
    /// `subdomain.namespace.svc.cluster.local`, if the pod has a subdomain.
    pub domain: Option<String>,
    /// What the uts namespace is told, and `/etc/hostname` says: the name or, with `setHostnameAsFQDN`, name and domain.
    pub kernel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// In the kubelet's words; the pod stays Pending with `FailedCreatePodSandBox`.
    #[error("failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({MAX_KERNEL} characters is the max, {} characters requested)", fqdn.len())]
    TooLong { fqdn: String },
}

/// `node` is the host's own name: pods on the host's network bear it.
pub fn hostname(
    pod: &AdmittedPod,
    node: &str,
    cluster_domain: Option<&str>,
) -> Result<Hostname, HostnameError> {
    if pod.host_network() {
        return Ok(Hostname {
            name: node.to_owned(),
            domain: None,
            kernel: node.to_owned(),
        });
    }
    let spec = pod.spec();
    let given = spec.hostname.as_deref().filter(|h| !h.is_empty());
    let name = truncate(given.unwrap_or(&pod.name().name));
    let domain = spec
        .subdomain
        .as_deref()
        .filter(|s| !s.is_empty())
        .map(|subdomain| {
            let namespace = &pod.name().namespace;
            match cluster_domain.filter(|d| !d.is_empty()) {
                Some(cluster) => format!("{subdomain}.{namespace}.svc.{cluster}"),
                None => format!("{subdomain}.{namespace}.svc"),
            }
        });
    let kernel = match &domain {
        Some(domain) if spec.set_hostname_as_fqdn == Some(true) => format!("{name}.{domain}"),
        _ => name.clone(),
    };
    if kernel.len() > MAX_KERNEL {
        return Err(HostnameError::TooLong { fqdn: kernel });
    }
    Ok(Hostname {
        name,
        domain,
        kernel,
    })
}

/// A pod's name may be longer than a label; the kubelet cuts it and what the cut leaves at the end.
fn truncate(name: &str) -> String {
    let cut = name
        .char_indices()
        .nth(MAX_LABEL)
        .map_or(name, |(at, _)| &name[..at]);
    if cut.len() == name.len() {
        return name.to_owned();
    }
    cut.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::pod;

    fn named(spec: &str) -> Result<Hostname, HostnameError> {
        hostname(&pod(spec), "node-1", Some("cluster.local"))
    }

    #[test]
    fn a_pod_bears_its_own_name_unless_it_says_otherwise() {
        assert_eq!(named("{}").unwrap().kernel, "web");
        let host = named(r#"{"hostname":"db","subdomain":"data"}"#).unwrap();
        assert_eq!((host.name.as_str(), host.kernel.as_str()), ("db", "db"));
        assert_eq!(host.domain.as_deref(), Some("data.shop.svc.cluster.local"));
        assert_eq!(
            named(r#"{"hostNetwork":true,"hostname":"db"}"#)
                .unwrap()
                .kernel,
            "node-1"
        );
    }

    #[test]
    fn a_full_name_that_the_kernel_cannot_hold_is_refused() {
        let fits =
            named(r#"{"hostname":"db","subdomain":"data","setHostnameAsFQDN":true}"#).unwrap();
        assert_eq!(fits.kernel, "db.data.shop.svc.cluster.local");
        let subdomain = "s".repeat(60);
        let error = named(&format!(
            r#"{{"subdomain":"{subdomain}","setHostnameAsFQDN":true}}"#
        ))
        .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("(64 characters is the max, 87 characters requested)"),
            "{error}"
        );
        assert!(named(&format!(r#"{{"subdomain":"{subdomain}"}}"#)).is_ok());
    }

    #[test]
    fn a_long_name_is_cut_to_a_label() {
        assert_eq!(truncate(&"a".repeat(63)), "a".repeat(63));
        assert_eq!(truncate(&format!("{}-.x", "a".repeat(61))), "a".repeat(61));
    }
}
