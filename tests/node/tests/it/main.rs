//! What a lone node does, as its users see it: one module per promise, one test per sentence. Each test has a node of its own.

mod admission;
mod bad_images;
mod bad_input;
mod commands;
mod defaults;
mod hooks;
mod http;
mod images;
mod last_words;
mod leaks;
mod logs;
mod manifests;
mod network;
mod pod_life;
mod probes;
mod propagation;
mod registries;
mod samples;
mod security_context;
mod sharing;
mod side_by_side;
mod surviving;
mod terminals;
mod volumes;
