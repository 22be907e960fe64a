//! Traffic counters of pods, as the pods see them.

use crate::error::NetworkError;
use std::collections::BTreeMap;
use std::fs;

/// Of `eth0` of a pod, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// One read for all links, without the RTNL lock that a netlink listing takes.
pub(crate) fn read(prefix: &str) -> Result<BTreeMap<String, LinkStats>, NetworkError> {
    const PATH: &str = "/proc/thread-self/net/dev";
    let table = fs::read_to_string(PATH).map_err(|e| NetworkError::files("read", PATH, e))?;
    Ok(parse(&table, prefix))
}

/// The host's end receives what the pod sends.
fn parse(table: &str, prefix: &str) -> BTreeMap<String, LinkStats> {
    table
        .lines()
        .filter_map(|line| {
            let (name, numbers) = line.trim_start().split_once(':')?;
            let numbers: Vec<u64> = numbers
                .split_ascii_whitespace()
                .map_while(|n| n.parse().ok())
                .collect();
            let stats = LinkStats {
                tx_bytes: *numbers.first()?,
                tx_packets: *numbers.get(1)?,
                tx_errors: *numbers.get(2)?,
                tx_dropped: *numbers.get(3)?,
                rx_bytes: *numbers.get(8)?,
                rx_packets: *numbers.get(9)?,
                rx_errors: *numbers.get(10)?,
                rx_dropped: *numbers.get(11)?,
            };
            name.starts_with(prefix).then(|| (name.to_owned(), stats))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_received_is_what_the_pod_sent() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0\n\
            cor12ab3:     500       5    1    2    0     0          0         0      900       9    3    4    0     0       0          0\n";
        let stats = parse(table, "cor12ab");
        assert_eq!(stats.len(), 1);
        let pod = stats["cor12ab3"];
        assert_eq!(
            (pod.tx_bytes, pod.tx_packets, pod.tx_errors, pod.tx_dropped),
            (500, 5, 1, 2)
        );
        assert_eq!(
            (pod.rx_bytes, pod.rx_packets, pod.rx_errors, pod.rx_dropped),
            (900, 9, 3, 4)
        );
    }
}
