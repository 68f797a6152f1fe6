//! The words of a command line, and of the lines that `txn` and interactive `watch` read, split as
//! etcdctl splits them.

use super::go;

/// A word is bytes: a key or a value need not be text.
pub type Word = Vec<u8>;

/// Words apart by white space; a word in double quotes is read with Go's escapes, one in single
/// quotes as it stands. A quote that is never closed is passed over.
pub fn split_words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let word;
        (word, rest) = match first {
            '"' => match go::unquote_prefix(rest) {
                Some((content, rest)) => (Some(content), rest),
                None => (None, after),
            },
            '\'' => match after.split_once('\'') {
                Some((word, rest)) => (Some(word.into()), rest),
                None => (None, after),
            },
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (Some(rest[..end].into()), &rest[end..])
            }
        };
        words.extend(word);
        rest = rest.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let split = |line| -> Vec<String> {
            let words = split_words(line).into_iter();
            words.map(|word| String::from_utf8(word).unwrap()).collect()
        };
        assert_eq!(
            split("put k \"a b\\n\" 'c \\n'"),
            ["put", "k", "a b\n", "c \\n"]
        );
        assert_eq!(split("get \"k"), ["get", "k"]);
        assert_eq!(split("  get --rev=3\tk "), ["get", "--rev=3", "k"]);
        assert!(split("").is_empty());
    }
}
