//! Against the running kernel, what no single wrapper can test.

mod runtime_default;
