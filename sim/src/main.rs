//! `cargo sim`: runs scenarios in the deterministic simulator.

#[cfg(madsim)]
mod command;

use std::process::ExitCode;

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!(
        "this is not the simulator's build: it needs --cfg madsim. Use `cargo sim ...`, with no \
         RUSTFLAGS in the environment (they would override the cfg)."
    );
    ExitCode::from(2)
}

#[cfg(madsim)]
fn main() -> ExitCode {
    command::main()
}
