//! Which keys a command means: `key`, `key range_end`, `--prefix`, `--from-key`.

use super::command_line::Word;
use super::context::Context;
use super::failure::Failure;
use super::flags::Values;
use bytes::Bytes;

/// `key` and `range_end` as requests carry them, from a command's arguments. The words of the
/// refusals are the same for every command but for `usage`.
pub fn key_and_end(flags: &Values, args: &[Word], usage: &str) -> Result<(Bytes, Bytes), Failure> {
    let (prefix, from_key) = (flags.switch("prefix"), flags.switch("from-key"));
    let Some(key) = args.first() else {
        return Err(Failure::args(usage));
    };
    if prefix && from_key {
        let why = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Failure::args(why));
    }
    if args.len() > 1 && (prefix || from_key) {
        let why = "too many arguments, only accept one argument when `--prefix` or \
                   `--from-key` is set";
        return Err(Failure::args(why));
    }
    let key = Bytes::from(key.clone());
    Ok(match args.get(1) {
        Some(end) => (key, Bytes::from(end.clone())),
        None if prefix => prefix_range(key),
        None if from_key && key.is_empty() => (ZERO, ZERO),
        None if from_key => (key, ZERO),
        None => (key, Bytes::new()),
    })
}

/// Every key that starts with `prefix`.
pub fn prefix_range(prefix: Bytes) -> (Bytes, Bytes) {
    if prefix.is_empty() {
        return (ZERO, ZERO);
    }
    // The end is the prefix with its last byte one higher; bytes that cannot go higher fall away.
    let end = prefix.iter().rposition(|byte| *byte < 0xff).map(|last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        end
    });
    (prefix, end.map_or(ZERO, Bytes::from))
}

/// An argument, or all of the standard input where it is missing. An empty input is no value.
pub fn argument_or_input(context: &mut Context, at: usize, usage: &str) -> Result<Bytes, Failure> {
    if let Some(argument) = context.args.get(at) {
        return Ok(Bytes::from(argument.clone()));
    }
    let mut input = Vec::new();
    std::io::Read::read_to_end(&mut context.terminal.input, &mut input)?;
    if input.is_empty() {
        Err(Failure::args(usage))
    } else {
        Ok(input.into())
    }
}

const ZERO: Bytes = Bytes::from_static(&[0]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        let end = |prefix: &'static [u8]| prefix_range(Bytes::from_static(prefix)).1;
        assert_eq!(end(b"ab"), &b"ac"[..]);
        assert_eq!(end(b"a\xff"), &b"b"[..]);
        assert_eq!(end(b"\xff\xff"), ZERO);
        assert_eq!(prefix_range(Bytes::new()), (ZERO, ZERO));
    }
}
