//! The compression of header lists (RFC 7541): what a connection's header blocks say. The decoder
//! follows the same dynamic table as the one that h2 has.
//!
//! No copy is made of a field that stands in a table: a block's fields are places, and are read
//! from there. So a block of indexed fields, which is what a client's second call sends, costs a
//! look at each.

use super::field::Role;
use super::huffman;
use std::collections::VecDeque;
use std::sync::LazyLock;

/// The size of the dynamic table that this side allows, which is HTTP/2's default.
const TABLE_SIZE_MAX: usize = 4096;
/// What a field counts for besides the bytes of its name and its value.
const FIELD_OVERHEAD: usize = 32;
/// The bytes of an integer at most. h2 has the same limit.
const INTEGER_BYTES_MAX: usize = 5;
/// The longest header list, as grpc-go has it by default.
pub(super) const LIST_SIZE_MAX: usize = 16 * 1024 * 1024;
/// Fields and bytes of scratch memory that are kept for the next block.
const SCRATCH_MAX: usize = 4096;

/// A block that cannot be decoded. The connection cannot go on: the tables would differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<huffman::Malformed> for Malformed {
    fn from(_: huffman::Malformed) -> Malformed {
        Malformed
    }
}

/// The decoder of one connection's header blocks.
#[derive(Default)]
pub(super) struct Decoder {
    /// The newest entry first.
    table: VecDeque<Entry>,
    size: usize,
    /// `None` for the default.
    size_max: Option<usize>,
    /// How many entries there have been. An entry's number is how many came before it.
    inserted: usize,
    /// How many times its size was set, or an entry was larger than the table.
    resized: usize,
    /// What the block at hand has driven out of the table, the oldest first.
    evicted: Vec<Entry>,
    fields: Vec<Field>,
    /// The fields of the block that stand in no table.
    literals: Vec<u8>,
    list_size: usize,
}

struct Entry {
    /// The name and then the value.
    bytes: Box<[u8]>,
    name: usize,
    role: Role,
}

impl Entry {
    fn size(&self) -> usize {
        self.bytes.len() + FIELD_OVERHEAD
    }
}

struct Field {
    place: Place,
    role: Role,
}

#[derive(Clone, Copy)]
enum Place {
    Static(usize),
    /// An entry by its number.
    Dynamic(usize),
    /// Where in `literals` the name begins, where the value does and where that ends.
    Literal(usize, usize, usize),
}

impl Decoder {
    /// Decodes a whole block. `role` is told the role of each of its fields.
    pub fn decode(&mut self, block: &[u8], mut role: impl FnMut(Role)) -> Result<(), Malformed> {
        self.forget();
        let mut input = Input(block);
        let mut may_resize = true;
        while let Some(first) = input.0.first().copied() {
            if first & 0b1110_0000 == 0b0010_0000 {
                let size = input.integer(5)?;
                if !may_resize || size > TABLE_SIZE_MAX {
                    return Err(Malformed);
                }
                self.resize(size);
                continue;
            }
            may_resize = false;
            let field = match first {
                0b1000_0000.. => self.indexed(input.integer(7)?)?,
                0b0100_0000.. => self.literal(&mut input, 6)?,
                _ => self.literal(&mut input, 4)?,
            };
            role(field.role);
            if self.list_size <= LIST_SIZE_MAX {
                self.fields.push(field);
            }
        }
        Ok(())
    }

    /// Differs after each block that has changed the table.
    pub fn table_version(&self) -> (usize, usize) {
        (self.inserted, self.resized)
    }

    /// The size of the block's header list as HTTP/2 counts it.
    pub fn list_size(&self) -> usize {
        self.list_size
    }

