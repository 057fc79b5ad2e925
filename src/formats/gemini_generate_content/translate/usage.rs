//! Counts of tokens. The API counts thoughts beside the response, and what its own tools read beside the
//! prompt.

use crate::formats::translate::{Json, Object, Usage, object};

/// A report of usage.
pub(super) fn read(report: &Json) -> Usage {
    let count = |key| report.at(key).whole();
    let sound = |keys: [&str; 2]| sum(keys.map(|key| audio(report.at(key))));
    Usage {
        input: sum([count("promptTokenCount"), count("toolUsePromptTokenCount")]),
        cache_read: count("cachedContentTokenCount"),
        input_audio: sound(["promptTokensDetails", "toolUsePromptTokensDetails"]),
        output: sum([count("candidatesTokenCount"), count("thoughtsTokenCount")]),
        reasoning: count("thoughtsTokenCount"),
        output_audio: audio(report.at("candidatesTokensDetails")),
        ..Usage::default()
    }
}

/// The report of a usage.
pub(super) fn write(usage: &Usage) -> Object {
    let input = usage.input.unwrap_or(0);
    let reasoning = usage.reasoning.unwrap_or(0);
    let said = usage.output.unwrap_or(0).saturating_sub(reasoning);
    let mut report = object! {
        "promptTokenCount": input,
        "candidatesTokenCount": said,
        "totalTokenCount": usage.total(),
    };
    let put = |report: &mut Object, key: &str, count: Option<u64>| {
        report.put_some(key, count.filter(|count| *count > 0));
    };
    put(&mut report, "cachedContentTokenCount", usage.cache_read);
    put(&mut report, "thoughtsTokenCount", usage.reasoning);
    put_details(&mut report, "promptTokensDetails", input, usage.input_audio);
    put_details(
        &mut report,
        "candidatesTokensDetails",
        said,
        usage.output_audio,
    );
    report
}

fn put_details(report: &mut Object, key: &str, all: u64, audio: Option<u64>) {
    let Some(audio) = audio.filter(|audio| *audio > 0) else {
        return;
    };
    let others = [("TEXT", all.saturating_sub(audio)), ("AUDIO", audio)];
    let others =
        others.map(|(modality, count)| object! { "modality": modality, "tokenCount": count });
    report.put(key, Vec::from(others));
}

fn audio(details: &Json) -> Option<u64> {
    let is_audio = |one: &&Json| one.at("modality").text() == Some("AUDIO");
    details
        .list()
        .iter()
        .find(is_audio)?
        .at("tokenCount")
        .whole()
}

/// The sum of what is there.
fn sum(counts: [Option<u64>; 2]) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}
