//! Files that change while a gateway starts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::time::SystemTime;

use crate::program::{Iris, command, document, signal};
use support::provider::{COMPLETION, server};

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

/// Writes a file so that its size, inode and time stay the same.
fn rewrite(path: &Path, text: &str) {
    let written = modified(path);
    std::fs::write(path, text).unwrap();
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_modified(written).unwrap();
}

/// A program whose database is held, once it has read its configuration.
fn held_up(words: &[String], database: &rusqlite::Connection) -> (Child, BufReader<ChildStderr>) {
    database.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut child = command(words).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // Once it reports an error in the file, it has read it.
    while !line.contains("unknown_0") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ends");
    }
    (child, log)
}

/// The database is opened between the first reading of the configuration and the watch for its changes;
/// a lock delays that here.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_changes_during_a_start_is_read_again() {
    let answers = |_: &support::provider::Received| ("200 OK", COMPLETION.to_owned());
    let (upstream, _) = server("127.0.0.1:0", answers).await;
    let changed = move |path: &Path, model: &str, address| {
        rewrite(path, &document(address, upstream, model));
    };
    tokio::task::spawn_blocking(move || {
        let iris = Iris::start(upstream, |words| {
            let (config, state) = (Path::new(&words[3]), Path::new(&words[5]));
            std::fs::create_dir(state).unwrap();
            let database = rusqlite::Connection::open(state.join("iris.db")).unwrap();
            let (child, mut log) = held_up(words, &database);
            let text = std::fs::read_to_string(config).unwrap();
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            let address = text["listen"]["loopback"].as_str().unwrap();
            changed(config, "n", address.parse().unwrap());
            drop(database);
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            child
        });
        iris.until("the model of the changed file", |iris| {
            iris.get("/v1/models").unwrap().1.contains("\"id\":\"n\"")
        });
        iris.chat("n");
        assert!(iris.terminate().success());
    })
    .await
    .unwrap();
}

/// The first process of a container gets no signal without a handler for it.
#[test]
fn a_start_that_waits_for_its_database_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    std::fs::write(path("iris.hujson"), document(nowhere, nowhere, "m")).unwrap();
    std::fs::create_dir(path("state")).unwrap();
    let database = rusqlite::Connection::open(path("state/iris.db")).unwrap();
    let words = [
        env!("CARGO_BIN_EXE_iris").to_owned(),
        "serve".to_owned(),
        "--config".to_owned(),
        path("iris.hujson"),
        "--state-dir".to_owned(),
        path("state"),
    ];
    let (mut child, mut log) = held_up(&words, &database);
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    signal("TERM", child.id());
    assert!(child.wait().unwrap().success());
    drop(database);
}
