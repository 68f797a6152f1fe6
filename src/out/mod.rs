//! Standard output and error of our programs, which nobody may read to the end.
//!
//! Who reads a program's output may have seen enough (`| head -1`). A signal ends other programs
//! then; Rust's have it ignored, and std's `println!` panics instead. We cannot have the signal
//! back: it also comes for sockets, and who hangs up on us must not end us. So what is written here
//! ends the process if nobody reads it any more, without a word, and with the exit code that a
//! shell gives for that signal.
//!
//! The macros have the names and the manners of std's: `use detcd_out::println;` and that is all.
//! `tests/tidy` sees to it that nobody forgets.

use std::fmt;
use std::io::{self, ErrorKind, Stderr, Stdout, Write};

/// 128 and the number of SIGPIPE: what a shell says of a program that the signal ended.
pub const NOBODY_READS: i32 = 141;

/// An output that ends the process once nobody reads it.
#[derive(Debug)]
pub struct Output<W>(W);

pub fn stdout() -> Output<Stdout> {
    Output(io::stdout())
}

pub fn stderr() -> Output<Stderr> {
    Output(io::stderr())
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        is_read(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        is_read(self.0.flush())
    }
}

/// Ends the process if nobody reads any more; other errors are the caller's.
fn is_read<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(NOBODY_READS);
    }
    result
}

/// What the macros do; like std's they panic if it cannot be written for another reason (a full
/// disk).
#[doc(hidden)]
pub fn put(output: impl Write, text: fmt::Arguments<'_>) {
    if let Err(error) = Output(output).write_fmt(text) {
        panic!("the output cannot be written: {error}");
    }
}

/// As std's, but for a reader who has gone.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::put(::std::io::stdout().lock(), ::core::format_args!($($text)*))
    };
}

/// As std's, but for a reader who has gone.
#[macro_export]
macro_rules! println {
    () => {
        $crate::put(::std::io::stdout().lock(), ::core::format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::put(::std::io::stdout().lock(), ::core::format_args!("{}\n", ::core::format_args!($($text)*)))
    };
}

/// As std's, but for a reader who has gone.
#[macro_export]
macro_rules! eprint {
    ($($text:tt)*) => {
        $crate::put(::std::io::stderr().lock(), ::core::format_args!($($text)*))
    };
}

/// As std's, but for a reader who has gone.
#[macro_export]
macro_rules! eprintln {
    () => {
        $crate::put(::std::io::stderr().lock(), ::core::format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::put(::std::io::stderr().lock(), ::core::format_args!("{}\n", ::core::format_args!($($text)*)))
    };
}
