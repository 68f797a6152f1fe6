//! The bytes of bbolt's pages. All numbers are little-endian.
//!
//! ```text
//! page     id:8 kind:2 count:2 overflow:4, then elements or a meta
//! meta     magic:4 version:4 page-size:4 flags:4 root:8 sequence:8 freelist:8 pages:8
//!          transaction:8 checksum:8
//! leaf     of each row kind:4 position:4 key-length:4 value-length:4, then keys and values
//! branch   of each child position:4 key-length:4 page:8, then keys
//! bucket   root:8 sequence:8, and with root 0 its only page
//! ```
//!
//! A position counts from the begin of its own element.

pub const PAGE_BYTES: usize = 4096;
pub const PAGE_HEAD: usize = 16;
pub const ELEMENT: usize = 16;
pub const META_PAGES: u64 = 2;
pub const FREELIST_PAGE: u64 = 2;
/// In place of the list's page: etcd keeps none, and its free pages are those that nobody uses.
pub const NO_FREELIST: u64 = u64::MAX;
/// What a page takes depends on the machine that made the file.
pub const PAGE_BYTES_MIN: u32 = 512;
pub const PAGE_BYTES_MAX: u32 = 64 * 1024;

/// Kinds of pages.
pub const BRANCH: u16 = 0x01;
pub const LEAF: u16 = 0x02;
pub const META: u16 = 0x04;
pub const FREELIST: u16 = 0x10;

/// Kinds of a leaf's elements.
pub const ROW: u32 = 0;
pub const BUCKET: u32 = 1;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
pub const META_BYTES: usize = 64;
const SUMMED_BYTES: usize = META_BYTES - 8;

/// A page of this content, as many times the size of a page as it takes.
pub fn page(id: u64, kind: u16, count: usize, content: &[u8]) -> Vec<u8> {
    let pages = (PAGE_HEAD + content.len()).div_ceil(PAGE_BYTES);
    let mut page = Vec::with_capacity(pages * PAGE_BYTES);
    put_head(&mut page, id, kind, count, pages - 1);
    page.extend_from_slice(content);
    page.resize(pages * PAGE_BYTES, 0);
    page
}

fn put_head(page: &mut Vec<u8>, id: u64, kind: u16, count: usize, overflow: usize) {
    let count = u16::try_from(count).expect("a page has room for fewer elements");
    let overflow = u32::try_from(overflow).expect("rows are shorter");
    page.extend_from_slice(&id.to_le_bytes());
    page.extend_from_slice(&kind.to_le_bytes());
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&overflow.to_le_bytes());
}

/// The value of a bucket's row.
pub fn bucket(root: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&root.to_le_bytes());
    value
}

/// The value of the row of a bucket without rows, which has no page of its own.
pub fn empty_bucket() -> Vec<u8> {
    let mut value = bucket(0).to_vec();
    put_head(&mut value, 0, LEAF, 0, 0);
    value
}

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub page_bytes: u32,
    pub root: u64,
    pub freelist: u64,
    pub pages: u64,
    pub transaction: u64,
}

impl Meta {
    pub fn page(&self, id: u64) -> Vec<u8> {
        let mut meta = Vec::with_capacity(META_BYTES);
        let Meta {
            page_bytes,
            root,
            freelist,
            pages,
            transaction,
        } = *self;
        for number in [MAGIC, VERSION, page_bytes, 0] {
            meta.extend_from_slice(&number.to_le_bytes());
        }
        for number in [root, 0, freelist, pages, transaction] {
            meta.extend_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(&meta);
        meta.extend_from_slice(&sum.to_le_bytes());
        page(id, META, 0, &meta)
    }

    /// Reads the content of a meta page; `None` if it is not sound.
    pub fn read(content: &[u8]) -> Option<Meta> {
        let meta = content.get(..META_BYTES)?;
        let short = |at: usize| Some(u32::from_le_bytes(meta.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(meta.get(at..at + 8)?.try_into().ok()?));
        let page_bytes = short(8)?;
        let is_sound = short(0)? == MAGIC
            && short(4)? == VERSION
            && page_bytes.is_power_of_two()
            && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes)
            && long(SUMMED_BYTES)? == checksum(&meta[..SUMMED_BYTES]);
        is_sound.then_some(Meta {
            page_bytes,
            root: long(16)?,
            freelist: long(32)?,
            pages: long(40)?,
            transaction: long(48)?,
        })
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
