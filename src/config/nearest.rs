//! Which known word an unknown one may have been meant for.

/// The nearest of the known words, if it is near at all.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = known.map(|known| (distance(word, known), known)).min()?;
    (distance <= word.len().max(known.len()) / 2).then_some(known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, in_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, in_b) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(in_a != *in_b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_unless_none_is_near() {
        let known = ["name", "data-dir", "wal-dir"];
        assert_eq!(nearest("nmae", known.into_iter()), Some("name"));
        assert_eq!(nearest("data-dri", known.into_iter()), Some("data-dir"));
        assert_eq!(nearest("bogus", known.into_iter()), None);
        assert_eq!(nearest("name", [].into_iter()), None);
    }
}
