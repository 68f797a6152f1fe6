//! What is written is read back, and the bytes are those that bbolt reads.

use crate::page::{META_PAGES, PAGE_BYTES};
use crate::read::{Row, buckets};
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
