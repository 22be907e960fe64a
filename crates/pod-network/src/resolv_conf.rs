//! `/etc/resolv.conf` of a pod, by `dnsPolicy` and `dnsConfig`, with the kubelet's limits. Pure, but for [`read_host`].

use crate::config::NodeDns;
use crate::error::NetworkError;
use pod_model::{AdmittedPod, Reason};
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
/// glibc 2.28 aborts on a longer one.
const MAX_SEARCH: usize = 253;
/// A longer file of the host is refused, as the kubelet does.
const MAX_HOST_FILE: u64 = 10 << 20;

/// The file, and what the pod's owner should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    pub content: String,
    pub events: Vec<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Dns {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// The usual path, and what systemd-resolved puts behind it: a stub that only the machine itself can ask, and the real servers.
const USUAL: &str = "/etc/resolv.conf";
const STUB: &str = "127.0.0.53";
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// The node's own file, as pods with the policy Default see it. No path is no file.
///
/// Where [`NodeDns::resolv_conf`] is the usual path and names only the stub of systemd-resolved, which no pod can reach, the file with
/// the real servers is read instead; kubeadm tells the kubelet to do the same.
pub fn read_host(dns: &NodeDns) -> Result<String, NetworkError> {
    let path = &dns.resolv_conf;
    if path.as_os_str().is_empty() {
        return Ok(String::new());
    }
    let text = read(path)?;
    if path == Path::new(USUAL) && parse(&text).servers == [STUB] {
        return Ok(read(Path::new(BEHIND_STUB)).unwrap_or(text));
    }
    Ok(text)
}

fn read(path: &Path) -> Result<String, NetworkError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_HOST_FILE).read_to_string(&mut text))
        .map_err(|e| NetworkError::files("read", path, e))?;
    Ok(text)
}

/// `host` is what [`read_host`] read.
pub fn resolv_conf(pod: &AdmittedPod, node: &NodeDns, host: &str) -> ResolvConf {
    let spec = pod.spec();
    let mut events = Vec::new();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let wants_cluster = match policy {
        "ClusterFirst" => !pod.host_network(),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = if policy == "None" {
        Dns::default()
    } else if wants_cluster && !node.cluster_dns.is_empty() {
        of_cluster(pod, node, parse(host).searches)
    } else {
        if wants_cluster {
            events.push(Reason::warning(
                "MissingClusterDNS",
                format!(
                    "pod: \"{}_{}({})\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
                    pod.name().name,
                    pod.name().namespace,
                    pod.uid()
                ),
            ));
        }
        of_host(node, host)
    };
    if let Some(config) = &spec.dns_config {
        dns.servers
            .extend(config.nameservers.iter().flatten().cloned());
        dns.searches
            .extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            set_option(
                &mut dns.options,
                option.name.as_deref().unwrap_or_default(),
                option.value.as_deref(),
            );
        }
    }
    without_repeats(&mut dns.servers);
    without_repeats(&mut dns.searches);
    fit(&mut dns, &mut events);
    ResolvConf {
        content: render(&dns),
        events,
    }
}

fn of_cluster(pod: &AdmittedPod, node: &NodeDns, host_searches: Vec<String>) -> Dns {
    let mut searches = Vec::new();
    if let Some(domain) = node.cluster_domain.as_deref().filter(|d| !d.is_empty()) {
        searches.push(format!("{}.svc.{domain}", pod.name().namespace));
        searches.push(format!("svc.{domain}"));
        searches.push(domain.to_owned());
    }
    searches.extend(host_searches);
    Dns {
        servers: node.cluster_dns.iter().map(IpAddr::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn of_host(node: &NodeDns, host: &str) -> Dns {
    if node.resolv_conf.as_os_str().is_empty() {
        // what an absent file means to a resolver, written down
        return Dns {
            servers: vec!["127.0.0.1".to_owned()],
            searches: vec![".".to_owned()],
            options: Vec::new(),
        };
    }
    parse(host)
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                // the last line counts; a domain with and without its final dot is one
                dns.searches = words
                    .map(|word| match word {
                        "." => word,
                        _ => word.strip_suffix('.').unwrap_or(word),
                    })
                    .map(str::to_owned)
                    .collect();
            }
            Some("options") => {
                for word in words {
                    match word.split_once(':') {
                        Some((name, value)) => set_option(&mut dns.options, name, Some(value)),
                        None => set_option(&mut dns.options, word, None),
                    }
                }
            }
            _ => {}
        }
    }
    dns
}

fn set_option(options: &mut Vec<String>, name: &str, value: Option<&str>) {
    let text = match value.filter(|v| !v.is_empty()) {
        Some(value) => format!("{name}:{value}"),
        None => name.to_owned(),
    };
    let same_name = |option: &&mut String| option.split(':').next() == Some(name);
    match options.iter_mut().find(same_name) {
        Some(option) => *option = text,
        None => options.push(text),
    }
}

