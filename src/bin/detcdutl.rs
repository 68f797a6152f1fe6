//! `detcdutl`: works on the files of detcd, and on snapshots of etcd, without a server.

use detcd::utl::{Call, Terminal, run};
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.into_vec());
    let call = Call {
        program: args.next().unwrap_or_default(),
        args: args.collect(),
        terminal: Terminal {
            input: Box::new(std::io::BufReader::new(std::io::stdin())),
            out: Box::new(detcd_out::stdout()),
            err: Box::new(detcd_out::stderr()),
        },
    };
    ExitCode::from(detcd_rt::block_on(run(call)))
}
