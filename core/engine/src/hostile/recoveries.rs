//! Strangers who ask to be let in by a recovery, with and without the phrase.

use clave_crypto::{ContentKey, DeviceId, DeviceKey, Domain, Entropy, PersonKey, RecoveryKey, RecoveryPhrase, Suite};
use prost::Message as _;

use super::rig::*;
use crate::engine::recover::{RECOVERIES_MAX, RECOVERY_BYTES_MAX, RECOVERY_OPERATIONS_MAX};
use crate::entry::{Body, Envelope};
use crate::membership::{Action, DeviceEntry, KeyPackages, Operation, recovery_message};
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::{Channel, CircleId, Refusal};

/// Alice and Bob in a space; Carol is a device that the space does not know, connected to Alice. What makes Carol's device
/// Bob's: Bob's phrase.
struct Scene {
    rig: Rig,
    circle: CircleId,
    phrase: RecoveryPhrase,
}

impl Scene {
    fn new() -> Self {
        let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
        let phrase = rig.give_phrase(BOB);
        let circle = rig.create(ALICE);
        rig.invite(ALICE, circle, BOB);
        rig.connect(ALICE, CAROL);
        rig.post(BOB, circle, "Bob before");
        rig.settle();
        rig.disconnect(ALICE, BOB);
        Self { rig, circle, phrase }
    }

    fn packages(&mut self) -> KeyPackages {
        let pair = |last_resort, scene: &mut Self| {
            let device = DeviceKey::from_seed(scene.rig.devices[CAROL].key.seed().clone());
            let agreement = clave_crypto::Mls;
            clave_crypto::GroupKeyAgreement::key_package(
                &agreement,
                &device,
                Suite::default(),
                last_resort,
                &mut scene.rig.entropy,
            )
            .public
        };
        KeyPackages { single_use: vec![pair(false, self)], last_resort: Some(pair(true, self)), x_wing: None }
    }

    /// The recovery of Carol's device as one of `person`'s, by `key`.
    fn action(&mut self, person: &PersonKey, key: &RecoveryKey) -> Action {
        let packages = self.packages();
        let carol = &self.rig.devices[CAROL];
        let device = DeviceEntry::new(person, &carol.key, "tablet", packages);
        let recovery_signature = key.sign(Domain::Recovery, &recovery_message(self.circle, carol.id, person.id()));
        Action::RecoverDevice { device, recovery_signature }
    }

    fn good(&mut self) -> Action {
        let (person, key) = (self.phrase.person_key(), self.phrase.recovery_key());
        self.action(&person, &key)
    }

    fn sign(&self, by: usize, action: Action) -> Operation {
        let parents = self.rig.devices[ALICE].engine.circles[&self.circle].log.heads();
        Operation::sign(&self.rig.devices[by].key, parents, self.rig.now_ms, action)
    }

    fn seal(&mut self, by: usize, body: Body) -> Vec<u8> {
        let key = self.rig.head_key(BOB, self.circle);
        self.rig.seal_under(by, self.circle, &key, body)
    }

    fn ask(&self, envelope: Vec<u8>, operations: Vec<Vec<u8>>) -> Vec<u8> {
        ask(self.circle, envelope, operations)
    }

    fn refuses(&mut self, why: Refusal, frame: &[u8]) {
        // Each try comes on a connection of its own.
        self.rig.disconnect(ALICE, CAROL);
        self.rig.connect(ALICE, CAROL);
        self.rig.settle();
        self.rig.refuses(ALICE, why, |rig| rig.frame(CAROL, ALICE, Channel::Join, frame));
        assert!(!self.is_in(self.rig.devices[CAROL].id));
    }

    fn is_in(&self, device: DeviceId) -> bool {
        self.rig.devices[ALICE].engine.membership(self.circle).expect("a member").devices.contains_key(&device)
    }
}

