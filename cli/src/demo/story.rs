//! Telling what happens, with the time.

use std::time::Instant;

use crate::failure::Failure;
use crate::screen::{Screen, Tagged, dim};

/// The narration of a demo.
pub(crate) struct Story<'a> {
    screen: &'a Screen,
    start: Instant,
}

impl<'a> Story<'a> {
    pub(crate) fn new(screen: &'a Screen) -> Self {
        Self { screen, start: Instant::now() }
    }

    /// A step begins.
    pub(crate) fn tell(&self, step: &str) -> Result<(), Failure> {
        let seconds = self.start.elapsed().as_secs_f64();
        if self.screen.json {
            return self.screen.value(&Tagged { r#type: "step", value: Step { seconds, text: step } });
        }
        self.screen.say(&format!("{} {step}", dim(&format!("{seconds:6.2} s"))))
    }

    /// What came of it.
    pub(crate) fn detail(&self, detail: &str) -> Result<(), Failure> {
        self.screen.say(&format!("           {detail}"))
    }
}

#[derive(serde::Serialize)]
struct Step<'a> {
    seconds: f64,
    text: &'a str,
}
