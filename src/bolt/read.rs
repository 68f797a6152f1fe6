//! Reads files of bbolt, etcd's as well as ours, page by page: whatever is damaged is told, with the
//! page that it is on, and nothing that a file says is believed before it was held against the file.

use crate::page::{
    BRANCH, BUCKET, ELEMENT, FREELIST, LEAF, META, META_BYTES, META_PAGES, Meta, NO_FREELIST,
    PAGE_BYTES_MAX, PAGE_BYTES_MIN, PAGE_HEAD, ROW,
};
use std::collections::BTreeMap;
use thiserror::Error;

/// Deeper trees are none: a file of this depth would not fit on any disk.
const DEPTH_MAX: usize = 64;
/// Buckets within buckets; etcd has none.
const NESTED_MAX: usize = 16;

/// Where a file's bytes are.
pub trait Source {
    /// How many there are.
    fn len(&self) -> u64;
    /// Bytes that are there.
    fn read(&self, at: u64, length: usize) -> std::io::Result<Vec<u8>>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Source for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read(&self, at: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let found = self.get(at..at.saturating_add(length));
        let found = found.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(found.to_vec())
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("cannot read {length} bytes at {at}: {why}")]
    Source { at: u64, length: usize, why: String },
    #[error("it has no sound meta page")]
    NoMeta,
    #[error("it is cut short: it has {found} of {expected} bytes")]
    Short { found: u64, expected: u64 },
    #[error("{0}")]
    Damage(String),
}

fn damage(page: u64, what: &str) -> ReadError {
    ReadError::Damage(format!("page {page}: {what}"))
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a walk comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A bucket begins; its rows follow.
    Bucket,
    Row {
        key: &'a [u8],
        value: &'a [u8],
    },
}

/// Is told the names of the bucket and of those that it is in, the outermost first.
pub type Visit<'v, E> = dyn FnMut(&[Vec<u8>], Found<'_>) -> Result<(), E> + 'v;

/// A file whose meta pages were read.
pub struct File<S> {
    source: S,
    meta: Meta,
    /// A bit for each page that belongs to somebody.
    used: Vec<u64>,
}

/// A page, and what its head says.
struct Page {
    id: u64,
    kind: u16,
    count: usize,
    content: Vec<u8>,
}

impl<S: Source> File<S> {
    pub fn open(source: S) -> Result<File<S>, ReadError> {
        let meta = find_meta(&source)?.ok_or(ReadError::NoMeta)?;
        let pages_max = source.len() / u64::from(meta.page_bytes);
        if meta.pages > pages_max {
            return Err(ReadError::Short {
                found: source.len(),
                expected: meta.pages.saturating_mul(meta.page_bytes.into()),
            });
        }
        if meta.pages < META_PAGES {
            return Err(damage(0, "it counts fewer pages than every file has"));
        }
        let words = meta.pages.div_ceil(64) as usize;
        let mut file = File {
            source,
            meta,
            used: vec![0; words],
        };
        for id in 0..META_PAGES {
            file.take(id)?;
        }
        if meta.freelist != NO_FREELIST {
            file.take_free()?;
        }
        Ok(file)
    }

    /// What the pages take.
    pub fn bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// Walks over all buckets and rows, each in the order of the keys, and at the end makes sure that
    /// no page is lost.
    pub fn walk<E: From<ReadError>>(mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let root = self.meta.root;
        self.bucket(&mut Vec::new(), root, visit)?;
        // Without a list, free pages are those that are nobody's.
        if self.meta.freelist != NO_FREELIST
            && let Some(id) = (0..self.meta.pages).find(|id| !self.is_used(*id))
        {
            return Err(damage(id, "it is neither free nor used").into());
        }
        Ok(())
    }

    /// A bucket with pages of its own.
    fn bucket<E: From<ReadError>>(
        &mut self,
        names: &mut Vec<Vec<u8>>,
        root: u64,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let mut last = None;
        self.below(names, root, (0, None), &mut last, visit)
    }