fn ask(circle: CircleId, envelope: Vec<u8>, operations: Vec<Vec<u8>>) -> Vec<u8> {
    let recovery = proto::Recovery { circle: circle.as_bytes().to_vec(), envelope, operations };
    let body = Some(FrameBody::Recovery(recovery));
    proto::JoinFrame { invitation: vec![0; 16], attempt: 0, body }.encode_to_vec()
}

#[test]
fn whoever_has_the_phrase_and_a_key_is_let_in_by_whoever_it_meets() {
    let mut scene = Scene::new();
    let action = scene.good();
    let operation = scene.sign(CAROL, action).encode();
    let envelope = scene.seal(CAROL, Body::Operation(operation));
    let frame = scene.ask(envelope, Vec::new());
    let carol = scene.rig.devices[CAROL].id;
    scene.rig.frame(CAROL, ALICE, Channel::Join, &frame);
    assert!(scene.is_in(carol));
    scene.rig.settle();
    assert!(scene.rig.devices[ALICE].engine.circles[&scene.circle].status().leaves == 3, "it has a leaf");
    // Once more changes nothing.
    let store = scene.rig.store(ALICE).len();
    scene.rig.frame(CAROL, ALICE, Channel::Join, &frame);
    scene.rig.settle();
    assert_eq!(scene.rig.store(ALICE).len(), store);
}

/// The thief has the phone: its store, the person's key, every content key. What it lacks is the phrase.
#[test]
fn a_recovery_without_the_phrase_is_refused() {
    let mut scene = Scene::new();
    let person = scene.phrase.person_key();
    let other = RecoveryPhrase::generate(&mut Entropy::from_seed([9; 32]));
    for (person, key) in [(&person, other.recovery_key()), (&other.person_key(), other.recovery_key())] {
        let action = scene.action(person, &key);
        let operation = scene.sign(CAROL, action).encode();
        let envelope = scene.seal(CAROL, Body::Operation(operation));
        let frame = scene.ask(envelope, Vec::new());
        scene.refuses(Refusal::NotAllowed, &frame);
    }
    // One of another circle of that person's.
    let Action::RecoverDevice { device, .. } = scene.good() else { unreachable!("it was made as one") };
    let elsewhere = recovery_message(CircleId::from_bytes([7; 32]), device.device(), person.id());
    let recovery_signature = scene.phrase.recovery_key().sign(Domain::Recovery, &elsewhere);
    let operation = scene.sign(CAROL, Action::RecoverDevice { device, recovery_signature }).encode();
    let envelope = scene.seal(CAROL, Body::Operation(operation));
    let frame = scene.ask(envelope, Vec::new());
    scene.refuses(Refusal::NotAllowed, &frame);
}

#[test]
fn a_recovery_by_another_than_the_device_that_asks_is_refused() {
    let mut scene = Scene::new();
    let action = scene.good();
    // Brought by Carol, and signed by somebody who is in.
    let signed_by_bob = scene.sign(BOB, action).encode();
    let by_bob = scene.seal(CAROL, Body::Operation(signed_by_bob));
    let frame = scene.ask(by_bob, Vec::new());
    scene.refuses(Refusal::NotAllowed, &frame);
}

#[test]
fn nothing_but_a_recovery_is_heard_from_a_stranger() {
    let mut scene = Scene::new();
    let bob = scene.phrase.person_key().id();
    let rename = scene.sign(CAROL, Action::SetProfile { person: bob, name: "Mallory".to_owned() }).encode();
    let rename = scene.seal(CAROL, Body::Operation(rename));
    let keys = scene.seal(CAROL, Body::Keys(crate::proto::entry::KeyBundle::default()));
    for envelope in [rename, keys] {
        let frame = scene.ask(envelope, Vec::new());
        scene.refuses(Refusal::NotAllowed, &frame);
    }
    let garbage = scene.seal(CAROL, Body::Operation(vec![1; 9]));
    let frame = scene.ask(garbage, Vec::new());
    scene.refuses(Refusal::Malformed, &frame);
    let frame = scene.ask(vec![1; 9], Vec::new());
    scene.refuses(Refusal::Malformed, &frame);
}

