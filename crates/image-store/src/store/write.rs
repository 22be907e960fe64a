//! Recording images and names.

use super::open::Store;
use super::records::{ImageRecord, NameRecord, NewImage, write};
use crate::digest::{Digest, ImageId};
use crate::error::StoreError;
use std::sync::PoisonError;

impl Store {
    /// Records an image whose layers are complete and leased, then its names. Blocking.
    pub(crate) fn add_image(&self, new: NewImage) -> Result<(), StoreError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.index.lock().images.contains_key(&new.id);
        if !known {
            let record = ImageRecord {
                id: new.id.clone(),
                config: new.config,
                manifest: new.manifest,
                layers: new.layers,
                pinned: false,
            };
            let image = self.index.lock().image_of(&record, &self.layout);
            let Some(image) = image else {
                return Err(StoreError::Panicked);
            };
            write(&self.layout.image(&record.id), &record)?;
            self.index.lock().add_image(image, record.layers);
        }
        self.write_names(&new.id, new.names)
    }

    fn write_names(
        &self,
        id: &ImageId,
        names: Vec<(String, Option<Digest>)>,
    ) -> Result<(), StoreError> {
        for (name, target) in names {
            let record = NameRecord {
                name: name.clone(),
                image: id.clone(),
                target,
            };
            if self.index.lock().names.get(&name) == Some(&record) {
                continue;
            }
            write(&self.layout.name(&name), &record)?;
            self.index.lock().names.insert(name, record);
        }
        Ok(())
    }

    /// Keeps an image from being deleted to win space, or allows it again. `false`: there is no such image. Blocking.
    pub(crate) fn set_pinned(&self, id: &ImageId, pinned: bool) -> Result<bool, StoreError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.layout.image(id);
        let Some(mut record) = super::records::read::<ImageRecord>(&path) else {
            return Ok(false);
        };
        record.pinned = pinned;
        let image = self.index.lock().image_of(&record, &self.layout);
        let Some(image) = image else {
            return Ok(false);
        };
        write(&path, &record)?;
        self.index.lock().add_image(image, record.layers);
        Ok(true)
    }
}
