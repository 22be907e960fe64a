use node_sim::{generate, run};
use pod_lifecycle::step;

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..40 {
        let (first, second) = (generate(seed), generate(seed));
        assert_eq!(first, second);
        let (first, second) = (run(&first, step, true), run(&second, step, true));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.figures.line(), second.figures.line());
    }
}

#[test]
fn a_trace_changes_nothing() {
    for seed in 0..40 {
        let history = generate(seed);
        let (with, without) = (run(&history, step, true), run(&history, step, false));
        assert_eq!(with.figures.line(), without.figures.line(), "seed {seed}");
    }
}

#[test]
fn a_history_can_be_written_down_and_read_back() {
    let history = generate(7);
    let text = serde_json::to_string(&history).expect("a history is data");
    let read: node_sim::History = serde_json::from_str(&text).expect("what was written");
    assert_eq!(read, history);
}