    /// The name, the value and the role of each of the block's fields; of a list that is too long,
    /// only those of its beginning.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8], Role)> {
        self.fields.iter().map(|field| {
            let (name, value) = self.text(field.place);
            (name, value, field.role)
        })
    }

    fn forget(&mut self) {
        self.evicted.clear();
        self.fields.clear();
        self.literals.clear();
        self.fields.shrink_to(SCRATCH_MAX);
        self.evicted.shrink_to(SCRATCH_MAX);
        self.literals.shrink_to(SCRATCH_MAX);
        self.list_size = 0;
    }

    fn text(&self, place: Place) -> (&[u8], &[u8]) {
        match place {
            Place::Static(index) => {
                let (name, value) = STATIC[index];
                (name.as_bytes(), value.as_bytes())
            }
            Place::Dynamic(number) => {
                let entry = self.entry(number);
                entry.bytes.split_at(entry.name)
            }
            Place::Literal(name, value, end) => {
                (&self.literals[name..value], &self.literals[value..end])
            }
        }
    }

    /// An entry that is in the table, or was when the block began or in the middle of it.
    fn entry(&self, number: usize) -> &Entry {
        let age = self.inserted - 1 - number;
        match self.table.get(age) {
            Some(entry) => entry,
            None => &self.evicted[self.evicted.len() - 1 - (age - self.table.len())],
        }
    }

    /// Where the field with this index stands.
    fn place(&self, index: usize) -> Result<Place, Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        match index.checked_sub(STATIC.len()) {
            None => Ok(Place::Static(index)),
            Some(age) if age < self.table.len() => Ok(Place::Dynamic(self.inserted - 1 - age)),
            Some(_) => Err(Malformed),
        }
    }

    fn indexed(&mut self, index: usize) -> Result<Field, Malformed> {
        let place = self.place(index)?;
        let role = match place {
            Place::Static(index) => STATIC_ROLES[index],
            Place::Dynamic(number) => self.entry(number).role,
            Place::Literal(..) => unreachable!("it is in no table"),
        };
        let (name, value) = self.text(place);
        self.list_size += name.len() + value.len() + FIELD_OVERHEAD;
        Ok(Field { place, role })
    }

    /// A field whose value is spelt out. With six bits for the index of its name it is to be put
    /// into the table, with four it is not.
    fn literal(&mut self, input: &mut Input<'_>, index_bits: u8) -> Result<Field, Malformed> {
        let begin = self.literals.len();
        // What the table knows of the name.
        let mut named = None;
        match input.integer(index_bits)? {
            0 => input.string(&mut self.literals)?,
            index => {
                let place = self.place(index)?;
                named = match place {
                    Place::Dynamic(number) => Some(self.entry(number).role),
                    _ => None,
                };
                let mut literals = std::mem::take(&mut self.literals);
                let name = match place {
                    Place::Static(index) => STATIC[index].0.as_bytes(),
                    place => self.text(place).0,
                };
                literals.extend_from_slice(name);
                self.literals = literals;
            }
        }
        let middle = self.literals.len();
        input.string(&mut self.literals)?;
        let end = self.literals.len();
        let (name, value) = (&self.literals[begin..middle], &self.literals[middle..end]);
        let role = match named {
            // `te` has another role with another value.
            Some(Role::Other) if name != b"te" => Role::of_other(value),
            _ => Role::of(name, value),
        };
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.list_size += size;
        if index_bits == 6 {
            // An entry that is larger than the table leaves it empty.
            self.resized += usize::from(size > self.size_max());
            self.shrink_to(self.size_max().saturating_sub(size));
            if size <= self.size_max() {
                self.insert(begin, middle, role);
                let place = Place::Dynamic(self.inserted - 1);
                return Ok(Field { place, role });
            }
        }
        if self.list_size > LIST_SIZE_MAX {
            self.literals.truncate(begin);
        }
        let place = Place::Literal(begin, middle, end);
        Ok(Field { place, role })
    }

    /// Moves the last literal into the table.
    fn insert(&mut self, begin: usize, middle: usize, role: Role) {
        let entry = Entry {
            bytes: self.literals[begin..].into(),
            name: middle - begin,
            role,
        };
        self.literals.truncate(begin);
        self.size += entry.size();
        self.table.push_front(entry);
        self.inserted += 1;
    }

    fn size_max(&self) -> usize {
        self.size_max.unwrap_or(TABLE_SIZE_MAX)
    }

    fn resize(&mut self, size: usize) {
        self.resized += 1;
        self.size_max = Some(size);
        self.shrink_to(size);
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let entry = self.table.pop_back().expect("an empty table has no size");
            self.size -= entry.size();
            self.evicted.push(entry);
        }
    }
}

/// The rest of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer that begins in the lowest `bits` of a byte.
    fn integer(&mut self, bits: u8) -> Result<usize, Malformed> {
        let mask = (1 << bits) - 1;
        let prefix = self.byte()? & mask;
        let mut value = usize::from(prefix);
        if prefix < mask {
            return Ok(value);
        }
        for i in 0..INTEGER_BYTES_MAX - 1 {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let is_huffman = self.0.first().ok_or(Malformed)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        match is_huffman {
            true => huffman::decode(text, out)?,
            false => out.extend_from_slice(text),
        }
        Ok(())
    }
}

/// Appends a field that changes no table.
pub(super) fn encode(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        encode_integer(text.len(), out);
        out.extend_from_slice(text);
    }
}

/// An integer with a prefix of seven bits.
pub(super) fn encode_integer(value: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = value.checked_sub(0x7f) else {
        out.push(value as u8);
        return;
    };
    out.push(0x7f);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

static STATIC_ROLES: LazyLock<Vec<Role>> = LazyLock::new(|| {
    let role = |(name, value): &(&str, &str)| Role::of(name.as_bytes(), value.as_bytes());
    STATIC.iter().map(role).collect()
});

/// The static table (RFC 7541, appendix A).
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