    fn below<E: From<ReadError>>(
        &mut self,
        names: &mut Vec<Vec<u8>>,
        id: u64,
        (depth, least): (usize, Option<&[u8]>),
        last: &mut Option<Vec<u8>>,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        if depth > DEPTH_MAX {
            return Err(damage(id, "the tree is too deep").into());
        }
        let page = self.page(id)?;
        if let (Some(least), Some(first)) = (least, page.first_key()?)
            && first < least
        {
            return Err(damage(id, "it begins before the key that its branch has").into());
        }
        match page.kind {
            LEAF => self.leaf(names, &page, last, visit),
            BRANCH => {
                if page.count == 0 {
                    return Err(damage(id, "a branch without children").into());
                }
                for place in 0..page.count {
                    let (child, key) = page.child(place)?;
                    if last.as_deref().is_some_and(|last| last >= key) {
                        let what = "a child begins before the end of the one before";
                        return Err(damage(id, what).into());
                    }
                    self.below(names, child, (depth + 1, Some(key)), last, visit)?;
                }
                Ok(())
            }
            _ => Err(damage(id, "it is neither leaf nor branch").into()),
        }
    }

    fn leaf<E: From<ReadError>>(
        &mut self,
        names: &mut Vec<Vec<u8>>,
        page: &Page,
        last: &mut Option<Vec<u8>>,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        for place in 0..page.count {
            let (kind, key, value) = page.row(place)?;
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(damage(page.id, "its keys do not ascend").into());
            }
            *last = Some(key.to_vec());
            match kind {
                ROW if names.is_empty() => {
                    return Err(damage(page.id, "the root has a row that is no bucket").into());
                }
                ROW => visit(names, Found::Row { key, value })?,
                BUCKET => self.nested(names, page.id, key, value, visit)?,
                kind => return Err(damage(page.id, &format!("a row of kind {kind}")).into()),
            }
        }
        Ok(())
    }

    /// The bucket that a row stands for.
    fn nested<E: From<ReadError>>(
        &mut self,
        names: &mut Vec<Vec<u8>>,
        page: u64,
        name: &[u8],
        value: &[u8],
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        if names.len() >= NESTED_MAX {
            return Err(damage(page, "too many buckets within buckets").into());
        }
        let root = long(value, 0).ok_or_else(|| damage(page, "a bucket without a root"))?;
        names.push(name.to_vec());
        visit(names, Found::Bucket)?;
        match root {
            0 => {
                let inline = value.get(16..).and_then(|bytes| Page::parse(page, bytes));
                let inline = inline.ok_or_else(|| damage(page, "a bucket without a page"))?;
                if inline.kind != LEAF {
                    return Err(damage(page, "the page of a bucket is no leaf").into());
                }
                self.leaf(names, &inline, &mut None, visit)?;
            }
            root => self.bucket(names, root, visit)?,
        }
        names.pop();
        Ok(())
    }

    /// Reads a page that is to be nobody else's.
    fn page(&mut self, id: u64) -> Result<Page, ReadError> {
        let page = self.read_page(id)?;
        let pages = (page.content.len() + PAGE_HEAD) as u64 / u64::from(self.meta.page_bytes);
        for id in id..id + pages {
            self.take(id)?;
        }
        Ok(page)
    }

    fn read_page(&self, id: u64) -> Result<Page, ReadError> {
        let page_bytes = u64::from(self.meta.page_bytes);
        if id >= self.meta.pages {
            return Err(damage(id, "there is no such page"));
        }
        let at = id * page_bytes;
        let head = read(&self.source, at, PAGE_HEAD)?;
        let overflow = short(&head, 12).map_or(0, u64::from);
        if long(&head, 0) != Some(id) {
            return Err(damage(id, "it says that it is another"));
        }
        if overflow >= self.meta.pages - id {
            return Err(damage(id, "it is longer than the file"));
        }
        let length = usize::try_from((1 + overflow) * page_bytes);
        let length = length.map_err(|_| damage(id, "it is too long to be read"))?;
        let bytes = read(&self.source, at, length)?;
        Ok(Page::parse(id, &bytes).expect("it has a head"))
    }

    /// Takes the pages that are free, and the list itself.
    fn take_free(&mut self) -> Result<(), ReadError> {
        let id = self.meta.freelist;
        let page = self.page(id)?;
        if page.kind != FREELIST {
            return Err(damage(id, "it is not the list of free pages"));
        }
        // What a head cannot count is counted by the first number.
        let (first, count) = match page.count {
            0xffff => (1, long(&page.content, 0)),
            count => (0, Some(count as u64)),
        };
        let room = (page.content.len() / 8) as u64;
        let count = count.filter(|count| first + count <= room);
        let count = count.ok_or_else(|| damage(id, "it lists more than it has room for"))?;
        for place in first..first + count {
            let free = long(&page.content, place as usize * 8);
            self.take(free.expect("there is room for so many"))?;
        }
        Ok(())
    }

    fn take(&mut self, id: u64) -> Result<(), ReadError> {
        if id >= self.meta.pages {
            return Err(damage(id, "there is no such page"));
        }
        if self.is_used(id) {
            return Err(damage(id, "it is used twice"));
        }
        self.used[(id / 64) as usize] |= 1 << (id % 64);
        Ok(())
    }

    fn is_used(&self, id: u64) -> bool {
        self.used[(id / 64) as usize] & (1 << (id % 64)) != 0
    }
}

