//! Refuses folders and files through which another user of the machine could replace the database or
//! have the program write to another file.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt as _;
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
/// The maximum number of symbolic links in a path, as in Linux.
#[cfg(unix)]
const MAX_LINKS: usize = 40;

/// Checks that only this user and root can change the content of the folder, and that no other user can
/// replace the folder, one of its parents, or a symbolic link in its path.
pub(super) fn check_folder(folder: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(folder).map_err(|error| unreadable(folder, &error))?;
    let refused = |why: String| StoreError::Other(format!("`{}`: {why}", folder.display()));
    match folder_refusal(&metadata) {
        Some(why) => Err(refused(why)),
        None => check_way(folder, refused),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    super::failed(error).context(format_args!("`{}`", path.display()))
}

/// Checks the parents of the folder and the symbolic links that lead to it, as the system follows them.
#[cfg(unix)]
fn check_way(folder: &Path, refused: impl Fn(String) -> StoreError) -> Result<(), StoreError> {
    use std::path::{Component, PathBuf};

    let user = rustix::process::geteuid().as_raw();
    // the owner of `/` can replace everything. In a user namespace this may be another user than root
    let root = fs::metadata("/").map_err(|error| unreadable(folder, &error))?.uid();
    let trusted = [user, 0, root];
    let components = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|it| PathBuf::from(it.as_os_str())).collect()
    };
    let absolute = std::path::absolute(folder).map_err(|error| unreadable(folder, &error))?;
    // the last component is the next one
    let (mut ahead, mut at, mut links) = (components(&absolute), PathBuf::from("/"), 0);
    while let Some(next) = ahead.pop() {
        let last = next.components().next();
        if !matches!(last, Some(Component::Normal(_))) {
            match last {
                Some(Component::RootDir) => at = next,
                Some(Component::ParentDir) => _ = at.pop(),
                _ => {}
            }
            continue;
        }
        let parent = fs::metadata(&at).map_err(|error| unreadable(folder, &error))?;
        let path = at.join(&next);
        let metadata = path.symlink_metadata().map_err(|error| unreadable(folder, &error))?;
        let why = parent_refusal(&at, (parent.uid(), parent.mode()), trusted);
        if let Some(why) = why.or_else(|| link_refusal(&path, &metadata, trusted)) {
            return Err(refused(why));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(refused("too many symbolic links".to_owned()));
            }
            let target = fs::read_link(&path).map_err(|error| unreadable(folder, &error))?;
            ahead.extend(components(&target));
        } else {
            at = path;
        }
    }
    Ok(())
}

/// Checks that a file of the folder is absent, or a regular file that only its owner can change and that
/// has no other name. Its owner is that of the folder, this user or root.
pub(super) fn check_file(folder: &Path, name: &str) -> Result<(), StoreError> {
    let path = folder.join(name);
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let of_folder = fs::metadata(folder).map_err(|error| unreadable(folder, &error))?;
    match file_refusal(&metadata, &of_folder) {
        Some(why) => Err(StoreError::Other(format!("`{}` {why}", path.display()))),
        None => Ok(()),
    }
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "std reads no owners there"))]
fn file_refusal(metadata: &Metadata, of_folder: &Metadata) -> Option<String> {
    if metadata.is_symlink() {
        return Some("is a symbolic link; expected a regular file".to_owned());
    }
    if !metadata.is_file() {
        return Some("is not a regular file".to_owned());
    }
    #[cfg(unix)]
    {
        if metadata.nlink() > 1 {
            return Some("is a hard link to another file; replace it by a copy".to_owned());
        }
        let trusted = [of_folder.uid(), 0, rustix::process::geteuid().as_raw()];
        content_refusal(metadata.uid(), metadata.mode(), trusted)
    }
    #[cfg(not(unix))]
    None
}

