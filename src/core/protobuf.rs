//! Protobuf as etcd stores it: just enough to read the fields of its rows. Nothing is believed.

use crate::view::Fault;

/// A field with its number. Those of fixed length are in none of etcd's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
    Fixed,
}

/// The fields of a message, in the order in which they stand there.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Fault>> {
    let mut rest = message;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| Fault("it is no message of protobuf".into())))
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let tag = varint(rest)?;
    let field = tag >> 3;
    Some(match tag & 7 {
        0 => Field::Number(field, varint(rest)?),
        1 => {
            take(rest, 8)?;
            Field::Fixed
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Field::Bytes(field, take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Field::Fixed
        }
        _ => return None,
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(message: &[u8]) -> Result<Vec<Field<'_>>, Fault> {
        fields(message).collect()
    }

    #[test]
    fn fields_are_read_in_their_order() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 2, b'a', b'b', 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 1,
        ];
        let expected = [
            Field::Number(1, 150),
            Field::Bytes(2, b"ab"),
            Field::Fixed,
            Field::Number(1, 1),
        ];
        assert_eq!(read(&message).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for message in [&[0x08][..], &[0x12, 5, 1], &[0x08; 1], &[0x0b], &[0xff; 20]] {
            assert!(read(message).is_err(), "{message:?}");
        }
    }
}
