//! The fresh process of one run. State that is left over in a process cannot make a second run
//! differ from the first if there is no second run in it.

use crate::check::Check;
use crate::verdict::{RunResult, Verdict};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a process is to run.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub path: &'a Path,
    pub seed: u64,
    pub mutant: Option<&'a str>,
    /// Where to write every event.
    pub trace: Option<&'a Path>,
    /// See [`crate::single_run::SingleRun::leak`].
    pub leak: bool,
    /// The real time that it may take; beyond, it hangs and is killed.
    pub limit: Duration,
    /// Another build of the simulator that is to run it; this very one if none.
    pub program: Option<&'a Path>,
}

/// Runs it; gives what it told and what it printed.
pub fn run(order: Order<'_>) -> (RunResult, String) {
    run_writing(order, None)
}

/// Runs it once more, and has the page of it written; the first run need not pay for it.
pub fn report(order: Order<'_>, page: &Path) -> Result<(), String> {
    written(order, "--report", page)
}

/// Runs it once more, and has what its clients did written as scripts.
pub fn scripts(order: Order<'_>, to: &Path) -> Result<(), String> {
    written(order, "--scripts", to)
}

fn written(order: Order<'_>, what: &str, path: &Path) -> Result<(), String> {
    let (result, printed) = run_writing(order, Some((what, path)));
    match path.exists() {
        true => Ok(()),
        false => Err(format!(
            "{} is not written by a run that ended with {}:\n{printed}",
            path.display(),
            result.verdict
        )),
    }
}

fn run_writing(order: Order<'_>, what: Option<(&str, &Path)>) -> (RunResult, String) {
    let result_path = scratch("json");
    let own = || std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(order.program.map_or_else(own, Path::to_owned));
    command.arg("one").arg(order.path);
    command
        .args(["--seed", &order.seed.to_string()])
        .arg("--result")
        .arg(&result_path);
    if let Some(mutant) = order.mutant {
        command.args(["--mutant", mutant]);
    }
    if order.leak {
        command.arg("--leak");
    }
    if let Some(trace) = order.trace {
        command.arg("--trace").arg(trace);
    }
    if let Some((option, path)) = what {
        command.arg(option).arg(path);
    }
    let (printed, killed) = output(command, order.limit).expect("this program starts");
    let result = fs::read(&result_path).ok();
    let result = result.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    // The file is missing if the process died; that is told by the verdict.
    let _ = fs::remove_file(&result_path);
    match (killed, result) {
        (true, _) => {
            let limit = order.limit;
            let why = format!("{printed}violated serves: no end within {limit:?} of real time\n");
            (RunResult::nothing(Verdict::NotLive), why)
        }
        (false, Some(result)) => (result, printed),
        (false, None) => {
            let found_by = vec![Check::Alive.to_string()];
            let result = RunResult {
                found_by,
                ..RunResult::nothing(Verdict::NodeCrash)
            };
            (result, printed)
        }
    }
}

/// A file name that no other run uses.
pub fn scratch(end: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("detcd-sim-{}-{number}.{end}", std::process::id()))
}

/// What the process prints to both of its outputs, in order, and whether it was killed for taking
/// too long.
fn output(mut command: Command, limit: Duration) -> io::Result<(String, bool)> {
    let (mut reader, writer) = io::pipe()?;
    command
        .stdin(std::process::Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = Arc::new(Mutex::new(command.spawn()?));
    // It holds the writing ends, and the reader would never see the end.
    drop(command);
    let (over, is_over) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn({
        let child = child.clone();
        move || kill_after(limit, &is_over, &child)
    });
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed)?;
    child.lock().expect("no holder panics").wait()?;
    drop(over);
    let killed = watchdog.join().expect("the watchdog does not panic");
    Ok((String::from_utf8_lossy(&printed).into_owned(), killed))
}

fn kill_after(limit: Duration, is_over: &mpsc::Receiver<()>, child: &Mutex<Child>) -> bool {
    let overdue = is_over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
    // A child that ended in this very moment is not there to be killed.
    overdue && child.lock().expect("no holder panics").kill().is_ok()
}
