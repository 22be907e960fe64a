//! `/etc/hosts` of a pod, byte for byte as the kubelet writes it. Pure.

use crate::hostname::Hostname;
use pod_model::AdmittedPod;
use std::fmt::Write;
use std::net::IpAddr;

/// The pod's file. `host_file` is the node's `/etc/hosts`, of use only to pods on the host's network.
pub fn hosts_file(
    pod: &AdmittedPod,
    hostname: &Hostname,
    addresses: &[IpAddr],
    host_file: &str,
) -> String {
    let mut text = String::with_capacity(512);
    if pod.host_network() {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        text.push_str(
            "# Kubernetes-managed hosts file.\n\
             127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\n\
             fe00::1\tip6-allnodes\n\
             fe00::2\tip6-allrouters\n",
        );
        let name = &hostname.name;
        for address in addresses {
            // writing to a String cannot fail
            let _ = match &hostname.domain {
                Some(domain) => writeln!(text, "{address}\t{name}.{domain}\t{name}"),
                None => writeln!(text, "{address}\t{name}"),
            };
        }
    }
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hostname::hostname;
    use pod_model::QosClass;

    /// A pod `shop/web` with this spec.
    pub(crate) fn pod(spec: &str) -> AdmittedPod {
        let mut spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        spec["containers"] = serde_json::json!([]);
        let pod = serde_json::json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec});
        AdmittedPod::from_validated(serde_json::from_value(pod).unwrap(), QosClass::BestEffort)
            .unwrap()
    }

    fn hosts(spec: &str) -> String {
        let pod = pod(spec);
        let name = hostname(&pod, "node-1", Some("cluster.local")).unwrap();
        hosts_file(
            &pod,
            &name,
            &["10.88.0.7".parse().unwrap()],
            "127.0.0.1 localhost node-1\n",
        )
    }

    #[test]
    fn a_pod_finds_itself_and_its_aliases() {
        assert_eq!(
            hosts(
                r#"{"subdomain":"data","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]},{"ip":"::2","hostnames":["c"]}]}"#
            ),
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
             10.88.0.7\tweb.data.shop.svc.cluster.local\tweb\n\n\
             # Entries added by HostAliases.\n1.2.3.4\ta\tb\n::2\tc\n"
        );
        assert!(hosts("{}").ends_with("ip6-allrouters\n10.88.0.7\tweb\n"));
    }

    #[test]
    fn a_pod_on_the_hosts_network_sees_the_hosts_file() {
        assert_eq!(
            hosts(r#"{"hostNetwork":true,"hostAliases":[{"ip":"1.2.3.4","hostnames":["a"]}]}"#),
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost node-1\n\n\
             # Entries added by HostAliases.\n1.2.3.4\ta\n"
        );
    }
}
