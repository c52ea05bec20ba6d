//! That what a relay stores does not say which mailboxes are of one circle, as far as bytes go; and what the order in which things came does say.
//!
//! Real engines renew the keys of many circles many times (`clave_sim::Epochs`). What they give to a relay is put into the real store, and its file is read as by somebody
//! who copied the disk. Then the mailboxes of epochs that follow each other are compared with mailboxes that have nothing to do with each other. The same looks are taken
//! at names that were derived badly on purpose: each look has to find its kind.

mod looks;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clave_mailbox::{BlobId, Bytes, Kind};
use clave_sim::Epochs;

use self::{
    looks::{Finding, names_say, windows_say},
    stored::{Stored, read},
};
use crate::{
    hub::Hub,
    store::{Batch, MailboxId, MailboxStore, Quotas, RedbStore},
};

const CIRCLES: usize = 12;
const EPOCHS: usize = 12;

const QUOTAS: Quotas = Quotas {
    kept_seconds: u64::MAX >> 1,
    mailbox_bytes_max: 1 << 30,
    mailbox_entries_max: 100_000,
    store_bytes_max: 1 << 30,
    new_mailboxes_bytes_max: 1 << 30,
    mailboxes_max: 100_000,
};

/// Has the real store keep it, and reads the file.
async fn kept(epochs: &Epochs) -> Stored {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&folder.path().join("mailboxes.redb"), 8 << 20, QUOTAS, Arc::<Hub>::default()).unwrap();
    for given in &epochs.given {
        let bytes = Bytes::copy_from_slice(&given.bytes);
        let blobs = vec![(BlobId::of(Kind::Entry, &bytes), bytes)];
        let mailbox = MailboxId(given.mailbox);
        let batch = Batch { mailbox, kind: Kind::Entry, blobs, now_seconds: given.at_seconds };
        assert_eq!(store.put(batch).await.unwrap().new.len(), 1, "no entry lies in two mailboxes");
    }
    // The backup is what somebody gets who copies what there is.
    let copy = folder.path().join("copy");
    store.backup(copy.clone()).await.unwrap();
    read(&copy)
}

/// Names that were derived from a circle and the number of an epoch, in some way.
fn derived(with: impl Fn(u8, u8) -> [u8; 32]) -> Vec<Vec<[u8; 32]>> {
    let of = |circle| (0..EPOCHS as u8).map(|epoch| with(circle, epoch)).collect();
    (0..CIRCLES as u8).map(of).collect()
}

fn random(parts: &[&[u8]]) -> [u8; 32] {
    BlobId::of(Kind::Entry, &parts.concat()).0
}

#[test]
fn names_that_are_derived_badly_are_found_out() {
    let sound = derived(|circle, epoch| random(&[&[circle], &[epoch]]));
    assert_eq!(names_say(&sound), [], "the looks find something where nothing is");
    let counted = derived(|circle, epoch| {
        let mut name = random(&[&[circle]]);
        name[31] = name[31].wrapping_add(epoch);
        name
    });
    assert!(names_say(&counted).contains(&Finding::Near));
    let masked = derived(|circle, epoch| {
        // Each epoch is the one before under a mask of the circle: as far apart as any two, but always by the same.
        let (first, mask) = (random(&[&[circle]]), random(&[b"mask", &[circle]]));
        std::array::from_fn(|at| first[at].wrapping_add(mask[at].wrapping_mul(epoch)))
    });
    assert!(names_say(&masked).contains(&Finding::SameStep), "{:?}", names_say(&masked));
    let xored = derived(|circle, epoch| {
        let (name, mask) = (random(&[&[circle], &[epoch / 2]]), random(&[b"mask"]));
        std::array::from_fn(|at| name[at] ^ if epoch % 2 == 1 { mask[at] } else { 0 })
    });
    assert!(names_say(&xored).contains(&Finding::SameStep));
    let prefixed = derived(|circle, epoch| {
        let mut name = random(&[&[circle], &[epoch]]);
        name[..4].copy_from_slice(&random(&[b"circle", &[circle]])[..4]);
        name
    });
    assert!(names_say(&prefixed).contains(&Finding::SameBytes));
    let leaning = derived(|circle, epoch| {
        // One byte in four of the one before.
        let name = |epoch: u8| random(&[&[circle], &[epoch]]);
        let (now, before) = (name(epoch), name(epoch.wrapping_sub(1)));
        std::array::from_fn(|at| if at < 8 && epoch % 2 == 1 { before[at] } else { now[at] })
    });
    assert!(names_say(&leaning).contains(&Finding::Near));
}

