//! Many histories on several threads. Which thread lives which history changes nothing of what comes out.

use node_sim::{Figures, Finding, generate, mutants as all_mutants, run};
use pod_lifecycle::{Decide, step};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Seeds that a thread takes at once.
const BATCH: u64 = 16;
/// Findings that are told; the rest is counted.
const MOST_TOLD: usize = 12;

struct Sum {
    figures: Figures,
    findings: BTreeMap<u64, Finding>,
}

fn live(first: u64, count: u64, threads: usize, decide: Decide, until_first: bool) -> Sum {
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let work = || {
        let mut sum = Sum {
            figures: Figures::default(),
            findings: BTreeMap::new(),
        };
        loop {
            let begin = next.fetch_add(BATCH, Ordering::Relaxed);
            if begin >= count || is_over.load(Ordering::Relaxed) {
                return sum;
            }
            for seed in first + begin..first + (begin + BATCH).min(count) {
                let outcome = run(&generate(seed), decide, false);
                sum.figures.add(&outcome.figures);
                if let Some(finding) = outcome.finding {
                    sum.findings.insert(seed, finding);
                    is_over.fetch_or(until_first, Ordering::Relaxed);
                }
            }
        }
    };
    let sums: Vec<Sum> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).collect()
    });
    let mut all = Sum {
        figures: Figures::default(),
        findings: BTreeMap::new(),
    };
    for sum in sums {
        all.figures.add(&sum.figures);
        all.findings.extend(sum.findings);
    }
    all
}

/// Panics are findings; they are told with their seed, not by the panicking thread.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Lives the histories of `count` seeds. Ends with one line of figures.
pub(crate) fn campaign(first: u64, count: u64, threads: usize) -> bool {
    silence_panics();
    let begin = Instant::now();
    let sum = live(first, count, threads, step, false);
    for (seed, finding) in sum.findings.iter().take(MOST_TOLD) {
        println!("seed {seed}: {}: {}", finding.rule, finding.detail);
    }
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in sum.findings.values() {
        *by_rule.entry(&finding.rule).or_default() += 1;
    }
    for (rule, times) in by_rule {
        println!("{times} broke: {rule}");
    }
    if let Some(seed) = sum.findings.keys().next() {
        println!("look at one with: cargo xtask sim --seed {seed} --trace");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "sim: {}; {} failed; {seconds:.1} s, {:.0} histories/s on {threads} threads",
        sum.figures.line(),
        sum.findings.len(),
        sum.figures.histories as f64 / seconds,
    );
    sum.findings.is_empty()
}

/// Lives histories with each mutant until one finds it out.
pub(crate) fn mutants(name: Option<&str>, first: u64, most: u64, threads: usize) -> bool {
    silence_panics();
    let begin = Instant::now();
    let (mut caught, mut survived) = (0, 0);
    for mutant in all_mutants() {
        if name.is_some_and(|name| !mutant.name.contains(name)) {
            continue;
        }
        // the name first: one that does not come to an end is known by it
        print!("{:<40} ", mutant.name);
        let _ = std::io::stdout().flush();
        let sum = live(first, most, threads, mutant.decide, true);
        match sum.findings.first_key_value() {
            Some((seed, finding)) => {
                caught += 1;
                println!(
                    "caught by seed {seed:>5}: {} ({})",
                    finding.rule, mutant.what
                );
            }
            None => {
                survived += 1;
                println!(
                    "SURVIVED {} histories ({})",
                    sum.figures.histories, mutant.what
                );
            }
        }
    }
    println!(
        "mutants: {caught} caught, {survived} survived; {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    survived == 0 && caught > 0
}
