//! Which entries are commits, so that a list of the changes of keys costs what they are and not what the circle holds.

use super::judge::{Told, cited};
use super::*;
use crate::key_audit::{Claim, KeyAudit};

impl Circle {
    /// Notes that an entry is a commit, and whether this device made or processed it.
    pub(super) fn note_key_change(&mut self, entry: EntryId, checked: bool, desk: &mut Desk) {
        let key = Key::new(Keyspace::KeyChanges, self.id.as_bytes(), entry.as_bytes());
        // One that was noted as its author's word may be processed later; never the other way round.
        if checked || !desk.store.read(&key).is_ok_and(|known| known.is_some()) {
            desk.put(key, vec![checked.into()]);
        }
    }

    /// Every change of keys that is here and can be read.
    pub(crate) fn key_audit(&self, desk: &Desk) -> Result<KeyAudit, EngineError> {
        let mut claims = BTreeMap::new();
        for (claim, checked) in self.key_claims(desk)? {
            *claims.entry(claim).or_insert(false) |= checked;
        }
        let head = self.group.head();
        Ok(KeyAudit::new(&self.log, (head.epoch, head.depth), claims))
    }

    /// The commits, as their entries have them, and whether each was made or processed here. An entry that somebody sealed
    /// anew says the same twice.
    pub(super) fn key_claims(&self, desk: &Desk) -> Result<Vec<(Claim, bool)>, EngineError> {
        let mut claims = Vec::new();
        for (suffix, checked) in desk.store.all(Keyspace::KeyChanges, self.id.as_bytes())? {
            let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            let Some(bytes) = self.envelope(&id, desk)? else { continue };
            let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
            // Its key may have been erased meanwhile.
            let Some(opened) = self.keys.get(&envelope.tag).and_then(|key| envelope.open(self.id, key).ok()) else {
                continue;
            };
            if let Body::Commit(commit) = &opened.body {
                claims.extend(
                    opened.author.and_then(|author| claim(author, commit)).map(|claim| (claim, checked == [1])),
                );
            }
        }
        Ok(claims)
    }
}

/// A commit by what its entry says; none if that is not in order.
fn claim(author: DeviceId, commit: &proto::Commit) -> Option<Claim> {
    let told = Told::read(commit).ok()?;
    Some(Claim {
        parent: epoch_id(&commit.parent)?,
        epoch: epoch_id(&commit.epoch)?,
        author,
        time_ms: commit.time_ms,
        operations: cited(&commit.operations).ok()?,
        added: told.adds,
        removed: told.removes,
        renewed: told.renews,
    })
}
