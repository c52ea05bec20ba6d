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
    entropy: Entropy,
}

impl<'a> World<'a> {
    fn new(agreement: &'a dyn GroupKeyAgreement) -> Self {
        Self { agreement, entropy: Entropy::from_seed([42; 32]) }
    }

    fn peer(&mut self) -> Peer {
        let key = DeviceKey::generate(&mut self.entropy);
        let package = self.agreement.key_package(&key, false, &mut self.entropy);
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
        let created = self.agreement.create(&peers[0].key, b"circle", &mut self.entropy);
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
    test(World::new(&Mls));
    // test(World::new(&SealedSecret));
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
