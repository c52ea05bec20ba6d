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
    /// An operation is signed by its author.
    OperationSigned "operation-signed" "M1",
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
    /// If none is left after all have been decided, what was carried out last is void.
    LastOwnerAfter "last-owner-after" "M19",
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
    /// A device is named by devices of its person.
    OwnDeviceName "own-device-name" "M44",
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
    /// The device that an entry names signed it.
    EntrySigned "entry-signed" "E6",
    /// An author of whom the log never heard has to wait.
    AuthorKnown "author-known" "E7",
    /// Changes are by actors of their author.
    OwnActor "own-actor" "E14",
    /// A commit from an epoch that this device is not in is kept, and followed should it enter that epoch.
    UnfollowedKept "unfollowed-kept" "E16",
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
    AddsMissing "adds-missing" "E47",
    /// Key packages that are not their device's own, or not of the circle's suite, are passed over.
    PackageOfUse "package-of-use" "E19",
    /// Fork choice: the fewest leaves that the log has removed.
    ForkRemovedFirst "fork-removed-first" "E46",
    /// Fork choice: the greatest depth.
    ForkDepth "fork-depth" "E46",
    /// Fork choice: the least id, and not what was entered first here.
    ForkId "fork-id" "E46",
    /// Fork choice: an epoch whose Welcome cites operations that are not here comes last.
    ForkCited "fork-cited" "E29",
    /// Send gate: who was removed is shut out before anything is sealed.
    ShutOut "shut-out" "E34",
    /// Send gate: nothing is sealed with a key that was handed over on another branch.
    Worn "worn" "E34",
    /// Send gate: nor with one of an epoch beside which somebody was brought in who is out by now.
    BroughtInBeside "brought-in-beside" "E34",
    /// Frames about a circle are exchanged with its members only.
    MembersOnly "members-only" "F4",
    /// Guests whose date has passed are put out before anything is sealed.
    GrantsEnd "grants-end" "E34",
    /// No guest is given a date that has passed by one's own clock.
    GrantAhead "grant-ahead" "E35",
    /// Bundle before a commit that removes nobody: what it cites may be sealed with these.
    KeysBefore "keys-before" "E36",
    /// Bundle after a commit that adds somebody: the keys before it.
    KeyOfParent "key-of-parent" "E36",
    /// What a bundle says never changes which key an epoch has.
    KeysUndirected "keys-undirected" "E21",
    /// Nor in who may have it, under a policy that does not share history.
    KeysDerived "keys-derived" "E32",
    /// In a post-quantum circle that shares its history no content key is sealed to a device.
    KeysPostQuantum "keys-post-quantum" "E37",
    /// Changes under a key that may not be handed on yet wait.
    FreeKey "free-key" "E45",
    /// After a change of the recovery key no other is in force.
    RecoveryChanged "recovery-changed" "M45",
    /// What was recovered while the recovery key was changed is set aside.
    RecoveryChangedMeanwhile "recovery-changed-meanwhile" "M45",
    /// What a person may read, all of their devices may.
    OwnDevicesRead "own-devices-read" "H10",
    /// What lasts is sealed with lasting keys and nothing else is, and they are handed over under every history policy.
    LastingKeys "lasting-keys" "H8, H9",
    /// What was carried under a key that comes after all is judged.
    CarriedRead "carried-read" "H11",
    /// Keys that are out of reach of the head are handed over when it is quiet.
    KeysMended "keys-mended" "E36",
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
    /// Whoever signed the last change of an actor in a bundle is who it says.
    BundleProven "bundle-proven" "E40",
    /// An entry goes that says nothing but what is in a bundle.
    BundleCovers "bundle-covers" "E42",
    /// Of two equal bundles that with the lesser id stays.
    BundleChoice "bundle-choice" "E43",
    /// Whoever is in tells a device that is out what put it out.
    Farewells "farewells" "J14",
    /// A farewell to a device that is in all the same is answered.
    FarewellAnswered "farewell-answered" "J15",
    /// Whoever is out tells another device that is out as well.
    FarewellAmongOut "farewell-among-out" "J17",
    /// What a farewell brings to a device that it puts out is kept for when it is back.
    FarewellKept "farewell-kept" "J18",
    /// Whoever does not name a circle that it is in is introduced to it anew.
    IntroducedAnew "introduced-anew" "J19",
    /// A restored device does nothing else before it is let in.
    RestoredWaits "restored-waits" "R5",
    /// A request by letter is answered once.
    LetterOnce "letter-once" "J22",
    /// An answer of a relay is to the request whose turn it is.
    RelayInTurn "relay-in-turn" "B3",
    /// What a relay has in a mailbox belongs into it.
    RelayMailbox "relay-mailbox" "B5",
    /// With another generation of a relay's data positions mean nothing.
    RelayGeneration "relay-generation" "B6",
    /// Whatever relay does not answer is given up.
    RelaySilent "relay-silent" "B8",
    /// What a device makes is noted until a relay has it.
    RelayNoted "relay-noted" "B11",
    /// A relay that did not get something is compared with.
    RelayCompared "relay-compared" "B11",
    /// Who cannot process a commit of their own pleads with members who are not there.
    RelayPlea "relay-plea" "B13",
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
