use super::*;
use crate::facts::ImageConfig;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/home/app:/bin/sh
huge:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
plus:x:+7:0::/:/bin/sh
short:x:7
:x:8:8::/:/bin/sh
rel:x:9:9::not/absolute:/bin/sh
";
const GROUP: &str = "root:x:0:root
app:x:1001:
wheel:x:10:root,app
audio:x:29:app
app2:x:30:application
bad:x:99999999999:app
";

fn image(user: &str) -> ImageFacts {
    ImageFacts {
        config: FromTenant::new(ImageConfig {
            user: user.to_owned(),
            ..ImageConfig::default()
        }),
        passwd: Some(FromTenant::new(PASSWD.into())),
        group: Some(FromTenant::new(GROUP.into())),
        ..ImageFacts::default()
    }
}

fn resolved(security: &Security<'_>, user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
    resolve(security, &image(user), "web_default(u1)", "c")
        .map(|i| (i.uid, i.gid, i.groups, i.home))
        .map_err(|e| e.to_string())
}

fn of_image(user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
    resolved(&Security::default(), user)
}

#[test]
fn the_images_user_is_looked_up_in_the_images_files() {
    let home = |h: &str| h.to_owned();
    assert_eq!(of_image(""), Ok((0, 0, vec![0, 10], home("/root"))));
    assert_eq!(
        of_image("app"),
        Ok((1000, 1001, vec![1001, 10, 29], home("/home/app")))
    );
    assert_eq!(
        of_image("1000"),
        Ok((1000, 1001, vec![1001, 10, 29], home("/home/app")))
    );
    assert_eq!(of_image("4711"), Ok((4711, 0, vec![0], home("/"))));
    assert_eq!(
        of_image("app:audio"),
        Ok((1000, 29, vec![10, 29], home("/home/app")))
    );
    assert_eq!(of_image("5:6"), Ok((5, 6, vec![6], home("/"))));
    assert_eq!(of_image("9"), Ok((9, 9, vec![9], home("/"))));
}

#[test]
fn a_user_that_is_no_user_is_an_error_and_never_root() {
    let range = |u: &str, what: &str| {
        Err(format!(
            "invalid USER value {u:?}: {what} out of range, must be 0 to 2147483647"
        ))
    };
    for user in ["2147483648", "4294967296", "-1", "99999999999999999999999"] {
        assert_eq!(of_image(user), range(user, "uid"));
    }
    assert_eq!(of_image("0:4294967296"), range("0:4294967296", "gid"));
    for (user, name) in [
        ("0x0", "0x0"),
        (" 0", " 0"),
        ("nobody", "nobody"),
        ("huge", "huge"),
        ("minus", "minus"),
        ("plus", "plus"),
        ("short", "short"),
        ("nobody:audio", "nobody"),
    ] {
        assert_eq!(
            of_image(user),
            Err(format!(
                "unable to find user {name}: no matching entries in passwd file"
            ))
        );
    }
    assert_eq!(
        of_image("app:nogroup"),
        Err("unable to find group nogroup: no matching entries in group file".to_owned())
    );
    for user in [":0", "app:", "a:b:c", "a\nb", "a\0b", "\u{1b}[31m"] {
        let got = of_image(user);
        assert!(
            got.as_ref()
                .is_err_and(|e| e.starts_with("invalid USER value")),
            "{user:?}: {got:?}"
        );
    }
}

#[test]
fn the_pods_user_and_groups_come_first() {
    let security = Security {
        run_as_user: Some(1000),
        run_as_group: Some(7),
        supplemental_groups: &[50, 10],
        fs_group: Some(2000),
        ..Security::default()
    };
    assert_eq!(
        resolved(&security, "nobody:nogroup"),
        Ok((1000, 7, vec![7, 10, 29, 50, 2000], "/home/app".to_owned()))
    );
    let strict = Security {
        strict_groups: true,
        ..security
    };
    assert_eq!(
        resolved(&strict, ""),
        Ok((1000, 7, vec![7, 10, 50, 2000], "/home/app".to_owned()))
    );
    let outside = Security {
        run_as_user: Some(1 << 31),
        ..Security::default()
    };
    assert_eq!(
        resolved(&outside, ""),
        Err("runAsUser 2147483648 is out of range, must be 0 to 2147483647".to_owned())
    );
}

#[test]
fn run_as_non_root_speaks_the_kubelets_words() {
    let non_root = Security {
        run_as_non_root: true,
        ..Security::default()
    };
    let place = "(pod: \"web_default(u1)\", container: c)";
    for (user, message) in [
        (
            "",
            format!("container has runAsNonRoot and image will run as root {place}"),
        ),
        (
            "0:5",
            format!("container has runAsNonRoot and image will run as root {place}"),
        ),
        (
            "app:5",
            format!(
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root {place}"
            ),
        ),
    ] {
        assert_eq!(resolved(&non_root, user), Err(message));
    }
    assert!(resolved(&non_root, "1000").is_ok());
    assert!(resolved(&non_root, "4294967296").is_err());
    let as_user = |uid| Security {
        run_as_user: Some(uid),
        ..non_root
    };
    assert_eq!(
        resolved(&as_user(0), "1000"),
        Err(format!(
            "container's runAsUser breaks non-root policy {place}"
        ))
    );
    assert!(resolved(&as_user(5), "").is_ok());
}

#[test]
fn an_image_without_user_files_has_numbers_only() {
    let bare = ImageFacts {
        config: image("1000:1000").config,
        ..ImageFacts::default()
    };
    let got = resolve(&Security::default(), &bare, "p", "c");
    assert_eq!(
        got.map(|i| (i.uid, i.gid, i.groups)),
        Ok((1000, 1000, vec![1000]))
    );
    let too_large = ImageFacts {
        passwd: Some(FromTenant::new(vec![b'\n'; MAX_USER_FILE_BYTES + 1])),
        ..ImageFacts::default()
    };
    assert_eq!(
        resolve(&Security::default(), &too_large, "p", "c"),
        Err(PlanError::UserFileTooLarge {
            file: "/etc/passwd",
            limit: MAX_USER_FILE_BYTES
        })
    );
}
