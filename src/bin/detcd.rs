//! `detcd`: serves as a member of a cluster.

use detcd::config::{self, Config, Notice, Request, UsageError, VersionInfo};
use detcd::daemon;
use detcd_out::{eprint, eprintln, print, println};
use std::process::ExitCode;

/// What a shell is told of arguments that cannot be read.
const EXIT_USAGE: u8 = 2;

/// A put allocates some dozens of small buffers on one thread and frees them on another, which is
/// what the C library's allocator is slowest at: it took a fifth of a member's time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    disable_huge_pages();
    let args: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "bench")]
    if args.first().is_some_and(|arg| arg == "bench") {
        return measure();
    }
    if args.first().is_some_and(|arg| arg == "gateway") {
        return gateway();
    }
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    if args.first().is_some_and(|arg| arg == "config") {
        return configuration(&args[1..], &variables);
    }
    match config::read(&args, &variables) {
        Ok(Request::Serve(config, notices)) => serve(*config, notices),
        Ok(Request::Version) => {
            print!("{}", config::version(VersionInfo::OWN));
            ExitCode::SUCCESS
        }
        Ok(Request::Help) => {
            print!("{}", config::help());
            ExitCode::SUCCESS
        }
        Err(UsageError::Syntax(text)) => {
            eprintln!("{text}\n{}", config::usage());
            ExitCode::from(EXIT_USAGE)
        }
        Err(UsageError::Verify(error)) => {
            let log = config::log_of_refusal(&args, &variables);
            if daemon::logging::start(&log).is_ok() {
                tracing::error!(error, "failed to verify flags");
            }
            ExitCode::FAILURE
        }
    }
}

/// `detcd config`: tells of a configuration, and serves nothing.
fn configuration(args: &[String], variables: &[(String, String)]) -> ExitCode {
    match args.first().map(|arg| &arg[..]) {
        Some("check") if args.len() == 2 && !args[1].starts_with('-') => check_file(&args[1]),
        Some("print") => match config::print(&args[1..], variables) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(UsageError::Syntax(text)) => {
                eprintln!("{text}\n{}", config::CONFIG_USAGE);
                ExitCode::from(EXIT_USAGE)
            }
            Err(UsageError::Verify(text)) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        },
        Some("-h" | "--help" | "-help") => {
            print!("{}", config::CONFIG_USAGE);
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{}", config::CONFIG_USAGE);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn check_file(path: &str) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = match runtime.block_on(async { daemon::check(path) }) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &report.problems {
        eprintln!("{problem}");
    }
    match report.problems.is_empty() {
        true => {
            println!("{path}: ok");
            ExitCode::SUCCESS
        }
        false => ExitCode::FAILURE,
    }
}

/// With huge pages a buffer that nobody has written to takes memory, and no load runs faster. The
/// allocator is built not to ask for them (`no_thp`), and some systems give them unasked.
fn disable_huge_pages() {
    // An old kernel or a sandbox may refuse: then the member takes more memory.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// `detcd bench`: a client, and no member of anything.
#[cfg(feature = "bench")]
fn measure() -> ExitCode {
    use detcd_bench as bench;

    let args = bench::BenchArgs::parse_from_program("detcd bench");
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(bench::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("detcd bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `detcd gateway`: it is no member of anything, either.
fn gateway() -> ExitCode {
    let args = daemon::gateway::parse("detcd gateway");
    if let Err(error) = daemon::logging::start(&config::LogConfig::default()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(daemon::gateway::serve(args));
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, notices: Vec<Notice>) -> ExitCode {
    if let Err(error) = daemon::logging::start(&config.log) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_name("detcd");
    if config.worker_threads > 0 {
        runtime.worker_threads(config.worker_threads);
    }
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start threads");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(daemon::serve(config, notices));
    // What still runs (a blocked system call of a failing disk) must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match &error.advice()[..] {
                "" => tracing::error!(%error, "failed to serve"),
                advice => tracing::error!(%error, advice, "failed to serve"),
            }
            ExitCode::FAILURE
        }
    }
}
