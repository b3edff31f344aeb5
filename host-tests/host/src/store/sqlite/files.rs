//! The files of an open database. If one is deleted or replaced, SQLite goes on with the old one, which no
//! later start will find.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::write::{Error, Result};

pub(super) struct Files([File; 2]);

struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Files {
    /// The database at `path` and its write-ahead log, which exists as long as the database is open.
    pub fn of(path: &Path) -> io::Result<Self> {
        // SQLite puts the log beside the file that a symbolic link leads to.
        let mut log = path.canonicalize()?.into_os_string();
        log.push("-wal");
        Ok(Self([File::at(path.into())?, File::at(log.into())?]))
    }

    /// Fails if a file isn't the one that was opened.
    pub fn check(&self) -> Result<()> {
        match self.0.iter().find(|file| !file.is_there()) {
            None => Ok(()),
            Some(file) => Err(Error(format!(
                "{} was deleted or replaced while it was open: restart serve",
                file.path.display()
            ))),
        }
    }
}

impl File {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        Ok(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }

    fn is_there(&self) -> bool {
        fs::metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode))
    }
}
