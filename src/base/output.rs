//! What a running gateway writes to standard error and to its terminal.
//!
//! The reader can stop reading (a log driver that hangs, Ctrl-S on a terminal) or go away. A writer then
//! waits or fails, which must not happen to a request or a loop of the gateway. So lines go to
//! a bounded queue, and one thread for each of the two streams writes them. Lines for which the
//! queue has no room, and lines that can't be written, are dropped and counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait.
const LINES: usize = 16_384;
/// Bytes that may wait.
const BYTES: usize = 8 << 20;
/// Between two tries to write to a descriptor that another process has made non-blocking.
const PAUSE: Duration = Duration::from_millis(20);
/// Lines that are written at once.
const TOGETHER: usize = 64;
/// Under load the thread waits this long for more lines to come.
const GATHER: Duration = Duration::from_millis(5);
/// A line that comes sooner than this after the last one is load. Others are written at once.
const LOAD: Duration = Duration::from_millis(50);
/// A write that takes longer than this counts as blocked.
const BLOCKED: Duration = Duration::from_secs(10);

static LOG: OnceLock<Output> = OnceLock::new();
static SCREEN: OnceLock<Output> = OnceLock::new();

/// A queue of lines, and the thread that writes them.
#[derive(Default)]
pub struct Output {
    state: Mutex<State>,
    /// A line has come.
    filled: Condvar,
    /// All lines are written or dropped.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread waits for a line.
    is_idle: bool,
    /// Since when the thread has been writing lines.
    writing: Option<Instant>,
    /// When it wrote the last one.
    written: Option<Instant>,
    dropped: u64,
    /// Those of the dropped lines that the log itself mentions.
    reported: u64,
    /// Why the last line could not be written.
    error: Option<String>,
}

impl State {
    fn is_busy(&self) -> bool {
        self.writing.is_some() || !self.lines.is_empty()
    }
}

/// How many lines were lost, and whether lines are still being lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Lines that were dropped since the start.
    pub dropped: u64,
    /// Why lines are being lost or held up at this moment; `None` while all is well.
    pub why: Option<String>,
}

/// The log, once [`start_log`] has been called.
pub fn log() -> Option<&'static Output> {
    LOG.get()
}

/// The terminal, once [`start_screen`] has been called.
pub fn screen() -> Option<&'static Output> {
    SCREEN.get()
}

/// Writes the log to standard error from now on. `recovered` is the line that follows when lines
/// were lost and the log works again: it gets their number.
///
/// # Errors
/// When there is no descriptor or no thread for it.
pub fn start_log(recovered: fn(u64) -> Vec<u8>) -> io::Result<&'static Output> {
    start(&LOG, "log", io::stderr().as_fd(), Some(recovered))
}

/// Writes what is for the person at the terminal to standard output from now on.
///
/// # Errors
/// Likewise.
pub fn start_screen() -> io::Result<&'static Output> {
    start(&SCREEN, "screen", io::stdout().as_fd(), None)
}

/// Waits until all lines are written, or for `patience` if the reader doesn't take them.
pub fn finish(patience: Duration) {
    let until = Instant::now() + patience;
    for output in [screen(), log()].into_iter().flatten() {
        output.finish(until.saturating_duration_since(Instant::now()));
    }
}

fn start(
    place: &'static OnceLock<Output>,
    name: &str,
    stream: std::os::fd::BorrowedFd<'_>,
    recovered: Option<fn(u64) -> Vec<u8>>,
) -> io::Result<&'static Output> {
    // A descriptor of its own: a thread that waits in `write` would hold the lock of `io::stderr`.
    let file = File::from(stream.try_clone_to_owned()?);
    let output = place.get_or_init(Output::default);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || output.write_all_to(file, recovered))?;
    Ok(output)
}

