//! `detcdctl`: the command line of detcd and of etcd's v3 API.

use detcd::ctl::{Call, Terminal, run};
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A variable that is no text is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let call = Call {
        args: std::env::args_os()
            .skip(1)
            .map(|arg| arg.into_vec())
            .collect(),
        environment: environment.collect(),
        terminal: Terminal {
            input: Box::new(std::io::BufReader::new(std::io::stdin())),
            out: Box::new(detcd_out::stdout()),
            err: Box::new(detcd_out::stderr()),
        },
    };
    ExitCode::from(detcd_rt::block_on(run(call)))
}
