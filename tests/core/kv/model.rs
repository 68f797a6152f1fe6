//! The key space as naively as it can be told: a whole map for each revision.

use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::command::Command;
use detcd_core::error::Error;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

type Keys = BTreeMap<Bytes, KeyValue>;

#[derive(Clone, Debug)]
pub struct Model {
    /// `snapshots[r]` is the key space at revision `r`; the first is never read.
    snapshots: Vec<Keys>,
    pub leases: BTreeMap<LeaseId, i64>,
    pub alarms: BTreeSet<Alarm>,
    pub compact_revision: i64,
    /// `changes[r]` made revision `r`.
    changes: Vec<Vec<KeyChange>>,
}

impl Model {
    pub fn new() -> Model {
        Model {
            snapshots: vec![Keys::new(); 2],
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            compact_revision: -1,
            changes: vec![Vec::new(); 2],
        }
    }

    pub fn revision(&self) -> i64 {
        self.snapshots.len() as i64 - 1
    }

    pub fn lease_keys(&self, lease: LeaseId) -> Vec<Bytes> {
        let held = self.latest().values().filter(|kv| kv.lease == lease);
        held.map(|kv| kv.key.clone()).collect()
    }

    fn latest(&self) -> &Keys {
        self.snapshots.last().unwrap()
    }

    pub fn apply(&mut self, command: &Command) -> (Outcome, Vec<KeyChange>) {
        let mut draft = Draft {
            keys: self.latest().clone(),
            main: self.revision() + 1,
            changes: vec![],
        };
        let result = self.run(command, &mut draft);
        let mut changes = Vec::new();
        if result.is_ok() && !draft.changes.is_empty() {
            for change in &mut draft.changes {
                if change.kind == ChangeKind::Put && change.kv.version == 1 {
                    continue;
                }
                change.prev_kv = self.latest().get(&change.kv.key).cloned();
            }
            changes = draft.changes.clone();
            self.snapshots.push(draft.keys);
            self.changes.push(draft.changes);
        }
        (
            Outcome {
                revision: self.revision(),
                result,
            },
            changes,
        )
    }

    fn run(&mut self, command: &Command, draft: &mut Draft) -> Result<Reply, Error> {
        self.check_alarms(command)?;
        match command {
            Command::Put(put) => {
                self.check_lease(put.lease)?;
                self.check_key(put)?;
                Ok(Reply::Put(draft.put(put)))
            }
            Command::DeleteRange(delete) => Ok(Reply::DeleteRange(draft.delete_range(delete))),
            Command::Txn(txn) => {
                self.check_txn(txn, true)?;
                self.check_txn(txn, false)?;
                Ok(Reply::Txn(self.run_txn(txn, draft)))
            }
            Command::Compact(compact) => {
                if compact.revision <= self.compact_revision {
                    return Err(Error::Compacted);
                }
                if compact.revision > self.revision() {
                    return Err(Error::FutureRevision);
                }
                self.compact_revision = compact.revision;
                Ok(Reply::Compact)
            }
            Command::LeaseGrant { id, ttl } => {
                if self.leases.contains_key(id) {
                    return Err(Error::LeaseExists);
                }
                self.leases.insert(*id, *ttl);
                Ok(Reply::LeaseGrant { id: *id, ttl: *ttl })
            }
            Command::LeaseRevoke { id } => {
                self.leases.remove(id).ok_or(Error::LeaseNotFound)?;
                for key in self.lease_keys(*id) {
                    draft.delete(&key);
                }
                Ok(Reply::LeaseRevoke)
            }
            Command::MemberPublish { .. } => Err(Error::MemberNotFound),
            Command::AlarmRaise(alarm) => {
                self.alarms.insert(*alarm);
                Ok(Reply::AlarmRaise(*alarm))
            }
            Command::AlarmDisarm(alarm) => {
                let was_raised = self.alarms.remove(alarm);
                Ok(Reply::AlarmDisarm(was_raised.then_some(*alarm)))
            }
            Command::Downgrade(_)
            | Command::V2(_)
            | Command::V2Expire { .. }
            | Command::V2Auth(_)
            | Command::Auth(_) => {
                unreachable!("these change no key, and have models of their own")
            }
        }
    }

