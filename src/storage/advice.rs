//! What an operator does about an error of a file.

use std::io::{self, ErrorKind};

const ROOM: &str = "make room on its file system, then start the member again";
const FILES: &str = "raise the limit of open files (ulimit -n, LimitNOFILE=, fs.file-max), then \
    start the member again";
const RIGHTS: &str = "give the user that runs detcd the right to read and write it";
const WRITABLE: &str =
    "mount its file system for writing (dmesg says whether errors took that away)";
const DEVICE: &str = "look into dmesg for errors of the device, and replace it if there are any";
const PLACE: &str = "look whether the path is right, and its file system is mounted";

/// What to do about data that cannot be trusted, or is gone. No older copy will do: a member must
/// not forget what it has promised.
pub const RESTORE: &str = "put back a copy of the data-dir that was made since the member last \
    stopped; or, if the other members are well, move the data-dir away, remove the member from the \
    cluster (member remove), add it again (member add), and start it with an empty data-dir";

// Linux's numbers: the standard library has no names for these.
const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ELOOP: i32 = 40;

/// What to do about it, in the imperative.
pub fn advice(error: &io::Error) -> &'static str {
    match (error.raw_os_error(), error.kind()) {
        (Some(ENFILE | EMFILE), _) => FILES,
        (Some(EIO), _) => DEVICE,
        (_, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => ROOM,
        (_, ErrorKind::PermissionDenied) => RIGHTS,
        (_, ErrorKind::ReadOnlyFilesystem) => WRITABLE,
        (_, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => PLACE,
        // A loop of symbolic links has no stable name in the standard library.
        (Some(ELOOP | EEXIST), _) => PLACE,
        _ => DEVICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_error() {
        let of = |code| advice(&io::Error::from_raw_os_error(code));
        assert_eq!([of(28), of(122), of(27)], [ROOM; 3]);
        assert_eq!([of(23), of(24)], [FILES; 2]);
        assert_eq!([of(1), of(13)], [RIGHTS; 2]);
        assert_eq!(of(30), WRITABLE);
        assert_eq!(of(5), DEVICE);
        assert_eq!([of(2), of(20), of(21)], [PLACE; 3]);
        assert_eq!(advice(&ErrorKind::StorageFull.into()), ROOM);
    }
}
