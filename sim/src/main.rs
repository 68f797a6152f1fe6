//! `cargo sim`: runs scenarios in the deterministic simulator.

#[cfg(madsim)]
mod command;

use std::process::ExitCode;

/// A run is a thread of its own, for which the system's allocator grows its memory in small steps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(madsim))]
fn main() -> ExitCode {
    detcd_out::eprintln!(
        "this is not the simulator's build: it needs --cfg madsim. Use `cargo sim ...`, with no \
         RUSTFLAGS in the environment (they would override the cfg)."
    );
    ExitCode::from(2)
}

#[cfg(madsim)]
fn main() -> ExitCode {
    command::main()
}
