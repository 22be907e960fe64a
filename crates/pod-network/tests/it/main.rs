//! The network on a real kernel, in network and mount namespaces of the test's own: nothing of the machine is touched.

mod firewall;
mod host_ports;
mod killed;
mod lab;
mod pods;
mod recovery;
mod talk;
