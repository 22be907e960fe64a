//! Reads a log directory back, strictly.

use std::fs;
use std::path::Path;

/// The text of one stream in all files of a log, oldest first, partial lines joined. Panics on a line that is none.
pub(crate) fn read_all(directory: &Path, stream: &str, max_bytes: u64) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| {
        if name == "0.log" {
            return (1, String::new(), 0);
        }
        let mut parts = name.trim_start_matches("0.log.").split('.');
        let stamp = parts.next().unwrap().to_owned();
        let number = parts.next().map_or(0, |n| n.parse::<u32>().unwrap());
        (0, stamp, number)
    });
    let (mut lines, mut open) = (Vec::new(), String::new());
    for name in names {
        let content = fs::read_to_string(directory.join(&name)).unwrap();
        assert!(
            content.len() as u64 <= max_bytes,
            "{name}: {}",
            content.len()
        );
        assert!(
            content.is_empty() || content.ends_with('\n'),
            "{name} is cut"
        );
        for line in content.lines() {
            let mut parts = line.splitn(4, ' ');
            let time = parts.next().unwrap();
            assert!(time.len() == 30 && time.ends_with('Z'), "{name}: {line}");
            let (of, tag) = (parts.next().unwrap(), parts.next().unwrap());
            let text = parts.next().unwrap();
            if of != stream {
                continue;
            }
            open.push_str(text);
            match tag {
                "F" => lines.push(std::mem::take(&mut open)),
                "P" => {}
                _ => panic!("{name}: {line}"),
            }
        }
    }
    if !open.is_empty() {
        lines.push(open);
    }
    lines
}
