//! The way to the cluster: connecting, and the stream with its settings.

use std::{path::PathBuf, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event,
    jetstream::{
        self, Context,
        context::{CreateStreamErrorKind, GetStreamErrorKind, UpdateStreamErrorKind},
        stream::{Config, DiscardPolicy, StorageType, Stream},
    },
};

use super::record;
use crate::store::Quotas;

/// How long the cluster has for an answer before it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is said that the cluster cannot be reached, and how long until the next try.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Blobs that wait for the stream's acknowledgement, at most. Further ones wait for their turn.
pub(super) const ON_WAY_MAX: usize = 4_096;

/// What stands before the generation in the stream's description.
const GENERATION: &str = "Mailboxes of clave-relay, generation ";

/// Where the cluster is.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    /// URLs of some of its servers.
    pub(crate) servers: Vec<String>,
    /// A NATS credentials file; empty: none.
    pub(crate) credentials: PathBuf,
    /// Certificates of those who may vouch for the servers, as PEM; empty: those of the system.
    pub(crate) ca: PathBuf,
    /// The stream's name, and its subjects' first part.
    pub(crate) stream: String,
    /// How many servers have each message.
    pub(crate) replicas: usize,
}

/// Why the cluster cannot be used, though it was reached. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClusterError {
    #[error("`storage.credentials` {0} cannot be read: {1}. Check its path, owner and mode")]
    Credentials(PathBuf, std::io::Error),
    #[error(
        "the NATS servers {servers} cannot be used: {why}. Check `storage.servers`, `storage.credentials` and `storage.ca`"
    )]
    Refused { servers: String, why: String },
    #[error(
        "the NATS servers have no JetStream for this account: start them with `jetstream {{}}`, or enable it for the account"
    )]
    NoJetStream,
    #[error(
        "the stream {stream:?} cannot be made or used: {why}. It needs {replicas} servers (`storage.replicas`) with room for \
         `mailboxes.store_mib` each"
    )]
    Stream { stream: String, replicas: usize, why: String },
    #[error("the stream {0:?} is not one of clave-relay's: choose another name with `storage.stream`")]
    Foreign(String),
    #[error(transparent)]
    Objects(#[from] crate::store::ObjectsError),
}

/// Connects, trying again until a server answers.
pub(super) async fn connect(config: &ClusterConfig) -> Result<Context, ClusterError> {
    let mut wait = Duration::from_millis(250);
    loop {
        let error = match options(config).await?.connect(&config.servers).await {
            Ok(client) => return Ok(context(client)),
            Err(error) => error,
        };
        match error.kind() {
            ConnectErrorKind::Io | ConnectErrorKind::Dns | ConnectErrorKind::TimedOut => {
                let (servers, seconds) = (config.servers.join(", "), wait.as_secs_f32());
                tracing::warn!(%error, servers, seconds, "no NATS server can be reached; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
            _ => return Err(ClusterError::Refused { servers: config.servers.join(", "), why: error.to_string() }),
        }
    }
}

async fn options(config: &ClusterConfig) -> Result<ConnectOptions, ClusterError> {
    let mut options = ConnectOptions::new()
        .name("clave-relay")
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50 * 2_u64.saturating_pow(u32::try_from(attempts.min(6)).unwrap_or(6)))
        })
        .event_callback(|event| async move {
            match event {
                Event::Connected => tracing::info!("connected to a NATS server"),
                Event::Disconnected => tracing::warn!("lost a NATS server; looking for another"),
                event => tracing::warn!(%event, "NATS"),
            }
        });
    if !config.credentials.as_os_str().is_empty() {
        let failed = |error| ClusterError::Credentials(config.credentials.clone(), error);
        options = options.credentials_file(&config.credentials).await.map_err(failed)?;
    }
    if !config.ca.as_os_str().is_empty() {
        options = options.add_root_certificates(config.ca.clone());
    }
    Ok(options)
}

fn context(client: Client) -> Context {
    jetstream::context::ContextBuilder::new()
        .timeout(ANSWER_TIMEOUT)
        .ack_timeout(ANSWER_TIMEOUT)
        // Those that are given up count until they time out.
        .max_ack_inflight(2 * ON_WAY_MAX)
        .backpressure_on_inflight(true)
        .build(client)
}

