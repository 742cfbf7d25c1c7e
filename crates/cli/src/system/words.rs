//! Words of error messages.

use std::io::{Error, ErrorKind};

/// The reason why a file could not be opened, read or written, without the system's number.
pub(crate) fn file_error(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "expected a file, found a directory".to_owned(),
        ErrorKind::NotADirectory => "expected a folder, found a file".to_owned(),
        _ => error.to_string(),
    }
}

/// The reason why a file could not be created or opened for writing.
pub(crate) fn output_error(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such folder".to_owned(),
        ErrorKind::AlreadyExists => "already exists".to_owned(),
        _ => file_error(error),
    }
}

/// A text of the command line with `…` in place of a password before an `@`, such as that of
/// `sip:alice:password@gw.example.net` or `https://alice:password@host`.
pub(crate) fn masked(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else { return text.to_owned() };
    let lower = before.to_ascii_lowercase();
    // the user begins behind the scheme; a further target may follow the first
    let user = ["://", "sip:", "sips:"]
        .iter()
        .filter_map(|scheme| lower.find(scheme).map(|at| at + scheme.len()))
        .min()
        .or_else(|| {
            let list = lower.strip_prefix("redirect:").or_else(|| lower.strip_prefix("forward:"));
            list.map(|list| lower.len() - list.len())
        })
        .unwrap_or(0);
    let (scheme, rest) = before.split_at_checked(user).unwrap_or(("", before));
    match rest.split_once(':') {
        Some((name, _)) => format!("{scheme}{name}:…@{after}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_before_a_host_is_masked() {
        for (text, expected) in [
            ("redirect:sip:alice:secret@gw", "redirect:sip:alice:…@gw"),
            ("redirect:SIPS:alice:se:cr@et@gw:5060", "redirect:SIPS:alice:…@gw:5060"),
            ("redirect:gw1,sip:alice:secret@gw2", "redirect:gw1,sip:alice:…@gw2"),
            ("redirect:alice:secret@gw", "redirect:alice:…@gw"),
            ("redirect:sip:alice:sec,ret@gw;q=2", "redirect:sip:alice:…@gw;q=2"),
            ("forward:sip:alice:secret@pbx", "forward:sip:alice:…@pbx"),
            ("forward:alice:secret@pbx", "forward:alice:…@pbx"),
            ("forward:pbx1,sips:alice:secret@pbx2:5071", "forward:pbx1,sips:alice:…@pbx2:5071"),
            ("https://alice:secret@host:8080/x", "https://alice:…@host:8080/x"),
            ("alice:secret@gw", "alice:…@gw"),
        ] {
            assert_eq!(masked(text), expected);
        }
        for text in ["", "redirect:sip:{usr}@gw", "https://host:8080", "a:b", "sip:gw:5060", "@"] {
            assert_eq!(masked(text), text);
        }
    }
}
