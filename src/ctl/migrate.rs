//! `migrate`: copies keys of the v2 API into the store of v3.

use super::client::{Client, Repeat};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::Flag;
use super::secure::Secure;
use super::v2::tree::{File, Source};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

pub const COMMAND: Command = Command {
    name: "migrate",
    usage: "migrate [options] [path ...]",
    about: "Copies keys of the v2 API into the store of v3",
    long: "Each file below the paths (or in the whole tree, without one) becomes a key of v3 with the \
           name of its path, such as /app/name.\n\
           A time-to-live becomes a lease. Directories are left out, and hidden nodes unless they are \
           named.\n\
           A key that v3 has already stays as it is. The files of v2 stay, too.",
    flags: &[
        Flag::text(
            "dest-prefix",
            "",
            "what is put before the names of the keys",
        ),
        Flag::switch("dry-run", "say what would be copied, and copy nothing"),
        Flag::switch("overwrite", "write keys that v3 has already"),
        Flag::text("v2-user", "", "who reads the tree of v2: name:password"),
    ],
    action: Action::Run(Verb::Migrate),
};

/// Keys that are written by one request: half of what servers take.
const BATCH_KEYS_MAX: usize = 64;
/// Their bytes, unless one has more.
const BATCH_BYTES: usize = 512 * 1024;
/// A tree may be large.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    copied: u64,
    leased: u64,
    kept: u64,
    empty_directories: u64,
}

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut paths = context.texts();
    if paths.is_empty() {
        paths.push("/".to_owned());
    }
    let endpoints = context.flags.list("endpoints");
    let secure = Secure::of(context, &endpoints)?;
    let user = context.flags.text("v2-user").to_owned();
    let source = Source::new(&endpoints, &secure, &user, READ_TIMEOUT)?;
    let mut counts = Counts::default();
    let mut files = Vec::new();
    for path in &paths {
        let found = source.read(path).await?;
        counts.empty_directories += found.empty_directories;
        files.extend(found.files);
    }
    if context.flags.switch("dry-run") {
        for file in &files {
            context.terminal.say(&file.key)?;
        }
        let line = format!("would copy {}", count(files.len() as u64, "key"));
        return context.terminal.say(&line);
    }
    let target = Target {
        prefix: context.flags.text("dest-prefix").to_owned(),
        overwrite: context.flags.switch("overwrite"),
        client: Client::new(context)?,
    };
    target.copy(files, &mut counts).await?;
    for line in counts.lines() {
        context.terminal.say(&line)?;
    }
    Ok(())
}

struct Target {
    prefix: String,
    overwrite: bool,
    client: Client,
}

impl Target {
    async fn copy(mut self, files: Vec<File>, counts: &mut Counts) -> Result<(), Failure> {
        let bar = bar(files.len() as u64);
        let mut batch = Vec::new();
        let mut bytes = 0;
        for file in files {
            let lease = match file.ttl {
                Some(ttl) => Some(self.grant(ttl).await?),
                None => None,
            };
            let put = pb::PutRequest {
                key: Bytes::from(format!("{}{}", self.prefix, file.key)),
                value: Bytes::from(file.value),
                lease: lease.unwrap_or_default(),
                ..Default::default()
            };
            // A lease that no key comes under is to be given up: such a key is written alone.
            if let Some(lease) = lease {
                let (copied, kept) = self.write(vec![put]).await?;
                counts.leased += copied;
                count_in(counts, copied, kept);
                if copied == 0 {
                    self.revoke(lease).await?;
                }
                bar.inc(1);
                continue;
            }
            let size = put.key.len() + put.value.len();
            if batch.len() == BATCH_KEYS_MAX || bytes + size > BATCH_BYTES {
                bar.inc(batch.len() as u64);
                let (copied, kept) = self.write(std::mem::take(&mut batch)).await?;
                count_in(counts, copied, kept);
                bytes = 0;
            }
            bytes += size;
            batch.push(put);
        }
        let (copied, kept) = self.write(batch).await?;
        count_in(counts, copied, kept);
        bar.finish_and_clear();
        Ok(())
    }

