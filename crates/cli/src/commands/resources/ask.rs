//! Questions on the terminal: confirmations and passwords.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};

use zeroize::Zeroizing;

use crate::args::{ConfirmArgs, PasswordArgs};
use crate::system::output::ProgramError;

/// The maximum number of bytes of a line.
const MAX_LINE: usize = 4096;

/// Asks for the confirmation of a change that cannot be undone.
///
/// # Errors
///
/// An error unless the user confirms it, with `--yes` or on the terminal.
pub(super) fn confirm(args: &ConfirmArgs, question: &str) -> Result<(), ProgramError> {
    if args.yes {
        return Ok(());
    }
    if !can_ask() {
        let message = format!("expected --yes, or a terminal for the question: {question}");
        return Err(ProgramError::Setup(message));
    }
    let answer = ask(&format!("{question} [y/N] "))?;
    if ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)) {
        return Ok(());
    }
    Err(ProgramError::Runtime("not confirmed; nothing is deleted".to_owned()))
}

/// Reads the password of a user, from stdin or twice from the terminal.
pub(super) fn password(args: PasswordArgs) -> Result<Zeroizing<String>, ProgramError> {
    let password = if args.password_stdin {
        read_line(&mut stdin()?)?
    } else if can_ask() {
        let first = ask_hidden("Password: ")?;
        let second = ask_hidden("The same password again: ")?;
        if first != second {
            return Err(ProgramError::Setup("the two passwords differ".to_owned()));
        }
        first
    } else {
        let message = "a password needs --password-stdin, or a terminal to ask on";
        return Err(ProgramError::Setup(message.to_owned()));
    };
    match &password {
        password if password.is_empty() => {
            Err(ProgramError::Setup("expected a password, found an empty line".to_owned()))
        }
        password if password.chars().any(char::is_control) => {
            let message = "expected a password without control characters";
            Err(ProgramError::Setup(message.to_owned()))
        }
        _ => Ok(password),
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question on stderr, so that the output stays clean.
fn ask(question: &str) -> Result<Zeroizing<String>, ProgramError> {
    let mut stderr = io::stderr().lock();
    let question = sip_authz::escape_line(question);
    write!(stderr, "{question}").and_then(|()| stderr.flush()).map_err(|error| failed(&error))?;
    drop(stderr);
    read_line(&mut stdin()?)
}

/// Asks for a text that the terminal does not show.
fn ask_hidden(question: &str) -> Result<Zeroizing<String>, ProgramError> {
    let hidden = Hidden::new()?;
    let line = ask(question);
    drop(hidden);
    // the line end that the terminal did not show
    let _ = writeln!(io::stderr().lock());
    line.and_then(|line| match line.contains(INTERRUPT) {
        true => Err(ProgramError::Runtime("interrupted; nothing is changed".to_owned())),
        false => Ok(line),
    })
}

/// Stdin without a buffer: a buffer would keep a password.
#[cfg(unix)]
fn stdin() -> Result<File, ProgramError> {
    use std::os::fd::AsFd as _;
    let own = io::stdin().as_fd().try_clone_to_owned();
    own.map(File::from).map_err(|error| failed(&error))
}

#[cfg(not(unix))]
fn stdin() -> Result<impl Read, ProgramError> {
    Ok(io::stdin().lock())
}

/// Reads a line without its end.
fn read_line(from: &mut impl Read) -> Result<Zeroizing<String>, ProgramError> {
    // full size: a buffer that grows leaves copies in memory
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = Zeroizing::new([0]);
    loop {
        match from.read(byte.as_mut_slice()) {
            Ok(0) => break,
            Ok(_) if *byte == *b"\n" => break,
            Ok(_) if line.len() == MAX_LINE => {
                let message = format!("stdin: expected a line of at most {MAX_LINE} bytes");
                return Err(ProgramError::Setup(message));
            }
            Ok(_) => {
                line.extend_from_slice(byte.as_slice());
                if *byte == [INTERRUPT as u8] {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let text = std::str::from_utf8(&line);
    let text = text.map_err(|_| ProgramError::Setup("stdin: expected UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

fn failed(error: &io::Error) -> ProgramError {
    ProgramError::Runtime(format!("stdin: {error}"))
}

/// The character of Ctrl-C.
const INTERRUPT: char = '\u{3}';

/// A terminal without echo, until it is dropped.
#[cfg(target_os = "linux")]
struct Hidden(nix::sys::termios::Termios);

#[cfg(target_os = "linux")]
impl Hidden {
    fn new() -> Result<Self, ProgramError> {
        use nix::sys::termios::{
            LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr,
        };
        let failed =
            |error| ProgramError::Runtime(format!("the terminal cannot hide a password: {error}"));
        let old = tcgetattr(io::stdin()).map_err(failed)?;
        let mut new = old.clone();
        // without signals: Ctrl-C would end the program and leave the terminal without echo
        new.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ISIG);
        if let Some(end) = new.control_chars.get_mut(SpecialCharacterIndices::VEOL as usize) {
            *end = INTERRUPT as u8;
        }
        // discards input from before the question
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &new).map_err(failed)?;
        Ok(Self(old))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Hidden {
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

#[cfg(not(target_os = "linux"))]
struct Hidden;

#[cfg(not(target_os = "linux"))]
impl Hidden {
    fn new() -> Result<Self, ProgramError> {
        let message = "this system cannot hide a password; use --password-stdin";
        Err(ProgramError::Setup(message.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_first_end() {
        let read = |bytes: &[u8]| read_line(&mut &*bytes).map(|line| line.to_string());
        for (bytes, line) in [
            (&b"secret\nmore\n"[..], "secret"),
            (b"secret\r\n", "secret"),
            (b"secret", "secret"),
            (b" two words \n", " two words "),
            (b"", ""),
            (b"\n", ""),
            (b"ab\x03cd\n", "ab\u{3}"),
        ] {
            assert_eq!(read(bytes).unwrap(), line);
        }
        assert!(read(b"\xff\n").is_err());
        let long = [vec![b'a'; MAX_LINE], b"\n".to_vec()].concat();
        assert_eq!(read(&long).unwrap().len(), MAX_LINE);
        assert!(read(&[&b"a"[..], &long].concat()).is_err());
    }
}
