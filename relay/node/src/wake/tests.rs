use std::os::unix::fs::PermissionsExt;

use super::{schedule::Outcome, *};

const PHONE: SubscriptionId = SubscriptionId([1; 16]);
const TABLET: SubscriptionId = SubscriptionId([2; 16]);
const TODAY: u64 = 20_000;
const NOW: u64 = TODAY * DAY_SECONDS;

fn rules() -> WakeRules {
    WakeRules {
        contact: String::new(),
        roots: PathBuf::new(),
        private_allowed: false,
        ttl_seconds: 60,
        interval: Duration::from_secs(60),
        gap: Duration::from_secs(5),
        retry: Duration::from_secs(10),
        pushes_max: 10,
        subscriptions_max: 2,
        mailboxes_max: 10,
        kept_days: 30,
    }
}

fn mailbox(number: u8) -> MailboxId {
    MailboxId([number; 32])
}

fn subscription(mailboxes: &[u8]) -> Subscription {
    let mailboxes = mailboxes.iter().map(|number| mailbox(*number)).collect();
    Subscription { endpoint: "https://push.example.org/手机".into(), keys: None, mailboxes }
}

struct World {
    folder: tempfile::TempDir,
    wakes: Arc<Wakes>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let wakes = Wakes::open(folder.path(), rules(), now).unwrap();
        Self { folder, wakes, now }
    }

    /// Only what is in the file is left.
    fn restart(self) -> Self {
        let Self { folder, wakes, now } = self;
        drop(wakes);
        let wakes = Wakes::open(folder.path(), rules(), now).unwrap();
        Self { folder, wakes, now }
    }

    async fn register(&self, id: SubscriptionId, mailboxes: &[u8]) -> Result<Health, StoreError> {
        self.wakes.register(id, Some(subscription(mailboxes)), NOW).await
    }

    fn stored(&self, number: u8) {
        self.wakes.stored(mailbox(number), HashSet::new, self.now);
    }

    /// Whom to push now, and that it was accepted.
    fn pushed(&self) -> Vec<SubscriptionId> {
        std::iter::from_fn(|| self.pushed_with(Outcome::Accepted)).collect()
    }

    fn pushed_with(&self, outcome: Outcome) -> Option<SubscriptionId> {
        let (id, subscription) = self.wakes.next(self.now)?;
        self.wakes.done(id, &subscription, outcome, self.now, NOW + 7);
        Some(id)
    }
}

#[tokio::test]
async fn only_those_are_woken_who_want_it_and_are_not_there() {
    let world = World::new();
    world.register(PHONE, &[1, 2]).await.unwrap();
    world.register(TABLET, &[2]).await.unwrap();
    world.stored(3);
    assert_eq!(world.pushed(), []);
    world.stored(1);
    assert_eq!(world.pushed(), [PHONE]);
    world.wakes.stored(mailbox(2), || [TABLET].into(), world.now);
    assert_eq!(
        (world.pushed(), world.wakes.waiting()),
        (vec![], 1),
        "the phone within its interval, the tablet is told"
    );
    world.stored(2);
    assert_eq!(world.pushed(), [TABLET]);
    // A circle is muted.
    let world = World { now: world.now + Duration::from_secs(100), ..world };
    assert_eq!(world.register(PHONE, &[2]).await.unwrap().accepted_seconds, NOW + 7);
    world.stored(1);
    assert_eq!(world.pushed(), []);
    world.wakes.register(TABLET, None, NOW).await.unwrap();
    world.stored(2);
    assert_eq!(world.pushed(), [PHONE]);
}

