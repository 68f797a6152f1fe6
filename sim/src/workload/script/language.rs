//! Operations as text: one word follows the other, separated by blanks.
//!
//! ```text
//! operation  TIME cCLIENT mMEMBER request
//! request    get RANGE [limit=N] [rev=N] [serializable] [keys] [count]
//!                      [sort=key|version|create|mod|value] [ascend|descend]
//!                      [min-mod=N] [max-mod=N] [min-create=N] [max-create=N]
//!            put KEY VALUE [lease=HEX] [prev] [keep-value] [keep-lease]
//!            delete RANGE [prev]
//!            txn [if compare...] [then ( request )...] [else ( request )...]
//!            grant HEX SECONDS | revoke HEX | compact REVISION [physical]
//! compare    RANGE version|create|mod|value|lease =|!=|<|> WORD
//! RANGE      KEY | KEY..KEY | KEY..      (to the end of all keys)
//! ```
//!
//! Keys and values are bytes: what is not plain is escaped as `\x20`, and nothing is `""`.

pub use super::Line;
use crate::history::Request;
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyRange, LeaseId, Op,
    PutRequest, RangeRequest, SortOrder, SortTarget, TxnRequest,
};
use std::fmt;
use std::iter::Peekable;
use std::str::SplitWhitespace;
use std::time::Duration;

/// Reads one operation; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Line, String> {
    let mut words = Words(text.split_whitespace().peekable());
    let at = words.next("a time such as 1500ms")?;
    let at = parse_time(at).ok_or_else(|| format!("`{at}` is no time such as 1500ms or 2s"))?;
    let client = words.numbered("a client such as c1", 'c')?;
    let member = words.numbered("a member such as m2", 'm')?;
    let member = member.checked_sub(1).ok_or("members are counted from 1")? as usize;
    let request = words.request()?;
    match words.0.next() {
        Some(word) => Err(format!("`{word}` is not part of the operation")),
        None => Ok(Line {
            at,
            client,
            member,
            request,
        }),
    }
}

/// "1500ms", "1500.250ms", "2s".
fn parse_time(text: &str) -> Option<Duration> {
    if let Some(seconds) = text.strip_suffix('s').and_then(|text| text.parse().ok()) {
        return Some(Duration::from_secs(seconds));
    }
    let millis = text.strip_suffix("ms")?;
    let (whole, part) = millis.split_once('.').unwrap_or((millis, ""));
    let micros: u64 = match part.len() {
        0 => 0,
        3 => part.parse().ok()?,
        _ => return None,
    };
    Some(Duration::from_millis(whole.parse().ok()?) + Duration::from_micros(micros))
}

