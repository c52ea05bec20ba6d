//! Whom to dial, where, and when again.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::DeviceId;
use clave_transport::Backoff;

use super::relays::Relays;

/// The first and the longest wait between two attempts, in milliseconds.
const BACKOFF_MS: (u64, u64) = (500, 60_000);
/// The same for a direct connection in place of one through a relay: it works already, so this may take its time.
const IMPROVE_MS: (u64, u64) = (10_000, 600_000);
/// Addresses kept per device.
const ADDRESSES_MAX: usize = 32;
/// Devices nearby that are remembered although nothing is shared with them (yet).
const NEARBY_MAX: usize = 256;

/// Keeps trying to reach the devices that matter.
#[derive(Default)]
pub(super) struct Dialer {
    targets: BTreeMap<DeviceId, Target>,
    /// Who is connected, wanted or not: others may come before this device knows that it wants them.
    links: BTreeMap<DeviceId, Link>,
    /// Heard of on the local network, not (yet) of interest.
    nearby: BTreeMap<DeviceId, BTreeSet<String>>,
    /// Whether anybody nearby is worth a try, and who was tried for that reason alone.
    seeking: Option<BTreeSet<DeviceId>>,
    /// Whether devices of which no address is known may be found at relays.
    through_relays: bool,
    /// Who is being dialled, as far as it is not known yet what came of it.
    dialled: BTreeSet<DeviceId>,
}

struct Target {
    addresses: BTreeSet<String>,
    /// When to try next, in Unix milliseconds.
    due_ms: u64,
    backoff: Backoff,
}

/// How a device is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Through a relay: a direct connection would be better.
    Relayed,
    Direct,
}

impl Target {
    fn new(addresses: BTreeSet<String>, link: Option<Link>, due_ms: u64) -> Self {
        let (base_ms, max_ms) = if link == Some(Link::Relayed) { IMPROVE_MS } else { BACKOFF_MS };
        Self { addresses, due_ms, backoff: Backoff::new(base_ms, max_ms) }
    }

    /// Another link came, or went.
    fn turn(&mut self, link: Option<Link>, now_ms: u64, random: u64) {
        *self = Self::new(std::mem::take(&mut self.addresses), link, now_ms);
        self.due_ms = now_ms + self.backoff.next_ms(random);
    }

    /// What is worth a try.
    fn worthwhile(&self, link: Option<Link>) -> impl Iterator<Item = &String> {
        self.addresses.iter().filter(move |address| match link {
            None => true,
            Some(Link::Relayed) => !address.contains("/p2p-circuit"),
            Some(Link::Direct) => false,
        })
    }

    fn is_worth_a_try(&self, link: Option<Link>, through_relays: bool) -> bool {
        through_relays && link.is_none() || self.worthwhile(link).next().is_some()
    }
}

impl Dialer {
    /// From now on, try to stay connected with a device.
    pub(super) fn want(&mut self, device: DeviceId, now_ms: u64) {
        if let Some(tried) = &mut self.seeking {
            tried.remove(&device);
        }
        self.target(device, now_ms);
    }

    /// From now on, or no longer, members may be found at the relays of spaces.
    pub(super) fn go_through_relays(&mut self, possible: bool, now_ms: u64) {
        if possible && !self.through_relays {
            self.try_unconnected(now_ms);
        }
        self.through_relays = possible;
    }

    /// From now on, or no longer, dial everybody who is nearby.
    pub(super) fn seek(&mut self, seek: bool, now_ms: u64) {
        if !seek {
            for device in self.seeking.take().into_iter().flatten() {
                self.forget(&device);
            }
            return;
        }
        self.seeking.get_or_insert_default();
        for device in self.nearby.keys().copied().collect::<Vec<_>>() {
            self.try_nearby(device, now_ms);
        }
    }

    fn try_nearby(&mut self, device: DeviceId, now_ms: u64) {
        if let Some(tried) = &mut self.seeking {
            tried.insert(device);
            self.target(device, now_ms);
        }
    }

    fn target(&mut self, device: DeviceId, now_ms: u64) {
        let nearby = self.nearby.remove(&device).unwrap_or_default();
        let link = self.links.get(&device).copied();
        self.targets.entry(device).or_insert_with(|| Target::new(nearby, link, now_ms));
    }

