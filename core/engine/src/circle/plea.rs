//! Pleas: how a device that was left behind asks for keys and for a way to the head, and how it is answered.
//!
//! The net under every other rule. Whoever still holds entries whose keys do not come, once everything else has had its
//! time, asks one member after the other. Plea and answer are sealed to one device each, so that neither needs a key that
//! the other may lack. Both cost a bounded number of entries, however much is asked.
//!
//! A plea is an entry, and every member carries it. So nobody is asked for keys who is known to lack the same ones: what
//! nobody has is asked of nobody. Whoever compares entries says, in one hash, what it lacks.

use std::collections::BTreeMap;

use clave_crypto::{DeviceId, HashContext, KeyId, hash};
use prost::Message as _;

use super::judge::Verdict;
use super::*;

/// How long something has to be missing before anybody is asked for it, so that what is on its way arrives, in
/// milliseconds.
const PLEA_QUIET_MS: u64 = 10_000;
/// How long one member is given to answer before the next is asked, in milliseconds.
const PLEA_STEP_MS: u64 = 10_000;
/// How long it may take to hear from a member what it lacks, since this device lacks something else than before, until it
/// is asked all the same, in milliseconds: all compare once a minute.
const PLEA_HEAR_MS: u64 = 70_000;
/// How long before the same member is asked again, in milliseconds; twice as long after each time in vain.
const PLEA_AGAIN_MS: u64 = 600_000;
/// The longest that may become, in milliseconds.
const PLEA_AGAIN_MS_MAX: u64 = 86_400_000;
/// How long nothing may have come of what is missing before somebody is asked by a relay, in milliseconds.
const PLEA_ALONE_MS: u64 = 20_000;
/// The most keys that one plea asks for, and one answer holds.
pub const PLEA_KEYS_MAX: usize = 256;
/// The most pleas of one device that are answered within an hour.
pub const PLEA_ANSWERS_MAX: u32 = 6;
/// How often within an hour a member is asked again at once, as it lacks something else than when it was asked.
const PLEA_STIRRED_MAX: u32 = 1;
/// Bytes of operations in one entry, as far as whole operations allow.
const LOG_BYTES: usize = 1024 * 1024;
/// See [`PLEA_ANSWERS_MAX`], in milliseconds.
const PLEA_WINDOW_MS: u64 = 3_600_000;

/// What was asked, and what was answered, since the circle was opened.
#[derive(Default)]
pub(super) struct Pleas {
    /// Not to ask before then; none if nothing is missing.
    not_before_ms: Option<u64>,
    /// When there is somebody to be asked next.
    due_at_ms: Option<u64>,
    /// When each member may be asked again, and how long that was from the last time.
    asked: BTreeMap<DeviceId, (u64, u64)>,
    /// The last key that was asked for: the next plea asks for those behind it.
    cursor: Option<KeyId>,
    /// Who said to be further than this device, on a line that it is not in.
    ahead: Option<DeviceId>,
    /// Operations at the head of each member's log that are not here.
    ahead_in_log: BTreeMap<DeviceId, Vec<OperationId>>,
    /// The epochs from which commits of this device start that lead to where it is not: it lost its own state, and cannot
    /// process its own commits.
    astray: BTreeSet<EpochId>,
    /// Whether nobody was asked since the last of these was found.
    lost_own: bool,
    lacks: Lacks,
    /// How often something that was asked for came.
    helped: InWindow,
    /// The last plea of each member that is to be answered, once all that came with it was judged.
    asking: BTreeMap<DeviceId, proto::Plea>,
    /// How many pleas of each member were answered.
    answered: BTreeMap<DeviceId, InWindow>,
    /// How often each member may be asked again at once, since it lacks something else than when it was asked.
    stirred: BTreeMap<DeviceId, InWindow>,
    /// When each device that was given a new leaf may be introduced anew, and how long that was from the last time.
    introduced: BTreeMap<DeviceId, (u64, u64)>,
}

/// How often something happened within [`PLEA_WINDOW_MS`] of when it first did.
#[derive(Default)]
struct InWindow {
    since_ms: Option<u64>,
    count: u32,
}

impl InWindow {
    /// Once more. Whether that is not too often.
    fn allows(&mut self, most: u32, now_ms: u64) -> bool {
        if self.since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= PLEA_WINDOW_MS) {
            *self = Self { since_ms: Some(now_ms), count: 0 };
        }
        self.count += 1;
        self.count <= most
    }
}

