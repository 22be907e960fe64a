//! What a misspelt name was meant to be.

/// The candidate that `name` is most likely a misspelling of, if one is near enough: a third of its letters, two at least, may differ.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::osa_distance(&lower, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= (c.len().min(name.len()) / 3).max(2).min(c.len() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}
