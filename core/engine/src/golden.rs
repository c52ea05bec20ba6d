//! Every format of this crate that reaches a disk or a wire, byte for byte, against `golden.txt`.
//!
//! A failure here means that what was stored or sent before can no longer be read, or that what is made now cannot be
//! read by others. Once formats are released that takes a new format version and a change to docs/, not new bytes in that file;
//! until then `CLAVE_WRITE_GOLDEN=1 cargo test -p clave-engine golden` writes it anew.

use std::collections::BTreeMap;

use clave_crdt::DocumentKind;
use clave_crypto::{ContentKey, DeviceId, DeviceKey, Domain, Entropy, PersonKey, RecoveryPhrase, Suite};
use prost::Message;
use zeroize::Zeroizing;

use crate::engine::join::prologue;
use crate::engine::letters::{answer_context, request_context};
use crate::engine::linking::link_prologue;
use crate::entry::{Body, Envelope, direct_tag};
use crate::membership::{
    Action, DeviceEntry, KeyPackages, Operation, PersonEntry, RecoveryCertificate, Role, Scope, recovery_message,
};
use crate::proto::{entry, file, frame, invitation, local};
use crate::{
    AccountHead, AccountWriter, CircleId, DocumentId, Identity, InvitationId, InviteLink, JoinError, Key, Keyspace,
    LinkCode, LinkingError, OperationId, seal_content,
};

const GOLDEN: &str = include_str!("golden.txt");

