use super::link::{Effect, LinkFault, LinkSettings, Paths};
use super::transport::{Directory, SimTransport};
use super::*;
use detcd_peer::Transport as _;
use std::task::{Context, Poll, Waker};

const A: Host = Host(1);
const B: Host = Host(2);
const C: Host = Host(3);

fn net(loss: f64, duplicate: f64) -> Net {
    let link_settings = LinkSettings {
        latency_ms: 1..=5,
        loss,
        duplicate,
    };
    let links = Links::new(link_settings, Rng::of(1, "net/faults"));
    Net::new(Rng::of(1, "net"), links, |_| {})
}

/// Lets everything that is under way arrive.
fn settle(net: &Net) {
    while let Some(at) = net.deadline() {
        net.advance(at);
    }
}

fn poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn ask(
    net: &Net,
    text: &'static str,
    idempotent: bool,
) -> std::pin::Pin<Box<impl Future<Output = Result<Bytes, NetError>> + use<>>> {
    Box::pin(net.call(
        (A, B, Port::Peer),
        7.into(),
        Bytes::from_static(text.as_bytes()),
        idempotent,
    ))
}

/// Answers every call that arrived with its own text; gives how many there were.
fn echo(listener: &mut mpsc::UnboundedReceiver<Incoming>) -> usize {
    let mut calls = 0;
    while let Ok(incoming) = listener.try_recv() {
        if let Incoming::Call {
            from,
            head,
            body,
            reply,
        } = incoming
        {
            assert_eq!((from, head.kind), (A, 7));
            reply.send(body);
            calls += 1;
        }
    }
    calls
}

#[test]
fn a_call_is_answered() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let mut call = ask(&net, "ping", false);
    settle(&net);
    assert_eq!(poll(&mut call), None);
    assert_eq!(echo(&mut listener), 1);
    settle(&net);
    assert_eq!(poll(&mut call), Some(Ok(Bytes::from_static(b"ping"))));
}

#[test]
fn nobody_there_refuses_and_a_death_resets() {
    let net = net(0.0, 0.0);
    let mut call = ask(&net, "ping", false);
    settle(&net);
    assert_eq!(poll(&mut call), Some(Err(NetError::Refused)));
    let mut listener = net.listen(B, Port::Peer);
    let mut call = ask(&net, "ping", false);
    settle(&net);
    assert!(listener.try_recv().is_ok());
    net.process_died(B);
    settle(&net);
    assert_eq!(poll(&mut call), Some(Err(NetError::Reset)));
}

#[test]
fn cuts_work_one_way_and_end() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    for path in [(A, B), (B, A)] {
        let fault = LinkFault {
            mark: "fault.partition",
            paths: Paths::Pairs(vec![path]),
            effect: Effect::Cut,
        };
        let fault = net.change_links(|links| links.begin(fault));
        let mut call = ask(&net, "ping", false);
        settle(&net);
        // The request gets through exactly if it is the answers' way that is cut.
        assert_eq!(echo(&mut listener), usize::from(path == (B, A)));
        settle(&net);
        assert_eq!(poll(&mut call), None);
        net.change_links(|links| links.end(fault));
    }
    let mut call = ask(&net, "ping", false);
    settle(&net);
    assert_eq!(echo(&mut listener), 1);
    settle(&net);
    assert!(poll(&mut call).is_some());
}

#[test]
fn a_cut_catches_what_is_under_way() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let _call = ask(&net, "ping", false);
    let fault = LinkFault {
        mark: "fault.partition",
        paths: Paths::Pairs(vec![(A, B)]),
        effect: Effect::Cut,
    };
    net.change_links(|links| links.begin(fault));
    settle(&net);
    assert_eq!(echo(&mut listener), 0);
}

fn begin(net: &Net, paths: Vec<(Host, Host)>, effect: Effect) -> super::link::FaultId {
    let fault = LinkFault {
        mark: "fault.test",
        paths: Paths::Pairs(paths),
        effect,
    };
    net.change_links(|links| links.begin(fault))
}

