//! Detects the format of a file, and reads JSON documents.

use std::path::Path;

use sip_authz_rest::bulk::Document;

use super::{FileError, table};
use crate::args::FileFormat;

/// Detects the format from the extension of the file name or from the first line.
pub(super) fn detect(path: &Path, text: &str) -> Result<FileFormat, FileError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("toml") => return Ok(FileFormat::Toml),
        Some("json") => return Ok(FileFormat::Json),
        _ => {}
    }
    if text.trim_start().starts_with('{') {
        return Ok(FileFormat::Json);
    }
    let columns = table::columns(text)?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    if has("username") {
        return Ok(FileFormat::Subscriber);
    }
    if has("ip_addr") || (has("grp") && has("ip")) {
        return Ok(FileFormat::Address);
    }
    Err(FileError::new(
        "unknown format: expected a name ending in .toml or .json, or a first line with the columns \
         of the table `subscriber` (username) or `address` (ip_addr, or grp and ip); use --format",
    ))
}

/// Parses a JSON document. An error has the path of the value.
pub(super) fn json(text: &str) -> Result<Document, FileError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // the library writes `.` and `?` for unknown parts of a path
        let path = path.trim_end_matches(['.', '?']);
        let place = (!path.is_empty()).then(|| path.to_owned());
        json_error(error.inner(), place)
    })?;
    deserializer.end().map_err(|error| json_error(&error, None))?;
    Ok(document)
}

fn json_error(error: &serde_json::Error, place: Option<String>) -> FileError {
    let text = error.to_string();
    // the line is reported separately
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
    FileError { line, place, message: message.to_owned() }
}