/// What is made now, by name.
#[derive(Default)]
struct Made(BTreeMap<&'static str, String>);

impl Made {
    fn bytes(&mut self, name: &'static str, bytes: &[u8]) {
        // What is long is told by its hash.
        let text = match bytes.len() {
            0..=600 => data_encoding::HEXLOWER.encode(bytes),
            length => format!("{length}:{}", blake3::hash(bytes)),
        };
        self.text(name, text);
    }

    fn text(&mut self, name: &'static str, text: String) {
        assert!(self.0.insert(name, text).is_none(), "{name} is there twice");
    }

    /// A message, which must also be read back as it was.
    fn message<M: Message + Default + PartialEq>(&mut self, name: &'static str, message: &M) {
        let bytes = message.encode_to_vec();
        assert!(M::decode(bytes.as_slice()).expect("it was just written") == *message, "{name} is not read back");
        self.bytes(name, &bytes);
    }
}

fn entropy() -> Entropy {
    Entropy::from_seed([0x2a; 32])
}

fn person() -> PersonKey {
    PersonKey::from_seed(Zeroizing::new([0x11; 32]))
}

fn device() -> DeviceKey {
    DeviceKey::from_seed(Zeroizing::new([0x22; 32]))
}

fn circle() -> CircleId {
    CircleId::from_bytes([0x33; 32])
}

fn bodies() -> Vec<(&'static str, Body)> {
    vec![
        ("entry.operation", Body::Operation(vec![1, 2, 3])),
        (
            "entry.commit",
            Body::Commit(entry::Commit {
                parent: vec![1; 32],
                message: vec![2; 3],
                operations: vec![vec![3; 32], vec![4; 32]],
                epoch: vec![5; 32],
                renews: vec![vec![6; 32]],
                adds: vec![vec![7; 32]],
                removes: vec![vec![8; 32]],
                time_ms: 9,
                space: vec![vec![10; 32]],
            }),
        ),
        (
            "entry.keys",
            Body::Keys(entry::KeyBundle {
                keys: vec![entry::ContentKey { epoch: vec![1; 32], key: vec![2; 32], lasting: true }],
                operations: vec![vec![3; 32]],
                given: vec![vec![4; 16]],
                log: vec![vec![5; 3]],
            }),
        ),
        (
            "entry.changes",
            Body::Changes(entry::Changes { document: vec![1; 16], kind: 2, changes: vec![vec![3], vec![4, 5]] }),
        ),
        (
            "entry.marks",
            Body::Marks(entry::Marks {
                marks: vec![entry::Marked { person: vec![1; 32], at_ms: 2, by: 1, name: "Zoë".to_owned() }],
            }),
        ),
        (
            "entry.reads",
            Body::Reads(entry::Reads { reads: vec![entry::ReadTo { circle: vec![1; 32], message: vec![2; 36] }] }),
        ),
        ("entry.welcome", Body::Welcome(entry::Welcome { message: vec![2; 3], operations: vec![vec![3; 32]] })),
        (
            "entry.plea",
            Body::Plea(entry::Plea {
                epoch: vec![1; 32],
                depth: 7,
                tags: vec![vec![2; 16]],
                key_package: vec![3; 3],
                operations: vec![vec![4; 32]],
                astray: true,
            }),
        ),
        (
            "entry.bundle",
            Body::Bundle(entry::Bundle {
                document: vec![1; 16],
                kind: 1,
                changes: vec![2, 3],
                proofs: vec![entry::Proof {
                    author: vec![4; 16],
                    signature: vec![5; 64],
                    hour: 6,
                    tag: 1,
                    changes: vec![7, 300],
                }],
                tags: vec![vec![8; 16], vec![9; 16]],
            }),
        ),
        ("entry.acknowledge", Body::Acknowledge(entry::Acknowledge { epoch: vec![1; 32] })),
    ]
}

fn entries(made: &mut Made) {
    for (name, body) in bodies() {
        let within = matches!(body, Body::Operation(_) | Body::Bundle(_));
        let author = if within { Vec::new() } else { device().id().as_bytes().to_vec() };
        made.message(name, &entry::Entry { author, body: Some(body) });
    }
    made.message("entry.signed", &entry::SignedEntry { entry: vec![1; 3], signature: vec![2; 64] });
    let key = ContentKey::from_bytes(Zeroizing::new([0x44; 32]));
    let acknowledge = || Body::Acknowledge(entry::Acknowledge { epoch: vec![1; 32] });
    for (name, id, body) in [
        ("envelope", "envelope.id", acknowledge()),
        ("envelope.operation", "envelope.operation.id", Body::Operation(b"body".to_vec())),
    ] {
        let envelope = Envelope::seal(circle(), &device(), &key, body.clone(), 1_790_000_000_000, &mut entropy());
        let envelope = envelope.expect("it is small");
        made.bytes(name, &envelope.bytes);
        made.bytes(id, envelope.id.as_bytes());
        let read = Envelope::decode(envelope.bytes).expect("its own encoding").open(circle(), &key);
        assert_eq!(read.expect("its own seal").body, body);
    }
    let (recipient, body) = (DeviceKey::from_seed(Zeroizing::new([0x55; 32])), acknowledge());
    let to = (recipient.id(), &recipient.noise_public());
    let direct = Envelope::seal_direct(circle(), &device(), to, body, 1_790_000_000_000, &mut entropy());
    let direct = direct.expect("it is small");
    made.bytes("envelope.direct", &direct.bytes);
    made.bytes("envelope.direct.tag", direct_tag(circle(), &recipient.id()).as_bytes());
    let read = direct.open_direct(circle(), &recipient).expect("its own seal");
    assert_eq!(read.body, acknowledge());
    for (name, kind) in [
        ("document.timeline", DocumentKind::Timeline),
        ("document.note", DocumentKind::Note),
        ("document.calendar", DocumentKind::Calendar),
        ("document.drive", DocumentKind::Drive),
    ] {
        made.bytes(name, DocumentId::well_known(circle(), kind, 1).as_bytes());
    }
}

fn frames(made: &mut Made) {
    use frame::frame::Body;
    let of = || circle().as_bytes().to_vec();
    let chunks = [Some(vec![5; 3].into()), None].map(|sealed| frame::Chunk { id: vec![4; 32], sealed }).into();
    let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned(), "/ip6/::1/tcp/1".to_owned()];
    let devices = vec![frame::DeviceAddresses { device: vec![1; 32], addresses }];
    for (name, body) in [
        (
            "frame.hello",
            Body::Hello(frame::Hello { version: 1, devices, reply: true, circles: vec![7; 64], hears_presence: true }),
        ),
        (
            "frame.reconcile",
            Body::Reconcile(frame::Reconcile {
                circle: of(),
                initiator: true,
                message: vec![0x61, 0, 0],
                operations: vec![vec![9; 32]],
                lacks: vec![3; 32],
            }),
        ),
        ("frame.entries", Body::Entries(frame::Entries { circle: of(), envelopes: vec![vec![1], vec![2, 3]] })),
        ("frame.have", Body::Have(frame::EntryIds { circle: of(), ids: vec![1; 64] })),
        ("frame.want", Body::Want(frame::EntryIds { circle: of(), ids: vec![2; 32] })),
        ("frame.want-chunks", Body::WantChunks(frame::ChunkIds { circle: of(), ids: vec![3; 32] })),
        ("frame.chunks", Body::Chunks(frame::Chunks { circle: of(), chunks })),
        (
            "frame.presence",
            Body::Presence(frame::Presence {
                circle: of(),
                tag: vec![1; 16],
                salt: vec![2; 16],
                ciphertext: vec![3; 3],
            }),
        ),
    ] {
        made.message(name, &frame::Frame { body: Some(body) });
    }
    let (anchor, focus) = ("3@05".to_owned(), "e".to_owned());
    made.message("presence.here", &frame::Here { document: vec![1; 16], kind: 2, left: true, anchor, focus });
    let key = ContentKey::from_bytes(Zeroizing::new([0x44; 32]));
    let (salt, sealed) = key.seal_passing(&mut entropy(), b"context", b"here");
    made.bytes("presence.sealed", &[salt.as_slice(), &sealed].concat());
    assert_eq!(key.open_passing(&salt, b"context", &sealed).expect("its own seal"), b"here");
}