struct Words<'a>(Peekable<SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn next(&mut self, wanted: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{wanted} is missing"))
    }

    /// Takes the next word if it is this one.
    fn takes(&mut self, word: &str) -> bool {
        self.0.next_if_eq(&word).is_some()
    }

    /// Takes the next word if it gives the value of this name, as in `rev=5`.
    fn value<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value_of = |word: &&'a str| word.strip_prefix(name).and_then(|r| r.strip_prefix('='));
        match self.0.peek().and_then(value_of) {
            None => Ok(None),
            Some(value) => {
                self.0.next();
                read(value).map(Some)
            }
        }
    }

    fn numbered(&mut self, wanted: &str, letter: char) -> Result<u32, String> {
        let word = self.next(wanted)?;
        let number = word.strip_prefix(letter).and_then(|rest| rest.parse().ok());
        number.ok_or_else(|| format!("`{word}` stands where {wanted} belongs"))
    }

    fn request(&mut self) -> Result<Request, String> {
        match self.next("what to do")? {
            "grant" => Ok(Request::LeaseGrant {
                id: lease(self.next("a lease")?)?,
                ttl: number(self.next("a time to live in seconds")?)?,
            }),
            "revoke" => Ok(Request::LeaseRevoke {
                id: lease(self.next("a lease")?)?,
            }),
            "compact" => Ok(Request::Compact(CompactRequest {
                revision: number(self.next("a revision")?)?,
                physical: self.takes("physical"),
            })),
            word => Ok(match self.op(word)? {
                Op::Range(range) => Request::Range(range),
                Op::Put(put) => Request::Put(put),
                Op::DeleteRange(delete) => Request::Delete(delete),
                Op::Txn(txn) => Request::Txn(txn),
            }),
        }
    }

    /// What may stand in a transaction, too.
    fn op(&mut self, word: &str) -> Result<Op, String> {
        match word {
            "get" => self.get().map(Op::Range),
            "put" => self.put().map(Op::Put),
            "delete" => Ok(Op::DeleteRange(DeleteRangeRequest {
                range: range(self.next("a range")?)?,
                prev_kv: self.takes("prev"),
            })),
            "txn" => self.txn().map(Op::Txn),
            word => Err(format!(
                "`{word}` is nothing that a client does; there are get, put, delete, txn, grant, \
                 revoke and compact"
            )),
        }
    }

    fn get(&mut self) -> Result<RangeRequest, String> {
        let mut get = RangeRequest::of(range(self.next("a range")?)?);
        get.limit = self.value("limit", number)?.unwrap_or(0);
        get.revision = self.value("rev", number)?.unwrap_or(0);
        get.serializable = self.takes("serializable");
        get.keys_only = self.takes("keys");
        get.count_only = self.takes("count");
        if let Some(target) = self.value("sort", |word| named(&SORT_TARGETS, word))? {
            get.sort_target = target;
        }
        for (word, order) in SORT_ORDERS {
            if self.takes(word) {
                get.sort_order = order;
            }
        }
        get.min_mod_revision = self.value("min-mod", number)?.unwrap_or(0);
        get.max_mod_revision = self.value("max-mod", number)?.unwrap_or(0);
        get.min_create_revision = self.value("min-create", number)?.unwrap_or(0);
        get.max_create_revision = self.value("max-create", number)?.unwrap_or(0);
        Ok(get)
    }

    fn put(&mut self) -> Result<PutRequest, String> {
        Ok(PutRequest {
            key: bytes(self.next("a key")?)?,
            value: bytes(self.next("a value")?)?,
            lease: self.value("lease", lease)?.unwrap_or(LeaseId::NONE),
            prev_kv: self.takes("prev"),
            ignore_value: self.takes("keep-value"),
            ignore_lease: self.takes("keep-lease"),
        })
    }

    fn txn(&mut self) -> Result<TxnRequest, String> {
        let mut txn = TxnRequest::default();
        if self.takes("if") {
            while self
                .0
                .peek()
                .is_some_and(|word| !["then", "else", ")"].contains(word))
            {
                txn.compare.push(self.compare()?);
            }
        }
        if self.takes("then") {
            txn.success = self.branch()?;
        }
        if self.takes("else") {
            txn.failure = self.branch()?;
        }
        Ok(txn)
    }

    fn branch(&mut self) -> Result<Vec<Op>, String> {
        let mut ops = Vec::new();
        while self.takes("(") {
            let word = self.next("what to do")?;
            ops.push(self.op(word)?);
            if !self.takes(")") {
                return Err("a `)` is missing".to_owned());
            }
        }
        Ok(ops)
    }

    fn compare(&mut self) -> Result<Compare, String> {
        let range = range(self.next("a range")?)?;
        let target = self.next("what to compare")?;
        let op = named(&COMPARE_OPS, self.next("how to compare")?)?;
        let word = self.next("what to compare with")?;
        let target = match target {
            "version" => CompareTarget::Version(number(word)?),
            "create" => CompareTarget::Create(number(word)?),
            "mod" => CompareTarget::Mod(number(word)?),
            "value" => CompareTarget::Value(bytes(word)?),
            "lease" => CompareTarget::Lease(lease(word)?),
            other => return Err(format!("nothing is compared by its `{other}`")),
        };
        Ok(Compare { range, op, target })
    }
}

const SORT_TARGETS: [(&str, SortTarget); 5] = [
    ("key", SortTarget::Key),
    ("version", SortTarget::Version),
    ("create", SortTarget::Create),
    ("mod", SortTarget::Mod),
    ("value", SortTarget::Value),
];

