//! Temporary folders of tests.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The parent of temporary folders: in the target folder of the workspace. If another user owns a folder
/// on the way there, as in some containers, it is that of the system: a store would refuse the first.
#[must_use]
pub fn temporary() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp");
    if is_trusted(&own).unwrap_or(true) {
        own
    } else {
        std::env::temp_dir().join("sip-authz-tests")
    }
}

/// Whether all parents of the folder belong to this user or root.
fn is_trusted(folder: &Path) -> std::io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::create_dir_all(folder)?;
        let probe = folder.join(format!("owner-{}-{}", std::process::id(), next()));
        let user = std::fs::File::create(&probe)?.metadata()?.uid();
        std::fs::remove_file(probe)?;
        let real = folder.canonicalize()?;
        let owners = real.ancestors().map(|it| it.metadata().map_or(0, |it| it.uid()));
        Ok(owners.into_iter().all(|owner| owner == user || owner == 0))
    }
    #[cfg(not(unix))]
    Ok(folder.is_absolute())
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub struct Folder(PathBuf);

impl Folder {
    /// Creates a new, empty folder.
    pub fn new() -> Self {
        let name = format!("{}-{}", std::process::id(), next());
        let path = temporary().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        // whatever the umask is: a store refuses a folder that others can write to
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        Self(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
