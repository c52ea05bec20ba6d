//! Every format of this crate that reaches a disk or a wire, byte for byte.
//!
//! A failure here means that what was stored or sent before can no longer be read, or that what is made now cannot be
//! read by others: that takes a new format version, not new bytes in this file.

#![allow(clippy::unwrap_used)]

use clave_crypto::{
    ChunkKey, ContentKey, DeviceKey, Domain, Entropy, Handshake, HashContext, PassphraseParams, PersonKey, VaultKey,
    WrappedVaultKey, hash, open_chunk, open_from_device, seal_chunk, seal_to_device,
};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

fn entropy() -> Entropy {
    Entropy::from_seed([0x2a; 32])
}

fn content_key() -> ContentKey {
    ContentKey::from_bytes(Zeroizing::new([0x11; 32]))
}

fn vault_key() -> VaultKey {
    VaultKey::from_bytes(Zeroizing::new([0x22; 32]))
}

fn device_key(byte: u8) -> DeviceKey {
    DeviceKey::from_seed(Zeroizing::new([byte; 32]))
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn unhex(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

#[test]
fn entry_ciphertext() {
    assert_eq!(hex(content_key().key_id().as_bytes()), "2721e26c63c3de09c6ce6d6205cdbedc");
    let (salt, ciphertext) = content_key().seal(&mut entropy(), b"aad", b"plaintext");
    assert_eq!(hex(&salt), "f4ccdf0bccf62f5236dc838cb96aecab");
    assert_eq!(hex(&ciphertext), "f7f9124e5949afaa5d0ae50a062be5b76fe271ae91f715bdb54a");
    assert_eq!(content_key().open(&salt, b"aad", &ciphertext).unwrap(), b"plaintext");
}

#[test]
fn chunk() {
    let (key, sealed) = seal_chunk(&[0x33; 32], b"a chunk of a file");
    assert_eq!(hex(&**key.as_bytes()), "566e51aac485dadd5edd583a54748521d416b3bc85055b4a55d877ce2c9bccf4");
    assert_eq!(hex(&sealed), "a1809085bddda29b11ea85b989b3f419212003fabbf927c45151fa207b1462374dc6");
    assert_eq!(
        hex(&hash(HashContext::Chunk, &sealed)),
        "de0979e0eaa94add39b035ed3571c8f88c5bc699b65fd2877fa7653c15e6f667"
    );
    assert_eq!(
        open_chunk(&ChunkKey::from_bytes(key.as_bytes().clone()), sealed.clone()).unwrap(),
        b"a chunk of a file"
    );
}

#[test]
fn vault_record_and_hidden_name() {
    let record = vault_key().seal(&mut entropy(), b"keyspace/key", b"a record");
    assert_eq!(
        hex(&record),
        "01acaf54259443a4c4796ffeeeb553df5861dc1c62e3b56c491128aa56ed65475967fbb73e9c690b43c9039b73166d1e6e"
    );
    assert_eq!(vault_key().open(b"keyspace/key", &record).unwrap().as_slice(), b"a record");
    assert_eq!(hex(&vault_key().hide(b"name")), "8610a74de60a362c84ea1619662527c5");
}

#[test]
fn wrapped_vault_key() {
    let clear = vault_key().wrap_in_clear().to_bytes();
    assert_eq!(
        hex(&clear),
        "434c564b01002222222222222222222222222222222222222222222222222222222222222222a50400fc5ccc4ad1f67cc1ab42c2ef06"
    );
    let params = PassphraseParams::new(32, 2, 4).unwrap();
    let locked = vault_key().wrap_with_passphrase("passphrase", params, &mut entropy()).unwrap().to_bytes();
    assert_eq!(
        hex(&locked),
        "434c564b01010000002000000002000000047bfcfd7544b1078dda397cef45df2e6d1f4bb05b398918efcb3aa1c8822fb4539a3dc4\
         76abef5916a77911361ee4c0043721d4d173e85e2456ce91f0a11ba6b5"
    );
    for wrapped in [clear, locked] {
        let unlocked = WrappedVaultKey::from_bytes(&wrapped).unwrap().unlock(Some("passphrase")).unwrap();
        assert_eq!(unlocked.as_bytes(), vault_key().as_bytes());
    }
}

#[test]
fn message_to_a_device() {
    let (ann, bob) = (device_key(0x44), device_key(0x55));
    assert_eq!(hex(bob.noise_public().as_bytes()), "664db907da4abeb4e965257c5d94a1a48b14d2d9993f25b7ccba58d1a9d99e7a");
    let sealed = seal_to_device(&ann, &bob.noise_public(), b"context", b"message", &mut entropy()).unwrap();
    assert_eq!(
        hex(&sealed),
        "1c5e231d577ef60c1865870825b1e7a16cc962a6420e2eec7a3d8b486e5311343c80f7d0b038ae58a840f58f5f97f6c53a994cfe1f\
         bf8cb7b18f88fbbfd1f61b66bbf62c0c2b8bb6aea650264587960ea53f0ec5bcdd2785cd30ca75a4b6d463baf3036ff6b05bb0da0e\
         0fd957d76aa2bd16557ea8238097"
    );
    let (sender, message) = open_from_device(&bob, b"context", &sealed).unwrap();
    assert_eq!((sender, message.as_slice()), (ann.noise_public(), &b"message"[..]));
}

#[test]
fn handshake_transcript() {
    let mut entropy = entropy();
    let mut ann = Handshake::initiator(&[0x66; 32], b"prologue", &mut entropy);
    let mut bob = Handshake::responder(&[0x66; 32], b"prologue", &mut entropy);
    let first = ann.write(b"one").unwrap();
    assert_eq!(
        hex(&first),
        "8f4df007d440e12a8e0e5b0d577590140424d792b3ff2d3f32053649a478082ec75f1302b665b6625e2c300c1587fe6762ae51"
    );
    bob.read(&first).unwrap();
    let second = bob.write(b"two").unwrap();
    assert_eq!(
        hex(&second),
        "081e199993b726c8e509cc866a45a92c09782ee3b0403230859c554dafc1836d30b3f979232d676c9d095e65817c50f36973850a01\
         5c87a176e2b9352bf84b004dc0009345b482dd8e17b0a9ca82a5eab8d4d0e413014ed43f6a26de5da016f099bef1"
    );
    ann.read(&second).unwrap();
    let third = ann.write(b"three").unwrap();
    assert_eq!(
        hex(&third),
        "11d7d4da3b91c13a7e9a98a08d0e11c6183fd7171632b76d12c8d70558cecb308c4f207f915e7f7423c16bf52d638731c28b7eab58\
         616050e6cfa6430dd274b28a0010bda8"
    );
    bob.read(&third).unwrap();
    assert_eq!(hex(&bob.handshake_hash().unwrap()), "7e0e9ba0cedac126d3599a5d81456bf64334ccb7ab420a13ebc05baee3936093");
    let (mut ann, mut bob) = (ann.into_session().unwrap(), bob.into_session().unwrap());
    let fourth = bob.seal(b"four").unwrap();
    assert_eq!(hex(&fourth), "ddb1894fb046ea609ea4892d8f73ac7dff81747569");
    assert_eq!(ann.open(&fourth).unwrap(), b"four");
}

#[test]
fn identities_and_signatures() {
    let device = device_key(0x44);
    assert_eq!(device.id().to_string(), "25mxso54coridgucpr3k3nx3vcsjv3qap5e7fuezfwm3qjnnfrea");
    for (domain, signature) in [
        (
            Domain::Entry,
            "6bdfe91f3305ab680e533f9ad92eca5bfcc4e9316d80fa306a7813f350a156034a5645515d1883e2f971dd68e8f382c8577c00\
             cc769899d6097554691564170a",
        ),
        (
            Domain::MembershipOperation,
            "8602022f04d5f5a9040c4e7c30044957b89606f1daa97b93098ba207e29b48b09ee0a27a5203fbef1a019969626cc040379509\
             1d97d2ad2dfb93c282ff219702",
        ),
        (
            Domain::InvitationHandshake,
            "18cc56a76115400115b5511e88920a25a24bff224f1c32da725eb43be78fcbbb5b4e0c56ad0ba873af426a9b6717aa63534693\
             2048b3d39ef64078a9d2ae2a0d",
        ),
    ] {
        assert_eq!(hex(device.sign(domain, b"message").as_bytes()), signature, "{domain:?}");
    }
    let certificate = PersonKey::from_seed(Zeroizing::new([0x77; 32])).certify(device.id());
    assert_eq!(
        hex(certificate.signature.as_bytes()),
        "5fcb241aae50f4c02118c6e188b4c434c0c5a59b59d91862138111593ab66d7183bbe5b94d8a119488af252b5fde253d3394f78b17\
         8932f3c8bd7a979320eb07"
    );
}

#[test]
fn hashes() {
    for (context, expected) in [
        (HashContext::Entry, "88dc4c6ef5732d0e831b818ec2b4b7ac8344eab8eeb2605b07219043e8ed968d"),
        (HashContext::MembershipOperation, "67b645a965c93bee8884fb2926caf7f2c6a955a9219dc49d48530a373c2ecce9"),
        (HashContext::Chunk, "e1d1c5b2dc85fcabd617f046ac0d7a939ba90cc23f8014aa8cb13bbd424552d5"),
    ] {
        assert_eq!(hex(&hash(context, b"bytes")), expected, "{context:?}");
    }
}

/// What an earlier build stored opens still, independently of what this build would write.
#[test]
fn stored_bytes_open() {
    let record =
        unhex("01acaf54259443a4c4796ffeeeb553df5861dc1c62e3b56c491128aa56ed65475967fbb73e9c690b43c9039b73166d1e6e");
    assert_eq!(vault_key().open(b"keyspace/key", &record).unwrap().as_slice(), b"a record");
    let locked = WrappedVaultKey::from_bytes(&unhex(
        "434c564b01010000002000000002000000047bfcfd7544b1078dda397cef45\
                                                     df2e6d1f4bb05b398918efcb3aa1c8822fb4539a3dc476abef5916a7791136\
                                                     1ee4c0043721d4d173e85e2456ce91f0a11ba6b5",
    ))
    .unwrap();
    assert_eq!(locked.unlock(Some("passphrase")).unwrap().as_bytes(), vault_key().as_bytes());
}
