//! Times: those of processes, and quantiles.

use std::error::Error;
use std::time::Duration;

/// The processor time of these processes, in seconds (proc(5), `stat`).
///
/// # Errors
///
/// A process does not exist.
pub fn processor_time(pids: &[u32]) -> Result<f64, Box<dyn Error>> {
    let mut ticks = 0.0;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // the name in the second field may contain spaces
        let (_, rest) = stat.rsplit_once(')').ok_or("invalid stat of a process")?;
        for field in rest.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<f64>()?;
        }
    }
    // these fields count hundredths of a second on all current Linux systems
    Ok(ticks / 100.0)
}

/// A quantile of sorted times, in microseconds.
#[must_use]
pub fn quantile(sorted: &[Duration], thousandths: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * thousandths / 1_000).copied().unwrap_or_default().as_secs_f64() * 1e6
}
