//! Taking names, images and layers away, in this order.

use super::index::repository_of;
use super::layout::{remove_file, sync_directory};
use super::open::{Store, discard};
use crate::digest::ImageId;
use crate::error::StoreError;
use crate::image::Removed;
use std::sync::PoisonError;

/// What is to be removed.
pub(crate) enum Removal {
    /// One name; with it the image, if it has no other.
    Name(String),
    /// The image with all its names.
    Image(ImageId),
}

/// Why nothing was removed.
pub(crate) enum NotRemoved {
    Missing,
    InUse(ImageId),
    Failed(StoreError),
}

impl From<StoreError> for NotRemoved {
    fn from(error: StoreError) -> Self {
        NotRemoved::Failed(error)
    }
}

impl Store {
    /// Blocking, but never for as long as deleting files takes.
    pub(crate) fn remove(
        &self,
        what: &Removal,
        in_use: &dyn Fn(&ImageId) -> bool,
    ) -> Result<Removed, NotRemoved> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, going, deletes) = {
            let index = self.index.lock();
            let id = match what {
                Removal::Name(name) => index.names.get(name).map(|record| record.image.clone()),
                Removal::Image(id) => index.images.get(id).map(|image| image.id.clone()),
            };
            let id = id.ok_or(NotRemoved::Missing)?;
            let all: Vec<&str> = index
                .names_of(&id)
                .map(|record| record.name.as_str())
                .collect();
            let going: Vec<String> = match what {
                Removal::Image(_) => all.iter().map(|name| (*name).to_owned()).collect(),
                Removal::Name(name) => going_with(name, &all),
            };
            let deletes = going.len() == all.len();
            (id, going, deletes)
        };
        if deletes && in_use(&id) {
            return Err(NotRemoved::InUse(id));
        }
        let mut removed = Removed::default();
        for name in going {
            remove_file(&self.layout.name(&name))?;
            self.index.lock().names.remove(&name);
            removed.untagged.push(name);
        }
        sync_directory(&self.layout.names())?;
        if deletes {
            remove_file(&self.layout.image(&id))?;
            sync_directory(&self.layout.images())?;
            self.index.lock().drop_image(&id);
            removed.deleted = Some(id);
            removed.freed_bytes = self.drop_unused(None)?;
        }
        Ok(removed)
    }

    /// Deletes complete layers that no image and no pull needs: those in `only`, or all. Returns their bytes. Blocking.
    pub(crate) fn sweep(&self, only: Option<&[String]>) -> Result<u64, StoreError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_unused(only)
    }

    fn drop_unused(&self, only: Option<&[String]>) -> Result<u64, StoreError> {
        let dropped: Vec<(String, u64)> = {
            let mut index = self.index.lock();
            let unused: Vec<String> = index
                .layers
                .iter()
                .filter(|(id, state)| {
                    state.images == 0
                        && state.leases == 0
                        && only.is_none_or(|only| only.contains(*id))
                })
                .map(|(id, _)| id.clone())
                .collect();
            // Out of the index first: from here on nobody can lease them.
            unused
                .into_iter()
                .filter_map(|id| {
                    let bytes = index.drop_layer(&id)?.mark.bytes;
                    Some((id, bytes))
                })
                .collect()
        };
        let mut bytes = 0;
        for (id, size) in dropped {
            discard(&self.layout, &self.layout.layer(&id))?;
            bytes += size;
        }
        self.reaper.wake();
        Ok(bytes)
    }
}

/// A tag takes the digests of its repository along when it is the repository's last tag, as `docker rmi` does.
fn going_with(name: &str, all: &[&str]) -> Vec<String> {
    let repository = repository_of(name);
    let is_digest = |name: &str| name.contains('@');
    let last_tag = !is_digest(name)
        && !all
            .iter()
            .any(|other| *other != name && !is_digest(other) && repository_of(other) == repository);
    all.iter()
        .filter(|other| {
            **other == name || (last_tag && is_digest(other) && repository_of(other) == repository)
        })
        .map(|other| (*other).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tag_of_a_repository_takes_its_digests_along() {
        let all = ["a/x:1", "a/x:2", "a/x@sha256:d", "b/x:1", "b/x@sha256:d"];
        assert_eq!(going_with("a/x:1", &all), ["a/x:1"]);
        assert_eq!(going_with("b/x:1", &all), ["b/x:1", "b/x@sha256:d"]);
        assert_eq!(going_with("a/x@sha256:d", &all), ["a/x@sha256:d"]);
        assert_eq!(going_with("h:5000/x:1", &["h:5000/x:1"]), ["h:5000/x:1"]);
    }
}
