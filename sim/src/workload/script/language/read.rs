//! Text to operations.

use super::{COMPARE_OPS, Line, SORT_ORDERS, SORT_TARGETS};
use crate::history::Request;
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, Compare, CompareTarget, DeleteRangeRequest, KeyRange, LeaseId, Op, PutRequest,
    RangeRequest, TxnRequest,
};
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
    let mut from_newest = false;
    let request = words.request(&mut from_newest)?;
    match words.0.next() {
        Some(word) => Err(format!("`{word}` is not part of the operation")),
        None => Ok(Line {
            at,
            client,
            member,
            request,
            from_newest,
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

    /// `from_newest` is told of a revision that is counted from the newest one.
    fn request(&mut self, from_newest: &mut bool) -> Result<Request, String> {
        match self.next("what to do")? {
            "grant" => Ok(Request::LeaseGrant {
                id: lease(self.next("a lease")?)?,
                ttl: number(self.next("a time to live in seconds")?)?,
            }),
            "revoke" => Ok(Request::LeaseRevoke {
                id: lease(self.next("a lease")?)?,
            }),
            "compact" => {
                let revision;
                (revision, *from_newest) = self.revision()?;
                Ok(Request::Compact(CompactRequest {
                    revision,
                    physical: self.takes("physical"),
                }))
            }
            word => Ok(match self.op(word)? {
                Op::Range(range) => Request::Range(range),
                Op::Put(put) => Request::Put(put),
                Op::DeleteRange(delete) => Request::Delete(delete),
                Op::Txn(txn) => Request::Txn(txn),
            }),
        }
    }

    /// A revision, and whether it is counted from the newest one.
    fn revision(&mut self) -> Result<(i64, bool), String> {
        let word = self.next("a revision")?;
        let wrong = || format!("`{word}` is no revision such as 12 or newest-3");
        match word.strip_prefix("newest") {
            Some("") => Ok((0, true)),
            Some(offset) if offset.starts_with(['+', '-']) => {
                let offset = offset.parse().map_err(|_| wrong())?;
                Ok((offset, true))
            }
            _ => Ok((word.parse().map_err(|_| wrong())?, false)),
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

fn named<T: Copy>(names: &[(&str, T)], word: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("`{word}` is none of {}", known.join(", "))
    })
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
