//! Rules that can be switched off, one at a time, to show that something notices.
//!
//! [`off`] is the constant `false` unless the crate is built with the feature `mutations`. With it, the rule that the
//! environment variable `CLAVE_MUTATION` names is off in the whole process. `scripts/mutations.sh` runs the simulator once
//! for each rule and expects it to fail.

use crate::membership::Precedence;

macro_rules! rules {
    ($($(#[doc = $says:literal])* $rule:ident $name:literal $covers:literal,)*) => {
        /// A rule that can be switched off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "mutations"), allow(unreachable_pub, reason = "it is public with the feature"))]
        pub enum Rule {
            $($(#[doc = $says])* $rule,)*
        }

        #[cfg(feature = "mutations")]
        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// The word for it in `CLAVE_MUTATION`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// Its number in `docs/validation.md`, or the place where it is explained.
            #[must_use]
            pub const fn covers(self) -> &'static str {
                match self { $(Self::$rule => $covers,)* }
            }

            /// What it says.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$rule => concat!($($says),*).trim_ascii(),)* }
            }
        }
    };
}

rules! {
    /// The author is in, seen from the operation.
    AuthorIn "author-in" "M9",
    /// The author's role has the right.
    RightOfRole "right-of-role" "M10",
    /// The author's role reaches whom the operation is about.
    Reach "reach" "M10",
    /// Nobody gives a role that theirs does not give.
    RolesGiven "roles-given" "M11",
    /// What a removed person did at the same time is set aside.
    RemovedMeanwhile "removed-meanwhile" "M12",
    /// Unless `keep_heads` cover it.
    KeepHeads "keep-heads" "M13",
    /// What rests on something that is set aside is set aside.
    RestsOnSetAside "rests-on-set-aside" "M14",
    /// Precedence: the higher rank.
    PrecedenceRank "precedence-rank" "M15",
    /// Precedence: of equal ranks, the older role.
    PrecedenceRole "precedence-role" "M15",
    /// Precedence: of equally old roles, the older device.
    PrecedenceDevice "precedence-device" "M15",
    /// What needed a role that was lowered at the same time is set aside.
    LoweredMeanwhile "lowered-meanwhile" "M16",
    /// What needed a policy that was withdrawn at the same time is set aside.
    PolicyMeanwhile "policy-meanwhile" "M17",
    /// A revocation is void if its target was at the same time given a role beyond its author's reach.
    Overruled "overruled" "M18",
    /// The last owner can neither leave nor step down.
    LastOwner "last-owner" "M19",
    /// Of owners who go at the same time one remains.
    LastOwnerMeanwhile "last-owner-meanwhile" "M19",
    /// Of a removal and an admission at the same time the removal counts.
    RemovalBeatsAdmission "removal-beats-admission" "M20",
    /// Who returns does so with the devices named then.
    DevicesNamedAnew "devices-named-anew" "M21",
    /// Of roles and policies set at the same time, the one by whom has precedence counts.
    SettingsByPrecedence "settings-by-precedence" "M22",
    /// Being brought in twice lowers nobody.
    HighestAdmission "highest-admission" "M22",
    /// A revoked device is out.
    RevokedDeviceOut "revoked-device-out" "M23",
    /// What a revoked device did at the same time is set aside.
    DeviceRevokedMeanwhile "device-revoked-meanwhile" "M23",
    /// A person's devices are added by that person only.
    OwnDevices "own-devices" "M24",
    /// A device has one person, and who is in is not brought in again.
    OnePerson "one-person" "M24",
    /// Names are one's own.
    OwnName "own-name" "M25",
    /// A removal of the person at the same time beats a recovery.
    RecoveryRemovedMeanwhile "recovery-removed-meanwhile" "M34",
    /// A recovery rests on an admission, by which its person is in, that names the key.
    RecoveryKeyNamed "recovery-key-named" "M34",
    /// A recovery brings in a device that nothing before it names.
    RecoveryNew "recovery-new" "M35",
    /// A stay is ended by a removal.
    StayEnded "stay-ended" "M31",
    /// Only removals that stand keep changes.
    KeptByStanding "kept-by-standing" "M32",
    /// A removal that was carried out is decided for good.
    DecidedForGood "decided-for-good" "M40",
    /// A commit was made by its author and leads where it says.
    CommitTrue "commit-true" "E17",
    /// Whom a commit adds is in, at the point that it cites.
    CommitAdds "commit-adds" "E18",
    /// Whom a commit removes is out, at the point that it cites.
    CommitRemoves "commit-removes" "E18",
    /// The author of a commit is in, at the point that it cites.
    CommitterIn "committer-in" "E18",
    /// Whom a commit removes judges it likewise.
    EvictedJudges "evicted-judges" "E18",
    /// A commit waits for the operations that it cites.
    CommitWaits "commit-waits" "E16",
    /// A commit adds, removes and renews whom its entry says, and no other.
    RenewsTold "renews-told" "E28",
    /// A Welcome by whoever is out has no effect.
    WelcomeByMember "welcome-by-member" "E20",
    /// Whoever is in the log and no leaf is added by a commit.
    AddsMissing "adds-missing" "repair",
    /// Fork choice: the fewest leaves that the log has removed.
    ForkRemovedFirst "fork-removed-first" "fork choice",
    /// Fork choice: the greatest depth.
    ForkDepth "fork-depth" "fork choice",
    /// Fork choice: the least id, and not what was entered first here.
    ForkId "fork-id" "fork choice",
    /// Fork choice: an epoch whose Welcome cites operations that are not here comes last.
    ForkCited "fork-cited" "E29",
    /// Send gate: who was removed is shut out before anything is sealed.
    ShutOut "shut-out" "send gate",
    /// Send gate: nothing is sealed with a key that was handed over on another branch.
    Worn "worn" "send gate",
    /// Frames about a circle are exchanged with its members only.
    MembersOnly "members-only" "F4",
    /// Guests whose date has passed are put out before anything is sealed.
    GrantsEnd "grants-end" "send gate",
    /// Bundle before a commit that removes nobody: what it cites may be sealed with these.
    KeysBefore "keys-before" "key bundles",
    /// Bundle after a commit that adds somebody: the keys before it.
    KeyOfParent "key-of-parent" "key bundles",
    /// After a change of the recovery key no other is in force.
    RecoveryChanged "recovery-changed" "M45",
    /// What was recovered while the recovery key was changed is set aside.
    RecoveryChangedMeanwhile "recovery-changed-meanwhile" "M45",
    /// What a person may read, all of their devices may.
    OwnDevicesRead "own-devices-read" "H10",
    /// What lasts is sealed with lasting keys and nothing else is, and they are handed over under every history policy.
    LastingKeys "lasting-keys" "H9",
    /// Keys that are out of reach of the head are handed over when it is quiet.
    KeysMended "keys-mended" "key bundles",
    /// A key is handed on only once all is known that its giver knew.
    KeysAfterOperations "keys-after-operations" "E29",
    /// Who lacks keys asks for them, or for a way to the head.
    Pleas "pleas" "E27",
    /// A plea is answered by keys that may be handed on.
    PleaKeys "plea-keys" "E27",
    /// The key of the head is handed to a leaf of it only.
    PleaHead "plea-head" "E27",
    /// Who cannot follow the head is given a new leaf.
    PleaLeaf "plea-leaf" "E27",
    /// A plea is answered to who is in only.
    PleaOfMember "plea-of-member" "E27",
    /// Under a policy that does not share history, a key goes to who was there only.
    HistoryPolicy "history-policy" "E32",
    /// What was written in a stay that is not in standing is set aside.
    ChangesSetAside "changes-set-aside" "D1",
    /// A removal keeps the changes that it names.
    ChangesKept "changes-kept" "D4",
    /// A removal names the changes that its author had.
    ChangesNamed "changes-named" "D4",
    /// The secrets of an epoch are kept until everybody was seen past it.
    Retention "retention" "E30",
}

/// Whether a rule is switched off.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(crate) const fn off(_: Rule) -> bool {
    false
}

