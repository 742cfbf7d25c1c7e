//! The output of a running program.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The maximum wait of a test. No test fails earlier only because the machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The lines that a program has written into a pipe.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Pipe>);

/// A pipe, and what was read from it.
struct Pipe {
    file: File,
    read: Mutex<PipeText>,
}

#[derive(Default)]
struct PipeText {
    lines: Vec<String>,
    /// The start of a line whose end is not yet written.
    rest: Vec<u8>,
    has_ended: bool,
}

impl Lines {
    /// Reads a pipe in the background, so that the program can always write.
    pub(crate) fn of(pipe: impl Into<OwnedFd>) -> Self {
        let pipe = pipe.into();
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let lines = Self(Arc::new(Pipe { file: pipe.into(), read: Mutex::default() }));
        let reader = lines.clone();
        std::thread::spawn(move || {
            while !reader.read().has_ended {
                let pipe = PollFd::new(reader.0.file.as_fd(), PollFlags::POLLIN);
                let _ = poll(&mut [pipe], PollTimeout::NONE);
            }
        });
        lines
    }

    /// Reads what the pipe holds. So a line that the program wrote before it answered is always
    /// there after the answer.
    fn read(&self) -> MutexGuard<'_, PipeText> {
        let mut read = self.0.read.lock().unwrap();
        let mut buffer = [0; 4_096];
        while !read.has_ended {
            match (&self.0.file).read(&mut buffer) {
                Ok(0) => read.end(),
                Ok(length) => read.take(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("a pipe cannot be read: {error}"),
            }
        }
        read
    }

    /// Waits for a line that contains `part`, and returns the first one.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let lines = self.all();
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            assert!(start.elapsed() < PATIENCE, "no `{part}` in {lines:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line that fits, and returns the lines from `start` up to it.
    #[cfg(any(feature = "tls", target_os = "linux"))]
    pub(crate) fn wait_from(&self, start: usize, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lines = self.all();
            let new = lines.get(start..).unwrap_or_default();
            if let Some(end) = new.iter().position(|line| fits(line)) {
                return new[..=end].to_vec();
            }
            assert!(begun.elapsed() < PATIENCE, "only {new:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The lines written so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.read().lines.clone()
    }
}

impl PipeText {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines.push(without_time(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        if !self.rest.is_empty() {
            self.take(b"\n");
        }
    }
}

/// A line of the text log without the time at its start.
fn without_time(line: String) -> String {
    let is_time = |time: &str| time.len() == "2026-01-02T03:04:05.678901".len();
    match line.split_once("Z ") {
        Some((time, rest)) if is_time(time) && time.starts_with("20") => rest.to_owned(),
        _ => line,
    }
}
