//! What a group costs: sizes in bytes and times in milliseconds, for a number of devices.
//!
//! `cargo run --release -p clave-crypto --example group_costs -- 10 100 1000`; with `--x-wing`, of the post-quantum suite.
#![allow(clippy::print_stdout)]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::collections::BTreeSet;
use std::time::Instant;

use clave_crypto::{
    BlobId, Checkpoint, DeviceKey, Entropy, Export, GroupKeyAgreement, KeyPackagePair, Mls, RosterChange, SealedSecret,
    Suite,
};

/// The largest group of which all is measured. Of a larger one, only what it takes on disk.
const FOLLOWED_BY_ALL_MAX: usize = 200;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let x_wing = std::env::args().any(|argument| argument == "--x-wing");
    let suite = if x_wing { Suite::XWing } else { Suite::X25519 };
    for devices in if sizes.is_empty() { vec![10, 100] } else { sizes } {
        on_disk(devices, suite);
        // Here every device follows every commit: quadratic.
        if devices <= FOLLOWED_BY_ALL_MAX {
            measure("mls", &Mls, devices, suite);
            if !x_wing {
                measure("sealed secret", &SealedSecret, devices, suite);
            }
        }
    }
}

fn measure(name: &str, agreement: &dyn GroupKeyAgreement, devices: usize, suite: Suite) {
    println!("{name}, {devices} devices, {suite:?}");
    let mut entropy = Entropy::from_seed([1; 32]);
    let peers: Vec<(DeviceKey, KeyPackagePair)> = (0..devices)
        .map(|_| {
            let key = DeviceKey::generate(&mut entropy);
            let package = agreement.key_package(&key, suite, false, &mut entropy);
            (key, package)
        })
        .collect();
    println!("  key package {} B, its secret {} B", peers[0].1.public.len(), peers[0].1.secret.len());

    let created = agreement.create(&peers[0].0, b"0123456789abcdef", suite, &mut entropy);
    let change = RosterChange { add: peers[1..].iter().map(|(_, pair)| pair.public.clone()).collect(), remove: vec![] };
    let (added, time) = timed(|| agreement.commit(&peers[0].0, &created, &change, &mut entropy).expect("adds all"));
    let welcome = added.welcome.expect("all are welcome");
    println!("  add the rest {} B, welcome {} B, {time:.2} ms", added.message.len(), welcome.len());

    let (joined, time) = timed(|| agreement.join(&peers[1].0, &welcome, &[&peers[1].1.secret]).expect("joins"));
    println!("  join {time:.2} ms");
    state("cold", &joined.checkpoint);

    let mut group = vec![added.checkpoint, joined.checkpoint];
    group.extend(
        peers[2..].iter().map(|(key, pair)| agreement.join(key, &welcome, &[&pair.secret]).expect("joins").checkpoint),
    );
    update(agreement, &peers, &mut group, 1, &mut entropy, "cold");
    for by in (0..devices).rev() {
        let commit = agreement.commit(&peers[by].0, &group[by], &RosterChange::default(), &mut entropy);
        follow(agreement, &peers, &mut group, by, commit.expect("an update"));
    }
    update(agreement, &peers, &mut group, 1, &mut entropy, "warm");
    state("warm", &group[1]);

    let (_, time) = timed(|| agreement.export(&group[1], Export::ContentKey, b"").expect("exports"));
    println!("  export {time:.2} ms");
    for removals in 1..=3.min(devices - 1) {
        let remove = peers[devices - removals..].iter().map(|(key, _)| key.id()).collect();
        let change = RosterChange { add: vec![], remove };
        let (removed, time) = timed(|| agreement.commit(&peers[0].0, &group[0], &change, &mut entropy));
        println!("  remove {removals} {} B, {time:.2} ms", removed.expect("removes").message.len());
    }
}

fn update(
    agreement: &dyn GroupKeyAgreement,
    peers: &[(DeviceKey, KeyPackagePair)],
    group: &mut [Checkpoint],
    by: usize,
    entropy: &mut Entropy,
    what: &str,
) {
    let update = RosterChange::default();
    let (commit, build) = timed(|| agreement.commit(&peers[by].0, &group[by], &update, entropy).expect("an update"));
    let (_, process) = timed(|| agreement.process(&peers[0].0, &group[0], &commit.message).expect("a valid commit"));
    println!("  {what} update {} B, build {build:.2} ms, process {process:.2} ms", commit.message.len());
    follow(agreement, peers, group, by, commit);
}

fn follow(
    agreement: &dyn GroupKeyAgreement,
    peers: &[(DeviceKey, KeyPackagePair)],
    group: &mut [Checkpoint],
    by: usize,
    commit: clave_crypto::CommitOutput,
) {
    for (at, checkpoint) in group.iter_mut().enumerate().filter(|(at, _)| *at != by) {
        *checkpoint = agreement.process(&peers[at].0, checkpoint, &commit.message).expect("a valid commit").checkpoint;
    }
    group[by] = commit.checkpoint;
}