#[test]
fn a_recovery_under_a_key_that_is_not_the_circles_is_refused() {
    let mut scene = Scene::new();
    let action = scene.good();
    let operation = scene.sign(CAROL, action).encode();
    let own = ContentKey::from_bytes([9; 32].into());
    let (circle, now_ms) = (scene.circle, scene.rig.now_ms);
    let body = Body::Operation(operation);
    let key = &scene.rig.devices[CAROL].key;
    let strange = Envelope::seal(circle, key, &own, body, now_ms, &mut scene.rig.entropy).expect("it is small").bytes;
    let frame = scene.ask(strange, Vec::new());
    scene.refuses(Refusal::BadSeal, &frame);
}

#[test]
fn a_recovery_for_a_circle_that_is_not_here_or_out_of_bounds_is_refused() {
    let mut scene = Scene::new();
    let action = scene.good();
    let operation = scene.sign(CAROL, action).encode();
    let envelope = scene.seal(CAROL, Body::Operation(operation));
    scene.refuses(Refusal::NotAMember, &ask(CircleId::from_bytes([7; 32]), envelope.clone(), Vec::new()));
    let frame = scene.ask(vec![0; RECOVERY_BYTES_MAX + 1], Vec::new());
    scene.refuses(Refusal::Oversized, &frame);
    let frame = scene.ask(envelope.clone(), vec![Vec::new(); RECOVERY_OPERATIONS_MAX + 1]);
    scene.refuses(Refusal::Oversized, &frame);
    let frame = scene.ask(envelope, vec![vec![1; 9]]);
    scene.refuses(Refusal::Malformed, &frame);
}

#[test]
fn a_stranger_asks_a_few_times_on_a_connection_and_no_more() {
    let mut scene = Scene::new();
    let frame = scene.ask(vec![1; 9], Vec::new());
    for _ in 0..RECOVERIES_MAX {
        scene.rig.refuses(ALICE, Refusal::Malformed, |rig| rig.frame(CAROL, ALICE, Channel::Join, &frame));
    }
    scene.rig.refuses(ALICE, Refusal::TooManyHeld, |rig| rig.frame(CAROL, ALICE, Channel::Join, &frame));
}

/// It is told so: it has a key from when its person was in, and may not know.
#[test]
fn a_recovery_of_somebody_who_was_removed_is_refused_and_answered_by_a_farewell() {
    let mut scene = Scene::new();
    let person = scene.phrase.person_key().id();
    let action = scene.good();
    let operation = scene.sign(CAROL, action).encode();
    let envelope = scene.seal(CAROL, Body::Operation(operation));
    scene.rig.act(ALICE, scene.circle, Action::revoke_person(person));
    scene.rig.settle();
    let (before, frame) = (scene.rig.store(ALICE), scene.ask(envelope, Vec::new()));
    scene.rig.frame(CAROL, ALICE, Channel::Join, &frame);
    let answers = scene.rig.drain(ALICE);
    assert_eq!(answers.len(), 1);
    let answer = proto::JoinFrame::decode(answers[0].frame.as_slice()).expect("a frame");
    let Some(FrameBody::Farewell(farewell)) = answer.body else { panic!("no farewell") };
    let told = farewell.operations.iter().map(|bytes| Operation::decode(bytes).expect("an operation"));
    assert!(
        told.into_iter().any(|told| matches!(told.action(), Action::RevokePerson { person: of, .. } if *of == person))
    );
    assert!(scene.rig.store(ALICE) == before, "something was written");
    assert_eq!(scene.rig.refusals(ALICE)[&Refusal::NotAllowed], 1);
    let carol = scene.rig.devices[CAROL].id;
    assert!(!scene.is_in(carol));
}
