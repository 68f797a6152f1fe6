//! The root rows: which generation is in force, and in which format.

use super::reclaim;
use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

/// The keyspace of the root rows.
pub(super) const ROOT: &str = "root";
pub(super) const FORMAT_KEY: &[u8] = b"format";
pub(super) const GENERATION_KEY: &[u8] = b"generation";
pub(super) const SEQUENCE_KEY: &[u8] = b"sequence";
/// More sequence numbers than fjall uses to create or delete the keyspaces of a few generations.
pub(super) const SEQUENCE_MARGIN: u64 = 512;
/// The format of the root rows, of the division into keyspaces, and of what each holds. Since 2 the
/// table of versions lists past ones only.
pub(super) const FORMAT: u64 = 2;
/// The format once a row with a long key was written, see [`super::long`]: builds that know no such
/// rows would take stubs for rows. A store without long keys stays as they read it.
pub(super) const FORMAT_LONG_KEYS: u64 = 3;
pub(super) const FIRST_GENERATION: u64 = 1;

/// The generation to which the keyspace belongs, if it belongs to one.
fn generation_of(keyspace: &str) -> Option<u64> {
    u64::from_str_radix(keyspace.split_once('-')?.0, 16).ok()
}

/// Removes what a crash left of generations that are not in force.
pub(super) fn remove_others(database: &Database, active: Option<u64>) -> ::fjall::Result<()> {
    let mut names = database.list_keyspace_names();
    names.sort_unstable();
    for name in names {
        let generation = generation_of(&name);
        if generation.is_some() && generation != active {
            tracing::info!(keyspace = %name, "removing what is left of an unfinished state");
            let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default)?;
            database.delete_keyspace(keyspace.clone())?;
            reclaim::close_files(&keyspace);
        }
    }
    Ok(())
}

/// Puts a generation in force, durably together with everything that was written to it.
pub(super) fn make_active(
    database: &Database,
    root: &Keyspace,
    format: u64,
    number: u64,
) -> ::fjall::Result<()> {
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(root, FORMAT_KEY, format.to_be_bytes());
    batch.insert(root, GENERATION_KEY, number.to_be_bytes());
    batch.commit()
}

/// Uses up sequence numbers, durably. At a restart fjall 3.1 goes on after the highest number
/// found in the keyspaces, but creating and deleting keyspaces uses numbers as well, which only
/// its own list of keyspaces remembers. Going back below those would make it take a keyspace that
/// was created later for deleted, and drop its files. So: enough numbers are passed before the
/// first change of the list, and one is made durable after every change.
pub(super) fn pass_sequence(
    database: &Database,
    root: &Keyspace,
    count: u64,
) -> ::fjall::Result<()> {
    pass_sequence_buffered(root, count)?;
    database.persist(PersistMode::SyncAll)
}

pub(super) fn pass_sequence_buffered(root: &Keyspace, count: u64) -> ::fjall::Result<()> {
    (0..count).try_for_each(|_| root.insert(SEQUENCE_KEY, []))
}

pub(super) fn read_number(root: &Keyspace, key: &[u8]) -> ::fjall::Result<Option<u64>> {
    let Some(value) = root.get(key)? else {
        return Ok(None);
    };
    let bytes = <[u8; 8]>::try_from(&value[..]);
    let bytes = bytes.map_err(|_| std::io::Error::other("a root row has the wrong length"))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}
