//! Letters in the mailbox of an invitation that no honest device writes.

use clave_crypto::{DeviceKey, Domain, Letter, NoisePublicKey, open_letter};
use prost::Message as _;

use super::joins::packages;
use super::rig::*;
use crate::engine::letters::{
    ANSWER_LETTER_BYTES_MAX, LETTERBOXES_FOLLOWED_MAX, REQUESTS_ANSWERED_MAX, answer_context, request_context,
};
use crate::engine::pieces::REQUEST_BYTES_MAX;
use crate::membership::{DeviceEntry, PersonEntry, RelayAddress};
use crate::proto::invitation as proto;
use crate::proto::invitation::answer::Body as Answer;
use crate::{CircleId, Event, InviteLink, JoinError, Key, Keyspace, Refusal};

const HOUR_MS: u64 = 3_600_000;

fn relay() -> RelayAddress {
    RelayAddress::of("/ip4/192.0.2.1/tcp/4400", &clave_crypto::DeviceId::from_bytes([99; 32])).expect("an address")
}

/// Alice with a space whose relay nobody reaches, and her invitation.
fn invited() -> (Rig, CircleId, InviteLink) {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_policy(circle, "relay.1", relay().as_str(), now_ms).expect("an owner may");
    let link = rig.devices[ALICE].engine.invite(circle, HOUR_MS, now_ms).expect("an owner may");
    rig.settle();
    (rig, circle, link)
}

/// How a person called Bob would introduce that device.
fn newcomer(rig: &mut Rig, who: usize) -> PersonEntry {
    let person = clave_crypto::PersonKey::generate(&mut rig.entropy);
    let device = &rig.devices[who].key;
    let packages = packages(device, &mut rig.entropy);
    let devices = vec![DeviceEntry::new(&person, device, "phone", packages)];
    PersonEntry { person: person.id(), name: "Bob".to_owned(), devices, invitation: None, recovery: None }
}

/// A request as Bob's device makes it, about whichever device; gives its name and it.
fn request(
    rig: &mut Rig,
    link: &InviteLink,
    entry: &PersonEntry,
    sign: impl Fn(&[u8; 32]) -> [u8; 32],
) -> ([u8; 32], Vec<u8>) {
    let (key, context) = (&rig.devices[BOB].key, request_context(link.invitation, link.circle, link.inviter));
    let noise = link.noise.expect("it has relays");
    let letter = Letter::begin(key, &noise, &link.secret, &context, &mut rig.entropy).expect("a good key");
    let hash = *letter.handshake_hash();
    let signature = key.sign(Domain::InvitationHandshake, &sign(&hash)).as_bytes().to_vec();
    let request = proto::Request { newcomer: entry.encode(), signature };
    (hash, letter.seal(&request.encode_to_vec()).expect("it was just begun"))
}

fn honest_request(rig: &mut Rig, link: &InviteLink) -> ([u8; 32], Vec<u8>) {
    let entry = newcomer(rig, BOB);
    request(rig, link, &entry, |hash| *hash)
}

/// Has a relay deliver letters to somebody.
fn deliver(rig: &mut Rig, who: usize, link: &InviteLink, letters: &[Vec<u8>]) {
    let engine = &mut rig.devices[who].engine;
    engine.take_letters(link.invitation, letters);
    engine.finish();
    rig.drain(who);
}

/// What Alice keeps in mailboxes of invitations.
fn kept(rig: &Rig, who: usize) -> Vec<Vec<u8>> {
    rig.store(who).into_iter().filter(|(key, _)| key.keyspace == Keyspace::Letters).map(|(_, letter)| letter).collect()
}

fn refused(rig: &Rig, who: usize, refusal: Refusal) -> u64 {
    rig.devices[who].engine.refusals().get(&refusal).copied().unwrap_or(0)
}