/// What this device and others lack, each in one hash.
#[derive(Default)]
struct Lacks {
    /// Of what this device lacks; none if nothing.
    mine: Option<[u8; 32]>,
    /// What that comes from: a state of what waits, and the head.
    of: Option<(u64, EpochId)>,
    /// When it became that.
    changed_ms: u64,
    /// When it first became another, since members were asked from whom nothing was heard.
    unheard_since_ms: Option<u64>,
    /// Whether nobody was asked since then: the first does not have to be heard from.
    is_first: bool,
    /// What each member said last, and when.
    others: BTreeMap<DeviceId, (Vec<u8>, u64)>,
}

impl Lacks {
    /// When it makes sense to ask a member; none as long as it lacks the same.
    fn ask_at_ms(&self, device: &DeviceId) -> Option<u64> {
        let Some(mine) = &self.mine else { return Some(0) };
        match self.others.get(device) {
            Some((theirs, heard_ms)) if *heard_ms >= self.changed_ms => (theirs != mine).then_some(0),
            // It may have come to lack the same.
            _ if self.is_first => Some(0),
            _ => Some(self.unheard_since_ms.map_or(0, |since_ms| since_ms + PLEA_HEAR_MS)),
        }
    }
}

impl Pleas {
    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.due_at_ms
    }

    /// The head is another: who was ahead of the former may not be ahead of it.
    pub(super) fn moved(&mut self) {
        self.ahead = None;
    }

    /// A peer says what its log has that this one has not; nothing, if it has nothing more.
    pub(super) fn note_ahead(&mut self, peer: DeviceId, missing: Vec<OperationId>) {
        if missing.is_empty() {
            self.ahead_in_log.remove(&peer);
        } else {
            self.ahead_in_log.insert(peer, missing);
        }
    }

    /// Something that was asked for came: whoever was asked in vain may have more by now. Only so often, or whoever feeds
    /// others one key after the other has all of them ask all the time.
    pub(super) fn helped(&mut self, now_ms: u64) {
        if self.helped.allows(PLEA_ANSWERS_MAX, now_ms) {
            self.asked.clear();
        }
    }

    /// A member lacks something else than when it was asked: it may have more by now, or be somewhere else.
    fn stirred(&mut self, member: DeviceId, now_ms: u64) {
        if self.asked.contains_key(&member) && self.stirred.entry(member).or_default().allows(PLEA_STIRRED_MAX, now_ms)
        {
            self.asked.remove(&member);
        }
    }

    /// A commit of this device starts from that epoch, and where it leads is not here.
    pub(super) fn went_astray(&mut self, parent: EpochId) {
        self.lost_own |= self.astray.insert(parent);
    }

    /// A device was given a new leaf, by whomever. Returns when it may be introduced anew.
    pub(super) fn renewed(&mut self, device: DeviceId, now_ms: u64) -> u64 {
        let wait_ms = self.introduced.get(&device).map_or(PLEA_AGAIN_MS, |(_, last_ms)| last_ms * 2);
        let again = (now_ms + wait_ms.min(PLEA_AGAIN_MS_MAX), wait_ms.min(PLEA_AGAIN_MS_MAX));
        self.introduced.insert(device, again);
        again.0
    }

    fn may_answer(&mut self, device: DeviceId, now_ms: u64) -> bool {
        self.answered.entry(device).or_default().allows(PLEA_ANSWERS_MAX, now_ms)
    }
}

impl Circle {
    /// What this device lacks, in one hash, together with where it is: nothing, if it lacks no keys. Who is elsewhere may
    /// have a way to offer, even if it lacks the same keys.
    pub(crate) fn what_it_lacks(&mut self, now_ms: u64) -> Vec<u8> {
        let (lacks, of) = (&mut self.pleas.lacks, (self.held.version(), self.group.head().epoch));
        if lacks.of != Some(of) {
            let mut bytes = of.1.as_bytes().to_vec();
            self.held.lacking(None, usize::MAX).iter().for_each(|tag| bytes.extend(tag.as_bytes()));
            let mine = self.held.lacks_keys().then(|| hash(HashContext::Lacks, &bytes));
            if lacks.mine != mine {
                (lacks.mine, lacks.changed_ms) = (mine, now_ms);
                lacks.is_first |= lacks.unheard_since_ms.is_none();
                lacks.unheard_since_ms = mine.map(|_| lacks.unheard_since_ms.unwrap_or(now_ms));
            }
            lacks.of = Some(of);
        }
        lacks.mine.map(Vec::from).unwrap_or_default()
    }

    /// A peer says what it lacks.
    pub(crate) fn note_lacks(&mut self, peer: DeviceId, lacks: Vec<u8>, now_ms: u64) -> Result<(), Refusal> {
        if !matches!(lacks.len(), 0 | 32) {
            return Err(Refusal::Malformed);
        }
        let before = self.pleas.lacks.others.insert(peer, (lacks.clone(), now_ms));
        if before.is_some_and(|(before, _)| before != lacks) {
            self.pleas.stirred(peer, now_ms);
        }
        Ok(())
    }

