//! The membership log of a circle: who is in, with which devices, in which role, and why.
//!
//! The log is a graph of signed [`Operation`]s, each naming the operations that it follows. [`Log`] takes them in, in
//! any order; [`Membership`] is what they come to. It is a pure function of the *set* of operations: no clock, no
//! order of arrival. This module does no I/O and knows no keys but those that sign. What gets into the graph at all
//! is decided by each operation alone ([`Refusal`]: form, signatures, an author whom something before it introduces);
//! everything else gets in and either *stands* or is *set aside*, visibly, with a [`Reason`]. The rules are numbered
//! in `docs/validation.md`.
//!
//! # The evaluation
//!
//! *Before*, *after* and *at the same time* are always those of the graph.
//!
//! **Judging one operation** takes the verdicts on all operations before it. The author's device must be in; its
//! person's role and the policies must allow the action; a target must be within reach of that role. "In" at a point
//! means: an operation that stands and is before the point brought the person or device in, and each removal that
//! stands and is before the point is also before that operation. So of a removal and an admission at the same time
//! the removal wins, and who returns has to be brought in by somebody who knows of the removal; devices return only
//! if named again. Of roles (or policies) set at the same time, the author with precedence wins. An admission sets a
//! role only as long as nobody set one, so bringing somebody in again at the same time cannot lower them.
//!
//! **Revocations** take rights away: removing a person or a device, ending a grant, giving a lower role, setting
//! `members_may_invite` to `false`. They act on what is after them by the judgement above, and in addition on what
//! was done *at the same time*: that is judged as though the author had been removed, or had had the lower role, or
//! the policy had been set; unless it is one of the revocation's `keep_heads` or before one. Without this, whoever
//! loses a role could go on using it for ever, by naming old parents. The order in which revocations do so decides
//! between people who revoke each other:
//!
//! 1. Judge all operations, parents first, under the revocations carried out so far (at first none).
//! 2. Of the revocations that stand and are not decided take the one whose author has precedence: highest rank, then
//!    the role given nearest to the genesis, then the device brought in nearest to the genesis, then its own id. All
//!    but the last were fixed by others before the author wrote anything, and the last only orders an author's own
//!    revocations, so there is nothing to grind.
//! 3. If whom it hits was at the same time given a role beyond its author's reach, it is void: an admin cannot remove
//!    an owner by a removal that pretends not to know of the promotion. If it would leave no owner with a device, it
//!    is void. Otherwise it is carried out, for good: what is decided later cannot undo it, so a junior's revocation
//!    never frees whom a senior's has hit.
//! 4. If a verdict may have changed, judge again from the first operation that was hit. Back to 2, until all
//!    revocations that stand are decided; judge all a last time, for the reasons.
//! 5. If no owner with a device is left after all, since what a revocation that is void now had brought with it was counted
//!    on, the one that was carried out last is void too, and all is decided anew without it. With none carried out the
//!    founder is an owner, so this ends.
//!
//! What was set aside takes along what depends on it for its authority, because judging asks for operations that
//! *stand*: the invitee of an admission that is set aside was never in, nor was whom they invited.
//!
//! It ends because each round decides one revocation, once. It does not depend on the order of arrival because a
//! verdict is a function of the verdicts before it and of what is carried out, and what is carried out next is the
//! least of a set in a total order.
//!
//! # Writing, recovery, circles
//!
//! What a removed author wrote is not the log's to judge, but follows from it: each operation that brings a device in
//! begins a [`Stay`], which every removal ends that stands and is not before it, and removals name the changes that
//! are kept. A device that recovers ([`Action::RecoverDevice`]) is judged like its person: they are in, by an admission
//! that names the recovery key, and nobody removed them at the same time; and the device was never named before, so
//! that a signature of the recovery key is good once. A circle's log says which space the circle belongs to, and
//! whether its people must be in the space ([`Scope`]); it is evaluated by itself.
//!
//! # Cost
//!
//! With *n* operations, *b* revocations that hit something done at the same time on which somebody's standing or
//! rights can rest, and *k* operations about one person (a handful): O((1 + b) · n · k) for a full evaluation. "Is
//! before" is one bit test; the bits cost one word per operation while there is little concurrency, and n²/16 bytes
//! at worst. An insert costs the union of its parents' bits. If a membership is at hand, it is updated in place by key
//! packages, acknowledgements, names and people never heard of before, and by whatever follows everything else and
//! touches no owner (revocations among it as long as no earlier one was void or hit what others rest on: only then is
//! the order in which they are decided of no matter). Everything else has the next [`Log::membership`] evaluate anew.
//! Figures are in `docs/validation.md`.
//!
//! # Example
//!
//! ```
//! use clave_crypto::{DeviceKey, Entropy, PersonKey, Suite};
//! use clave_engine::membership::{Action, DeviceEntry, Insertion, KeyPackages, Log, PersonEntry, Role, Scope};
//!
//! let mut entropy = Entropy::from_seed([1; 32]);
//! let mut someone = |name: &str| {
//!     let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
//!     let entry = DeviceEntry::new(&person, &device, "laptop", KeyPackages::default());
//!     (device, PersonEntry { person: person.id(), name: name.into(), devices: vec![entry], invitation: None, recovery: None })
//! };
//! let (alice, alice_entry) = someone("Alice");
//! let (bob, bob_entry) = someone("Bob");
//!
//! let (name, nonce, founder) = ("Band".to_owned(), [0; 16], alice_entry);
//! let (scope, suite) = (Scope::Nested, Suite::default());
//! let genesis = Action::Genesis { name, nonce, founder, parent: None, scope, suite };
//! let mut log = Log::found(&alice, genesis, 1_790_000_000_000)?;
//! let add = log.new_operation(&alice, Action::AddPerson { newcomer: bob_entry, role: Role::Member }, 1_790_000_060_000)?;
//! assert_eq!(log.describe(&add.id()), None);
//! assert!(matches!(log.insert(add.clone()), Insertion::Inserted(_)));
//! assert_eq!(log.describe(&add.id()).as_deref(), Some("Alice added Bob as a member"));
//! assert_eq!(log.membership().role_of(bob.id()), Some(Role::Member));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod audit;
mod build;
mod codec;
mod evaluate;
mod graph;
mod judge;
mod log;
mod operation;
mod past;
mod pending;
mod policy;
mod reason;
mod relay;
mod rights;
mod roster;
mod state;

pub use action::{
    Action, DeviceEntry, KeyPackages, PersonEntry, RecoveryCertificate, Scope, recovery_change_message,
    recovery_message,
};
pub(crate) use audit::Bytes;
pub use audit::{AuditRecord, BrokenChain, Warrant, verify_chain};
pub use codec::{ENTRY_DEVICES_MAX, KEEP_CHANGES_MAX, KEEP_HEADS_MAX, KEY_PACKAGES_MAX, NAME_BYTES_MAX};
pub(crate) use evaluate::Precedence;
pub use log::{Authority, Equivocation, Insertion, Log};
pub use operation::{OPERATION_BYTES_MAX, Operation, PARENTS_MAX, Refusal};
pub use pending::PENDING_OPERATIONS_MAX;
pub use policy::{
    BadPolicy, HISTORY, History, MEMBERS_MAY_INVITE, POST_QUANTUM_CIRCLES, Policy, RATCHET_SECONDS_MAX,
    RATCHET_SECONDS_MIN, RELAY,
};
pub use reason::{Reason, SetAside};
pub use relay::{RELAYS_MAX, RelayAddress};
pub use rights::{Right, Role};
pub use roster::{Device, DeviceStanding, Former, Membership, Person, Seniority, Stay};