/// What Alice answered to a request of Bob's device.
fn answer(rig: &Rig, link: &InviteLink, hash: &[u8; 32]) -> Option<Answer> {
    let context = answer_context(link.invitation, link.circle, link.inviter, hash);
    let open = |letter: Vec<u8>| open_letter(&rig.devices[BOB].key, &link.secret, &context, &letter).ok();
    let opened = kept(rig, ALICE).into_iter().find_map(open)?;
    assert_eq!(Some(opened.sender), link.noise);
    let piece = proto::Piece::decode(opened.message.as_slice()).expect("it is honest");
    assert_eq!((piece.index, piece.total_bytes), (0, piece.bytes.len() as u64), "it is short");
    proto::Answer::decode(piece.bytes.as_slice()).expect("it is honest").body
}

#[test]
fn a_request_that_is_in_order_is_accepted() {
    let (mut rig, circle, link) = invited();
    let (hash, letter) = honest_request(&mut rig, &link);
    deliver(&mut rig, ALICE, &link, &[letter]);
    assert!(matches!(answer(&rig, &link, &hash), Some(Answer::Accepted(_))));
    assert_eq!(rig.devices[ALICE].engine.membership(circle).expect("a member").people.len(), 2);
}

#[test]
fn a_request_that_comes_again_is_answered_once() {
    let (mut rig, _, link) = invited();
    let (_, letter) = honest_request(&mut rig, &link);
    deliver(&mut rig, ALICE, &link, &[letter.clone(), letter.clone()]);
    let before = rig.store(ALICE);
    deliver(&mut rig, ALICE, &link, &[letter]);
    assert!(rig.store(ALICE) == before, "something was written");
}

#[test]
fn a_request_for_another_device_is_not_answered() {
    let (mut rig, _, link) = invited();
    let entry = newcomer(&mut rig, CAROL);
    let (_, letter) = request(&mut rig, &link, &entry, |hash| *hash);
    let before = rig.store(ALICE);
    deliver(&mut rig, ALICE, &link, &[letter]);
    assert!(rig.store(ALICE) == before, "something was written");
    assert_eq!(refused(&rig, ALICE, Refusal::BadSignature), 1);
}

#[test]
fn a_request_signed_for_another_letter_is_refused() {
    let (mut rig, circle, link) = invited();
    let entry = newcomer(&mut rig, BOB);
    let (hash, letter) = request(&mut rig, &link, &entry, |_| [7; 32]);
    deliver(&mut rig, ALICE, &link, &[letter]);
    assert_eq!(answer(&rig, &link, &hash), Some(Answer::Refused(JoinError::Protocol as u32)));
    assert_eq!(rig.devices[ALICE].engine.membership(circle).expect("a member").people.len(), 1);
}

#[test]
fn what_is_no_letter_to_her_changes_nothing() {
    let (mut rig, _, link) = invited();
    let (_, sound) = honest_request(&mut rig, &link);
    let other = InviteLink { secret: zeroize::Zeroizing::new([8; 32]), ..link.clone() };
    let (_, other) = honest_request(&mut rig, &other);
    let elsewhere = InviteLink { circle: CircleId::from_bytes([8; 32]), ..link.clone() };
    let (_, elsewhere) = honest_request(&mut rig, &elsewhere);
    let mut letters = vec![Vec::new(), vec![7; 200], other, elsewhere, sound[..sound.len() - 1].to_vec()];
    letters.extend((0..sound.len()).step_by(37).map(|at| {
        let mut altered = sound.clone();
        altered[at] ^= 1;
        altered
    }));
    let before = rig.store(ALICE);
    deliver(&mut rig, ALICE, &link, &letters);
    assert!(rig.store(ALICE) == before, "something was written");
}

