//! `images`, `pull`, `load` and `rmi`.

use crate::agent::{Agent, path};
use crate::command::{Format, Images};
use crate::error::ClientError;
use crate::output::{self, complain};
use crate::progress::Progress;
use crate::{size, tabs};
use http::Method;
use node_server::wire::{ImageProgress, ImageRow, PREFIX, Removed};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hexadecimal digits of an id that are shown.
const SHORT: usize = 12;

pub(crate) async fn list(agent: &Agent, wanted: Images) -> Result<(), ClientError> {
    let rows: Vec<ImageRow> = agent
        .get(&format!("{PREFIX}{}", path(&["images"], &[])))
        .await?;
    let value = || serde_json::to_value(&rows).map_err(|e| ClientError::Answer(e.to_string()));
    match wanted.output {
        Some(Format::Json) => return output::print(&output::json(&value()?)?),
        Some(Format::Yaml) => return output::print(&output::yaml(&value()?)?),
        Some(Format::Name) => {
            let names = rows
                .iter()
                .flat_map(|row| row.tags.iter().map(|tag| format!("{tag}\n")));
            return output::print(&names.collect::<String>());
        }
        Some(Format::Wide) | None => {}
    }
    let is_wide = wanted.no_trunc || wanted.output == Some(Format::Wide);
    output::print(&tabs::table(&table(&rows, is_wide), &mut Vec::new()))
}

fn table(images: &[ImageRow], whole_ids: bool) -> Vec<Vec<String>> {
    let headings = ["IMAGE", "TAG", "IMAGE ID", "SIZE"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    let mut named = Vec::new();
    for image in images {
        let hex = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
        let id = if whole_ids {
            image.id.clone()
        } else {
            hex.chars().take(SHORT).collect()
        };
        let size = size::decimal(image.size_bytes);
        let mut names: Vec<(String, String)> = image
            .tags
            .iter()
            // A colon before the last slash is that of a port.
            .map(|name| match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
                _ => (name.clone(), "<none>".to_owned()),
            })
            .collect();
        if names.is_empty() {
            let repository = image.digests.first().and_then(|d| d.split_once('@'));
            let repository = repository.map_or("<none>", |(name, _)| name);
            names.push((repository.to_owned(), "<none>".to_owned()));
        }
        for (name, tag) in names {
            named.push(vec![name, tag, id.clone(), size.clone()]);
        }
    }
    named.sort();
    rows.extend(named);
    rows
}

pub(crate) async fn pull(agent: &Agent, image: &str) -> Result<(), ClientError> {
    let path = path(&["images", "pull"], &[("name", image)]);
    follow(agent, &format!("{PREFIX}{path}"), image).await?;
    Ok(())
}

pub(crate) async fn load(agent: &Agent, archive: &Path) -> Result<(), ClientError> {
    let from_stdin = archive.as_os_str() == "-";
    let file = if from_stdin {
        Spooled::from_stdin()?
    } else {
        let whole = std::path::absolute(archive)?;
        std::fs::metadata(&whole).map_err(|e| {
            ClientError::Said(format!("cannot read archive {}: {e}", archive.display()))
        })?;
        Spooled {
            path: whole,
            is_ours: false,
        }
    };
    let Some(text) = file.path.to_str() else {
        return Err(ClientError::Said(format!(
            "the path of archive {} is not UTF-8",
            archive.display()
        )));
    };
    let path = path(&["images", "load"], &[("path", text)]);
    let label = archive.display().to_string();
    for name in follow(agent, &format!("{PREFIX}{path}"), &label).await? {
        output::print(&format!("Loaded image: {name}\n"))?;
    }
    Ok(())
}

/// Shows a pull or a load; answers with the names that it brought.
async fn follow(agent: &Agent, path: &str, label: &str) -> Result<Vec<String>, ClientError> {
    let mut parts = agent.stream(Method::POST, path).await?;
    let mut progress = Progress::new(label);
    while let Some(line) = parts.line::<ImageProgress>().await? {
        match line {
            ImageProgress::Pulled => {
                progress.finish();
                output::print(&format!("{label}\n"))?;
                return Ok(Vec::new());
            }
            ImageProgress::Loaded { names } => {
                progress.finish();
                return Ok(names);
            }
            ImageProgress::Failed { message } => {
                progress.finish();
                return Err(ClientError::Said(message));
            }
            other => progress.show(&other),
        }
    }
    Err(ClientError::BrokenOff(
        "it ended before the image was there".to_owned(),
    ))
}

/// An archive in a file that the agent can open.
struct Spooled {
    path: PathBuf,
    is_ours: bool,
}

impl Spooled {
    fn from_stdin() -> Result<Self, ClientError> {
        use std::os::unix::fs::OpenOptionsExt;
        let name = format!(
            "coracle-load-{}-{}.tar",
            std::process::id(),
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |d| d.as_nanos())
        );
        let path = std::env::temp_dir().join(name);
        // Nobody else's file, and not through a link that somebody put there.
        let mut file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let spooled = Self {
            path,
            is_ours: true,
        };
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(spooled)
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

pub(crate) async fn remove(agent: &Agent, images: &[String]) -> Result<ExitCode, ClientError> {
    let mut code = ExitCode::SUCCESS;
    for image in images {
        let path = format!("{PREFIX}{}", path(&["images"], &[("name", image)]));
        match agent.json::<Removed>(Method::DELETE, &path).await {
            Ok(done) => {
                for name in done.removed {
                    output::print(&format!("Deleted: {name}\n"))?;
                }
            }
            Err(e @ ClientError::Server { .. }) => {
                complain(&e.to_string());
                code = ExitCode::FAILURE;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_an_image_has_a_row() {
        let image = |tags: &[&str], digests: &[&str]| ImageRow {
            id: format!("sha256:{}", "ab".repeat(32)),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            digests: digests.iter().map(|t| (*t).to_owned()).collect(),
            size_bytes: 64_000_000,
            created: String::new(),
            pinned: false,
        };
        let images = [
            image(&["localhost:5000/b:1", "docker.io/library/a:latest"], &[]),
            image(&[], &["quay.io/c@sha256:00"]),
            image(&[], &[]),
        ];
        let rows: Vec<String> = table(&images, false).iter().map(|r| r.join(" ")).collect();
        assert_eq!(
            rows,
            [
                "IMAGE TAG IMAGE ID SIZE",
                "<none> <none> abababababab 64.0MB",
                "docker.io/library/a latest abababababab 64.0MB",
                "localhost:5000/b 1 abababababab 64.0MB",
                "quay.io/c <none> abababababab 64.0MB",
            ]
        );
        assert_eq!(table(&images, true)[1][2].len(), 71);
    }
}
