//! What both implementations must do alike.

use super::*;
use crate::Mls;

/// A device with what it has published.
struct Peer {
    key: DeviceKey,
    package: KeyPackagePair,
}

impl Peer {
    fn id(&self) -> DeviceId {
        self.key.id()
    }
}

/// A world with one source of randomness.
struct World<'a> {
    agreement: &'a dyn GroupKeyAgreement,
    suite: Suite,
    entropy: Entropy,
}

impl<'a> World<'a> {
    fn new(agreement: &'a dyn GroupKeyAgreement, suite: Suite) -> Self {
        Self { agreement, suite, entropy: Entropy::from_seed([42; 32]) }
    }

    fn peer(&mut self) -> Peer {
        let key = DeviceKey::generate(&mut self.entropy);
        let package = self.agreement.key_package(&key, self.suite, false, &mut self.entropy);
        Peer { key, package }
    }

    fn peers<const N: usize>(&mut self) -> [Peer; N] {
        std::array::from_fn(|_| self.peer())
    }

    fn commit(&mut self, by: &Peer, parent: &Checkpoint, change: &RosterChange) -> CommitOutput {
        self.agreement.commit(&by.key, parent, change, &mut self.entropy).expect("a valid change")
    }

    fn process(&self, by: &Peer, parent: &Checkpoint, message: &[u8]) -> Processed {
        self.agreement.process(&by.key, parent, message).expect("a valid commit")
    }

    fn join(&self, by: &Peer, welcome: &[u8]) -> Joined {
        self.agreement.join(&by.key, welcome, &[&by.package.secret]).expect("a valid welcome")
    }

    /// A group of all peers, created by the first; their checkpoints in the same order.
    fn group(&mut self, peers: &[Peer]) -> Vec<Checkpoint> {
        let created = self.agreement.create(&peers[0].key, b"circle", self.suite, &mut self.entropy);
        let output = self.commit(&peers[0], &created, &add(&peers[1..]));
        let welcome = output.welcome.expect("somebody was added");
        let joined = peers[1..].iter().map(|peer| self.join(peer, &welcome).checkpoint).collect::<Vec<_>>();
        std::iter::once(output.checkpoint).chain(joined).collect()
    }

    fn secret(&self, checkpoint: &Checkpoint) -> Zeroizing<[u8; 32]> {
        self.agreement.export(checkpoint, Export::ContentKey, b"").expect("a member exports")
    }

    fn agree(&self, checkpoints: &[&Checkpoint]) {
        for pair in checkpoints.windows(2) {
            assert_eq!(pair[0].epoch, pair[1].epoch);
            assert_eq!(pair[0].depth, pair[1].depth);
            assert_eq!(pair[0].leaves, pair[1].leaves);
            assert_eq!(self.secret(pair[0]), self.secret(pair[1]));
        }
    }
}

fn add(peers: &[Peer]) -> RosterChange {
    RosterChange { add: peers.iter().map(|peer| peer.package.public.clone()).collect(), remove: Vec::new() }
}

fn remove(peers: &[&Peer]) -> RosterChange {
    RosterChange { add: Vec::new(), remove: peers.iter().map(|peer| peer.id()).collect() }
}

fn update() -> RosterChange {
    RosterChange::default()
}

fn sorted(peers: &[&Peer]) -> Vec<DeviceId> {
    let mut ids: Vec<_> = peers.iter().map(|peer| peer.id()).collect();
    ids.sort_unstable();
    ids
}

