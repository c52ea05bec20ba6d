//! What relays say of pushes, and relays and members of how far messages have come.

use clave_crdt::{Draft, MessageId};
use clave_mailbox::{self as wire, Reason, Request, reply, request};

use super::relays::{Puppet, met, open, welcome};
use super::rig::*;
use crate::membership::Action;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Channel, CircleId, Event, MessageState, PushEndpoint, PushError, PushHealth, PushKeys, RelayError};

const SERVER_KEY: [u8; 65] = [4; 65];

fn endpoint(path: &str) -> PushEndpoint {
    let keys = PushKeys { p256dh: SERVER_KEY, auth: [9; 16] };
    PushEndpoint::new(&format!("https://push.example.org/{path}"), Some(keys)).expect("it is one")
}

/// Alice has given an endpoint, and her relay wakes.
fn woken() -> (Rig, CircleId, Puppet, u64, wire::Wake) {
    let (mut rig, circle, mut puppet) = met();
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_push_endpoint(None, Some(endpoint("alice")), now_ms).expect("it can be stored");
    let hello = puppet.asked.remove(0).number;
    let welcome = wire::Welcome { wake_key: SERVER_KEY.to_vec().into(), ..welcome([5; 16]) };
    puppet.say(&mut rig, hello, reply::Body::Welcome(welcome));
    let (number, wake) = next_wake(&mut rig, &mut puppet);
    (rig, circle, puppet, number, wake)
}

/// Answers until it is asked about waking.
fn next_wake(rig: &mut Rig, puppet: &mut Puppet) -> (u64, wire::Wake) {
    loop {
        match puppet.asked.first().expect("it is asked") {
            Request { number, body: Some(request::Body::Wake(wake)) } => {
                let asked = (*number, wake.clone());
                puppet.asked.remove(0);
                return asked;
            }
            _ => puppet.serve_one(rig),
        }
    }
}

/// What Alice says, and nobody hears before the relay does.
fn post(rig: &mut Rig, circle: CircleId, text: &str) -> MessageId {
    let (now_ms, alice) = (rig.now_ms, &mut rig.devices[ALICE].engine);
    let posted = alice.post(circle, chat(circle), now_ms, |document| {
        Ok(vec![document.timeline()?.post(now_ms, [1; 6], &Draft::text(text))?])
    });
    posted.expect("a member may post")[0]
}

fn health(rig: &Rig) -> PushHealth {
    rig.devices[ALICE].engine.push_health().expect("it can be read").remove(0)
}

fn state(rig: &Rig, who: usize, circle: CircleId, message: MessageId) -> Option<MessageState> {
    rig.devices[who].engine.message_states(circle, &[message]).expect("a member")[0]
}

#[test]
fn a_relay_is_told_whom_to_wake_and_for_what() {
    let (mut rig, circle, mut puppet, number, wake) = woken();
    assert_eq!((wake.id.len(), wake.endpoint.as_str()), (16, "https://push.example.org/alice"));
    let mailboxes: Vec<[u8; 32]> = wire::ids(&wake.mailboxes).collect();
    let head = clave_crypto::MailboxKey::of_epoch(&rig.head_key(ALICE, circle)).id();
    assert!(mailboxes.contains(head.as_bytes()));
    puppet.say(&mut rig, number, reply::Body::Woken(wire::Woken::default()));
    puppet.serve(&mut rig);
    assert!(health(&rig).registered && health(&rig).mailboxes == mailboxes.len());

    // Muted: for nothing there. By the same id; and not twice.
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.mute(circle, true, now_ms).expect("a member");
    puppet.hear(&mut rig);
    let (number, muted) = next_wake(&mut rig, &mut puppet);
    assert_eq!((&muted.id, muted.endpoint.as_str()), (&wake.id, "https://push.example.org/alice"));
    assert!(wire::ids(&muted.mailboxes).all(|mailbox| mailbox != *head.as_bytes()));
    puppet.say(&mut rig, number, reply::Body::Woken(wire::Woken::default()));
    rig.devices[ALICE].engine.mute(circle, true, now_ms).expect("a member");
    puppet.hear(&mut rig);
    assert!(puppet.asked.is_empty());

    // Twice a day although nothing changed.
    rig.now_ms += 12 * 3_600_000;
    let now_ms = rig.now_ms;
    assert!(rig.devices[ALICE].engine.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms));
    rig.devices[ALICE].engine.handle_tick(now_ms);
    puppet.hear(&mut rig);
    assert_eq!(next_wake(&mut rig, &mut puppet).1, muted);
    puppet.asked.clear();
}

