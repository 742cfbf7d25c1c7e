//! Counts the instructions of one function of this program, by running the program under callgrind.

use std::process::Command;

/// The number of instructions within the function when this program runs with `arguments`.
///
/// # Errors
///
/// A message if valgrind fails or counts nothing.
pub fn count(function: &str, arguments: &[&str]) -> Result<f64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*::{function}*"))
        .arg(std::env::current_exe().unwrap())
        .args(arguments)
        .output();
    let output = output.map_err(|error| format!("cannot start valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected : "));
    let counted = counted.and_then(|(_, count)| count.trim().parse::<f64>().ok());
    match counted.filter(|count| output.status.success() && *count > 0.0) {
        Some(count) => Ok(count),
        None => Err(format!("callgrind counted no instructions: {text}")),
    }
}
