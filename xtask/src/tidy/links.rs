//! Links between documents: a relative link of a Markdown file must lead to a file of the tree.

use super::Findings;
use super::files::tracked;
use crate::run::root;
use std::path::Path;

pub(super) fn check(findings: &mut Findings) -> anyhow::Result<()> {
    for file in tracked()?.into_iter().filter(|file| file.ends_with(".md")) {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else {
            continue;
        };
        let directory = Path::new(&file).parent().unwrap_or(Path::new(""));
        for (line, target) in relative_links(&text) {
            if !root().join(directory).join(target).exists() {
                findings.push(format!(
                    "{file}:{line}: links to {target}, which is not there"
                ));
            }
        }
    }
    Ok(())
}

/// `(line, target)` of every `[text](target)` outside code, without its anchor; links with a scheme and bare anchors left out.
fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code || line.starts_with("    ") {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else {
                continue;
            };
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push((number + 1, target));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::relative_links;

    #[test]
    fn only_relative_links_outside_code_are_followed() {
        let text = "[a](docs/a.md#part) and [b](https://x.org/)\n```\n[c](c.md)\n```\n[d](#here) [e](e.md)\n";
        assert_eq!(relative_links(text), [(1, "docs/a.md"), (5, "e.md")]);
    }
}