/// Whether a rule is switched off.
#[cfg(feature = "mutations")]
pub(crate) fn off(rule: Rule) -> bool {
    static OFF: std::sync::OnceLock<Option<Rule>> = std::sync::OnceLock::new();
    *OFF.get_or_init(chosen) == Some(rule)
}

/// The rule that the environment names. A rule of `clave-crdt` is none of this crate's; anything else is a mistake.
#[cfg(feature = "mutations")]
#[expect(clippy::disallowed_methods, reason = "a build for the simulator alone, one process for each rule")]
fn chosen() -> Option<Rule> {
    let name = std::env::var("CLAVE_MUTATION").ok().filter(|name| !name.is_empty())?;
    let rule = Rule::ALL.iter().copied().find(|rule| rule.name() == name);
    assert!(rule.is_some() || clave_crdt::mutation::names(&name), "CLAVE_MUTATION: there is no rule {name}");
    rule
}

/// A precedence without what is switched off.
pub(crate) fn precedence(mut precedence: Precedence) -> Precedence {
    if off(Rule::PrecedenceRank) {
        precedence.rank = 0;
    }
    if off(Rule::PrecedenceRole) {
        precedence.role.0 = 0;
    }
    if off(Rule::PrecedenceDevice) {
        precedence.device.0 = 0;
    }
    precedence
}