/// The relays keep to their quotas themselves, removing the oldest. The stream's own limit is there in case none of them runs: above what quotas
/// allow, as a message takes up to a quarter more than quotas count.
fn settings(config: &ClusterConfig, quotas: &Quotas, description: String) -> Config {
    Config {
        name: config.stream.clone(),
        subjects: record::subjects(&config.stream),
        max_bytes: i64::try_from(quotas.store_bytes_max / 4 * 5).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        discard: DiscardPolicy::Old,
        max_age: Duration::from_secs(quotas.kept_seconds),
        storage: StorageType::File,
        num_replicas: config.replicas,
        description: Some(description),
        allow_direct: true,
        ..Config::default()
    }
}

/// The stream, made if it is not there, with these quotas. And the generation of what is in it: it was chosen by whoever made the stream.
pub(super) async fn stream(
    context: &Context,
    config: &ClusterConfig,
    quotas: &Quotas,
) -> Result<(Stream, [u8; 16]), ClusterError> {
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).expect("a system without randomness could not have made the relay's key");
    let described = format!("{GENERATION}{:032x}", u128::from_be_bytes(fresh));
    let refused = |why: String| ClusterError::Stream { stream: config.stream.clone(), replicas: config.replicas, why };
    let mut wait = Duration::from_millis(100);
    loop {
        let (why, unavailable) = match context.get_stream(&config.stream).await {
            Ok(stream) => {
                let is = &stream.cached_info().config;
                let generation = generation(is.description.as_deref())
                    .ok_or_else(|| ClusterError::Foreign(config.stream.clone()))?;
                let ours = settings(config, quotas, is.description.clone().unwrap_or_default());
                if (is.max_age, is.max_bytes, is.num_replicas) == (ours.max_age, ours.max_bytes, ours.num_replicas) {
                    return Ok((stream, generation));
                }
                match context.update_stream(&ours).await {
                    Ok(_) => {
                        tracing::info!(stream = config.stream, "the stream has this configuration's limits now");
                        continue;
                    }
                    Err(error) => (error.to_string(), !matches!(error.kind(), UpdateStreamErrorKind::JetStream(_))),
                }
            }
            Err(error) => match error.kind() {
                // Not there.
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => {
                    match context.create_stream(settings(config, quotas, described.clone())).await {
                        // Read again: another relay may have made it at the same time.
                        Ok(_) => continue,
                        Err(error) => (error.to_string(), is_passing(&error.kind())),
                    }
                }
                GetStreamErrorKind::JetStream(error) => (error.to_string(), error.code() == 503),
                _ => (error.to_string(), true),
            },
        };
        if why.contains("not enabled") {
            return Err(ClusterError::NoJetStream);
        }
        if !unavailable {
            return Err(refused(why));
        }
        tracing::warn!(why, seconds = wait.as_secs_f32(), "the stream cannot be reached; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

fn is_passing(kind: &CreateStreamErrorKind) -> bool {
    match kind {
        // 10058: another relay has just made it, with its own generation.
        CreateStreamErrorKind::JetStream(error) => error.code() == 503 || error.error_code().0 == 10058,
        CreateStreamErrorKind::TimedOut
        | CreateStreamErrorKind::JetStreamUnavailable
        | CreateStreamErrorKind::Response => true,
        _ => false,
    }
}

/// What a description says, if it is ours.
pub(super) fn generation(description: Option<&str>) -> Option<[u8; 16]> {
    let digits = description?.strip_prefix(GENERATION)?;
    u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_from_our_own_description_only() {
        let digits = "000102030405060708090a0b0c0d0e0f";
        let read = generation(Some(&format!("{GENERATION}{digits}")));
        assert_eq!(read, Some(std::array::from_fn(|at| at as u8)));
        for wrong in [None, Some(""), Some(digits), Some("Mailboxes of clave-relay, generation +1")] {
            assert_eq!(generation(wrong), None);
        }
    }
}
