//! The note and the vote, as they are found when the log is opened: what a crash can have left,
//! what an earlier format left, and what is damage.
//!
//! The note is the first file of a log and durable before there is another, so that it is missing
//! only where there is nothing else.

use super::note::{Found, NOTE_FILE, NoteFile, Synced};
use super::segments::segment_name;
use super::vote::{Stamp, VOTE_FILE, VoteFile};
use super::{LogError, LogOptions};
use crate::disk::Disk;
use bytes::Bytes;

pub(super) struct SmallFiles<D: Disk> {
    /// `None`: one of this format has yet to be written.
    note: Option<NoteFile<D>>,
    pub(super) vote: VoteFile<D>,
    pub(super) voted: Option<Bytes>,
    /// What is known to be durable.
    pub(super) synced: Synced,
    /// The number of the log, if one of the files says it.
    pub(super) salt: Option<u64>,
}

impl<D: Disk> SmallFiles<D> {
    /// Creates both if this is a new log.
    pub(super) async fn open(
        disk: &D,
        options: &LogOptions,
        names: &[String],
        has_segments: bool,
    ) -> Result<SmallFiles<D>, LogError> {
        let loaded = match names.iter().any(|name| name == VOTE_FILE) {
            true => Some(VoteFile::load(disk).await?),
            false => None,
        };
        let (mut note, synced) = find_note(disk, loaded.as_ref().map(|it| &it.0), has_segments)
            .await
            .or_else(forgive)?;
        let begins = !has_segments && synced == Synced::default();
        let (vote, voted) = match loaded {
            Some(loaded) => loaded,
            None if begins => {
                let note = match &note {
                    Some(note) => note,
                    None => note.insert(NoteFile::create(disk, options.salt, synced).await?),
                };
                let stamp = Stamp {
                    salt: note.salt,
                    owner: options.owner,
                };
                (VoteFile::create(disk, stamp, (0, &[])).await?, None)
            }
            None => {
                let path = disk.display(VOTE_FILE);
                return Err(LogError::corrupt(path, 0, "the vote file is missing"));
            }
        };
        let noted = note.as_ref().map(|note| note.salt);
        let files = SmallFiles {
            salt: noted.or(vote.stamp().map(|stamp| stamp.salt)),
            note,
            vote,
            voted,
            synced,
        };
        files.check(disk, options, has_segments)?;
        Ok(files)
    }

    /// What must hold between the files.
    fn check(&self, disk: &D, options: &LogOptions, has_segments: bool) -> Result<(), LogError> {
        let path = self.vote.path().to_string();
        if self.vote.sequence() < self.synced.vote {
            let what = "the last saved vote cannot be read";
            return Err(LogError::corrupt(
                path,
                self.vote.last_slot(&self.synced),
                what,
            ));
        }
        if !has_segments && (self.voted.is_some() || self.synced != Synced::default()) {
            let path = disk.display(&segment_name(1));
            let what = "all segments of the raft log are missing";
            return Err(LogError::corrupt(path, 0, what));
        }
        let Some(stamp) = self.vote.stamp() else {
            return Ok(());
        };
        if self.salt != Some(stamp.salt) {
            let what = "the vote and the note of what was synced are of different logs";
            return Err(LogError::corrupt(path, 0, what));
        }
        match (stamp.owner, options.owner) {
            (Some(stored), Some(expected)) if stored != expected => Err(LogError::Owner {
                file: path,
                stored,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// Notes what was read and made durable, and puts both files into this format.
    pub(super) async fn settle(
        self,
        disk: &D,
        options: &LogOptions,
        (salt, frame): (u64, u64),
    ) -> Result<(NoteFile<D>, VoteFile<D>), LogError> {
        let vote = self.vote.sequence();
        let synced = Synced { frame, vote };
        // The note says that the vote is durable. A process that was killed between the write of a
        // vote and its sync left it to be read.
        if !detcd_core::mutant!(UnsyncedStart) {
            self.vote.sync().await?;
        }
        // The note first: a vote of this format says that the note is of it, too.
        let note = match self.note {
            Some(note) if detcd_core::mutant!(UnsyncedStart) => note,
            Some(mut note) => {
                note.write(synced).await?;
                note.sync().await?;
                note
            }
            None => NoteFile::create(disk, salt, synced).await?,
        };
        let stored = self.vote.stamp();
        let owner = stored.and_then(|stamp| stamp.owner).or(options.owner);
        let stamp = Stamp { salt, owner };
        if stored == Some(stamp) {
            return Ok((note, self.vote));
        }
        let voted = self.voted.unwrap_or_default();
        let vote = VoteFile::create(disk, stamp, (vote, &voted)).await?;
        Ok((note, vote))
    }
}

/// The note; `None` if it is of the first format, which has yet to be replaced.
async fn find_note<D: Disk>(
    disk: &D,
    vote: Option<&VoteFile<D>>,
    has_segments: bool,
) -> Result<(Option<NoteFile<D>>, Synced), LogError> {
    let corrupt = |what| Err(LogError::corrupt(disk.display(NOTE_FILE), 0, what));
    let is_format_1 = vote.is_none_or(|vote| vote.stamp().is_none());
    match NoteFile::find(disk).await? {
        Found::Whole(note, synced) => Ok((Some(note), synced)),
        Found::Format1(synced) if is_format_1 => Ok((None, synced)),
        Found::Format1(_) => corrupt("the note of what was synced is cut short"),
        Found::Missing if has_segments || vote.is_some_and(VoteFile::was_used) => {
            corrupt("the note of what was synced is missing")
        }
        Found::Missing => Ok((None, Synced::default())),
    }
}

/// A planted bug: a note that was lost is no reason to stop.
fn forgive<D: Disk>(error: LogError) -> Result<(Option<NoteFile<D>>, Synced), LogError> {
    if detcd_core::mutant!(LostNote) && matches!(error, LogError::Corrupt { .. }) {
        return Ok((None, Synced::default()));
    }
    Err(error)
}
