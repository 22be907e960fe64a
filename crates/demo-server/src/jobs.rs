//! The other jobs of the samples: an init container, a reader of a shared volume, a job that fails before it succeeds.

use crate::lines::say;
use std::path::Path;
use std::time::Duration;

/// Writes `text` and a line end to `file`.
pub(crate) fn write(file: &str, text: &str) -> Result<(), String> {
    std::fs::write(file, format!("{text}\n"))
        .map_err(|error| format!("could not write {file}: {error}"))?;
    say(&format!("wrote {file}"));
    Ok(())
}

/// Prints the content of `file` now and after each change, for ever.
pub(crate) fn follow(file: &str) -> Result<(), String> {
    let mut last = None;
    loop {
        let content = std::fs::read_to_string(file).ok();
        if content != last {
            match &content {
                Some(text) => say(&format!("{file}: {}", text.trim_end())),
                None => say(&format!("{file} is not there")),
            }
            last = content;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Fails as often as `failures` says, then succeeds. The count is kept in `dir`, which must outlive the container.
pub(crate) fn job(failures: &str, dir: &str) -> Result<(), String> {
    let failures: u32 = failures
        .parse()
        .map_err(|_| format!("{failures}: not a number"))?;
    let file = Path::new(dir).join("attempts");
    let before: u32 = match std::fs::read_to_string(&file) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("{}: not a number", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(format!("could not read {}: {error}", file.display())),
    };
    let attempt = before + 1;
    std::fs::write(&file, attempt.to_string())
        .map_err(|error| format!("could not write {}: {error}", file.display()))?;
    if attempt <= failures {
        return Err(format!(
            "attempt {attempt} fails on purpose ({failures} will)"
        ));
    }
    say(&format!("attempt {attempt} succeeds"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_fails_as_often_as_it_is_told_and_then_succeeds() {
        let dir = std::env::temp_dir().join(format!("demo-server-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.to_str().unwrap();
        let outcomes: Vec<bool> = (0..3).map(|_| job("2", path).is_ok()).collect();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(outcomes, [false, false, true]);
        assert_eq!(job("two", path).unwrap_err(), "two: not a number");
    }
}