fn joins(made: &mut Made) {
    use invitation::join_frame::Body;
    for (name, body) in [
        ("join.handshake", Body::Handshake(vec![1; 3])),
        ("join.finish", Body::Finish(vec![2; 3])),
        ("join.sealed", Body::Sealed(vec![3; 3])),
        ("join.refused", Body::Refused(JoinError::Expired as u32)),
        (
            "join.farewell",
            Body::Farewell(invitation::Farewell { circle: vec![4; 32], operations: vec![vec![5; 3], vec![6; 3]] }),
        ),
        (
            "join.recovery",
            Body::Recovery(invitation::Recovery {
                circle: vec![4; 32],
                envelope: vec![5; 3],
                operations: vec![vec![6; 3], vec![7; 3]],
            }),
        ),
    ] {
        let frame = invitation::JoinFrame { invitation: vec![9; 16], attempt: 0x0102_0304, body: Some(body) };
        made.message(name, &frame);
    }
    made.message("join.request", &invitation::Request { newcomer: vec![1; 3], signature: vec![2; 64] });
    let accepted = invitation::Accepted {
        signature: vec![1; 64],
        operations: vec![vec![2; 3], vec![3; 3]],
        welcome: vec![4; 3],
        keys: vec![invitation::EpochKey { epoch: vec![5; 32], key: vec![6; 32], lasting: true }],
    };
    let answer = |body| invitation::Answer { body: Some(body) };
    made.message("join.answer.accepted", &answer(invitation::answer::Body::Accepted(accepted)));
    made.message("join.answer.refused", &answer(invitation::answer::Body::Refused(2)));
    let link = InviteLink {
        invitation: InvitationId::from_bytes([1; 16]),
        circle: circle(),
        inviter: DeviceId::from_bytes([3; 32]),
        expires_ms: 1_790_000_000_000,
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
        space_name: "Grüne Band".to_owned(),
        suite: Suite::XWing,
        noise: None,
        relays: Vec::new(),
        secret: Zeroizing::new([4; 32]),
    };
    assert!(link.to_string().parse() == Ok(link.clone()));
    made.bytes("join.prologue", &prologue(link.invitation, link.circle, link.inviter));
    made.text("link", link.to_string());
    let noise = Some(clave_crypto::NoisePublicKey::from_bytes([5; 32]));
    let relay = crate::membership::RelayAddress::of("/ip4/192.0.2.1/tcp/4400", &DeviceId::from_bytes([6; 32]));
    let relayed = InviteLink { noise, relays: vec![relay.expect("an address")], ..link.clone() };
    assert!(relayed.to_string().parse() == Ok(relayed.clone()));
    made.text("link.relayed", relayed.to_string());
    made.bytes("letter.request", &request_context(link.invitation, link.circle, link.inviter));
    made.bytes("letter.answer", &answer_context(link.invitation, link.circle, link.inviter, &[7; 32]));
    made.message("local.ask", &local::Ask { link: relayed.encode(), request: vec![7; 32] });
    made.message("join.piece", &invitation::Piece { index: 1, total_bytes: 300_000, bytes: vec![1; 3] });
}