    /// No longer.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.dialled.remove(device);
        self.targets.remove(device);
    }

    /// A wanted device is said to be at these addresses: worth a try at once.
    pub(super) fn learn(&mut self, device: DeviceId, addresses: Vec<String>, now_ms: u64) {
        self.want(device, now_ms);
        let target = self.targets.get_mut(&device).expect("it was put there above");
        let before = target.addresses.len();
        target.addresses.extend(addresses);
        while target.addresses.len() > ADDRESSES_MAX {
            target.addresses.pop_first();
        }
        if target.addresses.len() > before {
            target.backoff.reset();
            target.due_ms = now_ms;
        }
    }

    /// Somebody claims to be a device nearby.
    pub(super) fn discovered(&mut self, device: DeviceId, addresses: Vec<String>, now_ms: u64) {
        if self.targets.contains_key(&device) {
            self.learn(device, addresses, now_ms);
        } else if self.nearby.len() < NEARBY_MAX || self.nearby.contains_key(&device) {
            self.nearby.insert(device, addresses.into_iter().take(ADDRESSES_MAX).collect());
            self.try_nearby(device, now_ms);
        }
    }

    pub(super) fn connected(&mut self, device: &DeviceId, relayed: bool, now_ms: u64, random: u64) {
        self.dialled.remove(device);
        let link = if relayed { Link::Relayed } else { Link::Direct };
        self.links.insert(*device, link);
        if let Some(target) = self.targets.get_mut(device) {
            target.turn(Some(link), now_ms, random);
        }
    }

    pub(super) fn became_direct(&mut self, device: &DeviceId) {
        if let Some(link) = self.links.get_mut(device) {
            *link = Link::Direct;
        }
    }

    /// Nothing came of dialling a device.
    pub(super) fn failed(&mut self, device: &DeviceId) {
        self.dialled.remove(device);
    }

    /// Whether it is not known yet what comes of some attempt.
    pub(super) fn is_dialling(&self) -> bool {
        self.dialled.iter().any(|device| self.is_unconnected(device))
    }

    /// Whether it is not known where some wanted device is: it may dial this one.
    pub(super) fn awaits(&self) -> bool {
        self.targets.iter().any(|(device, target)| !self.links.contains_key(device) && target.addresses.is_empty())
    }

    /// Whether a wanted device is not connected.
    pub(super) fn is_unconnected(&self, device: &DeviceId) -> bool {
        self.targets.contains_key(device) && !self.links.contains_key(device)
    }

    /// How many wanted devices are not connected, relays apart.
    pub(super) fn unconnected(&self, relays: &Relays) -> usize {
        self.targets.keys().filter(|device| !self.links.contains_key(device) && !relays.contains(device)).count()
    }

    pub(super) fn disconnected(&mut self, device: &DeviceId, now_ms: u64, random: u64) {
        self.links.remove(device);
        if let Some(target) = self.targets.get_mut(device) {
            target.turn(None, now_ms, random);
        }
    }

    /// Something changed that may help to reach those who are not connected.
    pub(super) fn try_unconnected(&mut self, now_ms: u64) {
        let links = &self.links;
        for (_, target) in self.targets.iter_mut().filter(|(device, _)| !links.contains_key(device)) {
            target.backoff.reset();
            target.due_ms = now_ms;
        }
    }

    /// The network changed: everything is worth a try at once.
    pub(super) fn network_changed(&mut self, now_ms: u64) {
        for target in self.targets.values_mut() {
            target.backoff.reset();
            target.due_ms = now_ms;
        }
    }

    /// Whom to dial now, at which addresses, beside relays that lead there. Each is taken to fail, until a connection says
    /// otherwise.
    pub(super) fn due(&mut self, now_ms: u64, mut random: impl FnMut() -> u64) -> Vec<(DeviceId, Vec<String>)> {
        let mut due = Vec::new();
        for (device, target) in &mut self.targets {
            let link = self.links.get(device).copied();
            if target.due_ms <= now_ms && target.is_worth_a_try(link, self.through_relays) {
                target.due_ms = now_ms + target.backoff.next_ms(random()).max(1);
                self.dialled.insert(*device);
                due.push((*device, target.worthwhile(link).cloned().collect()));
            }
        }
        due
    }

    /// When somebody is due next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let waiting = |(device, target): &(&DeviceId, &Target)| {
            target.is_worth_a_try(self.links.get(device).copied(), self.through_relays)
        };
        self.targets.iter().filter(waiting).map(|(_, target)| target.due_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_device_is_dialled_until_it_is_connected_and_again_once_it_is_gone() {
        let mut dialer = Dialer::default();
        dialer.learn(device(1), vec!["/ip4/127.0.0.1/tcp/1".into()], 0);
        assert_eq!(dialer.due(0, || 0).len(), 1);
        assert!(dialer.due(0, || 0).is_empty(), "not twice at once");
        let next = dialer.next_ms().expect("it is still wanted");
        assert_eq!(dialer.due(next, || 0).len(), 1);
        dialer.connected(&device(1), false, next, 0);
        assert_eq!(dialer.next_ms(), None);
        dialer.disconnected(&device(1), 1_000_000, 0);
        assert!(dialer.next_ms().is_some());
    }

    #[test]
    fn who_was_connected_before_they_mattered_is_not_dialled() {
        let mut dialer = Dialer::default();
        dialer.connected(&device(1), false, 0, 0);
        dialer.learn(device(1), vec!["/ip4/127.0.0.1/tcp/1".into()], 0);
        assert_eq!((dialer.due(0, || 0), dialer.next_ms(), dialer.is_dialling()), (vec![], None, false));
        assert_eq!(dialer.unconnected(&Relays::default()), 0);
        // Nor who is wanted once more, over the same connection.
        dialer.forget(&device(1));
        dialer.learn(device(1), vec!["/ip4/127.0.0.1/tcp/1".into()], 1);
        assert_eq!(dialer.next_ms(), None);
        dialer.disconnected(&device(1), 2, 0);
        assert!(dialer.is_unconnected(&device(1)) && dialer.next_ms().is_some());
    }

    #[test]
    fn whom_a_relay_leads_to_is_dialled_directly_now_and_then() {
        let mut dialer = Dialer::default();
        let (direct, circuit) =
            ("/ip4/192.0.2.7/tcp/1".to_owned(), "/ip4/192.0.2.8/tcp/1/p2p/R/p2p-circuit".to_owned());
        dialer.learn(device(1), vec![circuit], 0);
        dialer.connected(&device(1), true, 0, 0);
        assert_eq!(dialer.next_ms(), None, "only the relay is known");
        dialer.learn(device(1), vec![direct.clone()], 0);
        assert_eq!(dialer.due(0, || 0), [(device(1), vec![direct])]);
        assert!(dialer.next_ms().is_some_and(|next| next >= IMPROVE_MS.0 / 2));
        dialer.became_direct(&device(1));
        assert_eq!(dialer.next_ms(), None);
        dialer.disconnected(&device(1), 1, 0);
        assert!(dialer.next_ms().is_some_and(|next| next <= BACKOFF_MS.0 + 1));
    }

    #[test]
    fn who_is_nowhere_known_is_tried_once_there_are_relays() {
        let mut dialer = Dialer::default();
        dialer.want(device(1), 0);
        assert_eq!((dialer.due(0, || 0), dialer.next_ms()), (vec![], None));
        dialer.go_through_relays(true, 5);
        assert_eq!(dialer.due(5, || 0), [(device(1), vec![])]);
        assert!(dialer.is_unconnected(&device(1)) && dialer.due(5, || 0).is_empty());
        dialer.try_unconnected(6);
        assert_eq!(dialer.due(6, || 0).len(), 1);
        dialer.connected(&device(1), true, 6, 0);
        assert_eq!((dialer.is_unconnected(&device(1)), dialer.next_ms()), (false, None));
        dialer.disconnected(&device(1), 7, 0);
        dialer.go_through_relays(false, 8);
        assert_eq!(dialer.next_ms(), None);
    }

    #[test]
    fn who_is_nearby_is_tried_only_while_somebody_is_sought() {
        let mut dialer = Dialer::default();
        dialer.discovered(device(1), vec!["/ip4/127.0.0.1/tcp/1".into()], 0);
        dialer.seek(true, 0);
        dialer.discovered(device(2), vec!["/ip4/127.0.0.1/tcp/2".into()], 0);
        assert_eq!(dialer.due(0, || 0).len(), 2);
        dialer.want(device(2), 1);
        dialer.seek(false, 1);
        assert_eq!(dialer.targets.keys().collect::<Vec<_>>(), [&device(2)]);
    }

    #[test]
    fn a_device_heard_of_before_it_mattered_is_dialled_once_it_does() {
        let mut dialer = Dialer::default();
        dialer.discovered(device(1), vec!["/ip4/127.0.0.1/tcp/1".into()], 0);
        assert_eq!(dialer.next_ms(), None);
        dialer.want(device(1), 5);
        assert_eq!(dialer.due(5, || 0), [(device(1), vec!["/ip4/127.0.0.1/tcp/1".to_owned()])]);
    }
}
