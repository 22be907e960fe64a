//! Copying a log to a client, as it grows.

use crate::node::Node;
use crate::state::App;
use bytes::Bytes;
use container_logs::{LogWatch, Progress, ReadError, ReadOptions, Reader};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Where the machine has no more watches for us, a log is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A container's last words may still be on their way through the keeper when its end is known.
const LAST_WORDS: Duration = Duration::from_millis(100);

pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) options: ReadOptions,
    /// `None`: there is no log yet.
    pub(super) reader: Option<Reader>,
}

/// Sends what is in the log; when `follow`ing, until the container is over and everything was read. The disk is read on a thread that
/// may block, and only when there is something to read: who follows a silent container costs no thread.
pub(super) async fn copy<N: Node>(
    mut source: Source,
    follow: bool,
    app: App<N>,
    is_over: impl Fn(&App<N>) -> bool,
    send: mpsc::Sender<Bytes>,
) {
    // Watched before it is read: nothing falls in between.
    let watch = follow
        .then(|| LogWatch::new(&source.path).and_then(registered).ok())
        .flatten();
    let mut changes = app.node.changes();
    let mut last_look = false;
    loop {
        changes.mark_unchanged();
        let over = is_over(&app);
        let read;
        (source, read) = match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "reading a log was broken off");
                return;
            }
        };
        let (text, progress) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "cannot go on with a log");
                return;
            }
        };
        let is_silent = text.is_empty();
        if !is_silent && send.send(text.into()).await.is_err() {
            return;
        }
        match progress {
            Progress::More => continue,
            Progress::LimitReached => return,
            Progress::CaughtUp if !follow => return,
            Progress::CaughtUp => {}
        }
        // Read once more after the end is known, and after a pause in which nothing came.
        if over && is_silent && last_look {
            return;
        }
        last_look = over;
        let pause = if over { LAST_WORDS } else { LOOK_AGAIN };
        // Each arm only says "look again"; what was told and not taken is found by looking.
        tokio::select! {
            () = send.closed() => return,
            () = app.ending.cancelled() => return,
            changed = changes.changed(), if !over => if changed.is_err() { return },
            () = changed(watch.as_ref()) => {}
            () = tokio::time::sleep(pause), if over || watch.is_none() => {}
        }
    }
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe code; a LogWatch keeps one descriptor from its making to its end, which is what is asked for"
)]
fn registered(watch: LogWatch) -> std::io::Result<AsyncFd<LogWatch>> {
    AsyncFd::new(watch)
}

/// Returns when the log may have grown; never, if there is no watch.
async fn changed(watch: Option<&AsyncFd<LogWatch>>) {
    let Some(watch) = watch else {
        return std::future::pending().await;
    };
    if let Ok(mut ready) = watch.readable().await {
        watch.get_ref().drain();
        ready.clear_ready();
    }
}

impl Source {
    fn read(mut self) -> (Self, Result<(Vec<u8>, Progress), ReadError>) {
        let mut text = Vec::new();
        if self.reader.is_none() {
            match Reader::open(&self.path, self.options.clone()) {
                Ok(reader) => self.reader = Some(reader),
                Err(ReadError::Missing { .. }) => {}
                Err(e) => return (self, Err(e)),
            }
        }
        let progress = match &mut self.reader {
            Some(reader) => reader.read(&mut text),
            None => Ok(Progress::CaughtUp),
        };
        (self, progress.map(|p| (text, p)))
    }
}
