//! Reads a whole file: for whoever has to know what is in one, and as the check of what was written.

use crate::page::{
    BRANCH, BUCKET, ELEMENT, FREELIST, FREELIST_PAGE, LEAF, META, META_PAGES, Meta, PAGE_BYTES,
    PAGE_HEAD, ROW,
};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Deeper trees are none: a file of this depth would not fit on any disk.
const DEPTH_MAX: usize = 64;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Damage(String);

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The rows of each bucket, in the order of their keys.
pub fn buckets(file: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<Row>>, Damage> {
    let mut reader = Reader::open(file)?;
    let mut roots = Vec::new();
    reader.walk(reader.root, &mut |kind, key, value| {
        roots.push((kind, key.to_vec(), value.to_vec()));
    })?;
    let mut buckets = BTreeMap::new();
    for (kind, name, value) in roots {
        let root: Option<[u8; 8]> = value.get(..8).and_then(|it| it.try_into().ok());
        let (BUCKET, Some(root)) = (kind, root.map(u64::from_le_bytes)) else {
            return Err(Damage("the root has a row that is no bucket".to_owned()));
        };
        let mut rows = Vec::new();
        let mut add = |_: u32, key: &[u8], value: &[u8]| rows.push((key.to_vec(), value.to_vec()));
        match root {
            0 => reader.inline(value.get(16..).unwrap_or_default(), &mut add)?,
            root => reader.walk(root, &mut add)?,
        }
        buckets.insert(name, rows);
    }
    reader.check_all_used()?;
    Ok(buckets)
}

struct Reader<'a> {
    file: &'a [u8],
    root: u64,
    pages: u64,
    used: BTreeSet<u64>,
}

/// A page, and what its head says.
struct Page<'a> {
    kind: u16,
    count: usize,
    content: &'a [u8],
}

type Visit<'v> = dyn FnMut(u32, &[u8], &[u8]) + 'v;

