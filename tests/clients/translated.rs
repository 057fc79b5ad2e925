//! Each SDK with models that no provider has in its format, so that Iris translates: whole and streamed
//! responses, a tool to its end, and JSON that matches a schema.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::parts::Process;
use crate::provider::{CITY, HELLO, SIGNATURE, Served, THOUGHT, WORD, schema};
use crate::records::{self, Mark};
use crate::scripted;
use crate::world::{Server, Single, World};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    openai_python_is_translated,
    openai_node_is_translated,
    anthropic_python_is_translated,
    anthropic_node_is_translated,
    genai_python_is_translated,
    genai_node_is_translated,
    boto3_is_translated,
];

const LIMIT: Duration = Duration::from_mins(4);

/// A response as its SDK read it.
#[derive(Debug, Deserialize)]
struct Said {
    /// The format of the call.
    name: String,
    kind: String,
    model: String,
    stream: bool,
    text: String,
    stop: String,
    tool: Option<Value>,
    parsed: Option<Value>,
    input: u64,
    output: u64,
    cached: Option<u64>,
    /// Of formats that count it.
    reasoning: Option<u64>,
}

async fn openai_python_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_openai.py", "openai-python").await
}

async fn openai_node_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_openai.mjs", "openai-js").await
}

async fn anthropic_python_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_anthropic.py", "anthropic-python").await
}

async fn anthropic_node_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_anthropic.mjs", "anthropic-js").await
}

async fn genai_python_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_genai.py", "google-genai-python").await
}

async fn genai_node_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_genai.mjs", "google-genai-js").await
}

async fn boto3_is_translated(world: &World) -> anyhow::Result<()> {
    run(world, "translated_bedrock.py", "boto3").await
}

/// A model for the scripts.
fn target(single: &Single) -> Value {
    json!({
        "model": single.model,
        "format": single.format,
        "calls": match single.server {
            Server::Llama => "",
            // Ollama has no way to ask for a call.
            Server::Ollama | Server::Vllm => "free",
            Server::Wire => "forced",
        },
        // The inference server's messages have no structured output.
        "structured": !(single.is_random() && single.format == "anthropic_messages"),
    })
}

/// Runs a script with all models that have one format, and compares what its SDK read with what the
/// providers counted and the records say.
async fn run(world: &World, script: &str, agent: &str) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let mark = Mark::set(world).await?;
    let home = world.home()?;
    let python = Path::new(script).extension().is_some_and(|end| end == "py");
    let targets: Vec<Value> = world.singles.iter().map(target).collect();
    let mut command = world.command(if python { "python" } else { "node" }, &home);
    command
        .arg(world.file(script))
        .arg(world.base(""))
        .arg(Value::from(targets).to_string())
        .arg(world.file("note.txt"));
    let text = Process::start(&mut command, &home)?.output(LIMIT).await?;
    let said: Vec<Said> = serde_json::from_str(&text).with_context(|| text.clone())?;
    // Ollama and vLLM have six or seven each, unless the caller speaks their format.
    let least = if world.singles.len() > 2 { 30 } else { 6 };
    ensure!(said.len() > least, "only {} calls", said.len());
    let rows = mark.routed(world, said.len()).await?;
    let mut served = world.served().into_iter();
    for (said, row) in said.iter().zip(&rows) {
        let mut singles = world.singles.iter();
        let single = singles.find(|single| single.model == said.model);
        let single = single.context("no such model")?;
        let served = if single.is_random() {
            None
        } else {
            Some(served.next().context("the provider was not called")?)
        };
        let checked = async {
            records::complete(row, single.model, single.model, agent)?;
            as_read(said, row)?;
            match &served {
                Some(served) => {
                    as_given(said, served, single)?;
                    records::as_counted(row, served)?;
                }
                None => as_written(said)?,
            }
            as_told(world, said, row, single).await
        };
        let checked = checked.await;
        checked.map_err(|why| anyhow::anyhow!("{why:#}: {said:?} of {row}"))?;
    }
    ensure!(
        served.next().is_none(),
        "the provider was called more often"
    );
    Ok(())
}

