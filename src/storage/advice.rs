//! What an operator does about an error of a file.

use std::io::{self, ErrorKind};

const ROOM: &str = "make room on its file system, then start the member again";
const FILES: &str = "raise the limit of open files (ulimit -n, LimitNOFILE=, fs.file-max), then \
    start the member again";
const RIGHTS: &str = "give the user that runs detcd the right to read and write it";
const WRITABLE: &str =
    "mount its file system for writing (dmesg says whether errors took that away)";
const DEVICE: &str = "look into dmesg for errors of the device, and replace it if there are any";
const PLACE: &str = "look whether its file system is mounted where it should be";

// Linux's numbers: the standard library has no names for these.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// What to do about it, in the imperative.
pub fn advice(error: &io::Error) -> &'static str {
    match (error.raw_os_error(), error.kind()) {
        (Some(ENFILE | EMFILE), _) => FILES,
        (Some(EIO), _) => DEVICE,
        (_, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => ROOM,
        (_, ErrorKind::PermissionDenied) => RIGHTS,
        (_, ErrorKind::ReadOnlyFilesystem) => WRITABLE,
        (_, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => PLACE,
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