impl Page {
    /// `None` if there is not even a head.
    fn parse(id: u64, bytes: &[u8]) -> Option<Page> {
        let (head, content) = bytes.split_at_checked(PAGE_HEAD)?;
        Some(Page {
            id,
            kind: u16::from_le_bytes([head[8], head[9]]),
            count: u16::from_le_bytes([head[10], head[11]]).into(),
            content: content.to_vec(),
        })
    }

    /// Kind, key and value.
    fn row(&self, place: usize) -> Result<(u32, &[u8], &[u8]), ReadError> {
        let at = place * ELEMENT;
        let number = |offset| self.number(at + offset);
        let (position, key_length) = (number(4)?, number(8)?);
        let key = self.slice(at + position, key_length)?;
        let value = self.slice(at + position + key_length, number(12)?)?;
        Ok((number(0)? as u32, key, value))
    }

    /// The page of a child, and its first key.
    fn child(&self, place: usize) -> Result<(u64, &[u8]), ReadError> {
        let at = place * ELEMENT;
        let (position, length) = (self.number(at)?, self.number(at + 4)?);
        let child = long(&self.content, at + 8).ok_or_else(|| self.too_short())?;
        Ok((child, self.slice(at + position, length)?))
    }

    fn first_key(&self) -> Result<Option<&[u8]>, ReadError> {
        Ok(match self.kind {
            _ if self.count == 0 => None,
            LEAF => Some(self.row(0)?.1),
            BRANCH => Some(self.child(0)?.1),
            _ => None,
        })
    }

    fn number(&self, at: usize) -> Result<usize, ReadError> {
        let number = short(&self.content, at).ok_or_else(|| self.too_short())?;
        Ok(number as usize)
    }

    fn slice(&self, at: usize, length: usize) -> Result<&[u8], ReadError> {
        let found = self.content.get(at..at.saturating_add(length));
        found.ok_or_else(|| self.too_short())
    }

    fn too_short(&self) -> ReadError {
        damage(self.id, "what it lists is not on it")
    }
}

/// The meta page that counts: of the sound ones the one that was written last.
fn find_meta(source: &impl Source) -> Result<Option<Meta>, ReadError> {
    let first = meta_at(source, 0)?;
    let second = match first {
        Some(first) => meta_at(source, first.page_bytes.into())?,
        // It stands a page behind the first, however long pages are.
        None => {
            let mut found = None;
            let mut at = PAGE_BYTES_MIN;
            while found.is_none() && at <= PAGE_BYTES_MAX {
                found = meta_at(source, at.into())?.filter(|meta| meta.page_bytes == at);
                at *= 2;
            }
            found
        }
    };
    Ok([first, second]
        .into_iter()
        .flatten()
        .max_by_key(|meta| meta.transaction))
}

fn meta_at(source: &impl Source, at: u64) -> Result<Option<Meta>, ReadError> {
    let length = PAGE_HEAD + META_BYTES;
    if at + length as u64 > source.len() {
        return Ok(None);
    }
    let bytes = read(source, at, length)?;
    let page = Page::parse(0, &bytes).filter(|page| page.kind == META);
    Ok(page.and_then(|page| Meta::read(&page.content)))
}

fn read(source: &impl Source, at: u64, length: usize) -> Result<Vec<u8>, ReadError> {
    let bytes = source.read(at, length).map_err(|error| error.to_string());
    let bytes = bytes.and_then(|bytes| match bytes.len() == length {
        true => Ok(bytes),
        false => Err("there are fewer".to_owned()),
    });
    bytes.map_err(|why| ReadError::Source { at, length, why })
}

fn short(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The rows of each bucket of a whole file, in the order of their keys. Buckets within them are
/// passed over.
pub fn buckets(file: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<Row>>, ReadError> {
    let mut buckets: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
    let file = File::open(file)?;
    file.walk::<ReadError>(&mut |names, found| {
        if let [name] = names {
            let rows = buckets.entry(name.clone()).or_default();
            if let Found::Row { key, value } = found {
                rows.push((key.to_vec(), value.to_vec()));
            }
        }
        Ok(())
    })?;
    Ok(buckets)
}
