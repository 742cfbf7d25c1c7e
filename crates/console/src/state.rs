//! The state of the program, as the page of that name and the head of each page show it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The program around the console.
pub trait ConsoleState: Send + Sync + 'static {
    /// The facts in the head of each page.
    fn head(&self) -> Head;

    /// The sections of the page, in order. The store's edges are added by the console.
    fn sections(&self) -> Pin<Box<dyn Future<Output = Vec<Section>> + Send + '_>>;
}

/// An implementation of [`ConsoleState`] that is shared with the program.
#[derive(Clone)]
pub struct SharedState(pub Arc<dyn ConsoleState>);

impl std::fmt::Debug for SharedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedState(..)")
    }
}

/// The facts in the head of each page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The name of the edge.
    pub edge: String,
    /// The number of the commit or snapshot that decisions use.
    pub number: u64,
    /// The time since the store last confirmed it; none without a shared store.
    pub confirmed: Option<Duration>,
    /// Whether the edge decides. False if it refuses calls because its records are too old.
    pub decides: bool,
    /// Whether the edge listens for SIP over TLS.
    pub has_tls: bool,
}

/// A part of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The facts.
    pub rows: Vec<Row>,
    /// Whether only the admin sees the section, because it shows paths or other tenants.
    pub admin_only: bool,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the fact.
    pub name: String,
    /// The value in words.
    pub value: String,
    /// The meaning of the value for the operator.
    pub level: Level,
}

/// The meaning of a value for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A fact without a judgement.
    Plain,
    /// A good state.
    Good,
    /// A state to look at.
    Warning,
    /// A state that costs calls.
    Bad,
}

impl Section {
    /// A section that every account sees.
    #[must_use]
    pub fn new(title: impl Into<String>, rows: Vec<Row>) -> Self {
        Self { title: title.into(), rows, admin_only: false }
    }

    /// The same section, for the admin only.
    #[must_use]
    pub fn for_admin(self) -> Self {
        Self { admin_only: true, ..self }
    }
}

impl Row {
    /// A fact without a judgement.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), level: Level::Plain }
    }

    /// The same fact with a judgement.
    #[must_use]
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}
