//! Questions on a terminal: asked until an answer makes sense, and without an echo where it is a
//! secret. Everything of others that is shown has been made harmless.

use std::io::{self, Read, Write};

use anyhow::Context;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use crate::app::cli::harmless;
use crate::base::secret::Secret;

/// Ctrl-C, Ctrl-D, Ctrl-U, backspace and delete, as they come from a terminal without its own
/// line editor.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const KILL: u8 = 21;
const BACKSPACE: [u8; 2] = [8, 127];

pub(super) fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{text}")?;
    Ok(())
}

/// Asks until there is an answer that makes sense. Enter takes what `usual` says.
pub(super) fn ask<T>(
    question: &str,
    usual: Option<&str>,
    mut read: impl FnMut(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut out = io::stderr();
    let shown = usual.map(|usual| format!(" [{usual}]")).unwrap_or_default();
    loop {
        write!(out, "{question}{shown}: ")?;
        out.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            writeln!(out)?;
            anyhow::bail!("the question was not answered; nothing was written");
        }
        let answer = Some(line.trim()).filter(|text| !text.is_empty()).or(usual);
        let Some(answer) = answer else { continue };
        match read(answer) {
            Ok(answer) => return Ok(answer),
            Err(error) => writeln!(out, "  {}", harmless(&format!("{error:#}")))?,
        }
    }
}

/// Asks for one of several things, by its number; Enter takes the first.
pub(super) fn choose(question: &str, choices: &[&str]) -> anyhow::Result<usize> {
    say(question)?;
    for (nth, choice) in choices.iter().enumerate() {
        say(&format!("  {:>2}  {}", nth + 1, harmless(choice)))?;
    }
    ask("A number", Some("1"), |text| {
        let all = 1..=choices.len();
        let number = text.parse().ok().filter(|number| all.contains(number));
        let number = number
            .with_context(|| format!("{text:?} is not a number from 1 to {}", choices.len()))?;
        Ok(number - 1)
    })
}

/// Asks for a secret, which the terminal doesn't show.
pub(super) fn ask_secret(question: &str) -> anyhow::Result<Secret> {
    let mut out = io::stderr();
    loop {
        let silence = Silence::begin()?;
        write!(out, "{question} (it is not shown): ")?;
        out.flush()?;
        let line = secret_line(&mut io::stdin().lock());
        drop(silence);
        writeln!(out)?;
        let secret = line?;
        if secret.chars().any(char::is_control) {
            writeln!(
                out,
                "  a key has no control characters, such as those of arrow keys; type it again"
            )?;
        } else if !secret.is_empty() {
            return Ok(Secret::new(secret));
        }
    }
}

/// Reads a line byte by byte: the terminal's own editor is off along with its echo, because Ctrl-C
/// would otherwise end the program and leave the terminal silent.
fn secret_line(input: &mut impl Read) -> anyhow::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if input.read(&mut byte)? == 0 || byte[0] == END {
            anyhow::bail!("the question was not answered; nothing was written");
        }
        match byte[0] {
            INTERRUPT => anyhow::bail!("interrupted; nothing was written"),
            b'\n' | b'\r' => break,
            KILL => line.clear(),
            byte if BACKSPACE.contains(&byte) => drop(line.pop()),
            byte => line.push(byte),
        }
    }
    let text = String::from_utf8(line)?;
    Ok(text.trim().to_owned())
}

/// A terminal without echo, until it is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that has gone away needs no echo.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_without_the_terminals_help() {
        let line = |typed: &str| secret_line(&mut typed.as_bytes());
        assert_eq!(line("sk-1\nrest").unwrap(), "sk-1");
        assert_eq!(line(" sk-1 \r").unwrap(), "sk-1");
        assert_eq!(line("wrong\u{15}sk-12\u{7f}\n").unwrap(), "sk-1");
        assert_eq!(line("\n").unwrap(), "");
        let interrupted = line("sk\u{3}").unwrap_err().to_string();
        assert!(interrupted.contains("interrupted"));
        for ended in ["sk", "sk\u{4}"] {
            assert!(line(ended).is_err(), "{ended:?}");
        }
    }
}
