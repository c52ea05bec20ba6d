//! Being woken: where a host is pushed to, for which circles, and how that goes.

use clave_engine::crypto::DeviceId;
use clave_engine::{CircleId, PushEndpoint, PushHealth, RelayToken};

use crate::{Error, Node};

/// How a node is woken while it is away; see [`Node::push`]. Cheap to clone.
///
/// A relay of a space pushes when something is stored for this device and it is not connected. A push says nothing: have the node
/// [catch up](Node::catch_up) on it. Each relay is told where to push to, and for which circles, whenever the node is connected with it;
/// so a change takes effect at a relay once the node has met it again.
#[derive(Clone)]
pub struct Push {
    node: Node,
}

/// How being woken goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushStatus {
    /// Whether the host gave an endpoint.
    pub has_endpoint: bool,
    /// When a push last arrived, as the host said by [`Push::woken`], in Unix milliseconds.
    pub woken_ms: Option<u64>,
    /// The relays of this device's spaces.
    pub relays: Vec<PushHealth>,
    /// The circles for which this device is not woken, in order.
    pub muted: Vec<CircleId>,
}

impl Push {
    /// Has this device be pushed to there from now on, by all relays but those that have an endpoint of their own.
    ///
    /// A Web Push subscription belongs to one server key. Where each relay has its own ([`PushHealth::server_key`]), subscribe for each, and give each its endpoint
    /// by [`set_endpoint_at`](Self::set_endpoint_at).
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn set_endpoint(&self, endpoint: PushEndpoint) -> Result<(), Error> {
        self.node.command(move |engine, now| engine.set_push_endpoint(None, Some(endpoint), now)).await
    }

    /// The same for one relay; with `None`, it has no endpoint of its own any more.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn set_endpoint_at(&self, relay: DeviceId, endpoint: Option<PushEndpoint>) -> Result<(), Error> {
        self.node.command(move |engine, now| engine.set_push_endpoint(Some(relay), endpoint, now)).await
    }

    /// Has no relay push to this device any more. One that cannot be reached now pushes until it can, or until it has not seen
    /// this device for long.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn clear(&self) -> Result<(), Error> {
        self.node.command(|engine, now| engine.clear_push_endpoints(now)).await
    }

    /// Has this device not be woken for what is written in a circle, or be woken again. This concerns this device alone.
    ///
    /// # Errors
    /// If this device is not in the circle, or the disk refuses.
    pub async fn mute(&self, circle: CircleId, muted: bool) -> Result<(), Error> {
        self.node.command(move |engine, now| engine.mute(circle, muted, now)).await
    }

    /// Notes that a push arrived, for [`status`](Self::status): what a host calls that was woken.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn woken(&self) -> Result<(), Error> {
        self.node.command(|engine, now| engine.note_woken(now)).await
    }

    /// How it goes. [`Event::PushChanged`](crate::Event::PushChanged) and [`Event::MuteChanged`](crate::Event::MuteChanged) say when to look again.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn status(&self) -> Result<PushStatus, Error> {
        let read = |engine: &mut clave_engine::Engine| {
            Ok(PushStatus {
                has_endpoint: engine.has_push_endpoint()?,
                woken_ms: engine.last_woken_ms()?,
                relays: engine.push_health()?,
                muted: engine.muted().iter().copied().collect(),
            })
        };
        self.node.read(read).await
    }
}

impl Node {
    /// How this node is woken while it is away.
    #[must_use]
    pub fn push(&self) -> Push {
        Push { node: self.clone() }
    }

    /// Shows a relay that is for some only this token from now on, or none. It stays on this device: everybody in a space whose relay asks for one
    /// gives it to their own device. Can be done before a space names the relay, or one is joined through it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn set_relay_token(&self, relay: DeviceId, token: Option<RelayToken>) -> Result<(), Error> {
        self.command(move |engine, now| engine.set_relay_token(relay, token, now)).await
    }
}
