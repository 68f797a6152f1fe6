//! A B+tree that is built from its sorted rows, leaf by leaf. Of each level only the page that is
//! not full yet is in memory.

use crate::page::{self, BRANCH, ELEMENT, LEAF, PAGE_BYTES, PAGE_HEAD};

/// A branch with fewer children would not make the level above it smaller.
const CHILDREN_MIN: usize = 2;

/// Where pages go.
pub struct Pages {
    next: u64,
    /// `None` while they are only counted.
    bytes: Option<Vec<u8>>,
}

impl Pages {
    /// `next` is the number of the first page that [`Pages::add`] makes.
    pub fn new(next: u64, keeps: bool) -> Pages {
        Pages {
            next,
            bytes: keeps.then(Vec::new),
        }
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// Appends a page whose number was given to it before.
    pub fn append(&mut self, page: &[u8]) {
        if let Some(bytes) = &mut self.bytes {
            bytes.extend_from_slice(page);
        }
    }

    pub fn take(&mut self) -> Vec<u8> {
        self.bytes.as_mut().map_or_else(Vec::new, std::mem::take)
    }

    fn add(&mut self, level: &Level) -> u64 {
        let id = self.next;
        let page = level.page(id);
        self.next += (page.len() / PAGE_BYTES) as u64;
        self.append(&page);
        id
    }
}

/// A tree under construction; the default is empty.
#[derive(Default)]
pub struct Tree {
    /// The page that is being filled, of the leaves and of each level above them.
    levels: Vec<Level>,
    last_key: Option<Vec<u8>>,
}

impl Tree {
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Adds a row behind all others.
    ///
    /// # Panics
    /// If its key is not above the one before.
    pub fn push(&mut self, pages: &mut Pages, kind: u32, key: &[u8], value: &[u8]) {
        let ascends = self.last_key.as_deref().is_none_or(|last| last < key);
        assert!(ascends, "the rows of a tree ascend");
        let last_key = self.last_key.get_or_insert_default();
        last_key.clear();
        last_key.extend_from_slice(key);
        self.add(pages, 0, Element::row(kind, key, value), key, value);
    }

    /// Writes the pages that are left. Gives the root's number.
    pub fn finish(mut self, pages: &mut Pages) -> u64 {
        if self.levels.is_empty() {
            self.levels.push(Level::new(LEAF));
        }
        let mut place = 0;
        while place + 1 < self.levels.len() {
            self.flush(pages, place);
            place += 1;
        }
        pages.add(&self.levels[place])
    }

    fn add(&mut self, pages: &mut Pages, place: usize, element: Element, key: &[u8], value: &[u8]) {
        if place == self.levels.len() {
            let kind = if place == 0 { LEAF } else { BRANCH };
            self.levels.push(Level::new(kind));
        }
        if self.levels[place].is_full(key.len() + value.len()) {
            self.flush(pages, place);
        }
        let level = &mut self.levels[place];
        level.elements.push(element);
        level.data.extend_from_slice(key);
        level.data.extend_from_slice(value);
    }

    /// Writes the page of a level and names it to the level above.
    fn flush(&mut self, pages: &mut Pages, place: usize) {
        let kind = self.levels[place].kind;
        let level = std::mem::replace(&mut self.levels[place], Level::new(kind));
        let id = pages.add(&level);
        let first = level.elements.first().expect("a page with elements");
        let key = &level.data[..first.key_len];
        self.add(pages, place + 1, Element::child(id, key), key, &[]);
    }
}

/// A page that is not full yet.
struct Level {
    kind: u16,
    elements: Vec<Element>,
    /// Their keys and values.
    data: Vec<u8>,
}

/// What a page says of a row or of a child.
struct Element {
    /// The kind of a row, or the page of a child.
    number: u64,
    key_len: usize,
    value_len: usize,
}

impl Element {
    fn row(kind: u32, key: &[u8], value: &[u8]) -> Element {
        Element {
            number: kind.into(),
            key_len: key.len(),
            value_len: value.len(),
        }
    }

    fn child(page: u64, key: &[u8]) -> Element {
        Element {
            number: page,
            key_len: key.len(),
            value_len: 0,
        }
    }
}

impl Level {
    fn new(kind: u16) -> Level {
        Level {
            kind,
            elements: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Whether an element with so much data belongs on another page.
    fn is_full(&self, data: usize) -> bool {
        let least = if self.kind == LEAF { 1 } else { CHILDREN_MIN };
        let count = self.elements.len();
        count >= least && PAGE_HEAD + (count + 1) * ELEMENT + self.data.len() + data > PAGE_BYTES
    }

    fn page(&self, id: u64) -> Vec<u8> {
        let count = self.elements.len();
        let mut content = Vec::with_capacity(count * ELEMENT + self.data.len());
        let mut data_at = 0;
        let length = |bytes: usize| {
            u32::try_from(bytes)
                .expect("rows are shorter")
                .to_le_bytes()
        };
        for (place, element) in self.elements.iter().enumerate() {
            let position = length((count - place) * ELEMENT + data_at);
            data_at += element.key_len + element.value_len;
            if self.kind == LEAF {
                let kind = u32::try_from(element.number).expect("a row's kind");
                content.extend_from_slice(&kind.to_le_bytes());
                content.extend_from_slice(&position);
                content.extend_from_slice(&length(element.key_len));
                content.extend_from_slice(&length(element.value_len));
            } else {
                content.extend_from_slice(&position);
                content.extend_from_slice(&length(element.key_len));
                content.extend_from_slice(&element.number.to_le_bytes());
            }
        }
        content.extend_from_slice(&self.data);
        page::page(id, self.kind, count, &content)
    }
}
