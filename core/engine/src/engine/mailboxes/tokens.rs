//! What a relay that is for some asks for: a token, which its operator gave to this device's person (ADR 30).

use std::fmt;
use std::str::FromStr;

use super::*;

/// A secret that opens a relay. Shows as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayToken(String);

/// That cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is what the relay's operator gave out: 1 to 256 visible characters; copy it once more")]
pub struct NotAToken;

impl FromStr for RelayToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let is_plain = !text.is_empty() && text.len() <= wire::TOKEN_BYTES_MAX && !text.contains(char::is_control);
        if is_plain { Ok(Self(text.to_owned())) } else { Err(NotAToken) }
    }
}

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayToken")
    }
}

impl Engine {
    /// Command: shows a relay this token from now on, or none. It stays on this device. A session that was refused begins anew.
    ///
    /// # Errors
    /// If a write has failed.
    pub fn set_relay_token(
        &mut self,
        relay: DeviceId,
        token: Option<RelayToken>,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        match token {
            Some(RelayToken(token)) => self.desk.put(token_key(&relay), token.into_bytes()),
            None => self.desk.remove_if_there(token_key(&relay))?,
        }
        if let Some(known) = self.mailboxes.relays.get_mut(&relay) {
            (known.retry_at_ms, known.retries) = (now_ms, 0);
            if known.session.take().is_some() {
                self.fetches.lose_peer(&relay);
                self.outbox.push(Output::HangUp(relay));
                self.settle_partly();
            } else {
                self.greet_relay(relay);
            }
        }
        self.finish();
        Ok(())
    }

    /// The token that a relay is shown; empty if there is none.
    pub(super) fn relay_token(&self, relay: &DeviceId) -> Vec<u8> {
        self.desk.store.read(&token_key(relay)).ok().flatten().unwrap_or_default()
    }

    /// What it means that a relay does not let this device in.
    pub(super) fn not_let_in(&self, relay: &DeviceId) -> RelayError {
        if self.relay_token(relay).is_empty() { RelayError::Access } else { RelayError::Token }
    }
}

fn token_key(relay: &DeviceId) -> Key {
    Key::new(Keyspace::RelayTokens, [], relay.as_bytes())
}
