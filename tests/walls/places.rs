//! The places where a secret could be: everything that a run has output, written and sent, decompressed.

use crate::echo::Heard;
use crate::secrets::{Answers, FILE, OWN};
use crate::world::{Gateway, files};

/// All that a run has left behind.
pub fn left(gateway: &Gateway, heard: &Heard, answers: Answers) -> Vec<(String, Vec<u8>)> {
    let mut places: Vec<(String, Vec<u8>)> = vec![
        (OWN.to_owned(), answers.own.into_bytes()),
        ("answers".to_owned(), answers.others.into_bytes()),
    ];
    for (name, said) in heard.all() {
        // Exports are compressed.
        let start = said
            .windows(4)
            .position(|four| four == [0x28, 0xb5, 0x2f, 0xfd]);
        if let Some(at) = start {
            let objects = zstd::decode_all(&said[at..]).unwrap();
            assert!(!objects.is_empty());
            places.push((format!("an object in {name}"), objects));
        }
        places.push((name.to_owned(), said));
    }
    for file in files(gateway.dir.path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let name = match name.as_str() {
            "iris.hujson" => FILE.to_owned(),
            "key" => "the file with a key".to_owned(),
            _ => name,
        };
        // Sockets are no files to read.
        if let Ok(content) = std::fs::read(&file) {
            places.push((name, content));
        }
    }
    places
}

/// All that a database holds, what is compressed in it as it was.
#[cfg(feature = "postgres")]
pub fn dump(url: &str) -> Vec<u8> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let mut programs: Vec<_> = versions
        .map(|version| version.unwrap().path().join("bin/pg_dump"))
        .collect();
    programs.sort();
    let dumped = std::process::Command::new(programs.pop().unwrap())
        .args(["--data-only", url])
        .output()
        .unwrap();
    assert!(
        dumped.status.success(),
        "{}",
        String::from_utf8_lossy(&dumped.stderr)
    );
    let mut all = dumped.stdout.clone();
    let text = String::from_utf8(dumped.stdout).unwrap();
    for field in text.split("\\\\x").skip(1) {
        let digits = field
            .split(|byte: char| !byte.is_ascii_hexdigit())
            .next()
            .unwrap();
        let bytes: Vec<u8> = digits
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        all.extend(zstd::decode_all(&bytes[..]).unwrap_or_else(|_| bytes.clone()));
        all.push(b'\n');
    }
    all
}