    /// Whether one more new leaf may be made for a device that asks for it.
    pub(crate) fn may_renew(&mut self, device: DeviceId, now_ms: u64) -> bool {
        self.pleas.may_answer(device, now_ms)
    }

    /// Gives a device that does not know of this circle a new leaf, and has it introduced, unless that was done lately. Returns
    /// when it may be done again.
    pub(crate) fn introduce_anew(
        &mut self,
        device: DeviceId,
        package: &[u8],
        desk: &mut Desk,
    ) -> Result<u64, EngineError> {
        let again_ms = self.pleas.introduced.get(&device).map_or(0, |(again_ms, _)| *again_ms);
        if again_ms > desk.now_ms {
            return Ok(again_ms);
        }
        if self.is_of_use(package, device, desk) && self.may_renew(device, desk.now_ms) {
            self.commit(self.difference_with(device, package, desk), None, desk)?;
        }
        Ok(self.pleas.renewed(device, desk.now_ms))
    }

    /// Asks a member for what has been missing for a while, if there is one who was not asked lately.
    pub(super) fn plead(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        let log = &self.log;
        self.pleas.ahead_in_log.retain(|_, heads| heads.iter().any(|id| log.operation(id).is_none()));
        let in_log = self.pleas.ahead_in_log.keys().copied().find(|device| online.contains(device));
        let lacks_nothing = !self.held.lacks_keys() && self.pleas.ahead.is_none() && in_log.is_none();
        // Who is connected shows what is missing by what they send. What lies in the mailbox of an epoch that this device is not in,
        // a relay does not.
        let lost_own = self.pleas.lost_own && self.has_relay && !off(Rule::RelayPlea);
        let lacks_nothing = lacks_nothing && !self.group.is_apart() && !lost_own;
        if lacks_nothing || !self.is_member(&desk.me()) || off(Rule::Pleas) {
            (self.pleas.not_before_ms, self.pleas.due_at_ms) = (None, None);
            return Ok(());
        }
        self.what_it_lacks(desk.now_ms);
        let not_before_ms = *self.pleas.not_before_ms.get_or_insert(desk.now_ms + PLEA_QUIET_MS);
        if desk.now_ms < not_before_ms {
            self.pleas.due_at_ms = Some(not_before_ms);
            return Ok(());
        }
        let device = match self.next_to_ask(self.pleas.ahead.or(in_log), online, desk) {
            Ok(device) => device,
            Err(due_at_ms) => {
                self.pleas.due_at_ms = due_at_ms;
                return Ok(());
            }
        };
        let again_ms = self.pleas.asked.get(&device).map_or(PLEA_AGAIN_MS, |(_, last_ms)| last_ms * 2);
        let again_ms = again_ms.min(PLEA_AGAIN_MS_MAX);
        self.pleas.asked.insert(device, (desk.now_ms + again_ms, again_ms));
        self.pleas.not_before_ms = Some(desk.now_ms + PLEA_STEP_MS);
        self.pleas.due_at_ms = self.pleas.not_before_ms;
        self.pleas.lacks.is_first = false;
        // Others have been given their time to say what they lack. If that goes on changing, somebody is asked all the same.
        self.pleas.lacks.unheard_since_ms.take_if(|since_ms| *since_ms + PLEA_HEAR_MS <= desk.now_ms);
        if self.pleas.ahead == Some(device) {
            self.pleas.ahead = None;
        }
        self.pleas.ahead_in_log.remove(&device);
        self.pleas.lost_own = false;
        let tags = self.held.lacking(self.pleas.cursor, PLEA_KEYS_MAX);
        self.pleas.cursor = tags.last().copied();
        let head = self.group.head();
        // Who stands apart finds its way from nowhere.
        let from = if self.group.is_apart() { (EpochId::from_bytes([0; 32]), 0) } else { (head.epoch, head.depth) };
        let (head_epoch, depth) = from;
        let plea = proto::Plea {
            epoch: head_epoch.as_bytes().to_vec(),
            depth,
            tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
            key_package: self.plea_package(desk)?,
            operations: self.cites(),
            astray: self.pleas.astray.contains(&head_epoch),
        };
        match self.publish_direct(device, Body::Plea(plea), desk) {
            Err(EngineError::NoSuchDevice) => Ok(()),
            published => published.map(drop),
        }
    }