#[tokio::test]
async fn what_is_stored_joins_no_epoch_to_the_next_but_by_its_order() {
    let epochs = Epochs::of(1, CIRCLES, EPOCHS).expect("they come to rest");
    let stored = kept(&epochs).await;
    assert_eq!(stored.entries.len(), epochs.given.len());
    let names: BTreeSet<[u8; 32]> = stored.mailboxes.iter().map(|mailbox| mailbox.name).collect();
    assert!(epochs.circles.iter().flatten().all(|name| names.contains(name)), "every epoch has a mailbox in the file");
    assert!(epochs.circles.iter().all(|mailboxes| mailboxes.len() >= EPOCHS));

    // 1. The names.
    assert_eq!(names_say(&epochs.circles), []);
    // 2. All that lies in them: nothing is in two mailboxes of one circle and of no other.
    let circle_of: BTreeMap<[u8; 32], usize> = (0..)
        .zip(&epochs.circles)
        .flat_map(|(circle, mailboxes)| mailboxes.iter().map(move |name| (*name, circle)))
        .collect();
    let of_epochs: Vec<_> = stored.entries.iter().filter(|entry| circle_of.contains_key(&entry.mailbox)).collect();
    assert!(of_epochs.len() > CIRCLES * EPOCHS, "{}", of_epochs.len());
    let bytes = |mark: Option<&[u8]>| -> Vec<_> {
        let marked = |(at, entry): (usize, &&stored::Entry)| {
            let circle = circle_of[&entry.mailbox];
            let mark = mark.filter(|_| circle == 3 && at % 2 == 0).unwrap_or_default();
            (circle, entry.mailbox, [&entry.bytes[..], mark].concat())
        };
        of_epochs.iter().enumerate().map(marked).collect()
    };
    assert_eq!(windows_say(&bytes(None)), 0, "bytes that join mailboxes of one circle");
    assert!(windows_say(&bytes(Some(b"circle 3"))) > 0, "a mark of 8 bytes would be found");
    // 3. What the order says, which is not kept from a relay: after the last entry of an epoch comes the first of the next.
    let (right, of) = by_order(&stored, &epochs.circles);
    println!(
        "{} mailboxes of {CIRCLES} circles, {} entries: names and bytes join none; by their order alone, {right} of {of} epochs are followed by the right one",
        names.len(),
        of_epochs.len()
    );
    // By chance it would be one of all mailboxes.
    assert!(right * 5 > of, "docs/threat-model.md says that the order gives it away: {right} of {of}");
}

/// Guesses of each mailbox that the next is the one whose first entry came soonest after its last one. How many guesses are right, of how many.
fn by_order(stored: &Stored, circles: &[Vec<[u8; 32]>]) -> (usize, usize) {
    let mut span: BTreeMap<[u8; 32], (u64, u64)> = BTreeMap::new();
    for entry in &stored.entries {
        let (_, last) = span.entry(entry.mailbox).or_insert((entry.position, entry.position));
        *last = entry.position;
    }
    let guess = |name: &[u8; 32]| {
        let last = span[name].1;
        span.iter().filter(|(_, (first, _))| *first > last).min_by_key(|(_, (first, _))| *first).map(|(next, _)| *next)
    };
    let pairs = circles.iter().flat_map(|mailboxes| mailboxes.windows(2));
    let right = pairs.clone().filter(|pair| guess(&pair[0]) == Some(pair[1])).count();
    (right, pairs.count())
}
