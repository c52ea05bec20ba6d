//! What members made is not only with them.

use clave_engine::CircleId;

use super::Check;
use crate::{Who, World};

impl World {
    /// Nothing waits for a relay. Asked only where all of them serve all devices.
    pub(super) fn check_relays(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        if !self.do_relays_serve() {
            return;
        }
        for who in members {
            let waiting = self.engine(*who).waiting_for_relays(circle);
            if waiting > 0 {
                let name = &self.device(*who).name;
                faults.push(Check::Stored.fault(&format!("{name}: {waiting} wait for a relay")));
            }
        }
    }
}