const SORT_ORDERS: [(&str, SortOrder); 2] = [
    ("ascend", SortOrder::Ascend),
    ("descend", SortOrder::Descend),
];

const COMPARE_OPS: [(&str, CompareOp); 4] = [
    ("=", CompareOp::Equal),
    ("!=", CompareOp::NotEqual),
    ("<", CompareOp::Less),
    (">", CompareOp::Greater),
];

fn named<T: Copy>(names: &[(&str, T)], word: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("`{word}` is none of {}", known.join(", "))
    })
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    let found = names.iter().find(|(_, known)| known == value);
    found.map(|(name, _)| *name)
}

fn number(word: &str) -> Result<i64, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

fn lease(word: &str) -> Result<LeaseId, String> {
    // As unsigned bits, so that negative ids are written, too.
    let id = u64::from_str_radix(word, 16).map_err(|_| format!("`{word}` is no lease"))?;
    Ok(LeaseId(id.cast_signed()))
}

fn range(word: &str) -> Result<KeyRange, String> {
    let Some((start, end)) = word.split_once("..") else {
        return bytes(word).map(KeyRange::One);
    };
    let start = bytes(start)?;
    let end = match end {
        "" => None,
        end => Some(bytes(end)?),
    };
    Ok(KeyRange::Span { start, end })
}

fn bytes(word: &str) -> Result<Bytes, String> {
    if word == "\"\"" {
        return Ok(Bytes::new());
    }
    let mut plain = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            plain.push(*first);
            continue;
        }
        let digits = rest
            .strip_prefix(b"x")
            .and_then(|rest| rest.split_at_checked(2));
        let (digits, tail) = digits.ok_or_else(|| format!("`{word}`: escapes are as \\x20"))?;
        let digits = std::str::from_utf8(digits).map_err(|error| error.to_string())?;
        let byte = u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
        plain.push(byte);
        rest = tail;
    }
    Ok(Bytes::from(plain))
}

/// Bytes as one word.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, self.0, |_| false)
    }
}

/// A key as one word, whose dots are not taken for a range's.
struct Key<'a>(&'a [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_dot = |place: usize| self.0.get(place).is_none_or(|byte| *byte == b'.');
        write_word(f, self.0, |place| {
            is_dot(place) && (place == 0 || is_dot(place - 1) || is_dot(place + 1))
        })
    }
}

fn write_word(
    f: &mut fmt::Formatter<'_>,
    bytes: &[u8],
    escapes: impl Fn(usize) -> bool,
) -> fmt::Result {
    // These words stand for themselves.
    const WORDS: [&[u8]; 4] = [b"then", b"else", b"(", b")"];
    if bytes.is_empty() {
        return f.write_str("\"\"");
    }
    for (place, byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_graphic() && ![b'\\', b'"'].contains(byte);
        match plain && !escapes(place) && !WORDS.contains(&bytes) {
            true => write!(f, "{}", char::from(*byte))?,
            false => write!(f, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

struct Range<'a>(&'a KeyRange);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeyRange::One(key) => write!(f, "{}", Key(key)),
            KeyRange::Span { start, end: None } => write!(f, "{}..", Key(start)),
            KeyRange::Span {
                start,
                end: Some(end),
            } => write!(f, "{}..{}", Key(start), Key(end)),
        }
    }
}

/// Cuts off the dots that pad values.
pub fn shorten_values(request: &mut Request) {
    match request {
        Request::Put(put) => shorten(&mut put.value),
        Request::Txn(txn) => shorten_in(txn),
        _ => {}
    }
}

fn shorten_in(txn: &mut TxnRequest) {
    for compare in &mut txn.compare {
        if let CompareTarget::Value(value) = &mut compare.target {
            shorten(value);
        }
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match op {
            Op::Put(put) => shorten(&mut put.value),
            Op::Txn(txn) => shorten_in(txn),
            Op::Range(_) | Op::DeleteRange(_) => {}
        }
    }
}

fn shorten(value: &mut Bytes) {
    let kept = value.iter().rposition(|byte| *byte != b'.');
    value.truncate(kept.map_or(0, |last| last + 1));
}

