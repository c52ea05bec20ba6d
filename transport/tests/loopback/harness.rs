//! Two devices on one machine.

use std::{future::Future, time::Duration};

use clave_transport::{
    Address, Channel, Config, Event, Events, PeerKey, RelayConfig, RelayEvent, RelayLimits, RelayServer, Transport,
};
use tokio::sync::mpsc;

/// A safety net only: every test ends long before.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should have happened by now")
}

/// Lets everybody else go on until something holds.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    in_time(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) struct Device {
    pub(crate) transport: Transport,
    pub(crate) events: Events,
}

/// The default of tests: one TCP socket on loopback.
pub(crate) fn config(seed: u8) -> Config {
    let mut config = Config::new([seed; 32]);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config
}

pub(crate) fn start(config: Config) -> Device {
    let (transport, events) = Transport::start(config).unwrap();
    Device { transport, events }
}

pub(crate) fn alice() -> Device {
    start(config(1))
}

pub(crate) fn bob() -> Device {
    start(config(2))
}

impl Device {
    pub(crate) fn key(&self) -> PeerKey {
        self.transport.key()
    }

    pub(crate) async fn next(&mut self) -> Event {
        in_time(self.events.next()).await.expect("the transport runs")
    }

    /// Skips events until one fits.
    pub(crate) async fn until<T>(&mut self, mut fits: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = fits(self.next().await) {
                return found;
            }
        }
    }

    /// The address of this device, with its key.
    pub(crate) async fn address(&mut self) -> Address {
        let address = self
            .until(|event| match event {
                Event::Listening { address } => Some(address),
                _ => None,
            })
            .await;
        address.with_peer(self.key())
    }

    pub(crate) async fn connected(&mut self, to: PeerKey) {
        self.until(|event| matches!(event, Event::Connected { peer, .. } if peer == to).then_some(())).await;
    }

    pub(crate) async fn disconnected(&mut self, from: PeerKey) {
        self.until(|event| matches!(event, Event::Disconnected { peer } if peer == from).then_some(())).await;
    }

    pub(crate) async fn frame(&mut self) -> (PeerKey, Channel, Vec<u8>) {
        self.until(|event| match event {
            Event::Frame { peer, channel, bytes } => Some((peer, channel, bytes)),
            _ => None,
        })
        .await
    }
}

/// Alice and Bob, connected, each permitted by the other.
pub(crate) async fn pair() -> (Device, Device) {
    connect(alice(), bob()).await
}

pub(crate) async fn connect(mut alice: Device, mut bob: Device) -> (Device, Device) {
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    let address = bob.address().await;
    assert_eq!(in_time(alice.transport.connect(Some(bob.key()), vec![address])).await, Ok(bob.key()));
    alice.connected(bob.key()).await;
    bob.connected(alice.key()).await;
    (alice, bob)
}

pub(crate) struct Relay {
    pub(crate) server: RelayServer,
    pub(crate) events: mpsc::Receiver<RelayEvent>,
    pub(crate) address: Address,
}

pub(crate) async fn relay(limits: RelayLimits) -> Relay {
    relay_at(100, "/ip4/127.0.0.1/tcp/0".parse().unwrap(), limits).await
}

pub(crate) async fn relay_at(seed: u8, listen: Address, limits: RelayLimits) -> Relay {
    let config = RelayConfig { seed: [seed; 32].into(), listen: vec![listen], external: vec![], limits };
    let (server, mut events) = RelayServer::start(config).unwrap();
    match in_time(events.recv()).await {
        Some(RelayEvent::Listening { address }) => Relay { server, events, address },
        other => panic!("{other:?}"),
    }
}
