//! `snapshot save`: fetches the state of a member as a file that etcdutl reads. The file has its name
//! only once it is whole and on the disk.

use crate::ctl::client::Client;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, code};
use crate::ctl::session::call;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tonic::Streaming;

pub const COMMAND: Command = Command {
    name: "save",
    usage: "snapshot save <filename>",
    about: "Saves the state of one member to a file",
    long: "The file is one of etcd's: etcdutl shows and restores it.",
    flags: &[],
    action: Action::Run(Verb::SnapshotSave),
};

/// The last bytes of a snapshot.
const CHECKSUM_BYTES: usize = 32;
const MIB: f64 = 1024.0 * 1024.0;

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [path] = &context.texts()[..] else {
        return Err(Failure::args("snapshot save expects one argument"));
    };
    context.style()?;
    let endpoints = context.flags.list("endpoints");
    if endpoints.len() != 1 {
        let endpoints = endpoints.join(" ");
        return Err(failure(format!(
            "snapshot must be requested to one selected node, not multiple [{endpoints}]"
        )));
    }
    let mut client = Client::new(context)?;
    let part = Part::create(Path::new(path))?;
    let stream = call(&mut client, async |service| {
        MaintenanceClient::new(service)
            .snapshot(pb::SnapshotRequest {})
            .await
    });
    let stream = stream.await.map_err(|why| failure(why.message))?;
    receive(stream, &part.file).await?;
    part.rename(Path::new(path))?;
    context.terminal.say(&format!("Snapshot saved at {path}"))
}

/// etcdctl has one exit code for whatever goes wrong here.
fn failure(why: impl Into<String>) -> Failure {
    Failure::new(code::INTERRUPTED, why)
}

/// The file while it is not whole. Removed when dropped.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(path: &Path) -> Result<Part, Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|error| {
            let (path, why) = (path.display(), words(&error));
            failure(format!("could not open {path} (open {path}: {why})"))
        })?;
        Ok(Part { path, file })
    }

    fn rename(self, to: &Path) -> Result<(), Failure> {
        let written = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, to))
            .and_then(|()| sync_folder(to));
        written.map_err(|error| {
            let (from, to, why) = (self.path.display(), to.display(), words(&error));
            failure(format!("could not rename {from} to {to} ({why})"))
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// The system's words as Go prints them.
fn words(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

async fn receive(
    mut stream: Streaming<pb::SnapshotResponse>,
    mut file: &File,
) -> Result<(), Failure> {
    let mut sum = Sha256::new();
    let mut tail = Vec::new();
    let mut size = 0u64;
    let mut progress = Progress::new();
    let received = async {
        while let Some(message) = stream.message().await.map_err(|why| why.to_string())? {
            size += message.blob.len() as u64;
            file.write_all(&message.blob).map_err(|why| words(&why))?;
            tail.extend_from_slice(&message.blob);
            // The checksum is not summed up itself.
            let sure = tail.len().saturating_sub(CHECKSUM_BYTES);
            sum.update(&tail[..sure]);
            tail.drain(..sure);
            progress.show(size, message.remaining_bytes);
        }
        Ok::<(), String>(())
    };
    let received = received.await;
    progress.end();
    received.map_err(failure)?;
    // Pages of the file are a multiple of 512 bytes.
    if size % 512 != CHECKSUM_BYTES as u64 {
        return Err(failure(format!(
            "sha256 checksum not found [bytes: {size}]"
        )));
    }
    if tail != sum.finalize()[..] {
        let why = "the snapshot is not what its sha256 checksum says: save it again";
        return Err(failure(why));
    }
    Ok(())
}

/// How far it is, for a person who looks on.
struct Progress {
    is_shown: bool,
    percent: Option<u64>,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            is_shown: io::stderr().is_terminal(),
            percent: None,
        }
    }

    fn show(&mut self, received: u64, remaining: u64) {
        let whole = received + remaining;
        let percent = received * 100 / whole.max(1);
        if !self.is_shown || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let bar = "=".repeat(percent as usize / 4);
        let mib = |bytes: u64| bytes as f64 / MIB;
        let (received, whole) = (mib(received), mib(whole));
        // Nothing depends on it.
        let _ = write!(
            io::stderr(),
            "\r[{bar:25}] {percent:3} % {received:.1} of {whole:.1} MiB"
        );
    }

    fn end(&self) {
        if self.percent.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
