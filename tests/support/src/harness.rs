//! A harness for programs whose tests share something expensive: a tailnet, a database server, the
//! whole machine. The standard harness has no hook at its end to stop such a thing. Filters, `--list`,
//! `--exact`, `--skip` and `--ignored` work as they do there.
//!
//! Tests run one after the other. A module lists its own with [`tests!`](crate::tests), and a
//! function that isn't listed is a warning of the compiler.

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

pub use libtest_mimic::Trial;
use libtest_mimic::{Arguments, Completion, Failed};
use tokio::runtime::Runtime;

/// Why the running test, or a part of it, can't run here.
static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says that the running test can't run here, and what it would need.
pub fn skip(why: &str) {
    println!("SKIPPED: {why}");
    SKIPPED.lock().expect("no panic").push(why.to_owned());
}

pub type Ends<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// A test of a program, which takes a `W`.
pub struct Test<W: 'static> {
    /// The module and the function.
    pub name: &'static str,
    pub run: for<'a> fn(&'a W) -> Ends<'a>,
}

/// How a test ends: it panics, or says why it failed.
pub trait Outcome {
    fn result(self) -> anyhow::Result<()>;
}

impl Outcome for () {
    fn result(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Outcome for anyhow::Result<()> {
    fn result(self) -> anyhow::Result<()> {
        self
    }
}

/// The tests of a module, by the names of their functions: `tests![one, other]` for those without
/// a parameter, `tests![World; one, other]` for those that take a reference to a `World`.
#[macro_export]
macro_rules! tests {
    ($given:ty; $($(#[$meta:meta])* $name:ident),* $(,)?) => { &[$($(#[$meta])* {
        fn run(given: &$given) -> $crate::harness::Ends<'_> {
            Box::pin(async move { $crate::harness::Outcome::result($name(given).await) })
        }
        let name = concat!(module_path!(), "::", stringify!($name));
        $crate::harness::Test { name, run }
    }),*] };
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => { &[$($(#[$meta])* {
        fn run((): &()) -> $crate::harness::Ends<'_> {
            Box::pin(async { $crate::harness::Outcome::result($name().await) })
        }
        let name = concat!(module_path!(), "::", stringify!($name));
        $crate::harness::Test { name, run }
    }),*] };
}

impl<W> Test<W> {
    /// Its name without that of the program.
    pub fn short(&self) -> String {
        let parts: Vec<&str> = self.name.rsplitn(3, "::").take(2).collect();
        format!("{}::{}", parts[1], parts[0])
    }
}

/// Something that is started for the first test that needs it, and ended after the last.
pub struct Shared<W>(Arc<OnceLock<W>>);

impl<W> Clone for Shared<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Default for Shared<W> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<W> Shared<W> {
    /// Starts it unless it runs.
    pub fn get(&self, start: impl FnOnce() -> anyhow::Result<W>) -> anyhow::Result<&W> {
        if let Some(there) = self.0.get() {
            return Ok(there);
        }
        let started = start()?;
        Ok(self.0.get_or_init(|| started))
    }

    /// Takes it, if it was started. Call this once all tests have ended.
    pub fn end(self) -> Option<W> {
        Arc::into_inner(self.0)?.into_inner()
    }
}

/// A test that the harness runs: its time is shown, and one that was skipped counts as ignored.
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        SKIPPED.lock().expect("no panic").clear();
        let started = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(run));
        print!("({:.1?}) ", started.elapsed());
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failed::from(format!("{error:#}"))),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let skipped = SKIPPED.lock().expect("no panic").join("; ");
        Ok(if skipped.is_empty() {
            Completion::Completed
        } else {
            Completion::ignored_with(skipped)
        })
    })
}

/// The tests of some modules, each run by `run`.
pub fn trials<W>(
    modules: &[&'static [Test<W>]],
    run: impl Fn(&Test<W>) -> anyhow::Result<()> + Clone + Send + 'static,
) -> Vec<Trial> {
    let tests = modules.iter().copied().flatten();
    tests
        .map(|test| {
            let run = run.clone();
            trial(test.short(), move || run(test))
        })
        .collect()
}

/// Tests that share nothing but the machine.
pub fn unshared(modules: &[&'static [Test<()>]]) -> Vec<Trial> {
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    trials(modules, move |test| runtime.block_on((test.run)(&())))
}

/// What the command line asks for.
pub fn arguments() -> Arguments {
    let mut arguments = Arguments::from_args();
    // The tests share something, or need the whole machine.
    arguments.test_threads = Some(1);
    // Names show more progress than dots when a run takes minutes.
    arguments.quiet = false;
    arguments
}

/// Runs those that the command line selects.
pub fn run(mut tests: Vec<Trial>) -> ExitCode {
    let arguments = arguments();
    // `./test` counts what is ignored as skipped: as what couldn't run here.
    let with_ignored = arguments.list || arguments.ignored || arguments.include_ignored;
    tests.retain(|test| with_ignored || !test.has_ignored_flag());
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// Runs this program with a variable in its environment, which is read when a program starts: without
/// it, the program starts itself again.
pub fn with_environment(name: &str, value: &str) {
    if std::env::var(name).is_ok_and(|there| there == value) {
        return;
    }
    again(
        std::env::current_exe()
            .map(Command::new)
            .expect("this program"),
        name,
        value,
    );
}

/// Runs this program in a network of its own, which a variable in its environment marks.
pub fn in_a_namespace(name: &str) {
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut command = crate::namespace::unshare();
    command.arg(std::env::current_exe().expect("this program"));
    again(command, name, "1");
}

fn again(mut command: Command, name: &str, value: &str) {
    let error = command
        .args(std::env::args_os().skip(1))
        .env(name, value)
        .exec();
    panic!("this program can't be run once more: {error}");
}
