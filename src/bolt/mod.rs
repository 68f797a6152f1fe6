//! Files of bbolt, the store of etcd: written from front to back out of sorted rows, in constant
//! memory, and read page by page, those of etcd as well.
//!
//! A file begins with two meta pages, which name the root of the tree and how many pages there are.
//! Both are known only at the end, so a file is made in two passes over the same rows: the first
//! measures ([`Writer::measuring`]), the second writes ([`Writer::writing`]). Between them no file
//! has to be kept anywhere.
//!
//! ```text
//! page 0, 1   meta
//! page 2      the list of free pages: none
//! page 3...   leaves of the first bucket, each branch behind its children, ...
//!             leaves of the root, which hold the buckets' names and root pages
//! ```
//!
//! No crate does this: those that write bbolt's files need the whole file, mapped into memory, and
//! those that read them trust what is in them.

mod page;
pub mod read;
#[cfg(test)]
mod tests;
mod tree;

use page::{FREELIST, FREELIST_PAGE, META_PAGES, Meta, PAGE_BYTES};
use tree::{Pages, Tree};

/// What the first pass has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    root: u64,
    pages: u64,
}

impl Layout {
    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

/// A file under construction. Rows come bucket by bucket; buckets and the keys in them ascend.
pub struct Writer {
    pages: Pages,
    buckets: Tree,
    /// The bucket that rows go to.
    open: Option<(Vec<u8>, Tree)>,
    /// What this pass is to find again.
    measured: Option<Layout>,
}

impl Writer {
    /// For the first pass, which gives no bytes.
    pub fn measuring() -> Writer {
        Writer {
            pages: Pages::new(FREELIST_PAGE + 1, false),
            buckets: Tree::default(),
            open: None,
            measured: None,
        }
    }

    /// For the second pass. `transaction` is the number that bbolt counts on from.
    pub fn writing(layout: Layout, transaction: u64) -> Writer {
        let mut pages = Pages::new(FREELIST_PAGE + 1, true);
        for id in 0..META_PAGES {
            let meta = Meta {
                page_bytes: PAGE_BYTES as u32,
                root: layout.root,
                freelist: FREELIST_PAGE,
                pages: layout.pages,
                // bbolt goes by the higher one that is sound.
                transaction: transaction.saturating_sub(id),
            };
            pages.append(&meta.page(id));
        }
        pages.append(&page::page(FREELIST_PAGE, FREELIST, 0, &[]));
        Writer {
            pages,
            measured: Some(layout),
            ..Writer::measuring()
        }
    }

    /// Closes the bucket before and opens another.
    ///
    /// # Panics
    /// If the names do not ascend.
    pub fn bucket(&mut self, name: &[u8]) {
        self.close_bucket();
        self.open = Some((name.to_vec(), Tree::default()));
    }

    /// Adds a row to the open bucket.
    ///
    /// # Panics
    /// If no bucket is open, or the keys do not ascend.
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        let (_, rows) = self.open.as_mut().expect("a bucket for the row");
        rows.push(&mut self.pages, page::ROW, key, value);
    }

    /// The bytes that are complete and were not taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        self.pages.take()
    }

    /// Ends the file: the rest of the bytes, and what was found.
    ///
    /// # Panics
    /// If the rows of the second pass were others than those of the first.
    pub fn finish(mut self) -> (Vec<u8>, Layout) {
        self.close_bucket();
        let root = self.buckets.finish(&mut self.pages);
        let layout = Layout {
            root,
            pages: self.pages.next(),
        };
        if let Some(measured) = self.measured {
            assert_eq!(layout, measured, "both passes have the same rows");
        }
        (self.pages.take(), layout)
    }

    fn close_bucket(&mut self) {
        let Some((name, rows)) = self.open.take() else {
            return;
        };
        let value = match rows.is_empty() {
            true => page::empty_bucket(),
            false => page::bucket(rows.finish(&mut self.pages)).to_vec(),
        };
        self.buckets
            .push(&mut self.pages, page::BUCKET, &name, &value);
    }
}
