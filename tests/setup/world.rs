//! A simulated machine: a copy of the scripts, and a PATH with only the programs that a test puts there.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What any system has, a machine with `BusyBox` too.
const BASE: [&str; 27] = [
    "awk",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sleep",
    "sort",
    "tail",
    "tee",
    "touch",
    "tr",
    "uname",
    "sha256sum",
];

/// What a run has printed, both outputs together, and its exit code.
pub(crate) struct Output {
    pub(crate) text: String,
    pub(crate) code: i32,
}

impl Output {
    /// The commands that were shown: they alone are indented and begin with a lower-case word.
    pub(crate) fn commands(&self) -> Vec<&str> {
        let shown = self.text.lines().filter_map(|line| line.strip_prefix("  "));
        shown
            .filter(|line| !line.contains(": ") && !line.starts_with('#'))
            .collect()
    }

    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        assert!(self.text.contains(part), "no {part:?} in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }
}

pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// A machine without a compiler and without a package manager, where the user is root.
    pub(crate) fn bare() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for folder in [
            "bin",
            "home",
            "store",
            "project/src/net/tailnet/tsnet/go",
            "project/tests/setup",
        ] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let setup = fs::read_dir(project.join("tests/setup")).unwrap();
        let setup =
            setup.map(|entry| format!("tests/setup/{}", entry.unwrap().file_name().display()));
        let files = [
            "try",
            "test",
            "Cargo.toml",
            "src/net/tailnet/tsnet/go/go.mod",
            "src/net/tailnet/tsnet/go/flags.txt",
        ];
        for file in files.map(str::to_owned).into_iter().chain(setup) {
            fs::copy(project.join(&file), world.path("project").join(&file)).unwrap();
        }
        for name in BASE {
            symlink(on_this_machine(name), world.path("bin").join(name)).unwrap();
        }
        let certificates = world.path("system/etc/ssl/certs");
        fs::create_dir_all(&certificates).unwrap();
        fs::write(certificates.join("ca-certificates.crt"), "x").unwrap();
        world.user(0);
        world.program("df", "echo header; echo 'disk 99999999 0 99999999 0% /'");
        world.store();
        world
    }

    /// A machine that has all that `./try` needs.
    pub(crate) fn whole() -> Self {
        let world = Self::bare();
        for name in ["rustc", "cargo", "go", "cc"] {
            world.take(name);
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A stand-in; what it says with `log` is found by [`World::log`].
    pub(crate) fn program(&self, name: &str, body: &str) {
        self.write(&self.path("bin").join(name), body);
    }

    pub(crate) fn write(&self, path: &Path, body: &str) {
        let text = format!(
            "#!/bin/sh\nlog() {{ echo \"$*\" >>'{root}/log'; }}\nroot='{root}'\n{body}\n",
            root = self.dir.path().display()
        );
        // What is there may be a link to a program of this machine, which must not be written to.
        let _ = fs::remove_file(path);
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    pub(crate) fn user(&self, id: u32) {
        self.program("id", &format!("echo {id}"));
    }

    /// The tools as packages would bring them; a stand-in of a package manager copies them.
    fn store(&self) {
        let tools = [
            ("rustc", "echo 'rustc 1.97.1 (abc 2026-07-01)'"),
            ("go", GO),
            ("cc", "exit 0"),
            ("cargo", CARGO),
        ];
        for (name, body) in tools {
            self.write(&self.path("store").join(name), body);
        }
    }

    /// Installs one tool of the store.
    pub(crate) fn take(&self, name: &str) {
        fs::copy(self.path("store").join(name), self.path("bin").join(name)).unwrap();
    }

    /// Debian's tools, with the packages and versions that it offers.
    pub(crate) fn apt(&self, offers: &[(&str, &str)]) {
        let mut cache = String::from("case \"$1 $2\" in\n");
        for (name, version) in offers {
            let answer = format!("{name}:\\n  Installed: (none)\\n  Candidate: {version}\\n");
            writeln!(cache, "'policy {name}') printf '{answer}' ;;").unwrap();
        }
        cache += "madison*) cat \"$root/madison\" 2>/dev/null ;;\nsearch*) cat \"$root/search\" 2>/dev/null ;;\nesac";
        self.program("apt-cache", &cache);
        self.program(
            "apt-get",
            "log \"apt-get $*\"\ncase $1 in install) cp \"$root\"/store/* \"$root/bin/\" ;; esac",
        );
        self.program("dpkg", "exit 0");
    }

    /// What the stand-ins have logged.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn command(&self, shell: &Path) -> Command {
        let mut command = Command::new(shell);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("IRIS_TEST_SYSTEM", self.path("system"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with(script, arguments, &[])
    }

    pub(crate) fn run_with(
        &self,
        script: &str,
        arguments: &[&str],
        more: &[(&str, &str)],
    ) -> Output {
        self.run_in(&on_this_machine("sh"), script, arguments, more)
    }

    /// Runs a script of the project by a shell, without a terminal.
    pub(crate) fn run_in(
        &self,
        shell: &Path,
        script: &str,
        arguments: &[&str],
        more: &[(&str, &str)],
    ) -> Output {
        let mut command = self.command(shell);
        if shell.ends_with("busybox") {
            command.arg("ash");
        }
        let script = self.path("project").join(script);
        let output = command
            .arg(script)
            .args(arguments)
            .envs(more.iter().copied());
        let output = output.output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        text += &String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        Output { text, code }
    }

    /// Runs `./try` on a terminal, and types an answer.
    pub(crate) fn run_on_terminal(&self, answer: &str) -> Output {
        use std::io::Write;
        let mut command = self.command(&on_this_machine("script"));
        let shell = format!(
            "exec {} {}",
            on_this_machine("sh").display(),
            self.path("project/try").display()
        );
        let mut child = command
            .args(["--quiet", "--return", "--command", &shell, "/dev/null"])
            .env("SHELL", on_this_machine("sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{answer}").unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
        let code = output.status.code().unwrap();
        Output { text, code }
    }
}

/// A Go that suits; what it is asked for stands in its second argument.
const GO: &str =
    "log \"go $*\"\ncase ${2:-} in GOVERSION) echo go1.26.8 ;; GOENV) echo \"$HOME/goenv\" ;; esac";

/// Builds a program that shows its arguments.
const CARGO: &str = r#"[ "$1" = -V ] || log "cargo $*${RUSTUP_TOOLCHAIN:+ by $RUSTUP_TOOLCHAIN}${GOTOOLCHAIN:+ and Go $GOTOOLCHAIN}"
case $1 in build)
    mkdir -p target/try
    printf '#!/bin/sh\necho "iris $*"\n' >target/try/iris
    chmod +x target/try/iris ;;
esac"#;

/// Where a program of this machine is.
pub(crate) fn on_this_machine(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed"))
}

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
}
