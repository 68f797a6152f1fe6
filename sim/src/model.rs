//! etcd's key space, as simply as it can be said: what the real one is compared with.
//!
//! Written from the contract and not from `detcd_core`, with whose machine it shares nothing but
//! the types of requests and replies.

use crate::history::{Reply, Request};
use bytes::Bytes;
use detcd_core::api::{
    ChangeKind, Compare, CompareOp, CompareTarget, DeleteRangeReply, DeleteRangeRequest, KeyChange,
    KeyRange, KeyValue, LeaseId, Op, OpReply, PutReply, PutRequest, RangeReply, RangeRequest,
    SortOrder, SortTarget, TxnReply, TxnRequest,
};
use imbl::OrdMap;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The key space at one revision. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub revision: i64,
    pub keys: OrdMap<Bytes, KeyValue>,
    pub leases: OrdMap<i64, i64>,
    past: Past,
}

/// Earlier revisions that transactions read. A long history has too many to keep them all.
#[derive(Clone, Debug, Default, PartialEq)]
struct Past {
    wanted: Arc<BTreeSet<i64>>,
    kept: OrdMap<i64, OrdMap<Bytes, KeyValue>>,
}

/// What a request does to a state.
#[derive(Clone, Debug)]
pub struct Step {
    pub state: State,
    /// Empty if the revision stays.
    pub changes: Vec<KeyChange>,
    pub result: Result<Reply, Refusal>,
}

/// Why a request that was applied changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    LeaseNotFound,
    LeaseExists,
    KeyNotFound,
    /// A transaction reads a revision that is still to come.
    Future,
    /// A transaction reads a revision that nobody keeps.
    Compacted,
}

impl State {
    /// A store that was never written to.
    pub fn empty() -> State {
        State {
            revision: 1,
            ..State::default()
        }
    }

    /// A store that was never written to, and keeps these revisions once it has passed them.
    pub fn keeping(wanted: BTreeSet<i64>) -> State {
        let mut state = State::empty();
        state.past.wanted = Arc::new(wanted);
        state
    }

    pub fn apply(&self, request: &Request) -> Step {
        let mut draft = Draft::of(self, &[]);
        let result = draft.run(request);
        if result.is_err() {
            return Step {
                state: self.clone(),
                changes: Vec::new(),
                result,
            };
        }
        let Draft {
            leases, changes, ..
        } = draft;
        let mut state = self.clone();
        for (lease, ttl) in leases {
            match ttl {
                Some(ttl) => drop(state.leases.insert(lease, ttl)),
                None => drop(state.leases.remove(&lease)),
            }
        }
        if !changes.is_empty() {
            state.advance(&changes);
        }
        Step {
            state,
            changes,
            result,
        }
    }

    /// What a request would change and answer, if these leases existed, too. Costs no more than
    /// what it touches.
    pub fn outcome(
        &self,
        request: &Request,
        leases: &[LeaseId],
    ) -> (Vec<KeyChange>, Result<Reply, Refusal>) {
        let mut draft = Draft::of(self, leases);
        match draft.run(request) {
            Ok(reply) => (draft.changes, Ok(reply)),
            Err(refusal) => (Vec::new(), Err(refusal)),
        }
    }

    /// Takes the changes of the next revision as given.
    pub fn advance(&mut self, changes: &[KeyChange]) {
        if self.past.wanted.contains(&self.revision) {
            let keys = self.keys.clone();
            self.past.kept.insert(self.revision, keys);
        }
        self.revision += 1;
        for change in changes {
            let key = &change.kv.key;
            match change.kind {
                ChangeKind::Put => drop(self.keys.insert(key.clone(), change.kv.clone())),
                ChangeKind::Delete => drop(self.keys.remove(key)),
            }
        }
    }

    /// The state after changes that are taken as given.
    pub fn follow(&self, changes: &[KeyChange]) -> State {
        let mut state = self.clone();
        state.advance(changes);
        state
    }

    /// The changes that the end of a lease makes: its keys go, in order.
    pub fn lease_end(&self, lease: LeaseId) -> Vec<KeyChange> {
        let mut draft = Draft::of(self, &[]);
        draft.end_lease(lease);
        draft.changes
    }
}

/// A state in the middle of a request: its changes all get the next revision.
struct Draft<'a> {
    /// What comparisons look at: those of nested transactions too see nothing that the request
    /// itself wrote.
    before: &'a State,
    /// Leases that exist beside those of `before`.
    assumed: &'a [LeaseId],
    /// What the request wrote so far; `None` is deleted.
    written: BTreeMap<Bytes, Option<KeyValue>>,
    leases: BTreeMap<i64, Option<i64>>,
    changes: Vec<KeyChange>,
    /// Why a read within the transaction is refused. Its puts are refused first.
    unreadable: Option<Refusal>,
}

