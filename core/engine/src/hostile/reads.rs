//! Devices that say what somebody else has read.

use super::rig::*;
use crate::Refusal;
use crate::entry::Body;
use crate::proto::entry as entry_proto;

#[test]
fn nobody_else_says_what_is_read() {
    let (mut rig, circle) = Rig::pair();
    rig.post(BOB, circle, "要读的");
    rig.settle();
    let before = rig.devices[ALICE].engine.preview(circle).expect("a member");
    let read = entry_proto::ReadTo { circle: circle.as_bytes().to_vec(), message: vec![u8::MAX; 36] };
    let reads = entry_proto::Reads { reads: vec![read] };
    let direct = rig.seal_direct(BOB, ALICE, circle, Body::Reads(reads.clone()));
    rig.refuses(ALICE, Refusal::NotAllowed, |rig| rig.give(BOB, ALICE, circle, vec![direct]));
    let open = rig.seal(BOB, circle, Body::Reads(reads));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![open]));
    let after = rig.devices[ALICE].engine.preview(circle).expect("a member");
    assert_eq!((after.unread, after.read), (before.unread, before.read));
    assert!(after.unread > 0);
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}