    /// Writes keys, but for those that are there already. Gives how many were written, and how many
    /// were not.
    async fn write(&mut self, mut puts: Vec<pb::PutRequest>) -> Result<(u64, u64), Failure> {
        let mut kept = 0;
        while !puts.is_empty() {
            let request = self.request(&puts);
            let response = self
                .client
                .call(Repeat::Write, async |service| {
                    KvClient::new(service).txn(request.clone()).await
                })
                .await?;
            if response.succeeded {
                return Ok((puts.len() as u64, kept));
            }
            let before = puts.len();
            let mut ranges =
                response
                    .responses
                    .into_iter()
                    .map(|response| match response.response {
                        Some(pb::response_op::Response::ResponseRange(range)) => range.count > 0,
                        _ => false,
                    });
            puts.retain(|_| !ranges.next().unwrap_or_default());
            kept += (before - puts.len()) as u64;
        }
        Ok((0, kept))
    }

    /// Writes all keys if none is there; else tells which are.
    fn request(&self, puts: &[pb::PutRequest]) -> pb::TxnRequest {
        let op = |request| pb::RequestOp {
            request: Some(request),
        };
        let compare = |put: &pb::PutRequest| pb::Compare {
            result: pb::compare::CompareResult::Equal as i32,
            target: pb::compare::CompareTarget::Version as i32,
            key: put.key.clone(),
            target_union: Some(pb::compare::TargetUnion::Version(0)),
            ..Default::default()
        };
        let look = |put: &pb::PutRequest| {
            op(pb::request_op::Request::RequestRange(pb::RangeRequest {
                key: put.key.clone(),
                count_only: true,
                ..Default::default()
            }))
        };
        let put = |put: &pb::PutRequest| op(pb::request_op::Request::RequestPut(put.clone()));
        pb::TxnRequest {
            compare: match self.overwrite {
                true => Vec::new(),
                false => puts.iter().map(compare).collect(),
            },
            success: puts.iter().map(put).collect(),
            failure: puts.iter().map(look).collect(),
        }
    }

    async fn grant(&mut self, ttl: i64) -> Result<i64, Failure> {
        let request = pb::LeaseGrantRequest {
            ttl: ttl.max(1),
            id: 0,
        };
        let granted = self
            .client
            .call(Repeat::Write, async |service| {
                LeaseClient::new(service).lease_grant(request).await
            })
            .await?;
        Ok(granted.id)
    }

    async fn revoke(&mut self, id: i64) -> Result<(), Failure> {
        self.client
            .call(Repeat::Write, async |service| {
                let request = pb::LeaseRevokeRequest { id };
                LeaseClient::new(service).lease_revoke(request).await
            })
            .await?;
        Ok(())
    }
}

fn count_in(counts: &mut Counts, copied: u64, kept: u64) {
    counts.copied += copied;
    counts.kept += kept;
}

/// Shown on a terminal only.
fn bar(keys: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(keys), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} keys, {eta} left");
    bar.with_style(style.expect("the template is right"))
}

fn count(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

impl Counts {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![match self.leased {
            0 => format!("copied {}", count(self.copied, "key")),
            leased => format!(
                "copied {}, {leased} with a lease",
                count(self.copied, "key")
            ),
        }];
        if self.kept > 0 {
            lines.push(format!("{} there already", is_there(self.kept)));
        }
        if self.empty_directories > 0 {
            let directories = match self.empty_directories {
                1 => "1 empty directory".to_owned(),
                many => format!("{many} empty directories"),
            };
            lines.push(format!("left out {directories}"));
        }
        lines
    }
}

fn is_there(kept: u64) -> String {
    let verb = if kept == 1 { "was" } else { "were" };
    format!("{} {verb}", count(kept, "key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told() {
        let counts = Counts {
            copied: 3,
            leased: 1,
            kept: 1,
            empty_directories: 2,
        };
        let lines = counts.lines();
        assert_eq!(
            lines,
            [
                "copied 3 keys, 1 with a lease",
                "1 key was there already",
                "left out 2 empty directories"
            ]
        );
        assert_eq!(Counts::default().lines(), ["copied 0 keys"]);
    }
}