#[test]
fn what_a_relay_says_of_pushes_is_shown_and_decides_nothing() {
    let (mut rig, circle, mut puppet, number, _) = woken();
    let refused = wire::Refused { reason: Reason::Endpoint.into(), retry_after_ms: 0 };
    puppet.say(&mut rig, number, reply::Body::Refused(refused));
    assert_eq!((health(&rig).registered, health(&rig).error), (false, Some(PushError::Endpoint)));
    // What is made is stored there all the same, and the relay is as well as before.
    puppet.serve(&mut rig);
    post(&mut rig, circle, "stored");
    puppet.hear(&mut rig);
    puppet.serve(&mut rig);
    assert_eq!((puppet.status(&rig, circle), puppet.hung_up), ((true, None), false));
    assert_eq!(rig.devices[ALICE].engine.waiting_for_relays(circle), 0);

    // Another endpoint is told at once. What came of pushes is as the relay says, whatever that is.
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_push_endpoint(None, Some(endpoint("anew")), now_ms).expect("it can be stored");
    puppet.hear(&mut rig);
    let (number, wake) = next_wake(&mut rig, &mut puppet);
    assert!(wake.endpoint.ends_with("/anew"));
    let most = wire::Woken { accepted_seconds: u64::MAX, refused_seconds: u64::MAX, status: u32::MAX, gone: true };
    puppet.say(&mut rig, number, reply::Body::Woken(most));
    assert_eq!(health(&rig).accepted_ms, Some(u64::MAX));
    assert_eq!(health(&rig).error, Some(PushError::Gone));
    assert!(rig.devices[ALICE].events.contains(&Event::PushChanged { relay: puppet.id }));

    // Taken back: the relay is told so, and nothing of it is kept.
    rig.devices[ALICE].engine.clear_push_endpoints(now_ms).expect("it can be stored");
    puppet.hear(&mut rig);
    let (number, ended) = next_wake(&mut rig, &mut puppet);
    assert_eq!((ended.id, ended.endpoint.as_str(), ended.mailboxes.len()), (wake.id, "", 0));
    puppet.say(&mut rig, number, reply::Body::Woken(wire::Woken::default()));
    assert_eq!((health(&rig).registered, health(&rig).error), (false, None));
    // Woken unasked makes no sense.
    puppet.say(&mut rig, number, reply::Body::Woken(wire::Woken::default()));
    puppet.was_given_up(&rig, circle, RelayError::Nonsense);
}

#[test]
fn a_relay_that_wakes_nobody_is_asked_nothing_until_it_does() {
    let (mut rig, circle, mut puppet) = open();
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_push_endpoint(None, Some(endpoint("alice")), now_ms).expect("it can be stored");
    puppet.hear(&mut rig);
    assert!(puppet.asked.is_empty());
    assert_eq!((health(&rig).error, health(&rig).server_key), (Some(PushError::Unsupported), None));
    // It begins to, and is asked as any.
    rig.devices[ALICE].engine.handle_disconnected(puppet.id, now_ms);
    rig.devices[ALICE].engine.handle_connected(puppet.id, now_ms);
    puppet.hear(&mut rig);
    let hello = puppet.asked.remove(0).number;
    let welcome = wire::Welcome { wake_key: SERVER_KEY.to_vec().into(), ..welcome([5; 16]) };
    puppet.say(&mut rig, hello, reply::Body::Welcome(welcome));
    let (number, wake) = next_wake(&mut rig, &mut puppet);
    assert_eq!(wake.id.len(), 16);
    puppet.say(&mut rig, number, reply::Body::Woken(wire::Woken::default()));
    assert_eq!((health(&rig).error, health(&rig).registered), (None, true));
    assert!(puppet.status(&rig, circle).0);
}