/// A time in whole units of so many microseconds.
pub fn rounded(at: Duration, unit: u64) -> Duration {
    Duration::from_micros(at.as_micros() as u64 / unit * unit)
}

/// A request in the words of this language.
pub struct Shown<'a>(pub &'a Request);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Request::Range(get) => write_get(f, get),
            Request::Put(put) => write_put(f, put),
            Request::Delete(delete) => write_delete(f, delete),
            Request::Txn(txn) => write_txn(f, txn),
            Request::LeaseGrant { id, ttl } => write!(f, "grant {:x} {ttl}", id.0),
            Request::LeaseRevoke { id } => write!(f, "revoke {:x}", id.0),
            Request::Compact(compact) => {
                write!(f, "compact {}", compact.revision)?;
                write_flag(f, "physical", compact.physical)
            }
        }
    }
}

fn write_flag(f: &mut fmt::Formatter<'_>, word: &str, set: bool) -> fmt::Result {
    match set {
        true => write!(f, " {word}"),
        false => Ok(()),
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, name: &str, number: i64) -> fmt::Result {
    match number {
        0 => Ok(()),
        number => write!(f, " {name}={number}"),
    }
}

fn write_get(f: &mut fmt::Formatter<'_>, get: &RangeRequest) -> fmt::Result {
    write!(f, "get {}", Range(&get.range))?;
    write_number(f, "limit", get.limit)?;
    write_number(f, "rev", get.revision)?;
    write_flag(f, "serializable", get.serializable)?;
    write_flag(f, "keys", get.keys_only)?;
    write_flag(f, "count", get.count_only)?;
    if get.sort_target != SortTarget::Key {
        let target = name_of(&SORT_TARGETS, &get.sort_target).expect("all targets are named");
        write!(f, " sort={target}")?;
    }
    if let Some(order) = name_of(&SORT_ORDERS, &get.sort_order) {
        write!(f, " {order}")?;
    }
    write_number(f, "min-mod", get.min_mod_revision)?;
    write_number(f, "max-mod", get.max_mod_revision)?;
    write_number(f, "min-create", get.min_create_revision)?;
    write_number(f, "max-create", get.max_create_revision)
}

fn write_put(f: &mut fmt::Formatter<'_>, put: &PutRequest) -> fmt::Result {
    write!(f, "put {} {}", Word(&put.key), Word(&put.value))?;
    if put.lease != LeaseId::NONE {
        write!(f, " lease={:x}", put.lease.0)?;
    }
    write_flag(f, "prev", put.prev_kv)?;
    write_flag(f, "keep-value", put.ignore_value)?;
    write_flag(f, "keep-lease", put.ignore_lease)
}

fn write_delete(f: &mut fmt::Formatter<'_>, delete: &DeleteRangeRequest) -> fmt::Result {
    write!(f, "delete {}", Range(&delete.range))?;
    write_flag(f, "prev", delete.prev_kv)
}

fn write_txn(f: &mut fmt::Formatter<'_>, txn: &TxnRequest) -> fmt::Result {
    f.write_str("txn")?;
    if !txn.compare.is_empty() {
        f.write_str(" if")?;
    }
    for Compare { range, op, target } in &txn.compare {
        let op = name_of(&COMPARE_OPS, op).expect("all are named");
        write!(f, " {} ", Range(range))?;
        match target {
            CompareTarget::Version(version) => write!(f, "version {op} {version}")?,
            CompareTarget::Create(revision) => write!(f, "create {op} {revision}")?,
            CompareTarget::Mod(revision) => write!(f, "mod {op} {revision}")?,
            CompareTarget::Value(value) => write!(f, "value {op} {}", Word(value))?,
            CompareTarget::Lease(lease) => write!(f, "lease {op} {:x}", lease.0)?,
        }
    }
    for (word, ops) in [("then", &txn.success), ("else", &txn.failure)] {
        if !ops.is_empty() {
            write!(f, " {word}")?;
        }
        for op in ops {
            f.write_str(" ( ")?;
            match op {
                Op::Range(get) => write_get(f, get)?,
                Op::Put(put) => write_put(f, put)?,
                Op::DeleteRange(delete) => write_delete(f, delete)?,
                Op::Txn(txn) => write_txn(f, txn)?,
            }
            f.write_str(" )")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    #[test]
    fn operations_read_as_they_are_written() {
        let lines = [
            "1500ms c1 m2 put k/1 first",
            "1500.250ms c1 m2 put k/1 \"\" lease=7b prev",
            "2000ms c2 m1 get k/0..k0 limit=2 rev=5 serializable keys sort=mod descend",
            "2000ms c2 m1 delete a\\x20b.. prev",
            "3000ms c12 m3 txn if k/0 version = 0 k/1 value != v then ( put k/0 x ) ( get k/0.. ) \
             else ( txn if k/2 mod > 7 then ( delete k/2 ) )",
            "4000ms c1 m1 grant ffffffffffffffff 5",
            "4001ms c1 m1 compact 12 physical",
        ];
        for line in lines {
            let parsed = parse(line).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(parsed.to_string(), line);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            ("soon c1 m1 get k", "`soon` is no time such as 1500ms or 2s"),
            (
                "1s 1 m1 get k",
                "`1` stands where a client such as c1 belongs",
            ),
            ("1s c1 m0 get k", "members are counted from 1"),
            ("1s c1 m1 put k", "a value is missing"),
            (
                "1s c1 m1 get k twice",
                "`twice` is not part of the operation",
            ),
            ("1s c1 m1 txn then ( get k", "a `)` is missing"),
            (
                "1s c1 m1 get k sort=size",
                "`size` is none of key, version, create, mod, value",
            ),
        ] {
            assert_eq!(parse(line), Err(why.to_owned()), "{line}");
        }
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        let nasty = prop::sample::select(vec![
            b'.', b'(', b')', b'"', b'\\', b' ', b'=', 0, 255, b'k',
        ]);
        prop::collection::vec(nasty, 0..5).prop_map(Bytes::from)
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = any_bytes().prop_filter("an end is a key", |end| !end.is_empty());
        prop_oneof![
            any_bytes().prop_map(KeyRange::One),
            (any_bytes(), prop::option::of(end))
                .prop_map(|(start, end)| KeyRange::Span { start, end }),
        ]
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let get = (any_range(), 0i64..3, any::<bool>(), 0i64..9).prop_map(
            |(range, limit, flag, revision)| {
                let get = RangeRequest {
                    limit,
                    revision,
                    serializable: flag,
                    count_only: !flag,
                    ..RangeRequest::of(range)
                };
                Op::Range(get)
            },
        );
        let put = (any_bytes(), any_bytes(), any::<i64>(), any::<bool>()).prop_map(
            |(key, value, lease, prev_kv)| {
                let lease = LeaseId(lease);
                Op::Put(PutRequest {
                    key,
                    value,
                    lease,
                    prev_kv,
                    ..PutRequest::default()
                })
            },
        );
        let leaf = prop_oneof![get, put];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let compare = (any_range(), any_bytes()).prop_map(|(range, value)| Compare {
                range,
                op: CompareOp::Less,
                target: CompareTarget::Value(value),
            });
            let branch = prop::collection::vec(inner, 0..3);
            (prop::collection::vec(compare, 0..3), branch.clone(), branch).prop_map(
                |(compare, success, failure)| {
                    Op::Txn(TxnRequest {
                        compare,
                        success,
                        failure,
                    })
                },
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
                concat!(env!("CARGO_MANIFEST_DIR"), "/../proptest-regressions/sim/script.txt"),
            ))),
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_operation_reads_as_it_is_written(op in any_op(), at in 0u64..10_000_000) {
            let request = match op {
                Op::Range(get) => Request::Range(get),
                Op::Put(put) => Request::Put(put),
                Op::DeleteRange(delete) => Request::Delete(delete),
                Op::Txn(txn) => Request::Txn(txn),
            };
            let line = Line { at: Duration::from_micros(at), client: 3, member: 1, request };
            prop_assert_eq!(parse(&line.to_string()), Ok(line));
        }
    }
}
