//! Streams: reliable, ordered messages both ways, with the failures that TCP shows.

use super::link::Verdict;
use super::packet::{Packet, Seen};
use super::{Head, Host, Incoming, Inner, Net, NetError, Port, flip};
use crate::record;
use crate::time;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Messages of one direction that were sent and not yet received; then the sender waits.
const WINDOW: usize = 64;
/// The first wait for a retransmission; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(3);
/// A message that did not get through for so long breaks the stream (as keepalives would).
pub(crate) const STUCK_MAX: Duration = Duration::from_secs(10);

/// One end of a stream. When it and all its senders are dropped, the stream closes, which the
/// other end sees after everything that was sent before.
pub struct Stream {
    sender: StreamSender,
    inbox: mpsc::UnboundedReceiver<Message>,
}

/// The sending half of an end.
#[derive(Clone)]
pub struct StreamSender {
    end: Arc<End>,
    window: Arc<Semaphore>,
}

/// What closes when its last owner is gone.
struct End {
    net: Net,
    conn: u64,
    end: usize,
}

/// A message with its place in the sender's window.
struct Message {
    body: Result<Bytes, NetError>,
    window: Option<Arc<Semaphore>>,
}

/// A stream as the network holds it. End 0 opened it, end 1 was opened to.
pub(crate) struct Conn {
    pub(crate) hosts: [Host; 2],
    /// Where to announce the stream when its first packet arrives, and end 1's inbox until then.
    announce: Option<(Port, Head, mpsc::UnboundedReceiver<Message>)>,
    directions: [Direction; 2],
    /// The end whose host knows nothing of the stream any more, and has not told the other.
    pub(crate) forgotten_by: Option<usize>,
}

/// What flows away from one end.
struct Direction {
    queue: VecDeque<Queued>,
    window: Arc<Semaphore>,
    /// Into the other end's inbox; gone once that end is closed or broken.
    into: Option<mpsc::UnboundedSender<Message>>,
    /// The sending end still exists.
    open: bool,
    /// A try of the head of the queue is scheduled.
    trying: bool,
    retry: Duration,
    /// Since when the head did not get through.
    stuck_since: Option<Duration>,
}

enum Queued {
    Opening,
    Body(Bytes),
    /// The end closed in good order.
    Closed,
    /// The process died.
    Reset,
}

impl Queued {
    fn seen(&self, conn: u64) -> Seen<'_> {
        let (what, body): (_, &[u8]) = match self {
            Queued::Opening => ("stream opens", &[]),
            Queued::Body(body) => ("stream message", body),
            Queued::Closed => ("stream closes", &[]),
            Queued::Reset => ("stream resets", &[]),
        };
        Seen {
            what,
            way: None,
            number: conn,
            body,
        }
    }
}

impl Stream {
    fn new(
        net: &Net,
        (conn, end): (u64, usize),
        window: Arc<Semaphore>,
        inbox: mpsc::UnboundedReceiver<Message>,
    ) -> Stream {
        let net = net.clone();
        let end = Arc::new(End { net, conn, end });
        Stream {
            sender: StreamSender { end, window },
            inbox,
        }
    }

    /// See [`StreamSender::send`].
    pub async fn send(&self, body: Bytes) -> Result<(), NetError> {
        self.sender.send(body).await
    }

    pub fn sender(&self) -> StreamSender {
        self.sender.clone()
    }

    /// The next message; `None` once the other end closed.
    pub async fn recv(&mut self) -> Option<Result<Bytes, NetError>> {
        let message = self.inbox.recv().await?;
        if let Some(window) = message.window {
            window.add_permits(1);
        }
        Some(message.body)
    }

    /// Sends no more; the other end sees its stream end. Receiving goes on.
    pub fn finish(&self) {
        let End { net, conn, end } = &*self.sender.end;
        // A broken stream cannot be finished, and need not.
        let _ = net.with(|inner| inner.queue_stream(*conn, *end, Queued::Closed));
    }
}

impl StreamSender {
    /// Sends a message; waits while the window is full.
    pub async fn send(&self, body: Bytes) -> Result<(), NetError> {
        let Ok(place) = self.window.acquire().await else {
            return Err(NetError::Reset);
        };
        place.forget();
        let End { net, conn, end } = &*self.end;
        net.with(|inner| inner.queue_stream(*conn, *end, Queued::Body(body)))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.net.with(|inner| inner.drop_end(self.conn, self.end));
    }
}

