//! A push server, and the device behind it: what a browser does with a push, by other libraries than the relay's.

use std::{
    collections::VecDeque,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use aes_gcm::{Aes128Gcm, KeyInit, aead::Aead};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use hkdf::Hkdf;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use p256::{
    PublicKey, SecretKey,
    ecdh::diffie_hellman,
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
};
use rustls_pki_types::PrivateKeyDer;
use sha2::Sha256;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

use crate::harness::in_time;

/// What came.
pub struct Push {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Push {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub struct PushServer {
    pub port: u16,
    /// The file with its certificate.
    pub roots: PathBuf,
    pushes: mpsc::Receiver<Push>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

impl PushServer {
    pub async fn start(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let roots = folder.join("roots.pem");
        let text = BASE64.encode(made.cert.der());
        std::fs::write(&roots, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, pushes) = mpsc::channel(64);
        let answers: Arc<Mutex<VecDeque<(u16, &str)>>> = Arc::default();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), told, answers.clone()));
        Self { port, roots, pushes, answers }
    }

    pub fn endpoint(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// The lines of a relay's configuration.
    pub fn config(&self, more: &str) -> String {
        format!("[wake]\nprivate_addresses = true\nroots = {:?}\ngap_seconds = 0\n{more}", self.roots)
    }

    /// Answers the next push like this (with a `Retry-After`), instead of taking it.
    pub fn answer(&self, status: u16, retry_after: &'static str) {
        self.answers.lock().unwrap().push_back((status, retry_after));
    }

    pub async fn push(&mut self) -> Push {
        in_time(self.pushes.recv()).await.unwrap()
    }

    /// Whether there is none that was not looked at.
    pub fn is_idle(&self) -> bool {
        self.pushes.is_empty()
    }
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    told: mpsc::Sender<Push>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, told, answers) = (tls.clone(), told.clone(), answers.clone());
        tokio::spawn(async move {
            // A client that does not like the certificate shows in what the test waits for.
            let Ok(stream) = tls.accept(stream).await else { return };
            let answer = service_fn(|request: Request<Incoming>| {
                let (told, answers) = (told.clone(), answers.clone());
                async move {
                    assert_eq!(request.method(), "POST");
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let answer = answers.lock().unwrap().pop_front();
                    told.send(Push { path: head.uri.to_string(), headers: head.headers, body }).await.unwrap();
                    let response = match answer {
                        None => Response::builder().status(201),
                        Some((status, "")) => Response::builder().status(status),
                        Some((status, after)) => Response::builder().status(status).header("retry-after", after),
                    };
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::new())).unwrap())
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// The keys of a browser's subscription.
pub struct Browser {
    secret: SecretKey,
    pub auth: [u8; 16],
}

impl Browser {
    pub fn new(seed: u8) -> Self {
        Self { secret: SecretKey::from_slice(&[seed; 32]).unwrap(), auth: [seed + 1; 16] }
    }

    pub fn p256dh(&self) -> Box<[u8]> {
        self.secret.public_key().to_sec1_bytes()
    }

    /// RFC 8291, section 3.4, and RFC 8188, section 2, as the receiver: what was sealed.
    pub fn opened(&self, push: &Push) -> Vec<u8> {
        assert_eq!(push.header("content-encoding"), Some("aes128gcm"));
        let (salt, rest) = push.body.split_first_chunk::<16>().unwrap();
        let (record_bytes, rest) = rest.split_first_chunk::<4>().unwrap();
        let (length, rest) = rest.split_first().unwrap();
        let (sender, sealed) = rest.split_at((*length).into());
        assert!(sealed.len() <= u32::from_be_bytes(*record_bytes) as usize, "it is one record");
        let theirs = PublicKey::from_sec1_bytes(sender).unwrap();
        let secret = diffie_hellman(self.secret.to_nonzero_scalar(), theirs.as_affine());
        let info = [&b"WebPush: info\0"[..], &self.p256dh(), sender].concat();
        let (mut input, mut key, mut nonce) = ([0; 32], [0; 16], [0; 12]);
        Hkdf::<Sha256>::new(Some(&self.auth), secret.raw_secret_bytes()).expand(&info, &mut input).unwrap();
        let record = Hkdf::<Sha256>::new(Some(salt), &input);
        record.expand(b"Content-Encoding: aes128gcm\0", &mut key).unwrap();
        record.expand(b"Content-Encoding: nonce\0", &mut nonce).unwrap();
        let mut plaintext = Aes128Gcm::new(&key.into()).decrypt(&nonce.into(), sealed).unwrap();
        assert_eq!(plaintext.pop(), Some(2), "the last record");
        plaintext
    }
}

/// RFC 8292 as a push server checks it: by the key that the browser was given, for this origin, not expired. The claims.
pub fn vapid_claims(push: &Push, key: &[u8], origin: &str) -> serde_json::Value {
    let text = push.header("authorization").unwrap().strip_prefix("vapid t=").unwrap();
    let (token, sent_key) = text.split_once(", k=").unwrap();
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    assert_eq!(decode(sent_key), key);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = Signature::from_slice(&decode(signature)).unwrap();
    VerifyingKey::from_sec1_bytes(key).unwrap().verify(signed.as_bytes(), &signature).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |text| serde_json::from_slice::<serde_json::Value>(&decode(text)).unwrap();
    assert_eq!(json(header), serde_json::json!({ "typ": "JWT", "alg": "ES256" }));
    let claims = json(claims);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expires = claims["exp"].as_u64().unwrap();
    assert!(claims["aud"] == origin && expires > now && expires <= now + 24 * 60 * 60, "{claims}");
    claims
}
