//! Refuses folders and files through which another user of the machine could replace the database or
//! have the program write to another file.

use std::fs::{self, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use sip_authz_store::StoreError;

/// The permission bits that let the group and all users write.
#[cfg(unix)]
const WRITABLE: u32 = 0o022;
/// The permission bit that lets all users write.
#[cfg(unix)]
const WORLD_WRITABLE: u32 = 0o002;
/// In a folder with this bit, users can rename and delete only their own files.
#[cfg(unix)]
const STICKY: u32 = 0o1000;

/// Checks that only this user and root can change the content of the folder, and that not all users
/// can replace the folder or one of its parents. The path may contain symbolic links.
pub(super) fn check_folder(folder: &Path) -> Result<(), StoreError> {
    let unreadable = |error| super::failed(&error).context(format_args!("`{}`", folder.display()));
    let refused = |why: String| StoreError::Other(format!("`{}`: {why}", folder.display()));
    let metadata = fs::metadata(folder).map_err(unreadable)?;
    if let Some(why) = folder_refusal(&metadata) {
        return Err(refused(why));
    }
    let real = folder.canonicalize().map_err(unreadable)?;
    for parent in real.ancestors().skip(1) {
        if let Some(why) = parent_refusal(parent, &fs::metadata(parent).map_err(unreadable)?) {
            return Err(refused(why));
        }
    }
    Ok(())
}

/// Checks that the lock is absent, or a regular file without another name. The program truncates it.
pub(super) fn check_lock(path: &Path) -> Result<(), StoreError> {
    check(path, lock_refusal)
}

/// Checks that a file of the database is absent or a regular file.
pub(super) fn check_file(path: &Path) -> Result<(), StoreError> {
    check(path, file_refusal)
}

fn check(
    path: &Path,
    refusal: impl Fn(&Metadata) -> Option<&'static str>,
) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Ok(metadata) => match refusal(&metadata) {
            Some(why) => Err(StoreError::Other(format!("`{}` {why}", path.display()))),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(super::failed(&error).context(format_args!("`{}`", path.display()))),
    }
}

fn file_refusal(metadata: &Metadata) -> Option<&'static str> {
    if metadata.is_symlink() {
        Some("is a symbolic link; expected a regular file")
    } else if metadata.is_file() {
        None
    } else {
        Some("is not a regular file")
    }
}

fn lock_refusal(metadata: &Metadata) -> Option<&'static str> {
    #[cfg(unix)]
    if metadata.is_file() && std::os::unix::fs::MetadataExt::nlink(metadata) > 1 {
        return Some("is a hard link to another file; remove it");
    }
    file_refusal(metadata)
}

#[cfg(unix)]
fn folder_refusal(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    refusal(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
}

/// The reason to refuse a folder with this owner and mode to the user `user`. A sticky bit is no
/// defence: other users could still add files, such as a write-ahead log.
#[cfg(unix)]
fn refusal(owner: u32, mode: u32, user: u32) -> Option<String> {
    if owner != user && owner != 0 {
        return Some(format!(
            "the folder belongs to user {owner}, who could replace its files; it must belong to user \
             {user}, who runs the program, or to root (chown {user})"
        ));
    }
    let mode = mode & 0o7777;
    (mode & WRITABLE != 0).then(|| {
        format!(
            "other users can write to the folder (mode {mode:04o}) and could replace its files; \
             check its content, then remove the permission (chmod go-w)"
        )
    })
}

#[cfg(unix)]
fn parent_refusal(parent: &Path, metadata: &Metadata) -> Option<String> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
    (mode & WORLD_WRITABLE != 0 && mode & STICKY == 0).then(|| {
        format!(
            "all users can write to `{}` (mode {mode:04o}) and could replace the folder; remove the \
             permission (chmod o-w)",
            parent.display()
        )
    })
}

// other systems have access control lists, which std does not read

#[cfg(not(unix))]
fn folder_refusal(_: &Metadata) -> Option<String> {
    None
}

#[cfg(not(unix))]
fn parent_refusal(_: &Path, _: &Metadata) -> Option<String> {
    None
}

/// Lets `open` fail if the name is a symbolic link, and not wait if it is a pipe.
pub(super) fn follow_no_link(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        if let Ok(flags) = i32::try_from(flags.bits()) {
            options.custom_flags(flags);
        }
    }
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_the_user_or_root_and_only_its_owner_can_write() {
        for (owner, mode) in [(7, 0o700), (7, 0o40_755), (0, 0o755), (7, 0o1_755), (7, 0o2_750)] {
            assert_eq!(refusal(owner, mode, 7), None, "{owner} {mode:o}");
        }
        for mode in [0o770, 0o702, 0o777, 0o1_777, 0o2_775, 0o40_720] {
            for owner in [0, 7] {
                let why = refusal(owner, mode, 7).unwrap();
                assert!(why.contains(&format!("(mode {:04o})", mode & 0o7777)), "{why}");
                assert!(why.contains("chmod go-w"), "{why}");
            }
        }
        for user in [7, 0] {
            let why = refusal(8, 0o700, user).unwrap();
            assert!(why.contains("belongs to user 8") && why.contains(&format!("chown {user}")));
        }
    }
}
