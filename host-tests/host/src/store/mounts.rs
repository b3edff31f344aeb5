//! Whether a file outlives the container of this process.

use std::fs;
use std::path::{Path, PathBuf};

/// File systems in memory.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Whether `file` is on a volume: not on the root file system, which ends with the container, and not in
/// memory. `false` if that can't be told.
pub(super) fn is_on_volume(file: &Path) -> bool {
    // The folders that are missing will be created on the file system of the nearest one that exists.
    let folder_of = |path: &Path| match path.to_str() {
        Some("") => Path::new(".").canonicalize(),
        _ => path.canonicalize(),
    };
    let Some(directory) = file.ancestors().skip(1).find_map(|path| folder_of(path).ok()) else {
        return false;
    };
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| is_volume_in(&mounts, &directory))
}

/// The same for a directory, with the text of `/proc/self/mountinfo`.
fn is_volume_in(mounts: &str, directory: &Path) -> bool {
    let mounts = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        // The kernel writes a space in a path as \040.
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        Some((PathBuf::from(point), kind.split(' ').next()?))
    });
    // Of several mounts at one point, the last one is seen.
    let mount = mounts
        .filter(|(point, _)| directory.starts_with(point))
        .max_by_key(|(point, _)| point.components().count());
    mount.is_some_and(|(point, kind)| point != Path::new("/") && !IN_MEMORY.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_will_be_on_the_file_system_of_the_one_above() {
        // Here `/proc` stands for a volume.
        assert!(is_on_volume(Path::new("/proc/nothing/below/x.db")));
    }

    #[test]
    fn a_volume_is_a_mount_below_the_root_that_is_not_in_memory() {
        let mounts = r"
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a
23 22 0:21 / /proc rw - proc proc rw
24 22 0:22 / /tmp rw shared:1 - tmpfs tmpfs rw
25 22 8:1 /data /var/my\040records rw - ext4 /dev/sda1 rw
26 22 8:1 /x /late rw - tmpfs tmpfs rw
27 26 8:1 /x /late rw - ext4 /dev/sda1 rw
";
        let is_volume = |directory| is_volume_in(mounts, Path::new(directory));
        assert!(is_volume("/var/my records"));
        assert!(is_volume("/var/my records/below"));
        assert!(is_volume("/late"));
        for other in ["/", "/var", "/var/my", "/tmp", "/tmp/x"] {
            assert!(!is_volume(other), "{other}");
        }
        assert!(!is_volume_in("", Path::new("/")));
    }
}
