//! Whether this device has what the connected ones have.

use super::sync::PUT_OFF_MS;
use super::*;

/// How long the other device may take to come back to a difference; it may have got what it lacked from somebody else.
const ANSWERED_MS_MAX: u64 = 5_000;

impl Engine {
    /// The connected devices that share something with this one; of each, whether every circle shared with it was compared
    /// since it connected (or since [`compare_anew`](Self::compare_anew)) and all that it is known to have and this device lacks has come.
    #[must_use]
    pub fn settled(&self, now_ms: u64) -> BTreeMap<DeviceId, bool> {
        let known = self.peers.iter().filter(|(device, _)| self.permitted.contains(device));
        let is_settled = |(device, peer): (&DeviceId, &peers::Peer)| {
            let is_compared = |circle: &CircleId| {
                let given_up = |(since_ms, heard): &(u64, bool)| {
                    // It may compare again before it offers more.
                    let wait_ms = if *heard { 2 * PUT_OFF_MS } else { ANSWERED_MS_MAX };
                    now_ms.saturating_sub(*since_ms) > wait_ms
                };
                peer.compared.contains(circle) || peer.answered.get(circle).is_some_and(given_up)
            };
            let compared = peer.ready && peer.begun.iter().all(is_compared);
            let idle = peer.postponed.is_empty() && peer.queue.is_empty() && peer.in_flight == 0;
            (*device, compared && idle && !self.wants.awaits(device))
        };
        known.map(is_settled).collect()
    }

    /// How many of the connected relays have said all that they had for this device as they were asked, since they connected; and how
    /// many are still about to. One with which a session failed is neither.
    #[must_use]
    pub fn relays_read(&self) -> (usize, usize) {
        self.mailboxes.read_and_reading()
    }

    /// Compares with every connected device again, now. Of two devices the one with the lesser id begins; from the others this
    /// device waits to hear.
    pub fn compare_anew(&mut self, now_ms: u64) {
        self.desk.now_ms = now_ms;
        let me = self.desk.me();
        for (_, peer) in self.peers.iter_mut().filter(|(device, _)| me < **device) {
            peer.compared.clear();
            peer.next_reconcile_ms = now_ms;
        }
        self.reconcile_when_due();
        self.finish();
    }
}
