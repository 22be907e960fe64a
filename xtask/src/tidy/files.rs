//! The shape of source files: not too long, none of the words that mean "later", no `unsafe` outside its place.

use super::Findings;
use crate::run::{output, program, root};
use std::path::Path;

/// Above this a file holds a second idea, unless it stands in [`LONG`].
const MAX_LINES: usize = 600;

/// `(file, reason)`.
const LONG: &[(&str, &str)] = &[];

/// Built from parts so that this file does not contain them.
fn forbidden() -> Vec<(String, &'static str)> {
    vec![
        (format!("{}!(", "todo"), "finish it or leave it out"),
        (
            format!("{}!(", "unimplemented"),
            "finish it or leave it out",
        ),
        (format!("{}!(", "dbg"), "a print of the moment"),
        (format!("FIX{}", "ME"), "fix it or write an issue"),
    ]
}

pub(super) fn check(findings: &mut Findings) -> anyhow::Result<()> {
    let words = forbidden();
    for file in tracked()? {
        if Path::new(&file).extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else {
            continue; // deleted, not yet committed
        };
        check_file(&file, &text, &words, findings);
    }
    for (file, _) in LONG {
        let lines =
            std::fs::read_to_string(root().join(file)).map_or(0, |text| text.lines().count());
        if lines <= MAX_LINES {
            findings.push(format!(
                "{file}: is short again; take it off the list in xtask/src/tidy/files.rs"
            ));
        }
    }
    Ok(())
}

fn check_file(file: &str, text: &str, words: &[(String, &str)], findings: &mut Findings) {
    let count = text.lines().count();
    if count > MAX_LINES && !LONG.iter().any(|(long, _)| *long == file) {
        findings.push(format!(
            "{file}: {count} lines; split it where the second idea begins (at most {MAX_LINES})"
        ));
    }
    let sys = file.starts_with("crates/linux-sys/");
    for (number, line) in text.lines().enumerate() {
        for (word, why) in words
            .iter()
            .filter(|(word, _)| line.contains(word.as_str()))
        {
            findings.push(format!("{file}:{}: {word:?}: {why}", number + 1));
        }
        let allows = ["allow", "expect"]
            .iter()
            .any(|verb| line.contains(&format!("{verb}(unsafe_code")));
        if !sys && allows {
            findings.push(format!(
                "{file}:{}: unsafe belongs in linux-sys",
                number + 1
            ));
        }
    }
    let crate_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    if crate_root && count > 1 && !text.trim_start().starts_with("//!") {
        findings.push(format!(
            "{file}: opens without saying what the crate is for (//!)"
        ));
    }
}

/// Files that git knows.
pub(super) fn tracked() -> anyhow::Result<Vec<String>> {
    let text =
        output(program("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Findings {
        let mut findings = Findings::new();
        check_file("crates/x/src/a.rs", text, &forbidden(), &mut findings);
        findings
    }

    #[test]
    fn a_long_file_is_named_with_its_length() {
        let findings = found(&"x\n".repeat(601));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].starts_with("crates/x/src/a.rs: 601 lines"),
            "{findings:?}"
        );
        assert!(found(&"x\n".repeat(600)).is_empty());
    }

    #[test]
    fn a_word_that_means_later_is_named_with_its_line() {
        let findings = found(&format!("fn a() {{}}\nfn b() {{ {}!() }}\n", "todo"));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].starts_with("crates/x/src/a.rs:2:"),
            "{findings:?}"
        );
    }

    #[test]
    fn unsafe_is_allowed_in_its_place_alone() {
        let line = format!("#![{}(unsafe_code)]", "allow");
        assert_eq!(found(&line).len(), 1);
        let mut findings = Findings::new();
        check_file(
            "crates/linux-sys/src/a.rs",
            &line,
            &forbidden(),
            &mut findings,
        );
        assert!(findings.is_empty());
    }
}
