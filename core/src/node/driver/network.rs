//! The driver's side of the network: frames out and in, who is connected, whom to dial.

use std::collections::BTreeMap;

use bytes::Bytes;
use clave_engine::crypto::DeviceId;
use clave_engine::{Channel, Engine};
use clave_transport::{self as transport, Address, Events, PeerKey, Transport};
use tokio::sync::mpsc;

use super::{Driver, now_ms};

/// Frames that may wait for one peer on one channel. What does not fit is dropped; reconciliation finds it again.
const FRAMES_QUEUED_MAX: usize = 256;

/// The queues of one connected peer.
#[derive(Default)]
pub(in crate::node) struct Links(BTreeMap<Channel, mpsc::Sender<Vec<Bytes>>>);

impl Driver {
    pub(super) fn send(&mut self, peer: DeviceId, channel: Channel, frame: Vec<Bytes>) {
        let (Some((transport, _)), Some(links)) = (&self.network, self.connected.get_mut(&peer)) else { return };
        let queue = links.0.entry(channel).or_insert_with(|| {
            let (queue, frames) = mpsc::channel(FRAMES_QUEUED_MAX);
            while self.forwarding.try_join_next().is_some() {}
            self.forwarding.spawn(forward(transport.clone(), peer, channel, frames, self.sent.0.clone()));
            queue
        });
        if queue.try_send(frame).is_err() {
            tracing::warn!(peer = %peer.short(), ?channel, "a slow peer: a frame was dropped");
            self.engine.handle_interrupted(peer, channel, now_ms());
        }
    }

    pub(super) fn network_event(&mut self, event: transport::Event) {
        let now = now_ms();
        match event {
            transport::Event::Connected { peer, relayed, .. } => {
                let device = DeviceId::from_bytes(peer.0);
                self.dialer.connected(&device, relayed, now, random(&mut self.engine));
                self.connected.insert(device, Links::default());
                self.engine.handle_connected(device, now);
            }
            transport::Event::BecameDirect { peer, .. } => self.dialer.became_direct(&DeviceId::from_bytes(peer.0)),
            transport::Event::Disconnected { peer } => {
                let device = DeviceId::from_bytes(peer.0);
                self.dialer.disconnected(&device, now, random(&mut self.engine));
                self.connected.remove(&device);
                self.engine.handle_disconnected(device, now);
            }
            transport::Event::Frame { peer, channel, bytes } => {
                self.engine.handle_frame(DeviceId::from_bytes(peer.0), from_transport(channel), bytes, now);
            }
            transport::Event::Interrupted { peer, channel } => {
                self.engine.handle_interrupted(DeviceId::from_bytes(peer.0), from_transport(channel), now);
            }
            transport::Event::DialFailed { peer: Some(peer), .. } => {
                self.dialer.failed(&DeviceId::from_bytes(peer.0));
            }
            transport::Event::Discovered { peer, addresses } => {
                let addresses = addresses.iter().map(ToString::to_string).collect();
                self.dialer.discovered(DeviceId::from_bytes(peer.0), addresses, now);
            }
            transport::Event::Listening { address } | transport::Event::ListenEnded { address } => {
                if address.is_relayed() {
                    // Whoever came there before may be waiting for this device.
                    self.dialer.try_unconnected(now);
                }
                if let Some((transport, _)) = &self.network {
                    let addresses = addresses_of(transport);
                    self.engine.handle_addresses(addresses.clone(), now);
                    self.told.listening.send_replace(addresses);
                }
            }
            transport::Event::ListenFailed { address, error } => {
                tracing::warn!(?address, %error, "listening failed");
            }
            _ => {}
        }
    }

    pub(super) async fn network_changed(&mut self) {
        self.dialer.network_changed(now_ms());
        if let Some((transport, _)) = &self.network {
            transport.network_changed().await;
        }
    }

    pub(super) async fn dial(&mut self) {
        let Some((transport, _)) = &self.network else { return };
        let due = self.dialer.due(now_ms(), || random(&mut self.engine));
        for (device, addresses) in due {
            let mut addresses: Vec<Address> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
            if self.dialer.is_unconnected(&device) {
                addresses.extend(self.ways_through_relays(&device));
            }
            if addresses.is_empty() {
                self.dialer.failed(&device);
            } else {
                transport.dial(Some(PeerKey(*device.as_bytes())), addresses).await;
            }
        }
    }
}

/// Ends the connections with a relay; an event says when they are gone, and it is dialled again.
pub(in crate::node) fn hang_up(network: Option<&(Transport, Events)>, relay: DeviceId) {
    if let Some((transport, _)) = network {
        let transport = transport.clone();
        tokio::spawn(async move { transport.disconnect(PeerKey(*relay.as_bytes())).await });
    }
}

/// Hands frames of one peer and channel to the transport, which waits for room.
async fn forward(
    transport: Transport,
    peer: DeviceId,
    channel: Channel,
    mut frames: mpsc::Receiver<Vec<Bytes>>,
    sent: mpsc::Sender<(DeviceId, Channel)>,
) {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = transport.send_pieces(PeerKey(*peer.as_bytes()), to_transport(channel), frame).await {
            tracing::debug!(peer = %peer.short(), ?channel, %error, "a frame was not sent");
        }
        if sent.send((peer, channel)).await.is_err() {
            return;
        }
    }
}

/// Where this device can be reached: what a relay or the network says, and where it listens.
pub(in crate::node) fn addresses_of(transport: &Transport) -> Vec<String> {
    in_order(transport.addresses())
}

/// What others are to try, as far as they take it: where a relay has reached this device, then the relays themselves,
/// then where it listens, what only this machine can reach at last.
pub(in crate::node) fn in_order(known: transport::Addresses) -> Vec<String> {
    let mut listening = known.listening;
    listening.sort_by_key(|listening| (!listening.address.is_relayed(), listening.loopback));
    let confirmed = known.confirmed.iter().map(ToString::to_string);
    let mut addresses = Vec::new();
    for address in confirmed.chain(listening.iter().map(|listening| listening.address.to_string())) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn random(engine: &mut Engine) -> u64 {
    u64::from_be_bytes(engine.random())
}

fn to_transport(channel: Channel) -> transport::Channel {
    match channel {
        Channel::Sync => transport::Channel::Sync,
        Channel::Join => transport::Channel::Join,
        Channel::Bulk => transport::Channel::Bulk,
        Channel::Mailbox => transport::Channel::Mailbox,
    }
}

fn from_transport(channel: transport::Channel) -> Channel {
    match channel {
        transport::Channel::Join => Channel::Join,
        transport::Channel::Bulk => Channel::Bulk,
        transport::Channel::Mailbox => Channel::Mailbox,
        _ => Channel::Sync,
    }
}