impl Conn {
    /// A new stream and its opening end.
    pub(crate) fn open(
        net: &Net,
        conn: u64,
        hosts: [Host; 2],
        port: Port,
        head: Head,
    ) -> (Conn, Stream) {
        let (into_opener, opener_inbox) = mpsc::unbounded_channel();
        let (into_opened, opened_inbox) = mpsc::unbounded_channel();
        let mut away = Direction::new(into_opened);
        away.queue.push_back(Queued::Opening);
        let back = Direction::new(into_opener);
        let window = away.window.clone();
        let opener = Stream::new(net, (conn, 0), window, opener_inbox);
        let announce = Some((port, head, opened_inbox));
        (
            Conn {
                hosts,
                announce,
                directions: [away, back],
                forgotten_by: None,
            },
            opener,
        )
    }

    fn path(&self, end: usize) -> (Host, Host) {
        (self.hosts[end], self.hosts[1 - end])
    }
}

impl Direction {
    fn new(into: mpsc::UnboundedSender<Message>) -> Direction {
        Direction {
            queue: VecDeque::new(),
            window: Arc::new(Semaphore::new(WINDOW)),
            into: Some(into),
            open: true,
            trying: false,
            retry: RETRY_MIN,
            stuck_since: None,
        }
    }

    /// Gives the receiving end its last message.
    fn end_with(&mut self, error: Option<NetError>) {
        if let (Some(into), Some(error)) = (self.into.take(), error) {
            // An end that is gone needs no telling.
            let _ = into.send(Message {
                body: Err(error),
                window: None,
            });
        }
        self.queue.clear();
    }
}

impl Inner {
    fn queue_stream(&mut self, conn: u64, end: usize, message: Queued) -> Result<(), NetError> {
        let Some(found) = self.conns.get_mut(&conn) else {
            return Err(NetError::Reset);
        };
        let is_believed = found.forgotten_by == Some(1 - end);
        if found.directions[end].into.is_none() && !is_believed {
            return Err(NetError::Reset);
        }
        found.directions[end].queue.push_back(message);
        self.push_stream(conn, end);
        Ok(())
    }

    fn drop_end(&mut self, conn: u64, end: usize) {
        let Some(found) = self.conns.get_mut(&conn) else {
            return;
        };
        found.directions[end].open = false;
        // Nobody reads here any more, so the other end's sends have no use.
        found.directions[1 - end].end_with(None);
        if found.forgotten_by == Some(end) && found.directions[1 - end].open {
            // The other end goes on in the belief that somebody takes what it sends.
            return;
        }
        found.directions[1 - end].window.close();
        if !found.directions[1 - end].open {
            self.conns.remove(&conn);
            return;
        }
        // The other end learns of it as it learns of anything: by a packet.
        let _ = self.queue_stream(conn, end, Queued::Closed);
    }

    /// A process on `host` died: its ends reset the others.
    pub(crate) fn break_streams_of(&mut self, host: Host) {
        let ends: Vec<(u64, usize)> = self
            .conns
            .iter()
            .flat_map(|(id, conn)| [(*id, 0), (*id, 1)].map(|end| (end, conn.hosts[end.1])))
            .filter(|(_, of)| *of == host)
            .map(|(end, _)| end)
            .collect();
        for (conn, end) in ends {
            if let Some(found) = self.conns.get_mut(&conn) {
                found.directions[end].queue.clear();
                found.directions[1 - end].end_with(Some(NetError::Reset));
            }
            let _ = self.queue_stream(conn, end, Queued::Reset);
        }
    }

    /// Starts to move the head of a direction's queue, unless it moves already.
    pub(crate) fn push_stream(&mut self, conn: u64, end: usize) {
        let Some(found) = self.conns.get_mut(&conn) else {
            return;
        };
        let path = found.path(end);
        let direction = &mut found.directions[end];
        if direction.trying || direction.queue.is_empty() {
            return;
        }
        direction.trying = true;
        let bytes = match direction.queue.front() {
            Some(Queued::Body(body)) => body.len(),
            _ => 0,
        };
        let after = match self.stream_verdict(path.0, path.1, bytes) {
            Verdict::Arrives { after, corrupt } => {
                if let Some(draw) = corrupt {
                    self.corrupt_head(conn, end, draw);
                }
                after
            }
            Verdict::Lost(_) => self.back_off(conn, end),
        };
        self.schedule(
            time::now() + after,
            Some(path),
            Packet::Stream { conn, end },
        );
    }