fn for_both(test: impl Fn(World<'_>)) {
    for suite in Suite::ALL {
        test(World::new(&Mls, suite));
    }
    test(World::new(&SealedSecret, Suite::X25519));
}

#[test]
fn devices_are_added_update_and_are_removed() {
    for_both(|mut world| {
        let peers: [Peer; 4] = world.peers();
        let [alice, bob, carol, dave] = &peers;
        let group = world.group(&peers[..3]);
        world.agree(&group.iter().collect::<Vec<_>>());
        assert_eq!(group[0].leaves, sorted(&[alice, bob, carol]));
        assert_eq!((group[0].depth, group[0].group.as_slice()), (1, b"circle".as_slice()));

        let updated = world.commit(bob, &group[1], &update());
        assert!(updated.welcome.is_none(), "nobody to welcome");
        let seen = world.process(alice, &group[0], &updated.message);
        assert_eq!((seen.committer, seen.added, seen.removed), (bob.id(), vec![], vec![]));
        world.agree(&[&updated.checkpoint, &seen.checkpoint]);
        assert_ne!(seen.checkpoint.epoch, group[0].epoch);
        assert_ne!(world.secret(&seen.checkpoint), world.secret(&group[0]));
        let carol_2 = world.process(carol, &group[2], &updated.message).checkpoint;

        let change = RosterChange { add: add(std::slice::from_ref(dave)).add, remove: vec![carol.id()] };
        let swapped = world.commit(alice, &seen.checkpoint, &change);
        let seen = world.process(bob, &updated.checkpoint, &swapped.message);
        assert_eq!((seen.committer, seen.added, seen.removed), (alice.id(), vec![dave.id()], vec![carol.id()]));
        let joined = world.join(dave, &swapped.welcome.expect("dave was added"));
        assert_eq!((joined.committer, joined.reference), (alice.id(), dave.package.reference));
        world.agree(&[&swapped.checkpoint, &seen.checkpoint, &joined.checkpoint]);
        assert_eq!(joined.checkpoint.leaves, sorted(&[alice, bob, dave]));
        assert_eq!(world.agreement.process(&carol.key, &carol_2, &swapped.message).err(), Some(CryptoError::Evicted));

        // The newcomer commits in turn.
        let last = world.commit(dave, &joined.checkpoint, &update());
        world.agree(&[&last.checkpoint, &world.process(bob, &seen.checkpoint, &last.message).checkpoint]);
    });
}

#[test]
fn rivals_may_be_followed_either_way() {
    for_both(|mut world| {
        let peers: [Peer; 4] = world.peers();
        let [alice, bob, carol, dave] = &peers;
        let group = world.group(&peers[..3]);
        let parents = group.iter().map(Checkpoint::to_bytes).collect::<Vec<_>>();

        // Both add dave by the same key package; bob removes carol besides.
        let ours = world.commit(alice, &group[0], &add(&peers[3..]));
        let change = RosterChange { remove: vec![carol.id()], ..add(&peers[3..]) };
        let rival = world.commit(bob, &group[1], &change);
        assert_ne!(ours.checkpoint.epoch, rival.checkpoint.epoch);
        assert_eq!(ours.checkpoint.depth, rival.checkpoint.depth);

        // Each follows the other's, from the epoch its own commit started from, and back again.
        let alice_turns = world.process(alice, &group[0], &rival.message).checkpoint;
        let bob_turns = world.process(bob, &group[1], &ours.message).checkpoint;
        let carol_ours = world.process(carol, &group[2], &ours.message).checkpoint;
        assert_eq!(world.agreement.process(&carol.key, &group[2], &rival.message).err(), Some(CryptoError::Evicted));
        let dave_ours = world.join(dave, ours.welcome.as_ref().expect("dave was added")).checkpoint;
        let dave_rival = world.join(dave, rival.welcome.as_ref().expect("dave was added")).checkpoint;
        world.agree(&[&ours.checkpoint, &bob_turns, &carol_ours, &dave_ours]);
        world.agree(&[&rival.checkpoint, &alice_turns, &dave_rival]);

        // Both branches grow, and neither can be confused with the other.
        let on_ours = world.commit(dave, &dave_ours, &update());
        let on_rival = world.commit(alice, &alice_turns, &update());
        for checkpoint in [&ours.checkpoint, &carol_ours] {
            assert!(world.agreement.process(&alice.key, checkpoint, &on_rival.message).is_err());
        }
        world.agree(&[&on_ours.checkpoint, &world.process(carol, &carol_ours, &on_ours.message).checkpoint]);
        world.agree(&[&on_rival.checkpoint, &world.process(dave, &dave_rival, &on_rival.message).checkpoint]);

        let after = group.iter().map(Checkpoint::to_bytes).collect::<Vec<_>>();
        assert_eq!(parents, after, "a checkpoint is the same after all that was done with it");
    });
}

#[test]
fn whoever_is_removed_has_no_part_in_what_follows() {
    for_both(|mut world| {
        let peers: [Peer; 3] = world.peers();
        let [alice, bob, carol] = &peers;
        let group = world.group(&peers);
        let removal = world.commit(alice, &group[0], &remove(&[carol]));
        assert!(!removal.checkpoint.contains(&carol.id()));
        let next = world.commit(alice, &removal.checkpoint, &update());
        let refused = |message: &[u8]| world.agreement.process(&carol.key, &group[2], message).err();
        assert_eq!(refused(&removal.message), Some(CryptoError::Evicted));
        assert!(is_misplaced(refused(&next.message)));
        // Nor does another's checkpoint help: it is for another device.
        let stranger = world.agreement.process(&carol.key, &removal.checkpoint, &next.message).err();
        assert_eq!(stranger, Some(CryptoError::NotAMember(carol.id())));
        assert_ne!(world.secret(&group[2]), world.secret(&removal.checkpoint));
        let bob_next = world.process(bob, &world.process(bob, &group[1], &removal.message).checkpoint, &next.message);
        world.agree(&[&next.checkpoint, &bob_next.checkpoint]);
    });
}

#[test]
fn a_device_that_lost_its_state_is_given_a_new_leaf() {
    for_both(|mut world| {
        let peers: [Peer; 3] = world.peers();
        let [alice, bob, carol] = &peers;
        let group = world.group(&peers);
        let again = world.agreement.key_package(&carol.key, world.suite, false, &mut world.entropy);
        let change = RosterChange { add: vec![again.public.clone()], remove: vec![carol.id()] };
        let output = world.commit(alice, &group[0], &change);
        let seen = world.process(bob, &group[1], &output.message);
        assert_eq!((seen.added, seen.removed), (vec![carol.id()], vec![carol.id()]));
        let welcome = output.welcome.expect("carol was added");
        let joined = world.agreement.join(&carol.key, &welcome, &[&again.secret]).expect("a welcome for carol");
        world.agree(&[&output.checkpoint, &seen.checkpoint, &joined.checkpoint]);
        assert_eq!(output.checkpoint.leaves, group[0].leaves);
    });
}

#[test]
fn a_device_lets_itself_in() {
    for_both(|mut world| {
        let peers: [Peer; 4] = world.peers();
        let [alice, bob, carol, dave] = &peers;
        let group = world.group(&peers[..3]);
        let info = world.agreement.group_info(&alice.key, &group[0]).expect("a member describes it");
        let entered = world.agreement.external_commit(&dave.key, &info, &mut world.entropy).expect("dave enters");
        assert!(entered.welcome.is_none());
        assert_eq!(entered.checkpoint.leaves, sorted(&[alice, bob, carol, dave]));
        let seen = world.process(bob, &group[1], &entered.message);
        assert_eq!((seen.committer, &seen.added, &seen.removed), (dave.id(), &vec![dave.id()], &vec![]));
        world.agree(&[&entered.checkpoint, &seen.checkpoint]);

        // Carol has lost everything, and comes back. Her old state is of no use any more.
        let info = world.agreement.group_info(&bob.key, &seen.checkpoint).expect("a member describes it");
        let back = world.agreement.external_commit(&carol.key, &info, &mut world.entropy).expect("carol is back");
        let dave_sees = world.process(dave, &entered.checkpoint, &back.message);
        let carols = vec![carol.id()];
        assert_eq!((&dave_sees.added, &dave_sees.removed), (&carols, &carols));
        world.agree(&[&back.checkpoint, &dave_sees.checkpoint]);
        assert_eq!(back.checkpoint.leaves, seen.checkpoint.leaves);
        let next = world.commit(carol, &back.checkpoint, &update());
        world.agree(&[&next.checkpoint, &world.process(dave, &dave_sees.checkpoint, &next.message).checkpoint]);

        let stranger = world.agreement.group_info(&dave.key, &group[0]).err();
        assert_eq!(stranger, Some(CryptoError::NotAMember(dave.id())));
        let garbage = world.agreement.external_commit(&dave.key, &next.message, &mut world.entropy).err();
        assert_eq!(garbage, Some(CryptoError::Malformed("group info")));
    });
}

#[test]
fn a_welcome_finds_its_key_package() {
    for_both(|mut world| {
        let [alice, bob, carol] = world.peers();
        let others: Vec<_> =
            (0..3).map(|n| world.agreement.key_package(&bob.key, world.suite, n == 0, &mut world.entropy)).collect();
        let created = world.agreement.create(&alice.key, b"circle", world.suite, &mut world.entropy);
        let peers = [bob, carol];
        let welcome = world.commit(&alice, &created, &add(&peers)).welcome.expect("two were added");
        let [bob, carol] = &peers;

        let mut secrets: Vec<&[u8]> = others.iter().map(|pair| pair.secret.as_slice()).collect();
        assert_eq!(world.agreement.join(&bob.key, &welcome, &secrets).err(), Some(CryptoError::NotForUs));
        assert_eq!(world.agreement.join(&bob.key, &welcome, &[]).err(), Some(CryptoError::NotForUs));
        secrets.insert(1, &bob.package.secret);
        let joined = world.agreement.join(&bob.key, &welcome, &secrets).expect("one of them is right");
        assert_eq!(joined.reference, bob.package.reference);
        let stolen = world.agreement.join(&carol.key, &welcome, &[&bob.package.secret]);
        assert!(stolen.is_err(), "another device's key package is of no use");
        let garbage = world.agreement.join(&bob.key, &welcome, &[b"no secret"]).err();
        assert_eq!(garbage, Some(CryptoError::Malformed("key package secret")));
    });
}

#[test]
fn a_key_package_says_whose_it_is() {
    for_both(|mut world| {
        let bob = world.peer();
        let info = world.agreement.inspect_key_package(&bob.package.public).expect("a valid key package");
        let expected = KeyPackageInfo {
            device: bob.id(),
            suite: world.suite,
            reference: bob.package.reference,
            last_resort: false,
        };
        assert_eq!(info, expected);
        let last = world.agreement.key_package(&bob.key, world.suite, true, &mut world.entropy);
        assert!(world.agreement.inspect_key_package(&last.public).expect("a valid key package").last_resort);
        assert_ne!(last.reference, bob.package.reference);

        // One marked as last resort serves twice.
        let alice = world.peer();
        for group in [b"one", b"two"] {
            let created = world.agreement.create(&alice.key, group, world.suite, &mut world.entropy);
            let change = RosterChange { add: vec![last.public.clone()], remove: vec![] };
            let welcome = world.commit(&alice, &created, &change).welcome.expect("bob was added");
            let joined = world.agreement.join(&bob.key, &welcome, &[&last.secret]).expect("a welcome for bob");
            assert_eq!((joined.checkpoint.group.as_slice(), joined.reference), (group.as_slice(), last.reference));
        }
    });
}

/// An MLS commit does not say where it starts from: it just does not fit anywhere else.
fn is_misplaced(error: Option<CryptoError>) -> bool {
    matches!(error, Some(CryptoError::WrongParent | CryptoError::Refused("commit")))
}

#[test]
fn what_does_not_fit_is_refused() {
    for_both(|mut world| {
        let peers: [Peer; 4] = world.peers();
        let [alice, bob, carol, dave] = &peers;
        let group = world.group(&peers[..3]);
        let other = world.group(&peers[..3]);
        let agreement = world.agreement;
        let commit = world.commit(alice, &group[0], &add(&peers[3..]));
        let next = world.process(bob, &group[1], &commit.message).checkpoint;

        let process = |checkpoint: &Checkpoint, message: &[u8]| agreement.process(&bob.key, checkpoint, message).err();
        assert!(is_misplaced(process(&next, &commit.message)), "replayed");
        assert!(process(&other[1], &commit.message).is_some(), "another group, of the same name and depth");
        let own = agreement.process(&alice.key, &group[0], &commit.message).err();
        assert_eq!(own, Some(CryptoError::Refused("commit")), "one's own");
        for bytes in [&commit.welcome.clone().expect("dave was added"), &dave.package.public, &vec![]] {
            assert_eq!(process(&group[1], bytes), Some(CryptoError::Malformed("commit")), "not a commit");
        }
        let secrets: [&[u8]; 1] = [&dave.package.secret];
        let join = agreement.join(&dave.key, &commit.message, &secrets).err();
        assert_eq!(join, Some(CryptoError::Malformed("welcome")), "not a welcome");

        let mut attempt = |change: RosterChange| {
            agreement.commit(&alice.key, &group[0], &change, &mut world.entropy).err().expect("an impossible change")
        };
        let impossible = CryptoError::Refused("roster change");
        assert_eq!(attempt(remove(&[dave])), CryptoError::NotAMember(dave.id()), "not there");
        assert_eq!(attempt(remove(&[alice])), impossible, "oneself");
        assert_eq!(attempt(remove(&[bob, bob])), impossible, "twice removed");
        assert_eq!(attempt(add(&peers[1..2])), impossible, "there already");
        let twice = RosterChange { add: vec![dave.package.public.clone(); 2], remove: vec![] };
        assert_eq!(attempt(twice), impossible, "twice added");
        let stranger = agreement.commit(&dave.key, &group[0], &update(), &mut world.entropy).err();
        assert_eq!(stranger, Some(CryptoError::NotAMember(dave.id())), "another's checkpoint");
        assert!(agreement.commit(&carol.key, &group[2], &update(), &mut world.entropy).is_ok());
    });
}

#[test]
fn the_same_name_and_depth_are_not_the_same_group() {
    for_both(|mut world| {
        let [alice] = world.peers();
        let one = world.agreement.create(&alice.key, b"circle", world.suite, &mut world.entropy);
        let two = world.agreement.create(&alice.key, b"circle", world.suite, &mut world.entropy);
        assert_ne!(one.epoch, two.epoch);
        let elsewhere = world.agreement.create(&alice.key, b"elsewhere", world.suite, &mut world.entropy);
        let commit = world.commit(&alice, &elsewhere, &update());
        let refused = world.agreement.process(&alice.key, &one, &commit.message).err();
        assert!(is_misplaced(refused));
    });
}

#[test]
fn exports_are_for_one_purpose() {
    for_both(|mut world| {
        let [alice] = world.peers();
        let checkpoint = world.agreement.create(&alice.key, b"circle", world.suite, &mut world.entropy);
        let mut seen = BTreeSet::new();
        for what in [Export::ContentKey, Export::CommitKey] {
            for context in [b"".as_slice(), b"context"] {
                seen.insert(*world.agreement.export(&checkpoint, what, context).expect("a member exports"));
            }
        }
        assert_eq!(seen.len(), 4);
    });
}

/// All bytes that come out of a little history, for a seed.
fn transcript(agreement: &dyn GroupKeyAgreement, seed: u8) -> Vec<Vec<u8>> {
    let mut world = World { agreement, suite: Suite::X25519, entropy: Entropy::from_seed([seed; 32]) };
    let peers: [Peer; 12] = world.peers();
    let mut out: Vec<Vec<u8>> = Vec::new();
    for peer in &peers {
        out.extend([peer.package.public.clone(), peer.package.secret.to_vec()]);
    }
    let group = world.group(&peers[..10]);
    let change = RosterChange { remove: peers[3..6].iter().map(Peer::id).collect(), ..add(&peers[10..]) };
    let commit = world.commit(&peers[0], &group[0], &change);
    let seen = world.process(&peers[1], &group[1], &commit.message).checkpoint;
    let joined = world.join(&peers[11], commit.welcome.as_ref().expect("two were added")).checkpoint;
    let last = world.commit(&peers[11], &joined, &update());
    for checkpoint in group.iter().chain([&commit.checkpoint, &seen, &joined, &last.checkpoint]) {
        out.push(checkpoint.to_bytes().to_vec());
    }
    let info = agreement.group_info(&peers[11].key, &last.checkpoint).expect("a member describes it");
    let entered = agreement.external_commit(&peers[3].key, &info, &mut world.entropy).expect("comes back");
    out.extend([info, entered.message, entered.checkpoint.to_bytes().to_vec()]);
    out.extend([commit.message, commit.welcome.expect("two were added"), last.message]);
    out
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for agreement in [&Mls as &dyn GroupKeyAgreement, &SealedSecret] {
        let first = transcript(agreement, 1);
        for _ in 0..3 {
            assert!(first == transcript(agreement, 1), "the same seed, the same bytes");
        }
        let other = transcript(agreement, 2);
        assert!(first.iter().zip(&other).all(|(a, b)| a != b), "another seed, other bytes everywhere");
    }
}

#[test]
fn a_checkpoint_survives_being_stored() {
    for_both(|mut world| {
        let peers: [Peer; 5] = world.peers();
        let group = world.group(&peers);
        let stored = Checkpoint::from_bytes(&group[2].to_bytes()).expect("it was written so");
        world.agree(&[&stored, &group[2], &group[0]]);
        assert_eq!(stored.to_bytes(), group[2].to_bytes());
        let commit = world.commit(&peers[2], &stored, &update());
        world.agree(&[&commit.checkpoint, &world.process(&peers[0], &group[0], &commit.message).checkpoint]);
    });
    // A checkpoint of one implementation means nothing to the other.
    let mut entropy = Entropy::from_seed([1; 32]);
    let device = DeviceKey::generate(&mut entropy);
    let checkpoint = Mls.create(&device, b"circle", Suite::X25519, &mut entropy);
    let error = SealedSecret.export(&checkpoint, Export::ContentKey, b"").err();
    assert_eq!(error, Some(CryptoError::Malformed("checkpoint")));
}

/// A checkpoint of bob's, as he might have stored it long ago.
fn bobs_checkpoint(world: &mut World<'_>) -> (Peer, Checkpoint) {
    let peers = [1, 2, 3].map(|seed| {
        let key = DeviceKey::from_seed(Zeroizing::new([seed; 32]));
        let package = world.agreement.key_package(&key, world.suite, false, &mut world.entropy);
        Peer { key, package }
    });
    let checkpoint = world.group(&peers).swap_remove(1);
    let [_, bob, _] = peers;
    (bob, checkpoint)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn what_was_stored_long_ago_is_still_good() {
    for (agreement, name) in [(&Mls as &dyn GroupKeyAgreement, "mls"), (&SealedSecret, "sealed-secret")] {
        let mut world = World::new(agreement, Suite::X25519);
        let (bob, checkpoint) = bobs_checkpoint(&mut world);
        let path = format!("{}/tests/fixtures/checkpoint-{name}-1", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("CLAVE_BLESS").is_some() {
            // Only for a new format, with a new number.
            std::fs::write(format!("{path}.bin"), &*checkpoint.to_bytes()).expect("writable");
            std::fs::write(format!("{path}.key"), *world.secret(&checkpoint)).expect("writable");
        }
        let bytes = std::fs::read(format!("{path}.bin")).expect("a fixture");
        let stored = Checkpoint::from_bytes(&bytes).expect("readable");
        assert_eq!(*stored.to_bytes(), bytes);
        assert_eq!(world.secret(&stored).as_slice(), std::fs::read(format!("{path}.key")).expect("a fixture"));
        assert_eq!((stored.depth, &stored.leaves), (checkpoint.depth, &checkpoint.leaves));
        assert!(world.commit(&bob, &stored, &update()).checkpoint.contains(&bob.id()));
        // All fields have a size of their own, whatever was drawn for them.
        assert_eq!(checkpoint.to_bytes().len(), bytes.len(), "{name}: what is written has changed");
    }
}

#[test]
fn a_checkpoint_begins_with_what_names_it() {
    let checkpoint = Checkpoint {
        epoch: EpochId::from_bytes([1; 32]),
        depth: 2,
        group: vec![3, 3],
        leaves: vec![DeviceId::from_bytes([4; 32]), DeviceId::from_bytes([5; 32])],
        scheme: Scheme::Mls,
        state: Zeroizing::new(vec![6; 3]),
        content_key: None,
    };
    let expected = [
        &[1, 1][..],
        &[1; 32],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 2, 3, 3],
        &[0, 0, 0, 2],
        &[4; 32],
        &[5; 32],
        &[0, 0, 0, 3, 6, 6, 6],
    ]
    .concat();
    assert_eq!(*checkpoint.to_bytes(), expected);
    for (at, byte) in [(0, 2), (1, 3), (50, 9)] {
        let mut other = expected.clone();
        other[at] = byte;
        assert!(Checkpoint::from_bytes(&other).is_err(), "an unknown version or scheme, or leaves out of order");
    }
    assert_eq!(format!("{:?}", checkpoint.epoch), "EpochId(aeaqcaibae)");
}

mod hostile {
    //! Bytes that nobody honest sends.

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// What is done to bytes.
    #[derive(Clone, Debug)]
    enum Damage {
        Flip(Index, u8),
        Cut(Index),
        Append(Vec<u8>),
        Splice(Index, Index, Vec<u8>),
    }

    impl Damage {
        fn apply(&self, bytes: &[u8]) -> Vec<u8> {
            let mut out = bytes.to_vec();
            match self {
                Self::Flip(at, bit) => out[at.index(bytes.len())] ^= 1 << bit,
                Self::Cut(at) => out.truncate(at.index(bytes.len())),
                Self::Append(tail) => out.extend_from_slice(tail),
                Self::Splice(from, to, middle) => {
                    let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                    out.splice(from.min(to)..from.max(to), middle.iter().copied());
                }
            }
            out
        }
    }

    fn damage() -> impl Strategy<Value = Damage> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..40);
        prop_oneof![
            4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
            1 => any::<Index>().prop_map(Damage::Cut),
            1 => bytes().prop_map(Damage::Append),
            2 => (any::<Index>(), any::<Index>(), bytes()).prop_map(|(a, b, m)| Damage::Splice(a, b, m)),
        ]
    }

    /// A commit that adds carol, a description of the epoch before, and who is there to receive it.
    struct Scene {
        agreement: &'static dyn GroupKeyAgreement,
        peers: [Peer; 3],
        group: Vec<Checkpoint>,
        commit: CommitOutput,
        info: Vec<u8>,
    }

    fn scene(agreement: &'static dyn GroupKeyAgreement) -> Scene {
        let mut world = World::new(agreement, Suite::X25519);
        let peers: [Peer; 3] = world.peers();
        let group = world.group(&peers[..2]);
        let commit = world.commit(&peers[0], &group[0], &add(&peers[2..]));
        let info = agreement.group_info(&peers[0].key, &group[0]).expect("a member describes it");
        Scene { agreement, peers, group, commit, info }
    }

    fn scenes() -> impl Iterator<Item = &'static Scene> {
        struct Shared([Scene; 2]);
        // Scenes hold `dyn` references to unit structs, which are shared freely.
        thread_local!(static SCENES: &'static Shared = Box::leak(Box::new(Shared([scene(&Mls), scene(&SealedSecret)]))));
        SCENES.with(|shared| shared.0.iter())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_damaged_commit_is_refused(damage in damage()) {
            for scene in scenes() {
                let message = damage.apply(&scene.commit.message);
                prop_assume!(message != scene.commit.message);
                let processed = scene.agreement.process(&scene.peers[1].key, &scene.group[1], &message);
                prop_assert!(processed.is_err());
            }
        }

        #[test]
        fn a_damaged_welcome_is_refused(damage in damage()) {
            for scene in scenes() {
                let welcome = scene.commit.welcome.as_ref().expect("carol was added");
                let damaged = damage.apply(welcome);
                prop_assume!(&damaged != welcome);
                let carol = &scene.peers[2];
                prop_assert!(scene.agreement.join(&carol.key, &damaged, &[&carol.package.secret]).is_err());
            }
        }

        #[test]
        fn a_damaged_key_package_is_refused(damage in damage()) {
            for scene in scenes() {
                let package = &scene.peers[2].package.public;
                let damaged = damage.apply(package);
                prop_assume!(&damaged != package);
                prop_assert!(scene.agreement.inspect_key_package(&damaged).is_err());
            }
        }

        #[test]
        fn a_damaged_group_info_is_refused(damage in damage()) {
            for scene in scenes() {
                let damaged = damage.apply(&scene.info);
                prop_assume!(damaged != scene.info);
                let mut entropy = Entropy::from_seed([3; 32]);
                prop_assert!(scene.agreement.external_commit(&scene.peers[2].key, &damaged, &mut entropy).is_err());
            }
        }

        /// A vault authenticates checkpoints, so what a damaged one means does not matter; it must not panic.
        #[test]
        fn a_damaged_checkpoint_harms_nobody(damage in damage()) {
            for scene in scenes() {
                let bytes = damage.apply(&scene.group[1].to_bytes());
                if let Ok(checkpoint) = Checkpoint::from_bytes(&bytes) {
                    let _ = scene.agreement.export(&checkpoint, Export::ContentKey, b"");
                    let _ = scene.agreement.process(&scene.peers[1].key, &checkpoint, &scene.commit.message);
                }
            }
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            for scene in scenes() {
                let carol = &scene.peers[2];
                prop_assert!(scene.agreement.process(&scene.peers[1].key, &scene.group[1], &noise).is_err());
                prop_assert!(scene.agreement.join(&carol.key, &noise, &[&carol.package.secret]).is_err());
                prop_assert!(scene.agreement.inspect_key_package(&noise).is_err());
                prop_assert!(Checkpoint::from_bytes(&noise).is_err());
            }
        }
    }
}
