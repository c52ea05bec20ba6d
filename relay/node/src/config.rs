//! The configuration file, and what follows from it.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clave_mailbox::{BLOB_BYTES_MAX, OPEN_MAX, TOKEN_BYTES_MAX};
use clave_transport::{Address, PeerKey, RelayLimits};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{
    access::{Access, Token},
    sources::Rates,
    store::{ClusterConfig, Objects, Quotas},
    wake::WakeRules,
};

/// The file that `init` writes: every key, its meaning, unit and default.
pub(crate) const TEMPLATE: &str = include_str!("config/relay.toml");

/// Sessions of one device: the newest counts, and another is on its way out.
const DEVICE_SESSIONS_MAX: usize = 4;

/// Names further away from what was written than this are not what was meant.
const SIMILAR: f64 = 0.75;

/// The keys of the file, described there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub(crate) struct Config {
    pub(crate) listen: Vec<String>,
    pub(crate) external: Vec<String>,
    pub(crate) data: PathBuf,
    pub(crate) identity: PathBuf,
    pub(crate) drain_seconds: u64,
    pub(crate) access: AccessConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) mailboxes: MailboxesConfig,
    pub(crate) sources: SourcesConfig,
    pub(crate) circuits: CircuitsConfig,
    pub(crate) wake: WakeConfig,
    pub(crate) metrics: MetricsConfig,
    pub(crate) log: LogConfig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessMode {
    #[default]
    Open,
    Token,
    Devices,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessConfig {
    mode: AccessMode,
    tokens: Vec<String>,
    devices: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StorageKind {
    #[default]
    Embedded,
    JetStream,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StorageConfig {
    pub(crate) kind: StorageKind,
    servers: Vec<String>,
    credentials: PathBuf,
    ca: PathBuf,
    stream: String,
    replicas: usize,
    objects: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MailboxesConfig {
    pub(crate) kept_days: u64,
    pub(crate) blob_kib: u64,
    pub(crate) mailbox_mib: u64,
    pub(crate) mailbox_entries: u64,
    pub(crate) store_mib: u64,
    pub(crate) new_mailboxes_percent: u64,
    pub(crate) mailboxes_max: u64,
    pub(crate) open_max: u32,
    pub(crate) disk_reserve_mib: u64,
    pub(crate) cache_mib: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SourcesConfig {
    put_kib_per_second: u64,
    put_burst_kib: u64,
    requests_per_second: u64,
    requests_burst: u64,
    network_devices: u64,
    sessions_max: usize,
    network_sessions_max: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CircuitsConfig {
    pub(crate) connections_max: u32,
    pub(crate) reservations_max: usize,
    pub(crate) circuits_max: usize,
    pub(crate) device_circuits_max: usize,
    pub(crate) circuit_seconds: u32,
    pub(crate) circuit_mib: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WakeConfig {
    pub(crate) enabled: bool,
    contact: String,
    ttl_hours: u64,
    interval_seconds: u64,
    gap_seconds: u64,
    retry_seconds: u64,
    pushes_max: usize,
    subscriptions_max: usize,
    mailboxes_max: usize,
    device_subscriptions_per_day: u64,
    kept_days: u64,
    private_addresses: bool,
    roots: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MetricsConfig {
    pub(crate) listen: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) json: bool,
    pub(crate) addresses: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"].map(String::from).into(),
            external: Vec::new(),
            data: "/var/lib/clave-relay".into(),
            identity: PathBuf::new(),
            drain_seconds: 10,
            access: AccessConfig::default(),
            storage: StorageConfig::default(),
            mailboxes: MailboxesConfig::default(),
            sources: SourcesConfig::default(),
            circuits: CircuitsConfig::default(),
            wake: WakeConfig::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: StorageKind::default(),
            servers: vec!["nats://127.0.0.1:4222".into()],
            credentials: PathBuf::new(),
            ca: PathBuf::new(),
            stream: "clave".into(),
            replicas: 3,
            objects: String::new(),
        }
    }
}

impl Default for MailboxesConfig {
    fn default() -> Self {
        Self {
            kept_days: 30,
            blob_kib: 4096,
            mailbox_mib: 1024,
            mailbox_entries: 100_000,
            store_mib: 10_240,
            new_mailboxes_percent: 90,
            mailboxes_max: 1_000_000,
            open_max: 4096,
            disk_reserve_mib: 512,
            cache_mib: 128,
        }
    }
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self {
            put_kib_per_second: 8192,
            put_burst_kib: 524_288,
            requests_per_second: 1000,
            requests_burst: 10_000,
            network_devices: 16,
            sessions_max: 4096,
            network_sessions_max: 512,
        }
    }
}

impl Default for CircuitsConfig {
    fn default() -> Self {
        let limits = RelayLimits::default();
        Self {
            connections_max: limits.connections_max,
            reservations_max: limits.reservations_max,
            circuits_max: limits.circuits_max,
            device_circuits_max: limits.circuits_per_peer_max,
            circuit_seconds: 3600,
            circuit_mib: limits.circuit_bytes_max >> 20,
        }
    }
}

impl Default for WakeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            contact: String::new(),
            ttl_hours: 72,
            interval_seconds: 60,
            gap_seconds: 5,
            retry_seconds: 10,
            pushes_max: 32,
            subscriptions_max: 20_000,
            mailboxes_max: 512,
            device_subscriptions_per_day: 8,
            kept_days: 90,
            private_addresses: false,
            roots: PathBuf::new(),
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), json: false, addresses: false }
    }
}

