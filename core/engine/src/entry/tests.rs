use super::*;

fn sealed(body: Vec<u8>) -> (Envelope, ContentKey, CircleId) {
    let mut entropy = Entropy::from_seed([1; 32]);
    let device = DeviceKey::generate(&mut entropy);
    let key = ContentKey::from_bytes(entropy.bytes().into());
    let circle = CircleId::from_bytes([5; 32]);
    let envelope = Envelope::seal(circle, &device, &key, Body::Operation(body), 7_200_000, &mut entropy);
    (envelope.expect("it is small"), key, circle)
}

#[test]
fn a_sealed_entry_opens_for_its_circle_and_key_only() {
    let (envelope, key, circle) = sealed(b"hello".to_vec());
    let envelope = Envelope::decode(envelope.bytes).expect("its own encoding");
    assert_eq!(envelope.hour, 2);
    let opened = envelope.open(circle, &key).expect("the right key");
    assert!(matches!(opened.body, Body::Operation(body) if body == b"hello"));
    let elsewhere = envelope.open(CircleId::from_bytes([6; 32]), &key).err();
    assert_eq!(elsewhere, Some(Refusal::BadSeal));
    let other_key = ContentKey::from_bytes([9; 32].into());
    assert_eq!(envelope.open(circle, &other_key).err(), Some(Refusal::BadSeal));
}
