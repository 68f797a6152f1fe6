use super::*;
use bytes::Bytes;

#[test]
fn greetings_and_replies_are_read_as_they_were_written() {
    let log = 0x0102_0304_0506_0708;
    for confirms in [false, true] {
        let greeting = Greeting { log, confirms };
        let bytes = greeting.encode();
        assert_eq!(bytes[..], [3, 8, 7, 6, 5, 4, 3, 2, 1, u8::from(confirms)]);
        assert_eq!(Greeting::decode(&bytes), Ok(greeting));
        for len in 0..bytes.len() {
            let cut = Greeting::decode(&bytes.slice(..len));
            assert!(cut.is_err(), "cut at {len}");
        }
    }
    for bad in [
        &[3, 8, 7, 6, 5, 4, 3, 2, 1, 2][..],
        &[3, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0],
        &[2, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ] {
        assert!(Greeting::decode(&Bytes::copy_from_slice(bad)).is_err());
    }
    for reply in [GreetingReply::NoOtherLog, GreetingReply::OtherLog] {
        let bytes = reply.encode();
        assert_eq!(bytes[..], [3, reply as u8]);
        assert_eq!(GreetingReply::decode(&bytes), Ok(reply));
    }
    for bad in [&[3, 2][..], &[2, 0], &[3], &[3, 0, 0]] {
        assert!(GreetingReply::decode(&Bytes::copy_from_slice(bad)).is_err());
    }
}

#[test]
fn a_sender_is_refused_when_it_or_the_receiver_was_removed() {
    let [own, gone, other] = [MemberId(1), MemberId(2), MemberId(3)];
    let check =
        |from, class, takes_part| check_sender(from, class, takes_part, own, |id| id == gone);
    for class in [MessageClass::OfLeader, MessageClass::Vote] {
        let refused = check(other, class, false);
        assert_eq!(refused, Err(SenderRefusal::NotAdmitted));
        assert_eq!(check(other, class, true), Ok(()));
    }
    assert_eq!(check(other, MessageClass::Other, false), Ok(()));
    assert_eq!(check(gone, MessageClass::OfLeader, true), Ok(()));
    for class in [MessageClass::Vote, MessageClass::Other] {
        let refused = check(gone, class, true);
        assert_eq!(refused, Err(SenderRefusal::SenderRemoved));
    }
    let removed = |class| check_sender(other, class, true, own, |id| id == own);
    assert_eq!(
        removed(MessageClass::Vote),
        Err(SenderRefusal::ReceiverRemoved)
    );
    assert_eq!(removed(MessageClass::OfLeader), Ok(()));
}

#[test]
fn a_log_that_was_cut_is_not_waited_for() {
    assert!(is_behind_its_log(3, 5, 9));
    assert!(!is_behind_its_log(5, 5, 9));
    assert!(!is_behind_its_log(3, 5, 3));
    assert!(!is_behind_its_log(0, 0, 0));
}

/// How many answers let a member in, by how many others there are.
#[test]
fn a_majority_with_the_member_itself_is_enough() {
    for (others, enough) in [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        let mut admission = Admission::new(AdmissionConfig {
            log: 1,
            others: (1..=others).map(MemberId).collect(),
            joins: true,
            is_admitted: false,
            election_timeout: Millis(1000),
        });
        let facts = Facts::default();
        admission.handle(Millis(0), Event::Tick, &facts);
        let mut answered = [0, 0];
        while admission.phase != Phase::TakesPart {
            let Some(effect) = admission.poll() else {
                panic!("{others} others: nothing is done, and it does not take part");
            };
            let Effect::Greet {
                to,
                attempt,
                greeting,
            } = effect
            else {
                panic!("{effect}");
            };
            answered[usize::from(greeting.confirms)] += 1;
            let event = Event::Answered {
                from: to,
                attempt,
                reply: Some(GreetingReply::NoOtherLog),
            };
            admission.handle(Millis(0), event, &facts);
        }
        // The confirmations come after the questions that are still under way.
        assert!(answered[1] == enough, "{others} others: {answered:?}");
    }
}
