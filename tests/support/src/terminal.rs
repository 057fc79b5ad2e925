//! The program on a terminal, as a person uses it.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A program on a terminal of its own.
pub struct Terminal {
    child: Child,
    said: Vec<u8>,
    /// How much of its output was waited for.
    seen: usize,
}

impl Terminal {
    pub fn start(arguments: &[&str]) -> Self {
        let program = crate::iris().display().to_string();
        let quoted: Vec<String> = std::iter::once(program.as_str())
            .chain(arguments.iter().copied())
            .map(|part| format!("'{part}'"))
            .collect();
        // A shell in between would get Ctrl-C too, and dash then ends with a status of its own.
        let command = format!("exec {}", quoted.join(" "));
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env_remove("IRIS_CONFIG")
            .env_remove("IRIS_LOG")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script of util-linux");
        Self {
            child,
            said: Vec::new(),
            seen: 0,
        }
    }

    /// Reads until this is shown, after what earlier calls waited for.
    pub fn wait_for(&mut self, text: &str) {
        let pipe = self.child.stdout.as_mut().expect("a pipe");
        loop {
            let shown = String::from_utf8_lossy(&self.said);
            if let Some(at) = shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let mut buffer = [0; 4096];
            let length = pipe.read(&mut buffer).expect("to read");
            assert!(length > 0, "no {text:?} in {shown}");
            self.said.extend_from_slice(&buffer[..length]);
        }
    }

    pub fn type_in(&mut self, text: &str) {
        let pipe = self.child.stdin.as_mut().expect("a pipe");
        pipe.write_all(text.as_bytes()).expect("to write");
        pipe.flush().expect("to write");
    }

    /// Everything that was shown so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// The exit code, and everything that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        let pipe = self.child.stdout.as_mut().expect("a pipe");
        pipe.read_to_end(&mut self.said).expect("to read");
        let status = self.child.wait().expect("an end");
        (status.code(), self.said())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // `script` ends its program when it gets the signal.
            let id = self.child.id().to_string();
            let _ = Command::new("kill").arg(id).status();
            let _ = self.child.wait();
        }
    }
}