    /// Of the members who are connected, whoever is to be asked now: who said to be further before all others. If nobody is,
    /// when somebody will be.
    fn next_to_ask(&self, ahead: Option<DeviceId>, online: &[DeviceId], desk: &Desk) -> Result<DeviceId, Option<u64>> {
        let epoch = self.group.head().epoch;
        let place = |device: &DeviceId| {
            hash(HashContext::RepairOrder, &[epoch.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let ready_ms = |device: &DeviceId| {
            let again_ms = self.pleas.asked.get(device).map_or(0, |(again_ms, _)| *again_ms);
            let anyway = ahead == Some(*device) || self.group.is_apart();
            let useful_ms = if anyway { Some(0) } else { self.pleas.lacks.ask_at_ms(device) };
            Some(useful_ms?.max(again_ms))
        };
        let is_other = |device: &DeviceId| *device != desk.me() && self.is_member(device);
        let others = online.iter().filter(|device| is_other(device));
        let mut ready: Vec<(u64, DeviceId)> = others.filter_map(|device| Some((ready_ms(device)?, *device))).collect();
        if self.has_relay && !online.iter().any(is_other) {
            // Nobody is there, and a relay keeps a plea for whoever comes. What helps may be on its way from there, too.
            let quiet_ms = self.pleas.lacks.changed_ms + PLEA_ALONE_MS;
            let asked = |device: &DeviceId| self.pleas.asked.get(device).map_or(0, |(again_ms, _)| *again_ms);
            ready.extend(self.members().filter(is_other).map(|device| (asked(&device).max(quiet_ms), device)));
        }
        let now = ready.iter().filter(|(ready_ms, _)| *ready_ms <= desk.now_ms).map(|(_, device)| *device);
        let first = now.min_by_key(|device| (ahead != Some(*device), place(device)));
        first.ok_or_else(|| ready.iter().map(|(ready_ms, _)| *ready_ms).min())
    }

    /// The key package that this device offers in pleas: the same until it was used, so that pleas leave nothing behind.
    fn plea_package(&mut self, desk: &mut Desk) -> Result<Vec<u8>, EngineError> {
        let key = Key::new(Keyspace::Pleas, self.id.as_bytes(), []);
        if let Some(record) = desk.store.read(&key)? {
            let record = local::PleaPackage::decode(record.as_slice())?;
            if !record.used {
                return Ok(record.public);
            }
            desk.remove(Key::new(Keyspace::KeyPackages, [], &record.reference));
        }
        let pair = desk.agreement.key_package(&desk.device, self.suite(), false, &mut desk.entropy);
        desk.put(Key::new(Keyspace::KeyPackages, [], pair.reference), pair.secret.to_vec());
        let record =
            local::PleaPackage { public: pair.public.clone(), reference: pair.reference.to_vec(), used: false };
        desk.put(key, record.encode_to_vec());
        Ok(pair.public)
    }

    /// Notes that a Welcome used a key package: if it is that of pleas, the next plea takes another.
    pub(super) fn note_used(&mut self, reference: &[u8], desk: &mut Desk) -> Result<(), EngineError> {
        let key = Key::new(Keyspace::Pleas, self.id.as_bytes(), []);
        let Some(record) = desk.store.read(&key)? else { return Ok(()) };
        let record = local::PleaPackage::decode(record.as_slice())?;
        if record.reference == reference {
            desk.put(key, local::PleaPackage { used: true, ..record }.encode_to_vec());
        }
        Ok(())
    }

    /// Answers a plea, to its author alone: the keys that it names, and a new leaf if it cannot follow the head.
    pub(super) fn judge_plea(
        &mut self,
        author: DeviceId,
        plea: &proto::Plea,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        if plea.tags.len() > PLEA_KEYS_MAX {
            return Err(Refusal::Oversized);
        }
        if epoch_id(&plea.epoch).is_none() || plea.tags.iter().any(|tag| KeyId::try_from(tag.as_slice()).is_err()) {
            return Err(Refusal::Malformed);
        }
        if self.log.membership().device_standing(author) == DeviceStanding::Unknown {
            return Ok(Verdict::Wait(Awaits::Author(author)));
        }
        if !self.is_member(&desk.me()) || !self.pleas.may_answer(author, desk.now_ms) {
            return Ok(Verdict::Done);
        }
        self.pleas.asking.insert(author, plea.clone());
        Ok(Verdict::Done)
    }

    /// Answers the pleas that came. What came with them may have removed their authors, so that is judged first; who is
    /// out gets nothing, and may not know it yet.
    pub(super) fn answer_pleas(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        for (author, plea) in std::mem::take(&mut self.pleas.asking) {
            if (self.is_member(&author) || off(Rule::PleaOfMember))
                && self.is_member(&desk.me())
                && !self.group.is_apart()
            {
                self.answer(author, &plea, desk)?;
            }
        }
        Ok(())
    }

    /// The operations that the author of a plea lacks, if their entries may have expired, in bundles that fit an entry.
    fn log_for(&self, plea: &proto::Plea) -> Vec<Vec<Vec<u8>>> {
        let heads = super::judge::cited(&plea.operations).unwrap_or_default();
        if heads.is_empty() || !self.compares_logs() {
            return Vec::new();
        }
        let mut bundles = vec![Vec::new()];
        let mut bytes = 0;
        for operation in self.operations_beyond(&heads) {
            bytes += operation.len();
            if bytes > LOG_BYTES && bundles.last().is_some_and(|bundle| !bundle.is_empty()) {
                bytes = operation.len();
                bundles.push(Vec::new());
            }
            bundles.last_mut().expect("there is one").push(operation);
        }
        bundles.retain(|bundle| !bundle.is_empty());
        bundles
    }

    fn answer(&mut self, author: DeviceId, plea: &proto::Plea, desk: &mut Desk) -> Result<(), EngineError> {
        let tags = plea.tags.iter().filter_map(|tag| KeyId::try_from(tag.as_slice()).ok());
        let Some(epoch) = epoch_id(&plea.epoch) else { return Ok(()) };
        let held = tags.filter_map(|tag| self.ring(&tag).held(&tag)).filter(|held| self.may_hand_over(held));
        let held = held.filter(|held| self.may_have(&author, held, desk.me()));
        // Who is no leaf of the head does not get its key: should they turn out to be removed, no commit would follow, as there
        // is nobody to put out. They get it under the head that lets them in.
        let heads = [self.head_key().key_id(), self.head_key().lasting().key_id()];
        let is_in_head = self.group.head().contains(&author) || off(Rule::PleaHead);
        let held = held.filter(|held| is_in_head || !heads.contains(&held.key.key_id()));
        let held: Vec<_> = held.filter(|_| !off(Rule::PleaKeys)).collect();
        // What is sealed to a device is sealed by X25519. In a circle that agrees by X-Wing, keys that all may have come under
        // the head's, to which the device is led by commits, or by a new leaf.
        let by_head = |held: &&crate::group::Held| {
            self.suite().is_post_quantum()
                && !off(Rule::KeysPostQuantum)
                && (self.is_shared() || held.key.key_id().is_lasting())
        };
        let (under_head, direct): (Vec<_>, Vec<_>) = held.into_iter().partition(by_head);
        let keys: Vec<_> = direct.into_iter().map(super::history::wire_key).collect();
        let under_head = under_head.into_iter().map(|held| (held.key.key_id(), &held.under));
        let is_there = |(id, under): &(KeyId, &BTreeSet<KeyId>)| {
            heads.contains(id) || heads.iter().any(|head| under.contains(head))
        };
        let ids = under_head.filter(|of| !is_there(of)).map(|(id, _)| id);
        let (lasting, content): (Vec<_>, Vec<_>) = ids.partition(KeyId::is_lasting);
        self.hand_over(content, desk)?;
        self.hand_over_lasting(lasting, desk)?;
        let log = self.log_for(plea);
        if !keys.is_empty() || !log.is_empty() {
            let (first, rest) = log.split_first().map_or((Vec::new(), &[][..]), |(first, rest)| (first.clone(), rest));
            let bundle = proto::KeyBundle { log: first, ..self.bundle(keys) };
            self.publish_direct(author, Body::Keys(bundle), desk)?;
            for log in rest {
                let bundle = proto::KeyBundle { log: log.clone(), ..proto::KeyBundle::default() };
                self.publish_direct(author, Body::Keys(bundle), desk)?;
            }
        }
        self.shut_out(desk)?;
        let head = self.group.head();
        let left_behind = self.is_left_behind(&epoch, desk.now_ms) || plea.astray && epoch != head.epoch;
        if !left_behind && self.group.line_of(head.epoch).any(|on_the_way| on_the_way == epoch) {
            // It finds its way by the commits that all have.
            return Ok(());
        }
        if !self.group.knows(&epoch) && (plea.depth, head.epoch) > (head.depth, epoch) {
            // By the rule that all go by, its line is the better one. It is this device that is behind.
            self.pleas.ahead = Some(author);
            return Ok(());
        }
        if !off(Rule::PleaLeaf) && head.contains(&author) && self.is_of_use(&plea.key_package, author, desk) {
            self.commit(self.difference_with(author, &plea.key_package, desk), None, desk)?;
        }
        Ok(())
    }
}
