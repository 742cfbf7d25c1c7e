//! Reads the TOML configuration of [`sip_authz`]: accounts, lists, domains, trunks and policies.
//!
//! [`load`] turns a file into a [`Config`] with the [`Snapshot`] for an
//! [`Authorizer`](sip_authz::Authorizer); [`parse`] does the same for a text. [`read`] turns a text into a
//! [`SnapshotBuilder`](sip_authz::SnapshotBuilder), to which a program adds records of its own. For an
//! invalid text all three return [`ConfigErrors`]: all errors at once, each with its line, its column and the path of its key.
//! Consequences of another error are left out, for example a reference to a list that could not be
//! read. No password, hash or token appears in a message.
//!
//! `docs/config.md` of the repository describes the format. This crate prints nothing, starts no
//! threads and keeps no state; reading the file again when it changes is up to the program.
//!
//! ```
//! use std::time::Instant;
//!
//! use sip_authz::{Authorizer, Invite, Transport};
//! use sip_authz_config::{Options, parse};
//!
//! let text = r#"
//! [[ip_access_control_lists]]
//! name = "offices"
//! addresses = ["192.0.2.0/24"]
//!
//! [[domains]]
//! name = "sip.example.com"
//! ip_access_control_lists = ["offices"]
//! "#;
//! let config = parse(text, &Options::new().file("edge.toml"))?;
//! let authorizer = Authorizer::new(config.snapshot)?;
//! let source = "192.0.2.7:5060".parse()?;
//! let invite = Invite::new("sip:100@sip.example.com".to_owned(), source, Transport::Udp);
//! assert!(authorizer.authorize(&invite, Instant::now()).is_accept());
//!
//! let broken = text.replace("192.0.2.0/24", "192.0.2.1/24").replace("[\"offices\"]", "[\"office\"]");
//! let errors = parse(&broken, &Options::new().file("edge.toml")).unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "edge.toml:4:14: ip_access_control_lists[0].addresses[0]: host bits are set in `192.0.2.1/24`; \
//!      the prefix is `192.0.2.0/24`\n\
//!      edge.toml:8:28: domains[0].ip_access_control_lists[0]: there is no IP access control list \
//!      `office`, did you mean `offices`?"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod edge;
mod embed;
mod error;
mod file;
mod headers;
mod keys;
mod load;
mod names;
mod options;
mod place;
mod problem;
mod read;
mod rules;
mod syntax;
mod value;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sip_authz::Snapshot;
use sip_authz::model::Commit;

pub use edge::{
    AddressError, Advertised, DomainSource, Edge, Listener, Place, ProxyError, SourceFrom,
    SourceHeader, TrustedProxy,
};
pub use embed::read;
pub use error::{ConfigError, ConfigErrors, ConfigWarning};
pub use load::{is_readable_by_others, load};
pub use names::Names;
pub use options::Options;
#[doc(hidden)]
pub use value::nearest;

use compile::Repeat;
use file::File;
use place::{Lines, Places, keys_at};
use problem::Problems;
use syntax::{Copies, Syntax};

/// A configuration without errors.
pub struct Config {
    /// All records of the file.
    pub commit: Commit,
    /// The snapshot of the records.
    pub snapshot: Snapshot,
    /// The name in the file of each SID.
    pub names: Names,
    /// The settings of the edge: the table `[edge]`.
    pub edge: Edge,
    warnings: Vec<ConfigWarning>,
    repeats: Vec<String>,
}

impl Config {
    /// Warnings about valid but probably unintended settings. Those without a place come first, the
    /// others in the order of the text.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// The warnings about addresses that a list has twice. They are among [`warnings`](Self::warnings);
    /// the records do not show them.
    #[must_use]
    pub fn repeats(&self) -> &[String] {
        &self.repeats
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("snapshot", &self.snapshot)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Reads the text of a configuration.
///
/// # Errors
///
/// [`ConfigErrors`] with every error in the text, in the order of the text.
pub fn parse(text: &str, options: &Options) -> Result<Config, ConfigErrors> {
    parse_with(text, Vec::new(), options)
}

/// Reads a text in which these bytes were unreadable and have been replaced.
fn parse_with(
    text: &str,
    unreadable: Vec<Range<usize>>,
    options: &Options,
) -> Result<Config, ConfigErrors> {
    let file: Arc<str> = Arc::from(options.file.as_deref().unwrap_or("config"));
    let mut copies = Copies::default();
    let mut syntax = Syntax::parse(text, unreadable, &mut copies);
    let text = syntax.text;
    let is_damaged = syntax.is_damaged();
    let mut problems = std::mem::take(&mut syntax.problems);
    let mut shape = File::read(&syntax.root, &mut problems);
    let edge = std::mem::take(&mut shape.edge);
    let mut options = options.clone();
    options.has_tls = options.has_tls.map(|has_tls| has_tls || !edge.sips.is_empty());
    let compiled = compile::compile(shape, &options, is_damaged, &mut problems);
    problems.0.retain(|problem| !syntax.is_doubtful(problem));
    if let Some(errors) = ConfigErrors::new(placed(text, &file, &syntax, problems)) {
        return Err(errors);
    }
    let Some(compiled) = compiled else {
        let message = "the configuration cannot be used".to_owned();
        return Err(ConfigError::new(file, None, None, message).into());
    };
    let mut warnings = Problems::default();
    let mut unplaced = Vec::new();
    for (span, message) in compiled.warnings {
        match span {
            Some(span) => warnings.push(span, message),
            None => unplaced.push(ConfigError::new(Arc::clone(&file), None, None, message)),
        }
    }
    let mut repeats = Problems::default();
    let lines = Lines::of(text, !compiled.repeats.is_empty());
    for Repeat { prefix, first, again } in compiled.repeats {
        let line = lines.at(first.start);
        let message = format!("`{prefix}` is in the list twice, first in line {line}");
        repeats.push(again.clone(), &message);
        warnings.push(again, message);
    }
    let placed = |problems| placed(text, &file, &syntax, problems);
    let warnings = unplaced.into_iter().chain(placed(warnings)).map(ConfigWarning::new).collect();
    let repeats = placed(repeats).iter().map(ToString::to_string).collect();
    Ok(Config {
        commit: compiled.commit,
        snapshot: compiled.snapshot,
        names: compiled.names,
        edge,
        warnings,
        repeats,
    })
}

/// Sorts the problems by their place in the text, and adds line, column and key.
fn placed(
    text: &str,
    file: &Arc<str>,
    syntax: &Syntax<'_>,
    Problems(mut problems): Problems,
) -> Vec<ConfigError> {
    problems.sort_by_key(|problem| problem.span.start);
    problems.dedup_by(|a, b| a.span.start == b.span.start && a.message == b.message);
    let keys = match problems.is_empty() {
        true => Vec::new(),
        false => keys_at(syntax.root.get_ref(), &problems, keys::is_known_key),
    };
    let mut places = Places::new(text);
    let placed = problems.into_iter().zip(keys).map(|(problem, mut key)| {
        // the parser reports the place of the next element, which is not in the array
        if problem.message.starts_with("unclosed array,")
            && let Some(key) = &mut key
            && key.ends_with(']')
        {
            key.truncate(key.rfind('[').unwrap_or(key.len()));
        }
        let place = places.at(problem.span.start);
        ConfigError::new(Arc::clone(file), Some(place), key, problem.message)
    });
    placed.collect()
}

#[cfg(test)]
mod tests;
