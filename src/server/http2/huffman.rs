//! The Huffman code of header strings (RFC 7541, appendix B).

/// How many bits the code of each byte has. The code is canonical: codes of one length are numbered
/// in the order of their bytes, and longer codes come after shorter ones.
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
];
const BITS_MAX: usize = 30;
/// The codes of up to so many bits, which are those of common letters, are found in one step.
const SHORT: usize = 8;
/// A string is padded to a whole byte.
const PADDING_BITS_MAX: u32 = 7;

/// A string that no byte sequence has as its code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

struct Tables {
    /// The bytes in the order of their codes.
    bytes: [u8; 256],
    /// For each number of bits: the first code, how many there are, where in `bytes` they begin.
    lengths: [(u32, u32, usize); BITS_MAX + 1],
    /// For each first byte of a code: the byte that it stands for, and the code's bits or 0.
    short: [(u8, u8); 1 << SHORT],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        bytes: [0; 256],
        lengths: [(0, 0, 0); BITS_MAX + 1],
        short: [(0, 0); 1 << SHORT],
    };
    let (mut code, mut place, mut bits) = (0_u32, 0, 1);
    while bits <= BITS_MAX {
        code <<= 1;
        let first = (code, place);
        let mut byte = 0;
        while byte < 256 {
            if BITS[byte] as usize == bits {
                tables.bytes[place] = byte as u8;
                if bits <= SHORT {
                    let mut filler = 0;
                    while filler < 1 << (SHORT - bits) {
                        let prefix = ((code as usize) << (SHORT - bits)) + filler;
                        tables.short[prefix] = (byte as u8, bits as u8);
                        filler += 1;
                    }
                }
                place += 1;
                code += 1;
            }
            byte += 1;
        }
        tables.lengths[bits] = (first.0, code - first.0, first.1);
        bits += 1;
    }
    tables
}

/// Appends what `source` stands for.
pub(super) fn decode(source: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut source = source.iter();
    // The lowest `count` bits of `bits` are not decoded yet.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count <= 32 {
            let Some(byte) = source.next() else { break };
            bits = bits << 8 | u64::from(*byte);
            count += 8;
        }
        if count == 0 {
            return Ok(());
        }
        // The next 32 bits. The end is followed by ones, as padding is.
        let window = match count {
            0..32 => (bits << (32 - count)) as u32 | u32::MAX >> count,
            _ => (bits >> (count - 32)) as u32,
        };
        if window == u32::MAX {
            return match count <= PADDING_BITS_MAX {
                true => Ok(()),
                false => Err(Malformed),
            };
        }
        let (byte, length) = symbol(window).ok_or(Malformed)?;
        count = count.checked_sub(length).ok_or(Malformed)?;
        out.push(byte);
    }
}

/// The byte whose code `window` begins with, and the code's bits.
fn symbol(window: u32) -> Option<(u8, u32)> {
    let (byte, bits) = TABLES.short[(window >> (32 - SHORT)) as usize];
    if bits > 0 {
        return Some((byte, bits.into()));
    }
    (SHORT + 1..=BITS_MAX).find_map(|bits| {
        let (first, codes, place) = TABLES.lengths[bits];
        let offset = (window >> (32 - bits)).wrapping_sub(first);
        (offset < codes).then(|| (TABLES.bytes[place + offset as usize], bits as u32))
    })
}

/// The code of `text`.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for byte in text {
        let place = TABLES.bytes.iter().position(|other| other == byte);
        let length = BITS[usize::from(*byte)];
        let (first, _, begin) = TABLES.lengths[usize::from(length)];
        let code = first + u32::try_from(place.expect("every byte is there") - begin).unwrap();
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    let byte = |bits: &[bool]| {
        (0..8).fold(0, |byte, i| {
            byte << 1 | u8::from(*bits.get(i).unwrap_or(&true))
        })
    };
    bits.chunks(8).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(source: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(source, &mut out).map(|()| out)
    }

    /// From RFC 7541, appendix C.
    #[test]
    fn strings_of_the_standard_are_decoded() {
        for (code, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            ("", ""),
        ] {
            let code: Vec<u8> = (0..code.len() / 2)
                .map(|i| u8::from_str_radix(&code[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&code).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn wrong_padding_is_refused() {
        // '0' is five zeros.
        assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decoded(&[0b0000_0110]), Err(Malformed));
        assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(Malformed));
        assert_eq!(decoded(&[0xff]), Err(Malformed));
        // The end of a string has a code, which must not occur.
        assert_eq!(decoded(&[0xff; 4]), Err(Malformed));
        assert_eq!(decoded(&[0xff; 9]), Err(Malformed));
    }

    #[test]
    fn every_byte_has_a_code() {
        for byte in 0..=255_u8 {
            assert_eq!(decoded(&encode(&[byte])).unwrap(), [byte], "{byte}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
    }
}