fn links(made: &mut Made) {
    use invitation::link_answer::Body as Answer;
    use invitation::link_request::Body as Request;
    for (name, body) in [
        (
            "link.hello",
            Request::Hello(invitation::LinkHello { device_name: "phone".to_owned(), signature: vec![1; 64] }),
        ),
        ("link.want", Request::Want(invitation::LinkWant { circle: vec![1; 32], device: vec![2; 3] })),
        ("link.done", Request::Done(invitation::LinkDone {})),
    ] {
        made.message(name, &invitation::LinkRequest { body: Some(body) });
    }
    let granted = invitation::LinkGranted {
        signature: vec![1; 64],
        person_seed: vec![2; 32],
        person_name: "Alice".to_owned(),
        circles: vec![vec![3; 32]],
        suites: vec![1],
        recovery: vec![4; 96],
        marks: vec![5; 3],
        reads: vec![6; 3],
    };
    for (name, body) in [
        ("link.refused", Answer::Refused(4)),
        ("link.pending", Answer::Pending(invitation::LinkPending { person_name: "Zoë".to_owned() })),
        ("link.granted", Answer::Granted(granted)),
        ("link.circle", Answer::Circle(invitation::LinkCircle { circle: vec![1; 32], accepted: None })),
        ("link.skipped", Answer::Skipped(vec![1; 32])),
    ] {
        made.message(name, &invitation::LinkAnswer { body: Some(body) });
    }
    let addresses = vec!["/ip4/192.0.2.1/tcp/4001".to_owned()];
    let code = LinkCode::new(device().id(), 1_790_000_000_000, addresses, "Alice", &mut entropy());
    assert!(code.to_string().parse() == Ok(code.clone()));
    made.text("link.code", code.to_string());
    made.text("link.typed", code.typed());
    made.bytes("link.id", code.id().as_bytes());
    made.bytes("link.key", &*code.key());
    made.bytes("link.prologue", &link_prologue(code.id(), device().id()));
    let numbers = (1..=10).map(|number| format!("{number}={:?}", LinkingError::from_number(number)));
    made.text("linking-errors", numbers.collect::<Vec<_>>().join(","));
}

fn operations(made: &mut Made) {
    let key_packages = KeyPackages {
        single_use: vec![vec![1; 3], vec![2; 3]],
        last_resort: Some(vec![3; 3]),
        x_wing: Some(vec![4; 3]),
    };
    let entry = DeviceEntry::new(&person(), &device(), "phone", key_packages.clone());
    let whole = PersonEntry {
        person: person().id(),
        name: "Alice".to_owned(),
        devices: vec![entry.clone()],
        invitation: Some(InvitationId::from_bytes([5; 16])),
        recovery: Some(RecoveryCertificate::new(&person(), [12; 32])),
    };
    let (id, keep_heads) = (person().id(), vec![OperationId::from_bytes([6; 32])]);
    let keep_changes = vec![[10; 32], [11; 32]];
    made.bytes("operation.person-entry", &whole.encode());
    // By a stand-in for the recovery key: the domain and the message are what count.
    let message = recovery_message(circle(), device().id(), id);
    let recovery_signature = device().sign(Domain::Recovery, &message);
    made.bytes("operation.recovery-signature", recovery_signature.as_bytes());
    let name = "Band".to_owned();
    for (label, action) in [
        (
            "operation.1-genesis",
            Action::Genesis {
                name: name.clone(),
                nonce: [7; 16],
                founder: whole.clone(),
                parent: Some(circle()),
                scope: Scope::Isolated,
                suite: Suite::XWing,
            },
        ),
        ("operation.2-add-person", Action::AddPerson { newcomer: whole.clone(), role: Role::Member }),
        ("operation.3-add-device", Action::AddDevice { device: entry.clone() }),
        (
            "operation.4-revoke-person",
            Action::RevokePerson { person: id, keep_heads: keep_heads.clone(), keep_changes: keep_changes.clone() },
        ),
        (
            "operation.5-revoke-device",
            Action::RevokeDevice {
                device: device().id(),
                keep_heads: keep_heads.clone(),
                keep_changes: keep_changes.clone(),
            },
        ),
        ("operation.6-set-role", Action::SetRole { person: id, role: Role::Admin, keep_heads: keep_heads.clone() }),
        ("operation.7-rename", Action::Rename { name: name.clone() }),
        ("operation.8-set-profile", Action::SetProfile { person: id, name }),
        ("operation.9-grant", Action::Grant { guest: whole, expires_ms: 1_790_000_000_000 }),
        ("operation.10-end-grant", Action::EndGrant { person: id, keep_heads: keep_heads.clone(), keep_changes }),
        ("operation.11-publish-key-packages", Action::PublishKeyPackages { key_packages }),
        ("operation.12-set-policy", Action::SetPolicy { key: "k".to_owned(), value: "v".to_owned(), keep_heads }),
        ("operation.13-recover-device", Action::RecoverDevice { device: entry, recovery_signature }),
        ("operation.14-rename-device", Action::RenameDevice { device: device().id(), name: "手机".to_owned() }),
        (
            "operation.16-set-recovery",
            Action::SetRecovery {
                person: id,
                recovery: RecoveryCertificate::new(&person(), [7; 32]),
                former_signature: recovery_signature,
            },
        ),
    ] {
        let parents = match action {
            Action::Genesis { .. } => Vec::new(),
            _ => vec![OperationId::from_bytes([9; 32])],
        };
        let operation = Operation::sign(&device(), parents, 1_790_000_000_000, action);
        let bytes = operation.encode();
        assert_eq!(Operation::decode(&bytes).as_ref(), Ok(&operation), "{label}");
        made.bytes(label, &bytes);
    }
    let rename = Operation::sign(&device(), Vec::new(), 0, Action::Rename { name: String::new() });
    made.bytes("operation.id", rename.id().as_bytes());
}

