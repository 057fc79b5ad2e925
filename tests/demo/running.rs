//! A demo that runs as a process of its own, and what it printed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A node is up within a second; a busy machine may take its time.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Demo {
    child: Child,
    /// The tour, whole.
    pub(crate) said: String,
    logged: Arc<Mutex<String>>,
}

impl Demo {
    /// Starts one and waits for its tour.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iris"))
            .arg("demo")
            .args(arguments)
            // As a user would right after building it.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("IRIS_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let logged = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&logged);
        std::thread::spawn(move || {
            for line in errors.map_while(Result::ok) {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut said = String::new();
        while !said.contains("removes its data") {
            let Some(Ok(line)) = lines.next() else {
                panic!("the demo ended early: {said}\n{}", logged.lock().unwrap());
            };
            said.push_str(&line);
            said.push('\n');
        }
        Self {
            child,
            said,
            logged,
        }
    }

    /// The lines that the tour tells to type, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let steps =
            &self.said[self.said.find("\n1. ").unwrap()..self.said.find("In a browser").unwrap()];
        let mut lines: Vec<String> = Vec::new();
        let mut goes_on = false;
        for line in steps.lines().filter(|line| line.starts_with("  ")) {
            match lines.last_mut().filter(|_| goes_on) {
                Some(last) => {
                    last.push('\n');
                    last.push_str(line);
                }
                None => lines.push(line.trim_start().to_owned()),
            }
            goes_on = line.ends_with('\\');
        }
        lines
    }

    /// The address of a person's door.
    pub(crate) fn door(&self, person: &str) -> String {
        let is_theirs =
            |line: &&str| line.starts_with("  http://") && line.contains(&format!(" as {person}"));
        let line = self.said.lines().find(is_theirs);
        let url = line.unwrap().split_whitespace().next().unwrap();
        url.strip_prefix("http://").unwrap().to_owned()
    }

    /// A line that asks a model as a person.
    pub(crate) fn ask(&self, person: &str, model: &str, said: &str) -> String {
        format!(
            "curl -x http://{} http://ai/v1/chat/completions -H 'Content-Type: application/json' \
             -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"{said}\"}}]}}'",
            self.door(person)
        )
    }

    /// The tailnet's policy.
    pub(crate) fn policy(&self) -> PathBuf {
        let word = self
            .said
            .split_whitespace()
            .find(|word| word.ends_with("policy.hujson"));
        Path::new(word.unwrap()).to_owned()
    }

    /// Where the demo keeps everything.
    pub(crate) fn folder(&self) -> PathBuf {
        self.policy().parent().unwrap().to_owned()
    }

    /// The log so far.
    pub(crate) fn logged(&self) -> String {
        self.logged.lock().unwrap().clone()
    }

    /// Waits until the log has said this.
    pub(crate) fn wait_for(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        // The log is JSON.
        let text = text.replace('"', "\\\"");
        while !self.logged.lock().unwrap().contains(&text) {
            assert!(
                Instant::now() < until,
                "not logged: {text}\n{}",
                self.logged.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.end("INT")
    }

    /// Ends it by a signal.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the demo does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) && !std::thread::panicking() {
            self.stop();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a line typed in a shell shows.
pub(crate) fn run(line: &str) -> String {
    let output = Command::new("bash")
        .args(["-c", line])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
