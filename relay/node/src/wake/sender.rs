//! A push: one POST over TLS (RFC 8030, section 5).

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use super::{Endpoint, Subscription, WakeError, endpoint, schedule::Outcome, sealing, vapid::Vapid};
use crate::service::now_seconds;

/// What takes longer is a failure.
const PUSH_TIMEOUT: Duration = Duration::from_secs(15);

/// Addresses of a name that are tried, one after another.
const ADDRESSES_MAX: usize = 4;

/// The head of an answer is at most so long. Its body is not read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The names of what RFC 8030 adds (sections 5.2, 5.3 and 5.4).
const TTL: &str = "ttl";
const URGENCY: &str = "urgency";
const TOPIC: &str = "topic";

/// Sends pushes.
pub(super) struct Sender {
    tls: TlsConnector,
    pub(super) vapid: Vapid,
    ttl_seconds: u64,
    private_allowed: bool,
}

/// Why a push did not reach its server.
#[derive(Debug, thiserror::Error)]
enum Unreached {
    #[error("the endpoint is none")]
    Endpoint,
    #[error("the name stands for no address that is public")]
    Private,
    /// Only of which kind: what it says may name the host.
    #[error("{}", .0.kind())]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("nothing could be sealed or signed")]
    Crypto,
    #[error("it took too long")]
    Timeout,
}

impl Sender {
    /// `roots`: a file with further authorities (PEM); empty: none.
    pub(super) fn new(vapid: Vapid, roots: &Path, ttl_seconds: u64, private_allowed: bool) -> Result<Self, WakeError> {
        let mut trusted = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        if !roots.as_os_str().is_empty() {
            let unusable = || WakeError::Roots(roots.into());
            let found = CertificateDer::pem_file_iter(roots).map_err(|_| unusable())?.collect::<Result<Vec<_>, _>>();
            let (added, ignored) = trusted.add_parsable_certificates(found.map_err(|_| unusable())?);
            if added == 0 || ignored > 0 {
                return Err(unusable());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), vapid, ttl_seconds, private_allowed })
    }

    /// Pushes once. Dropping it breaks the connection off.
    pub(super) async fn push(&self, to: &Subscription) -> Outcome {
        let posted = tokio::time::timeout(PUSH_TIMEOUT, self.post(to)).await.unwrap_or(Err(Unreached::Timeout));
        match posted {
            Ok((status, headers)) => of_answer(status, &headers, SystemTime::now()),
            Err(error) => {
                tracing::debug!(%error, "a push server was not reached");
                Outcome::Later { status: 0, after: None }
            }
        }
    }

    async fn post(&self, to: &Subscription) -> Result<(StatusCode, HeaderMap), Unreached> {
        let endpoint = Endpoint::parse(&to.endpoint, self.private_allowed).ok_or(Unreached::Endpoint)?;
        let request = self.request(&endpoint, to)?;
        let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|_| Unreached::Endpoint)?;
        let stream = self.tls.connect(name, self.connect(&endpoint).await?).await?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(ANSWER_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        // Ends with this.
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let (head, _) = sender.send_request(request).await?.into_parts();
        Ok((head.status, head.headers))
    }

    /// To the addresses that were looked at, so that a name cannot stand for others a moment later.
    async fn connect(&self, endpoint: &Endpoint) -> Result<TcpStream, Unreached> {
        let found = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await?;
        let is_allowed = |address: &SocketAddr| self.private_allowed || endpoint::is_public(address.ip());
        let mut failure = Unreached::Private;
        for address in found.filter(is_allowed).take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    fn request(&self, endpoint: &Endpoint, to: &Subscription) -> Result<Request<Full<Bytes>>, Unreached> {
        let request = Request::post(endpoint.path())
            .header(HOST, endpoint.authority())
            .header(TTL, self.ttl_seconds)
            .header(URGENCY, "high")
            // A push that was not delivered yet gives way to the next.
            .header(TOPIC, "wake");
        let request = match &to.keys {
            None => request.header(CONTENT_LENGTH, 0).body(Full::default()),
            Some(keys) => {
                let body = sealing::body(keys).map_err(|_| Unreached::Crypto)?;
                let authorization = self.vapid.authorization(&endpoint.origin(), now_seconds());
                request
                    .header(AUTHORIZATION, authorization.ok_or(Unreached::Crypto)?)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_ENCODING, "aes128gcm")
                    .body(Full::from(body))
            }
        };
        request.map_err(|_| Unreached::Endpoint)
    }
}

fn of_answer(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Outcome {
    let code = status.as_u16();
    match code {
        200..=299 => Outcome::Accepted,
        404 | 410 => Outcome::Gone { status: code },
        429 | 500..=599 => Outcome::Later { status: code, after: retry_after(headers, now) },
        // A redirection is not followed: the endpoint is what the device named.
        _ => Outcome::Refused { status: code },
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default());
    text.parse().ok().map(Duration::from_secs).or_else(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 15:00:00 GMT").unwrap();
        let of = |status: u16, after: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            of_answer(StatusCode::from_u16(status).unwrap(), &headers, now)
        };
        let later = |status, seconds: Option<u64>| Outcome::Later { status, after: seconds.map(Duration::from_secs) };
        assert_eq!(of(201, ""), Outcome::Accepted);
        assert_eq!(of(404, ""), Outcome::Gone { status: 404 });
        assert_eq!(of(410, "5"), Outcome::Gone { status: 410 });
        assert_eq!(of(429, "120"), later(429, Some(120)));
        assert_eq!(of(503, "Sun, 22 Nov 2026 15:10:00 GMT"), later(503, Some(600)));
        assert_eq!(of(503, "Sun, 22 Nov 2026 14:00:00 GMT"), later(503, Some(0)));
        for nonsense in ["", "-1", "soon", "99999999999999999999999"] {
            assert_eq!(of(500, nonsense), later(500, None));
        }
        for refused in [301, 307, 400, 401, 403, 413] {
            assert_eq!(of(refused, ""), Outcome::Refused { status: refused });
        }
    }
}
