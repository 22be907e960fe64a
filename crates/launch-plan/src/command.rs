//! What is executed, and where.

use crate::env::PodEnv;
use crate::error::PlanError;
use crate::expansion::expand;
use crate::facts::ImageConfig;
use k8s_openapi::api::core::v1::Container;

/// `command` takes the place of ENTRYPOINT and, alone, of CMD; `args` take the place of CMD. As the kubelet and containerd do it together.
pub(crate) fn argv(
    container: &Container,
    image: &ImageConfig,
    env: &PodEnv,
) -> Result<Vec<String>, PlanError> {
    let expanded = |words: Option<&Vec<String>>| -> Vec<String> {
        words
            .into_iter()
            .flatten()
            .map(|w| expand(w, |name| env.mapped(name)))
            .collect()
    };
    let mut command = expanded(container.command.as_ref());
    let mut args = expanded(container.args.as_ref());
    if command.is_empty() {
        if args.is_empty() {
            args.clone_from(&image.cmd);
        }
        // an ENTRYPOINT of one empty word is how a Dockerfile takes a base image's away
        if image.entrypoint != [""] {
            command.clone_from(&image.entrypoint);
        }
    }
    command.append(&mut args);
    check_argv(command)
}

/// Also for a command given to exec.
pub(crate) fn check_argv(argv: Vec<String>) -> Result<Vec<String>, PlanError> {
    if argv.is_empty() {
        return Err(PlanError::NoCommand);
    }
    let rule = if argv[0].is_empty() {
        "is an empty word"
    } else if argv.iter().any(|w| w.contains('\0')) {
        "has a NUL byte in it"
    } else {
        return Ok(argv);
    };
    Err(PlanError::BadCommand { rule })
}

/// The pod's `workingDir`, else the image's, else `/`; made clean.
pub(crate) fn working_dir(container: &Container, image: &ImageConfig) -> Result<String, PlanError> {
    let wanted = container
        .working_dir
        .as_deref()
        .filter(|d| !d.is_empty())
        .unwrap_or(&image.working_dir);
    if wanted.is_empty() {
        return Ok("/".to_owned());
    }
    let bad = |rule| PlanError::BadWorkingDir {
        path: wanted.chars().take(4096).collect(),
        rule,
    };
    if wanted.contains(['\0', '\n', '\r']) {
        return Err(bad("has a line break or a NUL byte in it"));
    }
    if wanted.len() >= 4096 {
        return Err(bad("is too long"));
    }
    if !wanted.starts_with('/') {
        return Err(bad("must be an absolute path"));
    }
    let clean = clean_path(wanted);
    // CVE-2024-21626: /proc/self/fd/N is a directory of whoever prepared the container
    let mut parts = clean.split('/').skip(1);
    let through_a_process = match (parts.next(), parts.next()) {
        (Some("proc"), Some(process)) => {
            process == "self"
                || process == "thread-self"
                || process.bytes().all(|b| b.is_ascii_digit())
        }
        (Some("dev"), Some("fd")) => true,
        _ => false,
    };
    if through_a_process {
        return Err(bad(
            "leads through a process in /proc, which is not allowed",
        ));
    }
    Ok(clean)
}

/// Without empty parts, `.` and `..`, by the text alone, as Go's `path.Clean` for an absolute path.
pub(crate) fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn check(command: &[&str], args: &[&str], entrypoint: &[&str], cmd: &[&str]) -> String {
        let some = |l: &[&str]| (!l.is_empty()).then(|| words(l));
        let container = Container {
            command: some(command),
            args: some(args),
            ..Container::default()
        };
        let image = ImageConfig {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            ..ImageConfig::default()
        };
        match argv(&container, &image, &PodEnv::default()) {
            Ok(argv) => argv.join(" "),
            Err(e) => format!("error: {e}"),
        }
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        // the table of "Define a Command and Arguments for a Container"
        assert_eq!(
            check(&[], &[], &["/ep-1"], &["foo", "bar"]),
            "/ep-1 foo bar"
        );
        assert_eq!(check(&["/ep-2"], &[], &["/ep-1"], &["foo", "bar"]), "/ep-2");
        assert_eq!(
            check(&[], &["zoo"], &["/ep-1"], &["foo", "bar"]),
            "/ep-1 zoo"
        );
        assert_eq!(
            check(&["/ep-2"], &["zoo"], &["/ep-1"], &["foo"]),
            "/ep-2 zoo"
        );
        assert_eq!(check(&[], &[], &[""], &["/only-cmd"]), "/only-cmd");
        assert_eq!(check(&[], &[], &[], &[]), "error: no command specified");
        assert_eq!(
            check(&[""], &[], &[], &[]),
            "error: the command is an empty word"
        );
        assert_eq!(
            check(&["a\0b"], &[], &[], &[]),
            "error: the command has a NUL byte in it"
        );
        assert_eq!(check(&["$(X)", "$$(X)"], &[], &[], &[]), "$(X) $(X)");
    }

    #[test]
    fn a_working_directory_leads_nowhere_else() {
        let dir = |pod: &str, image: &str| {
            working_dir(
                &Container {
                    working_dir: (!pod.is_empty()).then(|| pod.to_owned()),
                    ..Container::default()
                },
                &ImageConfig {
                    working_dir: image.to_owned(),
                    ..ImageConfig::default()
                },
            )
            .map_err(|e| e.to_string())
        };
        assert_eq!(dir("", ""), Ok("/".to_owned()));
        assert_eq!(dir("", "/app/"), Ok("/app".to_owned()));
        assert_eq!(dir("/a/./b/../c", "/app"), Ok("/a/c".to_owned()));
        assert_eq!(dir("/proc", ""), Ok("/proc".to_owned()));
        for bad in [
            "relative",
            "/proc/self/fd/7",
            "/proc/self",
            "//proc/./1/cwd",
            "/x/../proc/thread-self/fd/3",
            "/dev/fd/9",
            "/a\nb",
            "/a\0b",
        ] {
            assert!(dir("", bad).is_err(), "{bad:?}");
            assert!(dir(bad, "/app").is_err(), "{bad:?}");
        }
    }
}
