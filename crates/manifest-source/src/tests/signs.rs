//! What the kernel's events come to, operation by operation. Events wait in order, so nothing here depends on time.

use crate::watch::{Sign, Signs, Watch};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The signs of what `act` does in a directory that has `a.yaml`.
fn signs(act: impl Fn(&Path)) -> Signs {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.yaml"), "old").expect("a file");
    let watch = Watch::new(directory.path()).expect("a watch");
    act(directory.path());
    watch.signs()
}

fn of_files(expected: &[(&str, Sign)]) -> Signs {
    Signs {
        files: expected
            .iter()
            .map(|(name, sign)| (name.into(), *sign))
            .collect(),
        ..Signs::default()
    }
}

#[test]
fn a_file_is_complete_when_it_is_closed_or_moved_in() {
    assert_eq!(
        signs(|d| fs::write(d.join("b.yaml"), "x").expect("write")),
        of_files(&[("b.yaml", Sign::Complete)])
    );
    let overwritten = signs(|d| fs::write(d.join("a.yaml"), "x").expect("write"));
    assert_eq!(overwritten, of_files(&[("a.yaml", Sign::Complete)]));
    let moved = signs(|d| {
        fs::write(d.join("t"), "x").expect("write");
        fs::rename(d.join("t"), d.join("a.yaml")).expect("rename");
    });
    assert_eq!(moved, of_files(&[("a.yaml", Sign::Complete)]));
    let touched_after = signs(|d| {
        fs::write(d.join("a.yaml"), "x").expect("write");
        fs::set_permissions(d.join("a.yaml"), fs::Permissions::from_mode(0o600)).expect("chmod");
    });
    assert_eq!(touched_after, of_files(&[("a.yaml", Sign::Complete)]));
}

#[test]
fn a_file_that_is_still_open_is_only_created_or_nothing_at_all() {
    let open = std::cell::RefCell::new(None);
    let created = signs(|d| {
        let mut file = File::create(d.join("b.yaml")).expect("create");
        file.write_all(b"half").expect("write");
        open.replace(Some(file));
    });
    assert_eq!(created, of_files(&[("b.yaml", Sign::Created)]));
    let truncated = signs(|d| {
        open.replace(Some(File::create(d.join("a.yaml")).expect("truncate")));
    });
    assert_eq!(truncated, Signs::default());
    assert_eq!(
        signs(|d| symlink("/x", d.join("b.yaml")).expect("link")),
        of_files(&[("b.yaml", Sign::Created)])
    );
}

#[test]
fn a_removed_file_is_gone_unless_it_went_to_a_backups_name() {
    assert_eq!(
        signs(|d| fs::remove_file(d.join("a.yaml")).expect("remove")),
        of_files(&[("a.yaml", Sign::Gone)])
    );
    let outside = tempfile::tempdir().expect("another directory");
    let moved_out =
        signs(|d| fs::rename(d.join("a.yaml"), outside.path().join("a.yaml")).expect("rename"));
    assert_eq!(moved_out, of_files(&[("a.yaml", Sign::Gone)]));
    let backup = signs(|d| fs::rename(d.join("a.yaml"), d.join("a.yaml~")).expect("rename"));
    assert_eq!(backup, of_files(&[("a.yaml", Sign::SetAside)]));
    let renamed = signs(|d| fs::rename(d.join("a.yaml"), d.join("b.yaml")).expect("rename"));
    assert_eq!(
        renamed,
        of_files(&[("a.yaml", Sign::Gone), ("b.yaml", Sign::Complete)])
    );
    let anew = signs(|d| {
        fs::rename(d.join("a.yaml"), d.join("a.yaml~")).expect("rename");
        fs::write(d.join("a.yaml"), "x").expect("write");
    });
    assert_eq!(anew, of_files(&[("a.yaml", Sign::Complete)]));
}

#[test]
fn names_that_are_no_manifests_give_no_sign() {
    let noise = signs(|d| {
        fs::write(d.join("4913"), "").expect("write");
        fs::remove_file(d.join("4913")).expect("remove");
        fs::write(d.join(".a.yaml.swp"), "").expect("write");
        fs::write(d.join("a.yaml~"), "").expect("write");
    });
    assert_eq!(noise, Signs::default());
}

#[test]
fn a_switched_link_means_everything() {
    let switched = signs(|d| {
        symlink("v", d.join("..tmp")).expect("link");
        fs::rename(d.join("..tmp"), d.join("..data")).expect("rename");
    });
    assert!(switched.everything);
}

#[test]
fn a_directory_that_goes_is_told_from_its_files_going() {
    let removed = signs(|d| {
        fs::remove_file(d.join("a.yaml")).expect("remove");
        fs::remove_dir(d).expect("remove");
    });
    assert!(removed.directory_gone);
    let away = tempfile::tempdir().expect("another directory");
    assert!(signs(|d| fs::rename(d, away.path().join("d")).expect("rename")).directory_gone);
}
