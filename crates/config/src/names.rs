//! The names of records in the file, by SID.

use std::collections::HashMap;
use std::fmt;

/// The name in the file of each SID.
#[derive(Debug, Default)]
pub struct Names(pub(crate) HashMap<String, String>);

impl Names {
    /// Adds the name in parentheses after each known SID in `text`.
    #[must_use]
    pub fn annotate(&self, text: &str) -> String {
        let mut annotated = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            annotated.push_str(word);
            if let Some(name) = self.0.get(word) {
                annotated.push_str(" (");
                annotated.push_str(name);
                annotated.push(')');
            }
            annotated.push_str(part.get(word.len()..).unwrap_or_default());
        }
        annotated
    }

    /// Sets the name of a SID.
    pub fn insert(&mut self, sid: impl fmt::Display, name: impl fmt::Display) {
        self.0.insert(sid.to_string(), name.to_string());
    }

    /// Sets the name of a SID that has none yet.
    pub fn insert_missing(&mut self, sid: impl fmt::Display, name: impl fmt::Display) {
        self.0.entry(sid.to_string()).or_insert_with(|| name.to_string());
    }

    /// The name of a SID, or the SID itself if it has none.
    pub(crate) fn get(&self, sid: impl fmt::Display) -> String {
        let sid = sid.to_string();
        self.0.get(&sid).cloned().unwrap_or(sid)
    }
}