#[tokio::test]
async fn what_a_session_did_not_acknowledge_wakes_after_a_gap() {
    let mut world = World::new();
    world.register(PHONE, &[1]).await.unwrap();
    world.wakes.missed(PHONE, &[mailbox(2)], world.now);
    world.wakes.missed(TABLET, &[mailbox(1)], world.now);
    assert_eq!(world.wakes.waiting(), 0);
    world.wakes.missed(PHONE, &[mailbox(2), mailbox(1)], world.now);
    assert_eq!((world.pushed(), world.wakes.waiting()), (vec![], 1));
    world.now += Duration::from_secs(5);
    assert_eq!(world.pushed(), [PHONE]);
    world.wakes.missed(PHONE, &[mailbox(1)], world.now);
    world.register(PHONE, &[1]).await.unwrap();
    assert_eq!(world.wakes.waiting(), 0, "it came back by itself");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let world = World::new();
    let key = world.wakes.key();
    let keys = PushKeys { p256dh: [4; 65], auth: [5; 16] };
    let with_keys = Subscription { keys: Some(keys), ..subscription(&[1, 2, 3]) };
    world.wakes.register(PHONE, Some(with_keys.clone()), NOW).await.unwrap();
    world.register(TABLET, &[]).await.unwrap();
    world.stored(1);
    let failed = Outcome::Later { status: 503, after: None };
    assert_eq!(world.pushed_with(failed), Some(PHONE));
    world.wakes.flush().await;
    let mut world = world.restart();
    assert_eq!((world.wakes.key(), world.wakes.subscriptions(), world.wakes.waiting()), (key, 2, 1));
    let (known, health) = world.wakes.inner().known[&PHONE].clone();
    assert!(*known == with_keys && (health.refused_seconds, health.status, health.gone) == (NOW + 7, 503, false));
    world.now += Duration::from_secs(60);
    assert_eq!(world.pushed(), [PHONE], "what waited is pushed");
    world.wakes.flush().await;
    let world = world.restart();
    assert_eq!(world.wakes.waiting(), 0);
    // As does a backup.
    let to = tempfile::tempdir().unwrap();
    world.wakes.backup(world.folder.path(), to.path()).await.unwrap();
    let copy = Wakes::open(to.path(), rules(), world.now).unwrap();
    assert_eq!((copy.key(), copy.subscriptions()), (key, 2));
}

#[tokio::test]
async fn gone_is_for_ever_unless_the_endpoint_is_another() {
    let world = World::new();
    world.register(PHONE, &[1]).await.unwrap();
    world.stored(1);
    assert_eq!(world.pushed_with(Outcome::Gone { status: 410 }), Some(PHONE));
    world.stored(1);
    world.wakes.missed(PHONE, &[mailbox(1)], world.now);
    assert_eq!(world.wakes.waiting(), 0);
    world.wakes.flush().await;
    let world = world.restart();
    let health = world.register(PHONE, &[1]).await.unwrap();
    assert!(health.gone && (health.refused_seconds, health.status) == (NOW + 7, 410));
    let elsewhere = Subscription { endpoint: "https://push.example.org/new".into(), ..subscription(&[1]) };
    let health = world.wakes.register(PHONE, Some(elsewhere), NOW).await.unwrap();
    assert_eq!(health, Health { seen_day: TODAY, ..Health::default() });
    world.stored(1);
    assert_eq!(world.pushed(), [PHONE]);
}

#[tokio::test]
async fn there_are_only_so_many_and_old_ones_go() {
    let world = World::new();
    world.register(PHONE, &[1]).await.unwrap();
    world.register(TABLET, &[1]).await.unwrap();
    let third = SubscriptionId([3; 16]);
    assert_eq!(world.register(third, &[1]).await, Err(StoreError::Full));
    assert!(world.register(PHONE, &[1, 2]).await.is_ok(), "it is there already");
    world.wakes.register(TABLET, Some(subscription(&[1])), NOW + 9 * DAY_SECONDS).await.unwrap();
    world.wakes.expire(NOW + 30 * DAY_SECONDS).await;
    assert_eq!(world.wakes.subscriptions(), 2);
    world.wakes.expire(NOW + 31 * DAY_SECONDS).await;
    world.wakes.flush().await;
    let world = world.restart();
    assert_eq!(world.wakes.inner().known.keys().copied().collect::<Vec<_>>(), [TABLET]);
    assert!(world.register(third, &[1]).await.is_ok());
    world.stored(2);
    assert_eq!(world.wakes.waiting(), 0);
}

#[test]
fn a_key_or_authorities_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let said = |rules| Wakes::open(folder.path(), rules, Instant::now()).err().unwrap().to_string();
    drop(Wakes::open(folder.path(), rules(), Instant::now()).unwrap());
    let mode = |mode| std::fs::set_permissions(key_path(folder.path()), PermissionsExt::from_mode(mode)).unwrap();
    assert_eq!(key_path(folder.path()).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for exposed in [0o640, 0o604, 0o620] {
        mode(exposed);
        assert!(said(rules()).contains("if nobody has, run `chmod 600` on it"), "{exposed:o}");
    }
    mode(0o600);
    std::fs::write(key_path(folder.path()), b"no key").unwrap();
    assert!(said(rules()).contains("restore it from a backup, or move it away"));
    std::fs::remove_file(key_path(folder.path())).unwrap();
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, text).unwrap();
        assert!(said(WakeRules { roots, ..rules() }).contains("`wake.roots` names"));
    }
}