impl<'a> Draft<'a> {
    fn of(before: &'a State, assumed: &'a [LeaseId]) -> Draft<'a> {
        Draft {
            before,
            assumed,
            written: BTreeMap::new(),
            leases: BTreeMap::new(),
            changes: Vec::new(),
            unreadable: None,
        }
    }

    fn get(&self, key: &Bytes) -> Option<&KeyValue> {
        match self.written.get(key) {
            Some(written) => written.as_ref(),
            None => self.before.keys.get(key),
        }
    }

    fn in_range(&self, range: &KeyRange) -> Vec<KeyValue> {
        if let KeyRange::One(key) = range {
            return self.get(key).cloned().into_iter().collect();
        }
        let mut found = in_range(&self.before.keys, range);
        if !self.written.is_empty() {
            found.retain(|kv| !self.written.contains_key(&kv.key));
            let written = self.written.values().flatten();
            found.extend(written.filter(|kv| range.contains(&kv.key)).cloned());
            found.sort_by(|a, b| a.key.cmp(&b.key));
        }
        found
    }

    fn has_lease(&self, lease: LeaseId) -> bool {
        match self.leases.get(&lease.0) {
            Some(changed) => changed.is_some(),
            None => self.assumed.contains(&lease) || self.before.leases.contains_key(&lease.0),
        }
    }

    fn run(&mut self, request: &Request) -> Result<Reply, Refusal> {
        match request {
            // Which revision a read shows, whoever asks for the outcome has chosen.
            Request::Range(range) => {
                let found = self.in_range(&range.range);
                Ok(Reply::Range(ranged(found, range)))
            }
            Request::Put(put) => self.put(put).map(Reply::Put),
            Request::Delete(delete) => Ok(Reply::Delete(self.delete(delete))),
            Request::Txn(txn) => {
                let reply = self.txn(txn)?;
                match self.unreadable {
                    Some(refusal) => Err(refusal),
                    None => Ok(Reply::Txn(reply)),
                }
            }
            Request::LeaseGrant { id, ttl } => {
                if self.has_lease(*id) {
                    return Err(Refusal::LeaseExists);
                }
                self.leases.insert(id.0, Some(*ttl));
                // The id of one that leaves it to the server, and the least time that is granted,
                // are the lease check's business.
                let (id, ttl) = (*id, *ttl);
                Ok(Reply::LeaseGrant { id, ttl })
            }
            Request::LeaseRevoke { id } => {
                if !self.has_lease(*id) {
                    return Err(Refusal::LeaseNotFound);
                }
                self.end_lease(*id);
                Ok(Reply::LeaseRevoke)
            }
            // Which revisions may still be read is the compaction check's business.
            Request::Compact(_) => Ok(Reply::Compact),
        }
    }

    fn end_lease(&mut self, lease: LeaseId) {
        self.leases.insert(lease.0, None);
        let everything = KeyRange::Span {
            start: Bytes::new(),
            end: None,
        };
        let mut attached = self.in_range(&everything);
        attached.retain(|kv| kv.lease == lease);
        attached.into_iter().for_each(|kv| self.remove(kv));
    }

    /// A read within a transaction. One of the past does not see what the transaction wrote.
    fn range(&mut self, request: &RangeRequest) -> RangeReply {
        let at = self.before.revision;
        let found = match request.revision {
            0 => Ok(self.in_range(&request.range)),
            asked if asked > at => Err(Refusal::Future),
            asked if asked == at => Ok(in_range(&self.before.keys, &request.range)),
            asked => {
                let past = self.before.past.kept.get(&asked);
                let found = past.map(|keys| in_range(keys, &request.range));
                found.ok_or(Refusal::Compacted)
            }
        };
        let found = found.unwrap_or_else(|refusal| {
            self.unreadable.get_or_insert(refusal);
            Vec::new()
        });
        ranged(found, request)
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutReply, Refusal> {
        let before = self.get(&request.key).cloned();
        if (request.ignore_value || request.ignore_lease) && before.is_none() {
            return Err(Refusal::KeyNotFound);
        }
        if request.lease != LeaseId::NONE && !self.has_lease(request.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        let revision = self.before.revision + 1;
        let mut after = KeyValue {
            key: request.key.clone(),
            value: request.value.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: request.lease,
        };
        if let Some(before) = &before {
            after.create_revision = before.create_revision;
            after.version = before.version + 1;
            if request.ignore_value {
                after.value = before.value.clone();
            }
            if request.ignore_lease {
                after.lease = before.lease;
            }
        }
        let key = request.key.clone();
        self.written.insert(key, Some(after.clone()));
        self.changes.push(KeyChange {
            kind: ChangeKind::Put,
            kv: after,
            prev_kv: before.clone(),
        });
        Ok(PutReply {
            prev_kv: before.filter(|_| request.prev_kv),
        })
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeReply {
        let found = self.in_range(&request.range);
        found.iter().cloned().for_each(|kv| self.remove(kv));
        let deleted = found.len() as i64;
        DeleteRangeReply {
            deleted,
            prev_kvs: if request.prev_kv { found } else { Vec::new() },
        }
    }

    fn remove(&mut self, before: KeyValue) {
        self.written.insert(before.key.clone(), None);
        let kv = KeyValue {
            key: before.key.clone(),
            mod_revision: self.before.revision + 1,
            ..KeyValue::default()
        };
        self.changes.push(KeyChange {
            kind: ChangeKind::Delete,
            kv,
            prev_kv: Some(before),
        });
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnReply, Refusal> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let mut reply = TxnReply {
            succeeded,
            ..TxnReply::default()
        };
        for op in ops {
            reply.responses.push(match op {
                Op::Range(range) => OpReply::Range(self.range(range)),
                Op::Put(put) => OpReply::Put(self.put(put)?),
                Op::DeleteRange(delete) => OpReply::DeleteRange(self.delete(delete)),
                Op::Txn(txn) => OpReply::Txn(self.txn(txn)?),
            });
            // etcd leaves the header of a nested transaction empty.
            reply.revisions.push(match op {
                Op::Txn(_) => 0,
                _ => self.before.revision + i64::from(!self.changes.is_empty()),
            });
        }
        Ok(reply)
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = in_range(&self.before.keys, &compare.range);
        if found.is_empty() {
            // A key that is not there has zeros everywhere, but no value to compare.
            return match compare.target {
                CompareTarget::Value(_) => false,
                _ => holds_for(compare, &KeyValue::default()),
            };
        }
        found.iter().all(|kv| holds_for(compare, kv))
    }
}

/// What a read answers of the keys in its range. Filters look at all of them; `count` is of all.
fn ranged(mut kvs: Vec<KeyValue>, request: &RangeRequest) -> RangeReply {
    let count = kvs.len() as i64;
    if request.count_only {
        return RangeReply {
            kvs: Vec::new(),
            more: false,
            count,
        };
    }
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if request.sort_order == SortOrder::None && filters == [0; 4] && limit > 0 {
        // Unless an order or a filter is asked for, etcd fetches only what tells whether there is
        // more, and sorts that.
        kvs.truncate(limit + 1);
    }
    kvs.retain(|kv| {
        is_within(
            kv.mod_revision,
            request.min_mod_revision,
            request.max_mod_revision,
        ) && is_within(
            kv.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
    });
    sort(&mut kvs, request.sort_order, request.sort_target);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeReply { kvs, more, count }
}

fn in_range(keys: &OrdMap<Bytes, KeyValue>, range: &KeyRange) -> Vec<KeyValue> {
    match range {
        KeyRange::One(key) => keys.get(key).cloned().into_iter().collect(),
        KeyRange::Span { start, .. } => {
            let found = keys.range(start.clone()..);
            let found = found.take_while(|(key, _)| range.contains(key));
            found.map(|(_, kv)| kv.clone()).collect()
        }
    }
}

/// Zero is no bound.
fn is_within(revision: i64, min: i64, max: i64) -> bool {
    (min == 0 || revision >= min) && (max == 0 || revision <= max)
}

/// By key, unless another order or another target is asked for.
fn sort(kvs: &mut [KeyValue], order: SortOrder, target: SortTarget) {
    // A stable sort either way: of equals, the one with the smaller key comes first.
    kvs.sort_by(|a, b| {
        let ascending = match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        match order {
            SortOrder::None | SortOrder::Ascend => ascending,
            SortOrder::Descend => ascending.reverse(),
        }
    });
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> PutRequest {
        PutRequest {
            key: key.into(),
            value: value.into(),
            prev_kv: true,
            ..PutRequest::default()
        }
    }

    #[test]
    fn counts_revisions_and_versions_as_etcd_does() {
        let empty = State::empty();
        let first = empty.apply(&Request::Put(put("a", "1"))).state;
        let second = first.apply(&Request::Put(put("a", "2")));
        let kv = &second.state.keys[&b"a"[..]];
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
        let range = KeyRange::One(Bytes::from_static(b"a"));
        let delete = Request::Delete(DeleteRangeRequest {
            range,
            prev_kv: false,
        });
        let third = second.state.apply(&delete);
        assert_eq!((third.state.revision, third.changes.len()), (4, 1));
        let again = third.state.apply(&delete);
        assert_eq!((again.state.revision, again.changes.len()), (4, 0));
        let back = third.state.apply(&Request::Put(put("a", "3"))).state;
        assert_eq!(back.keys[&b"a"[..]].version, 1);
        assert_eq!(second.state.follow(&third.changes).keys, third.state.keys);
    }

    #[test]
    fn a_transaction_has_one_revision_and_fails_whole() {
        let range = KeyRange::One(Bytes::from_static(b"a"));
        let compare = |target| Compare {
            range: range.clone(),
            op: CompareOp::Equal,
            target,
        };
        let mut txn = TxnRequest {
            compare: vec![compare(CompareTarget::Version(0))],
            success: vec![Op::Put(put("a", "1")), Op::Put(put("b", "1"))],
            failure: vec![],
        };
        let step = State::empty().apply(&Request::Txn(txn.clone()));
        assert_eq!((step.state.revision, step.changes.len()), (2, 2));
        assert!(
            step.changes
                .iter()
                .all(|change| change.kv.mod_revision == 2)
        );
        let step = step.state.apply(&Request::Txn(txn.clone()));
        assert_eq!((step.state.revision, step.changes.len()), (2, 0));
        txn.compare = vec![compare(CompareTarget::Value(Bytes::new()))];
        txn.failure = vec![Op::Put(PutRequest {
            lease: LeaseId(5),
            ..put("c", "1")
        })];
        let step = State::empty().apply(&Request::Txn(txn));
        assert_eq!(step.result, Err(Refusal::LeaseNotFound));
        assert_eq!(step.state, State::empty());
    }

    #[test]
    fn the_end_of_a_lease_takes_its_keys() {
        let grant = Request::LeaseGrant {
            id: LeaseId(7),
            ttl: 5,
        };
        let granted = State::empty().apply(&grant).state;
        assert_eq!(granted.apply(&grant).result, Err(Refusal::LeaseExists));
        let leased = PutRequest {
            lease: LeaseId(7),
            ..put("a", "1")
        };
        let state = granted.apply(&Request::Put(leased)).state;
        assert_eq!(state.lease_end(LeaseId(7)).len(), 1);
        let revoked = state.apply(&Request::LeaseRevoke { id: LeaseId(7) });
        assert_eq!((revoked.state.revision, revoked.state.keys.len()), (3, 0));
    }

    /// The keys of a read, of three that were written in the order c, b, a.
    fn listed(state: &State, change: impl FnOnce(&mut RangeRequest)) -> Vec<Bytes> {
        let mut request = RangeRequest::of(KeyRange::Span {
            start: Bytes::from_static(b"a"),
            end: None,
        });
        change(&mut request);
        let Ok(Reply::Range(reply)) = state.apply(&Request::Range(request)).result else {
            panic!("a read is answered");
        };
        reply.kvs.into_iter().map(|kv| kv.key).collect()
    }

    #[test]
    fn without_an_order_the_limit_comes_before_the_sort() {
        let mut state = State::empty();
        for key in ["c", "b", "a"] {
            state = state.apply(&Request::Put(put(key, "1"))).state;
        }
        let by_age = |order, limit| {
            listed(&state, |request| {
                request.sort_target = SortTarget::Create;
                (request.sort_order, request.limit) = (order, limit);
            })
        };
        assert_eq!(by_age(SortOrder::None, 0), ["c", "b", "a"]);
        // As etcd 3.5.1 answers: of a and b the older one.
        assert_eq!(by_age(SortOrder::None, 1), ["b"]);
        assert_eq!(by_age(SortOrder::Ascend, 1), ["c"]);
    }

    #[test]
    fn a_transaction_reads_the_past_without_what_it_wrote() {
        let mut state = State::keeping(BTreeSet::from([2]));
        for value in ["1", "2", "3"] {
            state = state.apply(&Request::Put(put("a", value))).state;
        }
        let read = |revision| {
            let mut get = RangeRequest::of(KeyRange::One(Bytes::from_static(b"a")));
            get.revision = revision;
            let txn = TxnRequest {
                success: vec![Op::Put(put("a", "4")), Op::Range(get)],
                ..TxnRequest::default()
            };
            match state.apply(&Request::Txn(txn)).result? {
                Reply::Txn(reply) => match &reply.responses[1] {
                    OpReply::Range(range) => Ok(range.kvs[0].value.clone()),
                    other => panic!("a read was answered by {other:?}"),
                },
                other => panic!("a transaction was answered by {other:?}"),
            }
        };
        assert_eq!(read(0), Ok("4".into()));
        assert_eq!(read(4), Ok("3".into()));
        assert_eq!(read(2), Ok("1".into()));
        assert_eq!(read(5), Err(Refusal::Future));
        assert_eq!(read(3), Err(Refusal::Compacted));
    }
}
