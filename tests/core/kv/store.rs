//! A machine over tables in memory, driven as a member drives it.

use bytes::Bytes;
use detcd_core::api::MemberId;
use detcd_core::auth::Principal;
use detcd_core::codec::{decode_asked, encode_asked};
use detcd_core::command::{Command, Proposal};
use detcd_core::compaction::{self, Cursor};
use detcd_core::event::Applied;
use detcd_core::kv::index::{Indexed, KeyIndex, LiveKeys, ended_generations, live_keys};
use detcd_core::machine::Machine;
use detcd_core::overlay::{Overlay, is_inverted};
use detcd_core::query::At;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Tables in memory: as little as a store can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(BTreeMap<Table, BTreeMap<Bytes, Bytes>>);

impl Tables {
    pub fn write(&mut self, batch: Batch) {
        for write in batch.writes {
            let table = self.0.entry(write.table).or_default();
            match write.value {
                Some(value) => table.insert(write.key, value),
                None => table.remove(&write.key),
            };
        }
        self.0.retain(|_, rows| !rows.is_empty());
    }
}

impl View for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        let Some(rows) = self.0.get(&table) else {
            return Box::new(std::iter::empty());
        };
        if is_inverted(bounds) {
            return Box::new(std::iter::empty());
        }
        let rows = rows.range::<[u8], _>(bounds);
        let row = |(key, value): (&Bytes, &Bytes)| Ok((key.clone(), value.clone()));
        match direction {
            Direction::Forward => Box::new(rows.map(row)),
            Direction::Reverse => Box::new(rows.rev().map(row)),
        }
    }
}

/// A member's applied state.
#[derive(Clone, Debug)]
pub struct Store {
    pub tables: Tables,
    pub machine: Machine,
    /// The index of the live keys, or what would be done to one.
    keys: LiveKeys,
    index: u64,
}

impl Store {
    pub fn new() -> Store {
        Store::with_keys(Some(KeyIndex::default()))
    }

    /// A state whose index is not built yet.
    pub fn unindexed() -> Store {
        Store::with_keys(None)
    }

    fn with_keys(keys: Option<KeyIndex>) -> Store {
        let tables = Tables::default();
        let machine = Machine::load(&tables).unwrap();
        Store {
            tables,
            machine,
            keys: LiveKeys::of(keys),
            index: 0,
        }
    }

    /// The tables with the index of their live keys.
    pub fn indexed(&self) -> Indexed<Tables> {
        let keys = match &self.keys {
            LiveKeys::Indexed(keys) => keys.clone(),
            LiveKeys::Changed(changes) => {
                let mut keys = KeyIndex::default();
                keys.catch_up(changes);
                keys
            }
        };
        keys.check();
        Indexed {
            rows: self.tables.clone(),
            keys: Some(keys),
        }
    }

    /// The tables with an index that was built from them, with or without the deleted keys.
    pub fn rebuilt(&self, with_ended: bool) -> Indexed<Tables> {
        let mut keys = live_keys(&self.tables, || true).unwrap().unwrap();
        if with_ended {
            keys.add_ended(ended_generations(&self.tables, || true).unwrap().unwrap());
        }
        keys.check();
        Indexed {
            rows: self.tables.clone(),
            keys: Some(keys),
        }
    }

    pub fn at(&self) -> At {
        self.machine.at()
    }

    /// Applies commands as one batch.
    pub fn apply_batch(&mut self, commands: &[Command]) -> Vec<Applied> {
        let anonymous = |command: &Command| (Principal::Anonymous, command.clone());
        self.apply_batch_for(&commands.iter().map(anonymous).collect::<Vec<_>>())
    }

    /// Applies commands as one batch, each on somebody's behalf.
    pub fn apply_batch_for(&mut self, commands: &[(Principal, Command)]) -> Vec<Applied> {
        let mut overlay = Overlay::with_keys(&self.tables, self.keys.index().cloned());
        let mut applied = Vec::new();
        for asked in commands {
            self.index += 1;
            let bytes = encode_asked(&asked.0, &asked.1);
            assert_eq!(decode_asked(&bytes).as_ref(), Ok(asked));
            let proposal = Proposal {
                origin: MemberId(1),
                seq: self.index,
                command: bytes,
            };
            let index = self.index;
            applied.push(
                self.machine
                    .apply(index, Some(&proposal), &mut overlay)
                    .unwrap(),
            );
        }
        let (batch, keys) = overlay.into_parts();
        self.tables.write(batch);
        match (&mut self.keys, keys) {
            (LiveKeys::Changed(before), LiveKeys::Changed(changes)) => before.extend(changes),
            (before, keys) => *before = keys,
        }
        assert_eq!(Machine::load(&self.tables).as_ref(), Ok(&self.machine));
        applied
    }

    pub fn apply(&mut self, command: Command) -> Applied {
        self.apply_batch(&[command]).pop().unwrap()
    }

    /// Removes what the last compaction left, as the driver does, or only `steps` of it: then the
    /// member stops and forgets how far it was.
    pub fn remove_history(&mut self, budget: usize, steps: usize) {
        let Some(compact_revision) = compaction::pending(&self.tables).unwrap() else {
            return;
        };
        let mut cursor = Cursor::default();
        for _ in 0..steps {
            let step = compaction::step(&self.tables, cursor, compact_revision, budget).unwrap();
            self.tables.write(step.batch);
            match step.next {
                Some(next) => cursor = next,
                None => return,
            }
        }
    }

    pub fn rows(&self, table: Table) -> Vec<(Bytes, Bytes)> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.tables
            .scan(table, all, Direction::Forward)
            .map(Result::unwrap)
            .collect()
    }
}