impl<'a> Reader<'a> {
    fn open(file: &'a [u8]) -> Result<Reader<'a>, Damage> {
        let metas = (0..META_PAGES).filter_map(|id| {
            let at = id as usize * PAGE_BYTES;
            let page = file.get(at..at + PAGE_BYTES)?;
            Meta::read(&page[PAGE_HEAD..]).filter(|_| head(page).0 == META)
        });
        let meta = metas
            .max_by_key(|meta| meta.transaction)
            .ok_or_else(|| Damage("no sound meta page".to_owned()))?;
        if meta.pages * PAGE_BYTES as u64 != file.len() as u64 {
            let length = file.len();
            let pages = meta.pages;
            return Err(Damage(format!("{pages} pages in {length} bytes")));
        }
        let mut reader = Reader {
            file,
            root: meta.root,
            pages: meta.pages,
            used: (0..META_PAGES).collect(),
        };
        let free = reader.page(FREELIST_PAGE)?;
        match (free.kind, free.count) {
            (FREELIST, 0) => Ok(reader),
            _ => Err(Damage("free pages, or no list of them".to_owned())),
        }
    }

    fn page(&mut self, id: u64) -> Result<Page<'a>, Damage> {
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        let at = at.saturating_mul(PAGE_BYTES);
        let rest = self.file.get(at..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(|| Damage(format!("there is no page {id}")))?;
        let (kind, count, overflow) = head(rest);
        let length = (1 + overflow) * PAGE_BYTES;
        let own_id = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes"));
        let page = rest.get(PAGE_HEAD..length).filter(|_| own_id == id);
        let content = page.ok_or_else(|| Damage(format!("page {id} is not sound")))?;
        for id in id..=id + overflow as u64 {
            if !self.used.insert(id) {
                return Err(Damage(format!("page {id} is used twice")));
            }
        }
        Ok(Page {
            kind,
            count,
            content,
        })
    }

    fn walk(&mut self, root: u64, visit: &mut Visit<'_>) -> Result<(), Damage> {
        let mut last = None;
        self.walk_below(root, None, 0, &mut last, visit)
    }

    fn walk_below(
        &mut self,
        id: u64,
        first: Option<&[u8]>,
        depth: usize,
        last: &mut Option<Vec<u8>>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Damage> {
        let page = self.page(id)?;
        let damage = |what: &str| Damage(format!("page {id}: {what}"));
        if depth > DEPTH_MAX {
            return Err(damage("too deep"));
        }
        match page.kind {
            LEAF => rows(&page, |kind, key, value| {
                if first.is_some() && last.is_none() && first != Some(key) {
                    return Err(damage("begins with another key than its branch says"));
                }
                if last.as_deref().is_some_and(|last| last >= key) {
                    return Err(damage("keys do not ascend"));
                }
                *last = Some(key.to_vec());
                visit(kind, key, value);
                Ok(())
            }),
            BRANCH => {
                for place in 0..page.count {
                    let at = place * ELEMENT;
                    let (position, length) =
                        (short(page.content, at)?, short(page.content, at + 4)?);
                    let child = long(page.content, at + 8)?;
                    let key = slice(page.content, at + position, length)?;
                    if place == 0 && first.is_some_and(|first| first != key) {
                        return Err(damage("begins with another key than its branch says"));
                    }
                    if last.as_deref().is_some_and(|last| last >= key) {
                        return Err(damage("a child begins before the end of the one before"));
                    }
                    self.walk_below(child, Some(key), depth + 1, last, visit)?;
                }
                Ok(())
            }
            _ => Err(damage("neither leaf nor branch")),
        }
    }

    /// The rows of a bucket that is a row's value.
    fn inline(&self, bytes: &[u8], visit: &mut Visit<'_>) -> Result<(), Damage> {
        if bytes.len() < PAGE_HEAD {
            return Err(Damage("a bucket without a page".to_owned()));
        }
        let (kind, count, _) = head(bytes);
        let content = &bytes[PAGE_HEAD..];
        let page = Page {
            kind,
            count,
            content,
        };
        rows(&page, |kind, key, value| {
            visit(kind, key, value);
            Ok(())
        })
    }

    fn check_all_used(&self) -> Result<(), Damage> {
        match (0..self.pages).find(|id| !self.used.contains(id)) {
            Some(id) => Err(Damage(format!("page {id} is nobody's"))),
            None => Ok(()),
        }
    }
}

fn rows(
    page: &Page<'_>,
    mut visit: impl FnMut(u32, &[u8], &[u8]) -> Result<(), Damage>,
) -> Result<(), Damage> {
    for place in 0..page.count {
        let at = place * ELEMENT;
        let kind = short(page.content, at)? as u32;
        if ![ROW, BUCKET].contains(&kind) {
            return Err(Damage(format!("a row of kind {kind}")));
        }
        let (position, key_len) = (short(page.content, at + 4)?, short(page.content, at + 8)?);
        let value_len = short(page.content, at + 12)?;
        let key = slice(page.content, at + position, key_len)?;
        let value = slice(page.content, at + position + key_len, value_len)?;
        visit(kind, key, value)?;
    }
    Ok(())
}

/// Kind, count and overflow of a page.
fn head(page: &[u8]) -> (u16, usize, usize) {
    let kind = u16::from_le_bytes([page[8], page[9]]);
    let count = u16::from_le_bytes([page[10], page[11]]).into();
    let overflow = u32::from_le_bytes([page[12], page[13], page[14], page[15]]);
    (kind, count, overflow as usize)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Damage> {
    let end = at.saturating_add(length);
    let found = bytes.get(at..end);
    found.ok_or_else(|| Damage(format!("{length} bytes at {at} are not on the page")))
}

fn short(bytes: &[u8], at: usize) -> Result<usize, Damage> {
    let bytes = slice(bytes, at, 4)?.try_into().expect("four bytes");
    Ok(u32::from_le_bytes(bytes) as usize)
}

fn long(bytes: &[u8], at: usize) -> Result<u64, Damage> {
    let bytes = slice(bytes, at, 8)?.try_into().expect("eight bytes");
    Ok(u64::from_le_bytes(bytes))
}
