//! What this node's disk has of a batch that a provider runs: the lines that the provider gets, for each of them a note
//! with what its record needs, and the provider's results.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::Disk;
use super::input::{Input, NextLine};
use super::relayed::{Note, Progress, Relayed};
use crate::formats::remote_batches::{RemoteBatches, RemoteResponse};

/// Lines that are recorded together, and bytes of their results.
pub(super) const GROUP: usize = 64;
const GROUP_BYTES: u64 = 4 << 20;
/// Bytes of what the record of a line needs.
const LONGEST_NOTE: usize = 4 << 20;
/// Bytes of a line besides what it asks.
const AROUND: usize = 4 << 10;

/// A batch's files of lines, notes and results, on this node's disk.
pub(super) struct Files {
    pub(super) disk: Arc<Disk>,
    pub(super) owner: String,
    pub(super) relayed: Relayed,
    /// Bytes that a request and a response may have.
    pub(super) longest: usize,
}

/// A line, and what the provider says of it.
pub(super) struct Answered {
    pub(super) nth: usize,
    pub(super) note: Note,
    pub(super) response: RemoteResponse,
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the results of a batch were cut off")
}

impl Files {
    /// Where notes stand, and which lines have a result among the first `read` bytes.
    pub(super) fn progress(&self, remote: &RemoteBatches, read: u64) -> io::Result<Progress> {
        let mut progress = Progress {
            notes: Vec::new(),
            has_result: Vec::new(),
        };
        let notes = self.disk.read(&self.owner, &self.relayed.notes.id)?;
        let mut notes = Input::open(notes, 0, LONGEST_NOTE)?;
        for _ in 0..self.relayed.sent {
            progress.notes.push(notes.at());
            notes.line()?;
        }
        progress.has_result.resize(progress.notes.len(), false);
        if read == 0 {
            return Ok(progress);
        }
        let mut results = self.results(0)?;
        while results.at() < read {
            let line = match results.line()? {
                NextLine::Line(line) => line,
                NextLine::TooLong => continue,
                NextLine::End => return Err(cut_off()),
            };
            if let Some((nth, _)) = self.result(remote, &line) {
                progress.has_result[nth] = true;
            }
        }
        Ok(progress)
    }

    fn results(&self, at: u64) -> io::Result<Input> {
        let results = self.disk.read(&self.owner, &self.relayed.results.id)?;
        Input::open(results, at, self.longest)
    }

    fn result(&self, remote: &RemoteBatches, line: &[u8]) -> Option<(usize, RemoteResponse)> {
        let result = (remote.result)(line)?;
        let nth = self.relayed.nth(&result.id)?;
        Some((usize::try_from(nth).ok()?, result.response))
    }

    /// Results from `read` on, and where the next one begins; `None` behind the last one.
    pub(super) fn answered(
        &self,
        remote: &RemoteBatches,
        progress: &Progress,
        read: u64,
    ) -> io::Result<(Vec<Answered>, Option<u64>)> {
        let mut answered = Vec::new();
        if read >= self.relayed.results.bytes {
            return Ok((answered, None));
        }
        let mut results = self.results(read)?;
        while answered.len() < GROUP && results.at() - read < GROUP_BYTES {
            let line = match results.line()? {
                NextLine::End if results.at() < self.relayed.results.bytes => return Err(cut_off()),
                NextLine::End => return Ok((answered, None)),
                NextLine::TooLong => continue,
                NextLine::Line(line) => line,
            };
            let Some((nth, response)) = self.result(remote, &line) else {
                tracing::warn!(
                    provider = self.relayed.provider,
                    "a result of a batch can't be read, or is for no line of it"
                );
                continue;
            };
            if progress.has_result[nth] {
                continue;
            }
            answered.push(Answered {
                nth,
                note: self.note(progress.notes[nth])?,
                response,
            });
        }
        Ok((answered, Some(results.at())))
    }

    /// The notes at these places.
    pub(super) fn notes(&self, places: Vec<u64>) -> io::Result<Vec<Note>> {
        places.into_iter().map(|at| self.note(at)).collect()
    }

    fn note(&self, at: u64) -> io::Result<Note> {
        let notes = self.disk.read(&self.owner, &self.relayed.notes.id)?;
        let note = match Input::open(notes, at, LONGEST_NOTE)?.line()? {
            NextLine::Line(line) => serde_json::from_slice(&line).ok(),
            NextLine::TooLong | NextLine::End => None,
        };
        let why = "a note on a line of a batch is missing, or damaged";
        note.ok_or_else(|| io::Error::new(ErrorKind::NotFound, why))
    }

    /// What the provider was asked in the line that begins at `at`; `None` if it can't be read any more.
    pub(super) fn asked(&self, remote: &RemoteBatches, at: u64) -> Option<Bytes> {
        let lines = self.disk.read(&self.owner, &self.relayed.lines.id).ok()?;
        let longest = self.longest.saturating_add(AROUND);
        let NextLine::Line(line) = Input::open(lines, at, longest).ok()?.line().ok()? else {
            return None;
        };
        (remote.asked)(&line).map(Bytes::copy_from_slice)
    }
}
