//! The output of the commands: aligned tables, or one JSON document.

use std::fmt::Write as _;

use serde_json::Value;
use sip_authz::{escape_line, escape_name};

use super::kind::{PREFIX, STATE, prefix_of};
use crate::system::json::json_lines;
use crate::system::output::{ProgramError, print};

/// Prints a table with a line for each row.
pub(super) fn table(columns: &[(&str, &str)], rows: &[Value]) -> String {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let cells = |row| columns.iter().map(|(_, field)| cell(row, field)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(rows.iter().map(cells)).collect();
    aligned(&lines)
}

/// The lines with their cells in columns. The last line has no line end.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(row, "{cell:<width$}  ");
        }
        text.push_str(row.trim_end());
    }
    text
}

/// A field of a resource as text.
pub(super) fn cell(row: &Value, field: &str) -> String {
    if field == PREFIX {
        return prefix_of(row);
    }
    match (field, row.get(field)) {
        (STATE, _) => {
            let is_disabled = row.get("disabled").and_then(Value::as_bool) == Some(true);
            if is_disabled { "disabled" } else { "enabled" }.to_owned()
        }
        ("auth_type", Some(Value::String(types))) => admits(types),
        (_, Some(Value::Bool(is))) => if *is { "yes" } else { "no" }.to_owned(),
        (_, Some(Value::String(text))) if !text.is_empty() => escape_name(text).to_string(),
        (_, Some(Value::Number(number))) => number.to_string(),
        (_, Some(Value::Array(all))) if !all.is_empty() => {
            let texts = all.iter().filter_map(Value::as_str);
            texts.map(|text| escape_name(text).to_string()).collect::<Vec<_>>().join(",")
        }
        _ => "-".to_owned(),
    }
}

/// The kinds of mapped lists in the words of the command line.
fn admits(types: &str) -> String {
    let name = |kind| match kind {
        "IP_ACL" => "ip".to_owned(),
        "CREDENTIAL_LIST" => "credentials".to_owned(),
        other => escape_name(other).to_string(),
    };
    let names: Vec<_> = types.split(',').filter(|kind| !kind.is_empty()).map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

/// Prints a text of one or more lines.
pub(super) fn print_text(text: &str) -> Result<(), ProgramError> {
    // names are escaped already; other fields come from the server too
    let lines: Vec<_> = text.lines().map(|line| escape_line(line).to_string()).collect();
    print(lines.join("\n"))
}

/// Prints a JSON document.
pub(super) fn print_json(value: &Value) -> Result<(), ProgramError> {
    print(json_lines(value)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_escaped() {
        let columns = [("SID", "sid"), ("NAME", "name"), ("ADMITS", "auth_type"), ("ON", "on")];
        let rows = [
            json!({"sid": "A1", "name": "x\n\u{202e}`", "auth_type": "CREDENTIAL_LIST,IP_ACL"}),
            json!({"sid": "A22", "name": "", "auth_type": "", "on": true}),
            json!({"name": ["a", "b"], "on": null}),
        ];
        assert_eq!(
            table(&columns, &rows),
            "SID  NAME              ADMITS          ON\n\
             A1   x\\u{a}\\u{202e}\\`  credentials,ip  -\n\
             A22  -                 none            yes\n\
             -    a,b               -               -"
        );
        assert_eq!(table(&columns, &[]), "SID  NAME  ADMITS  ON");
    }

    #[test]
    fn fields_that_are_made_from_others() {
        let prefix = |address: &str, length: u64| {
            cell(&json!({"ip_address": address, "cidr_prefix_length": length}), PREFIX)
        };
        assert_eq!(prefix("192.0.2.0", 24), "192.0.2.0/24");
        assert_eq!(prefix("192.0.2.1", 32), "192.0.2.1");
        assert_eq!(prefix("2001:db8::", 32), "2001:db8::/32");
        assert_eq!(prefix("2001:db8::1", 128), "2001:db8::1");
        assert_eq!(cell(&json!({"disabled": true}), STATE), "disabled");
        assert_eq!(cell(&json!({}), STATE), "enabled");
    }
}
