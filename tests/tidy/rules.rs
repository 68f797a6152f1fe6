//! Rules about a file as a whole.

use crate::Violation;
use crate::source::Source;

/// There are no exceptions: a file that outgrows this has more than one subject.
const LINES_MAX: usize = 700;

pub fn length(source: &Source) -> Option<Violation> {
    (source.lines > LINES_MAX).then(|| Violation {
        path: source.path.clone(),
        line: source.lines,
        instead: format!(
            "{} lines, and {LINES_MAX} are the limit: split it, one subject to a file",
            source.lines
        ),
    })
}

/// The core's border is kept by the compiler, as long as this line stands.
pub fn no_std(source: &Source) -> Option<Violation> {
    let texts: Vec<&str> = source.tokens.iter().map(|token| &token.text[..]).collect();
    let is_there = texts
        .windows(5)
        .any(|window| window == ["#", "!", "[", "no_std", "]"]);
    (source.path == "src/core/mod.rs" && !is_there).then(|| Violation {
        path: source.path.clone(),
        line: 1,
        instead: "the core is #![no_std]: what needs std is an effect, done by the driver".into(),
    })
}