    fn check_alarms(&self, command: &Command) -> Result<(), Error> {
        let raised = |kind| self.alarms.iter().any(|alarm| alarm.kind == kind);
        let passes = matches!(
            command,
            Command::MemberPublish { .. } | Command::AlarmRaise(_) | Command::AlarmDisarm(_)
        );
        if raised(AlarmKind::Corrupt) && !passes {
            return Err(Error::Corrupt);
        }
        let adds = match command {
            Command::Put(_) | Command::LeaseGrant { .. } => true,
            Command::Txn(txn) => puts(txn),
            _ => false,
        };
        match raised(AlarmKind::NoSpace) && adds {
            true => Err(Error::NoSpace),
            false => Ok(()),
        }
    }

    fn check_lease(&self, lease: LeaseId) -> Result<(), Error> {
        let known = lease == LeaseId::NONE || self.leases.contains_key(&lease);
        if known {
            Ok(())
        } else {
            Err(Error::LeaseNotFound)
        }
    }

    fn check_key(&self, put: &PutRequest) -> Result<(), Error> {
        let keeps = put.ignore_value || put.ignore_lease;
        if keeps && !self.latest().contains_key(&put.key) {
            Err(Error::KeyNotFound)
        } else {
            Ok(())
        }
    }

    fn check_txn(&self, txn: &TxnRequest, puts: bool) -> Result<(), Error> {
        for op in self.branch(txn) {
            match op {
                Op::Put(put) if puts => {
                    self.check_key(put)?;
                    self.check_lease(put.lease)?;
                }
                Op::Range(range) if !puts && range.revision != 0 => {
                    if range.revision > self.revision() {
                        return Err(Error::FutureRevision);
                    }
                    if range.revision < self.compact_revision {
                        return Err(Error::Compacted);
                    }
                }
                Op::Txn(nested) => self.check_txn(nested, puts)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn branch<'t>(&self, txn: &'t TxnRequest) -> &'t [Op] {
        let holds = txn.compare.iter().all(|compare| self.holds(compare));
        if holds { &txn.success } else { &txn.failure }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let keys: Vec<_> = self
            .latest()
            .values()
            .filter(|kv| compare.range.contains(&kv.key))
            .collect();
        if keys.is_empty() {
            return !matches!(compare.target, CompareTarget::Value(_))
                && one_holds(compare, &KeyValue::default());
        }
        keys.into_iter().all(|kv| one_holds(compare, kv))
    }

    fn run_txn(&self, txn: &TxnRequest, draft: &mut Draft) -> TxnReply {
        let mut reply = TxnReply {
            succeeded: txn.compare.iter().all(|compare| self.holds(compare)),
            ..TxnReply::default()
        };
        for op in self.branch(txn) {
            let response = match op {
                Op::Range(range) => {
                    let draft_revision = draft.main - i64::from(draft.changes.is_empty());
                    let keys = match range.revision {
                        revision if revision <= 0 || revision == draft_revision => &draft.keys,
                        revision => &self.snapshots[revision as usize],
                    };
                    OpReply::Range(read(keys, range))
                }
                Op::Put(put) => OpReply::Put(draft.put(put)),
                Op::DeleteRange(delete) => OpReply::DeleteRange(draft.delete_range(delete)),
                Op::Txn(nested) => OpReply::Txn(self.run_txn(nested, draft)),
            };
            let nested = matches!(op, Op::Txn(_));
            let revision = draft.main - i64::from(draft.changes.is_empty());
            reply.revisions.push(if nested { 0 } else { revision });
            reply.responses.push(response);
        }
        reply
    }

    pub fn range(&self, range: &RangeRequest) -> Result<RangeReply, Error> {
        if range.revision > self.revision() {
            return Err(Error::FutureRevision);
        }
        if range.revision <= 0 {
            return Ok(read(self.latest(), range));
        }
        if range.revision < self.compact_revision {
            return Err(Error::Compacted);
        }
        Ok(read(&self.snapshots[range.revision as usize], range))
    }

    /// Every change from `from` on, or nothing if some are compacted.
    pub fn changes(&self, from: i64, to: i64) -> Option<Vec<KeyChange>> {
        if from < self.compact_revision {
            return None;
        }
        let mut changes = Vec::new();
        for main in from.max(0)..=to.max(0) {
            for mut change in self.changes[main as usize].clone() {
                if main - 1 < self.compact_revision {
                    change.prev_kv = None;
                }
                changes.push(change);
            }
        }
        Some(changes)
    }
}

/// A revision in the making.
struct Draft {
    keys: Keys,
    main: i64,
    changes: Vec<KeyChange>,
}

impl Draft {
    fn put(&mut self, put: &PutRequest) -> PutReply {
        let before = self.keys.get(&put.key).cloned();
        let kept = before.clone().unwrap_or_default();
        let ignores = before.is_some();
        let kv = KeyValue {
            key: put.key.clone(),
            value: if ignores && put.ignore_value {
                kept.value
            } else {
                put.value.clone()
            },
            lease: if ignores && put.ignore_lease {
                kept.lease
            } else {
                put.lease
            },
            create_revision: if ignores {
                kept.create_revision
            } else {
                self.main
            },
            mod_revision: self.main,
            version: kept.version + 1,
        };
        self.keys.insert(put.key.clone(), kv.clone());
        self.changes.push(KeyChange {
            kind: ChangeKind::Put,
            kv,
            prev_kv: None,
        });
        PutReply {
            prev_kv: before.filter(|_| put.prev_kv),
        }
    }

