//! Pull and unpack, from a real registry on loopback.

use crate::bed::Bed;
use crate::memory::cpu_time;
use crate::row::{Row, median};
use anyhow::Context;
use node_tests::registry::Registry;
use node_tests::{Image, Layer};
use std::time::Instant;

const LAYERS: usize = 4;
const FILES: usize = 1200;
const FILE_BYTES: usize = 64 << 10;

pub(crate) fn pull() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let registry = Registry::start(&bed.node.sandbox);
    let mut image = Image::busybox();
    let mut words = Words(0x9e37_79b9_7f4a_7c15);
    for layer in 0..LAYERS {
        let mut tar = Layer::new();
        for file in 0..FILES {
            tar = tar.file(
                &format!("data/{layer}/{}/{file}", file / 100),
                words.text(FILE_BYTES),
            );
        }
        image = image.layer(tar);
    }
    registry.push("big", "1", &image);
    let reference = registry.reference("big", "1");
    #[allow(clippy::cast_precision_loss, reason = "some hundred megabytes")]
    let megabytes = (LAYERS * FILES * FILE_BYTES) as f64 / 1e6;
    let packed: usize = image.layers.iter().map(|layer| layer.blob.len()).sum();
    let agent = bed.node.agent_pid().context("no agent")?;
    let (mut samples, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (begin, before) = (Instant::now(), cpu_time(agent)?);
        bed.node.say(&["pull", &reference]);
        let used = cpu_time(agent)?.saturating_sub(before);
        walls.push(megabytes / begin.elapsed().as_secs_f64());
        samples.push(megabytes / used.as_secs_f64());
        bed.node.say(&["rmi", &reference]);
    }
    // The first reads the registry's files from disk.
    samples.remove(0);
    walls.remove(0);
    Ok(vec![Row::new(
        "pull_unpack",
        samples,
        format!(
            "unpacked, per second of the agent's CPU time: {megabytes:.0} MB in {LAYERS} gzip layers ({} MB packed); by the clock {:.0} MB/s, registry and its sending on the same cores",
            packed / 1_000_000,
            median(walls)
        ),
    )])
}

/// Text that packs about as well as programs do (three to one).
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 16);
        while text.len() < bytes {
            let word = self.next();
            match word % 4 {
                0 => text.extend_from_slice(&word.to_le_bytes()),
                _ => text.extend_from_slice(format!("word{} ", word >> 54).as_bytes()),
            }
        }
        text.truncate(bytes);
        text
    }
}
