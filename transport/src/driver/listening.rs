//! Where this device can be reached: sockets, places at relays, and what relays found out by dialling it.

use std::io;

use libp2p::{TransportError as WireError, autonat, core::transport::ListenerId};

use super::Driver;
use crate::{Address, Event, ListenError, fresh_seed};

impl Driver {
    pub(crate) fn listen(&mut self, address: Address) {
        let relay = address.peer().is_some();
        if relay && self.relays.is_asked(&address) {
            return;
        }
        let asked = if relay { address.circuit() } else { Ok(address.0.clone()) };
        let listening = match asked {
            Ok(asked) => self.swarm.listen_on(asked).map_err(|error| {
                tracing::warn!(%address, %error, "cannot listen");
                match error {
                    WireError::MultiaddrNotSupported(_) => ListenError::Unsupported,
                    WireError::Other(_) => ListenError::Refused,
                }
            }),
            Err(_) => Err(ListenError::Unsupported),
        };
        match listening {
            Ok(listener) => {
                if relay {
                    self.relays.asking(address.clone());
                    self.shared.registry.set_relays(self.relays.infos());
                }
                self.listeners.insert(listener, address);
            }
            Err(error) if !relay || self.relays.lost(&address, random()) => {
                self.notify(Event::ListenFailed { address: Some(address), error });
            }
            Err(_) => {}
        }
    }

    pub(super) fn unlisten(&mut self, address: &Address) {
        if self.relays.forget(address) {
            self.shared.registry.set_relays(self.relays.infos());
        }
        // Nobody asks for it any more: that it ends is no failure. The place at a relay ends with the connection: libp2p-relay
        // 0.22 panics when a relay says yes to a listener that was removed (`priv_client.rs`, *Relay connection exist*).
        for (listener, asked) in self.listeners.extract_if(|_, asked| asked == address) {
            if asked.peer().is_none() {
                self.swarm.remove_listener(listener);
            }
        }
    }

    /// Nothing more is heard at an address that was asked for.
    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, reason: &io::Result<()>) {
        // A relay that goes away closes the listener without an error.
        let (Some(address), None) = (self.listeners.remove(&listener), self.deadline) else { return };
        tracing::warn!(%address, ?reason, "no longer listening");
        if address.peer().is_none() {
            return self.notify(Event::ListenFailed { address: Some(address), error: ListenError::Refused });
        }
        let untold = self.relays.lost(&address, random());
        self.shared.registry.set_relays(self.relays.infos());
        if untold {
            self.notify(Event::ListenFailed { address: Some(address), error: ListenError::Relay });
        }
    }

    /// mDNS could not be started.
    pub(crate) fn discovery_failed(&mut self) {
        self.notify(Event::ListenFailed { address: None, error: ListenError::Discovery });
    }

    pub(super) fn on_listening(&mut self, listener: ListenerId, address: Address) {
        if let Some(relay) = self.listeners.get(&listener).filter(|_| address.is_relayed()) {
            self.relays.held(relay);
            self.shared.registry.set_relays(self.relays.infos());
        }
        if self.shared.registry.set_listening(&address, true) {
            self.notify(Event::Listening { address });
        }
    }

    pub(super) fn on_listen_ended(&mut self, address: Address) {
        if self.shared.registry.set_listening(&address, false) {
            self.notify(Event::ListenEnded { address });
        }
    }

    /// A relay has dialled this device, or tried to.
    pub(super) fn on_tested(&mut self, event: autonat::v2::client::Event) {
        tracing::debug!(?event, "whether this device can be reached");
        let address = Address(event.tested_addr);
        let reached = event.result.is_ok().then(|| address.clone());
        if self.shared.registry.tested(reached) {
            self.notify(Event::Listening { address });
        }
    }

    /// Without any connection it is open which network this is, and where it can be reached.
    pub(super) fn forget_tests(&mut self) {
        self.swarm.behaviour_mut().probe.forget();
        for address in self.shared.registry.forget_tests() {
            self.swarm.remove_external_address(&address.0);
            if !self.shared.registry.is_listening(&address) {
                self.notify(Event::ListenEnded { address });
            }
        }
    }

    /// For good: everything ends. Places at relays do with the connections, as in [`unlisten`](Self::unlisten).
    pub(super) fn stop_listening(&mut self) {
        let sockets = self.listeners.iter().filter(|(_, address)| address.peer().is_none());
        for listener in sockets.map(|(listener, _)| *listener).collect::<Vec<_>>() {
            self.swarm.remove_listener(listener);
        }
    }
}

/// For jitter.
fn random() -> u64 {
    u64::from_be_bytes(fresh_seed()[..8].try_into().expect("eight of 32 bytes"))
}