impl Output {
    /// Has a line written, sooner or later. Never waits.
    pub fn put(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.lines.len() >= LINES || state.bytes + line.len() > BYTES {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        // Waking a thread costs more than a line does: it is done once for all that it finds then.
        let wakes = std::mem::take(&mut state.is_idle);
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// What was lost.
    pub fn loss(&self) -> Loss {
        let state = self.lock();
        let blocked = state.writing.is_some_and(|since| since.elapsed() > BLOCKED);
        let why = if blocked {
            Some("nobody reads it".to_owned())
        } else if state.dropped > state.reported {
            let full = || "lines come faster than they are read".to_owned();
            Some(state.error.clone().unwrap_or_else(full))
        } else {
            None
        };
        let dropped = state.dropped;
        drop(state);
        Loss { dropped, why }
    }

    /// Whether there are lines that are neither written nor dropped.
    pub fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    fn finish(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_busy();
        // Whether it was in time does not matter: what is left is lost with the process.
        let _state = self
            .emptied
            .wait_timeout_while(self.lock(), patience, is_busy);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, and takes the first of them.
    fn next(&self) -> Batch {
        let mut state = self.filled();
        if state.written.is_some_and(|at| at.elapsed() < LOAD) && state.lines.len() < TOGETHER {
            drop(state);
            pause(GATHER);
            state = self.lock();
        }
        let mut batch = Batch::default();
        let count = state.lines.len().min(TOGETHER);
        for line in state.lines.drain(..count) {
            batch.add(line);
        }
        state.bytes -= batch.text.len();
        state.writing = Some(Instant::now());
        batch
    }

    fn filled(&self) -> MutexGuard<'_, State> {
        let is_empty = |state: &mut State| {
            state.is_idle = state.lines.is_empty();
            state.is_idle
        };
        let waited = self.filled.wait_while(self.lock(), is_empty);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what came of lines, and how many were lost if that can be said now. `left` of them were not
    /// written.
    fn written(&self, outcome: &io::Result<()>, left: u64) -> Option<u64> {
        let mut state = self.lock();
        state.written = Some(Instant::now());
        match outcome {
            Ok(()) => {
                state.error = None;
                let lost = state.dropped - state.reported;
                // While the queue is still long, more may be dropped at once.
                let is_short = state.lines.len() <= LINES / 2 && state.bytes <= BYTES / 2;
                if lost > 0 && is_short {
                    state.writing = Some(Instant::now());
                    return Some(lost);
                }
            }
            Err(error) => {
                state.error = Some(error.to_string());
                state.dropped += left;
            }
        }
        self.rest(state);
        None
    }

    /// Notes what came of the line that says how many were lost.
    fn reported(&self, lost: u64, outcome: &io::Result<()>) {
        let mut state = self.lock();
        match outcome {
            Ok(()) => state.reported += lost,
            Err(error) => state.error = Some(error.to_string()),
        }
        self.rest(state);
    }

    /// The thread is done with a line.
    fn rest(&self, mut state: MutexGuard<'_, State>) {
        state.writing = None;
        if state.lines.is_empty() {
            self.emptied.notify_all();
        }
    }

    /// The thread's work. `recovered` makes the line that says how many were lost; it doesn't go
    /// through the queue, where it could be dropped itself.
    fn write_all_to(&self, file: impl Write, recovered: Option<fn(u64) -> Vec<u8>>) {
        let mut lines = Lines { file, torn: false };
        loop {
            let batch = self.next();
            let (outcome, written) = lines.write(&batch.text);
            let Some(lost) = self.written(&outcome, batch.beyond(written)) else {
                continue;
            };
            let line = recovered.map(|recovered| recovered(lost));
            self.reported(lost, &lines.write(&line.unwrap_or_default()).0);
        }
    }
}

/// Writes whole lines to a stream that may fail in the middle of one.
struct Lines<W> {
    file: W,
    /// A part of a line was written, and the rest of it was not.
    torn: bool,
}

impl<W: Write> Lines<W> {
    /// Writes lines, and says how many bytes of them were written.
    fn write(&mut self, lines: &[u8]) -> (io::Result<()>, usize) {
        if self.torn {
            let (outcome, _) = self.write_part(b"\n");
            if outcome.is_err() {
                return (outcome, 0);
            }
        }
        self.write_part(lines)
    }

    fn write_part(&mut self, bytes: &[u8]) -> (io::Result<()>, usize) {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            match self.file.write(rest) {
                Ok(0) => return (Err(ErrorKind::WriteZero.into()), written),
                Ok(length) => {
                    written += length;
                    let is_line = rest.get(length.wrapping_sub(1)) == Some(&b'\n');
                    self.torn = written < bytes.len() && !is_line;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(PAUSE),
                Err(error) => return (Err(error), written),
            }
        }
        (Ok(()), written)
    }
}

/// Lines that are written at once.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Batch {
    fn add(&mut self, line: Vec<u8>) {
        if self.text.is_empty() {
            self.text = line;
        } else {
            self.text.extend_from_slice(&line);
        }
        self.ends.push(self.text.len());
    }

    /// How many of the lines do not end within this many bytes.
    fn beyond(&self, written: usize) -> u64 {
        let ends = self.ends.iter();
        ends.filter(|end| **end > written).count() as u64
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread does nothing else")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes what it is told to: so many bytes, or an error.
    struct Script {
        steps: Receiver<io::Result<usize>>,
        out: Sender<Vec<u8>>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.steps.recv().unwrap_or(Ok(usize::MAX))?;
            let part = &bytes[..bytes.len().min(most)];
            let _ = self.out.send(part.to_vec());
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn recovered(lost: u64) -> Vec<u8> {
        format!("lost {lost}\n").into_bytes()
    }

    struct World {
        output: Arc<Output>,
        steps: Sender<io::Result<usize>>,
        out: Receiver<Vec<u8>>,
        text: String,
    }

    impl World {
        fn new() -> Self {
            let (steps, from) = channel();
            let (to, out) = channel();
            let output = Arc::new(Output::default());
            let script = Script {
                steps: from,
                out: to,
            };
            let thread = Arc::clone(&output);
            std::thread::spawn(move || thread.write_all_to(script, Some(recovered)));
            Self {
                output,
                steps,
                out,
                text: String::new(),
            }
        }

        fn step(&self, step: io::Result<usize>) {
            self.steps.send(step).unwrap();
        }

        /// Waits until this is what was written since the start.
        fn wrote(&mut self, text: &str) {
            while self.text.len() < text.len() {
                let part = self.out.recv_timeout(Duration::from_secs(30)).unwrap();
                self.text.push_str(std::str::from_utf8(&part).unwrap());
            }
            assert_eq!(self.text, text);
        }

        fn until(&self, is_so: impl Fn(&Loss) -> bool) {
            let end = Instant::now() + Duration::from_secs(30);
            while !is_so(&self.output.loss()) {
                assert!(Instant::now() < end, "{:?}", self.output.loss());
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_one_begins_a_line() {
        let mut world = World::new();
        let broken = || Err(ErrorKind::BrokenPipe.into());
        world.output.put(b"first\n".to_vec());
        world.step(Ok(2));
        world.step(broken());
        world.until(|loss| loss.dropped == 1);
        assert_eq!(world.output.loss().why.as_deref(), Some("broken pipe"));
        world.output.put(b"second\n".to_vec());
        world.step(broken());
        world.until(|loss| loss.dropped == 2);
        world.output.put(b"third\n".to_vec());
        for _ in 0..2 {
            world.step(Ok(9));
        }
        // Else it could be written together with the next one.
        world.wrote("fi\nthird\n");
        // That some were lost may be impossible to say just then.
        world.step(broken());
        world.output.put(b"fourth\n".to_vec());
        for _ in 0..2 {
            world.step(Ok(99));
        }
        world.wrote("fi\nthird\nfourth\nlost 2\n");
        assert_eq!(world.output.loss().dropped, 2);
        world.until(|loss| loss.why.is_none());
    }

    #[test]
    fn whoever_logs_never_waits_and_the_bound_holds() {
        let mut world = World::new();
        let line = || b"x\n".to_vec();
        // One is with the thread, the others wait.
        world.output.put(line());
        let taken = || world.output.lock().writing.is_some();
        while !taken() {
            std::thread::yield_now();
        }
        for _ in 0..LINES + 5 {
            world.output.put(line());
        }
        assert_eq!(world.output.loss().dropped, 5);
        assert!(world.output.loss().why.is_some());
        world.output.finish(Duration::from_millis(1));
        drop(std::mem::replace(&mut world.steps, channel().0));
        // The log says so once half the queue is written.
        let (before, after) = (LINES / 2 + 1, LINES / 2);
        world.wrote(&format!(
            "{}lost 5\n{}",
            "x\n".repeat(before),
            "x\n".repeat(after)
        ));
        world.output.finish(Duration::from_secs(30));
        let loss = world.output.loss();
        assert_eq!((loss.dropped, loss.why), (5, None));
        let long = vec![b'x'; BYTES + 1];
        world.output.put(long);
        assert_eq!(world.output.loss().dropped, 6);
    }
}
