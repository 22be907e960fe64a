use node_sim::{generate, mutants, run};

#[test]
fn every_core_that_is_wrong_on_purpose_is_found_out_soon() {
    for mutant in mutants() {
        let found = (0..1_000).find_map(|seed| run(&generate(seed), mutant.decide, false).finding);
        assert!(found.is_some(), "{}: {}", mutant.name, mutant.what);
    }
}
