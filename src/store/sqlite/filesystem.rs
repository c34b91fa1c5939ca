//! Where a ledger may live: on a local file system, as a plain file that has one name and is mounted with its folder.
//!
//! WAL mode shares memory between processes of one machine; over a network two machines would not see each other's, and what
//! one has recorded the other would write over. SQLite finds the log by the file's name: one that is reached by two names, or
//! mounted by itself, has two logs, and what is committed through the one is not seen through the other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::exit::Refused;

/// What the kernel says is mounted where.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Types of file system that are reached over a network, or look like local and are shared with another machine's kernel.
const REMOTE: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "coda",
    "davfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "orangefs",
    "pvfs2",
    "vboxsf",
    "vmhgfs",
];

/// The same, mounted through FUSE.
const REMOTE_FUSE: &[&str] = &[
    "ceph",
    "cifs",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "goofys",
    "moosefs",
    "nfs",
    "prl_fsd",
    "rclone",
    "s3fs",
    "smbnetfs",
    "sshfs",
    "vmhgfs-fuse",
];

/// Refuses a ledger at a place where what is recorded in it could be lost. Nothing is opened for that, so that a FIFO does not
/// hang.
///
/// # Errors
/// [`Refused`], with the way out.
pub(super) fn refuse(path: &Path) -> Result<()> {
    let place = path.display();
    refuse_link(path)?;
    if let Some(kind) = network_type(path) {
        let remedy = "move it to a local one, and run the job on the machine that records";
        bail!(Refused(format!("the ledger {place} is on a network file system, {kind} ({remedy})")));
    }
    let Ok(file) = path.metadata() else { return Ok(()) };
    if !file.is_file() {
        let remedy = "name a file in ledger.path, and run `privo-reconcile init` for a new one";
        bail!(Refused(format!("{place} is not a ledger: it is no plain file ({remedy})")));
    }
    if file.nlink() > 1 {
        let remedy = format!(
            "remove the other name: `find FOLDER -xdev -inum {}` finds both; never copy a ledger by a hard link, `backup` copies it",
            file.ino()
        );
        bail!(Refused(format!(
            "the ledger {place} has more than one name, and what is recorded by the one would not be seen by the other ({remedy})"
        )));
    }
    if is_mount_point(path) {
        let remedy = "mount the folder that it is in instead";
        bail!(Refused(format!("the ledger {place} is mounted by itself, and its log would stay elsewhere ({remedy})")));
    }
    Ok(())
}

/// Refuses a link that leads nowhere: nothing is made behind it, and nothing is found.
pub(super) fn refuse_link(path: &Path) -> Result<()> {
    let place = path.display();
    match path.metadata() {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            let remedy = "remove the link, or name the file itself in ledger.path";
            bail!(Refused(format!("the ledger {place} is a link that leads to itself ({remedy})")))
        }
        Err(_) if path.is_symlink() => {
            let remedy =
                "is a folder not mounted? else remove the link, and run `privo-reconcile init` for a new ledger";
            bail!(Refused(format!("the ledger {place} is a link to what is not there ({remedy})")))
        }
        _ => Ok(()),
    }
}

/// Whether something is mounted at the very path.
fn is_mount_point(path: &Path) -> bool {
    if let Some(root) = is_mount_root(path) {
        return root;
    }
    let real = path.canonicalize();
    let mounts = std::fs::read_to_string(MOUNTS).unwrap_or_default();
    real.is_ok_and(|real| mounts.lines().filter_map(mount).any(|(point, _)| point == real))
}

/// The kernel's own word, also where /proc is not mounted; `None` from one older than 5.8.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_mount_root(path: &Path) -> Option<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let shown = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
    let knows = shown.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    knows.then(|| shown.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_mount_root(_: &Path) -> Option<bool> {
    None
}

/// The type of the network file system that a path lies on; `None` for a local one, and where it cannot be told.
fn network_type(path: &Path) -> Option<String> {
    let real = path.canonicalize().or_else(|_| path.parent().unwrap_or(Path::new("")).canonicalize()).ok()?;
    let mounts = std::fs::read_to_string(MOUNTS).ok()?;
    type_of(&mounts, &real).filter(|kind| is_remote(kind))
}

fn is_remote(kind: &str) -> bool {
    REMOTE.contains(&kind) || kind.strip_prefix("fuse.").is_some_and(|kind| REMOTE_FUSE.contains(&kind))
}

/// The type of the file system that an absolute path lies on: that of the longest mount point above it, and of several
/// mounted over each other the last.
fn type_of(mounts: &str, path: &Path) -> Option<String> {
    let above = mounts.lines().filter_map(mount).filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

/// Mount point and type of one line: `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw`.
fn mount(line: &str) -> Option<(PathBuf, String)> {
    let (place, file_system) = line.split_once(" - ")?;
    let point = place.split(' ').nth(4)?;
    let kind = file_system.split(' ').next()?;
    Some((PathBuf::from(unescaped(point)), kind.to_owned()))
}

/// The kernel writes space, tab, line feed and backslash in octal: `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                whole.push(char::from(code));
                whole.push_str(rest);
            }
            _ => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTED: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /mnt/share rw,relatime shared:7 master:1 - nfs4 10.0.0.1:/export rw,vers=4.2
31 22 0:27 / /mnt/with\\040space rw - cifs //server/share rw
32 22 0:28 / /mnt/share/local rw - xfs /dev/vdb rw
33 22 0:29 / /mnt/sshfs rw - fuse.sshfs me@host: rw
34 22 0:30 / /mnt/ntfs rw - fuse.ntfs-3g /dev/vdc rw
35 22 0:31 / /mnt/over rw - ext4 /dev/vdd rw
36 35 0:32 / /mnt/over rw - 9p host rw
a line that is cut";

    #[test]
    fn the_longest_mount_point_above_a_path_says_its_type() {
        for (path, kind, remote) in [
            ("/var/lib/ledger.db", "ext4", false),
            ("/mnt/share/ledger.db", "nfs4", true),
            ("/mnt/shared/ledger.db", "ext4", false),
            ("/mnt/share/local/ledger.db", "xfs", false),
            ("/mnt/with space/ledger.db", "cifs", true),
            ("/mnt/sshfs/a/b/ledger.db", "fuse.sshfs", true),
            ("/mnt/ntfs/ledger.db", "fuse.ntfs-3g", false),
            ("/mnt/over/ledger.db", "9p", true),
        ] {
            assert_eq!(type_of(MOUNTED, Path::new(path)).as_deref(), Some(kind), "{path}");
            assert_eq!(is_remote(kind), remote, "{kind}");
        }
        assert_eq!(type_of("", Path::new("/ledger.db")), None);
    }

    #[test]
    fn octal_is_undone_and_nothing_else() {
        for (written, meant) in [("/a\\040b\\134c", "/a b\\c"), ("/a\\", "/a\\"), ("/a\\9", "/a\\9"), ("/ü", "/ü")] {
            assert_eq!(unescaped(written), meant);
        }
    }

    /// The temporary folder may well be remote; this one never is.
    #[test]
    fn a_file_system_of_this_machines_kernel_is_local() {
        assert_eq!(network_type(Path::new("/proc/self/ledger.db")), None);
    }
}
