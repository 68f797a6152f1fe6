//! What is written is read back, and the bytes are those that bbolt reads.

use crate::page::{META_PAGES, Meta, NO_FREELIST, PAGE_BYTES};
use crate::read::{ReadError, Row, buckets};
use crate::{Layout, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn fill(writer: &mut Writer, content: &Buckets, taken: &mut Vec<u8>) {
    for (name, rows) in content {
        writer.bucket(name);
        for (key, value) in rows {
            writer.row(key, value);
            taken.extend(writer.take());
        }
    }
}

fn write(content: &Buckets) -> (Vec<u8>, Layout) {
    let (mut nothing, mut file) = (Vec::new(), Vec::new());
    let mut writer = Writer::measuring();
    fill(&mut writer, content, &mut nothing);
    let (rest, layout) = writer.finish();
    assert!(nothing.is_empty() && rest.is_empty());
    let mut writer = Writer::writing(layout, 7);
    fill(&mut writer, content, &mut file);
    let (rest, _) = writer.finish();
    file.extend(rest);
    assert_eq!(file.len() as u64, layout.bytes());
    (file, layout)
}

fn expected(content: Buckets) -> BTreeMap<Vec<u8>, Vec<Row>> {
    let rows = |(name, rows): (Vec<u8>, BTreeMap<_, _>)| (name, rows.into_iter().collect());
    content.into_iter().map(rows).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let line = |(place, line): (usize, &[u8])| {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:05x} {}", place * 16, bytes.join(" "))
    };
    let lines = bytes.chunks(16).enumerate();
    // What is zero says nothing.
    let lines = lines.filter(|(_, line)| line.iter().any(|byte| *byte != 0));
    lines.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_bytes_of_a_small_file_stay() {
    let rows = BTreeMap::from([(b"k".to_vec(), b"value".to_vec())]);
    let content = Buckets::from([
        (b"empty".to_vec(), BTreeMap::new()),
        (b"key".to_vec(), rows),
    ]);
    let (file, _) = write(&content);
    let golden = "\
00000 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00
00010 ed da 0c ed 02 00 00 00 00 10 00 00 00 00 00 00
00020 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00030 02 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00";
    let text = hexadecimal(&file);
    assert!(text.starts_with(golden), "{text}");
    let golden = "\
02000 02 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00
03000 03 00 00 00 00 00 00 00 02 00 01 00 00 00 00 00
03010 00 00 00 00 10 00 00 00 01 00 00 00 05 00 00 00
03020 6b 76 61 6c 75 65 00 00 00 00 00 00 00 00 00 00
04000 04 00 00 00 00 00 00 00 02 00 02 00 00 00 00 00
04010 01 00 00 00 20 00 00 00 05 00 00 00 20 00 00 00
04020 01 00 00 00 35 00 00 00 03 00 00 00 10 00 00 00
04030 65 6d 70 74 79 00 00 00 00 00 00 00 00 00 00 00
04040 00 00 00 00 00 00 00 00 00 00 00 00 00 02 00 00
04050 00 00 00 00 00 6b 65 79 03 00 00 00 00 00 00 00";
    assert!(text.ends_with(golden), "{text}");
}

/// Some thousand rows take three levels; the longest row takes pages of its own.
#[test]
fn many_rows_and_long_ones_are_read_back() {
    let mut rows = BTreeMap::new();
    for n in 0..20_000u64 {
        rows.insert(n.to_be_bytes().to_vec(), vec![n as u8; 300]);
    }
    rows.insert(vec![1; 40_000], vec![2; 1_600_000]);
    rows.insert(vec![2; 5_000], Vec::new());
    rows.insert(vec![3; 5_000], Vec::new());
    rows.insert(vec![4; 5_000], Vec::new());
    let content = Buckets::from([(b"key".to_vec(), rows)]);
    let (file, _) = write(&content);
    assert_eq!(buckets(&file), Ok(expected(content)));
}

#[test]
fn a_file_without_a_sound_meta_page_is_refused() {
    let (mut file, _) = write(&Buckets::new());
    assert_eq!(buckets(&file), Ok(BTreeMap::new()));
    file[20] ^= 1;
    assert_eq!(
        buckets(&file),
        Ok(BTreeMap::new()),
        "the other one is sound"
    );
    file[PAGE_BYTES + 20] ^= 1;
    assert!(buckets(&file).is_err());
    assert!(buckets(&file[..META_PAGES as usize * PAGE_BYTES]).is_err());
    assert!(buckets(&[]).is_err());
}

#[test]
#[should_panic(expected = "the rows of a tree ascend")]
fn rows_out_of_order_are_refused() {
    let mut writer = Writer::measuring();
    writer.bucket(b"key");
    writer.row(b"b", b"");
    writer.row(b"a", b"");
}

#[test]
#[should_panic(expected = "both passes have the same rows")]
fn another_second_pass_is_refused() {
    let (_, layout) = write(&Buckets::new());
    let mut writer = Writer::writing(layout, 7);
    writer.bucket(b"key");
    writer.row(b"a", b"");
    writer.finish();
}

fn content() -> impl Strategy<Value = Buckets> {
    let key = || vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        20 => vec(any::<u8>(), 0..200),
        1 => vec(any::<u8>(), 3000..9000),
    ];
    btree_map(key(), btree_map(key(), value, 0..300), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(content in content()) {
        let (file, _) = write(&content);
        prop_assert_eq!(buckets(&file), Ok(expected(content)));
    }

    /// Damage is told, and never a panic.
    #[test]
    fn damaged_files_are_read_without_a_panic(content in content(), at in any::<usize>(), with in 1..=255u8) {
        let (mut file, _) = write(&content);
        let at = at % file.len();
        file[at] ^= with;
        let _ = buckets(&file);
    }
}

/// The error of a file with some bytes written over.
fn spoiled(file: &[u8], changes: &[(usize, &[u8])]) -> String {
    let mut file = file.to_vec();
    for (at, bytes) in changes {
        file[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    buckets(&file).unwrap_err().to_string()
}

#[test]
fn damage_is_told_with_its_page() {
    let rows = (0..600u64).map(|n| (n.to_be_bytes().to_vec(), vec![7; 20]));
    let content = Buckets::from([(b"key".to_vec(), rows.collect())]);
    let (file, layout) = write(&content);
    let at = |page: u64, offset: usize| page as usize * PAGE_BYTES + offset;
    // The bucket's branch is the page before the root.
    let branch = layout.root - 1;
    let rows_of_four = usize::from(file[at(4, 10)]);
    let first_key = at(4, 16 + rows_of_four * 16);
    let five = 5u64.to_le_bytes();
    let long = u32::MAX.to_le_bytes();
    for (changes, why) in [
        (
            &[(at(3, 0), &five[..])][..],
            "page 3: it says that it is another",
        ),
        (&[(at(3, 8), &[4])], "page 3: it is neither leaf nor branch"),
        (&[(at(3, 12), &long)], "page 3: it is longer than the file"),
        (&[(at(3, 20), &long)], "page 3: what it lists is not on it"),
        (&[(at(branch, 10), &[0, 0])], "a branch without children"),
        (
            &[(at(branch, 24), &branch.to_le_bytes())],
            "it is used twice",
        ),
        (&[(first_key, &[0; 8])], "page 4: it begins before"),
        (&[(at(branch, 24), &[0xff; 8])], "there is no such page"),
        (
            &[(at(2, 8), &[2])],
            "page 2: it is not the list of free pages",
        ),
        (
            &[(at(2, 10), &[1, 0]), (at(2, 16), &five)],
            "page 5: it is used twice",
        ),
        (
            &[(at(2, 10), &[0xff, 0xff]), (at(2, 16), &long)],
            "lists more than it has room for",
        ),
        (&[(at(layout.root, 16), &[0])], "a row that is no bucket"),
    ] {
        let told = spoiled(&file, changes);
        assert!(told.contains(why), "{told}, not {why}");
    }
    let told = buckets(&file[..file.len() - 1]).unwrap_err().to_string();
    let whole = file.len();
    assert_eq!(
        told,
        format!("it is cut short: it has {} of {whole} bytes", whole - 1)
    );
    assert_eq!(buckets(b"no database").unwrap_err(), ReadError::NoMeta);
}

/// As files of etcd are: with free pages, without their list, and longer than what is used of them.
#[test]
fn free_pages_are_passed_over() {
    let content = Buckets::from([(b"key".to_vec(), BTreeMap::new())]);
    let (file, layout) = write(&content);
    let with = |freelist: u64, list: &[u8], head: [u8; 2]| {
        let meta = Meta {
            page_bytes: PAGE_BYTES as u32,
            root: layout.root,
            freelist,
            pages: layout.pages + 1,
            transaction: 9,
        };
        let mut file = file.clone();
        file[..PAGE_BYTES].copy_from_slice(&meta.page(0));
        file[2 * PAGE_BYTES + 10..2 * PAGE_BYTES + 12].copy_from_slice(&head);
        file[2 * PAGE_BYTES + 16..2 * PAGE_BYTES + 16 + list.len()].copy_from_slice(list);
        file.resize(file.len() + 3 * PAGE_BYTES, 0xaa);
        buckets(&file)
    };
    let free = layout.pages.to_le_bytes();
    let counted = [&1u64.to_le_bytes()[..], &free].concat();
    let expected = Ok(expected(content));
    assert_eq!(with(2, &free, [1, 0]), expected);
    assert_eq!(with(2, &counted, [0xff, 0xff]), expected);
    assert_eq!(with(NO_FREELIST, &[], [0, 0]), expected);
    let lost = with(2, &[], [0, 0]).unwrap_err().to_string();
    let page = layout.pages;
    assert_eq!(lost, format!("page {page}: it is neither free nor used"));
}