#[test]
fn a_clog_holds_back_calls_and_streams_and_lets_them_through_at_its_end() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let clog = begin(&net, vec![(A, B)], Effect::Clog);
    let mut call = ask(&net, "ping", false);
    let stream = net.open((A, B, Port::Peer), 1.into());
    assert_eq!(send(&stream, "later".to_owned()), Some(Ok(())));
    settle(&net);
    assert!(listener.try_recv().is_err());
    net.change_links(|links| links.end(clog));
    settle(&net);
    let Ok(Incoming::Call { body, reply, .. }) = listener.try_recv() else {
        panic!("the call was sent first");
    };
    reply.send(body);
    let mut stream = accept(&mut listener);
    settle(&net);
    assert_eq!(poll(&mut call), Some(Ok(Bytes::from_static(b"ping"))));
    let message = Some(Some(Ok(Bytes::from_static(b"later"))));
    assert_eq!(recv(&mut stream), message);
}

#[test]
fn corruption_flips_one_bit_of_what_arrives() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    begin(&net, vec![(A, B)], Effect::Corrupt(1.0));
    let _call = ask(&net, "ping", false);
    settle(&net);
    let Ok(Incoming::Call { body, .. }) = listener.try_recv() else {
        panic!("the call arrives");
    };
    let flipped = body.iter().zip(b"ping");
    let flipped: u32 = flipped.map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(flipped, 1);
}

#[test]
fn a_reset_ends_both_sides_and_forgetting_only_one() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Client);
    let mut client = net.open((A, B, Port::Client), 1.into());
    settle(&net);
    let mut server = accept(&mut listener);
    assert_eq!(net.forget(B), 1);
    assert_eq!(recv(&mut server), Some(Some(Err(NetError::Reset))));
    drop(server);
    assert_eq!(recv(&mut client), None);
    assert_eq!(send(&client, "anybody?".to_owned()), Some(Ok(())));
    settle(&net);
    assert_eq!(recv(&mut client), Some(Some(Err(NetError::Reset))));

    let mut client = net.open((A, B, Port::Client), 1.into());
    settle(&net);
    let mut server = accept(&mut listener);
    assert_eq!(net.reset(&Paths::Pairs(vec![(B, A)])), 1);
    assert_eq!(recv(&mut server), Some(Some(Err(NetError::Reset))));
    assert_eq!(recv(&mut client), Some(Some(Err(NetError::Reset))));
}

#[test]
fn a_forgotten_call_has_no_answer() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let mut call = ask(&net, "ping", false);
    settle(&net);
    assert_eq!(net.forget(B), 1);
    assert_eq!(echo(&mut listener), 1);
    settle(&net);
    assert_eq!(poll(&mut call), None);
    let mut call = ask(&net, "ping", false);
    assert_eq!(net.forget(A), 2);
    assert_eq!(poll(&mut call), Some(Err(NetError::Reset)));
}

#[test]
fn a_narrow_link_makes_wait_and_then_loses() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    begin(&net, vec![(A, B)], Effect::Bandwidth(69));
    // A packet of 69 bytes takes a second. Time stands still here: the fifth finds no room.
    let _calls: Vec<_> = (0..6).map(|_| ask(&net, "ping", false)).collect();
    net.advance(Duration::from_millis(2_500));
    assert_eq!(echo(&mut listener), 2);
    settle(&net);
    assert_eq!(echo(&mut listener), 2);
}