fn files(made: &mut Made) {
    let chunks = vec![file::ChunkRef { id: vec![1; 32], key: vec![2; 32], bytes: 300 }];
    made.message("file.manifest", &file::Manifest { chunks, content_hash: vec![3; 32], content: Vec::new() });
    let small = file::Manifest { chunks: Vec::new(), content_hash: vec![3; 32], content: vec![4; 3] };
    made.message("file.manifest.small", &small);
    let mut content = vec![0; 1_500_000];
    entropy().fill(&mut content);
    let mut ids = Vec::new();
    let sealed = seal_content(&[9; 32], content.as_slice(), |chunk, _| {
        ids.extend_from_slice(chunk.id.as_bytes());
        true
    });
    let sealed = sealed.expect("memory does not fail").expect("nobody cancelled");
    made.bytes("file.chunks", &ids);
    made.bytes("file.manifest-key", &sealed.manifest_key);
}

/// A whole export, byte for byte: head, one chunk, end.
fn account(made: &mut Made) {
    let phrase = RecoveryPhrase::generate(&mut entropy());
    let head = AccountHead {
        person: phrase.person_key().id(),
        person_name: "Alice".to_owned(),
        device: DeviceId::from_bytes([1; 32]),
        device_name: "phone".to_owned(),
        made_ms: 1_790_000_000_000,
        with_files: true,
    };
    let export = crate::engine::AccountExport::empty(&phrase.person_key());
    let mut writer = AccountWriter::new(Vec::new(), &phrase, (&head, &export), entropy()).expect("memory takes it");
    writer.add((Key::new(Keyspace::Entries, [2; 32], [3; 32]), vec![4; 5])).expect("memory takes it");
    made.bytes("account.file", &writer.finish().expect("memory takes it").1);
}