fn without_repeats(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

fn fit(dns: &mut Dns, events: &mut Vec<Reason>) {
    if dns.servers.len() > MAX_NAMESERVERS {
        dns.servers.truncate(MAX_NAMESERVERS);
        events.push(Reason::warning(
            "DNSConfigForming",
            format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                dns.servers.join(" ")
            ),
        ));
    }
    let wanted = dns.searches.len();
    dns.searches.truncate(MAX_SEARCHES);
    dns.searches.retain(|search| search.len() <= MAX_SEARCH);
    while dns.searches.iter().map(|s| s.len() + 1).sum::<usize>() > MAX_SEARCH_CHARS + 1 {
        dns.searches.pop();
    }
    if dns.searches.len() < wanted {
        events.push(Reason::warning(
            "DNSConfigForming",
            format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                dns.searches.join(" ")
            ),
        ));
    }
}

fn render(dns: &Dns) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::pod;

    const HOST: &str = "# a comment\nnameserver 192.0.2.1\nsearch old.example\nsearch lan.example. home.example\noptions timeout:1 rotate\n";

    fn node(cluster_dns: &[&str]) -> NodeDns {
        NodeDns {
            resolv_conf: "/etc/resolv.conf".into(),
            cluster_dns: cluster_dns.iter().map(|s| s.parse().unwrap()).collect(),
            cluster_domain: Some("cluster.local".to_owned()),
        }
    }

    fn content(spec: &str, node: &NodeDns) -> String {
        resolv_conf(&pod(spec), node, HOST).content
    }

    const CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local lan.example home.example\n\
                           nameserver 10.96.0.10\noptions ndots:5\n";
    const HOSTS_OWN: &str =
        "search lan.example home.example\nnameserver 192.0.2.1\noptions timeout:1 rotate\n";

    #[test]
    fn the_policy_decides_whose_servers_a_pod_asks() {
        let node = node(&["10.96.0.10"]);
        assert_eq!(content("{}", &node), CLUSTER);
        assert_eq!(
            content(r#"{"dnsPolicy":"ClusterFirst","hostNetwork":true}"#, &node),
            HOSTS_OWN
        );
        assert_eq!(
            content(
                r#"{"dnsPolicy":"ClusterFirstWithHostNet","hostNetwork":true}"#,
                &node
            ),
            CLUSTER
        );
        assert_eq!(content(r#"{"dnsPolicy":"Default"}"#, &node), HOSTS_OWN);
        assert_eq!(
            content(
                r#"{"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"searches":["x.example"]}}"#,
                &node
            ),
            "search x.example\nnameserver 1.1.1.1\n"
        );
    }

    #[test]
    fn without_a_cluster_dns_the_host_answers_and_it_is_said() {
        let made = resolv_conf(&pod("{}"), &node(&[]), HOST);
        assert_eq!(made.content, HOSTS_OWN);
        assert_eq!(made.events[0].reason, "MissingClusterDNS");
        assert!(
            made.events[0]
                .message
                .contains("Falling back to \"Default\" policy.")
        );
        assert!(
            resolv_conf(&pod(r#"{"dnsPolicy":"Default"}"#), &node(&[]), HOST)
                .events
                .is_empty()
        );
    }

    #[test]
    fn a_node_without_a_resolv_conf_asks_nobody() {
        let none = NodeDns::default();
        let made = resolv_conf(
            &pod(r#"{"dnsPolicy":"Default"}"#),
            &none,
            &read_host(&none).unwrap(),
        );
        assert_eq!(made.content, "search .\nnameserver 127.0.0.1\n");
    }

    #[test]
    fn the_pods_own_configuration_is_merged_into_the_policys() {
        let spec = r#"{"dnsConfig":{"nameservers":["10.96.0.10","1.1.1.1"],"searches":["svc.cluster.local","x.example"],
            "options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}}"#;
        assert_eq!(
            content(spec, &node(&["10.96.0.10"])),
            "search shop.svc.cluster.local svc.cluster.local cluster.local lan.example home.example x.example\n\
             nameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn what_a_resolver_cannot_hold_is_left_out_and_it_is_said() {
        let many = resolv_conf(
            &pod("{}"),
            &node(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]),
            HOST,
        );
        assert!(!many.content.contains("10.0.0.4"));
        assert!(
            many.events[0]
                .message
                .ends_with("the applied nameserver line is: 10.0.0.1 10.0.0.2 10.0.0.3")
        );

        let searches = |count: usize, length: usize| -> ResolvConf {
            let searches: Vec<String> = (0..count).map(|n| format!("{n:0>length$}")).collect();
            let spec = serde_json::json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": searches}});
            resolv_conf(&pod(&spec.to_string()), &node(&[]), HOST)
        };
        let line = |made: &ResolvConf| {
            made.content
                .lines()
                .next()
                .unwrap()
                .strip_prefix("search ")
                .unwrap()
                .to_owned()
        };
        assert_eq!(line(&searches(32, 10)).split(' ').count(), 32);
        assert!(searches(32, 10).events.is_empty());
        assert_eq!(line(&searches(33, 10)).split(' ').count(), 32);
        assert_eq!(searches(33, 10).events.len(), 1);
        // 8 × 253 + 7 blanks is 2,031 characters; a ninth is too much
        assert_eq!(line(&searches(9, 253)).split(' ').count(), 8);
        assert!(!searches(2, 254).content.contains("search"));
    }
}