/// The record counts what the SDK read.
fn as_read(said: &Said, row: &Value) -> anyhow::Result<()> {
    ensure!(row["api"] == said.name.as_str(), "it is of another format");
    ensure!(row["stream"] == said.stream, "stream is wrong");
    let usage = &row["usage"];
    ensure!(usage["input_tokens"] == said.input, "other input tokens");
    ensure!(usage["output_tokens"] == said.output, "other output tokens");
    ensure!(usage["estimated"] != true, "it was estimated");
    if let Some(cached) = said.cached {
        let recorded = usage["cached_tokens"].as_u64().unwrap_or(0);
        ensure!(recorded == cached, "other cached tokens");
    }
    Ok(())
}

/// The SDK read what the provider gave, which was counted there.
fn as_given(said: &Said, served: &Served, single: &Single) -> anyhow::Result<()> {
    ensure!(served.format == single.format, "{served:?} is another");
    ensure!(served.stream == said.stream, "{served:?} came otherwise");
    let usage = &served.usage;
    let counted = (usage.input, usage.output, usage.cached);
    let read = (said.input, said.output, said.cached.unwrap_or(0));
    ensure!(read == counted, "{read:?} is not {counted:?}");
    if let Some(reasoning) = said.reasoning {
        ensure!(reasoning == usage.reasoning, "{reasoning} of {usage:?}");
    }
    let [end, calls] = stops(&said.name);
    match said.kind.as_str() {
        "whole" | "stream" => {
            let hello = match single.server {
                Server::Wire => HELLO,
                _ => scripted::HELLO,
            };
            ensure!(said.text == hello && said.stop == end, "another text");
        }
        "tool" | "tool_stream" => {
            ensure!(said.stop == calls, "it ended otherwise");
            ensure!(said.text.is_empty(), "a text");
            ensure!(said.tool.is_some(), "no call of a tool");
        }
        "result" | "result_stream" => {
            let text = format!("The note says {WORD}.");
            ensure!(said.text == text && said.stop == end, "another text");
            ensure!(
                served.body.to_string().contains(WORD),
                "it didn't get the note"
            );
            if single.server != Server::Wire {
                return Ok(());
            }
            // What the model thought before the call has come back to its provider as it was.
            let sent = served.body.to_string();
            let thought = if single.format == "openai_chat" {
                THOUGHT
            } else {
                SIGNATURE
            };
            ensure!(sent.contains(thought), "no thought in {sent}");
        }
        "json" if single.server != Server::Wire => as_written(said)?,
        "json" => {
            let city: Value = serde_json::from_str(CITY)?;
            ensure!(said.parsed.as_ref() == Some(&city), "another object");
            let schema = schema(&served.body).context("no schema")?;
            let cities = &schema["properties"]["city"]["enum"];
            ensure!(*cities == json!(["Rome", "Oslo"]), "{schema} is another");
        }
        kind => anyhow::bail!("{kind} is unknown"),
    }
    Ok(())
}

/// What a model that writes at random could write.
fn as_written(said: &Said) -> anyhow::Result<()> {
    if said.kind == "json" {
        let city = said.parsed.as_ref().map(|parsed| parsed["city"].clone());
        let is_city = [Some(json!("Rome")), Some(json!("Oslo"))].contains(&city);
        ensure!(is_city, "another object");
    }
    ensure!(said.output > 0 && !said.stop.is_empty(), "nothing");
    Ok(())
}