fn records(made: &mut Made) {
    account(made);
    made.message(
        "local.checkpoint",
        &local::Checkpoint {
            parent: vec![1; 32],
            state: vec![2; 3],
            operations: vec![vec![3; 32]],
            depth: 4,
            entered_ms: 1_790_000_000_000,
            left_ms: 1_790_000_000_001,
            apart: false,
            recovery: Vec::new(),
            cites: vec![vec![5; 32]],
            adds: true,
        },
    );
    let apart = local::Checkpoint { depth: 4, apart: true, recovery: vec![5; 32], ..Default::default() };
    made.message("local.checkpoint-apart", &apart);
    let under = vec![vec![3; 16]];
    let operations = vec![vec![4; 32]];
    let key = local::ContentKey {
        epoch: vec![1; 32],
        key: vec![2; 32],
        derived: true,
        under,
        operations,
        filed_ms: 1_790_000_000_000,
        lasting: true,
    };
    made.message("local.content-key", &key);
    made.message(
        "local.document",
        &local::DocumentRecord {
            next_change: 300,
            set_aside: 3,
            waiting: 2,
            newest_hour: 497_222,
            oldest_hour: 497_200,
            bundles: vec![vec![1; 32]],
            unread: vec![vec![1; 32]],
            loose: 7,
            sweep: true,
        },
    );
    made.message("local.author", &local::Author { seq: 300, hash: vec![4; 32] });
    let package = local::PleaPackage { public: vec![1; 3], reference: vec![2; 32], used: true };
    made.message("local.plea-package", &package);
    let chat = local::ChatView {
        messages: 2_000,
        first: vec![1; 36],
        last: vec![2; 36],
        unread: 3,
        mentions: 1,
        newest: vec![2; 36],
        text: "会议记录".to_owned(),
    };
    let view = local::View { heads: vec![vec![1; 32]], chat: Some(chat), title: "Zoë".to_owned() };
    made.message("local.view", &view);
    made.message("local.read-mark", &local::ReadMark { message: vec![1; 36], told: vec![2; 32] });
    made.message("local.addresses", &local::Addresses { addresses: vec!["/ip4/192.0.2.1/tcp/1".to_owned()] });
    let invitation = local::Invitation {
        circle: vec![1; 32],
        secret: vec![2; 32],
        expires_ms: 1_790_000_000_000,
        revoked: true,
        used_by: vec![3; 32],
        link: Some(local::DeviceLink { confirm: true, confirmed: vec![4; 32] }),
    };
    made.message("local.invitation", &invitation);
    made.message("local.answer", &local::Answer { welcome: vec![1; 3], stay: vec![2; 3], key_package: vec![3; 3] });
    let request = local::Request {
        single_use: vec![vec![1; 3]],
        last_resort: vec![2; 3],
        references: vec![vec![3; 32], vec![4; 32]],
        expires_ms: 1_790_000_000_000,
    };
    made.message("local.request", &request);
    let taken = local::TakenLink {
        secret: vec![1; 12],
        device: vec![2; 32],
        expires_ms: 1_790_000_000_000,
        addresses: vec!["/ip4/192.0.2.1/tcp/1".to_owned()],
    };
    made.message("local.taken-link", &taken);
    let endpoint =
        local::PushEndpoint { url: "https://push.example.org/1".to_owned(), p256dh: vec![4; 65], auth: vec![5; 16] };
    made.message("local.push-endpoint", &endpoint);
    let wake = local::Wake {
        id: vec![6; 16],
        accepted_seconds: 1_790_000_000,
        refused_seconds: 1_790_000_001,
        status: 410,
        gone: true,
        refused: 15,
        registered: true,
    };
    made.message("local.wake", &wake);
    made.bytes("search.index", &crate::search::golden_records());
    let identity = Identity::generate("Alice", "phone", &mut entropy()).expect("plain names");
    let (key, record) = identity.to_batch().writes.remove(0);
    made.bytes("local.identity", &record.expect("it is put"));
    assert_eq!(
        (key.keyspace, key.scope.as_slice(), key.suffix.as_slice()),
        (Keyspace::Meta, &b""[..], &b"identity"[..])
    );
    let numbers = Keyspace::ALL.map(|keyspace| format!("{}={keyspace:?}", keyspace as u8));
    made.text("keyspaces", numbers.join(","));
    let numbers = (1..=10).map(|number| format!("{number}={:?}", JoinError::from_number(number)));
    made.text("join-errors", numbers.collect::<Vec<_>>().join(","));
}

#[test]
fn every_format_is_what_it_was() {
    let mut made = Made::default();
    entries(&mut made);
    frames(&mut made);
    joins(&mut made);
    links(&mut made);
    operations(&mut made);
    files(&mut made);
    records(&mut made);
    let [leaf, inner] = crate::index::tests::golden_pages();
    made.bytes("index.leaf", &leaf);
    made.bytes("index.inner", &inner);
    if std::env::var_os("CLAVE_WRITE_GOLDEN").is_some() {
        let text: String = made.0.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
        #[expect(clippy::disallowed_methods, reason = "a person asked a test to write its own fixture")]
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/golden.txt"), text).expect("the source is writable");
        return;
    }
    let golden: BTreeMap<&str, &str> =
        GOLDEN.lines().map(|line| line.split_once(' ').expect("a name and what it is")).collect();
    let changed: Vec<String> = made
        .0
        .iter()
        .filter(|(name, text)| golden.get(*name) != Some(&text.as_str()))
        .map(|(name, text)| format!("{name} {text}"))
        .collect();
    assert!(changed.is_empty(), "no longer as it was:\n{}", changed.join("\n"));
    let gone: Vec<_> = golden.keys().filter(|name| !made.0.contains_key(*name)).collect();
    assert!(gone.is_empty(), "in golden.txt, but not made: {gone:?}");
}