#[test]
fn a_letter_of_garbage_is_refused() {
    let (mut rig, _, link) = invited();
    let context = request_context(link.invitation, link.circle, link.inviter);
    let key = &rig.devices[BOB].key;
    let letter = Letter::begin(key, &link.noise.expect("it has"), &link.secret, &context, &mut rig.entropy);
    let letter = letter.and_then(|letter| letter.seal(&[0xff; 100])).expect("a good key");
    deliver(&mut rig, ALICE, &link, &[letter]);
    assert_eq!((refused(&rig, ALICE, Refusal::Malformed), kept(&rig, ALICE).len()), (1, 0));
}

#[test]
fn a_letter_that_is_too_long_is_not_looked_at() {
    let (mut rig, circle, link) = invited();
    deliver(&mut rig, ALICE, &link, &[vec![7; REQUEST_BYTES_MAX as usize + 1]]);
    assert_eq!(refused(&rig, ALICE, Refusal::Oversized), 1);
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.join(link.clone(), now_ms).expect("he is not in");
    rig.drain(BOB);
    deliver(&mut rig, BOB, &link, &[vec![7; ANSWER_LETTER_BYTES_MAX + 1]]);
    assert_eq!(refused(&rig, BOB, Refusal::Oversized), 1);
    assert!(!rig.devices[BOB].engine.circles().any(|id| id == circle));
}

#[test]
fn so_many_requests_are_answered_and_no_more() {
    let (mut rig, circle, link) = invited();
    let entry = newcomer(&mut rig, BOB);
    for _ in 0..REQUESTS_ANSWERED_MAX + 3 {
        let (_, letter) = request(&mut rig, &link, &entry, |_| [7; 32]);
        deliver(&mut rig, ALICE, &link, &[letter]);
    }
    assert_eq!(kept(&rig, ALICE).len(), REQUESTS_ANSWERED_MAX);
    assert_eq!(refused(&rig, ALICE, Refusal::TooManyHeld), 3);
    assert_eq!(rig.devices[ALICE].engine.membership(circle).expect("a member").people.len(), 1);
}

#[test]
fn so_many_mailboxes_of_invitations_are_followed() {
    let (mut rig, circle, link) = invited();
    let now_ms = rig.now_ms;
    for hours in 2..LETTERBOXES_FOLLOWED_MAX as u64 + 10 {
        rig.devices[ALICE].engine.invite(circle, hours * HOUR_MS, now_ms).expect("an owner may");
    }
    let followed = rig.devices[ALICE].engine.letterboxes_at(&relay().relay());
    assert_eq!(followed.len(), LETTERBOXES_FOLLOWED_MAX);
    assert!(followed.iter().all(|mailbox| mailbox.invitation != Some(link.invitation)), "it ends first");
}

/// Bob has asked; gives the name of his request.
fn asked(rig: &mut Rig, link: &InviteLink) -> [u8; 32] {
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.join(link.clone(), now_ms).expect("he is not in");
    rig.drain(BOB);
    let letters = rig.store(BOB).into_keys().filter(|key| key.keyspace == Keyspace::Letters);
    let [key] = <[Key; 1]>::try_from(letters.collect::<Vec<_>>()).expect("one request");
    key.suffix[16..48].try_into().expect("it has its length")
}

/// An answer by that device to Bob.
fn forged(rig: &mut Rig, by: usize, link: &InviteLink, request: &[u8; 32], answer: Answer) -> Vec<u8> {
    let context = answer_context(link.invitation, link.circle, link.inviter, request);
    let to = rig.devices[BOB].key.noise_public();
    let bytes = proto::Answer { body: Some(answer) }.encode_to_vec();
    let piece = proto::Piece { index: 0, total_bytes: bytes.len() as u64, bytes };
    let letter = Letter::begin(&rig.devices[by].key, &to, &link.secret, &context, &mut rig.entropy);
    letter.and_then(|letter| letter.seal(&piece.encode_to_vec())).expect("a good key")
}

fn failures(rig: &Rig) -> Vec<JoinError> {
    let failed = |event: &Event| match event {
        Event::JoinFailed { error, .. } => Some(*error),
        _ => None,
    };
    rig.devices[BOB].events.iter().filter_map(failed).collect()
}

