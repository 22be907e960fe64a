use crate::node::{Node, pod};

#[test]
fn a_written_file_is_a_pod_and_a_removed_one_is_none() {
    let node = Node::new();
    node.write("a.yaml", &pod("a", "x:1"));
    node.until_pods(&["a-n1"]);
    node.remove("a.yaml");
    node.until_pods(&[]);
}
