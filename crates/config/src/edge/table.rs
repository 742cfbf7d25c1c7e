//! Reads the table `[edge]`.
//!
//! A further setting is a field of [`Edge`], its key in [`keys::EDGE`] and its line in [`Edge::read`].

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, Deserializer};
use sip_authz::Invite;
use toml::Spanned;
use toml::de::DeValue;

use super::{Advertised, DomainSource, Edge, Listener, SourceFrom, SourceHeader, TrustedProxy};
use crate::keys;
use crate::problem::Problems;
use crate::read::Fields;

impl Edge {
    /// Reads the table; reports and removes invalid parts.
    pub(crate) fn read(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::EDGE, problems)?;
        let edge = Self {
            sip: values(&fields, "sip", problems),
            sips: values(&fields, "sips", problems),
            advertise: fields.optional("advertise", problems).into_value(),
            default_domain: values(&fields, "default_domain", problems),
            tls_cert: path(&fields, "tls_cert", problems),
            tls_key: path(&fields, "tls_key", problems),
            trusted_proxy: values(&fields, "trusted_proxy", problems),
            source_from: fields.optional("source_from", problems).into_value(),
            source_header: fields.optional("source_header", problems).into_value(),
        };
        let most = Invite::MAX_DOMAIN_HOSTS;
        if edge.default_domain.len() > most {
            let found = edge.default_domain.len();
            let span = fields.span_of("default_domain").unwrap_or_else(|| value.span());
            problems.push(span, format_args!("expected at most {most} values, found {found}"));
        }
        Some(edge)
    }

    /// Makes the paths relative to `folder`, unless they are absolute.
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        self.tls_cert.iter_mut().chain(&mut self.tls_key).for_each(resolve);
    }
}

fn path(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<PathBuf> {
    let path = fields.optional::<String>(key, problems);
    match path.span() {
        Some(span) if path.is_empty() => problems.push(span, "expected the path of a file"),
        _ => {}
    }
    path.into_value().map(PathBuf::from)
}

fn values<T: DeserializeOwned>(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<T> {
    fields.values(key, problems).into_iter().map(Spanned::into_inner).collect()
}

/// Deserialises a type from its text, so that errors have their place in the file.
macro_rules! from_text {
    ($($type:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_str(&text).map_err(de::Error::custom)
            }
        }
    )*};
}
from_text!(Listener, Advertised, DomainSource, TrustedProxy, SourceFrom, SourceHeader);