    fn delete_range(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeReply {
        let gone: Vec<KeyValue> = self
            .keys
            .values()
            .filter(|kv| delete.range.contains(&kv.key))
            .cloned()
            .collect();
        for kv in &gone {
            self.delete(&kv.key);
        }
        let deleted = gone.len() as i64;
        DeleteRangeReply {
            deleted,
            prev_kvs: if delete.prev_kv { gone } else { vec![] },
        }
    }

    fn delete(&mut self, key: &Bytes) {
        self.keys.remove(key);
        let kv = KeyValue {
            key: key.clone(),
            mod_revision: self.main,
            ..KeyValue::default()
        };
        self.changes.push(KeyChange {
            kind: ChangeKind::Delete,
            kv,
            prev_kv: None,
        });
    }
}

fn one_holds(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(n) => kv.version.cmp(n),
        CompareTarget::Create(n) => kv.create_revision.cmp(n),
        CompareTarget::Mod(n) => kv.mod_revision.cmp(n),
        CompareTarget::Lease(lease) => kv.lease.0.cmp(&lease.0),
        CompareTarget::Value(value) => kv.value.cmp(value),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}

fn read(keys: &Keys, range: &RangeRequest) -> RangeReply {
    let mut kvs: Vec<KeyValue> = keys
        .values()
        .filter(|kv| range.range.contains(&kv.key))
        .cloned()
        .collect();
    let count = kvs.len() as i64;
    if range.count_only {
        return RangeReply {
            count,
            ..RangeReply::default()
        };
    }
    let bounds = [
        (range.min_mod_revision, range.max_mod_revision),
        (range.min_create_revision, range.max_create_revision),
    ];
    let filters = bounds.iter().any(|(min, max)| *min != 0 || *max != 0);
    if range.limit > 0 && range.sort_order == SortOrder::None && !filters {
        kvs.truncate(range.limit as usize + 1);
    }
    kvs.retain(|kv| {
        [kv.mod_revision, kv.create_revision]
            .iter()
            .zip(bounds)
            .all(|(n, (min, max))| (min == 0 || *n >= min) && (max == 0 || *n <= max))
    });
    kvs.sort_by(|a, b| {
        let order = match range.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if range.sort_order == SortOrder::Descend {
            order.reverse()
        } else {
            order
        }
    });
    let more = range.limit > 0 && kvs.len() > range.limit as usize;
    if more {
        kvs.truncate(range.limit as usize);
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeReply { kvs, more, count }
}

fn puts(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.any(|op| match op {
        Op::Put(_) => true,
        Op::Txn(nested) => puts(nested),
        _ => false,
    })
}
