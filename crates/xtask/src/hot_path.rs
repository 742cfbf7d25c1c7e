//! The dependencies of the library without its features.

use std::collections::BTreeSet;

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// The crates that a decision may depend on: no async runtime, HTTP, SQL, serialisation or SIP
/// parser is among them.
const ALLOWED: [&str; 27] = [
    "arc-swap",
    "arrayvec",
    "block-buffer",
    "cfg-if",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hex",
    "hybrid-array",
    "ipnet",
    "libc",
    "md-5",
    "memchr",
    "proc-macro2",
    "quote",
    "rustversion",
    "sha2",
    "sip-authz-arch",
    "siphasher",
    "subtle",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "zeroize",
];

/// The largest number of crates that the library pulls in, itself not counted.
const LIMIT: usize = 28;

/// Fails if the library without features depends on another crate, or on too many.
pub(crate) fn check(workspace: &Workspace, _: &[String]) -> Result<(), Error> {
    let words = "cargo tree --locked -p sip-authz --no-default-features --edges normal \
                 --prefix none --format {p}";
    let count = judge(&Command::words(words).output(workspace)?)?;
    anstream::println!("crates: {count}, limit: {LIMIT}");
    Ok(())
}

/// Counts the crates of a listing that has a name and a version on each line.
fn judge(listing: &str) -> Result<usize, Error> {
    let mut found = BTreeSet::new();
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), version) = (words.next(), words.next())
            && name != "sip-authz"
        {
            found.insert((name, version));
        }
    }
    let others: BTreeSet<_> =
        found.iter().map(|(name, _)| *name).filter(|name| !ALLOWED.contains(name)).collect();
    if !others.is_empty() {
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::Check(format!("the library must not depend on {others}")));
    }
    if found.len() > LIMIT {
        let count = found.len();
        return Err(Error::Check(format!("the library pulls in {count} crates, at most {LIMIT}")));
    }
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlisted_dependency_is_an_error() {
        let fine = "sip-authz v0.1.0 (/somewhere)\nhex v0.4.3\nsyn v3.0.9\nhex v0.4.3 (*)\n";
        assert_eq!(judge(fine).unwrap(), 2);
        let error = judge(&format!("{fine}tokio v1.54.1\n")).unwrap_err();
        assert_eq!(error.to_string(), "the library must not depend on tokio");
    }

    #[test]
    fn two_versions_count_twice() {
        let many: String = (0..=LIMIT).map(|n| format!("hex v0.{n}.0\n")).collect();
        let error = judge(&many).unwrap_err();
        assert_eq!(error.to_string(), "the library pulls in 29 crates, at most 28");
    }
}
