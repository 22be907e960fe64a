//! How the tree is called: `kubepods[/burstable|/besteffort]/pod<uid>/<container>.<attempt>[/{exec,own}-<session>]`.

use crate::session::{Session, SessionOwner};
use pod_model::{ContainerKey, PodUid, QosClass};
use std::path::{Path, PathBuf};

pub(crate) const KUBEPODS: &str = "kubepods";
pub(crate) const BURSTABLE: &str = "kubepods/burstable";
pub(crate) const BESTEFFORT: &str = "kubepods/besteffort";

/// The tier that pods of a class stand under; Guaranteed pods stand directly under `kubepods`.
pub(crate) fn tier(qos: QosClass) -> &'static str {
    match qos {
        QosClass::Guaranteed => KUBEPODS,
        QosClass::Burstable => BURSTABLE,
        QosClass::BestEffort => BESTEFFORT,
    }
}

pub(crate) const TIERS: [QosClass; 3] = [
    QosClass::Guaranteed,
    QosClass::Burstable,
    QosClass::BestEffort,
];

pub(crate) fn pod(uid: &PodUid, qos: QosClass) -> PathBuf {
    Path::new(tier(qos)).join(format!("pod{uid}"))
}

pub(crate) fn container(key: &ContainerKey, qos: QosClass) -> PathBuf {
    pod(&key.pod, qos).join(key.dir_name())
}

pub(crate) fn session(session: &Session) -> PathBuf {
    let name = format!("{}-{}", session.owner.prefix(), session.number);
    container(&session.container, session.qos).join(name)
}

/// Reads back what [`session`] wrote last: the directory's own name and what it says.
pub(crate) fn session_of(directory: &Path) -> Option<(&str, SessionOwner, u64)> {
    let name = directory.file_name()?.to_str()?;
    let (prefix, number) = name.split_once('-')?;
    let owner = SessionOwner::ALL
        .into_iter()
        .find(|owner| owner.prefix() == prefix)?;
    Some((name, owner, number.parse().ok()?))
}

/// Reads back what [`pod`] wrote. `None` for a directory that is not ours (`burstable` itself, somebody else's).
pub(crate) fn pod_of(directory: &Path) -> Option<PodUid> {
    let name = directory.file_name()?.to_str()?;
    PodUid::new(name.strip_prefix("pod")?).ok()
}

pub(crate) fn container_of(pod: &PodUid, directory: &Path) -> Option<ContainerKey> {
    ContainerKey::from_dir_name(pod, directory.file_name()?.to_str()?)
}