/// The reason to refuse a file with this owner and mode, if only the users `trusted` may change it.
#[cfg(unix)]
fn content_refusal(owner: u32, mode: u32, trusted: [u32; 3]) -> Option<String> {
    if !trusted.contains(&owner) {
        let [expected, ..] = trusted;
        return Some(format!(
            "belongs to user {owner}, who could change it; check its content, then give it to the owner \
             of the folder (chown {expected})"
        ));
    }
    let mode = mode & 0o7777;
    (mode & WRITABLE != 0).then(|| {
        format!(
            "can be changed by other users (mode {mode:04o}); check its content, then remove the \
             permission (chmod go-w)"
        )
    })
}

#[cfg(unix)]
fn folder_refusal(metadata: &Metadata) -> Option<String> {
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

/// The reason to refuse a parent with this owner and mode. With the sticky bit, other users can replace
/// only their own files.
#[cfg(unix)]
fn parent_refusal(parent: &Path, (owner, mode): (u32, u32), trusted: [u32; 3]) -> Option<String> {
    let parent = parent.display();
    if !trusted.contains(&owner) {
        let [user, ..] = trusted;
        return Some(format!(
            "`{parent}` belongs to user {owner}, who could replace the folder; use a folder below those of \
             root or of user {user}, who runs the program"
        ));
    }
    let mode = mode & 0o7777;
    (mode & WORLD_WRITABLE != 0 && mode & STICKY == 0).then(|| {
        format!(
            "all users can write to `{parent}` (mode {mode:04o}) and could replace the folder; remove the \
             permission (chmod o-w)"
        )
    })
}

/// The reason to refuse a symbolic link: another user could make one in a folder with the sticky bit.
#[cfg(unix)]
fn link_refusal(path: &Path, metadata: &Metadata, trusted: [u32; 3]) -> Option<String> {
    let (link, owner) = (path.display(), metadata.uid());
    (metadata.is_symlink() && !trusted.contains(&owner)).then(|| {
        format!("the symbolic link `{link}` belongs to user {owner}, who could replace the folder")
    })
}

// other systems have access control lists, which std does not read

#[cfg(not(unix))]
fn folder_refusal(_: &Metadata) -> Option<String> {
    None
}

#[cfg(not(unix))]
fn check_way(_: &Path, _: impl Fn(String) -> StoreError) -> Result<(), StoreError> {
    Ok(())
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
    #[test]
    fn parents_and_links_belong_to_the_user_or_root() {
        let parent = |owner, mode| parent_refusal(Path::new("/p"), (owner, mode), [7, 0, 65_534]);
        let admitted =
            [(0, 0o755), (7, 0o700), (0, 0o41_777), (7, 0o1_777), (0, 0o2_775), (65_534, 0o755)];
        for (owner, mode) in admitted {
            assert_eq!(parent(owner, mode), None, "{owner} {mode:o}");
        }
        // the sticky bit does not bind the owner of the folder
        for mode in [0o700, 0o755, 0o1_777, 0o555] {
            let why = parent(8, mode).unwrap();
            assert!(why.contains("`/p` belongs to user 8") && why.contains("user 7"), "{why}");
        }
        for owner in [0, 7] {
            assert!(parent(owner, 0o40_777).unwrap().contains("(mode 0777)"));
        }
    }

    #[test]
    fn files_belong_to_the_owner_of_the_folder_the_user_or_root() {
        for (owner, mode) in [(7, 0o600), (0, 0o644), (9, 0o100_600), (9, 0o755)] {
            assert_eq!(content_refusal(owner, mode, [7, 0, 9]), None, "{owner} {mode:o}");
        }
        assert!(content_refusal(8, 0o600, [7, 0, 9]).unwrap().contains("chown 7"));
        for mode in [0o620, 0o602, 0o666, 0o100_664] {
            let why = content_refusal(7, mode, [7, 0, 9]).unwrap();
            assert!(why.contains(&format!("(mode {:04o})", mode & 0o7777)), "{why}");
        }
    }
}
