//! Being woken while the app sleeps, and tokens of relays.

use std::sync::Arc;

use clave::{DeviceId, RelayAddress, RelayToken};

use crate::convert::{count, parse};
use crate::session::Session;
use crate::{ClaveError, Node};

/// How a node is woken while it is away. A relay of a space pushes when something is stored for this device and it is not connected.
/// A push says nothing: have the node catch up on it. A change takes effect at a relay once the node has met it again.
#[derive(uniffi::Object)]
pub struct Push {
    session: Arc<Session>,
}

/// Where the push server takes messages for this device.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct PushEndpoint {
    /// An https URL: the endpoint of a Web Push subscription, or of UnifiedPush.
    pub url: String,
    /// The subscription's key `p256dh`, in base64 for URLs, as browsers and UnifiedPush give it.
    #[uniffi(default = None)]
    pub p256dh: Option<String>,
    /// Its secret `auth`, likewise. Both or none.
    #[uniffi(default = None)]
    pub auth: Option<String>,
}

/// How one relay gets on with waking this device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PushHealth {
    /// The relay's address.
    pub relay: String,
    /// What a Web Push subscription is to be made for (`applicationServerKey`), 65 bytes. None before the relay was met, or if it
    /// wakes nobody.
    pub server_key: Option<Vec<u8>>,
    /// Whether it was told where to push to, and took it.
    pub registered: bool,
    /// For how many mailboxes, as it said in the session that there is.
    pub mailboxes: u32,
    /// When the push server last took a push of this relay, as it says, in Unix milliseconds.
    pub accepted_ms: Option<u64>,
    /// When it last refused one or could not be reached.
    pub refused_ms: Option<u64>,
    /// What it said then: an HTTP status; none if it could not be reached.
    pub status: Option<u32>,
    /// Why this device is not woken, if it is not, and what to do.
    pub error: Option<String>,
}

/// How being woken goes.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PushStatus {
    /// Whether there is an endpoint.
    pub has_endpoint: bool,
    /// When a push last arrived, as the app said by `woken`, in Unix milliseconds.
    pub woken_ms: Option<u64>,
    /// The relays of this device's spaces.
    pub relays: Vec<PushHealth>,
    /// The ids of circles for which this device is not woken.
    pub muted: Vec<String>,
}

#[uniffi::export]
impl Node {
    /// How this node is woken while it is away.
    #[must_use]
    pub fn push(&self) -> Push {
        Push { session: self.session.clone() }
    }

    /// Shows a relay that is for some only this token from now on, or none. It stays on this device: everybody in a space whose relay
    /// asks for one gives it to their own device. Can be done before a space names the relay, or one is joined through it.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if the address or the token is none.
    pub async fn set_relay_token(&self, relay: String, token: Option<String>) -> Result<(), ClaveError> {
        let relay = known_relay(&relay)?;
        let token = token.map(|token| token.parse::<RelayToken>()).transpose();
        let token = token.map_err(|error| ClaveError::unusable("token", &error))?;
        let node = self.session.node().clone();
        self.session.run(async move { node.set_relay_token(relay, token).await }).await
    }
}

#[uniffi::export]
impl Push {
    /// Has this device be pushed to there from now on: by all relays that have no endpoint of their own, or by one, named by its address. A
    /// Web Push subscription belongs to one server key: where each relay has its own, subscribe for each.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if nothing can be pushed there, or `relay` is no address.
    pub async fn set_endpoint(&self, endpoint: PushEndpoint, relay: Option<String>) -> Result<(), ClaveError> {
        let endpoint = endpoint.known()?;
        let relay = relay.map(|relay| known_relay(&relay)).transpose()?;
        let push = self.session.node().push();
        let set = async move {
            match relay {
                Some(relay) => push.set_endpoint_at(relay, Some(endpoint)).await,
                None => push.set_endpoint(endpoint).await,
            }
        };
        self.session.run(set).await
    }

    /// Has no relay push to this device any more. One that cannot be reached now pushes until it can.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn clear(&self) -> Result<(), ClaveError> {
        let push = self.session.node().push();
        self.session.run(async move { push.clear().await }).await
    }

    /// Has this device not be woken for what is written in a circle, or be woken again. This concerns this device alone.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `circle` is no id; if this device is not in the circle.
    pub async fn mute(&self, circle: String, muted: bool) -> Result<(), ClaveError> {
        let (push, circle) = (self.session.node().push(), parse(&circle, "circle")?);
        self.session.run(async move { push.mute(circle, muted).await }).await
    }

    /// Notes that a push arrived: what an app calls that was woken.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn woken(&self) -> Result<(), ClaveError> {
        let push = self.session.node().push();
        self.session.run(async move { push.woken().await }).await
    }

    /// How it goes.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`], [`ClaveError::Paused`].
    pub async fn status(&self) -> Result<PushStatus, ClaveError> {
        let push = self.session.node().push();
        let status = self.session.run(async move { push.status().await }).await?;
        Ok(PushStatus {
            has_endpoint: status.has_endpoint,
            woken_ms: status.woken_ms,
            relays: status.relays.into_iter().map(PushHealth::from).collect(),
            muted: status.muted.iter().map(ToString::to_string).collect(),
        })
    }
}

fn known_relay(address: &str) -> Result<DeviceId, ClaveError> {
    let address = address.parse::<RelayAddress>().map_err(|error| ClaveError::unusable("relay", &error))?;
    Ok(address.relay())
}

impl PushEndpoint {
    fn known(&self) -> Result<clave::PushEndpoint, ClaveError> {
        let not_one = |error: clave::NotAnEndpoint| ClaveError::unusable("endpoint", &error);
        let keys = match (&self.p256dh, &self.auth) {
            (None, None) => None,
            (p256dh, auth) => {
                let text = |part: &Option<String>| part.clone().unwrap_or_default();
                Some(clave::PushKeys::from_base64(&text(p256dh), &text(auth)).map_err(not_one)?)
            }
        };
        clave::PushEndpoint::new(&self.url, keys).map_err(not_one)
    }
}

impl From<clave::PushHealth> for PushHealth {
    fn from(health: clave::PushHealth) -> Self {
        Self {
            relay: health.address.to_string(),
            server_key: health.server_key,
            registered: health.registered,
            mailboxes: count(health.mailboxes),
            accepted_ms: health.accepted_ms,
            refused_ms: health.refused_ms,
            status: health.status,
            error: health.error.map(|error| error.to_string()),
        }
    }
}
