//! What a session asks of the store.

use clave_mailbox::{BLOBS_FRAME_BYTES, Bytes, RECONCILE_BYTES_MAX};
use negentropy::{Negentropy, NegentropyStorageVector};

use super::sets::Sets;
use crate::{
    session::{Done, Task},
    store::{MailboxStore, PageRoom, StoreError},
    wake::Wakes,
};

/// Has it done.
pub(crate) async fn perform(store: &dyn MailboxStore, wakes: Option<&Wakes>, sets: &Sets, task: Task) -> Done {
    match task {
        Task::Put(batch) => Done::Put(store.put(batch).await),
        Task::States(mailboxes) => Done::States(store.states(mailboxes).await),
        Task::Get { mailboxes, kind, ids } => Done::Get(store.get(mailboxes, kind, ids, BLOBS_FRAME_BYTES).await),
        Task::Which { mailboxes, kind, ids } => Done::Which(store.which(mailboxes, kind, ids).await),
        Task::Read { mailbox, after, bytes, entries } => {
            Done::Read(store.after(mailbox, after, PageRoom { bytes, entries }).await)
        }
        Task::Wake { id, wanted, now_seconds } => match wakes {
            Some(wakes) => Done::Wake(wakes.register(id, wanted, now_seconds).await),
            None => Done::Wake(Err(StoreError::Failed)),
        },
        Task::Reconcile { mailbox, message } => {
            let set = match sets.of(store, mailbox).await {
                Ok(set) => set,
                Err(error) => return Done::Reconcile(Err(error)),
            };
            let answer = tokio::task::spawn_blocking(move || reconcile(&set, &message)).await;
            Done::Reconcile(answer.map_err(|_| StoreError::Stopped))
        }
    }
}

/// The first byte of every message: version 1 of the protocol.
const NEGENTROPY_1: u8 = 0x61;

/// A step of Negentropy. `None` if that is no message; an empty one if there is nothing to add.
pub(crate) fn reconcile(set: &NegentropyStorageVector, message: &Bytes) -> Option<Vec<u8>> {
    if message.first() != Some(&NEGENTROPY_1) {
        // The library would answer with the version that it speaks, which we should take for having nothing to add.
        return None;
    }
    let mut answer = Negentropy::borrowed(set, RECONCILE_BYTES_MAX as u64).ok()?.reconcile(message).ok()?;
    // Only the version.
    if answer.len() <= 1 {
        answer.clear();
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use clave_mailbox::BlobId;
    use negentropy::Id;

    use super::{super::sets::set_of, *};

    fn set(ids: impl Iterator<Item = u16>) -> Vec<BlobId> {
        let mut ids: Vec<_> = ids.map(|id| BlobId::of(clave_mailbox::Kind::Entry, &id.to_be_bytes())).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn both_find_what_either_lacks() {
        let (here, there) = (set(0..3_000), set(1_000..4_000));
        let mut storage = NegentropyStorageVector::new();
        there.iter().for_each(|id| storage.insert(0, Id::from_byte_array(id.0)).unwrap());
        storage.seal().unwrap();
        let mut device = Negentropy::owned(storage, RECONCILE_BYTES_MAX as u64).unwrap();
        let mut message = device.initiate().unwrap();
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut steps = 0;
        loop {
            steps += 1;
            let answer = reconcile(&set_of(&here), &message.into()).unwrap();
            assert!(answer.len() <= RECONCILE_BYTES_MAX);
            match device.reconcile_with_ids(&answer, &mut have, &mut need).unwrap() {
                Some(next) => message = next,
                None => break,
            }
        }
        assert!(steps < 10, "{steps}");
        let sorted = |ids: Vec<Id>| {
            let mut ids: Vec<_> = ids.into_iter().map(|id| BlobId(id.to_bytes())).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!((sorted(have), sorted(need)), (set(3_000..4_000), set(0..1_000)));
    }

    #[test]
    fn equal_sets_have_nothing_to_add_and_nonsense_is_refused() {
        let ids = set(0..100);
        let mut storage = NegentropyStorageVector::new();
        ids.iter().for_each(|id| storage.insert(0, Id::from_byte_array(id.0)).unwrap());
        storage.seal().unwrap();
        let message = Negentropy::owned(storage, 0).unwrap().initiate().unwrap();
        assert_eq!(reconcile(&set_of(&ids), &message.into()), Some(vec![]));
        for nonsense in
            [&b""[..], b"\x62", b"\x61\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &[0x61, 0, 0, 9], b"hello"]
        {
            // Either is fine, but for a panic: an empty message may be answered with what there is.
            let answer = reconcile(&set_of(&ids), &Bytes::copy_from_slice(nonsense));
            assert!(answer.is_none() || answer.is_some_and(|answer| answer.len() < 10_000), "{nonsense:?}");
        }
        assert_eq!(reconcile(&set_of(&ids), &Bytes::from_static(b"hello")), None);
    }
}
