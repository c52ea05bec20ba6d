//! What happened, as one hash, and as text when somebody wants to read it.

/// Two runs with equal hashes did the same, byte for byte.
#[derive(Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// From now on, keeps the text too.
    pub fn keep_lines(&mut self) {
        self.lines = Some(Vec::new());
    }

    pub(crate) fn keeps_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Says more about what happened, for whoever reads; it has no part in the hash.
    pub(crate) fn explain(&mut self, now_ms: u64, what: std::fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now_ms:>9} {what}"));
        }
    }

    pub(crate) fn note(&mut self, now_ms: u64, what: std::fmt::Arguments<'_>, bytes: &[u8]) {
        let digest = blake3::hash(bytes).to_hex();
        let line = format!("{now_ms:>9} {what} {}", if bytes.is_empty() { "" } else { &digest[..8] });
        self.hasher.update(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// The text so far, if it was kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
