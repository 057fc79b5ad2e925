//! The API formats that callers and providers speak. Each has a folder, which declares what the rest
//! of the program needs as a [`Format`]; [`ALL`] lists them. Nothing outside a format's folder knows
//! its fields or its name.

pub mod base_url;
mod body;
mod call;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod counting;
mod dialect;
mod estimate;
mod failure;
mod foreign;
mod format;
pub mod known;
mod merge;
mod meter;
mod offer;
mod opening;
mod refusal;
mod splice;
pub mod tokens;
pub mod transcript;
mod tree;
pub mod user_message;
mod vertex;

mod anthropic_messages;
mod bedrock_converse;
mod bedrock_count_tokens;
mod bedrock_error;
mod bedrock_model_invoke;
mod bedrock_path;
mod gemini_generate_content;
mod google_error;
mod google_generate_content;
mod google_path;
mod google_raw_predict;
mod openai_chat;
mod openai_companions;
mod openai_completions;
mod openai_error;
mod openai_responses;
mod openai_usage;

pub use body::NO_MODEL;
pub use call::{Call, Destination, Head, Outbound, Path};
pub use dialect::{Dialect, is_method};
pub use failure::of_response as error_words;
pub use format::{Chat, Flag, Format, Frame, OpaquePlace, Refusals, Socket};
pub use known::Known;
pub use meter::{Meter, MeteredRequest, Pass, Reading, ToolCall};
pub use offer::Offer;
pub use refusal::{plain, respond};
pub use splice::Splice;
pub use tokens::{Density, Tokens};

use gemini_generate_content::VERBS as METHODS;

/// The formats, in the order in which they are asked to recognise a request.
pub static ALL: [&Format; 15] = [
    &openai_chat::FORMAT,
    &openai_responses::FORMAT,
    &anthropic_messages::FORMAT,
    &openai_completions::FORMAT,
    &openai_companions::EMBEDDINGS,
    &openai_companions::IMAGES,
    &openai_companions::AUDIO,
    &openai_companions::MODERATIONS,
    &openai_companions::RERANK,
    &google_raw_predict::FORMAT,
    &gemini_generate_content::FORMAT,
    &google_generate_content::FORMAT,
    &bedrock_model_invoke::FORMAT,
    &bedrock_converse::FORMAT,
    &bedrock_count_tokens::FORMAT,
];

/// The format of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Format> {
    ALL.into_iter().find(|format| format.name == name)
}

/// The keys of a provider's `compatibility` that the formats of a list declare, each once.
pub fn flags(formats: &[&'static Format]) -> Vec<&'static Flag> {
    let mut flags: Vec<&Flag> = Vec::new();
    for format in formats {
        let socket = format.socket.map(|socket| socket.flag);
        for flag in format.flags.iter().copied().chain(socket) {
            if !flags.iter().any(|known| known.name == flag.name) {
                flags.push(flag);
            }
        }
    }
    flags
}