/// Why a configuration cannot be used. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    #[error("the configuration {0} cannot be read: {1}. `clave-relay init` writes one")]
    Unreadable(PathBuf, io::Error),
    #[error("the configuration cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("there is no key `{0}`{1}")]
    Unknown(String, Meant),
    #[error("`{key}` is {is}, and must be {must}")]
    Range { key: &'static str, is: String, must: &'static str },
}

/// Which key was meant, if one is near.
#[derive(Debug)]
pub(crate) struct Meant(Option<String>);

impl std::fmt::Display for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(name) => write!(f, ": did you mean `{name}`?"),
            None => f.write_str(": `clave-relay init -` prints all there are"),
        }
    }
}

impl Config {
    /// Reads a file, and checks it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.into(), error))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: Table = toml::from_str(text)?;
        let known = Table::try_from(Self::default()).expect("the default can be written");
        check_names(&table, &known, "")?;
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Whether everything is within its range, and can be read as what it is meant to be.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        fn within<T: PartialOrd + ToString>(
            key: &'static str,
            is: T,
            range: std::ops::RangeInclusive<T>,
            must: &'static str,
        ) -> Result<(), ConfigError> {
            if range.contains(&is) { Ok(()) } else { Err(ConfigError::Range { key, is: is.to_string(), must }) }
        }
        let mailboxes = &self.mailboxes;
        within("mailboxes.kept_days", mailboxes.kept_days, 1..=36_500, "from 1 to 36500")?;
        within("mailboxes.blob_kib", mailboxes.blob_kib, 1..=BLOB_BYTES_MAX as u64 >> 10, "from 1 to 4096")?;
        within("mailboxes.mailbox_mib", mailboxes.mailbox_mib, 8..=1 << 40, "8 at least: one long blob and more")?;
        within("mailboxes.mailbox_entries", mailboxes.mailbox_entries, 1..=1_000_000, "from 1 to 1000000")?;
        within("mailboxes.store_mib", mailboxes.store_mib, 16..=1 << 40, "16 at least")?;
        within("mailboxes.new_mailboxes_percent", mailboxes.new_mailboxes_percent, 1..=100, "from 1 to 100")?;
        within("mailboxes.open_max", mailboxes.open_max, 1..=65_536, "from 1 to 65536")?;
        within("mailboxes.cache_mib", mailboxes.cache_mib, 8..=1 << 20, "8 at least")?;
        let sources = &self.sources;
        within("sources.put_burst_kib", sources.put_burst_kib, 1..=1 << 40, "1 at least")?;
        within("sources.requests_burst", sources.requests_burst, 1..=1 << 40, "1 at least")?;
        within("sources.network_devices", sources.network_devices, 1..=1 << 20, "1 at least")?;
        let wake = &self.wake;
        within("wake.ttl_hours", wake.ttl_hours, 0..=672, "from 0 to 672: four weeks")?;
        within("wake.interval_seconds", wake.interval_seconds, 0..=86_400, "from 0 to 86400: a day")?;
        within("wake.gap_seconds", wake.gap_seconds, 0..=86_400, "from 0 to 86400: a day")?;
        within("wake.retry_seconds", wake.retry_seconds, 1..=3_600, "from 1 to 3600: an hour")?;
        within("wake.pushes_max", wake.pushes_max, 1..=1_024, "from 1 to 1024")?;
        within("wake.mailboxes_max", wake.mailboxes_max, 1..=OPEN_MAX, "from 1 to 512")?;
        within("wake.kept_days", wake.kept_days, 1..=36_500, "from 1 to 36500")?;
        let contact = &wake.contact;
        if !(contact.is_empty() || contact.starts_with("mailto:") || contact.starts_with("https:")) {
            let must = "empty, or a URI like \"mailto:relay@example.org\"";
            return Err(ConfigError::Range { key: "wake.contact", is: format!("{:?}", wake.contact), must });
        }
        within("circuits.circuit_seconds", self.circuits.circuit_seconds, 1..=u32::MAX, "1 at least")?;
        within("listen", self.listen.len(), 1..=64, "a list of 1 to 64 addresses")?;
        self.addresses()?;
        self.access()?;
        self.cluster()?;
        self.metrics_address()?;
        let levels = ["error", "warn", "info", "debug"];
        if !levels.contains(&self.log.level.as_str()) {
            let must = "\"error\", \"warn\", \"info\" or \"debug\"";
            return Err(ConfigError::Range { key: "log.level", is: format!("{:?}", self.log.level), must });
        }
        Ok(())
    }

    /// `listen` and `external`.
    pub(crate) fn addresses(&self) -> Result<(Vec<Address>, Vec<Address>), ConfigError> {
        let parse = |key: &'static str, texts: &[String]| {
            let address = |text: &String| {
                let must = "addresses like /ip4/192.0.2.7/tcp/4001 or /dns/relay.example.org/tcp/4001";
                text.parse().map_err(|_| ConfigError::Range { key, is: format!("{text:?}"), must })
            };
            texts.iter().map(address).collect::<Result<Vec<Address>, _>>()
        };
        Ok((parse("listen", &self.listen)?, parse("external", &self.external)?))
    }

    pub(crate) fn access(&self) -> Result<Access, ConfigError> {
        let AccessConfig { mode, tokens, devices } = &self.access;
        let error = |key, is: &str, must| ConfigError::Range { key, is: is.into(), must };
        match mode {
            AccessMode::Open => Ok(Access::Open),
            AccessMode::Token => {
                if tokens.is_empty() {
                    return Err(error("access.tokens", "empty", "one token at least, as access.mode is \"token\""));
                }
                if tokens.iter().any(|token| token.is_empty() || token.len() > TOKEN_BYTES_MAX) {
                    // Not shown: it may be one.
                    return Err(error("access.tokens", "not a list of tokens", "1 to 256 bytes each"));
                }
                Ok(Access::Tokens(tokens.iter().cloned().map(Token).collect()))
            }
            AccessMode::Devices => {
                let device = |text: &String| {
                    text.parse::<PeerKey>().map_err(|_| error("access.devices", text, "devices, as 12D3KooW…"))
                };
                devices.iter().map(device).collect::<Result<_, _>>().map(Access::Devices)
            }
        }
    }

    /// `storage`: the cluster, and where its objects are; `None` if the store is embedded.
    pub(crate) fn cluster(&self) -> Result<Option<(ClusterConfig, String)>, ConfigError> {
        let StorageConfig { kind, servers, credentials, ca, stream, replicas, objects } = &self.storage;
        let error = |key, is: &dyn std::fmt::Debug, must| ConfigError::Range { key, is: format!("{is:?}"), must };
        if *kind == StorageKind::Embedded {
            return Ok(None);
        }
        let is_server = |url: &String| ["nats://", "tls://"].iter().any(|scheme| url.starts_with(scheme));
        if servers.is_empty() || !servers.iter().all(is_server) {
            return Err(error(
                "storage.servers",
                servers,
                "a list of URLs like nats://192.0.2.7:4222 or tls://host:4222",
            ));
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if stream.is_empty() || stream.len() > 32 || !stream.chars().all(is_plain) {
            return Err(error("storage.stream", stream, "1 to 32 letters, digits, - or _"));
        }
        if ![1, 3, 5].contains(replicas) {
            return Err(error("storage.replicas", replicas, "1, 3 or 5"));
        }
        for (key, path) in [("storage.credentials", credentials), ("storage.ca", ca)] {
            if !path.as_os_str().is_empty() && !path.is_file() {
                return Err(error(key, path, "a file that is there, or empty"));
            }
        }
        let objects = match objects.as_str() {
            "" => self.data.join("objects").to_string_lossy().into_owned(),
            objects => objects.into(),
        };
        if Objects::is_address(&objects) {
            let config = ClusterConfig {
                servers: servers.clone(),
                credentials: credentials.clone(),
                ca: ca.clone(),
                stream: stream.clone(),
                replicas: *replicas,
            };
            return Ok(Some((config, objects)));
        }
        Err(error("storage.objects", &objects, "an absolute path, s3://bucket or s3://bucket/prefix"))
    }

    pub(crate) fn metrics_address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let listen = &self.metrics.listen;
        if listen.is_empty() {
            return Ok(None);
        }
        let must = "an address and a port like 127.0.0.1:9464, or empty";
        let error = |_| ConfigError::Range { key: "metrics.listen", is: format!("{listen:?}"), must };
        listen.parse().map(Some).map_err(error)
    }

    pub(crate) fn identity(&self) -> PathBuf {
        if self.identity.as_os_str().is_empty() { self.data.join("relay.key") } else { self.identity.clone() }
    }

    pub(crate) fn quotas(&self) -> Quotas {
        let mailboxes = &self.mailboxes;
        let store_bytes_max = mailboxes.store_mib << 20;
        Quotas {
            kept_seconds: mailboxes.kept_days * 24 * 60 * 60,
            mailbox_bytes_max: mailboxes.mailbox_mib << 20,
            mailbox_entries_max: mailboxes.mailbox_entries,
            store_bytes_max,
            new_mailboxes_bytes_max: store_bytes_max / 100 * mailboxes.new_mailboxes_percent,
            mailboxes_max: mailboxes.mailboxes_max,
        }
    }

    pub(crate) fn rates(&self) -> Rates {
        let sources = &self.sources;
        Rates {
            bytes_per_second: sources.put_kib_per_second << 10,
            bytes_burst: sources.put_burst_kib << 10,
            requests_per_second: sources.requests_per_second,
            requests_burst: sources.requests_burst,
            subscriptions_per_day: self.wake.device_subscriptions_per_day,
            network_devices: sources.network_devices,
            sessions_max: sources.sessions_max,
            sessions_per_device_max: DEVICE_SESSIONS_MAX,
            sessions_per_network_max: sources.network_sessions_max,
        }
    }

    pub(crate) fn wake_rules(&self) -> WakeRules {
        let wake = &self.wake;
        WakeRules {
            contact: wake.contact.clone(),
            roots: wake.roots.clone(),
            private_allowed: wake.private_addresses,
            ttl_seconds: wake.ttl_hours * 60 * 60,
            interval: Duration::from_secs(wake.interval_seconds),
            gap: Duration::from_secs(wake.gap_seconds),
            retry: Duration::from_secs(wake.retry_seconds),
            pushes_max: wake.pushes_max,
            subscriptions_max: wake.subscriptions_max,
            mailboxes_max: wake.mailboxes_max,
            kept_days: wake.kept_days,
        }
    }

    pub(crate) fn limits(&self) -> RelayLimits {
        let circuits = &self.circuits;
        RelayLimits {
            connections_max: circuits.connections_max,
            reservations_max: circuits.reservations_max,
            circuits_max: circuits.circuits_max,
            circuits_per_peer_max: circuits.device_circuits_max,
            circuit_duration: Duration::from_secs(circuits.circuit_seconds.into()),
            circuit_bytes_max: circuits.circuit_mib.saturating_mul(1 << 20),
            ..RelayLimits::default()
        }
    }
}

