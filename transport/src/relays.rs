//! Places at relays: which are held, and when to ask again for those that are not.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::{Address, Backoff, registry::RelayInfo};

/// The first and the longest wait before a relay is asked again, in milliseconds.
const BACKOFF_MS: (u64, u64) = (500, 60_000);

/// The relays that this device wants to be reachable through.
#[derive(Default)]
pub(crate) struct Relays(BTreeMap<Address, Place>);

struct Place {
    state: State,
    backoff: Backoff,
    /// The owner knows that the place is not held.
    reported: bool,
}

enum State {
    Asking,
    Held,
    /// To be asked then.
    Due(Instant),
}

impl Relays {
    /// The relay is being asked.
    pub(crate) fn asking(&mut self, relay: Address) {
        let place = Place { state: State::Asking, backoff: Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1), reported: false };
        self.0.entry(relay).or_insert(place).state = State::Asking;
    }

    /// Whether it is being asked, or gives a place: once is enough.
    pub(crate) fn is_asked(&self, relay: &Address) -> bool {
        self.0.get(relay).is_some_and(|place| place.due().is_none())
    }

    /// It is not wanted any more. Whether it was.
    pub(crate) fn forget(&mut self, relay: &Address) -> bool {
        self.0.remove(relay).is_some()
    }

    /// It said yes.
    pub(crate) fn held(&mut self, relay: &Address) {
        if let Some(place) = self.0.get_mut(relay) {
            place.state = State::Held;
            place.backoff.reset();
            place.reported = false;
        }
    }

    /// It said no, could not be reached, or went away: it is asked again later. Whether the owner is to be told.
    pub(crate) fn lost(&mut self, relay: &Address, random: u64) -> bool {
        let Some(place) = self.0.get_mut(relay) else { return true };
        place.state = State::Due(Instant::now() + Duration::from_millis(place.backoff.next_ms(random)));
        !std::mem::replace(&mut place.reported, true)
    }

    /// Another network: relays that are not held are worth a try at once.
    pub(crate) fn hurry(&mut self) {
        for place in self.0.values_mut() {
            place.backoff.reset();
            if let State::Due(at) = &mut place.state {
                *at = Instant::now();
            }
        }
    }

    /// When the next relay is to be asked.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|place| place.due()).min()
    }

    /// Which relays are to be asked now.
    pub(crate) fn due(&self) -> Vec<Address> {
        let now = Instant::now();
        let due = self.0.iter().filter(|(_, place)| place.due().is_some_and(|at| at <= now));
        due.map(|(relay, _)| relay.clone()).collect()
    }

    /// What is told of them.
    pub(crate) fn infos(&self) -> Vec<RelayInfo> {
        let info = |(address, place): (&Address, &Place)| RelayInfo {
            address: address.clone(),
            reserved: matches!(place.state, State::Held),
        };
        self.0.iter().map(info).collect()
    }
}

impl Place {
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) => Some(at),
            State::Asking | State::Held => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_gives_no_place_is_asked_again_and_reported_once() {
        let relay: Address = "/ip4/192.0.2.7/tcp/1".parse().unwrap();
        let mut relays = Relays::default();
        relays.asking(relay.clone());
        assert_eq!((relays.next(), relays.due()), (None, vec![]));
        assert!(relays.lost(&relay, 0), "the owner hears of it");
        assert!(relays.due().is_empty(), "not at once");
        tokio::time::advance(relays.next().unwrap() - Instant::now()).await;
        assert_eq!(relays.due().first(), Some(&relay));
        relays.asking(relay.clone());
        assert!(!relays.lost(&relay, 0), "and not again, until it worked in between");
        relays.hurry();
        assert_eq!(relays.due().first(), Some(&relay));
        relays.asking(relay.clone());
        relays.held(&relay);
        assert!(relays.infos()[0].reserved && relays.next().is_none());
        assert!(relays.lost(&relay, 0));
        assert!(relays.forget(&relay) && !relays.forget(&relay));
        assert_eq!((relays.next(), relays.infos()), (None, vec![]), "nobody asks it again");
    }
}
