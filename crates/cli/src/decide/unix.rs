//! Unix sockets: their files, and the users of their peers.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
#[cfg(not(target_os = "linux"))]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::system::output::ProgramError;

/// The mode of a socket: its owner and its group can connect.
const MODE: u32 = 0o660;

/// The file of a socket. It is removed on drop, unless another one has taken its place.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|it| (it.dev(), it.ino()) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a Unix socket for these users, and gives it to a group. Replaces the file of a process that
/// was killed.
pub(super) fn listen(
    path: &Path,
    users: &[u32],
    group: Option<u32>,
) -> Result<(UnixListener, SocketFile), ProgramError> {
    let failed =
        |why: String| ProgramError::Setup(format!("--decide unix:{}: {why}", path.display()));
    let io = |error: std::io::Error| {
        failed(match error.kind() {
            ErrorKind::NotFound => "no such folder".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::AddrInUse => "address already in use".to_owned(),
            _ => error.to_string(),
        })
    };
    check_folder(path, users).map_err(failed)?;
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(failed("expected a socket or no file, found another file".to_owned()));
        }
        Ok(_) => match is_in_use(path).map_err(io)? {
            true => return Err(failed("address already in use".to_owned())),
            false => fs::remove_file(path).map_err(io)?,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    let made = fs::symlink_metadata(path).map_err(io)?;
    // from here on the file is ours to remove
    let file = SocketFile { path: path.to_owned(), id: (made.dev(), made.ino()) };
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(|error| {
            failed(format!("the socket cannot be given to the group {group}: {error}"))
        })?;
    }
    // a peer that connects before this is compared with the list of users too
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    Ok((listener, file))
}

/// Whether a process listens on the socket. Does not wait for one that is stopped and whose queue of
/// connections is full.
fn is_in_use(path: &Path) -> std::io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(true),
            // the process that made the file is gone
            ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error),
        },
    }
}

/// Refuses a folder in which other users than the `trusted` ones, root and that of the program can put
/// another socket in the place of this one, and one that every user can replace.
fn check_folder(path: &Path, trusted: &[u32]) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // an error shows when the socket is bound
    let Ok(metadata) = fs::metadata(folder) else { return Ok(()) };
    // in a user namespace, the owner of `/` may be another user than root
    let root = fs::metadata("/").map_or(0, |root| root.uid());
    check_owner(metadata.uid(), &[&[0, root, own_user()], trusted].concat())?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(format!(
            "other users can write to the folder (mode {mode:04o}) and could put their own socket there; \
             use another folder, or remove the permission (chmod o-w)"
        ));
    }
    // the path as given, and where its symbolic links lead
    let ways = [std::path::absolute(folder), fs::canonicalize(folder)];
    for parent in ways.iter().flatten().flat_map(|way| way.ancestors().skip(1)) {
        let mode = fs::metadata(parent).map_or(0, |parent| parent.mode()) & 0o7777;
        // with the sticky bit, users can replace only their own files
        if mode & 0o1002 == 0o002 {
            return Err(format!(
                "other users can write to `{}` (mode {mode:04o}) and could replace the folder; remove the \
                 permission (chmod o-w)",
                parent.display()
            ));
        }
    }
    Ok(())
}

fn check_owner(owner: u32, trusted: &[u32]) -> Result<(), String> {
    if trusted.contains(&owner) {
        return Ok(());
    }
    Err(format!(
        "the folder belongs to user {owner}, who could put another socket there; it must belong to root, to \
         the user that runs the program, or to one of --decide-user"
    ))
}

/// The user that runs the program.
pub(super) fn own_user() -> u32 {
    // no crate but the one for Linux has geteuid; the owner of a new socket is the same user
    #[cfg(target_os = "linux")]
    let user = nix::unistd::geteuid().as_raw();
    #[cfg(not(target_os = "linux"))]
    let user = UnixStream::pair()
        .ok()
        .and_then(|(one, _)| tokio::net::UnixStream::from_std(one).ok()?.peer_cred().ok())
        .map_or(u32::MAX, |peer| peer.uid());
    user
}

/// The id of a user by name or number.
pub(super) fn user(name: &str) -> Result<u32, ProgramError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    #[cfg(target_os = "linux")]
    let found = nix::unistd::User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
    #[cfg(not(target_os = "linux"))]
    let found = Ok::<_, std::io::Error>(None);
    named("--decide-user", name, "user", found)
}

/// The id of a group by name or number.
pub(super) fn group(name: &str) -> Result<u32, ProgramError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    #[cfg(target_os = "linux")]
    let found = nix::unistd::Group::from_name(name).map(|group| group.map(|it| it.gid.as_raw()));
    #[cfg(not(target_os = "linux"))]
    let found = Ok::<_, std::io::Error>(None);
    named("--decide-group", name, "group", found)
}

fn named(
    option: &str,
    name: &str,
    kind: &str,
    found: Result<Option<u32>, impl std::fmt::Display>,
) -> Result<u32, ProgramError> {
    match found {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(ProgramError::Setup(format!("{option} {name}: no such {kind}"))),
        Err(error) => Err(ProgramError::Setup(format!("{option} {name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_user_is_refused() {
        for owner in [0, 7, 33] {
            assert_eq!(check_owner(owner, &[0, 7, 33]), Ok(()));
        }
        let error = check_owner(34, &[0, 7, 33]).unwrap_err();
        assert!(error.starts_with("the folder belongs to user 34, who could put"), "{error}");
    }
}