#[test]
fn an_answer_by_another_than_the_inviter_is_refused() {
    let (mut rig, _, link) = invited();
    let request = asked(&mut rig, &link);
    let letter = forged(&mut rig, CAROL, &link, &request, Answer::Refused(JoinError::Revoked as u32));
    deliver(&mut rig, BOB, &link, &[letter]);
    assert_eq!((refused(&rig, BOB, Refusal::BadSignature), failures(&rig)), (1, Vec::new()));
    assert_eq!(rig.devices[BOB].engine.pending_joins().len(), 1);
    // The same by Alice counts.
    let letter = forged(&mut rig, ALICE, &link, &request, Answer::Refused(JoinError::Revoked as u32));
    deliver(&mut rig, BOB, &link, &[letter]);
    assert_eq!(failures(&rig), [JoinError::Revoked]);
    assert!(rig.devices[BOB].engine.pending_joins().is_empty());
    let kept = rig.store(BOB);
    assert!(kept.keys().all(|key| !matches!(key.keyspace, Keyspace::Letters | Keyspace::Asks | Keyspace::KeyPackages)));
}

#[test]
fn an_answer_to_another_request_is_passed_over() {
    let (mut rig, _, link) = invited();
    let request = asked(&mut rig, &link);
    let letter = forged(&mut rig, ALICE, &link, &[7; 32], Answer::Refused(JoinError::Revoked as u32));
    deliver(&mut rig, BOB, &link, &[letter]);
    assert_eq!(failures(&rig), []);
    // One to a request that he gave up.
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.cancel_join(link.invitation, now_ms).expect("the disk works");
    let again = asked(&mut rig, &link);
    assert_ne!(request, again);
    let letter = forged(&mut rig, ALICE, &link, &request, Answer::Refused(JoinError::Revoked as u32));
    deliver(&mut rig, BOB, &link, &[letter]);
    assert_eq!(failures(&rig), []);
}

#[test]
fn an_acceptance_that_the_inviter_did_not_sign_leads_nowhere() {
    let (mut rig, circle, link) = invited();
    let request = asked(&mut rig, &link);
    // Made to an honest request, so that everything in it but the signature could be right.
    let (hash, letter) = honest_request(&mut rig, &link);
    deliver(&mut rig, ALICE, &link, &[letter]);
    let answer = answer(&rig, &link, &hash).expect("she answers");
    let letter = forged(&mut rig, ALICE, &link, &request, answer);
    deliver(&mut rig, BOB, &link, &[letter]);
    assert_eq!(failures(&rig), [JoinError::Protocol]);
    assert!(!rig.devices[BOB].engine.circles().any(|id| id == circle));
}

#[test]
fn a_link_with_a_key_to_which_nothing_can_be_sealed_is_tried_the_other_way() {
    let (mut rig, _, link) = invited();
    let link = InviteLink { noise: Some(NoisePublicKey::from_bytes([0; 32])), ..link };
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.join(link, now_ms).expect("he is not in");
    assert!(rig.devices[BOB].engine.pending_joins().is_empty());
}

#[test]
fn only_who_has_the_device_and_the_link_opens_an_answer() {
    let (mut rig, _, link) = invited();
    let (hash, letter) = honest_request(&mut rig, &link);
    deliver(&mut rig, ALICE, &link, &[letter]);
    let context = answer_context(link.invitation, link.circle, link.inviter, &hash);
    let opens = |key: &DeviceKey, secret: &[u8; 32]| {
        kept(&rig, ALICE).iter().any(|letter| open_letter(key, secret, &context, letter).is_ok())
    };
    assert!(opens(&rig.devices[BOB].key, &link.secret));
    assert!(!opens(&rig.devices[BOB].key, &[0; 32]) && !opens(&rig.devices[CAROL].key, &link.secret));
}
