use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;
use crate::testing::{Net, shuffle, steps};
use crate::{Document, Draft, inspect_change};

const KIND: DocumentKind = DocumentKind::Timeline;

fn actor(n: u8) -> Actor {
    Actor::new([n; 32], [n; 4], 1)
}

fn read(changes: &[Vec<u8>]) -> Vec<Bundled> {
    changes.iter().map(|bytes| (inspect_change(bytes).unwrap(), bytes.clone())).collect()
}

/// What three people write who sometimes do not hear of each other.
fn chat(messages: u64) -> Vec<Bundled> {
    let mut documents: Vec<Document> = (1..4).map(|n| Document::new(KIND, actor(n))).collect();
    let mut changes = Vec::new();
    for n in 0..messages {
        let at = (n % 3) as usize;
        if n % 5 != 0 {
            documents[at].apply(&changes).unwrap();
        }
        let now_ms = 1_790_000_000_000 + n * 977;
        let random = [n as u8, 1, 2, 3, 4, (n >> 8) as u8];
        documents[at].timeline().unwrap().post(now_ms, random, &Draft::text(format!("你好 {n}"))).unwrap();
        changes.extend(documents[at].commit(now_ms));
    }
    read(&changes)
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_bundle_gives_back_every_change_byte_for_byte_and_is_small() {
    let changes = chat(500);
    let bytes: usize = changes.iter().map(|(_, bytes)| bytes.len()).sum();
    let bundle = Bundle::new(KIND, changes.clone()).unwrap();
    let packed = bundle.pack().unwrap();
    let unpacked = Bundle::unpack(KIND, &packed).unwrap();
    assert_eq!(unpacked.changes(), bundle.changes());
    assert_eq!(unpacked.hashes(), changes.iter().map(|(info, _)| info.hash).collect());
    assert_eq!(unpacked.tips().len(), 3);
    assert!(packed.len() * 5 < bytes, "{} of {bytes}", packed.len());
    let raw: Vec<Vec<u8>> = unpacked.into_changes().into_iter().map(|(_, bytes)| bytes).collect();
    let mut document = Document::load(KIND, actor(9), None, &raw).unwrap();
    assert_eq!(document.timeline().unwrap().len(), 500);
}

/// The bytes themselves, so that nobody changes them unawares: not here, and not what compresses them.
#[test]
fn the_bytes_are_these() {
    let packed = Bundle::new(KIND, chat(40)).unwrap().pack().unwrap();
    // FNV-1a: enough to see a difference.
    let sum = packed
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    assert_eq!((packed.len(), sum), (593, 11_972_608_499_238_710_203));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_has_the_same_changes_makes_the_same_bundle(
        history in steps(any::<u8>(), 60),
        seed in any::<u64>(),
        kind in prop_oneof![Just(KIND), Just(DocumentKind::Note)],
    ) {
        let mut net = Net::new(kind, 4);
        let mut random = 0_u64;
        net.run(history, |document, now_ms, what| {
            random += 1;
            if kind == KIND {
                let text = format!("{what} 会议");
                let random = random.to_be_bytes()[2..].try_into().unwrap();
                document.timeline().unwrap().post(now_ms, random, &Draft::text(text)).unwrap();
            } else {
                let mut note = document.note().unwrap();
                let end = note.len();
                note.splice(usize::from(what) % (end + 1), 0, "会 议").unwrap();
            }
        });
        let mut changes = net.documents[0].changes().unwrap();
        let packed = Bundle::new(kind, changes.clone()).unwrap().pack().unwrap();
        shuffle(&mut changes, seed);
        let again = Bundle::new(kind, changes.clone()).unwrap();
        prop_assert_eq!(&again.pack().unwrap(), &packed);
        let unpacked = Bundle::unpack(kind, &packed).unwrap();
        prop_assert_eq!(unpacked.changes(), again.changes());
        let mut elsewhere = net.documents.pop().unwrap();
        prop_assert_eq!(Bundle::new(kind, elsewhere.changes().unwrap()).unwrap().pack().unwrap(), packed);
    }

    #[test]
    fn altered_bytes_are_refused_or_are_other_changes(at in any::<proptest::sample::Index>(), bit in 0..8_u32, cut in any::<bool>()) {
        let bundle = Bundle::new(KIND, chat(30)).unwrap();
        // Before they are compressed, so that every column is met.
        let mut columns = columns::write(KIND, bundle.changes()).unwrap();
        let at = at.index(columns.len());
        if cut { columns.truncate(at) } else { columns[at] ^= 1 << bit };
        if let Ok(other) = Bundle::unpack(KIND, &deflated(&columns)) {
            prop_assert_ne!(other.hashes(), bundle.hashes());
        }
    }
}

#[test]
fn what_is_not_closed_is_no_bundle() {
    let changes = chat(20);
    for missing in [0, 7] {
        let mut some = changes.clone();
        some.remove(missing);
        let error = Bundle::new(KIND, some.clone()).unwrap_err();
        assert_eq!(error, ChangeFault::Dependency.into());
    }
    // What an honest device does not make: the packer is asked directly.
    let order = Bundle::new(KIND, changes).unwrap().into_changes();
    let packed = deflated(&columns::write(KIND, &order[..19]).unwrap());
    assert_eq!(Bundle::unpack(KIND, &packed).unwrap().changes(), &order[..19]);
    assert!(columns::write(KIND, &order[1..]).is_err());
}

#[test]
fn two_changes_of_one_author_in_one_place_are_in_no_bundle() {
    let mut one = Document::new(KIND, actor(1));
    let mut other = Document::new(KIND, actor(1));
    let mut changes = Vec::new();
    for (document, text) in [(&mut one, "one"), (&mut other, "other")] {
        document.timeline().unwrap().post(1, [1; 6], &Draft::text(text)).unwrap();
        changes.extend(document.commit(1));
    }
    assert_eq!(Bundle::new(KIND, read(&changes)).unwrap_err(), ChangeFault::Sequence.into());
}

#[test]
fn what_somebody_encoded_otherwise_comes_out_as_it_was() {
    let mut changes = chat(6);
    // It numbers its operations from elsewhere: no document takes it, and whoever signed it did.
    let (info, mut odd) = changes.pop().unwrap();
    let seq_at = odd.windows(24).position(|window| window == info.actor.as_bytes()).unwrap() + 24;
    odd[seq_at + 1] += 1;
    let (change, odd) = crate::change::complete(odd).unwrap();
    changes.push((crate::change::info(&change), odd));
    let bundle = Bundle::new(KIND, changes).unwrap();
    let unpacked = Bundle::unpack(KIND, &bundle.pack().unwrap()).unwrap();
    assert_eq!(unpacked.changes(), bundle.changes());
}

#[test]
fn a_few_bytes_do_not_unpack_to_many() {
    let bomb = deflated(&vec![0; BUNDLE_BYTES_MAX + 1]);
    assert!(bomb.len() < 64 * 1024);
    assert!(matches!(Bundle::unpack(KIND, &bomb), Err(CrdtError::TooLarge { .. })));
    // A number of changes, and one of authors, that there is no room for.
    for claim in [[0xff, 0xff, 0xff, 0x7f, 0].as_slice(), &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
        assert!(Bundle::unpack(KIND, &deflated(claim)).is_err());
    }
    assert!(Bundle::unpack(KIND, b"").is_err() && Bundle::unpack(KIND, b"\xff\xff").is_err());
}
