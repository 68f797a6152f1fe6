//! How connections end other than by the will of their ends.

use super::link::Paths;
use super::{Host, Inner, Net, NetError};
use crate::trace;

impl Net {
    /// Breaks every call and stream that goes over these paths, as a reset by something on the
    /// way does: both ends learn of it at once. Gives how many there were.
    pub fn reset(&self, paths: &Paths) -> usize {
        self.with(|inner| {
            let broken = |from, to| paths.contain(from, to) || paths.contain(to, from);
            let calls = inner.calls_where(broken);
            for call in &calls {
                inner.answer(*call, Err(NetError::Reset));
            }
            let streams = inner.streams_where(broken);
            for (stream, _) in &streams {
                inner.break_stream(*stream, NetError::Reset);
            }
            recorded("net.reset", calls.len(), streams.len())
        })
    }

    /// `host` loses what it knows of its connections, as behind a device that forgot them. Its own
    /// ends fail at once. The other ends learn of it when they send, or when a keepalive or their
    /// own timeout runs out. Gives how many there were.
    pub fn forget(&self, host: Host) -> usize {
        self.with(|inner| {
            let calls = inner.calls_where(|from, to| from == host || to == host);
            for id in &calls {
                let call = inner.calls.get_mut(id).expect("it was just found");
                call.forgotten = true;
                if call.from == host {
                    inner.answer(*id, Err(NetError::Reset));
                }
            }
            let streams = inner.streams_where(|from, to| from == host || to == host);
            for (stream, hosts) in &streams {
                let end = usize::from(hosts[0] != host);
                inner.forget_stream(*stream, end);
            }
            recorded("net.forgotten", calls.len(), streams.len())
        })
    }

    /// The connection over which `from` calls `to` ends, by the will of one of them: every call
    /// under way has no answer.
    pub fn hang_up(&self, from: Host, to: Host) {
        self.with(|inner| {
            let calls = inner.calls_where(|caller, called| (caller, called) == (from, to));
            for call in &calls {
                inner.answer(*call, Err(NetError::Reset));
            }
            recorded("net.hung_up", calls.len(), 0);
        });
    }
}

fn recorded(kind: &str, calls: usize, streams: usize) -> usize {
    trace::event(kind, format_args!("{calls} calls, {streams} streams"));
    calls + streams
}

impl Inner {
    fn calls_where(&self, wanted: impl Fn(Host, Host) -> bool) -> Vec<u64> {
        let calls = self.calls.iter();
        calls
            .filter(|(_, call)| wanted(call.from, call.to))
            .map(|(id, _)| *id)
            .collect()
    }

    fn streams_where(&self, wanted: impl Fn(Host, Host) -> bool) -> Vec<(u64, [Host; 2])> {
        let streams = self.conns.iter().map(|(id, conn)| (*id, conn.hosts));
        streams
            .filter(|(_, [from, to])| wanted(*from, *to))
            .collect()
    }
}
