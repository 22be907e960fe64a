//! A pull or a load while a person waits: bars on a terminal, plain lines elsewhere.

use crate::output::complain;
use crate::size;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use node_server::wire::{ImageProgress, LayerProgress};
use std::collections::BTreeMap;
use std::io::IsTerminal;

pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    layers: BTreeMap<String, ProgressBar>,
}

impl Progress {
    pub(crate) fn new(label: &str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        if !is_terminal {
            complain(&format!("{label}: resolving"));
        }
        Self {
            bars: is_terminal.then(MultiProgress::new),
            layers: BTreeMap::new(),
        }
    }

    pub(crate) fn show(&mut self, event: &ImageProgress) {
        let Some(bars) = &self.bars else {
            if let Some(line) = plain(event) {
                complain(&line);
            }
            return;
        };
        match event {
            ImageProgress::Resolved { layers, .. } => {
                for layer in layers {
                    let bar = bars.add(ProgressBar::new(layer.bytes));
                    bar.set_style(style(
                        "{prefix} [{bar:30}] {bytes:>10}/{total_bytes:10} {msg}",
                    ));
                    bar.set_prefix(short(&layer.digest));
                    bar.set_message("waiting");
                    self.layers.insert(layer.digest.clone(), bar);
                }
            }
            ImageProgress::Layer { layer, state } => {
                if let Some(bar) = self.layers.get(layer) {
                    show_layer(bar, state);
                }
            }
            _ => {}
        }
    }

    /// Leaves what is shown and draws no more.
    pub(crate) fn finish(&mut self) {
        for bar in self.layers.values() {
            if !bar.is_finished() {
                bar.abandon();
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn show_layer(bar: &ProgressBar, state: &LayerProgress) {
    match state {
        LayerProgress::Waiting => bar.set_message("waiting"),
        LayerProgress::AlreadyExists => {
            bar.set_position(bar.length().unwrap_or(0));
            bar.finish_with_message("already there");
        }
        LayerProgress::Downloading { bytes, total } => {
            bar.set_length(*total);
            bar.set_position(*bytes);
            bar.set_message("downloading");
        }
        LayerProgress::Unpacking { .. } => {
            bar.set_position(bar.length().unwrap_or(0));
            bar.set_message("unpacking");
        }
        LayerProgress::Retrying { reason, .. } => bar.set_message(format!("again after {reason}")),
        LayerProgress::Done {
            unpacked_bytes,
            total,
            ..
        } => {
            bar.set_position(bar.length().unwrap_or(0));
            let unpacked = size::decimal(*unpacked_bytes);
            bar.finish_with_message(format!(
                "{unpacked} unpacked in {:.1} s",
                total.as_secs_f64()
            ));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn short(digest: &str) -> String {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

/// A line for what is worth one: not for each bit that came.
fn plain(event: &ImageProgress) -> Option<String> {
    match event {
        ImageProgress::Resolved {
            layers,
            total_bytes,
            image,
            ..
        } => Some(format!(
            "image {}: {} layers, {}",
            short(image),
            layers.len(),
            size::decimal(*total_bytes)
        )),
        ImageProgress::Layer { layer, state } => {
            let layer = short(layer);
            match state {
                LayerProgress::AlreadyExists => Some(format!("{layer}: already there")),
                LayerProgress::Retrying { reason, after } => Some(format!(
                    "{layer}: again in {:.1} s: {reason}",
                    after.as_secs_f64()
                )),
                LayerProgress::Done {
                    unpacked_bytes,
                    total,
                    ..
                } => Some(format!(
                    "{layer}: {} unpacked in {:.1} s",
                    size::decimal(*unpacked_bytes),
                    total.as_secs_f64()
                )),
                LayerProgress::Waiting
                | LayerProgress::Downloading { .. }
                | LayerProgress::Unpacking { .. } => None,
            }
        }
        ImageProgress::Complete { image, took } => Some(format!(
            "image {}: complete in {:.1} s",
            short(image),
            took.as_secs_f64()
        )),
        ImageProgress::Loaded { .. } | ImageProgress::Pulled | ImageProgress::Failed { .. } => None,
    }
}