    fn corrupt_head(&mut self, conn: u64, end: usize, draw: u64) {
        let conn = self.conns.get_mut(&conn).expect("it is being pushed");
        if let Some(Queued::Body(body)) = conn.directions[end].queue.front_mut() {
            *body = flip(body, draw);
        }
    }

    fn back_off(&mut self, conn: u64, end: usize) -> Duration {
        let direction = &mut self
            .conns
            .get_mut(&conn)
            .expect("it is being pushed")
            .directions[end];
        direction.stuck_since.get_or_insert_with(time::now);
        let retry = direction.retry;
        direction.retry = (retry * 2).min(RETRY_MAX);
        retry
    }

    /// The head of a direction's queue arrives, or finds its way cut and backs off.
    pub(crate) fn push_stream_now(&mut self, net: &Net, (conn, end): (u64, usize), sent: Duration) {
        let Some(found) = self.conns.get_mut(&conn) else {
            return;
        };
        let (from, to) = found.path(end);
        found.directions[end].trying = false;
        let stuck_since = found.directions[end].stuck_since;
        if stuck_since.is_some_and(|since| time::now() >= since + STUCK_MAX) {
            record!("net.broken", number = conn, from = from.0, to = to.0);
            self.break_stream(conn, NetError::Reset);
            return;
        }
        let cut = self.is_cut(from, to);
        if let Some(head) = self.conns[&conn].directions[end].queue.front() {
            let (kind, why) = if cut {
                ("net.stuck", "cut")
            } else {
                ("net.deliver", "")
            };
            head.seen(conn).record(kind, (from, to), sent, why);
        }
        if cut {
            let after = self.back_off(conn, end);
            self.conns
                .get_mut(&conn)
                .expect("it was just found")
                .directions[end]
                .trying = true;
            let packet = Packet::Stream { conn, end };
            self.schedule(time::now() + after, Some((from, to)), packet);
            return;
        }
        if self.conns[&conn].forgotten_by == Some(1 - end) {
            // Nobody there knows the stream: whoever sends is told so.
            return self.break_stream(conn, NetError::Reset);
        }
        self.arrive(net, conn, end);
        self.push_stream(conn, end);
    }

    fn arrive(&mut self, net: &Net, conn: u64, end: usize) {
        let found = self.conns.get_mut(&conn).expect("it was just found");
        let (from, to) = found.path(end);
        let direction = &mut found.directions[end];
        direction.retry = RETRY_MIN;
        direction.stuck_since = None;
        let window = direction.window.clone();
        match direction.queue.pop_front() {
            None => {}
            Some(Queued::Body(body)) => {
                if let Some(into) = &direction.into {
                    // An end that was dropped meanwhile reads no more.
                    let _ = into.send(Message {
                        body: Ok(body),
                        window: Some(window),
                    });
                }
            }
            Some(Queued::Closed) => direction.end_with(None),
            Some(Queued::Reset) => self.break_stream(conn, NetError::Reset),
            Some(Queued::Opening) => {
                let (port, head, inbox) = found.announce.take().expect("a stream opens once");
                let window = found.directions[1].window.clone();
                let stream = Stream::new(net, (conn, 1), window, inbox);
                let incoming = Incoming::Open { from, head, stream };
                let refused = match self.listener(to, port) {
                    Some(listener) => listener.send(incoming).err().map(|error| error.0),
                    None => Some(incoming),
                };
                if let Some(unclaimed) = refused {
                    self.break_stream(conn, NetError::Refused);
                    // Dropping an end locks the network, which is locked here.
                    self.garbage.push(unclaimed);
                }
            }
        }
    }

    /// One end is told that the stream broke, and the other not.
    pub(crate) fn forget_stream(&mut self, conn: u64, end: usize) {
        let Some(found) = self.conns.get_mut(&conn) else {
            return;
        };
        found.forgotten_by = Some(end);
        found.directions[end].queue.clear();
        found.directions[end].window.close();
        found.directions[1 - end].end_with(Some(NetError::Reset));
        // Its sender goes on in the belief that somebody takes what it sends.
        let packet = Packet::Unanswered { conn };
        self.schedule(time::now() + STUCK_MAX, None, packet);
    }

    /// Both ends are told that the stream broke.
    pub(crate) fn break_stream(&mut self, conn: u64, error: NetError) {
        if let Some(mut found) = self.conns.remove(&conn) {
            for direction in &mut found.directions {
                direction.end_with(Some(error.clone()));
                direction.window.close();
            }
        }
    }
}
