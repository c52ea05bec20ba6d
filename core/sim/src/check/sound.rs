//! What the doctor says of the stores.

use clave_engine::{CircleId, inspect_circle};

use super::Check;
use crate::{Who, World};

/// How many members' stores are looked through: that opens each entry once more.
const MEMBERS_MAX: usize = 3;

impl World {
    /// Whether each record of a member is what its name says, and what belongs together is there.
    pub(super) fn check_stores(&self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        for who in members.iter().take(MEMBERS_MAX) {
            let device = self.device(*who);
            let mut unsound = |what: String| faults.push(Check::Sound.fault(&format!("{}: {what}", device.name)));
            match inspect_circle(&*device.disk, circle, &mut |_| {}) {
                Ok(report) => {
                    let named = report.findings.iter().map(|finding| format!("{:?} {}", finding.key, finding.fault));
                    named.for_each(&mut unsound);
                    if report.findings.is_empty() && !report.repair.writes.is_empty() {
                        unsound(format!("{} records to mend", report.repair.writes.len()));
                    }
                }
                Err(error) => unsound(error.to_string()),
            }
        }
    }
}
