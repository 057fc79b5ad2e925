//! The options of a request: how the model's server runs it, and how it samples.

use crate::formats::translate::{Fields, Json, Request, Untranslatable};

type Read<T> = Result<T, Untranslatable>;

/// Options that other formats lack. They say how a server runs a model, or sample in a way for which
/// Ollama itself goes on without them where a model's engine doesn't have them.
const HINTS: &[&str] = &[
    "draft_num_predict",
    "f16_kv",
    "logits_all",
    "low_vram",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_thread",
    "numa",
    "penalize_newline",
    "repeat_last_n",
    "repeat_penalty",
    "tfs_z",
    "typical_p",
    "use_mlock",
    "use_mmap",
    "vocab_only",
];

/// Reads `options` into a request.
pub(super) fn read(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut options) = body.object("options")? else {
        return Ok(());
    };
    // What isn't above zero is no bound.
    let most = options.number("num_predict")?;
    request.max_tokens = most.filter(|most| *most >= 1.0).and_then(whole);
    request.temperature = options.number("temperature")?;
    request.top_p = options.number("top_p")?;
    request.top_k = options.number("top_k")?.and_then(whole);
    request.seed = options.value("seed");
    let penalty = |value: Option<f64>| value.filter(|value| *value != 0.0);
    request.presence_penalty = penalty(options.number("presence_penalty")?);
    request.frequency_penalty = penalty(options.number("frequency_penalty")?);
    request.stop = match options.value("stop") {
        None => Vec::new(),
        Some(Json::Text(stop)) => vec![stop],
        Some(Json::List(list)) => {
            let texts = list.iter().map(|one| one.text().map(str::to_owned));
            let texts: Option<_> = texts.collect();
            texts.ok_or_else(|| options.refuse("stop", "isn't a list of strings"))?
        }
        Some(_) => return Err(options.refuse("stop", "isn't a list of strings")),
    };
    options.drop_hints(HINTS, &mut request.dropped);
    options.end()
}

/// The whole part of a number that isn't negative: some clients write `40.0`.
fn whole(number: f64) -> Option<u64> {
    let text = (number >= 0.0).then(|| format!("{:.0}", number.floor()))?;
    text.parse().ok()
}
