//! Which user and groups a container runs as: the pod's securityContext, else the image's `USER`, by way of the image's passwd and group.
//!
//! The files are the image's, so they are bounded, read leniently (a line that makes no sense is no line) and never make anybody root: a number
//! that is out of range is an error, where Go's parser of old made it 0.

use crate::error::PlanError;
use crate::facts::ImageFacts;
use crate::security::Security;
use crate::tenant::FromTenant;

/// Both files of any real image are far smaller.
pub const MAX_USER_FILE_BYTES: usize = 1 << 20;
/// `NGROUPS_MAX` of the kernel.
const MAX_GROUPS: usize = 65_536;
const MAX_ID: u32 = i32::MAX.cast_unsigned();

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Sorted, with the primary group at its place or in front.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// How `USER` names somebody.
enum Who<'a> {
    Id(u32),
    Name(&'a str),
}

pub(crate) fn resolve(
    security: &Security<'_>,
    image: &ImageFacts,
    pod: &str,
    container: &str,
) -> Result<Identity, PlanError> {
    let image_user = image.config.unchecked().user.as_str();
    check_non_root(security, image_user, pod, container)?;

    let passwd = text(image.passwd.as_ref(), "/etc/passwd")?;
    let group = text(image.group.as_ref(), "/etc/group")?;
    let by_uid = |uid: u32| passwd_entries(passwd).find(|e| e.uid == uid);

    let (uid, mut gid, name) = match security.run_as_user {
        Some(uid) => {
            let uid = id("runAsUser", uid)?;
            let entry = by_uid(uid);
            (
                uid,
                entry.as_ref().map_or(0, |e| e.gid),
                entry.map(|e| e.name),
            )
        }
        None => {
            let (user, group_part) = split_user(image_user)?;
            let (uid, gid, name) = match user {
                Who::Id(uid) => {
                    let entry = by_uid(uid);
                    (
                        uid,
                        entry.as_ref().map_or(0, |e| e.gid),
                        entry.map(|e| e.name),
                    )
                }
                Who::Name(name) => {
                    let entry =
                        passwd_entries(passwd)
                            .find(|e| e.name == name)
                            .ok_or_else(|| PlanError::UnknownUser {
                                user: name.to_owned(),
                            })?;
                    (entry.uid, entry.gid, Some(entry.name))
                }
            };
            let gid = match group_part {
                None => gid,
                Some(Who::Id(gid)) => gid,
                Some(Who::Name(wanted)) => {
                    group_entries(group)
                        .find(|g| g.name == wanted)
                        .ok_or_else(|| PlanError::UnknownGroup {
                            group: wanted.to_owned(),
                        })?
                        .gid
                }
            };
            (uid, gid, name)
        }
    };
    if let Some(wanted) = security.run_as_group {
        gid = id("runAsGroup", wanted)?;
    }

    let mut groups = Vec::new();
    for (field, value) in security
        .supplemental_groups
        .iter()
        .map(|g| ("supplementalGroups", *g))
        .chain(security.fs_group.map(|g| ("fsGroup", g)))
    {
        groups.push(id(field, value)?);
    }
    if !security.strict_groups
        && let Some(name) = name
    {
        groups.extend(
            group_entries(group)
                .filter(|g| g.name != name && g.members.split(',').any(|m| m == name))
                .map(|g| g.gid),
        );
    }
    groups.sort_unstable();
    groups.dedup();
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    if groups.len() > MAX_GROUPS {
        return Err(PlanError::TooManyGroups {
            count: groups.len(),
            limit: MAX_GROUPS,
        });
    }
    let home = by_uid(uid)
        .map(|e| e.home)
        .filter(|h| h.starts_with('/'))
        .unwrap_or("/");
    Ok(Identity {
        uid,
        gid,
        groups,
        home: home.to_owned(),
    })
}

/// As the kubelet's `verifyRunAsNonRoot`: an image without `USER` runs as root, a name proves nothing.
fn check_non_root(
    security: &Security<'_>,
    image_user: &str,
    pod: &str,
    container: &str,
) -> Result<(), PlanError> {
    if !security.run_as_non_root {
        return Ok(());
    }
    let (pod, container) = (pod.to_owned(), container.to_owned());
    match security.run_as_user {
        Some(0) => Err(PlanError::RunAsUserIsRoot { pod, container }),
        Some(_) => Ok(()),
        None if image_user.is_empty() => Err(PlanError::ImageRunsAsRoot { pod, container }),
        None => match split_user(image_user)?.0 {
            Who::Id(0) => Err(PlanError::ImageRunsAsRoot { pod, container }),
            Who::Id(_) => Ok(()),
            Who::Name(user) => Err(PlanError::NonNumericUser {
                user: user.to_owned(),
                pod,
                container,
            }),
        },
    }
}

fn id(field: &'static str, value: i64) -> Result<u32, PlanError> {
    u32::try_from(value)
        .ok()
        .filter(|v| *v <= MAX_ID)
        .ok_or(PlanError::IdOutOfRange { field, value })
}

/// `user[:group]`; no user at all is 0.
fn split_user(text: &str) -> Result<(Who<'_>, Option<Who<'_>>), PlanError> {
    let bad = |rule| PlanError::BadUser {
        user: text.to_owned(),
        rule,
    };
    if text.is_empty() {
        return Ok((Who::Id(0), None));
    }
    if text.len() > 1024 || text.contains(char::is_control) {
        return Err(bad("too long, or with control characters in it"));
    }
    let (user, group) = match text.split_once(':') {
        None => (text, None),
        Some((_, group)) if group.contains(':') => return Err(bad("more than one ':'")),
        Some((user, group)) => (user, Some(group)),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        return Err(bad("an empty name"));
    }
    let who = |part, what| {
        who(part).ok_or_else(|| PlanError::UserOutOfRange {
            user: text.to_owned(),
            what,
        })
    };
    Ok((who(user, "uid")?, group.map(|g| who(g, "gid")).transpose()?))
}

/// Digits with or without a sign are a number, everything else is a name. `None`: a number out of range.
fn who(part: &str) -> Option<Who<'_>> {
    let digits = part.strip_prefix(['-', '+']).unwrap_or(part);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Who::Name(part));
    }
    part.parse::<u32>()
        .ok()
        .filter(|v| *v <= MAX_ID)
        .map(Who::Id)
}

fn text<'a>(
    file: Option<&'a FromTenant<Vec<u8>>>,
    name: &'static str,
) -> Result<&'a [u8], PlanError> {
    let bytes = file.map_or(&[][..], |f| f.unchecked().as_slice());
    if bytes.len() > MAX_USER_FILE_BYTES {
        return Err(PlanError::UserFileTooLarge {
            file: name,
            limit: MAX_USER_FILE_BYTES,
        });
    }
    Ok(bytes)
}

/// Lines that are text; others are not looked at.
fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|b| *b == b'\n')
        .filter_map(|l| std::str::from_utf8(l).ok())
        .map(|l| l.trim_end_matches('\r'))
        .filter(|l| !l.contains('\0'))
}

fn number(field: &str) -> Option<u32> {
    // `parse` alone would take a plus sign
    let digits = !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit());
    field.parse().ok().filter(|v| digits && *v <= MAX_ID)
}

/// `name:password:uid:gid:gecos:home:shell`
fn passwd_entries(file: &[u8]) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("/");
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// `name:password:gid:member,member`
fn group_entries(file: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let gid = number(fields.nth(1)?)?;
        let members = fields.next().unwrap_or("");
        Some(GroupEntry { name, gid, members })
    })
}

#[cfg(test)]
mod tests;