/// What the epochs after a self-update, an addition and a removal take on a disk that has the epoch before, in a group
/// whose tree has no blank parent. For that, devices let themselves in by external commits, so that only two follow.
fn on_disk(devices: usize, suite: Suite) {
    println!("mls, {devices} devices, {suite:?}, on disk");
    let agreement = Mls;
    let entropy = &mut Entropy::from_seed([2; 32]);
    let peers: Vec<DeviceKey> = (0..devices).map(|_| DeviceKey::generate(entropy)).collect();
    let packages: Vec<KeyPackagePair> =
        peers.iter().map(|key| agreement.key_package(key, suite, false, entropy)).collect();
    let last = devices - 1;
    let created = agreement.create(&peers[0], b"0123456789abcdef", suite, entropy);
    let change = RosterChange { add: packages[1..].iter().map(|pair| pair.public.clone()).collect(), remove: vec![] };
    let added = agreement.commit(&peers[0], &created, &change, entropy).expect("adds all");
    let welcome = added.welcome.expect("all are welcome");
    let mut others = agreement.join(&peers[last], &welcome, &[&packages[last].secret]).expect("joins").checkpoint;
    let mut firsts = added.checkpoint;
    // One of each two leaves: every parent then has a key.
    for key in peers[1..last].iter().step_by(2) {
        let info = agreement.group_info(&peers[0], &firsts).expect("describes");
        let commit = agreement.external_commit(key, &info, entropy).expect("lets itself in").message;
        firsts = agreement.process(&peers[0], &firsts, &commit).expect("valid").checkpoint;
        others = agreement.process(&peers[last], &others, &commit).expect("valid").checkpoint;
    }
    for (maker, follower, whose) in [(&peers[last], &peers[0], false), (&peers[0], &peers[last], true)] {
        let (mine, theirs) = if whose { (&mut firsts, &mut others) } else { (&mut others, &mut firsts) };
        let commit = agreement.commit(maker, mine, &RosterChange::default(), entropy).expect("an update");
        *theirs = agreement.process(follower, theirs, &commit.message).expect("valid").checkpoint;
        *mine = commit.checkpoint;
    }
    println!("  whole {} B", firsts.to_bytes().len());

    let (parts, cut) = timed(|| firsts.to_parts().expect("whole"));
    let blob = |id: BlobId| parts.blobs.iter().find(|(at, _)| *at == id).map(|(_, blob)| blob.clone());
    let (_, join) = timed(|| Checkpoint::from_parts(&parts.state, blob).expect("all is there"));
    println!(
        "  in parts: state {} B, {} blobs of {} B, to parts {cut:.2} ms, from parts {join:.2} ms",
        parts.state.len(),
        parts.blobs.len(),
        parts.blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>()
    );

    let newcomer = DeviceKey::generate(entropy);
    let package = agreement.key_package(&newcomer, suite, false, entropy).public;
    for (what, change) in [
        ("self-update", RosterChange::default()),
        ("add", RosterChange { add: vec![package], remove: vec![] }),
        ("remove", RosterChange { add: vec![], remove: vec![peers[devices / 2].id()] }),
    ] {
        let commit = agreement.commit(&peers[last], &others, &change, entropy).expect("a commit");
        let theirs = agreement.process(&peers[0], &firsts, &commit.message).expect("valid").checkpoint;
        for (whose, before, after) in [("maker", &others, commit.checkpoint), ("another", &firsts, theirs)] {
            let known: BTreeSet<_> = before.to_parts().expect("whole").blobs.into_iter().map(|(id, _)| id).collect();
            let parts = after.to_parts().expect("whole");
            let new: Vec<usize> =
                parts.blobs.iter().filter(|(id, _)| !known.contains(id)).map(|(_, blob)| blob.len()).collect();
            let blobs: usize = new.iter().sum();
            println!(
                "  after {what}, {whose}: {} B = state {} B + {} new blobs of {blobs} B",
                parts.state.len() + blobs,
                parts.state.len(),
                new.len()
            );
        }
    }
}

fn state(what: &str, checkpoint: &Checkpoint) {
    println!(
        "  {what} checkpoint {} B, of which the roster {} B",
        checkpoint.to_bytes().len(),
        32 * checkpoint.leaves.len()
    );
}

/// The result, and the least of five times.
fn timed<T>(mut f: impl FnMut() -> T) -> (T, f64) {
    let mut run = || {
        let start = Instant::now();
        let out = f();
        (out, start.elapsed().as_secs_f64() * 1000.0)
    };
    let (out, first) = run();
    let least = (0..4).map(|_| run().1).fold(first, f64::min);
    (out, least)
}