#[test]
fn loss_loses_some_and_duplication_doubles_idempotent_requests_only() {
    let net = net(0.5, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let calls: Vec<_> = (0..100).map(|_| ask(&net, "x", true)).collect();
    settle(&net);
    let arrived = echo(&mut listener);
    assert!((20..80).contains(&arrived), "{arrived} of 100 arrived");
    drop(calls);
    let net = self::net(0.0, 1.0);
    let mut listener = net.listen(B, Port::Peer);
    let _calls = (ask(&net, "x", true), ask(&net, "x", false));
    settle(&net);
    assert_eq!(echo(&mut listener), 3);
}

fn accept(listener: &mut mpsc::UnboundedReceiver<Incoming>) -> Stream {
    match listener.try_recv() {
        Ok(Incoming::Open { stream, .. }) => stream,
        _ => panic!("no stream arrived"),
    }
}

fn send(stream: &Stream, text: String) -> Option<Result<(), NetError>> {
    poll(&mut Box::pin(stream.send(text.into())))
}

fn recv(stream: &mut Stream) -> Option<Option<Result<Bytes, NetError>>> {
    poll(&mut Box::pin(stream.recv()))
}

#[test]
fn streams_keep_order_under_loss_and_push_back() {
    let net = net(0.3, 0.0);
    let mut listener = net.listen(B, Port::Client);
    let client = net.open((A, B, Port::Client), 1.into());
    for n in 0..64 {
        assert_eq!(send(&client, n.to_string()), Some(Ok(())));
    }
    assert_eq!(send(&client, "beyond the window".to_owned()), None);
    settle(&net);
    let mut server = accept(&mut listener);
    for n in 0..64 {
        assert_eq!(
            recv(&mut server),
            Some(Some(Ok(Bytes::from(n.to_string()))))
        );
    }
    assert_eq!(send(&client, "last".to_owned()), Some(Ok(())));
    client.finish();
    assert_eq!(send(&server, "answer".to_owned()), Some(Ok(())));
    settle(&net);
    assert_eq!(
        recv(&mut server),
        Some(Some(Ok(Bytes::from_static(b"last"))))
    );
    assert_eq!(recv(&mut server), Some(None));
    let mut client = client;
    assert_eq!(
        recv(&mut client),
        Some(Some(Ok(Bytes::from_static(b"answer"))))
    );
    drop(server);
    settle(&net);
    assert_eq!(recv(&mut client), Some(None));
}

#[test]
fn streams_break_when_nobody_listens_or_a_process_dies() {
    let net = net(0.0, 0.0);
    let mut client = net.open((A, B, Port::Client), 1.into());
    settle(&net);
    assert_eq!(recv(&mut client), Some(Some(Err(NetError::Refused))));
    let mut listener = net.listen(B, Port::Client);
    let mut client = net.open((A, B, Port::Client), 1.into());
    settle(&net);
    let server = accept(&mut listener);
    net.process_died(B);
    drop(server);
    settle(&net);
    assert_eq!(recv(&mut client), Some(Some(Err(NetError::Reset))));
    assert_eq!(
        send(&client, "too late".to_owned()),
        Some(Err(NetError::Reset))
    );
}

/// What was under way when its sender died is no message of whoever has the address now.
#[test]
fn a_late_message_is_of_the_member_that_sent_it() {
    let net = net(0.0, 0.0);
    let mut listener = net.listen(B, Port::Peer);
    let (kind, from, to) = (7, 1, 2);
    let head = Head { kind, from, to };
    drop(net.call((A, B, Port::Peer), head, Bytes::new(), false));
    net.process_died(A);
    net.listen(A, Port::Peer);
    settle(&net);
    let Ok(Incoming::Call { head: arrived, .. }) = listener.try_recv() else {
        panic!("the call was under way")
    };
    assert_eq!(arrived, head);
}

#[test]
fn a_member_is_looked_for_at_its_other_address_once_a_call_has_failed() {
    let directory = Directory::default();
    directory.add("http://b", B);
    directory.add("http://c", C);
    let transport = SimTransport::new(net(0.0, 0.0), 1, A, directory);
    let urls = ["http://gone", "http://b", "http://c"].map(str::to_owned);
    transport.set_peer(2, urls.to_vec());
    assert!(transport.host(2).is_err());
    assert_eq!(transport.host(2).unwrap(), B);
    assert_eq!(transport.host(2).unwrap(), B);
    transport.turn_away(2);
    assert_eq!(transport.host(2).unwrap(), C);
    // The same addresses again are no news.
    transport.set_peer(2, urls.to_vec());
    assert_eq!(transport.host(2).unwrap(), C);
}
