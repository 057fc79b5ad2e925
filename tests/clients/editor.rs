//! An editor's findings on a configuration, by the JSON Schema, against the gateway's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use jsonc_parser::ParseOptions;
use serde_json::{Value, json};

use crate::world::World;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    the_schema_and_the_check_agree,
];

/// The schema takes what is right, and refuses a wrong type and an unknown key wherever the check
/// complains of it. A validator that many use does the schema's part.
#[expect(clippy::unused_async, reason = "tests of this list are asynchronous")]
async fn the_schema_and_the_check_agree(world: &World) -> anyhow::Result<()> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut documents = Vec::new();
    for name in ["minimal.hujson", "demo.hujson", "example.hujson"] {
        let text = std::fs::read_to_string(config.join(name))?;
        let document: Value = jsonc_parser::parse_to_serde_value(&text, &ParseOptions::default())?;
        documents.push(document);
    }
    let right = documents.len();
    let example = documents[right - 1].clone();
    spoil(&example, &mut |spoilt| documents.push(spoilt));
    let verdicts = verdicts(world, &documents)?;
    ensure!(verdicts[..right].iter().all(|taken| *taken), "{verdicts:?}");
    let before = complaints(&example);
    let mut refused = 0;
    for (document, taken) in documents.iter().zip(&verdicts).skip(right) {
        let complained = complaints(document) != before;
        ensure!(
            complained != *taken,
            "the schema says {taken} and the check {complained} of {document}"
        );
        refused += usize::from(complained);
    }
    ensure!(refused > 100, "only {refused} of {}", documents.len());
    Ok(())
}

/// Gives out the document with one thing wrong, for each value and each object in it.
fn spoil(document: &Value, give: &mut dyn FnMut(Value)) {
    let wrong = match document {
        Value::Object(_) => json!("no object"),
        Value::Array(_) => json!({ "no": "list" }),
        Value::String(_) => json!([["no text"]]),
        _ => json!("neither number nor flag"),
    };
    give(wrong);
    match document {
        Value::Object(members) => {
            let mut unknown = members.clone();
            unknown.insert("noSuchKey".to_owned(), json!([["of no use"]]));
            give(Value::Object(unknown));
            for (name, value) in members {
                let into = |value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), value);
                    Value::Object(members)
                };
                spoil(value, &mut |value| give(into(value)));
            }
        }
        Value::Array(items) => {
            for (nth, value) in items.iter().enumerate() {
                let into = |value| {
                    let mut items = items.clone();
                    items[nth] = value;
                    Value::Array(items)
                };
                spoil(value, &mut |value| give(into(value)));
            }
        }
        _ => {}
    }
}

/// Errors and warnings, without where they are.
fn complaints(document: &Value) -> Vec<String> {
    let lookup = |_: &str| Some("found".to_owned());
    let findings = match iris::config::parse(&document.to_string(), &lookup) {
        Ok(loaded) => loaded.findings,
        Err(findings) => findings,
    };
    let bad = findings
        .into_iter()
        .filter(|finding| finding.severity != iris::config::Severity::Note);
    bad.map(|finding| finding.message).collect()
}

/// What the schema says of each document.
fn verdicts(world: &World, documents: &[Value]) -> anyhow::Result<Vec<bool>> {
    let schema = Command::new(env!("CARGO_BIN_EXE_iris"))
        .arg("schema")
        .output()?;
    let schema: Value = serde_json::from_slice(&schema.stdout)?;
    let mut validator = world
        .command("python3", &world.home()?)
        .arg(world.file("schema.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let given = json!({ "schema": schema, "documents": documents });
    let mut pipe = validator.stdin.take().context("a pipe")?;
    pipe.write_all(given.to_string().as_bytes())?;
    drop(pipe);
    let output = validator.wait_with_output()?;
    ensure!(output.status.success(), "the validator failed");
    let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout)?;
    ensure!(verdicts.len() == documents.len());
    Ok(verdicts)
}
