//! Words that somebody wrote wrong, and how they are shown to him. Pure.

/// The word that was probably meant.
#[must_use]
pub fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    const ALIKE: f64 = 0.8;
    let near = known.iter().map(|known| (strsim::jaro_winkler(known, word), *known));
    near.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Text as a fault shows it: in quotes, escaped, no longer than a line.
#[must_use]
pub fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