fn check_names(table: &Table, known: &Table, path: &str) -> Result<(), ConfigError> {
    for (name, value) in table {
        let full = format!("{path}{name}");
        match (known.get(name), value) {
            (None, _) => {
                let similar = |candidate: &&String| strsim::jaro_winkler(name, candidate);
                let nearest = known.keys().max_by(|a, b| similar(a).total_cmp(&similar(b)));
                let meant =
                    nearest.filter(|nearest| similar(nearest) >= SIMILAR).map(|nearest| format!("{path}{nearest}"));
                return Err(ConfigError::Unknown(full, Meant(meant)));
            }
            (Some(Value::Table(known)), Value::Table(table)) => check_names(table, known, &format!("{full}."))?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_init_writes_is_the_default_and_has_every_key() {
        assert_eq!(Config::parse(TEMPLATE).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let written: Table = toml::from_str(TEMPLATE).unwrap();
        assert_eq!(written, Table::try_from(Config::default()).unwrap());
        // Each with its comment: no key stands first after an empty line or a table's head.
        let lines: Vec<_> = TEMPLATE.lines().collect();
        for pair in lines.windows(2) {
            let bare = pair[0].is_empty() || pair[0].starts_with('[');
            assert!(!(bare && pair[1].contains(" = ")), "{:?} has no comment", pair[1]);
        }
    }

    #[test]
    fn a_cluster_is_checked_before_it_is_reached() {
        let said = |text: &str| {
            let parsed = Config::parse(&format!("[storage]\nkind = \"jetstream\"\n{text}"));
            parsed.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(said(""), "");
        assert_eq!(said("objects = \"s3://bucket/prefix\""), "");
        assert_eq!(said("replica = 3"), "there is no key `storage.replica`: did you mean `storage.replicas`?");
        assert_eq!(said("replicas = 2"), "`storage.replicas` is 2, and must be 1, 3 or 5");
        assert!(said("servers = []").contains("like nats://"));
        assert!(said("servers = [\"http://x\"]").contains("like nats://"));
        assert!(said("stream = \"a.b\"").contains("letters, digits"));
        assert!(said("objects = \"chunks\"").contains("an absolute path, s3://bucket"));
        assert!(said("credentials = \"/nowhere\"").contains("`storage.credentials` is \"/nowhere\""));
        // What is not used is not looked at.
        assert!(Config::parse("[storage]\nreplicas = 2").unwrap().cluster().unwrap().is_none());
        let (cluster, objects) =
            Config::parse("data = \"/d\"\n[storage]\nkind = \"jetstream\"").unwrap().cluster().unwrap().unwrap();
        assert_eq!((cluster.replicas, objects.as_str()), (3, "/d/objects"));
    }

    #[test]
    fn mistakes_are_named_with_what_to_do() {
        let said = |text: &str| Config::parse(text).unwrap_err().to_string();
        assert_eq!(
            said("[mailboxes]\nkept_dyas = 3"),
            "there is no key `mailboxes.kept_dyas`: did you mean `mailboxes.kept_days`?"
        );
        assert_eq!(said("lisen = []"), "there is no key `lisen`: did you mean `listen`?");
        assert_eq!(said("zzz = 1"), "there is no key `zzz`: `clave-relay init -` prints all there are");
        assert_eq!(said("[mailboxes]\nblob_kib = 5000"), "`mailboxes.blob_kib` is 5000, and must be from 1 to 4096");
        assert_eq!(
            said("listen = [\"0.0.0.0:4001\"]"),
            "`listen` is \"0.0.0.0:4001\", and must be addresses like /ip4/192.0.2.7/tcp/4001 or \
             /dns/relay.example.org/tcp/4001"
        );
        assert!(said("[access]\nmode = \"token\"").contains("one token at least"));
        assert!(said("[access]\nmode = \"closed\"").contains("unknown variant"));
        assert!(said("[log]\nlevel = \"loud\"").contains("must be \"error\""));
        assert!(said("[metrics]\nlisten = \"9464\"").contains("like 127.0.0.1:9464"));
        assert!(said("[wake]\ncontact = \"relay@example.org\"").contains("like \"mailto:relay@example.org\""));
        assert!(said("[wake]\nmailboxes_max = 513").contains("must be from 1 to 512"));
        assert!(said("listen = 7").contains("invalid type"));
        let long = "x".repeat(257);
        assert!(!said(&format!("[access]\nmode = \"token\"\ntokens = [\"{long}\"]")).contains("xxx"));
    }
}