#[test]
fn a_relay_is_shown_its_token_and_says_whether_that_is_right() {
    let (mut rig, circle, mut puppet) = met();
    let hello = |puppet: &mut Puppet| match puppet.asked.remove(0) {
        Request { number, body: Some(request::Body::Hello(hello)) } => (number, hello.token),
        other => panic!("{other:?}"),
    };
    let refused = || reply::Body::Refused(wire::Refused { reason: Reason::Access.into(), retry_after_ms: 0 });
    let (number, token) = hello(&mut puppet);
    assert!(token.is_empty());
    // The stream may seem to end before what came through it is read.
    let (relay, now_ms) = (puppet.id, rig.now_ms);
    rig.devices[ALICE].engine.handle_interrupted(relay, Channel::Mailbox, now_ms);
    puppet.hear(&mut rig);
    assert!(!puppet.hung_up);
    puppet.say(&mut rig, number, refused());
    puppet.was_given_up(&rig, circle, RelayError::Access);
    for token in ["错的", "对的"] {
        let (relay, now_ms) = (puppet.id, rig.now_ms);
        let parsed = token.parse().expect("it may be one");
        rig.devices[ALICE].engine.set_relay_token(relay, Some(parsed), now_ms).expect("it can be stored");
        puppet.hear(&mut rig);
        // At once, whatever there was to wait for.
        let (number, shown) = hello(&mut puppet);
        assert_eq!(shown, token.as_bytes());
        if token == "错的" {
            puppet.say(&mut rig, number, refused());
            puppet.was_given_up(&rig, circle, RelayError::Token);
            let event = Event::RelayChanged { relay, error: Some(RelayError::Token) };
            assert!(rig.devices[ALICE].events.contains(&event));
        } else {
            puppet.say(&mut rig, number, reply::Body::Welcome(welcome([5; 16])));
        }
    }
    puppet.serve(&mut rig);
    assert_eq!(puppet.status(&rig, circle), (true, None));
    assert!(rig.devices[ALICE].events.contains(&Event::RelayChanged { relay: puppet.id, error: None }));
}

#[test]
fn a_message_is_at_a_relay_once_that_says_so_and_not_before() {
    let (mut rig, circle, mut puppet) = open();
    let message = post(&mut rig, circle, "你好");
    puppet.hear(&mut rig);
    assert_eq!(state(&rig, ALICE, circle, message), Some(MessageState::Queued));
    let put = puppet.asked.remove(0);
    assert!(matches!(put.body, Some(request::Body::Put(_))));
    let full = wire::Refused { reason: Reason::Full.into(), retry_after_ms: 1_000 };
    puppet.say(&mut rig, put.number, reply::Body::Refused(full));
    let failed = MessageState::Failed { error: RelayError::Full, retryable: true };
    assert_eq!(state(&rig, ALICE, circle, message), Some(failed));
    rig.now_ms += 1_000;
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    puppet.hear(&mut rig);
    puppet.serve(&mut rig);
    assert_eq!(state(&rig, ALICE, circle, message), Some(MessageState::Relayed));
    assert!(rig.devices[ALICE].events.contains(&Event::ReachChanged { circle }));
    // It stays so, also over a restart.
    rig.reopen(ALICE);
    assert_eq!(state(&rig, ALICE, circle, message), Some(MessageState::Relayed));
}

#[test]
fn a_device_is_believed_to_have_what_it_says_it_has_and_nobody_is_for_another() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    for other in [BOB, CAROL] {
        rig.disconnect(ALICE, other);
    }
    let message = rig.post(ALICE, circle, "在吗");
    assert_eq!(state(&rig, ALICE, circle, message), Some(MessageState::Queued));
    assert_eq!(state(&rig, BOB, circle, message), None, "it is not his");
    rig.connect(ALICE, BOB);
    rig.settle();
    let delivered = |people, everybody| Some(MessageState::Delivered { people, devices: people, everybody });
    assert_eq!(state(&rig, ALICE, circle, message), delivered(1, false));
    let bob = rig.devices[BOB].id;
    let holders = |rig: &Rig| rig.devices[ALICE].engine.message_holders(circle, &message).expect("a member");
    assert_eq!(holders(&rig), [bob]);

    // Ids that are nobody's, or not hers, and whoever is not in: of nobody else anything is believed.
    let have = |ids: Vec<u8>| Body::Have(proto::EntryIds { circle: circle.as_bytes().to_vec(), ids });
    let all: Vec<u8> = rig.entry_ids(ALICE, circle).iter().flat_map(|id| *id.as_bytes()).collect();
    rig.say(BOB, ALICE, Channel::Sync, have([all.clone(), vec![7; 32]].concat()));
    rig.drain(ALICE);
    assert_eq!(holders(&rig), [bob]);
    // Who is out is not waited for.
    let carol = rig.devices[CAROL].engine.identity().person().expect("she is somebody");
    rig.act(ALICE, circle, Action::revoke_person(carol));
    assert_eq!(state(&rig, ALICE, circle, message), delivered(1, true));
}
