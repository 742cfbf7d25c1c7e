//! Counts the instructions of functions of this program, by running the program under callgrind.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

/// A counted operation.
pub struct Row {
    pub name: &'static str,
    /// The function whose instructions are counted.
    pub function: &'static str,
    /// The number of operations within one call of the function.
    pub pieces: u32,
}

/// The main function of a bench that counts instructions, and compares them with the limits in a file.
///
/// `probe` runs the operation of a row once. With `--set` the file gets new limits, a tenth above the
/// counts, behind its `head`. Without `--bench` each operation runs once, as a test.
pub fn main(rows: &[Row], probe: impl Fn(&str), limits_file: &str, head: &str) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if let [first, name] = &arguments[..]
        && first == "--probe"
    {
        probe(name);
        return ExitCode::SUCCESS;
    }
    if !has("--bench") {
        rows.iter().for_each(|row| probe(row.name));
        return ExitCode::SUCCESS;
    }
    let (limits, mut set, mut passed, mut sum) = (limits(limits_file), String::new(), false, 0.0);
    println!("{:<22} {:>8} {:>8}", "", "counted", "limit");
    for Row { name, function, pieces } in rows {
        let counted = match count(function, &["--probe", name]) {
            Ok(count) => (count / f64::from(*pieces)).round(),
            Err(why) => {
                eprintln!("{name}: {why}");
                return ExitCode::FAILURE;
            }
        };
        let limit = limits.get(*name).copied().unwrap_or_default();
        passed |= counted > limit;
        sum += counted;
        let verdict = if counted > limit { "MISS" } else { "ok" };
        println!("{name:<22} {counted:>8} {limit:>8} {verdict}");
        set += &format!("{name:<22} {:>6}\n", (counted * 1.10).ceil());
    }
    println!("{:<22} {sum:>8}", "sum");
    if has("--set") {
        fs::write(limits_file, head.to_owned() + &set).unwrap();
        return ExitCode::SUCCESS;
    }
    if passed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn limits(file: &str) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let limit = |line: &str| {
        let (name, limit) = line.split_once(' ')?;
        Some((name.to_owned(), limit.trim().parse().ok()?))
    };
    lines.filter_map(limit).collect()
}

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