/// The record says that the request was translated, and what the provider did not get.
async fn as_told(world: &World, said: &Said, row: &Value, single: &Single) -> anyhow::Result<()> {
    let told = translation(world, row, single).await?;
    let mut left = left_out(&said.name, single.format).to_vec();
    // Gemini signs the call alone, and not the thought before it.
    if said.kind.starts_with("result") && single.format == "gemini_generate_content" {
        left.push(thought(&said.name));
    }
    let has_names = !matches!(
        single.format,
        "anthropic_messages" | "gemini_generate_content" | "ollama"
    );
    if said.kind == "json" && !has_names {
        left.extend(schema_name(&said.name));
    }
    let told: BTreeSet<&str> = told
        .strip_prefix("; left out: ")
        .map(|told| told.split(", ").collect())
        .unwrap_or_default();
    let expected: BTreeSet<&str> = left.into_iter().collect();
    ensure!(told == expected, "{told:?} instead of {expected:?}");
    Ok(())
}

/// What a record says behind the formats between which the request was translated.
pub async fn translation(world: &World, row: &Value, single: &Single) -> anyhow::Result<String> {
    let short = |format: &str| {
        let name = format.split_once('_').map_or(format, |(_, name)| name);
        name.to_owned()
    };
    let (from, to) = (short(&records::text(row, "api")), short(single.format));
    let begin = format!("translated for provider {}: {from} → {to}", single.model);
    let decisions = world.decisions(&records::text(row, "id")).await?;
    let told = decisions.iter().find_map(|one| one.strip_prefix(&begin));
    let told = told.with_context(|| format!("{begin:?} is not in {decisions:?}"))?;
    Ok(told.to_owned())
}

/// Why a response ends with all that was to say, and with a call of a tool.
fn stops(caller: &str) -> [&'static str; 2] {
    match caller {
        "openai_chat" => ["stop", "tool_calls"],
        "openai_responses" => ["completed", "completed"],
        "gemini_generate_content" => ["STOP", "STOP"],
        _ => ["end_turn", "tool_use"],
    }
}

/// What a thought is called in a caller's request.
fn thought(caller: &str) -> &'static str {
    match caller {
        "openai_chat" => "messages.reasoning_content",
        "openai_responses" => "input.summary",
        "anthropic_messages" => "messages.content.thinking",
        _ => "messages.content.reasoningContent",
    }
}

/// What the name of a schema is called in a caller's request, if the caller's format has one.
fn schema_name(caller: &str) -> Option<&'static str> {
    match caller {
        "openai_chat" => Some("response_format.json_schema.name"),
        "openai_responses" => Some("text.format.name"),
        "bedrock_converse" => Some("outputConfig.textFormat.structure.jsonSchema.name"),
        _ => None,
    }
}

/// What the scripts ask for and a provider's format doesn't have.
fn left_out(caller: &str, served: &str) -> &'static [&'static str] {
    match (caller, served) {
        ("openai_chat", "gemini_generate_content" | "ollama") => &["user"],
        ("openai_chat", "bedrock_converse") => &["seed", "user"],
        ("openai_chat", _) => &["seed"],
        ("openai_responses", "anthropic_messages") => &["metadata"],
        ("openai_responses", "gemini_generate_content" | "bedrock_converse" | "ollama") => {
            &["safety_identifier", "metadata"]
        }
        ("anthropic_messages", "openai_chat" | "openai_responses") => &["cache_control"],
        ("anthropic_messages", _) => &["metadata.user_id", "cache_control"],
        ("gemini_generate_content", "openai_chat") => &[
            "safetySettings",
            "generationConfig.topK",
            "generationConfig.thinkingConfig",
        ],
        ("gemini_generate_content", "ollama") => &["safetySettings"],
        ("gemini_generate_content", "anthropic_messages") => {
            &["safetySettings", "generationConfig.seed"]
        }
        ("gemini_generate_content", "openai_responses") => &[
            "safetySettings",
            "generationConfig.topK",
            "generationConfig.seed",
        ],
        ("gemini_generate_content", _) => &[
            "safetySettings",
            "generationConfig.topK",
            "generationConfig.seed",
            "generationConfig.thinkingConfig",
        ],
        ("bedrock_converse", "openai_chat" | "openai_responses") => &["cachePoint"],
        ("bedrock_converse", "anthropic_messages") => &["requestMetadata"],
        ("bedrock_converse", _) => &["requestMetadata", "cachePoint"],
        _ => &[],
    }
}
