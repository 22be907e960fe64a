//! `kill -9` at any moment: whatever is there afterwards is complete.

use crate::kit::*;
use crate::lying_registry::LyingRegistry;
use image_store::{CancellationToken, ImageStore};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DIRECTORY: &str = "IMAGE_STORE_TEST_DIRECTORY";
const REGISTRY: &str = "IMAGE_STORE_TEST_REGISTRY";
const IMAGES: usize = 3;
const ROUNDS: u32 = 40;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn content(image: usize, file: usize) -> Vec<u8> {
    format!("image {image} file {file} ")
        .repeat(1 + file * 7)
        .into_bytes()
}

fn build(image: usize) -> BuiltImage {
    let shared = Tar::default().file("shared", "shared by all").end();
    let mut own = Tar::default();
    for file in 0..200 {
        own = own.file(&format!("d{}/f{file}", file % 5), content(image, file));
    }
    BuiltImage::new(vec![Layer::gzip(shared), Layer::gzip(own.end())])
}

/// Not a test by itself: the process that is killed. It pulls and removes for ever.
#[test]
#[ignore = "started and killed by the test below"]
fn child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let registry = std::env::var(REGISTRY).unwrap();
    let mut config = image_store::ImageStoreConfig::new(directory);
    config.registries.docker_config = Some("/nonexistent".into());
    let store = ImageStore::open(config).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The parent waits for this.
    let mut stdout = std::io::stdout();
    std::io::Write::write_all(&mut stdout, b"READY\n").unwrap();
    std::io::Write::flush(&mut stdout).unwrap();
    for turn in 0.. {
        let name = reference(&format!("{registry}/r:{}", turn % IMAGES));
        runtime
            .block_on(store.pull(&name, None, &silent(), CancellationToken::new()))
            .unwrap();
        if turn % 2 == 1 {
            let gone = format!("{registry}/r:{}", (turn + 1) % IMAGES);
            let _ = store.remove(&gone, &|_| false);
        }
        std::io::Write::write_all(&mut stdout, b"TURN\n").unwrap();
        std::io::Write::flush(&mut stdout).unwrap();
    }
}

/// Starts the child and lets it go through `turns` turns.
fn start(home: &Home, registry: &LyingRegistry, turns: usize) -> Killed {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, home.images())
        .env(REGISTRY, registry.host())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let child = Killed(child);
    let mut heard = Vec::new();
    let mut byte = [0];
    let done = |heard: &[u8]| {
        let text = String::from_utf8_lossy(heard);
        text.contains("READY\n") && text.matches("TURN\n").count() >= turns
    };
    while !done(&heard) {
        assert_eq!(
            stdout.read(&mut byte).unwrap(),
            1,
            "the child ended: {}",
            String::from_utf8_lossy(&heard)
        );
        heard.push(byte[0]);
    }
    child
}

/// Everything that the store shows is whole, and nothing else is there.
fn check(home: &Home, registry: &LyingRegistry) -> usize {
    let store = home.open();
    let images = home.images();
    let mut complete = 0;
    for image in 0..IMAGES {
        let Some(info) = store.find(&registry.name(&image.to_string())) else {
            continue;
        };
        complete += 1;
        let found = store.image(&info.id).unwrap();
        assert_eq!(found.layers().len(), 2);
        assert_eq!(
            found.file("shared", 100).unwrap().unwrap(),
            b"shared by all"
        );
        for file in 0..200 {
            let path = format!("d{}/f{file}", file % 5);
            assert_eq!(
                found.file(&path, 1 << 20).unwrap().unwrap(),
                content(image, file),
                "{path}"
            );
        }
    }
    for summary in store.list() {
        assert!(store.image(&summary.id).is_some());
    }
    let marked = |path: &Path| path.join("mark").is_file() && path.join("fs").is_dir();
    for layer in std::fs::read_dir(images.join("layers")).unwrap() {
        let path = layer.unwrap().path();
        assert!(marked(&path), "{}", path.display());
    }
    for directory in ["ingest", "trash"] {
        eventually("it is empty", || {
            std::fs::read_dir(images.join(directory))
                .unwrap()
                .next()
                .is_none()
        });
    }
    complete
}

#[test]
fn a_process_killed_at_any_moment_leaves_images_that_are_complete_or_absent() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let registry = LyingRegistry::honest();
    for image in 0..IMAGES {
        registry.put(&image.to_string(), &build(image));
    }
    let mut found = 0;
    for round in 0..ROUNDS {
        let child = start(&home, &registry, round as usize % 4);
        // The moment of death, not a wait for anything: somewhere in the turn that has begun.
        std::thread::sleep(Duration::from_micros(u64::from(
            round.wrapping_mul(2_654_435_761) % 50_000,
        )));
        drop(child);
        found += check(&home, &registry);
        assert_eq!(home.outside(), before);
    }
    assert!(found > 0, "no child ever completed a pull");
}
